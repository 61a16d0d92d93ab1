/* The trailer, and whole object files against tests/golden/object_*_v1.bin.
 * Those were built from the tables of docs/format.md by a script of its own:
 * hashes without a seed by xxhsum -H3 and -H128, the check values, which have
 * one, by a second implementation of XXH3 (xxhsum takes no seed). */
#include "support/golden.h"

#include "core/bytes.h"
#include "format/trailer.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define GOLDEN_SEED 0x0123456789abcdefu

/* The golden value: 100 bytes, the i-th is i * 5 + 1 modulo 256. */
static void golden_value(uint8_t value[100])
{
    for (size_t i = 0; i < 100; i++) {
        value[i] = (uint8_t)(i * 5 + 1);
    }
}

static struct kvt_trailer sample(void)
{
    return (struct kvt_trailer){
        .value_size = 0x1122334455667788u,
        .key_size = 300,
        .key_hash = {0x0102030405060708u, 0x1112131415161718u},
        .check = 0x2122232425262728u,
    };
}

static void encode_sample(uint8_t bytes[KVT_TRAILER_SIZE])
{
    struct kvt_trailer trailer = sample();

    memset(bytes, 0xee, KVT_TRAILER_SIZE);
    kvt_trailer_encode(&trailer, bytes);
}

/* Makes the trailer's own check right again. */
static void seal(uint8_t bytes[KVT_TRAILER_SIZE])
{
    kvt_put_le64(bytes + 56, kvt_hash64(bytes, 56, 0));
}

static void expect_decoded(const uint8_t *bytes, int rc)
{
    struct kvt_trailer trailer;

    assert_int_equal(kvt_trailer_decode(bytes, &trailer), rc);
}

static void every_field_stands_in_its_place(void **state)
{
    static const uint8_t golden[56] = {
        0x89, 'K',  'V',  'T',  'O',  '\r', '\n', 0x1a, /* magic */
        0x01, 0x00, 0x40, 0x00, 0x2c, 0x01, 0x00, 0x00, /* version, sizes */
        0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, /* value size */
        0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, /* hash, low */
        0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, /* hash, high */
        0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, /* check */
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, /* reserved */
    };
    uint8_t bytes[KVT_TRAILER_SIZE];

    (void)state;
    encode_sample(bytes);
    assert_memory_equal(bytes, golden, sizeof golden);
    assert_int_equal(kvt_get_le64(bytes + 56),
                     0x174515b49947732fu); /* xxhsum -H3 */
}

static void a_trailer_reads_back(void **state)
{
    uint8_t bytes[KVT_TRAILER_SIZE];
    struct kvt_trailer in = sample();
    struct kvt_trailer out;

    (void)state;
    encode_sample(bytes);
    assert_int_equal(kvt_trailer_decode(bytes, &out), 0);
    assert_int_equal(out.value_size, in.value_size);
    assert_int_equal(out.key_size, in.key_size);
    assert_int_equal(out.key_hash.low, in.key_hash.low);
    assert_int_equal(out.key_hash.high, in.key_hash.high);
    assert_int_equal(out.check, in.check);
}

static void every_flipped_bit_is_refused(void **state)
{
    uint8_t bytes[KVT_TRAILER_SIZE];
    struct kvt_trailer trailer;

    (void)state;
    encode_sample(bytes);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_true(kvt_trailer_decode(bytes, &trailer) < 0);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    expect_decoded(bytes, 0);
}

static void an_unknown_version_is_told_from_damage(void **state)
{
    uint8_t bytes[KVT_TRAILER_SIZE];

    (void)state;
    for (uint16_t version = 0; version < 4; version++) {
        encode_sample(bytes);
        kvt_put_le16(bytes + 8, version);
        seal(bytes);
        expect_decoded(bytes, version == 1 ? 0 : -EPROTONOSUPPORT);
    }
    encode_sample(bytes);
    kvt_put_le16(bytes + 8, 0x0100); /* both bytes count */
    seal(bytes);
    expect_decoded(bytes, -EPROTONOSUPPORT);
}

