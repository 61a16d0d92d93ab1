#include "backend/scan_batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int kvt_scan_batch_init(struct kvt_scan_batch *batch, size_t max,
                        kvt_scan_fn handler, void *arg)
{
    *batch = (struct kvt_scan_batch){.handler = handler, .arg = arg};
    batch->max = max;
    batch->metas = calloc(max, sizeof batch->metas[0]);
    return batch->metas != NULL ? 0 : -ENOMEM;
}

void kvt_scan_batch_fini(struct kvt_scan_batch *batch)
{
    free(batch->metas);
    free(batch->keys);
}

int kvt_scan_batch_flush(struct kvt_scan_batch *batch)
{
    if (batch->count == 0) {
        return 0;
    }
    const unsigned char *at = batch->keys;
    for (size_t i = 0; i < batch->count; i++) {
        batch->metas[i].key.data = at;
        at += batch->metas[i].key.size;
    }
    batch->handler_rc = batch->handler(batch->metas, batch->count, batch->arg);
    batch->count = 0;
    batch->keys_size = 0;
    return batch->handler_rc;
}

static int keep_key(struct kvt_scan_batch *batch, struct kvt_key key)
{
    if (batch->keys_size + key.size > batch->keys_capacity) {
        size_t capacity = batch->keys_capacity * 2 + KVT_KEY_SIZE_MAX;
        unsigned char *keys = realloc(batch->keys, capacity);
        if (keys == NULL) {
            return -ENOMEM;
        }
        batch->keys = keys;
        batch->keys_capacity = capacity;
    }
    memcpy(batch->keys + batch->keys_size, key.data, key.size);
    batch->keys_size += key.size;
    return 0;
}

int kvt_scan_batch_add(struct kvt_scan_batch *batch,
                       const struct kvt_meta *meta)
{
    int rc = keep_key(batch, meta->key);
    if (rc != 0) {
        return rc;
    }
    batch->metas[batch->count++] = *meta;
    return batch->count == batch->max ? kvt_scan_batch_flush(batch) : 0;
}
