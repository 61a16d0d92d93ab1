/* Claims, counts, and the queue for room. Evicting stands in
 * distributed_evict.c. */
#include "backend/distributed_evict.h"

#include "core/clock.h"
#include "core/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A count is good for so long, or for ten times what it took. */
#define COUNT_AGE_NS INT64_C(1000000000)

int kvt_dist_limit_init(struct dist *dist)
{
    struct dist_limit *limit = &dist->limit;
    const struct kvt_config *config = dist->base.args.config;
    uint64_t bytes = 0;
    double fraction = 0;
    pthread_mutex_init(&limit->pass, NULL);
    limit->most = (struct kvt_charge){UINT64_MAX, UINT64_MAX, UINT64_MAX};
    limit->evicts = strcmp(kvt_config_text(config, "eviction"), "none") != 0;
    if (kvt_config_is_given(config, "total_keys_limit")) {
        limit->most.objects = kvt_config_u64(config, "total_keys_limit");
        limit->on = true;
    }
    if (kvt_config_u64(config, "total_value_limit") != 0) {
        limit->most.values = kvt_config_u64(config, "total_value_limit");
        limit->on = true;
    }
    if (!kvt_config_is_given(config, "total_size_limit")) {
        return 0;
    }
    limit->on = true;
    if (kvt_config_limit(config, "total_size_limit", &bytes, &fraction)) {
        struct kvt_fs_usage usage;
        int rc = kvt_fs_usage(dist->fs, &usage);
        if (rc != 0) {
            return rc;
        }
        bytes = (uint64_t)((double)usage.capacity * fraction);
    }
    limit->most.allocated = bytes;
    return 0;
}

void kvt_dist_limit_fini(struct dist *dist)
{
    kvt_dist_oldest_free(dist->limit.oldest);
    pthread_mutex_destroy(&dist->limit.pass);
}

struct kvt_charge kvt_dist_charge(const struct dist *dist, uint64_t file_size,
                                  uint64_t size)
{
    uint64_t unit = kvt_fs_facts(dist->fs)->allocation_unit;
    uint64_t blocks = (file_size + unit - 1) / unit;
    return (struct kvt_charge){blocks * unit, size, 1};
}

/* Claims ------------------------------------------------------------------- */

static struct kvt_charge sum_of(struct kvt_charge a, struct kvt_charge b)
{
    kvt_charge_add(&a, b);
    return a;
}

/* Takes as much of `part` as there is. */
static void take_from(struct kvt_charge *charge, struct kvt_charge part)
{
    kvt_charge_sub(charge, kvt_charge_least(*charge, part));
}

/* Mutex held. */
static bool fits(const struct dist_limit *limit, struct kvt_charge need)
{
    return kvt_charge_covers(limit->most, sum_of(limit->used, need));
}

/* Mutex held. */
static void claim(struct dist_limit *limit, struct kvt_charge need)
{
    kvt_charge_add(&limit->used, need);
    kvt_charge_add(&limit->writing, need);
    kvt_charge_add(&limit->since, need);
    kvt_charge_raise(&limit->peak, limit->used);
}

/* Is what the last count said still worth something? Mutex held. */
static bool is_fresh(const struct dist_limit *limit)
{
    int64_t most_ns = 10 * limit->took_ns;
    most_ns = most_ns > COUNT_AGE_NS ? most_ns : COUNT_AGE_NS;
    return limit->counted && !limit->dirty &&
           kvt_clock_ns() - limit->counted_ns < most_ns;
}

/* Mutex held. */
static int refusal(const struct dist_limit *limit, struct kvt_charge need)
{
    bool keys = limit->used.objects + need.objects > limit->most.objects;
    return keys ? -EUSERS : -ENOSPC;
}

