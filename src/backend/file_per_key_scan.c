/* Going through all files of the root, directory by directory: for scan_meta
 * and for opening. */
#include "backend/file_per_key_scan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct walk {
    struct fpk *fpk;
    kvt_fpk_walk_fn each;
    void *arg;
    char directory[8];
};

/* The key of a long name stands in the file. 1 when `key` was filled, 0 when
 * the file is foreign or gone. */
static int read_long_key(struct walk *walk, const char *name, uint64_t size,
                         unsigned char *key, size_t *key_size)
{
    char path[KVT_OBJECT_PATH_MAX];
    uint8_t bytes[KVT_KEY_SIZE_MAX + KVT_TRAILER_SIZE];
    snprintf(path, sizeof path, "%s/%s", walk->directory, name);
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    struct kvt_fs_elem fetch = {.op = KVT_FS_FETCH,
                                .flags = KVT_FS_FROM_END,
                                .path = path,
                                .offset = sizeof bytes,
                                .slices = &slice,
                                .slice_count = 1};
    int64_t got = kvt_fs_run(walk->fpk->fs, &fetch);
    if (got == -ENOENT || (got >= 0 && got < (int64_t)KVT_TRAILER_SIZE)) {
        return 0;
    }
    if (got < 0) {
        return (int)got;
    }
    struct kvt_trailer trailer;
    const uint8_t *at = bytes + got - KVT_TRAILER_SIZE;
    if (kvt_trailer_decode(at, &trailer) != 0 || trailer.key_size == 0 ||
        trailer.key_size + KVT_TRAILER_SIZE > (uint64_t)got ||
        trailer.value_size + trailer.key_size + KVT_TRAILER_SIZE != size) {
        return 0;
    }
    memcpy(key, at - trailer.key_size, trailer.key_size);
    *key_size = trailer.key_size;
    /* the name must be the one of this key */
    struct kvt_object_file file;
    struct kvt_key whole = {key, trailer.key_size};
    kvt_object_file_init(&file, &walk->fpk->layout, whole);
    return strcmp(file.path, path) == 0 ? 1 : 0;
}

/* The key that a file's name stands for: 1 when `key` is filled (with size 0
 * for a long name whose file is too short to hold it), 0 for a foreign
 * file, or -errno. */
static int find_key(struct walk *walk, const struct kvt_fs_dirent *dirent,
                    unsigned char *bytes, struct kvt_key *key)
{
    *key = (struct kvt_key){bytes, kvt_keyname_decode(dirent->name, bytes)};
    if (key->size > 0) {
        /* in the directory that it belongs to, or not ours */
        uint32_t directory =
            kvt_keyname_directory(*key, walk->fpk->layout.directory_count);
        return strtoul(walk->directory, NULL, 16) == directory;
    }
    if (!kvt_keyname_is_long(dirent->name)) {
        return 0;
    }
    return dirent->size < KVT_TRAILER_SIZE
               ? 1
               : read_long_key(walk, dirent->name, dirent->size, bytes,
                               &key->size);
}

static int visit(const struct kvt_fs_dirent *dirent, void *arg)
{
    struct walk *walk = arg;
    unsigned char bytes[KVT_KEY_SIZE_MAX];
    char path[KVT_OBJECT_PATH_MAX];
    struct kvt_fpk_found found = {.path = path};
    if (dirent->type != KVT_FS_TYPE_FILE) {
        return 0;
    }
    int rc = find_key(walk, dirent, bytes, &found.key);
    if (rc <= 0) {
        return rc;
    }
    snprintf(path, sizeof path, "%s/%s", walk->directory, dirent->name);
    bool in_file = kvt_keyname_is_long(dirent->name);
    found.file_size = dirent->size;
    found.overhead = KVT_TRAILER_SIZE + (in_file ? found.key.size : 0);
    found.modified_ns = dirent->modified_ns;
    return walk->each(&found, walk->arg);
}

