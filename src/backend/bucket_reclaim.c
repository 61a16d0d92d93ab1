/*
 * Room that dead objects take: a bucket in which nothing lives is removed; in
 * others the blocks of the dead are punched out, where the mount can. Neither
 * before what killed them is as safe as they were: after a power loss the old
 * object may be all there is.
 */
#include "backend/bucket.h"

#include <stdlib.h>

/* What killed them -----------------------------------------------------------
 */

/* A bucket that is written, pinned; the one behind `*at`. Mutex held. */
static struct bkt_bucket *next_written(struct bkt *bkt, uint32_t *at)
{
    for (; *at < bkt->slot_count; ++*at) {
        struct bkt_bucket *bucket = bkt->slots[*at];
        if (bucket != NULL && bucket->writable && bucket->run_count > 0 &&
            bucket->state != BKT_DYING) {
            kvt_bkt_pin(bucket);
            ++*at;
            return bucket;
        }
    }
    return NULL;
}

static int sync_written(struct bkt *bkt)
{
    uint32_t at = 0;
    int rc = 0;
    while (rc == 0 && bkt->durability == BKT_DURABLE_SEAL) {
        pthread_mutex_lock(&bkt->mutex);
        struct bkt_bucket *bucket = next_written(bkt, &at);
        pthread_mutex_unlock(&bkt->mutex);
        if (bucket == NULL) {
            break;
        }
        struct kvt_fs_elem sync = {.op = KVT_FS_DATASYNC, .file = bucket->file};
        rc = (int)kvt_fs_run(bkt->fs, &sync);
        rc = rc != 0 ? rc : kvt_bkt_sync_names(bkt, bucket->writer);
        pthread_mutex_lock(&bkt->mutex);
        kvt_bkt_unpin(bkt, bucket);
        pthread_mutex_unlock(&bkt->mutex);
    }
    return rc;
}

/* Buckets in which nothing lives ---------------------------------------------
 */

static bool is_idle(const struct bkt_bucket *bucket)
{
    return bucket->state == BKT_SEALED && bucket->pins == 0 &&
           bucket->unsettled == 0 && !bucket->withdrawn;
}

static struct bkt_bucket *find_dead(struct bkt *bkt)
{
    for (uint32_t i = 0; i < bkt->slot_count; i++) {
        struct bkt_bucket *bucket = bkt->slots[i];
        if (bucket != NULL && is_idle(bucket) && bucket->live_objects == 0 &&
            bucket->kill_count == 0) {
            return bucket;
        }
    }
    return NULL;
}

void kvt_bkt_remove_dead(struct bkt *bkt)
{
    struct bkt_bucket *bucket;
    struct bkt_name name = {0};
    pthread_mutex_lock(&bkt->mutex);
    bkt->dead_found = false;
    bool any = find_dead(bkt) != NULL;
    pthread_mutex_unlock(&bkt->mutex);
    if (!any || kvt_bkt_checkpoint_remove(bkt) != 0 || sync_written(bkt) != 0) {
        return;
    }
    do {
        pthread_mutex_lock(&bkt->mutex);
        bucket = find_dead(bkt);
        if (bucket != NULL) {
            kvt_bkt_begin_end(bkt, bucket);
            name = bkt_name_of(bucket);
        }
        pthread_mutex_unlock(&bkt->mutex);
        if (bucket != NULL) {
            kvt_bkt_remove_bucket(bkt, name);
        }
    } while (bucket != NULL);
}

/* Dead objects beside live ones -----------------------------------------------
 */

bool kvt_bkt_can_punch(const struct bkt *bkt)
{
    const struct kvt_fs_facts *facts = kvt_fs_facts(bkt->fs);
    return facts->punch_hole && facts->allocation_unit <= KVT_BUCKET_BLOCK;
}

static struct bkt_bucket *find_deadest(struct bkt *bkt)
{
    struct bkt_bucket *deadest = NULL;
    uint64_t most = 0;
    for (uint32_t i = 0; i < bkt->slot_count; i++) {
        struct bkt_bucket *bucket = bkt->slots[i];
        if (bucket != NULL && is_idle(bucket) && bucket->dead_blocks > most) {
            most = bucket->dead_blocks;
            deadest = bucket;
        }
    }
    return deadest;
}

