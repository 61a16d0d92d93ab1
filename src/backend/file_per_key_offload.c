/*
 * Offload. An object goes through: its turn at the key (one writer a key);
 * nothing to do when it is stored already; room, by eviction when there is
 * none; publish; the index. What can start together starts together: that is
 * a round. An object that had to wait for its turn makes a round of its own.
 */
#include "backend/file_per_key_evict.h"
#include "core/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROOM_ATTEMPTS = 2
}; /* for one object on a full device */

/* Objects in the order of their batch. */
struct op_list {
    struct fpk_op *first;
    struct fpk_op *last;
};

/* What a round does with its objects once the mutex is free again. */
struct round {
    struct fpk_batch *fb;
    struct op_list claims;  /* need room */
    struct op_list ready;   /* have it: publish now */
    struct op_list waiting; /* have it when the victims went */
    struct op_list compare; /* ask the file whether it is the same already */
    struct op_list vacate;  /* the old file has to go first */
    struct op_list ended;
    struct fpk_eviction *eviction;
};

static void start_round(struct fpk_batch *fb, struct op_list ops);

static void put(struct op_list *list, struct fpk_op *op)
{
    op->next = NULL;
    if (list->first == NULL) {
        list->first = op;
    } else {
        list->last->next = op;
    }
    list->last = op;
}

static struct fpk_op *take(struct op_list *list)
{
    struct fpk_op *op = list->first;
    if (op != NULL) {
        list->first = op->next;
        op->next = NULL;
    }
    return op;
}

static void start_alone(struct fpk_op *op)
{
    struct op_list alone = {NULL, NULL};
    put(&alone, op);
    start_round(op->batch, alone);
}

/* What may be written today ------------------------------------------------ */

static uint64_t write_bytes(const struct fpk_op *op)
{
    return op->size + kvt_object_file_overhead(&op->file);
}

/* Once an object, however often it has to look for room. */
static bool take_write(struct fpk_op *op)
{
    op->counted =
        op->counted || kvt_object_take_write(&op->batch->fpk->base, op->object,
                                             write_bytes(op));
    return op->counted;
}

static void return_write(struct fpk_op *op)
{
    if (op->counted) {
        kvt_object_return_write(&op->batch->fpk->base, write_bytes(op));
        op->counted = false;
    }
}

/* Publishing -------------------------------------------------------------- */

static void set_fault(struct fpk_op *op, enum kvt_fault fault, int rc)
{
    kvt_object_fail(&op->batch->fpk->base, op->object, fault, rc);
}

static void pump(struct fpk_batch *fb);

/* The end of an object that had claimed room: others of its batch, which had
 * none but that, may go on. */
static void end_claimed(struct fpk_op *op)
{
    struct fpk_batch *fb = op->batch;
    bool more = fb->deferred != NULL;
    fb->running--;
    fb->retry = true;
    kvt_fpk_op_end(op);
    if (more) {
        pump(fb); /* it is there: the deferred ones have no result yet */
    }
}

static void fail_claimed(struct fpk_op *op, enum kvt_fault fault, int rc)
{
    struct fpk *fpk = op->batch->fpk;
    pthread_mutex_lock(&fpk->mutex);
    kvt_fpk_undo_claim(fpk, op->entry, op->charge);
    pthread_mutex_unlock(&fpk->mutex);
    set_fault(op, fault, rc);
    end_claimed(op);
}

static void publish_done(struct kvt_fs_elem *elem);

static void publish(struct fpk_op *op)
{
    struct fpk *fpk = op->batch->fpk;
    if (!op->check_known) {
        op->check = kvt_object_file_check(&op->file, &fpk->layout, op->object,
                                          op->size);
        op->check_known = true;
    }
    uint64_t number = __atomic_fetch_add(&fpk->temp_count, 1, __ATOMIC_RELAXED);
    snprintf(op->temp_path, sizeof op->temp_path, ".kvtier/tmp/%016llx-%llx",
             (unsigned long long)fpk->instance, (unsigned long long)number);
    kvt_object_file_publish(&op->file, op->object, op->size, op->check,
                            op->temp_path, fpk->publish_flags);
    op->file.elem.done = publish_done;
    int rc;
    op->late =
        kvt_fpk_late_new(fpk, op->batch->batch->deadline_ns, FPK_LATE_PUBLISH,
                         &op->file.elem, op->entry, &rc);
    if (rc != 0) {
        fail_claimed(op, KVT_FAULT_WRITE, rc);
        return;
    }
    kvt_fpk_late_publish(op->late, op);
    kvt_fpk_submit(op->batch, &op->file.elem);
}

