/*
 * file_per_key: one file an object, in `<hh>/<escaped key>` below the root,
 * owned by one process, with an index in memory, limits and eviction.
 *
 * Lock: fpk->mutex covers index, order, budget and counters. It is never held
 * across I/O or a handler; a queue's own lock may be taken inside it (when a
 * waiter is told). An entry that is `busy` belongs to one operation: only
 * that one may touch its file or take it out of the index, and whoever else
 * wants it waits for its turn.
 *
 * A read-only store has no index: the directory is the truth, since another
 * process may write it.
 */
#ifndef KVT_BACKEND_FILE_PER_KEY_H
#define KVT_BACKEND_FILE_PER_KEY_H

#include "backend/backend.h"
#include "backend/object_file.h"
#include "evict/budget.h"
#include "evict/order.h"
#include "format/marker.h"
#include "index/key_index.h"

#include <pthread.h>

#define FPK_TEMP_PATH_MAX 64u

struct fpk {
    struct kvt_backend base;
    struct kvt_fs *fs;
    struct kvt_fs_lock *lock; /* null when read-only */
    struct kvt_object_layout layout;
    struct kvt_marker marker;
    bool checksum;
    uint32_t publish_flags;
    uint64_t instance;   /* random: in the names of temporaries */
    uint64_t temp_count; /* atomic */

    pthread_mutex_t mutex;
    struct kvt_key_index index;
    struct kvt_evict_order order;
    struct kvt_budget budget;
    uint64_t generation;
    uint64_t quarantine_bytes;
    /* counters */
    uint64_t objects;
    uint64_t object_bytes;
    uint64_t evicted_objects;
    uint64_t checksum_misses;
    uint64_t quarantined_objects;
    struct {
        uint64_t objects;
        uint64_t removed_temporaries;
        uint64_t dropped_records;
    } recovery;
};

struct fpk_batch;

/* One object of a batch on its way. */
struct fpk_op {
    struct kvt_object_file file;
    struct fpk_batch *batch;
    struct kvt_object *object;
    struct kvt_key_entry *entry; /* ours while busy, or pinned */
    uint64_t hash;
    uint64_t size;
    uint64_t check;
    uint64_t generation;
    struct kvt_charge charge;
    struct fpk_late *late;
    struct fpk_op *next; /* in the list of a round */
    uint8_t attempts;
    bool check_known;
    bool published;         /* this op wrote the file */
    bool counted;           /* its bytes were taken from the day's */
    bool needs_room;        /* it is published after victims went */
    bool compared;          /* with the file's own bytes */
    unsigned char *scratch; /* where a comparison reads the file to */
    bool waits;             /* for its turn at the key */
    char temp_path[FPK_TEMP_PATH_MAX];
};

/* A batch on its way: one allocation for all its objects. */
struct fpk_batch {
    struct fpk *fpk;
    struct kvt_batch *batch;
    size_t pending; /* objects without a result, and one while starting */
    void (*ended)(struct fpk_batch *batch); /* all have a result */
    /* of an offload */
    struct fpk_op *deferred; /* no room but what this batch itself takes */
    size_t running;          /* objects with claimed room */
    bool retry;              /* some of that room may be free by now */
    bool pumping;
    struct fpk_op ops[];
};

/* file_per_key.c ---------------------------------------------------------- */

/* What an object of this key and size takes. */
struct kvt_charge kvt_fpk_charge(const struct fpk *fpk,
                                 const struct kvt_object_file *file,
                                 uint64_t size);
struct kvt_charge kvt_fpk_entry_charge(const struct kvt_key_entry *entry);
/* An object's file is there. Mutex held. */
void kvt_fpk_count(struct fpk *fpk, struct kvt_key_entry *entry);
/* It is no longer, or about to go. Mutex held. */
void kvt_fpk_uncount(struct fpk *fpk, struct kvt_key_entry *entry);
/* Waits for the entry's owner: `waiter` is completed on the queue when the
 * entry is no longer busy, or gone. Mutex held. */
void kvt_fpk_wait(struct kvt_key_entry *entry, struct kvt_fs_elem *waiter,
                  struct kvt_fs_queue *queue);
/* Ends the turn of the entry's owner; its waiters go on. Mutex held. */
void kvt_fpk_release(struct kvt_key_entry *entry);
/* Takes a busy entry that is not present out. Its waiters go on. Mutex
 * held. */
