/* Threads list directories and pack what they find into blocks; the caller
 * takes the blocks. There are only so many blocks, so a thread waits while
 * the caller is busy, and memory is bounded. */
#include "backend/distributed_walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    LISTERS_MAX = 8,
    BLOCK_SIZE = 64 << 10,
    DIRECTORIES_MAX = 65536,
};

/* One file in a block; name and key lie behind it. */
struct packed {
    uint64_t file_size;
    int64_t modified_ns;
    uint32_t directory;
    uint16_t name_size;
    uint16_t key_size;
    uint8_t kind;
    char bytes[]; /* name, NUL, key */
};

struct block {
    struct block *next;
    size_t size;
    _Alignas(8) unsigned char bytes[BLOCK_SIZE];
};

struct walk {
    struct dist *dist;
    bool sizes;
    uint8_t present[DIRECTORIES_MAX / 8]; /* a bit a directory */
    uint32_t next;                        /* atomic: directory to list */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* under the mutex */
    struct block *full;
    struct block *full_last;
    struct block *empty;
    unsigned running;
    int rc; /* the first failure of a lister */
    bool stop;
    /* without listers: the caller's own */
    kvt_dist_walk_fn each;
    void *arg;
};

struct lister {
    struct walk *walk;
    struct block *block; /* being filled; null when it goes directly */
    uint32_t directory;
    char name[16];
    bool saw_any; /* file in this directory */
};

/* Which directories are there ---------------------------------------------- */

static int note_directory(const struct kvt_fs_dirent *entry, void *arg)
{
    struct walk *walk = arg;
    const struct kvt_object_layout *layout = &walk->dist->layout;
    char name[16];
    char *end;
    if (entry->type == KVT_FS_TYPE_FILE || strlen(entry->name) > 4) {
        return 0;
    }
    unsigned long number = strtoul(entry->name, &end, 16);
    if (*end != '\0' || number >= layout->directory_count) {
        return 0;
    }
    kvt_object_directory(layout, (uint32_t)number, name);
    if (strcmp(name, entry->name) != 0) { /* one name a directory */
        return 0;
    }
    if (entry->type != KVT_FS_TYPE_DIRECTORY) {
        return -ENOTDIR; /* keys would go through a link, and this would not */
    }
    walk->present[number / 8] |= (uint8_t)(1u << number % 8);
    return 0;
}

/* The next one that nobody lists; false at the end. */
static bool next_directory(struct walk *walk, uint32_t *number)
{
    for (;;) {
        *number = __atomic_fetch_add(&walk->next, 1, __ATOMIC_RELAXED);
        if (*number >= walk->dist->layout.directory_count) {
            return false;
        }
        if ((walk->present[*number / 8] >> *number % 8 & 1) != 0) {
            return true;
        }
    }
}

/* Blocks ------------------------------------------------------------------- */

static size_t packed_size(size_t name_size, size_t key_size)
{
    size_t size = sizeof(struct packed) + name_size + 1 + key_size;
    return (size + 7) & ~(size_t)7;
}

/* Hands a block over and takes an empty one; false when the walk is over. */
static bool swap_block(struct lister *lister)
{
    struct walk *walk = lister->walk;
    struct block *full = lister->block;
    pthread_mutex_lock(&walk->mutex);
    full->next = NULL;
    if (walk->full == NULL) {
        walk->full = full;
    } else {
        walk->full_last->next = full;
    }
    walk->full_last = full;
    pthread_cond_broadcast(&walk->changed);
    while (walk->empty == NULL && !walk->stop) {
        pthread_cond_wait(&walk->changed, &walk->mutex);
    }
    lister->block = walk->empty;
    if (lister->block != NULL) {
        walk->empty = lister->block->next;
        lister->block->size = 0;
    }
    bool go_on = !walk->stop;
    pthread_mutex_unlock(&walk->mutex);
    return go_on;
}

