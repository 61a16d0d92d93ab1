/* What the core keeps beside every mount, and its parts that call each
 * other: queues, the pool of threads, whole files. */
#ifndef KVT_FS_FS_CORE_H
#define KVT_FS_FS_CORE_H

#include <kvtier/fs.h>

struct kvt_fs_pool;

struct kvt_fs_core {
    struct kvt_fs_pool *pool; /* for adapters without a ring, or null */
    /* counters, atomic */
    uint64_t submissions;
    uint64_t transfers;
    uint64_t bytes_copied;
    uint64_t in_flight;
    uint64_t in_flight_max;
};

/* The pool of threads: at most `threads`, started when there is work. */
struct kvt_fs_pool *kvt_fs_pool_open(struct kvt_fs *fs, uint32_t threads);
void kvt_fs_pool_close(struct kvt_fs_pool *pool);
extern const struct kvt_fs_queue_ops kvt_fs_pool_queue;

/* Carries out one element by the adapter's blocking call, emulating what it
 * lacks. Returns the element's result. */
int64_t kvt_fs_perform(struct kvt_fs *fs, struct kvt_fs_elem *elem);

#endif
