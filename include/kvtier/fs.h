/*
 * kvtier/fs.h - how bytes reach a file system: the boundary between layouts
 * (which decide which bytes go to which file) and adapters (which move them).
 *
 * What takes time goes through a *queue* as *elements*: submit now, poll
 * later, be told by a callback. What is rare is a blocking control call.
 * An adapter that has only blocking calls fills `execute` and gets its queues
 * from the core's pool of threads; one with a ring of its own fills `queue`.
 * What an adapter leaves out, the core emulates once (see each member).
 *
 * All paths are relative to the mounted root, `/` between names, no leading
 * slash; "." is the root; what would leave it, as "..", is -EINVAL. Errors are
 * negative errno values, untouched from where they arose.
 *
 * Life of a mount, for the author of an adapter:
 *   1. mount: allocate a struct whose first member is struct kvt_fs, fill
 *      `ops` and `facts`; on failure free everything, fill the error and
 *      return it (no other call follows).
 *   2. The core adds what the adapter leaves out (threads, emulation).
 *   3. Control calls and queue_open come from any thread, at any time.
 *   4. A queue belongs to one thread at a time: submit and poll are never
 *      called concurrently on one queue; several queues run side by side.
 *   5. Every element given to submit is completed exactly once, by
 *      kvt_fs_complete, inside poll; there is no cancelling.
 *   6. queue_close comes when nothing is in flight on the queue.
 *   7. unmount comes when no queue, file, lock or memory is open; it frees
 *      all.
 *
 * An adapter is part of the library, or a module: a file kvtier-fs-NAME.so,
 * see the end of this header. A module is never unloaded again.
 *
 * What the core does for every adapter: it checks results (a write is whole
 * or an error), bounds what a queue holds, keeps chains in order, splits at
 * the largest transfer, moves unaligned reads through memory of its own, and
 * keeps deadlines. docs/fs-boundary.md walks through it, call by call.
 */
#ifndef KVTIER_FS_H
#define KVTIER_FS_H

#include <kvtier/base.h>
#include <kvtier/config.h>
#include <kvtier/error.h>
#include <kvtier/mem.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KVT_FS_VERSION 1u

struct kvt_fs;
struct kvt_fs_queue;

/* An open file. An adapter embeds it as the first member of its own. */
struct kvt_fs_file {
    struct kvt_fs *fs;
};

/* Facts about a mount ----------------------------------------------------- */

enum kvt_fs_visibility {
    KVT_FS_VISIBLE_AT_ONCE,
    KVT_FS_VISIBLE_AFTER_SYNC,
    KVT_FS_VISIBLE_AFTER_CLOSE,
};

/* What holds on this mount: proved by the contract suite, never assumed from
 * an adapter's name. Layouts choose by these and by nothing else. */
struct kvt_fs_facts {
    size_t size;
    uint64_t generation; /* changes when a remount may have changed facts */
    /* transfers */
    uint32_t offset_alignment; /* bytes; 1 = none */
    uint32_t length_alignment;
    uint32_t memory_alignment;
    uint32_t depth;          /* transfers worth having in flight */
    uint32_t metadata_depth; /* opens, removes, ... worth having in flight */
    uint32_t slices_max;     /* of one element; the core splits above;
                                UINT32_MAX: no limit */
    uint64_t transfer_max;   /* bytes of one call; the core splits above;
                                UINT64_MAX: no limit */
    uint64_t transfer_best;
    uint32_t allocation_unit; /* bytes: a file takes a multiple of this, on
                                 disk or in memory */
    bool direct;              /* transfers bypass the page cache */
    bool io_uring;            /* and go through a ring of the kernel's */
    /* names */
    uint32_t name_max; /* bytes of one name */
    uint32_t path_max; /* bytes of a path below the root */
    bool exclusive_create;
    bool atomic_rename;
    bool rename_noreplace;
    bool hard_links;
    /* files */
    bool overwrite_in_place;
    bool concurrent_writers;     /* of one file */
    bool removed_stays_readable; /* by those who have it open */
    bool remove_frees_space;     /* false with a trash bin */
    bool punch_hole;
    bool bytes_outlive_process; /* written bytes survive kill -9 */
    bool size_exact_while_open; /* otherwise exact only after close */
    /* other hosts and processes */
    bool shared; /* other hosts may use the same root */
    enum kvt_fs_visibility visibility;
    uint32_t names_stale_ms;      /* names may lie this long */
    uint32_t attributes_stale_ms; /* sizes may */
    bool locks_hold_across_hosts;
    bool survives_fork;
};

