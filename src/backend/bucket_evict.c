/*
 * Eviction of whole buckets, in two phases: a bucket is withdrawn, so that its
 * objects are misses; the handler is asked; then the index forgets them and
 * the file goes. A refusal shows the bucket again, in its old place.
 *
 * What the bucket says of others must not go with it: kills of objects whose
 * buckets are still there are written again before.
 */
#include "backend/bucket.h"
#include "core/clock.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define AGAIN_NS INT64_C(1000000000)

static struct bkt_bucket *bucket_of(struct kvt_evict_node *node)
{
    return (struct bkt_bucket *)((char *)node -
                                 offsetof(struct bkt_bucket, order));
}

/* Choosing ----------------------------------------------------------------- */

static bool may_go(const struct bkt_bucket *bucket, int64_t now_ns)
{
    return (bucket->state == BKT_SEALED || bucket->state == BKT_CLOSED ||
            bucket->state == BKT_FULL || bucket->state == BKT_ACTIVE) &&
           bucket->unsettled == 0 && bucket->runs_under_way == 0 &&
           bucket->pins == 0 && !bucket->withdrawn && bucket->run_count > 0 &&
           bucket->evict_again_ns <= now_ns;
}

/* Withdraws a bucket, if there is one, and pins it. Mutex held. */
static void withdraw(struct bkt *bkt, struct bkt_bucket *bucket)
{
    if (bucket == NULL) {
        return;
    }
    if (bucket == bkt->active) {
        bkt->active = NULL;
        bkt_set_state(bucket, BKT_FULL);
    }
    bucket->withdrawn = true;
    __atomic_fetch_add(&bkt->withdrawn, 1, __ATOMIC_RELEASE);
    kvt_bkt_pin(bucket);
}

static bool is_lifeless(const struct bkt_bucket *bucket, int64_t now_ns)
{
    return bucket->state == BKT_SEALED && bucket->live_objects == 0 &&
           may_go(bucket, now_ns);
}

/* A sealed bucket of which at most its kills are still of use. One run of
 * kills takes no less elsewhere, but beside those of others. Mutex held. */
static struct bkt_bucket *find_lifeless(const struct bkt *bkt)
{
    struct kvt_evict_node *node = NULL;
    struct bkt_bucket *single = NULL;
    int64_t now_ns = kvt_clock_ns();
    while ((node = kvt_evict_next(&bkt->order, node)) != NULL) {
        struct bkt_bucket *bucket = bucket_of(node);
        if (!is_lifeless(bucket, now_ns)) {
            continue;
        }
        if (bucket->run_count > 1 || bucket->kill_count == 0 ||
            single != NULL) {
            return bucket;
        }
        single = bucket;
    }
    return NULL;
}

/* The next bucket to be evicted. Mutex held. */
static struct bkt_bucket *find_next(const struct bkt *bkt)
{
    int64_t now_ns = kvt_clock_ns();
    struct kvt_evict_node *node = NULL;
    while ((node = kvt_evict_next(&bkt->order, node)) != NULL) {
        struct bkt_bucket *bucket = bucket_of(node);
        /* kills alone would take as much elsewhere */
        if (may_go(bucket, now_ns) && bucket->objects > 0) {
            return bucket;
        }
    }
    return NULL;
}

bool kvt_bkt_may_evict(const struct bkt *bkt)
{
    return find_lifeless(bkt) != NULL ||
           (kvt_evict_allowed(&bkt->order) && find_next(bkt) != NULL);
}

static void show_again(struct bkt *bkt, struct bkt_bucket *bucket)
{
    pthread_mutex_lock(&bkt->mutex);
    bucket->withdrawn = false;
    __atomic_fetch_sub(&bkt->withdrawn, 1, __ATOMIC_RELEASE);
    kvt_bkt_unpin(bkt, bucket);
    pthread_mutex_unlock(&bkt->mutex);
}

/* Asking the handler --------------------------------------------------------
 */

