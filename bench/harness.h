/* Benchmarks by interleaved pairs. A row does the same work in two ways, ours
 * and another (a loop of system calls, or fio); what counts is the ratio of
 * the two rates of a pair, its median over the pairs, and the bounds of that.
 * docs/benchmarks.md says why and how to add a row. */
#ifndef KVT_BENCH_HARNESS_H
#define KVT_BENCH_HARNESS_H

#include <kvtier/fs.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bench_cache {
    BENCH_NONE,   /* no file at all */
    BENCH_WARM,   /* all of it in the page cache, from an earlier run */
    BENCH_COLD,   /* dropped before each side, looked at that it is */
    BENCH_DIRECT, /* past it */
};

/* What one side did. */
struct bench_result {
    double seconds;
    double cpu_seconds; /* user and system */
    uint64_t operations;
    uint64_t bytes;
    uint64_t device_bytes; /* read from, or written to a device: by the
                              harness */
    uint64_t seen_bytes;   /* that the read or write calls of a command of the
                              user's moved, which might do anything */
    /* in flight, looked at now and then: by bench_in_flight, or not at all */
    uint64_t in_flight_sum;
    uint64_t in_flight_looks;
};

struct bench_row;
struct kvt_store;

/* What a row runs with: the settings of the command line, and its state. */
struct bench {
    const char *dir;  /* of the files; absolute */
    const char *fs;   /* adapter under test */
    unsigned scale;   /* divides the work, for a quick look */
    uint64_t objects; /* of rows on large stores */
    const struct bench_row *row;
    struct kvt_fs *mount; /* `fs` on `dir`, for the time of the row */
    const char *against;  /* a command instead of the row's other side, or
                             null */
    /* set by `setup` */
    void *state;             /* the row's own */
    char path[4096];         /* the file, or the folder of the files */
    struct kvt_store *store; /* its counters are the row's; null: those of
                                `mount` */
    uint64_t operations;     /* of each side */
    uint64_t bytes;
    /* results */
    char other_command[1800]; /* when the other side is a program */
    char reason[256];         /* why a figure cannot be taken */
};

/* 0, or -1 with the reason in the struct bench. */
typedef int (*bench_fn)(struct bench *bench);
typedef int (*bench_side_fn)(struct bench *bench, struct bench_result *result);

struct bench_row {
    const char *name; /* "read/4KiB/depth1/warm/loop" */
    const char *other_name;
    const char *unit; /* what is counted, when no time is taken: a side's
                         operations are so many of it, in one second */
    enum bench_cache cache;
    enum kvt_fs_op op;
    uint64_t size; /* bytes of one operation */
    uint32_t depth;
    bool batch;  /* `depth` are submitted at once and all waited for, on both
                    sides; otherwise the next goes out when one is done */
    bool stream; /* the places of the depth share one sequence of blocks, as
                    those of one ring do; otherwise each has its own part */
    bool mount_memory; /* ours is kvt_mem_alloc's; the other's is any */
    uint32_t other_threads;
    bool other_is_code; /* of this program: its system calls can be counted */
    bench_fn setup;
    bench_fn prepare; /* before each side, not timed: caches. Null: nothing */
    bench_side_fn ours;
    bench_side_fn other; /* null: only a rate */
    bench_fn teardown;
};

/* Fills `reason`; returns -1. */
int bench_fail(struct bench *bench, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Wall and CPU time of a side, around its work. */
struct bench_clock {
    double wall;
    double cpu;
};
struct bench_clock bench_start(void);
void bench_stop(struct bench_clock start, struct bench_result *result);

/* Notes how many operations a side has in flight, at some moment. */
static inline void bench_in_flight(struct bench_result *result, size_t count)
{
    result->in_flight_sum += count;
    result->in_flight_looks++;
}

/* The rows of one file. */
struct bench_group {
    const struct bench_row *rows;
    size_t count;
};
struct bench_group bench_boundary_rows(void);
struct bench_group bench_transfer_rows(void);
struct bench_group bench_fetch_rows(void);
struct bench_group bench_distributed_rows(void);
struct bench_group bench_bucket_rows(void);
struct bench_group bench_large_rows(void);

struct bench_options {
    const char *dir;
    const char *fs;
    const char *only;    /* a part of the rows' names, or null */
    const char *csv;     /* a path, or null */
    const char *against; /* a command, or null */
    unsigned pairs;
    unsigned scale;
    unsigned objects;
    bool list; /* only names */
};

/* Runs the rows that are wanted and prints a table. 0, or 1 when a row could
 * not be taken, or there is none. */
int bench_run(const struct bench_options *options);

#endif
