/* Limits of a shared root: off unless they were given. Every host counts what
 * the root holds now and then, and what it writes itself at once; above the
 * limit the oldest files go, whoever wrote them. So the bound is the limit
 * and, for each writer, what it wrote since another one counted. */
#ifndef KVT_BACKEND_DISTRIBUTED_LIMIT_H
#define KVT_BACKEND_DISTRIBUTED_LIMIT_H

#include "backend/backend.h"
#include "evict/budget.h"

#include <pthread.h>

struct dist;
struct dist_op;
struct dist_oldest;

struct dist_limit {
    bool on;
    bool evicts; /* otherwise a full root refuses */
    struct kvt_charge most;
    /* under dist->mutex */
    struct kvt_charge used;    /* at the last count, and claimed since */
    struct kvt_charge writing; /* claimed, and perhaps not written yet */
    struct kvt_charge since;   /* that, and what was claimed since the running
                                  count began: it may have missed it */
    struct kvt_charge peak;
    bool counted;
    bool dirty; /* something was removed since the count */
    int64_t counted_ns;
    int64_t took_ns;
    struct dist_op *waiters; /* for room, oldest first */
    uint64_t evicted_objects;
    /* One pass at a time counts or evicts; `oldest` is its own. Taken before
     * dist->mutex, and held across I/O and the eviction handler. */
    pthread_mutex_t pass;
    struct dist_oldest *oldest;
};

/* Reads the settings. 0 or -errno. */
int kvt_dist_limit_init(struct dist *dist);
void kvt_dist_limit_fini(struct dist *dist);

/* What a file of this size takes, with a value of `size` bytes. */
struct kvt_charge kvt_dist_charge(const struct dist *dist, uint64_t file_size,
                                  uint64_t size);

/* Claims op->charge: 0; 1 when the op's element waits for room, and is posted
 * 0 or a negative errno as below; -ENOSPC (bytes) or -EUSERS (objects) when
 * the root is full and nothing may go; -EFBIG when it can never fit. */
int kvt_dist_claim(struct dist_op *op);
/* What was claimed is written, or (`written` false) its room is free. */
void kvt_dist_settle(struct dist *dist, struct kvt_charge charge, bool written);
/* A file was removed: there may be room. */
void kvt_dist_freed(struct dist *dist);
/* A file was written or refreshed: it is not one of the oldest any more. */
void kvt_dist_renewed(struct dist *dist, const char *path);
/* Takes a waiting op out of the queue for room; false when it was told. */
bool kvt_dist_stop_waiting(struct dist_op *op);

/* For the janitor: makes room for those that wait. */
void kvt_dist_limit_work(struct dist *dist);

/* Is there room for a small object, or may something go for it? */
bool kvt_dist_has_room(struct dist *dist);

#endif