/* Elements ---------------------------------------------------------------- */

enum kvt_fs_op {
    KVT_FS_READ = 1,
    KVT_FS_WRITE,
    KVT_FS_DATASYNC,
    KVT_FS_SYNC,  /* of `file`, or of the directory `path` */
    KVT_FS_PUNCH, /* frees [offset, offset + length) of `file` */
    KVT_FS_OPEN,
    KVT_FS_CLOSE,
    KVT_FS_STAT,
    KVT_FS_REMOVE,  /* of the file `path` */
    KVT_FS_FETCH,   /* slices from the file `path` */
    KVT_FS_PUBLISH, /* slices to the file `path`, which appears whole or not
                       at all; `temp_path` in between. Makes the directories
                       of both that are missing */
    KVT_FS_WAIT,    /* completed by kvt_fs_post from any thread */
    KVT_FS_OP_COUNT,
};

enum kvt_fs_flags {
    /* any operation: the element behind this one in the same submit starts
     * only after this one succeeded; otherwise it ends with -ECANCELED. In
     * such a chain an element without a file uses the one that an OPEN before
     * it opened, and a CLOSE of an open file runs whatever failed before */
    KVT_FS_THEN = 1u << 0,
    /* OPEN */
    KVT_FS_FOR_WRITE = 1u << 1, /* read and write; otherwise read only */
    KVT_FS_CREATE = 1u << 2,
    /* with CREATE: -EEXIST when it exists. Where facts.exclusive_create is
     * false it may do nothing: use names that nobody else uses */
    KVT_FS_EXCLUSIVE = 1u << 3,
    /* FETCH: `offset` counts from the end of the file (a file shorter than
     * that is read from its start) */
    KVT_FS_FROM_END = 1u << 4,
    /* FETCH, OPEN: fill `file_size`, otherwise undefined */
    KVT_FS_WANT_SIZE = 1u << 5,
    /* PUBLISH: -EEXIST when `path` exists, which then stays as it is */
    KVT_FS_IF_ABSENT = 1u << 6,
    /* PUBLISH: file and name survive a power loss when it completes */
    KVT_FS_DURABLE = 1u << 7,
    /* the core's: only a thread of the pool may carry it out */
    KVT_FS_NOT_INLINE = 1u << 30,
    /* the core's: a CLOSE in a chain that broke before it */
    KVT_FS_BROKEN = 1u << 29,
    /* the core's: a part of an element, which is what counts */
    KVT_FS_STEP = 1u << 28,
};

/* One piece of work. All that it points to is borrowed until `done` ran.
 *
 * result, when >= 0: READ, FETCH the bytes read (fewer than asked only at the
 * end of the file); WRITE, PUBLISH the bytes written (all of them: fewer is
 * an error); others 0. OPEN sets `file`; CLOSE frees it whatever the result;
 * STAT sets `file_size`. What is a directory is -EISDIR: for an OPEN to read
 * without KVT_FS_WANT_SIZE, at the latest when it is read. */
