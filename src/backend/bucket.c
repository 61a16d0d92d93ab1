#include "backend/bucket.h"

#include "core/clock.h"
#include "core/hash.h"
#include "format/trailer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Keys and values --------------------------------------------------------- */

uint64_t kvt_bkt_hash(const struct bkt *bkt, struct kvt_key key)
{
    return kvt_hash64(key.data, key.size, bkt->marker.hash_seed);
}

uint64_t kvt_bkt_check(const struct bkt *bkt, struct kvt_key key,
                       const struct kvt_slice *slices, size_t count,
                       uint64_t size)
{
    return kvt_trailer_check(bkt->marker.hash_seed,
                             kvt_hash128(key.data, key.size), slices, count,
                             size);
}

void kvt_bkt_directory(uint64_t writer, char path[BKT_PATH_MAX])
{
    snprintf(path, BKT_PATH_MAX, "w-%016llx", (unsigned long long)writer);
}

void kvt_bkt_path(const struct bkt_bucket *bucket, char path[BKT_PATH_MAX])
{
    snprintf(path, BKT_PATH_MAX, "w-%016llx/%016llx.kvb",
             (unsigned long long)bucket->writer,
             (unsigned long long)bucket->number);
}

struct kvt_meta kvt_bkt_meta(const struct bkt *bkt,
                             const struct bkt_bucket *bucket,
                             struct kvt_key key, uint64_t size, uint32_t block)
{
    return (struct kvt_meta){
        .key = key,
        .size = size,
        .place = {.backend = bkt->base.ops->name,
                  .bucket = bucket->number,
                  .offset = (uint64_t)block * KVT_BUCKET_BLOCK},
    };
}

/* Buckets ----------------------------------------------------------------- */

static int make_slot(struct bkt *bkt, uint32_t *slot)
{
    for (uint32_t i = 0; i < bkt->slot_count; i++) {
        if (bkt->slots[i] == NULL) {
            *slot = i;
            return 0;
        }
    }
    if (bkt->slot_count == bkt->slot_capacity) {
        uint32_t capacity = bkt->slot_capacity * 2 + 16;
        struct bkt_bucket **slots =
            realloc(bkt->slots, capacity * sizeof slots[0]);
        if (slots == NULL) {
            return -ENOMEM;
        }
        bkt->slots = slots;
        bkt->slot_capacity = capacity;
    }
    if ((uint64_t)bkt->slot_count >> (KVT_INDEX_PLACE_BITS - bkt->block_bits) !=
        0) {
        return -ENOSPC;
    }
    *slot = bkt->slot_count++;
    bkt->slots[*slot] = NULL;
    return 0;
}

struct bkt_bucket *kvt_bkt_bucket_add(struct bkt *bkt, uint64_t writer,
                                      uint64_t number)
{
    struct bkt_bucket *bucket = calloc(1, sizeof *bucket);
    uint32_t slot;
    if (bucket == NULL || make_slot(bkt, &slot) != 0) {
        free(bucket);
        return NULL;
    }
    bucket->bkt = bkt;
    bucket->writer = writer;
    bucket->number = number;
    bucket->seed = kvt_bucket_seed(bkt->marker.uuid, writer, number);
    bucket->slot = slot;
    bucket->runs_end = &bucket->runs;
    bkt->slots[slot] = bucket;
    bkt->in_state[BKT_EMPTY]++;
    bkt->bucket_count++;
    return bucket;
}

void kvt_bkt_bucket_drop(struct bkt *bkt, struct bkt_bucket *bucket)
{
    if (bucket->order.newer != NULL) {
        kvt_evict_drop(&bkt->order, &bucket->order);
    }
    kvt_budget_give_back(&bkt->budget, bucket->charge);
    bkt->slots[bucket->slot] = NULL;
    bkt->in_state[bucket->state]--;
    bkt->bucket_count--;
    kvt_bkt_table_free(&bucket->table);
    if (bucket->withdrawn) {
        __atomic_fetch_sub(&bkt->withdrawn, 1, __ATOMIC_RELEASE);
    }
    free(bucket);
    pthread_cond_broadcast(&bkt->quiet);
}

void kvt_bkt_pin(struct bkt_bucket *bucket)
{
    bucket->pins++;
}

