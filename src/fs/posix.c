/* A directory of the operating system, by blocking calls relative to its
 * descriptor: a later rename of the root changes nothing, and no path is
 * resolved twice. */
#define _GNU_SOURCE /* renameat2 */
#include "fs/posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

struct posix_file {
    struct kvt_fs_file base;
    int fd;
};

#define PIECES_MAX 256            /* of one call; at most IOV_MAX */
#define CALL_BYTES_MAX (1u << 30) /* Linux moves at most 2 GiB - 4 KiB */

static int root_of(const struct kvt_fs *fs)
{
    return ((const struct posix_fs *)fs)->root;
}

/* Opens ----------------------------------------------------------------- */

static int64_t posix_open(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    /* O_NONBLOCK: a fifo under an object's name must not hang the store */
    int flags = O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
    flags |= (elem->flags & KVT_FS_FOR_WRITE) != 0 ? O_RDWR : O_RDONLY;
    flags |= (elem->flags & KVT_FS_CREATE) != 0 ? O_CREAT : 0;
    flags |= (elem->flags & KVT_FS_EXCLUSIVE) != 0 ? O_EXCL : 0;
    flags |= ((struct posix_fs *)fs)->direct ? O_DIRECT : 0;
    struct posix_file *file = malloc(sizeof *file);
    if (file == NULL) {
        return -ENOMEM;
    }
    file->base.fs = fs;
    file->fd = openat(root_of(fs), elem->path, flags, 0666);
    if (file->fd < 0) {
        int rc = -errno;
        free(file);
        return rc;
    }
    if ((elem->flags & KVT_FS_WANT_SIZE) != 0) {
        struct stat st;
        if (fstat(file->fd, &st) != 0) {
            int rc = -errno;
            close(file->fd);
            free(file);
            return rc;
        }
        elem->file_size = (uint64_t)st.st_size;
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

/* Where a transfer goes on inside an element's slices. */
struct cursor {
    const struct kvt_slice *slices;
    uint32_t count;
    uint32_t slice;
    size_t into; /* bytes of that slice that are done */
};

static int next_pieces(const struct cursor *at, struct iovec *pieces)
{
    int count = 0;
    size_t bytes = 0;
    size_t into = at->into;
    for (uint32_t i = at->slice;
         i < at->count && count < PIECES_MAX && bytes < CALL_BYTES_MAX; i++) {
        size_t size = at->slices[i].size - into;
        if (size > CALL_BYTES_MAX - bytes) {
            size = CALL_BYTES_MAX - bytes;
        }
        if (size > 0) {
            pieces[count].iov_base = (char *)at->slices[i].base + into;
            pieces[count].iov_len = size;
            count++;
            bytes += size;
        }
        into = 0;
    }
    return count;
}

static void advance(struct cursor *at, size_t bytes)
{
    while (bytes > 0) {
        size_t left = at->slices[at->slice].size - at->into;
        if (bytes < left) {
            at->into += bytes;
            return;
        }
        bytes -= left;
        at->slice++;
        at->into = 0;
    }
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
    struct cursor at = {elem->slices, elem->slice_count, 0, 0};
    struct iovec pieces[PIECES_MAX];
    int64_t total = 0;

    for (;;) {
        int count = next_pieces(&at, pieces);
        if (count == 0) {
            return total;
        }
        off_t offset = (off_t)(elem->offset + (uint64_t)total);
        ssize_t done = posix_call(fd, write, pieces, count, offset);
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
        advance(&at, (size_t)done);
    }
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
    int fd =
        openat(root_of(fs), elem->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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
    if (fstatat(root_of(fs), elem->path, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return -errno;
    }
    if (!S_ISREG(st.st_mode)) {
        return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    }
    elem->file_size = (uint64_t)st.st_size;
    return 0;
}

static int64_t posix_execute(struct kvt_fs *fs, struct kvt_fs_elem *elem)
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
        return unlinkat(root_of(fs), elem->path, 0) == 0 ? 0 : -errno;
    default:
        return -EOPNOTSUPP; /* the core emulates it */
    }
}

/* Control calls ----------------------------------------------------------- */

/* Makes `path` below the directory `at`; `path` is written to. */
static int make_directories(int at, char *path)
{
    for (char *slash = path;; slash++) {
        slash = strchr(slash, '/');
        if (slash != NULL) {
            *slash = '\0';
        }
        int rc = path[0] == '\0' || mkdirat(at, path, 0777) == 0 ? 0 : -errno;
        if (rc == -EEXIST) {
            struct stat st;
            rc = fstatat(at, path, &st, 0) != 0 ? -errno
                 : S_ISDIR(st.st_mode)          ? 0
                                                : -ENOTDIR;
        }
        if (rc != 0 || slash == NULL) {
            return rc;
        }
        *slash = '/';
    }
}

static int posix_mkdirs(struct kvt_fs *fs, const char *path)
{
    char copy[PATH_MAX];
    if (strlen(path) >= sizeof copy) {
        return -ENAMETOOLONG;
    }
    strcpy(copy, path);
    return make_directories(root_of(fs), copy);
}

/* Fills `entry` from a name; -ENOENT when it vanished meanwhile. */
static int describe(int dir, const struct dirent *name, bool sizes,
                    struct kvt_fs_dirent *entry)
{
    entry->name = name->d_name;
    entry->size = 0;
    entry->modified_ns = 0;
    entry->type = name->d_type == DT_REG   ? KVT_FS_TYPE_FILE
                  : name->d_type == DT_DIR ? KVT_FS_TYPE_DIRECTORY
                                           : KVT_FS_TYPE_OTHER;
    bool sized = sizes && entry->type == KVT_FS_TYPE_FILE;
    if (!sized && name->d_type != DT_UNKNOWN) {
        return 0;
    }
    struct stat st;
    if (fstatat(dir, name->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return -errno;
    }
    entry->size = (uint64_t)st.st_size;
    entry->modified_ns =
        (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    entry->type = S_ISREG(st.st_mode)   ? KVT_FS_TYPE_FILE
                  : S_ISDIR(st.st_mode) ? KVT_FS_TYPE_DIRECTORY
                                        : KVT_FS_TYPE_OTHER;
    return 0;
}

static int posix_list(struct kvt_fs *fs, const char *path, bool sizes,
                      kvt_fs_list_fn each, void *arg)
{
    int fd = openat(root_of(fs), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    int rc = 0;
    while (rc == 0) {
        errno = 0;
        const struct dirent *name = readdir(dir);
        if (name == NULL) {
            rc = -errno;
            break;
        }
        if (strcmp(name->d_name, ".") == 0 || strcmp(name->d_name, "..") == 0) {
            continue;
        }
        struct kvt_fs_dirent entry;
        rc = describe(fd, name, sizes, &entry);
        if (rc == 0) {
            rc = each(&entry, arg);
        } else if (rc == -ENOENT) {
            rc = 0;
        }
    }
    closedir(dir);
    return rc;
}

static int posix_rename(struct kvt_fs *fs, const char *from, const char *to,
                        bool replace)
{
    int root = root_of(fs);
    if (replace) {
        return renameat(root, from, root, to) == 0 ? 0 : -errno;
    }
    if (renameat2(root, from, root, to, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return -errno;
    }
    /* a file system without that flag: a link fails when the name exists */
    if (linkat(root, from, root, to, 0) != 0) {
        return -errno;
    }
    unlinkat(root, from, 0);
    return 0;
}

static int posix_rmdir(struct kvt_fs *fs, const char *path)
{
    return unlinkat(root_of(fs), path, AT_REMOVEDIR) == 0 ? 0 : -errno;
}

static int posix_link(struct kvt_fs *fs, const char *from, const char *to)
{
    int root = root_of(fs);
    return linkat(root, from, root, to, 0) == 0 ? 0 : -errno;
}

static int posix_truncate(struct kvt_fs *fs, struct kvt_fs_file *file,
                          uint64_t size)
{
    (void)fs;
    int fd = ((struct posix_file *)file)->fd;
    return ftruncate(fd, (off_t)size) == 0 ? 0 : -errno;
}

static int posix_allocate(struct kvt_fs *fs, struct kvt_fs_file *file,
                          uint64_t size)
{
    (void)fs;
    int fd = ((struct posix_file *)file)->fd;
    int rc = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size);
    return rc == 0 ? 0 : -errno;
}

static int posix_advise(struct kvt_fs *fs, struct kvt_fs_file *file,
                        uint64_t offset, uint64_t size,
                        enum kvt_fs_advice advice)
{
    (void)fs;
    int fd = ((struct posix_file *)file)->fd;
    return -posix_fadvise(fd, (off_t)offset, (off_t)size,
                          advice == KVT_FS_WARM ? POSIX_FADV_WILLNEED
                                                : POSIX_FADV_DONTNEED);
}

static int posix_usage(struct kvt_fs *fs, struct kvt_fs_usage *usage)
{
    struct statvfs st;
    if (fstatvfs(root_of(fs), &st) != 0) {
        return -errno;
    }
    usage->capacity = (uint64_t)st.f_blocks * st.f_frsize;
    usage->available = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}

/* Mount ------------------------------------------------------------------- */

static void posix_find_facts(struct posix_fs *fs, const struct statvfs *st)
{
    long open_max = sysconf(_SC_OPEN_MAX);
    uint32_t depth = 64;
    if (open_max > 0 && open_max / 2 < depth) {
        depth = (uint32_t)(open_max / 2);
    }
    fs->base.facts = (struct kvt_fs_facts){
        .size = sizeof fs->base.facts,
        .generation = 1,
        .offset_alignment = 1,
        .length_alignment = 1,
        .memory_alignment = 1,
        .depth = depth,
        .metadata_depth = depth,
        .slices_max = UINT32_MAX,
        .transfer_max = UINT64_MAX,
        .transfer_best = 1u << 20,
        .allocation_unit = st->f_frsize > 0 ? (uint32_t)st->f_frsize : 4096,
        .name_max = st->f_namemax > 0 ? (uint32_t)st->f_namemax : 255,
        .path_max = PATH_MAX - 1,
        .exclusive_create = true,
        .atomic_rename = true,
        .rename_noreplace = true,
        .hard_links = true,
        .overwrite_in_place = true,
        .concurrent_writers = true,
        .removed_stays_readable = true,
        .remove_frees_space = true,
        .punch_hole = kvt_posix_can_punch(fs),
        .bytes_outlive_process = true,
        .size_exact_while_open = true,
        .visibility = KVT_FS_VISIBLE_AT_ONCE,
    };
}

static int mount_failed(const struct kvt_fs_mount_args *args, int errnum,
                        const char *doing, struct kvt_error *err)
{
    const char *remedy =
        errnum == ENOENT || errnum == ENOTDIR
            ? "name a directory; missing ones are made unless the store is "
              "opened read-only"
        : errnum == EACCES || errnum == EPERM || errnum == EROFS
            ? "give this user write access to it, or name another directory"
            : "check the file system under it";
    int code =
        errnum == ENOENT ? KVT_ERR_FILE_NOT_FOUND : KVT_ERR_FILE_OPEN_FAIL;
    return kvt_error_set(err, code, errnum, args->root, remedy,
                         "cannot %s the directory: %s", doing,
                         strerror(errnum));
}

/* `auto` is the page cache here: with blocking calls, one element a thread,
 * its read-ahead and write-behind are worth more than a copy saved. */
static int posix_set_direct(struct posix_fs *fs,
                            const struct kvt_fs_mount_args *args,
                            struct kvt_error *err)
{
    struct kvt_setting direct;
    int rc = kvt_config_get(args->config, "direct", &direct, err);
    if (rc != KVT_OK || strcmp(direct.value, "on") != 0) {
        return rc;
    }
    if (kvt_posix_find_direct(fs) != 0) {
        return kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, EINVAL, args->root,
                             "set direct to auto or off, or name a directory "
                             "on another file system",
                             "direct = on (from %s) cannot be kept: the file "
                             "system refuses direct I/O, or only pretends",
                             direct.source);
    }
    fs->direct = true;
    return KVT_OK;
}

static int posix_mount(const struct kvt_fs_mount_args *args,
                       struct kvt_fs **out, struct kvt_error *err)
{
    char path[PATH_MAX];
    if (strlen(args->root) >= sizeof path) {
        return mount_failed(args, ENAMETOOLONG, "open", err);
    }
    strcpy(path, args->root);
    int rc = args->read_only ? 0 : make_directories(AT_FDCWD, path);
    if (rc != 0) {
        return mount_failed(args, -rc, "make", err);
    }
    struct posix_fs *fs = calloc(1, sizeof *fs);
    if (fs == NULL) {
        return mount_failed(args, ENOMEM, "open", err);
    }
    struct statvfs st;
    fs->root = open(args->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fs->root < 0 || fstatvfs(fs->root, &st) != 0) {
        int errnum = errno;
        if (fs->root >= 0) {
            close(fs->root);
        }
        free(fs);
        return mount_failed(args, errnum, "open", err);
    }
    extern const struct kvt_fs_ops kvt_fs_posix;
    fs->base.ops = &kvt_fs_posix;
    posix_find_facts(fs, &st);
    rc = posix_set_direct(fs, args, err);
    if (rc != KVT_OK) {
        close(fs->root);
        free(fs);
        return rc;
    }
    *out = &fs->base;
    return KVT_OK;
}

static void posix_unmount(struct kvt_fs *base)
{
    struct posix_fs *fs = (struct posix_fs *)base;
    close(fs->root);
    free(fs);
}

const struct kvt_fs_ops kvt_fs_posix = {
    .size = sizeof(struct kvt_fs_ops),
    .version = KVT_FS_VERSION,
    .name = "posix",
    .summary = "a directory of a mounted file system, by blocking calls",
    .mount = posix_mount,
    .unmount = posix_unmount,
    .execute = posix_execute,
    .mkdirs = posix_mkdirs,
    .list = posix_list,
    .rename = posix_rename,
    .rmdir = posix_rmdir,
    .usage = posix_usage,
    .link = posix_link,
    .truncate = posix_truncate,
    .allocate = posix_allocate,
    .advise = posix_advise,
    .lock = kvt_posix_lock,
    .unlock = kvt_posix_unlock,
};
