/*
 * A directory of segments by the leading bits of the hash (extendible
 * hashing: Fagin et al., 1979); a segment is one table that grows by a
 * sixteenth and splits in two when it is large, so that no step takes long
 * and little is free at any time. A table is groups of 16 entries: a cache
 * line of tags and four of slots. A full group spills into the next one and
 * counts what it spilled, so that most searches end where they began (as in
 * Facebook's F14); the count stands in the spare bits of the tags.
 *
 * Writers hold index->mutex. Readers see a segment through its sequence
 * number, odd while it is written, and read once more when it changed; all
 * words are read and written atomically. A table or directory that was
 * replaced stays as it was until no reader can see it.
 */
#include "index/place_table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct segment {
    uint32_t sequence; /* odd while its table is written */
    uint32_t depth;
    uint32_t count;
    struct table *table;
};

struct kvt_index_directory {
    uint32_t depth;
    struct segment *segments[]; /* 1 << depth */
};

/* Segments ---------------------------------------------------------------- */

static void count_bytes(struct kvt_place_index *index, size_t more, size_t less)
{
    __atomic_fetch_add(&index->bytes, more - less, __ATOMIC_RELAXED);
}

static struct segment *segment_of(const struct kvt_place_index *index,
                                  uint64_t hash)
{
    const struct kvt_index_directory *directory =
        __atomic_load_n(&index->directory, __ATOMIC_ACQUIRE);
    size_t at =
        directory->depth > 0 ? (size_t)(hash >> (64 - directory->depth)) : 0;
    return __atomic_load_n(&directory->segments[at], __ATOMIC_ACQUIRE);
}

static void write_begin(struct segment *segment)
{
    store(&segment->sequence, segment->sequence + 1);
}

static void write_end(struct segment *segment)
{
    store(&segment->sequence, segment->sequence + 1);
}

/* A reader begins: the sequence number when nobody writes. */
static uint32_t read_begin(const struct segment *segment)
{
    uint32_t sequence;
    while (((sequence = load(&segment->sequence)) & 1) != 0) {
    }
    return sequence;
}

static bool read_holds(const struct segment *segment, uint32_t sequence)
{
    return load(&segment->sequence) == sequence;
}

static struct segment *segment_new(struct kvt_place_index *index,
                                   uint32_t depth, struct table *table)
{
    struct segment *segment = kvt_epoch_alloc(LINE, sizeof *segment);
    if (segment != NULL) {
        *segment = (struct segment){.depth = depth, .table = table};
        count_bytes(index, LINE + table_size(table->groups), 0);
    }
    return segment;
}

static void segment_retire(struct kvt_place_index *index,
                           struct segment *segment)
{
    count_bytes(index, 0, LINE + table_size(segment->table->groups));
    kvt_epoch_retire(&index->epoch, segment->table);
    kvt_epoch_retire(&index->epoch, segment);
}

/* Groups for so many entries, with a little to spare. */
static uint32_t groups_for(uint32_t count)
{
    return (uint32_t)((uint64_t)count * 17 / (16 * 15)) + 1;
}

static bool is_crowded(const struct segment *segment)
{
    uint64_t slots = (uint64_t)segment->table->groups * GROUP_SLOTS;
    return (uint64_t)segment->count * 16 >= slots * 15;
}

/* Calls for all entries of a table. */
static void move_all(const struct table *from, struct segment *low,
                     struct segment *high)
{
    for (uint32_t group = 0; group < from->groups; group++) {
        for (uint32_t slot = 0; slot < GROUP_SLOTS; slot++) {
            if (!is_taken(line_at(from, group), slot)) {
                continue;
            }
            uint64_t hash = hash_at(from, group, slot);
            bool up = high != NULL && (hash >> (64 - low->depth) & 1) != 0;
            struct segment *to = up ? high : low;
            kvt_table_insert(to->table, hash, to->depth,
                             slot_at(from, group, slot));
            to->count++;
        }
    }
}