void kvt_bkt_unpin(struct bkt *bkt, struct bkt_bucket *bucket)
{
    bucket->pins--;
    if (bucket->pins > 0) {
        return;
    }
    if (bucket->state == BKT_DYING) {
        pthread_cond_broadcast(&bkt->quiet);
    }
    if (bucket->state == BKT_DYING || bkt->room_wanted) {
        pthread_cond_broadcast(&bkt->work);
    }
}

/* Objects ----------------------------------------------------------------- */

void kvt_bkt_object_lives(struct bkt *bkt, struct bkt_bucket *bucket,
                          uint64_t size)
{
    bucket->live_objects++;
    bucket->live_bytes += size;
    bkt->live_bytes += size;
}

void kvt_bkt_object_died(struct bkt *bkt, const struct kvt_index_entry *entry)
{
    struct bkt_bucket *bucket = bkt_bucket_at(bkt, entry->place);
    if (bucket == NULL) {
        return;
    }
    bucket->live_objects--;
    bucket->live_bytes -= entry->length;
    bucket->dead_blocks += bkt_value_blocks(entry->length);
    bkt->live_bytes -= entry->length;
    kvt_budget_give_back(&bkt->budget, (struct kvt_charge){.objects = 1});
    if (bucket->live_objects == 0 && bucket->state == BKT_SEALED) {
        bkt->dead_found = true;
        pthread_cond_broadcast(&bkt->work);
    }
}

void kvt_bkt_kill_later(struct bkt *bkt, const struct bkt_bucket *bucket,
                        uint32_t block, uint32_t cause)
{
    if (bkt->kill_count + bkt->kills_riding >= bkt->kill_capacity) {
        size_t capacity = bkt->kill_capacity * 2 + 64;
        struct kvt_bucket_kill *kills =
            realloc(bkt->kills, capacity * sizeof kills[0]);
        if (kills == NULL) {
            return;
        }
        bkt->kills = kills;
        bkt->kill_capacity = capacity;
    }
    bkt->kills[bkt->kill_count++] =
        (struct kvt_bucket_kill){bucket->writer, bucket->number, block, cause};
}

bool kvt_bkt_is_visible(const struct bkt *bkt,
                        const struct kvt_index_entry *entry)
{
    const struct bkt_bucket *bucket = bkt_bucket_at(bkt, entry->place);
    return bucket != NULL && !bucket->withdrawn && bucket->state != BKT_DYING;
}

void kvt_bkt_use(struct bkt *bkt, uint64_t hash,
                 const struct kvt_index_entry *entry)
{
    struct bkt_bucket *bucket = bkt_bucket_at(bkt, entry->place);
    if (!entry->used) {
        kvt_place_index_use(&bkt->index, hash, entry->place, true);
    }
    if (bucket != NULL && bucket->order.newer != NULL) {
        kvt_evict_use(&bkt->order, &bucket->order);
    }
}

/* Batches ----------------------------------------------------------------- */

void kvt_bkt_batch_drop(struct bkt_batch *bb)
{
    if (--bb->pending == 0) {
        bb->ended(bb);
    }
}

void kvt_bkt_op_fail(struct bkt_op *op, enum kvt_fault fault, int rc)
{
    kvt_object_fail(&op->bb->bkt->base, op->object, fault, rc);
    op->mine = false;
}

void kvt_bkt_batch_end(struct bkt_batch *bb)
{
    struct kvt_batch *batch = bb->batch;
    for (size_t i = 0; i < bb->run_count; i++) {
        kvt_bkt_run_drop(bb->runs[i]);
    }
    batch->state = NULL;
    free(bb->runs);
    free(bb->turns);
    free(bb->sorted);
    free(bb->elems);
    free(bb->slices);
    free(bb);
    kvt_batch_finish(batch);
}

static void op_init(struct bkt_batch *bb, struct bkt_op *op,
                    struct kvt_object *object)
{
    bool offload = bb->batch->op == KVT_BATCH_OFFLOAD;
    op->bb = bb;
    op->object = object;
    op->mine = object->status == KVT_OK;
    if (!op->mine) {
        return;
    }
    op->hash = kvt_bkt_hash(bb->bkt, object->key);
    for (size_t i = 0; offload && i < object->slice_count; i++) {
        op->size += object->slices[i].size;
    }
}

