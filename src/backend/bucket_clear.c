/* Removing everything: the oldest buckets first, so that a kill never goes
 * before what it kills. */
#include "backend/bucket.h"

#include <stdlib.h>
#include <string.h>

/* No bucket takes runs any more, and those that are under way are waited
 * for. Mutex held. */
static void stop_runs(struct bkt *bkt)
{
    while (bkt->making) {
        pthread_cond_wait(&bkt->quiet, &bkt->mutex);
    }
    bkt->spare = NULL;
    bkt->bucket_wanted = false;
    if (bkt->active != NULL) {
        bkt_set_state(bkt->active, BKT_FULL);
        bkt->active = NULL;
    }
    for (uint32_t i = 0; i < bkt->slot_count; i++) {
        struct bkt_bucket *bucket = bkt->slots[i];
        while (bucket != NULL && bucket->runs_under_way > 0) {
            pthread_cond_wait(&bkt->quiet, &bkt->mutex);
            bucket = bkt->slots[i];
        }
    }
}

/* Waits for others. They may need room that only an eviction makes: both locks
 * are held, and released meanwhile. */
static void wait_for_others(struct bkt *bkt)
{
    pthread_mutex_unlock(&bkt->evicting);
    pthread_cond_wait(&bkt->quiet, &bkt->mutex);
    pthread_mutex_unlock(&bkt->mutex);
    pthread_mutex_lock(&bkt->evicting);
    pthread_mutex_lock(&bkt->mutex);
}

/* The oldest bucket below `end`, or one without a run. Mutex held. */
static struct bkt_bucket *find_oldest(const struct bkt *bkt, uint64_t end)
{
    struct bkt_bucket *oldest = NULL;
    for (uint32_t i = 0; i < bkt->slot_count; i++) {
        struct bkt_bucket *bucket = bkt->slots[i];
        if (bucket != NULL &&
            (bucket->number < end || bucket->run_count == 0) &&
            (oldest == NULL || bucket->number < oldest->number)) {
            oldest = bucket;
        }
    }
    return oldest;
}

/* Takes it out of use when all of its batches are through; false when there is
 * none. Both locks held, and released meanwhile. */
static bool take_oldest(struct bkt *bkt, uint64_t end, struct bkt_name *name)
{
    struct bkt_bucket *oldest;
    while ((oldest = find_oldest(bkt, end)) != NULL &&
           (oldest->unsettled > 0 || oldest->runs_under_way > 0)) {
        wait_for_others(bkt);
    }
    if (oldest == NULL) {
        return false;
    }
    kvt_bkt_begin_end(bkt, oldest); /* nothing enters the index for it now */
    oldest->kills_kept = true;      /* no target is left when it goes */
    bkt->spare = bkt->spare == oldest ? NULL : bkt->spare;
    bkt->active = bkt->active == oldest ? NULL : bkt->active;
    *name = bkt_name_of(oldest);
    return true;
}

/* Its file goes when those who read it are through, and others who may be
 * removing it. `evicting` is held, and released meanwhile. */
static int remove_one(struct bkt *bkt, struct bkt_name name)
{
    const struct bkt_bucket *bucket;
    int rc;
    while ((rc = kvt_bkt_remove_bucket(bkt, name)) == -EBUSY) {
        pthread_mutex_lock(&bkt->mutex);
        while ((bucket = bkt_named(bkt, name)) != NULL &&
               !kvt_bkt_may_vanish(bucket)) {
            wait_for_others(bkt);
        }
        pthread_mutex_unlock(&bkt->mutex);
    }
    return rc;
}

int kvt_bkt_remove_all(struct kvt_backend *backend, struct kvt_error *err)
{
    struct bkt *bkt = (struct bkt *)backend;
    struct bkt_name name;
    bool more = true;
    int rc = kvt_bkt_checkpoint_remove(bkt);
    pthread_mutex_lock(&bkt->evicting);
    pthread_mutex_lock(&bkt->mutex);
    bkt->clearing++; /* what is carried over would get away */
    if (rc == 0) {
        stop_runs(bkt);
    }
    uint64_t end = bkt->next_number;
    pthread_mutex_unlock(&bkt->mutex);
    while (rc == 0 && more) {
        pthread_mutex_lock(&bkt->mutex);
        more = take_oldest(bkt, end, &name);
        pthread_mutex_unlock(&bkt->mutex);
        if (more) {
            rc = remove_one(bkt, name);
        }
    }
    pthread_mutex_lock(&bkt->mutex);
    bkt->clearing--;
    pthread_mutex_unlock(&bkt->mutex);
    pthread_mutex_unlock(&bkt->evicting);
    return rc == 0
               ? KVT_OK
               : kvt_error_set(err, kvt_status_of(KVT_FAULT_WRITE, -rc, false),
                               -rc, backend->args.path,
                               "check the file system under the store",
                               "removing the buckets: %s", strerror(-rc));
}