static int segment_resize(struct kvt_place_index *index,
                          struct segment *segment, uint32_t groups)
{
    struct table *old = segment->table;
    struct table *table = kvt_table_new(groups);
    if (table == NULL) {
        return -ENOMEM;
    }
    struct segment grown = {.depth = segment->depth, .table = table};
    move_all(old, &grown, NULL);
    __atomic_store_n(&segment->table, table, __ATOMIC_RELEASE);
    count_bytes(index, table_size(groups), table_size(old->groups));
    kvt_epoch_retire(&index->epoch, old);
    return 0;
}

static int segment_grow(struct kvt_place_index *index, struct segment *segment)
{
    uint32_t groups = segment->table->groups;
    if (index->filling && groups < GROUPS_MAX) {
        groups += groups / 2 + 1;
        groups = groups < GROUPS_MAX ? groups : GROUPS_MAX;
    } else {
        groups += groups / 16 + 1;
    }
    return segment_resize(index, segment, groups);
}

static struct kvt_index_directory *directory_new(uint32_t depth)
{
    struct kvt_index_directory *directory;
    size_t size = sizeof *directory +
                  ((size_t)1 << depth) * sizeof directory->segments[0];
    directory = kvt_epoch_alloc(LINE, size);
    if (directory != NULL) {
        directory->depth = depth;
    }
    return directory;
}

static size_t directory_size(uint32_t depth)
{
    return sizeof(struct kvt_index_directory) +
           ((size_t)1 << depth) * sizeof(struct segment *);
}

static int directory_double(struct kvt_place_index *index)
{
    struct kvt_index_directory *old = index->directory;
    struct kvt_index_directory *directory = directory_new(old->depth + 1);
    if (directory == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < (size_t)1 << directory->depth; i++) {
        directory->segments[i] = old->segments[i / 2];
    }
    __atomic_store_n(&index->directory, directory, __ATOMIC_RELEASE);
    count_bytes(index, directory_size(directory->depth),
                directory_size(old->depth));
    kvt_epoch_retire(&index->epoch, old);
    return 0;
}

/* Entries of a table whose next bit is set. */
static uint32_t count_high(const struct segment *segment)
{
    const struct table *table = segment->table;
    uint32_t count = 0;
    for (uint32_t group = 0; group < table->groups; group++) {
        for (uint32_t slot = 0; slot < GROUP_SLOTS; slot++) {
            count +=
                is_taken(line_at(table, group), slot) &&
                (hash_at(table, group, slot) >> (63 - segment->depth) & 1) != 0;
        }
    }
    return count;
}

static struct segment *half_new(struct kvt_place_index *index, uint32_t depth,
                                uint32_t count)
{
    struct table *table = kvt_table_new(groups_for(count));
    struct segment *segment =
        table != NULL ? segment_new(index, depth, table) : NULL;
    if (segment == NULL) {
        kvt_epoch_free(table);
    }
    return segment;
}

static int segment_split(struct kvt_place_index *index, uint64_t hash,
                         struct segment *segment)
{
    uint32_t depth = segment->depth + 1;
    if (depth > DEPTH_MAX) {
        return segment_grow(index, segment);
    }
    if (depth > index->directory->depth && directory_double(index) != 0) {
        return -ENOMEM;
    }
    uint32_t above = count_high(segment);
    struct segment *low = half_new(index, depth, segment->count - above);
    struct segment *high = low != NULL ? half_new(index, depth, above) : NULL;
    if (high == NULL) {
        if (low != NULL) {
            segment_retire(index, low);
        }
        return -ENOMEM;
    }
    move_all(segment->table, low, high);
    struct kvt_index_directory *directory = index->directory;
    size_t span = (size_t)1 << (directory->depth - depth);
    size_t first = (size_t)(hash >> (64 - depth) & ~UINT64_C(1)) * span;
    for (size_t i = 0; i < span; i++) {
        __atomic_store_n(&directory->segments[first + i], low,
                         __ATOMIC_RELEASE);
        __atomic_store_n(&directory->segments[first + span + i], high,
                         __ATOMIC_RELEASE);
    }
    segment_retire(index, segment);
    return 0;
}

