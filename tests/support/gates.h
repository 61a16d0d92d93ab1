/* Gates that hold calls on files of buckets, so that what happens meanwhile
 * does not depend on how fast the machine is. A test whose store is on
 * `fault:posix` lets calls pass them from a __wrap_kvt_fault_rules_match. One
 * mutex is that of all gates, and of what else threads tell each other. */
#ifndef KVT_TESTS_GATES_H
#define KVT_TESTS_GATES_H

#include "support/store_fixture.h"

#include "fs/fault_rules.h"

#include <pthread.h>

enum {
    GATES_PATIENCE_S = 20, /* then what was waited for does not come */
    GATES_VALUE_SIZE = 20000,
};

/* Holds calls of its kind behind the first `let_by`, at most `most`. */
struct gate {
    bool shut;
    enum kvt_rule_op op;
    unsigned let_by;
    unsigned most;
    unsigned came; /* since it was shut */
};
extern struct gate opens, writes, reads, syncs, removals;
extern struct gate listings; /* of directories, not of buckets */

void gates_pass(enum kvt_rule_op op, const char *path);
void gate_shut(struct gate *gate, unsigned let_by, unsigned most);
void gate_open(struct gate *gate);

/* Waits until a number is at least that, or for too long: false. */
bool gates_wait(const unsigned *number, unsigned least);
/* Makes it one more. */
void gates_tell(unsigned *number);

/* One object that a thread puts or loads, or a batch with a deadline. */
struct gated_call {
    struct kvt_store *store;
    struct kvt_object object;
    struct kvt_slice slice;
    struct kvt_batch_options options;
    pthread_t thread;
    unsigned char bytes[GATES_VALUE_SIZE];
};
void gated_prepare(struct gated_call *call, struct kvt_store *store,
                   const char *key, uint64_t seed, uint32_t deadline_ms);
/* Of a thread; `arg` is the call. */
void *gated_put(void *arg);
void *gated_load(void *arg);

#endif
