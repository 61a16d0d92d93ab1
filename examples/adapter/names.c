/* The example adapter: its control calls. */
#include "example.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Directories and names --------------------------------------------------- */

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

int example_mkdirs(struct kvt_fs *fs, const char *path)
{
    char *copy = strdup(path);
    int rc = copy == NULL ? -ENOMEM : 0;
    for (char *at = copy; rc == 0 && (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        rc = make_directory(example_root(fs), copy);
        *at = '/';
    }
    rc = rc == 0 ? make_directory(example_root(fs), path) : rc;
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

int example_list(struct kvt_fs *fs, const char *path, bool sizes,
                 kvt_fs_list_fn each, void *arg)
{
    (void)sizes; /* they come with the type, which is always asked for */
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(example_root(fs), path, flags);
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

int example_rename(struct kvt_fs *fs, const char *from, const char *to,
                   bool replace)
{
    if (!replace) {
        return -EOPNOTSUPP; /* and the fact rename_noreplace is false */
    }
    return example_result(
        renameat(example_root(fs), from, example_root(fs), to));
}

int example_rmdir(struct kvt_fs *fs, const char *path)
{
    return example_result(unlinkat(example_root(fs), path, AT_REMOVEDIR));
}

int example_usage(struct kvt_fs *fs, struct kvt_fs_usage *usage)
{
    struct statvfs st;
    int rc = example_result(fstatvfs(example_root(fs), &st));
    usage->capacity = rc == 0 ? (uint64_t)st.f_blocks * st.f_frsize : 0;
    usage->available = rc == 0 ? (uint64_t)st.f_bavail * st.f_frsize : 0;
    return rc;
}

/* Locks ------------------------------------------------------------------- */

/* fcntl(2) locks belong to the process: they end with it, and no child has
 * them. Within the process they hold nobody off, so that a list has to. */
struct example_lock {
    struct kvt_fs_lock base;
    int fd;
    pid_t pid;
    struct stat st;
    struct example_lock *next;
};

static pthread_mutex_t held_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct example_lock *held; /* under held_mutex */

static int read_owner(int fd, char *owner, size_t owner_size)
{
    ssize_t size = pread(fd, owner, owner_size - 1, 0);
    owner[size > 0 ? size : 0] = '\0';
    return -EBUSY;
}

/* 0; -EBUSY and the owner's text when this process holds it. Another open of
 * the file would end that lock when it is closed. */
static int look_in_list(int root, const char *path, char *owner,
                        size_t owner_size)
{
    struct stat st;
    if (fstatat(root, path, &st, 0) != 0) {
        return 0;
    }
    for (const struct example_lock *at = held; at != NULL; at = at->next) {
        if (at->st.st_dev == st.st_dev && at->st.st_ino == st.st_ino &&
            at->pid == getpid()) {
            return read_owner(at->fd, owner, owner_size);
        }
    }
    return 0;
}

static int take(struct example_lock *lock, int root, const char *path,
                const char *holder, char *owner, size_t owner_size)
{
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    lock->fd = openat(root, path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock->fd < 0 || fstat(lock->fd, &lock->st) != 0) {
        return -errno;
    }
    if (fcntl(lock->fd, F_SETLK, &all) != 0) {
        return errno == EACCES || errno == EAGAIN
                   ? read_owner(lock->fd, owner, owner_size)
                   : -errno;
    }
    if (ftruncate(lock->fd, 0) != 0 ||
        pwrite(lock->fd, holder, strlen(holder), 0) < 0) {
        return -errno;
    }
    lock->pid = getpid();
    return 0;
}

int example_lock(struct kvt_fs *fs, const char *path, const char *holder,
                 char *owner, size_t owner_size, struct kvt_fs_lock **out)
{
    int root = example_root(fs);
    struct example_lock *lock = calloc(1, sizeof *lock);
    if (lock == NULL) {
        return -ENOMEM;
    }
    lock->base.fs = fs;
    lock->fd = -1;
    pthread_mutex_lock(&held_mutex);
    int rc = look_in_list(root, path, owner, owner_size);
    if (rc == 0) {
        rc = take(lock, root, path, holder, owner, owner_size);
    }
    if (rc == 0) {
        lock->next = held;
        held = lock;
        *out = &lock->base;
    } else {
        if (lock->fd >= 0) {
            close(lock->fd);
        }
        free(lock);
    }
    pthread_mutex_unlock(&held_mutex);
    return rc;
}

void example_unlock(struct kvt_fs_lock *base)
{
    struct example_lock *lock = (struct example_lock *)base;
    pthread_mutex_lock(&held_mutex);
    struct example_lock **at = &held;
    while (*at != lock) {
        at = &(*at)->next;
    }
    *at = lock->next;
    close(lock->fd); /* and so it is free */
    pthread_mutex_unlock(&held_mutex);
    free(lock);
}
