/* What is done by path: files that are opened, made and removed. What changes a
 * name goes by what the name means now; only reads may go by what it meant a
 * moment ago. */
#include "fs/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int kvt_memfs_file_place(struct memfs_mount *mount, const char *path, bool make,
                         struct memfs_place *place)
{
    int rc = kvt_memfs_place(mount, path, make, place);
    if (rc == 0 && place->name_size == 0) {
        kvt_memfs_dir_unref(place->dir);
        rc = -EISDIR;
    }
    return rc;
}

int kvt_memfs_not_a_file(const struct memfs_place *place,
                         const struct memfs_entry *entry)
{
    if (entry != NULL && entry->dir != NULL) {
        return -EISDIR;
    }
    if (entry == NULL || entry->inode == NULL) {
        return -ENOENT;
    }
    return place->slash ? -ENOTDIR : 0;
}

/* Open and close ---------------------------------------------------------- */

/* Finds an existing file: with a reference, and a hold unless it is gone. */
static int look_up(struct memfs_mount *mount, const struct memfs_place *place,
                   struct memfs_file *file)
{
    pthread_rwlock_rdlock(&place->dir->lock);
    const struct memfs_entry *entry = kvt_memfs_find(place);
    int rc = kvt_memfs_not_a_file(place, entry);
    struct memfs_inode *inode = rc == 0 ? entry->inode : NULL;
    bool past = !file->writable && (rc == 0 || rc == -ENOENT) && entry != NULL;
    if (past) {
        inode = kvt_memfs_seen(mount, entry);
        rc = inode != NULL ? 0 : -ENOENT;
    }
    if (rc == 0) {
        file->inode = inode;
        file->holds = kvt_memfs_inode_hold(inode);
    }
    pthread_rwlock_unlock(&place->dir->lock);
    return rc;
}

/* Finds the file or makes it. */
static int create(struct memfs_mount *mount, const struct memfs_place *place,
                  bool exclusive, struct memfs_file *file)
{
    if (place->slash) {
        return -EISDIR;
    }
    struct memfs_entry *entry;
    pthread_rwlock_wrlock(&place->dir->lock);
    int rc = kvt_memfs_enter(place, &entry);
    bool made = rc == 0 && kvt_memfs_is_free(entry);
    if (made) {
        file->inode = kvt_memfs_inode_new(mount->disk);
        if (file->inode != NULL) {
            file->holds = kvt_memfs_inode_hold(file->inode);
            kvt_memfs_set(mount, place, entry, file->inode);
        } else {
            kvt_memfs_forget(place, entry);
            rc = -ENOMEM;
        }
    } else if (rc == 0) {
        kvt_memfs_settle(entry);
        rc = exclusive ? -EEXIST : kvt_memfs_not_a_file(place, entry);
        if (rc == 0) {
            file->inode = entry->inode;
            file->holds = kvt_memfs_inode_hold(file->inode);
        }
    }
    pthread_rwlock_unlock(&place->dir->lock);
    return rc;
}

int64_t kvt_memfs_open(struct memfs_mount *mount, struct kvt_fs_elem *elem)
{
    struct memfs_file *file = calloc(1, sizeof *file);
    if (file == NULL) {
        return -ENOMEM;
    }
    file->base.fs = &mount->base;
    file->writable = (elem->flags & KVT_FS_FOR_WRITE) != 0;
    struct memfs_place place;
    int rc = kvt_memfs_file_place(mount, elem->path, false, &place);
    if (rc == 0) {
        bool exclusive = (elem->flags & KVT_FS_EXCLUSIVE) != 0 &&
                         !kvt_memfs_has(mount, MEMFS_NO_EXCLUSIVE);
        rc = (elem->flags & KVT_FS_CREATE) != 0
                 ? create(mount, &place, exclusive, file)
                 : look_up(mount, &place, file);
        kvt_memfs_dir_unref(place.dir);
    }
    if (rc != 0) {
        free(file);
        return rc;
    }
    if ((elem->flags & KVT_FS_WANT_SIZE) != 0) {
        elem->file_size = kvt_memfs_inode_size(mount, file->inode, true);
    }
    elem->file = &file->base;
    return 0;
}

