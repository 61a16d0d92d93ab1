/* A lock on a file through flock(2), with its holder's text inside.
 *
 * flock belongs to the open file, which fork shares with the child: a child
 * that outlives us would hold the lock. So every held descriptor stands in a
 * list, and the child's side of fork closes them. */
#define _GNU_SOURCE
#include "fs/posix.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

struct posix_lock {
    struct kvt_fs_lock base;
    int fd; /* -1 in a forked child */
    struct posix_lock *next;
};

static pthread_mutex_t held_mutex = PTHREAD_MUTEX_INITIALIZER;
/* under held_mutex, which nobody holds across a call that may block */
static struct posix_lock *held; /* or being taken */
static uint64_t forks;
static pthread_once_t fork_guard = PTHREAD_ONCE_INIT;

static void before_fork(void)
{
    pthread_mutex_lock(&held_mutex);
    forks++;
}

static void after_fork_parent(void)
{
    pthread_mutex_unlock(&held_mutex);
}

static void after_fork_child(void)
{
    for (struct posix_lock *lock = held; lock != NULL; lock = lock->next) {
        close(lock->fd);
        lock->fd = -1;
    }
    held = NULL;
    pthread_mutex_unlock(&held_mutex);
}

static void install_fork_guard(void)
{
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

static void read_owner(int fd, char *owner, size_t owner_size)
{
    ssize_t size = pread(fd, owner, owner_size - 1, 0);
    owner[size > 0 ? size : 0] = '\0';
}

/* The holder's text helps people only: a failure to write it is none. */
static void write_holder(int fd, const char *holder)
{
    if (ftruncate(fd, 0) == 0) {
        ssize_t ignored = pwrite(fd, holder, strlen(holder), 0);
        (void)ignored;
    }
}

/* Into the list, before a fork that it could miss: -EAGAIN after a fork since
 * `forks_before`, whose child may have got the descriptor unseen. */
static int enlist(struct posix_lock *lock, uint64_t forks_before)
{
    pthread_mutex_lock(&held_mutex);
    bool seen = forks == forks_before;
    if (seen) {
        lock->next = held;
        held = lock;
    }
    pthread_mutex_unlock(&held_mutex);
    return seen ? 0 : -EAGAIN;
}

static void delist(struct posix_lock *lock)
{
    pthread_mutex_lock(&held_mutex);
    struct posix_lock **at = &held;
    while (*at != NULL && *at != lock) {
        at = &(*at)->next;
    }
    if (*at == lock) {
        *at = lock->next;
    }
    pthread_mutex_unlock(&held_mutex);
}

/* Opens the file so that no child keeps it: the mutex is not held meanwhile,
 * since a mount that hangs would keep every fork of the process waiting. */
static int open_listed(int root, const char *path, struct posix_lock *lock)
{
    for (;;) {
        pthread_mutex_lock(&held_mutex);
        uint64_t before = forks;
        pthread_mutex_unlock(&held_mutex);
        lock->fd =
            openat(root, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (lock->fd < 0) {
            return -errno;
        }
        if (enlist(lock, before) == 0) {
            return 0;
        }
        close(lock->fd);
    }
}

int kvt_posix_lock(struct kvt_fs *fs, const char *path, const char *holder,
                   char *owner, size_t owner_size, struct kvt_fs_lock **out)
{
    pthread_once(&fork_guard, install_fork_guard);
    struct posix_lock *lock = calloc(1, sizeof *lock);
    if (lock == NULL) {
        return -ENOMEM;
    }
    lock->base.fs = fs;
    int rc = open_listed(((struct posix_fs *)fs)->root, path, lock);
    if (rc != 0) {
        free(lock);
        return rc;
    }
    while (flock(lock->fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EINTR) {
            rc = -errno;
            break;
        }
    }
    if (rc == 0) {
        write_holder(lock->fd, holder);
        *out = &lock->base;
        return 0;
    }
    if (rc == -EWOULDBLOCK) {
        read_owner(lock->fd, owner, owner_size);
        rc = -EBUSY;
    }
    delist(lock);
    close(lock->fd);
    free(lock);
    return rc;
}

void kvt_posix_unlock(struct kvt_fs_lock *base)
{
    struct posix_lock *lock = (struct posix_lock *)base;
    delist(lock);
    if (lock->fd >= 0) {
        write_holder(lock->fd, "");
        /* now, not when a child that was forked a moment ago lets go, too */
        flock(lock->fd, LOCK_UN);
        close(lock->fd);
    }
    free(lock);
}