static void sealed_nonsense_is_refused(void **state)
{
    uint8_t bytes[KVT_TRAILER_SIZE];

    (void)state;
    encode_sample(bytes);
    kvt_put_le16(bytes + 10, 63); /* another size */
    seal(bytes);
    expect_decoded(bytes, -EBADMSG);
    encode_sample(bytes);
    kvt_put_le64(bytes + 48, 1); /* reserved */
    seal(bytes);
    expect_decoded(bytes, -EBADMSG);
    encode_sample(bytes);
    bytes[0] = 0x09; /* cut to seven bits */
    seal(bytes);
    expect_decoded(bytes, -EBADMSG);
    encode_sample(bytes);
    kvt_put_le32(bytes + 12, KVT_KEY_SIZE_MAX + 1);
    seal(bytes);
    expect_decoded(bytes, -EBADMSG);
    kvt_put_le32(bytes + 12, KVT_KEY_SIZE_MAX);
    seal(bytes);
    expect_decoded(bytes, 0);
}

static void zeros_and_ones_are_no_trailer(void **state)
{
    uint8_t bytes[KVT_TRAILER_SIZE];

    (void)state;
    memset(bytes, 0, sizeof bytes);
    expect_decoded(bytes, -EBADMSG);
    memset(bytes, 0xff, sizeof bytes);
    expect_decoded(bytes, -EBADMSG);
}

