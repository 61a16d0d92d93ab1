#include "backend/file_per_key_evict.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    ASKED_EVICTION_MAX = 256
}; /* victims at once, when asked for */

struct fpk_eviction *kvt_fpk_eviction_new(struct fpk *fpk,
                                          struct kvt_fs_queue *queue)
{
    struct fpk_eviction *eviction = calloc(1, sizeof *eviction);
    if (eviction != NULL) {
        eviction->fpk = fpk;
        eviction->queue = queue;
    }
    return eviction;
}

void kvt_fpk_eviction_free(struct fpk_eviction *eviction)
{
    if (eviction != NULL) {
        free(eviction->victims);
        free(eviction);
    }
}

static bool has_room(struct fpk_eviction *eviction)
{
    if (eviction->count < eviction->capacity) {
        return true;
    }
    size_t capacity = eviction->capacity > 0 ? eviction->capacity * 2 : 16;
    struct fpk_victim *victims =
        realloc(eviction->victims, capacity * sizeof *victims);
    if (victims == NULL) {
        return false;
    }
    eviction->victims = victims;
    eviction->capacity = capacity;
    return true;
}

static void withdraw(struct fpk_eviction *eviction, struct kvt_key_entry *entry)
{
    struct fpk_victim *victim = &eviction->victims[eviction->count++];
    memset(&victim->elem, 0, sizeof victim->elem);
    victim->entry = entry;
    entry->busy = true;
    kvt_fpk_uncount(eviction->fpk, entry);
    kvt_charge_add(&eviction->chosen, kvt_fpk_entry_charge(entry));
}

/* Back to where it was: a withdrawn object keeps its place in the order. */
static void restore(struct fpk *fpk, struct kvt_key_entry *entry)
{
    kvt_fpk_count(fpk, entry);
    kvt_fpk_release(entry);
}

static void restore_from(struct fpk_eviction *eviction, size_t first)
{
    for (size_t i = first; i < eviction->count; i++) {
        struct kvt_key_entry *entry = eviction->victims[i].entry;
        kvt_charge_sub(&eviction->chosen, kvt_fpk_entry_charge(entry));
        restore(eviction->fpk, entry);
    }
    eviction->count = first;
}

bool kvt_fpk_eviction_choose(struct fpk_eviction *eviction,
                             struct kvt_charge wanted)
{
    const struct kvt_evict_order *order = &eviction->fpk->order;
    size_t first = eviction->count;
    const struct kvt_evict_node *at =
        first > 0 ? &eviction->victims[first - 1].entry->order : NULL;
    while (!kvt_charge_covers(eviction->chosen, wanted)) {
        at = kvt_evict_next(order, at);
        if (at == NULL || !has_room(eviction)) {
            restore_from(eviction, first);
            return false;
        }
        struct kvt_key_entry *entry = (struct kvt_key_entry *)(uintptr_t)at;
        if (entry->present && !entry->busy && entry->pins == 0) {
            withdraw(eviction, entry);
        }
    }
    return true;
}

/* All that was promised and all that went, at once: the budget is never off
 * in between. */
static void settle(struct fpk_eviction *eviction)
{
    struct fpk *fpk = eviction->fpk;
    kvt_charge_add(&fpk->budget.used, eviction->credit);
    kvt_budget_give_back(&fpk->budget, eviction->removed);
}

static void eviction_end(struct fpk_eviction *eviction)
{
    pthread_mutex_lock(&eviction->fpk->mutex);
    settle(eviction);
    pthread_mutex_unlock(&eviction->fpk->mutex);
    eviction->done(eviction);
}

static void victim_gone(struct kvt_fs_elem *elem)
{
    struct fpk_victim *victim = elem->arg;
    struct fpk_eviction *eviction = victim->eviction;
    struct fpk *fpk = eviction->fpk;
    struct kvt_key_entry *entry = victim->entry;
    bool late = kvt_fpk_late_takes(victim->late, elem);

    pthread_mutex_lock(&fpk->mutex);
    if (late) {
        eviction->rc = (int)elem->result; /* how it ends, `late` will know */
    } else if (elem->result == 0 || elem->result == -ENOENT) {
        kvt_charge_add(&eviction->removed, kvt_fpk_entry_charge(entry));
        eviction->removed_objects++;
        eviction->removed_bytes += entry->size;
        fpk->evicted_objects++;
        kvt_fpk_forget(fpk, entry);
    } else {
        eviction->rc = (int)elem->result;
        restore(fpk, entry);
    }
    pthread_mutex_unlock(&fpk->mutex);
    if (--eviction->pending == 0) {
        eviction_end(eviction);
    }
}

/* Asks the caller's handler; entries are busy, so their keys stay. */
static int ask_handler(struct fpk_eviction *eviction)
{
    const struct fpk *fpk = eviction->fpk;
    const struct kvt_handlers *handlers = fpk->base.args.handlers;
    if (handlers->evict == NULL) {
        return 0;
    }
    struct kvt_meta *metas = calloc(eviction->count, sizeof *metas);
    if (metas == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < eviction->count; i++) {
        const struct kvt_key_entry *entry = eviction->victims[i].entry;
        metas[i] = kvt_fpk_meta(fpk, kvt_key_entry_key(entry), entry->size);
    }
    int rc = handlers->evict(metas, eviction->count, handlers->evict_arg);
    free(metas);
    return rc != 0 ? -ECANCELED : 0;
}