struct kvt_fs_elem {
    enum kvt_fs_op op;
    uint32_t flags;
    struct kvt_fs_file *file;
    const char *path;
    const char *temp_path;
    uint64_t offset;
    uint64_t length; /* PUNCH */
    const struct kvt_slice *slices;
    uint32_t slice_count;
    /* Runs once, on the thread that polls the queue; may submit to it. */
    void (*done)(struct kvt_fs_elem *elem);
    void *arg;
    /* CLOCK_MONOTONIC; 0 = none. When it passes, the element ends with
     * -ETIMEDOUT, and everything that it points to is free again but for two
     * things: `file`, and memory from kvt_mem_alloc, are in use until the
     * transfer is really over, which `late` tells (a transfer that a device
     * has cannot be recalled): the file must not be closed before. Foreign
     * memory goes through memory of the core's (bytes_copied), both ways. An
     * element of a chain takes the deadline of the chain's first. What has
     * not started at its deadline never starts, but a CLOSE always does. */
    int64_t deadline_ns;
    /* Null, or told once the operation behind an element that ended with
     * -ETIMEDOUT is really over, with its result: on the thread that polls
     * the queue. The outcome of a write is unknown until then. A file that an
     * OPEN delivers so late is closed by the core. */
    void (*late)(void *late_arg, int64_t result);
    void *late_arg;
    bool late_follows; /* result: the deadline ended it, `late` is still to be
                          told (-ECANCELED: it had not started) */
    /* results */
    int64_t result;
    uint64_t file_size;
    bool lost; /* PUBLISH failed, and what `path` named before is gone, too */
    bool partial; /* WRITE, PUBLISH failed: fewer bytes were stored than asked,
                     without an errno (the result is then -EIO) */
    /* the core's and the adapter's own while the element is in flight */
    struct kvt_fs_queue *queue;
    struct kvt_fs_elem *next;   /* in whatever list it is in */
    struct kvt_fs_elem *then;   /* the rest of its chain */
    struct kvt_fs_file *passed; /* the file that its chain has open */
    uint64_t scratch[4];        /* the adapter's */
};

/* Bytes of all slices of an element. */
KVT_API uint64_t kvt_fs_elem_bytes(const struct kvt_fs_elem *elem);

/* Queues: what a layout calls --------------------------------------------- */

struct kvt_fs_queue_options {
    size_t size;     /* of this struct; members behind it are 0 */
    uint32_t depth;  /* elements handed to the adapter at once; 0 = the mount's
                        best. More may be submitted: they wait in the queue. */
    bool poll_works; /* a polling thread may carry out elements itself when
                        the adapter has only blocking calls */
};

/* Opens a queue for the calling thread. 0 or -errno: -EINVAL for options whose
 * size no version of this header has. */
KVT_API int kvt_fs_queue_open(struct kvt_fs *fs,
                              const struct kvt_fs_queue_options *options,
                              struct kvt_fs_queue **queue);
/* 0, or -EBUSY while elements are in flight or linger. Null is allowed. */
KVT_API int kvt_fs_queue_close(struct kvt_fs_queue *queue);
/* Starts `count` elements. Never fails as a whole: each has its result. */
KVT_API void kvt_fs_submit(struct kvt_fs_queue *queue,
                           struct kvt_fs_elem *elems, size_t count);
/* Runs the callbacks of what is done; waits until at least `min` ran, or some
 * ran (or the last that lingered is over) and nothing is in flight, or
 * kvt_fs_wake was called, or `deadline_ns` (CLOCK_MONOTONIC; 0 = none) passed.
 * Returns how many ran. */
KVT_API size_t kvt_fs_poll(struct kvt_fs_queue *queue, size_t min,
                           int64_t deadline_ns);
/* Between the two, what is submitted is only gathered, and then goes to the
 * adapter together: one call for many elements that lie apart. May be nested;
 * kvt_fs_poll does the same around its callbacks. */
KVT_API void kvt_fs_hold(struct kvt_fs_queue *queue);
KVT_API void kvt_fs_let_go(struct kvt_fs_queue *queue);
/* Elements submitted and not completed. */
KVT_API size_t kvt_fs_in_flight(const struct kvt_fs_queue *queue);
/* Elements that ended at their deadline and are not over: the queue has to be
 * polled until there are none before it can be closed. */
KVT_API size_t kvt_fs_lingering(const struct kvt_fs_queue *queue);
/* As kvt_fs_submit of one KVT_FS_WAIT element, and nothing else: starts no
 * I/O, so that it may be called under a lock, before the element is shown to
 * the thread that will post it. */
KVT_API void kvt_fs_expect(struct kvt_fs_queue *queue,
                           struct kvt_fs_elem *elem);
/* Completes a submitted KVT_FS_WAIT element with `result`. Any thread; the
 * queue must stay open until this returned. */
KVT_API void kvt_fs_post(struct kvt_fs_elem *elem, int64_t result);
/* Makes a kvt_fs_poll that waits return, or the next one not wait. Any
 * thread. */
KVT_API void kvt_fs_wake(struct kvt_fs_queue *queue);
/* Carries out one element and waits for it; `done` is not called. Returns
 * its result. For the control plane: with a deadline, it still returns when
 * the operation is really over, and `late` was told by then. */
