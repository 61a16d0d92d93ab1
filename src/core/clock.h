/* Time that only goes forward, and the time of day for people. */
#ifndef KVT_CORE_CLOCK_H
#define KVT_CORE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t kvt_clock_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static inline uint64_t kvt_clock_unix_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

#endif
