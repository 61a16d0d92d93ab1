/*
 * The bytes of a bucket: a header, runs of objects, and once it is sealed a
 * table of all that the runs hold. docs/format.md, "Bucket".
 *
 * What lies behind the header is checked with a seed that is made of store,
 * writer and number: bytes of another bucket never pass.
 */
#ifndef KVT_FORMAT_BUCKET_FILE_H
#define KVT_FORMAT_BUCKET_FILE_H

#include <kvtier/base.h>
#include <stdbool.h>
#include <stdint.h>

#define KVT_BUCKET_BLOCK 4096u
#define KVT_BUCKET_HEADER_SIZE 128u
#define KVT_BUCKET_FOOTER_SIZE 128u
#define KVT_RUN_HEAD_SIZE 64u
#define KVT_BUCKET_ENTRY_SIZE 32u
#define KVT_BUCKET_KILL_SIZE 24u
#define KVT_BUCKET_RUN_SIZE 8u
#define KVT_RUN_RECORD_MAX (1u << 20) /* bytes; a larger batch is more runs */

static inline uint64_t kvt_blocks_of(uint64_t bytes)
{
    return (bytes + KVT_BUCKET_BLOCK - 1) / KVT_BUCKET_BLOCK;
}

/* Header ------------------------------------------------------------------ */

struct kvt_bucket_header {
    uint8_t uuid[16]; /* of the store */
    uint8_t boot[16]; /* boot of the machine that wrote it; 0 = unknown */
    uint64_t writer;
    uint64_t number;
    uint64_t sequence; /* of its first object */
    uint64_t created_ms;
};

void kvt_bucket_header_encode(const struct kvt_bucket_header *header,
                              uint8_t bytes[KVT_BUCKET_HEADER_SIZE]);
/* 0; -EBADMSG: no header, or a damaged one; -EPROTONOSUPPORT: of another
 * version. */
int kvt_bucket_header_decode(const uint8_t bytes[KVT_BUCKET_HEADER_SIZE],
                             struct kvt_bucket_header *header);

uint64_t kvt_bucket_seed(const uint8_t uuid[16], uint64_t writer,
                         uint64_t number);

/* Entries and kills ------------------------------------------------------- */

/* One object. Its value starts at `block` and takes at least one block. */
struct kvt_bucket_entry {
    uint64_t key_hash;
    uint64_t check;
    uint64_t sequence;
    uint32_t block;
    uint32_t length;
};

/* The object at this place is no more. `cause` says why: it was removed; or it
 * was replaced by an entry of the same run (in a table: of the same table),
 * whose index it then is, plus 1, and is killed only if that one counts; or it
 * never counted: its batch was undone. */
struct kvt_bucket_kill {
    uint64_t writer;
    uint64_t number;
    uint32_t block;
    uint32_t cause;
};
#define KVT_KILL_REMOVED UINT32_C(0)
#define KVT_KILL_UNDONE UINT32_MAX

void kvt_bucket_entry_encode(const struct kvt_bucket_entry *entry,
                             uint8_t bytes[KVT_BUCKET_ENTRY_SIZE]);
void kvt_bucket_entry_decode(const uint8_t bytes[KVT_BUCKET_ENTRY_SIZE],
                             struct kvt_bucket_entry *entry);
void kvt_bucket_kill_encode(const struct kvt_bucket_kill *kill,
                            uint8_t bytes[KVT_BUCKET_KILL_SIZE]);
void kvt_bucket_kill_decode(const uint8_t bytes[KVT_BUCKET_KILL_SIZE],
                            struct kvt_bucket_kill *kill);

/* Runs -------------------------------------------------------------------- */

struct kvt_run_head {
    uint32_t run;   /* number in the bucket, from 0 */
    uint32_t block; /* where the record starts */
    uint32_t record_size;
    uint32_t entry_count;
    uint32_t kill_count;
    uint32_t blocks; /* record and values */
};

/* Bytes of the record of a run. */
uint64_t kvt_run_record_size(uint64_t entries, uint64_t kills,
                             uint64_t key_bytes);
/* Where the parts of a record start. */
static inline uint8_t *kvt_run_entry(uint8_t *record, uint32_t index)
{
    return record + KVT_RUN_HEAD_SIZE + (size_t)index * KVT_BUCKET_ENTRY_SIZE;
}
static inline uint8_t *
kvt_run_kill(uint8_t *record, const struct kvt_run_head *head, uint32_t index)
{
    return kvt_run_entry(record, head->entry_count) +
           (size_t)index * KVT_BUCKET_KILL_SIZE;
}