KVT_API int64_t kvt_fs_run(struct kvt_fs *fs, struct kvt_fs_elem *elem);

/* Memory ------------------------------------------------------------------ */

/* Returns `size` bytes in `*mem` (free with kvt_mem_free). 0 or -errno. */
KVT_API int kvt_mem_alloc(struct kvt_fs *fs, size_t size, struct kvt_mem **mem);
/* Offers the caller's memory, which must stay until kvt_mem_free. It is still
 * foreign where deadlines are concerned. */
KVT_API int kvt_mem_register(struct kvt_fs *fs, void *base, size_t size,
                             struct kvt_mem **mem);
/* For adapters: the cookie that their mem_alloc or mem_register gave for it. */
KVT_API void *kvt_mem_cookie(const struct kvt_mem *mem);

/* Control calls: blocking, rare. 0 or -errno ------------------------------ */

enum kvt_fs_type {
    KVT_FS_TYPE_FILE,
    KVT_FS_TYPE_DIRECTORY,
    KVT_FS_TYPE_OTHER,
};

/* One name of a directory; borrowed during the call. */
struct kvt_fs_dirent {
    const char *name;
    enum kvt_fs_type type;
    /* of files, when sizes were asked for */
    uint64_t size;
    int64_t modified_ns; /* Unix time of the last write */
};
typedef int (*kvt_fs_list_fn)(const struct kvt_fs_dirent *entry, void *arg);

struct kvt_fs_usage {
    uint64_t capacity; /* bytes, as a quota allows them */
    uint64_t available;
};

/* A lock held on a name. An adapter embeds it as the first member. */
struct kvt_fs_lock {
    struct kvt_fs *fs;
};

KVT_API const struct kvt_fs_facts *kvt_fs_facts(const struct kvt_fs *fs);
KVT_API const char *kvt_fs_name(const struct kvt_fs *fs);
/* Why less is in effect than was asked for, of the mount or of what it wraps;
 * "" when nothing is. Lives as long as the mount. */
KVT_API const char *kvt_fs_fallback_reason(const struct kvt_fs *fs);
/* Is the mount alive? -ETIMEDOUT when it does not tell in two seconds. */
KVT_API int kvt_fs_probe(struct kvt_fs *fs);
/* Makes a directory and its parents; one that exists is a success. */
KVT_API int kvt_fs_mkdirs(struct kvt_fs *fs, const char *path);
/* Calls `each` for every name but "." and ".."; what is created or removed
 * meanwhile may be missed. Names that vanish before their size was read are
 * skipped. Stops at non-zero and returns it. A symbolic link is not followed:
 * -ENOTDIR. */
KVT_API int kvt_fs_list(struct kvt_fs *fs, const char *path, bool sizes,
                        kvt_fs_list_fn each, void *arg);
/* Renames a file; `replace` false: -EEXIST when `to` exists. */
KVT_API int kvt_fs_rename(struct kvt_fs *fs, const char *from, const char *to,
                          bool replace);
/* Locks a name for this process until kvt_fs_unlock or its death; the file
 * `path` is made when missing and holds `holder`. -EBUSY when it is held:
 * `owner` then has the holder's text, cut to its size and terminated. Between
 * processes it holds where they see the same files. A forked child does not
 * hold it. */
KVT_API int kvt_fs_lock(struct kvt_fs *fs, const char *path, const char *holder,
                        char *owner, size_t owner_size,
                        struct kvt_fs_lock **lock);
KVT_API void kvt_fs_unlock(struct kvt_fs_lock *lock);
KVT_API int kvt_fs_usage(struct kvt_fs *fs, struct kvt_fs_usage *usage);
/* Removes an empty directory. */
KVT_API int kvt_fs_rmdir(struct kvt_fs *fs, const char *path);
/* Removes a directory and all below it, or a file; one that is missing is a
 * success. A symbolic link goes, what it points to stays. */
KVT_API int kvt_fs_remove_tree(struct kvt_fs *fs, const char *path);
/* A second name for a file: -EEXIST when `to` exists. */
KVT_API int kvt_fs_link(struct kvt_fs *fs, const char *from, const char *to);
KVT_API int kvt_fs_truncate(struct kvt_fs *fs, struct kvt_fs_file *file,
                            uint64_t size);
