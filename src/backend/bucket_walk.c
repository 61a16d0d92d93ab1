/* A bucket that was not sealed: its runs are walked, from the header to where
 * the log ends. A run whose record is not whole ends it, unless what lies
 * behind it shows that it was whole once. The values of the last runs, which a
 * killed process may have torn, are read and checked; all of them when the
 * machine was down since, or when what a process wrote does not outlive it. */
#include "backend/bucket.h"
#include "backend/bucket_recover.h"
#include "core/bytes.h"

#include <stdlib.h>
#include <string.h>

enum {
    PIECE = 64 * 1024, /* mostly a whole record */
};

struct run_place {
    struct kvt_run_head head;
    uint32_t first_entry;
};

struct walk {
    struct bkt *bkt;
    struct bkt_found *found;
    struct kvt_fs_file *file;
    uint8_t *piece;
    uint8_t *record; /* of the last run; `piece`, or its own memory */
    uint8_t *scan;   /* PIECE bytes from `scan_at` on, or null */
    uint64_t scan_at;
    size_t scan_size;
    struct run_place *runs;
    uint32_t run_count;
    uint32_t run_capacity;
};

static int64_t read_at(struct walk *walk, uint64_t offset, void *bytes,
                       size_t size)
{
    struct kvt_slice slice = {bytes, size, NULL};
    struct kvt_fs_elem read = {.op = KVT_FS_READ,
                               .file = walk->file,
                               .offset = offset,
                               .slices = &slice,
                               .slice_count = 1};
    int64_t got = kvt_fs_run(walk->bkt->fs, &read);
    uint64_t end = walk->found->size;
    uint64_t left = offset < end ? end - offset : 0;
    return got >= 0 && (uint64_t)got < (size < left ? size : left) ? -EIO : got;
}

/* The record at a block, of a run of a number between two: 1 when there is a
 * whole one, 0 when there is none, or -errno. */
static int read_some_record(struct walk *walk, uint32_t block, uint32_t least,
                            uint32_t most, struct kvt_run_head *head)
{
    uint64_t offset = (uint64_t)block * KVT_BUCKET_BLOCK;
    int64_t got = read_at(walk, offset, walk->piece, PIECE);
    if (got < (int64_t)KVT_RUN_HEAD_SIZE) {
        return got < 0 ? (int)got : 0;
    }
    if (!kvt_run_head_decode(walk->piece, head) || head->run < least ||
        head->run > most || head->block != block ||
        offset + (uint64_t)head->blocks * KVT_BUCKET_BLOCK >
            walk->found->size) {
        return 0;
    }
    if (walk->record != walk->piece) {
        free(walk->record);
    }
    walk->record = walk->piece;
    if (head->record_size > PIECE) {
        walk->record = malloc(head->record_size);
        if (walk->record == NULL) {
            walk->record = walk->piece;
            return -ENOMEM;
        }
        got = read_at(walk, offset, walk->record, head->record_size);
    }
    if (got < (int64_t)head->record_size) {
        return got < 0 ? (int)got : 0;
    }
    int rc = kvt_run_record_check(walk->record, head, walk->found->seed);
    return rc == 0 ? 1 : rc == -EBADMSG ? 0 : rc;
}

/* Of the run of one number. */
static int read_record(struct walk *walk, uint32_t block, uint32_t number,
                       struct kvt_run_head *head)
{
    return read_some_record(walk, block, number, number, head);
}

static int take_record(struct walk *walk, const struct kvt_run_head *head)
{
    struct bkt_table *table = &walk->found->table;
    if (walk->run_count == walk->run_capacity) {
        uint32_t capacity = walk->run_capacity * 2 + 16;
        struct run_place *runs = realloc(walk->runs, capacity * sizeof runs[0]);
        if (runs == NULL) {
            return -ENOMEM;
        }
        walk->runs = runs;
        walk->run_capacity = capacity;
    }
    walk->runs[walk->run_count++] =
        (struct run_place){*head, table->entry_count};
    struct kvt_bucket_kill *kills =
        malloc((head->kill_count + 1) * sizeof kills[0]);
    if (kills == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < head->kill_count; i++) {
        kvt_bucket_kill_decode(kvt_run_kill(walk->record, head, i), &kills[i]);
    }
    struct kvt_bucket_run run = {head->block,
                                 (uint32_t)kvt_blocks_of(head->record_size)};
    int rc =
        kvt_bkt_table_add(table, kvt_run_entry(walk->record, 0),
                          head->entry_count, &run, kills, head->kill_count);
    free(kills);
    return rc;
}

