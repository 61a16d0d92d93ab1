/* The store marker, against tests/golden/store_marker_v1.bin, which was built
 * from the table of docs/format.md and xxhsum -H3, not by this code. */
#include "support/golden.h"

#include "core/bytes.h"
#include "core/hash.h"
#include "format/marker.h"

#include <errno.h>
#include <string.h>

static struct kvt_marker sample(void)
{
    return (struct kvt_marker){
        .uuid = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
        .backend = "file_per_key",
        .backend_version = 1,
        .alignment = 4096,
        .name_max = 255,
        .hash_seed = 0x0123456789abcdefu,
        .created_ms = 1767225600123u, /* 2026-01-01, 123 ms */
    };
}

static void encode_sample(uint8_t bytes[KVT_MARKER_SIZE])
{
    struct kvt_marker marker = sample();

    memset(bytes, 0xee, KVT_MARKER_SIZE);
    kvt_marker_encode(&marker, bytes);
}

/* Makes the marker's own check right again. */
static void seal(uint8_t bytes[KVT_MARKER_SIZE])
{
    kvt_put_le64(bytes + 120, kvt_hash64(bytes, 120, 0));
}

static void expect_decoded(const uint8_t *bytes, int rc)
{
    struct kvt_marker marker;

    assert_int_equal(kvt_marker_decode(bytes, &marker), rc);
}

static void the_golden_marker_is_what_we_write(void **state)
{
    uint8_t golden[1000];
    uint8_t ours[KVT_MARKER_SIZE];

    (void)state;
    assert_int_equal(golden_read("store_marker_v1.bin", golden, sizeof golden),
                     KVT_MARKER_SIZE);
    encode_sample(ours);
    assert_memory_equal(ours, golden, sizeof ours);
    assert_int_equal(kvt_get_le64(golden + 120), 0x72009fa04b7885d4u);
}

static void the_golden_marker_reads_back(void **state)
{
    uint8_t golden[1000];
    struct kvt_marker in = sample();
    struct kvt_marker out;

    (void)state;
    memset(&out, 0xee, sizeof out);
    golden_read("store_marker_v1.bin", golden, sizeof golden);
    assert_int_equal(kvt_marker_decode(golden, &out), 0);
    assert_memory_equal(out.uuid, in.uuid, sizeof in.uuid);
    assert_string_equal(out.backend, in.backend);
    assert_int_equal(out.backend_version, in.backend_version);
    assert_int_equal(out.alignment, in.alignment);
    assert_int_equal(out.name_max, in.name_max);
    assert_int_equal(out.hash_seed, in.hash_seed);
    assert_int_equal(out.created_ms, in.created_ms);
}

static void every_field_stands_in_its_place(void **state)
{
    uint8_t bytes[KVT_MARKER_SIZE];
    struct kvt_marker marker = {
        .backend = "b",
        .backend_version = 0x01020304,
        .alignment = 0x11121314,
        .name_max = 0x21222324,
        .hash_seed = 0x3132333435363738u,
        .created_ms = 0x4142434445464748u,
    };
    static const uint8_t golden[56] = {
        'b',  0,    0,    0,    0,    0,    0,    0,    /* 32: backend */
        0,    0,    0,    0,    0,    0,    0,    0,    /* 40 */
        0,    0,    0,    0,    0,    0,    0,    0,    /* 48 */
        0,    0,    0,    0,    0,    0,    0,    0,    /* 56 */
        0x04, 0x03, 0x02, 0x01, 0x14, 0x13, 0x12, 0x11, /* 64, 68 */
        0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31, /* 72: seed */
        0x48, 0x47, 0x46, 0x45, 0x44, 0x43, 0x42, 0x41, /* 80: made */
    };

    (void)state;
    memset(marker.uuid, 0xaa, sizeof marker.uuid);
    kvt_marker_encode(&marker, bytes);
    assert_memory_equal(bytes, "\x89KVTS\r\n\x1a\x01\0\x80\0\0\0\0\0", 16);
    assert_memory_equal(bytes + 16, marker.uuid, 16);
    assert_memory_equal(bytes + 32, golden, sizeof golden);
    assert_int_equal(kvt_get_le32(bytes + 88), 0x21222324);
    for (size_t at = 92; at < 120; at++) {
        assert_int_equal(bytes[at], 0);
    }
}

static void every_flipped_bit_is_refused(void **state)
{
    uint8_t bytes[KVT_MARKER_SIZE];
    struct kvt_marker marker;

    (void)state;
    encode_sample(bytes);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_true(kvt_marker_decode(bytes, &marker) < 0);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    expect_decoded(bytes, 0);
}

/* Also when the rest is unknown to us: another version may differ in it. */
static void an_unknown_version_is_told_from_damage(void **state)
{
    uint8_t bytes[KVT_MARKER_SIZE];

    (void)state;
    encode_sample(bytes);
    kvt_put_le16(bytes + 8, 2);
    expect_decoded(bytes, -EPROTONOSUPPORT);
    seal(bytes);
    expect_decoded(bytes, -EPROTONOSUPPORT);
    kvt_put_le16(bytes + 8, 0x0100);
    expect_decoded(bytes, -EPROTONOSUPPORT);
    kvt_put_le16(bytes + 8, 0);
    expect_decoded(bytes, -EPROTONOSUPPORT);
    bytes[0] ^= 1;
    expect_decoded(bytes, -EBADMSG);
}

static void sealed_nonsense_is_refused(void **state)
{
    uint8_t bytes[KVT_MARKER_SIZE];

    (void)state;
    encode_sample(bytes);
    kvt_put_le16(bytes + 10, 64); /* another size */
    seal(bytes);
    expect_decoded(bytes, -EBADMSG);
    encode_sample(bytes);
    memset(bytes + 32, 'b', 32); /* a name without its end */
    seal(bytes);
    expect_decoded(bytes, -EBADMSG);
    memset(bytes, 0, sizeof bytes);
    expect_decoded(bytes, -EBADMSG);
}

static void a_name_of_31_bytes_is_the_longest(void **state)
{
    uint8_t bytes[KVT_MARKER_SIZE];
    struct kvt_marker in = sample();
    struct kvt_marker out;

    (void)state;
    memset(in.backend, 'b', sizeof in.backend);
    in.backend[31] = '\0';
    kvt_marker_encode(&in, bytes);
    assert_int_equal(kvt_marker_decode(bytes, &out), 0);
    assert_string_equal(out.backend, in.backend);
    in.backend[31] = 'b'; /* not terminated: cut, so that it can be read */
    kvt_marker_encode(&in, bytes);
    assert_int_equal(kvt_marker_decode(bytes, &out), 0);
    assert_int_equal(strlen(out.backend), 31);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_golden_marker_is_what_we_write),
        cmocka_unit_test(the_golden_marker_reads_back),
        cmocka_unit_test(every_field_stands_in_its_place),
        cmocka_unit_test(every_flipped_bit_is_refused),
        cmocka_unit_test(an_unknown_version_is_told_from_damage),
        cmocka_unit_test(sealed_nonsense_is_refused),
        cmocka_unit_test(a_name_of_31_bytes_is_the_longest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
