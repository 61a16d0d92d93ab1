/* Claims, counts, and the queue for room. Evicting stands in
 * distributed_evict.c. */
#include "backend/distributed_evict.h"

#include "core/clock.h"
#include "core/config.h"
#include "core/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A count is good for so long, or for ten times what it took; a tenth of the
 * time goes into counting at most. */
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
    bool sized = kvt_config_is_given(config, "total_size_limit");
    limit->on = limit->on || sized;
    if (limit->on) {
        limit->recent = calloc(DIST_RECENT, sizeof limit->recent[0]);
        if (limit->recent == NULL) {
            return -ENOMEM;
        }
    }
    if (!sized) {
        return 0;
    }
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
    free(dist->limit.recent);
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

/* Is what the last count said still worth something? What was written since
 * may have replaced something, so that less is used than we think; but no more
 * than a tenth of the time goes into counting. Mutex held. */
static bool is_fresh(const struct dist_limit *limit)
{
    int64_t age_ns = kvt_clock_ns() - limit->counted_ns;
    int64_t most_ns = 10 * limit->took_ns;
    if (limit->since.objects == 0 && most_ns < COUNT_AGE_NS) {
        most_ns = COUNT_AGE_NS;
    }
    return limit->counted && !limit->dirty && age_ns < most_ns;
}

/* Mutex held. */
static enum dist_room refusal(const struct dist_limit *limit,
                              struct kvt_charge need)
{
    bool keys = limit->used.objects + need.objects > limit->most.objects;
    return keys ? DIST_ROOM_KEYS : DIST_ROOM_FULL;
}

enum dist_room kvt_dist_claim(struct dist_op *op)
{
    struct dist *dist = op->batch->dist;
    struct dist_limit *limit = &dist->limit;
    enum dist_room room = DIST_ROOM_GRANTED;
    if (!limit->on) {
        return room;
    }
    if (!kvt_charge_covers(limit->most, op->charge)) {
        return DIST_ROOM_NEVER;
    }
    pthread_mutex_lock(&dist->mutex);
    /* who waits already comes first */
    if (limit->counted && limit->waiters == NULL && fits(limit, op->charge)) {
        claim(limit, op->charge);
    } else if (!limit->evicts && is_fresh(limit)) {
        room = refusal(limit, op->charge);
    } else if (kvt_batch_hurries(op->batch->batch)) {
        limit->wanted = op->charge;
        room = DIST_ROOM_LATER;
    } else {
        struct dist_op **end = &limit->waiters;
        while (*end != NULL) {
            end = &(*end)->next;
        }
        op->next = NULL;
        op->waits = true;
        kvt_fs_expect(op->batch->batch->queue, &op->file.elem);
        *end = op;
        room = DIST_ROOM_WAITS;
    }
    pthread_mutex_unlock(&dist->mutex);
    if (room == DIST_ROOM_WAITS || room == DIST_ROOM_LATER) {
        kvt_dist_janitor_wake(dist);
    }
    return room;
}

static uint64_t hash_of(const char *path)
{
    return kvt_hash64(path, strlen(path), 0);
}

/* The same file again: the last one is no more. Mutex held. */
static void note_recent(struct dist_limit *limit, uint64_t hash,
                        struct kvt_charge charge)
{
    struct dist_recent *recent = &limit->recent[hash % DIST_RECENT];
    if (recent->hash == hash) {
        take_from(&limit->used, recent->charge);
        take_from(&limit->since, recent->charge);
    }
    *recent = (struct dist_recent){hash, charge};
}

void kvt_dist_settle(struct dist_op *op, bool written)
{
    struct dist *dist = op->batch->dist;
    struct dist_limit *limit = &dist->limit;
    if (!limit->on) {
        return;
    }
    pthread_mutex_lock(&dist->mutex);
    take_from(&limit->writing, op->charge);
    if (written) {
        note_recent(limit, hash_of(op->file.path), op->charge);
    } else {
        take_from(&limit->used, op->charge);
        take_from(&limit->since, op->charge);
    }
    pthread_mutex_unlock(&dist->mutex);
}

