/* Elements of the posix adapter, each by blocking calls relative to the root's
 * descriptor. */
#define _GNU_SOURCE /* fallocate */
#include "fs/part.h"
#include "fs/posix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define PIECES_MAX 256            /* of one call; at most IOV_MAX */
#define CALL_BYTES_MAX (1u << 30) /* Linux moves at most 2 GiB - 4 KiB */

/* Opens ----------------------------------------------------------------- */

int kvt_posix_open_flags(const struct kvt_fs *fs, uint32_t flags)
{
    /* O_NONBLOCK: a fifo under an object's name must not hang the store */
    int open_flags = O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
    open_flags |= (flags & KVT_FS_FOR_WRITE) != 0 ? O_RDWR : O_RDONLY;
    open_flags |= (flags & KVT_FS_CREATE) != 0 ? O_CREAT : 0;
    open_flags |= (flags & KVT_FS_EXCLUSIVE) != 0 ? O_EXCL : 0;
    open_flags |= ((const struct posix_fs *)fs)->direct ? O_DIRECT : 0;
    return open_flags;
}

static int size_of(const struct stat *st, uint64_t *size)
{
    if (!S_ISREG(st->st_mode)) {
        return S_ISDIR(st->st_mode) ? -EISDIR : -EINVAL;
    }
    *size = (uint64_t)st->st_size;
    return 0;
}

static int posix_file_size(int fd, uint64_t *size)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? size_of(&st, size) : -errno;
}

static int64_t posix_open(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    int flags = kvt_posix_open_flags(fs, elem->flags) | O_CLOEXEC;
    struct posix_file *file = malloc(sizeof *file);
    if (file == NULL) {
        return -ENOMEM;
    }
    file->base.fs = fs;
    file->fd = openat(kvt_posix_root(fs), elem->path, flags, 0666);
    if (file->fd < 0) {
        int rc = -errno;
        free(file);
        return rc;
    }
    if ((elem->flags & KVT_FS_WANT_SIZE) != 0) {
        int rc = posix_file_size(file->fd, &elem->file_size);
        if (rc != 0) {
            close(file->fd);
            free(file);
            return rc;
        }
    }
    elem->file = &file->base;
    return 0;
}

static int64_t posix_close(struct kvt_fs_file *base)
{
    struct posix_file *file = (struct posix_file *)base;
    /* after EINTR Linux has closed the descriptor all the same */
    int rc = close(file->fd) == 0 || errno == EINTR ? 0 : -errno;
    free(file);
    return rc;
}

/* Transfers --------------------------------------------------------------- */

static int next_pieces(struct kvt_rest rest, struct iovec *pieces)
{
    int count = 0;
    size_t room = CALL_BYTES_MAX;
    while (rest.count > 0 && count < PIECES_MAX && room > 0) {
        struct kvt_slice front = kvt_rest_front(&rest);
        size_t size = front.size < room ? front.size : room;
        pieces[count++] = (struct iovec){front.base, size};
        room -= size;
        kvt_rest_advance(&rest, size);
    }
    return count;
}

/* One call. A single piece takes the plain call: the kernel has less to do
 * for it. */
static ssize_t posix_call(int fd, bool write, const struct iovec *pieces,
                          int count, off_t offset)
{
    if (count == 1) {
        return write ? pwrite(fd, pieces->iov_base, pieces->iov_len, offset)
                     : pread(fd, pieces->iov_base, pieces->iov_len, offset);
    }
    return write ? pwritev(fd, pieces, count, offset)
                 : preadv(fd, pieces, count, offset);
}

static int64_t posix_transfer(struct kvt_fs_elem *elem)
{
    int fd = ((struct posix_file *)elem->file)->fd;
    bool write = elem->op == KVT_FS_WRITE;
    struct kvt_rest rest = kvt_rest_of(elem);
    struct iovec pieces[PIECES_MAX];
    int64_t total = 0;

    for (;;) {
        int count = next_pieces(rest, pieces);
        if (count == 0) {
            return total;
        }
        ssize_t done = posix_call(fd, write, pieces, count, (off_t)rest.offset);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done < 0) {
            return -errno;
        }
        if (done == 0) {
            return write ? -EIO : total; /* a read is at the end */
        }
        total += done;
        kvt_rest_advance(&rest, (uint64_t)done);
    }
}

/* One that RWF_NOWAIT carries out whole; never a direct one, which waits for
 * the device. Whether the file system knows the flag, one call tells: from then
 * on it is not asked any more. */
int64_t kvt_posix_try_now(struct kvt_fs *base, struct kvt_fs_elem *elem)
{
    struct posix_fs *fs = (struct posix_fs *)base;
    bool write = elem->op == KVT_FS_WRITE;
    bool *never = write ? &fs->writes_wait : &fs->reads_wait;
    struct iovec pieces[PIECES_MAX];
    if (fs->direct || elem->slice_count > PIECES_MAX ||
        __atomic_load_n(never, __ATOMIC_RELAXED)) {
        return -EAGAIN;
    }
    int fd = ((struct posix_file *)elem->file)->fd;
    uint64_t bytes = kvt_fs_elem_bytes(elem);
    int count = next_pieces(kvt_rest_of(elem), pieces);
    ssize_t done =
        write ? pwritev2(fd, pieces, count, (off_t)elem->offset, RWF_NOWAIT)
              : preadv2(fd, pieces, count, (off_t)elem->offset, RWF_NOWAIT);
    if (done < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) {
        __atomic_store_n(never, true, __ATOMIC_RELAXED);
    }
    /* what was moved in part is moved once more, with the rest */
    return done >= 0 && (uint64_t)done == bytes ? done : -EAGAIN;
}

/* The rest of the elements -------------------------------------------------*/

static int64_t posix_sync(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    if (elem->op == KVT_FS_DATASYNC) {
        int fd = ((struct posix_file *)elem->file)->fd;
        return fdatasync(fd) == 0 ? 0 : -errno;
    }
    if (elem->file != NULL) {
        int fd = ((struct posix_file *)elem->file)->fd;
        return fsync(fd) == 0 ? 0 : -errno;
    }
    int fd = openat(kvt_posix_root(fs), elem->path,
                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int rc = fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    return rc;
}

static int64_t posix_punch(struct kvt_fs_elem *elem)
{
    int fd = ((struct posix_file *)elem->file)->fd;
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    int rc = fallocate(fd, mode, (off_t)elem->offset, (off_t)elem->length);
    return rc == 0 ? 0 : -errno;
}

static int64_t posix_stat(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    struct stat st;
    if (fstatat(kvt_posix_root(fs), elem->path, &st, AT_SYMLINK_NOFOLLOW) !=
        0) {
        return -errno;
    }
    return size_of(&st, &elem->file_size);
}

int64_t kvt_posix_execute(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    switch (elem->op) {
    case KVT_FS_READ:
    case KVT_FS_WRITE:
        return posix_transfer(elem);
    case KVT_FS_DATASYNC:
    case KVT_FS_SYNC:
        return posix_sync(fs, elem);
    case KVT_FS_PUNCH:
        return posix_punch(elem);
    case KVT_FS_OPEN:
        return posix_open(fs, elem);
    case KVT_FS_CLOSE:
        return posix_close(elem->file);
    case KVT_FS_STAT:
        return posix_stat(fs, elem);
    case KVT_FS_REMOVE:
        return unlinkat(kvt_posix_root(fs), elem->path, 0) == 0 ? 0 : -errno;
    default:
        return -EOPNOTSUPP; /* the core emulates it */
    }
}
