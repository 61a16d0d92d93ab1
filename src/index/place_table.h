/* The tables of the place index: groups of 16 entries, a cache line of tags
 * and four of slots each. A full group spills into the next one and counts
 * what it spilled in the spare bits of its tags, so that most searches end
 * where they began (as in Facebook's F14). All words are read and written
 * atomically; who may write, the index says. */
#ifndef KVT_INDEX_PLACE_TABLE_H
#define KVT_INDEX_PLACE_TABLE_H

#include "index/place_index.h"

#include <stdalign.h>

enum {
    GROUP_SLOTS = 16,
    SLOT_WORDS = 4,
    GROUP_WORDS = GROUP_SLOTS * (1 + SLOT_WORDS),
    GROUPS_MAX = 560, /* of a table before it splits */
    LINE = 64,
    TAG_BITS = 31,
    HASH_BITS = 54,
};

#define USED UINT32_C(0x80000000) /* of a slot's second word */
#define SPILL                                                                  \
    UINT32_C(0x80000000) /* of a tag: one bit of the group's count             \
                          */
#define DEPTH_MAX 20u

/* A group: tags[GROUP_SLOTS], then slots[GROUP_SLOTS][SLOT_WORDS]. */
struct table {
    uint32_t groups;
    alignas(LINE) uint32_t words[];
};

static inline uint32_t load(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void store(uint32_t *word, uint32_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* Hashes ------------------------------------------------------------------ */

/* The part of a hash that an entry keeps; no tag is 0. */
static inline uint64_t kept(uint64_t hash)
{
    uint64_t bits = hash >> (64 - HASH_BITS);
    if ((bits & ~SPILL & UINT32_MAX) == 0) {
        bits |= 1;
    }
    return bits << (64 - HASH_BITS);
}

static inline uint32_t tag_of(uint64_t hash)
{
    return (uint32_t)(hash >> (64 - HASH_BITS)) & ~SPILL;
}

static inline uint32_t high_of(uint64_t hash)
{
    return (uint32_t)(hash >> (64 - HASH_BITS + TAG_BITS));
}

static inline uint32_t home_of(uint64_t hash, uint32_t depth, uint32_t groups)
{
    uint64_t bits = (hash << depth) >> 32;
    return (uint32_t)(bits * groups >> 32);
}

/* Tables ------------------------------------------------------------------ */

static inline size_t table_size(uint32_t groups)
{
    return sizeof(struct table) + kvt_index_image_size(groups);
}

static inline uint32_t *line_at(const struct table *table, uint32_t group)
{
    return (uint32_t *)&table->words[(size_t)group * GROUP_WORDS];
}

static inline uint32_t *slot_at(const struct table *table, uint32_t group,
                                uint32_t slot)
{
    return line_at(table, group) + GROUP_SLOTS + (size_t)slot * SLOT_WORDS;
}

static inline bool is_taken(const uint32_t *line, uint32_t slot)
{
    return (line[slot] & ~SPILL) != 0;
}

static inline uint64_t hash_at(const struct table *table, uint32_t group,
                               uint32_t slot)
{
    uint64_t high = slot_at(table, group, slot)[3] >> 8;
    uint64_t tag = line_at(table, group)[slot] & ~SPILL;
    uint64_t bits = high << TAG_BITS | tag;
    return bits << (64 - HASH_BITS);
}

static inline void encode(uint64_t hash, const struct kvt_index_entry *entry,
                          uint32_t words[SLOT_WORDS])
{
    words[0] = entry->check;
    words[1] = entry->length | (entry->used ? USED : 0);
    words[2] = (uint32_t)entry->place;
    words[3] = (uint32_t)(entry->place >> 32) | high_of(hash) << 8;
}

static inline void decode(const uint32_t words[SLOT_WORDS],
                          struct kvt_index_entry *entry)
{
    entry->check = words[0];
    entry->length = words[1] & ~USED;
    entry->used = (words[1] & USED) != 0;
    entry->place = words[2] | (uint64_t)(words[3] & 0xff) << 32;
}

static inline uint64_t place_of(const uint32_t *words)
{
    return load(&words[2]) | (uint64_t)(load(&words[3]) & 0xff) << 32;
}

/* Where a key is. */
struct spot {
    uint32_t group;
    uint32_t slot;
};

/* Of so many groups, without or with zeros in it; kvt_epoch_free. */
struct table *kvt_table_alloc(uint32_t groups);
struct table *kvt_table_new(uint32_t groups);

bool kvt_table_find(const struct table *table, uint64_t hash, uint32_t depth,
                    struct spot *spot);
/* Puts words where there is room; there is some. */
void kvt_table_insert(struct table *table, uint64_t hash, uint32_t depth,
                      const uint32_t words[SLOT_WORDS]);
void kvt_table_remove(struct table *table, uint32_t depth, struct spot spot);

#endif
