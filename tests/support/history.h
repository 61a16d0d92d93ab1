/* What threads did to keys, and whether one order of it explains what they saw:
 * a key is a register whose versions are all different, and which may forget
 * what it holds at any time (a miss proves nothing). */
#ifndef KVT_TESTS_HISTORY_H
#define KVT_TESTS_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum history_kind {
    HISTORY_WRITE = 1, /* acknowledged */
    HISTORY_FAILED,    /* a write that was refused: never to be seen */
    HISTORY_UNKNOWN,   /* a write that may have happened, even later */
    HISTORY_REMOVE,    /* acknowledged */
    HISTORY_READ,      /* of that version */
};

struct history_op {
    enum history_kind kind;
    uint64_t key;
    uint64_t version; /* of a key each is written once; unused by REMOVE */
    /* by history_now, before the call and after it; in a history of one's own,
     * any numbers that grow */
    uint64_t start;
    uint64_t end;
};

/* Filled by any number of threads. */
struct history {
    struct history_op *ops;
    size_t max;
    size_t count; /* atomic */
    uint64_t now; /* atomic */
};

void history_init(struct history *history, size_t max);
void history_fini(struct history *history);
/* The next moment: no other has it. */
uint64_t history_now(struct history *history);
/* Adds an operation that began at `start` and is over now. */
void history_add(struct history *history, enum history_kind kind, uint64_t key,
                 uint64_t version, uint64_t start);

/* True when the operations can be put into an order in which each lies between
 * its start and its end, and each read sees the last write before it, with no
 * remove in between. Otherwise `why` says what contradicts. Sorts them. */
bool history_is_linear(struct history_op *ops, size_t count, char *why,
                       size_t why_size);

#endif
