#include "core/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t kvt_hash_xxh64(const void *data, size_t size, uint64_t seed)
{
    return XXH64(data, size, seed);
}

uint64_t kvt_hash64(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}

struct kvt_hash128 kvt_hash128(const void *data, size_t size)
{
    XXH128_hash_t hash = XXH3_128bits(data, size);
    return (struct kvt_hash128){hash.low64, hash.high64};
}

uint64_t kvt_hash_slices(const struct kvt_slice *slices, size_t count,
                         uint64_t size, uint64_t seed)
{
    /* the common case needs no streaming state */
    if (count > 0 && slices[0].size >= size && slices[0].size > 0) {
        return XXH3_64bits_withSeed(slices[0].base, (size_t)size, seed);
    }
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