/* Torn values ----------------------------------------------------------------
 */

/* An object whose bytes are not there never counted; one that cannot be read
 * may have, and what it replaced does not come back. */
static int kill_entry(struct walk *walk, const struct kvt_bucket_entry *entry,
                      uint32_t cause)
{
    struct bkt_found *found = walk->found;
    struct kvt_bucket_kill kill = {found->writer, found->number, entry->block,
                                   cause};
    walk->bkt->recovery.dropped_records++;
    return kvt_bkt_table_add_kill(&found->table, &kill);
}

/* 1: it is whole, 0: it is not, -EIO: it cannot be read, or -errno. */
static int check_value(struct walk *walk, const struct kvt_bucket_entry *entry,
                       struct kvt_key key)
{
    uint8_t *bytes = malloc((size_t)entry->length + 1);
    if (bytes == NULL) {
        return -ENOMEM;
    }
    int64_t got = read_at(walk, (uint64_t)entry->block * KVT_BUCKET_BLOCK,
                          bytes, entry->length);
    struct kvt_slice slice = {bytes, entry->length, NULL};
    bool good =
        got == (int64_t)entry->length &&
        kvt_bkt_check(walk->bkt, key, &slice, 1, entry->length) == entry->check;
    free(bytes);
    return got < 0 ? (int)got : good ? 1 : 0;
}

