/* The page cache: emptied, and looked at that it really is. */
#ifndef KVT_BENCH_CACHES_H
#define KVT_BENCH_CACHES_H

#include "harness.h"

/* Writes back and drops all clean caches of the machine (root). */
int caches_drop(struct bench *bench);

/* How much of a file is in the page cache, 0 to 1, or -1 with the reason. */
double caches_share(struct bench *bench, const char *path);

/* Reads a file until all of it is in the page cache; nothing when it is. */
int caches_warm(struct bench *bench, const char *path);

/* 0 when none of the file is in the page cache (`wanted` 0), or all of it
 * (1); otherwise -1 with the reason. */
int caches_check(struct bench *bench, const char *path, double wanted);

/* Bytes that this process, and the programs that it waited for, had devices
 * read, and write; -1 where the kernel keeps no such count. */
int64_t caches_device_read(void);
int64_t caches_device_written(void);

/* Bytes that read or write calls of this process, and of those programs,
 * moved: 0 where the kernel keeps no count. */
uint64_t caches_moved(bool reads);

/* Were the bytes of a side where the row says: from the device when cold or
 * direct, not when warm? `code` bytes may be those of code. 0, or -1 with the
 * reason. Where nothing is counted, as on a file system without a device, it is
 * 0. */
int caches_prove(struct bench *bench, const struct bench_result *result,
                 uint64_t code);

#endif
