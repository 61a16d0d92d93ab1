/* Reads and writes: one call a part, the next part when the one before is
 * over. */
#define _GNU_SOURCE
#include "fs/uring.h"

#include "fs/fs_core.h"

#include <errno.h>

enum {
    CALL_BYTES_MAX = 1 << 30, /* Linux moves at most 2 GiB - 4 KiB */
};

static const struct kvt_part_limits limits = {URING_PIECES_MAX, CALL_BYTES_MAX,
                                              URING_CHUNK};

static bool is_write(const struct uring_io *io)
{
    return io->elem->op == KVT_FS_WRITE;
}

/* Plans the next part and finds memory for it: 0; -EAGAIN when it has to wait
 * for that; -errno. */
static int part_plan(struct uring_queue *queue, struct uring_io *io,
                     struct kvt_part *part)
{
    const struct kvt_fs_facts *facts = &queue->fs->posix.base.facts;
    part->pieces = queue->plan;
    int rc = kvt_part_plan(part, facts, &io->rest, is_write(io), &limits);
    if (rc == 0 && !kvt_uring_has_room(queue, part->count)) {
        return -EAGAIN;
    }
    if (rc == 0 && part->bounced > 0) {
        rc = kvt_uring_bounce_take(queue, io, part->bounced);
    }
    if (rc != 0) {
        return rc;
    }
    if (part->bounced > 0) {
        kvt_part_attach(part, &io->rest, is_write(io),
                        kvt_uring_bounce_of(queue, io));
    }
    io->asked = part->asked;
    io->bounced = part->bounced;
    return 0;
}

static void prepare_single(struct uring_queue *queue, struct uring_io *io,
                           const struct kvt_part *part,
                           struct io_uring_sqe *sqe)
{
    void *base = part->pieces[0].base;
    unsigned size = (unsigned)part->pieces[0].size;
    int buffer = kvt_uring_buffer(queue, base, size);
    io->buffer = buffer;
    if (is_write(io)) {
        if (buffer >= 0) {
            io_uring_prep_write_fixed(sqe, io->file, base, size, part->offset,
                                      buffer);
        } else {
            io_uring_prep_write(sqe, io->file, base, size, part->offset);
        }
    } else if (buffer >= 0) {
        io_uring_prep_read_fixed(sqe, io->file, base, size, part->offset,
                                 buffer);
    } else {
        io_uring_prep_read(sqe, io->file, base, size, part->offset);
    }
}

static void part_call(struct uring_queue *queue, struct uring_io *io,
                      const struct kvt_part *part, struct io_uring_sqe *sqe)
{
    if (part->count == 1) {
        prepare_single(queue, io, part, sqe);
    } else {
        struct iovec *pieces = queue->pieces + queue->pieces_used;
        io->buffer = -1;
        queue->pieces_used += part->count;
        for (uint32_t i = 0; i < part->count; i++) {
            pieces[i].iov_base = part->pieces[i].base;
            pieces[i].iov_len = part->pieces[i].size;
        }
        if (is_write(io)) {
            io_uring_prep_writev(sqe, io->file, pieces, part->count,
                                 part->offset);
        } else {
            io_uring_prep_readv(sqe, io->file, pieces, part->count,
                                part->offset);
        }
    }
    kvt_uring_tag(sqe, queue, io);
}

void kvt_uring_transfer(struct uring_queue *queue, struct uring_io *io)
{
    struct kvt_part part;
    io->file = ((struct posix_file *)io->elem->file)->fd;
    if (io->rest.count == 0) {
        kvt_uring_end(queue, io, (int64_t)io->done);
        return;
    }
    int rc = part_plan(queue, io, &part);
    if (rc == -EAGAIN) {
        kvt_uring_starve(queue, io);
    } else if (rc != 0) {
        kvt_uring_end(queue, io, rc);
    } else {
        struct io_uring_sqe *sqe = kvt_uring_call(queue, io);
        part_call(queue, io, &part, sqe);
        sqe->flags |= io->worker ? IOSQE_ASYNC : 0;
    }
}

/* Bytes of the element's that a part moved. */
static uint64_t useful_bytes(struct uring_queue *queue, struct uring_io *io,
                             uint64_t moved)
{
    const struct kvt_fs_facts *facts = &queue->fs->posix.base.facts;
    struct kvt_part part = {.pieces = queue->plan};
    uint64_t copied = 0;
    if (io->bounced == 0 && (moved == io->asked || !is_write(io))) {
        return moved;
    }
    /* as it was planned: nothing of it has changed since */
    kvt_part_plan(&part, facts, &io->rest, is_write(io), &limits);
    if (io->bounced > 0) {
        kvt_part_place(&part, kvt_uring_bounce_of(queue, io));
    }
    uint64_t useful =
        kvt_part_end(&part, facts, &io->rest, is_write(io), moved, &copied);
    kvt_fs_count_copied(queue->base.fs, copied);
    return useful;
}

/* The part is over. True when more has to be moved; `*result` is the
 * element's so far. */
static bool part_end(struct uring_queue *queue, struct uring_io *io,
                     int64_t moved, int64_t *result)
{
    if (moved < 0) {
        *result = moved;
        return false;
    }
    uint64_t useful = useful_bytes(queue, io, (uint64_t)moved);
    io->done += useful;
    kvt_rest_advance(&io->rest, useful);
    *result = (int64_t)io->done;
    if (useful == 0 && is_write(io)) {
        *result = -EIO;
    }
    return useful > 0 && io->rest.count > 0; /* a read of nothing: the end */
}

void kvt_uring_transfer_done(struct uring_queue *queue, struct uring_io *io,
                             int64_t moved)
{
    int64_t result = moved;
    if (moved == -EAGAIN) {
        /* a file that is opened not to wait, on a mount that cannot tell */
        kvt_uring_aside(queue, io);
    } else if (moved == -EINTR || kvt_uring_is_orphan(io, moved) ||
               kvt_uring_buffer_is_lost(queue, io, moved) ||
               part_end(queue, io, moved, &result)) {
        kvt_uring_transfer(queue, io);
    } else {
        kvt_uring_end(queue, io, result);
    }
}
