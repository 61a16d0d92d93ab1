/*
 * Key -> place, for layouts of many objects a file: 20 bytes a key and what
 * is free in its tables, whatever the keys' length, since it holds none.
 *
 * An entry has 54 bits of the key's hash, the place, the length, half of the
 * check value, and whether it was used. Two keys that share those 54 bits
 * share an entry: the later one takes it, and the earlier one is then a miss
 * (a chance of 6e-10 an insert beside ten million keys). What is read at a
 * place is proved by its check value, so it is never wrong bytes.
 *
 * Readers take no lock and never wait for each other or for a growing table;
 * one writer at a time, behind a lock of the index.
 */
#ifndef KVT_INDEX_PLACE_INDEX_H
#define KVT_INDEX_PLACE_INDEX_H

#include "core/epoch.h"

#include <kvtier/base.h>
#include <pthread.h>
#include <stdbool.h>

#define KVT_INDEX_PLACE_BITS 40
#define KVT_INDEX_LENGTH_MAX UINT32_C(0x7fffffff)

struct kvt_index_entry {
    uint64_t place;  /* the layout's: KVT_INDEX_PLACE_BITS bits */
    uint32_t length; /* at most KVT_INDEX_LENGTH_MAX */
    uint32_t check;
    bool used; /* since it was inserted, or since that was taken back */
};

struct kvt_index_directory;

struct kvt_place_index {
    struct kvt_epoch epoch;
    struct kvt_index_directory *directory; /* atomic */
    pthread_mutex_t mutex;                 /* writers; covers what follows */
    bool filling;
    uint64_t count; /* atomic */
    uint64_t bytes; /* atomic: memory */
};

/* 0 or -ENOMEM. */
int kvt_place_index_init(struct kvt_place_index *index);
void kvt_place_index_fini(struct kvt_place_index *index);

/* All of these take the 64-bit hash of a key; threads: any. */

/* Sets `found[i]` and, where there is an entry, `entries[i]` for each of the
 * hashes. The lookups of one call overlap. */
void kvt_place_index_find(struct kvt_place_index *index, const uint64_t *hashes,
                          struct kvt_index_entry *entries, bool *found,
                          size_t count);
/* The entry, if it is at `place`, counts as used (or no longer). */
void kvt_place_index_use(struct kvt_place_index *index, uint64_t hash,
                         uint64_t place, bool used);
/* Inserts or replaces. Returns 1 with the old entry in `old` when it
 * replaced one, 0, or -ENOMEM with nothing changed. */
int kvt_place_index_put(struct kvt_place_index *index, uint64_t hash,
                        const struct kvt_index_entry *entry,
                        struct kvt_index_entry *old);
/* While an index is filled, its tables grow by large steps, which cost less;
 * afterwards they are cut to what they have. */
void kvt_place_index_fill(struct kvt_place_index *index, bool filling);
/* Takes the entry out if it is at `place`; false when it is not. */
bool kvt_place_index_remove(struct kvt_place_index *index, uint64_t hash,
                            uint64_t place);
/* Takes out every entry whose place lies in [from, to): goes through all.
 * Returns how many; adds their lengths to `bytes`. */
uint64_t kvt_place_index_remove_range(struct kvt_place_index *index,
                                      uint64_t from, uint64_t to,
                                      uint64_t *bytes);
void kvt_place_index_clear(struct kvt_place_index *index);

uint64_t kvt_place_index_count(const struct kvt_place_index *index);
uint64_t kvt_place_index_bytes(const struct kvt_place_index *index);

/* Images of the tables, to keep the index over a restart ------------------ */

/* One table as it lies in memory: 32-bit words of this machine. */
struct kvt_index_image {
    uint32_t depth; /* it holds the hashes with so many leading bits in
                       common; tables follow each other in their order */
    uint32_t groups;
    uint32_t count; /* entries */
    void *bytes;
    size_t size;
};

/* Bytes of a table of so many groups. */
size_t kvt_index_image_size(uint32_t groups);
/* Entries that the table has; unless they are `count`, it is none of ours: an
 * index that knows of fewer than there are would look for room that it has
 * not. */
uint32_t kvt_index_image_entries(const struct kvt_index_image *image);
/* Gives each table to `each` (borrowed; nobody writes meanwhile); stops at
 * non-zero and returns it. */
int kvt_place_index_images(struct kvt_place_index *index,
                           int (*each)(const struct kvt_index_image *image,
                                       void *arg),
                           void *arg);
/* Takes tables instead of what it holds: makes them, of the depths, groups
 * and counts given, and sets `bytes` and `size` of each image to memory that
 * the caller fills, and whose entries it counts, before anybody else sees the
 * index. 0, -ENOMEM, or -EBADMSG when they do not fit together; the index is
 * then as it was. */
int kvt_place_index_adopt(struct kvt_place_index *index,
                          struct kvt_index_image *images, size_t count);

#endif
