#include "format/bucket_file.h"

#include "core/bytes.h"
#include "core/hash.h"

#include <errno.h>
#include <string.h>

enum {
    VERSION = 1
};

static const uint8_t header_magic[8] = {0x89, 'K',  'V',  'T',
                                        'B',  '\r', '\n', 0x1a};
static const uint8_t run_magic[8] = {0x89, 'K',  'V',  'T',
                                     'R',  '\r', '\n', 0x1a};
static const uint8_t footer_magic[8] = {0x89, 'K',  'V',  'T',
                                        'T',  '\r', '\n', 0x1a};

/* Every structure begins alike. */
static void put_start(uint8_t *bytes, const uint8_t magic[8], uint16_t size)
{
    memcpy(bytes, magic, 8);
    kvt_put_le16(bytes + 8, VERSION);
    kvt_put_le16(bytes + 10, size);
}

static int check_start(const uint8_t *bytes, const uint8_t magic[8],
                       uint16_t size)
{
    if (memcmp(bytes, magic, 8) != 0) {
        return -EBADMSG;
    }
    if (kvt_get_le16(bytes + 8) != VERSION) {
        return -EPROTONOSUPPORT;
    }
    return kvt_get_le16(bytes + 10) == size ? 0 : -EBADMSG;
}

/* Header ------------------------------------------------------------------ */

enum {
    HEADER_BLOCK = 12,
    HEADER_UUID = 16,
    HEADER_WRITER = 32,
    HEADER_NUMBER = 40,
    HEADER_BOOT = 48,
    HEADER_SEQUENCE = 64,
    HEADER_CREATED = 72,
    HEADER_CHECK = 120,
};
_Static_assert(HEADER_CHECK + 8 == KVT_BUCKET_HEADER_SIZE, "fields fill it");

void kvt_bucket_header_encode(const struct kvt_bucket_header *header,
                              uint8_t bytes[KVT_BUCKET_HEADER_SIZE])
{
    memset(bytes, 0, KVT_BUCKET_HEADER_SIZE);
    put_start(bytes, header_magic, KVT_BUCKET_HEADER_SIZE);
    kvt_put_le32(bytes + HEADER_BLOCK, KVT_BUCKET_BLOCK);
    memcpy(bytes + HEADER_UUID, header->uuid, sizeof header->uuid);
    kvt_put_le64(bytes + HEADER_WRITER, header->writer);
    kvt_put_le64(bytes + HEADER_NUMBER, header->number);
    memcpy(bytes + HEADER_BOOT, header->boot, sizeof header->boot);
    kvt_put_le64(bytes + HEADER_SEQUENCE, header->sequence);
    kvt_put_le64(bytes + HEADER_CREATED, header->created_ms);
    kvt_put_le64(bytes + HEADER_CHECK, kvt_hash64(bytes, HEADER_CHECK, 0));
}

int kvt_bucket_header_decode(const uint8_t bytes[KVT_BUCKET_HEADER_SIZE],
                             struct kvt_bucket_header *header)
{
    /* first of all that it is whole: its version may be what is damaged */
    if (kvt_get_le64(bytes + HEADER_CHECK) !=
        kvt_hash64(bytes, HEADER_CHECK, 0)) {
        return -EBADMSG;
    }
    int rc = check_start(bytes, header_magic, KVT_BUCKET_HEADER_SIZE);
    if (rc != 0) {
        return rc;
    }
    if (kvt_get_le32(bytes + HEADER_BLOCK) != KVT_BUCKET_BLOCK) {
        return -EBADMSG;
    }
    memcpy(header->uuid, bytes + HEADER_UUID, sizeof header->uuid);
    memcpy(header->boot, bytes + HEADER_BOOT, sizeof header->boot);
    header->writer = kvt_get_le64(bytes + HEADER_WRITER);
    header->number = kvt_get_le64(bytes + HEADER_NUMBER);
    header->sequence = kvt_get_le64(bytes + HEADER_SEQUENCE);
    header->created_ms = kvt_get_le64(bytes + HEADER_CREATED);
    return 0;
}