/* Makes room for one more entry. */
static int make_room(struct kvt_place_index *index, uint64_t hash)
{
    struct segment *segment = segment_of(index, hash);
    if (!is_crowded(segment)) {
        return 0;
    }
    int rc = segment->table->groups < GROUPS_MAX
                 ? segment_grow(index, segment)
                 : segment_split(index, hash, segment);
    segment = segment_of(index, hash);
    bool full = segment->count == segment->table->groups * GROUP_SLOTS;
    return full ? rc : 0; /* without memory, the last slots are used, too */
}

/* The index --------------------------------------------------------------- */

/* An index of one empty segment. */
static struct kvt_index_directory *make_empty(struct kvt_place_index *index)
{
    struct kvt_index_directory *directory = directory_new(0);
    struct table *table = kvt_table_new(1);
    struct segment *segment = NULL;
    if (directory != NULL && table != NULL) {
        segment = segment_new(index, 0, table);
    }
    if (segment == NULL) {
        kvt_epoch_free(directory);
        kvt_epoch_free(table);
        return NULL;
    }
    directory->segments[0] = segment;
    count_bytes(index, directory_size(0), 0);
    return directory;
}

int kvt_place_index_init(struct kvt_place_index *index)
{
    memset(index, 0, sizeof *index);
    kvt_epoch_init(&index->epoch);
    index->directory = make_empty(index);
    if (index->directory == NULL) {
        return -ENOMEM;
    }
    pthread_mutex_init(&index->mutex, NULL);
    return 0;
}

/* Retires a directory and all that it points to. */
static void retire_all(struct kvt_place_index *index,
                       struct kvt_index_directory *directory)
{
    size_t all = (size_t)1 << directory->depth;
    for (size_t i = 0; i < all;) {
        struct segment *segment = directory->segments[i];
        i += (size_t)1 << (directory->depth - segment->depth);
        segment_retire(index, segment);
    }
    count_bytes(index, 0, directory_size(directory->depth));
    kvt_epoch_retire(&index->epoch, directory);
}

void kvt_place_index_fini(struct kvt_place_index *index)
{
    if (index->directory == NULL) {
        return;
    }
    retire_all(index, index->directory);
    kvt_epoch_fini(&index->epoch);
    pthread_mutex_destroy(&index->mutex);
    index->directory = NULL;
}

void kvt_place_index_clear(struct kvt_place_index *index)
{
    pthread_mutex_lock(&index->mutex);
    struct kvt_index_directory *old = index->directory;
    struct kvt_index_directory *empty = make_empty(index);
    if (empty != NULL) {
        __atomic_store_n(&index->directory, empty, __ATOMIC_RELEASE);
        __atomic_store_n(&index->count, 0, __ATOMIC_RELAXED);
        retire_all(index, old);
    }
    pthread_mutex_unlock(&index->mutex);
    if (empty == NULL) {
        uint64_t bytes = 0;
        kvt_place_index_remove_range(index, 0, UINT64_MAX, &bytes);
    }
}

void kvt_place_index_fill(struct kvt_place_index *index, bool filling)
{
    pthread_mutex_lock(&index->mutex);
    index->filling = filling;
    const struct kvt_index_directory *directory = index->directory;
    for (size_t i = 0; !filling && i < (size_t)1 << directory->depth;) {
        struct segment *segment = directory->segments[i];
        uint32_t groups = groups_for(segment->count);
        if (groups < segment->table->groups) {
            /* without memory it stays as large as it is */
            segment_resize(index, segment, groups);
        }
        i += (size_t)1 << (directory->depth - segment->depth);
    }
    pthread_mutex_unlock(&index->mutex);
}

uint64_t kvt_place_index_count(const struct kvt_place_index *index)
{
    return __atomic_load_n(&index->count, __ATOMIC_RELAXED);
}

uint64_t kvt_place_index_bytes(const struct kvt_place_index *index)
{
    return __atomic_load_n(&index->bytes, __ATOMIC_RELAXED);
}

