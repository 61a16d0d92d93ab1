/*
 * bucket: many objects in large files that are written once, in runs, and
 * sealed. docs/format.md has the bytes, docs/architecture.md the reasons.
 *
 * A batch of offloads is one run (or a few, when it is large): a record of
 * keys and check values and the values behind it, in one vectored write. Runs
 * of several batches are written side by side, and acknowledged in the order
 * in which they stand in the bucket, since that is how far recovery reads.
 *
 * The keeper is a thread of the store for all that may take long and that
 * nobody has to wait for, or only a writer without room: it makes buckets,
 * evicts and removes them. A second thread seals them.
 *
 * Lock: bkt->mutex covers buckets, log, budget, order, turns and counters;
 * never across I/O or a handler. Inside it only a queue's own lock may be
 * taken (a waiter is told) and the index' lock. An entry of the index is
 * changed by whoever has the turn at its key, and by the keeper when the
 * bucket that it points to goes.
 */
#ifndef KVT_BACKEND_BUCKET_H
#define KVT_BACKEND_BUCKET_H

#include "backend/backend.h"
#include "backend/key_turns.h"
#include "evict/budget.h"
#include "evict/order.h"
#include "format/bucket_file.h"
#include "format/marker.h"
#include "index/place_index.h"

#include <errno.h>
#include <pthread.h>

enum {
    /* At most so many runs of a bucket are under way: recovery reads the
     * values of as many, since a killed process may have torn them. */
    BKT_RUNS_MAX = 16,
    BKT_RIDERS_MAX = 64,
    /* Runs of one batch under way. */
    BKT_BATCH_RUNS_MAX = 4,
    BKT_PATH_MAX = 48,
};

/* Bytes of values in one run. */
#define BKT_RUN_BYTES_MAX (UINT64_C(32) << 20)

enum bkt_durability {
    BKT_DURABLE_NONE,
    BKT_DURABLE_SEAL,
    BKT_DURABLE_BATCH,
};

enum bkt_state {
    BKT_EMPTY,  /* made, takes no runs yet */
    BKT_ACTIVE, /* takes runs */
    BKT_FULL,   /* to be sealed when its runs are through */
    BKT_SEALED,
    BKT_CLOSED, /* cannot be sealed, but read */
    BKT_DYING,  /* goes when nobody reads it; in the index until its file is
                   gone, so that what replaces or removes an object kills it */
    BKT_STATES,
};

/* What a seal writes, as it comes together. */
struct bkt_table {
    uint8_t *entries; /* encoded */
    uint8_t *runs;
    uint8_t *kills;
    uint32_t entry_count, entry_capacity;
    uint32_t run_count, run_capacity;
    uint32_t kill_count, kill_capacity;
};

struct bkt_bucket {
    struct bkt *bkt;
    uint64_t writer;
    uint64_t number;
    uint64_t seed;     /* of its check values */
    uint64_t sequence; /* of its header */
    uint32_t slot;     /* in bkt->slots, and in the places of its objects */
    enum bkt_state state;
    bool has_table;     /* sealed: its file ends with the table */
    bool withdrawn;     /* its objects are misses: a handler is asked, or it
                           is on its way out */
    bool kills_kept;    /* what it kills is gone, or killed by another, too */
    bool always_verify; /* its values may never have reached the device */
    bool unsynced;      /* sealed by us without a sync: who opens it later has
                           to verify always */
    bool broken;        /* takes no runs any more */
    bool torn;          /* a run failed: the log ends in front of it */
    bool lost;          /* its values may be lost: no sync, no objects */
    uint32_t pins;      /* reads under way, and what must not lose it */

    /* the open file, or null; see bucket_files.c */
    struct kvt_fs_file *file;
    bool writable;
    bool opening;
    struct kvt_evict_node file_order;

