/* Two ways to do the same, timed in pairs in the order A B B A, since a
 * machine's speed drifts: the ratio of a pair is B's seconds to A's (above 1:
 * A is faster), and what counts is the median of the pairs with its 95 %
 * bounds (order statistics of the binomial distribution). */
#ifndef KVT_BENCH_PAIRS_H
#define KVT_BENCH_PAIRS_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    PAIRS_MAX = 101
};

struct pairs {
    int count;
    double a_seconds[PAIRS_MAX];
    double b_seconds[PAIRS_MAX];
    double ratio[PAIRS_MAX];
};

static inline double bench_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static inline double bench_cpu(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static inline int bench_by_size(const void *a, const void *b)
{
    const double *left = a;
    const double *right = b;
    return (*left > *right) - (*left < *right);
}

static inline void pairs_run(struct pairs *pairs, int count,
                             double (*a)(void *), double (*b)(void *),
                             void *arg)
{
    pairs->count = count < PAIRS_MAX ? count : PAIRS_MAX;
    for (int i = 0; i < pairs->count; i++) {
        if (i % 2 == 0) {
            pairs->a_seconds[i] = a(arg);
            pairs->b_seconds[i] = b(arg);
        } else {
            pairs->b_seconds[i] = b(arg);
            pairs->a_seconds[i] = a(arg);
        }
        pairs->ratio[i] = pairs->b_seconds[i] / pairs->a_seconds[i];
    }
}

static inline void pairs_print(const char *what, struct pairs *pairs)
{
    int n = pairs->count;
    qsort(pairs->ratio, (size_t)n, sizeof(double), bench_by_size);
    qsort(pairs->a_seconds, (size_t)n, sizeof(double), bench_by_size);
    qsort(pairs->b_seconds, (size_t)n, sizeof(double), bench_by_size);
    int low = (int)floor(n / 2.0 - 0.98 * sqrt(n));
    int high = (int)ceil(n / 2.0 + 0.98 * sqrt(n));
    low = low < 0 ? 0 : low;
    high = high > n - 1 ? n - 1 : high;
    printf("%s,%d,%.6f,%.6f,%.3f,%.3f,%.3f\n", what, n, pairs->a_seconds[n / 2],
           pairs->b_seconds[n / 2], pairs->ratio[low], pairs->ratio[n / 2],
           pairs->ratio[high]);
    fflush(stdout);
}

static inline void pairs_header(void)
{
    printf("what,pairs,ours_s,other_s,ratio_low,ratio_median,ratio_high\n");
}

#endif
