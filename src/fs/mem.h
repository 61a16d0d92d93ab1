/* The mem adapter: file systems in the memory of this process, one for each
 * root path. A mount is a host's view of one; two mounts of one root are two
 * hosts.
 *
 * Locks, in this order: directories (those nearer to the root first, then by
 * address), one file, the file system's mutex. Bytes are copied under the
 * lock of their file alone. Counts marked atomic need none. */
#ifndef KVT_FS_MEM_H
#define KVT_FS_MEM_H

#include <kvtier/fs.h>
#include <pthread.h>

#define MEMFS_UNIT 4096u                 /* bytes of an allocation unit */
#define MEMFS_CHUNK 65536u               /* bytes of one piece of memory */
#define MEMFS_FILE_MAX (1ull << 44)      /* bytes of a file */
#define MEMFS_STALE_NS INT64_C(50000000) /* how long a stale view lasts */

/* Words of mem.facts: each a behaviour, and the fact that tells of it. */
enum memfs_word {
    MEMFS_NO_RENAME = 1u << 0,
    MEMFS_NO_NOREPLACE = 1u << 1,
    MEMFS_NO_LINKS = 1u << 2,
    MEMFS_NO_OVERWRITE = 1u << 3,
    MEMFS_ALIGN4096 = 1u << 4,
    MEMFS_TRANSFER64K = 1u << 5,
    MEMFS_SLICES4 = 1u << 6,
    MEMFS_CLOSE_TO_OPEN = 1u << 7,
    MEMFS_AFTER_SYNC = 1u << 8,
    MEMFS_LOST_ON_KILL = 1u << 9,
    MEMFS_REMOVED_GONE = 1u << 10,
    MEMFS_TRASH = 1u << 11,
    MEMFS_SHARED = 1u << 12,
    MEMFS_SHORT_NAMES = 1u << 13,
    MEMFS_NO_EXCLUSIVE = 1u << 14,
    MEMFS_NO_PUNCH = 1u << 15,
};

/* mem_words.c: reads mem.facts. KVT_OK, or a public code with `err` filled. */
int kvt_memfs_words(const struct kvt_config *config, uint32_t *words,
                    struct kvt_error *err);
/* A mount cannot keep `direct` if its facts say otherwise: the same. */
int kvt_memfs_check_direct(const struct kvt_config *config, uint32_t words,
                           struct kvt_error *err);
/* The facts of a mount with these words. */
void kvt_memfs_facts(uint32_t words, struct kvt_fs_facts *facts);

/* File systems and mounts: mem.c ------------------------------------------ */

struct memfs_disk {
    struct memfs_disk *next; /* of all; none ever goes */
    struct memfs_dir *root;
    /* atomic */
    uint64_t capacity; /* units */
    uint64_t used;
    uint64_t mount_count;  /* since ever: gives each its number */
    uint32_t stale_mounts; /* that see names and sizes late */
    pthread_mutex_t mutex; /* of the mounts' `pendings` and all `locked` */
    char name[];           /* the root's path */
};

struct memfs_mount {
    struct kvt_fs base;
    struct memfs_disk *disk;
    uint64_t number;
    uint32_t words;
    struct memfs_pending *pendings; /* under disk->mutex */
};

static inline bool kvt_memfs_has(const struct memfs_mount *mount,
                                 enum memfs_word word)
{
    return (mount->words & (uint32_t)word) != 0;
}

/* Do other mounts see names and sizes late? */
static inline bool kvt_memfs_others_stale(const struct memfs_mount *mount)
{
    uint32_t own = kvt_memfs_has(mount, MEMFS_CLOSE_TO_OPEN) ? 1 : 0;
    return __atomic_load_n(&mount->disk->stale_mounts, __ATOMIC_RELAXED) > own;
}

/* Takes units of the capacity: 0 or -ENOSPC. */
int kvt_memfs_charge(struct memfs_disk *disk, uint64_t units);
void kvt_memfs_uncharge(struct memfs_disk *disk, uint64_t units);
/* A lock that readers do not keep from writers. 0 or -errno. */
int kvt_memfs_lock_init(pthread_rwlock_t *lock);

/* Bytes: mem_data.c ------------------------------------------------------- */

/* The memory holds zeros wherever nothing was written, also past the end. */
struct memfs_chunk {
    unsigned char *bytes;
    uint32_t capacity; /* bytes that there is memory for; zeros behind */
    uint32_t units;    /* a bit for each unit that is charged */
};

/* Sparse contents; all zeros is empty. */
struct memfs_data {
    struct memfs_chunk first;
    struct memfs_chunk **leaves; /* the others, in groups; null: none of it */
    uint32_t leaf_count;
    uint64_t units; /* charged */
};

/* Charges the units of [from, to) that are not yet: all, or -ENOSPC. */
int kvt_memfs_data_reserve(struct memfs_disk *disk, struct memfs_data *data,
                           uint64_t from, uint64_t to);
/* 0, or -ENOMEM with some of the bytes written. Charges nothing. */
int kvt_memfs_data_write(struct memfs_data *data, uint64_t offset,
                         const void *bytes, uint64_t size);
