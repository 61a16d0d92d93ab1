/* Direct I/O that is in effect, not only asked for: some file systems take
 * O_DIRECT and buffer all the same. Linux tells since 6.1 (statx,
 * STATX_DIOALIGN); before, a transfer that is not aligned tells: it is refused
 * where the transfer is direct. */
#define _GNU_SOURCE
#include "fs/posix.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ALIGNMENT_MAX = 4096,
    NAMES_MAX = 2000, /* that are looked at */
};

static void set_alignment(struct posix_fs *fs, uint32_t memory, uint32_t offset)
{
    fs->base.facts.direct = true;
    fs->base.facts.memory_alignment = memory;
    fs->base.facts.offset_alignment = offset;
    fs->base.facts.length_alignment = offset;
}

/* 0, -EINVAL when the file cannot do it, -ENOSYS when the kernel does not
 * tell. `name` in `dir`, or "" for `dir` itself. */
static int ask_kernel(struct posix_fs *fs, int dir, const char *name)
{
#ifdef STATX_DIOALIGN
    struct statx st;
    int flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
    if (statx(dir, name, flags, STATX_DIOALIGN, &st) == 0 &&
        (st.stx_mask & STATX_DIOALIGN) != 0) {
        if (st.stx_dio_offset_align == 0) {
            return -EINVAL;
        }
        set_alignment(fs, st.stx_dio_mem_align, st.stx_dio_offset_align);
        return 0;
    }
#else
    (void)fs;
    (void)dir;
    (void)name;
#endif
    return -ENOSYS;
}

/* Transfers at growing alignments: the first that is taken is the one. When
 * even an odd size is taken, nothing is direct. A read wants a file that is
 * not empty. */
static int try_alignments(struct posix_fs *fs, int fd, bool write)
{
    void *memory;
    if (posix_memalign(&memory, ALIGNMENT_MAX, ALIGNMENT_MAX) != 0) {
        return -ENOMEM;
    }
    int rc = -EINVAL;
    bool odd_is_taken =
        (write ? pwrite(fd, memory, 1, 0) : pread(fd, memory, 1, 0)) >= 0;
    for (uint32_t size = 512; size <= ALIGNMENT_MAX && !odd_is_taken;
         size *= 2) {
        if ((write ? pwrite(fd, memory, size, 0) : pread(fd, memory, size, 0)) >
            0) {
            set_alignment(fs, size, size);
            rc = 0;
            break;
        }
    }
    free(memory);
    return rc;
}

/* Files to ask ------------------------------------------------------------ */

/* What is there already: nothing has to be made, so that a full file system
 * and one that is mounted to read can be asked, too. */
struct search {
    struct posix_fs *fs;
    unsigned names_left;
    int rc; /* -EAGAIN until a file has told */
};

static void ask_file(struct search *search, int dir, const char *name,
                     const struct stat *st)
{
    search->rc = ask_kernel(search->fs, dir, name);
    if (search->rc != -ENOSYS) {
        return;
    }
    search->rc = -EAGAIN;
    if (st->st_size == 0) {
        return;
    }
    int flags = O_RDONLY | O_DIRECT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    int fd = openat(dir, name, flags);
    if (fd >= 0) {
        search->rc = try_alignments(search->fs, fd, false);
        close(fd);
    } else if (errno == EINVAL) {
        search->rc = -EINVAL; /* refused */
    }
}

/* Takes `fd`. */
static void search_directory(struct search *search, int fd, unsigned deeper)
{
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;
    if (dir == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    while (search->rc == -EAGAIN && search->names_left > 0 &&
           (entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        struct stat st;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
            fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            continue;
        }
        search->names_left--;
        if (S_ISREG(st.st_mode)) {
            ask_file(search, fd, name, &st);
        } else if (S_ISDIR(st.st_mode) && deeper > 0) {
            int below = openat(fd, name,
                               O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            search_directory(search, below, deeper - 1);
        }
    }
    closedir(dir);
}

/* A file that nobody sees, or that is gone at once where every file needs a
 * name. A descriptor or -errno. */
static int open_unnamed(const struct posix_fs *fs, int flags)
{
    static unsigned count; /* atomic */
    char name[64];
    int fd =
        openat(fs->root, ".", O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600);
    /* EISDIR: a kernel or a file system that has never heard of it */
    if (fd >= 0 || fs->read_only ||
        (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)) {
        return fd >= 0 ? fd : -errno;
    }
    snprintf(name, sizeof name, ".kvtier-probe-%ld-%u", (long)getpid(),
             __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED));
    fd = openat(fs->root, name,
                O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC | flags,
                0600);
    int rc = fd >= 0 ? fd : -errno;
    if (fd >= 0 || errno == EINVAL) { /* the latter may have made it */
        unlinkat(fs->root, name, 0);
    }
    return rc;
}

/* The questions ----------------------------------------------------------- */

bool kvt_posix_can_punch(const struct posix_fs *fs)
{
    int fd = open_unnamed(fs, 0);
    if (fd < 0) {
        return false;
    }
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    bool can = fallocate(fd, mode, 0, ALIGNMENT_MAX) == 0;
    close(fd);
    return can;
}

int kvt_posix_find_direct(struct posix_fs *fs)
{
    struct search search = {fs, NAMES_MAX, -EAGAIN};
    int root = openat(fs->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) {
        return -errno;
    }
    search_directory(&search, root, 2);
    if (search.rc != -EAGAIN) {
        return search.rc;
    }
    int fd = open_unnamed(fs, O_DIRECT);
    if (fd < 0) {
        return fd;
    }
    int rc = ask_kernel(fs, fd, "");
    if (rc == -ENOSYS) {
        rc = try_alignments(fs, fd, true);
    }
    close(fd);
    return rc;
}
