/*
 * kvtier-fs-contract: does an adapter keep what include/kvtier/fs.h promises,
 * and do its facts tell the truth about this mount?
 *
 * Each case runs in a process of its own, so that one that crashes or hangs
 * fails alone, and leaves nothing behind.
 */
#include "contract.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    CASE_SECONDS = 120, /* then it hangs */
    STATUS_SKIPPED = 77,
};

static const char help[] =
    "usage: kvtier-fs-contract --fs NAME | --module FILE --path DIR ...\n"
    "\n"
    "Runs the contract of file-system adapters on one of them, in a new\n"
    "directory below DIR that it removes again.\n"
    "\n"
    "  --fs NAME          the adapter, or wrappers around it: trace:posix\n"
    "  --path DIR         where, as the adapter understands it\n"
    "  --module FILE      the file of an adapter, kvtier-fs-NAME.so; with "
    "--fs\n"
    "                     the one that NAME means there\n"
    "  -o KEY=VALUE       a setting, as in `kvtier config`; may be repeated\n"
    "  --only CASE        this case only; may be repeated\n"
    "  --full-size BYTES  the mount may be filled: it has this capacity (one\n"
    "                     that has less than 256 MiB is filled anyway)\n"
    "  --list             prints the names of all cases\n"
    "\n"
    "Prints a line for each case, and last: N passed, N failed, N skipped.\n"
    "Ends with 0, with 1 when a case failed, with 2 on wrong usage.\n";

static const struct contract_group *const groups[] = {
    &contract_facts,       &contract_files,  &contract_transfers,
    &contract_whole_files, &contract_names,  &contract_renames,
    &contract_mounts,      &contract_queues, &contract_chains,
    &contract_deadlines,   &contract_late,   &contract_memory,
    &contract_locks,       &contract_space,
};

enum {
    ONLY_MAX = 32,
    SETTING_MAX = 64
};

struct options {
    const char *fs;
    const char *module;
    const char *path;
    const char *settings[SETTING_MAX];
    size_t setting_count;
    char composed[3000]; /* of fs and module */
    const char *only[ONLY_MAX];
    size_t only_count;
    uint64_t full_size;
    struct kvt_config *config;
    char base[3000]; /* the directory of this run, absolute */
    char base_name[64];
};

/* What the helper process is started with, see process.c. */
char **contract_arguments;

static _Noreturn void usage(const char *what, const char *value)
{
    fprintf(stderr, "kvtier-fs-contract: %s%s; see --help\n", what, value);
    exit(STATUS_USAGE);
}

/* Options ----------------------------------------------------------------- */

static const struct contract_case *find_case(const char *name)
{
    for (size_t g = 0; g < COUNT_OF(groups); g++) {
        for (size_t i = 0; i < groups[g]->count; i++) {
            if (strcmp(groups[g]->cases[i].name, name) == 0) {
                return &groups[g]->cases[i];
            }
        }
    }
    return NULL;
}

static _Noreturn void list_cases(void)
{
    for (size_t g = 0; g < COUNT_OF(groups); g++) {
        for (size_t i = 0; i < groups[g]->count; i++) {
            printf("%s\n", groups[g]->cases[i].name);
        }
    }
    exit(0);
}

static void set_key(struct options *options, const char *key, const char *value)
{
    struct kvt_error err = {0};
    if (kvt_config_set(options->config, key, value, &err) != KVT_OK) {
        fprintf(stderr, "kvtier-fs-contract: %s; %s\n", err.message,
                err.remedy);
        exit(STATUS_USAGE);
    }
}

static void set_one(struct options *options, const char *setting)
{
    char key[256];
    const char *equals = strchr(setting, '=');
    if (equals == NULL || (size_t)(equals - setting) >= sizeof key) {
        usage("-o wants KEY=VALUE, not ", setting);
    }
    memcpy(key, setting, (size_t)(equals - setting));
    key[equals - setting] = '\0';
    set_key(options, key, equals + 1);
}

/* `path` from the root on; links in it stay. */
static void absolute(const char *path, char *to, size_t size)
{
    char here[1024] = "";
    if (path[0] != '/' && getcwd(here, sizeof here) == NULL) {
        usage("the current directory has no name", "");
    }
    int written =
        snprintf(to, size, "%s%s%s", here, here[0] != '\0' ? "/" : "", path);
    if (written < 0 || (size_t)written >= size) {
        usage("too long a path: ", path);
    }
}

