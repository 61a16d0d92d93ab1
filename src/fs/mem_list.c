/* Listing: what the directory holds is copied under its lock, and told
 * without it, so that the listener may change the directory. */
#include "fs/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct listed {
    struct memfs_inode *inode; /* a reference; null for a directory */
    char *name;
};

struct listing {
    struct listed *entries;
    size_t count;
    char *names;
};

/* Copies what the mount sees; the lock of the directory is held. What it sees
 * may become less while this runs: room is for all there is. */
static int copy_entries(const struct memfs_mount *mount,
                        const struct memfs_dir *dir, struct listing *listing)
{
    size_t bytes = 0;
    for (size_t i = 0; i < dir->bucket_count; i++) {
        for (const struct memfs_entry *entry = dir->buckets[i]; entry != NULL;
             entry = entry->next) {
            bytes += (size_t)entry->name_size + 1;
        }
    }
    if (dir->entry_count == 0) {
        return 0;
    }
    listing->entries = malloc(dir->entry_count * sizeof listing->entries[0]);
    listing->names = malloc(bytes);
    if (listing->entries == NULL || listing->names == NULL) {
        return -ENOMEM;
    }
    char *name = listing->names;
    for (size_t i = 0; i < dir->bucket_count; i++) {
        for (const struct memfs_entry *entry = dir->buckets[i]; entry != NULL;
             entry = entry->next) {
            struct memfs_inode *inode =
                entry->dir == NULL ? kvt_memfs_seen(mount, entry) : NULL;
            if (entry->dir == NULL && inode == NULL) {
                continue;
            }
            if (inode != NULL) {
                kvt_memfs_inode_ref(inode);
            }
            memcpy(name, entry->name, (size_t)entry->name_size + 1);
            listing->entries[listing->count++] = (struct listed){inode, name};
            name += (size_t)entry->name_size + 1;
        }
    }
    return 0;
}

static int tell(struct memfs_mount *mount, const struct listed *listed,
                bool sizes, kvt_fs_list_fn each, void *arg)
{
    struct kvt_fs_dirent entry = {.name = listed->name,
                                  .type = KVT_FS_TYPE_DIRECTORY};
    if (listed->inode != NULL) {
        entry.type = KVT_FS_TYPE_FILE;
    }
    if (listed->inode != NULL && sizes) {
        entry.size = kvt_memfs_inode_size(mount, listed->inode, false);
        entry.modified_ns =
            __atomic_load_n(&listed->inode->modified_ns, __ATOMIC_RELAXED);
    }
    return each(&entry, arg);
}

int kvt_memfs_list(struct kvt_fs *fs, const char *path, bool sizes,
                   kvt_fs_list_fn each, void *arg)
{
    struct memfs_mount *mount = (struct memfs_mount *)fs;
    struct memfs_dir *dir;
    int rc = kvt_memfs_find_dir(mount, path, false, &dir);
    if (rc != 0) {
        return rc;
    }
    struct listing listing = {0};
    pthread_rwlock_rdlock(&dir->lock);
    rc = copy_entries(mount, dir, &listing);
    pthread_rwlock_unlock(&dir->lock);
    kvt_memfs_dir_unref(dir);
    for (size_t i = 0; i < listing.count; i++) {
        if (rc == 0) {
            rc = tell(mount, &listing.entries[i], sizes, each, arg);
        }
        if (listing.entries[i].inode != NULL) {
            kvt_memfs_inode_unref(listing.entries[i].inode);
        }
    }
    free(listing.entries);
    free(listing.names);
    return rc;
}
