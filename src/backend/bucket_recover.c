/*
 * Recovery: from the newest bucket to the oldest, so that what replaces or
 * kills an object is met before the object. Of sealed buckets the tables are
 * read, of others the runs; nothing on disk is touched before all of them
 * have been understood.
 */
#include "backend/bucket_recover.h"

#include "backend/kill_set.h"
#include "core/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct recovery {
    struct bkt *bkt;
    struct bkt_listing listing;
    struct kvt_kill_set kills;
    /* of damaged buckets: hashes of keys that were written there, whose older
     * objects are dead; and the table of the last one, to say so */
    struct kvt_kill_set lost;
    struct bkt_table *damaged;
};

/* Names ----------------------------------------------------------------------
 */

static bool read_hex(const char *text, uint64_t *value)
{
    *value = 0;
    for (int i = 0; i < 16; i++) {
        const char *at =
            text[i] != '\0' ? strchr("0123456789abcdef", text[i]) : NULL;
        if (at == NULL) {
            return false;
        }
        *value = *value << 4 | (uint64_t)(text[i] <= '9' ? text[i] - '0'
                                                         : text[i] - 'a' + 10);
    }
    return true;
}

bool kvt_bkt_is_writer(const char *name, uint64_t *writer)
{
    return strncmp(name, "w-", 2) == 0 && strlen(name) == 18 &&
           read_hex(name + 2, writer);
}

static int add_file(const struct kvt_fs_dirent *entry, void *arg)
{
    struct bkt_listing *listing = arg;
    struct bkt *bkt = listing->bkt;
    uint64_t number;
    if (entry->type != KVT_FS_TYPE_FILE || strlen(entry->name) != 20 ||
        strcmp(entry->name + 16, ".kvb") != 0 ||
        !read_hex(entry->name, &number)) {
        return 0;
    }
    if (listing->count == listing->capacity) {
        size_t capacity = listing->capacity * 2 + 64;
        struct bkt_found *found =
            realloc(listing->found, capacity * sizeof found[0]);
        if (found == NULL) {
            return -ENOMEM;
        }
        listing->found = found;
        listing->capacity = capacity;
    }
    listing->found[listing->count++] = (struct bkt_found){
        .writer = listing->writer,
        .number = number,
        .seed = kvt_bucket_seed(bkt->marker.uuid, listing->writer, number),
        .size = entry->size};
    if (number >= bkt->next_number) {
        bkt->next_number = number + 1; /* never again */
    }
    return 0;
}

/* Directories are listed first: listings must not nest on every mount. */
struct writers {
    uint64_t *writers;
    size_t count;
    size_t capacity;
};

static int add_writer(const struct kvt_fs_dirent *entry, void *arg)
{
    struct writers *writers = arg;
    uint64_t writer;
    if (entry->type != KVT_FS_TYPE_DIRECTORY ||
        !kvt_bkt_is_writer(entry->name, &writer)) {
        return 0;
    }
    if (writers->count == writers->capacity) {
        size_t capacity = writers->capacity * 2 + 16;
        uint64_t *larger =
            realloc(writers->writers, capacity * sizeof larger[0]);
        if (larger == NULL) {
            return -ENOMEM;
        }
        writers->writers = larger;
        writers->capacity = capacity;
    }
    writers->writers[writers->count++] = writer;
    return 0;
}

static int older_first(const void *a, const void *b)
{
    const struct bkt_found *left = a;
    const struct bkt_found *right = b;
    if (left->number != right->number) {
        return left->number < right->number ? -1 : 1;
    }
    return left->writer < right->writer ? -1 : left->writer > right->writer;
}

int kvt_bkt_list_files(struct bkt *bkt, struct bkt_listing *listing)
{
    struct writers writers = {0};
    listing->bkt = bkt;
    int rc = kvt_fs_list(bkt->fs, ".", false, add_writer, &writers);
    for (size_t i = 0; i < writers.count && rc == 0; i++) {
        char path[BKT_PATH_MAX];
        size_t before = listing->count;
        listing->writer = writers.writers[i];
        kvt_bkt_directory(listing->writer, path);
        rc = kvt_fs_list(bkt->fs, path, true, add_file, listing);
        rc = rc == -ENOENT ? 0 : rc;
        if (rc == 0 && listing->count == before) {
            /* of what was looked at already, nothing is needed any more */
            writers.writers[listing->empty_count++] = listing->writer;
        }
    }
    listing->empty = writers.writers;
    listing->writer_count = writers.count;
    if (rc == 0 && listing->count > 1) {
        qsort(listing->found, listing->count, sizeof listing->found[0],
              older_first);
    }
    return rc;
}

