#include "file_out.h"

#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LINKS_MAX = 40,
    TEMPORARY_TRIES = 100
};

static int write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return -errno;
        }
        data += written;
        size -= (size_t)written;
    }
    return 0;
}

/* Creates a file of a name that nothing has yet. */
static int temporary_create(int dir, char *name, size_t room)
{
    static unsigned counter;
    for (int i = 0; i < TEMPORARY_TRIES; i++) {
        snprintf(name, room, ".kvtier-%ld-%u.tmp", (long)getpid(), counter++);
        int fd =
            openat(dir, name,
                   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST) {
            return fd >= 0 ? fd : -errno;
        }
    }
    return -EEXIST;
}

int cli_file_write_at(int dir, const char *name, const void *data, size_t size)
{
    char temporary[64];
    int fd = temporary_create(dir, temporary, sizeof(temporary));
    if (fd < 0) {
        return fd;
    }
    int result = write_all(fd, data, size);
    if (close(fd) != 0 && result == 0) {
        result = -errno;
    }
    if (result == 0 && renameat(dir, temporary, dir, name) != 0) {
        result = -errno;
    }
    if (result < 0) {
        unlinkat(dir, temporary, 0);
    }
    return result;
}

/* Replaces `*path` (from malloc) by what the link there points to. */
static int link_follow(char **path)
{
    char target[PATH_MAX];
    ssize_t size = readlink(*path, target, sizeof(target) - 1);
    if (size < 0) {
        return -errno;
    }
    target[size] = '\0';
    char *slash = strrchr(*path, '/');
    size_t folder =
        slash != NULL && target[0] != '/' ? (size_t)(slash - *path) + 1 : 0;
    char *joined = cli_alloc(folder + (size_t)size + 1);
    memcpy(joined, *path, folder);
    memcpy(joined + folder, target, (size_t)size + 1);
    free(*path);
    *path = joined;
    return 0;
}

static int links_follow(char **path)
{
    struct stat info;
    for (int i = 0; i < LINKS_MAX; i++) {
        if (lstat(*path, &info) != 0 || !S_ISLNK(info.st_mode)) {
            return 0; /* what is missing or wrong shows itself later */
        }
        int result = link_follow(path);
        if (result < 0) {
            return result;
        }
    }
    return -ELOOP;
}

static int write_directly(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        return -errno;
    }
    int result = write_all(fd, data, size);
    if (close(fd) != 0 && result == 0) {
        result = -errno;
    }
    return result;
}

/* `path` is no link; its last part may be missing. */
static int write_beside(char *path, const void *data, size_t size)
{
    char *slash = strrchr(path, '/');
    char *name = slash != NULL ? slash + 1 : path;
    if (name[0] == '\0') {
        return -EISDIR;
    }
    const char *folder = ".";
    if (slash == path) {
        folder = "/";
    } else if (slash != NULL) {
        *slash = '\0';
        folder = path;
    }
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        return -errno;
    }
    int result = cli_file_write_at(dir, name, data, size);
    close(dir);
    return result;
}

/* The standard stream that `path` leads to, as /dev/stdout does, or -1: what
 * was written to it before must stay. */
static int stream_of(const struct stat *info)
{
    struct stat stream;
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fstat(fd, &stream) == 0 && stream.st_dev == info->st_dev &&
            stream.st_ino == info->st_ino) {
            return fd;
        }
    }
    return -1;
}

int cli_file_write(const char *path, const void *data, size_t size)
{
    struct stat info;
    if (stat(path, &info) == 0) {
        int stream = stream_of(&info);
        if (stream >= 0) {
            return fflush(NULL) == 0 ? write_all(stream, data, size) : -errno;
        }
        if (!S_ISREG(info.st_mode)) {
            return write_directly(path, data, size);
        }
    }
    char *target = cli_text_copy(path);
    int result = links_follow(&target);
    if (result == 0) {
        result = write_beside(target, data, size);
    }
    free(target);
    return result;
}
