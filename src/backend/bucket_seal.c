/* Sealing: the values are synced, the table of what the runs hold goes to the
 * end of the file, and is synced, too. */
#include "backend/bucket.h"
#include "core/clock.h"

#include <stdlib.h>
#include <string.h>

static int sync_data(struct bkt *bkt, struct kvt_fs_file *file)
{
    struct kvt_fs_elem sync = {.op = KVT_FS_DATASYNC, .file = file};
    return (int)kvt_fs_run(bkt->fs, &sync);
}

/* Does sealing wait for the device? */
static bool is_durable(const struct bkt *bkt)
{
    return bkt->durability != BKT_DURABLE_NONE || bkt->sync_runs;
}

static uint64_t value_bytes(const struct bkt_table *table)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < table->entry_count; i++) {
        struct kvt_bucket_entry entry;
        kvt_bucket_entry_decode(
            table->entries + (size_t)i * KVT_BUCKET_ENTRY_SIZE, &entry);
        bytes += entry.length;
    }
    return bytes;
}

static void fill_tail(const struct bkt *bkt, const struct bkt_bucket *bucket,
                      uint8_t *tail, size_t size)
{
    const struct bkt_table *table = &bucket->table;
    struct kvt_bucket_footer footer = {
        .table_block = bucket->blocks,
        .file_blocks = bucket->blocks + (uint32_t)(size / KVT_BUCKET_BLOCK),
        .entry_count = table->entry_count,
        .run_count = table->run_count,
        .kill_count = table->kill_count,
        .synced = is_durable(bkt),
        .sequence = bucket->sequence,
        .sequence_end = bkt->next_sequence,
        .value_bytes = value_bytes(table),
        .sealed_ms = kvt_clock_unix_ms()};
    uint8_t *at = tail;
    memset(tail, 0, size);
    if (table->entry_count > 0) {
        memcpy(at, table->entries,
               (size_t)table->entry_count * KVT_BUCKET_ENTRY_SIZE);
    }
    at += kvt_table_runs_at(&footer);
    memcpy(at, table->runs, (size_t)table->run_count * KVT_BUCKET_RUN_SIZE);
    at = tail + kvt_table_kills_at(&footer);
    if (table->kill_count > 0) {
        memcpy(at, table->kills,
               (size_t)table->kill_count * KVT_BUCKET_KILL_SIZE);
    }
    kvt_bucket_footer_encode(&footer, tail, bucket->seed,
                             tail + size - KVT_BUCKET_FOOTER_SIZE);
}

/* Writes table and footer; `*size` is what they take. */
static int write_tail(struct bkt *bkt, struct bkt_bucket *bucket, size_t *size)
{
    const struct bkt_table *table = &bucket->table;
    uint64_t bytes = kvt_bucket_table_size(table->entry_count, table->run_count,
                                           table->kill_count) +
                     KVT_BUCKET_FOOTER_SIZE;
    *size = (size_t)kvt_blocks_of(bytes) * KVT_BUCKET_BLOCK;
    uint8_t *tail = aligned_alloc(KVT_BUCKET_BLOCK, *size);
    if (tail == NULL) {
        return -ENOMEM;
    }
    pthread_mutex_lock(&bkt->mutex);
    fill_tail(bkt, bucket, tail, *size);
    pthread_mutex_unlock(&bkt->mutex);
    struct kvt_slice slice = {tail, *size, NULL};
    struct kvt_fs_elem write = {.op = KVT_FS_WRITE,
                                .file = bucket->file,
                                .offset =
                                    (uint64_t)bucket->blocks * KVT_BUCKET_BLOCK,
                                .slices = &slice,
                                .slice_count = 1};
    int64_t rc = kvt_fs_run(bkt->fs, &write);
    free(tail);
    return rc < 0 ? (int)rc : 0;
}

/* What came since the last good sync, all of the bucket, is no more. */
static void withdraw_all(struct bkt *bkt, struct bkt_bucket *bucket)
{
    pthread_mutex_lock(&bkt->mutex);
    bucket->lost = true;
    kvt_bkt_begin_end(bkt, bucket);
    pthread_mutex_unlock(&bkt->mutex);
}

/* Nothing more is written to it. Mutex held. */
static void cache_file(struct bkt *bkt, struct bkt_bucket *bucket)
{
    bkt->file_count++;
    kvt_bkt_file_entered(bkt, bucket);
    bucket->writable = false;
    if (bkt->file_count >= bkt->files_max) {
        kvt_bkt_files_crowded(bkt);
    }
}

/* The bucket stays as it is: its runs are found by walking them. */
static void leave_unsealed(struct bkt *bkt, struct bkt_bucket *bucket)
{
    pthread_mutex_lock(&bkt->mutex);
    if (bucket->state == BKT_FULL) {
        bkt_set_state(bucket, BKT_CLOSED);
    }
    cache_file(bkt, bucket);
    pthread_mutex_unlock(&bkt->mutex);
}

