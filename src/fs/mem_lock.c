/* Locks on files, as flock's: they belong to the file that the name led to,
 * and all mounts of the file system meet them. The holder's text is the
 * file's contents, for people; what counts is the list here. */
#include "fs/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct memfs_lock {
    struct kvt_fs_lock base;
    struct kvt_fs_file *file; /* open for writing */
    char holder[];
};

static struct memfs_inode *inode_of(const struct memfs_lock *lock)
{
    return ((struct memfs_file *)lock->file)->inode;
}

/* The text helps people only: a failure to write it is none. */
static void write_holder(struct memfs_mount *mount, struct memfs_lock *lock,
                         const char *holder)
{
    struct memfs_inode *inode = inode_of(lock);
    size_t size = strlen(holder);
    struct kvt_slice slice = {(void *)(uintptr_t)holder, size, NULL};
    kvt_memfs_truncate(&mount->base, lock->file, 0);
    if (size > 0) {
        pthread_rwlock_wrlock(&inode->lock);
        kvt_memfs_inode_write(mount, inode, 0, &slice, 1);
        pthread_rwlock_unlock(&inode->lock);
    }
}

int kvt_memfs_lock(struct kvt_fs *fs, const char *path, const char *holder,
                   char *owner, size_t owner_size, struct kvt_fs_lock **out)
{
    struct memfs_mount *mount = (struct memfs_mount *)fs;
    struct memfs_lock *lock = calloc(1, sizeof *lock + strlen(holder) + 1);
    if (lock == NULL) {
        return -ENOMEM;
    }
    struct kvt_fs_elem open = {.op = KVT_FS_OPEN,
                               .path = path,
                               .flags = KVT_FS_FOR_WRITE | KVT_FS_CREATE};
    int rc = (int)kvt_memfs_open(mount, &open);
    if (rc != 0) {
        free(lock);
        return rc;
    }
    lock->base.fs = fs;
    lock->file = open.file;
    strcpy(lock->holder, holder);
    struct memfs_inode *inode = inode_of(lock);
    pthread_mutex_lock(&mount->disk->mutex);
    if (inode->locked != NULL) {
        snprintf(owner, owner_size, "%s", inode->locked->holder);
        rc = -EBUSY;
    } else {
        inode->locked = lock;
    }
    pthread_mutex_unlock(&mount->disk->mutex);
    if (rc != 0) {
        kvt_memfs_close(mount, lock->file);
        free(lock);
        return rc;
    }
    write_holder(mount, lock, holder);
    *out = &lock->base;
    return 0;
}

void kvt_memfs_unlock(struct kvt_fs_lock *base)
{
    struct memfs_lock *lock = (struct memfs_lock *)base;
    struct memfs_mount *mount = (struct memfs_mount *)base->fs;
    write_holder(mount, lock, "");
    pthread_mutex_lock(&mount->disk->mutex);
    inode_of(lock)->locked = NULL;
    pthread_mutex_unlock(&mount->disk->mutex);
    kvt_memfs_close(mount, lock->file);
    free(lock);
}