uint64_t kvt_bucket_seed(const uint8_t uuid[16], uint64_t writer,
                         uint64_t number)
{
    uint8_t bytes[32];
    memcpy(bytes, uuid, 16);
    kvt_put_le64(bytes + 16, writer);
    kvt_put_le64(bytes + 24, number);
    return kvt_hash64(bytes, sizeof bytes, 0);
}

/* Entries and kills ------------------------------------------------------- */

void kvt_bucket_entry_encode(const struct kvt_bucket_entry *entry,
                             uint8_t bytes[KVT_BUCKET_ENTRY_SIZE])
{
    kvt_put_le64(bytes, entry->key_hash);
    kvt_put_le64(bytes + 8, entry->check);
    kvt_put_le64(bytes + 16, entry->sequence);
    kvt_put_le32(bytes + 24, entry->block);
    kvt_put_le32(bytes + 28, entry->length);
}

void kvt_bucket_entry_decode(const uint8_t bytes[KVT_BUCKET_ENTRY_SIZE],
                             struct kvt_bucket_entry *entry)
{
    entry->key_hash = kvt_get_le64(bytes);
    entry->check = kvt_get_le64(bytes + 8);
    entry->sequence = kvt_get_le64(bytes + 16);
    entry->block = kvt_get_le32(bytes + 24);
    entry->length = kvt_get_le32(bytes + 28);
}

void kvt_bucket_kill_encode(const struct kvt_bucket_kill *kill,
                            uint8_t bytes[KVT_BUCKET_KILL_SIZE])
{
    kvt_put_le64(bytes, kill->writer);
    kvt_put_le64(bytes + 8, kill->number);
    kvt_put_le32(bytes + 16, kill->block);
    kvt_put_le32(bytes + 20, kill->cause);
}

void kvt_bucket_kill_decode(const uint8_t bytes[KVT_BUCKET_KILL_SIZE],
                            struct kvt_bucket_kill *kill)
{
    kill->writer = kvt_get_le64(bytes);
    kill->number = kvt_get_le64(bytes + 8);
    kill->block = kvt_get_le32(bytes + 16);
    kill->cause = kvt_get_le32(bytes + 20);
}

/* Do the kills name causes that exist? */
static bool causes_exist(const uint8_t *kills, uint32_t kill_count,
                         uint32_t entry_count)
{
    for (uint32_t i = 0; i < kill_count; i++) {
        struct kvt_bucket_kill kill;
        kvt_bucket_kill_decode(kills + (size_t)i * KVT_BUCKET_KILL_SIZE, &kill);
        if (kill.cause > entry_count && kill.cause != KVT_KILL_UNDONE) {
            return false;
        }
    }
    return true;
}

/* Runs -------------------------------------------------------------------- */

enum {
    RUN_NUMBER = 16,
    RUN_BLOCK = 20,
    RUN_RECORD_SIZE = 24,
    RUN_ENTRIES = 28,
    RUN_KILLS = 32,
    RUN_BLOCKS = 36,
    RUN_CHECK = 56,
};
_Static_assert(RUN_CHECK + 8 == KVT_RUN_HEAD_SIZE, "fields fill it");

uint64_t kvt_run_record_size(uint64_t entries, uint64_t kills,
                             uint64_t key_bytes)
{
    return KVT_RUN_HEAD_SIZE + entries * (KVT_BUCKET_ENTRY_SIZE + 2) +
           kills * KVT_BUCKET_KILL_SIZE + key_bytes;
}

/* The sizes of the keys stand behind the kills, the keys behind them. */
static uint8_t *key_sizes(uint8_t *record, const struct kvt_run_head *head)
{
    return kvt_run_kill(record, head, head->kill_count);
}

void kvt_run_put_key(uint8_t *record, const struct kvt_run_head *head,
                     uint32_t index, struct kvt_key key, uint32_t *key_bytes)
{
    uint8_t *sizes = key_sizes(record, head);
    kvt_put_le16(sizes + (size_t)index * 2, (uint16_t)key.size);
    memcpy(sizes + (size_t)head->entry_count * 2 + *key_bytes, key.data,
           key.size);
    *key_bytes += (uint32_t)key.size;
}

