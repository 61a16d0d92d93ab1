/* The page cache: emptied, and looked at that it really is. */
#ifndef KVT_BENCH_CACHES_H
#define KVT_BENCH_CACHES_H

#include "harness.h"

/* Writes back and drops all clean caches of the machine (root). */
int caches_drop(struct bench *bench);

/* How much of a file is in the page cache, 0 to 1, or -1 with the reason. */
double caches_share(struct bench *bench, const char *path);

/* Reads a file until all of it is in the page cache. */
int caches_warm(struct bench *bench, const char *path);

#endif