const struct bkt_found *kvt_bkt_listed(const struct bkt_listing *listing,
                                       const struct bkt_found *found)
{
    return listing->count == 0 ? NULL
                               : bsearch(found, listing->found, listing->count,
                                         sizeof listing->found[0], older_first);
}

void kvt_bkt_listing_fini(struct bkt_listing *listing)
{
    for (size_t i = 0; i < listing->count; i++) {
        struct bkt_table *table = &listing->found[i].table;
        kvt_bkt_table_free(&listing->found[i].doubt);
        if (listing->found[i].kind == BKT_FOUND_SEALED) {
            free(table->entries); /* one piece of memory */
        } else {
            kvt_bkt_table_free(table);
        }
    }
    free(listing->found);
    free(listing->empty);
}

uint32_t kvt_bkt_block_bits(const struct bkt *bkt,
                            const struct bkt_listing *listing)
{
    /* a run may begin just below the limit */
    uint64_t most =
        (uint64_t)bkt->blocks_max + kvt_blocks_of(KVT_RUN_RECORD_MAX) + 1;
    for (size_t i = 0; i < listing->count; i++) {
        uint64_t blocks = kvt_blocks_of(listing->found[i].size);
        most = blocks > most ? blocks : most;
    }
    uint32_t bits = 1;
    while (most >> bits != 0) {
        bits++;
    }
    return bits;
}

/* Looking at a file -----------------------------------------------------------
 */

static int take_parts(struct bkt_found *found, uint8_t *bytes,
                      const struct kvt_bucket_footer *footer)
{
    found->kind = BKT_FOUND_SEALED;
    found->synced = footer->synced;
    found->sequence = footer->sequence;
    found->sequence_end = footer->sequence_end;
    found->value_bytes = footer->value_bytes;
    /* one piece of memory: `entries` owns it */
    found->table =
        (struct bkt_table){.entries = bytes,
                           .runs = bytes + kvt_table_runs_at(footer),
                           .kills = bytes + kvt_table_kills_at(footer),
                           .entry_count = footer->entry_count,
                           .run_count = footer->run_count,
                           .kill_count = footer->kill_count};
    return 0;
}

static void measure(struct bkt_found *found)
{
    const struct bkt_table *table = &found->table;
    for (uint32_t i = 0; i < table->entry_count; i++) {
        struct kvt_bucket_entry entry;
        kvt_bucket_entry_decode(
            table->entries + (size_t)i * KVT_BUCKET_ENTRY_SIZE, &entry);
        found->value_bytes += entry.length;
        if (entry.sequence >= found->sequence_end) {
            found->sequence_end = entry.sequence + 1;
        }
    }
}

static int read_header(struct bkt *bkt, const char *path, uint64_t file_size,
                       struct kvt_bucket_header *header)
{
    uint8_t bytes[KVT_BUCKET_HEADER_SIZE];
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    struct kvt_fs_elem fetch = {
        .op = KVT_FS_FETCH, .path = path, .slices = &slice, .slice_count = 1};
    int64_t got = kvt_fs_run(bkt->fs, &fetch);
    if (got < 0) {
        return (int)got;
    }
    if (got < (int64_t)sizeof bytes) {
        return file_size < sizeof bytes ? -EBADMSG : -EIO;
    }
    return kvt_bucket_header_decode(bytes, header);
}

static bool is_same_boot(const struct bkt *bkt,
                         const struct kvt_bucket_header *header)
{
    static const uint8_t unknown[16];
    return memcmp(header->boot, bkt->boot, sizeof header->boot) == 0 &&
           memcmp(header->boot, unknown, sizeof unknown) != 0;
}

/* Nothing but zeros: 1, 0 or -errno. */
static int is_zero(struct bkt *bkt, const struct bkt_found *found,
                   const char *path)
{
    static const uint8_t zeros[KVT_BUCKET_BLOCK];
    uint8_t bytes[KVT_BUCKET_BLOCK];
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    int rc = 1;
    for (uint64_t at = 0; at < found->size && rc == 1; at += sizeof bytes) {
        struct kvt_fs_elem fetch = {.op = KVT_FS_FETCH,
                                    .path = path,
                                    .offset = at,
                                    .slices = &slice,
                                    .slice_count = 1};
        int64_t got = kvt_fs_run(bkt->fs, &fetch);
        rc = got < 0 ? (int)got : memcmp(bytes, zeros, (size_t)got) == 0;
    }
    return rc;
}