/* Of the record with zeros in the place of the check value. */
static uint64_t record_check(const uint8_t *record, uint32_t size,
                             uint64_t seed)
{
    uint64_t head = kvt_hash64(record, RUN_CHECK, seed);
    return kvt_hash64(record + KVT_RUN_HEAD_SIZE, size - KVT_RUN_HEAD_SIZE,
                      head);
}

void kvt_run_record_finish(uint8_t *record, const struct kvt_run_head *head,
                           uint64_t seed)
{
    memset(record, 0, KVT_RUN_HEAD_SIZE);
    put_start(record, run_magic, KVT_RUN_HEAD_SIZE);
    kvt_put_le32(record + RUN_NUMBER, head->run);
    kvt_put_le32(record + RUN_BLOCK, head->block);
    kvt_put_le32(record + RUN_RECORD_SIZE, head->record_size);
    kvt_put_le32(record + RUN_ENTRIES, head->entry_count);
    kvt_put_le32(record + RUN_KILLS, head->kill_count);
    kvt_put_le32(record + RUN_BLOCKS, head->blocks);
    kvt_put_le64(record + RUN_CHECK,
                 record_check(record, head->record_size, seed));
}

bool kvt_run_head_decode(const uint8_t bytes[KVT_RUN_HEAD_SIZE],
                         struct kvt_run_head *head)
{
    if (memcmp(bytes, run_magic, sizeof run_magic) != 0) {
        return false;
    }
    head->run = kvt_get_le32(bytes + RUN_NUMBER);
    head->block = kvt_get_le32(bytes + RUN_BLOCK);
    head->record_size = kvt_get_le32(bytes + RUN_RECORD_SIZE);
    head->entry_count = kvt_get_le32(bytes + RUN_ENTRIES);
    head->kill_count = kvt_get_le32(bytes + RUN_KILLS);
    head->blocks = kvt_get_le32(bytes + RUN_BLOCKS);
    uint64_t least =
        kvt_run_record_size(head->entry_count, head->kill_count, 0);
    return head->record_size <= KVT_RUN_RECORD_MAX &&
           head->record_size >= least &&
           head->blocks >= kvt_blocks_of(head->record_size);
}

static bool entries_are_inside(const uint8_t *record,
                               const struct kvt_run_head *head)
{
    uint64_t first = head->block + kvt_blocks_of(head->record_size);
    uint64_t end = (uint64_t)head->block + head->blocks;
    for (uint32_t i = 0; i < head->entry_count; i++) {
        struct kvt_bucket_entry entry;
        kvt_bucket_entry_decode(kvt_run_entry((uint8_t *)record, i), &entry);
        uint64_t blocks = entry.length > 0 ? kvt_blocks_of(entry.length) : 1;
        if (entry.block < first || entry.block + blocks > end) {
            return false;
        }
        first = entry.block + blocks;
    }
    return true;
}

int kvt_run_record_check(const uint8_t *record, const struct kvt_run_head *head,
                         uint64_t seed)
{
    if (record_check(record, head->record_size, seed) !=
        kvt_get_le64(record + RUN_CHECK)) {
        return -EBADMSG;
    }
    int rc = check_start(record, run_magic, KVT_RUN_HEAD_SIZE);
    if (rc != 0) {
        return rc;
    }
    if (!entries_are_inside(record, head) ||
        !causes_exist(kvt_run_kill((uint8_t *)record, head, 0),
                      head->kill_count, head->entry_count)) {
        return -EBADMSG;
    }
    const uint8_t *sizes = key_sizes((uint8_t *)record, head);
    uint64_t key_bytes = 0;
    for (uint32_t i = 0; i < head->entry_count; i++) {
        uint16_t size = kvt_get_le16(sizes + (size_t)i * 2);
        if (size == 0 || size > KVT_KEY_SIZE_MAX) {
            return -EBADMSG;
        }
        key_bytes += size;
    }
    return kvt_run_record_size(head->entry_count, head->kill_count,
                               key_bytes) == head->record_size
               ? 0
               : -EBADMSG;
}

