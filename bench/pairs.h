/* Statistics of interleaved pairs: a machine's speed drifts by more than what
 * is to be measured, so only rates that were taken side by side are compared.
 */
#ifndef KVT_BENCH_PAIRS_H
#define KVT_BENCH_PAIRS_H

#include <stdbool.h>
#include <stddef.h>

enum {
    PAIRS_MAX = 201
};

struct spread {
    bool bounded;  /* false: too few values for bounds */
    double low;    /* the median lies in [low, high] in 95 % of all runs, or */
    double median; /* more */
    double high;
};

/* Of up to PAIRS_MAX values, which it sorts. The bounds are order statistics:
 * the narrowest symmetric pair of ranks that the binomial distribution allows,
 * so nothing is assumed of the values' own distribution. It takes six. */
struct spread spread_of(double *values, size_t count);

#endif
