#include "index/place_table.h"

#include <string.h>

size_t kvt_index_image_size(uint32_t groups)
{
    return (size_t)groups * GROUP_WORDS * sizeof(uint32_t);
}

/* How many entries passed a full group: a number of a bit a tag, the lowest
 * one first. */
static void spill_one_more(uint32_t *line)
{
    uint32_t i = 0;
    for (; (line[i] & SPILL) != 0; i++) {
        store(&line[i], line[i] & ~SPILL);
    }
    store(&line[i], line[i] | SPILL);
}

static void spill_one_less(uint32_t *line)
{
    uint32_t i = 0;
    for (; (line[i] & SPILL) == 0; i++) {
        store(&line[i], line[i] | SPILL);
    }
    store(&line[i], line[i] & ~SPILL);
}

static void set_tag(uint32_t *line, uint32_t slot, uint32_t tag)
{
    store(&line[slot], (line[slot] & SPILL) | tag);
}

struct table *kvt_table_alloc(uint32_t groups)
{
    struct table *table = kvt_epoch_alloc(LINE, table_size(groups));
    if (table != NULL) {
        table->groups = groups;
    }
    return table;
}

struct table *kvt_table_new(uint32_t groups)
{
    struct table *table = kvt_table_alloc(groups);
    if (table != NULL) {
        memset(table->words, 0, kvt_index_image_size(groups));
    }
    return table;
}

bool kvt_table_find(const struct table *table, uint64_t hash, uint32_t depth,
                    struct spot *spot)
{
    uint32_t tag = tag_of(hash);
    uint32_t high = high_of(hash);
    uint32_t group = home_of(hash, depth, table->groups);
    for (uint32_t left = table->groups; left > 0; left--) {
        const uint32_t *line = line_at(table, group);
        uint32_t all = 0;
        for (uint32_t slot = 0; slot < GROUP_SLOTS; slot++) {
            uint32_t word = load(&line[slot]);
            all |= word;
            if ((word & ~SPILL) == tag &&
                load(&slot_at(table, group, slot)[3]) >> 8 == high) {
                *spot = (struct spot){group, slot};
                return true;
            }
        }
        if ((all & SPILL) == 0) { /* nothing went on from here */
            return false;
        }
        group = group + 1 < table->groups ? group + 1 : 0;
    }
    return false;
}

void kvt_table_insert(struct table *table, uint64_t hash, uint32_t depth,
                      const uint32_t words[SLOT_WORDS])
{
    uint32_t group = home_of(hash, depth, table->groups);
    for (;;) {
        uint32_t *line = line_at(table, group);
        for (uint32_t slot = 0; slot < GROUP_SLOTS; slot++) {
            if (!is_taken(line, slot)) {
                uint32_t *to = slot_at(table, group, slot);
                for (int i = 0; i < SLOT_WORDS; i++) {
                    /* of a table that readers mark uses in, perhaps */
                    store(&to[i], load(&words[i]));
                }
                set_tag(line, slot, tag_of(hash));
                return;
            }
        }
        spill_one_more(line);
        group = group + 1 < table->groups ? group + 1 : 0;
    }
}

void kvt_table_remove(struct table *table, uint32_t depth, struct spot spot)
{
    uint64_t hash = hash_at(table, spot.group, spot.slot);
    uint32_t group = home_of(hash, depth, table->groups);
    while (group != spot.group) {
        spill_one_less(line_at(table, group));
        group = group + 1 < table->groups ? group + 1 : 0;
    }
    set_tag(line_at(table, spot.group), spot.slot, 0);
}