/* Reading ----------------------------------------------------------------- */

enum {
    OVERLAP = 32, /* lookups under way at a time */
    FEW = 4,
};

static bool find_one(const struct segment *segment, uint64_t hash,
                     struct kvt_index_entry *entry)
{
    uint32_t words[SLOT_WORDS] = {0};
    uint32_t sequence;
    bool found;
    do {
        struct spot spot;
        sequence = read_begin(segment);
        const struct table *table =
            __atomic_load_n(&segment->table, __ATOMIC_ACQUIRE);
        found = kvt_table_find(table, hash, segment->depth, &spot);
        for (int i = 0; found && i < SLOT_WORDS; i++) {
            words[i] = load(&slot_at(table, spot.group, spot.slot)[i]);
        }
    } while (!read_holds(segment, sequence));
    if (found) {
        decode(words, entry);
    }
    return found;
}

static const uint32_t *home_line(const struct segment *segment, uint64_t hash)
{
    const struct table *table =
        __atomic_load_n(&segment->table, __ATOMIC_ACQUIRE);
    return line_at(table, home_of(hash, segment->depth, table->groups));
}

/* The tags, and the slots too: which of them it is, is known too late. */
static void prefetch_all(const struct segment *segment, uint64_t hash)
{
    const uint32_t *line = home_line(segment, hash);
    for (int i = 0; i < GROUP_WORDS * 4 / LINE; i++) {
        __builtin_prefetch(line + (ptrdiff_t)i * GROUP_SLOTS);
    }
}

/* Where many are searched for, five lines each are more than a processor has
 * under way: the tags of all, then the slots that these tell. */
static void prefetch_slot(const struct segment *segment, uint64_t hash)
{
    const uint32_t *line = home_line(segment, hash);
    uint32_t tag = tag_of(hash);
    for (uint32_t slot = 0; slot < GROUP_SLOTS; slot++) {
        if ((load(&line[slot]) & ~SPILL) == tag) {
            __builtin_prefetch(line + GROUP_SLOTS + slot * SLOT_WORDS);
            return;
        }
    }
}

static void find_some(struct kvt_place_index *index, const uint64_t *hashes,
                      struct kvt_index_entry *entries, bool *found,
                      size_t count)
{
    const struct segment *segments[OVERLAP];
    for (size_t i = 0; i < count; i++) {
        segments[i] = segment_of(index, kept(hashes[i]));
        if (count < FEW) {
            prefetch_all(segments[i], kept(hashes[i]));
        } else {
            __builtin_prefetch(home_line(segments[i], kept(hashes[i])));
        }
    }
    for (size_t i = 0; i < count && count >= FEW; i++) {
        prefetch_slot(segments[i], kept(hashes[i]));
    }
    for (size_t i = 0; i < count; i++) {
        found[i] = find_one(segments[i], kept(hashes[i]), &entries[i]);
    }
}

void kvt_place_index_find(struct kvt_place_index *index, const uint64_t *hashes,
                          struct kvt_index_entry *entries, bool *found,
                          size_t count)
{
    unsigned ticket = kvt_epoch_enter(&index->epoch);
    for (size_t at = 0; at < count; at += OVERLAP) {
        size_t some = count - at < OVERLAP ? count - at : OVERLAP;
        find_some(index, hashes + at, entries + at, found + at, some);
    }
    kvt_epoch_leave(&index->epoch, ticket);
}

/* A mark in a table that is being replaced is lost: it is a hint. */
void kvt_place_index_use(struct kvt_place_index *index, uint64_t hash,
                         uint64_t place, bool used)
{
    hash = kept(hash);
    unsigned ticket = kvt_epoch_enter(&index->epoch);
    const struct segment *segment = segment_of(index, hash);
    struct table *table = __atomic_load_n(&segment->table, __ATOMIC_ACQUIRE);
    struct spot spot;
    if (kvt_table_find(table, hash, segment->depth, &spot)) {
        uint32_t *words = slot_at(table, spot.group, spot.slot);
        bool is_set = (load(&words[1]) & USED) != 0;
        if (place_of(words) == place && is_set != used) {
            if (used) {
                __atomic_fetch_or(&words[1], USED, __ATOMIC_RELAXED);
            } else {
                __atomic_fetch_and(&words[1], ~USED, __ATOMIC_RELAXED);
            }
        }
    }
    kvt_epoch_leave(&index->epoch, ticket);
}

