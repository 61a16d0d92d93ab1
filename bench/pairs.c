#include "pairs.h"

#include <math.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
    const double *left = a;
    const double *right = b;
    return (*left > *right) - (*left < *right);
}

struct spread spread_of(double *values, size_t count)
{
    struct spread spread = {0, 0, 0};
    if (count == 0) {
        return spread;
    }
    qsort(values, count, sizeof values[0], by_value);
    double n = (double)count;
    double low = floor(n / 2 - 0.98 * sqrt(n));
    double high = ceil(n / 2 + 0.98 * sqrt(n)) - 1;
    low = low < 0 ? 0 : low;
    high = high > n - 1 ? n - 1 : high;
    spread.low = values[(size_t)low];
    spread.high = values[(size_t)high];
    spread.median = count % 2 == 1
                        ? values[count / 2]
                        : (values[count / 2 - 1] + values[count / 2]) / 2;
    return spread;
}
