/*
 * Offload: what is stored already costs nothing. The rest waits for its turn
 * at all its keys, goes to the log in runs, and enters the index when all of
 * the batch is written and the complete handler has agreed.
 */
#include "backend/bucket.h"
#include "core/clock.h"

#include <stdlib.h>
#include <string.h>

enum {
    ATTEMPTS = 3 /* after the first: a run in front of it failed, or no room */
};

static const unsigned char zeros[KVT_BUCKET_BLOCK];

static void start_runs(struct bkt_batch *bb);

static void find_check(struct bkt_op *op)
{
    if (!op->has_check) {
        const struct kvt_object *object = op->object;
        op->check = kvt_bkt_check(op->bb->bkt, object->key, object->slices,
                                  object->slice_count, op->size);
        op->has_check = true;
    }
}

/* Stored already? ---------------------------------------------------------- */

/* Has the index an object of this key and length? */
static bool may_be_stored(struct bkt_op *op)
{
    bool found;
    kvt_place_index_find(&op->bb->bkt->index, &op->hash, &op->entry, &found, 1);
    return found && op->entry.length == op->size;
}

/* The same bytes are there: a success, and a use. */
static bool take_stored(struct bkt_op *op)
{
    struct bkt *bkt = op->bb->bkt;
    if (!may_be_stored(op)) {
        return false;
    }
    find_check(op);
    if (op->entry.check != (uint32_t)op->check) {
        return false;
    }
    pthread_mutex_lock(&bkt->mutex);
    bool visible = kvt_bkt_is_visible(bkt, &op->entry);
    if (visible) {
        kvt_bkt_use(bkt, op->hash, &op->entry);
        op->number = bkt_bucket_at(bkt, op->entry.place)->number;
    }
    pthread_mutex_unlock(&bkt->mutex);
    if (visible) {
        op->block = bkt_place_block(bkt, op->entry.place);
        op->object->size = op->size;
        op->stored = true;
        op->mine = false;
    }
    return visible;
}

/* What an object adds to the bytes of a run: whole blocks of its value, its
 * key, and its entries in record and table. */
static uint64_t write_bytes(const struct bkt_op *op)
{
    return bkt_value_blocks(op->size) * KVT_BUCKET_BLOCK +
           op->object->key.size + 2 * KVT_BUCKET_ENTRY_SIZE;
}

static bool is_there(struct bkt_op *op)
{
    struct bkt *bkt = op->bb->bkt;
    bool found;
    kvt_place_index_find(&bkt->index, &op->hash, &op->entry, &found, 1);
    pthread_mutex_lock(&bkt->mutex);
    found = found && kvt_bkt_is_visible(bkt, &op->entry);
    pthread_mutex_unlock(&bkt->mutex);
    return found;
}

/* Runs --------------------------------------------------------------------- */

int kvt_bkt_batch_add_run(struct bkt_batch *bb, struct bkt_run *run)
{
    if (bb->run_count == bb->run_capacity) {
        size_t capacity = bb->run_capacity * 2 + 2;
        struct bkt_run **runs = realloc(bb->runs, capacity * sizeof runs[0]);
        if (runs == NULL) {
            return -ENOMEM;
        }
        bb->runs = runs;
        bb->run_capacity = capacity;
    }
    bb->runs[bb->run_count++] = run;
    run->queue = bb->batch->queue;
    run->deadline_ns = bb->batch->deadline_ns;
    run->owner = bb;
    return 0;
}

void kvt_bkt_settle_runs(struct bkt_batch *bb)
{
    for (size_t i = 0; i < bb->run_count; i++) {
        kvt_bkt_run_settle(bb->runs[i]);
    }
}

enum kvt_fault kvt_bkt_fault_of(int rc)
{
    return rc == BKT_NO_ROOM   ? KVT_FAULT_FULL
           : rc == BKT_NO_KEYS ? KVT_FAULT_KEYS
           : rc == BKT_KEPT    ? KVT_FAULT_REFUSED
                               : KVT_FAULT_WRITE;
}

static void fail_ops(struct bkt_op *first, int rc)
{
    enum kvt_fault fault = kvt_bkt_fault_of(rc);
    for (struct bkt_op *op = first; op != NULL; op = op->next) {
        kvt_bkt_op_fail(op, fault, fault == KVT_FAULT_WRITE ? rc : 0);
    }
}