    struct kvt_evict_node order;
    uint64_t objects; /* in its table */
    uint64_t live_objects;
    uint64_t live_bytes;
    uint64_t dead_blocks;     /* of objects in its table that live no more, and
                                 that were not punched out */
    struct kvt_charge charge; /* what it takes of the budget */
    uint64_t file_bytes;      /* once it is sealed */
    uint32_t kill_count;      /* in its table */

    /* while it is written */
    uint32_t blocks;      /* given to runs, and the header */
    uint32_t hole_blocks; /* of them, of runs that failed */
    uint32_t run_count;   /* given out */
    uint32_t keys;        /* in those runs */
    uint32_t unsettled;   /* runs whose batch is not through */
    struct bkt_run *runs; /* not acknowledged yet, in the order of the log */
    struct bkt_run **runs_end;
    uint32_t runs_under_way;
    bool syncing;
    int64_t touched_ns;     /* last run */
    int64_t seal_again_ns;  /* after a failure; of removing it, too */
    int64_t evict_again_ns; /* likewise */
    struct bkt_table table;
};

struct bkt;
struct bkt_batch;

/* Names a bucket that somebody else may remove: a slot is used again, a number
 * never. */
struct bkt_name {
    uint32_t slot;
    uint64_t number;
};

/* A run on its way through the log. One allocation; freed when neither its
 * batch nor the log needs it. */
struct bkt_run {
    struct bkt *bkt;
    /* the owner's wishes */
    struct kvt_fs_queue *queue;
    int64_t deadline_ns;
    struct kvt_charge charge;
    uint32_t entry_count;
    uint32_t kill_count; /* of its own; others may ride along */
    uint64_t key_bytes;
    uint32_t blocks;         /* with the record */
    struct bkt_batch *owner; /* null when it is no batch's */
    bool kills_only;         /* may use the reserve */
    bool forced;             /* may pass the limit: what it says lets more go */
    bool carries;            /* for what is carried over: before all others */
    bool at_once;            /* is granted a place now, or refused */
    bool stand_in;           /* for one that was refused: room is made for it,
                                and then it goes */
    void (*granted)(struct bkt_run *run, int rc);
    void (*ended)(struct bkt_run *run, int rc);
    void *arg;
    void (*killed)(struct bkt_batch *bb, int rc); /* of kvt_bkt_kill_run */
    /* the log's */
    struct bkt_bucket *bucket;
    struct kvt_run_head head;
    uint64_t sequence; /* of the first entry */
    struct kvt_bucket_kill *riders;
    uint32_t rider_count;
    uint32_t rider_room; /* so many have a place in any case */
    uint32_t value_blocks;
    uint8_t *record;          /* aligned; freed when it is written */
    uint8_t *entries;         /* a copy, for the bucket's table */
    struct kvt_slice *slices; /* the owner's, freed with it */
    struct kvt_bucket_kill *kills;
    struct kvt_fs_elem elem; /* write, then sync */
    struct kvt_fs_elem wait;
    struct bkt_run *next; /* in the line, or in its bucket */
    enum {
        BKT_RUN_NEW,
        BKT_RUN_IN_LINE,
        BKT_RUN_WRITING,
        BKT_RUN_WRITTEN,
        BKT_RUN_SYNCED,
        BKT_RUN_FAILED,
    } state;
    int rc;
    bool resolved; /* the log is through with it; `rc` is the result */
    bool waiting;  /* `wait` is out */
    bool settled;
    uint8_t attempts;
    bool must_sync; /* its owner is to sync the bucket */
    bool syncing;   /* its sync is on its way */
    bool orphan;    /* its batch has given it up: its objects are killed */
    bool dropped;   /* its batch has gone: freed when the log is through */
    bool in_log;
    uint32_t sync_end; /* runs before this number are covered by the sync */
};

