#include "backend/distributed_walk.h"

#include "core/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool kvt_dist_sizes_tell(const struct dist *dist)
{
    return dist->recorded && dist->strategy != DIST_IN_PLACE;
}

bool kvt_dist_is_absent(int64_t result)
{
    return result == -ENOENT || result == -ENOTDIR;
}

bool kvt_dist_is_gone(int64_t result)
{
    /* a handle that went stale, or a descriptor that its file system dropped:
     * another host removed or replaced the file */
    return kvt_dist_is_absent(result) || result == -ESTALE || result == -EBADF;
}

int kvt_dist_fail(const struct dist *dist, enum kvt_fault fault, int rc,
                  const char *doing, struct kvt_error *err)
{
    int code = kvt_status_of(fault, -rc, true);
    const char *remedy =
        code == KVT_ERR_DFS_PERMISSION_DENIED
            ? "give this user write access to the directory, or open the "
              "store read-only"
        : code == KVT_ERR_DFS_QUOTA_EXCEEDED
            ? "free some space there, raise the quota, or name another "
              "directory"
            : "check the file system under the directory, on this host";
    return kvt_error_set(err, code, -rc, dist->base.args.path, remedy, "%s: %s",
                         doing, strerror(-rc));
}

struct kvt_meta kvt_dist_meta(const struct dist *dist, struct kvt_key key,
                              uint64_t size)
{
    return (struct kvt_meta){
        .key = key,
        .size = size,
        .place = {.backend = dist->base.ops->name,
                  .bucket =
                      kvt_keyname_directory(key, dist->layout.directory_count),
                  .offset = 0},
    };
}

int kvt_dist_queue_open(struct dist *dist, struct kvt_fs_queue **queue)
{
    struct kvt_fs_queue_options options = {sizeof options, 0, true};
    return kvt_fs_queue_open(dist->fs, &options, queue);
}

/* Batches ------------------------------------------------------------------ */

static void drop(struct dist_batch *batch)
{
    if (--batch->pending == 0) {
        batch->ended(batch);
    }
}

void kvt_dist_op_end(struct dist_op *op)
{
    drop(op->batch);
}

void kvt_dist_op_fail(struct dist_op *op, enum kvt_fault fault, int64_t rc)
{
    kvt_object_fail(&op->batch->dist->base, op->object, fault, (int)rc);
    kvt_dist_op_end(op);
}

void kvt_dist_submit(struct dist_op *op, void (*done)(struct kvt_fs_elem *))
{
    struct kvt_fs_elem *elem = &op->file.elem;
    elem->done = done;
    elem->arg = op;
    elem->deadline_ns = op->batch->batch->deadline_ns;
    kvt_fs_submit(op->batch->batch->queue, elem, 1);
}

/* What the batch met of the file system, for the breaker: one failure counts
 * once, however many objects it hit. */
static void note_health(const struct dist_batch *batch)
{
    enum kvt_batch_op op = batch->batch->op;
    bool writes = op == KVT_BATCH_OFFLOAD || op == KVT_BATCH_REMOVE;
    bool answered = false;
    int rc = 0;
    for (size_t i = 0; i < batch->batch->count && rc == 0; i++) {
        const struct kvt_object *object = &batch->batch->objects[i];
        if (batch->ops[i].batch == NULL || batch->ops[i].idle) {
            continue;
        }
        if (object->status == KVT_OK ||
            object->status == KVT_ERR_OBJECT_NOT_FOUND) {
            answered = true;
        } else if (kvt_dist_health_counts(writes, -object->errnum)) {
            rc = -object->errnum;
        }
    }
    if (rc != 0 || answered) {
        kvt_dist_health_note(batch->dist, writes, rc);
    }
}

void kvt_dist_batch_end(struct dist_batch *batch)
{
    struct kvt_batch *outer = batch->batch;
    note_health(batch);
    outer->state = NULL;
    free(batch);
    kvt_batch_finish(outer);
}

static void op_init(struct dist_batch *batch, struct dist_op *op,
                    struct kvt_object *object)
{
    bool moves = batch->batch->op == KVT_BATCH_OFFLOAD ||
                 batch->batch->op == KVT_BATCH_LOAD;
    memset(op, 0, sizeof *op);
    op->batch = batch;
    op->object = object;
    op->size = moves ? kvt_object_bytes(object) : 0;
    kvt_object_file_init(&op->file, &batch->dist->layout, object->key);
}

static void fail_all(struct kvt_backend *backend, struct kvt_batch *batch,
                     int rc)
{
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->objects[i].status == KVT_OK) {
            kvt_object_fail(backend, &batch->objects[i], KVT_FAULT_READ, rc);
        }
    }
    kvt_batch_finish(batch);
}

static void dist_start(struct kvt_backend *backend, struct kvt_batch *outer)
{
    struct dist_batch *batch;
    struct kvt_object_room room;
    batch = kvt_object_batch_alloc(outer->op, outer->objects, outer->count,
                                   sizeof *batch, sizeof batch->ops[0], &room);
    if (batch == NULL) {
        fail_all(backend, outer, -ENOMEM);
        return;
    }
    batch->dist = (struct dist *)backend;
    batch->batch = outer;
    batch->ended = kvt_dist_batch_end;
    batch->pending = 1;
    outer->state = batch;
    for (size_t i = 0; i < outer->count; i++) {
        struct kvt_object *object = &outer->objects[i];
        struct dist_op *op = &batch->ops[i];
        if (object->status != KVT_OK) {
            op->batch = NULL;
            continue;
        }
        op_init(batch, op, object);
        kvt_object_room_take(&room, outer->op, object, &op->file);
        batch->pending++;
    }
    static void (*const starts[])(struct dist_batch *) = {
        [KVT_BATCH_OFFLOAD] = kvt_dist_start_offload,
        [KVT_BATCH_LOAD] = kvt_dist_start_load,
        [KVT_BATCH_EXISTS] = kvt_dist_start_exists,
        [KVT_BATCH_REMOVE] = kvt_dist_start_remove,
    };
    struct kvt_fs_queue *queue = outer->queue; /* the batch may end at once */
    kvt_fs_hold(queue);
    starts[outer->op](batch);
    drop(batch);
    kvt_fs_let_go(queue);
}

