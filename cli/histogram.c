#include "histogram.h"

#include <stddef.h>

enum {
    EXACT_BITS = 7
}; /* 2^7 is CLI_HISTOGRAM_EXACT */

static int top_bit(uint64_t value)
{
    int bit = 0;
    while (value >>= 1) {
        bit++;
    }
    return bit;
}

static size_t cell_of(uint64_t value)
{
    if (value < CLI_HISTOGRAM_EXACT) {
        return (size_t)value;
    }
    /* the seven highest bits: 64 to 127 */
    int shift = top_bit(value) - EXACT_BITS + 1;
    size_t part = (size_t)(value >> shift) - CLI_HISTOGRAM_PARTS;
    return CLI_HISTOGRAM_EXACT + (size_t)(shift - 1) * CLI_HISTOGRAM_PARTS +
           part;
}

/* The middle of a cell. */
static uint64_t value_of(size_t cell)
{
    if (cell < CLI_HISTOGRAM_EXACT) {
        return cell;
    }
    size_t above = cell - CLI_HISTOGRAM_EXACT;
    int shift = (int)(above / CLI_HISTOGRAM_PARTS) + 1;
    uint64_t top = above % CLI_HISTOGRAM_PARTS + CLI_HISTOGRAM_PARTS;
    return (top << shift) + (UINT64_C(1) << (shift - 1));
}

void cli_histogram_add(struct cli_histogram *histogram, uint64_t value)
{
    histogram->cells[cell_of(value)]++;
    histogram->count++;
    if (value > histogram->max) {
        histogram->max = value;
    }
}

void cli_histogram_merge(struct cli_histogram *into,
                         const struct cli_histogram *from)
{
    for (size_t i = 0; i < CLI_HISTOGRAM_CELLS; i++) {
        into->cells[i] += from->cells[i];
    }
    into->count += from->count;
    if (from->max > into->max) {
        into->max = from->max;
    }
}

uint64_t cli_histogram_at(const struct cli_histogram *histogram, double share)
{
    double wanted = share * (double)histogram->count;
    uint64_t rank = (uint64_t)wanted;
    rank += (double)rank < wanted || rank == 0; /* up, and at least one */
    uint64_t seen = 0;
    for (size_t i = 0; i < CLI_HISTOGRAM_CELLS; i++) {
        seen += histogram->cells[i];
        if (histogram->cells[i] > 0 && seen >= rank) {
            uint64_t value = value_of(i);
            return value < histogram->max ? value : histogram->max;
        }
    }
    return histogram->max;
}
