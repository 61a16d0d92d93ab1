/* Readers that take no lock, and memory that is freed when none of them can
 * still see it (epoch-based reclamation: K. Fraser, "Practical lock-freedom",
 * 2004). A reader enters before it follows a pointer and leaves when it is
 * through; a writer takes the pointer away and retires the memory. */
#ifndef KVT_CORE_EPOCH_H
#define KVT_CORE_EPOCH_H

#include <stddef.h>
#include <stdint.h>

enum {
    KVT_EPOCH_STRIPES = 16
};

/* Readers of even and of odd epochs; threads are spread over the stripes, so
 * that they do not share a cache line. */
struct kvt_epoch_stripe {
    uint64_t readers[2];
    uint64_t unused[14];
};

struct kvt_epoch_retired;

struct kvt_epoch {
    struct kvt_epoch_stripe stripes[KVT_EPOCH_STRIPES];
    uint64_t current;
    struct kvt_epoch_retired *retired[2]; /* in even and in odd epochs */
};

void kvt_epoch_init(struct kvt_epoch *epoch);
/* Frees what was retired; no reader is inside. */
void kvt_epoch_fini(struct kvt_epoch *epoch);

/* Any thread, short sections; returns what kvt_epoch_leave is given. */
unsigned kvt_epoch_enter(struct kvt_epoch *epoch);
void kvt_epoch_leave(struct kvt_epoch *epoch, unsigned ticket);

/* Memory that can be retired: allocated by aligned_alloc with room for a
 * list node in front. Null when memory is short. */
void *kvt_epoch_alloc(size_t alignment, size_t size);
/* Frees memory that no reader has seen. Null is allowed. */
void kvt_epoch_free(void *memory);
/* Frees memory that no new reader can reach, when the last one is gone: now
 * or in a later call. One thread at a time. */
void kvt_epoch_retire(struct kvt_epoch *epoch, void *memory);

#endif
