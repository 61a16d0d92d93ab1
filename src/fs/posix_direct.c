/* Direct I/O that is in effect, not only asked for: some file systems take
 * O_DIRECT and buffer all the same. Linux tells since 6.1 (statx,
 * STATX_DIOALIGN); before, a transfer that is not aligned tells: it is refused
 * where the transfer is direct. */
#define _GNU_SOURCE
#include "fs/posix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ALIGNMENT_MAX = 4096
};

static void set_alignment(struct posix_fs *fs, uint32_t memory, uint32_t offset)
{
    fs->base.facts.direct = true;
    fs->base.facts.memory_alignment = memory;
    fs->base.facts.offset_alignment = offset;
    fs->base.facts.length_alignment = offset;
}

/* 0, -EINVAL when the file cannot do it, -ENOSYS when the kernel does not
 * tell. */
static int ask_kernel(struct posix_fs *fs, int fd)
{
#ifdef STATX_DIOALIGN
    struct statx st;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) == 0 &&
        (st.stx_mask & STATX_DIOALIGN) != 0) {
        if (st.stx_dio_offset_align == 0) {
            return -EINVAL;
        }
        set_alignment(fs, st.stx_dio_mem_align, st.stx_dio_offset_align);
        return 0;
    }
#else
    (void)fs;
    (void)fd;
#endif
    return -ENOSYS;
}

/* Writes at growing alignments: the first that is taken is the one. When even
 * an odd size is taken, nothing is direct. */
static int try_alignments(struct posix_fs *fs, int fd)
{
    void *memory;
    if (posix_memalign(&memory, ALIGNMENT_MAX, ALIGNMENT_MAX) != 0) {
        return -ENOMEM;
    }
    int rc = -EINVAL;
    bool odd_is_taken = pwrite(fd, memory, 1, 0) == 1;
    for (uint32_t size = 512; size <= ALIGNMENT_MAX && !odd_is_taken;
         size *= 2) {
        if (pwrite(fd, memory, size, 0) == (ssize_t)size) {
            set_alignment(fs, size, size);
            rc = 0;
            break;
        }
    }
    free(memory);
    return rc;
}

bool kvt_posix_can_punch(const struct posix_fs *fs)
{
    int fd = openat(fs->root, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
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
    /* a file without a name: nothing is left behind, whatever happens */
    int flags = O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC;
    int fd = openat(fs->root, ".", flags, 0600);
    if (fd < 0) {
        return -EINVAL;
    }
    int rc = ask_kernel(fs, fd);
    if (rc == -ENOSYS) {
        rc = try_alignments(fs, fd);
    }
    close(fd);
    return rc;
}
