#include "fs/registry.h"

#include "core/config.h"
#include "core/modules.h"
#include "fs/fault_rules.h"
#include "fs/fs_core.h"
#include "fs/mem.h"
#include "fs/wrap.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const struct kvt_fs_ops kvt_fs_posix;
#ifdef KVT_HAVE_URING
extern const struct kvt_fs_ops kvt_fs_uring;
#define URING &kvt_fs_uring
#else
#define URING NULL
#endif
extern const struct kvt_fs_ops kvt_fs_mem;
extern const struct kvt_fs_ops kvt_fs_fault;
extern const struct kvt_fs_ops kvt_fs_trace;
extern const struct kvt_fs_ops kvt_fs_crash;

/* One line an adapter. A null table: known, not part of this build. */
static const struct {
    const char *kind;
    const char *name;
    const struct kvt_fs_ops *ops;
    const char *absent;
} adapters[] = {
    {"fs", "posix", &kvt_fs_posix, NULL},
    {"fs", "uring", URING,
     "not part of this build, which was made without liburing; use posix"},
    {"fs", "hf3fs", NULL,
     "not part of this version; use posix on the 3FS mount"},
    {"fs", "cephfs", NULL,
     "not part of this version; use posix on a CephFS mount"},
    {"fs", "juicefs", NULL,
     "not part of this version; use posix on the JuiceFS mount"},
    {"fs", "mem", &kvt_fs_mem, NULL},
    {"wrapper", "fault", &kvt_fs_fault, NULL},
    {"wrapper", "trace", &kvt_fs_trace, NULL},
    {"wrapper", "crash", &kvt_fs_crash, NULL},
};
#define ADAPTER_COUNT (sizeof adapters / sizeof adapters[0])

static const char remedy[] = "run `kvtier backends` to see what there is";

/* Which of them has the name of `size` bytes; ADAPTER_COUNT: none. */
static size_t find_known(const char *name, size_t size)
{
    size_t i = 0;
    while (i < ADAPTER_COUNT && (strlen(adapters[i].name) != size ||
                                 strncmp(adapters[i].name, name, size) != 0)) {
        i++;
    }
    return i;
}

static void forget(struct kvt_error *err)
{
    if (err != NULL) {
        *err = (struct kvt_error){0};
    }
}

/* An adapter's answer: with a code that is one, and never without a reason. */
static int with_reason(int rc, const char *who, struct kvt_error *err)
{
    int errnum = 0;
    if (rc != KVT_OK && strcmp(kvt_status_name(rc), "KVT_ERR_UNKNOWN") == 0) {
        errnum = rc < 0 ? -rc : 0;
        rc = KVT_ERR_INTERNAL;
    }
    if (rc == KVT_OK || err == NULL) {
        return rc;
    }
    err->code = rc;
    err->errnum = err->errnum != 0 ? err->errnum : errnum;
    if (err->message[0] == '\0') {
        kvt_error_set(err, rc, err->errnum, who, "ask those who made it",
                      "the module gives no reason");
    }
    return rc;
}

/* Loads a module, and asks it whether it can work here. */
static int load_module(const char *file, const struct kvt_module **module,
                       struct kvt_error *err)
{
    char name[KVT_MODULE_NAME_MAX + 1];
    size_t known = ADAPTER_COUNT;
    if (!kvt_module_name_of(file, name)) {
        return kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, 0, file,
                             "rename it: NAME is of a-z 0-9 _, a letter first",
                             "%s is not called kvtier-fs-NAME.so", file);
    }
    known = find_known(name, strlen(name));
    if (known < ADAPTER_COUNT && adapters[known].ops != NULL) {
        return kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, 0, file,
                             "give the module, and its file, another name",
                             "%s hides behind the %s of that name in the "
                             "library",
                             file, adapters[known].kind);
    }
    int rc = kvt_module_load(file, module, err);
    if (rc == KVT_OK && (*module)->available != NULL) {
        forget(err);
        rc = with_reason((*module)->available(err), file, err);
        if (rc != KVT_OK) {
            kvt_error_prefix(err, "%s", file);
        }
    }
    return rc;
}

