/* Kills without objects, written by whoever may not wait; and those that a
 * bucket has and that are still needed when it goes: written again, so that
 * what they kill does not come back. */
#include "backend/bucket.h"

#include <stdlib.h>
#include <string.h>

/* Writing them --------------------------------------------------------------
 */

struct kill_write {
    bool done;
    int rc;
};

static void kills_granted(struct bkt_run *run, int rc)
{
    (void)run;
    (void)rc;
}

static void kills_ended(struct bkt_run *run, int rc)
{
    struct kill_write *write = run->arg;
    write->rc = rc;
    write->done = true;
}

/* What a sealed bucket said may go only when it stands as safely elsewhere. */
static int sync_kills(struct bkt *bkt, const struct bkt_bucket *bucket)
{
    if (bkt->durability != BKT_DURABLE_SEAL) {
        return 0; /* no sync is promised, or every run has had its own */
    }
    struct kvt_fs_elem sync = {.op = KVT_FS_DATASYNC, .file = bucket->file};
    int rc = (int)kvt_fs_run(bkt->fs, &sync);
    return rc != 0 ? rc : kvt_bkt_sync_names(bkt, bucket->writer);
}

static int write_run(struct bkt *bkt, struct bkt_run *run)
{
    struct kvt_fs_queue_options options = {sizeof options, 0, true};
    struct kill_write write = {0};
    int rc = kvt_fs_queue_open(bkt->fs, &options, &run->queue);
    if (rc != 0) {
        return rc;
    }
    run->granted = kills_granted;
    run->ended = kills_ended;
    run->arg = &write;
    run->kills_only = true;
    run->forced = true;
    rc = kvt_bkt_run_place(run);
    if (rc == 0) {
        uint64_t size = kvt_blocks_of(run->head.record_size);
        struct kvt_slice slice = {run->record, (size_t)size * KVT_BUCKET_BLOCK,
                                  NULL};
        kvt_bkt_run_write(run, &slice, 1);
        while (!write.done) {
            kvt_fs_poll(run->queue, 1, 0);
        }
        rc = write.rc;
        if (rc == 0) {
            rc = sync_kills(bkt, run->bucket);
        }
        pthread_mutex_lock(&bkt->mutex);
        kvt_bkt_run_settle(run);
        pthread_mutex_unlock(&bkt->mutex);
    }
    kvt_fs_queue_close(run->queue);
    return rc;
}

int kvt_bkt_write_kills(struct bkt *bkt, const struct kvt_bucket_kill *kills,
                        size_t count)
{
    enum {
        PART = 8192
    };
    int rc = 0;
    do {
        pthread_mutex_lock(&bkt->mutex);
        size_t riding = bkt->kill_count;
        pthread_mutex_unlock(&bkt->mutex);
        size_t part = count < PART ? count : PART;
        if (part == 0 && riding == 0) {
            break;
        }
        struct bkt_run *run = kvt_bkt_run_new(bkt, 0, 0, 0, (uint32_t)part);
        if (run == NULL) {
            return -ENOMEM;
        }
        if (part > 0) {
            memcpy(run->kills, kills, part * sizeof kills[0]);
            kills += part;
            count -= part;
        }
        rc = write_run(bkt, run);
        kvt_bkt_run_drop(run);
    } while (rc == 0);
    return rc;
}

/* Of a table that can be read -------------------------------------------------
 */

struct bkt_bucket *kvt_bkt_find_bucket(const struct bkt *bkt, uint64_t writer,
                                       uint64_t number)
{
    for (uint32_t i = 0; i < bkt->slot_count; i++) {
        struct bkt_bucket *bucket = bkt->slots[i];
        if (bucket != NULL && bucket->number == number &&
            bucket->writer == writer) {
            return bucket;
        }
    }
    return NULL;
}

/* Keeps those whose target is still on disk, as kills that need no cause.
 * Mutex held. */
