#include "fs/registry.h"

#include "core/config.h"
#include "fs/fs_core.h"
#include "fs/wrap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

extern const struct kvt_fs_ops kvt_fs_posix;
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
    {"fs", "uring", NULL, "not part of this version; use posix"},
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

bool kvt_fs_adapter(size_t i, struct kvt_fs_adapter_info *info)
{
    if (i >= ADAPTER_COUNT) {
        return false;
    }
    info->kind = adapters[i].kind;
    info->name = adapters[i].name;
    info->available = adapters[i].ops != NULL;
    info->reason =
        adapters[i].ops ? adapters[i].ops->summary : adapters[i].absent;
    return true;
}

/* The table of an adapter whose name is the first `size` bytes. */
static const struct kvt_fs_ops *find(const char *name, size_t size,
                                     struct kvt_error *err)
{
    static const char remedy[] =
        "run `kvtier backends` to see what this build has";
    for (size_t i = 0; i < ADAPTER_COUNT; i++) {
        if (strlen(adapters[i].name) != size ||
            strncmp(adapters[i].name, name, size) != 0) {
            continue;
        }
        if (adapters[i].ops == NULL) {
            kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, 0, adapters[i].name,
                          remedy, "the file-system adapter \"%s\" is %s",
                          adapters[i].name, adapters[i].absent);
        }
        return adapters[i].ops;
    }
    kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, 0, name, remedy,
                  "\"%s\" is no file-system adapter of this version", name);
    return NULL;
}

/* A table is checked once, here; nothing behind this asks again. */
static const char *missing_member(const struct kvt_fs_ops *ops)
{
    const struct {
        bool present;
        const char *name;
    } required[] = {
        {ops->mount != NULL, "mount"},
        {ops->unmount != NULL, "unmount"},
        {ops->execute != NULL ||
             (ops->queue != NULL && ops->queue->operations == 0),
         "execute, or a queue that takes all operations"},
        {ops->mkdirs != NULL, "mkdirs"},
        {ops->list != NULL, "list"},
        {ops->rename != NULL, "rename"},
        {ops->rmdir != NULL, "rmdir"},
        {ops->usage != NULL, "usage"},
        {ops->lock != NULL && ops->unlock != NULL, "lock and unlock"},
        {ops->mem_free != NULL ||
             (ops->mem_alloc == NULL && ops->mem_register == NULL),
         "mem_free"},
    };
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
        if (!required[i].present) {
            return required[i].name;
        }
    }
    return NULL;
}

static int check_table(const struct kvt_fs_ops *ops, struct kvt_error *err)
{
    if (ops->version != KVT_FS_VERSION || ops->size != sizeof *ops) {
        return kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, 0, ops->name,
                             "rebuild it against this version's headers",
                             "the adapter speaks version %u of the interface, "
                             "this library version %u",
                             ops->version, KVT_FS_VERSION);
    }
    const char *missing = missing_member(ops);
    if (missing != NULL) {
        return kvt_error_set(err, KVT_ERR_INTERNAL, 0, ops->name, NULL,
                             "the adapter's table lacks %s", missing);
    }
    return KVT_OK;
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
    return partial && fs->core->pool == NULL ? -ENOMEM : 0;
}

static void unmount_one(struct kvt_fs *fs)
{
    struct kvt_fs_core *core = fs->core;
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
    int rc = check_table(ops, err);
    if (rc != KVT_OK) {
        return rc;
    }
    struct kvt_fs_core *core = calloc(1, sizeof *core);
    if (core == NULL) {
        return no_memory(args, err);
    }
    struct kvt_fs *mounted = NULL;
    rc = ops->mount(args, &mounted, err);
    if (rc != KVT_OK) {
        free(core);
        return rc;
    }
    mounted->core = core;
    if (add_core(mounted, name, args->config, args->inner) != 0) {
        unmount_one(mounted);
        return no_memory(args, err);
    }
    *fs = mounted;
    return KVT_OK;
}

int kvt_fs_mount(const char *name, const struct kvt_fs_mount_args *args,
                 struct kvt_fs **fs, struct kvt_error *err)
{
    const char *colon = strchr(name, ':');
    size_t size = colon != NULL ? (size_t)(colon - name) : strlen(name);
    const struct kvt_fs_ops *ops = find(name, size, err);
    if (ops == NULL) {
        return KVT_ERR_NOT_SUPPORTED;
    }
    if (ops->wraps != (colon != NULL)) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, 0, name,
                             "write it as trace:posix",
                             ops->wraps ? "%.*s wraps another adapter"
                                        : "%.*s wraps no other adapter",
                             (int)size, name);
    }
    if (colon == NULL) {
        return mount_one(ops, name, args, fs, err);
    }
    struct kvt_fs_mount_args outer = *args;
    int rc = kvt_fs_mount(colon + 1, args, &outer.inner, err);
    if (rc == KVT_OK) {
        rc = mount_one(ops, name, &outer, fs, err);
        if (rc != KVT_OK) {
            kvt_fs_unmount(outer.inner);
        }
    }
    return rc;
}

void kvt_fs_release(struct kvt_fs *fs)
{
    for (; fs != NULL; fs = fs->core->inner) {
        if (fs->ops->wraps) {
            kvt_wrap_release(fs);
        }
    }
}

void kvt_fs_unmount(struct kvt_fs *fs)
{
    kvt_fs_release(fs); /* or the pools would wait for what hangs */
    while (fs != NULL) {
        struct kvt_fs *inner = fs->core->inner;
        unmount_one(fs);
        fs = inner;
    }
}
