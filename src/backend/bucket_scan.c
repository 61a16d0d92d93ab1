/* scan_meta: bucket by bucket, oldest first; an object counts where the index
 * says that it is. */
#include "backend/bucket.h"

#include <stdlib.h>
#include <string.h>

struct scan {
    struct bkt *bkt;
    struct bkt_name at; /* bucket under way */
    kvt_scan_fn handler;
    void *arg;
    struct kvt_meta *metas;
    size_t count;
    size_t batch_max;
    size_t capacity;
    unsigned char *keys; /* of the metas, by their offsets for now */
    size_t keys_size;
    size_t keys_capacity;
    int told; /* what the handler returned */
};

static int flush(struct scan *scan)
{
    size_t at = 0;
    if (scan->count == 0) {
        return 0;
    }
    for (size_t i = 0; i < scan->count; i++) {
        scan->metas[i].key.data = scan->keys + at;
        at += scan->metas[i].key.size;
    }
    scan->told = scan->handler(scan->metas, scan->count, scan->arg);
    scan->count = 0;
    scan->keys_size = 0;
    return scan->told;
}

static int make_space(struct scan *scan, size_t key_size)
{
    if (scan->count == scan->capacity) {
        size_t capacity = scan->capacity * 2 + 256;
        capacity = capacity < scan->batch_max ? capacity : scan->batch_max;
        struct kvt_meta *metas =
            realloc(scan->metas, capacity * sizeof metas[0]);
        if (metas == NULL) {
            return -ENOMEM;
        }
        scan->metas = metas;
        scan->capacity = capacity;
    }
    if (scan->keys_size + key_size > scan->keys_capacity) {
        size_t capacity = (scan->keys_size + key_size) * 2 + 4096;
        unsigned char *keys = realloc(scan->keys, capacity);
        if (keys == NULL) {
            return -ENOMEM;
        }
        scan->keys = keys;
        scan->keys_capacity = capacity;
    }
    return 0;
}

bool kvt_bkt_is_stored_at(struct bkt *bkt, uint32_t slot,
                          const struct kvt_bucket_entry *entry)
{
    struct kvt_index_entry found;
    bool is_found;
    kvt_place_index_find(&bkt->index, &entry->key_hash, &found, &is_found, 1);
    uint64_t place = (uint64_t)slot << bkt->block_bits | entry->block;
    if (!is_found || found.place != place) {
        return false;
    }
    pthread_mutex_lock(&bkt->mutex);
    bool visible = kvt_bkt_is_visible(bkt, &found);
    pthread_mutex_unlock(&bkt->mutex);
    return visible;
}

static int visit(const struct kvt_bucket_entry *entry, struct kvt_key key,
                 void *arg)
{
    struct scan *scan = arg;
    if (!kvt_bkt_is_stored_at(scan->bkt, scan->at.slot, entry)) {
        return 0;
    }
    int rc = make_space(scan, key.size);
    if (rc != 0) {
        return rc;
    }
    struct bkt_bucket name = {.number = scan->at.number};
    memcpy(scan->keys + scan->keys_size, key.data, key.size);
    scan->keys_size += key.size;
    scan->metas[scan->count++] =
        kvt_bkt_meta(scan->bkt, &name, key, entry->length, entry->block);
    return scan->count == scan->batch_max ? flush(scan) : 0;
}

static int older_first(const void *a, const void *b)
{
    const struct bkt_name *left = a;
    const struct bkt_name *right = b;
    return (left->number > right->number) - (left->number < right->number);
}

struct bkt_name *kvt_bkt_list_buckets(struct bkt *bkt, size_t *count)
{
    *count = 0;
    pthread_mutex_lock(&bkt->mutex);
    struct bkt_name *names = malloc((bkt->slot_count + 1) * sizeof names[0]);
    for (uint32_t i = 0; names != NULL && i < bkt->slot_count; i++) {
        const struct bkt_bucket *bucket = bkt->slots[i];
        if (bucket != NULL && bucket->state != BKT_DYING) {
            names[(*count)++] = bkt_name_of(bucket);
        }
    }
    pthread_mutex_unlock(&bkt->mutex);
    if (names != NULL && *count > 1) {
        qsort(names, *count, sizeof names[0], older_first);
    }
    return names;
}

static int scan_buckets(struct scan *scan, const struct bkt_name *names,
                        size_t count)
{
    struct bkt *bkt = scan->bkt;
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        scan->at = names[i];
        rc = kvt_bkt_each_object(bkt, names[i].slot, names[i].number, visit,
                                 scan);
        if (rc == -EBADMSG) {
            kvt_backend_log(&bkt->base, KVT_LOG_WARN,
                            "bucket %016llx: some records are damaged; the "
                            "keys in them are not listed",
                            (unsigned long long)names[i].number);
        }
        rc = rc == -ENOENT || rc == -EBADMSG ? 0 : rc;
    }
    return rc != 0 ? rc : flush(scan);
}

int kvt_bkt_scan(struct kvt_backend *backend, size_t batch_max,
                 kvt_scan_fn handler, void *arg, struct kvt_error *err)
{
    struct bkt *bkt = (struct bkt *)backend;
    struct scan scan = {
        .bkt = bkt, .handler = handler, .arg = arg, .batch_max = batch_max};
    size_t count;
    struct bkt_name *names = kvt_bkt_list_buckets(bkt, &count);
    int rc = names != NULL ? scan_buckets(&scan, names, count) : -ENOMEM;
    free(names);
    free(scan.metas);
    free(scan.keys);
    if (scan.told != 0) {
        return scan.told;
    }
    return rc == 0
               ? KVT_OK
               : kvt_error_set(err, kvt_status_of(KVT_FAULT_READ, -rc, false),
                               -rc, backend->args.path,
                               "check the file system under the store",
                               "reading the keys of the store: %s",
                               strerror(-rc));
}
