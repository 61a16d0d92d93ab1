#include "backend/file_per_key_scan.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Directory blocks that one name takes, half-full as they are on average. */
static uint64_t name_share(const struct kvt_object_file *file)
{
    return 2 * (strlen(file->path) + 8);
}

struct kvt_charge kvt_fpk_charge(const struct fpk *fpk,
                                 const struct kvt_object_file *file,
                                 uint64_t size)
{
    uint64_t unit = kvt_fs_facts(fpk->fs)->allocation_unit;
    uint64_t bytes = size + kvt_object_file_overhead(file);
    uint64_t blocks = (bytes + unit - 1) / unit;
    return (struct kvt_charge){
        .allocated = blocks * unit + name_share(file),
        .values = size,
        .objects = 1,
    };
}

struct kvt_charge kvt_fpk_entry_charge(const struct kvt_key_entry *entry)
{
    return (struct kvt_charge){entry->allocated, entry->size, 1};
}

void kvt_fpk_count(struct fpk *fpk, struct kvt_key_entry *entry)
{
    entry->present = true;
    fpk->objects++;
    fpk->object_bytes += entry->size;
}

void kvt_fpk_uncount(struct fpk *fpk, struct kvt_key_entry *entry)
{
    entry->present = false;
    fpk->objects--;
    fpk->object_bytes -= entry->size;
}

void kvt_fpk_wait(struct kvt_key_entry *entry, struct kvt_fs_elem *waiter,
                  struct kvt_fs_queue *queue)
{
    kvt_fs_expect(queue, waiter);
    waiter->next = entry->waiters;
    entry->waiters = waiter;
}

/* All of them try again; the first one gets it. */
static void tell_waiters(struct kvt_key_entry *entry)
{
    struct kvt_fs_elem *waiter = entry->waiters;
    entry->waiters = NULL;
    while (waiter != NULL) {
        struct kvt_fs_elem *next = waiter->next;
        kvt_fs_post(waiter, 0);
        waiter = next;
    }
}

void kvt_fpk_release(struct kvt_key_entry *entry)
{
    assert(entry->busy);
    entry->busy = false;
    tell_waiters(entry);
}

void kvt_fpk_forget(struct fpk *fpk, struct kvt_key_entry *entry)
{
    assert(entry->busy && !entry->present);
    tell_waiters(entry);
    kvt_evict_drop(&fpk->order, &entry->order);
    kvt_key_index_remove(&fpk->index, entry);
}

void kvt_fpk_enter(struct fpk *fpk, struct kvt_key_entry *entry, uint64_t size,
                   uint64_t check, struct kvt_charge charge)
{
    if (entry->present) {
        struct kvt_charge old = kvt_fpk_entry_charge(entry);
        old.objects = 0; /* one object before, one after */
        kvt_budget_give_back(&fpk->budget, old);
        kvt_fpk_uncount(fpk, entry);
        kvt_evict_renew(&fpk->order, &entry->order);
    }
    entry->size = size;
    entry->allocated = charge.allocated;
    entry->check = check;
    entry->check_known = true;
    entry->generation = ++fpk->generation;
    entry->unsettled = fpk->base.args.handlers->complete != NULL;
    kvt_fpk_count(fpk, entry);
    kvt_fpk_release(entry);
}

void kvt_fpk_undo_claim(struct fpk *fpk, struct kvt_key_entry *entry,
                        struct kvt_charge charge)
{
    kvt_budget_give_back(&fpk->budget, charge);
    if (entry->present) {
        kvt_fpk_release(entry);
    } else {
        kvt_fpk_forget(fpk, entry);
    }
}

struct kvt_meta kvt_fpk_meta(const struct fpk *fpk, struct kvt_key key,
                             uint64_t size)
{
    return (struct kvt_meta){
        .key = key,
        .size = size,
        .place = {.backend = fpk->base.ops->name,
                  .bucket =
                      kvt_keyname_directory(key, fpk->layout.directory_count),
                  .offset = 0},
    };
}

/* Batches ----------------------------------------------------------------- */

void kvt_fpk_batch_drop(struct fpk_batch *fb)
{
    if (--fb->pending == 0) {
        fb->ended(fb);
    }
}

void kvt_fpk_op_end(struct fpk_op *op)
{
    kvt_fpk_batch_drop(op->batch);
}

