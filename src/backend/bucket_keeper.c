/*
 * The keeper: a thread for what takes long. It makes the next bucket before
 * it is needed, makes room for the runs that stand in the line, and removes
 * what nothing lives in any more. A second one seals.
 */
#include "backend/bucket.h"
#include "core/clock.h"

#include <stdlib.h>

#define AGAIN_NS INT64_C(100000000)
#define LOOK_AGAIN_NS INT64_C(20000000)

/* Room ----------------------------------------------------------------------
 */

/* Batches that hold a place in the log and do not stand in the line will be
 * through, readers will let go, and buckets that nobody needs will vanish: then
 * there may be more to evict. */
static bool others_progress(struct bkt *bkt)
{
    uint32_t held = 0;
    for (struct bkt_run *run = bkt->line; run != NULL; run = run->next) {
        if (run->owner != NULL && !run->owner->counted) {
            run->owner->counted = true;
            held += run->owner->holds;
        }
    }
    for (struct bkt_run *run = bkt->line; run != NULL; run = run->next) {
        if (run->owner != NULL) {
            run->owner->counted = false;
        }
    }
    if (bkt->unsettled > held) {
        return true;
    }
    for (uint32_t i = 0; i < bkt->slot_count; i++) {
        const struct bkt_bucket *bucket = bkt->slots[i];
        if (bucket != NULL && bucket->unsettled == 0 &&
            (bucket->pins > 0 ||
             (bucket->seal_again_ns == 0 && kvt_bkt_may_vanish(bucket)))) {
            return true;
        }
    }
    return false;
}

static int refusal_of(const struct bkt *bkt)
{
    return bkt->line != NULL && kvt_bkt_shortage(bkt, bkt->line).objects > 0
               ? BKT_NO_KEYS
               : BKT_NO_ROOM;
}

/* Does the first run of the line wait for room, or for that of a bucket? */
static bool is_short(const struct bkt *bkt)
{
    if (bkt->line == NULL) {
        return false;
    }
    struct kvt_charge short_of = kvt_bkt_shortage(bkt, bkt->line);
    return !kvt_charge_covers((struct kvt_charge){0}, short_of) ||
           (bkt->active == NULL && bkt->spare == NULL &&
            kvt_bkt_lacks_bucket_room(bkt));
}

static struct bkt_bucket *find_full(struct bkt *bkt, int64_t now_ns)
{
    uint32_t end = bkt->in_state[BKT_FULL] > 0 ? bkt->slot_count : 0;
    for (uint32_t i = 0; i < end; i++) {
        struct bkt_bucket *bucket = bkt->slots[i];
        if (bucket != NULL && bucket->state == BKT_FULL &&
            bucket->runs_under_way == 0 && !bucket->withdrawn &&
            bucket->seal_again_ns <= now_ns) {
            return bucket;
        }
    }
    return NULL;
}

/* A bucket to be sealed, pinned, or null. Mutex held. */
static struct bkt_bucket *take_full(struct bkt *bkt)
{
    struct bkt_bucket *bucket = find_full(bkt, kvt_clock_ns());
    if (bucket != NULL) {
        kvt_bkt_pin(bucket);
        bkt->sealing = true;
    }
    return bucket;
}

/* What is dead in a bucket that is not sealed is out of reach. True when one is
 * being sealed: there may be more then. Whoever else takes that bucket away
 * makes room, too, so that nobody waits for the seal alone. Mutex held. */
static bool seals_for_room(struct bkt *bkt)
{
    struct bkt_bucket *active = bkt->active;
    if (active != NULL && active->runs_under_way == 0 &&
        active->unsettled == 0 && active->run_count > 1 &&
        active->dead_blocks > 0) {
        bkt_set_state(active, BKT_FULL);
        bkt->active = NULL;
    }
    if (find_full(bkt, kvt_clock_ns()) == NULL) {
        return false;
    }
    pthread_cond_broadcast(&bkt->work);
    return true;
}

/* Lets one bucket go, or what is dead in one: 0; -EAGAIN: there may be more to
 * let go later; -ENOENT: there is nothing; or an error. Mutex held, and
 * released meanwhile. */
