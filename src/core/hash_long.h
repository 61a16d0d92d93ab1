/* XXH3 of long inputs, compiled once for each width of vectors that a
 * processor may have; hash.c chooses when it runs. The values are the same. */
#ifndef KVT_CORE_HASH_LONG_H
#define KVT_CORE_HASH_LONG_H

#include <kvtier/base.h>
#include <stdint.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct kvt_hash_long {
    uint64_t (*bytes)(const void *data, size_t size, uint64_t seed);
    uint64_t (*slices)(const struct kvt_slice *slices, size_t count,
                       uint64_t size, uint64_t seed);
};

extern const struct kvt_hash_long kvt_hash_avx2;
extern const struct kvt_hash_long kvt_hash_avx512;

static inline uint64_t kvt_hash_long_bytes(const void *data, size_t size,
                                           uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}

static inline uint64_t kvt_hash_long_slices(const struct kvt_slice *slices,
                                            size_t count, uint64_t size,
                                            uint64_t seed)
{
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_64bits_reset_withSeed(&state, seed);
    for (size_t i = 0; i < count && size > 0; i++) {
        size_t part = slices[i].size < size ? slices[i].size : (size_t)size;
        if (part > 0) {
            XXH3_64bits_update(&state, slices[i].base, part);
        }
        size -= part;
    }
    return XXH3_64bits_digest(&state);
}

#endif