static void publish_again(struct fpk_eviction *eviction)
{
    struct fpk_op *op = eviction->arg;
    int rc = eviction->rc;
    kvt_fpk_eviction_free(eviction);
    if (rc == 0) {
        kvt_backend_spend_write(&op->batch->fpk->base, write_bytes(op));
        publish(op);
    } else if (rc == -ECANCELED) {
        fail_claimed(op, KVT_FAULT_REFUSED, 0);
    } else {
        fail_claimed(op, KVT_FAULT_WRITE, rc);
    }
}

/* The device is full though the limit is not reached: somebody else uses it
 * too. Evicts as much as the object needs and tries again. */
static bool make_room(struct fpk_op *op)
{
    struct fpk *fpk = op->batch->fpk;
    if (!kvt_evict_allowed(&fpk->order) || op->attempts++ >= ROOM_ATTEMPTS) {
        return false;
    }
    struct fpk_eviction *eviction =
        kvt_fpk_eviction_new(fpk, op->batch->batch->queue);
    if (eviction == NULL) {
        return false;
    }
    eviction->deadline_ns = op->batch->batch->deadline_ns;
    eviction->done = publish_again;
    eviction->arg = op;
    struct kvt_charge wanted = {op->charge.allocated, 0, 0};
    pthread_mutex_lock(&fpk->mutex);
    bool found = kvt_fpk_eviction_choose(eviction, wanted);
    pthread_mutex_unlock(&fpk->mutex);
    if (!found) {
        kvt_fpk_eviction_free(eviction);
        return false;
    }
    kvt_fpk_eviction_run(eviction);
    return true;
}

/* What the object was to replace is gone. */
static void forget_old(struct fpk_op *op)
{
    struct fpk *fpk = op->batch->fpk;
    struct kvt_key_entry *entry = op->entry;
    pthread_mutex_lock(&fpk->mutex);
    if (entry->present) {
        kvt_budget_give_back(&fpk->budget, kvt_fpk_entry_charge(entry));
        kvt_fpk_uncount(fpk, entry);
    }
    pthread_mutex_unlock(&fpk->mutex);
}

static void publish_done(struct kvt_fs_elem *elem)
{
    struct fpk_op *op = elem->arg;
    struct fpk *fpk = op->batch->fpk;
    int rc = elem->result < 0 ? (int)elem->result : 0;
    if (kvt_fpk_late_takes(op->late, elem)) {
        set_fault(op, KVT_FAULT_WRITE, rc);
        end_claimed(op);
        return;
    }
    if ((rc == -ENOSPC || rc == -EDQUOT) && make_room(op)) {
        return;
    }
    if (rc != 0) {
        if (elem->lost) {
            forget_old(op);
        }
        fail_claimed(op, KVT_FAULT_WRITE, rc);
        return;
    }
    pthread_mutex_lock(&fpk->mutex);
    kvt_fpk_enter(fpk, op->entry, op->size, op->check, op->charge);
    op->generation = op->entry->generation;
    pthread_mutex_unlock(&fpk->mutex);
    op->published = true;
    op->object->size = op->size;
    end_claimed(op);
}

/* Rounds ------------------------------------------------------------------ */

static void turn_came(struct kvt_fs_elem *elem)
{
    struct fpk_op *op = elem->arg;
    op->waits = false;
    if (elem->result == -ETIMEDOUT) {
        kvt_fpk_op_fail(op, KVT_FAULT_WRITE, -ETIMEDOUT);
    } else {
        start_alone(op);
    }
}

/* Stored already, by this or an earlier process. What an unsettled object is
 * worth, its writer's handler has yet to say: this batch takes it over, so
 * that the other's refusal leaves it, and its own does not. Mutex held. */
static void use_stored(struct fpk_op *op)
{
    struct fpk *fpk = op->batch->fpk;
    struct kvt_key_entry *entry = op->entry;
    if (entry->unsettled) {
        entry->generation = ++fpk->generation;
        op->generation = entry->generation;
        op->published = true;
    }
    kvt_evict_use(&fpk->order, &entry->order);
    op->object->size = op->size;
}