static int pack(struct lister *lister, const struct dist_found *found)
{
    size_t name_size = strlen(found->name);
    size_t size = packed_size(name_size, found->key.size);
    if (lister->block->size + size > BLOCK_SIZE && !swap_block(lister)) {
        return 1;
    }
    struct packed *packed =
        (struct packed *)(void *)(lister->block->bytes + lister->block->size);
    packed->file_size = found->file_size;
    packed->modified_ns = found->modified_ns;
    packed->directory = lister->directory;
    packed->name_size = (uint16_t)name_size;
    packed->key_size = (uint16_t)found->key.size;
    packed->kind = (uint8_t)found->kind;
    memcpy(packed->bytes, found->name, name_size + 1);
    if (found->key.size > 0) {
        memcpy(packed->bytes + name_size + 1, found->key.data, found->key.size);
    }
    lister->block->size += size;
    return 0;
}

/* Gives the caller what a block holds. */
static int unpack(struct walk *walk, const struct block *block)
{
    char directory[16];
    for (size_t at = 0; at < block->size;) {
        const struct packed *packed =
            (const struct packed *)(const void *)(block->bytes + at);
        struct dist_found found = {
            .directory = directory,
            .name = packed->bytes,
            .kind = (enum kvt_object_name)packed->kind,
            .key = {packed->bytes + packed->name_size + 1, packed->key_size},
            .file_size = packed->file_size,
            .modified_ns = packed->modified_ns};
        kvt_object_directory(&walk->dist->layout, packed->directory, directory);
        int rc = walk->each(&found, walk->arg);
        if (rc != 0) {
            return rc;
        }
        at += packed_size(packed->name_size, packed->key_size);
    }
    return 0;
}

/* Listing ------------------------------------------------------------------ */

static int visit(const struct kvt_fs_dirent *entry, void *arg)
{
    struct lister *lister = arg;
    unsigned char bytes[KVT_KEYNAME_MAX];
    struct dist_found found = {.directory = lister->name,
                               .name = entry->name,
                               .file_size = entry->size,
                               .modified_ns = entry->modified_ns};
    lister->saw_any = true;
    if (entry->type != KVT_FS_TYPE_FILE) {
        return 0;
    }
    found.kind =
        kvt_object_name_read(&lister->walk->dist->layout, lister->directory,
                             entry->name, bytes, &found.key);
    if (found.kind != KVT_NAME_KEY) {
        found.key.size = 0;
    }
    if (found.kind == KVT_NAME_FOREIGN && !kvt_dist_is_temp(entry->name)) {
        return 0;
    }
    return lister->block != NULL
               ? pack(lister, &found)
               : lister->walk->each(&found, lister->walk->arg);
}

static int list_one(struct lister *lister)
{
    struct walk *walk = lister->walk;
    kvt_object_directory(&walk->dist->layout, lister->directory, lister->name);
    lister->saw_any = false;
    int rc =
        kvt_fs_list(walk->dist->fs, lister->name, walk->sizes, visit, lister);
    if (rc == -ESTALE && !lister->saw_any) { /* removed and made again? */
        rc = kvt_fs_list(walk->dist->fs, lister->name, walk->sizes, visit,
                         lister);
    }
    /* it may be gone, or another thing by now */
    return kvt_dist_is_absent(rc) ? 0 : rc;
}

static void *lister_thread(void *arg)
{
    struct lister *lister = arg;
    struct walk *walk = lister->walk;
    int rc = 0;
    while (rc == 0 && next_directory(walk, &lister->directory)) {
        rc = list_one(lister);
    }
    pthread_mutex_lock(&walk->mutex);
    if (rc < 0 && walk->rc == 0) {
        walk->rc = rc;
    }
    if (lister->block != NULL) {
        lister->block->next = NULL;
        if (walk->full == NULL) {
            walk->full = lister->block;
        } else {
            walk->full_last->next = lister->block;
        }
        walk->full_last = lister->block;
    }
    walk->running--;
    pthread_cond_broadcast(&walk->changed);
    pthread_mutex_unlock(&walk->mutex);
    return NULL;
}