/* Listing ----------------------------------------------------------------- */

struct listing {
    kvt_fs_adapter_fn each;
    void *arg;
};

static int tell(const struct listing *listing, const char *kind,
                const char *name, bool available, const char *reason)
{
    struct kvt_fs_adapter_info info = {kind, name, available, reason};
    return listing->each(&info, listing->arg);
}

/* One file: what it holds, or why that cannot be used. */
static int tell_module(const char *file, void *arg)
{
    const struct kvt_module *module = NULL;
    struct kvt_error err = {0};
    char text[sizeof err.message + sizeof err.remedy + 32];
    char name[KVT_MODULE_NAME_MAX + 1];
    struct kvt_config *scratch = NULL;
    int rc = load_module(file, &module, &err);
    if (rc == KVT_OK) { /* do its settings fit into the table? */
        scratch = kvt_config_open();
        rc = scratch != NULL ? kvt_config_join(scratch, module, &err)
                             : KVT_ERR_INTERNAL;
        kvt_config_close(scratch);
    }
    if (rc == KVT_OK) {
        snprintf(text, sizeof text, "%s (%s)", module->ops->summary, file);
        return tell(arg, "fs", module->name, true, text);
    }
    snprintf(text, sizeof text, "not available: %s%s%s", err.message,
             err.remedy[0] != '\0' ? "; " : "", err.remedy);
    /* a name that belongs to another, or is none, is not repeated */
    bool is_own = kvt_module_name_of(file, name);
    size_t known = is_own ? find_known(name, strlen(name)) : 0;
    is_own = is_own && (known == ADAPTER_COUNT || adapters[known].ops == NULL);
    return tell(arg, "fs", is_own ? name : strrchr(file, '/') + 1, false, text);
}

/* Files of adapters that the library knows by name stand in their place. */
static int tell_other_module(const char *file, void *arg)
{
    char name[KVT_MODULE_NAME_MAX + 1];
    size_t known = ADAPTER_COUNT;
    if (kvt_module_name_of(file, name)) {
        known = find_known(name, strlen(name));
    }
    bool told = known < ADAPTER_COUNT && adapters[known].ops == NULL;
    return told ? 0 : tell_module(file, arg);
}

static int tell_known(const struct kvt_config *config, size_t i,
                      struct listing *listing)
{
    char file[KVT_MODULE_FILE_MAX];
    const struct kvt_fs_ops *ops = adapters[i].ops;
    if (ops == NULL && kvt_config_module_file(config, adapters[i].name, file)) {
        return tell_module(file, listing);
    }
    return tell(listing, adapters[i].kind, adapters[i].name, ops != NULL,
                ops != NULL ? ops->summary : adapters[i].absent);
}

int kvt_fs_adapters(const struct kvt_config *config, kvt_fs_adapter_fn each,
                    void *arg, struct kvt_error *err)
{
    struct listing listing = {each, arg};
    int rc = 0;
    for (size_t i = 0; i < ADAPTER_COUNT && rc == 0; i++) {
        rc = tell_known(config, i, &listing);
    }
    return rc == 0 ? kvt_config_each_module(config, tell_other_module, &listing,
                                            err)
                   : rc;
}

/* Mounting ---------------------------------------------------------------- */

/* What a name without wrappers in front of it means. */
struct found {
    const struct kvt_fs_ops *ops;
    const struct kvt_module *module; /* null: part of the library */
};

/* Says of a module that cannot be used what it was wanted for. */
static int not_available(const char *name, int rc, struct kvt_error *err)
{
    if (name[0] == '/') { /* the file, which is told already */
        kvt_error_prefix(err, "not available");
    } else {
        kvt_error_prefix(err, "the file-system adapter \"%s\" is not available",
                         name);
    }
    return rc;
}

static int find_module(const char *name, const char *file, struct found *found,
                       struct kvt_error *err)
{
    int rc = load_module(file, &found->module, err);
    if (rc != KVT_OK) {
        return not_available(name, rc, err);
    }
    found->ops = found->module->ops;
    return KVT_OK;
}