int kvt_dist_claim(struct dist_op *op)
{
    struct dist *dist = op->batch->dist;
    struct dist_limit *limit = &dist->limit;
    int rc = 0;
    if (!limit->on) {
        return 0;
    }
    if (!kvt_charge_covers(limit->most, op->charge)) {
        return -EFBIG;
    }
    pthread_mutex_lock(&dist->mutex);
    /* who waits already comes first */
    if (limit->counted && limit->waiters == NULL && fits(limit, op->charge)) {
        claim(limit, op->charge);
    } else if (!limit->evicts && is_fresh(limit)) {
        rc = refusal(limit, op->charge);
    } else {
        struct dist_op **end = &limit->waiters;
        while (*end != NULL) {
            end = &(*end)->next;
        }
        op->next = NULL;
        op->waits = true;
        kvt_fs_expect(op->batch->batch->queue, &op->file.elem);
        *end = op;
        rc = 1;
    }
    pthread_mutex_unlock(&dist->mutex);
    if (rc == 1) {
        kvt_dist_janitor_wake(dist);
    }
    return rc;
}

void kvt_dist_settle(struct dist *dist, struct kvt_charge charge, bool written)
{
    struct dist_limit *limit = &dist->limit;
    if (!limit->on) {
        return;
    }
    pthread_mutex_lock(&dist->mutex);
    take_from(&limit->writing, charge);
    if (!written) {
        take_from(&limit->used, charge);
        take_from(&limit->since, charge);
    }
    pthread_mutex_unlock(&dist->mutex);
}

void kvt_dist_freed(struct dist *dist)
{
    if (dist->limit.on) {
        pthread_mutex_lock(&dist->mutex);
        dist->limit.dirty = true;
        pthread_mutex_unlock(&dist->mutex);
    }
}

void kvt_dist_renewed(struct dist *dist, const char *path)
{
    if (dist->limit.on) {
        pthread_mutex_lock(&dist->mutex);
        if (dist->limit.oldest != NULL) {
            kvt_dist_oldest_forget(dist->limit.oldest, path);
        }
        pthread_mutex_unlock(&dist->mutex);
    }
}

bool kvt_dist_stop_waiting(struct dist_op *op)
{
    struct dist *dist = op->batch->dist;
    pthread_mutex_lock(&dist->mutex);
    struct dist_op **at = &dist->limit.waiters;
    while (*at != NULL && *at != op) {
        at = &(*at)->next;
    }
    bool found = *at != NULL;
    if (found) {
        *at = op->next;
    }
    pthread_mutex_unlock(&dist->mutex);
    return found;
}

bool kvt_dist_has_room(struct dist *dist)
{
    struct dist_limit *limit = &dist->limit;
    struct kvt_charge least = kvt_dist_charge(dist, 1, 1);
    pthread_mutex_lock(&dist->mutex);
    bool room = !limit->on || limit->evicts || !limit->counted ||
                limit->dirty || fits(limit, least);
    pthread_mutex_unlock(&dist->mutex);
    return room;
}

/* Counting ----------------------------------------------------------------- */

struct count {
    struct dist *dist;
    struct kvt_charge total;
    struct dist_oldest *oldest;
};

static int count_one(const struct dist_found *found, void *arg)
{
    struct count *count = arg;
    uint64_t value = found->file_size > KVT_TRAILER_SIZE
                         ? found->file_size - KVT_TRAILER_SIZE
                         : 0;
    struct kvt_charge charge =
        kvt_dist_charge(count->dist, found->file_size, value);
    if (found->kind == KVT_NAME_FOREIGN) { /* being written by somebody */
        charge.objects = 0;
        charge.values = 0;
        kvt_dist_temp_collect(&count->dist->temps, count->dist->fs,
                              found->directory, found->name,
                              found->modified_ns);
    }
    kvt_charge_add(&count->total, charge);
    return found->kind == KVT_NAME_FOREIGN
               ? 0
               : kvt_dist_oldest_offer(count->oldest, found);
}