bool kvt_bkt_may_reclaim(struct bkt *bkt)
{
    return kvt_bkt_can_punch(bkt) && find_deadest(bkt) != NULL;
}

/* Blocks that hold nothing live: values of the dead, and records of runs that
 * have no others. The table knows their kills. */
struct dead {
    struct bkt_bucket *bucket;
    uint64_t blocks; /* in all */
    uint64_t start;  /* of the range that is not punched yet */
    uint64_t end;
    struct kvt_fs_file *file;
};

/* Is somebody reading it, perhaps what has died since? Who comes later finds
 * only what lives. */
static bool is_read(struct bkt *bkt, const struct bkt_bucket *bucket)
{
    pthread_mutex_lock(&bkt->mutex);
    bool others = bucket->pins > 1;
    pthread_mutex_unlock(&bkt->mutex);
    return others;
}

static int punch_range(struct bkt *bkt, struct dead *dead)
{
    if (dead->end == dead->start) {
        return 0;
    }
    if (is_read(bkt, dead->bucket)) {
        return -EBUSY;
    }
    struct kvt_fs_elem punch = {.op = KVT_FS_PUNCH,
                                .file = dead->file,
                                .offset = dead->start * KVT_BUCKET_BLOCK,
                                .length = (dead->end - dead->start) *
                                          KVT_BUCKET_BLOCK};
    dead->blocks += dead->end - dead->start;
    return (int)kvt_fs_run(bkt->fs, &punch);
}

static int add_dead(struct bkt *bkt, struct dead *dead, uint64_t block,
                    uint64_t blocks)
{
    int rc = 0;
    if (block != dead->end) {
        rc = punch_range(bkt, dead);
        dead->start = block;
    }
    dead->end = block + blocks;
    return rc;
}

static struct kvt_bucket_entry entry_at(const struct bkt_table *table,
                                        uint32_t at)
{
    struct kvt_bucket_entry entry;
    kvt_bucket_entry_decode(table->entries + (size_t)at * KVT_BUCKET_ENTRY_SIZE,
                            &entry);
    return entry;
}

/* A run has the entries [*at, end): those in front of the next run. */
static uint32_t end_of_run(const struct bkt_table *table, uint32_t run,
                           uint32_t at)
{
    struct kvt_bucket_run next = {.block = UINT32_MAX};
    if (run + 1 < table->run_count) {
        kvt_bucket_run_decode(
            table->runs + (size_t)(run + 1) * KVT_BUCKET_RUN_SIZE, &next);
    }
    while (at < table->entry_count && entry_at(table, at).block < next.block) {
        at++;
    }
    return at;
}

static int punch_run(struct bkt *bkt, const struct bkt_bucket *bucket,
                     const struct bkt_table *table, uint32_t number,
                     uint32_t *at, struct dead *dead)
{
    struct kvt_bucket_run run;
    uint32_t end = end_of_run(table, number, *at);
    bool lives = false;
    int rc = 0;
    kvt_bucket_run_decode(table->runs + (size_t)number * KVT_BUCKET_RUN_SIZE,
                          &run);
    for (uint32_t i = *at; i < end && !lives; i++) {
        struct kvt_bucket_entry entry = entry_at(table, i);
        lives = kvt_bkt_is_live(bkt, bucket, entry.key_hash, entry.block);
    }
    if (!lives) {
        rc = add_dead(bkt, dead, run.block, run.record_blocks);
    }
    for (; *at < end && rc == 0; ++*at) {
        struct kvt_bucket_entry entry = entry_at(table, *at);
        if (!kvt_bkt_is_live(bkt, bucket, entry.key_hash, entry.block)) {
            rc = add_dead(bkt, dead, entry.block,
                          bkt_value_blocks(entry.length));
        }
    }
    return rc;
}

