/* What a row gave: a line of the table, and one of the CSV. */
#ifndef KVT_BENCH_REPORT_H
#define KVT_BENCH_REPORT_H

#include "harness.h"
#include "pairs.h"

#include <stdio.h>

struct figures {
    size_t count;     /* of pairs */
    size_t misplaced; /* left out: bytes were not where the row says */
    double ratios[PAIRS_MAX];
    double ours[PAIRS_MAX]; /* operations a second */
    double other[PAIRS_MAX];
    double ours_cpu[PAIRS_MAX]; /* seconds an operation */
    double other_cpu[PAIRS_MAX];
    /* of all sides of a kind, and of nothing else */
    struct bench_result ours_sum;
    struct bench_result other_sum;
    struct kvt_fs_counters counters;
    /* system calls of one operation; below 0: not counted */
    double ours_calls;
    double other_calls;
};

/* They sort the arrays. */
void report_head(void);
void report_row(const struct bench *bench, struct figures *figures);

/* A new CSV, or null after it was said why not. */
FILE *report_open(const char *path);
void report_csv(FILE *csv, const struct bench *bench, struct figures *figures);

#endif