/* Does it end as a sealed bucket, but for damage? 1, 0 or -errno. */
static int ends_sealed(struct bkt *bkt, const struct bkt_found *found,
                       const char *path)
{
    uint8_t bytes[KVT_BUCKET_FOOTER_SIZE];
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    struct kvt_fs_elem fetch = {
        .op = KVT_FS_FETCH, .path = path, .slices = &slice, .slice_count = 1};
    if (found->table_torn || found->size < sizeof bytes) {
        return 0;
    }
    fetch.offset = found->size - sizeof bytes;
    int64_t got = kvt_fs_run(bkt->fs, &fetch);
    return got < 0 ? (int)got
                   : got == (int64_t)sizeof bytes &&
                         kvt_bucket_footer_is_like(bytes);
}

/* What a file without a whole run is. `ours`: its header says so, and what is
 * in it was never acknowledged, unless it was sealed. */
static int name_empty(struct bkt *bkt, struct bkt_found *found,
                      const char *path, bool ours)
{
    int rc = ours ? ends_sealed(bkt, found, path) : is_zero(bkt, found, path);
    if (rc < 0) {
        return rc;
    }
    found->kind = rc != (int)ours ? BKT_FOUND_EMPTY : BKT_FOUND_FOREIGN;
    if (found->kind == BKT_FOUND_FOREIGN) {
        bkt->recovery.dropped_records += ours;
        kvt_backend_log(&bkt->base, KVT_LOG_WARN,
                        "%s is no bucket of this store, or is damaged; it is "
                        "left alone",
                        path);
    }
    return 0;
}

static int walk_unsealed(struct bkt *bkt, struct bkt_found *found,
                         const char *path, bool ours)
{
    int rc = kvt_bkt_walk_unsealed(bkt, found, path);
    if (rc == 0 && found->damaged) {
        kvt_backend_log(&bkt->base, KVT_LOG_WARN,
                        "%s is damaged: some of its objects are lost", path);
        if (found->table.run_count == 0) {
            /* one that is lost; without any it would be taken for empty, and
             * its kills with it */
            struct kvt_bucket_run lost = {1, 1};
            rc = kvt_bkt_table_add(&found->table, NULL, 0, &lost, NULL, 0);
        }
    }
    measure(found);
    if (rc == 0 && found->table.run_count > 0) {
        found->kind = BKT_FOUND_UNSEALED;
        return 0;
    }
    return rc == 0 ? name_empty(bkt, found, path, ours) : rc;
}

/* A file without a table that holds. Its runs show whose it is even when the
 * header is lost. */
static int look_at_unsealed(struct bkt *bkt, struct bkt_found *found,
                            const char *path)
{
    struct kvt_bucket_header header = {0};
    if (found->size == 0) {
        found->kind = BKT_FOUND_EMPTY;
        return 0;
    }
    int rc = read_header(bkt, path, found->size, &header);
    bool ours = rc == 0;
    if (ours &&
        (memcmp(header.uuid, bkt->marker.uuid, 16) != 0 ||
         header.writer != found->writer || header.number != found->number)) {
        found->kind = BKT_FOUND_FOREIGN;
        kvt_backend_log(&bkt->base, KVT_LOG_WARN,
                        "%s is no bucket of this store; it is left alone",
                        path);
        return 0;
    }
    if (rc != 0 && rc != -EBADMSG) {
        found->kind = BKT_FOUND_FOREIGN;
        return rc;
    }
    if (bkt->base.args.read_only && rc != 0) {
        found->kind = BKT_FOUND_FOREIGN;
        return 0;
    }
    if (bkt->base.args.read_only) {
        found->kind = BKT_FOUND_OTHERS;
        return kvt_bkt_walk_unsealed(bkt, found, path);
    }
    found->sequence = header.sequence;
    found->sequence_end = header.sequence;
    found->trusted = ours && !found->was_sealed && is_same_boot(bkt, &header) &&
                     kvt_fs_facts(bkt->fs)->bytes_outlive_process;
    return walk_unsealed(bkt, found, path, ours);
}