/* What a run would take. */
struct measure {
    uint64_t entries;
    uint64_t key_bytes;
    uint64_t value_bytes;
    uint64_t blocks;
    uint64_t slices;
    uint64_t kills;
};

/* Adds an object, if it fits beside what is there. */
static bool add_to(struct measure *sum, const struct bkt *bkt,
                   const struct bkt_op *op)
{
    uint64_t key_bytes = sum->key_bytes + op->object->key.size;
    uint64_t blocks = sum->blocks + bkt_value_blocks(op->size);
    if (sum->entries > 0 &&
        (blocks > bkt->run_blocks_max || sum->entries >= bkt->keys_max ||
         kvt_run_record_size(sum->entries + 1, sum->entries + 1, key_bytes) >
             KVT_RUN_RECORD_MAX)) {
        return false;
    }
    sum->entries++;
    sum->key_bytes = key_bytes;
    sum->value_bytes += op->size;
    sum->blocks = blocks;
    sum->slices += op->object->slice_count + 1;
    sum->kills += op->replaces;
    return true;
}

/* One more object of the batch that is not on its way, or null. */
static struct bkt_op *next_op(struct bkt_batch *bb)
{
    while (bb->next_op < bb->batch->count) {
        struct bkt_op *op = &bb->ops[bb->next_op];
        if (op->mine && !op->in_run) {
            return op;
        }
        bb->next_op++;
    }
    return NULL;
}

static struct bkt_op *collect(struct bkt_batch *bb, struct measure *sum)
{
    struct bkt_op *first = NULL;
    struct bkt_op **end = &first;
    struct bkt_op *op;
    while ((op = next_op(bb)) != NULL && add_to(sum, bb->bkt, op)) {
        op->in_run = true;
        op->next = NULL;
        *end = op;
        end = &op->next;
    }
    return first;
}

/* Slices of a run: the record, and each value filled up to whole blocks. */
static uint32_t lay_out(struct bkt_run *run, struct bkt_op *first)
{
    struct kvt_slice *slices = run->slices;
    uint32_t count = 0;
    uint64_t record = kvt_blocks_of(run->head.record_size);
    slices[count++] = (struct kvt_slice){
        run->record, (size_t)record * KVT_BUCKET_BLOCK, NULL};
    for (struct bkt_op *op = first; op != NULL; op = op->next) {
        const struct kvt_object *object = op->object;
        for (size_t i = 0; i < object->slice_count; i++) {
            if (object->slices[i].size > 0) {
                slices[count++] = object->slices[i];
            }
        }
        uint64_t pad = bkt_value_blocks(op->size) * KVT_BUCKET_BLOCK - op->size;
        if (pad > 0) {
            slices[count++] =
                (struct kvt_slice){(void *)zeros, (size_t)pad, NULL};
        }
    }
    return count;
}

static void fill_record(struct bkt_run *run, struct bkt_op *first)
{
    uint32_t block =
        run->head.block + (uint32_t)kvt_blocks_of(run->head.record_size);
    uint32_t index = 0;
    uint32_t kills = 0;
    uint32_t key_bytes = 0;
    for (struct bkt_op *op = first; op != NULL; op = op->next) {
        struct kvt_bucket_entry entry = {.key_hash = op->hash,
                                         .check = op->check,
                                         .sequence = run->sequence + index,
                                         .block = block,
                                         .length = (uint32_t)op->size};
        op->block = block;
        op->run = run;
        op->number = run->bucket->number;
        kvt_bucket_entry_encode(&entry, kvt_run_entry(run->record, index));
        kvt_run_put_key(run->record, &run->head, index, op->object->key,
                        &key_bytes);
        block += (uint32_t)bkt_value_blocks(op->size);
        index++;
        if (op->replaces) {
            op->old.cause = index;
            run->kills[kills++] = op->old;
        }
    }
}

static void run_over(struct bkt_batch *bb)
{
    bb->runs_under_way--;
    start_runs(bb);
    kvt_bkt_batch_drop(bb);
}

