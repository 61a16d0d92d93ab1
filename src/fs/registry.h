/* The adapters of this build, by name. */
#ifndef KVT_FS_REGISTRY_H
#define KVT_FS_REGISTRY_H

#include <kvtier/fs.h>

/* Ends what a wrapper keeps waiting without an end (a `hang` of the fault
 * wrapper): with -EIO, now and from now on. To be called before the last
 * queues are emptied. Null is allowed; any thread. */
void kvt_fs_release(struct kvt_fs *fs);

struct kvt_fs_adapter_info {
    const char *kind; /* "fs" or "wrapper" */
    const char *name;
    bool available;
    const char *reason; /* why not, or what it is */
};

typedef int (*kvt_fs_adapter_fn)(const struct kvt_fs_adapter_info *info,
                                 void *arg);

/* Calls `each` for every adapter and wrapper that this version knows, and for
 * every module that `config` finds: it is loaded for that. Borrowed during
 * the call. Stops at non-zero and returns it; a negative code, with `err`
 * filled, when `module_path` cannot be read. */
int kvt_fs_adapters(const struct kvt_config *config, kvt_fs_adapter_fn each,
                    void *arg, struct kvt_error *err);

#endif
