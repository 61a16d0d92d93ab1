/* What the reader in tests/reference, which knows docs/format.md and nothing
 * else, finds in a store, beside what the library finds there. */
#ifndef KVT_TESTS_REFERENCE_H
#define KVT_TESTS_REFERENCE_H

#include <stdbool.h>

enum reference_answer {
    REFERENCE_AGREES,
    REFERENCE_DIFFERS, /* says how on stdout */
    REFERENCE_REFUSES, /* one of them does not read it; says why */
    REFERENCE_MISSING, /* cannot run here; says why */
};

/* Reads the files of a bucket store that nobody has open, first by the reader
 * and then as its next owner, which may change them. */
enum reference_answer reference_compare(const char *path);

#endif
