#include "harness.h"

#include "pairs.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static struct bench_group (*const groups[])(void) = {
    bench_boundary_rows,
    bench_transfer_rows,
    bench_fetch_rows,
};

/* What the pairs of a row gave. */
struct figures {
    size_t count;
    double ratios[PAIRS_MAX];
    double ours[PAIRS_MAX]; /* operations a second */
    double other[PAIRS_MAX];
    double ours_cpu[PAIRS_MAX]; /* seconds an operation */
    double other_cpu[PAIRS_MAX];
    /* of all our sides, and of nothing else */
    uint64_t operations;
    uint64_t bytes;
    uint64_t device_bytes; /* read from a device */
    struct kvt_fs_counters counters;
};

int bench_fail(struct bench *bench, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(bench->reason, sizeof bench->reason, format, args);
    va_end(args);
    return -1;
}

/* Time -------------------------------------------------------------------- */

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

struct bench_clock bench_start(void)
{
    struct timespec now;
    struct rusage usage;
    clock_gettime(CLOCK_MONOTONIC, &now);
    getrusage(RUSAGE_SELF, &usage);
    return (struct bench_clock){(double)now.tv_sec + (double)now.tv_nsec / 1e9,
                                seconds_of(usage.ru_utime) +
                                    seconds_of(usage.ru_stime)};
}

void bench_stop(struct bench_clock start, struct bench_result *result)
{
    struct bench_clock end = bench_start();
    result->seconds = end.wall - start.wall;
    result->cpu_seconds = end.cpu - start.cpu;
}

/* One row ----------------------------------------------------------------- */

static double rate(const struct bench_result *result)
{
    return (double)result->operations / result->seconds;
}

static double cpu(const struct bench_result *result)
{
    return result->cpu_seconds / (double)result->operations;
}

/* Bytes that this process made devices read; 0 where the kernel keeps no such
 * count. */
static uint64_t device_bytes(void)
{
    unsigned long long bytes = 0;
    char line[128];
    FILE *io = fopen("/proc/self/io", "r");
    while (io != NULL && fgets(line, sizeof line, io) != NULL) {
        if (sscanf(line, "read_bytes: %llu", &bytes) == 1) {
            break;
        }
    }
    if (io != NULL) {
        fclose(io);
    }
    return bytes;
}

static int run_ours(struct bench *bench, struct figures *figures,
                    struct bench_result *result)
{
    struct kvt_fs_counters before;
    struct kvt_fs_counters after;
    uint64_t device = device_bytes();
    kvt_fs_counters(bench->mount, &before);
    int rc = bench->row->ours(bench, result);
    kvt_fs_counters(bench->mount, &after);
    struct kvt_fs_counters *sum = &figures->counters;
    sum->submissions += after.submissions - before.submissions;
    sum->transfers += after.transfers - before.transfers;
    sum->bytes_copied += after.bytes_copied - before.bytes_copied;
    sum->in_flight_max = after.in_flight_max;
    figures->device_bytes += device_bytes() - device;
    figures->operations += result->operations;
    figures->bytes += result->bytes;
    return rc;
}

static int run_pair(struct bench *bench, struct figures *figures)
{
    const struct bench_row *row = bench->row;
    struct bench_result ours = {0};
    struct bench_result other = {0};
    size_t i = figures->count;
    bool first = i % 2 == 0; /* A B, B A, A B, ... */
    int rc = first ? run_ours(bench, figures, &ours) : 0;
    if (rc == 0 && row->other != NULL) {
        rc = row->other(bench, &other);
    }
    if (rc == 0 && !first) {
        rc = run_ours(bench, figures, &ours);
    }
    if (rc != 0) {
        return rc;
    }
    figures->ours[i] = rate(&ours);
    figures->ours_cpu[i] = cpu(&ours);
    if (row->other != NULL) {
        figures->other[i] = rate(&other);
        figures->other_cpu[i] = cpu(&other);
        figures->ratios[i] = figures->ours[i] / figures->other[i];
    }
    figures->count++;
    return 0;
}

static int mount_for(struct bench *bench)
{
    struct kvt_error err;
    struct kvt_config *config = kvt_config_open();
    char depth[16];
    snprintf(depth, sizeof depth, "%u", bench->row->depth);
    const char *direct = bench->row->cache == BENCH_DIRECT ? "on" : "off";
    struct kvt_fs_mount_args args = {
        .size = sizeof args, .root = bench->dir, .config = config};
    int rc = config != NULL ? 0 : -1;
    if (rc == 0) {
        rc = kvt_config_set(config, "direct", direct, &err);
    }
    if (rc == 0) {
        rc = kvt_config_set(config, "threads", depth, &err);
    }
    if (rc == 0) {
        rc = kvt_fs_mount(bench->fs, &args, &bench->mount, &err);
    }
    kvt_config_close(config);
    return rc == 0 ? 0 : bench_fail(bench, "%s: %s", bench->fs, err.message);
}

/* A first pair, that is thrown away, touches all memory and files. */
static int measure(struct bench *bench, unsigned pairs, struct figures *figures)
{
    if (mount_for(bench) != 0) {
        return -1;
    }
    int rc = bench->row->setup(bench);
    if (rc == 0) {
        rc = run_pair(bench, figures);
        memset(figures, 0, sizeof *figures);
        while (rc == 0 && figures->count < pairs) {
            rc = run_pair(bench, figures);
        }
    }
    bench->row->teardown(bench);
    kvt_fs_unmount(bench->mount);
    return rc;
}

/* Output ------------------------------------------------------------------ */

static const char *const cache_names[] = {"-", "warm", "cold", "direct"};