static void wait_for_turn(struct round *round, struct fpk_op *op,
                          struct kvt_key_entry *entry)
{
    int64_t deadline_ns = round->fb->batch->deadline_ns;
    if (kvt_batch_hurries(round->fb->batch)) {
        set_fault(op, KVT_FAULT_FULL, -EAGAIN);
        put(&round->ended, op);
        return;
    }
    if (deadline_ns != 0 && kvt_clock_ns() >= deadline_ns) {
        set_fault(op, KVT_FAULT_WRITE, -ETIMEDOUT);
        put(&round->ended, op);
        return;
    }
    op->file.elem.done = turn_came;
    op->waits = true;
    kvt_fpk_wait(entry, &op->file.elem, round->fb->batch->queue);
}

/* What is known already decides. Mutex held. */
static void classify(struct round *round, struct fpk_op *op)
{
    struct fpk *fpk = round->fb->fpk;
    struct kvt_key_entry *entry =
        kvt_key_index_find(&fpk->index, op->object->key, op->hash);
    if (entry != NULL && entry->busy) {
        wait_for_turn(round, op, entry);
        return;
    }
    op->entry = entry;
    if (entry == NULL) {
        put(&round->claims, op);
    } else if ((round->fb->batch->flags & KVT_IF_ABSENT) != 0) {
        set_fault(op, KVT_FAULT_EXISTS, 0);
        put(&round->ended, op);
    } else if (entry->size != op->size || !op->check_known) {
        put(&round->claims, op);
    } else if (!entry->check_known && !op->compared) {
        entry->busy = true;
        put(&round->compare, op);
    } else if (entry->check_known && entry->check == op->check) {
        use_stored(op);
        put(&round->ended, op);
    } else {
        put(&round->claims, op);
    }
}

static bool is_zero(struct kvt_charge charge)
{
    return kvt_charge_covers((struct kvt_charge){0}, charge);
}

/* Finds victims for the part of `need` that does not fit. Mutex held. */
static bool find_room(struct round *round, struct kvt_charge need,
                      struct kvt_charge *credit)
{
    struct fpk *fpk = round->fb->fpk;
    *credit = kvt_budget_shortage(&fpk->budget, need);
    if (is_zero(*credit)) {
        return true;
    }
    if (!kvt_evict_allowed(&fpk->order) ||
        !kvt_budget_possible(&fpk->budget, need)) {
        return false;
    }
    if (round->eviction == NULL) {
        round->eviction = kvt_fpk_eviction_new(fpk, round->fb->batch->queue);
        if (round->eviction == NULL) {
            return false;
        }
    }
    struct kvt_charge wanted = round->eviction->credit;
    kvt_charge_add(&wanted, *credit);
    if (!kvt_fpk_eviction_choose(round->eviction, wanted)) {
        return false;
    }
    /* all that the victims free serves the need, not only what was short */
    struct kvt_charge free_now = round->eviction->chosen;
    kvt_charge_sub(&free_now, round->eviction->credit);
    kvt_charge_raise(credit, kvt_charge_least(free_now, need));
    return true;
}

static int add_entry(struct fpk *fpk, struct fpk_op *op)
{
    if (op->entry == NULL) {
        op->entry = kvt_key_index_add(&fpk->index, op->object->key, op->hash);
        if (op->entry == NULL) {
            return -ENOMEM;
        }
        kvt_evict_add(&fpk->order, &op->entry->order);
    }
    op->entry->busy = true;
    return 0;
}

/* No room: waits for what this batch itself takes, lets the old file go
 * first, or is refused. Mutex held. */
static void claim_failed(struct round *round, struct fpk_op *op, bool was_new)
{
    struct fpk_batch *fb = round->fb;
    const struct kvt_budget *budget = &fb->fpk->budget;
    bool possible = kvt_budget_possible(budget, op->charge);
    bool may_evict = kvt_evict_allowed(&fb->fpk->order);
    if (possible && may_evict && !was_new && fb->running == 0) {
        put(&round->vacate, op);
        return;
    }
    if (was_new) {
        kvt_fpk_forget(fb->fpk, op->entry);
    } else {
        kvt_fpk_release(op->entry);
    }
    op->entry = NULL;
    if (possible && may_evict && fb->running > 0) {
        op->next = fb->deferred;
        fb->deferred = op;
        return;
    }
    bool keys =
        budget->used.objects + op->charge.objects > budget->limit.objects;
    return_write(op);
    set_fault(op, keys ? KVT_FAULT_KEYS : KVT_FAULT_FULL,
              possible ? 0 : -EFBIG);
    put(&round->ended, op);
}