struct victims {
    struct bkt *bkt;
    struct bkt_bucket *bucket;
    struct bkt_carry *carry; /* those that stay; or null */
    struct kvt_meta *metas;
    size_t count;
    size_t capacity;
};

bool kvt_bkt_is_live(struct bkt *bkt, const struct bkt_bucket *bucket,
                     uint64_t hash, uint32_t block)
{
    struct kvt_index_entry entry;
    bool found;
    kvt_place_index_find(&bkt->index, &hash, &entry, &found, 1);
    return found && entry.place == bkt_place(bkt, bucket, block);
}

static int add_victim(const struct kvt_bucket_entry *entry, struct kvt_key key,
                      void *arg)
{
    struct victims *victims = arg;
    struct bkt *bkt = victims->bkt;
    if (!kvt_bkt_is_live(bkt, victims->bucket, entry->key_hash, entry->block) ||
        (victims->carry != NULL &&
         kvt_bkt_carry_has(victims->carry, entry->block))) {
        return 0;
    }
    if (victims->count == victims->capacity) {
        size_t capacity = victims->capacity * 2 + 64;
        struct kvt_meta *metas =
            realloc(victims->metas, capacity * sizeof metas[0]);
        if (metas == NULL) {
            return -ENOMEM;
        }
        victims->metas = metas;
        victims->capacity = capacity;
    }
    void *copy = malloc(key.size);
    if (copy == NULL) {
        return -ENOMEM;
    }
    memcpy(copy, key.data, key.size);
    victims->metas[victims->count++] =
        kvt_bkt_meta(bkt, victims->bucket, (struct kvt_key){copy, key.size},
                     entry->length, entry->block);
    return 0;
}

static void forget_victims(struct victims *victims)
{
    for (size_t i = 0; i < victims->count; i++) {
        free((void *)victims->metas[i].key.data);
    }
    free(victims->metas);
}

/* What the handler says. When the keys cannot be read it is told how many
 * they are: keys of size 0. */
static int ask(struct bkt *bkt, struct bkt_bucket *bucket,
               struct bkt_carry *carry)
{
    const struct kvt_handlers *handlers = bkt->base.args.handlers;
    pthread_mutex_lock(&bkt->mutex);
    size_t objects = (size_t)bucket->live_objects;
    pthread_mutex_unlock(&bkt->mutex);
    if (handlers->evict == NULL || objects == 0) {
        return 0;
    }
    struct victims victims = {.bkt = bkt, .bucket = bucket, .carry = carry};
    int rc = kvt_bkt_each_object(bkt, bucket->slot, bucket->number, add_victim,
                                 &victims);
    if (rc != 0) {
        forget_victims(&victims);
        victims = (struct victims){.count = objects};
        victims.metas = calloc(victims.count, sizeof victims.metas[0]);
        if (victims.metas == NULL) {
            return -ENOMEM;
        }
        for (size_t i = 0; i < victims.count; i++) {
            victims.metas[i] =
                kvt_bkt_meta(bkt, bucket, (struct kvt_key){NULL, 0}, 0, 0);
        }
    }
    rc = 0;
    if (victims.count > 0 && handlers->evict(victims.metas, victims.count,
                                             handlers->evict_arg) != 0) {
        rc = BKT_KEPT;
    }
    forget_victims(&victims);
    return rc;
}

/* Going ---------------------------------------------------------------------
 */

/* The index forgets what the bucket holds; `bytes` gets more by that of it. */
static uint64_t forget_objects(struct bkt *bkt, struct bkt_bucket *bucket,
                               const struct bkt_table *table, uint64_t *bytes)
{
    uint64_t objects = 0;
    for (uint32_t i = 0; i < table->entry_count; i++) {
        struct kvt_bucket_entry entry;
        kvt_bucket_entry_decode(
            table->entries + (size_t)i * KVT_BUCKET_ENTRY_SIZE, &entry);
        if (kvt_place_index_remove(&bkt->index, entry.key_hash,
                                   bkt_place(bkt, bucket, entry.block))) {
            objects++;
            *bytes += entry.length;
        }
    }
    return objects;
}