struct bkt {
    struct kvt_backend base;
    struct kvt_fs *fs;
    struct kvt_fs_lock *lock; /* null when read-only */
    struct kvt_marker marker;
    uint8_t boot[16];
    bool checksum;
    bool sync_runs; /* before a run is acknowledged */
    enum bkt_durability durability;
    uint64_t writer;
    uint32_t block_bits;     /* of a place; the rest is the slot */
    uint32_t blocks_max;     /* of a bucket */
    uint32_t run_blocks_max; /* of the values of one run */
    uint32_t keys_max;
    uint32_t runs_max;
    uint32_t files_max;
    int64_t seal_after_ns;
    struct kvt_place_index index;
    uint32_t table_bytes; /* of a bucket's end, what the last table took
                             (atomic) */

    pthread_mutex_t mutex;
    struct bkt_bucket **slots;
    uint32_t slot_count;
    uint32_t slot_capacity;
    struct kvt_evict_order order;
    struct kvt_evict_order files; /* open and not written */
    uint32_t file_count;          /* of them, and those being opened */
    bool files_are_crowded;
    struct kvt_budget budget;
    uint64_t beside;  /* of the limit: what is no bucket */
    uint64_t reserve; /* of the limit: values leave it free, and what a
                         checkpoint takes; kills the half of it; what makes
                         room may use it all */
    struct kvt_turns turns;
    struct bkt_bucket *active;
    struct bkt_bucket *spare;
    uint64_t next_number;
    uint64_t next_sequence;
    struct kvt_bucket_kill *kills; /* to ride with the next runs */
    size_t kill_count;
    size_t kill_capacity; /* at least kill_count + kills_riding */
    size_t kills_riding;
    struct bkt_run *line; /* runs without a place in the log */
    struct bkt_run **line_end;
    uint32_t unsettled; /* runs that have a place and are not settled */
    uint32_t withdrawn; /* buckets (atomic) */

    /* keeper; see bucket_keeper.c */
    pthread_t keeper;
    pthread_t sealer;
    pthread_cond_t work;  /* for the keeper */
    pthread_cond_t quiet; /* for who waits for it */
    bool keeper_runs;
    bool keeper_stops;
    bool bucket_wanted;
    bool making;  /* somebody makes one */
    bool sealing; /* somebody seals one */
    bool room_wanted;
    bool device_full;      /* though the limit is not reached */
    unsigned clearing;     /* calls that remove all */
    uint64_t device_freed; /* since then */
    bool dead_found;       /* a sealed bucket without live objects */
    bool checkpoint_stale; /* the one on disk went */
    int evict_rc;          /* why the last bucket that stayed did not go */
    bool carrying;         /* the room that there is is for what is carried */
    double rewrite_share; /* of written_bytes, at most; 0: nothing is carried */
    int64_t make_again_ns;
    pthread_mutex_t evicting; /* one eviction at a time; before mutex */

    /* counters */
    uint64_t live_bytes;
    uint64_t evicted_objects;
    uint64_t written_bytes; /* blocks of values given to runs */
    uint64_t rewritten_bytes;
    uint64_t carried_bytes; /* of these and of what was not written after all */
    uint64_t checksum_misses;
    uint64_t quarantined_objects;
    uint64_t quarantine_bytes;
    uint64_t bucket_count;
    uint32_t in_state[BKT_STATES]; /* buckets */
    struct {
        uint64_t objects;
        uint64_t removed_temporaries;
        uint64_t dropped_records;
        uint64_t orphans;
    } recovery;
};

static inline struct bkt_name bkt_name_of(const struct bkt_bucket *bucket)
{
    return (struct bkt_name){bucket->slot, bucket->number};
}

/* The bucket of that name, or null. Mutex held. */
static inline struct bkt_bucket *bkt_named(const struct bkt *bkt,
                                           struct bkt_name name)
{
    struct bkt_bucket *bucket =
        name.slot < bkt->slot_count ? bkt->slots[name.slot] : NULL;
    return bucket != NULL && bucket->number == name.number ? bucket : NULL;
}

/* Places ------------------------------------------------------------------ */

static inline uint64_t bkt_place(const struct bkt *bkt,
                                 const struct bkt_bucket *bucket,
                                 uint32_t block)
{
    return (uint64_t)bucket->slot << bkt->block_bits | block;
}