static struct bkt_batch *batch_new(struct bkt *bkt, struct kvt_batch *batch)
{
    struct bkt_batch *bb =
        calloc(1, sizeof *bb + batch->count * sizeof bb->ops[0]);
    if (bb == NULL) {
        return NULL;
    }
    bb->bkt = bkt;
    bb->batch = batch;
    bb->pending = 1;
    bb->ended = kvt_bkt_batch_end;
    bb->wait.arg = bb;
    batch->state = bb;
    for (size_t i = 0; i < batch->count; i++) {
        op_init(bb, &bb->ops[i], &batch->objects[i]);
    }
    return bb;
}

int kvt_bkt_batch_run(struct bkt *bkt, struct kvt_batch *batch,
                      void (*start)(struct bkt_batch *bb))
{
    struct bkt_batch *bb = batch_new(bkt, batch);
    if (bb == NULL) {
        return -ENOMEM;
    }
    start(bb);
    kvt_bkt_batch_drop(bb);
    return 0;
}

static void bkt_start(struct kvt_backend *backend, struct kvt_batch *batch)
{
    static void (*const starts[])(struct bkt_batch *) = {
        [KVT_BATCH_OFFLOAD] = kvt_bkt_start_offload,
        [KVT_BATCH_LOAD] = kvt_bkt_start_load,
        [KVT_BATCH_REMOVE] = kvt_bkt_start_remove,
    };
    if (batch->op == KVT_BATCH_EXISTS) { /* memory only */
        kvt_bkt_exists((struct bkt *)backend, batch);
        kvt_batch_finish(batch);
        return;
    }
    if (kvt_bkt_batch_run((struct bkt *)backend, batch, starts[batch->op]) !=
        0) {
        for (size_t i = 0; i < batch->count; i++) {
            if (batch->objects[i].status == KVT_OK) {
                kvt_object_fail(backend, &batch->objects[i], KVT_FAULT_READ,
                                -ENOMEM);
            }
        }
        kvt_batch_finish(batch);
    }
}

/* Elements end by themselves; who waits for a turn or for the log is told. */
static void bkt_expire(struct kvt_backend *backend, struct kvt_batch *batch)
{
    struct bkt *bkt = (struct bkt *)backend;
    struct bkt_batch *bb = batch->state;
    if (bb == NULL) {
        return;
    }
    bb->expired = true;
    pthread_mutex_lock(&bkt->mutex);
    if (bb->waits_for_turn && kvt_turn_leave(&bkt->turns, &bb->turns[bb->at])) {
        kvt_fs_post(&bb->wait, -ETIMEDOUT);
    }
    pthread_mutex_unlock(&bkt->mutex);
    for (size_t i = 0; i < bb->run_count; i++) {
        kvt_bkt_run_expire(bb->runs[i]);
    }
}

/* Turns ------------------------------------------------------------------- */

struct by_hash {
    uint64_t hash;
    uint32_t number;
};

static int smaller_hash_first(const void *a, const void *b)
{
    const struct by_hash *left = a;
    const struct by_hash *right = b;
    if (left->hash != right->hash) {
        return left->hash < right->hash ? -1 : 1;
    }
    return left->number < right->number ? -1 : left->number > right->number;
}

/* The objects that have no result yet, by the hash of their keys. */
static int sort_objects(struct bkt_batch *bb)
{
    size_t count = bb->batch->count;
    struct by_hash *found = malloc(count * sizeof found[0]);
    bb->sorted = malloc(count * sizeof bb->sorted[0]);
    bb->turns = calloc(count, sizeof bb->turns[0]);
    if (found == NULL || bb->sorted == NULL || bb->turns == NULL) {
        free(found);
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        if (bb->ops[i].mine) {
            found[bb->sorted_count++] =
                (struct by_hash){bb->ops[i].hash, (uint32_t)i};
        }
    }
    if (bb->sorted_count > 1) {
        qsort(found, bb->sorted_count, sizeof found[0], smaller_hash_first);
    }
    for (size_t i = 0; i < bb->sorted_count; i++) {
        bb->sorted[i] = found[i].number;
    }
    free(found);
    return 0;
}

static void fail_all(struct bkt_batch *bb, int rc)
{
    for (size_t i = 0; i < bb->batch->count; i++) {
        if (bb->ops[i].mine) {
            kvt_bkt_op_fail(&bb->ops[i], KVT_FAULT_WRITE, rc);
        }
    }
}

