#include "backend/kill_set.h"

#include "core/bytes.h"
#include "core/hash.h"

#include <errno.h>
#include <stdlib.h>

struct kvt_kill_slot {
    uint64_t writer;
    uint64_t number;
    uint32_t block;
    enum kvt_killed killed; /* KVT_NOT_KILLED: free */
};

static struct kvt_kill_slot *find(const struct kvt_kill_set *set,
                                  uint64_t writer, uint64_t number,
                                  uint32_t block)
{
    uint8_t bytes[20];
    kvt_put_le64(bytes, writer);
    kvt_put_le64(bytes + 8, number);
    kvt_put_le32(bytes + 16, block);
    size_t at = (size_t)kvt_hash64(bytes, sizeof bytes, 0);
    for (;; at++) {
        struct kvt_kill_slot *slot = &set->slots[at & (set->capacity - 1)];
        if (slot->killed == KVT_NOT_KILLED ||
            (slot->writer == writer && slot->number == number &&
             slot->block == block)) {
            return slot;
        }
    }
}

static int grow(struct kvt_kill_set *set)
{
    size_t capacity = set->capacity > 0 ? set->capacity * 2 : 1024;
    struct kvt_kill_set larger = {.capacity = capacity};
    larger.slots = calloc(capacity, sizeof larger.slots[0]);
    if (larger.slots == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < set->capacity; i++) {
        const struct kvt_kill_slot *old = &set->slots[i];
        if (old->killed != KVT_NOT_KILLED) {
            *find(&larger, old->writer, old->number, old->block) = *old;
        }
    }
    free(set->slots);
    set->slots = larger.slots;
    set->capacity = capacity;
    return 0;
}

int kvt_kill_set_add(struct kvt_kill_set *set, uint64_t writer, uint64_t number,
                     uint32_t block, enum kvt_killed killed)
{
    if (set->count * 2 >= set->capacity && grow(set) != 0) {
        return -ENOMEM;
    }
    struct kvt_kill_slot *slot = find(set, writer, number, block);
    if (slot->killed == KVT_NOT_KILLED) {
        set->count++;
        *slot = (struct kvt_kill_slot){writer, number, block, killed};
    } else if (killed == KVT_NEVER_COUNTED) {
        slot->killed = killed;
    }
    return 0;
}

enum kvt_killed kvt_kill_set_find(const struct kvt_kill_set *set,
                                  uint64_t writer, uint64_t number,
                                  uint32_t block)
{
    return set->count > 0 ? find(set, writer, number, block)->killed
                          : KVT_NOT_KILLED;
}

void kvt_kill_set_fini(struct kvt_kill_set *set)
{
    free(set->slots);
    *set = (struct kvt_kill_set){0};
}