static inline uint32_t bkt_place_block(const struct bkt *bkt, uint64_t place)
{
    return (uint32_t)(place & ((UINT64_C(1) << bkt->block_bits) - 1));
}

/* Mutex held. */
static inline void bkt_set_state(struct bkt_bucket *bucket,
                                 enum bkt_state state)
{
    bucket->bkt->in_state[bucket->state]--;
    bucket->bkt->in_state[state]++;
    bucket->state = state;
}

/* The bucket of a place, or null. Mutex held. */
static inline struct bkt_bucket *bkt_bucket_at(const struct bkt *bkt,
                                               uint64_t place)
{
    uint64_t slot = place >> bkt->block_bits;
    return slot < bkt->slot_count ? bkt->slots[slot] : NULL;
}

static inline uint64_t bkt_value_blocks(uint64_t size)
{
    return size > 0 ? kvt_blocks_of(size) : 1;
}

/* bucket.c ---------------------------------------------------------------- */

/* Hash of a key, as the index and the files have it. */
uint64_t kvt_bkt_hash(const struct bkt *bkt, struct kvt_key key);
/* The check value of an object: identity and bytes. */
uint64_t kvt_bkt_check(const struct bkt *bkt, struct kvt_key key,
                       const struct kvt_slice *slices, size_t count,
                       uint64_t size);
void kvt_bkt_path(const struct bkt_bucket *bucket, char path[BKT_PATH_MAX]);
void kvt_bkt_directory(uint64_t writer, char path[BKT_PATH_MAX]);
struct kvt_meta kvt_bkt_meta(const struct bkt *bkt,
                             const struct bkt_bucket *bucket,
                             struct kvt_key key, uint64_t size, uint32_t block);
/* Adds a bucket to the slots; null when memory or places are short. Mutex
 * held. */
struct bkt_bucket *kvt_bkt_bucket_add(struct bkt *bkt, uint64_t writer,
                                      uint64_t number);
/* Takes an emptied bucket out and frees it. Mutex held. */
void kvt_bkt_bucket_drop(struct bkt *bkt, struct bkt_bucket *bucket);
/* An entry of the index went: its object is dead. Mutex held. */
void kvt_bkt_object_died(struct bkt *bkt, const struct kvt_index_entry *entry);
void kvt_bkt_object_lives(struct bkt *bkt, struct bkt_bucket *bucket,
                          uint64_t size);
/* A pin keeps a bucket's file. Mutex held. */
void kvt_bkt_pin(struct bkt_bucket *bucket);
void kvt_bkt_unpin(struct bkt *bkt, struct bkt_bucket *bucket);

/* bucket_table.c: -ENOMEM, or 0. */
int kvt_bkt_table_add(struct bkt_table *table, const uint8_t *entries,
                      uint32_t entry_count, const struct kvt_bucket_run *run,
                      const struct kvt_bucket_kill *kills, uint32_t kill_count);
int kvt_bkt_table_add_kill(struct bkt_table *table,
                           const struct kvt_bucket_kill *kill);
void kvt_bkt_table_free(struct bkt_table *table);
/* Reads the table of a sealed bucket's file of `file_size` bytes (0 =
 * unknown). -EBADMSG when it has none that holds: `*bytes` is then null, or
 * what stands in the place of a table whose footer holds. Otherwise it has the
 * table; free with free. */
int kvt_bkt_table_read(struct bkt *bkt, const char *path, uint64_t seed,
                       struct kvt_bucket_footer *footer, uint8_t **bytes);
/* The runs and kills of any bucket that is pinned: from memory or from its
 * file. Free with kvt_bkt_table_free. */
int kvt_bkt_table_of(struct bkt *bkt, struct bkt_bucket *bucket,
                     struct bkt_table *table);
/* Gives every object of a bucket to `each`, with its key; the bucket is not
 * pinned while `each` runs. Ends with its non-zero return; -ENOENT: the
 * bucket went; -EBADMSG: some records are damaged, the others were given. */
