/*
 * Load and exists. All places of a batch are looked up at once; the buckets
 * that are not open are opened together, then all that has to be read goes
 * out in one submission, neighbours as one transfer. The check of what has
 * arrived runs while the rest is under way.
 */
#include "backend/bucket.h"

#include <stdlib.h>
#include <string.h>

enum {
    /* An object may move while it is read: so often is no coincidence. */
    MOVES_MAX = 32,
    OVERLAP = 32,
};

static void read_again(struct bkt_op *op);

/* Exists ------------------------------------------------------------------- */

static void look_at(struct bkt *bkt, struct kvt_object *object,
                    const struct kvt_index_entry *entry, bool found)
{
    if (found && __atomic_load_n(&bkt->withdrawn, __ATOMIC_ACQUIRE) > 0) {
        pthread_mutex_lock(&bkt->mutex);
        found = kvt_bkt_is_visible(bkt, entry);
        pthread_mutex_unlock(&bkt->mutex);
    }
    if (found) {
        object->size = entry->length;
    } else {
        kvt_object_fail(&bkt->base, object, KVT_FAULT_ABSENT, 0);
    }
}

void kvt_bkt_exists(struct bkt *bkt, struct kvt_batch *batch)
{
    uint64_t hashes[OVERLAP];
    struct kvt_index_entry entries[OVERLAP];
    struct kvt_object *objects[OVERLAP];
    bool found[OVERLAP];
    size_t at = 0;
    while (at < batch->count) {
        size_t count = 0;
        for (; at < batch->count && count < OVERLAP; at++) {
            struct kvt_object *object = &batch->objects[at];
            if (object->status == KVT_OK) {
                hashes[count] = kvt_bkt_hash(bkt, object->key);
                objects[count++] = object;
            }
        }
        kvt_place_index_find(&bkt->index, hashes, entries, found, count);
        for (size_t i = 0; i < count; i++) {
            look_at(bkt, objects[i], &entries[i], found[i]);
        }
    }
}

/* Finding ------------------------------------------------------------------ */

static bool has_room(struct bkt_op *op)
{
    uint64_t room = 0;
    for (size_t i = 0; i < op->object->slice_count; i++) {
        room += op->object->slices[i].size;
    }
    return room >= op->entry.length;
}

static void find_places(struct bkt_batch *bb)
{
    uint64_t hashes[OVERLAP];
    struct kvt_index_entry entries[OVERLAP];
    struct bkt_op *ops[OVERLAP];
    bool found[OVERLAP];
    size_t at = 0;
    while (at < bb->batch->count) {
        size_t count = 0;
        for (; at < bb->batch->count && count < OVERLAP; at++) {
            if (bb->ops[at].mine) {
                hashes[count] = bb->ops[at].hash;
                ops[count++] = &bb->ops[at];
            }
        }
        kvt_place_index_find(&bb->bkt->index, hashes, entries, found, count);
        for (size_t i = 0; i < count; i++) {
            ops[i]->entry = entries[i];
            ops[i]->block = bkt_place_block(bb->bkt, entries[i].place);
            if (!found[i]) {
                kvt_bkt_op_fail(ops[i], KVT_FAULT_ABSENT, 0);
            }
        }
    }
}

static bool is_same(const struct kvt_index_entry *a,
                    const struct kvt_index_entry *b)
{
    return a->place == b->place && a->length == b->length &&
           a->check == b->check;
}

/* Does the index still say what it said before the bucket was pinned? Where
 * no check value tells another bucket's bytes, it is asked again. */
static bool holds(struct bkt_op *op)
{
    struct kvt_index_entry before = op->entry;
    bool found = true;
    if (!op->bb->bkt->checksum) {
        kvt_place_index_find(&op->bb->bkt->index, &op->hash, &op->entry, &found,
                             1);
    }
    return found && is_same(&op->entry, &before);
}

