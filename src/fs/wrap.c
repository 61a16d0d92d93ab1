/* The mount of a wrapper, and elements carried out by blocking calls. */
#include "fs/wrap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *kvt_wrap_op_name(unsigned op)
{
    static const char *const names[KVT_WRAP_OP_COUNT] = {
        [KVT_FS_READ] = "read",           [KVT_FS_WRITE] = "write",
        [KVT_FS_DATASYNC] = "datasync",   [KVT_FS_SYNC] = "sync",
        [KVT_FS_PUNCH] = "punch",         [KVT_FS_OPEN] = "open",
        [KVT_FS_CLOSE] = "close",         [KVT_FS_STAT] = "stat",
        [KVT_FS_REMOVE] = "remove",       [KVT_FS_FETCH] = "fetch",
        [KVT_FS_PUBLISH] = "publish",     [KVT_FS_WAIT] = "wait",
        [KVT_WRAP_MKDIRS] = "mkdirs",     [KVT_WRAP_LIST] = "list",
        [KVT_WRAP_RENAME] = "rename",     [KVT_WRAP_RMDIR] = "rmdir",
        [KVT_WRAP_USAGE] = "usage",       [KVT_WRAP_LOCK] = "lock",
        [KVT_WRAP_UNLOCK] = "unlock",     [KVT_WRAP_PROBE] = "probe",
        [KVT_WRAP_LINK] = "link",         [KVT_WRAP_TRUNCATE] = "truncate",
        [KVT_WRAP_ALLOCATE] = "allocate", [KVT_WRAP_ADVISE] = "advise",
    };
    const char *name = op < KVT_WRAP_OP_COUNT ? names[op] : NULL;
    return name != NULL ? name : "?";
}

void kvt_wrap_init(struct kvt_wrap *wrap, const struct kvt_fs_ops *ops,
                   const struct kvt_wrap_hooks *hooks,
                   const struct kvt_fs_mount_args *args)
{
    const struct kvt_fs_ops *inner = args->inner->ops;
    wrap->ops = *ops;
    if (inner->mem_alloc == NULL) {
        wrap->ops.mem_alloc = NULL;
    }
    if (inner->mem_register == NULL) {
        wrap->ops.mem_register = NULL;
    }
    wrap->base.ops = &wrap->ops;
    wrap->base.facts = args->inner->facts;
    wrap->base.fallback_reason = NULL;
    wrap->inner = args->inner;
    wrap->hooks = hooks;
}

void kvt_wrap_release(struct kvt_fs *fs)
{
    struct kvt_wrap *wrap = (struct kvt_wrap *)fs;
    /* a wrapper may be written without this file */
    bool ours = fs->ops->mkdirs == kvt_wrap_mkdirs;
    if (ours && wrap->hooks->release != NULL) {
        wrap->hooks->release(wrap);
    }
}

int64_t kvt_wrap_begin(struct kvt_wrap *wrap, struct kvt_wrap_call *call)
{
    return wrap->hooks->before != NULL ? wrap->hooks->before(wrap, call) : 0;
}

int64_t kvt_wrap_end(struct kvt_wrap *wrap, struct kvt_wrap_call *call,
                     int64_t result)
{
    if (wrap->hooks->after != NULL) {
        wrap->hooks->after(wrap, call, result);
    }
    return result;
}

struct kvt_wrap_call kvt_wrap_describe(struct kvt_fs_elem *elem,
                                       struct kvt_wrap_file *file)
{
    const char *path = file != NULL ? file->path : elem->path;
    return (struct kvt_wrap_call){
        .op = elem->op,
        .path = path != NULL ? path : "",
        .offset = elem->offset,
        .size =
            elem->op == KVT_FS_PUNCH ? elem->length : kvt_fs_elem_bytes(elem),
        .elem = elem,
        .file = file,
        .limit = UINT64_MAX,
    };
}

struct kvt_wrap_file *kvt_wrap_file_of(const struct kvt_fs_elem *elem)
{
    switch (elem->op) {
    case KVT_FS_READ:
    case KVT_FS_WRITE:
    case KVT_FS_DATASYNC:
    case KVT_FS_SYNC:
    case KVT_FS_PUNCH:
    case KVT_FS_CLOSE:
        return (struct kvt_wrap_file *)elem->file;
    default:
        return NULL;
    }
}