typedef int (*kvt_bkt_each_fn)(const struct kvt_bucket_entry *entry,
                               struct kvt_key key, void *arg);
int kvt_bkt_each_object(struct bkt *bkt, uint32_t slot, uint64_t number,
                        kvt_bkt_each_fn each, void *arg);

/* bucket_scan.c */
/* All buckets but the dying, oldest first. Free with free; null when memory is
 * short. */
struct bkt_name *kvt_bkt_list_buckets(struct bkt *bkt, size_t *count);
/* Is this object of a bucket the one that the index has, and visible? */
bool kvt_bkt_is_stored_at(struct bkt *bkt, uint32_t slot,
                          const struct kvt_bucket_entry *entry);

/* bucket_verify.c */
int kvt_bkt_verify(struct kvt_backend *backend,
                   struct kvt_verification *verification,
                   struct kvt_error *err);

/* bucket_evidence.c: bytes that are not what was stored, kept for people to
 * look at, in a file each below `.kvtier/quarantine`. */
/* Counts what is there, when the store is opened. 0 or -errno. */
int kvt_bkt_evidence_count(struct bkt *bkt);
/* Keeps the bytes of an object, if there is room; blocking. */
void kvt_bkt_evidence_keep(struct bkt *bkt, const struct bkt_bucket *bucket,
                           uint32_t block, void *bytes, size_t size);

/* bucket_log.c ------------------------------------------------------------ */

/* Why a run got no place: */
enum {
    BKT_NO_ROOM = -ENOBUFS, /* the limit, and nothing may go for it */
    BKT_NO_KEYS = -EMLINK,  /* likewise, objects */
    BKT_KEPT = -ECANCELED,  /* the handler keeps what would have to go */
};

/* A run of so many objects, whose keys have so many bytes and whose values
 * take so many blocks, and of so many kills. Null when memory is short. */
struct bkt_run *kvt_bkt_run_new(struct bkt *bkt, uint32_t entries,
                                uint64_t key_bytes, uint64_t value_blocks,
                                uint32_t kills);
/* The batch is through with it. */
void kvt_bkt_run_drop(struct bkt_run *run);
/* Gets it a place in the log: `granted` is called on its queue's thread,
 * perhaps before this returns, with 0 or why there is none; with -EAGAIN when
 * one that is wanted at once would have to wait. */
void kvt_bkt_run_start(struct bkt_run *run);
/* Writes it: the owner has put entries and keys into the record; `slices` are
 * record and values. `ended` is called on its queue's thread with 0, or with
 * what went wrong: -EAGAIN when a run in front of it failed, and it may be
 * tried again. */
void kvt_bkt_run_write(struct bkt_run *run, const struct kvt_slice *slices,
                       uint32_t slice_count);
/* Its batch is through: the bucket may be evicted. Mutex held. */
void kvt_bkt_run_settle(struct bkt_run *run);
/* The batch's deadline passed: a run that waits is told. */
void kvt_bkt_run_expire(struct bkt_run *run);
/* Gives places to the runs of the line. Mutex held. */
void kvt_bkt_line_pump(struct bkt *bkt);
/* While it is held, nobody gets a place but kills and what is carried. */
void kvt_bkt_line_hold(struct bkt *bkt, bool hold);
/* The first run of the line gets nothing. Mutex held. */
void kvt_bkt_line_refuse(struct bkt *bkt, int rc);
/* Nobody starts runs any more: what stands in for others goes. */
void kvt_bkt_line_clear(struct bkt *bkt);
/* A place at once, for a run of whoever may not wait for the keeper: makes a
 * bucket when there is none. */
int kvt_bkt_run_place(struct bkt_run *run);

/* A kill that rides with one of the next runs: of what would do no harm, only
 * take space, if it were back after a crash. Mutex held. */
void kvt_bkt_kill_later(struct bkt *bkt, const struct bkt_bucket *bucket,
                        uint32_t block, uint32_t cause);

