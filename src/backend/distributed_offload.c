/*
 * Offload. An object goes through: a look, where that is asked for; room,
 * under a limit; publish (distributed_publish.c). All objects of a batch go
 * at once. There is no turn to wait for: who publishes last is who is read.
 */
#include "backend/distributed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void fail(struct dist_op *op, int64_t rc)
{
    bool partial = op->partial && rc == -EIO;
    kvt_dist_op_fail(op, partial ? KVT_FAULT_PARTIAL : KVT_FAULT_WRITE, rc);
}

/* Publishing --------------------------------------------------------------- */

static void published(struct dist_op *op, int64_t rc)
{
    struct dist *dist = op->batch->dist;
    if (rc >= 0) {
        op->published = true;
        op->object->size = op->size;
        kvt_dist_settle(op, true);
        kvt_dist_renewed(dist, op->file.path);
        kvt_dist_op_end(op);
        return;
    }
    /* after a timeout it may be there all the same */
    kvt_dist_settle(op, rc == -ETIMEDOUT);
    if (rc == -EEXIST && (op->batch->batch->flags & KVT_IF_ABSENT) != 0) {
        kvt_dist_op_fail(op, KVT_FAULT_EXISTS, 0);
    } else {
        fail(op, rc);
    }
}

static void publish(struct dist_op *op)
{
    struct dist *dist = op->batch->dist;
    if (!dist->writes_raw) {
        op->check = kvt_object_file_check(&op->file, &dist->layout, op->object,
                                          op->size);
    }
    op->attempts = 0;
    kvt_dist_renewed(dist, op->file.path); /* it is about to be young */
    kvt_dist_publish(op, published);
}

/* Room --------------------------------------------------------------------- */

static uint64_t write_bytes(const struct dist_op *op)
{
    return op->size + (op->batch->dist->writes_raw
                           ? 0
                           : kvt_object_file_overhead(&op->file));
}

static void refused(struct dist_op *op, int64_t rc)
{
    kvt_object_return_write(&op->batch->dist->base, write_bytes(op));
    switch (rc) {
    case DIST_ROOM_FULL:
        kvt_dist_op_fail(op, KVT_FAULT_FULL, 0);
        break;
    case DIST_ROOM_KEYS:
        kvt_dist_op_fail(op, KVT_FAULT_KEYS, 0);
        break;
    case DIST_ROOM_NEVER:
        kvt_dist_op_fail(op, KVT_FAULT_FULL, -EFBIG);
        break;
    case DIST_ROOM_LATER:
        op->idle = true; /* says nothing of the mount */
        kvt_dist_op_fail(op, KVT_FAULT_FULL, -EAGAIN);
        break;
    case DIST_ROOM_REFUSED:
        kvt_dist_op_fail(op, KVT_FAULT_REFUSED, 0);
        break;
    default:
        fail(op, rc);
    }
}

static void room_came(struct kvt_fs_elem *elem)
{
    struct dist_op *op = elem->arg;
    op->waits = false;
    if (elem->result == 0) {
        publish(op);
    } else {
        op->idle = elem->result == -ETIMEDOUT;
        refused(op, elem->result);
    }
}

static void find_room(struct dist_op *op)
{
    struct dist *dist = op->batch->dist;
    if (!kvt_object_take_write(&dist->base, op->object, write_bytes(op))) {
        op->idle = true; /* says nothing of the mount */
        kvt_dist_op_end(op);
        return;
    }
    op->charge = kvt_dist_charge(dist, write_bytes(op), op->size);
    op->file.elem =
        (struct kvt_fs_elem){.op = KVT_FS_WAIT, .done = room_came, .arg = op};
    enum dist_room room = kvt_dist_claim(op);
    if (room == DIST_ROOM_GRANTED) {
        publish(op);
    } else if (room != DIST_ROOM_WAITS) {
        refused(op, room);
    }
}

/* The look ----------------------------------------------------------------- */

/* What is stored with the same bytes needs no writing. What its trailer
 * claims is not enough: the value in front of it may have rotted, and then
 * this offload mends it. */
static void looked(struct kvt_fs_elem *elem)
{
    struct dist_op *op = elem->arg;
    const struct dist *dist = op->batch->dist;
    struct kvt_slice slice = {op->scratch, (size_t)op->size, NULL};
    struct kvt_object object = {.slices = &slice, .slice_count = 1};
    uint64_t check = 0;
    bool same = elem->result >= 0 &&
                kvt_object_file_verify(&op->file, &dist->layout, &object, true,
                                       &check) == 0 &&
                check == kvt_object_file_check(&op->file, &dist->layout,
                                               op->object, op->size);
    free(op->scratch);
    op->scratch = NULL;
    if (same) {
        op->object->size = op->size;
        kvt_dist_op_end(op);
    } else {
        find_room(op);
    }
}

static void start_look(struct dist_op *op)
{
    struct kvt_slice slice = {NULL, (size_t)op->size, NULL};
    struct kvt_object object = {.slices = &slice, .slice_count = 1};
    op->scratch = malloc((size_t)op->size + 1);
    slice.base = op->scratch;
    if (op->scratch == NULL) { /* it is written, then */
        find_room(op);
        return;
    }
    kvt_object_file_fetch(&op->file, &object, op->size);
    kvt_dist_submit(op, looked);
}