static int free_some(struct bkt *bkt)
{
    struct kvt_evict_result ignored = {0};
    pthread_mutex_unlock(&bkt->mutex);
    int rc = kvt_bkt_drop_lifeless(bkt);
    bool busy = false;
    if (rc != 0) {
        rc = kvt_bkt_reclaim_one(bkt);
        busy = rc == -EBUSY;
    }
    if (rc != 0) { /* nothing that is dead: something that lives */
        rc = kvt_evict_allowed(&bkt->order)
                 ? kvt_bkt_evict_one(bkt, true, &ignored)
                 : -ENOENT;
    }
    pthread_mutex_lock(&bkt->mutex);
    if (rc == -ENOENT && busy) {
        return -EAGAIN;
    }
    if (rc == -ENOENT && (kvt_bkt_may_evict(bkt) || kvt_bkt_may_reclaim(bkt))) {
        return 0; /* by now there is something */
    }
    return rc == -ENOENT && (seals_for_room(bkt) || others_progress(bkt))
               ? -EAGAIN
               : rc;
}

/* Makes room for the first run of the line, or refuses it, with `failure` if
 * there is one. Returns false when there is nothing to do but wait. Mutex
 * held, and released meanwhile. */
static bool make_room(struct bkt *bkt, int failure)
{
    int rc = free_some(bkt);
    if (rc == -EAGAIN) {
        return false;
    }
    bool of_limit = failure == 0 || failure == BKT_NO_ROOM;
    if (rc == -ENOENT && of_limit && !is_short(bkt)) {
        rc = 0; /* somebody else has made room meanwhile */
    } else if (rc == -ENOENT) {
        rc = failure != 0 ? failure : refusal_of(bkt);
    }
    if (rc != 0) {
        kvt_bkt_line_refuse(bkt, rc);
    }
    kvt_bkt_line_pump(bkt);
    return true;
}

/* Work ----------------------------------------------------------------------
 */

static struct bkt_bucket *find_dying(struct bkt *bkt, int64_t now_ns)
{
    uint32_t end = bkt->in_state[BKT_DYING] > 0 ? bkt->slot_count : 0;
    for (uint32_t i = 0; i < end; i++) {
        struct bkt_bucket *bucket = bkt->slots[i];
        if (bucket != NULL && bucket->state == BKT_DYING &&
            bucket->seal_again_ns <= now_ns && kvt_bkt_may_vanish(bucket)) {
            return bucket;
        }
    }
    return NULL;
}

static void retire_idle(struct bkt *bkt, int64_t now_ns)
{
    struct bkt_bucket *active = bkt->active;
    if (active != NULL && active->run_count > 0 &&
        active->runs_under_way == 0 && active->unsettled == 0 &&
        now_ns - active->touched_ns >= bkt->seal_after_ns) {
        bkt_set_state(active, BKT_FULL);
        bkt->active = NULL;
        pthread_cond_broadcast(&bkt->work);
    }
}

static bool needs_bucket(const struct bkt *bkt, int64_t now_ns)
{
    return bkt->bucket_wanted && bkt->spare == NULL &&
           bkt->make_again_ns <= now_ns;
}

/* Mutex held, and released meanwhile. */
static bool make_bucket(struct bkt *bkt, int64_t now_ns)
{
    pthread_mutex_unlock(&bkt->mutex);
    int rc = kvt_bkt_make_bucket(bkt, false);
    pthread_mutex_lock(&bkt->mutex);
    if (rc == 0) {
        return true;
    }
    bkt->bucket_wanted = false; /* whoever needs it asks again */
    if (bkt->active != NULL || bkt->line == NULL) {
        return true; /* it would have been the next one */
    }
    if (rc == BKT_NO_ROOM || rc == -ENOSPC || rc == -EDQUOT) {
        bool did = make_room(bkt, rc);
        bkt->bucket_wanted = bkt->line != NULL;
        return did;
    }
    bkt->make_again_ns = now_ns + AGAIN_NS;
    kvt_bkt_line_refuse(bkt, rc);
    bkt->bucket_wanted = bkt->line != NULL;
    return true;
}

