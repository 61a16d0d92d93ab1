/* Opening: the root and its marker, what a dead owner left behind, the index
 * from a listing (names and sizes, no values), and the limits. */
#include "backend/file_per_key_evict.h"
#include "backend/file_per_key_scan.h"
#include "backend/limits.h"
#include "backend/root.h"
#include "core/config.h"
#include "core/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LAYOUT_VERSION = 1,
    DIRECTORY_COUNT = 256,
    DIRECTORY_DIGITS = 2,
};

/* `00` to `ff`: the directories of objects. */
static bool is_ours(const char *name)
{
    return strlen(name) == DIRECTORY_DIGITS &&
           strspn(name, "0123456789abcdef") == DIRECTORY_DIGITS;
}

/* What a dead owner left -------------------------------------------------- */

struct sweep {
    struct fpk *fpk;
    const char *directory;
    int rc;
};

static int remove_temporary(const struct kvt_fs_dirent *entry, void *arg)
{
    struct sweep *sweep = arg;
    char path[512];
    if (entry->type != KVT_FS_TYPE_FILE) {
        return 0;
    }
    snprintf(path, sizeof path, "%s/%s", sweep->directory, entry->name);
    struct kvt_fs_elem remove = {.op = KVT_FS_REMOVE, .path = path};
    int64_t rc = kvt_fs_run(sweep->fpk->fs, &remove);
    if (rc == 0) {
        sweep->fpk->recovery.removed_temporaries++;
    }
    return rc == -ENOENT ? 0 : (int)rc;
}

static int count_evidence(const struct kvt_fs_dirent *entry, void *arg)
{
    struct fpk *fpk = ((struct sweep *)arg)->fpk;
    if (entry->type == KVT_FS_TYPE_FILE) {
        uint64_t unit = kvt_fs_facts(fpk->fs)->allocation_unit;
        uint64_t bytes = (entry->size + unit - 1) / unit * unit;
        fpk->quarantine_bytes += bytes;
        fpk->quarantined_objects++;
        fpk->budget.used.allocated += bytes;
    }
    return 0;
}

static int sweep(struct fpk *fpk, const char *directory, kvt_fs_list_fn each)
{
    struct sweep sweep = {.fpk = fpk, .directory = directory};
    int rc = kvt_fs_mkdirs(fpk->fs, directory);
    return rc != 0 ? rc : kvt_fs_list(fpk->fs, directory, true, each, &sweep);
}

/* The index --------------------------------------------------------------- */

struct aged {
    int64_t modified_ns;
    struct kvt_key_entry *entry;
};

/* What a listing found, with its age: the order of eviction survives a
 * restart as the order of writing. */
struct listing {
    struct fpk *fpk;
    struct aged *found;
    size_t count;
    size_t capacity;
};

static int make_space(struct listing *listing)
{
    if (listing->count < listing->capacity) {
        return 0;
    }
    size_t capacity = listing->capacity > 0 ? listing->capacity * 2 : 1024;
    struct aged *found =
        realloc(listing->found, capacity * sizeof listing->found[0]);
    if (found == NULL) {
        return -ENOMEM;
    }
    listing->found = found;
    listing->capacity = capacity;
    return 0;
}

/* Shorter than its own trailer: a power loss before its bytes were written,
 * or somebody else's. No object; what has bytes is kept aside, or left. */
static int drop_stump(struct fpk *fpk, const struct kvt_fpk_found *found)
{
    uint64_t unit = kvt_fs_facts(fpk->fs)->allocation_unit;
    fpk->recovery.dropped_records++;
    if (found->file_size > 0) {
        if (kvt_fpk_keep_aside(fpk, found->path, unit)) {
            fpk->budget.used.allocated += unit;
        }
        return 0;
    }
    struct kvt_fs_elem remove = {.op = KVT_FS_REMOVE, .path = found->path};
    int64_t rc = kvt_fs_run(fpk->fs, &remove);
    return rc == -ENOENT ? 0 : (int)rc;
}

static int index_file(const struct kvt_fpk_found *found, void *arg)
{
    struct listing *listing = arg;
    struct fpk *fpk = listing->fpk;
    if (found->file_size < found->overhead) {
        return drop_stump(fpk, found);
    }
    struct kvt_object_file file;
    kvt_object_file_init(&file, &fpk->layout, found->key);
    uint64_t hash = kvt_key_index_hash(found->key);
    if (make_space(listing) != 0) {
        return -ENOMEM;
    }
    if (kvt_key_index_find(&fpk->index, found->key, hash) != NULL) {
        return 0; /* a listing may name a file twice */
    }
    struct kvt_key_entry *entry =
        kvt_key_index_add(&fpk->index, found->key, hash);
    if (entry == NULL) {
        return -ENOMEM;
    }
    entry->size = found->file_size - found->overhead;
    struct kvt_charge charge = kvt_fpk_charge(fpk, &file, entry->size);
    entry->allocated = charge.allocated;
    entry->generation = ++fpk->generation;
    kvt_fpk_count(fpk, entry);
    kvt_charge_add(&fpk->budget.used, charge);
    listing->found[listing->count++] = (struct aged){found->modified_ns, entry};
    return 0;
}

