/* Files: who holds them, and the transfers of their bytes. */
#include "fs/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/clock.h"

int64_t kvt_memfs_unix_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Life -------------------------------------------------------------------- */

struct memfs_inode *kvt_memfs_inode_new(struct memfs_disk *disk)
{
    struct memfs_inode *inode = calloc(1, sizeof *inode);
    if (inode == NULL) {
        return NULL;
    }
    if (kvt_memfs_lock_init(&inode->lock) != 0) {
        free(inode);
        return NULL;
    }
    inode->disk = disk;
    inode->refs = 1;
    inode->holds = 1;
    inode->modified_ns = kvt_memfs_unix_ns();
    return inode;
}

void kvt_memfs_inode_ref(struct memfs_inode *inode)
{
    __atomic_fetch_add(&inode->refs, 1, __ATOMIC_RELAXED);
}

void kvt_memfs_inode_unref(struct memfs_inode *inode)
{
    if (__atomic_sub_fetch(&inode->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        kvt_memfs_data_fini(&inode->data);
        pthread_rwlock_destroy(&inode->lock);
        free(inode);
    }
}

bool kvt_memfs_inode_hold(struct memfs_inode *inode)
{
    kvt_memfs_inode_ref(inode);
    uint32_t holds = __atomic_load_n(&inode->holds, __ATOMIC_RELAXED);
    while (holds > 0 &&
           !__atomic_compare_exchange_n(&inode->holds, &holds, holds + 1, true,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
    return holds > 0;
}

void kvt_memfs_inode_unhold(struct memfs_inode *inode)
{
    if (__atomic_sub_fetch(&inode->holds, 1, __ATOMIC_ACQ_REL) == 0) {
        pthread_rwlock_wrlock(&inode->lock);
        kvt_memfs_pending_drop_all(inode);
        if (inode->trashed == 0) {
            kvt_memfs_uncharge(inode->disk, inode->data.units);
        }
        inode->data.units = 0;
        pthread_rwlock_unlock(&inode->lock);
    }
    kvt_memfs_inode_unref(inode);
}

void kvt_memfs_inode_named(struct memfs_inode *inode)
{
    __atomic_fetch_add(&inode->names, 1, __ATOMIC_RELAXED);
}

void kvt_memfs_inode_unnamed(struct memfs_mount *mount,
                             struct memfs_inode *inode)
{
    bool last = __atomic_sub_fetch(&inode->names, 1, __ATOMIC_RELAXED) == 0;
    if (last && kvt_memfs_has(mount, MEMFS_TRASH)) {
        __atomic_store_n(&inode->trashed, 1, __ATOMIC_RELAXED);
    }
    kvt_memfs_inode_unhold(inode);
}

/* Size -------------------------------------------------------------------- */

uint64_t kvt_memfs_inode_size(struct memfs_mount *mount,
                              struct memfs_inode *inode, bool fresh)
{
    bool late = kvt_memfs_has(mount, MEMFS_CLOSE_TO_OPEN);
    if (!late && !kvt_memfs_has(mount, MEMFS_AFTER_SYNC)) {
        return __atomic_load_n(&inode->size, __ATOMIC_RELAXED);
    }
    pthread_rwlock_rdlock(&inode->lock);
    uint64_t size = inode->size;
    if (late && !fresh && inode->shown_by != mount->number &&
        kvt_clock_ns() < inode->shown_until_ns) {
        size = inode->shown_size;
    }
    const struct memfs_pending *pending = kvt_memfs_pending_of(mount, inode);
    if (pending != NULL && kvt_memfs_pending_end(pending) > size) {
        size = kvt_memfs_pending_end(pending);
    }
    pthread_rwlock_unlock(&inode->lock);
    return size;
}

void kvt_memfs_inode_resize(struct memfs_mount *mount,
                            struct memfs_inode *inode, uint64_t size)
{
    if (size == inode->size) {
        return;
    }
    if (kvt_memfs_others_stale(mount)) {
        int64_t now_ns = kvt_clock_ns();
        if (now_ns >= inode->shown_until_ns ||
            inode->shown_by != mount->number) {
            inode->shown_size = inode->size;
            inode->shown_until_ns = now_ns + MEMFS_STALE_NS;
            inode->shown_by = mount->number;
        }
    }
    __atomic_store_n(&inode->size, size, __ATOMIC_RELAXED);
}

/* Transfers --------------------------------------------------------------- */

static uint64_t bytes_of(const struct kvt_slice *slices, uint32_t slice_count)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < slice_count; i++) {
        bytes += slices[i].size;
    }
    return bytes;
}

int kvt_memfs_inode_write(struct memfs_mount *mount, struct memfs_inode *inode,
                          uint64_t offset, const struct kvt_slice *slices,
                          uint32_t slice_count)
{
    uint64_t end = offset + bytes_of(slices, slice_count);
    int rc = kvt_memfs_data_reserve(inode->disk, &inode->data, offset, end);
    if (rc != 0) {
        return rc;
    }
    uint64_t at = offset;
    for (uint32_t i = 0; i < slice_count && rc == 0; i++) {
        rc = kvt_memfs_data_write(&inode->data, at, slices[i].base,
                                  slices[i].size);
        at += slices[i].size;
    }
    if (rc != 0) {
        uint64_t kept = inode->size > offset ? inode->size : offset;
        kvt_memfs_data_punch(inode->disk, &inode->data, kept, end);
        return rc;
    }
    if (end > inode->size) {
        kvt_memfs_inode_resize(mount, inode, end);
    }
    __atomic_store_n(&inode->modified_ns, kvt_memfs_unix_ns(),
                     __ATOMIC_RELAXED);
    return 0;
}

/* What the core keeps from an adapter with such facts. */
static int check_transfer(const struct memfs_mount *mount,
                          const struct kvt_fs_elem *elem)
{
    const struct kvt_fs_facts *facts = &mount->base.facts;
    uint64_t odd = elem->offset % facts->offset_alignment;
    for (uint32_t i = 0; i < elem->slice_count; i++) {
        const struct kvt_slice *slice = &elem->slices[i];
        if (slice->size > 0) {
            odd |= slice->size % facts->length_alignment;
            odd |= (uintptr_t)slice->base % facts->memory_alignment;
        }
    }
    bool fits = elem->slice_count <= facts->slices_max &&
                kvt_fs_elem_bytes(elem) <= facts->transfer_max;
    return odd == 0 && fits ? 0 : -EINVAL;
}

static int64_t do_read(struct memfs_mount *mount, struct memfs_inode *inode,
                       const struct kvt_fs_elem *elem)
{
    const struct memfs_pending *pending = kvt_memfs_pending_of(mount, inode);
    uint64_t size = inode->size;
    if (pending != NULL && kvt_memfs_pending_end(pending) > size) {
        size = kvt_memfs_pending_end(pending);
    }
    uint64_t at = elem->offset;
    for (uint32_t i = 0; i < elem->slice_count && at < size; i++) {
        const struct kvt_slice *slice = &elem->slices[i];
        uint64_t part = slice->size < size - at ? slice->size : size - at;
        kvt_memfs_data_read(&inode->data, at, slice->base, part);
        if (pending != NULL) {
            kvt_memfs_pending_read(pending, at, slice->base, part);
        }
        at += part;
    }
    return (int64_t)(at - elem->offset);
}

static int64_t do_write(struct memfs_mount *mount, struct memfs_inode *inode,
                        const struct kvt_fs_elem *elem)
{
    uint64_t bytes = kvt_fs_elem_bytes(elem);
    const struct memfs_pending *pending = kvt_memfs_pending_of(mount, inode);
    uint64_t size = inode->size;
    if (pending != NULL && kvt_memfs_pending_end(pending) > size) {
        size = kvt_memfs_pending_end(pending);
    }
    if (elem->offset < size && kvt_memfs_has(mount, MEMFS_NO_OVERWRITE)) {
        return -EOPNOTSUPP;
    }
    int rc;
    if (kvt_memfs_has(mount, MEMFS_CLOSE_TO_OPEN) ||
        kvt_memfs_has(mount, MEMFS_AFTER_SYNC)) {
        rc = kvt_memfs_data_reserve(inode->disk, &inode->data, elem->offset,
                                    elem->offset + bytes);
        if (rc == 0) {
            rc = kvt_memfs_pending_write(mount, inode, elem->offset,
                                         elem->slices, elem->slice_count);
        }
    } else {
        rc = kvt_memfs_inode_write(mount, inode, elem->offset, elem->slices,
                                   elem->slice_count);
    }
    return rc < 0 ? rc : (int64_t)bytes;
}

int64_t kvt_memfs_transfer(struct memfs_mount *mount, struct kvt_fs_elem *elem)
{
    struct memfs_file *file = (struct memfs_file *)elem->file;
    struct memfs_inode *inode = file->inode;
    uint64_t bytes = kvt_fs_elem_bytes(elem);
    int rc = check_transfer(mount, elem);
    if (rc != 0) {
        return rc;
    }
    if (elem->op == KVT_FS_READ) {
        if (kvt_memfs_has(mount, MEMFS_REMOVED_GONE) &&
            __atomic_load_n(&inode->names, __ATOMIC_RELAXED) == 0) {
            return -ENOENT;
        }
        pthread_rwlock_rdlock(&inode->lock);
        int64_t got = do_read(mount, inode, elem);
        pthread_rwlock_unlock(&inode->lock);
        return got;
    }
    if (!file->writable) {
        return -EBADF;
    }
    if (elem->offset > MEMFS_FILE_MAX ||
        bytes > MEMFS_FILE_MAX - elem->offset) {
        return -EFBIG;
    }
    if (bytes == 0) {
        return 0;
    }
    pthread_rwlock_wrlock(&inode->lock);
    int64_t written = do_write(mount, inode, elem);
    pthread_rwlock_unlock(&inode->lock);
    return written;
}

/* Space ------------------------------------------------------------------- */

int kvt_memfs_punch(struct memfs_mount *mount, struct kvt_fs_elem *elem)
{
    const struct memfs_file *file = (struct memfs_file *)elem->file;
    struct memfs_inode *inode = file->inode;
    if (!file->writable) {
        return -EBADF;
    }
    if (elem->length == 0 || elem->length > UINT64_MAX - elem->offset) {
        return -EINVAL;
    }
    pthread_rwlock_wrlock(&inode->lock);
    int rc = kvt_memfs_commit_locked(mount, inode);
    if (rc == 0) {
        kvt_memfs_data_punch(inode->disk, &inode->data, elem->offset,
                             elem->offset + elem->length);
        __atomic_store_n(&inode->modified_ns, kvt_memfs_unix_ns(),
                         __ATOMIC_RELAXED);
    }
    pthread_rwlock_unlock(&inode->lock);
    return rc;
}

int kvt_memfs_truncate(struct kvt_fs *fs, struct kvt_fs_file *base,
                       uint64_t size)
{
    struct memfs_mount *mount = (struct memfs_mount *)fs;
    const struct memfs_file *file = (struct memfs_file *)base;
    struct memfs_inode *inode = file->inode;
    if (!file->writable) {
        return -EINVAL; /* as ftruncate says */
    }
    if (size > MEMFS_FILE_MAX) {
        return -EFBIG;
    }
    pthread_rwlock_wrlock(&inode->lock);
    int rc = kvt_memfs_commit_locked(mount, inode);
    if (rc == 0) {
        if (size < inode->size) {
            kvt_memfs_data_punch(inode->disk, &inode->data, size, UINT64_MAX);
        }
        kvt_memfs_inode_resize(mount, inode, size);
        __atomic_store_n(&inode->modified_ns, kvt_memfs_unix_ns(),
                         __ATOMIC_RELAXED);
    }
    pthread_rwlock_unlock(&inode->lock);
    return rc;
}

int kvt_memfs_allocate(struct kvt_fs *fs, struct kvt_fs_file *base,
                       uint64_t size)
{
    const struct memfs_file *file = (struct memfs_file *)base;
    struct memfs_inode *inode = file->inode;
    (void)fs;
    if (!file->writable) {
        return -EBADF;
    }
    if (size == 0) {
        return -EINVAL;
    }
    if (size > MEMFS_FILE_MAX) {
        return -EFBIG;
    }
    pthread_rwlock_wrlock(&inode->lock);
    int rc = kvt_memfs_data_reserve(inode->disk, &inode->data, 0, size);
    pthread_rwlock_unlock(&inode->lock);
    return rc;
}
