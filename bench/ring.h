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

#endif