static int find(const char *name, size_t size, const struct kvt_config *config,
                struct found *found, struct kvt_error *err)
{
    char file[KVT_MODULE_FILE_MAX];
    size_t known = find_known(name, size);
    *found = (struct found){0};
    if (name[0] == '/') {
        return find_module(name, name, found, err);
    }
    if (known < ADAPTER_COUNT && adapters[known].ops != NULL) {
        found->ops = adapters[known].ops;
        return KVT_OK;
    }
    if (name[size] == '\0' && kvt_module_name_is_valid(name, size) &&
        kvt_config_module_file(config, name, file)) {
        return find_module(name, file, found, err);
    }
    if (known < ADAPTER_COUNT) {
        return kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, 0,
                             adapters[known].name, remedy,
                             "the file-system adapter \"%s\" is %s",
                             adapters[known].name, adapters[known].absent);
    }
    return kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, 0, name, remedy,
                         "\"%.*s\" is no file-system adapter of this version, "
                         "and there is no module of that name",
                         (int)size, name);
}

static int no_memory(const struct kvt_fs_mount_args *args,
                     struct kvt_error *err)
{
    return kvt_error_set(err, KVT_ERR_INTERNAL, ENOMEM, args->root, NULL,
                         "no memory to mount");
}

/* What the core adds to a mount. */
static int add_core(struct kvt_fs *fs, const char *name,
                    const struct kvt_config *config, struct kvt_fs *inner)
{
    const struct kvt_fs_queue_ops *queue = fs->ops->queue;
    bool partial = queue == NULL || queue->operations != 0;
    fs->core->inner = inner;
    fs->core->name = strdup(name);
    if (fs->core->name == NULL) {
        return -ENOMEM;
    }
    if (partial) {
        uint32_t threads = (uint32_t)kvt_config_u64(config, "threads");
        fs->core->pool = kvt_fs_pool_open(fs, threads);
    }
    fs->core->prober = kvt_fs_prober_open(fs);
    bool complete =
        (!partial || fs->core->pool != NULL) && fs->core->prober != NULL;
    return complete ? 0 : -ENOMEM;
}

static void unmount_one(struct kvt_fs *fs)
{
    struct kvt_fs_core *core = fs->core;
    kvt_fs_prober_close(core->prober);
    kvt_fs_pool_close(core->pool);
    fs->ops->unmount(fs);
    free(core->name);
    free(core);
}

/* Mounts `ops` under its full name, around `args->inner`. */
static int mount_one(const struct kvt_fs_ops *ops, const char *name,
                     const struct kvt_fs_mount_args *args, struct kvt_fs **fs,
                     struct kvt_error *err)
{
    int rc = kvt_fs_check_table(ops, err);
    if (rc != KVT_OK) {
        return rc;
    }
    struct kvt_fs_core *core = calloc(1, sizeof *core);
    if (core == NULL) {
        return no_memory(args, err);
    }
    struct kvt_fs *mounted = NULL;
    forget(err);
    rc = with_reason(ops->mount(args, &mounted, err), name, err);
    if (rc != KVT_OK) {
        free(core);
        return rc;
    }
    mounted->core = core;
    if (mounted->ops->size < sizeof core->table) {
        kvt_fs_full_table(mounted->ops, &core->table);
        mounted->ops = &core->table;
    }
    if (mounted->facts.size != sizeof mounted->facts) {
        rc = kvt_error_set(err, KVT_ERR_INTERNAL, 0, name,
                           "rebuild it against this version's headers",
                           "the adapter's facts have %zu bytes, this library "
                           "expects %zu",
                           mounted->facts.size, sizeof mounted->facts);
        unmount_one(mounted);
        return rc;
    }
    if (add_core(mounted, name, args->config, args->inner) != 0) {
        unmount_one(mounted);
        return no_memory(args, err);
    }
    *fs = mounted;
    return KVT_OK;
}

/* The same for a module, which sees its settings whether or not one of them
 * was set. */