int kvt_bkt_look_at(struct bkt *bkt, struct bkt_found *found)
{
    struct bkt_bucket name = {.writer = found->writer, .number = found->number};
    struct kvt_bucket_footer footer;
    uint8_t *bytes = NULL;
    char path[BKT_PATH_MAX];
    kvt_bkt_path(&name, path);
    int rc = kvt_bkt_table_read(bkt, path, found->seed, &footer, &bytes);
    if (rc == 0) {
        return take_parts(found, bytes, &footer);
    }
    if (rc == -EBADMSG) {
        rc = bytes != NULL ? kvt_bkt_doubt_table(found, bytes, &footer) : 0;
        found->table_torn = bytes != NULL && !found->was_sealed;
        free(bytes);
        rc = rc == 0 ? look_at_unsealed(bkt, found, path) : rc;
    }
    return rc;
}

/* Into the index
 * ---------------------------------------------------------------*/

static bool needs_no_cause(const struct kvt_bucket_kill *kill)
{
    return kill->cause == KVT_KILL_REMOVED || kill->cause == KVT_KILL_UNDONE;
}

/* Kills that hold whatever becomes of the objects beside them. */
static int add_plain_kills(struct recovery *recovery,
                           const struct bkt_table *table)
{
    struct kvt_bucket_kill kill;
    int rc = 0;
    for (uint32_t i = 0; i < table->kill_count && rc == 0; i++) {
        kvt_bucket_kill_decode(table->kills + (size_t)i * KVT_BUCKET_KILL_SIZE,
                               &kill);
        if (needs_no_cause(&kill)) {
            rc = kvt_kill_set_add(
                &recovery->kills, kill.writer, kill.number, kill.block,
                kill.cause == KVT_KILL_UNDONE ? KVT_NEVER_COUNTED : KVT_KILLED);
        }
    }
    return rc;
}

/* What became of the object that stands beside a kill, and is its cause. */
static enum kvt_killed cause_of(const struct recovery *recovery,
                                const struct bkt_found *found,
                                const struct bkt_table *table,
                                const struct kvt_bucket_kill *kill)
{
    struct kvt_bucket_entry entry;
    kvt_bucket_entry_decode(table->entries + (size_t)(kill->cause - 1) *
                                                 KVT_BUCKET_ENTRY_SIZE,
                            &entry);
    return kvt_kill_set_find(&recovery->kills, found->writer, found->number,
                             entry.block);
}

/* Of a bucket's table, or of what its damaged bytes say. */
static int add_kills(struct recovery *recovery, const struct bkt_found *found,
                     const struct bkt_table *table)
{
    struct kvt_bucket_kill kill;
    int rc = add_plain_kills(recovery, table);
    for (uint32_t i = 0; i < table->kill_count && rc == 0; i++) {
        kvt_bucket_kill_decode(table->kills + (size_t)i * KVT_BUCKET_KILL_SIZE,
                               &kill);
        if (!needs_no_cause(&kill) &&
            cause_of(recovery, found, table, &kill) != KVT_NEVER_COUNTED) {
            rc = kvt_kill_set_add(&recovery->kills, kill.writer, kill.number,
                                  kill.block, KVT_KILLED);
        }
    }
    return rc;
}

/* Of a bucket whose objects a reader does not have. What one of them replaced
 * stays in its place; but not when that one is killed, too, which the latest
 * kills say first. */
static int add_kills_of_others(struct recovery *recovery,
                               const struct bkt_found *found)
{
    const struct bkt_table *table = &found->table;
    struct kvt_bucket_kill kill;
    int rc = add_plain_kills(recovery, table);
    for (uint32_t i = table->kill_count; i > 0 && rc == 0; i--) {
        kvt_bucket_kill_decode(
            table->kills + (size_t)(i - 1) * KVT_BUCKET_KILL_SIZE, &kill);
        if (!needs_no_cause(&kill) &&
            cause_of(recovery, found, table, &kill) == KVT_KILLED) {
            rc = kvt_kill_set_add(&recovery->kills, kill.writer, kill.number,
                                  kill.block, KVT_KILLED);
        }
    }
    return rc;
}

/* As a key of a set of places. */
static uint64_t hash_kept(uint64_t hash)
{
    return hash >> (64 - 54);
}

/* A later object of the key is lost, and so is what it said about this one: it
 * is said again. */
static int kill_older(struct recovery *recovery, const struct bkt_found *found,
                      const struct kvt_bucket_entry *entry)
{
    struct kvt_bucket_kill kill = {found->writer, found->number, entry->block,
                                   KVT_KILL_REMOVED};
    return kvt_bkt_table_add_kill(recovery->damaged, &kill);
}

