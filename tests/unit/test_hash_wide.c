/* XXH3 for wide vectors gives the values of the common code. */
#include "support/unit.h"

#include "core/hash.h"
#include "core/hash_long.h"

#include <stdlib.h>

enum {
    SIZE = 300000
};

static const struct kvt_hash_long common = {kvt_hash_long_bytes,
                                            kvt_hash_long_slices};

static unsigned char *make_bytes(void)
{
    unsigned char *bytes = malloc(SIZE);
    assert_non_null(bytes);
    for (uint32_t i = 0; i < SIZE; i++) {
        bytes[i] = (unsigned char)(i * 2654435761u >> 23);
    }
    return bytes;
}

/* Whole, at odd addresses, and in three slices, of lengths around all that
 * XXH3 treats differently. */
static void same_values(const struct kvt_hash_long *a,
                        const struct kvt_hash_long *b)
{
    static const size_t sizes[] = {1,    16,    17,    128,    129,  240,
                                   241,  256,   1023,  1024,   1025, 4096,
                                   8191, 65536, 65537, 1 << 18};
    unsigned char *bytes = make_bytes();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t from = 0; from < 70; from += 23) {
            unsigned char *start = bytes + from;
            size_t size = sizes[i];
            struct kvt_slice slices[] = {
                {start, size / 3, NULL},
                {start + size / 3, 0, NULL},
                {start + size / 3, size - size / 3, NULL}};
            uint64_t value = a->bytes(start, size, i);
            assert_true(b->bytes(start, size, i) == value);
            assert_true(a->slices(slices, 3, size, i) == value);
            assert_true(b->slices(slices, 3, size, i) == value);
            assert_true(kvt_hash64(start, size, i) == value);
            assert_true(kvt_hash_slices(slices, 3, size, i) == value);
        }
    }
    free(bytes);
}

static void the_chosen_width_gives_the_common_value(void **state)
{
    (void)state;
    same_values(&common, &common);
}

static void avx2_gives_the_common_value(void **state)
{
    (void)state;
#ifdef __x86_64__
    if (!__builtin_cpu_supports("avx2")) {
        print_message("SKIP: this processor has no AVX2\n");
        return;
    }
#endif
    same_values(&common, &kvt_hash_avx2);
}

static void avx512_gives_the_common_value(void **state)
{
    (void)state;
#ifdef __x86_64__
    if (!__builtin_cpu_supports("avx512f")) {
        print_message("SKIP: this processor has no AVX-512\n");
        return;
    }
#endif
    same_values(&common, &kvt_hash_avx512);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_chosen_width_gives_the_common_value),
        cmocka_unit_test(avx2_gives_the_common_value),
        cmocka_unit_test(avx512_gives_the_common_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