void kvt_fpk_forget(struct fpk *fpk, struct kvt_key_entry *entry);
/* The file of a busy entry is there: the index takes it over. Mutex held. */
void kvt_fpk_enter(struct fpk *fpk, struct kvt_key_entry *entry, uint64_t size,
                   uint64_t check, struct kvt_charge charge);
/* The room that was claimed is free again, and the entry as it was before.
 * Mutex held. */
void kvt_fpk_undo_claim(struct fpk *fpk, struct kvt_key_entry *entry,
                        struct kvt_charge charge);
/* Metadata of an object. `key` is borrowed. */
struct kvt_meta kvt_fpk_meta(const struct fpk *fpk, struct kvt_key key,
                             uint64_t size);
/* One thing less that the batch waits for; the last one ends it. */
void kvt_fpk_batch_drop(struct fpk_batch *fb);
/* Frees the batch and reports it finished. */
void kvt_fpk_batch_end(struct fpk_batch *fb);
/* Submits an element of a batch, with the batch's deadline. */
void kvt_fpk_submit(struct fpk_batch *fb, struct kvt_fs_elem *elem);

/* An entry whose file is being changed by an element that may outlive its
 * batch: what has to happen when the outcome is known. */
struct fpk_late;
enum fpk_late_kind {
    FPK_LATE_PUBLISH, /* the object is there after all, or its room is free */
    FPK_LATE_REMOVE,  /* it is gone, or still there */
};
/* Before such an element is submitted; null without a deadline, and when
 * memory is short (`*rc` is then -ENOMEM). */
struct fpk_late *kvt_fpk_late_new(struct fpk *fpk, int64_t deadline_ns,
                                  enum fpk_late_kind kind,
                                  struct kvt_fs_elem *elem,
                                  struct kvt_key_entry *entry, int *rc);
/* What a publish is going to be; `late` may be null. */
void kvt_fpk_late_publish(struct fpk_late *late, const struct fpk_op *op);
/* In its `done`: true when the outcome is not known yet. The entry then stays
 * busy, and is not the caller's any more. */
bool kvt_fpk_late_takes(struct fpk_late *late, struct kvt_fs_elem *elem);

/* Of a verification: what it says of the object beside its result. */
static inline void fpk_note(const struct fpk_op *op, enum kvt_note note)
{
    if (op->batch->batch->notes != NULL) {
        op->batch->batch->notes[op - op->batch->ops] |= (uint8_t)note;
    }
}
/* The object has its result; the last one ends the batch. */
void kvt_fpk_op_end(struct fpk_op *op);
void kvt_fpk_op_fail(struct fpk_op *op, enum kvt_fault fault, int rc);
/* Opens a queue for a blocking call, polls until `*left` is 0, closes. */
int kvt_fpk_queue_open(struct fpk *fpk, struct kvt_fs_queue **queue);
void kvt_fpk_finish(struct kvt_fs_queue *queue, const size_t *left);

/* The file is not what was published: counts it, takes the object out if it
 * is still the one with this generation, and keeps the file aside. A
 * verification that does not repair only counts. */
void kvt_fpk_quarantine(struct fpk_op *op);
/* Moves a file to the quarantine, when there is room for so much more
 * evidence; the caller accounts for its bytes. No lock held. */
bool kvt_fpk_keep_aside(struct fpk *fpk, const char *path, uint64_t bytes);
/* The file is gone behind our back: the index forgets it, if it is still the
 * one with this generation. */
void kvt_fpk_lost(struct fpk_op *op);

/* The parts of the backend, each in a file of its own --------------------- */

int kvt_fpk_open(const struct kvt_backend_args *args,
                 struct kvt_backend **backend, struct kvt_error *err);
void kvt_fpk_start_offload(struct fpk_batch *batch);
void kvt_fpk_start_load(struct fpk_batch *batch);
void kvt_fpk_start_exists(struct fpk_batch *batch);
void kvt_fpk_start_remove(struct fpk_batch *batch);
int kvt_fpk_scan(struct kvt_backend *backend, size_t batch_max,
                 kvt_scan_fn handler, void *arg, struct kvt_error *err);
int kvt_fpk_verify(struct kvt_backend *backend,
                   struct kvt_verification *verification,
                   struct kvt_error *err);
int kvt_fpk_remove_all(struct kvt_backend *backend, struct kvt_error *err);
int kvt_fpk_evict(struct kvt_backend *backend, double high, double low,
                  struct kvt_evict_result *result, struct kvt_error *err);

#endif