void kvt_dist_freed(struct dist *dist)
{
    __atomic_fetch_add(&dist->changes, 1, __ATOMIC_RELAXED);
    if (dist->limit.on) {
        pthread_mutex_lock(&dist->mutex);
        dist->limit.dirty = true;
        pthread_mutex_unlock(&dist->mutex);
    }
}

void kvt_dist_renewed(struct dist *dist, const char *path)
{
    __atomic_fetch_add(&dist->changes, 1, __ATOMIC_RELAXED);
    if (dist->limit.on) {
        pthread_mutex_lock(&dist->mutex);
        if (dist->limit.oldest != NULL) {
            kvt_dist_oldest_forget(dist->limit.oldest, path);
        }
        pthread_mutex_unlock(&dist->mutex);
    }
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

/* What was written while the root was listed is young, whatever the listing
 * saw. Mutex held. */
static void drop_recent(const struct dist_limit *limit,
                        struct dist_oldest *oldest)
{
    for (size_t i = 0; i < oldest->count; i++) {
        struct dist_old *old = &oldest->files[i];
        uint64_t hash = hash_of(old->path);
        if (limit->recent[hash % DIST_RECENT].hash == hash) {
            free(old->path);
            old->path = NULL;
        }
    }
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
    memset(limit->recent, 0, DIST_RECENT * sizeof limit->recent[0]);
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
        drop_recent(limit, count.oldest);
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
    if (limit->counted && fits(limit, limit->wanted)) {
        limit->wanted = (struct kvt_charge){0};
    }
    *waits = limit->waiters != NULL || limit->wanted.objects > 0;
    *fresh = is_fresh(limit);
    if (*waits) {
        struct kvt_budget budget = {.limit = limit->most, .used = limit->used};
        struct kvt_charge need = limit->wanted;
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
            int why = rc == DIST_ROOM_FULL
                          ? (int)refusal(limit, limit->waiters->charge)
                          : rc;
            tell_first(limit, why);
        } else {
            limit->wanted = (struct kvt_charge){0};
        }
    } while (all && (limit->waiters != NULL || limit->wanted.objects > 0));
    pthread_mutex_unlock(&dist->mutex);
}

/* One step for those that wait: counts, or evicts, or refuses. `*counted`: the
 * last step counted, so that what it found is all there is. */
static void work_step(struct dist *dist, struct kvt_charge short_of, bool fresh,
                      bool *counted)
{
    int rc = 0;
    if (!fresh && !*counted) {
        rc = kvt_dist_recount(dist);
        *counted = rc == 0;
        if (rc != 0) {
            refuse(dist, rc, true); /* the file system fails */
        }
        return;
    }
    bool certain = *counted;
    *counted = false;
    if (!dist->limit.evicts) {
        refuse(dist, DIST_ROOM_FULL, false);
        return;
    }
    rc = kvt_dist_evict_some(dist, short_of, NULL);
    if (rc == -ENOENT && !certain) {
        kvt_dist_freed(dist); /* count again: there may be others by now */
    } else if (rc != 0) {
        bool refused = rc == -ECANCELED;
        refuse(dist,
               rc == -ENOENT ? DIST_ROOM_FULL
               : refused     ? DIST_ROOM_REFUSED
                             : rc,
               refused);
    }
}

void kvt_dist_limit_work(struct dist *dist)
{
    struct dist_limit *limit = &dist->limit;
    bool waits = limit->on;
    bool counted = false;
    pthread_mutex_lock(&limit->pass);
    while (waits) {
        bool fresh;
        struct kvt_charge short_of = give_room(dist, &waits, &fresh);
        if (waits) {
            work_step(dist, short_of, fresh, &counted);
        }
    }
    pthread_mutex_unlock(&limit->pass);
}
