/* What an opening read, by its trace, and the same reads once more, without
 * the library. */
#ifndef KVT_BENCH_REPLAY_H
#define KVT_BENCH_REPLAY_H

#include "harness.h"

/* Bytes of files, by their number and start. */
struct range {
    uint64_t file;
    uint64_t start;
    uint64_t end;
};

struct ranges {
    struct range *ranges;
    size_t count;
    size_t capacity;
};

/* Adds bytes behind those that were added before, or of another file. 0 or
 * -1. */
int ranges_add(struct ranges *ranges, uint64_t file, uint64_t start,
               uint64_t size);
void ranges_free(struct ranges *ranges);

struct replay_read {
    char *path;
    uint64_t offset;
    size_t size;
};

struct replay {
    uint64_t memory; /* bytes that are touched in the end, by who uses this */
    struct replay_read *reads; /* by path and offset */
    size_t count;
    size_t capacity;
    uint64_t bytes; /* of all reads */
};

/* Takes the reads of a trace (the wrapper's); its paths are below `root`. */
int replay_learn(struct bench *bench, struct replay *replay, const char *root,
                 const char *trace);
void replay_free(struct replay *replay);
/* How many of the read bytes lie in ranges of bucket files. */
uint64_t replay_overlap(const struct replay *replay,
                        const struct ranges *ranges);
/* Reads all into fresh memory and touches what is left of that; takes the
 * time. */
int replay_run(struct bench *bench, const struct replay *replay,
               struct bench_result *result);

#endif