/* bucket_files.c ---------------------------------------------------------- */

/* The bucket's file was opened, or is no longer written; it was counted in
 * file_count. Mutex held. */
void kvt_bkt_file_entered(struct bkt *bkt, struct bkt_bucket *bucket);
/* Used. Mutex held. */
void kvt_bkt_file_used(struct bkt *bkt, struct bkt_bucket *bucket);
/* There is no room for one more: the keeper makes some. Mutex held. */
void kvt_bkt_files_crowded(struct bkt *bkt);
/* Takes the file out of the cache; the caller closes it. Null when there is
 * none. Mutex held. */
struct kvt_fs_file *kvt_bkt_file_take(struct bkt *bkt,
                                      struct bkt_bucket *bucket);
/* Closes some that are not being read. No lock held. */
void kvt_bkt_files_trim(struct bkt *bkt);
int kvt_bkt_file_close(struct bkt *bkt, struct kvt_fs_file *file);

/* bucket_keeper.c --------------------------------------------------------- */

int kvt_bkt_keeper_start(struct bkt *bkt);
/* Seals what can be sealed, then ends the thread. */
void kvt_bkt_keeper_stop(struct bkt *bkt);
/* bucket_seal.c: of a full bucket whose runs are through, and which the caller
 * has pinned; takes the pin, and ends bkt->sealing. */
int kvt_bkt_seal(struct bkt *bkt, struct bkt_bucket *bucket);
/* bucket_make.c: makes a spare bucket when there is none; `forced`: also
 * when the limit is reached (kills make room later). */
int kvt_bkt_make_bucket(struct bkt *bkt, bool forced);
/* Of the limit, what values leave free. Mutex held. */
uint64_t kvt_bkt_kept_free(const struct bkt *bkt);
/* What has to be free for a run. Mutex held. */
struct kvt_charge kvt_bkt_run_need(const struct bkt_run *run);
/* What is missing for it now. Mutex held. */
struct kvt_charge kvt_bkt_shortage(const struct bkt *bkt,
                                   const struct bkt_run *run);
/* Does the limit stand against one more? Mutex held. */
bool kvt_bkt_lacks_bucket_room(const struct bkt *bkt);
/* The names of a writer's buckets survive a power loss. */
int kvt_bkt_sync_names(struct bkt *bkt, uint64_t writer);

/* bucket_carry.c */
struct bkt_carry;
/* What is to be written again of a bucket that is pinned, read; null when that
 * is nothing. */
struct bkt_carry *kvt_bkt_carry_new(struct bkt *bkt, struct bkt_bucket *bucket);
void kvt_bkt_carry_free(struct bkt_carry *carry);
/* Is the object of this block among it? To be asked in order, once. */
bool kvt_bkt_carry_has(struct bkt_carry *carry, uint32_t block);
/* Lets the bucket go, by `let_go`, whose result it returns, and which may hold
 * the line; then writes what it has. `result` gets less by that. */
int kvt_bkt_carry_over(struct bkt_carry *carry, int (*let_go)(void *arg),
                       void *arg, struct kvt_evict_result *result);
/* bucket_evict.c */
/* Evicts one bucket, blocking: 0, -ENOENT when there is none that may go,
 * -ECANCELED when the handler kept all, or an error. `carries`: what was used
 * may be written again, so that there is less room than the bucket took. */
int kvt_bkt_evict_one(struct bkt *bkt, bool carries,
                      struct kvt_evict_result *result);
/* Removes a sealed bucket in which nothing lives; kills that it has and that
 * are still needed are written again. -ENOENT when there is none. */
int kvt_bkt_drop_lifeless(struct bkt *bkt);
/* Would one of the two find one? Mutex held. */
bool kvt_bkt_may_evict(const struct bkt *bkt);
int kvt_bkt_evict_to(struct bkt *bkt, struct kvt_charge limit,
                     struct kvt_evict_result *result);