/* Pins the bucket of an object that was found. Mutex held. */
static void pin(struct bkt_op *op)
{
    struct bkt *bkt = op->bb->bkt;
    if (!kvt_bkt_is_visible(bkt, &op->entry) || !holds(op)) {
        op->object->size = 0;
        kvt_bkt_op_fail(op, KVT_FAULT_ABSENT, 0);
        return;
    }
    op->bucket = bkt_bucket_at(bkt, op->entry.place);
    op->object->size = op->entry.length;
    kvt_bkt_use(bkt, op->hash, &op->entry);
    kvt_bkt_pin(op->bucket);
}

static void unpin(struct bkt_op *op)
{
    struct bkt *bkt = op->bb->bkt;
    pthread_mutex_lock(&bkt->mutex);
    kvt_bkt_unpin(bkt, op->bucket);
    pthread_mutex_unlock(&bkt->mutex);
    op->bucket = NULL;
}

/* Results ------------------------------------------------------------------ */

static void end(struct bkt_op *op)
{
    if (op->bucket != NULL) {
        unpin(op);
    }
    op->mine = false;
    kvt_bkt_batch_drop(op->bb);
}

static void fail(struct bkt_op *op, enum kvt_fault fault, int rc)
{
    kvt_bkt_op_fail(op, fault, rc);
    end(op);
}

static bool is_gone(int64_t result)
{
    return result == -ENOENT || result == -ESTALE || result == -ENOTDIR;
}

/* The index says the same as when the read began: the bytes are bad, or the
 * file went behind our back. The object is no more. */
static void forget(struct bkt_op *op, bool corrupt)
{
    struct bkt *bkt = op->bb->bkt;
    pthread_mutex_lock(&bkt->mutex);
    bkt->checksum_misses += corrupt;
    if (!bkt->base.args.read_only &&
        kvt_place_index_remove(&bkt->index, op->hash, op->entry.place)) {
        const struct bkt_bucket *bucket = bkt_bucket_at(bkt, op->entry.place);
        kvt_bkt_object_died(bkt, &op->entry);
        if (bucket != NULL) {
            kvt_bkt_kill_later(bkt, bucket,
                               bkt_place_block(bkt, op->entry.place),
                               KVT_KILL_REMOVED);
        }
    }
    pthread_mutex_unlock(&bkt->mutex);
    fail(op, corrupt ? KVT_FAULT_CORRUPT : KVT_FAULT_ABSENT, 0);
}

/* The index has another entry by now: that is read. */
static void moved(struct bkt_op *op)
{
    op->attempts = 0;
    if (++op->number > MOVES_MAX) {
        fail(op, KVT_FAULT_ABSENT, 0);
    } else if (!has_room(op)) {
        op->object->size = op->entry.length;
        fail(op, KVT_FAULT_SMALL, 0);
    } else {
        read_again(op);
    }
}

/* What was read is not what the index promised: the object moved, or was
 * replaced, or the place is another bucket's by now. Or it is bad. */
static void mismatch(struct bkt_op *op, bool gone)
{
    struct bkt *bkt = op->bb->bkt;
    struct kvt_index_entry before = op->entry;
    bool found;
    kvt_place_index_find(&bkt->index, &op->hash, &op->entry, &found, 1);
    unpin(op);
    if (!found) {
        fail(op, KVT_FAULT_ABSENT, 0);
        return;
    }
    if (!is_same(&op->entry, &before)) {
        moved(op);
    } else if (gone || op->attempts >= 1) {
        forget(op, !gone);
    } else {
        op->attempts++;
        read_again(op);
    }
}

static void verify(struct bkt_op *op)
{
    struct bkt *bkt = op->bb->bkt;
    const struct kvt_object *object = op->object;
    if (bkt->checksum || op->bucket->always_verify) {
        uint64_t check = kvt_bkt_check(bkt, object->key, object->slices,
                                       object->slice_count, op->entry.length);
        if ((uint32_t)check != op->entry.check) {
            mismatch(op, false);
            return;
        }
    }
    end(op);
}

/* Reading ------------------------------------------------------------------ */

