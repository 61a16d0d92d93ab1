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

/* What this store wrote since the last count: written again, it takes the
 * place of itself. */
enum {
    DIST_RECENT = 4096
};
struct dist_recent {
    uint64_t hash; /* of the file's path; 0: nothing */
    struct kvt_charge charge;
};

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
    struct dist_op *waiters;    /* for room, oldest first */
    struct kvt_charge wanted;   /* of one that did not wait; 0: of none */
    struct dist_recent *recent; /* null without a limit */
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

/* What a claim comes to; a negative errno when the file system failed. */
enum dist_room {
    DIST_ROOM_GRANTED = 0,
    DIST_ROOM_WAITS,   /* the op's element is posted one of the others */
    DIST_ROOM_FULL,    /* nothing may go for it */
    DIST_ROOM_KEYS,    /* too many objects, likewise */
    DIST_ROOM_NEVER,   /* more than the limit */
    DIST_ROOM_REFUSED, /* the eviction handler said no */
    DIST_ROOM_LATER,   /* it does not wait; room is being made */
};

/* Claims op->charge. */
enum dist_room kvt_dist_claim(struct dist_op *op);
/* What the op claimed is written, or (`written` false) its room is free. */
void kvt_dist_settle(struct dist_op *op, bool written);
/* A file was removed: there may be room. */
void kvt_dist_freed(struct dist *dist);
/* A file was written or refreshed: it is not one of the oldest any more. */
void kvt_dist_renewed(struct dist *dist, const char *path);
/* For the janitor: makes room for those that wait. */
void kvt_dist_limit_work(struct dist *dist);

/* Is there room for a small object, or may something go for it? */
bool kvt_dist_has_room(struct dist *dist);

#endif