/* A bucket is on its way out: its objects are misses. Mutex held. */
void kvt_bkt_begin_end(struct bkt *bkt, struct bkt_bucket *bucket);
/* Removes the file of a bucket that is on its way out, and the bucket from the
 * index; 0 also when it has gone already, -EBUSY while it is in use. When that
 * fails it is tried again later. */
int kvt_bkt_remove_bucket(struct bkt *bkt, struct bkt_name name);
/* The bucket, as long as its file is there, or null. Mutex held. */
struct bkt_bucket *kvt_bkt_find_bucket(const struct bkt *bkt, uint64_t writer,
                                       uint64_t number);
/* May its file go now? Mutex held. */
bool kvt_bkt_may_vanish(const struct bkt_bucket *bucket);
/* Does the index have an object of this hash at this place? */
bool kvt_bkt_is_live(struct bkt *bkt, const struct bkt_bucket *bucket,
                     uint64_t hash, uint32_t block);
/* bucket_kills.c */
/* Writes kills only, blocking: those given and all that wait to ride. */
int kvt_bkt_write_kills(struct bkt *bkt, const struct kvt_bucket_kill *kills,
                        size_t count);
/* Writes again what a bucket that goes kills; `table` is null when it cannot
 * be read. 0 or -errno. */
int kvt_bkt_keep_kills(struct bkt *bkt, const struct bkt_bucket *victim,
                       const struct bkt_table *table);
/* bucket_reclaim.c */
/* Does punching give back single blocks? */
bool kvt_bkt_can_punch(const struct bkt *bkt);
/* Removes sealed buckets in which nothing lives. */
void kvt_bkt_remove_dead(struct bkt *bkt);
/* Gives back the room of the dead objects of one bucket, blocking. -ENOENT
 * when there is none that is worth it, -EBUSY: not now. */
int kvt_bkt_reclaim_one(struct bkt *bkt);
/* Would it find one? Mutex held. */
bool kvt_bkt_may_reclaim(struct bkt *bkt);
int kvt_bkt_evict(struct kvt_backend *backend, double high, double low,
                  struct kvt_evict_result *result, struct kvt_error *err);
int kvt_bkt_remove_all(struct kvt_backend *backend, struct kvt_error *err);

/* bucket_checkpoint.c */
/* 0 when the index was taken from the checkpoint; otherwise it has to be
 * built from the buckets. */
struct bkt_listing;
int kvt_bkt_checkpoint_read(struct bkt *bkt, struct bkt_listing *listing);
int kvt_bkt_checkpoint_write(struct bkt *bkt);
/* What it would take of the disk now. Mutex held. */
uint64_t kvt_bkt_checkpoint_bytes(const struct bkt *bkt);
/* Before the first change: it must not be believed again. */
int kvt_bkt_checkpoint_remove(struct bkt *bkt);

/* bucket_recover.c */
bool kvt_bkt_is_writer(const char *name, uint64_t *writer);
int kvt_bkt_recover(struct bkt *bkt, struct kvt_error *err);

/* Batches ----------------------------------------------------------------- */

/* One object of a batch. */
struct bkt_op {
    struct bkt_batch *bb;
    struct kvt_object *object;
    uint64_t hash;
    uint64_t size;
    uint64_t check;
    struct kvt_index_entry entry; /* what the index says */
    struct bkt_bucket *bucket;    /* pinned by a load */
    struct bkt_run *run;
    struct bkt_op *next;        /* on its way together with this one */
    struct kvt_fs_elem *again;  /* a load's second read */
    uint64_t number;            /* of the bucket that it is in */
    struct kvt_bucket_kill old; /* what it replaces */
    uint32_t block;
    uint8_t attempts;
    bool mine; /* of this batch: has no result yet */
    bool has_turn;
    bool has_check;
    bool in_run; /* given to a run */
    bool replaces;
    bool written; /* in the log */
    bool stored;  /* was there already */
};