static void take_more_turns(struct bkt_batch *bb);

/* Two keys with one hash share the turn. */
static bool shares_turn(const struct bkt_batch *bb, size_t at)
{
    return at > 0 &&
           bb->ops[bb->sorted[at - 1]].hash == bb->ops[bb->sorted[at]].hash;
}

static void turn_came(struct kvt_fs_elem *elem)
{
    struct bkt_batch *bb = elem->arg;
    bb->waits_for_turn = false;
    if (elem->result == -ETIMEDOUT) {
        fail_all(bb, -ETIMEDOUT);
        kvt_bkt_give_turns(bb);
        kvt_bkt_batch_drop(bb);
        return;
    }
    bb->ops[bb->sorted[bb->at]].has_turn = true;
    bb->at++;
    take_more_turns(bb);
    kvt_bkt_batch_drop(bb);
}

/* Its turn, or no object. Mutex held. */
static void take_turn_now(struct bkt_batch *bb, struct bkt_op *op,
                          struct kvt_turn *turn)
{
    bool had = shares_turn(bb, bb->at) && bb->ops[bb->sorted[bb->at - 1]].mine;
    op->has_turn = !had && kvt_turn_try(&bb->bkt->turns, turn);
    if (!had && !op->has_turn) {
        kvt_bkt_op_fail(op, KVT_FAULT_FULL, -EAGAIN);
    }
}

static void take_more_turns(struct bkt_batch *bb)
{
    struct bkt *bkt = bb->bkt;
    int64_t deadline_ns = bb->batch->deadline_ns;
    bool late = false;
    pthread_mutex_lock(&bkt->mutex);
    while (bb->at < bb->sorted_count) {
        struct bkt_op *op = &bb->ops[bb->sorted[bb->at]];
        struct kvt_turn *turn = &bb->turns[bb->at];
        turn->hash = op->hash;
        if (kvt_batch_hurries(bb->batch)) {
            take_turn_now(bb, op, turn);
        } else if (!shares_turn(bb, bb->at)) {
            bb->wait.done = turn_came;
            op->has_turn =
                kvt_turn_take(&bkt->turns, turn, bb->batch->queue, &bb->wait);
            if (!op->has_turn) {
                bb->pending++;
                bb->waits_for_turn = true;
                late = deadline_ns != 0 && kvt_clock_ns() >= deadline_ns &&
                       kvt_turn_leave(&bkt->turns, turn);
                if (late) { /* `expire` may have been here already */
                    kvt_fs_post(&bb->wait, -ETIMEDOUT);
                }
                break;
            }
        }
        bb->at++;
    }
    bool all = bb->at == bb->sorted_count;
    pthread_mutex_unlock(&bkt->mutex);
    if (all) {
        bb->ready(bb);
    }
}

void kvt_bkt_take_turns(struct bkt_batch *bb,
                        void (*ready)(struct bkt_batch *bb))
{
    bb->ready = ready;
    int rc = sort_objects(bb);
    if (rc != 0) {
        fail_all(bb, rc);
        return;
    }
    take_more_turns(bb);
}

void kvt_bkt_give_turns(struct bkt_batch *bb)
{
    struct bkt *bkt = bb->bkt;
    pthread_mutex_lock(&bkt->mutex);
    for (size_t i = 0; i < bb->sorted_count; i++) {
        struct bkt_op *op = &bb->ops[bb->sorted[i]];
        if (op->has_turn) {
            op->has_turn = false;
            kvt_turn_give(&bkt->turns, &bb->turns[i]);
        }
    }
    pthread_mutex_unlock(&bkt->mutex);
}

/* Figures ----------------------------------------------------------------- */

static bool bkt_offload_enabled(struct kvt_backend *backend)
{
    struct bkt *bkt = (struct bkt *)backend;
    if (backend->args.read_only) {
        return false;
    }
    pthread_mutex_lock(&bkt->mutex);
    struct kvt_charge least = {KVT_BUCKET_BLOCK * 2 + kvt_bkt_kept_free(bkt), 1,
                               1};
    struct kvt_charge shortage = kvt_budget_shortage(&bkt->budget, least);
    bool enabled = kvt_charge_covers((struct kvt_charge){0}, shortage) ||
                   kvt_evict_allowed(&bkt->order) ||
                   (shortage.objects == 0 && kvt_bkt_may_reclaim(bkt));
    pthread_mutex_unlock(&bkt->mutex);
    return enabled;
}

