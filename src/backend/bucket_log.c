/*
 * The log: runs get their place in a bucket, are written side by side, and
 * are acknowledged in the order in which they stand there.
 *
 * A run belongs to its batch until kvt_bkt_run_drop, and to the log from the
 * moment it has a place until its outcome is known; the later of the two
 * frees it. All callbacks of a run come on the thread of its batch; what
 * another thread has to tell it goes through `wait`.
 */
#include "backend/bucket.h"
#include "core/clock.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void line_told(struct kvt_fs_elem *elem);
static void run_told(struct kvt_fs_elem *elem);
static void advance(struct bkt *bkt, struct bkt_bucket *bucket);

/* Runs -------------------------------------------------------------------- */

static void *record_alloc(uint64_t record_size)
{
    size_t size = (size_t)kvt_blocks_of(record_size) * KVT_BUCKET_BLOCK;
    void *record = aligned_alloc(KVT_BUCKET_BLOCK, size);
    if (record != NULL) {
        memset(record, 0, size);
    }
    return record;
}

/* Kills that wait to ride. What one of them kills must not come back when a
 * later run of the same key is removed: every run takes all. */
static uint32_t waiting_kills(struct bkt *bkt)
{
    enum {
        MOST = 8192
    };
    pthread_mutex_lock(&bkt->mutex);
    size_t count = bkt->kill_count;
    pthread_mutex_unlock(&bkt->mutex);
    return (uint32_t)(count < MOST ? count : MOST);
}

struct bkt_run *kvt_bkt_run_new(struct bkt *bkt, uint32_t entries,
                                uint64_t key_bytes, uint64_t value_blocks,
                                uint32_t kills)
{
    uint32_t riders = waiting_kills(bkt);
    if (kvt_run_record_size(entries, kills + riders, key_bytes) >
        KVT_RUN_RECORD_MAX) {
        riders = 0;
    }
    size_t kills_size = ((size_t)kills + riders + BKT_RIDERS_MAX) *
                        sizeof(struct kvt_bucket_kill);
    size_t entries_size = (size_t)entries * KVT_BUCKET_ENTRY_SIZE;
    uint64_t record_size =
        kvt_run_record_size(entries, kills + riders, key_bytes);
    struct bkt_run *run = calloc(1, sizeof *run + kills_size + entries_size);
    if (run == NULL) {
        return NULL;
    }
    run->record = record_alloc(record_size);
    if (run->record == NULL) {
        free(run);
        return NULL;
    }
    run->bkt = bkt;
    run->entry_count = entries;
    run->kill_count = kills;
    run->key_bytes = key_bytes;
    run->kills = (struct kvt_bucket_kill *)(run + 1);
    run->riders = run->kills + kills;
    run->rider_room = riders;
    run->entries = (uint8_t *)(run->riders + riders + BKT_RIDERS_MAX);
    run->value_blocks = (uint32_t)value_blocks;
    run->blocks = (uint32_t)(kvt_blocks_of(record_size) + value_blocks);
    run->charge.objects = entries;
    run->charge.allocated = (uint64_t)run->blocks * KVT_BUCKET_BLOCK +
                            kvt_bucket_table_size(entries, 1, kills + riders);
    return run;
}

static void run_free(struct bkt_run *run)
{
    free(run->record);
    free(run->slices);
    free(run);
}

void kvt_bkt_run_drop(struct bkt_run *run)
{
    struct bkt *bkt = run->bkt;
    pthread_mutex_lock(&bkt->mutex);
    bool in_log = run->in_log;
    run->dropped = true;
    pthread_mutex_unlock(&bkt->mutex);
    if (!in_log) {
        run_free(run);
    }
}

/* A place in the log ------------------------------------------------------ */

static bool fits(const struct bkt *bkt, const struct bkt_bucket *bucket,
                 const struct bkt_run *run)
{
    return bucket->run_count == 0 ||
           ((uint64_t)bucket->blocks + run->blocks <= bkt->blocks_max &&
            bucket->keys + run->entry_count <= bkt->keys_max);
}

