/* What a bucket's structures hold comes back; every changed byte is seen. */
#include "format/bucket_file.h"

#include "core/bytes.h"
#include "core/hash.h"
#include "support/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SEED UINT64_C(0x1234567890abcdef)

static struct kvt_bucket_header a_header(void)
{
    struct kvt_bucket_header header = {.writer = 3,
                                       .number = UINT64_MAX,
                                       .sequence = 17,
                                       .created_ms = 1700000000000};
    memset(header.uuid, 1, 16);
    memset(header.boot, 2, 16);
    return header;
}

static void a_header_comes_back_and_is_proved(void **state)
{
    (void)state;
    uint8_t bytes[KVT_BUCKET_HEADER_SIZE];
    struct kvt_bucket_header header = a_header();
    struct kvt_bucket_header got = {0};
    kvt_bucket_header_encode(&header, bytes);
    assert_int_equal(kvt_bucket_header_decode(bytes, &got), 0);
    assert_memory_equal(&got, &header, sizeof got);
    for (size_t at = 0; at < sizeof bytes; at++) {
        bytes[at] ^= 0x10;
        int rc = kvt_bucket_header_decode(bytes, &got);
        assert_int_equal(rc, -EBADMSG);
        bytes[at] ^= 0x10;
    }
    bytes[8] = 2;
    kvt_put_le64(bytes + sizeof bytes - 8,
                 kvt_hash64(bytes, sizeof bytes - 8, 0));
    assert_int_equal(kvt_bucket_header_decode(bytes, &got), -EPROTONOSUPPORT);
}

static void seeds_differ_by_store_writer_and_number(void **state)
{
    (void)state;
    uint8_t uuid[16] = {1};
    uint8_t other[16] = {2};
    uint64_t seed = kvt_bucket_seed(uuid, 1, 2);
    assert_true(seed == kvt_bucket_seed(uuid, 1, 2));
    assert_true(seed != kvt_bucket_seed(other, 1, 2));
    assert_true(seed != kvt_bucket_seed(uuid, 2, 2));
    assert_true(seed != kvt_bucket_seed(uuid, 1, 1));
    assert_true(seed != kvt_bucket_seed(uuid, 2, 1));
}

/* Records: three objects with keys of 1, 2 and 3 bytes, and two kills. */
enum {
    ENTRIES = 3,
    KILLS = 2,
    RECORD = KVT_RUN_HEAD_SIZE + ENTRIES * (KVT_BUCKET_ENTRY_SIZE + 2) +
             KILLS * KVT_BUCKET_KILL_SIZE + 6,
};

static struct kvt_run_head make_record(uint8_t record[RECORD])
{
    static const char text[] = "abcdef";
    struct kvt_run_head head = {.run = 4,
                                .block = 9,
                                .record_size = RECORD,
                                .entry_count = ENTRIES,
                                .kill_count = KILLS,
                                .blocks = 5};
    uint32_t key_bytes = 0;
    memset(record, 0, RECORD);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        struct kvt_bucket_entry entry = {i + 1, i + 2, i + 3, 10 + i,
                                         i == 2 ? 4097 : i};
        kvt_bucket_entry_encode(&entry, kvt_run_entry(record, i));
        struct kvt_key key = {text + key_bytes, i + 1};
        kvt_run_put_key(record, &head, i, key, &key_bytes);
    }
    for (uint32_t i = 0; i < KILLS; i++) {
        struct kvt_bucket_kill kill = {7, 8 + i, 9, i == 0 ? ENTRIES : 0};
        kvt_bucket_kill_encode(&kill, kvt_run_kill(record, &head, i));
    }
    kvt_run_record_finish(record, &head, SEED);
    return head;
}

static int check_record(const uint8_t *record, uint64_t seed)
{
    struct kvt_run_head head;
    if (!kvt_run_head_decode(record, &head) || head.record_size > RECORD) {
        return -EBADMSG;
    }
    return kvt_run_record_check(record, &head, seed);
}