void kvt_fpk_op_fail(struct fpk_op *op, enum kvt_fault fault, int rc)
{
    kvt_object_fail(&op->batch->fpk->base, op->object, fault, rc);
    kvt_fpk_op_end(op);
}

static void op_init(struct fpk_batch *fb, struct fpk_op *op,
                    struct kvt_object *object)
{
    bool moves =
        fb->batch->op == KVT_BATCH_OFFLOAD || fb->batch->op == KVT_BATCH_LOAD;
    memset(op, 0, sizeof *op);
    op->batch = fb;
    op->object = object;
    op->file.elem.arg = op;
    kvt_object_file_init(&op->file, &fb->fpk->layout, object->key);
    op->hash = kvt_key_index_hash(object->key);
    op->size = moves ? kvt_object_bytes(object) : 0;
}

void kvt_fpk_batch_end(struct fpk_batch *fb)
{
    struct kvt_batch *batch = fb->batch;
    batch->state = NULL;
    free(fb);
    kvt_batch_finish(batch);
}

static void fpk_start(struct kvt_backend *backend, struct kvt_batch *batch)
{
    struct fpk_batch *fb;
    struct kvt_object_room room;
    fb = kvt_object_batch_alloc(batch->op, batch->objects, batch->count,
                                sizeof *fb, sizeof fb->ops[0], &room);
    if (fb == NULL) {
        for (size_t i = 0; i < batch->count; i++) {
            if (batch->objects[i].status == KVT_OK) {
                kvt_object_fail(backend, &batch->objects[i], KVT_FAULT_READ,
                                -ENOMEM);
            }
        }
        kvt_batch_finish(batch);
        return;
    }
    fb->fpk = (struct fpk *)backend;
    fb->batch = batch;
    batch->state = fb;
    fb->ended = kvt_fpk_batch_end;
    fb->pending = 1;
    for (size_t i = 0; i < batch->count; i++) {
        struct kvt_object *object = &batch->objects[i];
        struct fpk_op *op = &fb->ops[i];
        if (object->status != KVT_OK) {
            op->batch = NULL; /* failed before: no part of it */
            continue;
        }
        op_init(fb, op, object);
        kvt_object_room_take(&room, batch->op, object, &op->file);
        fb->pending++;
    }
    static void (*const starts[])(struct fpk_batch *) = {
        [KVT_BATCH_OFFLOAD] = kvt_fpk_start_offload,
        [KVT_BATCH_LOAD] = kvt_fpk_start_load,
        [KVT_BATCH_EXISTS] = kvt_fpk_start_exists,
        [KVT_BATCH_REMOVE] = kvt_fpk_start_remove,
    };
    struct kvt_fs_queue *queue = batch->queue; /* the batch may end at once */
    kvt_fs_hold(queue);
    starts[batch->op](fb);
    kvt_fpk_batch_drop(fb);
    kvt_fs_let_go(queue);
}

/* Takes the waiter of an operation back; false when it was told already. */
static bool take_waiter(struct fpk *fpk, struct fpk_op *op)
{
    pthread_mutex_lock(&fpk->mutex);
    struct kvt_key_entry *entry =
        kvt_key_index_find(&fpk->index, op->object->key, op->hash);
    struct kvt_fs_elem **at = entry != NULL ? &entry->waiters : NULL;
    while (at != NULL && *at != NULL && *at != &op->file.elem) {
        at = &(*at)->next;
    }
    bool found = at != NULL && *at != NULL;
    if (found) {
        *at = (*at)->next;
    }
    pthread_mutex_unlock(&fpk->mutex);
    return found;
}

/* Elements end by themselves; who waits for a key has to be told. */
static void fpk_expire(struct kvt_backend *backend, struct kvt_batch *batch)
{
    struct fpk_batch *fb = batch->state;
    for (size_t i = 0; fb != NULL && i < batch->count; i++) {
        struct fpk_op *op = &fb->ops[i];
        if (op->batch != NULL && op->waits &&
            take_waiter((struct fpk *)backend, op)) {
            kvt_fs_post(&op->file.elem, -ETIMEDOUT);
        }
    }
}

int kvt_fpk_queue_open(struct fpk *fpk, struct kvt_fs_queue **queue)
{
    struct kvt_fs_queue_options options = {sizeof options, 0, true};
    return kvt_fs_queue_open(fpk->fs, &options, queue);
}