/* The device is full though the limit is not reached; who found out stands in
 * the line. A write that fails costs the rest of its bucket: so much goes that
 * the first run fits. Mutex held, and released meanwhile. */
static bool free_device(struct bkt *bkt)
{
    uint64_t before = bkt->budget.used.allocated;
    int rc = free_some(bkt);
    if (rc == -EAGAIN) {
        return false;
    }
    uint64_t after = bkt->budget.used.allocated;
    bkt->device_freed += before > after ? before - after : 0;
    if (rc == 0 && bkt->line != NULL &&
        bkt->device_freed < bkt->line->charge.allocated) {
        return true;
    }
    if (rc != 0 && bkt->device_freed == 0) {
        kvt_bkt_line_refuse(bkt, rc == -ENOENT ? -ENOSPC : rc);
    }
    bkt->device_full = false;
    bkt->device_freed = 0;
    kvt_bkt_line_pump(bkt);
    return true;
}

/* Does one thing; false when there is nothing to do now. Mutex held, and
 * released meanwhile. */
static bool work(struct bkt *bkt)
{
    int64_t now_ns = kvt_clock_ns();
    retire_idle(bkt, now_ns);
    struct bkt_bucket *bucket = find_dying(bkt, now_ns);
    if (bucket != NULL) {
        struct bkt_name name = bkt_name_of(bucket);
        pthread_mutex_unlock(&bkt->mutex);
        kvt_bkt_remove_bucket(bkt, name);
        pthread_mutex_lock(&bkt->mutex);
        return true;
    }
    if (needs_bucket(bkt, now_ns) && make_bucket(bkt, now_ns)) {
        return true;
    }
    if (bkt->device_full && bkt->line != NULL && free_device(bkt)) {
        return true;
    }
    if (bkt->room_wanted && is_short(bkt) && make_room(bkt, 0)) {
        return true;
    }
    if (bkt->dead_found || bkt->files_are_crowded) {
        bool dead = bkt->dead_found;
        bool crowded = bkt->files_are_crowded;
        pthread_mutex_unlock(&bkt->mutex);
        if (dead) {
            kvt_bkt_remove_dead(bkt);
        }
        if (crowded) {
            kvt_bkt_files_trim(bkt);
        }
        pthread_mutex_lock(&bkt->mutex);
        return true;
    }
    return false;
}

/* Until when there is nothing to do unless somebody says so; 0 = never. */
static int64_t next_time(const struct bkt *bkt)
{
    int64_t next_ns = 0;
    if (bkt->active != NULL && bkt->active->run_count > 0) {
        next_ns = bkt->active->touched_ns + bkt->seal_after_ns;
    }
    bool some = bkt->in_state[BKT_FULL] + bkt->in_state[BKT_DYING] > 0;
    for (uint32_t i = 0; i < bkt->slot_count && some; i++) {
        const struct bkt_bucket *bucket = bkt->slots[i];
        if (bucket != NULL && bucket->seal_again_ns != 0 &&
            (bucket->state == BKT_FULL || bucket->state == BKT_DYING) &&
            (next_ns == 0 || bucket->seal_again_ns < next_ns)) {
            next_ns = bucket->seal_again_ns;
        }
    }
    if (bkt->bucket_wanted && bkt->spare == NULL &&
        (next_ns == 0 || bkt->make_again_ns < next_ns)) {
        next_ns = bkt->make_again_ns;
    }
    return next_ns;
}

static void wait_for_work(struct bkt *bkt)
{
    int64_t next_ns = next_time(bkt);
    if (bkt->line != NULL) { /* whatever they wait for: look again soon */
        int64_t soon_ns = kvt_clock_ns() + LOOK_AGAIN_NS;
        next_ns = next_ns != 0 && next_ns < soon_ns ? next_ns : soon_ns;
        kvt_bkt_line_pump(bkt);
    }
    int64_t least_ns = kvt_clock_ns() + 1000000;
    if (next_ns == 0) {
        pthread_cond_wait(&bkt->work, &bkt->mutex);
        return;
    }
    next_ns = next_ns > least_ns ? next_ns : least_ns;
    struct timespec until = {.tv_sec = next_ns / 1000000000,
                             .tv_nsec = next_ns % 1000000000};
    pthread_cond_timedwait(&bkt->work, &bkt->mutex, &until);
}

