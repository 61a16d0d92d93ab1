#include "evict/write_budget.h"

#include <string.h>
#include <time.h>

#define HOUR_MS UINT64_C(3600000)

void kvt_write_budget_init(struct kvt_write_budget *budget, uint64_t limit,
                           uint64_t notice)
{
    pthread_condattr_t monotonic;
    memset(budget, 0, sizeof *budget);
    pthread_mutex_init(&budget->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&budget->much, &monotonic);
    pthread_condattr_destroy(&monotonic);
    budget->limit = limit;
    budget->notice = notice;
}

void kvt_write_budget_fini(struct kvt_write_budget *budget)
{
    pthread_cond_destroy(&budget->much);
    pthread_mutex_destroy(&budget->mutex);
}

/* Lets hours pass. Mutex held. */
static void advance(struct kvt_write_budget *budget, uint64_t now_ms)
{
    uint64_t hour = now_ms / HOUR_MS;
    if (hour <= budget->hour) {
        return;
    }
    uint64_t passed = hour - budget->hour;
    size_t shift =
        passed < KVT_BUDGET_HOURS ? (size_t)passed : KVT_BUDGET_HOURS;
    memmove(budget->hours + shift, budget->hours,
            (KVT_BUDGET_HOURS - shift) * sizeof budget->hours[0]);
    memset(budget->hours, 0, shift * sizeof budget->hours[0]);
    budget->hour = hour;
}

/* Mutex held. */
static uint64_t sum(const struct kvt_write_budget *budget)
{
    uint64_t bytes = 0;
    for (int i = 0; i < KVT_BUDGET_HOURS; i++) {
        uint64_t more = budget->hours[i];
        bytes = more > UINT64_MAX - bytes ? UINT64_MAX : bytes + more;
    }
    return bytes;
}

/* Mutex held. */
static void count(struct kvt_write_budget *budget, uint64_t bytes)
{
    budget->hours[0] = bytes > UINT64_MAX - budget->hours[0]
                           ? UINT64_MAX
                           : budget->hours[0] + bytes;
    budget->unsaved += bytes;
    if (budget->unsaved >= budget->notice) {
        pthread_cond_signal(&budget->much);
    }
}

bool kvt_write_budget_take(struct kvt_write_budget *budget, uint64_t now_ms,
                           uint64_t bytes)
{
    if (budget->limit == 0) {
        return true;
    }
    pthread_mutex_lock(&budget->mutex);
    advance(budget, now_ms);
    uint64_t spent = sum(budget);
    bool fits = spent <= budget->limit && bytes <= budget->limit - spent;
    if (fits) {
        count(budget, bytes);
    } else {
        budget->dropped++;
    }
    pthread_mutex_unlock(&budget->mutex);
    return fits;
}

void kvt_write_budget_spend(struct kvt_write_budget *budget, uint64_t now_ms,
                            uint64_t bytes)
{
    if (budget->limit == 0) {
        return;
    }
    pthread_mutex_lock(&budget->mutex);
    advance(budget, now_ms);
    count(budget, bytes);
    pthread_mutex_unlock(&budget->mutex);
}

void kvt_write_budget_return(struct kvt_write_budget *budget, uint64_t now_ms,
                             uint64_t bytes)
{
    if (budget->limit == 0) {
        return;
    }
    pthread_mutex_lock(&budget->mutex);
    advance(budget, now_ms);
    /* it may have been taken in the hour before */
    for (int i = 0; i < 2 && bytes > 0; i++) {
        uint64_t part = bytes < budget->hours[i] ? bytes : budget->hours[i];
        budget->hours[i] -= part;
        bytes -= part;
    }
    pthread_mutex_unlock(&budget->mutex);
}

uint64_t kvt_write_budget_spent(struct kvt_write_budget *budget,
                                uint64_t now_ms)
{
    pthread_mutex_lock(&budget->mutex);
    advance(budget, now_ms);
    uint64_t bytes = sum(budget);
    pthread_mutex_unlock(&budget->mutex);
    return bytes;
}

uint64_t kvt_write_budget_dropped(struct kvt_write_budget *budget)
{
    pthread_mutex_lock(&budget->mutex);
    uint64_t dropped = budget->dropped;
    pthread_mutex_unlock(&budget->mutex);
    return dropped;
}

void kvt_write_budget_save(struct kvt_write_budget *budget, uint64_t now_ms,
                           uint64_t *hour, uint64_t hours[KVT_BUDGET_HOURS])
{
    pthread_mutex_lock(&budget->mutex);
    advance(budget, now_ms);
    *hour = budget->hour;
    memcpy(hours, budget->hours, sizeof budget->hours);
    budget->unsaved = 0;
    pthread_mutex_unlock(&budget->mutex);
}

void kvt_write_budget_restore(struct kvt_write_budget *budget, uint64_t now_ms,
                              uint64_t hour,
                              const uint64_t hours[KVT_BUDGET_HOURS])
{
    pthread_mutex_lock(&budget->mutex);
    advance(budget, now_ms);
    for (int i = 0; i < KVT_BUDGET_HOURS; i++) {
        /* hours of a clock that was ahead count as the one that runs */
        uint64_t at = hour - (uint64_t)i > budget->hour
                          ? 0
                          : budget->hour - (hour - (uint64_t)i);
        if (hour >= (uint64_t)i && at < KVT_BUDGET_HOURS) {
            uint64_t *to = &budget->hours[at];
            *to = hours[i] > UINT64_MAX - *to ? UINT64_MAX : *to + hours[i];
        }
    }
    pthread_mutex_unlock(&budget->mutex);
}
