/* What one mount wrote to one file before others may see it: the bytes, and
 * which they are. The writer's own reads lay them over the file's. The space
 * is charged to the file when they are written, so that a full file system
 * is an error of the write. */
#include "fs/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct extent {
    uint64_t from;
    uint64_t to;
};

struct memfs_pending {
    struct memfs_mount *mount;
    struct memfs_inode *inode;
    struct memfs_pending *next;  /* of the inode */
    struct memfs_pending *newer; /* of the mount, under disk->mutex */
    struct memfs_pending **at;   /* where that list points to it */
    struct memfs_data data;
    struct extent *extents; /* in order, apart from each other */
    size_t extent_count;
    size_t extent_capacity;
};

struct memfs_pending *kvt_memfs_pending_of(const struct memfs_mount *mount,
                                           const struct memfs_inode *inode)
{
    struct memfs_pending *pending = inode->pendings;
    while (pending != NULL && pending->mount != mount) {
        pending = pending->next;
    }
    return pending;
}

uint64_t kvt_memfs_pending_end(const struct memfs_pending *pending)
{
    size_t count = pending->extent_count;
    return count > 0 ? pending->extents[count - 1].to : 0;
}

static struct memfs_pending *pending_new(struct memfs_mount *mount,
                                         struct memfs_inode *inode)
{
    struct memfs_pending *pending = calloc(1, sizeof *pending);
    if (pending == NULL) {
        return NULL;
    }
    pending->mount = mount;
    pending->inode = inode;
    pending->next = inode->pendings;
    inode->pendings = pending;
    pthread_mutex_lock(&mount->disk->mutex);
    pending->newer = mount->pendings;
    pending->at = &mount->pendings;
    if (pending->newer != NULL) {
        pending->newer->at = &pending->newer;
    }
    mount->pendings = pending;
    pthread_mutex_unlock(&mount->disk->mutex);
    return pending;
}

static void pending_drop(struct memfs_pending *pending)
{
    struct memfs_disk *disk = pending->mount->disk;
    struct memfs_pending **at = &pending->inode->pendings;
    while (*at != pending) {
        at = &(*at)->next;
    }
    *at = pending->next;
    pthread_mutex_lock(&disk->mutex);
    *pending->at = pending->newer;
    if (pending->newer != NULL) {
        pending->newer->at = pending->at;
    }
    pthread_mutex_unlock(&disk->mutex);
    kvt_memfs_data_fini(&pending->data);
    free(pending->extents);
    free(pending);
}

void kvt_memfs_pending_drop_all(struct memfs_inode *inode)
{
    while (inode->pendings != NULL) {
        pending_drop(inode->pendings);
    }
}

/* Adds [from, to), joined with all that it meets. */
static int add_extent(struct memfs_pending *pending, uint64_t from, uint64_t to)
{
    size_t count = pending->extent_count;
    if (count == pending->extent_capacity) {
        size_t capacity = count * 2 + 4;
        struct extent *extents =
            realloc(pending->extents, capacity * sizeof extents[0]);
        if (extents == NULL) {
            return -ENOMEM;
        }
        pending->extents = extents;
        pending->extent_capacity = capacity;
    }
    struct extent *extents = pending->extents;
    size_t first = count; /* most writes are the last */
    while (first > 0 && extents[first - 1].to >= from) {
        first--;
    }
    size_t behind = first;
    while (behind < count && extents[behind].from <= to) {
        from = extents[behind].from < from ? extents[behind].from : from;
        to = extents[behind].to > to ? extents[behind].to : to;
        behind++;
    }
    memmove(&extents[first + 1], &extents[behind],
            (count - behind) * sizeof extents[0]);
    extents[first] = (struct extent){from, to};
    pending->extent_count = count - (behind - first) + 1;
    return 0;
}

int kvt_memfs_pending_write(struct memfs_mount *mount,
                            struct memfs_inode *inode, uint64_t offset,
                            const struct kvt_slice *slices,
                            uint32_t slice_count)
{
    struct memfs_pending *pending = kvt_memfs_pending_of(mount, inode);
    if (pending == NULL) {
        pending = pending_new(mount, inode);
    }
    if (pending == NULL) {
        return -ENOMEM;
    }
    uint64_t at = offset;
    for (uint32_t i = 0; i < slice_count; i++) {
        if (kvt_memfs_data_write(&pending->data, at, slices[i].base,
                                 slices[i].size) != 0) {
            return -ENOMEM;
        }
        at += slices[i].size;
    }
    return add_extent(pending, offset, at);
}

void kvt_memfs_pending_read(const struct memfs_pending *pending,
                            uint64_t offset, unsigned char *bytes,
                            uint64_t size)
{
    for (size_t i = 0; i < pending->extent_count; i++) {
        const struct extent *extent = &pending->extents[i];
        uint64_t from = extent->from > offset ? extent->from : offset;
        uint64_t to = extent->to < offset + size ? extent->to : offset + size;
        if (from < to) {
            kvt_memfs_data_read(&pending->data, from, bytes + (from - offset),
                                to - from);
        }
    }
}

int kvt_memfs_commit_locked(struct memfs_mount *mount,
                            struct memfs_inode *inode)
{
    struct memfs_pending *pending = kvt_memfs_pending_of(mount, inode);
    if (pending == NULL) {
        return 0;
    }
    int rc = 0;
    uint64_t end = kvt_memfs_pending_end(pending);
    for (size_t i = 0; i < pending->extent_count && rc == 0; i++) {
        const struct extent *extent = &pending->extents[i];
        /* it is charged already, unless another mount cut the file */
        rc = kvt_memfs_data_reserve(inode->disk, &inode->data, extent->from,
                                    extent->to);
        if (rc == 0) {
            rc = kvt_memfs_data_copy(&inode->data, &pending->data, extent->from,
                                     extent->to);
        }
    }
    if (rc == 0 && end > inode->size) {
        kvt_memfs_inode_resize(mount, inode, end);
    } else if (rc != 0) {
        kvt_memfs_data_punch(inode->disk, &inode->data, inode->size, end);
    }
    __atomic_store_n(&inode->modified_ns, kvt_memfs_unix_ns(),
                     __ATOMIC_RELAXED);
    pending_drop(pending);
    return rc;
}

int kvt_memfs_commit(struct memfs_mount *mount, struct memfs_inode *inode)
{
    if (!kvt_memfs_has(mount, MEMFS_CLOSE_TO_OPEN) &&
        !kvt_memfs_has(mount, MEMFS_AFTER_SYNC)) {
        return 0;
    }
    pthread_rwlock_wrlock(&inode->lock);
    int rc = kvt_memfs_commit_locked(mount, inode);
    pthread_rwlock_unlock(&inode->lock);
    return rc;
}

void kvt_memfs_commit_all(struct memfs_mount *mount)
{
    struct memfs_disk *disk = mount->disk;
    for (;;) {
        pthread_mutex_lock(&disk->mutex);
        struct memfs_inode *inode =
            mount->pendings != NULL ? mount->pendings->inode : NULL;
        if (inode != NULL) {
            kvt_memfs_inode_ref(inode); /* it may be about to go */
        }
        pthread_mutex_unlock(&disk->mutex);
        if (inode == NULL) {
            return;
        }
        kvt_memfs_commit(mount, inode);
        kvt_memfs_inode_unref(inode);
    }
}
