/* Making a bucket: an empty file with a header, ready for its first run. */
#include "backend/bucket.h"
#include "core/clock.h"

#include <stdlib.h>
#include <string.h>

/* What a bucket takes beside its runs: the header, and what the end of the
 * table is rounded up to. */
static uint64_t own_bytes(const struct bkt *bkt)
{
    uint64_t unit = kvt_fs_facts(bkt->fs)->allocation_unit;
    return 2 * KVT_BUCKET_BLOCK + KVT_BUCKET_FOOTER_SIZE +
           (unit > KVT_BUCKET_BLOCK ? unit : 0);
}

static int sync_directory(struct bkt *bkt, const char *path)
{
    struct kvt_fs_elem sync = {.op = KVT_FS_SYNC, .path = path};
    return (int)kvt_fs_run(bkt->fs, &sync);
}

int kvt_bkt_sync_names(struct bkt *bkt, uint64_t writer)
{
    char directory[BKT_PATH_MAX];
    kvt_bkt_directory(writer, directory);
    int rc = sync_directory(bkt, directory);
    return rc != 0 ? rc : sync_directory(bkt, ".");
}

static int write_header(struct bkt *bkt, struct kvt_fs_file *file,
                        uint64_t number, uint64_t sequence)
{
    uint8_t *block = aligned_alloc(KVT_BUCKET_BLOCK, KVT_BUCKET_BLOCK);
    if (block == NULL) {
        return -ENOMEM;
    }
    struct kvt_bucket_header header = {.writer = bkt->writer,
                                       .number = number,
                                       .sequence = sequence,
                                       .created_ms = kvt_clock_unix_ms()};
    memcpy(header.uuid, bkt->marker.uuid, sizeof header.uuid);
    memcpy(header.boot, bkt->boot, sizeof header.boot);
    memset(block, 0, KVT_BUCKET_BLOCK);
    kvt_bucket_header_encode(&header, block);
    struct kvt_slice slice = {block, KVT_BUCKET_BLOCK, NULL};
    struct kvt_fs_elem write = {
        .op = KVT_FS_WRITE, .file = file, .slices = &slice, .slice_count = 1};
    int64_t rc = kvt_fs_run(bkt->fs, &write);
    free(block);
    return rc < 0 ? (int)rc : 0;
}

static int make_file(struct bkt *bkt, uint64_t number, uint64_t sequence,
                     struct kvt_fs_file **file)
{
    struct bkt_bucket name = {.writer = bkt->writer, .number = number};
    char path[BKT_PATH_MAX];
    kvt_bkt_directory(bkt->writer, path);
    int rc = kvt_fs_mkdirs(bkt->fs, path);
    if (rc != 0) {
        return rc;
    }
    kvt_bkt_path(&name, path);
    struct kvt_fs_elem open = {.op = KVT_FS_OPEN,
                               .path = path,
                               .flags = KVT_FS_FOR_WRITE | KVT_FS_CREATE |
                                        KVT_FS_EXCLUSIVE};
    rc = (int)kvt_fs_run(bkt->fs, &open);
    if (rc != 0) {
        return rc;
    }
    rc = write_header(bkt, open.file, number, sequence);
    if (rc == 0 && bkt->durability == BKT_DURABLE_BATCH) {
        rc = kvt_bkt_sync_names(bkt, bkt->writer);
    }
    if (rc != 0) {
        kvt_bkt_file_close(bkt, open.file);
        struct kvt_fs_elem remove = {.op = KVT_FS_REMOVE, .path = path};
        kvt_fs_run(bkt->fs, &remove);
        return rc;
    }
    *file = open.file;
    return 0;
}

uint64_t kvt_bkt_kept_free(const struct bkt *bkt)
{
    enum {
        NAME_BYTES = 64 /* that a directory grows by with each bucket */
    };
    return bkt->reserve + kvt_bkt_checkpoint_bytes(bkt) +
           bkt->bucket_count * NAME_BYTES;
}

struct kvt_charge kvt_bkt_run_need(const struct bkt_run *run)
{
    struct kvt_charge need = run->charge;
    need.allocated +=
        run->kills_only ? run->bkt->reserve / 2 : kvt_bkt_kept_free(run->bkt);
    return need;
}

struct kvt_charge kvt_bkt_shortage(const struct bkt *bkt,
                                   const struct bkt_run *run)
{
    struct kvt_charge short_of =
        kvt_budget_shortage(&bkt->budget, kvt_bkt_run_need(run));
    /* a limit that is passed already stops only who needs more of it */
    return (struct kvt_charge){
        .allocated = short_of.allocated,
        .values = run->charge.values > 0 ? short_of.values : 0,
        .objects = run->charge.objects > 0 ? short_of.objects : 0};
}

bool kvt_bkt_lacks_bucket_room(const struct bkt *bkt)
{
    struct kvt_charge need = {.allocated = own_bytes(bkt) + bkt->reserve / 2};
    return kvt_budget_shortage(&bkt->budget, need).allocated > 0;
}

/* Room for it, and the right to make it: one at a time. Mutex held. */
static int begin(struct bkt *bkt, bool forced, struct kvt_charge charge)
{
    while (bkt->making) {
        pthread_cond_wait(&bkt->quiet, &bkt->mutex);
    }
    if (bkt->spare != NULL) {
        return -EEXIST;
    }
    if (!forced && kvt_bkt_lacks_bucket_room(bkt)) {
        return BKT_NO_ROOM;
    }
    kvt_budget_claim(&bkt->budget, charge, (struct kvt_charge){0});
    bkt->making = true;
    return 0;
}

/* Mutex held. */
static int finish(struct bkt *bkt, uint64_t number, uint64_t sequence,
                  struct kvt_fs_file *file, struct kvt_charge charge)
{
    struct bkt_bucket *bucket = kvt_bkt_bucket_add(bkt, bkt->writer, number);
    if (bucket == NULL) {
        return -ENOMEM;
    }
    bucket->sequence = sequence;
    bucket->file = file;
    bucket->writable = true;
    bucket->blocks = 1;
    bucket->charge = charge;
    bkt_set_state(bucket, BKT_EMPTY);
    bkt->spare = bucket;
    kvt_bkt_line_pump(bkt);
    return 0;
}

int kvt_bkt_make_bucket(struct bkt *bkt, bool forced)
{
    struct kvt_charge charge = {.allocated = own_bytes(bkt)};
    struct kvt_fs_file *file = NULL;
    int rc = kvt_bkt_checkpoint_remove(bkt);
    if (rc != 0) {
        return rc;
    }
    pthread_mutex_lock(&bkt->mutex);
    rc = begin(bkt, forced, charge);
    if (rc != 0) {
        pthread_mutex_unlock(&bkt->mutex);
        return rc == -EEXIST ? 0 : rc;
    }
    uint64_t number = bkt->next_number++;
    uint64_t sequence = bkt->next_sequence;
    pthread_mutex_unlock(&bkt->mutex);
    rc = make_file(bkt, number, sequence, &file);
    pthread_mutex_lock(&bkt->mutex);
    if (rc == 0) {
        rc = finish(bkt, number, sequence, file, charge);
    }
    if (rc != 0) {
        kvt_budget_give_back(&bkt->budget, charge);
    }
    bkt->making = false;
    bkt->bucket_wanted = false;
    pthread_cond_broadcast(&bkt->quiet);
    pthread_mutex_unlock(&bkt->mutex);
    if (rc == -ENOMEM && file != NULL) {
        kvt_bkt_file_close(bkt, file);
    }
    return rc;
}