/* Writing ----------------------------------------------------------------- */

/* Changes the entry at a spot. */
static void overwrite(struct segment *segment, struct spot spot,
                      const uint32_t words[SLOT_WORDS],
                      struct kvt_index_entry *old)
{
    uint32_t *at = slot_at(segment->table, spot.group, spot.slot);
    uint32_t before[SLOT_WORDS];
    write_begin(segment);
    for (int i = 0; i < SLOT_WORDS; i++) {
        before[i] = load(&at[i]);
        store(&at[i], words[i]);
    }
    write_end(segment);
    decode(before, old);
}

int kvt_place_index_put(struct kvt_place_index *index, uint64_t hash,
                        const struct kvt_index_entry *entry,
                        struct kvt_index_entry *old)
{
    assert(entry->place >> KVT_INDEX_PLACE_BITS == 0 &&
           entry->length <= KVT_INDEX_LENGTH_MAX);
    uint32_t words[SLOT_WORDS];
    struct spot spot;
    hash = kept(hash);
    encode(hash, entry, words);
    pthread_mutex_lock(&index->mutex);
    struct segment *segment = segment_of(index, hash);
    int rc;
    if (kvt_table_find(segment->table, hash, segment->depth, &spot)) {
        overwrite(segment, spot, words, old);
        rc = 1;
    } else if ((rc = make_room(index, hash)) == 0) {
        segment = segment_of(index, hash);
        write_begin(segment);
        kvt_table_insert(segment->table, hash, segment->depth, words);
        write_end(segment);
        segment->count++;
        __atomic_fetch_add(&index->count, 1, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&index->mutex);
    return rc;
}

static void take_out(struct kvt_place_index *index, struct segment *segment,
                     struct spot spot)
{
    write_begin(segment);
    kvt_table_remove(segment->table, segment->depth, spot);
    write_end(segment);
    segment->count--;
    __atomic_fetch_sub(&index->count, 1, __ATOMIC_RELAXED);
}

bool kvt_place_index_remove(struct kvt_place_index *index, uint64_t hash,
                            uint64_t place)
{
    struct spot spot;
    hash = kept(hash);
    pthread_mutex_lock(&index->mutex);
    struct segment *segment = segment_of(index, hash);
    bool found =
        kvt_table_find(segment->table, hash, segment->depth, &spot) &&
        place_of(slot_at(segment->table, spot.group, spot.slot)) == place;
    if (found) {
        take_out(index, segment, spot);
    }
    pthread_mutex_unlock(&index->mutex);
    return found;
}

static uint64_t remove_from_segment(struct kvt_place_index *index,
                                    struct segment *segment, uint64_t from,
                                    uint64_t to, uint64_t *bytes)
{
    struct table *table = segment->table;
    uint64_t removed = 0;
    for (uint32_t group = 0; group < table->groups; group++) {
        for (uint32_t slot = 0; slot < GROUP_SLOTS; slot++) {
            const uint32_t *words = slot_at(table, group, slot);
            uint64_t place = place_of(words);
            if (is_taken(line_at(table, group), slot) && place >= from &&
                place < to) {
                *bytes += words[1] & ~USED;
                take_out(index, segment, (struct spot){group, slot});
                removed++;
            }
        }
    }
    return removed;
}

uint64_t kvt_place_index_remove_range(struct kvt_place_index *index,
                                      uint64_t from, uint64_t to,
                                      uint64_t *bytes)
{
    uint64_t removed = 0;
    pthread_mutex_lock(&index->mutex);
    const struct kvt_index_directory *directory = index->directory;
    size_t all = (size_t)1 << directory->depth;
    for (size_t i = 0; i < all;) {
        struct segment *segment = directory->segments[i];
        i += (size_t)1 << (directory->depth - segment->depth);
        removed += remove_from_segment(index, segment, from, to, bytes);
    }
    pthread_mutex_unlock(&index->mutex);
    return removed;
}

/* Images ------------------------------------------------------------------ */

int kvt_place_index_images(struct kvt_place_index *index,
                           int (*each)(const struct kvt_index_image *image,
                                       void *arg),
                           void *arg)
{
    int rc = 0;
    const struct kvt_index_directory *directory = index->directory;
    size_t all = (size_t)1 << directory->depth;
    for (size_t i = 0; i < all && rc == 0;) {
        struct segment *segment = directory->segments[i];
        struct kvt_index_image image = {
            .depth = segment->depth,
            .groups = segment->table->groups,
            .count = segment->count,
            .bytes = segment->table->words,
            .size = kvt_index_image_size(segment->table->groups),
        };
        rc = each(&image, arg);
        i += (size_t)1 << (directory->depth - segment->depth);
    }
    return rc;
}

uint32_t kvt_index_image_entries(const struct kvt_index_image *image)
{
    uint32_t count = 0;
    for (uint32_t group = 0; group < image->groups; group++) {
        const uint32_t *line =
            (const uint32_t *)image->bytes + (size_t)group * GROUP_WORDS;
        for (uint32_t slot = 0; slot < GROUP_SLOTS; slot++) {
            count += is_taken(line, slot);
        }
    }
    return count;
}

/* Do the images cover the directory, each on a boundary of its own? */
static bool images_fit(const struct kvt_index_image *images, size_t count,
                       uint32_t *depth)
{
    *depth = 0;
    for (size_t i = 0; i < count; i++) {
        if (images[i].depth > DEPTH_MAX || images[i].groups == 0 ||
            images[i].groups > GROUPS_MAX * 2 ||
            images[i].count > images[i].groups * GROUP_SLOTS) {
            return false;
        }
        *depth = images[i].depth > *depth ? images[i].depth : *depth;
    }
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        size_t span = (size_t)1 << (*depth - images[i].depth);
        if (at % span != 0) {
            return false;
        }
        at += span;
    }
    return at == (size_t)1 << *depth;
}

