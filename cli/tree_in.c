#include "tree_in.h"

#include "memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct level {
    DIR *dir;
    size_t path_size; /* of its own path, with the slash behind it */
};

struct walk {
    const struct cli_tree_visitor *visitor;
    struct level *levels;
    size_t depth;
    size_t room;
    char *path; /* of the entry that is looked at */
    size_t path_room;
};

static void path_set(struct walk *walk, size_t prefix, const char *name)
{
    size_t size = strlen(name) + 1;
    if (prefix + size + 1 > walk->path_room) {
        walk->path_room = (prefix + size + 1) * 2;
        walk->path = cli_resize(walk->path, walk->path_room);
    }
    memcpy(walk->path + prefix, name, size);
}

/* Takes `fd`. */
static int level_push(struct walk *walk, int fd, size_t path_size)
{
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        int error = -errno;
        close(fd);
        return error;
    }
    if (walk->depth == walk->room) {
        walk->room = walk->room * 2 + 16;
        walk->levels =
            cli_resize(walk->levels, walk->room * sizeof(*walk->levels));
    }
    walk->levels[walk->depth++] = (struct level){dir, path_size};
    return 0;
}

static int tell_failed(struct walk *walk, int errnum)
{
    if (errnum == ENOENT) {
        return 0; /* it vanished meanwhile */
    }
    return walk->visitor->failed(walk->path, errnum, walk->visitor->arg);
}

static int visit_directory(struct walk *walk, int parent, const char *name,
                           const struct stat *info)
{
    if (info->st_dev == walk->visitor->skip_device &&
        info->st_ino == walk->visitor->skip_inode) {
        return 0;
    }
    int fd =
        openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return tell_failed(walk, errno);
    }
    size_t size = strlen(walk->path);
    int result = level_push(walk, fd, size + 1);
    if (result < 0) {
        return tell_failed(walk, -result);
    }
    walk->path[size] = '/'; /* path_set left room for it */
    return 0;
}

static int visit_file(struct walk *walk, int parent, const char *name)
{
    struct stat info;
    /* not blocking: a pipe may have taken the file's place */
    int fd =
        openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return errno == ELOOP ? 0 : tell_failed(walk, errno);
    }
    int result = 0;
    if (fstat(fd, &info) != 0) {
        result = tell_failed(walk, errno);
    } else if (S_ISREG(info.st_mode)) {
        result = walk->visitor->file(fd, walk->path, walk->visitor->arg);
    }
    close(fd);
    return result;
}

/* Looks at the next entry of the deepest level, or leaves that. */
static int step(struct walk *walk)
{
    struct level *level = &walk->levels[walk->depth - 1];
    struct stat info;
    errno = 0;
    struct dirent *entry = readdir(level->dir);
    if (entry == NULL) {
        int errnum = errno;
        path_set(walk, level->path_size, "");
        closedir(level->dir);
        walk->depth--;
        return errnum != 0 ? tell_failed(walk, errnum) : 0;
    }
    const char *name = entry->d_name;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return 0;
    }
    path_set(walk, level->path_size, name);
    int fd = dirfd(level->dir);
    if (fstatat(fd, name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        return tell_failed(walk, errno);
    }
    if (S_ISDIR(info.st_mode)) {
        return visit_directory(walk, fd, name, &info);
    }
    return S_ISREG(info.st_mode) ? visit_file(walk, fd, name) : 0;
}

int cli_tree_walk(const char *root, const struct cli_tree_visitor *visitor)
{
    struct walk walk = {.visitor = visitor};
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int result = level_push(&walk, fd, 0);
    while (result == 0 && walk.depth > 0) {
        result = step(&walk);
    }
    while (walk.depth > 0) {
        closedir(walk.levels[--walk.depth].dir);
    }
    free(walk.levels);
    free(walk.path);
    return result;
}