static void retire_active(struct bkt *bkt)
{
    bkt_set_state(bkt->active, BKT_FULL);
    bkt->active = NULL;
    pthread_cond_broadcast(&bkt->work);
}

static void want_bucket(struct bkt *bkt)
{
    if (bkt->spare == NULL && !bkt->bucket_wanted) {
        bkt->bucket_wanted = true;
        pthread_cond_broadcast(&bkt->work);
    }
}

/* The bucket that the run goes to, or null when there is none yet. */
static struct bkt_bucket *find_bucket(struct bkt *bkt,
                                      const struct bkt_run *run)
{
    struct bkt_bucket *active = bkt->active;
    if (active != NULL && (active->broken || !fits(bkt, active, run))) {
        retire_active(bkt);
    }
    /* each bucket that is not sealed yet holds a descriptor */
    bool may_go_on =
        run->kills_only || bkt->in_state[BKT_FULL] <= bkt->files_max / 2;
    if (bkt->active == NULL && bkt->spare != NULL && may_go_on) {
        bkt->active = bkt->spare;
        bkt->spare = NULL;
        bkt_set_state(bkt->active, BKT_ACTIVE);
        kvt_evict_add(&bkt->order, &bkt->active->order);
    }
    active = bkt->active;
    if (active == NULL || (uint64_t)active->blocks * 2 > bkt->blocks_max ||
        active->keys > bkt->keys_max / 2) {
        want_bucket(bkt);
    }
    return active;
}

/* Those for which there is room: kept for them, or left in the last block of
 * the record and in the limit. */
static uint32_t rider_limit(struct bkt *bkt, const struct bkt_run *run)
{
    uint64_t size =
        kvt_run_record_size(run->entry_count, run->kill_count, run->key_bytes);
    uint64_t end = (uint64_t)(run->blocks - run->value_blocks);
    uint64_t count = (end * KVT_BUCKET_BLOCK - size) / KVT_BUCKET_KILL_SIZE;
    uint64_t most = (uint64_t)run->rider_room + BKT_RIDERS_MAX;
    count = count < most ? count : most;
    struct kvt_charge more = run->charge;
    if (count > run->rider_room) {
        more.allocated += (count - run->rider_room) * KVT_BUCKET_KILL_SIZE;
    }
    bool fits = kvt_budget_shortage(&bkt->budget, more).allocated == 0;
    return (uint32_t)(fits ? count : run->rider_room);
}

/* Kills go with the run, which takes what it needs with them. */
static void take_riders(struct bkt *bkt, struct bkt_run *run)
{
    size_t count = rider_limit(bkt, run);
    count = count < bkt->kill_count ? count : bkt->kill_count;
    run->rider_count = (uint32_t)count;
    bkt->kill_count -= count;
    bkt->kills_riding += count;
    if (count > 0) {
        memcpy(run->riders, bkt->kills + bkt->kill_count,
               count * sizeof run->riders[0]);
    }
    uint32_t kills = run->kill_count + run->rider_count;
    uint64_t record =
        kvt_run_record_size(run->entry_count, kills, run->key_bytes);
    run->blocks = (uint32_t)kvt_blocks_of(record) + run->value_blocks;
    run->charge.allocated = (uint64_t)run->blocks * KVT_BUCKET_BLOCK +
                            kvt_bucket_table_size(run->entry_count, 1, kills);
}

static void take_place(struct bkt *bkt, struct bkt_run *run,
                       struct bkt_bucket *bucket)
{
    uint32_t kills = run->kill_count + run->rider_count;
    run->bucket = bucket;
    run->head = (struct kvt_run_head){
        .run = bucket->run_count,
        .block = bucket->blocks,
        .record_size = (uint32_t)kvt_run_record_size(run->entry_count, kills,
                                                     run->key_bytes),
        .entry_count = run->entry_count,
        .kill_count = kills,
        .blocks = run->blocks,
    };
    run->sequence = bkt->next_sequence;
    bkt->next_sequence += run->entry_count;
    bkt->written_bytes += (uint64_t)run->value_blocks * KVT_BUCKET_BLOCK;
    bucket->run_count++;
    bucket->blocks += run->blocks;
    bucket->keys += run->entry_count;
    bucket->charge.allocated += run->charge.allocated;
    bucket->charge.values += run->charge.values;
    bucket->touched_ns = kvt_clock_ns();
    bucket->unsettled++;
    bkt->unsettled++;
    if (run->owner != NULL) {
        run->owner->holds++;
    }
    bucket->runs_under_way++;
    run->next = NULL;
    *bucket->runs_end = run;
    bucket->runs_end = &run->next;
    run->in_log = true;
    run->state = BKT_RUN_WRITING;
    kvt_bkt_pin(bucket);
}