void kvt_fpk_finish(struct kvt_fs_queue *queue, const size_t *left)
{
    while (*left > 0) {
        kvt_fs_poll(queue, 1, 0);
    }
}

/* Figures ----------------------------------------------------------------- */

static bool fpk_offload_enabled(struct kvt_backend *backend)
{
    struct fpk *fpk = (struct fpk *)backend;
    if (backend->args.read_only) {
        return false;
    }
    uint64_t unit = kvt_fs_facts(fpk->fs)->allocation_unit;
    struct kvt_charge least = {unit, 1, 1};
    pthread_mutex_lock(&fpk->mutex);
    struct kvt_charge shortage = kvt_budget_shortage(&fpk->budget, least);
    bool fits = shortage.allocated == 0 && shortage.values == 0 &&
                shortage.objects == 0;
    bool enabled = fits || kvt_evict_allowed(&fpk->order);
    pthread_mutex_unlock(&fpk->mutex);
    return enabled;
}

struct count {
    const struct fpk *fpk;
    struct kvt_charge total;
};

static int count_file(const struct kvt_fpk_found *found, void *arg)
{
    struct count *count = arg;
    struct kvt_object_file file;
    if (found->file_size >= found->overhead) {
        kvt_object_file_init(&file, &count->fpk->layout, found->key);
        kvt_charge_add(&count->total,
                       kvt_fpk_charge(count->fpk, &file,
                                      found->file_size - found->overhead));
    }
    return 0;
}

/* Without an index, the directory is asked. */
static void count_files(struct fpk *fpk, struct kvt_stats *stats)
{
    struct count count = {.fpk = fpk};
    kvt_fpk_walk(fpk, false, count_file, &count);
    stats->objects = count.total.objects;
    stats->files = count.total.objects;
    stats->object_bytes = count.total.values;
    stats->value_bytes = count.total.values;
    stats->allocated_bytes = count.total.allocated;
}

static void fpk_stats(struct kvt_backend *backend, struct kvt_stats *stats)
{
    struct fpk *fpk = (struct fpk *)backend;
    stats->effective.checksum = fpk->checksum ? "on" : "off";
    if (backend->args.read_only) {
        stats->limit_bytes = fpk->budget.limit.allocated;
        pthread_mutex_lock(&fpk->mutex);
        stats->checksum_misses = fpk->checksum_misses;
        pthread_mutex_unlock(&fpk->mutex);
        count_files(fpk, stats);
        return;
    }
    pthread_mutex_lock(&fpk->mutex);
    stats->objects = fpk->objects;
    stats->object_bytes = fpk->object_bytes;
    stats->value_bytes = fpk->budget.used.values;
    stats->dead_bytes = stats->value_bytes > stats->object_bytes
                            ? stats->value_bytes - stats->object_bytes
                            : 0;
    stats->allocated_bytes = fpk->budget.used.allocated;
    stats->limit_bytes = fpk->budget.limit.allocated;
    stats->peak_value_bytes = fpk->budget.peak.values;
    stats->peak_allocated_bytes = fpk->budget.peak.allocated;
    stats->files = fpk->index.count;
    stats->index_bytes = fpk->index.bytes;
    stats->evicted_objects = fpk->evicted_objects;
    stats->checksum_misses = fpk->checksum_misses;
    stats->quarantined_objects = fpk->quarantined_objects;
    stats->recovery.objects = fpk->recovery.objects;
    stats->recovery.removed_temporaries = fpk->recovery.removed_temporaries;
    stats->recovery.dropped_records = fpk->recovery.dropped_records;
    pthread_mutex_unlock(&fpk->mutex);
}

static void fpk_close(struct kvt_backend *backend)
{
    struct fpk *fpk = (struct fpk *)backend;
    kvt_fs_unlock(fpk->lock);
    kvt_key_index_fini(&fpk->index);
    pthread_mutex_destroy(&fpk->mutex);
    free(fpk);
}

const struct kvt_backend_ops kvt_backend_file_per_key = {
    .name = "file_per_key",
    .summary = "one file an object, for inspection and small stores",
    .open = kvt_fpk_open,
    .close = fpk_close,
    .start = fpk_start,
    .expire = fpk_expire,
    .scan = kvt_fpk_scan,
    .verify = kvt_fpk_verify,
    .remove_all = kvt_fpk_remove_all,
    .evict = kvt_fpk_evict,
    .offload_enabled = fpk_offload_enabled,
    .stats = fpk_stats,
};
