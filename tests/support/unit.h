/* What every unit test includes first: cmocka with the headers that it wants,
 * and random numbers that are the same on every run. */
#ifndef KVT_TESTS_UNIT_H
#define KVT_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* xorshift64* (Vigna, 2014): the next number; `*seed` is not 0. */
static inline uint64_t unit_random(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 0x2545f4914f6cdd1du;
}

static inline size_t unit_random_below(uint64_t *seed, size_t limit)
{
    return (size_t)((unit_random(seed) >> 16) % limit);
}

#endif