static int add_entry(struct recovery *recovery, struct bkt_found *found,
                     const struct kvt_bucket_entry *entry)
{
    struct bkt *bkt = recovery->bkt;
    struct kvt_index_entry there;
    found->bucket->dead_blocks += bkt_value_blocks(entry->length);
    if (kvt_kill_set_find(&recovery->kills, found->writer, found->number,
                          entry->block) != KVT_NOT_KILLED) {
        return 0;
    }
    if (kvt_kill_set_find(&recovery->lost, hash_kept(entry->key_hash), 0, 0) !=
        KVT_NOT_KILLED) {
        return kill_older(recovery, found, entry);
    }
    struct kvt_index_entry place = {
        .place = bkt_place(bkt, found->bucket, entry->block),
        .length = entry->length,
        .check = (uint32_t)entry->check};
    int rc = kvt_place_index_put(&bkt->index, entry->key_hash, &place, &there);
    if (rc > 0) { /* there is a newer one: it stays */
        rc = kvt_place_index_put(&bkt->index, entry->key_hash, &there, &place);
        return rc < 0 ? rc : 0;
    }
    if (rc == 0) {
        kvt_bkt_object_lives(bkt, found->bucket, entry->length);
        found->bucket->dead_blocks -= bkt_value_blocks(entry->length);
        bkt->budget.used.objects++;
    }
    return rc;
}

/* The kills that its damaged bytes tell of stand in its next table. */
static int keep_doubt(struct recovery *recovery, struct bkt_found *found)
{
    const struct bkt_table *doubt = &found->doubt;
    int rc = add_kills(recovery, found, doubt);
    for (uint32_t i = 0; i < doubt->kill_count && rc == 0; i++) {
        struct kvt_bucket_kill kill;
        kvt_bucket_kill_decode(doubt->kills + (size_t)i * KVT_BUCKET_KILL_SIZE,
                               &kill);
        enum kvt_killed killed = kvt_kill_set_find(
            &recovery->kills, kill.writer, kill.number, kill.block);
        if (killed != KVT_NOT_KILLED) {
            kill.cause = killed == KVT_NEVER_COUNTED ? KVT_KILL_UNDONE
                                                     : KVT_KILL_REMOVED;
            rc = kvt_bkt_table_add_kill(&found->table, &kill);
        }
    }
    return rc;
}

/* The key of a damaged entry was written here, unless that never counted. */
static int add_lost(struct recovery *recovery, const struct bkt_found *found,
                    const struct kvt_bucket_entry *entry)
{
    if (kvt_kill_set_find(&recovery->kills, found->writer, found->number,
                          entry->block) == KVT_NEVER_COUNTED) {
        return 0;
    }
    return kvt_kill_set_add(&recovery->lost, hash_kept(entry->key_hash), 0, 0,
                            KVT_KILLED);
}

static void entry_at(const struct bkt_table *table, uint32_t index,
                     struct kvt_bucket_entry *entry)
{
    kvt_bucket_entry_decode(
        table->entries + (size_t)index * KVT_BUCKET_ENTRY_SIZE, entry);
}

/* From the last to the first, as they stand in the file. */
static int add_entries(struct recovery *recovery, struct bkt_found *found)
{
    uint32_t left = found->table.entry_count;
    uint32_t doubtful = found->doubt.entry_count;
    int rc = 0;
    while (left + doubtful > 0 && rc == 0) {
        struct kvt_bucket_entry entry = {0};
        struct kvt_bucket_entry doubt = {0};
        if (left > 0) {
            entry_at(&found->table, left - 1, &entry);
        }
        if (doubtful > 0) {
            entry_at(&found->doubt, doubtful - 1, &doubt);
        }
        if (left > 0 && (doubtful == 0 || entry.block >= doubt.block)) {
            rc = add_entry(recovery, found, &entry);
            left--;
        } else {
            rc = add_lost(recovery, found, &doubt);
            doubtful--;
        }
    }
    return rc;
}

