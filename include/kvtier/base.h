/*
 * kvtier/base.h - words that every other header uses.
 *
 * Sizes and offsets are bytes. Functions marked KVT_API are the library's
 * exported interface; nothing else leaves the shared object.
 */
#ifndef KVTIER_BASE_H
#define KVTIER_BASE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define KVT_API __attribute__((visibility("default")))
#define KVT_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#else
#define KVT_API
#define KVT_PRINTF(fmt, first)
#endif

#define KVT_KEY_SIZE_MAX 4096u

/* Memory that the file system moves without a copy; see kvtier/fs.h. */
struct kvt_mem;

/* One piece of memory of an object. `mem` is the registered memory that the
 * piece lies in, or null for any other memory. A slice of size 0 is allowed
 * and its base is then not looked at. */
struct kvt_slice {
    void *base;
    size_t size;
    struct kvt_mem *mem;
};

/* A key: 1 to KVT_KEY_SIZE_MAX bytes of any value, not NUL-terminated. */
struct kvt_key {
    const void *data;
    size_t size;
};

#endif