/* 0; -EAGAIN: later; or why it never gets one. */
static int try_place(struct bkt *bkt, struct bkt_run *run)
{
    struct kvt_charge need = kvt_bkt_run_need(run);
    if (!run->forced && !kvt_budget_possible(&bkt->budget, need)) {
        return BKT_NO_ROOM;
    }
    /* room first: a bucket is not given up for a run that may not come */
    struct kvt_charge short_of = kvt_bkt_shortage(bkt, run);
    if (!run->forced && !kvt_charge_covers((struct kvt_charge){0}, short_of)) {
        bkt->room_wanted = true;
        pthread_cond_broadcast(&bkt->work);
        return -EAGAIN;
    }
    struct bkt_bucket *bucket = find_bucket(bkt, run);
    if (bucket == NULL || bucket->runs_under_way >= bkt->runs_max ||
        (bkt->device_full && (!run->kills_only || run->attempts > 0))) {
        return -EAGAIN;
    }
    if (run->stand_in) {
        return -ECANCELED;
    }
    take_riders(bkt, run);
    kvt_budget_claim(&bkt->budget, run->charge, (struct kvt_charge){0});
    take_place(bkt, run, bucket);
    return 0;
}

static void stand_at_the_end(struct bkt *bkt, struct bkt_run *run)
{
    run->state = BKT_RUN_IN_LINE;
    run->next = NULL;
    *bkt->line_end = run;
    bkt->line_end = &run->next;
    pthread_cond_broadcast(&bkt->work); /* it may find that none comes */
}

/* One that does not wait, so that there is room for the next one like it. Who
 * stands in line already has room made. Mutex held. */
static void leave_stand_in(struct bkt *bkt, const struct bkt_run *run)
{
    struct bkt_run *stand_in =
        bkt->line == NULL ? calloc(1, sizeof *stand_in) : NULL;
    if (stand_in != NULL) {
        stand_in->bkt = bkt;
        stand_in->stand_in = true;
        stand_in->charge = run->charge;
        stand_in->entry_count = run->entry_count;
        stand_in->blocks = run->blocks;
        stand_at_the_end(bkt, stand_in);
    }
}

/* Tells a run that has left the line. */
static void tell(struct bkt_run *run, int rc)
{
    if (run->state == BKT_RUN_IN_LINE) {
        run->state = BKT_RUN_NEW;
    }
    if (run->stand_in) {
        run_free(run);
    } else {
        kvt_fs_post(&run->wait, rc);
    }
}

void kvt_bkt_run_start(struct bkt_run *run)
{
    struct bkt *bkt = run->bkt;
    pthread_mutex_lock(&bkt->mutex);
    bool first = (bkt->line == NULL && !bkt->carrying) || run->kills_only ||
                 run->carries;
    int rc = first ? try_place(bkt, run) : -EAGAIN;
    bool refused = rc == -EAGAIN && run->at_once;
    if (refused && !run->carries) {
        leave_stand_in(bkt, run);
    } else if (rc == -EAGAIN && !refused) {
        run->wait.done = line_told;
        run->wait.arg = run;
        kvt_fs_expect(run->queue, &run->wait);
        stand_at_the_end(bkt, run);
    }
    pthread_mutex_unlock(&bkt->mutex);
    if (rc != -EAGAIN || refused) {
        run->granted(run, rc);
    }
}

