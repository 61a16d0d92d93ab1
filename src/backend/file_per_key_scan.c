/* Going through all files of the root, directory by directory: for scan_meta
 * and for opening. */
#include "backend/file_per_key_scan.h"
#include "backend/object_name.h"
#include "backend/scan_batch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct walk {
    struct fpk *fpk;
    bool keyless; /* also files whose key cannot be read */
    kvt_fpk_walk_fn each;
    void *arg;
    uint32_t number; /* of the directory */
    char directory[16];
};

/* The key of a long name stands in the file. 1 when `key` was filled (with
 * size 0 when the file is too short to hold one), 0 when the file is foreign
 * or gone. */
static int read_long_key(struct walk *walk, const char *path, uint64_t size,
                         unsigned char *bytes, struct kvt_key *key)
{
    struct kvt_slice slice = {.base = bytes};
    struct kvt_fs_elem fetch = {0};
    if (size < KVT_TRAILER_SIZE) {
        return 1;
    }
    kvt_object_fetch_long(&fetch, path, &slice);
    int64_t got = kvt_fs_run(walk->fpk->fs, &fetch);
    if (got < 0) {
        return got == -ENOENT ? 0 : (int)got;
    }
    *key = kvt_object_long_key(&walk->fpk->layout, path, bytes, (uint64_t)got,
                               size);
    return key->size > 0 || walk->keyless;
}

static int visit(const struct kvt_fs_dirent *dirent, void *arg)
{
    struct walk *walk = arg;
    unsigned char bytes[KVT_OBJECT_TAIL_MAX];
    char path[KVT_OBJECT_PATH_MAX];
    struct kvt_fpk_found found = {.path = path};
    if (dirent->type != KVT_FS_TYPE_FILE) {
        return 0;
    }
    enum kvt_object_name name = kvt_object_name_read(
        &walk->fpk->layout, walk->number, dirent->name, bytes, &found.key);
    if (name == KVT_NAME_FOREIGN) {
        return 0;
    }
    snprintf(path, sizeof path, "%s/%s", walk->directory, dirent->name);
    if (name == KVT_NAME_LONG) {
        int rc = read_long_key(walk, path, dirent->size, bytes, &found.key);
        if (rc <= 0) {
            return rc;
        }
    }
    found.file_size = dirent->size;
    found.overhead =
        KVT_TRAILER_SIZE + (name == KVT_NAME_LONG ? found.key.size : 0);
    found.modified_ns = dirent->modified_ns;
    return walk->each(&found, walk->arg);
}

int kvt_fpk_walk(struct fpk *fpk, bool keyless, kvt_fpk_walk_fn each, void *arg)
{
    struct walk walk = {
        .fpk = fpk, .keyless = keyless, .each = each, .arg = arg};
    for (uint32_t i = 0; i < fpk->layout.directory_count; i++) {
        walk.number = i;
        kvt_object_directory(&fpk->layout, i, walk.directory);
        int rc = kvt_fs_list(fpk->fs, walk.directory, true, visit, &walk);
        if (rc != 0 && rc != -ENOENT) {
            return rc;
        }
    }
    return 0;
}

/* scan_meta --------------------------------------------------------------- */

struct scan {
    struct fpk *fpk;
    struct kvt_scan_batch batch;
};

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
    struct kvt_meta meta = kvt_fpk_meta(scan->fpk, found->key, size);
    return kvt_scan_batch_add(&scan->batch, &meta);
}

int kvt_fpk_scan(struct kvt_backend *backend, size_t batch_max,
                 kvt_scan_fn handler, void *arg, struct kvt_error *err)
{
    struct fpk *fpk = (struct fpk *)backend;
    struct scan scan = {.fpk = fpk};
    int rc = kvt_scan_batch_init(&scan.batch, batch_max, handler, arg);
    if (rc == 0) {
        rc = kvt_fpk_walk(fpk, false, scan_one, &scan);
    }
    if (rc == 0) {
        rc = kvt_scan_batch_flush(&scan.batch);
    }
    kvt_scan_batch_fini(&scan.batch);
    if (rc == 0 || scan.batch.handler_rc != 0) {
        return rc;
    }
    return kvt_error_set(err, kvt_status_of(KVT_FAULT_READ, -rc, false), -rc,
                         backend->args.path,
                         "check the file system under the store",
                         "listing the objects: %s", strerror(-rc));
}