static void seal_later(struct bkt *bkt, struct bkt_bucket *bucket)
{
    if (!kvt_fs_facts(bkt->fs)->overwrite_in_place) {
        leave_unsealed(bkt, bucket); /* a part of the tail may be there */
        return;
    }
    pthread_mutex_lock(&bkt->mutex);
    bucket->seal_again_ns = kvt_clock_ns() + 1000000000;
    pthread_mutex_unlock(&bkt->mutex);
}

/* Others see its bytes when it is closed, on some mounts. */
static bool wants_close(const struct bkt *bkt)
{
    const struct kvt_fs_facts *facts = kvt_fs_facts(bkt->fs);
    return facts->visibility == KVT_FS_VISIBLE_AFTER_CLOSE ||
           !facts->size_exact_while_open;
}

static void sealed(struct bkt *bkt, struct bkt_bucket *bucket, size_t tail)
{
    struct kvt_fs_file *file = NULL;
    uint64_t unit = kvt_fs_facts(bkt->fs)->allocation_unit;
    uint64_t blocks = bucket->blocks - bucket->hole_blocks;
    uint64_t size = blocks * KVT_BUCKET_BLOCK + tail;
    size = (size + unit - 1) / unit * unit;
    pthread_mutex_lock(&bkt->mutex);
    if (bucket->state == BKT_FULL) { /* not removed meanwhile */
        bkt_set_state(bucket, BKT_SEALED);
    }
    bucket->has_table = true;
    bucket->unsynced = !is_durable(bkt);
    bucket->file_bytes = size;
    bucket->kill_count = bucket->table.kill_count;
    kvt_bkt_table_free(&bucket->table);
    if (bucket->charge.allocated > size) {
        struct kvt_charge over = {.allocated = bucket->charge.allocated - size};
        kvt_budget_give_back(&bkt->budget, over);
        bucket->charge.allocated = size;
    }
    if (wants_close(bkt) && bucket->pins == 1) {
        file = bucket->file;
        bucket->file = NULL;
    } else {
        cache_file(bkt, bucket);
    }
    bucket->writable = false;
    if (bucket->live_objects == 0) {
        bkt->dead_found = true;
    }
    kvt_bkt_line_pump(bkt);
    pthread_mutex_unlock(&bkt->mutex);
    kvt_bkt_file_close(bkt, file);
}

static int seal_pinned(struct bkt *bkt, struct bkt_bucket *bucket)
{
    size_t tail;
    int rc = is_durable(bkt) ? sync_data(bkt, bucket->file) : 0;
    if (rc != 0) { /* a sync is never tried again */
        kvt_backend_log(&bkt->base, KVT_LOG_ERROR,
                        "bucket %016llx: cannot sync its values: %s; %s",
                        (unsigned long long)bucket->number, kvt_errno_name(rc),
                        bkt->sync_runs ? "it stays unsealed"
                                       : "its objects are withdrawn");
        if (bkt->sync_runs) {
            leave_unsealed(bkt, bucket);
        } else {
            withdraw_all(bkt, bucket);
        }
        return rc;
    }
    rc = write_tail(bkt, bucket, &tail);
    if (rc != 0) {
        kvt_backend_log(&bkt->base, KVT_LOG_WARN,
                        "bucket %016llx: cannot write its table: %s",
                        (unsigned long long)bucket->number, kvt_errno_name(rc));
        seal_later(bkt, bucket);
        return rc;
    }
    if (is_durable(bkt)) {
        rc = sync_data(bkt, bucket->file);
        if (rc == 0) {
            rc = kvt_bkt_sync_names(bkt, bucket->writer);
        }
        if (rc != 0) {
            leave_unsealed(bkt, bucket);
            return rc;
        }
    }
    sealed(bkt, bucket, tail);
    return 0;
}

int kvt_bkt_seal(struct bkt *bkt, struct bkt_bucket *bucket)
{
    int rc = 0;
    pthread_mutex_lock(&bkt->mutex);
    bool empty = bucket->table.run_count == 0;
    if (empty && bucket->state == BKT_FULL) {
        kvt_bkt_begin_end(bkt, bucket); /* the keeper removes it */
    }
    pthread_mutex_unlock(&bkt->mutex);
    if (!empty) {
        rc = seal_pinned(bkt, bucket);
    }
    pthread_mutex_lock(&bkt->mutex);
    kvt_bkt_unpin(bkt, bucket);
    bkt->sealing = false;
    kvt_bkt_line_pump(bkt);
    pthread_cond_broadcast(&bkt->quiet);
    pthread_mutex_unlock(&bkt->mutex);
    return rc;
}