/* The fs value in which the module's file stands for its name. */
static void compose_fs(struct options *options)
{
    static const char prefix[] = "kvtier-fs-";
    char file[2048];
    absolute(options->module, file, sizeof file);
    const char *fs = options->fs != NULL ? options->fs : "";
    const char *colon = strrchr(fs, ':');
    const char *name = colon != NULL ? colon + 1 : fs;
    const char *last = strrchr(file, '/') + 1;
    size_t size = strlen(name);
    if (options->fs != NULL &&
        (strncmp(last, prefix, sizeof prefix - 1) != 0 ||
         strncmp(last + sizeof prefix - 1, name, size) != 0 ||
         strcmp(last + sizeof prefix - 1 + size, ".so") != 0)) {
        usage("--fs does not name the adapter of the module ", file);
    }
    int written = snprintf(options->composed, sizeof options->composed,
                           "%.*s%s", (int)(name - fs), fs, file);
    if (written < 0 || (size_t)written >= sizeof options->composed) {
        usage("too long a path: ", file);
    }
    options->fs = options->composed;
}

/* The adapter before its settings: they may come with it. */
static void apply(struct options *options)
{
    if (options->module != NULL) {
        compose_fs(options);
    }
    for (size_t i = 0; i < options->setting_count; i++) {
        if (strncmp(options->settings[i], "module_path=", 12) == 0) {
            set_one(options, options->settings[i]);
        }
    }
    set_key(options, "fs", options->fs);
    for (size_t i = 0; i < options->setting_count; i++) {
        set_one(options, options->settings[i]);
    }
}

static uint64_t parse_bytes(const char *text)
{
    char *end;
    errno = 0;
    unsigned long long bytes = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || bytes == 0 ||
        text[0] == '-') {
        usage("--full-size wants a number of bytes, not ", text);
    }
    return bytes;
}

static void set_option(struct options *options, const char *name,
                       const char *value)
{
    if (strcmp(name, "--fs") == 0) {
        options->fs = value;
    } else if (strcmp(name, "--path") == 0) {
        options->path = value;
    } else if (strcmp(name, "-o") == 0) {
        if (options->setting_count == SETTING_MAX) {
            usage("too many settings: ", value);
        }
        options->settings[options->setting_count++] = value;
    } else if (strcmp(name, "--module") == 0) {
        options->module = value;
    } else if (strcmp(name, "--full-size") == 0) {
        options->full_size = parse_bytes(value);
    } else if (strcmp(name, "--only") == 0) {
        if (find_case(value) == NULL) {
            usage("there is no case named ", value);
        }
        if (options->only_count == ONLY_MAX) {
            usage("too many cases: ", value);
        }
        options->only[options->only_count++] = value;
    } else {
        usage("unknown argument ", name);
    }
}

static void parse(struct options *options, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        char name[32];
        const char *equals = strchr(argv[i], '=');
        size_t size =
            equals != NULL ? (size_t)(equals - argv[i]) : strlen(argv[i]);
        if (strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            exit(0);
        }
        if (strcmp(argv[i], "--list") == 0) {
            list_cases();
        }
        if (size >= sizeof name || argv[i][0] != '-') {
            usage("unknown argument ", argv[i]);
        }
        memcpy(name, argv[i], size);
        name[size] = '\0';
        if (equals == NULL && i + 1 == argc) {
            usage("a value is missing, or unknown: ", argv[i]);
        }
        set_option(options, name, equals != NULL ? equals + 1 : argv[++i]);
    }
    if (options->fs == NULL && options->module == NULL) {
        usage("--fs NAME is missing", "");
    }
    if (options->path == NULL) {
        usage("--path DIR is missing", "");
    }
    apply(options);
}

/* Running ----------------------------------------------------------------- */

