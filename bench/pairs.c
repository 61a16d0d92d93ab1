#include "pairs.h"

#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
    const double *left = a;
    const double *right = b;
    return (*left > *right) - (*left < *right);
}

/* How many values at each end the bounds leave out: at most that many lie on
 * one side of the median with a probability of 2.5 %. 0: no bounds at all. */
static size_t left_out(size_t count)
{
    double term = 1; /* of exactly `rank` values */
    size_t rank = 0;
    for (size_t i = 0; i < count; i++) {
        term /= 2;
    }
    double sum = term;
    while (sum <= 0.025) {
        rank++;
        term *= (double)(count - rank + 1) / (double)rank;
        sum += term;
    }
    return rank;
}

struct spread spread_of(double *values, size_t count)
{
    struct spread spread = {false, 0, 0, 0};
    if (count == 0) {
        return spread;
    }
    qsort(values, count, sizeof values[0], by_value);
    size_t rank = left_out(count);
    spread.bounded = rank > 0;
    if (spread.bounded) {
        spread.low = values[rank - 1];
        spread.high = values[count - rank];
    }
    spread.median = count % 2 == 1
                        ? values[count / 2]
                        : (values[count / 2 - 1] + values[count / 2]) / 2;
    return spread;
}