struct kvt_run_keys kvt_run_keys_begin(const uint8_t *record,
                                       const struct kvt_run_head *head)
{
    const uint8_t *sizes = key_sizes((uint8_t *)record, head);
    return (struct kvt_run_keys){sizes, sizes + (size_t)head->entry_count * 2};
}

struct kvt_key kvt_run_keys_next(struct kvt_run_keys *keys)
{
    struct kvt_key key = {keys->at, kvt_get_le16(keys->sizes)};
    keys->sizes += 2;
    keys->at += key.size;
    return key;
}

/* Table and footer -------------------------------------------------------- */

enum {
    FOOTER_FLAGS = 12,
    FOOTER_TABLE_BLOCK = 16,
    FOOTER_FILE_BLOCKS = 20,
    FOOTER_ENTRIES = 24,
    FOOTER_RUNS = 28,
    FOOTER_KILLS = 32,
    FOOTER_SEQUENCE = 40,
    FOOTER_SEQUENCE_END = 48,
    FOOTER_VALUE_BYTES = 56,
    FOOTER_SEALED = 64,
    FOOTER_TABLE_CHECK = 72,
    FOOTER_CHECK = 120,
    FLAG_SYNCED = 1,
};
_Static_assert(FOOTER_CHECK + 8 == KVT_BUCKET_FOOTER_SIZE, "fields fill it");

uint64_t kvt_bucket_table_size(uint64_t entries, uint64_t runs, uint64_t kills)
{
    return entries * KVT_BUCKET_ENTRY_SIZE + runs * KVT_BUCKET_RUN_SIZE +
           kills * KVT_BUCKET_KILL_SIZE;
}

void kvt_bucket_run_encode(const struct kvt_bucket_run *run,
                           uint8_t bytes[KVT_BUCKET_RUN_SIZE])
{
    kvt_put_le32(bytes, run->block);
    kvt_put_le32(bytes + 4, run->record_blocks);
}

void kvt_bucket_run_decode(const uint8_t bytes[KVT_BUCKET_RUN_SIZE],
                           struct kvt_bucket_run *run)
{
    run->block = kvt_get_le32(bytes);
    run->record_blocks = kvt_get_le32(bytes + 4);
}

static uint64_t footer_table_size(const struct kvt_bucket_footer *footer)
{
    return kvt_bucket_table_size(footer->entry_count, footer->run_count,
                                 footer->kill_count);
}

void kvt_bucket_footer_encode(struct kvt_bucket_footer *footer,
                              const uint8_t *table, uint64_t seed,
                              uint8_t bytes[KVT_BUCKET_FOOTER_SIZE])
{
    footer->table_check =
        kvt_hash64(table, (size_t)footer_table_size(footer), seed);
    memset(bytes, 0, KVT_BUCKET_FOOTER_SIZE);
    put_start(bytes, footer_magic, KVT_BUCKET_FOOTER_SIZE);
    kvt_put_le32(bytes + FOOTER_FLAGS, footer->synced ? FLAG_SYNCED : 0);
    kvt_put_le32(bytes + FOOTER_TABLE_BLOCK, footer->table_block);
    kvt_put_le32(bytes + FOOTER_FILE_BLOCKS, footer->file_blocks);
    kvt_put_le32(bytes + FOOTER_ENTRIES, footer->entry_count);
    kvt_put_le32(bytes + FOOTER_RUNS, footer->run_count);
    kvt_put_le32(bytes + FOOTER_KILLS, footer->kill_count);
    kvt_put_le64(bytes + FOOTER_SEQUENCE, footer->sequence);
    kvt_put_le64(bytes + FOOTER_SEQUENCE_END, footer->sequence_end);
    kvt_put_le64(bytes + FOOTER_VALUE_BYTES, footer->value_bytes);
    kvt_put_le64(bytes + FOOTER_SEALED, footer->sealed_ms);
    kvt_put_le64(bytes + FOOTER_TABLE_CHECK, footer->table_check);
    kvt_put_le64(bytes + FOOTER_CHECK, kvt_hash64(bytes, FOOTER_CHECK, seed));
}

