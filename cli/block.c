#include "block.h"

#include <string.h>

/* The finalizer of splitmix64 (Vigna 2015): a bijection. */
static uint64_t mix(uint64_t value)
{
    value ^= value >> 30;
    value *= UINT64_C(0xbf58476d1ce4e5b9);
    value ^= value >> 27;
    value *= UINT64_C(0x94d049bb133111eb);
    return value ^ value >> 31;
}

/* A bijection of the seed for every index, so that words of different ids
 * never agree; one multiplication, so that memory is the limit. */
static uint64_t word(uint64_t seed, uint64_t index)
{
    uint64_t value = seed + index * UINT64_C(0x9e3779b97f4a7c15);
    value ^= value >> 32;
    value *= UINT64_C(0xd6e8feb86659fd93);
    return value ^ value >> 29;
}

static uint64_t seed_of(uint64_t id)
{
    return mix(id + UINT64_C(0x6b76746965720001));
}

static char *hex_put(char *at, uint64_t value)
{
    for (int shift = 60; shift >= 0; shift -= 4) {
        *at++ = "0123456789abcdef"[value >> shift & 0xf];
    }
    return at;
}

void cli_block_key(uint64_t id, size_t block_size, char key[CLI_BLOCK_KEY_SIZE])
{
    memcpy(key, "kv-", 3);
    char *at = hex_put(key + 3, id);
    *at++ = '-';
    hex_put(at, mix(seed_of(id) ^ block_size));
}

void cli_block_fill(uint64_t id, void *data, size_t size)
{
    unsigned char *bytes = data;
    uint64_t seed = seed_of(id);
    size_t count = size / 8;
    for (size_t i = 0; i < count; i++) {
        uint64_t value = word(seed, i);
        memcpy(bytes + i * 8, &value, 8);
    }
    uint64_t value = word(seed, count);
    memcpy(bytes + count * 8, &value, size % 8);
}

bool cli_block_check(uint64_t id, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    uint64_t seed = seed_of(id);
    size_t count = size / 8;
    uint64_t difference = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t value;
        memcpy(&value, bytes + i * 8, 8);
        difference |= value ^ word(seed, i);
    }
    uint64_t value = word(seed, count);
    return difference == 0 && memcmp(bytes + count * 8, &value, size % 8) == 0;
}
