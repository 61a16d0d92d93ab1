/* Descriptors: sealed buckets stay open while there is room, least recently
 * used first out. A load never waits for room: what is not open is fetched by
 * its path. */
#include "backend/bucket.h"

#include <stddef.h>

static struct bkt_bucket *bucket_of(struct kvt_evict_node *node)
{
    return (struct bkt_bucket *)((char *)node -
                                 offsetof(struct bkt_bucket, file_order));
}

void kvt_bkt_file_entered(struct bkt *bkt, struct bkt_bucket *bucket)
{
    kvt_evict_add(&bkt->files, &bucket->file_order);
}

void kvt_bkt_file_used(struct bkt *bkt, struct bkt_bucket *bucket)
{
    if (bucket->file != NULL && !bucket->writable) {
        kvt_evict_renew(&bkt->files, &bucket->file_order);
    }
}

void kvt_bkt_files_crowded(struct bkt *bkt)
{
    bkt->files_are_crowded = true;
    pthread_cond_broadcast(&bkt->work);
}

struct kvt_fs_file *kvt_bkt_file_take(struct bkt *bkt,
                                      struct bkt_bucket *bucket)
{
    struct kvt_fs_file *file = bucket->file;
    if (file != NULL && !bucket->writable) {
        kvt_evict_drop(&bkt->files, &bucket->file_order);
        bkt->file_count--;
    }
    bucket->file = NULL;
    return file;
}

int kvt_bkt_file_close(struct bkt *bkt, struct kvt_fs_file *file)
{
    struct kvt_fs_elem close = {.op = KVT_FS_CLOSE, .file = file};
    return file != NULL ? (int)kvt_fs_run(bkt->fs, &close) : 0;
}

/* The one that was not used for longest and is not being read. */
static struct kvt_fs_file *take_idle(struct bkt *bkt)
{
    struct kvt_evict_node *node = NULL;
    while ((node = kvt_evict_next(&bkt->files, node)) != NULL) {
        struct bkt_bucket *bucket = bucket_of(node);
        if (bucket->pins == 0) {
            return kvt_bkt_file_take(bkt, bucket);
        }
    }
    return NULL;
}

void kvt_bkt_files_trim(struct bkt *bkt)
{
    struct kvt_fs_file *file;
    do {
        pthread_mutex_lock(&bkt->mutex);
        bkt->files_are_crowded = false;
        uint32_t keep = bkt->files_max - bkt->files_max / 8;
        file = bkt->file_count >= keep ? take_idle(bkt) : NULL;
        pthread_mutex_unlock(&bkt->mutex);
        kvt_bkt_file_close(bkt, file);
    } while (file != NULL);
}