int kvt_dist_recount(struct dist *dist)
{
    struct dist_limit *limit = &dist->limit;
    struct count count = {.dist = dist, .oldest = kvt_dist_oldest_new()};
    int64_t start_ns = kvt_clock_ns();
    if (count.oldest == NULL) {
        return -ENOMEM;
    }
    pthread_mutex_lock(&dist->mutex);
    limit->since = limit->writing;
    limit->dirty = false;
    pthread_mutex_unlock(&dist->mutex);
    int rc = kvt_dist_walk(dist, true, count_one, &count);
    kvt_dist_oldest_sort(count.oldest);
    pthread_mutex_lock(&dist->mutex);
    struct dist_oldest *old = limit->oldest;
    if (rc == 0) {
        /* what was claimed meanwhile may be counted twice: never too little */
        limit->used = sum_of(count.total, limit->since);
        if (limit->since.allocated == 0) {
            kvt_charge_raise(&limit->peak, limit->used);
        }
        limit->oldest = count.oldest;
        limit->counted = true;
        limit->counted_ns = kvt_clock_ns();
        limit->took_ns = limit->counted_ns - start_ns;
    } else {
        limit->dirty = true;
        old = count.oldest;
    }
    pthread_mutex_unlock(&dist->mutex);
    kvt_dist_oldest_free(old);
    return rc;
}

/* Those that wait ---------------------------------------------------------- */

/* Takes the first waiter out and tells it. Mutex held. */
static void tell_first(struct dist_limit *limit, int rc)
{
    struct dist_op *op = limit->waiters;
    limit->waiters = op->next;
    kvt_fs_post(&op->file.elem, rc);
}

/* Gives room to those that fit, in their order; what the others lack. */
static struct kvt_charge give_room(struct dist *dist, bool *waits, bool *fresh)
{
    struct dist_limit *limit = &dist->limit;
    struct kvt_charge short_of = {0};
    pthread_mutex_lock(&dist->mutex);
    while (limit->counted && limit->waiters != NULL &&
           fits(limit, limit->waiters->charge)) {
        claim(limit, limit->waiters->charge);
        tell_first(limit, 0);
    }
    *waits = limit->waiters != NULL;
    *fresh = is_fresh(limit);
    if (*waits) {
        struct kvt_budget budget = {.limit = limit->most, .used = limit->used};
        struct kvt_charge need = {0};
        for (struct dist_op *op = limit->waiters; op != NULL; op = op->next) {
            struct kvt_charge all = sum_of(need, op->charge);
            if (!kvt_charge_covers(limit->most, all)) {
                break;
            }
            need = all;
        }
        short_of = kvt_budget_shortage(&budget, need);
    }
    pthread_mutex_unlock(&dist->mutex);
    return short_of;
}

/* No room can be made: the first is told, or all. */
static void refuse(struct dist *dist, int rc, bool all)
{
    struct dist_limit *limit = &dist->limit;
    pthread_mutex_lock(&dist->mutex);
    do {
        if (limit->waiters != NULL) {
            int why =
                rc == -ENOSPC ? refusal(limit, limit->waiters->charge) : rc;
            tell_first(limit, why);
        }
    } while (all && limit->waiters != NULL);
    pthread_mutex_unlock(&dist->mutex);
}

void kvt_dist_limit_work(struct dist *dist)
{
    struct dist_limit *limit = &dist->limit;
    bool waits = limit->on;
    pthread_mutex_lock(&limit->pass);
    while (waits) {
        bool fresh;
        struct kvt_charge short_of = give_room(dist, &waits, &fresh);
        if (!waits) {
            break;
        }
        int rc = fresh ? 0 : kvt_dist_recount(dist);
        if (rc != 0) {
            refuse(dist, rc, true); /* the file system fails */
        } else if (!fresh) {
            continue;
        } else if (!limit->evicts) {
            refuse(dist, -ENOSPC, false);
        } else {
            rc = kvt_dist_evict_some(dist, short_of, NULL);
            if (rc != 0) {
                refuse(dist, rc, rc == -ECANCELED);
            }
        }
    }
    pthread_mutex_unlock(&limit->pass);
}
