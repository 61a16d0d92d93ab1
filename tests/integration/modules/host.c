/* Programs with modules, for tests/integration/test_modules.sh.
 *
 *   host list FOLDER         what kvt_components says of modules in FOLDER
 *   host life FOLDER         a broken module that is mended; what stays loaded
 *   host threads FOLDER DIR  many threads at once
 *
 * The library comes by the linker, or, with HOST_LIBRARY, as an interpreter
 * would load it: its names are then in nobody's reach but its own. */
#include <kvtier/fs.h>
#include <kvtier/kvtier.h>

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tell(const struct kvt_component *component, void *arg)
{
    (void)arg;
    if (strcmp(component->kind, "fs") == 0) {
        printf("%s %s %s\n", component->name,
               component->available ? "yes" : "no", component->reason);
    }
    return 0;
}

static int list(const char *folder)
{
    struct kvt_error err = {0};
    int rc = 1;
#ifdef HOST_LIBRARY
    void *library = dlopen(HOST_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
#define NAME(name)                                                             \
    __typeof__(&name) p_##name = NULL;                                         \
    *(void **)&p_##name = dlsym(library, #name)
#else
#define NAME(name) __typeof__(&name) p_##name = name
#endif
    NAME(kvt_config_open);
    NAME(kvt_config_close);
    NAME(kvt_config_set);
    NAME(kvt_components);
    struct kvt_config *config = p_kvt_config_open();
    if (config != NULL &&
        p_kvt_config_set(config, "module_path", folder, &err) == KVT_OK) {
        rc = p_kvt_components(config, tell, NULL, &err);
    }
    p_kvt_config_close(config);
    if (rc != 0) {
        fprintf(stderr, "%s\n", err.message);
    }
    return rc != 0;
}

#ifndef HOST_LIBRARY

static struct kvt_config *open_config(const char *folder)
{
    struct kvt_error err = {0};
    struct kvt_config *config = kvt_config_open();
    if (config == NULL ||
        kvt_config_set(config, "module_path", folder, &err) != KVT_OK) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    return config;
}

/* How often a file is mapped into this process. */
static int mappings(const char *file)
{
    char line[4096];
    int count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        count += strstr(line, file) != NULL;
    }
    if (maps != NULL) {
        fclose(maps);
    }
    return count;
}

static int life(const char *folder)
{
    char command[1024];
    struct kvt_error err = {0};
    struct kvt_config *config = open_config(folder);
    /* toy.so is broken: it is refused and not kept */
    int rc = kvt_config_set(config, "toy.size", "8KiB", &err);
    printf("broken: %s, mapped %d\n", kvt_status_name(rc),
           mappings("kvtier-fs-toy") > 0);
    snprintf(command, sizeof command, "cd '%s' && mv good.so kvtier-fs-toy.so",
             folder);
    if (system(command) != 0) {
        return 1;
    }
    rc = kvt_config_set(config, "toy.size", "8KiB", &err);
    printf("mended: %s, %s\n", kvt_status_name(rc),
           kvt_config_text(config, "toy.size"));
    /* its rows are in the configuration: another folder comes too late */
    rc = kvt_config_set(config, "module_path", "/usr", &err);
    printf("too late: %s, %s\n", kvt_status_name(rc), err.message);
    rc = kvt_config_set(config, "module_path", folder, &err);
    printf("the same: %s\n", kvt_status_name(rc));
    struct kvt_fs_mount_args args = {
        .size = sizeof args, .root = "/tmp", .config = config};
    struct kvt_fs *fs = NULL;
    rc = kvt_fs_mount("toy", &args, &fs, &err);
    printf("mount: %s: %s\n", kvt_status_name(rc), err.message);
    kvt_config_close(config);
    printf("kept: mapped %d\n", mappings("kvtier-fs-toy") > 0);
    /* a mount without its settings has their defaults */
    config = open_config(folder);
    args.config = config;
    rc = kvt_fs_mount("toy", &args, &fs, &err);
    printf("mount: %s: %s\n", kvt_status_name(rc), err.message);
    kvt_config_close(config);
    return 0;
}

enum {
    THREADS = 8,
    ROUNDS = 20
};

struct thread {
    pthread_t id;
    const char *folder;
    const char *dir;
    int number;
    const char *failed;
};

static const char *use(const struct thread *thread)
{
    struct kvt_error err = {0};
    struct kvt_config *config = open_config(thread->folder);
    struct kvt_fs_mount_args args = {
        .size = sizeof args, .root = thread->dir, .config = config};
    struct kvt_fs *fs = NULL;
    char depth[8];
    snprintf(depth, sizeof depth, "%d", thread->number + 1);
    const char *failed = NULL;
    if (kvt_config_set(config, "example.depth", depth, &err) != KVT_OK) {
        failed = "setting";
    } else if (kvt_fs_mount("example", &args, &fs, &err) != KVT_OK) {
        failed = "mount";
    } else if (kvt_fs_facts(fs)->depth != (uint32_t)thread->number + 1) {
        failed = "its own setting";
    } else if (kvt_fs_mkdirs(fs, "a/b") != 0) {
        failed = "mkdirs";
    }
    kvt_fs_unmount(fs);
    kvt_config_close(config);
    return failed;
}

static void *run(void *arg)
{
    struct thread *thread = arg;
    for (int i = 0; i < ROUNDS && thread->failed == NULL; i++) {
        thread->failed = use(thread);
    }
    return NULL;
}

static int threads(const char *folder, const char *dir)
{
    struct thread all[THREADS];
    int failures = 0;
    for (int i = 0; i < THREADS; i++) {
        all[i] = (struct thread){.folder = folder, .dir = dir, .number = i};
        if (pthread_create(&all[i].id, NULL, run, &all[i]) != 0) {
            return 1;
        }
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(all[i].id, NULL);
        if (all[i].failed != NULL) {
            printf("thread %d: %s failed\n", i, all[i].failed);
            failures++;
        }
    }
    printf("%d threads, %d failed\n", THREADS, failures);
    return failures > 0;
}

#endif

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "list") == 0) {
        return list(argv[2]);
    }
#ifndef HOST_LIBRARY
    if (argc == 3 && strcmp(argv[1], "life") == 0) {
        return life(argv[2]);
    }
    if (argc == 4 && strcmp(argv[1], "threads") == 0) {
        return threads(argv[2], argv[3]);
    }
#endif
    return 2;
}
