/* The table of an adapter is checked once; nothing behind this asks again. */
#include "fs/fs_core.h"

#include <stddef.h>
#include <string.h>

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
        {ops->queue == NULL ||
             (ops->queue->open != NULL && ops->queue->submit != NULL &&
              ops->queue->poll != NULL && ops->queue->wake != NULL &&
              ops->queue->close != NULL),
         "a member of its queue: open, submit, poll, wake or close"},
    };
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
        if (!required[i].present) {
            return required[i].name;
        }
    }
    return NULL;
}

static int wrong_size(const struct kvt_fs_ops *ops, struct kvt_error *err)
{
    return kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, 0, NULL,
                         "rebuild it against this version's headers",
                         "the adapter's table has %u bytes, this library "
                         "expects %zu",
                         (unsigned)ops->size, sizeof *ops);
}

void kvt_fs_full_table(const struct kvt_fs_ops *ops, struct kvt_fs_ops *full)
{
    memset(full, 0, sizeof *full);
    memcpy(full, ops, ops->size < sizeof *full ? ops->size : sizeof *full);
}

int kvt_fs_check_table(const struct kvt_fs_ops *given, struct kvt_error *err)
{
    struct kvt_fs_ops full;
    const struct kvt_fs_ops *ops = &full;
    if (given->size < offsetof(struct kvt_fs_ops, mount)) {
        return wrong_size(given, err);
    }
    kvt_fs_full_table(given, &full);
    if (ops->version != KVT_FS_VERSION) {
        return kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, 0, NULL,
                             "rebuild it against this version's headers",
                             "the adapter speaks version %u of the interface, "
                             "this library version %u",
                             (unsigned)ops->version, KVT_FS_VERSION);
    }
    if (ops->size > sizeof *ops) { /* it wants what this library has not */
        return wrong_size(ops, err);
    }
    if (ops->name == NULL || ops->summary == NULL) {
        return kvt_error_set(err, KVT_ERR_INTERNAL, 0, NULL, "fill it",
                             "the adapter's table lacks name or summary");
    }
    const char *missing = missing_member(ops);
    if (missing != NULL) {
        return kvt_error_set(err, KVT_ERR_INTERNAL, 0, ops->name, "fill it",
                             "the adapter's table lacks %s", missing);
    }
    return KVT_OK;
}