static void a_record_comes_back_and_is_proved(void **state)
{
    (void)state;
    uint8_t record[RECORD];
    struct kvt_run_head head = make_record(record);
    struct kvt_run_head got;
    assert_int_equal(kvt_run_record_size(ENTRIES, KILLS, 6), RECORD);
    assert_true(kvt_run_head_decode(record, &got));
    assert_memory_equal(&got, &head, sizeof got);
    assert_int_equal(check_record(record, SEED), 0);
    assert_int_equal(check_record(record, SEED + 1), -EBADMSG);
    struct kvt_run_keys keys = kvt_run_keys_begin(record, &got);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        struct kvt_bucket_entry entry;
        struct kvt_key key = kvt_run_keys_next(&keys);
        kvt_bucket_entry_decode(kvt_run_entry(record, i), &entry);
        assert_int_equal(entry.key_hash, i + 1);
        assert_int_equal(entry.block, 10 + i);
        assert_int_equal(key.size, i + 1);
        assert_int_equal(*(const char *)key.data, "abd"[i]);
    }
    for (size_t at = 0; at < RECORD; at++) {
        record[at] ^= 0x04;
        assert_int_equal(check_record(record, SEED), -EBADMSG);
        record[at] ^= 0x04;
    }
}

/* Whole records that say what cannot be. */
static void a_record_that_lies_is_none(void **state)
{
    (void)state;
    uint8_t record[RECORD];
    struct kvt_run_head head = make_record(record);
    struct kvt_bucket_entry entry;
    struct kvt_bucket_kill kill;
    kvt_bucket_entry_decode(kvt_run_entry(record, 2), &entry);
    kvt_bucket_kill_decode(kvt_run_kill(record, &head, 0), &kill);
    static const struct {
        uint32_t block;
        uint32_t length;
    } places[] = {{11, 1},          {9, 1},          {13, 4097},
                  {12, UINT32_MAX}, {UINT32_MAX, 1}, {14, 0}};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct kvt_bucket_entry wrong = entry;
        wrong.block = places[i].block;
        wrong.length = places[i].length;
        kvt_bucket_entry_encode(&wrong, kvt_run_entry(record, 2));
        kvt_run_record_finish(record, &head, SEED);
        assert_int_equal(check_record(record, SEED), -EBADMSG);
    }
    kvt_bucket_entry_encode(&entry, kvt_run_entry(record, 2));
    kill.cause = ENTRIES + 1;
    kvt_bucket_kill_encode(&kill, kvt_run_kill(record, &head, 0));
    kvt_run_record_finish(record, &head, SEED);
    assert_int_equal(check_record(record, SEED), -EBADMSG);
    kill.cause = KVT_KILL_UNDONE;
    kvt_bucket_kill_encode(&kill, kvt_run_kill(record, &head, 0));
    kvt_run_record_finish(record, &head, SEED);
    assert_int_equal(check_record(record, SEED), 0);
    uint8_t *sizes = kvt_run_kill(record, &head, KILLS);
    static const uint16_t wrong_sizes[] = {0, 2, UINT16_MAX};
    for (size_t i = 0; i < 3; i++) {
        kvt_put_le16(sizes, wrong_sizes[i]);
        kvt_run_record_finish(record, &head, SEED);
        assert_int_equal(check_record(record, SEED), -EBADMSG);
    }
}

static void another_version_is_told_only_of_what_is_one(void **state)
{
    (void)state;
    uint8_t record[RECORD];
    uint8_t footer_bytes[KVT_BUCKET_FOOTER_SIZE];
    struct kvt_bucket_footer footer = {.table_block = 1, .file_blocks = 2};
    make_record(record);
    record[8] = 2;
    assert_int_equal(check_record(record, SEED), -EBADMSG);
    kvt_bucket_footer_encode(&footer, record, SEED, footer_bytes);
    footer_bytes[8] = 2;
    assert_int_equal(
        kvt_bucket_footer_decode(footer_bytes, SEED, 8192, &footer), -EBADMSG);
}