struct bkt_batch {
    struct bkt *bkt;
    struct kvt_batch *batch;
    size_t pending;
    void (*ended)(struct bkt_batch *bb);
    void (*ready)(struct bkt_batch *bb); /* has the turns at all its keys */
    size_t at;                           /* next object whose turn is to come */
    size_t next_op;                      /* next object to be written */
    uint32_t runs_under_way;
    bool starting_runs;
    uint32_t holds; /* unsettled runs; under the mutex */
    bool counted;
    bool waits_for_turn;
    bool expired;
    bool carries; /* bucket_carry.c's */
    struct kvt_turn *turns;
    uint32_t *sorted; /* objects by the hash of their keys */
    size_t sorted_count;
    struct bkt_run **runs; /* of this batch, ended or not */
    size_t run_count;
    size_t run_capacity;
    struct kvt_fs_elem wait;
    struct bkt_load *load; /* of a load, as the next two */
    struct kvt_fs_elem *elems;
    struct kvt_slice *slices;
    struct bkt_op ops[];
};

/* Starts a batch on its own. -ENOMEM, or 0. */
int kvt_bkt_batch_run(struct bkt *bkt, struct kvt_batch *batch,
                      void (*start)(struct bkt_batch *bb));
void kvt_bkt_start_offload(struct bkt_batch *bb);
/* An offload that starts with `ready`, which goes on with
 * kvt_bkt_offload_ready, or not. */
void kvt_bkt_start_carry(struct bkt_batch *bb,
                         void (*ready)(struct bkt_batch *bb));
void kvt_bkt_offload_ready(struct bkt_batch *bb);
void kvt_bkt_start_remove(struct bkt_batch *bb);
void kvt_bkt_start_load(struct bkt_batch *bb);
void kvt_bkt_exists(struct bkt *bkt, struct kvt_batch *batch);
int kvt_bkt_scan(struct kvt_backend *backend, size_t batch_max,
                 kvt_scan_fn handler, void *arg, struct kvt_error *err);

/* Writes the kills of a batch; `done` comes on its thread with 0 or -errno.
 * The kills are copied. */
void kvt_bkt_kill_run(struct bkt_batch *bb, const struct kvt_bucket_kill *kills,
                      uint32_t count,
                      void (*done)(struct bkt_batch *bb, int rc));
/* Does `rc` say that the device is full? Then the keeper lets something go, or
 * refuses whoever waits for it. */
bool kvt_bkt_device_filled(struct bkt *bkt, int rc);
/* What it means for an object that its run was not granted, or failed. */
enum kvt_fault kvt_bkt_fault_of(int rc);
/* Adds a run to those of the batch. -ENOMEM, or 0. */
int kvt_bkt_batch_add_run(struct bkt_batch *bb, struct bkt_run *run);
/* All runs are through: their buckets may be evicted. Mutex held. */
void kvt_bkt_settle_runs(struct bkt_batch *bb);
/* Is the entry's bucket there, and not on its way out? Mutex held. */
bool kvt_bkt_is_visible(const struct bkt *bkt,
                        const struct kvt_index_entry *entry);
/* The object was used: by an offload of the same bytes, or a load. Mutex
 * held. */
void kvt_bkt_use(struct bkt *bkt, uint64_t hash,
                 const struct kvt_index_entry *entry);

/* Takes the turns at all keys of the batch's objects that have no result
 * yet, one after the other in the order of their hashes; then `ready`. */
void kvt_bkt_take_turns(struct bkt_batch *bb,
                        void (*ready)(struct bkt_batch *bb));
void kvt_bkt_give_turns(struct bkt_batch *bb);
/* Something less that the batch waits for; the last ends it. */
void kvt_bkt_batch_drop(struct bkt_batch *bb);
void kvt_bkt_batch_end(struct bkt_batch *bb);
void kvt_bkt_op_fail(struct bkt_op *op, enum kvt_fault fault, int rc);

int kvt_bkt_open(const struct kvt_backend_args *args,
                 struct kvt_backend **backend, struct kvt_error *err);

#endif
