/* Control calls of a wrapper: each is handed on between the two hooks. */
#include "fs/wrap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct kvt_wrap *wrap_of(struct kvt_fs *fs)
{
    return (struct kvt_wrap *)fs;
}

static struct kvt_wrap_call call_of(enum kvt_wrap_op op, const char *path)
{
    return (struct kvt_wrap_call){.op = op, .path = path, .limit = UINT64_MAX};
}

static struct kvt_wrap_call file_call(enum kvt_wrap_op op,
                                      struct kvt_fs_file *base)
{
    struct kvt_wrap_file *file = (struct kvt_wrap_file *)base;
    struct kvt_wrap_call call = call_of(op, file->path);
    call.file = file;
    return call;
}

int kvt_wrap_mkdirs(struct kvt_fs *fs, const char *path)
{
    struct kvt_wrap *wrap = wrap_of(fs);
    struct kvt_wrap_call call = call_of(KVT_WRAP_MKDIRS, path);
    int64_t rc = kvt_wrap_begin(wrap, &call);
    if (rc == 0) {
        rc = kvt_fs_mkdirs(wrap->inner, path);
    }
    return (int)kvt_wrap_end(wrap, &call, rc);
}

int kvt_wrap_list(struct kvt_fs *fs, const char *path, bool sizes,
                  kvt_fs_list_fn each, void *arg)
{
    struct kvt_wrap *wrap = wrap_of(fs);
    struct kvt_wrap_call call = call_of(KVT_WRAP_LIST, path);
    int64_t rc = kvt_wrap_begin(wrap, &call);
    if (rc == 0) {
        rc = kvt_fs_list(wrap->inner, path, sizes, each, arg);
    }
    return (int)kvt_wrap_end(wrap, &call, rc);
}

int kvt_wrap_rename(struct kvt_fs *fs, const char *from, const char *to,
                    bool replace)
{
    struct kvt_wrap *wrap = wrap_of(fs);
    struct kvt_wrap_call call = call_of(KVT_WRAP_RENAME, from);
    call.to = to;
    int64_t rc = kvt_wrap_begin(wrap, &call);
    if (rc == 0) {
        rc = kvt_fs_rename(wrap->inner, from, to, replace);
    }
    return (int)kvt_wrap_end(wrap, &call, rc);
}

int kvt_wrap_link(struct kvt_fs *fs, const char *from, const char *to)
{
    struct kvt_wrap *wrap = wrap_of(fs);
    struct kvt_wrap_call call = call_of(KVT_WRAP_LINK, from);
    call.to = to;
    int64_t rc = kvt_wrap_begin(wrap, &call);
    if (rc == 0) {
        rc = kvt_fs_link(wrap->inner, from, to);
    }
    return (int)kvt_wrap_end(wrap, &call, rc);
}

int kvt_wrap_rmdir(struct kvt_fs *fs, const char *path)
{
    struct kvt_wrap *wrap = wrap_of(fs);
    struct kvt_wrap_call call = call_of(KVT_WRAP_RMDIR, path);
    int64_t rc = kvt_wrap_begin(wrap, &call);
    if (rc == 0) {
        rc = kvt_fs_rmdir(wrap->inner, path);
    }
    return (int)kvt_wrap_end(wrap, &call, rc);
}

int kvt_wrap_usage(struct kvt_fs *fs, struct kvt_fs_usage *usage)
{
    struct kvt_wrap *wrap = wrap_of(fs);
    struct kvt_wrap_call call = call_of(KVT_WRAP_USAGE, ".");
    int64_t rc = kvt_wrap_begin(wrap, &call);
    if (rc == 0) {
        rc = kvt_fs_usage(wrap->inner, usage);
    }
    return (int)kvt_wrap_end(wrap, &call, rc);
}

int kvt_wrap_probe(struct kvt_fs *fs)
{
    struct kvt_wrap *wrap = wrap_of(fs);
    struct kvt_wrap_call call = call_of(KVT_WRAP_PROBE, ".");
    int64_t rc = kvt_wrap_begin(wrap, &call);
    if (rc == 0) {
        rc = kvt_fs_probe(wrap->inner);
    }
    /* a remount shows here first */
    if (wrap->inner->facts.generation != fs->facts.generation) {
        fs->facts = wrap->inner->facts;
    }
    return (int)kvt_wrap_end(wrap, &call, rc);
}