int kvt_fpk_walk(struct fpk *fpk, kvt_fpk_walk_fn each, void *arg)
{
    struct walk walk = {.fpk = fpk, .each = each, .arg = arg};
    for (uint32_t i = 0; i < fpk->layout.directory_count; i++) {
        snprintf(walk.directory, sizeof walk.directory, "%0*x",
                 (int)fpk->layout.directory_digits, (unsigned)i);
        int rc = kvt_fs_list(fpk->fs, walk.directory, true, visit, &walk);
        if (rc != 0 && rc != -ENOENT) {
            return rc;
        }
    }
    return 0;
}

/* scan_meta --------------------------------------------------------------- */

/* A batch of metadata that grows until it is handed out. The keys lie behind
 * each other in `keys`; `metas` point there when the batch is handed out. */
struct scan {
    struct fpk *fpk;
    kvt_scan_fn handler;
    void *arg;
    struct kvt_meta *metas;
    size_t count;
    size_t max;
    unsigned char *keys;
    size_t keys_size;
    size_t keys_capacity;
    int handler_rc;
};

static int hand_out(struct scan *scan)
{
    if (scan->count == 0) {
        return 0;
    }
    const unsigned char *at = scan->keys;
    for (size_t i = 0; i < scan->count; i++) {
        struct kvt_key key = {at, scan->metas[i].key.size};
        scan->metas[i] = kvt_fpk_meta(scan->fpk, key, scan->metas[i].size);
        at += key.size;
    }
    scan->handler_rc = scan->handler(scan->metas, scan->count, scan->arg);
    scan->count = 0;
    scan->keys_size = 0;
    return scan->handler_rc;
}

static int keep_key(struct scan *scan, struct kvt_key key)
{
    if (scan->keys_size + key.size > scan->keys_capacity) {
        size_t capacity = scan->keys_capacity * 2 + KVT_KEY_SIZE_MAX;
        unsigned char *keys = realloc(scan->keys, capacity);
        if (keys == NULL) {
            return -ENOMEM;
        }
        scan->keys = keys;
        scan->keys_capacity = capacity;
    }
    memcpy(scan->keys + scan->keys_size, key.data, key.size);
    scan->keys_size += key.size;
    return 0;
}

/* The index knows better than a listing: an object on its way out is not
 * reported, and one that was just replaced has its new size. */
static bool is_stored(struct fpk *fpk, struct kvt_key key, uint64_t *size)
{
    if (fpk->base.args.read_only) {
        return true;
    }
    uint64_t hash = kvt_key_index_hash(key);
    pthread_mutex_lock(&fpk->mutex);
    const struct kvt_key_entry *entry =
        kvt_key_index_find(&fpk->index, key, hash);
    bool stored = entry != NULL && entry->present;
    if (stored) {
        *size = entry->size;
    }
    pthread_mutex_unlock(&fpk->mutex);
    return stored;
}

static int scan_one(const struct kvt_fpk_found *found, void *arg)
{
    struct scan *scan = arg;
    if (found->file_size < found->overhead) {
        return 0;
    }
    uint64_t size = found->file_size - found->overhead;
    if (!is_stored(scan->fpk, found->key, &size)) {
        return 0;
    }
    int rc = keep_key(scan, found->key);
    if (rc != 0) {
        return rc;
    }
    scan->metas[scan->count].key.size = found->key.size;
    scan->metas[scan->count].size = size;
    scan->count++;
    return scan->count == scan->max ? hand_out(scan) : 0;
}

int kvt_fpk_scan(struct kvt_backend *backend, size_t batch_max,
                 kvt_scan_fn handler, void *arg, struct kvt_error *err)
{
    struct fpk *fpk = (struct fpk *)backend;
    struct scan scan = {
        .fpk = fpk, .handler = handler, .arg = arg, .max = batch_max};
    scan.metas = calloc(batch_max, sizeof scan.metas[0]);
    int rc = scan.metas == NULL ? -ENOMEM : 0;
    if (rc == 0) {
        rc = kvt_fpk_walk(fpk, scan_one, &scan);
    }
    if (rc == 0) {
        rc = hand_out(&scan);
    }
    free(scan.metas);
    free(scan.keys);
    if (rc == 0 || scan.handler_rc != 0) {
        return rc;
    }
    return kvt_error_set(err, kvt_status_of(KVT_FAULT_READ, -rc, false), -rc,
                         backend->args.path,
                         "check the file system under the store",
                         "listing the objects: %s", strerror(-rc));
}