static void leave_line(struct bkt *bkt, struct bkt_run **at, int rc)
{
    struct bkt_run *run = *at;
    *at = run->next;
    if (bkt->line_end == &run->next) {
        bkt->line_end = at;
    }
    tell(run, rc);
}

void kvt_bkt_line_hold(struct bkt *bkt, bool hold)
{
    pthread_mutex_lock(&bkt->mutex);
    bkt->carrying = hold;
    kvt_bkt_line_pump(bkt);
    pthread_mutex_unlock(&bkt->mutex);
}

void kvt_bkt_line_pump(struct bkt *bkt)
{
    while (bkt->line != NULL && !bkt->carrying) {
        struct bkt_run *run = bkt->line;
        struct bkt_run *next = run->next;
        int rc = try_place(bkt, run);
        if (rc == -EAGAIN) {
            return;
        }
        /* its `next` is the bucket's list by now */
        bkt->line = next;
        if (next == NULL) {
            bkt->line_end = &bkt->line;
        }
        tell(run, rc);
    }
    bkt->room_wanted = false;
}

void kvt_bkt_line_clear(struct bkt *bkt)
{
    while (bkt->line != NULL) {
        kvt_bkt_line_refuse(bkt, -ECANCELED);
    }
}

void kvt_bkt_line_refuse(struct bkt *bkt, int rc)
{
    if (bkt->line != NULL) {
        leave_line(bkt, &bkt->line, rc);
    }
}

static void line_told(struct kvt_fs_elem *elem)
{
    struct bkt_run *run = elem->arg;
    run->granted(run, (int)elem->result);
}

/* Outcomes ---------------------------------------------------------------- */

/* Kills that did not get into the log have to be written another time: there
 * is room for them where they came from. */
static void end_ride(struct bkt *bkt, const struct bkt_run *run, bool back)
{
    bkt->kills_riding -= run->rider_count;
    for (uint32_t i = 0; i < run->rider_count && back; i++) {
        bkt->kills[bkt->kill_count++] = run->riders[i];
    }
}

/* The log is through with a run. */
static void resolve(struct bkt *bkt, struct bkt_run *run, int rc)
{
    struct bkt_bucket *bucket = run->bucket;
    bucket->runs = run->next;
    if (bucket->runs == NULL) {
        bucket->runs_end = &bucket->runs;
    }
    bucket->runs_under_way--;
    run->in_log = false;
    run->resolved = true;
    run->rc = rc;
    if (rc != 0 || run->orphan) {
        struct kvt_charge objects = {.objects = run->charge.objects};
        kvt_budget_give_back(&bkt->budget, objects);
    }
    end_ride(bkt, run, rc != 0);
    kvt_bkt_unpin(bkt, bucket);
    if (run->dropped) {
        run_free(run);
    } else if (run->waiting) {
        run->waiting = false;
        kvt_fs_post(&run->wait, 0);
    }
    if (bkt->room_wanted ||
        (bucket->state == BKT_FULL && bucket->runs_under_way == 0)) {
        pthread_cond_broadcast(&bkt->work);
    }
    pthread_cond_broadcast(&bkt->quiet);
}

/* It stands in the log: the table takes it over. What belongs to a batch that
 * gave it up was killed then. */
static void acknowledge(struct bkt *bkt, struct bkt_run *run)
{
    struct bkt_bucket *bucket = run->bucket;
    struct kvt_bucket_run place = {
        run->head.block, (uint32_t)kvt_blocks_of(run->head.record_size)};
    int rc = kvt_bkt_table_add(&bucket->table, run->entries, run->entry_count,
                               &place, run->kills, run->head.kill_count);
    if (rc != 0) {
        bucket->torn = true;
        bucket->broken = true;
    } else {
        bucket->objects += run->entry_count;
        bucket->kill_count += run->head.kill_count;
        if (run->entry_count == 0) { /* once sealed, the table has its kills */
            bucket->dead_blocks += run->blocks;
        }
    }
    for (uint32_t i = 0; i < run->entry_count && rc == 0 && run->orphan; i++) {
        struct kvt_bucket_entry entry;
        kvt_bucket_entry_decode(
            run->entries + (size_t)i * KVT_BUCKET_ENTRY_SIZE, &entry);
        bucket->dead_blocks += bkt_value_blocks(entry.length);
    }
    resolve(bkt, run, rc);
}