/* Its objects leave the index, and the figures. When its table cannot be read
 * the whole index is searched. */
static void forget(struct bkt *bkt, struct bkt_bucket *bucket,
                   const struct bkt_table *table)
{
    uint64_t end = (uint64_t)(bucket->slot + 1) << bkt->block_bits;
    uint64_t bytes = 0;
    uint64_t objects =
        table != NULL ? forget_objects(bkt, bucket, table, &bytes)
                      : kvt_place_index_remove_range(&bkt->index,
                                                     bkt_place(bkt, bucket, 0),
                                                     end, &bytes);
    pthread_mutex_lock(&bkt->mutex);
    bkt->live_bytes -= bytes;
    bucket->live_objects -= objects;
    bucket->live_bytes -= bytes;
    kvt_budget_give_back(&bkt->budget, (struct kvt_charge){.objects = objects});
    pthread_mutex_unlock(&bkt->mutex);
}

void kvt_bkt_begin_end(struct bkt *bkt, struct bkt_bucket *bucket)
{
    if (!bucket->withdrawn) {
        bucket->withdrawn = true;
        __atomic_fetch_add(&bkt->withdrawn, 1, __ATOMIC_RELEASE);
    }
    bkt_set_state(bucket, BKT_DYING);
    pthread_cond_broadcast(&bkt->work);
}

bool kvt_bkt_may_vanish(const struct bkt_bucket *bucket)
{
    return bucket->state == BKT_DYING && bucket->pins == 0 &&
           bucket->runs_under_way == 0 && bucket->unsettled == 0;
}

/* Its file goes. What it held must not come back when a bucket that kills it
 * went. */
static int remove_file(struct bkt *bkt, struct bkt_bucket *bucket)
{
    char path[BKT_PATH_MAX];
    pthread_mutex_lock(&bkt->mutex);
    struct kvt_fs_file *file = kvt_bkt_file_take(bkt, bucket);
    pthread_mutex_unlock(&bkt->mutex);
    kvt_bkt_path(bucket, path);
    kvt_bkt_file_close(bkt, file);
    struct kvt_fs_elem remove = {.op = KVT_FS_REMOVE, .path = path};
    int rc = (int)kvt_fs_run(bkt->fs, &remove);
    if (rc == 0 && bkt->durability != BKT_DURABLE_NONE) {
        kvt_bkt_sync_names(bkt, bucket->writer);
    }
    return rc == -ENOENT ? 0 : rc;
}

/* The table of a pinned bucket, for both of what follows; null when it cannot
 * be read. */
static struct bkt_table *read_table(struct bkt *bkt, struct bkt_bucket *bucket,
                                    struct bkt_table *table)
{
    return kvt_bkt_table_of(bkt, bucket, table) == 0 ? table : NULL;
}

static void free_table(struct bkt_table *table)
{
    if (table != NULL) {
        kvt_bkt_table_free(table);
    }
}

/* Others kill what the bucket kills. It takes no more runs. */
static int keep_kills(struct bkt *bkt, struct bkt_bucket *bucket,
                      const struct bkt_table *table)
{
    pthread_mutex_lock(&bkt->mutex);
    bool kept = bucket->kills_kept;
    pthread_mutex_unlock(&bkt->mutex);
    if (kept) {
        return 0;
    }
    int rc = kvt_bkt_keep_kills(bkt, bucket, table);
    pthread_mutex_lock(&bkt->mutex);
    bucket->kills_kept = bucket->kills_kept || rc == 0;
    pthread_mutex_unlock(&bkt->mutex);
    return rc;
}