/* A transfer that outlives its batch keeps the bucket. */
static void read_late(void *arg, int64_t result)
{
    struct bkt_bucket *bucket = arg;
    struct bkt *bkt = bucket->bkt;
    (void)result;
    pthread_mutex_lock(&bkt->mutex);
    kvt_bkt_unpin(bkt, bucket);
    pthread_mutex_unlock(&bkt->mutex);
}

/* Cuts the object's slices to its length; returns how many it takes. */
static size_t cut_slices(const struct bkt_op *op, struct kvt_slice *slices)
{
    uint64_t left = op->entry.length;
    size_t count = 0;
    for (size_t i = 0; left > 0; i++) {
        struct kvt_slice slice = op->object->slices[i];
        if (slice.size > left) {
            slice.size = (size_t)left;
        }
        if (slice.size > 0) {
            slices[count++] = slice;
        }
        left -= slice.size;
    }
    return count;
}

static uint64_t bytes_of(const struct bkt_op *first)
{
    uint64_t bytes = 0;
    for (; first != NULL; first = first->next) {
        bytes += first->entry.length;
    }
    return bytes;
}

static void read_done(struct kvt_fs_elem *elem)
{
    struct bkt_op *op = elem->arg;
    bool whole = elem->result == (int64_t)bytes_of(op);
    bool late = elem->late_follows;
    while (op != NULL) {
        struct bkt_op *next = op->next;
        op->next = NULL;
        if (late && next == NULL) {
            op->bucket = NULL; /* the transfer's pin is left to `late` */
        }
        if (whole) {
            verify(op);
        } else if (elem->result >= 0 || is_gone(elem->result)) {
            mismatch(op, elem->result < 0);
        } else {
            fail(op, KVT_FAULT_READ, (int)elem->result);
        }
        op = next;
    }
}

/* The element that reads a chain of neighbours. Its slices are `slices`;
 * returns the next free one. The file was chosen with the mutex held. */
static struct kvt_slice *set_read(struct kvt_fs_elem *elem,
                                  struct bkt_op *first,
                                  struct kvt_fs_file *file, char *path,
                                  struct kvt_slice *slices)
{
    struct bkt *bkt = first->bb->bkt;
    *elem = (struct kvt_fs_elem){
        .op = file != NULL ? KVT_FS_READ : KVT_FS_FETCH,
        .file = file,
        .path = file != NULL ? NULL : path,
        .offset = (uint64_t)bkt_place_block(bkt, first->entry.place) *
                  KVT_BUCKET_BLOCK,
        .slices = slices,
        .deadline_ns = first->bb->batch->deadline_ns,
        .late = read_late,
        .late_arg = first->bucket,
        .done = read_done,
        .arg = first,
    };
    if (file == NULL) {
        kvt_bkt_path(first->bucket, path);
    }
    for (const struct bkt_op *op = first; op != NULL; op = op->next) {
        size_t count = cut_slices(op, slices);
        slices += count;
        elem->slice_count += (uint32_t)count;
    }
    return slices;
}

/* One object once more, by itself. */
struct second_read {
    struct kvt_fs_elem elem;
    char path[BKT_PATH_MAX];
    struct kvt_slice slices[];
};

static void read_again(struct bkt_op *op)
{
    struct bkt *bkt = op->bb->bkt;
    struct second_read *again = NULL;
    size_t size =
        sizeof *again + (op->object->slice_count + 1) * sizeof again->slices[0];
    struct kvt_index_entry before = op->entry;
    bool found;
    pthread_mutex_lock(&bkt->mutex);
    pin(op);
    struct kvt_fs_file *file = op->bucket != NULL ? op->bucket->file : NULL;
    pthread_mutex_unlock(&bkt->mutex);
    if (op->bucket == NULL) {
        end(op);
        return;
    }
    /* With the bucket pinned, what the index says holds: another bucket may
     * have had its number before. */
    kvt_place_index_find(&bkt->index, &op->hash, &op->entry, &found, 1);
    if (!found || !is_same(&op->entry, &before)) {
        unpin(op);
        if (found) {
            moved(op);
        } else {
            fail(op, KVT_FAULT_ABSENT, 0);
        }
        return;
    }
    if (op->again == NULL) {
        again = malloc(size);
        op->again = (struct kvt_fs_elem *)again;
    } else {
        again = (struct second_read *)op->again;
    }
    if (again == NULL) {
        fail(op, KVT_FAULT_READ, -ENOMEM);
        return;
    }
    set_read(&again->elem, op, file, again->path, again->slices);
    kvt_fs_submit(op->bb->batch->queue, &again->elem, 1);
}