static void fail_ungranted(struct bkt_op *first, int rc)
{
    if (rc != -EAGAIN) {
        fail_ops(first, rc);
        return;
    }
    for (struct bkt_op *op = first; op != NULL; op = op->next) {
        kvt_bkt_op_fail(op, KVT_FAULT_FULL, rc); /* it may not wait */
    }
}

static void offload_granted(struct bkt_run *run, int rc)
{
    struct bkt_op *first = run->arg;
    struct bkt_batch *bb = first->bb;
    if (rc != 0) {
        for (struct bkt_op *op = first; op != NULL; op = op->next) {
            kvt_object_return_write(&bb->bkt->base, write_bytes(op));
        }
        fail_ungranted(first, rc);
        run_over(bb);
        return;
    }
    fill_record(run, first);
    kvt_bkt_run_write(run, run->slices, lay_out(run, first));
}

bool kvt_bkt_device_filled(struct bkt *bkt, int rc)
{
    if (rc != -ENOSPC && rc != -EDQUOT) {
        return false;
    }
    pthread_mutex_lock(&bkt->mutex);
    bkt->device_full = true;
    pthread_cond_broadcast(&bkt->work);
    pthread_mutex_unlock(&bkt->mutex);
    return true;
}

/* May these objects be written once more, in another place? */
static bool may_retry(struct bkt *bkt, struct bkt_op *first, int rc)
{
    return first->attempts < ATTEMPTS &&
           (rc == -EAGAIN || kvt_bkt_device_filled(bkt, rc));
}

static void offload_ended_run(struct bkt_run *run, int rc)
{
    struct bkt *bkt = run->bkt;
    struct bkt_op *first = run->arg;
    struct bkt_batch *bb = first->bb;
    if (rc == 0) {
        for (struct bkt_op *op = first; op != NULL; op = op->next) {
            op->written = true;
            op->object->size = op->size;
        }
        run_over(bb);
        return;
    }
    pthread_mutex_lock(&bkt->mutex);
    kvt_bkt_run_settle(run);
    pthread_mutex_unlock(&bkt->mutex);
    if (may_retry(bkt, first, rc)) {
        for (struct bkt_op *op = first; op != NULL; op = op->next) {
            op->in_run = false;
            op->attempts++;
            kvt_backend_spend_write(&bkt->base, write_bytes(op));
        }
        bb->next_op = 0;
    } else {
        fail_ops(first, rc == -EAGAIN ? -EIO : rc);
    }
    run_over(bb);
}

static int start_run(struct bkt_batch *bb, struct bkt_op *first,
                     const struct measure *sum)
{
    for (struct bkt_op *op = first; op != NULL; op = op->next) {
        find_check(op);
    }
    struct bkt_run *run =
        kvt_bkt_run_new(bb->bkt, (uint32_t)sum->entries, sum->key_bytes,
                        sum->blocks, (uint32_t)sum->kills);
    if (run == NULL) {
        return -ENOMEM;
    }
    run->slices = malloc((sum->slices + 1) * sizeof run->slices[0]);
    if (run->slices == NULL || kvt_bkt_batch_add_run(bb, run) != 0) {
        kvt_bkt_run_drop(run);
        return -ENOMEM;
    }
    run->charge.values = sum->value_bytes;
    run->charge.objects = sum->entries - sum->kills;
    run->granted = offload_granted;
    run->ended = offload_ended_run;
    run->arg = first;
    run->carries = bb->carries;
    run->at_once = kvt_batch_hurries(bb->batch);
    kvt_bkt_run_start(run);
    return 0;
}

/* Starts runs while there are objects, a few at a time: the next one's bytes
 * are checked while those before are written. */
static void start_runs(struct bkt_batch *bb)
{
    if (bb->starting_runs) {
        return;
    }
    bb->starting_runs = true;
    /* one that may not wait is not to be refused for what runs before it */
    uint32_t most = kvt_batch_hurries(bb->batch) && bb->bkt->runs_max == 1
                        ? 1
                        : BKT_BATCH_RUNS_MAX;
    while (!bb->expired && bb->runs_under_way < most && next_op(bb) != NULL) {
        struct measure sum = {0};
        struct bkt_op *first = collect(bb, &sum);
        bb->pending++;
        bb->runs_under_way++;
        int rc = start_run(bb, first, &sum);
        if (rc != 0) {
            fail_ops(first, rc);
            bb->runs_under_way--;
            kvt_bkt_batch_drop(bb);
        }
    }
    for (struct bkt_op *op; bb->expired && (op = next_op(bb)) != NULL;) {
        kvt_object_return_write(&bb->bkt->base, write_bytes(op));
        kvt_bkt_op_fail(op, KVT_FAULT_WRITE, -ETIMEDOUT);
    }
    bb->starting_runs = false;
}