int64_t kvt_memfs_close(struct memfs_mount *mount, struct kvt_fs_file *base)
{
    struct memfs_file *file = (struct memfs_file *)base;
    int rc = 0;
    if (file->writable && kvt_memfs_has(mount, MEMFS_CLOSE_TO_OPEN)) {
        rc = kvt_memfs_commit(mount, file->inode);
    }
    if (file->holds) {
        kvt_memfs_inode_unhold(file->inode);
    } else {
        kvt_memfs_inode_unref(file->inode);
    }
    free(file);
    return rc;
}

int64_t kvt_memfs_stat(struct memfs_mount *mount, struct kvt_fs_elem *elem)
{
    struct memfs_file found = {0};
    struct memfs_place place;
    int rc = kvt_memfs_file_place(mount, elem->path, false, &place);
    if (rc != 0) {
        return rc;
    }
    rc = look_up(mount, &place, &found);
    kvt_memfs_dir_unref(place.dir);
    if (rc != 0) {
        return rc;
    }
    elem->file_size = kvt_memfs_inode_size(mount, found.inode, false);
    if (found.holds) {
        kvt_memfs_inode_unhold(found.inode);
    } else {
        kvt_memfs_inode_unref(found.inode);
    }
    return 0;
}

/* Removing ---------------------------------------------------------------- */

int64_t kvt_memfs_remove(struct memfs_mount *mount, const char *path)
{
    struct memfs_place place;
    int rc = kvt_memfs_file_place(mount, path, false, &place);
    if (rc != 0) {
        return rc;
    }
    struct memfs_inode *before = NULL;
    pthread_rwlock_wrlock(&place.dir->lock);
    struct memfs_entry *entry = kvt_memfs_find(&place);
    rc = kvt_memfs_not_a_file(&place, entry);
    if (rc == 0) {
        before = kvt_memfs_set(mount, &place, entry, NULL);
    }
    pthread_rwlock_unlock(&place.dir->lock);
    kvt_memfs_dir_unref(place.dir);
    if (before != NULL) {
        kvt_memfs_inode_unnamed(mount, before);
    }
    return rc;
}

int kvt_memfs_mkdirs(struct kvt_fs *fs, const char *path)
{
    struct memfs_dir *dir;
    int rc = kvt_memfs_find_dir((struct memfs_mount *)fs, path, true, &dir);
    if (rc == 0) {
        kvt_memfs_dir_unref(dir);
    }
    return rc;
}

int kvt_memfs_rmdir(struct kvt_fs *fs, const char *path)
{
    struct memfs_mount *mount = (struct memfs_mount *)fs;
    struct memfs_place place;
    int rc = kvt_memfs_place(mount, path, false, &place);
    if (rc != 0) {
        return rc;
    }
    struct memfs_dir *removed = NULL;
    pthread_rwlock_wrlock(&place.dir->lock);
    struct memfs_entry *entry =
        place.name_size > 0 ? kvt_memfs_find(&place) : NULL;
    if (place.name_size == 0) {
        rc = -EINVAL; /* as for "." */
    } else if (kvt_memfs_is_free(entry)) {
        rc = -ENOENT;
    } else if (entry->dir == NULL) {
        rc = -ENOTDIR;
    } else {
        removed = entry->dir;
        pthread_rwlock_wrlock(&removed->lock);
        bool empty = removed->entry_count == removed->past_count;
        removed->removed = empty;
        pthread_rwlock_unlock(&removed->lock);
        if (empty) {
            kvt_memfs_forget(&place, entry);
        } else {
            removed = NULL;
            rc = -ENOTEMPTY;
        }
    }
    pthread_rwlock_unlock(&place.dir->lock);
    kvt_memfs_dir_unref(place.dir);
    if (removed != NULL) {
        kvt_memfs_uncharge(mount->disk, 1);
        kvt_memfs_dir_unref(removed);
    }
    return rc;
}