struct kvt_wrap_file *kvt_wrap_file_new(struct kvt_fs *fs, const char *path)
{
    size_t size = strlen(path) + 1;
    struct kvt_wrap_file *file = malloc(sizeof *file + size);
    if (file != NULL) {
        file->base.fs = fs;
        file->inner = NULL;
        file->number = 0;
        memcpy(file->path, path, size);
    }
    return file;
}

/* Elements, blocking ------------------------------------------------------ */

static int64_t run_open(struct kvt_wrap *wrap, struct kvt_fs_elem *elem,
                        struct kvt_fs_elem *copy)
{
    struct kvt_wrap_file *file = kvt_wrap_file_new(&wrap->base, elem->path);
    if (file == NULL) {
        return -ENOMEM;
    }
    int64_t rc = kvt_fs_run(wrap->inner, copy);
    if (rc < 0) {
        free(file);
        return rc;
    }
    file->inner = copy->file;
    elem->file = &file->base;
    return rc;
}

/* As many of the slices as hold the first `limit` bytes. */
static int64_t run_shortened(struct kvt_wrap *wrap, struct kvt_fs_elem *copy,
                             uint64_t limit)
{
    size_t size = copy->slice_count * sizeof copy->slices[0];
    struct kvt_slice *slices = malloc(size + 1);
    if (slices == NULL) {
        return -ENOMEM;
    }
    memcpy(slices, copy->slices, size);
    for (uint32_t i = 0; i < copy->slice_count; i++) {
        if (slices[i].size > limit) {
            slices[i].size = (size_t)limit;
        }
        limit -= slices[i].size;
    }
    copy->slices = slices;
    int64_t rc = kvt_fs_run(wrap->inner, copy);
    free(slices);
    return rc;
}

/* Carries the element out on the inner mount. */
static int64_t run_inside(struct kvt_wrap *wrap, struct kvt_fs_elem *elem,
                          const struct kvt_wrap_call *call)
{
    struct kvt_fs_elem copy = {
        .op = elem->op,
        .flags = elem->flags & ~(uint32_t)(KVT_FS_THEN | KVT_FS_NOT_INLINE),
        .file = call->file != NULL ? call->file->inner : NULL,
        .path = elem->path,
        .temp_path = elem->temp_path,
        .offset = elem->offset,
        .length = elem->length,
        .slices = elem->slices,
        .slice_count = elem->slice_count};
    bool moves = elem->op == KVT_FS_READ || elem->op == KVT_FS_WRITE;
    int64_t rc;
    if (elem->op == KVT_FS_OPEN) {
        rc = run_open(wrap, elem, &copy);
    } else if (moves && call->limit < call->size) {
        rc = run_shortened(wrap, &copy, call->limit);
    } else {
        rc = kvt_fs_run(wrap->inner, &copy);
    }
    elem->file_size = copy.file_size;
    return rc;
}

int64_t kvt_wrap_execute(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    struct kvt_wrap *wrap = (struct kvt_wrap *)fs;
    if (elem->op == KVT_FS_FETCH || elem->op == KVT_FS_PUBLISH) {
        return -EOPNOTSUPP; /* their steps come here one by one */
    }
    bool opens = elem->op == KVT_FS_OPEN;
    struct kvt_wrap_file *file = kvt_wrap_file_of(elem);
    struct kvt_wrap_call call = kvt_wrap_describe(elem, file);
    int64_t rc = kvt_wrap_begin(wrap, &call);
    if (rc == 0 || elem->op == KVT_FS_CLOSE) {
        int64_t done = run_inside(wrap, elem, &call);
        rc = rc < 0 ? rc : done;
    }
    if (opens && rc == 0) {
        call.file = (struct kvt_wrap_file *)elem->file;
    }
    rc = kvt_wrap_end(wrap, &call, rc);
    if (elem->op == KVT_FS_CLOSE) {
        free(file);
    }
    return rc;
}
