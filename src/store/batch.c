#include "store/store.h"

#include "core/clock.h"
#include "core/hash.h"
#include "core/process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Checks ------------------------------------------------------------------ */

static bool same_key(const struct kvt_object *a, const struct kvt_object *b)
{
    return a->key.size == b->key.size && a->key.size > 0 &&
           a->key.data != NULL && b->key.data != NULL &&
           memcmp(a->key.data, b->key.data, a->key.size) == 0;
}

/* 1 when a key stands there twice, 0, or -ENOMEM. */
static int has_twins(const struct kvt_object *objects, size_t count)
{
    size_t slot_count = 4;
    if (count < 2) {
        return 0;
    }
    while (slot_count < count * 2) {
        slot_count *= 2;
    }
    const struct kvt_object **slots = calloc(slot_count, sizeof slots[0]);
    if (slots == NULL) {
        return -ENOMEM;
    }
    int twins = 0;
    for (size_t i = 0; i < count && twins == 0; i++) {
        const struct kvt_object *object = &objects[i];
        if (object->key.size == 0 || object->key.data == NULL ||
            object->key.size > KVT_KEY_SIZE_MAX) {
            continue; /* fails by itself */
        }
        size_t slot = (size_t)kvt_hash64(object->key.data, object->key.size, 0);
        for (slot &= slot_count - 1; slots[slot] != NULL && twins == 0;
             slot = (slot + 1) & (slot_count - 1)) {
            twins = same_key(slots[slot], object);
        }
        slots[slot] = object;
    }
    free(slots);
    return twins;
}

/* A fault that is told as INVALID_PARAMS with an errno of its own. */
enum {
    TOO_LARGE = 1
};

static int check_slices(const struct kvt_store *store,
                        const struct kvt_object *object, bool offload)
{
    uint64_t size = 0;
    if (object->slice_count > 0 && object->slices == NULL) {
        return KVT_ERR_INVALID_PARAMS;
    }
    for (size_t i = 0; i < object->slice_count; i++) {
        const struct kvt_slice *slice = &object->slices[i];
        if (slice->size > 0 && slice->base == NULL) {
            return KVT_ERR_INVALID_PARAMS;
        }
        if (slice->size > UINT64_MAX - size) {
            return KVT_ERR_INVALID_PARAMS;
        }
        size += slice->size;
    }
    return offload && size > store->object_size_max ? TOO_LARGE : KVT_OK;
}

static int check_object(const struct kvt_store *store, enum kvt_batch_op op,
                        const struct kvt_object *object)
{
    if (object->key.size == 0 || object->key.size > KVT_KEY_SIZE_MAX ||
        object->key.data == NULL) {
        return KVT_ERR_INVALID_KEY;
    }
    bool moves = op == KVT_BATCH_OFFLOAD || op == KVT_BATCH_LOAD;
    return moves ? check_slices(store, object, op == KVT_BATCH_OFFLOAD)
                 : KVT_OK;
}

static void set_all(struct kvt_object *objects, size_t count, int status,
                    int errnum)
{
    for (size_t i = 0; i < count; i++) {
        objects[i].status = status;
        objects[i].errnum = errnum;
        objects[i].size = 0;
    }
}

int kvt_batch_refuse(struct kvt_object *objects, size_t count, int code,
                     int errnum)
{
    set_all(objects, count, code, errnum);
    return code;
}

int kvt_batch_check(const struct kvt_store *store, enum kvt_batch_op op,
                    struct kvt_object *objects, size_t count,
                    const struct kvt_batch_options *options)
{
    bool writes = op == KVT_BATCH_OFFLOAD || op == KVT_BATCH_REMOVE;
    if (store == NULL || objects == NULL || count == 0 || count > INT32_MAX ||
        store->forks != kvt_process_forks() ||
        (options != NULL &&
         (options->size != sizeof *options ||
          (options->flags & ~(uint32_t)(KVT_IF_ABSENT | KVT_NO_WAIT))))) {
        return KVT_ERR_INVALID_PARAMS;
    }
    if (writes && store->read_only) {
        return kvt_batch_refuse(objects, count, KVT_ERR_UNABLE_OFFLOAD, EROFS);
    }
    int twins = op == KVT_BATCH_OFFLOAD ? has_twins(objects, count) : 0;
    if (twins != 0) {
        return twins < 0 ? KVT_ERR_INTERNAL : KVT_ERR_INVALID_PARAMS;
    }
    set_all(objects, count, KVT_OK, 0);
    for (size_t i = 0; i < count; i++) {
        objects[i].status = check_object(store, op, &objects[i]);
        bool too_large = objects[i].status == TOO_LARGE;
        if (too_large) {
            objects[i].status = KVT_ERR_INVALID_PARAMS;
            objects[i].errnum = EFBIG;
        }
    }
    return KVT_OK;
}

int64_t kvt_batch_deadline(const struct kvt_store *store,
                           const struct kvt_batch_options *options)
{
    uint32_t ms = options != NULL ? options->deadline_ms : 0;
    ms = ms != 0 ? ms : store->deadline_ms;
    return ms != 0 ? kvt_clock_ns() + (int64_t)ms * 1000000 : 0;
}

/* Results ----------------------------------------------------------------- */

bool kvt_batch_in_memory(const struct kvt_store *store, enum kvt_batch_op op)
{
    return op == KVT_BATCH_EXISTS && store->backend->ops->exists_in_memory;
}

/* Did the file system fail, as opposed to the caller or the cache? */
static bool is_io_error(const struct kvt_object *object)
{
    return object->status <= KVT_ERR_FILE_NOT_FOUND &&
           object->status != KVT_ERR_UNABLE_OFFLOAD;
}

static void note_health(struct kvt_store *store, int errnum, bool succeeded)
{
    bool healthy = errnum == 0;
    if (healthy && !succeeded) {
        return; /* tells nothing */
    }
    pthread_mutex_lock(&store->mutex);
    if (healthy != store->healthy) {
        store->healthy = healthy;
        store->health_since_ms = kvt_clock_unix_ms();
    }
    if (!healthy) {
        store->health_errnum = errnum;
    }
    pthread_mutex_unlock(&store->mutex);
}

int kvt_batch_result(struct kvt_store *store, struct kvt_batch *batch,
                     struct kvt_batch_options *options)
{
    int succeeded = 0;
    int errnum = 0;
    size_t prefix = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct kvt_object *object = &batch->objects[i];
        if (object->status == KVT_OK) {
            prefix += prefix == i;
            succeeded++;
        } else if (is_io_error(object)) {
            errnum = object->errnum != 0 ? object->errnum : EIO;
        }
    }
    if (options != NULL) {
        options->prefix_count = prefix;
    }
    if (!kvt_batch_in_memory(store, batch->op)) {
        note_health(store, errnum, succeeded > 0);
        kvt_store_tell_fallback(store);
    }
    return succeeded;
}
