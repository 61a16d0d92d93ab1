/* Whole files: open, read and close in one go, linked, on a place of the
 * ring's own table of files that is the io's. The close is linked hard, so that
 * it comes also after a read that was short or failed. An open that succeeds is
 * not told; one that fails is, and then nothing of the rest.
 *
 * A kernel without memory may take a part of a chain only, and the rest runs
 * beside it: so both the read and the close are waited for, in any order. */
#define _GNU_SOURCE
#include "fs/uring.h"

#include <errno.h>

static uint32_t place_of(const struct uring_queue *queue,
                         const struct uring_io *io)
{
    return (uint32_t)(io - queue->ios);
}

static void finish(struct uring_queue *queue, struct uring_io *io)
{
    if (io->lost) {
        kvt_uring_retire(queue, io);
    } else if (io->aside) {
        kvt_uring_aside(queue, io);
    } else {
        kvt_uring_end(queue, io, io->result);
    }
}

/* What is open is closed first. */
static void end(struct uring_queue *queue, struct uring_io *io, int64_t result)
{
    io->result = result;
    if (!io->open) {
        finish(queue, io);
        return;
    }
    struct io_uring_sqe *sqe = kvt_uring_call(queue, io);
    io_uring_prep_close_direct(sqe, place_of(queue, io));
    kvt_uring_tag(sqe, queue, io, URING_CLOSE);
    io->over = true;
}

static void leave_aside(struct uring_queue *queue, struct uring_io *io)
{
    io->aside = true;
    end(queue, io, 0);
}

static void prepare_open(struct uring_queue *queue, struct uring_io *io)
{
    const struct uring_fs *fs = queue->fs;
    int flags = kvt_posix_open_flags(&fs->posix.base, 0);
    struct io_uring_sqe *sqe = kvt_uring_call(queue, io);
    io_uring_prep_openat_direct(sqe, fs->posix.root, io->elem->path, flags, 0,
                                place_of(queue, io));
    sqe->flags |= IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
    sqe->flags |= io->worker ? IOSQE_ASYNC : 0; /* and what is linked to it */
    kvt_uring_tag(sqe, queue, io, URING_OPEN);
    io->open = true;
}

static void go_on(struct uring_queue *queue, struct uring_io *io)
{
    struct kvt_part part;
    int rc = kvt_uring_part(queue, io, &part);
    if (rc == -EAGAIN) {
        kvt_uring_starve(queue, io);
        return;
    }
    if (rc != 0) {
        end(queue, io, rc);
        return;
    }
    if (!io->open) {
        prepare_open(queue, io);
    }
    struct io_uring_sqe *sqe = kvt_uring_call(queue, io);
    kvt_uring_part_call(queue, io, &part, sqe);
    io->closes = io->done + part.wanted == kvt_fs_elem_bytes(io->elem);
    io->half_told = false;
    if (io->closes) {
        sqe->flags |= IOSQE_IO_HARDLINK;
        sqe = kvt_uring_call(queue, io);
        io_uring_prep_close_direct(sqe, place_of(queue, io));
        kvt_uring_tag(sqe, queue, io, URING_CLOSE);
    }
}

void kvt_uring_fetch(struct uring_queue *queue, struct uring_io *io)
{
    io->file = (int)place_of(queue, io);
    io->in_table = true;
    if (io->rest.count == 0) {
        leave_aside(queue, io); /* is it there? */
    } else {
        go_on(queue, io);
    }
}

/* Closes at once, by whatever thread; nothing works on the place. */
static void clear_place(struct uring_queue *queue, struct uring_io *io)
{
    int none = -1;
    io_uring_register_files_update(&queue->ring, place_of(queue, io), &none, 1);
    io->open = false;
}

static void part_over(struct uring_queue *queue, struct uring_io *io,
                      int64_t moved)
{
    int64_t result;
    if (moved == -EBADF) {
        io->lost = true; /* read before it was open: who knows when it will? */
        leave_aside(queue, io);
    } else if (moved == -EAGAIN || moved == -EINTR ||
               kvt_uring_is_orphan(io, moved) ||
               kvt_uring_buffer_is_lost(queue, io, moved)) {
        leave_aside(queue, io);
    } else if (!kvt_uring_part_end(queue, io, moved, &result)) {
        end(queue, io, result);
    } else if (io->open) {
        go_on(queue, io);
    } else {
        /* short, and closed: only a read of nothing proves the end of the
         * file, and an open of its name may open another one */
        leave_aside(queue, io);
    }
}

static void closed(struct uring_queue *queue, struct uring_io *io,
                   int64_t result)
{
    if (result < 0) {
        clear_place(queue, io); /* the close never ran */
    }
    io->open = false;
    if (io->over) {
        finish(queue, io);
    } else {
        part_over(queue, io, io->part_result);
    }
}

void kvt_uring_fetch_refused(struct uring_queue *queue, struct uring_io *io,
                             enum uring_step step, int rc)
{
    if (step == URING_CLOSE && io->closes && !io->over) {
        /* the kernel has the read, and may be moving bytes */
        kvt_uring_fetch_done(queue, io, step, rc);
        return;
    }
    if (step != URING_OPEN) {
        clear_place(queue, io);
    }
    io->result = io->over ? io->result : rc;
    finish(queue, io);
}

void kvt_uring_fetch_done(struct uring_queue *queue, struct uring_io *io,
                          enum uring_step step, int64_t result)
{
    if (step == URING_OPEN) {
        io->open = false;
        if (result == -EAGAIN || result == -EINTR ||
            kvt_uring_is_orphan(io, result)) {
            leave_aside(queue, io);
        } else {
            end(queue, io, result);
        }
        return;
    }
    if (step == URING_PART) {
        io->part_result = result;
    } else {
        io->close_result = result;
    }
    bool both = io->closes && !io->over;
    if (both && !io->half_told) {
        io->half_told = true;
    } else if (both || step == URING_CLOSE) {
        closed(queue, io, io->close_result);
    } else {
        part_over(queue, io, result);
    }
}