static int adopt_one(struct kvt_place_index *index,
                     struct kvt_index_image *image, struct segment **segment)
{
    struct table *table = kvt_table_alloc(image->groups);
    *segment = table != NULL ? segment_new(index, image->depth, table) : NULL;
    if (*segment == NULL) {
        kvt_epoch_free(table);
        return -ENOMEM;
    }
    (*segment)->count = image->count;
    image->bytes = table->words;
    image->size = kvt_index_image_size(image->groups);
    return 0;
}

int kvt_place_index_adopt(struct kvt_place_index *index,
                          struct kvt_index_image *images, size_t count)
{
    uint32_t depth;
    if (!images_fit(images, count, &depth)) {
        return -EBADMSG;
    }
    struct kvt_index_directory *directory = directory_new(depth);
    if (directory == NULL) {
        return -ENOMEM;
    }
    uint64_t entries = 0;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        struct segment *segment;
        if (adopt_one(index, &images[i], &segment) != 0) {
            for (size_t j = 0; j < at;) {
                struct segment *made = directory->segments[j];
                j += (size_t)1 << (depth - made->depth);
                segment_retire(index, made);
            }
            kvt_epoch_free(directory);
            return -ENOMEM;
        }
        for (size_t j = (size_t)1 << (depth - segment->depth); j > 0; j--) {
            directory->segments[at++] = segment;
        }
        entries += images[i].count;
    }
    retire_all(index, index->directory);
    count_bytes(index, directory_size(depth), 0);
    __atomic_store_n(&index->directory, directory, __ATOMIC_RELEASE);
    __atomic_store_n(&index->count, entries, __ATOMIC_RELAXED);
    return 0;
}