/* The index forgets its objects only when they cannot come back. */
static int vanish(struct bkt *bkt, struct bkt_bucket *bucket,
                  const struct bkt_table *table)
{
    int rc = keep_kills(bkt, bucket, table);
    if (rc == 0) {
        rc = remove_file(bkt, bucket);
    }
    if (rc == 0) {
        forget(bkt, bucket, table);
    }
    return rc;
}

int kvt_bkt_remove_bucket(struct bkt *bkt, struct bkt_name name)
{
    pthread_mutex_lock(&bkt->mutex);
    struct bkt_bucket *bucket = bkt_named(bkt, name);
    bool free_now = bucket != NULL && kvt_bkt_may_vanish(bucket);
    if (free_now) {
        kvt_bkt_pin(bucket); /* ours: nobody else removes it */
    }
    pthread_mutex_unlock(&bkt->mutex);
    if (!free_now) {
        return bucket != NULL ? -EBUSY : 0;
    }
    struct bkt_table buffer;
    struct bkt_table *table = read_table(bkt, bucket, &buffer);
    int rc = vanish(bkt, bucket, table);
    free_table(table);
    pthread_mutex_lock(&bkt->mutex);
    if (rc == 0) {
        kvt_bkt_bucket_drop(bkt, bucket);
    } else {
        bucket->seal_again_ns = kvt_clock_ns() + AGAIN_NS;
        kvt_bkt_unpin(bkt, bucket);
    }
    kvt_bkt_line_pump(bkt);
    pthread_mutex_unlock(&bkt->mutex);
    return rc;
}

/* What goes with a bucket. Others may replace or remove objects of it at the
 * same time: those are theirs to count. */
struct gone {
    uint64_t objects;
    uint64_t bytes;
};

/* Nobody new comes to a bucket on its way out. True when some read it: it goes
 * when they are through. */
static bool is_read(struct bkt *bkt, struct bkt_bucket *bucket,
                    struct gone *gone)
{
    pthread_mutex_lock(&bkt->mutex);
    bool others = bucket->pins > 1;
    *gone = (struct gone){bucket->live_objects, bucket->live_bytes};
    kvt_bkt_begin_end(bkt, bucket);
    if (others) {
        kvt_bkt_unpin(bkt, bucket);
    }
    pthread_mutex_unlock(&bkt->mutex);
    return others;
}

/* Shown again, in the state in which it was, and passed over for a while. */
static void stay(struct bkt *bkt, struct bkt_bucket *bucket,
                 enum bkt_state state, int rc)
{
    pthread_mutex_lock(&bkt->mutex);
    bucket->evict_again_ns = kvt_clock_ns() + AGAIN_NS;
    bkt->evict_rc = rc;
    bkt_set_state(bucket, state);
    pthread_mutex_unlock(&bkt->mutex);
    show_again(bkt, bucket);
}

/* A withdrawn bucket, pinned, goes, now or when it is not read any more. */
static int let_go(struct bkt *bkt, struct bkt_bucket *bucket,
                  struct kvt_evict_result *result)
{
    enum bkt_state state = bucket->state;
    struct gone gone = {0};
    struct bkt_table buffer;
    struct bkt_table *table = NULL;
    int rc = kvt_bkt_checkpoint_remove(bkt);
    if (rc == 0) {
        table = read_table(bkt, bucket, &buffer);
        rc = keep_kills(bkt, bucket, table);
    }
    bool later = rc == 0 && is_read(bkt, bucket, &gone);
    if (rc == 0 && !later) {
        rc = vanish(bkt, bucket, table);
    }
    free_table(table);
    if (rc != 0) {
        stay(bkt, bucket, state, rc);
        return rc;
    }
    pthread_mutex_lock(&bkt->mutex);
    if (!later) {
        kvt_bkt_bucket_drop(bkt, bucket);
    }
    result->objects += gone.objects;
    result->bytes += gone.bytes;
    bkt->evicted_objects += gone.objects;
    kvt_bkt_line_pump(bkt);
    pthread_mutex_unlock(&bkt->mutex);
    return 0;
}

