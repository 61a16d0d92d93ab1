#include "index/key_index.h"

#include "core/hash.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    SLOTS_MIN = 1024
};

int kvt_key_index_init(struct kvt_key_index *index)
{
    *index = (struct kvt_key_index){0};
    index->slots = calloc(SLOTS_MIN, sizeof index->slots[0]);
    if (index->slots == NULL) {
        return -ENOMEM;
    }
    index->slot_count = SLOTS_MIN;
    index->bytes = SLOTS_MIN * sizeof index->slots[0];
    return 0;
}

void kvt_key_index_fini(struct kvt_key_index *index)
{
    for (size_t i = 0; i < index->slot_count; i++) {
        free(index->slots[i]);
    }
    free(index->slots);
    *index = (struct kvt_key_index){0};
}

uint64_t kvt_key_index_hash(struct kvt_key key)
{
    return kvt_hash64(key.data, key.size, 0);
}

static size_t home(const struct kvt_key_index *index, uint64_t hash)
{
    return (size_t)hash & (index->slot_count - 1);
}

static size_t behind(const struct kvt_key_index *index, size_t slot)
{
    return (slot + 1) & (index->slot_count - 1);
}

struct kvt_key_entry *kvt_key_index_find(const struct kvt_key_index *index,
                                         struct kvt_key key, uint64_t hash)
{
    for (size_t slot = home(index, hash); index->slots[slot] != NULL;
         slot = behind(index, slot)) {
        struct kvt_key_entry *entry = index->slots[slot];
        if (entry->hash == hash && entry->key_size == key.size &&
            memcmp(entry->key, key.data, key.size) == 0) {
            return entry;
        }
    }
    return NULL;
}

static void place(struct kvt_key_index *index, struct kvt_key_entry *entry)
{
    size_t slot = home(index, entry->hash);
    while (index->slots[slot] != NULL) {
        slot = behind(index, slot);
    }
    index->slots[slot] = entry;
}

static int grow(struct kvt_key_index *index)
{
    struct kvt_key_entry **old = index->slots;
    size_t old_count = index->slot_count;
    struct kvt_key_entry **slots = calloc(old_count * 2, sizeof slots[0]);
    if (slots == NULL) {
        return -ENOMEM;
    }
    index->slots = slots;
    index->slot_count = old_count * 2;
    for (size_t i = 0; i < old_count; i++) {
        if (old[i] != NULL) {
            place(index, old[i]);
        }
    }
    free(old);
    index->bytes += old_count * sizeof slots[0];
    return 0;
}

static size_t entry_bytes(const struct kvt_key_entry *entry)
{
    return sizeof *entry + entry->key_size;
}

struct kvt_key_entry *kvt_key_index_add(struct kvt_key_index *index,
                                        struct kvt_key key, uint64_t hash)
{
    assert(key.size > 0 && key.size <= KVT_KEY_SIZE_MAX);
    if ((index->count + 1) * 4 > index->slot_count * 3 && grow(index) != 0) {
        return NULL;
    }
    struct kvt_key_entry *entry = calloc(1, sizeof *entry + key.size);
    if (entry == NULL) {
        return NULL;
    }
    entry->hash = hash;
    entry->key_size = (uint16_t)key.size;
    memcpy(entry->key, key.data, key.size);
    place(index, entry);
    index->count++;
    index->bytes += entry_bytes(entry);
    return entry;
}

void kvt_key_index_remove(struct kvt_key_index *index,
                          struct kvt_key_entry *entry)
{
    size_t hole = home(index, entry->hash);
    while (index->slots[hole] != entry) {
        hole = behind(index, hole);
    }
    index->slots[hole] = NULL;
    /* close the gap: move back what the hole would cut off from its home */
    for (size_t slot = behind(index, hole); index->slots[slot] != NULL;
         slot = behind(index, slot)) {
        size_t wanted = home(index, index->slots[slot]->hash);
        size_t mask = index->slot_count - 1;
        if (((slot - wanted) & mask) >= ((slot - hole) & mask)) {
            index->slots[hole] = index->slots[slot];
            index->slots[slot] = NULL;
            hole = slot;
        }
    }
    index->count--;
    index->bytes -= entry_bytes(entry);
    entry->removed = true;
    if (entry->pins == 0) {
        free(entry);
    }
}

void kvt_key_entry_acquire(struct kvt_key_entry *entry)
{
    entry->pins++;
}

void kvt_key_entry_release(struct kvt_key_entry *entry)
{
    assert(entry->pins > 0);
    entry->pins--;
    if (entry->pins == 0 && entry->removed) {
        free(entry);
    }
}
