/* XXH64 and XXH3 values were computed with xxhsum -H64, -H3 and -H128. */
#include "support/unit.h"

#include "core/hash.h"

#include <string.h>

/* What xxhsum was given: `size` bytes, the i-th is i * 7 + 3 modulo 256. */
static void fill(unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char)(i * 7 + 3);
    }
}

static void values_are_those_of_xxhsum(void **state)
{
    static const struct {
        size_t size;
        uint64_t xxh64;
        uint64_t xxh3;
        struct kvt_hash128 xxh128; /* low, high */
    } golden[] = {
        {0,
         0xef46db3751d8e999u,
         0x2d06800538d394c2u,
         {0x6001c324468d497fu, 0x99aa06d3014798d8u}},
        {1,
         0x1f25c8d0bc1f4bb6u,
         0x13e608bc156defedu,
         {0x13e608bc156defedu, 0x22bbb76b211a39bau}},
        {3,
         0x31d2363f52e564c9u,
         0xa9088dda485b481cu,
         {0xa9088dda485b481cu, 0xce31763cbf8245a5u}},
        {8,
         0xdab99d95c6f90092u,
         0x60539db630471163u,
         {0x3cd024e3d63a1588u, 0xe3bc8a5f46171555u}},
        {16,
         0x434850232b787be2u,
         0xb8c859b0f030b585u,
         {0x60d75c5e47d40a24u, 0xce0b9647ab24f884u}},
        {17,
         0x1efa7025f1b97a7au,
         0x714a04408e79b80fu,
         {0xeeed7654312a26d7u, 0xbfd327edcc2fbd12u}},
        {128,
         0x46fbcfbf0150793fu,
         0x67425a03650261bfu,
         {0xc580008b6c92ac53u, 0x1b1962a096bac78bu}},
        {129,
         0x3eb5d118151c8303u,
         0xc664bf3311c6abc4u,
         {0xbd91ce7ace4d385bu, 0x293e4968c4619023u}},
        {240,
         0x42562f61ef11b5aeu,
         0x64556dc6b462a6cfu,
         {0x04e0b5f034bee80bu, 0xad46c1021b076bc7u}},
        {241,
         0x07cf94f8eba111b5u,
         0x8beadd3a8874fe17u,
         {0x8beadd3a8874fe17u, 0xac6c3492c3d6b45du}},
        {1000,
         0x5f235fa033f1a3fbu,
         0x6c4f14bd97bd9e82u,
         {0x6c4f14bd97bd9e82u, 0x6bcc7eff62da44c2u}},
    };
    unsigned char bytes[1000];

    (void)state;
    fill(bytes, sizeof bytes);
    for (size_t i = 0; i < COUNT_OF(golden); i++) {
        size_t size = golden[i].size;
        struct kvt_hash128 wide = kvt_hash128(bytes, size);

        assert_int_equal(kvt_hash_xxh64(bytes, size, 0), golden[i].xxh64);
        assert_int_equal(kvt_hash64(bytes, size, 0), golden[i].xxh3);
        assert_int_equal(wide.low, golden[i].xxh128.low);
        assert_int_equal(wide.high, golden[i].xxh128.high);
    }
}

static void a_seed_changes_the_value(void **state)
{
    (void)state;
    assert_int_not_equal(kvt_hash64("abc", 3, 0), kvt_hash64("abc", 3, 1));
    assert_int_not_equal(kvt_hash_xxh64("abc", 3, 0),
                         kvt_hash_xxh64("abc", 3, 1));
}

/* The second slice lies elsewhere: what stands behind the first is not it. */
static void two_slices_are_their_bytes_in_a_row(void **state)
{
    unsigned char bytes[300];
    unsigned char second[300];

    (void)state;
    fill(bytes, sizeof bytes);
    for (size_t seed = 0; seed < 2; seed++) {
        for (size_t size = 0; size <= sizeof bytes; size += 13) {
            uint64_t whole = kvt_hash64(bytes, size, seed);

            for (size_t cut = 0; cut <= size; cut++) {
                unsigned char first[300] = {0};
                struct kvt_slice slices[] = {
                    {first, cut, NULL},
                    {second, size - cut, NULL},
                };
                memcpy(first, bytes, cut);
                memcpy(second, bytes + cut, size - cut);
                assert_int_equal(kvt_hash_slices(slices, 2, size, seed), whole);
            }
        }
    }
}

/* Pieces of 0 to 40 bytes; those of no bytes have no base. */
static void many_random_slices_are_their_bytes_in_a_row(void **state)
{
    unsigned char bytes[1000];
    uint64_t random = 3;

    (void)state;
    fill(bytes, sizeof bytes);
    for (int round = 0; round < 500; round++) {
        struct kvt_slice slices[1100];
        size_t count = 0;
        size_t at = 0;

        while (at < sizeof bytes && count < COUNT_OF(slices)) {
            size_t size = unit_random_below(&random, 41);
            if (size > sizeof bytes - at) {
                size = sizeof bytes - at;
            }
            slices[count++] =
                (struct kvt_slice){size > 0 ? bytes + at : NULL, size, NULL};
            at += size;
        }
        assert_int_equal(kvt_hash_slices(slices, count, at, 9),
                         kvt_hash64(bytes, at, 9));
    }
}

static void bytes_behind_the_size_do_not_count(void **state)
{
    unsigned char bytes[300];

    (void)state;
    fill(bytes, sizeof bytes);
    struct kvt_slice slices[] = {
        {bytes, 100, NULL}, {bytes + 100, 100, NULL}, {bytes + 200, 100, NULL}};
    for (size_t size = 0; size <= sizeof bytes; size++) {
        assert_int_equal(kvt_hash_slices(slices, 3, size, 5),
                         kvt_hash64(bytes, size, 5));
    }
}

static void nothing_has_one_value_however_it_is_given(void **state)
{
    struct kvt_slice empty[] = {{NULL, 0, NULL}, {NULL, 0, NULL}};
    struct kvt_slice unused = {(void *)(uintptr_t) "x", 1, NULL};

    (void)state;
    for (uint64_t seed = 0; seed < 3; seed++) {
        uint64_t none = kvt_hash64("", 0, seed);

        assert_int_equal(kvt_hash_slices(NULL, 0, 0, seed), none);
        assert_int_equal(kvt_hash_slices(empty, 2, 0, seed), none);
        assert_int_equal(kvt_hash_slices(&unused, 1, 0, seed), none);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_those_of_xxhsum),
        cmocka_unit_test(a_seed_changes_the_value),
        cmocka_unit_test(two_slices_are_their_bytes_in_a_row),
        cmocka_unit_test(many_random_slices_are_their_bytes_in_a_row),
        cmocka_unit_test(bytes_behind_the_size_do_not_count),
        cmocka_unit_test(nothing_has_one_value_however_it_is_given),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
