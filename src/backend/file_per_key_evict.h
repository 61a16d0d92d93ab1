/* One eviction: victims are chosen and withdrawn, the caller's handler is
 * told, and they go; or all come back, in their old order. */
#ifndef KVT_BACKEND_FILE_PER_KEY_EVICT_H
#define KVT_BACKEND_FILE_PER_KEY_EVICT_H

#include "backend/file_per_key.h"

struct fpk_victim {
    struct kvt_fs_elem elem;
    struct fpk_eviction *eviction;
    struct kvt_key_entry *entry;
    struct fpk_late *late;
    char path[KVT_OBJECT_PATH_MAX];
};

struct fpk_eviction {
    struct fpk *fpk;
    struct kvt_fs_queue *queue;
    int64_t deadline_ns; /* of its removals; 0 = none */
    struct fpk_victim *victims;
    size_t count;
    size_t capacity;
    struct kvt_charge chosen;  /* what the victims take */
    struct kvt_charge removed; /* of the victims that went */
    struct kvt_charge credit;  /* promised to claims already */
    uint64_t removed_objects;
    uint64_t removed_bytes;
    size_t pending;
    int rc; /* 0, -ECANCELED when refused, or what a removal said */
    /* Runs once, when all victims went or are back, on the polling thread. */
    void (*done)(struct fpk_eviction *eviction);
    void *arg;
};

/* Returns a new eviction (freed by kvt_fpk_eviction_free), or null. */
struct fpk_eviction *kvt_fpk_eviction_new(struct fpk *fpk,
                                          struct kvt_fs_queue *queue);
void kvt_fpk_eviction_free(struct fpk_eviction *eviction);

/* Withdraws objects, oldest first, until all chosen so far cover `wanted`.
 * Objects that are busy or being read are passed over. False when there are
 * not enough: those that this call withdrew are back. Mutex held. */
bool kvt_fpk_eviction_choose(struct fpk_eviction *eviction,
                             struct kvt_charge wanted);

/* Tells the handler and removes the victims; ends with `done`. No lock
 * held. */
void kvt_fpk_eviction_run(struct fpk_eviction *eviction);

/* Evicts until no more than `target` is used, or nothing is left that may
 * go. Blocks. 0, -ECANCELED when the handler refused, or -errno. */
int kvt_fpk_evict_to(struct fpk *fpk, struct kvt_charge target,
                     struct kvt_evict_result *result);

#endif
