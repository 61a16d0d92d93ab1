/* Any bytes as header, run, footer and table of a bucket. Once as they are,
 * and once with right check values, so that what is behind those is reached.
 * What is taken must lie inside the bytes, and be what encoding it gives. */
#include "core/bytes.h"
#include "core/hash.h"
#include "format/bucket_file.h"

#include <stdlib.h>
#include <string.h>

#define SEED UINT64_C(7)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

static void fuzz_header(const uint8_t *data, size_t size)
{
    uint8_t bytes[KVT_BUCKET_HEADER_SIZE];
    struct kvt_bucket_header header;
    struct kvt_bucket_header again;
    if (size < sizeof bytes) {
        return;
    }
    memcpy(bytes, data, sizeof bytes);
    kvt_bucket_header_decode(bytes, &header);
    kvt_put_le64(bytes + sizeof bytes - 8,
                 kvt_hash64(bytes, sizeof bytes - 8, 0));
    if (kvt_bucket_header_decode(bytes, &header) == 0) {
        kvt_bucket_header_encode(&header, bytes);
        require(kvt_bucket_header_decode(bytes, &again) == 0);
        require(memcmp(&header, &again, sizeof again) == 0);
    }
}

static void read_record(const uint8_t *record, const struct kvt_run_head *head)
{
    const uint8_t *end = record + head->record_size;
    struct kvt_run_keys keys = kvt_run_keys_begin(record, head);
    uint64_t blocks_end = (uint64_t)head->block + head->blocks;
    for (uint32_t i = 0; i < head->entry_count; i++) {
        struct kvt_bucket_entry entry;
        struct kvt_key key = kvt_run_keys_next(&keys);
        kvt_bucket_entry_decode(kvt_run_entry((uint8_t *)record, i), &entry);
        require(key.size > 0 && key.size <= KVT_KEY_SIZE_MAX);
        require((const uint8_t *)key.data + key.size <= end);
        require(entry.block > head->block);
        require(entry.block + kvt_blocks_of(entry.length) <= blocks_end);
    }
}

static void fuzz_run(const uint8_t *data, size_t size)
{
    struct kvt_run_head head;
    if (size < KVT_RUN_HEAD_SIZE || !kvt_run_head_decode(data, &head) ||
        head.record_size > size) {
        return;
    }
    if (kvt_run_record_check(data, &head, SEED) == 0) {
        read_record(data, &head);
    }
    uint8_t *copy = malloc(head.record_size);
    if (copy == NULL) {
        return;
    }
    memcpy(copy, data, head.record_size);
    kvt_run_record_finish(copy, &head, SEED);
    if (kvt_run_record_check(copy, &head, SEED) == 0) {
        read_record(copy, &head);
    }
    free(copy);
}

/* The end of the input is a footer, the table lies in front of it. */
static void fuzz_table(const uint8_t *data, size_t size)
{
    uint8_t bytes[KVT_BUCKET_FOOTER_SIZE];
    struct kvt_bucket_footer footer;
    if (size < sizeof bytes) {
        return;
    }
    size -= sizeof bytes;
    memcpy(bytes, data + size, sizeof bytes);
    uint64_t file_size = (uint64_t)kvt_get_le32(bytes + 20) * KVT_BUCKET_BLOCK;
    kvt_bucket_footer_decode(bytes, SEED, file_size, &footer);
    kvt_put_le64(bytes + 120, kvt_hash64(bytes, 120, SEED));
    if (kvt_bucket_footer_decode(bytes, SEED, file_size, &footer) != 0 ||
        kvt_bucket_table_size(footer.entry_count, footer.run_count,
                              footer.kill_count) > size) {
        return;
    }
    kvt_bucket_footer_encode(&footer, data, SEED, bytes);
    require(kvt_bucket_footer_decode(bytes, SEED, file_size, &footer) == 0);
    if (kvt_bucket_table_check(&footer, data, SEED) != 0) {
        return;
    }
    for (uint32_t i = 0; i < footer.entry_count; i++) {
        struct kvt_bucket_entry entry;
        kvt_bucket_entry_decode(data + (size_t)i * KVT_BUCKET_ENTRY_SIZE,
                                &entry);
        require(entry.block > 0 && entry.block + kvt_blocks_of(entry.length) <=
                                       footer.table_block);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_header(data, size);
    fuzz_run(data, size);
    fuzz_table(data, size);
    return 0;
}
