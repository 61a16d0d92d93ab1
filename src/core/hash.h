/* Hashes, from xxHash (https://xxhash.com): XXH64 for the mapping of keys to
 * directories, XXH3 for keys in memory and for check values. */
#ifndef KVT_CORE_HASH_H
#define KVT_CORE_HASH_H

#include <kvtier/base.h>
#include <stdint.h>

struct kvt_hash128 {
    uint64_t low;
    uint64_t high;
};

/* XXH64 of `size` bytes. */
uint64_t kvt_hash_xxh64(const void *data, size_t size, uint64_t seed);

/* XXH3, 64 and 128 bits. */
uint64_t kvt_hash64(const void *data, size_t size, uint64_t seed);
struct kvt_hash128 kvt_hash128(const void *data, size_t size);

/* XXH3, 64 bits, over the first `size` bytes of the slices, which hold at
 * least that much. */
uint64_t kvt_hash_slices(const struct kvt_slice *slices, size_t count,
                         uint64_t size, uint64_t seed);

#endif
