/* What the core keeps beside every mount, and its parts that call each
 * other: queues, deadlines, the pool of threads, whole files. */
#ifndef KVT_FS_FS_CORE_H
#define KVT_FS_FS_CORE_H

#include <kvtier/fs.h>

struct kvt_fs_pool;

enum {
    KVT_FS_SPARE_QUEUES = 8
};

struct kvt_fs_core {
    struct kvt_fs_pool *pool; /* for what the adapter has no ring for */
    struct kvt_fs_queue *spare[KVT_FS_SPARE_QUEUES]; /* atomic; kvt_fs_run's */
    struct kvt_fs_prober *prober;
    struct kvt_fs *inner;    /* what a wrapper wraps, or null */
    char *name;              /* as configured: "trace:fault:posix" */
    struct kvt_fs_ops table; /* of an adapter whose own is shorter */
    size_t open;             /* queues and memory that are; atomic */
    /* counters, atomic */
    uint64_t submissions;
    uint64_t transfers;
    uint64_t bytes_copied;
    uint64_t in_flight;
    uint64_t in_flight_max;
};

/* pool.c: at most `threads`, started when there is work. */
struct kvt_fs_pool *kvt_fs_pool_open(struct kvt_fs *fs, uint32_t threads);
void kvt_fs_pool_close(struct kvt_fs_pool *pool);
extern const struct kvt_fs_queue_ops kvt_fs_pool_queue;
/* Carries out elements beside a ring, linked by `next`: they come back through
 * their queue's `posted`. */
void kvt_fs_pool_aside(struct kvt_fs_pool *pool, struct kvt_fs_elem *first);

/* probe.c: asks whether a mount is alive, on a thread of its own. */
struct kvt_fs_prober *kvt_fs_prober_open(struct kvt_fs *fs);
/* Waits for a question that is not answered. Null is allowed. */
void kvt_fs_prober_close(struct kvt_fs_prober *prober);
int kvt_fs_prober_ask(struct kvt_fs_prober *prober);

/* whole_file.c: carries out one element by the adapter's blocking call,
 * emulating what it lacks. Returns the element's result. */
int64_t kvt_fs_perform(struct kvt_fs *fs, struct kvt_fs_elem *elem);
/* Every adapter's promise, checked in one place: a write is all or an error. */
int64_t kvt_fs_checked_result(struct kvt_fs_elem *elem, int64_t result);

/* What a PUBLISH is made of: opens its temporary file, making directories; and
 * when that was written, or not (`written` < 0), gives it its name, or removes
 * it. The result is that of the PUBLISH. */
bool kvt_fs_can_publish(const struct kvt_fs *fs,
                        const struct kvt_fs_elem *elem);
int64_t kvt_fs_publish_begin(struct kvt_fs *fs, const char *path,
                             struct kvt_fs_file **file);
int64_t kvt_fs_publish_end(struct kvt_fs *fs, struct kvt_fs_elem *elem,
                           struct kvt_fs_file *file, int64_t written);

/* ring_file.c: FETCH and PUBLISH over a ring that takes only transfers: the
 * steps beside it, the bytes in it. False: it is not for such a ring, or there
 * is no memory; kvt_fs_perform does it. */
bool kvt_fs_ring_file_start(struct kvt_fs_queue *queue,
                            struct kvt_fs_elem *elem);
/* A step of a PUBLISH, on a thread of the pool. */
int64_t kvt_fs_ring_file_step(struct kvt_fs *fs, struct kvt_fs_elem *step);

/* transfer.c: a READ or WRITE by the adapter's blocking call, split and
 * aligned as its facts say. */
int64_t kvt_fs_transfer(struct kvt_fs *fs, struct kvt_fs_elem *elem);
/* The same on this thread where that does not wait: the whole transfer, or
 * -EAGAIN. */
int64_t kvt_fs_try_now(struct kvt_fs *fs, struct kvt_fs_elem *elem);

/* table.c: is an adapter's table of this version, and complete? KVT_OK, or a
 * code with `err` filled. */
int kvt_fs_check_table(const struct kvt_fs_ops *ops, struct kvt_error *err);
/* A table of an older header is shorter: what it lacks is null. */
void kvt_fs_full_table(const struct kvt_fs_ops *ops, struct kvt_fs_ops *full);

/* fs.c: gives a file another name where a rename would replace what is there:
 * by a second name, which does not. */
int kvt_fs_rename_by_link(struct kvt_fs *fs, const char *from, const char *to);
/* Below the root: no leading slash, no "..". */
bool kvt_fs_paths_are_inside(const struct kvt_fs_elem *elem);
/* Closes the queues that kvt_fs_run kept. */
void kvt_fs_close_spare(struct kvt_fs *fs);

/* queue.c: gives a single element, which counts as handed over, to the adapter
 * or to the pool beside it, before the poll ends. */
void kvt_fs_start(struct kvt_fs_queue *queue, struct kvt_fs_elem *elem);
/* Has elements that the ring does not take, linked by `next`, carried out by
 * the pool's threads, and one perhaps by the poller. Called as `submit` is. */
void kvt_fs_aside(struct kvt_fs_queue *queue, struct kvt_fs_elem *first);
/* Does the adapter's ring take the element? */
bool kvt_fs_ring_takes(const struct kvt_fs *fs, const struct kvt_fs_elem *elem);
/* Pushes an element that another thread completed, and wakes the poller. */
void kvt_fs_push_posted(struct kvt_fs_elem *elem);
void kvt_fs_count_copied(struct kvt_fs *fs, uint64_t bytes);

/* chain.c: what starts next when an element of a chain is done. */
/* True when `elem` frees a file, and so runs whatever failed before. */
bool kvt_fs_closes(const struct kvt_fs_elem *elem);
/* True when `elem` must not start, since its chain broke or its deadline
 * passed. */
bool kvt_fs_chain_cancels(const struct kvt_fs_elem *elem, bool broken);
/* Hands the chain's open file on. */
void kvt_fs_chain_pass_file(const struct kvt_fs_elem *from,
                            struct kvt_fs_elem *to);

/* deadline.c: elements that may outlive their caller. */
/* What the adapter is to get in place of a chain that has a deadline: shadows
 * that own all they point to. Without memory for them the chain ends with
 * -ENOMEM in the next poll, and this is null; but a chain that starts with a
 * CLOSE goes itself, and has no deadline any more. */
struct kvt_fs_elem *kvt_fs_shadow_chain(struct kvt_fs_queue *queue,
                                        struct kvt_fs_elem *chain);
/* The earliest deadline of what is under way or waits, or 0. */
int64_t kvt_fs_deadline_next(const struct kvt_fs_queue *queue);
/* Ends what is past its deadline. */
void kvt_fs_deadline_expire(struct kvt_fs_queue *queue);

/* memory.c: a transfer that outlives its caller holds the memory. */
void kvt_mem_hold(struct kvt_mem *mem);
void kvt_mem_unhold(struct kvt_mem *mem);
/* Does the core own it, so that a transfer may outlive its caller in it? */
bool kvt_mem_is_ours(const struct kvt_mem *mem);

#endif