/* Takes blocks until the listers are through. Mutex held. */
static int take_blocks(struct walk *walk)
{
    int rc = 0;
    for (;;) {
        while (walk->full == NULL && walk->running > 0) {
            pthread_cond_wait(&walk->changed, &walk->mutex);
        }
        struct block *block = walk->full;
        if (block == NULL) {
            return rc != 0 ? rc : walk->rc;
        }
        walk->full = block->next;
        if (rc == 0) {
            pthread_mutex_unlock(&walk->mutex);
            rc = unpack(walk, block);
            pthread_mutex_lock(&walk->mutex);
            walk->stop = walk->stop || rc != 0;
        }
        block->next = walk->empty;
        walk->empty = block;
        pthread_cond_broadcast(&walk->changed);
    }
}

/* On the calling thread, without blocks. */
static int walk_directly(struct walk *walk)
{
    struct lister lister = {.walk = walk};
    int rc = 0;
    while (rc == 0 && next_directory(walk, &lister.directory)) {
        rc = list_one(&lister);
    }
    return rc;
}

static int walk_by_threads(struct walk *walk, unsigned count)
{
    struct lister listers[LISTERS_MAX];
    pthread_t threads[LISTERS_MAX];
    unsigned started = 0;
    pthread_mutex_lock(&walk->mutex);
    while (started < count) {
        struct lister *lister = &listers[started];
        /* its own from the start: the others may take all that are left */
        struct block *block = walk->empty;
        *lister = (struct lister){.walk = walk, .block = block};
        walk->empty = block->next;
        block->size = 0;
        if (pthread_create(&threads[started], NULL, lister_thread, lister) !=
            0) {
            block->next = walk->empty;
            walk->empty = block;
            break;
        }
        started++;
        walk->running++;
    }
    int rc = take_blocks(walk);
    pthread_mutex_unlock(&walk->mutex);
    for (unsigned i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    return started > 0 ? rc : walk_directly(walk);
}

/* Two blocks a lister: one is filled while the other is taken. False when
 * memory is short. */
static bool add_blocks(struct walk *walk, unsigned listers)
{
    for (unsigned i = 0; i < 2 * listers; i++) {
        struct block *block = malloc(sizeof *block);
        if (block == NULL) {
            return false;
        }
        block->next = walk->empty;
        walk->empty = block;
    }
    return true;
}

static void free_blocks(struct block *block)
{
    while (block != NULL) {
        struct block *next = block->next;
        free(block);
        block = next;
    }
}

static unsigned count_listers(const struct walk *walk)
{
    uint32_t depth = kvt_fs_facts(walk->dist->fs)->metadata_depth;
    unsigned directories = 0;
    for (uint32_t i = 0; i < walk->dist->layout.directory_count; i++) {
        directories += walk->present[i / 8] >> i % 8 & 1;
    }
    unsigned listers = depth < LISTERS_MAX ? depth : LISTERS_MAX;
    return listers < directories ? listers : directories;
}

int kvt_dist_walk(struct dist *dist, bool sizes, kvt_dist_walk_fn each,
                  void *arg)
{
    struct walk *walk = calloc(1, sizeof *walk);
    if (walk == NULL) {
        return -ENOMEM;
    }
    walk->dist = dist;
    walk->sizes = sizes;
    walk->each = each;
    walk->arg = arg;
    pthread_mutex_init(&walk->mutex, NULL);
    pthread_cond_init(&walk->changed, NULL);
    int rc = kvt_fs_list(dist->fs, ".", false, note_directory, walk);
    unsigned listers = count_listers(walk);
    if (rc == 0 && listers > 1 && add_blocks(walk, listers)) {
        rc = walk_by_threads(walk, listers);
    } else if (rc == 0) {
        rc = walk_directly(walk);
    }
    free_blocks(walk->empty);
    free_blocks(walk->full);
    pthread_cond_destroy(&walk->changed);
    pthread_mutex_destroy(&walk->mutex);
    free(walk);
    return rc;
}
