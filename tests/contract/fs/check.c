/* A check that does not hold prints one line and ends the process. */
#include "contract.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *running = "";
static pthread_mutex_t failing = PTHREAD_MUTEX_INITIALIZER;

void contract_running(const char *name)
{
    running = name;
}

void contract_fail(const char *file, int line, const char *format, ...)
{
    pthread_mutex_lock(&failing); /* the first thread tells, and ends all */
    const char *slash = strrchr(file, '/');
    va_list args;
    va_start(args, format);
    printf("FAIL %s: %s:%d: ", running, slash != NULL ? slash + 1 : file, line);
    vprintf(format, args);
    printf("\n");
    va_end(args);
    fflush(stdout);
    _exit(STATUS_FAILED);
}

/* "-ENOENT", "17". */
static const char *result_text(int64_t result, char *text, size_t size)
{
    if (result < 0 && result > -4096) {
        snprintf(text, size, "-%s", kvt_errno_name((int)-result));
    } else {
        snprintf(text, size, "%lld", (long long)result);
    }
    return text;
}

void contract_expect(const char *file, int line, const char *what,
                     int64_t expected, int64_t got)
{
    char a[32];
    char b[32];
    if (expected != got) {
        contract_fail(file, line, "%s, expected %s, got %s", what,
                      result_text(expected, a, sizeof a),
                      result_text(got, b, sizeof b));
    }
}

void contract_expect_any(const char *file, int line, const char *what,
                         int64_t expected, int64_t other, int64_t got)
{
    char a[32];
    char b[32];
    char o[32];
    if (expected != got && other != got) {
        contract_fail(file, line, "%s, expected %s or %s, got %s", what,
                      result_text(expected, a, sizeof a),
                      result_text(other, o, sizeof o),
                      result_text(got, b, sizeof b));
    }
}

void contract_expect_error(const char *file, int line, const char *what,
                           int64_t got)
{
    if (got >= 0) {
        contract_fail(file, line, "%s, expected an error, got %lld", what,
                      (long long)got);
    }
}

void contract_expect_true(const char *file, int line, const char *what,
                          bool holds)
{
    if (!holds) {
        contract_fail(file, line, "%s, expected true, got false", what);
    }
}

void contract_expect_pattern(const char *file, int line, const char *what,
                             uint64_t seed, uint64_t offset, const void *bytes,
                             size_t size)
{
    size_t at = pattern_differs(seed, offset, bytes, size);
    if (at < size) {
        unsigned char wanted;
        pattern_fill(seed, offset + at, &wanted, 1);
        contract_fail(file, line,
                      "%s, byte %zu of %zu (file offset %llu), expected "
                      "0x%02x, got 0x%02x",
                      what, at, size, (unsigned long long)(offset + at), wanted,
                      ((const unsigned char *)bytes)[at]);
    }
}

/* Eight bytes at a time; the multipliers are those of splitmix64. */
static uint64_t pattern_word(uint64_t seed, uint64_t word)
{
    uint64_t x = (word + 1) * 0x9e3779b97f4a7c15u + seed * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    return x ^ x >> 27;
}

static unsigned char pattern_byte(uint64_t seed, uint64_t offset)
{
    return (unsigned char)(pattern_word(seed, offset / 8) >> offset % 8 * 8);
}

void pattern_fill(uint64_t seed, uint64_t offset, void *bytes, size_t size)
{
    unsigned char *to = bytes;
    size_t i = 0;
    while (i < size) {
        if ((offset + i) % 8 == 0 && size - i >= 8) {
            uint64_t word = pattern_word(seed, (offset + i) / 8);
            for (unsigned b = 0; b < 8; b++) {
                to[i + b] = (unsigned char)(word >> b * 8);
            }
            i += 8;
        } else {
            to[i] = pattern_byte(seed, offset + i);
            i++;
        }
    }
}

size_t pattern_differs(uint64_t seed, uint64_t offset, const void *bytes,
                       size_t size)
{
    unsigned char wanted[4096];
    for (size_t at = 0; at < size; at += sizeof wanted) {
        size_t part = size - at < sizeof wanted ? size - at : sizeof wanted;
        const unsigned char *got = (const unsigned char *)bytes + at;
        pattern_fill(seed, offset + at, wanted, part);
        for (size_t i = 0; memcmp(wanted, got, part) != 0 && i < part; i++) {
            if (wanted[i] != got[i]) {
                return at + i;
            }
        }
    }
    return size;
}