static int punch_dead(struct bkt *bkt, const struct bkt_bucket *bucket,
                      const struct bkt_table *table, struct dead *dead)
{
    uint32_t at = 0;
    int rc = 0;
    for (uint32_t i = 0; i < table->run_count && rc == 0; i++) {
        rc = punch_run(bkt, bucket, table, i, &at, dead);
    }
    return rc == 0 ? punch_range(bkt, dead) : rc;
}

static int punch_bucket(struct bkt *bkt, struct bkt_bucket *bucket,
                        uint64_t *blocks)
{
    struct bkt_table table;
    struct dead dead = {.bucket = bucket};
    char path[BKT_PATH_MAX];
    kvt_bkt_path(bucket, path);
    struct kvt_fs_elem open = {
        .op = KVT_FS_OPEN, .path = path, .flags = KVT_FS_FOR_WRITE};
    int rc = kvt_bkt_table_of(bkt, bucket, &table);
    if (rc != 0) {
        return rc;
    }
    rc = (int)kvt_fs_run(bkt->fs, &open);
    if (rc == 0) {
        dead.file = open.file;
        rc = punch_dead(bkt, bucket, &table, &dead);
        kvt_bkt_file_close(bkt, open.file);
        *blocks = dead.blocks;
    }
    kvt_bkt_table_free(&table);
    return rc;
}

/* What is left of the bucket's room. Mutex held. */
static void settle_charge(struct bkt *bkt, struct bkt_bucket *bucket,
                          uint64_t dead_blocks)
{
    struct kvt_charge less = {0};
    if (bucket->charge.values > bucket->live_bytes) {
        less.values = bucket->charge.values - bucket->live_bytes;
    }
    uint64_t left = bucket->file_bytes - dead_blocks * KVT_BUCKET_BLOCK;
    if (bucket->charge.allocated > left) {
        less.allocated = bucket->charge.allocated - left;
    }
    bucket->dead_blocks = 0;
    kvt_charge_sub(&bucket->charge, less);
    kvt_budget_give_back(&bkt->budget, less);
}

/* What is dead is dead on disk, too: its kills do not wait in memory. -EBUSY
 * while some are on their way. */
static int write_waiting_kills(struct bkt *bkt)
{
    pthread_mutex_lock(&bkt->mutex);
    bool some = bkt->kill_count > 0;
    pthread_mutex_unlock(&bkt->mutex);
    int rc = some ? kvt_bkt_write_kills(bkt, NULL, 0) : 0;
    pthread_mutex_lock(&bkt->mutex);
    bool all = bkt->kill_count == 0 && bkt->kills_riding == 0;
    pthread_mutex_unlock(&bkt->mutex);
    return rc == 0 && !all ? -EBUSY : rc;
}

static struct bkt_bucket *take_deadest(struct bkt *bkt)
{
    pthread_mutex_lock(&bkt->mutex);
    struct bkt_bucket *bucket =
        kvt_bkt_can_punch(bkt) ? find_deadest(bkt) : NULL;
    if (bucket != NULL) {
        kvt_bkt_pin(bucket);
    }
    pthread_mutex_unlock(&bkt->mutex);
    return bucket;
}

int kvt_bkt_reclaim_one(struct bkt *bkt)
{
    uint64_t blocks = 0;
    struct bkt_bucket *bucket = take_deadest(bkt);
    if (bucket == NULL) {
        return -ENOENT;
    }
    int rc = kvt_bkt_checkpoint_remove(bkt);
    if (rc == 0) {
        rc = write_waiting_kills(bkt);
    }
    if (rc == 0) {
        rc = sync_written(bkt);
    }
    if (rc == 0) {
        rc = punch_bucket(bkt, bucket, &blocks);
    }
    pthread_mutex_lock(&bkt->mutex);
    if (rc == 0) {
        settle_charge(bkt, bucket, blocks);
    } else if (rc != -EBUSY) { /* not again: it goes when it is evicted */
        bucket->dead_blocks = 0;
        rc = -EIO;
    }
    kvt_bkt_unpin(bkt, bucket);
    pthread_mutex_unlock(&bkt->mutex);
    return rc;
}
