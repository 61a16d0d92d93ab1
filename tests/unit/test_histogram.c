/* The histogram against exact percentiles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../cli/histogram.c"

#include <stdlib.h>
#include <string.h>

enum {
    SAMPLES = 20000
};

static struct cli_histogram histogram;
static uint64_t samples[SAMPLES];

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static int order(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static int clear(void **state)
{
    (void)state;
    memset(&histogram, 0, sizeof(histogram));
    return 0;
}

static void expect_near_exact(size_t count)
{
    static const double shares[] = {0.0,  0.01,  0.25,   0.5, 0.9,
                                    0.99, 0.999, 0.9999, 1.0};
    qsort(samples, count, sizeof(samples[0]), order);
    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        double wanted = shares[i] * (double)count;
        size_t rank = (size_t)wanted;
        rank += (double)rank < wanted || rank == 0;
        uint64_t exact = samples[rank - 1];
        uint64_t got = cli_histogram_at(&histogram, shares[i]);
        uint64_t off = got > exact ? got - exact : exact - got;
        assert_true(off <= exact / 64);
    }
}

static void an_empty_one_says_zero(void **state)
{
    (void)state;
    assert_int_equal(cli_histogram_at(&histogram, 0.5), 0);
    assert_int_equal(cli_histogram_at(&histogram, 1.0), 0);
}

static void small_values_are_exact(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 100; i++) {
        cli_histogram_add(&histogram, i);
    }
    assert_int_equal(cli_histogram_at(&histogram, 0.0), 0);
    assert_int_equal(cli_histogram_at(&histogram, 0.5), 49);
    assert_int_equal(cli_histogram_at(&histogram, 0.99), 98);
    assert_int_equal(cli_histogram_at(&histogram, 1.0), 99);
}

static void the_greatest_value_is_exact(void **state)
{
    (void)state;
    cli_histogram_add(&histogram, 1000003);
    assert_int_equal(histogram.max, 1000003);
    assert_true(cli_histogram_at(&histogram, 1.0) <= 1000003);
    cli_histogram_add(&histogram, UINT64_MAX);
    assert_true(histogram.max == UINT64_MAX);
    assert_true(cli_histogram_at(&histogram, 1.0) >=
                UINT64_MAX - UINT64_MAX / 64);
}

static void every_power_of_two_and_its_neighbours_are_near(void **state)
{
    (void)state;
    for (int bit = 0; bit < 64; bit++) {
        for (uint64_t step = 0; step < 3; step++) {
            uint64_t value = (UINT64_C(1) << bit) + step - 1;
            clear(NULL);
            cli_histogram_add(&histogram, value);
            uint64_t got = value_of(cell_of(value));
            uint64_t off = got > value ? got - value : value - got;
            assert_true(cell_of(value) < CLI_HISTOGRAM_CELLS);
            assert_true(off <= value / 64);
        }
    }
}

static void percentiles_of_uniform_values_are_near(void **state)
{
    (void)state;
    uint64_t seed = 42;
    for (size_t i = 0; i < SAMPLES; i++) {
        samples[i] = random_next(&seed) % 1000000;
        cli_histogram_add(&histogram, samples[i]);
    }
    expect_near_exact(SAMPLES);
}

static void percentiles_of_a_long_tail_are_near(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (size_t i = 0; i < SAMPLES; i++) {
        samples[i] = random_next(&seed) >> (random_next(&seed) % 64);
        cli_histogram_add(&histogram, samples[i]);
    }
    expect_near_exact(SAMPLES);
}

static void a_merge_is_as_if_all_had_been_added(void **state)
{
    (void)state;
    static struct cli_histogram other;
    uint64_t seed = 99;
    for (size_t i = 0; i < SAMPLES; i++) {
        samples[i] = random_next(&seed) % 5000000000u;
        cli_histogram_add(i % 3 == 0 ? &other : &histogram, samples[i]);
    }
    cli_histogram_merge(&histogram, &other);
    assert_int_equal(histogram.count, SAMPLES);
    expect_near_exact(SAMPLES);
    assert_int_equal(histogram.max, samples[SAMPLES - 1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_empty_one_says_zero, clear),
        cmocka_unit_test_setup(small_values_are_exact, clear),
        cmocka_unit_test_setup(the_greatest_value_is_exact, clear),
        cmocka_unit_test_setup(every_power_of_two_and_its_neighbours_are_near,
                               clear),
        cmocka_unit_test_setup(percentiles_of_uniform_values_are_near, clear),
        cmocka_unit_test_setup(percentiles_of_a_long_tail_are_near, clear),
        cmocka_unit_test_setup(a_merge_is_as_if_all_had_been_added, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