/* The end of a batch ------------------------------------------------------- */

static int tell_complete(struct bkt_batch *bb)
{
    struct bkt *bkt = bb->bkt;
    const struct kvt_handlers *handlers = bkt->base.args.handlers;
    struct kvt_meta *metas = calloc(bb->batch->count, sizeof *metas);
    if (metas == NULL) {
        return -ENOMEM;
    }
    size_t count = 0;
    for (size_t i = 0; i < bb->batch->count; i++) {
        const struct bkt_op *op = &bb->ops[i];
        if (op->written || op->stored) {
            struct bkt_bucket bucket = {.number = op->number};
            metas[count++] = kvt_bkt_meta(bkt, &bucket, op->object->key,
                                          op->size, op->block);
        }
    }
    int rc = count > 0
                 ? handlers->complete(metas, count, handlers->complete_arg)
                 : 0;
    free(metas);
    return rc;
}

/* The room of an object that does not become one. Mutex held. */
static void give_back_object(const struct bkt_op *op)
{
    op->run->bucket->dead_blocks += bkt_value_blocks(op->size);
    if (!op->replaces) {
        kvt_budget_give_back(&op->bb->bkt->budget,
                             (struct kvt_charge){.objects = 1});
    }
}

static bool has_room_for_one(const struct bkt *bkt)
{
    struct kvt_charge one = {.objects = 1};
    return kvt_budget_shortage(&bkt->budget, one).objects == 0;
}

/* The index takes an object over; what it replaces is dead. Mutex held. */
static void enter(struct bkt_op *op)
{
    struct bkt *bkt = op->bb->bkt;
    struct bkt_bucket *bucket = op->run->bucket;
    struct kvt_index_entry old;
    struct kvt_index_entry entry = {.place = bkt_place(bkt, bucket, op->block),
                                    .length = (uint32_t)op->size,
                                    .check = (uint32_t)op->check};
    if (bucket->state == BKT_DYING) { /* everything was removed, or is lost */
        give_back_object(op);
        if (bucket->lost) {
            kvt_bkt_op_fail(op, KVT_FAULT_WRITE, -EIO);
        }
        return;
    }
    int rc = kvt_place_index_put(&bkt->index, op->hash, &entry, &old);
    if (rc == 0 && op->replaces && !has_room_for_one(bkt)) {
        /* what it replaces was evicted meanwhile, and others took its place:
         * it goes the same way, of which the handler knows */
        kvt_place_index_remove(&bkt->index, op->hash, entry.place);
        kvt_bkt_kill_later(bkt, bucket, op->block, KVT_KILL_UNDONE);
        give_back_object(op);
        return;
    }
    if (rc < 0) {
        kvt_bkt_kill_later(bkt, bucket, op->block, KVT_KILL_UNDONE);
        give_back_object(op);
        kvt_bkt_op_fail(op, KVT_FAULT_WRITE, rc);
        return;
    }
    kvt_bkt_object_lives(bkt, bucket, op->size);
    if (op->replaces) { /* one object before, one after */
        kvt_budget_claim(&bkt->budget, (struct kvt_charge){.objects = 1},
                         (struct kvt_charge){0});
    }
    if (rc > 0) {
        kvt_bkt_object_died(bkt, &old);
    }
}

static void finish(struct bkt_batch *bb)
{
    struct bkt *bkt = bb->bkt;
    pthread_mutex_lock(&bkt->mutex);
    kvt_bkt_settle_runs(bb);
    kvt_bkt_line_pump(bkt);
    pthread_mutex_unlock(&bkt->mutex);
    kvt_bkt_give_turns(bb);
    kvt_bkt_batch_end(bb);
}

