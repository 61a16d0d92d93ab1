/*
 * What wrappers share. A wrapper is an adapter that hands everything on to
 * the mount inside it, and looks at each call or changes what becomes of it:
 * two hooks, around every element and every control call.
 *
 * An author embeds struct kvt_wrap as the first member of the mount, fills a
 * table with KVT_WRAP_OPS and one of
 *   KVT_WRAP_BLOCKING  elements come one by one to `before` and `after`, on
 *                      the thread that carries them out, which the hooks may
 *                      block. FETCH and PUBLISH come as their steps.
 *   KVT_WRAP_QUEUED    the queues of the inner mount as they are, for hooks
 *                      that only look: `before` runs when an element is
 *                      handed over and cannot refuse it, `after` when it is
 *                      done.
 * and calls kvt_wrap_init inside mount.
 */
#ifndef KVT_FS_WRAP_H
#define KVT_FS_WRAP_H

#include <kvtier/fs.h>

/* Elements go by their enum kvt_fs_op; control calls continue it. */
enum kvt_wrap_op {
    KVT_WRAP_MKDIRS = KVT_FS_OP_COUNT,
    KVT_WRAP_LIST,
    KVT_WRAP_RENAME,
    KVT_WRAP_RMDIR,
    KVT_WRAP_USAGE,
    KVT_WRAP_LOCK,
    KVT_WRAP_UNLOCK,
    KVT_WRAP_PROBE,
    KVT_WRAP_LINK,
    KVT_WRAP_TRUNCATE,
    KVT_WRAP_ALLOCATE,
    KVT_WRAP_ADVISE,
    KVT_WRAP_OP_COUNT,
};

/* "read", "mkdirs": constant. */
const char *kvt_wrap_op_name(unsigned op);

/* An open file of a wrapper. */
struct kvt_wrap_file {
    struct kvt_fs_file base;
    struct kvt_fs_file *inner;
    uint64_t number;            /* the wrapper's own */
    struct kvt_fs_elem closing; /* where there is no memory for a copy */
    char path[];                /* as it was opened */
};

/* One call on its way. */
struct kvt_wrap_call {
    unsigned op;      /* enum kvt_fs_op or enum kvt_wrap_op */
    const char *path; /* "" where there is none */
    const char *to;   /* RENAME, LINK: the other name; otherwise null */
    uint64_t offset;
    uint64_t size;              /* bytes asked for, or the new size of a file */
    struct kvt_fs_elem *elem;   /* null: a control call */
    struct kvt_wrap_file *file; /* null: none */
    /* the hooks' own */
    uint64_t limit; /* `before` lowers it: READ and WRITE move no more bytes */
    int64_t start_ns;
};

struct kvt_wrap;

struct kvt_wrap_hooks {
    /* Returns 0, or a negative errno in place of the call (a CLOSE is carried
     * out all the same). Null: 0. */
    int64_t (*before)(struct kvt_wrap *wrap, struct kvt_wrap_call *call);
    /* Runs once for each call, also for one that was refused, with what the
     * caller is told. Null: nothing is done. */
    void (*after)(struct kvt_wrap *wrap, struct kvt_wrap_call *call,
                  int64_t result);
    /* Ends what `before` keeps waiting without an end. Any thread; null:
     * nothing is. */
    void (*release)(struct kvt_wrap *wrap);
};

/* A wrapper's mount. */
struct kvt_wrap {
    struct kvt_fs base;
    struct kvt_fs_ops ops; /* without what the inner mount lacks */
    struct kvt_fs *inner;
    const struct kvt_wrap_hooks *hooks;
};

void kvt_wrap_init(struct kvt_wrap *wrap, const struct kvt_fs_ops *ops,
                   const struct kvt_wrap_hooks *hooks,
                   const struct kvt_fs_mount_args *args);

/* For the core, on a wrapper's mount: see the hook. */
void kvt_wrap_release(struct kvt_fs *fs);

