/* Statistics of interleaved pairs: a machine's speed drifts by more than what
 * is to be measured, so only rates that were taken side by side are compared.
 */
#ifndef KVT_BENCH_PAIRS_H
#define KVT_BENCH_PAIRS_H

#include <stddef.h>

enum {
    PAIRS_MAX = 201
};

struct spread {
    double low; /* 95 % bounds of the median */
    double median;
    double high;
};

/* Of up to PAIRS_MAX values, which it sorts. The bounds are order statistics:
 * the widest pair of ranks that the binomial distribution of the median's rank
 * calls for, so nothing is assumed of the values' own distribution. */
struct spread spread_of(double *values, size_t count);

#endif
