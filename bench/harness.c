#include "harness.h"

#include "caches.h"
#include "calls.h"
#include "command.h"
#include "report.h"

#include <kvtier/kvtier.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static struct bench_group (*const groups[])(void) = {
    bench_boundary_rows,    bench_transfer_rows, bench_fetch_rows,
    bench_distributed_rows, bench_bucket_rows,   bench_large_rows,
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

static struct bench_clock take_time(void)
{
    struct timespec now;
    struct rusage usage;
    clock_gettime(CLOCK_MONOTONIC, &now);
    getrusage(RUSAGE_SELF, &usage);
    return (struct bench_clock){(double)now.tv_sec + (double)now.tv_nsec / 1e9,
                                seconds_of(usage.ru_utime) +
                                    seconds_of(usage.ru_stime)};
}

struct bench_clock bench_start(void)
{
    struct bench_clock start = take_time();
    calls_mark();
    return start;
}

void bench_stop(struct bench_clock start, struct bench_result *result)
{
    calls_mark();
    struct bench_clock end = take_time();
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

static void add(struct bench_result *sum, const struct bench_result *one)
{
    sum->operations += one->operations;
    sum->bytes += one->bytes;
    sum->device_bytes += one->device_bytes;
    sum->seen_bytes += one->seen_bytes;
    sum->in_flight_sum += one->in_flight_sum;
    sum->in_flight_looks += one->in_flight_looks;
}

static int run_other(struct bench *bench, struct bench_result *result)
{
    return bench->against != NULL
               ? command_against(bench, bench->against, result)
               : bench->row->other(bench, result);
}

/* Of a pair: one of its sides did not find its bytes where the row says. On a
 * machine with other users that happens; it says nothing of either side. */
enum {
    PAIR_MISPLACED = 1,
    /* that code itself may be read from, when its pages were dropped, too */
    CODE_BYTES = 4 << 20,
    PROGRAM_BYTES = 32 << 20
};

/* A side, and the proof that its bytes came from where the row says. 0,
 * PAIR_MISPLACED, or -1. */
static int run_side(struct bench *bench, bench_side_fn side,
                    struct bench_result *result)
{
    const struct bench_row *row = bench->row;
    int64_t (*count)(void) =
        row->op == KVT_FS_WRITE ? caches_device_written : caches_device_read;
    int64_t before = count();
    int rc = side(bench, result);
    result->device_bytes = before < 0 ? 0 : (uint64_t)(count() - before);
    if (rc != 0) {
        return -1;
    }
    bool program =
        side == run_other && (bench->against != NULL || !row->other_is_code);
    uint64_t code = program ? PROGRAM_BYTES : CODE_BYTES;
    return caches_prove(bench, result, code) == 0 ? 0 : PAIR_MISPLACED;
}

static int prepare(struct bench *bench)
{
    return bench->row->prepare != NULL ? bench->row->prepare(bench) : 0;
}

/* Of the row's store, which has a mount of its own, or of its mount. */
static void read_counters(const struct bench *bench,
                          struct kvt_fs_counters *counters)
{
    struct kvt_stats stats = {.size = sizeof stats};
    if (bench->store == NULL) {
        kvt_fs_counters(bench->mount, counters);
        return;
    }
    kvt_stats(bench->store, &stats);
    *counters =
        (struct kvt_fs_counters){.submissions = stats.adapter.submissions,
                                 .transfers = stats.adapter.transfers,
                                 .bytes_copied = stats.adapter.bytes_copied,
                                 .in_flight_max = stats.adapter.max_in_flight};
}

/* What our side counted comes in `counters`. What is done beside a store's
 * batches (by its keeper) while the side runs is its work, too; what `prepare`
 * does is not. */
static int run_ours(struct bench *bench, struct kvt_fs_counters *counters,
                    struct bench_result *result)
{
    struct kvt_fs_counters before;
    if (prepare(bench) != 0) {
        return -1;
    }
    read_counters(bench, &before);
    int rc = run_side(bench, bench->row->ours, result);
    read_counters(bench, counters);
    counters->submissions -= before.submissions;
    counters->transfers -= before.transfers;
    counters->bytes_copied -= before.bytes_copied;
    return rc;
}

static void add_counters(struct kvt_fs_counters *sum,
                         const struct kvt_fs_counters *one)
{
    sum->submissions += one->submissions;
    sum->transfers += one->transfers;
    sum->bytes_copied += one->bytes_copied;
    sum->in_flight_max = one->in_flight_max;
}

static bool has_other(const struct bench *bench)
{
    return bench->row->other != NULL || bench->against != NULL;
}

static int run_pair(struct bench *bench, struct figures *figures)
{
    struct bench_result ours = {0};
    struct bench_result other = {0};
    struct kvt_fs_counters counters;
    size_t i = figures->count;
    bool first = i % 2 == 0; /* A B, B A, A B, ... */
    int rc = first ? run_ours(bench, &counters, &ours) : 0;
    if (rc == 0 && has_other(bench)) {
        rc = prepare(bench);
        rc = rc == 0 ? run_side(bench, run_other, &other) : rc;
    }
    if (rc == 0 && !first) {
        rc = run_ours(bench, &counters, &ours);
    }
    if (rc != 0) {
        return rc;
    }
    add_counters(&figures->counters, &counters);
    add(&figures->ours_sum, &ours);
    add(&figures->other_sum, &other);
    figures->ours[i] = rate(&ours);
    figures->ours_cpu[i] = cpu(&ours);
    if (has_other(bench)) {
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
    }
    while (rc >= 0 && figures->count < pairs && figures->misplaced <= pairs) {
        rc = run_pair(bench, figures);
        figures->misplaced += rc == PAIR_MISPLACED;
    }
    if (rc >= 0 && figures->count == pairs) {
        bench->reason[0] = '\0'; /* of one that was left out */
        rc = 0;
    }
    bench->row->teardown(bench);
    kvt_fs_unmount(bench->mount);
    return rc;
}

/* System calls ------------------------------------------------------------ */

enum {
    WATCHED_PART = 16 /* of the work: each call is stopped twice */
};

/* One side, watched, and as often as it takes to have threads and memory
 * there before: in a process of its own. */
struct watched {
    struct bench bench;
    bench_side_fn side;
    int pipe; /* for the number of operations */
    unsigned runs;
};

static int run_watched(void *arg)
{
    struct watched *watched = arg;
    struct bench *bench = &watched->bench;
    struct bench_result result = {0};
    int rc = mount_for(bench);
    if (rc != 0) {
        return rc;
    }
    rc = bench->row->setup(bench);
    for (unsigned i = 0; i < watched->runs && rc == 0; i++) {
        rc = prepare(bench);
        rc = rc == 0 ? watched->side(bench, &result) : rc;
    }
    bench->row->teardown(bench);
    kvt_fs_unmount(bench->mount);
    if (write(watched->pipe, &result.operations, sizeof result.operations) !=
        (ssize_t)sizeof result.operations) {
        rc = -1;
    }
    return rc;
}

/* Of one operation: the difference of two runs and of one, so that what the
 * first one does once is not in it. Below 0 when it cannot be told. */
static double calls_of(const struct bench *bench, bench_side_fn side)
{
    struct watched watched = {.bench = *bench, .side = side};
    uint64_t calls[2] = {0};
    uint64_t operations = 0;
    int ends[2];
    watched.bench.scale *= WATCHED_PART;
    watched.bench.objects /= WATCHED_PART;
    if (side == NULL || pipe(ends) != 0) {
        return -1;
    }
    watched.pipe = ends[1];
    int rc = 0;
    for (unsigned i = 0; i < 2 && rc == 0; i++) {
        watched.runs = i + 1;
        rc = calls_count(run_watched, &watched, &calls[i]);
        if (rc == 0 && read(ends[0], &operations, sizeof operations) !=
                           (ssize_t)sizeof operations) {
            rc = -1;
        }
    }
    close(ends[0]);
    close(ends[1]);
    return rc == 0 && operations > 0 && calls[1] >= calls[0]
               ? (double)(calls[1] - calls[0]) / (double)operations
               : -1;
}

/* All rows ---------------------------------------------------------------- */

static bool run_row(const struct bench_options *options,
                    const struct bench_row *row, FILE *csv)
{
    static struct figures figures;
    struct bench bench = {.dir = options->dir,
                          .fs = options->fs,
                          .scale = options->scale,
                          .objects = options->objects / options->scale,
                          .against = options->against,
                          .row = row};
    memset(&figures, 0, sizeof figures);
    bool taken = measure(&bench, options->pairs, &figures) == 0;
    if (!taken) {
        memset(&figures, 0, sizeof figures); /* in part is none */
    }
    figures.ours_calls = taken ? calls_of(&bench, row->ours) : -1;
    figures.other_calls =
        taken && row->other_is_code && options->against == NULL
            ? calls_of(&bench, row->other)
            : -1;
    report_row(&bench, &figures);
    if (csv != NULL) {
        report_csv(csv, &bench, &figures);
    }
    return taken;
}

/* Runs those rows of a group that are wanted, and counts them, and those of
 * them that were taken. */
static void run_group(const struct bench_options *options,
                      struct bench_group group, FILE *csv, size_t *wanted,
                      size_t *taken)
{
    for (size_t i = 0; i < group.count; i++) {
        const struct bench_row *row = &group.rows[i];
        if (options->only != NULL && strstr(row->name, options->only) == NULL) {
            continue;
        }
        ++*wanted;
        if (options->list) {
            puts(row->name);
            ++*taken;
        } else {
            *taken += run_row(options, row, csv);
        }
    }
}

int bench_run(const struct bench_options *options)
{
    FILE *csv = options->csv != NULL ? report_open(options->csv) : NULL;
    size_t wanted = 0;
    size_t taken = 0;
    if (options->csv != NULL && csv == NULL) {
        return 1;
    }
    if (!options->list) {
        report_head();
    }
    for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
        run_group(options, groups[g](), csv, &wanted, &taken);
    }
    if (csv != NULL) {
        fclose(csv);
    }
    if (taken < wanted) {
        fprintf(stderr, "%zu of %zu rows were not taken\n", wanted - taken,
                wanted);
    }
    return wanted > 0 && taken == wanted ? 0 : 1;
}