/* Makes a run's batch sync the bucket. */
static void call_for_sync(struct bkt_bucket *bucket, struct bkt_run *run)
{
    bucket->syncing = true;
    run->must_sync = true;
    if (run->waiting) {
        run->waiting = false;
        kvt_fs_post(&run->wait, 0);
    }
}

/* Acknowledges what can be, in order. Mutex held. */
static void advance(struct bkt *bkt, struct bkt_bucket *bucket)
{
    struct bkt_run *run;
    while ((run = bucket->runs) != NULL && run->state != BKT_RUN_WRITING) {
        if (run->state == BKT_RUN_FAILED) {
            bucket->torn = true;
            bucket->broken = true;
            resolve(bkt, run, run->rc);
        } else if (bucket->torn) {
            resolve(bkt, run, -EAGAIN);
        } else if (run->state == BKT_RUN_SYNCED || !bkt->sync_runs ||
                   (run->orphan && !run->syncing)) {
            acknowledge(bkt, run);
        } else {
            if (!bucket->syncing) {
                call_for_sync(bucket, run);
            }
            break;
        }
    }
    kvt_bkt_line_pump(bkt);
}

/* A failed or unfinished run: nothing more goes to this bucket. */
static void give_up_bucket(struct bkt *bkt, struct bkt_bucket *bucket)
{
    bucket->broken = true;
    if (bkt->active == bucket) {
        retire_active(bkt);
    }
}

static void sync_ended(struct bkt_run *run, int rc)
{
    struct bkt *bkt = run->bkt;
    struct bkt_bucket *bucket = run->bucket;
    uint32_t sync_end = run->sync_end;
    bucket->syncing = false;
    run->syncing = false;
    if (rc == -ECANCELED) { /* it never started: somebody else has to */
        advance(bkt, bucket);
        return;
    }
    for (struct bkt_run *at = bucket->runs; at != NULL; at = at->next) {
        bool covered = at->head.run < sync_end;
        if (rc == 0 && covered && at->state == BKT_RUN_WRITTEN) {
            at->state = BKT_RUN_SYNCED;
        } else if (rc != 0 && at->state == BKT_RUN_WRITTEN) {
            at->state = BKT_RUN_FAILED; /* a sync is never tried again */
            at->rc = rc;
        }
    }
    if (rc != 0) {
        give_up_bucket(bkt, bucket);
        bucket->torn = true;
    }
    advance(bkt, bucket);
}

static void sync_late(void *arg, int64_t result)
{
    struct bkt_run *run = arg;
    struct bkt *bkt = run->bkt; /* the run may be gone after this */
    pthread_mutex_lock(&bkt->mutex);
    sync_ended(run, result < 0 ? (int)result : 0);
    pthread_mutex_unlock(&bkt->mutex);
}

static void look(struct bkt_run *run);

/* Its batch gives it up, and with it the turns at its keys: whatever becomes of
 * it, its objects do not count, and whoever replaces or removes the same keys
 * from now on writes that with it. Mutex held. */
static void give_up_run(struct bkt_run *run)
{
    run->orphan = true;
    for (uint32_t i = 0; i < run->entry_count; i++) {
        struct kvt_bucket_entry entry;
        kvt_bucket_entry_decode(
            run->entries + (size_t)i * KVT_BUCKET_ENTRY_SIZE, &entry);
        kvt_bkt_kill_later(run->bkt, run->bucket, entry.block, KVT_KILL_UNDONE);
    }
}

/* The batch does not wait for the outcome any longer. */
static void lose_sight(struct bkt_run *run)
{
    struct bkt *bkt = run->bkt;
    pthread_mutex_lock(&bkt->mutex);
    give_up_run(run);
    give_up_bucket(bkt, run->bucket);
    kvt_bkt_line_pump(bkt);
    pthread_mutex_unlock(&bkt->mutex);
    run->ended(run, -ETIMEDOUT);
}

