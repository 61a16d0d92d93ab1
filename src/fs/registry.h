/* The adapters of this build, by name. */
#ifndef KVT_FS_REGISTRY_H
#define KVT_FS_REGISTRY_H

#include <kvtier/fs.h>

/* Mounts `name` at `args->root`. Returns KVT_OK and sets `*fs` (end with
 * kvt_fs_unmount), or a public code with `err` filled. */
int kvt_fs_mount(const char *name, const struct kvt_fs_mount_args *args,
                 struct kvt_fs **fs, struct kvt_error *err);

/* Ends what a wrapper keeps waiting without an end (a `hang` of the fault
 * wrapper): with -EIO, now and from now on. To be called before the last
 * queues are emptied. Null is allowed; any thread. */
void kvt_fs_release(struct kvt_fs *fs);

/* Null is allowed. No queue, file or lock may be open. */
void kvt_fs_unmount(struct kvt_fs *fs);

struct kvt_fs_adapter_info {
    const char *kind; /* "fs" or "wrapper" */
    const char *name;
    bool available;
    const char *reason; /* why not, or what it is */
};

/* The i-th adapter or wrapper that this version knows; false behind the
 * last. */
bool kvt_fs_adapter(size_t i, struct kvt_fs_adapter_info *info);

#endif
