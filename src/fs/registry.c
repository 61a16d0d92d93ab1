#include "fs/registry.h"

#include "core/config.h"
#include "fs/fs_core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

extern const struct kvt_fs_ops kvt_fs_posix;

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
    {"fs", "mem", NULL, "not part of this version; use posix on a tmpfs"},
    {"wrapper", "fault", NULL, "not part of this version"},
    {"wrapper", "trace", NULL, "not part of this version"},
    {"wrapper", "crash", NULL, "not part of this version"},
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

static const struct kvt_fs_ops *find(const char *name, struct kvt_error *err)
{
    for (size_t i = 0; i < ADAPTER_COUNT; i++) {
        if (strcmp(adapters[i].name, name) != 0) {
            continue;
        }
        if (adapters[i].ops == NULL) {
            kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, 0, name,
                          "run `kvtier backends` to see what this build has",
                          "the file-system adapter \"%s\" is %s", name,
                          adapters[i].absent);
        }
        return adapters[i].ops;
    }
    kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, 0, name,
                  "run `kvtier backends` to see what this build has",
                  "\"%s\" cannot be mounted by this version", name);
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
        {ops->queue != NULL || ops->execute != NULL, "queue or execute"},
        {ops->mkdirs != NULL, "mkdirs"},
        {ops->list != NULL, "list"},
        {ops->rename != NULL, "rename"},
        {ops->rmdir != NULL, "rmdir"},
        {ops->usage != NULL, "usage"},
        {ops->lock != NULL && ops->unlock != NULL, "lock and unlock"},
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

int kvt_fs_mount(const char *name, const struct kvt_fs_mount_args *args,
                 struct kvt_fs **fs, struct kvt_error *err)
{
    const struct kvt_fs_ops *ops = find(name, err);
    if (ops == NULL) {
        return KVT_ERR_NOT_SUPPORTED;
    }
    int rc = check_table(ops, err);
    if (rc != KVT_OK) {
        return rc;
    }
    struct kvt_fs_core *core = calloc(1, sizeof *core);
    if (core == NULL) {
        return kvt_error_set(err, KVT_ERR_INTERNAL, ENOMEM, args->root, NULL,
                             "no memory to mount");
    }
    struct kvt_fs *mounted = NULL;
    rc = ops->mount(args, &mounted, err);
    if (rc != KVT_OK) {
        free(core);
        return rc;
    }
    mounted->core = core;
    if (ops->queue == NULL) {
        uint32_t threads = (uint32_t)kvt_config_u64(args->config, "threads");
        core->pool = kvt_fs_pool_open(mounted, threads);
        if (core->pool == NULL) {
            ops->unmount(mounted);
            free(core);
            return kvt_error_set(err, KVT_ERR_INTERNAL, ENOMEM, args->root,
                                 NULL, "no memory for the pool of threads");
        }
    }
    *fs = mounted;
    return KVT_OK;
}

void kvt_fs_unmount(struct kvt_fs *fs)
{
    if (fs == NULL) {
        return;
    }
    struct kvt_fs_core *core = fs->core;
    kvt_fs_pool_close(core->pool);
    fs->ops->unmount(fs);
    free(core);
}
