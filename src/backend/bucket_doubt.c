/* What damaged bytes say. A kill of theirs is taken, since a miss is never
 * wrong, and so is that a key was written: whatever is older of it is dead. But
 * nothing lives by them. */
#include "backend/bucket_recover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int add(struct bkt_found *found, const uint8_t *entries,
               uint32_t entry_count, const uint8_t *kills, uint32_t kill_count)
{
    struct bkt_table *doubt = &found->doubt;
    struct kvt_bucket_run none = {0, 0};
    struct kvt_bucket_kill *decoded =
        malloc(((size_t)kill_count + 1) * sizeof decoded[0]);
    if (decoded == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < kill_count; i++) {
        struct kvt_bucket_kill *kill = &decoded[i];
        kvt_bucket_kill_decode(kills + (size_t)i * KVT_BUCKET_KILL_SIZE, kill);
        if (kill->cause > entry_count && kill->cause != KVT_KILL_UNDONE) {
            kill->cause = KVT_KILL_REMOVED;
        }
    }
    int rc = kvt_bkt_table_add(doubt, entries, entry_count, &none, decoded,
                               kill_count);
    doubt->run_count -= rc == 0;
    free(decoded);
    return rc;
}

enum {
    SECTOR = 512
};

/* Did the power go while the table was written? Then whole sectors of it are
 * zeros, as no entry is. */
static bool is_torn(const uint8_t *table, size_t size)
{
    static const uint8_t zeros[SECTOR];
    bool torn = false;
    for (size_t at = 0; at < size && !torn; at += SECTOR) {
        size_t part = size - at < SECTOR ? size - at : SECTOR;
        torn = memcmp(table + at, zeros, part) == 0;
    }
    return torn;
}

int kvt_bkt_doubt_table(struct bkt_found *found, uint8_t *bytes,
                        const struct kvt_bucket_footer *footer)
{
    size_t size = (size_t)kvt_bucket_table_size(
        footer->entry_count, footer->run_count, footer->kill_count);
    if (is_torn(bytes, size)) {
        return 0;
    }
    found->was_sealed = true;
    found->damaged = true;
    found->table_block = footer->table_block;
    int rc = add(found, bytes, footer->entry_count,
                 bytes + kvt_table_kills_at(footer), footer->kill_count);
    for (uint32_t i = 0; i < footer->run_count && rc == 0; i++) {
        struct kvt_bucket_run run;
        kvt_bucket_run_decode(bytes + kvt_table_runs_at(footer) +
                                  (size_t)i * KVT_BUCKET_RUN_SIZE,
                              &run);
        rc = kvt_bkt_table_add(&found->doubt, NULL, 0, &run, NULL, 0);
    }
    return rc;
}

int kvt_bkt_doubt_record(struct bkt_found *found, uint8_t *record, size_t size,
                         const struct kvt_run_head *head)
{
    uint64_t least =
        kvt_run_record_size(head->entry_count, head->kill_count, 0);
    return least <= size
               ? add(found, kvt_run_entry(record, 0), head->entry_count,
                     kvt_run_kill(record, head, 0), head->kill_count)
               : 0;
}

bool kvt_bkt_doubt_lists(const struct bkt_found *found,
                         const struct kvt_bucket_run *run)
{
    const struct bkt_table *doubt = &found->doubt;
    for (uint32_t i = 0; i < doubt->run_count; i++) {
        struct kvt_bucket_run other;
        kvt_bucket_run_decode(doubt->runs + (size_t)i * KVT_BUCKET_RUN_SIZE,
                              &other);
        if (other.block == run->block &&
            other.record_blocks == run->record_blocks) {
            return true;
        }
    }
    return false;
}