void kvt_memfs_data_read(const struct memfs_data *data, uint64_t offset,
                         void *bytes, uint64_t size);
/* Writes [from, to) of `source` to the same place. 0 or -ENOMEM. */
int kvt_memfs_data_copy(struct memfs_data *data,
                        const struct memfs_data *source, uint64_t from,
                        uint64_t to);
/* Makes [from, to) zero and gives back its whole units. */
void kvt_memfs_data_punch(struct memfs_disk *disk, struct memfs_data *data,
                          uint64_t from, uint64_t to);
/* Frees the memory; what is charged is the caller's to give back. */
void kvt_memfs_data_fini(struct memfs_data *data);

/* Files: mem_inode.c, mem_pending.c --------------------------------------- */

struct memfs_inode {
    struct memfs_disk *disk;
    /* atomic */
    uint32_t refs;  /* of the memory: holds, and views of the past */
    uint32_t holds; /* of the space: names and opens */
    uint32_t names;
    uint32_t trashed;    /* its space stays taken */
    uint64_t size;       /* changes under `lock` */
    int64_t modified_ns; /* Unix time */
    pthread_rwlock_t lock;
    /* under lock */
    struct memfs_data data;
    struct memfs_pending *pendings; /* written, not to be seen by others */
    uint64_t shown_size; /* what stale mounts see until `shown_until_ns` */
    int64_t shown_until_ns;
    uint64_t shown_by; /* number of the mount that changed the size */
    /* under disk->mutex */
    struct memfs_lock *locked;
};

struct memfs_file {
    struct kvt_fs_file base;
    struct memfs_inode *inode;
    bool writable;
    bool holds; /* false for a file that only a stale name led to */
};

/* Returns a file without a name, with one reference and one hold, or null. */
struct memfs_inode *kvt_memfs_inode_new(struct memfs_disk *disk);
void kvt_memfs_inode_ref(struct memfs_inode *inode);
void kvt_memfs_inode_unref(struct memfs_inode *inode);
/* One more reference and hold; false, and a reference only, when nothing
 * holds it any more. The caller has a reference. */
bool kvt_memfs_inode_hold(struct memfs_inode *inode);
void kvt_memfs_inode_unhold(struct memfs_inode *inode);
/* A name took over the hold of the caller; a name gives its hold up. */
void kvt_memfs_inode_named(struct memfs_inode *inode);
void kvt_memfs_inode_unnamed(struct memfs_mount *mount,
                             struct memfs_inode *inode);
/* The size that this mount sees. */
uint64_t kvt_memfs_inode_size(struct memfs_mount *mount,
                              struct memfs_inode *inode, bool fresh);
/* Sets the size that all see; the lock is held for writing. */
void kvt_memfs_inode_resize(struct memfs_mount *mount,
                            struct memfs_inode *inode, uint64_t size);
/* Writes, charges and resizes for all to see; the lock is held for writing.
 * All, or an error and nothing changed but perhaps bytes below the size. */
int kvt_memfs_inode_write(struct memfs_mount *mount, struct memfs_inode *inode,
                          uint64_t offset, const struct kvt_slice *slices,
                          uint32_t slice_count);

/* READ, WRITE, PUNCH. */
int64_t kvt_memfs_transfer(struct memfs_mount *mount, struct kvt_fs_elem *elem);
int kvt_memfs_punch(struct memfs_mount *mount, struct kvt_fs_elem *elem);
int kvt_memfs_truncate(struct kvt_fs *fs, struct kvt_fs_file *file,
                       uint64_t size);
int kvt_memfs_allocate(struct kvt_fs *fs, struct kvt_fs_file *file,
                       uint64_t size);

/* What one mount wrote to one file and the others may not see yet. */
struct memfs_pending;

/* What the mount has pending there, or null; the file's lock is held. */
struct memfs_pending *kvt_memfs_pending_of(const struct memfs_mount *mount,
                                           const struct memfs_inode *inode);
/* Where its bytes end. */
uint64_t kvt_memfs_pending_end(const struct memfs_pending *pending);
/* Writes; the file's lock is held for writing, the space is charged. */
int kvt_memfs_pending_write(struct memfs_mount *mount,
                            struct memfs_inode *inode, uint64_t offset,
                            const struct kvt_slice *slices,
                            uint32_t slice_count);
/* Lays what is pending over bytes that were read. */
void kvt_memfs_pending_read(const struct memfs_pending *pending,
                            uint64_t offset, unsigned char *bytes,
                            uint64_t size);
/* Shows others what the mount has pending; the lock is held for writing. */
int kvt_memfs_commit_locked(struct memfs_mount *mount,
                            struct memfs_inode *inode);
int kvt_memfs_commit(struct memfs_mount *mount, struct memfs_inode *inode);
/* At unmount: all that it has. */
void kvt_memfs_commit_all(struct memfs_mount *mount);
/* Of a file that is gone; its lock is held for writing. */
void kvt_memfs_pending_drop_all(struct memfs_inode *inode);
int64_t kvt_memfs_unix_ns(void);

