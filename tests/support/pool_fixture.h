/* Queues over an adapter that only has `execute`, and counts: what an element
 * of it does is its `offset`. */
#ifndef KVT_TESTS_POOL_FIXTURE_H
#define KVT_TESTS_POOL_FIXTURE_H

#include "support/unit.h"

#include "fs/fs_core.h"

#include <pthread.h>

#define MS INT64_C(1000000)

enum {
    THREADS = 4,
    ELEMS = 64,
};

enum work {
    WORK_NOTHING,
    WORK_FAIL,  /* -EUCLEAN */
    WORK_SLEEP, /* 1 ms */
    WORK_GATE,  /* until the gate is open */
    WORK_SHORT, /* a write that is one byte short */
};

struct counting_fs {
    struct kvt_fs fs;
    struct kvt_fs_core core;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* under mutex */
    bool gate_open;
    size_t asked; /* whether it can be done at once */
    size_t running;
    size_t running_max;
    size_t started;
    pthread_t last_on;                    /* the thread that started the last */
    struct kvt_fs_elem *order[ELEMS * 8]; /* as they were started */
};

struct fixture {
    struct counting_fs counting;
    struct kvt_fs_elem elems[ELEMS];
    size_t done_count;
    size_t order[ELEMS]; /* the elements' numbers, as they were done */
};

/* cmocka's setup and teardown: `*state` is a struct fixture *. */
int pool_setup(void **state);
/* The adapter has a `try_now`: WORK_NOTHING does not wait. */
int pool_setup_now(void **state);
int pool_teardown(void **state);

/* For what waits at the gate, and whatever comes behind. */
void pool_open_gate(struct fixture *f);
struct kvt_fs_queue *pool_open_queue(struct fixture *f, bool poll_works);
/* Polls until nothing is in flight. */
void pool_drain(struct kvt_fs_queue *queue);
void pool_set_work(struct fixture *f, size_t from, size_t count,
                   enum work work);
/* Waits until `count` elements have been started, at most two seconds. */
size_t pool_wait_for_started(struct fixture *f, size_t count);

#endif