/* Reserves blocks for [0, size) of a file without changing its size.
 * -EOPNOTSUPP where there is no such thing. */
KVT_API int kvt_fs_allocate(struct kvt_fs *fs, struct kvt_fs_file *file,
                            uint64_t size);
enum kvt_fs_advice {
    KVT_FS_WARM, /* it will be read soon */
    KVT_FS_DROP, /* it will not: caches may let it go */
};
/* A hint; the only errors are those of the arguments. `size` 0 = to the end
 * of the file. */
KVT_API int kvt_fs_advise(struct kvt_fs *fs, struct kvt_fs_file *file,
                          uint64_t offset, uint64_t size,
                          enum kvt_fs_advice advice);

/* Counters since the mount; bytes_copied also of what a wrapper wraps. */
struct kvt_fs_counters {
    uint64_t submissions;
    uint64_t transfers;
    uint64_t bytes_copied;
    uint64_t in_flight_max;
};
KVT_API void kvt_fs_counters(const struct kvt_fs *fs,
                             struct kvt_fs_counters *counters);

/* The table of an adapter ------------------------------------------------- */

/* Borrowed until mount returns. */
struct kvt_fs_mount_args {
    size_t size;      /* of this struct */
    const char *root; /* absolute */
    const struct kvt_config *config;
    bool read_only;       /* create nothing */
    struct kvt_fs *inner; /* what a wrapper wraps; stays mounted until the
                             wrapper is unmounted, by the core. Otherwise
                             null */
};

/* A ring of the adapter's own. */
struct kvt_fs_queue_ops {
    /* required; allocates a struct whose first member is a queue base.
     * -EOPNOTSUPP: no ring can be had for this queue; its elements go to
     * `execute`, in the core's pool, if the adapter has that. It then sets the
     * mount's fallback_reason */
    int (*open)(struct kvt_fs *fs, uint32_t depth, bool poll_works,
                struct kvt_fs_queue **queue);
    /* required; takes all of the list (linked by `next`): at most `depth`
     * elements are in the adapter at a time. Chains come whole. */
    void (*submit)(struct kvt_fs_queue *queue, struct kvt_fs_elem *first);
    /* required; completes what is done by kvt_fs_complete and, when `min` is
     * not 0, waits for about that many until the deadline (0 = none) or a
     * wake; it waits for a wake even when nothing is in flight */
    void (*poll)(struct kvt_fs_queue *queue, size_t min, int64_t deadline_ns);
    /* required; any thread: a waiting poll returns */
    void (*wake)(struct kvt_fs_queue *queue);
    /* required; nothing is in flight */
    void (*close)(struct kvt_fs_queue *queue);
    /* A bit (1 << operation) for each operation that `submit` takes. The
     * others go to `execute`, on a thread of the core's pool or on one that
     * polls and may do so; 0 = takes all. A
     * FETCH that it does not take is opened and closed there, and its bytes
     * are a READ for the ring, if it takes that; a PUBLISH and WRITE alike */
    uint32_t operations;
    /* True when `submit` keeps the order of chains by itself; otherwise the
     * core hands over an element when the one before it succeeded */
    bool chains;
};

/* A later header only adds members, at the end: a table that was compiled with
 * an older one is taken, and what it lacks is null. One that is larger than
 * the library's is refused. All other structs of this header stay as they are
 * within a version of it. */
