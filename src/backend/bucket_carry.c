/*
 * Carrying over: of a bucket that goes for room, what was used since it was
 * written is written again, as new objects of the log. Its values are read
 * before the bucket goes and written after, into the room that it leaves, so
 * that the limit holds without room kept for them; between the two nobody else
 * gets room, or a turn at their keys. What is lost on the way, by a crash or a
 * write that fails, is evicted like the rest.
 */
#include "backend/bucket.h"

#include <stdlib.h>
#include <string.h>

/* Of values in memory at once. */
#define CARRY_BYTES_MAX (UINT64_C(64) << 20)

struct bkt_carry {
    struct bkt *bkt;
    struct bkt_bucket *bucket; /* gone when it was let go */
    uint64_t bucket_number;
    struct kvt_object *objects; /* own their keys */
    struct kvt_slice *slices;
    struct kvt_bucket_entry *entries; /* of the bucket; block 0: passed over */
    size_t count;
    size_t capacity;
    size_t asked;     /* kvt_bkt_carry_has goes through them in order */
    uint64_t bytes;   /* of whole blocks */
    uint64_t allowed; /* of them */
    uint8_t *values;
    bool done; /* the batch under way is finished */
    int (*let_go)(void *arg);
    void *arg;
    bool went; /* it was called */
    int rc;    /* of it */
};

/* Choosing ------------------------------------------------------------------
 */

/* How many bytes may be written again now. Mutex held. */
static uint64_t allowance(const struct bkt *bkt)
{
    double share = bkt->rewrite_share;
    /* carried + x <= share * (written + x), where written has both */
    double most =
        (share * (double)bkt->written_bytes - (double)bkt->carried_bytes) /
        (1 - share);
    return most <= 0                        ? 0
           : most < (double)CARRY_BYTES_MAX ? (uint64_t)most
                                            : CARRY_BYTES_MAX;
}

static int grow(struct bkt_carry *carry)
{
    size_t capacity = carry->capacity * 2 + 64;
    struct kvt_object *objects =
        realloc(carry->objects, capacity * sizeof objects[0]);
    carry->objects = objects != NULL ? objects : carry->objects;
    struct kvt_bucket_entry *entries =
        realloc(carry->entries, capacity * sizeof entries[0]);
    carry->entries = entries != NULL ? entries : carry->entries;
    if (objects == NULL || entries == NULL) {
        return -ENOMEM;
    }
    carry->capacity = capacity;
    return 0;
}

static bool was_used(const struct bkt_carry *carry,
                     const struct kvt_bucket_entry *entry)
{
    struct kvt_index_entry found;
    bool is_there;
    kvt_place_index_find(&carry->bkt->index, &entry->key_hash, &found,
                         &is_there, 1);
    return is_there && found.used &&
           found.place == bkt_place(carry->bkt, carry->bucket, entry->block);
}

static int choose(const struct kvt_bucket_entry *entry, struct kvt_key key,
                  void *arg)
{
    struct bkt_carry *carry = arg;
    uint64_t bytes = bkt_value_blocks(entry->length) * KVT_BUCKET_BLOCK;
    if (carry->bytes + bytes > carry->allowed || !was_used(carry, entry)) {
        return 0;
    }
    if (carry->count == carry->capacity && grow(carry) != 0) {
        return -ENOMEM;
    }
    void *copy = malloc(key.size + 1);
    if (copy == NULL) {
        return -ENOMEM;
    }
    memcpy(copy, key.data, key.size);
    carry->objects[carry->count] =
        (struct kvt_object){.key = {copy, key.size}, .size = entry->length};
    carry->entries[carry->count++] = *entry;
    carry->bytes += bytes;
    return 0;
}

/* Reading -------------------------------------------------------------------
 */

static void batch_finished(struct kvt_batch *batch)
{
    ((struct bkt_carry *)batch->arg)->done = true;
}