/* A process of its own for `work`; returns its wait status. */
static int in_process(int (*work)(struct contract *c, const void *arg),
                      struct contract *c, const void *arg)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0) {
        perror("kvtier-fs-contract: fork");
        exit(1);
    }
    if (pid == 0) {
        alarm(CASE_SECONDS);
        exit(work(c, arg)); /* with what a leak checker does at exit */
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

static int work_case(struct contract *c, const void *arg)
{
    run_case(c, arg);
    if (c->skipped != NULL) {
        const struct contract_case *one = arg;
        printf("skip %s: %s\n", one->name, c->skipped);
        return STATUS_SKIPPED;
    }
    return 0;
}

static int work_mount(struct contract *c, const void *arg)
{
    (void)arg;
    return try_mount(c);
}

static int work_empty(struct contract *c, const void *arg)
{
    (void)arg;
    contract_running("cleaning");
    struct kvt_fs *fs = mount_again(c);
    empty_root(fs);
    kvt_fs_unmount(fs);
    return 0;
}

static int work_remove(struct contract *c, const void *name)
{
    contract_running("cleaning");
    struct kvt_fs *fs = mount_again(c);
    EXPECT("removing what the run made", 0, kvt_fs_remove_tree(fs, name));
    kvt_fs_unmount(fs);
    return 0;
}

struct tally {
    size_t passed;
    size_t failed;
    size_t skipped;
};

static void run_one(struct contract *c, const struct contract_case *one,
                    struct tally *tally)
{
    int status = in_process(work_case, c, one);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        printf("ok %s\n", one->name);
        tally->passed++;
        return;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_SKIPPED) {
        tally->skipped++;
        return;
    }
    tally->failed++;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        printf("FAIL %s: main.c:%d: it has to end within %d s, expected an "
               "end, got none\n",
               one->name, __LINE__, CASE_SECONDS);
    } else if (WIFSIGNALED(status)) {
        printf("FAIL %s: main.c:%d: it has to end by itself, expected exit, "
               "got signal %d\n",
               one->name, __LINE__, WTERMSIG(status));
    } else if (WEXITSTATUS(status) != STATUS_FAILED) {
        printf("FAIL %s: main.c:%d: exit status (a sanitizer's?), expected 0, "
               "got %d\n",
               one->name, __LINE__, WEXITSTATUS(status));
    }
    in_process(work_empty, c, NULL);
}

static bool is_wanted(const struct options *options, const char *name)
{
    bool wanted = options->only_count == 0;
    for (size_t i = 0; i < options->only_count && !wanted; i++) {
        wanted = strcmp(options->only[i], name) == 0;
    }
    return wanted;
}

static void run_all(const struct options *options, struct tally *tally)
{
    char root[sizeof options->base + 16];
    unsigned number = 0;
    for (size_t g = 0; g < COUNT_OF(groups); g++) {
        for (size_t i = 0; i < groups[g]->count; i++) {
            const struct contract_case *one = &groups[g]->cases[i];
            if (!is_wanted(options, one->name)) {
                continue;
            }
            snprintf(root, sizeof root, "%s/%u", options->base, ++number);
            struct contract c = {.adapter = options->fs,
                                 .config = options->config,
                                 .root = root,
                                 .full_size = options->full_size};
            run_one(&c, one, tally);
        }
    }
}

/* The absolute path of the directory that all happens in. */
static void name_base(struct options *options)
{
    snprintf(options->base_name, sizeof options->base_name, "fs-contract-%ld",
             (long)getpid());
    absolute(options->path, options->base,
             sizeof options->base - sizeof options->base_name - 1);
}

int main(int argc, char **argv)
{
    static struct options options; /* static: found by leak checkers */
    struct tally tally = {0};
    contract_arguments = argv;
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    options.config = kvt_config_open();
    if (options.config == NULL) {
        usage("no memory", "");
    }
    parse(&options, argc, argv);
    struct contract c = {.adapter = options.fs, .config = options.config};
    const char *role = getenv("KVT_FS_CONTRACT_ROLE");
    if (role != NULL) {
        c.root = getenv("KVT_FS_CONTRACT_ROOT");
        alarm(CASE_SECONDS);
        return play_role(&c, role);
    }

    name_base(&options);
    char above[sizeof options.base];
    snprintf(above, sizeof above, "%s", options.base);
    strcat(options.base, "/");
    strcat(options.base, options.base_name);
    c.root = options.base;
    int mounted = in_process(work_mount, &c, NULL);
    if (WIFEXITED(mounted) && WEXITSTATUS(mounted) == STATUS_USAGE) {
        return STATUS_USAGE;
    }
    c.root = above;
    if (mounted != 0) {
        tally.failed++;
        rmdir(options.base); /* where that is a path of the system's */
    } else {
        run_all(&options, &tally);
        mounted = in_process(work_remove, &c, options.base_name);
    }
    kvt_config_close(options.config);
    printf("%zu passed, %zu failed, %zu skipped\n", tally.passed, tally.failed,
           tally.skipped);
    return tally.failed > 0 || mounted != 0 ? 1 : 0;
}