/* Names: mem_dir.c -------------------------------------------------------- */

/* What a name meant before, to mounts that see names late. */
struct memfs_stale {
    struct memfs_inode *inode; /* null: nothing */
    int64_t until_ns;
    uint64_t by; /* number of the mount that changed it, which sees that */
};

struct memfs_entry {
    struct memfs_entry *next;  /* in its bucket */
    struct memfs_dir *dir;     /* what it is: one of the two, or, when only */
    struct memfs_inode *inode; /* its past is left, neither */
    struct memfs_stale *stale; /* or null */
    uint64_t hash;
    uint16_t name_size;
    char name[];
};

struct memfs_dir {
    uint32_t refs; /* atomic */
    uint32_t depth;
    pthread_rwlock_t lock;
    /* under lock */
    bool removed;
    struct memfs_entry **buckets;
    size_t bucket_count; /* a power of 2, or 0 */
    size_t entry_count;
    size_t past_count; /* entries that are only past */
    int64_t next_sweep_ns;
};

/* The last name of a path. */
struct memfs_place {
    struct memfs_dir *dir; /* the caller's reference */
    const char *name;
    size_t name_size; /* 0: the path is that of `dir` itself */
    uint64_t hash;
    bool slash; /* one stands behind it: only a directory will do */
};

struct memfs_dir *kvt_memfs_dir_new(uint32_t depth);
void kvt_memfs_dir_unref(struct memfs_dir *dir);
/* Finds the directory that the path's last name lies in, or makes it and its
 * parents. 0, and `place` (end with kvt_memfs_dir_unref), or -errno. */
int kvt_memfs_place(struct memfs_mount *mount, const char *path, bool make,
                    struct memfs_place *place);
/* The same, for the path of a directory: returns it (end with
 * kvt_memfs_dir_unref). */
int kvt_memfs_find_dir(struct memfs_mount *mount, const char *path, bool make,
                       struct memfs_dir **dir);

/* With the directory's lock held. */
struct memfs_entry *kvt_memfs_find(const struct memfs_place *place);
/* What the mount sees there: null for nothing, or for a directory. */
struct memfs_inode *kvt_memfs_seen(const struct memfs_mount *mount,
                                   const struct memfs_entry *entry);
/* With the lock held for writing: the entry, made when missing; the caller
 * gives it a meaning at once. -ENOMEM, or -ENOENT for a removed directory. */
int kvt_memfs_enter(const struct memfs_place *place,
                    struct memfs_entry **entry);
/* Gives a name another meaning, or none. Returns what it meant before (end
 * with kvt_memfs_inode_unnamed, when no directory is locked any more). */
struct memfs_inode *kvt_memfs_set(struct memfs_mount *mount,
                                  const struct memfs_place *place,
                                  struct memfs_entry *entry,
                                  struct memfs_inode *inode);
/* Every mount sees what it means now. */
void kvt_memfs_settle(struct memfs_entry *entry);
/* Drops an entry without any meaning. */
void kvt_memfs_forget(const struct memfs_place *place,
                      struct memfs_entry *entry);

/* Operations on names: mem_names.c, mem_rename.c, mem_list.c -------------- */

/* The place of a file: -EISDIR for the path of a directory itself. */
int kvt_memfs_file_place(struct memfs_mount *mount, const char *path, bool make,
                         struct memfs_place *place);
/* Why an entry (null: none) is not the file that was asked for, or 0. */
int kvt_memfs_not_a_file(const struct memfs_place *place,
                         const struct memfs_entry *entry);
/* Does the name mean nothing now? Null is no entry. */
static inline bool kvt_memfs_is_free(const struct memfs_entry *entry)
{
    return entry == NULL || (entry->dir == NULL && entry->inode == NULL);
}

int64_t kvt_memfs_open(struct memfs_mount *mount, struct kvt_fs_elem *elem);
int64_t kvt_memfs_close(struct memfs_mount *mount, struct kvt_fs_file *file);
int64_t kvt_memfs_stat(struct memfs_mount *mount, struct kvt_fs_elem *elem);
int64_t kvt_memfs_remove(struct memfs_mount *mount, const char *path);
int64_t kvt_memfs_publish(struct memfs_mount *mount, struct kvt_fs_elem *elem);
int kvt_memfs_mkdirs(struct kvt_fs *fs, const char *path);
int kvt_memfs_rmdir(struct kvt_fs *fs, const char *path);
int kvt_memfs_rename(struct kvt_fs *fs, const char *from, const char *to,
                     bool replace);
int kvt_memfs_link(struct kvt_fs *fs, const char *from, const char *to);
int kvt_memfs_list(struct kvt_fs *fs, const char *path, bool sizes,
                   kvt_fs_list_fn each, void *arg);

/* Locks: mem_lock.c ------------------------------------------------------- */

int kvt_memfs_lock(struct kvt_fs *fs, const char *path, const char *holder,
                   char *owner, size_t owner_size, struct kvt_fs_lock **lock);
void kvt_memfs_unlock(struct kvt_fs_lock *lock);

#endif
