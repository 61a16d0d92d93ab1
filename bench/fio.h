/* fio as the other side of a row. */
#ifndef KVT_BENCH_FIO_H
#define KVT_BENCH_FIO_H

#include "harness.h"

struct fio_job {
    const char *path;
    const char *engine; /* "psync", "io_uring" */
    uint64_t size;      /* of one operation; 0: the row's */
    uint64_t region;    /* bytes of each job, one behind the other */
    uint32_t jobs;      /* threads */
    uint32_t depth;     /* of each */
    bool batch;         /* submits `depth` at once, and waits for all */
    uint32_t loops;
    const char *const *more; /* paths of further files, or null */
    size_t more_count;
    bool random;
    uint64_t total;      /* bytes; 0: all, `loops` times */
    uint32_t sync_every; /* writes; 0: never */
    bool fresh;          /* the file is not there yet: makes it, with room */
};

/* Runs it; what fio itself says of its time. */
int fio_run(struct bench *bench, const struct fio_job *job,
            struct bench_result *result);

#endif