static void sync_done(struct kvt_fs_elem *elem)
{
    struct bkt_run *run = elem->arg;
    if (elem->late_follows) {
        lose_sight(run);
        return;
    }
    pthread_mutex_lock(&run->bkt->mutex);
    sync_ended(run, elem->result < 0 ? (int)elem->result : 0);
    look(run);
}

/* Covers all runs that are written up to the first that is not. Mutex held;
 * released. */
static void start_sync(struct bkt_run *run)
{
    struct bkt_bucket *bucket = run->bucket;
    run->must_sync = false;
    run->syncing = true;
    const struct bkt_run *at = bucket->runs;
    while (at != NULL && at->state == BKT_RUN_WRITTEN) {
        run->sync_end = at->head.run + 1;
        at = at->next;
    }
    pthread_mutex_unlock(&run->bkt->mutex);
    run->elem = (struct kvt_fs_elem){.op = KVT_FS_DATASYNC,
                                     .file = bucket->file,
                                     .deadline_ns = run->deadline_ns,
                                     .late = sync_late,
                                     .late_arg = run,
                                     .done = sync_done,
                                     .arg = run};
    kvt_fs_submit(run->queue, &run->elem, 1);
}

/* What there is to do for a run, on its batch's thread. Mutex held;
 * released. */
static void look(struct bkt_run *run)
{
    if (run->must_sync) {
        start_sync(run);
        return;
    }
    bool resolved = run->resolved;
    if (!resolved) {
        run->waiting = true;
        run->wait.done = run_told;
        run->wait.arg = run;
        kvt_fs_expect(run->queue, &run->wait);
    }
    pthread_mutex_unlock(&run->bkt->mutex);
    if (resolved) {
        run->ended(run, run->rc);
    }
}

static void run_told(struct kvt_fs_elem *elem)
{
    struct bkt_run *run = elem->arg;
    if (elem->result == -ETIMEDOUT) {
        run->ended(run, -ETIMEDOUT);
        return;
    }
    pthread_mutex_lock(&run->bkt->mutex);
    look(run);
}

/* Writing ----------------------------------------------------------------- */

static void write_ended(struct bkt_run *run, int64_t result)
{
    run->state = result < 0 ? BKT_RUN_FAILED : BKT_RUN_WRITTEN;
    run->rc = result < 0 ? (int)result : 0;
    if (result < 0) {
        give_up_bucket(run->bkt, run->bucket);
    }
    advance(run->bkt, run->bucket);
}

static void write_late(void *arg, int64_t result)
{
    struct bkt_run *run = arg;
    struct bkt *bkt = run->bkt;
    pthread_mutex_lock(&bkt->mutex);
    write_ended(run, result);
    pthread_mutex_unlock(&bkt->mutex);
}

/* Its blocks are not in the bucket's file any more. Mutex held. */
static void uncharge_blocks(struct bkt_run *run)
{
    struct kvt_charge blocks = {.allocated =
                                    (uint64_t)run->blocks * KVT_BUCKET_BLOCK};
    run->bucket->hole_blocks += run->blocks;
    kvt_charge_sub(&run->bucket->charge, blocks);
    kvt_budget_give_back(&run->bkt->budget, blocks);
}

static void punch_late(void *arg, int64_t result)
{
    struct bkt_run *run = arg;
    (void)result;
    write_late(run, run->rc);
}

static void punch_done(struct kvt_fs_elem *elem)
{
    struct bkt_run *run = elem->arg;
    if (elem->late_follows) {
        lose_sight(run);
        return;
    }
    pthread_mutex_lock(&run->bkt->mutex);
    if (elem->result == 0) {
        uncharge_blocks(run);
    }
    write_ended(run, run->rc);
    look(run);
}

/* What a write left on a full device is of no use. */
static void give_back_blocks(struct bkt_run *run, int rc)
{
    run->rc = rc;
    run->elem = (struct kvt_fs_elem){
        .op = KVT_FS_PUNCH,
        .file = run->bucket->file,
        .offset = (uint64_t)run->head.block * KVT_BUCKET_BLOCK,
        .length = (uint64_t)run->blocks * KVT_BUCKET_BLOCK,
        .deadline_ns = run->deadline_ns,
        .late = punch_late,
        .late_arg = run,
        .done = punch_done,
        .arg = run};
    kvt_fs_submit(run->queue, &run->elem, 1);
}

