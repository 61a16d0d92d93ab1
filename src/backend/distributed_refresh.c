/* A load may refresh the time of its file, so that eviction by age spares what
 * is used: the last bytes of the file are written again, as they were read
 * through the same descriptor, so that no other bytes can come of it. At most
 * once in an interval a file, and off unless it is asked for. */
#include "backend/distributed.h"

#include "core/clock.h"

#include <errno.h>
#include <stdlib.h>

enum {
    SLOTS = 1 << 16
};

struct refreshed {
    uint64_t hash;
    int64_t at_ns;
};

/* One slot for many files: while it is young for one of them, the others are
 * not refreshed either, so that none is ever refreshed too often. */
struct dist_refresh {
    int64_t interval_ns;
    struct refreshed slots[SLOTS];
};

struct touch {
    struct kvt_fs_elem elem;
    struct kvt_fs_file *file;
    struct kvt_slice slice;
    uint64_t offset;
    unsigned char byte;
    struct dist_op *op;
    void (*done)(struct dist_op *op);
};

int kvt_dist_refresh_open(struct dist *dist, uint64_t interval_s)
{
    const struct kvt_fs_facts *facts = kvt_fs_facts(dist->fs);
    /* where files are written under their own names, the byte might be that
     * of another one by the time it is written back */
    bool whole =
        facts->atomic_rename || facts->rename_noreplace || facts->hard_links;
    bool possible = whole && facts->overwrite_in_place &&
                    facts->length_alignment == 1 && !dist->base.args.read_only;
    if (interval_s == 0) {
        return 0;
    }
    if (!possible) {
        kvt_backend_log(&dist->base, KVT_LOG_WARN,
                        "distributed.refresh_interval: this mount cannot "
                        "write a byte in place; nothing is refreshed");
        return 0;
    }
    dist->refresh = calloc(1, sizeof *dist->refresh);
    if (dist->refresh == NULL) {
        return -ENOMEM;
    }
    dist->refresh->interval_ns = (int64_t)interval_s * 1000000000;
    return 0;
}

bool kvt_dist_refresh_due(struct dist *dist, const struct kvt_object_file *file)
{
    struct dist_refresh *refresh = dist->refresh;
    /* in a mixed root others may write files in place */
    if (refresh == NULL || !dist->recorded) {
        return false;
    }
    uint64_t hash = file->key_hash.low;
    int64_t now_ns = kvt_clock_ns();
    pthread_mutex_lock(&dist->mutex);
    struct refreshed *slot = &refresh->slots[hash % SLOTS];
    bool due = slot->at_ns == 0 || now_ns - slot->at_ns >= refresh->interval_ns;
    if (due) {
        *slot = (struct refreshed){hash, now_ns};
    }
    pthread_mutex_unlock(&dist->mutex);
    return due;
}

static void submit(struct touch *touch, enum kvt_fs_op op,
                   void (*done)(struct kvt_fs_elem *))
{
    struct kvt_batch *batch = touch->op->batch->batch;
    touch->elem = (struct kvt_fs_elem){.op = op,
                                       .file = touch->file,
                                       .offset = touch->offset,
                                       .slices = &touch->slice,
                                       .slice_count = 1,
                                       .done = done,
                                       .arg = touch,
                                       .deadline_ns = batch->deadline_ns};
    if (op == KVT_FS_OPEN) {
        touch->elem.path = touch->op->file.path;
        touch->elem.flags = KVT_FS_FOR_WRITE;
    }
    kvt_fs_submit(batch->queue, &touch->elem, 1);
}

/* A refresh that fails is no fault of the load. */
static void end(struct touch *touch)
{
    struct dist_op *op = touch->op;
    void (*done)(struct dist_op *) = touch->done;
    free(touch);
    done(op);
}

static void closed(struct kvt_fs_elem *elem)
{
    end(elem->arg);
}

static void written(struct kvt_fs_elem *elem)
{
    struct touch *touch = elem->arg;
    if (elem->late_follows) {
        /* the file is in use until the write is over: it stays open, as
         * whatever hangs does */
        end(touch);
        return;
    }
    if (elem->result == 1) {
        kvt_dist_renewed(touch->op->batch->dist, touch->op->file.path);
    }
    submit(touch, KVT_FS_CLOSE, closed);
}

static void byte_read(struct kvt_fs_elem *elem)
{
    struct touch *touch = elem->arg;
    if (elem->late_follows) {
        end(touch);
    } else if (elem->result == 1) {
        submit(touch, KVT_FS_WRITE, written);
    } else { /* a shorter file took its place: it is young */
        submit(touch, KVT_FS_CLOSE, closed);
    }
}

static void opened(struct kvt_fs_elem *elem)
{
    struct touch *touch = elem->arg;
    if (elem->result < 0) {
        end(touch);
        return;
    }
    touch->file = elem->file;
    submit(touch, KVT_FS_READ, byte_read);
}

void kvt_dist_refresh(struct dist_op *op, void (*done)(struct dist_op *op))
{
    uint64_t size = (uint64_t)op->file.elem.result; /* of the file */
    struct touch *touch = size > 0 ? calloc(1, sizeof *touch) : NULL;
    if (touch == NULL) {
        done(op);
        return;
    }
    touch->op = op;
    touch->done = done;
    touch->offset = size - 1;
    touch->slice = (struct kvt_slice){&touch->byte, 1, NULL};
    submit(touch, KVT_FS_OPEN, opened);
}