static void the_check_depends_on_all_that_it_covers(void **state)
{
    uint8_t value[100];
    struct kvt_hash128 key = {1, 2};

    (void)state;
    golden_value(value);
    struct kvt_slice slice = {value, sizeof value, NULL};
    uint64_t check = kvt_trailer_check(7, key, &slice, 1, 100);
    assert_int_equal(kvt_trailer_check(7, key, &slice, 1, 100), check);
    assert_int_not_equal(kvt_trailer_check(8, key, &slice, 1, 100), check);
    assert_int_not_equal(kvt_trailer_check(7, key, &slice, 1, 99), check);
    key.low++;
    assert_int_not_equal(kvt_trailer_check(7, key, &slice, 1, 100), check);
    key.low--;
    key.high++;
    assert_int_not_equal(kvt_trailer_check(7, key, &slice, 1, 100), check);
    key.high--;
    for (size_t bit = 0; bit < 800; bit++) {
        value[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(kvt_trailer_check(7, key, &slice, 1, 100), check);
        value[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void the_check_does_not_see_how_slices_are_cut(void **state)
{
    uint8_t value[100];
    struct kvt_hash128 key = {1, 2};

    (void)state;
    golden_value(value);
    struct kvt_slice whole = {value, sizeof value, NULL};
    uint64_t check = kvt_trailer_check(7, key, &whole, 1, 100);
    for (size_t cut = 0; cut <= 100; cut++) {
        struct kvt_slice parts[] = {{value, cut, NULL},
                                    {value + cut, 100 - cut, NULL}};
        assert_int_equal(kvt_trailer_check(7, key, parts, 2, 100), check);
    }
    /* an object of no bytes has a check, too: that of its key */
    assert_int_not_equal(kvt_trailer_check(7, key, NULL, 0, 0),
                         kvt_trailer_check(8, key, NULL, 0, 0));
}

/* A file of the golden value under `key`, as a layout of one file an object
 * writes it. Returns its size. */
static size_t make_object(struct kvt_key key, bool key_in_file, uint8_t *file)
{
    golden_value(file);
    struct kvt_slice value = {file, 100, NULL};
    struct kvt_trailer trailer = {
        .value_size = 100,
        .key_size = key_in_file ? (uint32_t)key.size : 0,
        .key_hash = kvt_hash128(key.data, key.size),
    };
    trailer.check =
        kvt_trailer_check(GOLDEN_SEED, trailer.key_hash, &value, 1, 100);
    memcpy(file + 100, key.data, trailer.key_size);
    kvt_trailer_encode(&trailer, file + 100 + trailer.key_size);
    return 100 + trailer.key_size + KVT_TRAILER_SIZE;
}

static void the_golden_object_is_what_we_write(void **state)
{
    uint8_t golden[1000];
    uint8_t ours[1000];
    struct kvt_key key = {"model/layer@7:block", 19};
    struct kvt_trailer trailer;

    (void)state;
    size_t size = golden_read("object_v1.bin", golden, sizeof golden);
    assert_int_equal(size, 164);
    assert_int_equal(make_object(key, false, ours), size);
    assert_memory_equal(ours, golden, size);
    assert_int_equal(kvt_trailer_decode(golden + 100, &trailer), 0);
    assert_int_equal(trailer.key_hash.high,
                     0x74e787b01284caa1u); /* xxhsum -H128 */
    assert_int_equal(trailer.key_hash.low, 0x257af72dac2f082bu);
    assert_int_equal(trailer.check, 0xfb4a90ddec7e9ac6u);
}

static void the_golden_object_of_a_long_key_is_what_we_write(void **state)
{
    uint8_t golden[1000];
    uint8_t ours[1000];
    char text[300];
    struct kvt_trailer trailer;

    (void)state;
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (char)('a' + i % 26);
    }
    struct kvt_key key = {text, sizeof text};
    size_t size = golden_read("object_long_key_v1.bin", golden, sizeof golden);
    assert_int_equal(size, 464);
    assert_int_equal(make_object(key, true, ours), size);
    assert_memory_equal(ours, golden, size);
    assert_int_equal(kvt_trailer_decode(golden + 400, &trailer), 0);
    assert_int_equal(trailer.key_size, 300);
    assert_int_equal(trailer.key_hash.high,
                     0x34de2aad60a7d7cau); /* xxhsum -H128 */
    assert_int_equal(trailer.key_hash.low, 0x7f720c1f731c9648u);
    assert_int_equal(trailer.check, 0x9b16131f032460ecu);
}

/* Any one of the three is enough to tell a damaged file from a raw one. */
static void magic_length_or_key_make_a_trailer_likely(void **state)
{
    enum {
        FILE_SIZE = 1000 + KVT_TRAILER_SIZE
    };
    uint8_t bytes[KVT_TRAILER_SIZE];
    struct kvt_hash128 hash = kvt_hash128("key", 3);
    struct kvt_hash128 other = kvt_hash128("other", 5);
    struct kvt_trailer trailer = {.value_size = 1000, .key_hash = hash};

    (void)state;
    kvt_trailer_encode(&trailer, bytes);
    assert_true(kvt_trailer_is_likely(bytes, hash, FILE_SIZE));
    assert_true(kvt_trailer_is_likely(bytes, other, FILE_SIZE + 1));
    bytes[0] ^= 1; /* the magic is gone */
    assert_true(kvt_trailer_is_likely(bytes, other, FILE_SIZE));
    assert_true(kvt_trailer_is_likely(bytes, hash, FILE_SIZE + 1));
    assert_false(kvt_trailer_is_likely(bytes, other, FILE_SIZE + 1));
    memset(bytes, 'r', sizeof bytes);
    assert_false(kvt_trailer_is_likely(bytes, hash, FILE_SIZE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(magic_length_or_key_make_a_trailer_likely),
        cmocka_unit_test(every_field_stands_in_its_place),
        cmocka_unit_test(a_trailer_reads_back),
        cmocka_unit_test(every_flipped_bit_is_refused),
        cmocka_unit_test(an_unknown_version_is_told_from_damage),
        cmocka_unit_test(sealed_nonsense_is_refused),
        cmocka_unit_test(zeros_and_ones_are_no_trailer),
        cmocka_unit_test(the_check_depends_on_all_that_it_covers),
        cmocka_unit_test(the_check_does_not_see_how_slices_are_cut),
        cmocka_unit_test(the_golden_object_is_what_we_write),
        cmocka_unit_test(the_golden_object_of_a_long_key_is_what_we_write),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
