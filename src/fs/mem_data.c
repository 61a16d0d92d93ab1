/* Sparse contents of a file: memory in chunks that grow with what is written,
 * and a bit for every allocation unit that is charged. The two are apart: a
 * reserved unit needs no memory, and what is not yet committed no unit. */
#include "fs/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    LEAF_CHUNKS = 256
}; /* 16 MiB of a file */

/* The chunk at `index`, or null when there is nothing in it. */
static struct memfs_chunk *chunk_at(const struct memfs_data *data,
                                    uint64_t index)
{
    if (index == 0) {
        return (struct memfs_chunk *)(uintptr_t)&data->first;
    }
    uint64_t leaf = index / LEAF_CHUNKS;
    return leaf < data->leaf_count && data->leaves[leaf] != NULL
               ? &data->leaves[leaf][index % LEAF_CHUNKS]
               : NULL;
}

static struct memfs_chunk *chunk_make(struct memfs_data *data, uint64_t index)
{
    if (index == 0) {
        return &data->first;
    }
    uint64_t leaf = index / LEAF_CHUNKS;
    if (leaf >= data->leaf_count) {
        uint64_t count =
            data->leaf_count * 2 > leaf ? data->leaf_count * 2 : leaf + 1;
        struct memfs_chunk **leaves =
            realloc(data->leaves, (size_t)count * sizeof leaves[0]);
        if (leaves == NULL) {
            return NULL;
        }
        memset(leaves + data->leaf_count, 0,
               (size_t)(count - data->leaf_count) * sizeof leaves[0]);
        data->leaves = leaves;
        data->leaf_count = (uint32_t)count;
    }
    if (data->leaves[leaf] == NULL) {
        data->leaves[leaf] = calloc(LEAF_CHUNKS, sizeof(struct memfs_chunk));
    }
    return data->leaves[leaf] != NULL ? &data->leaves[leaf][index % LEAF_CHUNKS]
                                      : NULL;
}

/* Where [from, to) meets one chunk. */
struct part {
    uint64_t index;
    uint32_t from;
    uint32_t to;
};

static struct part part_at(uint64_t from, uint64_t to)
{
    struct part part = {from / MEMFS_CHUNK, (uint32_t)(from % MEMFS_CHUNK),
                        MEMFS_CHUNK};
    uint64_t left = to - from;
    if (left < MEMFS_CHUNK - part.from) {
        part.to = part.from + (uint32_t)left;
    }
    return part;
}

/* Charges ----------------------------------------------------------------- */

/* Bits of the units [from, to) of a chunk. */
static uint32_t bits(uint32_t from, uint32_t to)
{
    return from < to ? (uint32_t)(((UINT64_C(1) << (to - from)) - 1) << from)
                     : 0;
}

/* The units that a part touches. */
static uint32_t touched(struct part part)
{
    return bits(part.from / MEMFS_UNIT,
                (part.to + MEMFS_UNIT - 1) / MEMFS_UNIT);
}

/* The units that lie in a part as a whole. */
static uint32_t covered(struct part part)
{
    return bits((part.from + MEMFS_UNIT - 1) / MEMFS_UNIT,
                part.to / MEMFS_UNIT);
}

int kvt_memfs_data_reserve(struct memfs_disk *disk, struct memfs_data *data,
                           uint64_t from, uint64_t to)
{
    uint64_t missing = 0;
    struct part part;
    for (uint64_t at = from; at < to; at += part.to - part.from) {
        part = part_at(at, to);
        const struct memfs_chunk *chunk = chunk_make(data, part.index);
        if (chunk == NULL) {
            return -ENOMEM;
        }
        missing += (uint64_t)__builtin_popcount(touched(part) & ~chunk->units);
    }
    if (missing == 0) {
        return 0;
    }
    int rc = kvt_memfs_charge(disk, missing);
    if (rc != 0) {
        return rc;
    }
    data->units += missing;
    for (uint64_t at = from; at < to; at += part.to - part.from) {
        part = part_at(at, to);
        chunk_at(data, part.index)->units |= touched(part);
    }
    return 0;
}

/* Transfers --------------------------------------------------------------- */

/* Memory for [from, to), which the caller fills at once; what lies around it
 * is zero. */