bool kvt_bucket_footer_mend(uint8_t bytes[KVT_BUCKET_FOOTER_SIZE],
                            uint64_t seed)
{
    int wrong = 0;
    for (size_t i = 0; i < sizeof footer_magic; i++) {
        wrong += __builtin_popcount((unsigned)(bytes[i] ^ footer_magic[i]));
    }
    for (size_t bit = 0; bit < KVT_BUCKET_FOOTER_SIZE * 8 && wrong <= 1;
         bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (kvt_get_le64(bytes + FOOTER_CHECK) ==
            kvt_hash64(bytes, FOOTER_CHECK, seed)) {
            return true;
        }
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    return false;
}

bool kvt_bucket_footer_is_like(const uint8_t bytes[KVT_BUCKET_FOOTER_SIZE])
{
    return memcmp(bytes, footer_magic, sizeof footer_magic) == 0;
}

int kvt_bucket_footer_decode(const uint8_t bytes[KVT_BUCKET_FOOTER_SIZE],
                             uint64_t seed, uint64_t file_size,
                             struct kvt_bucket_footer *footer)
{
    /* first of all that it is one: anything may look like it */
    if (kvt_get_le64(bytes + FOOTER_CHECK) !=
        kvt_hash64(bytes, FOOTER_CHECK, seed)) {
        return -EBADMSG;
    }
    int rc = check_start(bytes, footer_magic, KVT_BUCKET_FOOTER_SIZE);
    if (rc != 0) {
        return rc;
    }
    footer->synced = (kvt_get_le32(bytes + FOOTER_FLAGS) & FLAG_SYNCED) != 0;
    footer->table_block = kvt_get_le32(bytes + FOOTER_TABLE_BLOCK);
    footer->file_blocks = kvt_get_le32(bytes + FOOTER_FILE_BLOCKS);
    footer->entry_count = kvt_get_le32(bytes + FOOTER_ENTRIES);
    footer->run_count = kvt_get_le32(bytes + FOOTER_RUNS);
    footer->kill_count = kvt_get_le32(bytes + FOOTER_KILLS);
    footer->sequence = kvt_get_le64(bytes + FOOTER_SEQUENCE);
    footer->sequence_end = kvt_get_le64(bytes + FOOTER_SEQUENCE_END);
    footer->value_bytes = kvt_get_le64(bytes + FOOTER_VALUE_BYTES);
    footer->sealed_ms = kvt_get_le64(bytes + FOOTER_SEALED);
    footer->table_check = kvt_get_le64(bytes + FOOTER_TABLE_CHECK);
    uint64_t end = (uint64_t)footer->table_block * KVT_BUCKET_BLOCK +
                   footer_table_size(footer) + KVT_BUCKET_FOOTER_SIZE;
    uint64_t size = (uint64_t)footer->file_blocks * KVT_BUCKET_BLOCK;
    return size == file_size && footer->table_block > 0 && end <= size
               ? 0
               : -EBADMSG;
}

int kvt_bucket_table_check(const struct kvt_bucket_footer *footer,
                           const uint8_t *table, uint64_t seed)
{
    if (kvt_hash64(table, (size_t)footer_table_size(footer), seed) !=
            footer->table_check ||
        !causes_exist(table + kvt_table_kills_at(footer), footer->kill_count,
                      footer->entry_count)) {
        return -EBADMSG;
    }
    for (uint32_t i = 0; i < footer->entry_count; i++) {
        struct kvt_bucket_entry entry;
        kvt_bucket_entry_decode(table + (size_t)i * KVT_BUCKET_ENTRY_SIZE,
                                &entry);
        if (entry.block == 0 ||
            entry.block + kvt_blocks_of(entry.length) > footer->table_block) {
            return -EBADMSG;
        }
    }
    for (uint32_t i = 0; i < footer->run_count; i++) {
        struct kvt_bucket_run run;
        kvt_bucket_run_decode(table + kvt_table_runs_at(footer) +
                                  (size_t)i * KVT_BUCKET_RUN_SIZE,
                              &run);
        if (run.block == 0 ||
            (uint64_t)run.block + run.record_blocks > footer->table_block) {
            return -EBADMSG;
        }
    }
    return 0;
}
