/* System calls of a side, counted by ptrace(2) in a run of its own: being
 * watched makes them slow, so that nothing is timed there. */
#ifndef KVT_BENCH_CALLS_H
#define KVT_BENCH_CALLS_H

#include <stdint.h>

/* Runs `body` in a child and counts the system calls of all its threads
 * between calls_mark and the next calls_mark. Returns what `body` returned,
 * with `*calls` set, or -1 where a process may not be watched. */
int calls_count(int (*body)(void *arg), void *arg, uint64_t *calls);

/* For the clock of the sides. Nothing outside of such a run. */
void calls_mark(void);

#endif