/* A batch ------------------------------------------------------------------ */

struct bkt_load {
    struct bkt_op **found; /* by their place */
    size_t count;
    char (*paths)[BKT_PATH_MAX];
    size_t opens;
};

static int lower_place_first(const void *a, const void *b)
{
    const struct bkt_op *left = *(struct bkt_op *const *)a;
    const struct bkt_op *right = *(struct bkt_op *const *)b;
    return (left->entry.place > right->entry.place) -
           (left->entry.place < right->entry.place);
}

/* Does `op` begin where `last` ends? */
static bool is_neighbour(const struct bkt_op *last, const struct bkt_op *op)
{
    return op->bucket == last->bucket && last->entry.length > 0 &&
           last->entry.length % KVT_BUCKET_BLOCK == 0 &&
           op->entry.place ==
               last->entry.place + last->entry.length / KVT_BUCKET_BLOCK;
}

/* Joins neighbours; an object that is part of another's transfer needs no pin
 * of its own, but keeps it: it may have to be read again. */
static size_t join(struct bkt_load *load, uint64_t most)
{
    size_t count = 0;
    for (size_t i = 0; i < load->count; count++) {
        struct bkt_op *first = load->found[i];
        struct bkt_op *last = first;
        uint64_t bytes = first->entry.length;
        for (i++; i < load->count; i++) {
            struct bkt_op *op = load->found[i];
            if (!is_neighbour(last, op) || bytes + op->entry.length > most) {
                break;
            }
            bytes += op->entry.length;
            last->next = op;
            last = op;
        }
        load->found[count] = first;
    }
    return count;
}

static void read_all(struct bkt_batch *bb)
{
    struct bkt *bkt = bb->bkt;
    struct bkt_load *load = bb->load;
    size_t count = join(load, kvt_fs_facts(bkt->fs)->transfer_best);
    struct kvt_slice *slices = bb->slices;
    pthread_mutex_lock(&bkt->mutex);
    for (size_t i = 0; i < count; i++) {
        struct bkt_op *first = load->found[i];
        kvt_bkt_file_used(bkt, first->bucket);
        slices = set_read(&bb->elems[i], first, first->bucket->file,
                          load->paths[i], slices);
    }
    pthread_mutex_unlock(&bkt->mutex);
    kvt_fs_submit(bb->batch->queue, bb->elems, count);
}

/* Opening ------------------------------------------------------------------ */

/* A file that an open delivers after its deadline is closed by the core. */
static void open_late(void *arg, int64_t result)
{
    read_late(arg, result);
}

static void open_done(struct kvt_fs_elem *elem)
{
    struct bkt_bucket *bucket = elem->late_arg;
    struct bkt *bkt = bucket->bkt;
    struct bkt_batch *bb = elem->arg;
    pthread_mutex_lock(&bkt->mutex);
    bucket->opening = false;
    if (elem->result == 0) {
        bucket->file = elem->file;
        kvt_bkt_file_entered(bkt, bucket);
    } else { /* the read tells what is wrong */
        bkt->file_count--;
    }
    if (!elem->late_follows) {
        kvt_bkt_unpin(bkt, bucket);
    }
    pthread_mutex_unlock(&bkt->mutex);
    if (--bb->load->opens == 0) {
        read_all(bb);
    }
}

/* Buckets that are to be opened now; fewer than there is room for. Mutex
 * held. */