/* The end of a batch ------------------------------------------------------- */

static void undone(struct kvt_fs_elem *elem)
{
    struct dist_op *op = elem->arg;
    if (elem->result == 0) {
        kvt_dist_freed(op->batch->dist);
    }
    kvt_dist_op_end(op);
}

static void undo(struct dist_op *op)
{
    op->file.elem =
        (struct kvt_fs_elem){.op = KVT_FS_REMOVE, .path = op->file.path};
    kvt_dist_submit(op, undone);
}

/* Only what this batch wrote goes: what somebody put in its place since has
 * another trailer. */
static void tail_known(struct kvt_fs_elem *elem)
{
    struct dist_op *op = elem->arg;
    struct kvt_trailer now;
    enum kvt_object_kind kind;
    bool ours = elem->result >= 0 &&
                kvt_object_file_settle_tail(&op->file, false, &kind) == 0 &&
                op->file.size == op->size &&
                kvt_trailer_decode(op->file.trailer, &now) == 0 &&
                now.check == op->check;
    if (ours) {
        undo(op);
    } else {
        kvt_dist_op_end(op);
    }
}

static void start_undo(struct dist_op *op)
{
    if (op->batch->dist->writes_raw) {
        undo(op);
        return;
    }
    kvt_object_file_fetch_tail(&op->file);
    kvt_dist_submit(op, tail_known);
}

/* Tells the complete handler what succeeded. */
static int tell_complete(struct dist_batch *batch)
{
    const struct kvt_handlers *handlers = batch->dist->base.args.handlers;
    size_t count = 0;
    struct kvt_meta *metas = calloc(batch->batch->count, sizeof *metas);
    if (metas == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < batch->batch->count; i++) {
        const struct kvt_object *object = &batch->batch->objects[i];
        if (object->status == KVT_OK) {
            metas[count++] =
                kvt_dist_meta(batch->dist, object->key, object->size);
        }
    }
    int rc = count > 0
                 ? handlers->complete(metas, count, handlers->complete_arg)
                 : 0;
    free(metas);
    return rc;
}

static void offload_ended(struct dist_batch *batch)
{
    if (batch->dist->base.args.handlers->complete == NULL ||
        tell_complete(batch) == 0) {
        kvt_dist_batch_end(batch);
        return;
    }
    batch->ended = kvt_dist_batch_end;
    batch->pending = 1;
    for (size_t i = 0; i < batch->batch->count; i++) {
        struct dist_op *op = &batch->ops[i];
        if (op->batch != NULL && op->object->status == KVT_OK &&
            op->published) {
            kvt_object_fail(&batch->dist->base, op->object, KVT_FAULT_REFUSED,
                            0);
            batch->pending++;
            start_undo(op);
        }
    }
    if (--batch->pending == 0) {
        batch->ended(batch);
    }
}

static void start_one(struct dist_op *op);

static void outcome_came(struct kvt_fs_elem *elem)
{
    struct dist_op *op = elem->arg;
    op->waits = false;
    if (elem->result == 0) {
        start_one(op);
    } else {
        op->idle = true;
        fail(op, elem->result);
    }
}

static void start_one(struct dist_op *op)
{
    struct dist *dist = op->batch->dist;
    op->file.elem = (struct kvt_fs_elem){
        .op = KVT_FS_WAIT, .done = outcome_came, .arg = op};
    if (kvt_batch_hurries(op->batch->batch) && kvt_dist_late_known(op)) {
        op->idle = true;
        kvt_dist_op_fail(op, KVT_FAULT_FULL, -EAGAIN);
        return;
    }
    if (kvt_dist_late_wait(op)) {
        return;
    }
    int rc = kvt_dist_health_refuses(dist);
    if (rc != 0) {
        kvt_dist_op_fail(op, KVT_FAULT_REFUSED, rc);
    } else if (dist->writes_raw && op->file.key_size > 0) {
        /* a name that cannot hold its key needs a trailer to do so */
        op->object->status = KVT_ERR_INVALID_KEY;
        op->object->errnum = ENAMETOOLONG;
        kvt_dist_op_end(op);
    } else if (dist->writes_raw &&
               kvt_object_file_looks_whole(&op->file, op->object, op->size)) {
        op->object->status = KVT_ERR_INVALID_PARAMS; /* it would never load */
        op->object->errnum = EILSEQ;
        kvt_dist_op_end(op);
    } else if (dist->skip_stored && !dist->writes_raw &&
               (op->batch->batch->flags & KVT_IF_ABSENT) == 0) {
        start_look(op);
    } else {
        find_room(op);
    }
}

void kvt_dist_start_offload(struct dist_batch *batch)
{
    batch->ended = offload_ended;
    for (size_t i = 0; i < batch->batch->count; i++) {
        if (batch->ops[i].batch != NULL) {
            start_one(&batch->ops[i]);
        }
    }
}
