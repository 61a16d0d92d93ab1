/* Directories: a hash table of names each, what the names mean, and what they
 * meant until a moment ago. Directories never move, so their depth is a
 * lasting order for their locks. */
#include "fs/mem.h"

#include "core/clock.h"
#include "core/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAST_MAX = 64
}; /* entries of a directory that are only past, before it is swept */

struct memfs_dir *kvt_memfs_dir_new(uint32_t depth)
{
    struct memfs_dir *dir = calloc(1, sizeof *dir);
    if (dir != NULL && kvt_memfs_lock_init(&dir->lock) != 0) {
        free(dir);
        dir = NULL;
    }
    if (dir != NULL) {
        dir->refs = 1;
        dir->depth = depth;
    }
    return dir;
}

static void dir_ref(struct memfs_dir *dir)
{
    __atomic_fetch_add(&dir->refs, 1, __ATOMIC_RELAXED);
}

static void drop_stale(struct memfs_entry *entry)
{
    if (entry->stale != NULL && entry->stale->inode != NULL) {
        kvt_memfs_inode_unref(entry->stale->inode);
    }
    free(entry->stale);
    entry->stale = NULL;
}

void kvt_memfs_dir_unref(struct memfs_dir *dir)
{
    if (__atomic_sub_fetch(&dir->refs, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }
    for (size_t i = 0; i < dir->bucket_count; i++) {
        while (dir->buckets[i] != NULL) {
            struct memfs_entry *entry = dir->buckets[i];
            dir->buckets[i] = entry->next;
            drop_stale(entry);
            free(entry);
        }
    }
    free(dir->buckets);
    pthread_rwlock_destroy(&dir->lock);
    free(dir);
}

/* Entries ----------------------------------------------------------------- */

static struct memfs_entry **bucket_of(const struct memfs_dir *dir,
                                      uint64_t hash)
{
    return &dir->buckets[hash & (dir->bucket_count - 1)];
}

struct memfs_entry *kvt_memfs_find(const struct memfs_place *place)
{
    const struct memfs_dir *dir = place->dir;
    struct memfs_entry *entry =
        dir->bucket_count > 0 ? *bucket_of(dir, place->hash) : NULL;
    while (entry != NULL &&
           (entry->hash != place->hash ||
            entry->name_size != place->name_size ||
            memcmp(entry->name, place->name, place->name_size) != 0)) {
        entry = entry->next;
    }
    return entry;
}

static int grow(struct memfs_dir *dir)
{
    size_t count = dir->bucket_count > 0 ? dir->bucket_count * 2 : 8;
    struct memfs_entry **buckets = calloc(count, sizeof buckets[0]);
    if (buckets == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < dir->bucket_count; i++) {
        struct memfs_entry *entry = dir->buckets[i];
        while (entry != NULL) {
            struct memfs_entry *next = entry->next;
            entry->next = buckets[entry->hash & (count - 1)];
            buckets[entry->hash & (count - 1)] = entry;
            entry = next;
        }
    }
    free(dir->buckets);
    dir->buckets = buckets;
    dir->bucket_count = count;
    return 0;
}

static bool is_past(const struct memfs_entry *entry)
{
    return entry->inode == NULL && entry->dir == NULL;
}

/* Drops what nobody sees any more. Until some of it can be, once is enough. */
static void sweep(struct memfs_dir *dir)
{
    int64_t now_ns = kvt_clock_ns();
    if (now_ns < dir->next_sweep_ns) {
        return;
    }
    dir->next_sweep_ns = now_ns + MEMFS_STALE_NS;
    for (size_t i = 0; i < dir->bucket_count; i++) {
        struct memfs_entry **at = &dir->buckets[i];
        while (*at != NULL) {
            struct memfs_entry *entry = *at;
            if (!is_past(entry) || entry->stale->until_ns > now_ns) {
                at = &entry->next;
                continue;
            }
            *at = entry->next;
            drop_stale(entry);
            free(entry);
            dir->entry_count--;
            dir->past_count--;
        }
    }
}

int kvt_memfs_enter(const struct memfs_place *place, struct memfs_entry **out)
{
    struct memfs_dir *dir = place->dir;
    if (dir->removed) {
        return -ENOENT;
    }
    *out = kvt_memfs_find(place);
    if (*out != NULL) {
        return 0;
    }
    if (dir->entry_count >= dir->bucket_count && grow(dir) != 0) {
        return -ENOMEM;
    }
    struct memfs_entry *entry = calloc(1, sizeof *entry + place->name_size + 1);
    if (entry == NULL) {
        return -ENOMEM;
    }
    entry->hash = place->hash;
    entry->name_size = (uint16_t)place->name_size;
    memcpy(entry->name, place->name, place->name_size);
    struct memfs_entry **bucket = bucket_of(dir, place->hash);
    entry->next = *bucket;
    *bucket = entry;
    dir->entry_count++;
    dir->past_count++; /* until it means something */
    *out = entry;
    return 0;
}

void kvt_memfs_forget(const struct memfs_place *place,
                      struct memfs_entry *entry)
{
    struct memfs_dir *dir = place->dir;
    struct memfs_entry **at = bucket_of(dir, entry->hash);
    while (*at != entry) {
        at = &(*at)->next;
    }
    *at = entry->next;
    dir->entry_count--;
    dir->past_count -= is_past(entry) ? 1 : 0;
    drop_stale(entry);
    free(entry);
}

/* Meanings ---------------------------------------------------------------- */

struct memfs_inode *kvt_memfs_seen(const struct memfs_mount *mount,
                                   const struct memfs_entry *entry)
{
    const struct memfs_stale *stale = entry->stale;
    bool late = stale != NULL && kvt_memfs_has(mount, MEMFS_CLOSE_TO_OPEN) &&
                stale->by != mount->number && kvt_clock_ns() < stale->until_ns;
    return late ? stale->inode : entry->inode;
}

void kvt_memfs_settle(struct memfs_entry *entry)
{
    drop_stale(entry);
}

/* Keeps what the entry means now for those who are to see it a while longer.
 * A mount sees its own changes: what it did before is nobody's past. */
static void keep_past(const struct memfs_mount *mount,
                      struct memfs_entry *entry)
{
    struct memfs_stale *stale = entry->stale;
    if (!kvt_memfs_others_stale(mount)) {
        drop_stale(entry);
        return;
    }
    int64_t now_ns = kvt_clock_ns();
    if (stale != NULL && stale->by == mount->number &&
        now_ns < stale->until_ns) {
        return;
    }
    drop_stale(entry);
    stale = malloc(sizeof *stale);
    if (stale == NULL) {
        return; /* they see the new meaning at once */
    }
    *stale = (struct memfs_stale){entry->inode, now_ns + MEMFS_STALE_NS,
                                  mount->number};
    if (stale->inode != NULL) {
        kvt_memfs_inode_ref(stale->inode);
    }
    entry->stale = stale;
}

struct memfs_inode *kvt_memfs_set(struct memfs_mount *mount,
                                  const struct memfs_place *place,
                                  struct memfs_entry *entry,
                                  struct memfs_inode *inode)
{
    struct memfs_dir *dir = place->dir;
    struct memfs_inode *before = entry->inode;
    keep_past(mount, entry);
    dir->past_count -= is_past(entry) ? 1 : 0;
    entry->inode = inode;
    dir->past_count += is_past(entry) ? 1 : 0;
    if (inode != NULL) {
        kvt_memfs_inode_named(inode);
    } else if (entry->stale == NULL) {
        kvt_memfs_forget(place, entry);
    } else if (dir->past_count > PAST_MAX + dir->entry_count / 2) {
        sweep(dir);
    }
    return before;
}

/* Paths ------------------------------------------------------------------- */

/* Makes the directory that a place names. 0 also when somebody was faster. */
static int make_dir(struct memfs_mount *mount, const struct memfs_place *place)
{
    struct memfs_dir *child = kvt_memfs_dir_new(place->dir->depth + 1);
    if (child == NULL) {
        return -ENOMEM;
    }
    int rc = kvt_memfs_charge(mount->disk, 1);
    if (rc != 0) {
        kvt_memfs_dir_unref(child);
        return rc;
    }
    struct memfs_entry *entry;
    pthread_rwlock_wrlock(&place->dir->lock);
    rc = kvt_memfs_enter(place, &entry);
    bool made = rc == 0 && is_past(entry);
    if (made) {
        /* directories are seen at once */
        drop_stale(entry);
        entry->dir = child;
        place->dir->past_count--;
    }
    pthread_rwlock_unlock(&place->dir->lock);
    if (!made) {
        kvt_memfs_uncharge(mount->disk, 1);
        kvt_memfs_dir_unref(child);
    }
    return rc;
}

/* The directory that a place names; -ENOENT, -ENOTDIR. */
static int look_up_dir(const struct memfs_place *place, struct memfs_dir **dir)
{
    int rc = 0;
    pthread_rwlock_rdlock(&place->dir->lock);
    const struct memfs_entry *entry = kvt_memfs_find(place);
    if (entry == NULL || is_past(entry)) {
        rc = -ENOENT;
    } else if (entry->dir == NULL) {
        rc = -ENOTDIR;
    } else {
        dir_ref(entry->dir);
        *dir = entry->dir;
    }
    pthread_rwlock_unlock(&place->dir->lock);
    return rc;
}

static int step(struct memfs_mount *mount, struct memfs_place *place, bool make)
{
    struct memfs_dir *child;
    int rc = look_up_dir(place, &child);
    if (rc == -ENOENT && make) {
        rc = make_dir(mount, place);
        rc = rc == 0 ? look_up_dir(place, &child) : rc;
    }
    if (rc == 0) {
        kvt_memfs_dir_unref(place->dir);
        place->dir = child;
    }
    return rc;
}

/* The first name of `path`, which is not empty. */
static int take_name(const struct memfs_mount *mount, const char *path,
                     struct memfs_place *place)
{
    place->name = path;
    place->name_size = strcspn(path, "/");
    place->slash = path[place->name_size] == '/';
    if (place->name_size == 2 && memcmp(path, "..", 2) == 0) {
        return -EINVAL; /* paths stay below the root */
    }
    if (place->name_size > mount->base.facts.name_max) {
        return -ENAMETOOLONG;
    }
    place->hash = kvt_hash64(path, place->name_size, 0);
    return 0;
}

static const char *skip_slashes(const char *path)
{
    return path + strspn(path, "/");
}

int kvt_memfs_place(struct memfs_mount *mount, const char *path, bool make,
                    struct memfs_place *place)
{
    if (strlen(path) > mount->base.facts.path_max) {
        return -ENAMETOOLONG;
    }
    if (path[0] == '\0') {
        return -ENOENT;
    }
    *place = (struct memfs_place){.dir = mount->disk->root};
    dir_ref(place->dir);
    int rc = 0;
    path = skip_slashes(path);
    while (*path != '\0' && rc == 0) {
        rc = take_name(mount, path, place);
        path = skip_slashes(path + place->name_size);
        if (place->name_size == 1 && place->name[0] == '.') {
            place->name_size = 0;
        } else if (rc == 0 && *path != '\0') {
            rc = step(mount, place, make);
            place->name_size = 0;
        }
    }
    if (rc != 0) {
        kvt_memfs_dir_unref(place->dir);
    }
    return rc;
}

int kvt_memfs_find_dir(struct memfs_mount *mount, const char *path, bool make,
                       struct memfs_dir **dir)
{
    struct memfs_place place;
    int rc = kvt_memfs_place(mount, path, make, &place);
    if (rc != 0) {
        return rc;
    }
    if (place.name_size > 0) {
        rc = step(mount, &place, make);
    }
    if (rc != 0) {
        kvt_memfs_dir_unref(place.dir);
        return rc;
    }
    *dir = place.dir;
    return 0;
}