/* Puts the keys behind entries and kills. */
void kvt_run_put_key(uint8_t *record, const struct kvt_run_head *head,
                     uint32_t index, struct kvt_key key, uint32_t *key_bytes);
/* Writes the head and seals the record, whose other parts are in place. */
void kvt_run_record_finish(uint8_t *record, const struct kvt_run_head *head,
                           uint64_t seed);

/* Reads a head that may be anything; false when its numbers cannot be right.
 * The record's own check is still to come. */
bool kvt_run_head_decode(const uint8_t bytes[KVT_RUN_HEAD_SIZE],
                         struct kvt_run_head *head);
/* Checks a whole record of head->record_size bytes; -EBADMSG when it is not
 * one: the check value, and that all parts lie inside; -EPROTONOSUPPORT when
 * it is one of another version. */
int kvt_run_record_check(const uint8_t *record, const struct kvt_run_head *head,
                         uint64_t seed);

/* Goes through the keys of a checked record, in order. */
struct kvt_run_keys {
    const uint8_t *sizes;
    const uint8_t *at;
};
struct kvt_run_keys kvt_run_keys_begin(const uint8_t *record,
                                       const struct kvt_run_head *head);
struct kvt_key kvt_run_keys_next(struct kvt_run_keys *keys);

/* Table and footer -------------------------------------------------------- */

/* Where a run is, for who wants its keys. */
struct kvt_bucket_run {
    uint32_t block;
    uint32_t record_blocks;
};

struct kvt_bucket_footer {
    uint32_t table_block;
    uint32_t file_blocks; /* of the whole file; the footer ends it */
    uint32_t entry_count;
    uint32_t run_count;
    uint32_t kill_count;
    bool synced;           /* the values had been synced before */
    uint64_t sequence;     /* of the header */
    uint64_t sequence_end; /* behind the last one */
    uint64_t value_bytes;
    uint64_t sealed_ms;
    uint64_t table_check;
};

/* Bytes of the table: entries, runs, kills, in this order. */
uint64_t kvt_bucket_table_size(uint64_t entries, uint64_t runs, uint64_t kills);
static inline size_t kvt_table_runs_at(const struct kvt_bucket_footer *footer)
{
    return (size_t)footer->entry_count * KVT_BUCKET_ENTRY_SIZE;
}
static inline size_t kvt_table_kills_at(const struct kvt_bucket_footer *footer)
{
    return kvt_table_runs_at(footer) +
           (size_t)footer->run_count * KVT_BUCKET_RUN_SIZE;
}
void kvt_bucket_run_encode(const struct kvt_bucket_run *run,
                           uint8_t bytes[KVT_BUCKET_RUN_SIZE]);
void kvt_bucket_run_decode(const uint8_t bytes[KVT_BUCKET_RUN_SIZE],
                           struct kvt_bucket_run *run);

/* Sets footer->table_check from the table. */
void kvt_bucket_footer_encode(struct kvt_bucket_footer *footer,
                              const uint8_t *table, uint64_t seed,
                              uint8_t bytes[KVT_BUCKET_FOOTER_SIZE]);
/* Takes back the one bit by which the bytes differ from a footer of this
 * bucket; false, and nothing is changed, when it is another number of them. */
bool kvt_bucket_footer_mend(uint8_t bytes[KVT_BUCKET_FOOTER_SIZE],
                            uint64_t seed);
/* Does it begin as a footer, whatever else it holds? */
bool kvt_bucket_footer_is_like(const uint8_t bytes[KVT_BUCKET_FOOTER_SIZE]);
/* -EBADMSG when it is no footer of this bucket, or its numbers do not fit a
 * file of `file_size` bytes; -EPROTONOSUPPORT when it is one of another
 * version. */
int kvt_bucket_footer_decode(const uint8_t bytes[KVT_BUCKET_FOOTER_SIZE],
                             uint64_t seed, uint64_t file_size,
                             struct kvt_bucket_footer *footer);
/* -EBADMSG when the table is not the one that the footer was made of. */
int kvt_bucket_table_check(const struct kvt_bucket_footer *footer,
                           const uint8_t *table, uint64_t seed);

#endif
