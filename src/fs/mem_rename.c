/* A file gets a name: by rename, by a second name, or by a publish that
 * prepares its contents aside. */
#include "fs/mem.h"

#include <errno.h>
#include <stdlib.h>

/* Two names --------------------------------------------------------------- */

struct two_places {
    struct memfs_place from;
    struct memfs_place to;
};

static int find_two(struct memfs_mount *mount, const char *from, const char *to,
                    struct two_places *two)
{
    int rc = kvt_memfs_file_place(mount, from, false, &two->from);
    if (rc != 0) {
        return rc;
    }
    rc = kvt_memfs_file_place(mount, to, false, &two->to);
    if (rc != 0) {
        kvt_memfs_dir_unref(two->from.dir);
    }
    return rc;
}

static void lock_two(const struct two_places *two)
{
    struct memfs_dir *first = two->from.dir;
    struct memfs_dir *second = two->to.dir;
    bool swap = second->depth != first->depth
                    ? second->depth < first->depth
                    : (uintptr_t)second < (uintptr_t)first;
    pthread_rwlock_wrlock(swap ? &second->lock : &first->lock);
    if (first != second) {
        pthread_rwlock_wrlock(swap ? &first->lock : &second->lock);
    }
}

static void unlock_two(const struct two_places *two)
{
    pthread_rwlock_unlock(&two->from.dir->lock);
    if (two->to.dir != two->from.dir) {
        pthread_rwlock_unlock(&two->to.dir->lock);
    }
    kvt_memfs_dir_unref(two->from.dir);
    kvt_memfs_dir_unref(two->to.dir);
}

/* The entry for a second name; on success it takes a meaning at once. */
static int enter_second(const struct two_places *two, bool replace,
                        struct memfs_entry **to)
{
    int rc = kvt_memfs_not_a_file(&two->from, kvt_memfs_find(&two->from));
    if (rc == 0 && two->to.slash) {
        rc = -ENOTDIR;
    }
    if (rc == 0) {
        rc = kvt_memfs_enter(&two->to, to);
    }
    if (rc == 0 && !kvt_memfs_is_free(*to) && !replace) {
        kvt_memfs_settle(*to);
        rc = -EEXIST;
    }
    if (rc == 0 && (*to)->dir != NULL) {
        rc = -EISDIR;
    }
    return rc;
}

int kvt_memfs_rename(struct kvt_fs *fs, const char *from, const char *to,
                     bool replace)
{
    struct memfs_mount *mount = (struct memfs_mount *)fs;
    if (kvt_memfs_has(mount, MEMFS_NO_RENAME) ||
        (!replace && kvt_memfs_has(mount, MEMFS_NO_NOREPLACE))) {
        return -EOPNOTSUPP;
    }
    struct two_places two;
    int rc = find_two(mount, from, to, &two);
    if (rc != 0) {
        return rc;
    }
    struct memfs_entry *target;
    struct memfs_inode *before = NULL;
    struct memfs_inode *moved = NULL;
    lock_two(&two);
    rc = enter_second(&two, replace, &target);
    if (rc == 0) {
        struct memfs_entry *source = kvt_memfs_find(&two.from);
        moved = source->inode;
        if (target->inode != moved) { /* else two names of one file stay */
            kvt_memfs_inode_hold(moved);
            before = kvt_memfs_set(mount, &two.to, target, moved);
            kvt_memfs_set(mount, &two.from, source, NULL);
        } else {
            moved = NULL;
        }
    }
    unlock_two(&two);
    if (moved != NULL) {
        kvt_memfs_inode_unnamed(mount, moved);
    }
    if (before != NULL) {
        kvt_memfs_inode_unnamed(mount, before);
    }
    return rc;
}

int kvt_memfs_link(struct kvt_fs *fs, const char *from, const char *to)
{
    struct memfs_mount *mount = (struct memfs_mount *)fs;
    if (kvt_memfs_has(mount, MEMFS_NO_LINKS)) {
        return -EOPNOTSUPP;
    }
    struct two_places two;
    int rc = find_two(mount, from, to, &two);
    if (rc != 0) {
        return rc;
    }
    struct memfs_entry *target;
    lock_two(&two);
    rc = enter_second(&two, false, &target);
    if (rc == 0) {
        struct memfs_inode *inode = kvt_memfs_find(&two.from)->inode;
        kvt_memfs_inode_hold(inode);
        kvt_memfs_set(mount, &two.to, target, inode);
    }
    unlock_two(&two);
    return rc;
}

/* Publish: as an object store's put --------------------------------------- */

static int switch_name(struct memfs_mount *mount,
                       const struct memfs_place *place, bool replace,
                       struct memfs_inode *inode, struct memfs_inode **before)
{
    struct memfs_entry *entry;
    pthread_rwlock_wrlock(&place->dir->lock);
    int rc = place->slash ? -EISDIR : kvt_memfs_enter(place, &entry);
    if (rc == 0 && !kvt_memfs_is_free(entry) && !replace) {
        kvt_memfs_settle(entry);
        rc = -EEXIST;
    }
    if (rc == 0 && entry->dir != NULL) {
        rc = -EISDIR;
    }
    if (rc == 0) {
        *before = kvt_memfs_set(mount, place, entry, inode);
    }
    pthread_rwlock_unlock(&place->dir->lock);
    return rc;
}

int64_t kvt_memfs_publish(struct memfs_mount *mount, struct kvt_fs_elem *elem)
{
    if (!kvt_memfs_has(mount, MEMFS_NO_RENAME)) {
        return -EOPNOTSUPP; /* the core does it by rename */
    }
    uint64_t bytes = kvt_fs_elem_bytes(elem);
    if (bytes > MEMFS_FILE_MAX) {
        return -EFBIG;
    }
    struct memfs_place place;
    int rc = kvt_memfs_file_place(mount, elem->path, true, &place);
    if (rc != 0) {
        return rc;
    }
    bool replace = (elem->flags & KVT_FS_IF_ABSENT) == 0;
    struct memfs_inode *before = NULL;
    struct memfs_inode *inode = kvt_memfs_inode_new(mount->disk);
    rc = -ENOMEM;
    if (inode != NULL) {
        /* nobody else has it: its lock is free, and not needed */
        rc = kvt_memfs_inode_write(mount, inode, 0, elem->slices,
                                   elem->slice_count);
        inode->shown_until_ns = 0; /* it never had another size */
    }
    if (rc == 0) {
        rc = switch_name(mount, &place, replace, inode, &before);
    }
    kvt_memfs_dir_unref(place.dir);
    if (rc != 0 && inode != NULL) {
        kvt_memfs_inode_unhold(inode);
    }
    if (before != NULL) {
        kvt_memfs_inode_unnamed(mount, before);
    }
    return rc != 0 ? rc : (int64_t)bytes;
}