static int chunk_grow(struct memfs_chunk *chunk, uint32_t from, uint32_t to)
{
    uint32_t old = chunk->capacity;
    if (to <= old) {
        return 0;
    }
    uint32_t capacity = (to > old * 2 ? to : old * 2) + 63;
    capacity -= capacity % 64;
    capacity = capacity < MEMFS_CHUNK ? capacity : MEMFS_CHUNK;
    unsigned char *bytes = realloc(chunk->bytes, capacity);
    if (bytes == NULL) {
        return -ENOMEM;
    }
    if (from > old) {
        memset(bytes + old, 0, from - old);
    }
    memset(bytes + to, 0, capacity - to);
    chunk->bytes = bytes;
    chunk->capacity = capacity;
    return 0;
}

int kvt_memfs_data_write(struct memfs_data *data, uint64_t offset,
                         const void *bytes, uint64_t size)
{
    const unsigned char *source = bytes;
    struct part part;
    for (uint64_t done = 0; done < size; done += part.to - part.from) {
        part = part_at(offset + done, offset + size);
        struct memfs_chunk *chunk = chunk_make(data, part.index);
        if (chunk == NULL || chunk_grow(chunk, part.from, part.to) != 0) {
            return -ENOMEM;
        }
        memcpy(chunk->bytes + part.from, source + done, part.to - part.from);
    }
    return 0;
}

/* Bytes of the part that there is memory for. */
static uint32_t stored(const struct memfs_chunk *chunk, struct part part)
{
    if (chunk == NULL || chunk->capacity <= part.from) {
        return 0;
    }
    uint32_t end = chunk->capacity < part.to ? chunk->capacity : part.to;
    return end - part.from;
}

void kvt_memfs_data_read(const struct memfs_data *data, uint64_t offset,
                         void *bytes, uint64_t size)
{
    unsigned char *target = bytes;
    struct part part;
    for (uint64_t done = 0; done < size; done += part.to - part.from) {
        part = part_at(offset + done, offset + size);
        const struct memfs_chunk *chunk = chunk_at(data, part.index);
        uint32_t count = stored(chunk, part);
        if (count > 0) {
            memcpy(target + done, chunk->bytes + part.from, count);
        }
        memset(target + done + count, 0, part.to - part.from - count);
    }
}

int kvt_memfs_data_copy(struct memfs_data *data,
                        const struct memfs_data *source, uint64_t from,
                        uint64_t to)
{
    struct part part;
    for (uint64_t at = from; at < to; at += part.to - part.from) {
        part = part_at(at, to);
        const struct memfs_chunk *chunk = chunk_at(source, part.index);
        uint32_t count = stored(chunk, part);
        if (count > 0 &&
            kvt_memfs_data_write(data, at, chunk->bytes + part.from, count)) {
            return -ENOMEM;
        }
    }
    return 0;
}

/* Freeing ----------------------------------------------------------------- */

static void chunk_punch(struct memfs_chunk *chunk, struct part part)
{
    uint32_t count = stored(chunk, part);
    if (count > 0) {
        memset(chunk->bytes + part.from, 0, count);
    }
    chunk->units &= ~covered(part);
    if (chunk->units == 0) {
        free(chunk->bytes);
        chunk->bytes = NULL;
        chunk->capacity = 0;
    }
}

void kvt_memfs_data_punch(struct memfs_disk *disk, struct memfs_data *data,
                          uint64_t from, uint64_t to)
{
    const uint64_t leaf_size = (uint64_t)LEAF_CHUNKS * MEMFS_CHUNK;
    uint64_t end =
        data->leaf_count > 0 ? data->leaf_count * leaf_size : MEMFS_CHUNK;
    to = to < end ? to : end;
    uint64_t freed = 0;
    for (uint64_t at = from; at < to;) {
        struct part part = part_at(at, to);
        struct memfs_chunk *chunk = chunk_at(data, part.index);
        if (chunk == NULL) {
            at += leaf_size - at % leaf_size;
            continue;
        }
        freed += (uint64_t)__builtin_popcount(chunk->units & covered(part));
        chunk_punch(chunk, part);
        at += part.to - part.from;
    }
    data->units -= freed;
    kvt_memfs_uncharge(disk, freed);
}

void kvt_memfs_data_fini(struct memfs_data *data)
{
    free(data->first.bytes);
    for (uint32_t leaf = 0; leaf < data->leaf_count; leaf++) {
        for (uint32_t i = 0; data->leaves[leaf] != NULL && i < LEAF_CHUNKS;
             i++) {
            free(data->leaves[leaf][i].bytes);
        }
        free(data->leaves[leaf]);
    }
    free(data->leaves);
}
