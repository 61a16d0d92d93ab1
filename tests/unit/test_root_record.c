/* The root record, against tests/golden/root_record_v1.bin, which was built
 * from the table of docs/format.md and xxhsum -H3, not by this code. */
#include "support/golden.h"

#include "core/bytes.h"
#include "core/hash.h"
#include "format/root_record.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static struct kvt_root_record sample(void)
{
    return (struct kvt_root_record){
        .uuid = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
        .directory_count = 4096,
        .name_max = 255,
        .hash_seed = 0x0123456789abcdefu,
        .created_ms = 1767225600123u, /* 2026-01-01, 123 ms */
    };
}

static void expect_decoded(const uint8_t *bytes, int rc)
{
    struct kvt_root_record record;

    assert_int_equal(kvt_root_record_decode(bytes, &record), rc);
}

/* Makes the record's own check right again. */
static void seal(uint8_t bytes[KVT_ROOT_RECORD_SIZE])
{
    kvt_put_le64(bytes + 56, kvt_hash64(bytes, 56, 0));
}

static void the_golden_record_is_what_we_write(void **state)
{
    uint8_t golden[1000];
    uint8_t ours[KVT_ROOT_RECORD_SIZE];
    struct kvt_root_record record = sample();

    (void)state;
    assert_int_equal(golden_read("root_record_v1.bin", golden, sizeof golden),
                     KVT_ROOT_RECORD_SIZE);
    memset(ours, 0xee, sizeof ours);
    kvt_root_record_encode(&record, ours);
    assert_memory_equal(ours, golden, sizeof ours);
}

static void the_golden_record_reads_back(void **state)
{
    uint8_t golden[1000];
    struct kvt_root_record in = sample();
    struct kvt_root_record out;

    (void)state;
    memset(&out, 0xee, sizeof out);
    golden_read("root_record_v1.bin", golden, sizeof golden);
    assert_int_equal(kvt_root_record_decode(golden, &out), 0);
    assert_memory_equal(out.uuid, in.uuid, sizeof in.uuid);
    assert_int_equal(out.directory_count, in.directory_count);
    assert_int_equal(out.name_max, in.name_max);
    assert_int_equal(out.hash_seed, in.hash_seed);
    assert_int_equal(out.created_ms, in.created_ms);
}

static void every_flipped_bit_shows(void **state)
{
    uint8_t bytes[KVT_ROOT_RECORD_SIZE];
    struct kvt_root_record record = sample();

    (void)state;
    kvt_root_record_encode(&record, bytes);
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bool version = bit / 8 == 8 || bit / 8 == 9;

        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        expect_decoded(bytes, version ? -EPROTONOSUPPORT : -EBADMSG);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    expect_decoded(bytes, 0);
}

static void numbers_out_of_bounds_are_refused(void **state)
{
    static const struct {
        uint32_t directory_count;
        uint32_t name_max;
        int rc;
    } cases[] = {
        {0, 255, -EBADMSG},         {1, 255, 0},         {65536, 64, 0},
        {65537, 255, -EBADMSG},     {256, 63, -EBADMSG}, {256, 256, -EBADMSG},
        {UINT32_MAX, 255, -EBADMSG}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t bytes[KVT_ROOT_RECORD_SIZE];
        struct kvt_root_record record = sample();

        record.directory_count = cases[i].directory_count;
        record.name_max = cases[i].name_max;
        kvt_root_record_encode(&record, bytes);
        expect_decoded(bytes, cases[i].rc);
    }
}

static void what_is_sealed_and_wrong_is_refused(void **state)
{
    uint8_t bytes[KVT_ROOT_RECORD_SIZE];
    struct kvt_root_record record = sample();

    (void)state;
    kvt_root_record_encode(&record, bytes);
    bytes[10]++; /* its size */
    seal(bytes);
    expect_decoded(bytes, -EBADMSG);
    bytes[10]--;
    bytes[52] = 1; /* reserved */
    seal(bytes);
    expect_decoded(bytes, -EBADMSG);
    bytes[52] = 0;
    bytes[8] = 2; /* another version, which may keep its check elsewhere */
    expect_decoded(bytes, -EPROTONOSUPPORT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_golden_record_is_what_we_write),
        cmocka_unit_test(the_golden_record_reads_back),
        cmocka_unit_test(every_flipped_bit_shows),
        cmocka_unit_test(numbers_out_of_bounds_are_refused),
        cmocka_unit_test(what_is_sealed_and_wrong_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