/* Claims room for an object. Mutex held. */
static void claim(struct round *round, struct fpk_op *op)
{
    struct fpk *fpk = round->fb->fpk;
    struct kvt_charge credit;
    if (op->entry != NULL && op->entry->busy) {
        classify(round, op); /* an earlier object took it as a victim */
        return;
    }
    if (!take_write(op)) {
        put(&round->ended, op);
        return;
    }
    bool was_new = op->entry == NULL;
    if (add_entry(fpk, op) != 0) {
        set_fault(op, KVT_FAULT_WRITE, -ENOMEM);
        put(&round->ended, op);
        return;
    }
    op->charge = kvt_fpk_charge(fpk, &op->file, op->size);
    op->charge.objects = was_new ? 1 : 0;
    if (!find_room(round, op->charge, &credit)) {
        claim_failed(round, op, was_new);
        return;
    }
    kvt_budget_claim(&fpk->budget, op->charge, credit);
    round->fb->running++;
    op->needs_room = !is_zero(credit);
    if (op->needs_room) {
        kvt_charge_add(&round->eviction->credit, credit);
    }
    put(op->needs_room ? &round->waiting : &round->ready, op);
}

/* Starts deferred objects: one when room may have become free, all when none
 * of the batch is under way any more. */
static void pump(struct fpk_batch *fb)
{
    if (fb->pumping) {
        return;
    }
    fb->pumping = true;
    fb->pending++; /* it stays until we are through */
    while (fb->deferred != NULL && (fb->retry || fb->running == 0)) {
        struct fpk_op *op = fb->deferred;
        fb->deferred = op->next;
        fb->retry = false;
        start_alone(op);
    }
    fb->pumping = false;
    kvt_fpk_batch_drop(fb);
}

/* The victims went, or are back. */
static void room_made(struct fpk_eviction *eviction)
{
    struct op_list ops = {eviction->arg, NULL};
    int rc = eviction->rc;
    kvt_fpk_eviction_free(eviction);
    for (struct fpk_op *op = take(&ops); op != NULL; op = take(&ops)) {
        if (rc == 0) {
            publish(op);
            continue;
        }
        return_write(op);
        if (rc == -ECANCELED) {
            fail_claimed(op, KVT_FAULT_REFUSED, 0);
        } else {
            fail_claimed(op, KVT_FAULT_WRITE, rc);
        }
    }
}

/* The file was read: does it hold these bytes already? What a trailer claims
 * is not enough: the value behind it may have rotten since. */
static void compare_done(struct kvt_fs_elem *elem)
{
    struct fpk_op *op = elem->arg;
    struct fpk *fpk = op->batch->fpk;
    struct kvt_key_entry *entry = op->entry;
    struct kvt_slice slice = {op->scratch, (size_t)op->size, NULL};
    struct kvt_object object = {.slices = &slice, .slice_count = 1};
    uint64_t check = 0;
    bool valid =
        elem->result >= 0 && kvt_object_file_verify(&op->file, &fpk->layout,
                                                    &object, true, &check) == 0;
    free(op->scratch);
    op->scratch = NULL;
    op->compared = true;

    pthread_mutex_lock(&fpk->mutex);
    if (elem->result == -ENOENT) {
        kvt_budget_give_back(&fpk->budget, kvt_fpk_entry_charge(entry));
        kvt_fpk_uncount(fpk, entry);
        kvt_fpk_forget(fpk, entry);
    } else {
        if (valid) {
            entry->check = check;
            entry->check_known = true;
        }
        kvt_fpk_release(entry);
    }
    pthread_mutex_unlock(&fpk->mutex);
    start_alone(op);
}

/* Without memory to read it to, the object is written again. */
static void start_compare(struct fpk_op *op)
{
    struct kvt_slice slice = {NULL, (size_t)op->size, NULL};
    struct kvt_object object = {.slices = &slice, .slice_count = 1};
    op->scratch = malloc((size_t)op->size + 1);
    slice.base = op->scratch;
    op->file.elem.done = compare_done;
    if (op->scratch == NULL) {
        op->file.elem.result = -ENOMEM;
        compare_done(&op->file.elem);
        return;
    }
    kvt_object_file_fetch(&op->file, &object, op->size);
    kvt_fpk_submit(op->batch, &op->file.elem);
}

