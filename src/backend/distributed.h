/*
 * distributed: one file an object in a directory that many hosts share, in
 * `<hh>/<escaped key>`, mapped the same way by all of them. There is no owner,
 * no index and no lock: the directory is the truth, and every process that
 * opens it is a peer. What one host knows of it is never more than a hint.
 *
 * Lock: dist->mutex covers health, limit, refreshes and counters. It is never
 * held across I/O or a handler; a queue's own lock may be taken inside it.
 */
#ifndef KVT_BACKEND_DISTRIBUTED_H
#define KVT_BACKEND_DISTRIBUTED_H

#include "backend/backend.h"
#include "backend/distributed_health.h"
#include "backend/distributed_limit.h"
#include "backend/distributed_temp.h"
#include "backend/object_file.h"

#include <pthread.h>

/* How a file gets its name, by the facts of the mount. */
enum dist_strategy {
    DIST_RENAME,   /* a rename replaces in one step */
    DIST_LINK,     /* a name can only be given where there is none: what was
                      there is removed first, and missed for a moment */
    DIST_IN_PLACE, /* written under its own name: the trailer tells when it is
                      whole */
};

struct dist_refresh;

struct dist {
    struct kvt_backend base;
    struct kvt_fs *fs;
    struct kvt_object_layout layout;
    enum dist_strategy strategy;
    enum dist_strategy absent_strategy; /* of "only if absent" */
    bool recorded;    /* the root has a record: every file has a trailer */
    bool accepts_raw; /* a file without a trailer is an object */
    bool writes_raw;
    bool checksum;
    bool skip_stored;
    uint32_t publish_flags;
    struct dist_temps temps;
    struct dist_refresh *refresh; /* null: loads refresh nothing */

    pthread_mutex_t mutex;
    struct dist_health health;
    struct dist_limit limit;
    struct dist_late *lates; /* publishes whose outcome is not known yet */
    uint64_t checksum_misses;
    struct kvt_stats counted; /* what the last count found */
    int64_t counted_ns;       /* when it ended, and how long it took */
    int64_t count_took_ns;
    uint64_t changes; /* atomic: files that this store wrote or removed */
    uint64_t counted_changes;

    struct dist_janitor *janitor; /* null when read-only */
};

struct dist_batch;
struct dist_chain;
struct dist_late;

/* One object of a batch on its way. */
struct dist_op {
    struct kvt_object_file file;
    struct dist_batch *batch; /* null: failed before, no part of it */
    struct kvt_object *object;
    uint64_t size; /* of all its slices */
    uint64_t check;
    struct kvt_charge charge;
    struct dist_op *next;   /* of those that wait for the same */
    unsigned char *scratch; /* where a comparison reads the file to */
    /* of a publish */
    struct dist_late *late;
    struct dist_chain *chain; /* where one element is not enough */
    void (*publish_done)(struct dist_op *op, int64_t rc);
    enum dist_strategy strategy;
    int failed; /* why, while what was made is removed */
    uint8_t attempts;
    bool ambiguous; /* an answer may have been lost */
    bool partial;   /* fewer bytes were stored than asked */
    bool published; /* this op wrote the file */
    bool idle;      /* it ended while it waited: says nothing of the mount */
    bool waits;     /* for room, or for the outcome of a late publish */
    char temp_path[DIST_TEMP_PATH_MAX];
};

/* A batch on its way: one allocation for all its objects. */
struct dist_batch {
    struct dist *dist;
    struct kvt_batch *batch;
    size_t pending; /* objects without a result, and one while starting */
    void (*ended)(struct dist_batch *batch); /* all have a result */
    struct dist_op ops[];
};

/* distributed.c ------------------------------------------------------------ */