static int older_first(const void *a, const void *b)
{
    const struct aged *left = a;
    const struct aged *right = b;
    return (left->modified_ns > right->modified_ns) -
           (left->modified_ns < right->modified_ns);
}

static int build_index(struct fpk *fpk)
{
    struct listing listing = {.fpk = fpk};
    int rc = kvt_fpk_walk(fpk, false, index_file, &listing);
    if (rc == 0 && listing.count > 0) {
        qsort(listing.found, listing.count, sizeof listing.found[0],
              older_first);
    }
    for (size_t i = 0; rc == 0 && i < listing.count; i++) {
        kvt_evict_add(&fpk->order, &listing.found[i].entry->order);
    }
    fpk->recovery.objects = listing.count;
    free(listing.found);
    return rc;
}

/* Limits ------------------------------------------------------------------ */

/* The limit may be lower than when the store was filled. */
static int keep_within_limits(struct fpk *fpk)
{
    struct kvt_evict_result ignored = {0};
    int rc = 0;
    if (kvt_evict_allowed(&fpk->order)) {
        rc = kvt_fpk_evict_to(fpk, fpk->budget.limit, &ignored);
    }
    fpk->budget.peak = fpk->budget.used;
    /* a handler that keeps its objects is no reason not to open */
    return rc == -ECANCELED ? 0 : rc;
}

/* Open -------------------------------------------------------------------- */

static int fail(const struct fpk *fpk, int rc, const char *doing,
                struct kvt_error *err)
{
    return kvt_error_set(err, kvt_status_of(KVT_FAULT_READ, -rc, false), -rc,
                         fpk->base.args.path,
                         "check the file system under the store", "%s: %s",
                         doing, strerror(-rc));
}

static int recover(struct fpk *fpk, struct kvt_error *err)
{
    int rc =
        kvt_limits_read(fpk->base.args.config, fpk->fs, &fpk->budget.limit);
    if (rc != 0) {
        return fail(fpk, rc, "asking for the size of the file system", err);
    }
    if (fpk->base.args.read_only) {
        return KVT_OK;
    }
    rc = sweep(fpk, ".kvtier/tmp", remove_temporary);
    if (rc == 0) {
        rc = sweep(fpk, ".kvtier/quarantine", count_evidence);
    }
    if (rc != 0) {
        return fail(fpk, rc, "clearing away what a dead owner left", err);
    }
    rc = build_index(fpk);
    if (rc != 0) {
        return fail(fpk, rc, "listing the objects", err);
    }
    rc = keep_within_limits(fpk);
    return rc != 0 ? fail(fpk, rc, "evicting down to the limit", err) : KVT_OK;
}

static int init(struct fpk *fpk, const struct kvt_backend_args *args)
{
    extern const struct kvt_backend_ops kvt_backend_file_per_key;
    fpk->base.ops = &kvt_backend_file_per_key;
    fpk->base.args = *args;
    fpk->fs = args->fs;
    fpk->checksum = kvt_config_bool(args->config, "checksum");
    /* what is acknowledged survives the process at every level */
    bool durable =
        strcmp(kvt_config_text(args->config, "durability"), "batch") == 0 ||
        !kvt_fs_facts(args->fs)->bytes_outlive_process;
    fpk->publish_flags = durable ? KVT_FS_DURABLE : 0;
    kvt_evict_init(&fpk->order, kvt_limits_policy(args->config));
    pthread_mutex_init(&fpk->mutex, NULL);
    int rc = kvt_key_index_init(&fpk->index);
    return rc != 0 ? rc : kvt_random(&fpk->instance, sizeof fpk->instance);
}

int kvt_fpk_open(const struct kvt_backend_args *args,
                 struct kvt_backend **backend, struct kvt_error *err)
{
    struct fpk *fpk = calloc(1, sizeof *fpk);
    if (fpk == NULL) {
        return kvt_error_set(err, KVT_ERR_INTERNAL, ENOMEM, args->path, NULL,
                             "no memory to open the store");
    }
    int rc = init(fpk, args);
    if (rc != 0) {
        rc = fail(fpk, rc, "starting", err);
        goto out_close;
    }
    struct kvt_root_spec spec = {
        .backend = fpk->base.ops->name,
        .backend_version = LAYOUT_VERSION,
        .alignment = 1,
        .is_ours = is_ours,
    };
    rc = kvt_root_open(args, &spec, &fpk->marker, &fpk->lock, err);
    if (rc != KVT_OK) {
        goto out_close;
    }
    fpk->layout = (struct kvt_object_layout){
        .directory_count = DIRECTORY_COUNT,
        .directory_digits = DIRECTORY_DIGITS,
        .name_max = fpk->marker.name_max,
        .seed = fpk->marker.hash_seed,
    };
    rc = recover(fpk, err);
    if (rc != KVT_OK) {
        goto out_close;
    }
    *backend = &fpk->base;
    return KVT_OK;

out_close:
    fpk->base.ops->close(&fpk->base);
    return rc;
}