/* The old file went, so that there is room for the new one. */
static void vacated(struct kvt_fs_elem *elem)
{
    struct fpk_op *op = elem->arg;
    struct fpk *fpk = op->batch->fpk;
    int rc = (int)elem->result;
    if (kvt_fpk_late_takes(op->late, elem)) {
        kvt_fpk_op_fail(op, KVT_FAULT_WRITE, rc);
        return;
    }
    bool gone = rc == 0 || rc == -ENOENT;
    pthread_mutex_lock(&fpk->mutex);
    if (gone) {
        kvt_budget_give_back(&fpk->budget, kvt_fpk_entry_charge(op->entry));
        kvt_fpk_uncount(fpk, op->entry);
        kvt_fpk_forget(fpk, op->entry);
    } else {
        kvt_fpk_release(op->entry);
    }
    pthread_mutex_unlock(&fpk->mutex);
    if (gone) {
        start_alone(op);
    } else {
        kvt_fpk_op_fail(op, KVT_FAULT_WRITE, rc);
    }
}

/* Removes the file of the op's entry, which is busy. */
static void remove_file(struct fpk_op *op, void (*done)(struct kvt_fs_elem *))
{
    struct kvt_fs_elem *elem = &op->file.elem;
    int rc;
    *elem = (struct kvt_fs_elem){
        .op = KVT_FS_REMOVE, .path = op->file.path, .done = done, .arg = op};
    op->late = kvt_fpk_late_new(op->batch->fpk, op->batch->batch->deadline_ns,
                                FPK_LATE_REMOVE, elem, op->entry, &rc);
    if (rc != 0) {
        elem->result = rc;
        done(elem);
    } else {
        kvt_fpk_submit(op->batch, elem);
    }
}

/* Lets everything of the round go. No lock is held. */
static void release_round(struct round *round)
{
    struct fpk_op *op;
    while ((op = take(&round->compare)) != NULL) {
        start_compare(op);
    }
    while ((op = take(&round->vacate)) != NULL) {
        remove_file(op, vacated);
    }
    struct fpk_eviction *eviction = round->eviction;
    if (eviction != NULL && round->waiting.first != NULL) {
        eviction->deadline_ns = round->fb->batch->deadline_ns;
        eviction->done = room_made;
        eviction->arg = round->waiting.first;
        kvt_fpk_eviction_run(eviction);
    } else {
        kvt_fpk_eviction_free(eviction);
    }
    while ((op = take(&round->ready)) != NULL) {
        publish(op);
    }
    while ((op = take(&round->ended)) != NULL) {
        kvt_fpk_op_end(op);
    }
}

static void start_round(struct fpk_batch *fb, struct op_list ops)
{
    struct round round = {.fb = fb};
    struct fpk *fpk = fb->fpk;
    struct fpk_op *op;
    pthread_mutex_lock(&fpk->mutex);
    while ((op = take(&ops)) != NULL) {
        classify(&round, op);
    }
    while ((op = take(&round.claims)) != NULL) {
        claim(&round, op);
    }
    pthread_mutex_unlock(&fpk->mutex);
    release_round(&round);
}

/* The end of a batch ------------------------------------------------------ */

static void undo_done(struct kvt_fs_elem *elem)
{
    struct fpk_op *op = elem->arg;
    struct fpk *fpk = op->batch->fpk;
    struct kvt_key_entry *entry = op->entry;
    if (kvt_fpk_late_takes(op->late, elem)) {
        kvt_fpk_op_end(op);
        return;
    }
    pthread_mutex_lock(&fpk->mutex);
    if (elem->result == 0 || elem->result == -ENOENT) {
        kvt_budget_give_back(&fpk->budget, kvt_fpk_entry_charge(entry));
        kvt_fpk_uncount(fpk, entry);
        kvt_fpk_forget(fpk, entry);
    } else {
        kvt_fpk_release(entry);
    }
    pthread_mutex_unlock(&fpk->mutex);
    kvt_fpk_op_end(op);
}

static void undo_in_turn(struct kvt_fs_elem *elem);