static void write_done(struct kvt_fs_elem *elem)
{
    struct bkt_run *run = elem->arg;
    struct bkt *bkt = run->bkt;
    free(run->record);
    run->record = NULL;
    if (elem->late_follows) {
        lose_sight(run);
        return;
    }
    if ((elem->result == -ENOSPC || elem->result == -EDQUOT) &&
        kvt_bkt_can_punch(bkt)) {
        give_back_blocks(run, (int)elem->result);
        return;
    }
    pthread_mutex_lock(&bkt->mutex);
    write_ended(run, elem->result);
    look(run);
}

static void finish_record(struct bkt_run *run)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < run->kill_count + run->rider_count; i++) {
        kvt_bucket_kill_encode(&run->kills[i],
                               kvt_run_kill(run->record, &run->head, at++));
    }
    kvt_run_record_finish(run->record, &run->head, run->bucket->seed);
    memcpy(run->entries, kvt_run_entry(run->record, 0),
           (size_t)run->entry_count * KVT_BUCKET_ENTRY_SIZE);
}

void kvt_bkt_run_write(struct bkt_run *run, const struct kvt_slice *slices,
                       uint32_t slice_count)
{
    finish_record(run);
    run->elem = (struct kvt_fs_elem){.op = KVT_FS_WRITE,
                                     .file = run->bucket->file,
                                     .offset = (uint64_t)run->head.block *
                                               KVT_BUCKET_BLOCK,
                                     .slices = slices,
                                     .slice_count = slice_count,
                                     .deadline_ns = run->deadline_ns,
                                     .late = write_late,
                                     .late_arg = run,
                                     .done = write_done,
                                     .arg = run};
    kvt_fs_submit(run->queue, &run->elem, 1);
}

void kvt_bkt_run_settle(struct bkt_run *run)
{
    struct bkt *bkt = run->bkt;
    if (run->bucket != NULL && !run->settled) {
        run->settled = true;
        run->bucket->unsettled--;
        bkt->unsettled--;
        if (run->owner != NULL) {
            run->owner->holds--;
        }
        if (bkt->room_wanted || bkt->device_full ||
            run->bucket->state == BKT_DYING) {
            pthread_cond_broadcast(&bkt->work);
        }
        if (run->bucket->unsettled == 0) {
            pthread_cond_broadcast(&bkt->quiet);
        }
    }
}

void kvt_bkt_run_expire(struct bkt_run *run)
{
    struct bkt *bkt = run->bkt;
    pthread_mutex_lock(&bkt->mutex);
    if (run->state == BKT_RUN_IN_LINE) {
        struct bkt_run **at = &bkt->line;
        while (*at != run) {
            at = &(*at)->next;
        }
        leave_line(bkt, at, -ETIMEDOUT);
        kvt_bkt_line_pump(bkt);
    } else if (run->waiting) {
        run->waiting = false;
        give_up_run(run);
        kvt_fs_post(&run->wait, -ETIMEDOUT);
    }
    pthread_mutex_unlock(&bkt->mutex);
}

int kvt_bkt_run_place(struct bkt_run *run)
{
    struct bkt *bkt = run->bkt;
    int rc;
    pthread_mutex_lock(&bkt->mutex);
    while ((rc = try_place(bkt, run)) == -EAGAIN) {
        if (bkt->active != NULL) { /* its other runs end without us */
            pthread_cond_wait(&bkt->quiet, &bkt->mutex);
            continue;
        }
        pthread_mutex_unlock(&bkt->mutex);
        rc = kvt_bkt_make_bucket(bkt, true);
        pthread_mutex_lock(&bkt->mutex);
        if (rc != 0 && bkt->spare == NULL && bkt->active == NULL) {
            break;
        }
    }
    pthread_mutex_unlock(&bkt->mutex);
    return rc;
}