/* `table` is that of a bucket without one on disk. */
static struct kvt_charge charge_of(const struct bkt *bkt,
                                   const struct bkt_found *found,
                                   const struct bkt_table *table)
{
    uint64_t unit = kvt_fs_facts(bkt->fs)->allocation_unit;
    uint64_t size = (found->size + unit - 1) / unit * unit;
    if (found->kind == BKT_FOUND_UNSEALED) {
        size += kvt_bucket_table_size(table->entry_count, table->run_count,
                                      table->kill_count) +
                KVT_BUCKET_FOOTER_SIZE +
                (unit > KVT_BUCKET_BLOCK ? unit : KVT_BUCKET_BLOCK);
    }
    return (struct kvt_charge){.allocated = size, .values = found->value_bytes};
}

/* Opens it for the table that it still lacks. */
static void adopt_unsealed(struct bkt *bkt, struct bkt_found *found)
{
    struct bkt_bucket *bucket = found->bucket;
    char path[BKT_PATH_MAX];
    kvt_bkt_path(bucket, path);
    struct kvt_fs_elem open = {
        .op = KVT_FS_OPEN, .path = path, .flags = KVT_FS_FOR_WRITE};
    bucket->table = found->table;
    found->table = (struct bkt_table){0};
    bucket->blocks = (uint32_t)kvt_blocks_of(found->size);
    bool opened = kvt_fs_run(bkt->fs, &open) == 0;
    if (opened) {
        bucket->file = open.file;
        bucket->writable = true;
    }
    bkt_set_state(bucket, opened ? BKT_FULL : BKT_CLOSED);
}

static int take_bucket(struct recovery *recovery, struct bkt_found *found)
{
    struct bkt *bkt = recovery->bkt;
    struct bkt_bucket *bucket =
        kvt_bkt_bucket_add(bkt, found->writer, found->number);
    if (bucket == NULL) {
        return -ENOMEM;
    }
    found->bucket = bucket;
    bucket->sequence = found->sequence;
    bucket->objects = found->table.entry_count;
    bucket->run_count = found->table.run_count;
    bucket->kill_count = found->table.kill_count;
    bucket->always_verify = !found->synced;
    bucket->charge = charge_of(bkt, found, &found->table);
    bucket->file_bytes = bucket->charge.allocated;
    kvt_charge_add(&bkt->budget.used, bucket->charge);
    int rc = add_kills(recovery, found, &found->table);
    if (rc == 0 && found->damaged) {
        recovery->damaged = &found->table;
        rc = keep_doubt(recovery, found);
    }
    rc = rc == 0 ? add_entries(recovery, found) : rc;
    if (found->damaged) {
        recovery->damaged = &bucket->table; /* as it is adopted */
    }
    if (found->kind == BKT_FOUND_UNSEALED) {
        adopt_unsealed(bkt, found);
    } else {
        bkt_set_state(bucket, BKT_SEALED);
        bucket->has_table = true;
        free(found->table.entries);
        found->table = (struct bkt_table){0};
    }
    return rc;
}

static int recover_one(struct recovery *recovery, struct bkt_found *found)
{
    struct bkt *bkt = recovery->bkt;
    int rc = kvt_bkt_look_at(bkt, found);
    if (rc == -ENOENT) { /* its owner has removed it meanwhile */
        return 0;
    }
    if (rc == 0 && found->sequence_end > bkt->next_sequence) {
        bkt->next_sequence = found->sequence_end;
    }
    if (rc == 0 && (found->kind == BKT_FOUND_SEALED ||
                    found->kind == BKT_FOUND_UNSEALED)) {
        rc = take_bucket(recovery, found);
    } else if (rc == 0 && found->kind == BKT_FOUND_OTHERS) {
        rc = add_kills_of_others(recovery, found);
    }
    return rc;
}

/* After all was understood
 * ----------------------------------------------------*/

static void remove_orphan(struct bkt *bkt, const struct bkt_found *found)
{
    struct bkt_bucket name = {.writer = found->writer, .number = found->number};
    char path[BKT_PATH_MAX];
    kvt_bkt_path(&name, path);
    struct kvt_fs_elem remove = {.op = KVT_FS_REMOVE, .path = path};
    if (kvt_fs_run(bkt->fs, &remove) == 0) {
        bkt->recovery.orphans++;
    }
    kvt_bkt_directory(found->writer, path);
    kvt_fs_rmdir(bkt->fs, path);
}

static void remove_directories(struct bkt *bkt,
                               const struct bkt_listing *listing)
{
    for (size_t i = 0; i < listing->empty_count; i++) {
        char path[BKT_PATH_MAX];
        kvt_bkt_directory(listing->empty[i], path);
        kvt_fs_rmdir(bkt->fs, path); /* if it is empty */
    }
}