void kvt_dist_op_end(struct dist_op *op);
void kvt_dist_op_fail(struct dist_op *op, enum kvt_fault fault, int64_t rc);
/* Submits the op's element, with the batch's deadline. */
void kvt_dist_submit(struct dist_op *op, void (*done)(struct kvt_fs_elem *));
/* Frees the batch and reports it finished. */
void kvt_dist_batch_end(struct dist_batch *batch);
/* Does the size of a file tell that of its value? Not where files may be raw,
 * and not where they are seen while they are written: their ends do. */
bool kvt_dist_sizes_tell(const struct dist *dist);
/* Does this result say that there is nothing of this name? */
bool kvt_dist_is_absent(int64_t result);
/* Or that the file that was there is no more: the name may lead to another. */
bool kvt_dist_is_gone(int64_t result);
struct kvt_meta kvt_dist_meta(const struct dist *dist, struct kvt_key key,
                              uint64_t size);
/* Fills `err` for a blocking call. */
int kvt_dist_fail(const struct dist *dist, enum kvt_fault fault, int rc,
                  const char *doing, struct kvt_error *err);
/* A queue for a blocking call; 0 or -errno. */
int kvt_dist_queue_open(struct dist *dist, struct kvt_fs_queue **queue);

/* The parts of the backend, each in a file of its own ---------------------- */

int kvt_dist_open(const struct kvt_backend_args *args,
                  struct kvt_backend **backend, struct kvt_error *err);
void kvt_dist_start_offload(struct dist_batch *batch);
void kvt_dist_start_load(struct dist_batch *batch);
void kvt_dist_start_exists(struct dist_batch *batch);
void kvt_dist_start_remove(struct dist_batch *batch);

/* Writes the op's file in the way of its strategy; ends with `done`. */
void kvt_dist_publish(struct dist_op *op,
                      void (*done)(struct dist_op *op, int64_t rc));
int kvt_dist_scan(struct kvt_backend *backend, size_t batch_max,
                  kvt_scan_fn handler, void *arg, struct kvt_error *err);
int kvt_dist_verify(struct kvt_backend *backend,
                    struct kvt_verification *verification,
                    struct kvt_error *err);
int kvt_dist_remove_all(struct kvt_backend *backend, struct kvt_error *err);
int kvt_dist_evict(struct kvt_backend *backend, double high, double low,
                   struct kvt_evict_result *result, struct kvt_error *err);
int kvt_dist_check(struct kvt_backend *backend, struct kvt_error *err);

/* distributed_late.c: publishes that may outlive their deadline. */

/* Before such an element is submitted: 0 or -ENOMEM. */
int kvt_dist_late_prepare(struct dist_op *op);
/* In its `done`. */
void kvt_dist_late_done(struct dist_op *op);
/* True when the op's element waits until the outcome of an earlier publish of
 * its key is known; it is then posted 0. */
bool kvt_dist_late_wait(struct dist_op *op);
/* Is there one whose outcome is not known? */
bool kvt_dist_late_known(const struct dist_op *op);
/* Takes a waiting op out of whatever it waits in; false when it was told. */
bool kvt_dist_stop_waiting(struct dist_op *op);

/* distributed_refresh.c: a table of what was refreshed lately. */
int kvt_dist_refresh_open(struct dist *dist, uint64_t interval_s);
/* Is the time of this object's file to be refreshed now? */
bool kvt_dist_refresh_due(struct dist *dist,
                          const struct kvt_object_file *file);
/* Writes the last bytes of the op's file again; ends with `done`. */
void kvt_dist_refresh(struct dist_op *op, void (*done)(struct dist_op *op));

/* distributed_janitor.c: the thread that works beside the batches. */
int kvt_dist_janitor_start(struct dist *dist);
void kvt_dist_janitor_stop(struct dist *dist);
/* There is something to do: a file system to probe, room to make. */
void kvt_dist_janitor_wake(struct dist *dist);
/* Takes over a queue on which something lingers. */
void kvt_dist_janitor_adopt(struct dist *dist, struct kvt_fs_queue *queue);

#endif