/* One entry, one run and two kills. */
static void a_footer_comes_back_and_is_proved(void **state)
{
    (void)state;
    uint8_t table[KVT_BUCKET_ENTRY_SIZE + KVT_BUCKET_RUN_SIZE +
                  2 * KVT_BUCKET_KILL_SIZE];
    uint8_t bytes[KVT_BUCKET_FOOTER_SIZE];
    struct kvt_bucket_footer footer = {.table_block = 3,
                                       .file_blocks = 4,
                                       .entry_count = 1,
                                       .run_count = 1,
                                       .kill_count = 2,
                                       .synced = true,
                                       .sequence = 5,
                                       .sequence_end = 6,
                                       .value_bytes = 7,
                                       .sealed_ms = 8};
    struct kvt_bucket_footer got = {0};
    struct kvt_bucket_entry entry = {1, 2, 3, 2, 4096};
    struct kvt_bucket_run run = {1, 1};
    struct kvt_bucket_kill kill = {1, 2, 3, 1};
    assert_int_equal(kvt_bucket_table_size(1, 1, 2), sizeof table);
    kvt_bucket_entry_encode(&entry, table);
    kvt_bucket_run_encode(&run, table + kvt_table_runs_at(&footer));
    for (size_t i = 0; i < 2; i++) {
        kvt_bucket_kill_encode(&kill, table + kvt_table_kills_at(&footer) +
                                          i * KVT_BUCKET_KILL_SIZE);
    }
    kvt_bucket_footer_encode(&footer, table, SEED, bytes);
    assert_int_equal(kvt_bucket_footer_decode(bytes, SEED, 16384, &got), 0);
    assert_int_equal(got.table_block, 3);
    assert_int_equal(got.sequence_end, 6);
    assert_true(got.synced);
    assert_int_equal(kvt_bucket_table_check(&got, table, SEED), 0);
    assert_int_equal(kvt_bucket_table_check(&got, table, SEED + 1), -EBADMSG);
    assert_int_equal(kvt_bucket_footer_decode(bytes, SEED, 12288, &got),
                     -EBADMSG);
    for (size_t at = 0; at < sizeof bytes; at++) {
        bytes[at] ^= 1;
        assert_int_equal(kvt_bucket_footer_decode(bytes, SEED, 16384, &got),
                         -EBADMSG);
        bytes[at] ^= 1;
    }
    assert_int_equal(kvt_bucket_footer_decode(bytes, SEED, 16384, &got), 0);
    for (size_t at = 0; at < sizeof table; at++) {
        table[at] ^= 1;
        assert_int_equal(kvt_bucket_table_check(&got, table, SEED), -EBADMSG);
        table[at] ^= 1;
    }
    entry.block = 3; /* in the table */
    kvt_bucket_entry_encode(&entry, table);
    kvt_bucket_footer_encode(&footer, table, SEED, bytes);
    assert_int_equal(kvt_bucket_footer_decode(bytes, SEED, 16384, &got), 0);
    assert_int_equal(kvt_bucket_table_check(&got, table, SEED), -EBADMSG);
}

static void a_footer_with_one_wrong_bit_is_mended(void **state)
{
    (void)state;
    uint8_t table[1] = {0};
    uint8_t bytes[KVT_BUCKET_FOOTER_SIZE];
    uint8_t right[KVT_BUCKET_FOOTER_SIZE];
    struct kvt_bucket_footer footer = {.table_block = 3, .file_blocks = 4};
    kvt_bucket_footer_encode(&footer, table, SEED, bytes);
    memcpy(right, bytes, sizeof right);
    assert_true(kvt_bucket_footer_is_like(bytes));
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_true(kvt_bucket_footer_mend(bytes, SEED));
        assert_memory_equal(bytes, right, sizeof bytes);
    }
    for (size_t bit = 0; bit < sizeof bytes * 8; bit += 7) {
        size_t other = (bit + 501) % (sizeof bytes * 8);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        bytes[other / 8] ^= (uint8_t)(1u << other % 8);
        uint8_t wrong[KVT_BUCKET_FOOTER_SIZE];
        memcpy(wrong, bytes, sizeof wrong);
        assert_false(kvt_bucket_footer_mend(bytes, SEED));
        assert_memory_equal(bytes, wrong, sizeof bytes);
        memcpy(bytes, right, sizeof bytes);
    }
    bytes[0] ^= 1;
    assert_false(kvt_bucket_footer_is_like(bytes));
    assert_false(kvt_bucket_footer_mend(bytes, SEED + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_comes_back_and_is_proved),
        cmocka_unit_test(seeds_differ_by_store_writer_and_number),
        cmocka_unit_test(a_record_comes_back_and_is_proved),
        cmocka_unit_test(a_record_that_lies_is_none),
        cmocka_unit_test(another_version_is_told_only_of_what_is_one),
        cmocka_unit_test(a_footer_comes_back_and_is_proved),
        cmocka_unit_test(a_footer_with_one_wrong_bit_is_mended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