/* Runs a batch to its end, on a queue of its own. */
static int run_batch(struct bkt_carry *carry, struct kvt_batch *batch,
                     void (*start)(struct bkt_batch *bb))
{
    struct kvt_fs_queue_options options = {sizeof options, 0, true};
    struct bkt *bkt = carry->bkt;
    int rc = kvt_fs_queue_open(bkt->fs, &options, &batch->queue);
    if (rc != 0) {
        return rc;
    }
    carry->done = false;
    batch->objects = carry->objects;
    batch->count = carry->count;
    batch->finished = batch_finished;
    batch->arg = carry;
    rc = kvt_bkt_batch_run(bkt, batch, start);
    while (rc == 0 && !carry->done) {
        kvt_fs_poll(batch->queue, 1, 0);
    }
    kvt_fs_queue_close(batch->queue);
    return rc;
}

static int set_slices(struct bkt_carry *carry)
{
    carry->values = aligned_alloc(KVT_BUCKET_BLOCK, (size_t)carry->bytes);
    carry->slices = calloc(carry->count, sizeof carry->slices[0]);
    if (carry->values == NULL || carry->slices == NULL) {
        return -ENOMEM;
    }
    uint8_t *at = carry->values;
    for (size_t i = 0; i < carry->count; i++) {
        struct kvt_object *object = &carry->objects[i];
        carry->slices[i] = (struct kvt_slice){at, (size_t)object->size, NULL};
        object->slices = &carry->slices[i];
        object->slice_count = 1;
        at += bkt_value_blocks(object->size) * KVT_BUCKET_BLOCK;
    }
    return 0;
}

/* Written again, bad bytes would get a good check value. */
static bool is_proved(const struct bkt_carry *carry, size_t at)
{
    const struct kvt_object *object = &carry->objects[at];
    return object->status == KVT_OK &&
           kvt_bkt_check(carry->bkt, object->key, object->slices,
                         object->slice_count,
                         object->size) == carry->entries[at].check;
}

static int load(struct bkt_carry *carry)
{
    struct kvt_batch batch = {.op = KVT_BATCH_LOAD};
    int rc = set_slices(carry);
    if (rc == 0) {
        rc = run_batch(carry, &batch, kvt_bkt_start_load);
    }
    for (size_t i = 0; i < carry->count && rc == 0; i++) {
        if (!is_proved(carry, i)) {
            carry->objects[i].status = KVT_ERR_OBJECT_NOT_FOUND;
            carry->entries[i].block = 0;
        }
    }
    return rc;
}

struct bkt_carry *kvt_bkt_carry_new(struct bkt *bkt, struct bkt_bucket *bucket)
{
    struct bkt_carry *carry = calloc(1, sizeof *carry);
    if (carry == NULL) {
        return NULL;
    }
    carry->bkt = bkt;
    carry->bucket = bucket;
    pthread_mutex_lock(&bkt->mutex);
    carry->allowed = allowance(bkt);
    pthread_mutex_unlock(&bkt->mutex);
    if (carry->allowed < KVT_BUCKET_BLOCK ||
        kvt_bkt_each_object(bkt, bucket->slot, bucket->number, choose, carry) !=
            0 ||
        carry->count == 0 || load(carry) != 0) {
        kvt_bkt_carry_free(carry);
        return NULL;
    }
    pthread_mutex_lock(&bkt->mutex);
    bkt->carried_bytes += carry->bytes;
    pthread_mutex_unlock(&bkt->mutex);
    return carry;
}

void kvt_bkt_carry_free(struct bkt_carry *carry)
{
    if (carry == NULL) {
        return;
    }
    for (size_t i = 0; i < carry->count; i++) {
        free((void *)carry->objects[i].key.data);
    }
    free(carry->objects);
    free(carry->slices);
    free(carry->entries);
    free(carry->values);
    free(carry);
}

bool kvt_bkt_carry_has(struct bkt_carry *carry, uint32_t block)
{
    while (carry->asked < carry->count &&
           carry->entries[carry->asked].block < block) {
        carry->asked++;
    }
    return carry->asked < carry->count &&
           carry->entries[carry->asked].block == block;
}