/* Elements end by themselves; who waits for room has to be told. */
static void dist_expire(struct kvt_backend *backend, struct kvt_batch *outer)
{
    struct dist_batch *batch = outer->state;
    (void)backend;
    for (size_t i = 0; batch != NULL && i < outer->count; i++) {
        struct dist_op *op = &batch->ops[i];
        if (op->batch != NULL && op->waits && kvt_dist_stop_waiting(op)) {
            kvt_fs_post(&op->file.elem, -ETIMEDOUT);
        }
    }
}

/* Figures ------------------------------------------------------------------ */

static bool dist_offload_enabled(struct kvt_backend *backend)
{
    struct dist *dist = (struct dist *)backend;
    return !backend->args.read_only && kvt_dist_health_refuses(dist) == 0 &&
           kvt_dist_has_room(dist);
}

struct count {
    const struct dist *dist;
    struct kvt_stats stats;
};

static int count_one(const struct dist_object *object, void *arg)
{
    struct count *count = arg;
    struct kvt_stats *stats = &count->stats;
    stats->objects++;
    stats->object_bytes += object->size;
    stats->allocated_bytes +=
        kvt_dist_charge(count->dist, object->file_size, 0).allocated;
    stats->unverifiable_objects += object->kind == KVT_OBJECT_RAW;
    return 0;
}

/* Counting lists the whole root. A count is good for ten times as long as it
 * took: a short one only while this store changed nothing itself, one that took
 * no time at all is made again. */
static void count_objects(struct dist *dist, struct kvt_stats *stats)
{
    enum {
        SHORT_NS = 50000000,
        LONG_NS = 1000000000
    };
    struct count count = {.dist = dist};
    int64_t start_ns = kvt_clock_ns();
    uint64_t changes = __atomic_load_n(&dist->changes, __ATOMIC_RELAXED);
    pthread_mutex_lock(&dist->mutex);
    bool same = changes == dist->counted_changes;
    bool young = dist->count_took_ns > (same ? SHORT_NS : LONG_NS) &&
                 start_ns - dist->counted_ns < 10 * dist->count_took_ns;
    if (young) {
        count.stats = dist->counted;
    }
    pthread_mutex_unlock(&dist->mutex);
    int rc = young ? 0 : kvt_dist_objects(dist, count_one, &count);
    if (rc != 0) {
        kvt_backend_log(&dist->base, KVT_LOG_WARN,
                        "counting the objects: %s; the figures are older ones",
                        strerror(-rc));
        kvt_dist_health_note(dist, false, rc);
        pthread_mutex_lock(&dist->mutex);
        count.stats = dist->counted;
        pthread_mutex_unlock(&dist->mutex);
    } else if (!young) {
        pthread_mutex_lock(&dist->mutex);
        dist->counted = count.stats;
        dist->counted_ns = kvt_clock_ns();
        dist->count_took_ns = dist->counted_ns - start_ns;
        dist->counted_changes = changes;
        pthread_mutex_unlock(&dist->mutex);
    }
    stats->objects = count.stats.objects;
    stats->files = count.stats.objects;
    stats->object_bytes = count.stats.object_bytes;
    stats->value_bytes = count.stats.object_bytes;
    stats->allocated_bytes = count.stats.allocated_bytes;
    stats->unverifiable_objects = count.stats.unverifiable_objects;
}

static void dist_stats(struct kvt_backend *backend, struct kvt_stats *stats)
{
    struct dist *dist = (struct dist *)backend;
    const struct dist_limit *limit = &dist->limit;
    count_objects(dist, stats);
    kvt_dist_health_stats(dist, stats);
    stats->effective.checksum = dist->checksum ? "on" : "off";
    stats->recovery.removed_temporaries =
        __atomic_load_n(&dist->temps.removed, __ATOMIC_RELAXED);
    pthread_mutex_lock(&dist->mutex);
    stats->checksum_misses = dist->checksum_misses;
    stats->evicted_objects = limit->evicted_objects;
    if (limit->most.allocated != UINT64_MAX) {
        stats->limit_bytes = limit->most.allocated;
    }
    stats->peak_allocated_bytes = limit->peak.allocated;
    stats->peak_value_bytes = limit->peak.values;
    pthread_mutex_unlock(&dist->mutex);
}

static void dist_close(struct kvt_backend *backend)
{
    struct dist *dist = (struct dist *)backend;
    kvt_dist_janitor_stop(dist);
    kvt_dist_limit_fini(dist);
    free(dist->refresh);
    pthread_mutex_destroy(&dist->mutex);
    free(dist);
}

const struct kvt_backend_ops kvt_backend_distributed = {
    .name = "distributed",
    .summary = "one file an object in a directory that many hosts share",
    .open = kvt_dist_open,
    .close = dist_close,
    .start = dist_start,
    .expire = dist_expire,
    .scan = kvt_dist_scan,
    .verify = kvt_dist_verify,
    .remove_all = kvt_dist_remove_all,
    .evict = kvt_dist_evict,
    .offload_enabled = dist_offload_enabled,
    .stats = dist_stats,
    .check = kvt_dist_check,
};
