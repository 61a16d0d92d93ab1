/* Whole files over a ring that only moves bytes, as a ring in shared memory
 * does: a FETCH is opened beside it, read in it and closed beside it; a PUBLISH
 * is created beside it, written in it, and gets its name beside it. So a batch
 * is as many entries of the ring, which go there together. */
#include "core/clock.h"
#include "fs/fs_core.h"

#include <errno.h>
#include <stdlib.h>

struct ring_file {
    struct kvt_fs_elem *original;
    struct kvt_fs_elem step; /* what goes on beside the ring */
    struct kvt_fs_elem move; /* what goes on in it */
    int64_t moved;
};

static bool takes(const struct kvt_fs_queue *queue, enum kvt_fs_op op)
{
    return (queue->ops->operations & 1u << op) != 0;
}

/* The original ends with `result`. */
static void end(struct ring_file *file, int64_t result)
{
    struct kvt_fs_elem *original = file->original;
    original->lost = file->step.lost;
    original->partial = file->move.partial;
    free(file);
    kvt_fs_complete(original, result);
}

static void step_closed(struct kvt_fs_elem *step)
{
    struct ring_file *file = step->arg;
    /* nothing was written: an error of a FETCH's close is none */
    bool told = step->op == KVT_FS_PUBLISH && step->result < 0;
    end(file, told ? step->result : file->moved);
}

static void close_it(struct ring_file *file, int64_t moved)
{
    struct kvt_fs_elem *step = &file->step;
    file->moved = moved;
    step->deadline_ns = 0; /* it is always carried out */
    step->done = step_closed;
    if (file->original->op == KVT_FS_FETCH) {
        step->op = KVT_FS_CLOSE;
        step->path = NULL;
    }
    kvt_fs_start(step->queue, step);
}

static void moved(struct kvt_fs_elem *move)
{
    close_it(move->arg, move->result);
}

static void step_opened(struct kvt_fs_elem *step)
{
    struct ring_file *file = step->arg;
    struct kvt_fs_elem *original = file->original;
    struct kvt_fs_elem *move = &file->move;
    if (step->result < 0) {
        end(file, step->result);
        return;
    }
    *move = (struct kvt_fs_elem){
        .op = original->op == KVT_FS_FETCH ? KVT_FS_READ : KVT_FS_WRITE,
        .flags = step->flags,
        .file = step->file,
        .slices = original->slices,
        .slice_count = original->slice_count,
        .done = moved,
        .arg = file,
        .deadline_ns = original->deadline_ns,
        .queue = original->queue};
    if (original->op == KVT_FS_FETCH) {
        bool from_end = (original->flags & KVT_FS_FROM_END) != 0;
        uint64_t size = step->file_size;
        original->file_size = size;
        move->offset = !from_end                 ? original->offset
                       : size > original->offset ? size - original->offset
                                                 : 0;
    }
    if (kvt_fs_chain_cancels(move, false)) { /* past its deadline by now */
        close_it(file, -ECANCELED);
    } else {
        kvt_fs_start(move->queue, move);
    }
}

bool kvt_fs_ring_file_start(struct kvt_fs_queue *queue,
                            struct kvt_fs_elem *elem)
{
    const struct kvt_fs *fs = queue->fs;
    bool fetch = elem->op == KVT_FS_FETCH && takes(queue, KVT_FS_READ);
    bool publish = elem->op == KVT_FS_PUBLISH && takes(queue, KVT_FS_WRITE) &&
                   (elem->flags & KVT_FS_STEP) == 0 &&
                   kvt_fs_can_publish(fs, elem) &&
                   kvt_fs_elem_bytes(elem) % fs->facts.length_alignment == 0;
    struct ring_file *file = fetch || publish ? calloc(1, sizeof *file) : NULL;
    if (file == NULL) {
        return false;
    }
    uint32_t sized = elem->flags & (KVT_FS_WANT_SIZE | KVT_FS_FROM_END);
    bool wants_size = sized != 0 || kvt_fs_elem_bytes(elem) == 0;
    uint32_t kept = KVT_FS_NOT_INLINE | KVT_FS_IF_ABSENT | KVT_FS_DURABLE;
    file->original = elem;
    file->step = (struct kvt_fs_elem){
        .op = fetch ? KVT_FS_OPEN : KVT_FS_PUBLISH,
        .flags = KVT_FS_STEP | (elem->flags & kept) |
                 (fetch && wants_size ? (uint32_t)KVT_FS_WANT_SIZE : 0),
        .path = elem->path,
        .temp_path = elem->temp_path,
        .done = step_opened,
        .arg = file,
        .deadline_ns = elem->deadline_ns,
        .queue = queue};
    kvt_fs_start(queue, &file->step);
    return true;
}

int64_t kvt_fs_ring_file_step(struct kvt_fs *fs, struct kvt_fs_elem *step)
{
    struct ring_file *file = step->arg;
    if (step->done == step_opened) {
        return kvt_fs_publish_begin(fs, step->temp_path, &step->file);
    }
    int64_t rc = kvt_fs_publish_end(fs, step, step->file, file->moved);
    return rc < 0 ? rc : 0;
}