struct kvt_fs_ops {
    uint32_t size;    /* of this struct */
    uint32_t version; /* KVT_FS_VERSION */
    const char *name;
    const char *summary;
    /* required */
    int (*mount)(const struct kvt_fs_mount_args *args, struct kvt_fs **fs,
                 struct kvt_error *err);
    void (*unmount)(struct kvt_fs *fs);
    /* null: queues come from the core's pool, which calls `execute` */
    const struct kvt_fs_queue_ops *queue;
    /* Carries out one element, blocking, from any thread; returns the
     * result. Required unless the ring takes all operations. -EOPNOTSUPP for
     * FETCH and PUBLISH makes the core emulate them from OPEN, READ, WRITE,
     * sync, CLOSE and rename (PUBLISH only where facts.atomic_rename holds;
     * with IF_ABSENT, rename_noreplace or hard_links). It is never given a
     * transfer above facts.transfer_max, more slices than facts.slices_max, or
     * one that is not aligned as the facts say; a ring is given transfers as
     * they come. */
    int64_t (*execute)(struct kvt_fs *fs, struct kvt_fs_elem *elem);
    /* required control calls, as the functions above */
    int (*mkdirs)(struct kvt_fs *fs, const char *path);
    int (*list)(struct kvt_fs *fs, const char *path, bool sizes,
                kvt_fs_list_fn each, void *arg);
    int (*rename)(struct kvt_fs *fs, const char *from, const char *to,
                  bool replace);
    int (*rmdir)(struct kvt_fs *fs, const char *path);
    int (*usage)(struct kvt_fs *fs, struct kvt_fs_usage *usage);
    int (*lock)(struct kvt_fs *fs, const char *path, const char *holder,
                char *owner, size_t owner_size, struct kvt_fs_lock **lock);
    void (*unlock)(struct kvt_fs_lock *lock);
    /* null: `usage` */
    int (*probe)(struct kvt_fs *fs);
    /* null: list, remove, rmdir */
    int (*remove_tree)(struct kvt_fs *fs, const char *path);
    /* null: -EOPNOTSUPP, and facts.hard_links is false */
    int (*link)(struct kvt_fs *fs, const char *from, const char *to);
    /* null: -EOPNOTSUPP */
    int (*truncate)(struct kvt_fs *fs, struct kvt_fs_file *file, uint64_t size);
    int (*allocate)(struct kvt_fs *fs, struct kvt_fs_file *file, uint64_t size);
    /* null: nothing is done */
    int (*advise)(struct kvt_fs *fs, struct kvt_fs_file *file, uint64_t offset,
                  uint64_t size, enum kvt_fs_advice advice);
    /* null: mem_alloc is aligned memory of the operating system, and
     * mem_register does nothing. `cookie` is the adapter's: kvt_mem_cookie */
    int (*mem_alloc)(struct kvt_fs *fs, size_t size, void **base,
                     void **cookie);
    int (*mem_register)(struct kvt_fs *fs, void *base, size_t size,
                        void **cookie);
    /* required with one of the two; also ends a registration */
    void (*mem_free)(struct kvt_fs *fs, void *base, size_t size, void *cookie,
                     bool registered);
    /* Wrappers only: true. The core then mounts the inner adapter first. */
    bool wraps;
    /* Carries out a READ or WRITE on the calling thread when that surely does
     * not wait: bytes that the page cache has. Otherwise -EAGAIN, and nothing
     * has happened: `execute` is asked then, also for the true error. Any
     * thread; under the limits of `execute`. Null: everything may wait. */
    int64_t (*try_now)(struct kvt_fs *fs, struct kvt_fs_elem *elem);
};

/* Base of a mount; the first member of an adapter's own struct. */
struct kvt_fs {
    const struct kvt_fs_ops *ops;
    struct kvt_fs_facts facts;
    /* Null, or why less is in effect than was asked for: one text, which lives
     * as long as the mount. Atomic: an adapter may set it at any time. */
    const char *fallback_reason;
    struct kvt_fs_core *core; /* the core's own; set after mount */
};

/* Base of a queue; the first member of an adapter's own struct. */
struct kvt_fs_queue {
    struct kvt_fs *fs;
    const struct kvt_fs_queue_ops *ops;
    uint32_t depth;
    size_t in_adapter;           /* handed to the adapter, not completed */
    size_t waiting;              /* KVT_FS_WAIT elements */
    size_t completed;            /* since the poll began */
    struct kvt_fs_elem *backlog; /* submitted, not handed over yet */
    struct kvt_fs_elem **backlog_end;
    size_t backlog_count;
    struct kvt_fs_elem *posted; /* atomic stack: done by other threads */
    int woken;                  /* atomic */
    int pushing;                /* atomic: threads inside a post */
    struct kvt_fs_elem *ready;  /* their turn in their chain has come */
    struct kvt_fs_elem **ready_end;
    /* elements under way that have a deadline, by that: the earliest first */
    struct kvt_fs_shadow *shadows;
    struct kvt_fs_shadow *shadows_last;
    size_t lingering;            /* in the adapter, past their deadline */
    size_t backlog_deadlines;    /* chains of the backlog that have one */
    int64_t backlog_deadline_ns; /* none of them is earlier */
    unsigned held;               /* submitted elements only gather */
    bool poll_works;
    struct kvt_fs_elem *mine; /* beside the ring, for the poller */
};

