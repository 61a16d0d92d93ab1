/* The bounds of benchmarks: exact by the binomial distribution. */
#include "../../bench/pairs.c"

#include "support/unit.h"

static struct spread spread_of_first(size_t count)
{
    double values[PAIRS_MAX];
    for (size_t i = 0; i < count; i++) {
        values[i] = (double)((i * 7) % count + 1); /* 1 ... count, mixed */
    }
    return spread_of(values, count);
}

/* Chance that the median lies outside of the values of these ranks (from 1,
 * and as far from the end). */
static double outside(size_t count, size_t rank)
{
    double term = 1;
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        term /= 2;
    }
    for (size_t i = 0; i < rank; i++) {
        sum += term;
        term *= (double)(count - i) / (double)(i + 1);
    }
    return 2 * sum;
}

static void five_pairs_have_no_bounds(void **state)
{
    (void)state;
    for (size_t count = 0; count < 6; count++) {
        assert_false(spread_of_first(count).bounded);
    }
    assert_true(spread_of_first(5).median == 3);
    assert_true(spread_of_first(4).median == 2.5);
}

static void bounds_are_those_of_the_tables(void **state)
{
    /* pairs, low, high: ranks of the sign test at 5 %, two-sided */
    static const unsigned rows[][3] = {
        {6, 1, 6},   {8, 1, 8},    {9, 2, 8},     {15, 4, 12},
        {20, 6, 15}, {31, 10, 22}, {100, 40, 61},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double values[PAIRS_MAX];
        for (size_t j = 0; j < rows[i][0]; j++) {
            values[j] = (double)(rows[i][0] - j);
        }
        struct spread spread = spread_of(values, rows[i][0]);
        assert_true(spread.bounded);
        assert_true(spread.low == rows[i][1]);
        assert_true(spread.high == rows[i][2]);
    }
}

static void bounds_are_the_narrowest_of_95_percent(void **state)
{
    (void)state;
    for (size_t count = 6; count <= PAIRS_MAX; count++) {
        double values[PAIRS_MAX];
        for (size_t i = 0; i < count; i++) {
            values[i] = (double)(i + 1);
        }
        struct spread spread = spread_of(values, count);
        size_t rank = (size_t)spread.low;
        assert_true(spread.high == (double)(count + 1 - rank));
        assert_true(outside(count, rank) <= 0.05);
        assert_true(outside(count, rank + 1) > 0.05);
    }
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(five_pairs_have_no_bounds),
        cmocka_unit_test(bounds_are_those_of_the_tables),
        cmocka_unit_test(bounds_are_the_narrowest_of_95_percent),
    };
    return cmocka_run_group_tests(cases, NULL, NULL) != 0;
}
