/* A file system in the memory of this process, complete and exact, that can be
 * told to lack what mounts lack (mem.facts): so layouts and the contract suite
 * meet every kind of mount on any machine. Its data stay until the process
 * ends; a fact about a killed process is therefore a pretence, which the
 * crash wrapper keeps up. */
#include "fs/mem.h"

#include "core/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_DEFAULT (UINT64_C(1) << 40)

static pthread_mutex_t disks_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct memfs_disk *disks; /* under disks_mutex */

int kvt_memfs_lock_init(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attr;
    int rc = pthread_rwlockattr_init(&attr);
    if (rc == 0) {
#ifdef __GLIBC__
        pthread_rwlockattr_setkind_np(
            &attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
#endif
        rc = pthread_rwlock_init(lock, &attr);
        pthread_rwlockattr_destroy(&attr);
    }
    return -rc;
}

/* Capacity ---------------------------------------------------------------- */

int kvt_memfs_charge(struct memfs_disk *disk, uint64_t units)
{
    uint64_t capacity = __atomic_load_n(&disk->capacity, __ATOMIC_RELAXED);
    uint64_t used = __atomic_load_n(&disk->used, __ATOMIC_RELAXED);
    do {
        if (used > capacity || units > capacity - used) {
            return -ENOSPC;
        }
    } while (!__atomic_compare_exchange_n(&disk->used, &used, used + units,
                                          true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return 0;
}

void kvt_memfs_uncharge(struct memfs_disk *disk, uint64_t units)
{
    __atomic_fetch_sub(&disk->used, units, __ATOMIC_RELAXED);
}

static int mem_usage(struct kvt_fs *fs, struct kvt_fs_usage *usage)
{
    const struct memfs_disk *disk = ((struct memfs_mount *)fs)->disk;
    uint64_t capacity = __atomic_load_n(&disk->capacity, __ATOMIC_RELAXED);
    uint64_t used = __atomic_load_n(&disk->used, __ATOMIC_RELAXED);
    usage->capacity = capacity * MEMFS_UNIT;
    usage->available = used < capacity ? (capacity - used) * MEMFS_UNIT : 0;
    return 0;
}

/* Elements ---------------------------------------------------------------- */

static int64_t mem_sync(struct memfs_mount *mount, struct kvt_fs_elem *elem)
{
    if (elem->file != NULL) {
        return kvt_memfs_commit(mount,
                                ((struct memfs_file *)elem->file)->inode);
    }
    struct memfs_dir *dir;
    int rc = kvt_memfs_find_dir(mount, elem->path, false, &dir);
    if (rc == 0) {
        kvt_memfs_dir_unref(dir);
    }
    return rc;
}

static int64_t mem_execute(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    struct memfs_mount *mount = (struct memfs_mount *)fs;
    switch (elem->op) {
    case KVT_FS_READ:
    case KVT_FS_WRITE:
        return kvt_memfs_transfer(mount, elem);
    case KVT_FS_DATASYNC:
    case KVT_FS_SYNC:
        return mem_sync(mount, elem);
    case KVT_FS_PUNCH:
        if (kvt_memfs_has(mount, MEMFS_NO_PUNCH)) {
            return -EOPNOTSUPP;
        }
        return kvt_memfs_punch(mount, elem);
    case KVT_FS_OPEN:
        return kvt_memfs_open(mount, elem);
    case KVT_FS_CLOSE:
        return kvt_memfs_close(mount, elem->file);
    case KVT_FS_STAT:
        return kvt_memfs_stat(mount, elem);
    case KVT_FS_REMOVE:
        return kvt_memfs_remove(mount, elem->path);
    case KVT_FS_PUBLISH:
        return kvt_memfs_publish(mount, elem);
    default:
        return -EOPNOTSUPP; /* the core emulates it */
    }
}

/* Mount ------------------------------------------------------------------- */

/* Copies an absolute path with each slash once, and none at the end. */
static void normalize(const char *root, char *name)
{
    size_t size = 0;
    for (; *root != '\0'; root++) {
        if (*root != '/' || (root[1] != '/' && root[1] != '\0')) {
            name[size++] = *root;
        }
    }
    name[size] = '\0';
}

static struct memfs_disk *disk_new(const char *root)
{
    struct memfs_disk *disk = calloc(1, sizeof *disk + strlen(root) + 1);
    if (disk == NULL) {
        return NULL;
    }
    disk->root = kvt_memfs_dir_new(0);
    if (disk->root == NULL) {
        free(disk);
        return NULL;
    }
    normalize(root, disk->name);
    disk->used = 1; /* the root */
    pthread_mutex_init(&disk->mutex, NULL);
    return disk;
}

/* The file system at `root`; a new one when it is missing and may be made.
 * Null when there is none; disks_mutex is held. */
static struct memfs_disk *disk_at(const char *root, bool make)
{
    struct memfs_disk *fresh = disk_new(root);
    if (fresh == NULL) {
        return NULL;
    }
    struct memfs_disk *disk = disks;
    while (disk != NULL && strcmp(disk->name, fresh->name) != 0) {
        disk = disk->next;
    }
    if (disk == NULL && make) {
        fresh->next = disks;
        disks = fresh;
        return fresh;
    }
    kvt_memfs_dir_unref(fresh->root);
    pthread_mutex_destroy(&fresh->mutex);
    free(fresh);
    return disk;
}

static int mount_failed(const struct kvt_fs_mount_args *args, int errnum,
                        struct kvt_error *err)
{
    if (errnum == ENOMEM) {
        return kvt_error_set(err, KVT_ERR_INTERNAL, ENOMEM, args->root, NULL,
                             "no memory to mount");
    }
    return kvt_error_set(err, KVT_ERR_FILE_NOT_FOUND, errnum, args->root,
                         "mount it for writing first, in this process: what "
                         "mem holds ends with its process",
                         "this process has no file system in memory there");
}

static int mem_mount(const struct kvt_fs_mount_args *args, struct kvt_fs **out,
                     struct kvt_error *err)
{
    uint32_t words;
    int rc = kvt_memfs_words(args->config, &words, err);
    if (rc == KVT_OK) {
        rc = kvt_memfs_check_direct(args->config, words, err);
    }
    if (rc != KVT_OK) {
        return rc;
    }
    struct memfs_mount *mount = calloc(1, sizeof *mount);
    if (mount == NULL) {
        return mount_failed(args, ENOMEM, err);
    }
    uint64_t capacity = kvt_config_u64(args->config, "mem.capacity");
    capacity = capacity != 0 ? capacity : CAPACITY_DEFAULT;
    pthread_mutex_lock(&disks_mutex);
    struct memfs_disk *disk = disk_at(args->root, !args->read_only);
    if (disk != NULL) {
        mount->disk = disk;
        mount->number = ++disk->mount_count;
        /* as a remount: the last one tells */
        __atomic_store_n(&disk->capacity, capacity / MEMFS_UNIT,
                         __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&disks_mutex);
    if (disk == NULL) {
        free(mount);
        return mount_failed(args, args->read_only ? ENOENT : ENOMEM, err);
    }
    extern const struct kvt_fs_ops kvt_fs_mem;
    mount->base.ops = &kvt_fs_mem;
    mount->words = words;
    kvt_memfs_facts(words, &mount->base.facts);
    if (kvt_memfs_has(mount, MEMFS_CLOSE_TO_OPEN)) {
        __atomic_fetch_add(&disk->stale_mounts, 1, __ATOMIC_RELAXED);
    }
    *out = &mount->base;
    return KVT_OK;
}

static void mem_unmount(struct kvt_fs *fs)
{
    struct memfs_mount *mount = (struct memfs_mount *)fs;
    kvt_memfs_commit_all(mount);
    if (kvt_memfs_has(mount, MEMFS_CLOSE_TO_OPEN)) {
        __atomic_fetch_sub(&mount->disk->stale_mounts, 1, __ATOMIC_RELAXED);
    }
    free(mount);
}

const struct kvt_fs_ops kvt_fs_mem = {
    .size = sizeof(struct kvt_fs_ops),
    .version = KVT_FS_VERSION,
    .name = "mem",
    .summary = "the memory of this process, with the facts that you choose",
    .mount = mem_mount,
    .unmount = mem_unmount,
    .execute = mem_execute,
    .mkdirs = kvt_memfs_mkdirs,
    .list = kvt_memfs_list,
    .rename = kvt_memfs_rename,
    .rmdir = kvt_memfs_rmdir,
    .usage = mem_usage,
    .link = kvt_memfs_link,
    .truncate = kvt_memfs_truncate,
    .allocate = kvt_memfs_allocate,
    .lock = kvt_memfs_lock,
    .unlock = kvt_memfs_unlock,
};
