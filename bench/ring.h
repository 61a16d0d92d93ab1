/* A bare loop over a ring of io_uring, as the other side of a row. */
#ifndef KVT_BENCH_RING_H
#define KVT_BENCH_RING_H

#include "harness.h"

struct ring_job {
    const char *path;
    bool write;
    uint64_t size;
    uint32_t depth;
    uint64_t end; /* bytes of the file that it goes through, once */
    char *memory; /* `size` bytes for each place of the depth */
};

/* Direct I/O, one thread, nothing registered: submits what it has and waits
 * for one completion, in one system call. */
int ring_run(struct bench *bench, const struct ring_job *job,
             struct bench_result *result);

struct ring_place {
    int fd; /* open for direct I/O */
    uint64_t offset;
};

/* Reads of `size` bytes at places, `depth` at a time: submits them and waits
 * for all, in one system call, and looks at each as it comes. `places` has a
 * multiple of the depth. */
int ring_read(struct bench *bench, const struct ring_job *job,
              const struct ring_place *places, uint64_t count,
              void (*look)(const char *bytes, uint64_t size),
              struct bench_result *result);

#endif