static int mount_module(const struct found *found, const char *name,
                        const struct kvt_fs_mount_args *args,
                        struct kvt_fs **fs, struct kvt_error *err)
{
    struct kvt_fs_mount_args own = *args;
    struct kvt_config *copy = kvt_config_copy(args->config);
    if (copy == NULL) {
        return no_memory(args, err);
    }
    own.config = copy;
    int rc = kvt_config_join(copy, found->module, err);
    rc = rc == KVT_OK ? mount_one(found->ops, name, &own, fs, err)
                      : not_available(name, rc, err);
    kvt_config_close(copy);
    return rc;
}

static int mount_wrapper(const struct kvt_fs_ops *ops, const char *name,
                         const struct kvt_fs_mount_args *args,
                         struct kvt_fs **fs, struct kvt_error *err)
{
    struct kvt_fs_mount_args outer = *args;
    int rc = kvt_fs_mount(strchr(name, ':') + 1, args, &outer.inner, err);
    if (rc == KVT_OK) {
        rc = mount_one(ops, name, &outer, fs, err);
        if (rc != KVT_OK) {
            kvt_fs_unmount(outer.inner);
        }
    }
    return rc;
}

/* The caller's arguments, those of an older header with what they lack. */
static bool take_args(const struct kvt_fs_mount_args *args,
                      struct kvt_fs_mount_args *full)
{
    memset(full, 0, sizeof *full);
    if (args == NULL || args->size > sizeof *full ||
        args->size < offsetof(struct kvt_fs_mount_args, read_only)) {
        return false;
    }
    memcpy(full, args, args->size);
    full->size = sizeof *full;
    return full->config != NULL && full->root != NULL && full->root[0] == '/' &&
           full->inner == NULL;
}

/* Languages of their own in settings: what is wrong in them is told before
 * anything is made, and also when nobody would look there. */
static int check_settings(const struct kvt_config *config,
                          struct kvt_error *err)
{
    struct kvt_fault_rules *rules = NULL;
    uint32_t words;
    int rc = kvt_fault_rules_open(kvt_config_text(config, "fault.rules"), 0,
                                  &rules, err);
    kvt_fault_rules_close(rules);
    return rc == KVT_OK ? kvt_memfs_words(config, &words, err) : rc;
}

int kvt_fs_mount(const char *name, const struct kvt_fs_mount_args *given,
                 struct kvt_fs **fs, struct kvt_error *err)
{
    struct kvt_fs_mount_args full;
    const struct kvt_fs_mount_args *args = &full;
    if (name == NULL || !take_args(given, &full) || fs == NULL) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL, name, NULL,
                             "a mount needs a name, a root that is absolute, "
                             "a configuration, and the size of these");
    }
    size_t size = strcspn(name, ":/"); /* a file may have colons */
    bool wraps = name[size] == ':';
    struct found found;
    int rc = find(name, wraps ? size : strlen(name), args->config, &found, err);
    if (rc == KVT_OK) {
        rc = check_settings(args->config, err);
    }
    if (rc != KVT_OK) {
        return rc;
    }
    struct kvt_fs_ops table;
    kvt_fs_full_table(found.ops, &table);
    if (table.wraps != wraps) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL, name,
                             "write it as trace:posix",
                             wraps ? "%.*s wraps no other adapter"
                                   : "%.*s wraps another adapter",
                             wraps ? (int)size : (int)strlen(name), name);
    }
    if (wraps) {
        return mount_wrapper(found.ops, name, args, fs, err);
    }
    return found.module != NULL ? mount_module(&found, name, args, fs, err)
                                : mount_one(found.ops, name, args, fs, err);
}

void kvt_fs_release(struct kvt_fs *fs)
{
    for (; fs != NULL; fs = fs->core->inner) {
        if (fs->ops->wraps) {
            kvt_wrap_release(fs);
        }
    }
}

int kvt_fs_unmount(struct kvt_fs *fs)
{
    for (struct kvt_fs *at = fs; at != NULL; at = at->core->inner) {
        kvt_fs_close_spare(at);
        if (__atomic_load_n(&at->core->open, __ATOMIC_ACQUIRE) > 0) {
            return -EBUSY;
        }
    }
    kvt_fs_release(fs); /* or the pools would wait for what hangs */
    while (fs != NULL) {
        struct kvt_fs *inner = fs->core->inner;
        unmount_one(fs);
        fs = inner;
    }
    return 0;
}
