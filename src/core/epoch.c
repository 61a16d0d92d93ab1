#include "core/epoch.h"

#include <stdlib.h>

/* In front of every piece of memory. */
struct kvt_epoch_retired {
    struct kvt_epoch_retired *next;
    void *start;
};

void kvt_epoch_init(struct kvt_epoch *epoch)
{
    *epoch = (struct kvt_epoch){.current = 2};
}

/* A thread keeps to one stripe. */
static unsigned stripe_of_thread(void)
{
    static unsigned last;
    static _Thread_local unsigned mine; /* and 1, so that 0 is none */
    if (mine == 0) {
        unsigned number = __atomic_fetch_add(&last, 1, __ATOMIC_RELAXED);
        mine = number % KVT_EPOCH_STRIPES + 1;
    }
    return mine - 1;
}

unsigned kvt_epoch_enter(struct kvt_epoch *epoch)
{
    unsigned stripe = stripe_of_thread();
    for (;;) {
        uint64_t now = __atomic_load_n(&epoch->current, __ATOMIC_SEQ_CST);
        uint64_t *readers = &epoch->stripes[stripe].readers[now & 1];
        __atomic_fetch_add(readers, 1, __ATOMIC_SEQ_CST);
        /* when it moved on meanwhile, nobody may have counted us */
        if (__atomic_load_n(&epoch->current, __ATOMIC_SEQ_CST) == now) {
            return stripe * 2 + (unsigned)(now & 1);
        }
        __atomic_fetch_sub(readers, 1, __ATOMIC_SEQ_CST);
    }
}

void kvt_epoch_leave(struct kvt_epoch *epoch, unsigned ticket)
{
    __atomic_fetch_sub(&epoch->stripes[ticket / 2].readers[ticket % 2], 1,
                       __ATOMIC_RELEASE);
}

void *kvt_epoch_alloc(size_t alignment, size_t size)
{
    size_t front = sizeof(struct kvt_epoch_retired);
    front += (alignment - front % alignment) % alignment;
    size_t total = front + size;
    total += (alignment - total % alignment) % alignment;
    char *start = aligned_alloc(alignment, total);
    if (start == NULL) {
        return NULL;
    }
    struct kvt_epoch_retired *head =
        (struct kvt_epoch_retired *)(start + front) - 1;
    head->start = start;
    return start + front;
}

void kvt_epoch_free(void *memory)
{
    if (memory != NULL) {
        free(((struct kvt_epoch_retired *)memory - 1)->start);
    }
}

static void free_list(struct kvt_epoch_retired **list)
{
    struct kvt_epoch_retired *at = *list;
    *list = NULL;
    while (at != NULL) {
        struct kvt_epoch_retired *next = at->next;
        free(at->start);
        at = next;
    }
}

/* Moves on by one epoch when no reader of the one before is left: what was
 * retired two epochs ago is then out of everybody's sight. */
static int advance(struct kvt_epoch *epoch)
{
    uint64_t now = epoch->current;
    for (size_t i = 0; i < KVT_EPOCH_STRIPES; i++) {
        if (__atomic_load_n(&epoch->stripes[i].readers[(now + 1) & 1],
                            __ATOMIC_SEQ_CST) != 0) {
            return 0;
        }
    }
    __atomic_store_n(&epoch->current, now + 1, __ATOMIC_SEQ_CST);
    free_list(&epoch->retired[(now + 1) & 1]);
    return 1;
}

void kvt_epoch_retire(struct kvt_epoch *epoch, void *memory)
{
    struct kvt_epoch_retired *head = (struct kvt_epoch_retired *)memory - 1;
    head->next = epoch->retired[epoch->current & 1];
    epoch->retired[epoch->current & 1] = head;
    if (advance(epoch)) {
        advance(epoch);
    }
}

void kvt_epoch_fini(struct kvt_epoch *epoch)
{
    free_list(&epoch->retired[0]);
    free_list(&epoch->retired[1]);
}
