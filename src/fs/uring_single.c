/* Elements that are one call each. */
#define _GNU_SOURCE
#include "fs/uring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

static int fd_of(const struct kvt_fs_elem *elem)
{
    return ((const struct posix_file *)elem->file)->fd;
}

static struct statx *stat_of(const struct uring_queue *queue,
                             const struct uring_io *io)
{
    return (struct statx *)(void *)kvt_uring_bounce_of(queue, io);
}

static void prepare(struct uring_queue *queue, struct uring_io *io,
                    struct io_uring_sqe *sqe)
{
    const struct kvt_fs_elem *elem = io->elem;
    int root = queue->fs->posix.root;
    switch (elem->op) {
    case KVT_FS_DATASYNC:
        io_uring_prep_fsync(sqe, fd_of(elem), IORING_FSYNC_DATASYNC);
        break;
    case KVT_FS_SYNC:
        io_uring_prep_fsync(sqe, fd_of(elem), 0);
        break;
    case KVT_FS_PUNCH:
        io_uring_prep_fallocate(sqe, fd_of(elem),
                                FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                (off_t)elem->offset, (off_t)elem->length);
        break;
    case KVT_FS_STAT:
        io_uring_prep_statx(sqe, root, elem->path, AT_SYMLINK_NOFOLLOW,
                            STATX_TYPE | STATX_SIZE, stat_of(queue, io));
        break;
    case KVT_FS_REMOVE:
        io_uring_prep_unlinkat(sqe, root, elem->path, 0);
        break;
    default:
        io_uring_prep_close(sqe, fd_of(elem));
        break;
    }
    kvt_uring_tag(sqe, queue, io);
}

void kvt_uring_single(struct uring_queue *queue, struct uring_io *io)
{
    if (io->elem->op == KVT_FS_STAT) {
        int rc = kvt_uring_bounce_take(queue, io, sizeof(struct statx));
        if (rc != 0) {
            kvt_uring_end(queue, io, rc);
            return;
        }
    }
    prepare(queue, io, kvt_uring_call(queue, io));
}

static int64_t take_stat(const struct uring_queue *queue, struct uring_io *io)
{
    const struct statx *st = stat_of(queue, io);
    if (!S_ISREG(st->stx_mode)) {
        return S_ISDIR(st->stx_mode) ? -EISDIR : -EINVAL;
    }
    io->elem->file_size = st->stx_size;
    return 0;
}

void kvt_uring_single_done(struct uring_queue *queue, struct uring_io *io,
                           int64_t result)
{
    struct kvt_fs_elem *elem = io->elem;
    bool closed = elem->op == KVT_FS_CLOSE;
    if (closed && result == -EINTR) {
        result = 0; /* Linux has closed it all the same */
    }
    if (result == -EINTR || kvt_uring_is_orphan(io, result)) {
        kvt_uring_single(queue, io);
        return;
    }
    if (elem->op == KVT_FS_STAT && result == 0) {
        result = take_stat(queue, io);
    }
    if (closed) {
        free(elem->file);
    }
    kvt_uring_end(queue, io, result);
}