static size_t choose_opens(struct bkt_batch *bb)
{
    struct bkt *bkt = bb->bkt;
    struct bkt_load *load = bb->load;
    size_t count = 0;
    for (size_t i = 0; i < load->count; i++) {
        struct bkt_bucket *bucket = load->found[i]->bucket;
        if (bucket->file != NULL || bucket->opening) {
            continue;
        }
        if (bkt->file_count >= bkt->files_max) {
            kvt_bkt_files_crowded(bkt);
            continue;
        }
        bkt->file_count++;
        bucket->opening = true;
        kvt_bkt_pin(bucket);
        kvt_bkt_path(bucket, load->paths[count]);
        bb->elems[count] = (struct kvt_fs_elem){
            .op = KVT_FS_OPEN,
            .path = load->paths[count],
            .deadline_ns = bb->batch->deadline_ns,
            .late = open_late,
            .late_arg = bucket,
            .done = open_done,
            .arg = bb,
        };
        count++;
    }
    return count;
}

static void start_reads(struct bkt_batch *bb)
{
    struct bkt *bkt = bb->bkt;
    pthread_mutex_lock(&bkt->mutex);
    size_t opens = choose_opens(bb);
    bb->load->opens = opens;
    pthread_mutex_unlock(&bkt->mutex);
    if (opens > 0) {
        kvt_fs_submit(bb->batch->queue, bb->elems, opens);
    } else {
        read_all(bb);
    }
}

static void load_ended(struct bkt_batch *bb)
{
    for (size_t i = 0; i < bb->batch->count; i++) {
        free(bb->ops[i].again);
    }
    if (bb->load != NULL) {
        free(bb->load->found);
        free(bb->load->paths);
        free(bb->load);
    }
    kvt_bkt_batch_end(bb);
}

static int load_alloc(struct bkt_batch *bb)
{
    size_t count = 0;
    size_t slices = 0;
    for (size_t i = 0; i < bb->batch->count; i++) {
        if (bb->ops[i].mine) {
            count++;
            slices += bb->ops[i].object->slice_count;
        }
    }
    bb->load = calloc(1, sizeof *bb->load);
    if (bb->load == NULL) {
        return -ENOMEM;
    }
    bb->load->found = malloc((count + 1) * sizeof bb->load->found[0]);
    bb->load->paths = malloc((count + 1) * sizeof bb->load->paths[0]);
    bb->elems = malloc((count + 1) * sizeof bb->elems[0]);
    bb->slices = malloc((slices + 1) * sizeof bb->slices[0]);
    return bb->load->found == NULL || bb->load->paths == NULL ||
                   bb->elems == NULL || bb->slices == NULL
               ? -ENOMEM
               : 0;
}

/* Pins all that is there; the rest has its result. */
static void pin_all(struct bkt_batch *bb)
{
    struct bkt *bkt = bb->bkt;
    pthread_mutex_lock(&bkt->mutex);
    for (size_t i = 0; i < bb->batch->count; i++) {
        struct bkt_op *op = &bb->ops[i];
        if (!op->mine) {
            continue;
        }
        op->object->size = op->entry.length;
        if (!has_room(op)) {
            kvt_bkt_op_fail(op, KVT_FAULT_SMALL, 0);
            continue;
        }
        pin(op);
        if (op->bucket != NULL) {
            bb->load->found[bb->load->count++] = op;
            bb->pending++;
        }
    }
    pthread_mutex_unlock(&bkt->mutex);
}

void kvt_bkt_start_load(struct bkt_batch *bb)
{
    bb->ended = load_ended;
    find_places(bb);
    int rc = load_alloc(bb);
    if (rc != 0) {
        for (size_t i = 0; i < bb->batch->count; i++) {
            if (bb->ops[i].mine) {
                kvt_bkt_op_fail(&bb->ops[i], KVT_FAULT_READ, rc);
            }
        }
        return;
    }
    pin_all(bb);
    struct bkt_load *load = bb->load;
    if (load->count > 1) {
        qsort(load->found, load->count, sizeof load->found[0],
              lower_place_first);
    }
    if (load->count > 0) {
        start_reads(bb);
    }
}
