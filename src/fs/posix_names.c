/* Names and space: the control calls of the posix adapter, relative to the
 * root's descriptor. */
#define _GNU_SOURCE /* renameat2 */
#include "fs/posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

int kvt_posix_make_directories(int at, char *path)
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

int kvt_posix_mkdirs(struct kvt_fs *fs, const char *path)
{
    char copy[PATH_MAX];
    if (strlen(path) >= sizeof copy) {
        return -ENAMETOOLONG;
    }
    strcpy(copy, path);
    return kvt_posix_make_directories(kvt_posix_root(fs), copy);
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

int kvt_posix_list(struct kvt_fs *fs, const char *path, bool sizes,
                   kvt_fs_list_fn each, void *arg)
{
    /* a link is no directory of ours, wherever it points */
    int fd = openat(kvt_posix_root(fs), path,
                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
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

int kvt_posix_rename(struct kvt_fs *fs, const char *from, const char *to,
                     bool replace)
{
    int root = kvt_posix_root(fs);
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
    if (unlinkat(root, from, 0) != 0 && errno != ENOENT) {
        int rc = -errno; /* not half-done: one name, the old one */
        unlinkat(root, to, 0);
        return rc;
    }
    return 0;
}

int kvt_posix_rmdir(struct kvt_fs *fs, const char *path)
{
    return unlinkat(kvt_posix_root(fs), path, AT_REMOVEDIR) == 0 ? 0 : -errno;
}

int kvt_posix_link(struct kvt_fs *fs, const char *from, const char *to)
{
    int root = kvt_posix_root(fs);
    return linkat(root, from, root, to, 0) == 0 ? 0 : -errno;
}

int kvt_posix_truncate(struct kvt_fs *fs, struct kvt_fs_file *file,
                       uint64_t size)
{
    (void)fs;
    int fd = ((struct posix_file *)file)->fd;
    return ftruncate(fd, (off_t)size) == 0 ? 0 : -errno;
}

int kvt_posix_allocate(struct kvt_fs *fs, struct kvt_fs_file *file,
                       uint64_t size)
{
    (void)fs;
    int fd = ((struct posix_file *)file)->fd;
    int rc = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size);
    return rc == 0 ? 0 : -errno;
}

int kvt_posix_advise(struct kvt_fs *fs, struct kvt_fs_file *file,
                     uint64_t offset, uint64_t size, enum kvt_fs_advice advice)
{
    (void)fs;
    int fd = ((struct posix_file *)file)->fd;
    return -posix_fadvise(fd, (off_t)offset, (off_t)size,
                          advice == KVT_FS_WARM ? POSIX_FADV_WILLNEED
                                                : POSIX_FADV_DONTNEED);
}

int kvt_posix_usage(struct kvt_fs *fs, struct kvt_fs_usage *usage)
{
    struct statvfs st;
    if (fstatvfs(kvt_posix_root(fs), &st) != 0) {
        return -errno;
    }
    usage->capacity = (uint64_t)st.f_blocks * st.f_frsize;
    usage->available = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}
