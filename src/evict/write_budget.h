/* What may be written in a day, to spare a device. It slides: what was written
 * in the hour that runs and in the 24 before it never passes the limit, so
 * that no 24 hours see more. A write takes its bytes before it starts; what
 * does not fit is dropped, and nobody waits. Threads: any. */
#ifndef KVT_EVICT_WRITE_BUDGET_H
#define KVT_EVICT_WRITE_BUDGET_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define KVT_BUDGET_HOURS 25

struct kvt_write_budget {
    pthread_mutex_t mutex;            /* covers all but limit and notice */
    uint64_t limit;                   /* bytes; 0 = none: nothing is counted */
    uint64_t hour;                    /* of hours[0], since 1970 */
    uint64_t hours[KVT_BUDGET_HOURS]; /* that hour, the one before it, ... */
    uint64_t unsaved;                 /* counted since they were last saved */
    uint64_t notice;                  /* so much unsaved is told */
    pthread_cond_t much;              /* on the monotonic clock */
    uint64_t dropped;                 /* times that nothing was left */
};

/* `much` is signalled when so many bytes as `notice` are not saved. */
void kvt_write_budget_init(struct kvt_write_budget *budget, uint64_t limit,
                           uint64_t notice);
void kvt_write_budget_fini(struct kvt_write_budget *budget);

/* All of these take Unix time in ms. A clock that was set back does no harm:
 * the newest hour that was seen goes on. */

/* Takes `bytes`; false when they do not fit: the write is dropped, and counted
 * as that. */
bool kvt_write_budget_take(struct kvt_write_budget *budget, uint64_t now_ms,
                           uint64_t bytes);
/* Counts what is written in any case. */
void kvt_write_budget_spend(struct kvt_write_budget *budget, uint64_t now_ms,
                            uint64_t bytes);
/* What was taken was not written after all. */
void kvt_write_budget_return(struct kvt_write_budget *budget, uint64_t now_ms,
                             uint64_t bytes);
/* Bytes that count now. */
uint64_t kvt_write_budget_spent(struct kvt_write_budget *budget,
                                uint64_t now_ms);
uint64_t kvt_write_budget_dropped(struct kvt_write_budget *budget);

/* The hours as they are, to be kept; `unsaved` starts anew. */
void kvt_write_budget_save(struct kvt_write_budget *budget, uint64_t now_ms,
                           uint64_t *hour, uint64_t hours[KVT_BUDGET_HOURS]);
/* Adds hours that were kept. */
void kvt_write_budget_restore(struct kvt_write_budget *budget, uint64_t now_ms,
                              uint64_t hour,
                              const uint64_t hours[KVT_BUDGET_HOURS]);

#endif