/* Those of buckets on their way out are misses. Mutex held. */
static void count_objects(const struct bkt *bkt, struct kvt_stats *stats)
{
    uint64_t objects = 0;
    uint64_t bytes = 0;
    uint32_t end = bkt->in_state[BKT_DYING] > 0 ? bkt->slot_count : 0;
    for (uint32_t i = 0; i < end; i++) {
        const struct bkt_bucket *bucket = bkt->slots[i];
        if (bucket != NULL && bucket->state == BKT_DYING) {
            objects += bucket->live_objects;
            bytes += bucket->live_bytes;
        }
    }
    uint64_t count = kvt_place_index_count(&bkt->index);
    stats->objects = count > objects ? count - objects : 0;
    stats->object_bytes = bkt->live_bytes - bytes;
}

static void bkt_stats(struct kvt_backend *backend, struct kvt_stats *stats)
{
    struct bkt *bkt = (struct bkt *)backend;
    stats->effective.checksum = bkt->checksum ? "on" : "off";
    stats->index_bytes = kvt_place_index_bytes(&bkt->index);
    pthread_mutex_lock(&bkt->mutex);
    count_objects(bkt, stats);
    stats->value_bytes = bkt->budget.used.values;
    stats->dead_bytes = stats->value_bytes > stats->object_bytes
                            ? stats->value_bytes - stats->object_bytes
                            : 0;
    stats->allocated_bytes = bkt->budget.used.allocated;
    stats->limit_bytes = bkt->budget.limit.allocated + bkt->beside;
    stats->peak_value_bytes = bkt->budget.peak.values;
    stats->peak_allocated_bytes = bkt->budget.peak.allocated;
    stats->files = bkt->bucket_count;
    stats->buckets = bkt->bucket_count;
    stats->evicted_objects = bkt->evicted_objects;
    stats->rewritten_bytes = bkt->rewritten_bytes;
    stats->checksum_misses = bkt->checksum_misses;
    stats->quarantined_objects = bkt->quarantined_objects;
    stats->recovery.objects = bkt->recovery.objects;
    stats->recovery.removed_temporaries = bkt->recovery.removed_temporaries;
    stats->recovery.dropped_records = bkt->recovery.dropped_records;
    stats->recovery.orphans = bkt->recovery.orphans;
    pthread_mutex_unlock(&bkt->mutex);
}

/* Close ------------------------------------------------------------------- */

static void close_files(struct bkt *bkt)
{
    for (uint32_t i = 0; i < bkt->slot_count; i++) {
        struct bkt_bucket *bucket = bkt->slots[i];
        if (bucket != NULL) {
            kvt_bkt_file_close(bkt, kvt_bkt_file_take(bkt, bucket));
            kvt_bkt_table_free(&bucket->table);
            free(bucket);
        }
    }
    free(bkt->slots);
}

static void bkt_close(struct kvt_backend *backend)
{
    struct bkt *bkt = (struct bkt *)backend;
    if (bkt->keeper_runs) {
        kvt_bkt_keeper_stop(bkt);
        kvt_bkt_checkpoint_write(bkt);
    }
    kvt_bkt_line_clear(bkt);
    close_files(bkt);
    kvt_fs_unlock(bkt->lock);
    kvt_place_index_fini(&bkt->index);
    free(bkt->kills);
    pthread_cond_destroy(&bkt->work);
    pthread_cond_destroy(&bkt->quiet);
    pthread_mutex_destroy(&bkt->evicting);
    pthread_mutex_destroy(&bkt->mutex);
    free(bkt);
}

const struct kvt_backend_ops kvt_backend_bucket = {
    .name = "bucket",
    .summary = "many objects in large files that are written once",
    .exists_in_memory = true,
    .open = kvt_bkt_open,
    .close = bkt_close,
    .start = bkt_start,
    .expire = bkt_expire,
    .scan = kvt_bkt_scan,
    .verify = kvt_bkt_verify,
    .remove_all = kvt_bkt_remove_all,
    .evict = kvt_bkt_evict,
    .offload_enabled = bkt_offload_enabled,
    .stats = bkt_stats,
};
