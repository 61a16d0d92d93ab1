/*
 * One file to its name, in the way that the mount can keep: see enum
 * dist_strategy. A write is whole or it is not there, so it may be tried
 * again, under a new temporary name, where an answer may have been lost or
 * another host took away what we stood on.
 */
#include "backend/distributed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    ATTEMPTS = 16, /* against others that put a file there again */
    RETRIES = 2,   /* after an answer that may be a wrong one */
    STEPS = 4,     /* open, write, sync, close */
};

/* The chain of a file that is written under its own name. */
struct dist_chain {
    struct kvt_fs_elem elems[STEPS];
    int count;
};

static void attempt(struct dist_op *op);

static void end(struct dist_op *op, int64_t rc)
{
    free(op->chain);
    op->chain = NULL;
    op->publish_done(op, rc);
}

static bool must_be_absent(const struct dist_op *op)
{
    return (op->batch->batch->flags & KVT_IF_ABSENT) != 0;
}

/* Errors after which the file may be there all the same, or which tell of
 * another host's doing: a server that answers its own repeated call, a
 * temporary that was taken for a dead writer's, a handle that went stale. */
static bool is_doubtful(int64_t rc)
{
    return rc == -ENOENT || rc == -ESTALE || rc == -EBADF || rc == -EINTR ||
           rc == -ECONNABORTED || rc == -EEXIST;
}

/* Something has the name already ------------------------------------------- */

static void made_way(struct kvt_fs_elem *elem)
{
    struct dist_op *op = elem->arg;
    if (elem->result < 0 && !kvt_dist_is_gone(elem->result)) {
        end(op, elem->result);
    } else {
        attempt(op);
    }
}

/* Where a name can only be given, not changed, the old file goes first. */
static void make_way(struct dist_op *op)
{
    op->file.elem =
        (struct kvt_fs_elem){.op = KVT_FS_REMOVE, .path = op->file.path};
    kvt_dist_submit(op, made_way);
}

/* After a doubtful answer the name is there: is the file our own? */
static void whose_known(struct kvt_fs_elem *elem)
{
    struct dist_op *op = elem->arg;
    struct kvt_trailer now;
    enum kvt_object_kind kind;
    bool ours = elem->result >= 0 &&
                kvt_object_file_settle_tail(&op->file, false, &kind) == 0 &&
                op->file.size == op->size &&
                kvt_trailer_decode(op->file.trailer, &now) == 0 &&
                now.check == op->check;
    end(op, ours ? (int64_t)op->size : -EEXIST);
}

static void ask_whose(struct dist_op *op)
{
    kvt_object_file_fetch_tail(&op->file);
    kvt_dist_submit(op, whose_known);
}

static void tried(struct dist_op *op, int64_t rc)
{
    bool raw = op->batch->dist->writes_raw;
    if (rc >= 0) {
        end(op, rc);
    } else if (rc == -EEXIST && must_be_absent(op)) {
        if (op->ambiguous && !raw) {
            ask_whose(op);
        } else {
            end(op, rc);
        }
    } else if (rc == -EEXIST && op->strategy != DIST_RENAME &&
               op->attempts < ATTEMPTS) {
        make_way(op);
    } else if (is_doubtful(rc) && op->attempts <= RETRIES) {
        op->ambiguous = true;
        attempt(op);
    } else {
        end(op, rc);
    }
}

/* By a temporary ----------------------------------------------------------- */

static void switched(struct kvt_fs_elem *elem)
{
    struct dist_op *op = elem->arg;
    op->partial = elem->partial;
    kvt_dist_late_done(op);
    tried(op, elem->result);
}

static void by_temporary(struct dist_op *op)
{
    struct dist *dist = op->batch->dist;
    char directory[16];
    uint32_t flags = dist->publish_flags;
    if (must_be_absent(op) || op->strategy == DIST_LINK) {
        flags |= KVT_FS_IF_ABSENT;
    }
    kvt_object_directory(&dist->layout, op->file.directory, directory);
    kvt_dist_temp_path(&dist->temps, directory, op->temp_path);
    if (dist->writes_raw) {
        kvt_object_file_publish_raw(&op->file, op->object, op->size,
                                    op->temp_path, flags);
    } else {
        kvt_object_file_publish(&op->file, op->object, op->size, op->check,
                                op->temp_path, flags);
    }
    int rc = kvt_dist_late_prepare(op);
    if (rc != 0) {
        end(op, rc);
    } else {
        kvt_dist_submit(op, switched);
    }
}

