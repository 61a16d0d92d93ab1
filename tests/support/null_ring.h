/* An adapter with a ring of its own that moves no bytes: elements lie in it
 * until the test lets them go, or are done at the next poll. It asserts what
 * the core promises to an adapter. No locks but in a waiting poll. */
#ifndef KVT_TESTS_NULL_RING_H
#define KVT_TESTS_NULL_RING_H

#include "fs/fs_core.h"

#include <pthread.h>

struct null_ring {
    struct kvt_fs fs;
    struct kvt_fs_core core;
    /* what the next queues do */
    bool on_demand; /* elements wait for null_ring_release */
    int64_t (*result)(struct kvt_fs_elem *elem); /* null: all went well */
    /* what was seen */
    size_t submissions; /* lists handed to the adapter */
    size_t seen;        /* elements that came */
    size_t in_ring;     /* now, all queues */
    size_t in_ring_max;
    size_t queues_open;
    size_t renames;
    int64_t last_deadline_ns;
    size_t last_min;
};

struct null_ring_queue {
    struct kvt_fs_queue base;
    struct null_ring *ring;
    struct kvt_fs_elem *held; /* in the order of submission */
    struct kvt_fs_elem **held_end;
    size_t held_count;
    size_t allowed; /* how many of them may complete */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool woken; /* under mutex */
};

enum null_ring_kind {
    NULL_RING_SINGLES, /* the core keeps the order of chains */
    NULL_RING_CHAINS,  /* takes chains whole, and carries out all of one
                          whatever its elements' results are */
    NULL_RING_PART,    /* the same, but takes READ and CLOSE only; `result` is
                          asked for the others on a thread of the pool */
    NULL_RING_BYTES,   /* takes READ and WRITE only, as a ring in shared memory
                          does, and keeps no order */
};

/* A mount of it, on the caller's memory; `depth` is its best. */
void null_ring_init(struct null_ring *ring, uint32_t depth,
                    enum null_ring_kind kind);
void null_ring_fini(struct null_ring *ring);

/* Lets `count` more elements of the queue complete at the next poll. */
void null_ring_release(struct kvt_fs_queue *queue, size_t count);

/* The bytes of the slices for what moves bytes, otherwise 0. */
int64_t null_ring_success(const struct kvt_fs_elem *elem);

#endif