/* Writing -------------------------------------------------------------------
 */

/* With the turns at their keys: those that still are what was read are written
 * when their bucket is gone. At the others somebody else is at work. */
static void carry_ready(struct bkt_batch *bb)
{
    struct bkt_carry *carry = bb->batch->arg;
    struct bkt *bkt = carry->bkt;
    for (size_t i = 0; i < carry->count; i++) {
        struct bkt_op *op = &bb->ops[i];
        if (op->mine && !kvt_bkt_is_live(bkt, carry->bucket, op->hash,
                                         carry->entries[i].block)) {
            kvt_bkt_op_fail(op, KVT_FAULT_ABSENT, 0);
        }
        if (!op->mine) {
            carry->entries[i].block = 0;
        }
    }
    carry->went = true;
    carry->rc = carry->let_go(carry->arg);
    if (carry->rc == 0) {
        kvt_bkt_make_bucket(bkt, false); /* unless there is a spare one */
        kvt_bkt_offload_ready(bb);
    }
}

static void start_writing(struct bkt_batch *bb)
{
    kvt_bkt_start_carry(bb, carry_ready);
}

static bool is_lost(const struct bkt_carry *carry, size_t at)
{
    return carry->entries[at].block != 0 && carry->objects[at].status != KVT_OK;
}

/* The handler has not been asked for those that were to stay: it is told. */
static void tell_lost(const struct bkt_carry *carry)
{
    const struct kvt_handlers *handlers = carry->bkt->base.args.handlers;
    struct kvt_meta *metas =
        handlers->evict != NULL ? calloc(carry->count, sizeof metas[0]) : NULL;
    struct bkt_bucket gone = {.number = carry->bucket_number};
    size_t count = 0;
    for (size_t i = 0; i < carry->count && metas != NULL; i++) {
        if (is_lost(carry, i)) {
            metas[count++] =
                kvt_bkt_meta(carry->bkt, &gone, carry->objects[i].key,
                             carry->entries[i].length, carry->entries[i].block);
        }
    }
    if (count > 0) {
        handlers->evict(metas, count, handlers->evict_arg);
    }
    free(metas);
}

/* What was carried was not evicted. */
static void count(struct bkt_carry *carry, struct kvt_evict_result *result)
{
    struct bkt *bkt = carry->bkt;
    pthread_mutex_lock(&bkt->mutex);
    for (size_t i = 0; i < carry->count; i++) {
        const struct kvt_object *object = &carry->objects[i];
        if (object->status == KVT_OK) {
            result->objects--;
            result->bytes -= object->size;
            bkt->evicted_objects--;
            bkt->rewritten_bytes +=
                bkt_value_blocks(object->size) * KVT_BUCKET_BLOCK;
        }
    }
    pthread_mutex_unlock(&bkt->mutex);
}

int kvt_bkt_carry_over(struct bkt_carry *carry, int (*let_go)(void *arg),
                       void *arg, struct kvt_evict_result *result)
{
    struct kvt_batch batch = {.op = KVT_BATCH_OFFLOAD,
                              .flags = KVT_IF_ABSENT | KVT_NO_WAIT};
    carry->let_go = let_go;
    carry->arg = arg;
    carry->bucket_number = carry->bucket->number;
    int rc = run_batch(carry, &batch, start_writing);
    if (!carry->went) { /* no memory: it goes as a whole */
        for (size_t i = 0; i < carry->count; i++) {
            carry->objects[i].status = KVT_ERR_FILE_WRITE_FAIL;
            carry->entries[i].block = 0;
        }
        carry->rc = let_go(arg);
    } else if (carry->rc == 0 && rc == 0) {
        count(carry, result);
    }
    kvt_bkt_line_hold(carry->bkt, false);
    if (carry->rc == 0) {
        tell_lost(carry);
    }
    return carry->rc;
}
