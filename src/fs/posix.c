/* A directory of the operating system, by blocking calls relative to its
 * descriptor: a later rename of the root changes nothing, and no path is
 * resolved twice. Its parts, which others share: posix.h. */
#include "fs/posix.h"

#include <errno.h>
#include <stdlib.h>

extern const struct kvt_fs_ops kvt_fs_posix;

/* `auto` is the page cache here: with blocking calls, one element a thread,
 * its read-ahead and write-behind are worth more than a copy saved. */
static int posix_mount(const struct kvt_fs_mount_args *args,
                       struct kvt_fs **out, struct kvt_error *err)
{
    struct posix_fs *fs = calloc(1, sizeof *fs);
    if (fs == NULL) {
        return kvt_error_set(err, KVT_ERR_INTERNAL, ENOMEM, args->root, NULL,
                             "no memory to mount");
    }
    int rc = kvt_posix_init(fs, args, false, err);
    if (rc != KVT_OK) {
        free(fs);
        return rc;
    }
    fs->base.ops = &kvt_fs_posix;
    *out = &fs->base;
    return KVT_OK;
}

static void posix_unmount(struct kvt_fs *base)
{
    kvt_posix_fini((struct posix_fs *)base);
    free(base);
}

const struct kvt_fs_ops kvt_fs_posix = {
    .size = sizeof(struct kvt_fs_ops),
    .version = KVT_FS_VERSION,
    .name = "posix",
    .summary = "a directory of a mounted file system, by blocking calls",
    .mount = posix_mount,
    .unmount = posix_unmount,
    .try_now = kvt_posix_try_now,
    KVT_POSIX_CALLS,
};