/* Files ------------------------------------------------------------------- */

int kvt_wrap_truncate(struct kvt_fs *fs, struct kvt_fs_file *file,
                      uint64_t size)
{
    struct kvt_wrap *wrap = wrap_of(fs);
    struct kvt_wrap_call call = file_call(KVT_WRAP_TRUNCATE, file);
    call.size = size;
    int64_t rc = kvt_wrap_begin(wrap, &call);
    if (rc == 0) {
        rc = kvt_fs_truncate(wrap->inner, call.file->inner, size);
    }
    return (int)kvt_wrap_end(wrap, &call, rc);
}

int kvt_wrap_allocate(struct kvt_fs *fs, struct kvt_fs_file *file,
                      uint64_t size)
{
    struct kvt_wrap *wrap = wrap_of(fs);
    struct kvt_wrap_call call = file_call(KVT_WRAP_ALLOCATE, file);
    call.size = size;
    int64_t rc = kvt_wrap_begin(wrap, &call);
    if (rc == 0) {
        rc = kvt_fs_allocate(wrap->inner, call.file->inner, size);
    }
    return (int)kvt_wrap_end(wrap, &call, rc);
}

int kvt_wrap_advise(struct kvt_fs *fs, struct kvt_fs_file *file,
                    uint64_t offset, uint64_t size, enum kvt_fs_advice advice)
{
    struct kvt_wrap *wrap = wrap_of(fs);
    struct kvt_wrap_call call = file_call(KVT_WRAP_ADVISE, file);
    call.offset = offset;
    call.size = size;
    int64_t rc = kvt_wrap_begin(wrap, &call);
    if (rc == 0) {
        rc = kvt_fs_advise(wrap->inner, call.file->inner, offset, size, advice);
    }
    return (int)kvt_wrap_end(wrap, &call, rc);
}

/* Locks ------------------------------------------------------------------- */

struct wrap_lock {
    struct kvt_fs_lock base;
    struct kvt_fs_lock *inner;
    char path[];
};

int kvt_wrap_lock(struct kvt_fs *fs, const char *path, const char *holder,
                  char *owner, size_t owner_size, struct kvt_fs_lock **out)
{
    struct kvt_wrap *wrap = wrap_of(fs);
    size_t size = strlen(path) + 1;
    struct wrap_lock *lock = malloc(sizeof *lock + size);
    if (lock == NULL) {
        return -ENOMEM;
    }
    memcpy(lock->path, path, size);
    struct kvt_wrap_call call = call_of(KVT_WRAP_LOCK, path);
    int64_t rc = kvt_wrap_begin(wrap, &call);
    if (rc == 0) {
        rc = kvt_fs_lock(wrap->inner, path, holder, owner, owner_size,
                         &lock->inner);
    }
    if (rc == 0) {
        lock->base.fs = fs;
        *out = &lock->base;
    } else {
        free(lock);
    }
    return (int)kvt_wrap_end(wrap, &call, rc);
}

void kvt_wrap_unlock(struct kvt_fs_lock *base)
{
    struct wrap_lock *lock = (struct wrap_lock *)base;
    struct kvt_wrap *wrap = wrap_of(base->fs);
    struct kvt_wrap_call call = call_of(KVT_WRAP_UNLOCK, lock->path);
    kvt_wrap_begin(wrap, &call);
    kvt_fs_unlock(lock->inner);
    kvt_wrap_end(wrap, &call, 0);
    free(lock);
}

/* Memory: the inner mount's own --------------------------------------------*/

int kvt_wrap_mem_alloc(struct kvt_fs *fs, size_t size, void **base,
                       void **cookie)
{
    struct kvt_fs *inner = wrap_of(fs)->inner;
    return inner->ops->mem_alloc(inner, size, base, cookie);
}

int kvt_wrap_mem_register(struct kvt_fs *fs, void *base, size_t size,
                          void **cookie)
{
    struct kvt_fs *inner = wrap_of(fs)->inner;
    return inner->ops->mem_register(inner, base, size, cookie);
}

void kvt_wrap_mem_free(struct kvt_fs *fs, void *base, size_t size, void *cookie,
                       bool registered)
{
    struct kvt_fs *inner = wrap_of(fs)->inner;
    inner->ops->mem_free(inner, base, size, cookie, registered);
}