static void *keep(void *arg)
{
    struct bkt *bkt = arg;
    pthread_mutex_lock(&bkt->mutex);
    while (!bkt->keeper_stops) {
        if (!work(bkt)) {
            wait_for_work(bkt);
        }
    }
    pthread_mutex_unlock(&bkt->mutex);
    return NULL;
}

static void stop(struct bkt *bkt)
{
    pthread_mutex_lock(&bkt->mutex);
    bkt->keeper_stops = true;
    pthread_cond_broadcast(&bkt->work);
    pthread_cond_broadcast(&bkt->quiet);
    pthread_mutex_unlock(&bkt->mutex);
}

/* Syncing takes long, and writers that need room must not wait for it. */
static void *seal(void *arg)
{
    struct bkt *bkt = arg;
    pthread_mutex_lock(&bkt->mutex);
    while (!bkt->keeper_stops) {
        struct bkt_bucket *bucket = take_full(bkt);
        if (bucket == NULL) {
            wait_for_work(bkt);
            continue;
        }
        pthread_mutex_unlock(&bkt->mutex);
        kvt_bkt_seal(bkt, bucket);
        pthread_mutex_lock(&bkt->mutex);
        pthread_cond_broadcast(&bkt->quiet);
        pthread_cond_broadcast(&bkt->work);
    }
    pthread_mutex_unlock(&bkt->mutex);
    return NULL;
}

int kvt_bkt_keeper_start(struct bkt *bkt)
{
    int rc = pthread_create(&bkt->keeper, NULL, keep, bkt);
    if (rc != 0) {
        return -rc;
    }
    rc = pthread_create(&bkt->sealer, NULL, seal, bkt);
    if (rc != 0) {
        stop(bkt);
        pthread_join(bkt->keeper, NULL);
        return -rc;
    }
    bkt->keeper_runs = true;
    return 0;
}

/* Closing -------------------------------------------------------------------
 */

/* Everything that takes runs is to be sealed. */
static void retire_all(struct bkt *bkt)
{
    pthread_mutex_lock(&bkt->mutex);
    if (bkt->active != NULL) {
        bkt_set_state(bkt->active, BKT_FULL);
        bkt->active = NULL;
    }
    if (bkt->spare != NULL) {
        kvt_bkt_begin_end(bkt, bkt->spare);
        bkt->spare = NULL;
    }
    pthread_mutex_unlock(&bkt->mutex);
}

static void seal_all(struct bkt *bkt)
{
    struct bkt_bucket *bucket;
    do {
        pthread_mutex_lock(&bkt->mutex);
        bucket = take_full(bkt);
        pthread_mutex_unlock(&bkt->mutex);
        if (bucket != NULL) {
            kvt_bkt_seal(bkt, bucket);
        }
    } while (bucket != NULL);
    kvt_bkt_remove_dead(bkt);
    do {
        pthread_mutex_lock(&bkt->mutex);
        bucket = find_dying(bkt, kvt_clock_ns());
        pthread_mutex_unlock(&bkt->mutex);
        if (bucket != NULL) { /* no thread of ours is left */
            kvt_bkt_remove_bucket(bkt, bkt_name_of(bucket));
        }
    } while (bucket != NULL);
}

void kvt_bkt_keeper_stop(struct bkt *bkt)
{
    char directory[BKT_PATH_MAX];
    stop(bkt);
    pthread_join(bkt->keeper, NULL);
    pthread_join(bkt->sealer, NULL);
    if (bkt->kill_count > 0) {
        kvt_bkt_write_kills(bkt, NULL, 0);
    }
    retire_all(bkt);
    seal_all(bkt);
    kvt_bkt_directory(bkt->writer, directory);
    kvt_fs_rmdir(bkt->fs, directory); /* when nothing is in it */
}
