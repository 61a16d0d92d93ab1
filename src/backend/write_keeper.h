/* Keeps what a store has written today over restarts, in `.kvtier/written`. A
 * thread of its own writes it, so that no offload ever waits for that: after a
 * 64th of the budget, after a minute, and at the end. A store that was killed
 * in between finds a 64th more than it knew of. */
#ifndef KVT_BACKEND_WRITE_KEEPER_H
#define KVT_BACKEND_WRITE_KEEPER_H

#include "backend/backend.h"

struct kvt_write_keeper {
    struct kvt_write_budget budget;
    struct kvt_backend *backend; /* null until it was started */
    bool running;
    bool stop;    /* under the budget's mutex */
    bool failing; /* the last save failed, and that was said */
    pthread_t thread;
};

/* A limit of 0 is none: nothing is counted then, and nothing kept. */
void kvt_write_keeper_init(struct kvt_write_keeper *keeper, uint64_t limit);
/* Finds what is kept and starts to keep, once the backend is open, unless the
 * root is one of many hosts: their counts would be one another's. 0 or
 * -errno. */
int kvt_write_keeper_start(struct kvt_write_keeper *keeper,
                           struct kvt_backend *backend);
/* Before the backend is closed, if it was opened. */
void kvt_write_keeper_stop(struct kvt_write_keeper *keeper);

#endif