void kvt_fpk_eviction_run(struct fpk_eviction *eviction)
{
    struct fpk *fpk = eviction->fpk;
    assert(eviction->count > 0);
    eviction->rc = ask_handler(eviction);
    if (eviction->rc != 0) {
        pthread_mutex_lock(&fpk->mutex);
        restore_from(eviction, 0);
        pthread_mutex_unlock(&fpk->mutex);
        eviction_end(eviction);
        return;
    }
    size_t count = eviction->count;
    eviction->pending = count;
    for (size_t i = 0; i < count; i++) {
        struct fpk_victim *victim = &eviction->victims[i];
        struct kvt_object_file file;
        kvt_object_file_init(&file, &fpk->layout,
                             kvt_key_entry_key(victim->entry));
        memcpy(victim->path, file.path, sizeof victim->path);
        victim->eviction = eviction;
        victim->elem.op = KVT_FS_REMOVE;
        victim->elem.path = victim->path;
        victim->elem.done = victim_gone;
        victim->elem.arg = victim;
        victim->elem.deadline_ns = eviction->deadline_ns;
        int rc;
        victim->late =
            kvt_fpk_late_new(fpk, eviction->deadline_ns, FPK_LATE_REMOVE,
                             &victim->elem, victim->entry, &rc);
        if (rc != 0) {
            /* kept: what cannot be followed up is not begun */
            victim->elem.result = rc;
            victim_gone(&victim->elem);
            continue;
        }
        kvt_fs_submit(eviction->queue, &victim->elem, 1);
    }
}

/* Eviction that somebody asked for ---------------------------------------- */

static void asked_done(struct fpk_eviction *eviction)
{
    *(size_t *)eviction->arg = 0;
}

/* What to free now: towards `target`, at most so many objects at once. */
static bool choose_towards(struct fpk_eviction *eviction,
                           struct kvt_charge target)
{
    const struct fpk *fpk = eviction->fpk;
    while (eviction->count < ASKED_EVICTION_MAX) {
        struct kvt_charge left = fpk->budget.used;
        kvt_charge_sub(&left, eviction->chosen);
        struct kvt_charge one_more = {0, 0, eviction->chosen.objects + 1};
        if (kvt_charge_covers(target, left) ||
            !kvt_fpk_eviction_choose(eviction, one_more)) {
            break;
        }
    }
    return eviction->count > 0;
}

/* One round: 1 when something went, 0 when there is nothing to do, or what
 * went wrong. */
static int evict_some(struct fpk *fpk, struct kvt_fs_queue *queue,
                      struct kvt_charge target, struct kvt_evict_result *result)
{
    struct fpk_eviction *eviction = kvt_fpk_eviction_new(fpk, queue);
    if (eviction == NULL) {
        return -ENOMEM;
    }
    size_t left = 1;
    eviction->done = asked_done;
    eviction->arg = &left;
    pthread_mutex_lock(&fpk->mutex);
    bool some = choose_towards(eviction, target);
    pthread_mutex_unlock(&fpk->mutex);
    int rc = 0;
    if (some) {
        kvt_fpk_eviction_run(eviction);
        kvt_fpk_finish(queue, &left);
        result->objects += eviction->removed_objects;
        result->bytes += eviction->removed_bytes;
        rc = eviction->rc != 0 ? eviction->rc : 1;
    }
    kvt_fpk_eviction_free(eviction);
    return rc;
}

int kvt_fpk_evict_to(struct fpk *fpk, struct kvt_charge target,
                     struct kvt_evict_result *result)
{
    struct kvt_fs_queue *queue;
    int rc = kvt_fpk_queue_open(fpk, &queue);
    if (rc == 0) {
        do {
            rc = evict_some(fpk, queue, target, result);
        } while (rc > 0);
        kvt_fs_queue_close(queue);
    }
    return rc;
}

static uint64_t allocated_now(struct fpk *fpk)
{
    pthread_mutex_lock(&fpk->mutex);
    uint64_t allocated = fpk->budget.used.allocated;
    pthread_mutex_unlock(&fpk->mutex);
    return allocated;
}

int kvt_fpk_evict(struct kvt_backend *backend, double high, double low,
                  struct kvt_evict_result *result, struct kvt_error *err)
{
    struct fpk *fpk = (struct fpk *)backend;
    double limit = (double)fpk->budget.limit.allocated;
    struct kvt_charge target = {(uint64_t)(low * limit), UINT64_MAX,
                                UINT64_MAX};
    int rc = 0;
    if ((double)allocated_now(fpk) > high * limit) {
        rc = kvt_fpk_evict_to(fpk, target, result);
    }
    result->allocated = allocated_now(fpk);
    if (rc == -ECANCELED) {
        return kvt_error_set(err, KVT_ERR_UNABLE_OFFLOAD, 0, backend->args.path,
                             NULL, "the eviction handler kept the objects");
    }
    if (rc < 0) {
        return kvt_error_set(err, kvt_status_of(KVT_FAULT_WRITE, -rc, false),
                             -rc, backend->args.path,
                             "check the file system under the store",
                             "evicting: %s", strerror(-rc));
    }
    return KVT_OK;
}
