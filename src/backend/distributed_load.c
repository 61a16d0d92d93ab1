/* Load and exists. A file goes straight into the caller's slices, with its
 * trailer behind: one open, one read, one close, and no question for its
 * size. Nothing is believed that the trailer and the hash over the value have
 * not proved; but for raw files, where a root may hold such. */
#include "backend/distributed.h"

#include <errno.h>

enum {
    LOOKS = 16 /* at a file that is another one each time */
};

/* Load --------------------------------------------------------------------- */

static void start_read(struct dist_op *op);

/* Not what was published under this key: another one, a cut one, one that
 * rotted. What belongs to others is not moved: a host with bad memory must
 * not empty a root. */
static void mismatch(struct dist_op *op, int rc)
{
    struct dist *dist = op->batch->dist;
    if (rc == -EPROTONOSUPPORT) {
        kvt_dist_op_fail(op, KVT_FAULT_READ, rc);
        return;
    }
    if (op->attempts++ < 1) {
        start_read(op); /* a cache, memory or the way may have been at fault */
        return;
    }
    pthread_mutex_lock(&dist->mutex);
    dist->checksum_misses++;
    pthread_mutex_unlock(&dist->mutex);
    kvt_backend_log(&dist->base, KVT_LOG_WARN,
                    "%s: the file is not what was published under its key",
                    op->file.path);
    kvt_dist_op_fail(op, KVT_FAULT_CORRUPT, 0);
}

/* True when the result is no number of bytes, and was dealt with. */
static bool failed(struct dist_op *op, int64_t result)
{
    if (result >= 0) {
        return false;
    }
    if (kvt_dist_is_absent(result)) {
        kvt_dist_op_fail(op, KVT_FAULT_ABSENT, result);
    } else if (kvt_dist_is_gone(result)) {
        /* it was replaced under our hands: the name may lead to another */
        if (op->attempts++ < 1) {
            start_read(op);
        } else {
            kvt_dist_op_fail(op, KVT_FAULT_ABSENT, result);
        }
    } else {
        kvt_dist_op_fail(op, KVT_FAULT_READ, result);
    }
    return true;
}

/* The file is larger than its room; its end tells by how much. */
static void size_known(struct kvt_fs_elem *elem)
{
    struct dist_op *op = elem->arg;
    enum kvt_object_kind kind;
    if (failed(op, elem->result)) {
        return;
    }
    int rc = kvt_object_file_settle_tail(&op->file,
                                         op->batch->dist->accepts_raw, &kind);
    if (rc != 0) {
        mismatch(op, rc);
    } else if (op->file.size <= op->size) {
        /* a smaller one took its place; or the mount tells a wrong size */
        if (op->attempts++ < LOOKS) {
            start_read(op);
        } else {
            mismatch(op, -EBADMSG);
        }
    } else {
        op->object->size = op->file.size;
        kvt_dist_op_fail(op, KVT_FAULT_SMALL, 0);
    }
}

static void read_done(struct kvt_fs_elem *elem)
{
    struct dist_op *op = elem->arg;
    struct dist *dist = op->batch->dist;
    enum kvt_object_kind kind;
    if (failed(op, elem->result)) {
        return;
    }
    uint8_t *notes = op->batch->batch->notes;
    int rc = kvt_object_file_settle(&op->file, &dist->layout, op->object,
                                    dist->checksum || notes != NULL,
                                    dist->accepts_raw, &kind);
    if (rc != 0) {
        mismatch(op, rc);
        return;
    }
    if (kind == KVT_OBJECT_LARGE) {
        kvt_object_file_fetch_tail(&op->file);
        kvt_dist_submit(op, size_known);
        return;
    }
    op->object->size = op->file.size;
    if (notes != NULL) { /* no use of the object */
        notes[op - op->batch->ops] |=
            kind == KVT_OBJECT_RAW ? KVT_NOTE_UNPROVED : 0;
        kvt_dist_op_end(op);
    } else if (kvt_dist_refresh_due(dist, &op->file)) {
        kvt_dist_refresh(op, kvt_dist_op_end);
    } else {
        kvt_dist_op_end(op);
    }
}

static void start_read(struct dist_op *op)
{
    kvt_object_file_fetch_any(&op->file, op->object);
    kvt_dist_submit(op, read_done);
}

static void start_each(struct dist_batch *batch,
                       void (*start)(struct dist_op *op))
{
    for (size_t i = 0; i < batch->batch->count; i++) {
        if (batch->ops[i].batch != NULL) {
            start(&batch->ops[i]);
        }
    }
}

void kvt_dist_start_load(struct dist_batch *batch)
{
    start_each(batch, start_read);
}

/* Exists ------------------------------------------------------------------- */

/* Where the size of the file tells that of the value. */
static void stat_done(struct kvt_fs_elem *elem)
{
    struct dist_op *op = elem->arg;
    uint64_t overhead = kvt_object_file_overhead(&op->file);
    if (kvt_dist_is_gone(elem->result)) {
        kvt_dist_op_fail(op, KVT_FAULT_ABSENT, elem->result);
    } else if (elem->result < 0) {
        kvt_dist_op_fail(op, KVT_FAULT_READ, elem->result);
    } else if (elem->file_size < overhead) {
        kvt_dist_op_fail(op, KVT_FAULT_ABSENT, 0); /* no whole object */
    } else {
        op->object->size = elem->file_size - overhead;
        kvt_dist_op_end(op);
    }
}

/* Otherwise only the end of the file does. */
static void tail_done(struct kvt_fs_elem *elem)
{
    struct dist_op *op = elem->arg;
    enum kvt_object_kind kind;
    if (kvt_dist_is_gone(elem->result)) {
        kvt_dist_op_fail(op, KVT_FAULT_ABSENT, elem->result);
    } else if (elem->result < 0) {
        kvt_dist_op_fail(op, KVT_FAULT_READ, elem->result);
    } else if (kvt_object_file_settle_tail(
                   &op->file, op->batch->dist->accepts_raw, &kind) != 0) {
        kvt_dist_op_fail(op, KVT_FAULT_ABSENT, 0);
    } else {
        op->object->size = op->file.size;
        kvt_dist_op_end(op);
    }
}

static void start_look(struct dist_op *op)
{
    const struct dist *dist = op->batch->dist;
    if (kvt_dist_sizes_tell(dist)) {
        op->file.elem =
            (struct kvt_fs_elem){.op = KVT_FS_STAT, .path = op->file.path};
        kvt_dist_submit(op, stat_done);
    } else {
        kvt_object_file_fetch_tail(&op->file);
        kvt_dist_submit(op, tail_done);
    }
}

void kvt_dist_start_exists(struct dist_batch *batch)
{
    start_each(batch, start_look);
}