/* For adapters: ends one element inside poll. */
KVT_API void kvt_fs_complete(struct kvt_fs_elem *elem, int64_t result);

/* Modules ----------------------------------------------------------------- */

/* An adapter outside of the library is a shared object that is called
 * kvtier-fs-NAME.so, is linked with libkvtier.so, and exports one symbol:
 *
 *   KVT_FS_MODULE = {KVT_FS_MODULE_INIT, .ops = &example_ops};
 *
 * NAME (1 to 31 of a-z, 0-9 and _, a letter first) is the name in `ops`. It is
 * found in the folder `module_path`, then in the folder `kvtier` beside the
 * library, then beside the library; or it is given as a file. It is loaded
 * when a store, a setting of its or a listing asks for it, once a process, and
 * stays. One that cannot be loaded is an adapter that is not available, with
 * the reason. Neither the file nor its folder may be writable by everybody. */

enum kvt_fs_setting_type {
    KVT_FS_SETTING_TEXT = 1,
    KVT_FS_SETTING_SIZE, /* bytes: 4096, 64KiB, 1G */
    KVT_FS_SETTING_COUNT,
    KVT_FS_SETTING_BOOL,   /* on, off */
    KVT_FS_SETTING_CHOICE, /* one of some words */
};

/* A row that a module adds to the table of settings (kvtier/config.h). All
 * texts are constant. Read it in `mount` with kvt_config_text, kvt_config_u64
 * or kvt_config_bool of args->config. */
struct kvt_fs_setting {
    const char *key; /* "NAME." and 1 to 63 of a-z, 0-9 and _ */
    enum kvt_fs_setting_type type;
    const char *unit;           /* "ms"; null: none */
    const char *default_value;  /* as one would write it; null: "", of a TEXT */
    uint64_t min;               /* SIZE, COUNT */
    uint64_t max;               /* SIZE, COUNT; bytes of a TEXT; 0: no bound */
    const char *const *choices; /* CHOICE: up to 15 words, then null */
    const char *help;           /* one sentence */
};

struct kvt_fs_module {
    uint32_t size;    /* of this struct */
    uint32_t version; /* KVT_FS_VERSION */
    const struct kvt_fs_ops *ops;
    const struct kvt_fs_setting *settings; /* null when there is none */
    size_t setting_count;
    /* Can it work on this machine? KVT_OK, or a code with `err` filled (null
     * is allowed, as in kvt_error_set): what is missing, and how to get it.
     * Asked before each mount and by listings, from any thread: it has to be
     * quick. Null: it can. */
    int (*available)(struct kvt_error *err);
    /* tells the library whether the module is linked with it, or with
     * another copy that shares nothing with it */
    void (*linked_with)(struct kvt_fs_elem *elem, int64_t result);
};

#define KVT_FS_MODULE                                                          \
    extern KVT_API const struct kvt_fs_module kvt_fs_module;                   \
    const struct kvt_fs_module kvt_fs_module
#define KVT_FS_MODULE_INIT                                                     \
    .size = sizeof(struct kvt_fs_module), .version = KVT_FS_VERSION,           \
    .linked_with = kvt_fs_complete

/* Mounts an adapter by its name, or a module by its file (absolute), with
 * wrappers in front where wanted: "trace:posix". Stores do this by themselves;
 * it is here for tests and tools. All of `args` but `inner` is required.
 * Returns KVT_OK and sets `*fs` (end with kvt_fs_unmount), or a code with `err`
 * filled. */
KVT_API int kvt_fs_mount(const char *name, const struct kvt_fs_mount_args *args,
                         struct kvt_fs **fs, struct kvt_error *err);
/* 0, or -EBUSY while a queue or memory of the mount is open: then it stays as
 * it was. No file or lock may be open. Waits for a probe that hangs. Null is
 * allowed. */
KVT_API int kvt_fs_unmount(struct kvt_fs *fs);

#ifdef __cplusplus
}
#endif

#endif