static int check_run(struct walk *walk, const struct run_place *run)
{
    struct kvt_run_head head;
    int rc = read_record(walk, run->head.block, run->head.run, &head);
    if (rc <= 0) {
        return rc < 0 ? rc : -EIO; /* it was there just now */
    }
    struct kvt_run_keys keys = kvt_run_keys_begin(walk->record, &head);
    for (uint32_t i = 0; i < head.entry_count; i++) {
        struct kvt_bucket_entry entry;
        kvt_bucket_entry_decode(kvt_run_entry(walk->record, i), &entry);
        rc = check_value(walk, &entry, kvt_run_keys_next(&keys));
        if (rc == 0 || rc == -EIO) {
            /* once it was sealed, what is dead may be punched out */
            bool undone = rc == 0 && !walk->found->was_sealed;
            rc = kill_entry(walk, &entry,
                            undone ? KVT_KILL_UNDONE : KVT_KILL_REMOVED);
        }
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

static int check_values(struct walk *walk)
{
    uint32_t first = 0;
    if (walk->found->trusted && walk->run_count > BKT_RUNS_MAX) {
        first = walk->run_count - BKT_RUNS_MAX;
    }
    int rc = 0;
    for (uint32_t i = first; i < walk->run_count && rc == 0; i++) {
        rc = check_run(walk, &walk->runs[i]);
    }
    return rc;
}

/* ----------------------------------------------------------------------------*/

/* Damage ---------------------------------------------------------------------
 */

/* Where runs can be. */
static uint32_t end_block(const struct walk *walk)
{
    const struct bkt_found *found = walk->found;
    return found->was_sealed ? found->table_block
                             : (uint32_t)kvt_blocks_of(found->size);
}

/* Might a record begin at the block? 1, 0 or -errno. */
static int looks_like_record(struct walk *walk, uint32_t block)
{
    uint64_t offset = (uint64_t)block * KVT_BUCKET_BLOCK;
    if (walk->scan == NULL) {
        walk->scan = aligned_alloc(KVT_BUCKET_BLOCK, PIECE);
        if (walk->scan == NULL) {
            return -ENOMEM;
        }
    }
    if (offset < walk->scan_at ||
        offset + KVT_RUN_HEAD_SIZE > walk->scan_at + walk->scan_size) {
        int64_t got = read_at(walk, offset, walk->scan, PIECE);
        if (got < 0) {
            return (int)got;
        }
        walk->scan_at = offset;
        walk->scan_size = (size_t)got;
    }
    struct kvt_run_head head;
    return offset + KVT_RUN_HEAD_SIZE <= walk->scan_at + walk->scan_size &&
           kvt_run_head_decode(walk->scan + (offset - walk->scan_at), &head) &&
           head.block == block;
}

/* The first whole record from a block on, of a run from `least` on. */
static int find_record(struct walk *walk, uint32_t block, uint32_t least,
                       struct kvt_run_head *head)
{
    int rc = 0;
    for (uint32_t end = end_block(walk); block < end && rc == 0; block++) {
        rc = looks_like_record(walk, block);
        if (rc == 1) {
            rc = read_some_record(walk, block, least, UINT32_MAX, head);
        }
    }
    return rc;
}

/* Was the run whose record is not whole acknowledged? It was when the bucket
 * was sealed behind it, or when a run behind it was begun that had to wait for
 * it. And one block that is as a process wrote it has no other end than it
 * had: what a killed process leaves of it is all or nothing. */
static int counted_once(struct walk *walk, uint32_t number, bool is_block,
                        struct kvt_run_head *next)
{
    if (walk->found->was_sealed || (walk->found->trusted && is_block)) {
        return 1;
    }
    struct kvt_run_head head = *next;
    int rc = 1;
    while (rc == 1 && head.run < number + BKT_RUNS_MAX) {
        rc = find_record(walk, head.block + head.blocks, head.run + 1, &head);
    }
    return rc;
}

/* The log ends at a block, with a run that is not whole. If it was whole once,
 * the walk goes on behind it: 1, and the next record is read. */
static int look_on(struct walk *walk, uint32_t block, uint32_t number,
                   struct kvt_run_head *next)
{
    struct bkt_found *found = walk->found;
    struct kvt_run_head lost;
    uint64_t offset = (uint64_t)block * KVT_BUCKET_BLOCK;
    int64_t got = read_at(walk, offset, walk->piece, PIECE);
    if (got < 0) {
        return (int)got;
    }
    bool is_record = got >= (int64_t)KVT_RUN_HEAD_SIZE &&
                     kvt_run_head_decode(walk->piece, &lost) &&
                     lost.block == block && lost.run == number;
    int rc = find_record(walk, block + 1, number + 1, next);
    if (rc == 1) {
        rc = counted_once(walk, number,
                          is_record && lost.record_size <= KVT_BUCKET_BLOCK,
                          next);
    }
    if (rc <= 0) {
        return rc;
    }
    found->damaged = true;
    found->trusted = false;
    got = read_at(walk, offset, walk->piece, PIECE);
    rc = got < 0 ? (int)got
         : is_record
             ? kvt_bkt_doubt_record(found, walk->piece, (size_t)got, &lost)
             : 0;
    return rc == 0
               ? read_some_record(walk, next->block, next->run, next->run, next)
               : rc;
}

/* ----------------------------------------------------------------------------*/

/* Of a bucket that was sealed, a run behind a lost one that is not in the table
 * never counted. */
static bool is_listed(const struct walk *walk, const struct kvt_run_head *head)
{
    struct kvt_bucket_run run = {head->block,
                                 (uint32_t)kvt_blocks_of(head->record_size)};
    return kvt_bkt_doubt_lists(walk->found, &run);
}

/* Who does not own the root takes what the records say, as far as they can be
 * read; of values that may still be on their way it wants nothing. */
static int walk_runs(struct walk *walk)
{
    bool others = walk->bkt->base.args.read_only;
    uint32_t block = 1;
    uint32_t number = 0;
    bool listed = false;
    int rc = 1;
    while (rc == 1 && block < end_block(walk)) {
        struct kvt_run_head head;
        rc = read_record(walk, block, number, &head);
        if (rc == 0 && !others) {
            walk->bkt->recovery.dropped_records++;
            rc = look_on(walk, block, number, &head);
            listed = walk->found->was_sealed;
        }
        if (rc == 1) {
            bool counts = !listed || is_listed(walk, &head);
            int taken = counts ? take_record(walk, &head) : 0;
            rc = taken != 0 ? taken : 1;
            block = head.block + head.blocks;
            number = head.run + 1;
        }
    }
    if (others) {
        return rc == 1 || rc == -EIO ? 0 : rc;
    }
    return rc < 0 ? rc : check_values(walk);
}

int kvt_bkt_walk_unsealed(struct bkt *bkt, struct bkt_found *found,
                          const char *path)
{
    struct kvt_fs_elem open = {.op = KVT_FS_OPEN, .path = path};
    int rc = (int)kvt_fs_run(bkt->fs, &open);
    if (rc != 0) {
        return rc;
    }
    struct walk walk = {.bkt = bkt, .found = found, .file = open.file};
    walk.piece = aligned_alloc(KVT_BUCKET_BLOCK, PIECE);
    walk.record = walk.piece;
    rc = walk.piece != NULL ? walk_runs(&walk) : -ENOMEM;
    if (walk.record != walk.piece) {
        free(walk.record);
    }
    free(walk.scan);
    free(walk.piece);
    free(walk.runs);
    kvt_bkt_file_close(bkt, open.file);
    return rc;
}
