#include "core/hash.h"

#include "core/hash_long.h"

static const struct kvt_hash_long common = {kvt_hash_long_bytes,
                                            kvt_hash_long_slices};

/* For this processor. */
static const struct kvt_hash_long *choose(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f")) {
        return &kvt_hash_avx512;
    }
    if (__builtin_cpu_supports("avx2")) {
        return &kvt_hash_avx2;
    }
#endif
    return &common;
}

static const struct kvt_hash_long *for_long(void)
{
    static const struct kvt_hash_long *chosen;
    const struct kvt_hash_long *now =
        __atomic_load_n(&chosen, __ATOMIC_RELAXED);
    if (now == NULL) {
        now = choose();
        __atomic_store_n(&chosen, now, __ATOMIC_RELAXED);
    }
    return now;
}

uint64_t kvt_hash_xxh64(const void *data, size_t size, uint64_t seed)
{
    return XXH64(data, size, seed);
}

uint64_t kvt_hash64(const void *data, size_t size, uint64_t seed)
{
    /* up to there XXH3 has no vectors */
    return size <= XXH3_MIDSIZE_MAX ? XXH3_64bits_withSeed(data, size, seed)
                                    : for_long()->bytes(data, size, seed);
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
        return kvt_hash64(slices[0].base, (size_t)size, seed);
    }
    return for_long()->slices(slices, count, size, seed);
}