/* Call the hooks; kvt_wrap_end returns `result`. */
int64_t kvt_wrap_begin(struct kvt_wrap *wrap, struct kvt_wrap_call *call);
int64_t kvt_wrap_end(struct kvt_wrap *wrap, struct kvt_wrap_call *call,
                     int64_t result);
/* The call that an element is; its file is `file`. */
struct kvt_wrap_call kvt_wrap_describe(struct kvt_fs_elem *elem,
                                       struct kvt_wrap_file *file);
/* The open file that an element works on, or null: operations on paths may
 * carry an old one along. */
struct kvt_wrap_file *kvt_wrap_file_of(const struct kvt_fs_elem *elem);
/* A file that is not open yet (free with free); null without memory. */
struct kvt_wrap_file *kvt_wrap_file_new(struct kvt_fs *fs, const char *path);

/* wrap_queue.c, wrap.c, wrap_control.c: members of the table. */
extern const struct kvt_fs_queue_ops kvt_wrap_queue;
int64_t kvt_wrap_execute(struct kvt_fs *fs, struct kvt_fs_elem *elem);
int kvt_wrap_mkdirs(struct kvt_fs *fs, const char *path);
int kvt_wrap_list(struct kvt_fs *fs, const char *path, bool sizes,
                  kvt_fs_list_fn each, void *arg);
int kvt_wrap_rename(struct kvt_fs *fs, const char *from, const char *to,
                    bool replace);
int kvt_wrap_rmdir(struct kvt_fs *fs, const char *path);
int kvt_wrap_usage(struct kvt_fs *fs, struct kvt_fs_usage *usage);
int kvt_wrap_lock(struct kvt_fs *fs, const char *path, const char *holder,
                  char *owner, size_t owner_size, struct kvt_fs_lock **lock);
void kvt_wrap_unlock(struct kvt_fs_lock *lock);
int kvt_wrap_probe(struct kvt_fs *fs);
int kvt_wrap_link(struct kvt_fs *fs, const char *from, const char *to);
int kvt_wrap_truncate(struct kvt_fs *fs, struct kvt_fs_file *file,
                      uint64_t size);
int kvt_wrap_allocate(struct kvt_fs *fs, struct kvt_fs_file *file,
                      uint64_t size);
int kvt_wrap_advise(struct kvt_fs *fs, struct kvt_fs_file *file,
                    uint64_t offset, uint64_t size, enum kvt_fs_advice advice);
int kvt_wrap_mem_alloc(struct kvt_fs *fs, size_t size, void **base,
                       void **cookie);
int kvt_wrap_mem_register(struct kvt_fs *fs, void *base, size_t size,
                          void **cookie);
void kvt_wrap_mem_free(struct kvt_fs *fs, void *base, size_t size, void *cookie,
                       bool registered);

#define KVT_WRAP_OPS                                                           \
    .size = sizeof(struct kvt_fs_ops), .version = KVT_FS_VERSION,              \
    .mkdirs = kvt_wrap_mkdirs, .list = kvt_wrap_list,                          \
    .rename = kvt_wrap_rename, .rmdir = kvt_wrap_rmdir,                        \
    .usage = kvt_wrap_usage, .lock = kvt_wrap_lock, .unlock = kvt_wrap_unlock, \
    .probe = kvt_wrap_probe, .link = kvt_wrap_link,                            \
    .truncate = kvt_wrap_truncate, .allocate = kvt_wrap_allocate,              \
    .advise = kvt_wrap_advise, .mem_alloc = kvt_wrap_mem_alloc,                \
    .mem_register = kvt_wrap_mem_register, .mem_free = kvt_wrap_mem_free,      \
    .wraps = true
#define KVT_WRAP_BLOCKING .execute = kvt_wrap_execute
#define KVT_WRAP_QUEUED .queue = &kvt_wrap_queue, .execute = kvt_wrap_execute

#endif