/* Its table has got kills since it was charged. */
static void charge_again(struct bkt *bkt, const struct bkt_found *found)
{
    struct bkt_bucket *bucket = found->bucket;
    kvt_charge_sub(&bkt->budget.used, bucket->charge);
    bucket->charge = charge_of(bkt, found, &bucket->table);
    bucket->file_bytes = bucket->charge.allocated;
    kvt_charge_add(&bkt->budget.used, bucket->charge);
}

static void settle(struct recovery *recovery)
{
    struct bkt *bkt = recovery->bkt;
    for (size_t i = 0; i < recovery->listing.count; i++) {
        const struct bkt_found *found = &recovery->listing.found[i];
        if (found->bucket != NULL) {
            if (found->damaged) {
                charge_again(bkt, found);
            }
            kvt_evict_add(&bkt->order, &found->bucket->order);
            if (found->bucket->live_objects == 0) {
                bkt->dead_found = true;
            }
        } else if (found->kind == BKT_FOUND_EMPTY &&
                   !bkt->base.args.read_only) {
            remove_orphan(bkt, found);
        }
    }
}

static int failed(const struct bkt *bkt, int rc, struct kvt_error *err)
{
    if (rc == -EAGAIN) {
        return kvt_error_set(err, kvt_status_of(KVT_FAULT_READ, EAGAIN, false),
                             EAGAIN, bkt->base.args.path, "open it again",
                             "its owner evicts faster than its buckets can be "
                             "looked at");
    }
    if (rc == -EPROTONOSUPPORT) {
        return kvt_error_set(
            err, KVT_ERR_NOT_SUPPORTED, EPROTONOSUPPORT, bkt->base.args.path,
            "use the version of kvtier that wrote it; nothing was touched",
            "a bucket of the store has a format version that this build does "
            "not know");
    }
    return kvt_error_set(err, kvt_status_of(KVT_FAULT_READ, -rc, false), -rc,
                         bkt->base.args.path,
                         "check the file system under the store",
                         "reading the buckets: %s", strerror(-rc));
}

/* Directories count, too, and the files that are no buckets. A store that is
 * hardly larger than these keeps most of its limit for objects. */
static void leave_room_beside(struct bkt *bkt,
                              const struct bkt_listing *listing)
{
    enum {
        OWN = 5 /* the root, `.kvtier`, two files in it, our own buckets' */
    };
    uint64_t *limit = &bkt->budget.limit.allocated;
    uint64_t bytes = (listing->writer_count + OWN) * KVT_BUCKET_BLOCK;
    if (*limit != UINT64_MAX) {
        bkt->beside = bytes < *limit / 64 ? bytes : *limit / 64;
        *limit -= bkt->beside;
    }
}

int kvt_bkt_recover(struct bkt *bkt, struct kvt_error *err)
{
    struct recovery recovery = {.bkt = bkt};
    struct bkt_listing *listing = &recovery.listing;
    int rc = kvt_bkt_list_files(bkt, listing);
    bkt->block_bits = kvt_bkt_block_bits(bkt, listing);
    leave_room_beside(bkt, listing);
    bool kept = rc == 0 && kvt_bkt_checkpoint_read(bkt, listing) == 0;
    if (!kept) {
        kvt_place_index_fill(&bkt->index, true);
    }
    for (size_t i = listing->count; i > 0 && rc == 0 && !kept; i--) {
        rc = recover_one(&recovery, &listing->found[i - 1]);
    }
    if (!kept) {
        kvt_place_index_fill(&bkt->index, false);
    }
    if (rc == 0 && !kept && bkt->base.args.read_only) {
        rc = kvt_bkt_look_again(bkt, listing);
    }
    if (rc == 0 && !kept) {
        settle(&recovery);
        if (!bkt->base.args.read_only) {
            /* a good one is written at the next close; if this one cannot be
             * removed, the first change tries again */
            kvt_bkt_checkpoint_remove(bkt);
        }
    }
    if (rc == 0 && !bkt->base.args.read_only) {
        remove_directories(bkt, listing);
    }
    kvt_bkt_listing_fini(listing);
    kvt_kill_set_fini(&recovery.kills);
    kvt_kill_set_fini(&recovery.lost);
    bkt->recovery.objects = kvt_place_index_count(&bkt->index);
    return rc != 0 ? failed(bkt, rc, err) : KVT_OK;
}
