/*
 * A reader's second look. It holds no lock: while it lists one directory after
 * the other, and reads one bucket after the other, their owner may evict one.
 * What that one killed is killed again before its file goes, in a bucket that
 * is newer than the reader's listing, or that grew after it was read. So these
 * are read, too, for their kills alone: what else is new in them was not there
 * when the reader came.
 */
#include "backend/bucket_recover.h"

#include "backend/kill_set.h"

#include <stdlib.h>

enum {
    ROUNDS_MAX = 100, /* each reads what is new since the first listing */
};

struct again {
    struct bkt *bkt;
    const struct bkt_listing *first;
    struct kvt_kill_set kills;
    bool *in_slot; /* buckets in which something is killed, by slot */
};

/* Kept kills need no cause. */
static int add_kills(struct again *again, const struct bkt_table *table)
{
    int rc = 0;
    for (uint32_t i = 0; i < table->kill_count && rc == 0; i++) {
        struct kvt_bucket_kill kill;
        kvt_bucket_kill_decode(table->kills + (size_t)i * KVT_BUCKET_KILL_SIZE,
                               &kill);
        const struct bkt_bucket *bucket =
            kvt_bkt_find_bucket(again->bkt, kill.writer, kill.number);
        if (bucket != NULL &&
            (kill.cause == KVT_KILL_REMOVED || kill.cause == KVT_KILL_UNDONE)) {
            again->in_slot[bucket->slot] = true;
            rc = kvt_kill_set_add(&again->kills, kill.writer, kill.number,
                                  kill.block, KVT_KILLED);
        }
    }
    return rc;
}

/* A sealed bucket does not change. */
static bool is_known(const struct again *again, const struct bkt_found *found)
{
    const struct bkt_found *known = kvt_bkt_listed(again->first, found);
    return known != NULL && known->kind == BKT_FOUND_SEALED;
}

/* -EAGAIN: one more has gone meanwhile. */
static int look_once(struct again *again)
{
    struct bkt_listing listing = {0};
    bool gone = false;
    int rc = kvt_bkt_list_files(again->bkt, &listing);
    for (size_t i = 0; i < listing.count && rc == 0; i++) {
        struct bkt_found *found = &listing.found[i];
        if (is_known(again, found)) {
            continue;
        }
        rc = kvt_bkt_look_at(again->bkt, found);
        if (rc == -ENOENT) {
            gone = true;
            rc = 0;
        } else if (rc == 0) {
            rc = add_kills(again, &found->table);
        }
    }
    kvt_bkt_listing_fini(&listing);
    return rc == 0 && gone ? -EAGAIN : rc;
}

/* Takes what is killed in a bucket out of the index. Mutex held. */
static void remove_killed(struct again *again, const struct bkt_bucket *bucket,
                          const struct bkt_table *table)
{
    struct bkt *bkt = again->bkt;
    for (uint32_t i = 0; i < table->entry_count; i++) {
        struct kvt_bucket_entry entry;
        kvt_bucket_entry_decode(
            table->entries + (size_t)i * KVT_BUCKET_ENTRY_SIZE, &entry);
        struct kvt_index_entry dead = {.place =
                                           bkt_place(bkt, bucket, entry.block),
                                       .length = entry.length};
        if (kvt_kill_set_find(&again->kills, bucket->writer, bucket->number,
                              entry.block) != KVT_NOT_KILLED &&
            kvt_place_index_remove(&bkt->index, entry.key_hash, dead.place)) {
            kvt_bkt_object_died(bkt, &dead);
        }
    }
}

static int apply(struct again *again)
{
    struct bkt *bkt = again->bkt;
    int rc = 0;
    for (uint32_t i = 0; i < bkt->slot_count && rc == 0; i++) {
        struct bkt_table table;
        if (!again->in_slot[i]) {
            continue;
        }
        rc = kvt_bkt_table_of(bkt, bkt->slots[i], &table);
        if (rc == 0) {
            pthread_mutex_lock(&bkt->mutex);
            remove_killed(again, bkt->slots[i], &table);
            pthread_mutex_unlock(&bkt->mutex);
            kvt_bkt_table_free(&table);
        } else if (rc == -ENOENT) {
            rc = 0; /* all of it is a miss */
        }
    }
    return rc;
}

int kvt_bkt_look_again(struct bkt *bkt, const struct bkt_listing *first)
{
    struct again again = {.bkt = bkt, .first = first};
    int rc = -EAGAIN;
    again.in_slot = calloc(bkt->slot_count + 1, sizeof again.in_slot[0]);
    if (again.in_slot == NULL) {
        return -ENOMEM;
    }
    for (int round = 0; rc == -EAGAIN && round < ROUNDS_MAX; round++) {
        rc = look_once(&again);
    }
    if (rc == 0) {
        rc = apply(&again);
    }
    kvt_kill_set_fini(&again.kills);
    free(again.in_slot);
    return rc;
}