static uint32_t needed_kills(struct bkt *bkt, const struct bkt_bucket *victim,
                             const struct bkt_table *table,
                             struct kvt_bucket_kill *kills)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < table->kill_count; i++) {
        struct kvt_bucket_kill kill;
        kvt_bucket_kill_decode(table->kills + (size_t)i * KVT_BUCKET_KILL_SIZE,
                               &kill);
        struct bkt_bucket *target =
            kvt_bkt_find_bucket(bkt, kill.writer, kill.number);
        if (target == NULL || target == victim) {
            continue;
        }
        if (kill.cause != KVT_KILL_REMOVED && kill.cause != KVT_KILL_UNDONE) {
            /* replaced by an entry that was undone, it lives */
            struct kvt_bucket_entry entry;
            kvt_bucket_entry_decode(table->entries + (size_t)(kill.cause - 1) *
                                                         KVT_BUCKET_ENTRY_SIZE,
                                    &entry);
            if (kvt_bkt_is_live(bkt, target, entry.key_hash, kill.block)) {
                continue;
            }
            kill.cause = KVT_KILL_REMOVED;
        }
        kills[count++] = kill;
    }
    return count;
}

static int keep_known(struct bkt *bkt, const struct bkt_bucket *victim,
                      const struct bkt_table *table)
{
    struct kvt_bucket_kill *kills = malloc(table->kill_count * sizeof kills[0]);
    if (kills == NULL) {
        return -ENOMEM;
    }
    pthread_mutex_lock(&bkt->mutex);
    uint32_t count = needed_kills(bkt, victim, table, kills);
    pthread_mutex_unlock(&bkt->mutex);
    int rc = count > 0 ? kvt_bkt_write_kills(bkt, kills, count) : 0;
    free(kills);
    return rc;
}

/* Of one that cannot ----------------------------------------------------------
 */

/* Kills every object of a table that does not live, as one that never counted:
 * what it had replaced is dead in its own right, or lives. A kill never stands
 * in an older bucket than its target, and what is on its way into the index is
 * not dead. */
static int kill_dead(struct bkt *bkt, const struct bkt_bucket *target,
                     const struct bkt_table *table)
{
    struct kvt_bucket_kill *kills =
        malloc((table->entry_count + 1) * sizeof kills[0]);
    uint32_t count = 0;
    if (kills == NULL) {
        return -ENOMEM;
    }
    pthread_mutex_lock(&bkt->mutex);
    for (uint32_t i = 0; i < table->entry_count; i++) {
        struct kvt_bucket_entry entry;
        kvt_bucket_entry_decode(
            table->entries + (size_t)i * KVT_BUCKET_ENTRY_SIZE, &entry);
        if (!kvt_bkt_is_live(bkt, target, entry.key_hash, entry.block)) {
            kills[count++] = (struct kvt_bucket_kill){
                target->writer, target->number, entry.block, KVT_KILL_UNDONE};
        }
    }
    int rc = count > 0 && target->unsettled > 0 ? -EIO : 0;
    pthread_mutex_unlock(&bkt->mutex);
    if (rc == 0 && count > 0) {
        rc = kvt_bkt_write_kills(bkt, kills, count);
    }
    free(kills);
    return rc;
}

/* Nobody knows whom the victim killed: all the dead that are on disk. */
static int keep_unknown(struct bkt *bkt, const struct bkt_bucket *victim)
{
    int rc = 0;
    pthread_mutex_lock(&bkt->mutex);
    for (uint32_t i = 0; i < bkt->slot_count && rc == 0; i++) {
        struct bkt_bucket *target = bkt->slots[i];
        struct bkt_table table;
        if (target == NULL || target == victim || target->state == BKT_DYING ||
            target->number > victim->number ||
            target->objects == target->live_objects) {
            continue;
        }
        kvt_bkt_pin(target);
        pthread_mutex_unlock(&bkt->mutex);
        rc = kvt_bkt_table_of(bkt, target, &table);
        if (rc == 0) {
            rc = kill_dead(bkt, target, &table);
            kvt_bkt_table_free(&table);
        }
        pthread_mutex_lock(&bkt->mutex);
        kvt_bkt_unpin(bkt, target);
    }
    pthread_mutex_unlock(&bkt->mutex);
    return rc;
}

int kvt_bkt_keep_kills(struct bkt *bkt, const struct bkt_bucket *victim,
                       const struct bkt_table *table)
{
    if (table != NULL) {
        return table->kill_count > 0 ? keep_known(bkt, victim, table) : 0;
    }
    return victim->kill_count > 0 ? keep_unknown(bkt, victim) : 0;
}
