/* The example of docs/adding-an-adapter.md: a directory by plain POSIX calls.
 * It has what is required and no more; the core makes the rest of that. */
#include <kvtier/fs.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct example_fs {
    struct kvt_fs base; /* first, as in the two below */
    int root;
};

struct example_file {
    struct kvt_fs_file base;
    int fd;
};

int kvt_example_lock(struct kvt_fs *fs, int root, const char *path,
                     const char *holder, char *owner, size_t owner_size,
                     struct kvt_fs_lock **lock);
void kvt_example_unlock(struct kvt_fs_lock *lock);

static int root_of(const struct kvt_fs *fs)
{
    return ((const struct example_fs *)fs)->root;
}

/* Every errno is made negative where it arises, and never another one. */
static int result_of(int rc)
{
    return rc == 0 ? 0 : -errno;
}

/* Elements ---------------------------------------------------------------- */

static int64_t example_open(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    flags |= (elem->flags & KVT_FS_FOR_WRITE) != 0 ? O_RDWR : O_RDONLY;
    flags |= (elem->flags & KVT_FS_CREATE) != 0 ? O_CREAT : 0;
    flags |= (elem->flags & KVT_FS_EXCLUSIVE) != 0 ? O_EXCL : 0;
    struct example_file *file = malloc(sizeof *file);
    if (file == NULL) {
        return -ENOMEM;
    }
    struct stat st = {0};
    file->base.fs = fs;
    file->fd = openat(root_of(fs), elem->path, flags, 0666);
    if (file->fd < 0 || fstat(file->fd, &st) != 0) {
        int rc = -errno;
        if (file->fd >= 0) {
            close(file->fd);
        }
        free(file);
        return rc;
    }
    elem->file_size = (uint64_t)st.st_size; /* for KVT_FS_WANT_SIZE */
    elem->file = &file->base;
    return 0;
}

/* The facts say one slice and 1 MiB at most: the core splits the rest. */
static int64_t example_transfer(int fd, const struct kvt_fs_elem *elem)
{
    size_t total = 0;
    size_t size = elem->slice_count > 0 ? elem->slices[0].size : 0;
    while (total < size) {
        char *at = (char *)elem->slices[0].base + total;
        off_t offset = (off_t)(elem->offset + total);
        ssize_t done = elem->op == KVT_FS_WRITE
                           ? pwrite(fd, at, size - total, offset)
                           : pread(fd, at, size - total, offset);
        if (done < 0 && errno != EINTR) {
            return -errno;
        }
        if (done == 0) {
            break; /* the end; a short write is an error to the core */
        }
        total += done > 0 ? (size_t)done : 0;
    }
    return (int64_t)total;
}

static int64_t example_sync_directory(struct kvt_fs *fs, const char *path)
{
    int fd = openat(root_of(fs), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -errno : result_of(fsync(fd));
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

static int64_t example_stat(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    struct stat st;
    int root = root_of(fs);
    if (fstatat(root, elem->path, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return -errno;
    }
    elem->file_size = (uint64_t)st.st_size;
    return S_ISREG(st.st_mode) ? 0 : S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
}

static int64_t example_execute(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    struct example_file *file = (struct example_file *)elem->file;
    int rc;
    switch (elem->op) {
    case KVT_FS_READ:
    case KVT_FS_WRITE:
        return example_transfer(file->fd, elem);
    case KVT_FS_DATASYNC:
        return result_of(fdatasync(file->fd));
    case KVT_FS_SYNC:
        return file != NULL ? result_of(fsync(file->fd))
                            : example_sync_directory(fs, elem->path);
    case KVT_FS_OPEN:
        return example_open(fs, elem);
    case KVT_FS_CLOSE:
        rc = close(file->fd) != 0 && errno != EINTR ? -errno : 0;
        free(file);
        return rc;
    case KVT_FS_STAT:
        return example_stat(fs, elem);
    case KVT_FS_REMOVE:
        return result_of(unlinkat(root_of(fs), elem->path, 0));
    default: /* fetch, publish: the core does them; punch: there is none */
        return -EOPNOTSUPP;
    }
}

/* Control calls ----------------------------------------------------------- */

static int make_directory(int root, const char *path)
{
    struct stat st;
    if (mkdirat(root, path, 0777) == 0) {
        return 0;
    }
    if (errno != EEXIST || fstatat(root, path, &st, 0) != 0) {
        return -errno;
    }
    return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static int example_mkdirs(struct kvt_fs *fs, const char *path)
{
    char *copy = strdup(path);
    int rc = copy == NULL ? -ENOMEM : 0;
    for (char *at = copy; rc == 0 && (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        rc = make_directory(root_of(fs), copy);
        *at = '/';
    }
    rc = rc == 0 ? make_directory(root_of(fs), path) : rc;
    free(copy);
    return rc;
}

static int call_for(int dir, const char *name, kvt_fs_list_fn each, void *arg)
{
    struct stat st;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return 0;
    }
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? 0 : -errno; /* it vanished: skipped */
    }
    struct kvt_fs_dirent entry = {
        .name = name,
        .type = S_ISREG(st.st_mode)   ? KVT_FS_TYPE_FILE
                : S_ISDIR(st.st_mode) ? KVT_FS_TYPE_DIRECTORY
                                      : KVT_FS_TYPE_OTHER,
        .size = (uint64_t)st.st_size,
        .modified_ns = (int64_t)st.st_mtim.tv_sec * 1000000000};
    return each(&entry, arg);
}

static int example_list(struct kvt_fs *fs, const char *path, bool sizes,
                        kvt_fs_list_fn each, void *arg)
{
    (void)sizes; /* they come with the type, which is always asked for */
    int fd = openat(root_of(fs), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        int rc = -errno;
        if (fd >= 0) {
            close(fd);
        }
        return rc;
    }
    const struct dirent *entry;
    int rc = 0;
    while (rc == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
        rc = call_for(fd, entry->d_name, each, arg);
    }
    rc = rc == 0 ? -errno : rc;
    closedir(dir);
    return rc;
}

static int example_rename(struct kvt_fs *fs, const char *from, const char *to,
                          bool replace)
{
    if (!replace) {
        return -EOPNOTSUPP; /* and the fact rename_noreplace is false */
    }
    return result_of(renameat(root_of(fs), from, root_of(fs), to));
}

static int example_rmdir(struct kvt_fs *fs, const char *path)
{
    return result_of(unlinkat(root_of(fs), path, AT_REMOVEDIR));
}

static int example_usage(struct kvt_fs *fs, struct kvt_fs_usage *usage)
{
    struct statvfs st;
    int rc = result_of(fstatvfs(root_of(fs), &st));
    usage->capacity = rc == 0 ? (uint64_t)st.f_blocks * st.f_frsize : 0;
    usage->available = rc == 0 ? (uint64_t)st.f_bavail * st.f_frsize : 0;
    return rc;
}