/* In place ----------------------------------------------------------------- */

static void scrapped(struct kvt_fs_elem *elem)
{
    struct dist_op *op = elem->arg;
    end(op, op->failed);
}

/* What failed half-way is no object, and nobody else's yet. */
static void scrap(struct dist_op *op, int64_t rc)
{
    op->failed = (int)rc;
    op->file.elem =
        (struct kvt_fs_elem){.op = KVT_FS_REMOVE, .path = op->file.path};
    kvt_dist_submit(op, scrapped);
}

static void closed(struct kvt_fs_elem *elem)
{
    struct dist_op *op = elem->arg;
    const struct kvt_fs_elem *elems = op->chain->elems;
    int64_t rc = elems[0].result;
    op->partial = elems[1].partial;
    for (int i = 1; i < op->chain->count && rc >= 0; i++) {
        rc = elems[i].result < 0 ? elems[i].result : rc;
    }
    if (rc >= 0) {
        tried(op, (int64_t)op->size);
    } else if (elems[0].result < 0) {
        tried(op, rc); /* nothing was made */
    } else {
        scrap(op, rc);
    }
}

/* Others are to see it whole when it is acknowledged, and some mounts show
 * what was written only after a sync. */
static bool must_sync(const struct dist *dist)
{
    return (dist->publish_flags & KVT_FS_DURABLE) != 0 ||
           kvt_fs_facts(dist->fs)->visibility == KVT_FS_VISIBLE_AFTER_SYNC;
}

static void in_place(struct dist_op *op)
{
    static const enum kvt_fs_op ops[STEPS] = {KVT_FS_OPEN, KVT_FS_WRITE,
                                              KVT_FS_SYNC, KVT_FS_CLOSE};
    if (op->chain == NULL) {
        op->chain = malloc(sizeof *op->chain);
    }
    if (op->chain == NULL) {
        end(op, -ENOMEM);
        return;
    }
    bool syncs = must_sync(op->batch->dist);
    struct kvt_fs_elem *elem = op->chain->elems;
    kvt_object_file_publish(&op->file, op->object, op->size, op->check, NULL,
                            0);
    for (int i = 0; i < STEPS; i++) {
        if (ops[i] == KVT_FS_SYNC && !syncs) {
            continue;
        }
        *elem++ = (struct kvt_fs_elem){
            .op = ops[i],
            .flags = ops[i] != KVT_FS_CLOSE ? KVT_FS_THEN : 0,
            .slices = op->file.slices,
            .slice_count = op->file.elem.slice_count,
            .arg = op,
            .deadline_ns = op->batch->batch->deadline_ns};
    }
    op->chain->count = (int)(elem - op->chain->elems);
    op->chain->elems[0].path = op->file.path;
    op->chain->elems[0].flags |=
        KVT_FS_FOR_WRITE | KVT_FS_CREATE | KVT_FS_EXCLUSIVE;
    elem[-1].done = closed;
    kvt_fs_submit(op->batch->batch->queue, op->chain->elems,
                  (size_t)op->chain->count);
}

/* -------------------------------------------------------------------------- */

static void attempt(struct dist_op *op)
{
    op->attempts++;
    if (op->strategy == DIST_IN_PLACE) {
        in_place(op);
    } else {
        by_temporary(op);
    }
}

void kvt_dist_publish(struct dist_op *op,
                      void (*done)(struct dist_op *op, int64_t rc))
{
    struct dist *dist = op->batch->dist;
    const struct kvt_fs_facts *facts = kvt_fs_facts(dist->fs);
    bool absent = must_be_absent(op);
    op->strategy = absent ? dist->absent_strategy : dist->strategy;
    op->publish_done = done;
    op->chain = NULL;
    if (op->strategy == DIST_IN_PLACE && absent &&
        (!facts->exclusive_create || dist->writes_raw)) {
        end(op, -EOPNOTSUPP); /* nothing here can keep that */
    } else if (op->strategy == DIST_IN_PLACE && !facts->exclusive_create) {
        make_way(op); /* or two would write into one file */
    } else {
        attempt(op);
    }
}
