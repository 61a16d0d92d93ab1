/* Removing objects: a run of kills, then the index forgets them. */
#include "backend/bucket.h"

#include <stdlib.h>
#include <string.h>

/* Kills of a batch --------------------------------------------------------- */

enum {
    ATTEMPTS = 3 /* after the first: a run in front of it failed, or no room */
};

static void start_kills(struct bkt_batch *bb,
                        const struct kvt_bucket_kill *kills, uint32_t count,
                        void (*done)(struct bkt_batch *bb, int rc),
                        unsigned attempts);

static void kill_over(struct bkt_run *run, int rc)
{
    struct bkt_batch *bb = run->arg;
    if (run->attempts < ATTEMPTS &&
        (rc == -EAGAIN || kvt_bkt_device_filled(run->bkt, rc))) {
        pthread_mutex_lock(&run->bkt->mutex);
        kvt_bkt_run_settle(run);
        pthread_mutex_unlock(&run->bkt->mutex);
        start_kills(bb, run->kills, run->kill_count, run->killed,
                    run->attempts + 1);
    } else {
        run->killed(bb, rc);
    }
}

static void kill_granted(struct bkt_run *run, int rc)
{
    if (rc != 0) {
        kill_over(run, rc);
        return;
    }
    size_t size = (size_t)kvt_blocks_of(run->head.record_size);
    run->slices[0] =
        (struct kvt_slice){run->record, size * KVT_BUCKET_BLOCK, NULL};
    kvt_bkt_run_write(run, run->slices, 1);
}

static void start_kills(struct bkt_batch *bb,
                        const struct kvt_bucket_kill *kills, uint32_t count,
                        void (*done)(struct bkt_batch *bb, int rc),
                        unsigned attempts)
{
    struct bkt_run *run = kvt_bkt_run_new(bb->bkt, 0, 0, 0, count);
    if (run != NULL) {
        run->slices = malloc(sizeof run->slices[0]);
    }
    if (run == NULL || run->slices == NULL ||
        kvt_bkt_batch_add_run(bb, run) != 0) {
        if (run != NULL) {
            kvt_bkt_run_drop(run);
        }
        done(bb, -ENOMEM);
        return;
    }
    memcpy(run->kills, kills, count * sizeof kills[0]);
    run->kills_only = true;
    run->granted = kill_granted;
    run->ended = kill_over;
    run->arg = bb;
    run->killed = done;
    run->attempts = (uint8_t)attempts;
    kvt_bkt_run_start(run);
}

void kvt_bkt_kill_run(struct bkt_batch *bb, const struct kvt_bucket_kill *kills,
                      uint32_t count,
                      void (*done)(struct bkt_batch *bb, int rc))
{
    start_kills(bb, kills, count, done, 0);
}

/* Remove ------------------------------------------------------------------- */

enum {
    PART = 16384 /* kills of one run */
};

static void remove_more(struct bkt_batch *bb);

static void finish(struct bkt_batch *bb)
{
    struct bkt *bkt = bb->bkt;
    pthread_mutex_lock(&bkt->mutex);
    kvt_bkt_settle_runs(bb);
    pthread_mutex_unlock(&bkt->mutex);
    kvt_bkt_give_turns(bb);
    kvt_bkt_batch_end(bb);
}

/* Nobody waits for the kill any longer, and it may get into the log: the object
 * is gone for us, and killed once more with one of the next runs. Mutex held.
 */
static void remove_unseen(struct bkt *bkt, const struct bkt_op *op)
{
    const struct bkt_bucket *bucket = bkt_bucket_at(bkt, op->entry.place);
    if (kvt_place_index_remove(&bkt->index, op->hash, op->entry.place)) {
        kvt_bkt_object_died(bkt, &op->entry);
        kvt_bkt_kill_later(bkt, bucket, bkt_place_block(bkt, op->entry.place),
                           KVT_KILL_REMOVED);
    }
}

/* The kills of the objects that are on their way stand in the log, or not. */
static void removed(struct bkt_batch *bb, int rc)
{
    struct bkt *bkt = bb->bkt;
    bool unseen = rc == -ETIMEDOUT && bb->runs[bb->run_count - 1]->orphan;
    pthread_mutex_lock(&bkt->mutex);
    for (size_t i = 0; i < bb->sorted_count; i++) {
        struct bkt_op *op = &bb->ops[bb->sorted[i]];
        if (!op->in_run || !op->mine) {
            continue;
        }
        op->mine = false;
        if (unseen) {
            remove_unseen(bkt, op);
        }
        if (rc != 0) {
            enum kvt_fault fault = kvt_bkt_fault_of(rc);
            int errnum = rc == -EAGAIN ? -EIO : rc;
            kvt_bkt_op_fail(op, fault, fault == KVT_FAULT_WRITE ? errnum : 0);
        } else if (kvt_place_index_remove(&bkt->index, op->hash,
                                          op->entry.place)) {
            kvt_bkt_object_died(bkt, &op->entry);
        } else { /* it was evicted meanwhile */
            kvt_bkt_op_fail(op, KVT_FAULT_ABSENT, 0);
        }
    }
    pthread_mutex_unlock(&bkt->mutex);
    remove_more(bb);
    kvt_bkt_batch_drop(bb);
}

/* Finds what is to be killed next. Mutex held. */
static uint32_t collect(struct bkt_batch *bb, struct kvt_bucket_kill *kills)
{
    struct bkt *bkt = bb->bkt;
    uint32_t count = 0;
    uint64_t last_hash = 0;
    for (; bb->next_op < bb->sorted_count && count < PART; bb->next_op++) {
        struct bkt_op *op = &bb->ops[bb->sorted[bb->next_op]];
        bool found = false;
        if (count == 0 || op->hash != last_hash) { /* not named twice */
            kvt_place_index_find(&bkt->index, &op->hash, &op->entry, &found, 1);
        }
        const struct bkt_bucket *bucket =
            found ? bkt_bucket_at(bkt, op->entry.place) : NULL;
        if (bucket == NULL) {
            kvt_bkt_op_fail(op, KVT_FAULT_ABSENT, 0);
            continue;
        }
        last_hash = op->hash;
        op->in_run = true;
        kills[count++] = (struct kvt_bucket_kill){
            bucket->writer, bucket->number,
            bkt_place_block(bkt, op->entry.place), KVT_KILL_REMOVED};
    }
    return count;
}

static void remove_more(struct bkt_batch *bb)
{
    size_t left = bb->sorted_count - bb->next_op;
    if (left == 0) {
        return;
    }
    struct kvt_bucket_kill *kills =
        malloc((left < PART ? left : PART) * sizeof kills[0]);
    if (kills == NULL) {
        for (; bb->next_op < bb->sorted_count; bb->next_op++) {
            kvt_bkt_op_fail(&bb->ops[bb->sorted[bb->next_op]], KVT_FAULT_WRITE,
                            -ENOMEM);
        }
        return;
    }
    pthread_mutex_lock(&bb->bkt->mutex);
    uint32_t count = collect(bb, kills);
    pthread_mutex_unlock(&bb->bkt->mutex);
    if (count > 0) {
        bb->pending++;
        kvt_bkt_kill_run(bb, kills, count, removed);
    }
    free(kills);
}

void kvt_bkt_start_remove(struct bkt_batch *bb)
{
    bb->ended = finish;
    kvt_bkt_take_turns(bb, remove_more);
}