int kvt_bkt_drop_lifeless(struct bkt *bkt)
{
    struct kvt_evict_result ignored = {0};
    pthread_mutex_lock(&bkt->evicting);
    pthread_mutex_lock(&bkt->mutex);
    struct bkt_bucket *bucket = find_lifeless(bkt);
    withdraw(bkt, bucket);
    pthread_mutex_unlock(&bkt->mutex);
    int rc = bucket != NULL ? let_go(bkt, bucket, &ignored) : -ENOENT;
    pthread_mutex_unlock(&bkt->evicting);
    return rc;
}

struct going {
    struct bkt *bkt;
    struct bkt_bucket *bucket;
    struct bkt_carry *carry;
    struct kvt_evict_result *result;
};

static int ask_and_let_go(void *arg)
{
    const struct going *going = arg;
    int rc = ask(going->bkt, going->bucket, going->carry);
    if (rc != 0) {
        show_again(going->bkt, going->bucket);
        return rc;
    }
    if (going->carry != NULL) {
        kvt_bkt_line_hold(going->bkt, true);
    }
    return let_go(going->bkt, going->bucket, going->result);
}

static int evict(struct bkt *bkt, struct bkt_bucket *bucket,
                 struct bkt_carry *carry, struct kvt_evict_result *result)
{
    struct going going = {bkt, bucket, carry, result};
    return carry != NULL
               ? kvt_bkt_carry_over(carry, ask_and_let_go, &going, result)
               : ask_and_let_go(&going);
}

/* Could it be written now, and would it be right? A device that is full takes
 * nothing; where one run is written at a time, others' might be in the way. */
static bool may_carry(const struct bkt *bkt)
{
    return bkt->clearing == 0 && !bkt->device_full && bkt->runs_max > 1;
}

/* What is to be carried over of the bucket that is likely to be the next, and
 * that bucket. */
static struct bkt_carry *read_ahead(struct bkt *bkt, struct bkt_name *name)
{
    if (bkt->rewrite_share <= 0) {
        return NULL;
    }
    pthread_mutex_lock(&bkt->mutex);
    struct bkt_bucket *bucket = may_carry(bkt) ? find_next(bkt) : NULL;
    if (bucket != NULL) {
        kvt_bkt_pin(bucket);
        *name = bkt_name_of(bucket);
    }
    pthread_mutex_unlock(&bkt->mutex);
    if (bucket == NULL) {
        return NULL;
    }
    struct bkt_carry *carry = kvt_bkt_carry_new(bkt, bucket);
    pthread_mutex_lock(&bkt->mutex);
    kvt_bkt_unpin(bkt, bucket);
    pthread_mutex_unlock(&bkt->mutex);
    return carry;
}

/* Why those that might go are passed over, or -ENOENT. Mutex held. */
static int passed_over(const struct bkt *bkt)
{
    struct kvt_evict_node *node = NULL;
    while ((node = kvt_evict_next(&bkt->order, node)) != NULL) {
        if (may_go(bucket_of(node), INT64_MAX) &&
            bucket_of(node)->objects > 0) {
            return bkt->evict_rc;
        }
    }
    return -ENOENT;
}

/* One that cannot go now is passed over: its kills may need room themselves. */
int kvt_bkt_evict_one(struct bkt *bkt, bool carries,
                      struct kvt_evict_result *result)
{
    int rc;
    pthread_mutex_lock(&bkt->evicting);
    do {
        struct bkt_name read = {0};
        struct bkt_carry *carry = carries ? read_ahead(bkt, &read) : NULL;
        pthread_mutex_lock(&bkt->mutex);
        struct bkt_bucket *bucket = find_next(bkt);
        if (carry != NULL && bucket != bkt_named(bkt, read)) {
            kvt_bkt_carry_free(carry); /* it is another one */
            carry = NULL;
        }
        withdraw(bkt, bucket);
        rc = bucket != NULL ? 0 : passed_over(bkt);
        pthread_mutex_unlock(&bkt->mutex);
        if (bucket == NULL) {
            break;
        }
        rc = evict(bkt, bucket, carry, result);
        kvt_bkt_carry_free(carry);
    } while (rc != 0 && rc != BKT_KEPT);
    pthread_mutex_unlock(&bkt->evicting);
    return rc;
}

