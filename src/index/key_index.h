/* Key -> what is known of its file, for layouts of one file a key. It holds
 * the keys themselves: such layouts hand them to handlers without reading a
 * file. Not thread safe: the layout's lock covers it. */
#ifndef KVT_INDEX_KEY_INDEX_H
#define KVT_INDEX_KEY_INDEX_H

#include "evict/order.h"

#include <kvtier/base.h>
#include <stdbool.h>

struct kvt_fs_elem;

struct kvt_key_entry {
    struct kvt_evict_node order; /* first: nodes are cast to entries */
    uint64_t hash;
    uint64_t size;               /* of the value */
    uint64_t check;              /* of the value, when check_known */
    uint64_t allocated;          /* bytes that it takes against the limit */
    uint64_t generation;         /* changes with every publish of this key */
    struct kvt_fs_elem *waiters; /* told when it is no longer busy */
    uint32_t pins;               /* loads under way */
    uint16_t key_size;
    bool present;     /* its file is there, and it is not on its way out */
    bool busy;        /* a writer, remover or evictor owns its file */
    bool check_known; /* not so after a restart, until it is loaded */
    bool unsettled;   /* its writer's complete handler has not agreed yet */
    bool removed;     /* out of the index; freed with the last pin */
    unsigned char key[];
};

struct kvt_key_index {
    struct kvt_key_entry **slots; /* open addressing, a power of two */
    size_t slot_count;
    size_t count;
    uint64_t bytes; /* of memory: slots and entries */
};

int kvt_key_index_init(struct kvt_key_index *index);
/* Frees all entries. */
void kvt_key_index_fini(struct kvt_key_index *index);

uint64_t kvt_key_index_hash(struct kvt_key key);

/* The entry of a key, or null. */
struct kvt_key_entry *kvt_key_index_find(const struct kvt_key_index *index,
                                         struct kvt_key key, uint64_t hash);

/* Adds a zeroed entry for a key that is not there; null when memory is
 * short. */
struct kvt_key_entry *kvt_key_index_add(struct kvt_key_index *index,
                                        struct kvt_key key, uint64_t hash);

/* Takes the entry out, and frees it when no pin is left. */
void kvt_key_index_remove(struct kvt_key_index *index,
                          struct kvt_key_entry *entry);

/* A pin keeps the entry's memory, and its object from being evicted. */
void kvt_key_entry_acquire(struct kvt_key_entry *entry);
void kvt_key_entry_release(struct kvt_key_entry *entry);

static inline struct kvt_key
kvt_key_entry_key(const struct kvt_key_entry *entry)
{
    return (struct kvt_key){entry->key, entry->key_size};
}

#endif