/* Takes back what this batch published and nobody replaced since. */
static void undo(struct fpk_op *op)
{
    struct fpk *fpk = op->batch->fpk;
    pthread_mutex_lock(&fpk->mutex);
    struct kvt_key_entry *entry =
        kvt_key_index_find(&fpk->index, op->object->key, op->hash);
    bool ours = entry != NULL && entry->generation == op->generation;
    bool wait = ours && entry->busy;
    if (wait) {
        op->file.elem.done = undo_in_turn;
        op->waits = true;
        kvt_fpk_wait(entry, &op->file.elem, op->batch->batch->queue);
    } else if (ours) {
        entry->busy = true;
        op->entry = entry;
    }
    pthread_mutex_unlock(&fpk->mutex);
    if (!ours) {
        kvt_fpk_op_end(op);
    } else if (!wait) {
        remove_file(op, undo_done);
    }
}

static void undo_in_turn(struct kvt_fs_elem *elem)
{
    struct fpk_op *op = elem->arg;
    op->waits = false;
    if (elem->result == -ETIMEDOUT) {
        kvt_fpk_op_end(op);
    } else {
        undo(op);
    }
}

/* The handler agreed: what is still as this batch wrote it is settled. */
static void settle(struct fpk_batch *fb)
{
    struct fpk *fpk = fb->fpk;
    pthread_mutex_lock(&fpk->mutex);
    for (size_t i = 0; i < fb->batch->count; i++) {
        struct fpk_op *op = &fb->ops[i];
        if (op->batch == NULL || !op->published) {
            continue;
        }
        struct kvt_key_entry *entry =
            kvt_key_index_find(&fpk->index, op->object->key, op->hash);
        if (entry != NULL && entry->generation == op->generation) {
            entry->unsettled = false;
        }
    }
    pthread_mutex_unlock(&fpk->mutex);
}

/* Tells the complete handler what succeeded; its error, or no memory to tell
 * it, undoes the batch. */
static int tell_complete(struct fpk_batch *fb)
{
    const struct kvt_handlers *handlers = fb->fpk->base.args.handlers;
    struct kvt_meta *metas = calloc(fb->batch->count, sizeof *metas);
    if (metas == NULL) {
        return -ENOMEM;
    }
    size_t count = 0;
    for (size_t i = 0; i < fb->batch->count; i++) {
        const struct kvt_object *object = &fb->batch->objects[i];
        if (object->status == KVT_OK) {
            metas[count++] = kvt_fpk_meta(fb->fpk, object->key, object->size);
        }
    }
    int rc = count > 0
                 ? handlers->complete(metas, count, handlers->complete_arg)
                 : 0;
    free(metas);
    return rc;
}

static void offload_ended(struct fpk_batch *fb)
{
    bool told = fb->fpk->base.args.handlers->complete != NULL;
    if (!told || tell_complete(fb) == 0) {
        if (told) {
            settle(fb);
        }
        kvt_fpk_batch_end(fb);
        return;
    }
    fb->ended = kvt_fpk_batch_end;
    fb->pending = 1;
    for (size_t i = 0; i < fb->batch->count; i++) {
        struct fpk_op *op = &fb->ops[i];
        if (op->batch != NULL && op->published) {
            set_fault(op, KVT_FAULT_REFUSED, 0);
            fb->pending++;
            undo(op);
        }
    }
    kvt_fpk_batch_drop(fb);
}

/* Only an object that may be stored already needs its check value before the
 * round; the others get theirs while the ones before them are written. */
static void check_known_objects(struct fpk_batch *fb)
{
    struct fpk *fpk = fb->fpk;
    pthread_mutex_lock(&fpk->mutex);
    for (size_t i = 0; i < fb->batch->count; i++) {
        struct fpk_op *op = &fb->ops[i];
        if (op->batch != NULL) {
            const struct kvt_key_entry *entry =
                kvt_key_index_find(&fpk->index, op->object->key, op->hash);
            op->check_known = entry != NULL && entry->size == op->size;
        }
    }
    pthread_mutex_unlock(&fpk->mutex);
    for (size_t i = 0; i < fb->batch->count; i++) {
        struct fpk_op *op = &fb->ops[i];
        if (op->batch != NULL && op->check_known) {
            op->check = kvt_object_file_check(&op->file, &fpk->layout,
                                              op->object, op->size);
        }
    }
}

void kvt_fpk_start_offload(struct fpk_batch *fb)
{
    fb->ended = offload_ended;
    check_known_objects(fb);
    struct op_list ops = {NULL, NULL};
    for (size_t i = 0; i < fb->batch->count; i++) {
        if (fb->ops[i].batch != NULL) {
            put(&ops, &fb->ops[i]);
        }
    }
    start_round(fb, ops);
}
