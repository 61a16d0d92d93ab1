/*
 * histogram.h - a distribution of times in bounded memory.
 *
 * Log-linear: values below 128 are counted exactly; above, every power of two
 * is cut into 64 parts, so that a percentile is at most 1/128 off.
 */
#ifndef CLI_HISTOGRAM_H
#define CLI_HISTOGRAM_H

#include <stdint.h>

enum {
    CLI_HISTOGRAM_PARTS = 64,
    CLI_HISTOGRAM_EXACT = 2 * CLI_HISTOGRAM_PARTS,
    /* 57 powers of two from 2^7 on */
    CLI_HISTOGRAM_CELLS = CLI_HISTOGRAM_EXACT + 57 * CLI_HISTOGRAM_PARTS,
};

/* Start from zeros. */
struct cli_histogram {
    uint64_t count;
    uint64_t max; /* exact */
    uint64_t cells[CLI_HISTOGRAM_CELLS];
};

void cli_histogram_add(struct cli_histogram *histogram, uint64_t value);
void cli_histogram_merge(struct cli_histogram *into,
                         const struct cli_histogram *from);

/* The smallest value that at least `share` (0 to 1) of all values do not
 * exceed, by the nearest rank; 0 when there are no values. */
uint64_t cli_histogram_at(const struct cli_histogram *histogram, double share);

#endif
