/* The write record, against tests/golden/write_record_v1.bin, which was built
 * from the table of docs/format.md and xxhsum -H3, not by this code. */
#include "support/golden.h"

#include "core/bytes.h"
#include "core/hash.h"
#include "format/write_record.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static struct kvt_write_record sample(void)
{
    struct kvt_write_record record = {.hour = 490896, /* 2026-01-01 */
                                      .open = 1};
    for (uint64_t i = 0; i < KVT_WRITE_HOURS; i++) {
        record.hours[i] = (i + 1) * 0x0101010101u;
    }
    return record;
}

static void expect_decoded(const uint8_t *bytes, int rc)
{
    struct kvt_write_record record;
    assert_int_equal(kvt_write_record_decode(bytes, &record), rc);
}

static void the_golden_record_is_what_we_write(void **state)
{
    uint8_t golden[1000];
    uint8_t ours[KVT_WRITE_RECORD_SIZE];
    struct kvt_write_record record = sample();
    (void)state;
    assert_int_equal(golden_read("write_record_v1.bin", golden, sizeof golden),
                     KVT_WRITE_RECORD_SIZE);
    memset(ours, 0xee, sizeof ours);
    kvt_write_record_encode(&record, ours);
    assert_memory_equal(ours, golden, sizeof ours);
}

static void the_golden_record_reads_back(void **state)
{
    uint8_t golden[1000];
    struct kvt_write_record in = sample();
    struct kvt_write_record out;
    (void)state;
    memset(&out, 0xee, sizeof out);
    golden_read("write_record_v1.bin", golden, sizeof golden);
    assert_int_equal(kvt_write_record_decode(golden, &out), 0);
    assert_int_equal(out.hour, in.hour);
    assert_int_equal(out.open, in.open);
    assert_memory_equal(out.hours, in.hours, sizeof in.hours);
}

static void every_flipped_bit_shows(void **state)
{
    uint8_t bytes[KVT_WRITE_RECORD_SIZE];
    struct kvt_write_record record = sample();
    (void)state;
    kvt_write_record_encode(&record, bytes);
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bool version = bit / 8 == 8 || bit / 8 == 9;
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        expect_decoded(bytes, version ? -EPROTONOSUPPORT : -EBADMSG);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    expect_decoded(bytes, 0);
}

static void what_is_sealed_and_wrong_is_refused(void **state)
{
    static const size_t wrong[] = {10, 12, 224}; /* size, open, reserved */
    (void)state;
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        uint8_t bytes[KVT_WRITE_RECORD_SIZE];
        struct kvt_write_record record = sample();
        kvt_write_record_encode(&record, bytes);
        bytes[wrong[i]]++;
        kvt_put_le64(bytes + 232, kvt_hash64(bytes, 232, 0));
        expect_decoded(bytes, -EBADMSG);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_golden_record_is_what_we_write),
        cmocka_unit_test(the_golden_record_reads_back),
        cmocka_unit_test(every_flipped_bit_shows),
        cmocka_unit_test(what_is_sealed_and_wrong_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