static void refused(struct bkt_batch *bb, int rc)
{
    struct bkt *bkt = bb->bkt;
    pthread_mutex_lock(&bkt->mutex);
    for (size_t i = 0; i < bb->batch->count; i++) {
        struct bkt_op *op = &bb->ops[i];
        if (op->written) {
            give_back_object(op);
            if (rc != 0) {
                kvt_bkt_kill_later(bkt, op->run->bucket, op->block,
                                   KVT_KILL_UNDONE);
            }
        }
    }
    pthread_mutex_unlock(&bkt->mutex);
    finish(bb);
}

/* None of the batch's new objects is to be there, now or after a restart. */
static void undo(struct bkt_batch *bb)
{
    struct kvt_bucket_kill *kills = malloc(bb->batch->count * sizeof kills[0]);
    uint32_t count = 0;
    for (size_t i = 0; i < bb->batch->count; i++) {
        struct bkt_op *op = &bb->ops[i];
        if (!op->written) {
            continue;
        }
        kvt_bkt_op_fail(op, KVT_FAULT_REFUSED, 0);
        if (kills != NULL) {
            const struct bkt_bucket *bucket = op->run->bucket;
            kills[count++] = (struct kvt_bucket_kill){
                bucket->writer, bucket->number, op->block, KVT_KILL_UNDONE};
        }
    }
    if (kills == NULL) {
        refused(bb, -ENOMEM);
    } else if (count == 0) {
        finish(bb);
    } else {
        kvt_bkt_kill_run(bb, kills, count, refused);
    }
    free(kills);
}

static void offload_ended(struct bkt_batch *bb)
{
    struct bkt *bkt = bb->bkt;
    if (bkt->base.args.handlers->complete != NULL && !bb->carries &&
        tell_complete(bb) != 0) {
        undo(bb);
        return;
    }
    pthread_mutex_lock(&bkt->mutex);
    for (size_t i = 0; i < bb->batch->count; i++) {
        if (bb->ops[i].written) {
            enter(&bb->ops[i]);
        }
    }
    pthread_mutex_unlock(&bkt->mutex);
    finish(bb);
}

/* The place of the object that this one is going to replace. */
static void find_old(struct bkt_op *op)
{
    struct bkt *bkt = op->bb->bkt;
    bool found;
    kvt_place_index_find(&bkt->index, &op->hash, &op->entry, &found, 1);
    if (!found) {
        return;
    }
    pthread_mutex_lock(&bkt->mutex);
    const struct bkt_bucket *bucket = bkt_bucket_at(bkt, op->entry.place);
    if (bucket != NULL) {
        op->replaces = true;
        op->old = (struct kvt_bucket_kill){
            .writer = bucket->writer,
            .number = bucket->number,
            .block = bkt_place_block(bkt, op->entry.place)};
    }
    pthread_mutex_unlock(&bkt->mutex);
}

/* With the turns at its keys, a look at the index holds. */
void kvt_bkt_offload_ready(struct bkt_batch *bb)
{
    bool if_absent = (bb->batch->flags & KVT_IF_ABSENT) != 0;
    for (size_t i = 0; i < bb->batch->count; i++) {
        struct bkt_op *op = &bb->ops[i];
        if (!op->mine) {
            continue;
        }
        if (if_absent && is_there(op)) {
            kvt_bkt_op_fail(op, KVT_FAULT_EXISTS, 0);
        } else if (if_absent || !take_stored(op)) {
            op->mine = kvt_object_take_write(&bb->bkt->base, op->object,
                                             write_bytes(op));
            find_old(op);
        }
    }
    start_runs(bb);
}

void kvt_bkt_start_offload(struct bkt_batch *bb)
{
    bool if_absent = (bb->batch->flags & KVT_IF_ABSENT) != 0;
    bool any = false;
    bb->ended = offload_ended;
    for (size_t i = 0; i < bb->batch->count; i++) {
        struct bkt_op *op = &bb->ops[i];
        any |= op->mine && (if_absent || !take_stored(op));
    }
    if (any) {
        kvt_bkt_take_turns(bb, kvt_bkt_offload_ready);
    }
}

void kvt_bkt_start_carry(struct bkt_batch *bb,
                         void (*ready)(struct bkt_batch *bb))
{
    bb->ended = offload_ended;
    bb->carries = true;
    kvt_bkt_take_turns(bb, ready);
}