/* What buckets take that leave by themselves. Mutex held. */
static struct kvt_charge leaving(const struct bkt *bkt)
{
    struct kvt_charge sum = {0};
    uint32_t end = bkt->in_state[BKT_DYING] > 0 ? bkt->slot_count : 0;
    for (uint32_t i = 0; i < end; i++) {
        const struct bkt_bucket *bucket = bkt->slots[i];
        if (bucket != NULL && bucket->state == BKT_DYING &&
            bucket->seal_again_ns == 0) {
            kvt_charge_add(&sum, bucket->charge);
        }
    }
    return sum;
}

/* Waits while what is on its way out, or may go when it is sealed, makes it
 * fit; `all`: while there is anything of that. False when there is nothing to
 * wait for. Mutex held, and released meanwhile. */
static bool wait_for_leaving(struct bkt *bkt, struct kvt_charge limit, bool all)
{
    struct kvt_charge going = leaving(bkt);
    struct kvt_charge left = bkt->budget.used;
    kvt_charge_sub(&left, going);
    bool waits =
        bkt->keeper_runs && (kvt_charge_covers(limit, left) ||
                             (all && (bkt->sealing || going.allocated > 0)));
    if (waits) {
        pthread_cond_wait(&bkt->quiet, &bkt->mutex);
    }
    return waits;
}

int kvt_bkt_evict_to(struct bkt *bkt, struct kvt_charge limit,
                     struct kvt_evict_result *result)
{
    int rc = 0;
    pthread_mutex_lock(&bkt->mutex);
    while ((rc == 0 || rc == -ENOENT) &&
           !kvt_charge_covers(limit, bkt->budget.used)) {
        if (wait_for_leaving(bkt, limit, rc == -ENOENT)) {
            rc = 0;
        } else if (rc == 0) {
            pthread_mutex_unlock(&bkt->mutex);
            rc = kvt_bkt_evict_one(bkt, false, result);
            pthread_mutex_lock(&bkt->mutex);
        } else {
            break;
        }
    }
    pthread_mutex_unlock(&bkt->mutex);
    return rc == -ENOENT ? 0 : rc;
}

int kvt_bkt_evict(struct kvt_backend *backend, double high, double low,
                  struct kvt_evict_result *result, struct kvt_error *err)
{
    struct bkt *bkt = (struct bkt *)backend;
    struct kvt_charge limit = {UINT64_MAX, UINT64_MAX, UINT64_MAX};
    int rc = 0;
    pthread_mutex_lock(&bkt->mutex);
    double most = (double)bkt->budget.limit.allocated;
    bool above = (double)bkt->budget.used.allocated > most * high;
    pthread_mutex_unlock(&bkt->mutex);
    if (above) {
        limit.allocated = (uint64_t)(most * low);
        rc = kvt_bkt_evict_to(bkt, limit, result);
    }
    pthread_mutex_lock(&bkt->mutex);
    result->allocated = bkt->budget.used.allocated;
    pthread_mutex_unlock(&bkt->mutex);
    if (rc == 0) {
        return KVT_OK;
    }
    return kvt_error_set(
        err,
        rc == BKT_KEPT ? KVT_ERR_UNABLE_OFFLOAD
                       : kvt_status_of(KVT_FAULT_WRITE, -rc, false),
        rc == BKT_KEPT ? 0 : -rc, backend->args.path,
        rc == BKT_KEPT ? "let the handler agree to some of them"
                       : "check the file system under the store",
        rc == BKT_KEPT ? "the eviction handler keeps its objects"
                       : "evicting: %s",
        strerror(-rc));
}
