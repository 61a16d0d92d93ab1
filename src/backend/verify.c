#include "backend/verify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    BATCH = 32,
    ALIGNMENT = 4096,
    GROWTHS_MAX = 4, /* an object that is larger at each look */
};

struct kvt_verifier {
    struct kvt_backend *backend;
    struct kvt_verification *verification;
    struct kvt_fs_queue *queue;
    int told;
    size_t count;
    unsigned char *memory; /* of the values */
    uint64_t memory_size;
    uint64_t memory_used;
    struct kvt_meta metas[BATCH];
    bool doubtful[BATCH];
    uint8_t notes[BATCH];
    struct kvt_slice slices[BATCH];
    struct kvt_object objects[BATCH];
    unsigned char keys[BATCH][KVT_KEY_SIZE_MAX];
};

bool kvt_verify_ends_by(int errnum)
{
    int status = kvt_status_of(KVT_FAULT_READ, errnum, true);
    return errnum == EMFILE || errnum == ENFILE ||
           status == KVT_ERR_DFS_NETWORK_TIMEOUT ||
           status == KVT_ERR_DFS_SERVICE_UNAVAILABLE ||
           status == KVT_ERR_INTERNAL;
}

int kvt_verifier_open(struct kvt_backend *backend,
                      struct kvt_verification *verification,
                      struct kvt_verifier **out)
{
    struct kvt_fs_queue_options options = {sizeof options, 0, true};
    struct kvt_verifier *verifier = calloc(1, sizeof *verifier);
    if (verifier == NULL) {
        return -ENOMEM;
    }
    verifier->backend = backend;
    verifier->verification = verification;
    int rc = kvt_fs_queue_open(backend->args.fs, &options, &verifier->queue);
    if (rc != 0) {
        free(verifier);
        return rc;
    }
    *out = verifier;
    return 0;
}

void kvt_verifier_close(struct kvt_verifier *verifier)
{
    kvt_fs_queue_close(verifier->queue);
    free(verifier->memory);
    free(verifier);
}

int kvt_verifier_told(const struct kvt_verifier *verifier)
{
    return verifier->told;
}

/* Loading ----------------------------------------------------------------- */

static void set_finished(struct kvt_batch *batch)
{
    *(bool *)batch->arg = true;
}

/* The objects from number `first` on. */
static void load(struct kvt_verifier *verifier, size_t first, size_t count)
{
    bool finished = false;
    struct kvt_batch batch = {.op = KVT_BATCH_LOAD,
                              .objects = &verifier->objects[first],
                              .count = count,
                              .queue = verifier->queue,
                              .notes = &verifier->notes[first],
                              .repairs = verifier->verification->repairs,
                              .finished = set_finished,
                              .arg = &finished};
    memset(batch.notes, 0, count);
    for (size_t i = first; i < first + count; i++) {
        verifier->objects[i].status = KVT_OK;
        verifier->objects[i].errnum = 0;
    }
    verifier->backend->ops->start(verifier->backend, &batch);
    while (!finished) {
        kvt_fs_poll(verifier->queue, 1, 0);
    }
}

static int tell(struct kvt_verifier *verifier,
                const struct kvt_finding *finding)
{
    verifier->told =
        verifier->verification->tell(verifier->verification, finding);
    return verifier->told != 0; /* whatever it is, it ends the walk */
}

static int tell_of(struct kvt_verifier *verifier, size_t i)
{
    const struct kvt_object *object = &verifier->objects[i];
    if (object->status == KVT_ERR_OBJECT_NOT_FOUND) {
        return 0; /* removed or replaced meanwhile */
    }
    if (object->status != KVT_OK && kvt_verify_ends_by(object->errnum)) {
        return -object->errnum;
    }
    struct kvt_finding finding = {
        .meta = verifier->metas[i],
        .status = object->status,
        .errnum = object->errnum,
        .unproved = (verifier->notes[i] & KVT_NOTE_UNPROVED) != 0,
        .repaired = (verifier->notes[i] & KVT_NOTE_REPAIRED) != 0};
    if (object->status == KVT_OK) {
        finding.meta.size = object->size;
    } else if (verifier->doubtful[i] || object->errnum == EPROTONOSUPPORT) {
        finding.unproved = true; /* perhaps a newer version's */
    }
    return tell(verifier, &finding);
}

/* Room for the values. What is there is lost when it has to grow. */
static int make_room(struct kvt_verifier *verifier, uint64_t size)
{
    if (size <= verifier->memory_size) {
        return 0;
    }
    uint64_t rounded = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    unsigned char *memory = aligned_alloc(ALIGNMENT, (size_t)rounded);
    if (memory == NULL) {
        return -ENOMEM;
    }
    free(verifier->memory);
    verifier->memory = memory;
    verifier->memory_size = rounded;
    return 0;
}

/* One that was larger than expected: by itself, once the others are through. */
static int load_larger(struct kvt_verifier *verifier, size_t i)
{
    struct kvt_object *object = &verifier->objects[i];
    for (int growths = 0;
         object->status == KVT_ERR_BUFFER_OVERFLOW && growths < GROWTHS_MAX &&
         object->size <= KVT_VERIFY_OBJECT_MAX;
         growths++) {
        int rc = make_room(verifier, object->size);
        if (rc != 0) {
            return rc;
        }
        verifier->slices[i].base = verifier->memory;
        verifier->slices[i].size = (size_t)object->size;
        load(verifier, i, 1);
    }
    return 0;
}

int kvt_verifier_flush(struct kvt_verifier *verifier)
{
    size_t count = verifier->count;
    int rc = 0;
    verifier->count = 0;
    verifier->memory_used = 0;
    if (count > 0) {
        load(verifier, 0, count);
    }
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = load_larger(verifier, i);
        if (rc == 0) {
            rc = tell_of(verifier, i);
        }
    }
    return rc;
}

/* Adding ------------------------------------------------------------------ */

int kvt_verifier_add_keyless(struct kvt_verifier *verifier,
                             const struct kvt_meta *meta, bool doubtful)
{
    struct kvt_finding finding = {.meta = *meta,
                                  .status = KVT_ERR_CHECKSUM_MISMATCH,
                                  .unproved = doubtful};
    return tell(verifier, &finding);
}

int kvt_verifier_add(struct kvt_verifier *verifier, const struct kvt_meta *meta,
                     bool doubtful)
{
    uint64_t burst = verifier->verification->burst;
    uint64_t size = (meta->size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    int rc = 0;
    if (meta->size > KVT_VERIFY_OBJECT_MAX) {
        return kvt_verifier_add_keyless(verifier, meta, doubtful);
    }
    bool full =
        verifier->count == BATCH || verifier->memory_used + size > burst;
    if (verifier->count > 0 && full) {
        rc = kvt_verifier_flush(verifier);
    }
    if (rc == 0 && verifier->count == 0) {
        rc = make_room(verifier, size > burst ? size : burst);
    }
    if (rc != 0) {
        return rc;
    }
    size_t i = verifier->count++;
    memcpy(verifier->keys[i], meta->key.data, meta->key.size);
    verifier->metas[i] = *meta;
    verifier->metas[i].key.data = verifier->keys[i];
    verifier->doubtful[i] = doubtful;
    verifier->slices[i] = (struct kvt_slice){
        verifier->memory + verifier->memory_used, (size_t)meta->size, NULL};
    verifier->objects[i] = (struct kvt_object){.key = verifier->metas[i].key,
                                               .slices = &verifier->slices[i],
                                               .slice_count = 1};
    verifier->memory_used += size;
    return 0;
}
