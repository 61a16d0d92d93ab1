/* Makes what is left of a log as files, by plain calls. */
#include "fs/crash_states.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SECTOR = 512
};

struct tree {
    const struct kvt_crash_log *log;
    uint64_t position;
    const struct kvt_crash_fate *fates;
    uint32_t *names; /* the inode of each slot */
    char path[PATH_MAX];
};

/* Files ------------------------------------------------------------------- */

static int write_at(int fd, const unsigned char *bytes, uint64_t size,
                    uint64_t offset)
{
    while (size > 0) {
        ssize_t done = pwrite(fd, bytes, (size_t)size, (off_t)offset);
        if (done < 0) {
            return -errno;
        }
        bytes += done;
        offset += (uint64_t)done;
        size -= (uint64_t)done;
    }
    return 0;
}

static int grow(int fd, uint64_t size)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return -errno;
    }
    bool larger = (uint64_t)st.st_size < size;
    return larger && ftruncate(fd, (off_t)size) != 0 ? -errno : 0;
}

static int apply_write(int fd, const struct kvt_crash_op *op,
                       const struct kvt_crash_fate *fate)
{
    uint64_t end = op->offset + op->size;
    uint64_t lost = fate->at - fate->at % SECTOR;
    uint64_t found = lost + SECTOR;
    lost = lost < op->offset ? op->offset : lost;
    switch (fate->tear) {
    case KVT_CRASH_WHOLE:
        return write_at(fd, op->bytes, op->size, op->offset);
    case KVT_CRASH_CUT:
        return write_at(fd, op->bytes, lost - op->offset, op->offset);
    case KVT_CRASH_EMPTY:
        return grow(fd, end);
    case KVT_CRASH_HOLE:
        break;
    }
    int rc = write_at(fd, op->bytes, lost - op->offset, op->offset);
    if (rc == 0 && found < end) {
        rc = write_at(fd, op->bytes + (found - op->offset), end - found, found);
    }
    return rc == 0 ? grow(fd, end) : rc;
}

/* Zeros over what is there of [offset, offset + size). */
static int apply_zero(int fd, const struct kvt_crash_op *op)
{
    static const unsigned char zeros[4096];
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return -errno;
    }
    uint64_t end = op->offset + op->size;
    end = end < (uint64_t)st.st_size ? end : (uint64_t)st.st_size;
    int rc = 0;
    for (uint64_t at = op->offset; at < end && rc == 0; at += sizeof zeros) {
        uint64_t part = end - at < sizeof zeros ? end - at : sizeof zeros;
        rc = write_at(fd, zeros, part, at);
    }
    return rc;
}

static int apply(int fd, const struct kvt_crash_op *op,
                 const struct kvt_crash_fate *fate)
{
    switch (op->kind) {
    case KVT_CRASH_WRITE:
        return apply_write(fd, op, fate);
    case KVT_CRASH_SIZE:
        return ftruncate(fd, (off_t)op->size) == 0 ? 0 : -errno;
    case KVT_CRASH_ZERO:
        return apply_zero(fd, op);
    default:
        return 0;
    }
}

static int make_file(const struct tree *tree, uint32_t inode)
{
    int fd = open(tree->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    int rc = fd < 0 ? -errno : 0;
    for (size_t i = 0; i < tree->position && rc == 0; i++) {
        const struct kvt_crash_op *op = &tree->log->ops[i];
        if (op->inode == inode && tree->fates[i].kept) {
            rc = apply(fd, op, &tree->fates[i]);
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

/* Directories -------------------------------------------------------------- */

static int make_names(struct tree *tree, uint32_t directory);

static int make_one(struct tree *tree, uint32_t slot)
{
    uint32_t inode = tree->names[slot];
    size_t end = strlen(tree->path);
    size_t room = sizeof tree->path - end;
    int size =
        snprintf(tree->path + end, room, "/%s", tree->log->slots[slot].name);
    int rc = size < 0 || (size_t)size >= room ? -ENAMETOOLONG : 0;
    if (rc == 0 && tree->log->is_directory[inode]) {
        rc = mkdir(tree->path, 0777) == 0 ? make_names(tree, inode) : -errno;
    } else if (rc == 0) {
        rc = make_file(tree, inode);
    }
    tree->path[end] = '\0';
    return rc;
}

static int make_names(struct tree *tree, uint32_t directory)
{
    int rc = 0;
    for (size_t i = 0; i < tree->log->slot_count && rc == 0; i++) {
        if (tree->log->slots[i].directory == directory && tree->names[i] != 0) {
            rc = make_one(tree, (uint32_t)i);
        }
    }
    return rc;
}

/* What each name stands for after the operations that were kept. */
static void find_names(struct tree *tree)
{
    for (size_t i = 0; i < tree->position; i++) {
        const struct kvt_crash_op *op = &tree->log->ops[i];
        if (!tree->fates[i].kept) {
            continue;
        }
        if (op->kind == KVT_CRASH_NAME) {
            tree->names[op->slot] = op->inode;
        } else if (op->kind == KVT_CRASH_MOVE) {
            tree->names[op->to] = op->inode;
            if (tree->names[op->slot] == op->inode) {
                tree->names[op->slot] = 0;
            }
        }
    }
}

int kvt_crash_make_tree(const struct kvt_crash_log *log, uint64_t position,
                        const struct kvt_crash_fate *fates,
                        const char *directory)
{
    struct tree tree = {.log = log, .position = position, .fates = fates};
    if (strlen(directory) >= sizeof tree.path) {
        return -ENAMETOOLONG;
    }
    strcpy(tree.path, directory);
    if (mkdir(directory, 0777) != 0 && errno != EEXIST) {
        return -errno;
    }
    tree.names = calloc(log->slot_count + 1, sizeof tree.names[0]);
    if (tree.names == NULL) {
        return -ENOMEM;
    }
    find_names(&tree);
    int rc = make_names(&tree, KVT_CRASH_ROOT);
    free(tree.names);
    return rc;
}