/* A quoted field: one line, whatever a program said. */
static void print_text(FILE *csv, const char *text)
{
    fputc('"', csv);
    for (; *text != '\0'; text++) {
        if (*text == '"') {
            fputc('"', csv);
        }
        fputc(*text == '\n' ? ' ' : *text, csv);
    }
    fputc('"', csv);
}

static void print_ratio(FILE *csv, const struct spread *ratio)
{
    if (ratio->bounded) {
        fprintf(csv, "%.3f,%.3f,%.3f,", ratio->low, ratio->median, ratio->high);
    } else {
        fprintf(csv, ",%.3f,,", ratio->median);
    }
}

static void print_csv(FILE *csv, const struct bench *bench,
                      struct figures *figures)
{
    const struct bench_row *row = bench->row;
    struct spread ratio = spread_of(figures->ratios, figures->count);
    double ours = spread_of(figures->ours, figures->count).median;
    double other = spread_of(figures->other, figures->count).median;
    double size = (double)row->size / (1 << 20);
    fprintf(csv, "%s,%s,%s,%llu,%u,%u,%s,%zu,%.1f,%.1f,%.2f,%.2f,", row->name,
            bench->fs, cache_names[row->cache], (unsigned long long)row->size,
            row->depth, row->other_threads,
            row->other != NULL ? row->other_name : "", figures->count, ours,
            other, ours * size, other * size);
    if (row->other != NULL && figures->count > 0) {
        print_ratio(csv, &ratio);
    } else {
        fprintf(csv, ",,,");
    }
    fprintf(csv, "%.3f,%.3f,%llu,%llu,%llu,%llu,%llu,%llu,%llu,",
            spread_of(figures->ours_cpu, figures->count).median * 1e6,
            spread_of(figures->other_cpu, figures->count).median * 1e6,
            (unsigned long long)figures->operations,
            (unsigned long long)figures->bytes,
            (unsigned long long)figures->device_bytes,
            (unsigned long long)figures->counters.submissions,
            (unsigned long long)figures->counters.transfers,
            (unsigned long long)figures->counters.bytes_copied,
            (unsigned long long)figures->counters.in_flight_max);
    print_text(csv, bench->other_command);
    fputc(',', csv);
    print_text(csv, bench->reason);
    fputc('\n', csv);
    fflush(csv);
}

static void print_row(const struct bench *bench, struct figures *figures)
{
    const struct bench_row *row = bench->row;
    printf("%-34s ", row->name);
    if (bench->reason[0] != '\0') {
        printf("not taken: %s\n", bench->reason);
        return;
    }
    double ours = spread_of(figures->ours, figures->count).median;
    double cpu_us = spread_of(figures->ours_cpu, figures->count).median * 1e6;
    if (row->other == NULL) {
        printf("%.1f ns each\n", 1e9 / ours);
        return;
    }
    struct spread ratio = spread_of(figures->ratios, figures->count);
    double other = spread_of(figures->other, figures->count).median;
    double other_cpu =
        spread_of(figures->other_cpu, figures->count).median * 1e6;
    char bounds[32] = "[six pairs?]";
    if (ratio.bounded) {
        snprintf(bounds, sizeof bounds, "[%.2f..%.2f]", ratio.low, ratio.high);
    }
    printf("%5.2f %s  %10.0f %10.0f /s  cpu %.2f %.2f us\n", ratio.median,
           bounds, ours, other, cpu_us, other_cpu);
    fflush(stdout);
}

static FILE *open_csv(const char *path)
{
    FILE *csv = fopen(path, "w");
    if (csv == NULL) {
        perror(path);
        return NULL;
    }
    fprintf(csv, "row,fs,cache,size,depth,other_threads,other,pairs,"
                 "ours_ops_s,other_ops_s,ours_mib_s,other_mib_s,ratio_low,"
                 "ratio_median,ratio_high,ours_cpu_us,other_cpu_us,"
                 "operations,bytes,device_bytes_read,submissions,transfers,"
                 "bytes_copied,in_flight_max,"
                 "other_command,not_taken\n");
    return csv;
}

static bool run_row(const struct bench_options *options,
                    const struct bench_row *row, FILE *csv)
{
    static struct figures figures;
    struct bench bench = {.dir = options->dir,
                          .fs = options->fs,
                          .scale = options->scale,
                          .row = row};
    memset(&figures, 0, sizeof figures);
    bool taken = measure(&bench, options->pairs, &figures) == 0;
    if (!taken) {
        memset(&figures, 0, sizeof figures); /* in part is none */
    }
    print_row(&bench, &figures);
    if (csv != NULL) {
        print_csv(csv, &bench, &figures);
    }
    return taken;
}

/* Runs those rows of a group that are wanted; returns how many were. */
static size_t run_group(const struct bench_options *options,
                        struct bench_group group, FILE *csv)
{
    size_t taken = 0;
    for (size_t i = 0; i < group.count; i++) {
        const struct bench_row *row = &group.rows[i];
        if (options->only != NULL && strstr(row->name, options->only) == NULL) {
            continue;
        }
        if (options->list) {
            puts(row->name);
            taken++;
        } else {
            taken += run_row(options, row, csv);
        }
    }
    return taken;
}

int bench_run(const struct bench_options *options)
{
    FILE *csv = options->csv != NULL ? open_csv(options->csv) : NULL;
    size_t taken = 0;
    if (options->csv != NULL && csv == NULL) {
        return 1;
    }
    if (!options->list) {
        printf("%-34s ratio [95 %% bounds]     ours      other"
               "     (above 1: ours is faster)\n",
               "row");
    }
    for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
        taken += run_group(options, groups[g](), csv);
    }
    if (csv != NULL) {
        fclose(csv);
    }
    return taken > 0 ? 0 : 1;
}
