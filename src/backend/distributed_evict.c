/* Victims are the oldest files as the last count found them. Another host may
 * evict the same ones at the same time: what is gone already is freed, too,
 * so that two hosts together evict no more than one would. */
#include "backend/distributed_evict.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROUND = 64, /* removals at a time */
};

struct victim {
    struct kvt_fs_elem elem;
    struct victims *victims;
    const struct dist_old *old;
    struct kvt_charge charge;
    struct kvt_key key; /* of size 0 when it cannot be read */
    uint64_t size;      /* of its value, for the handler */
    unsigned char bytes[KVT_OBJECT_TAIL_MAX];
};

struct victims {
    struct dist *dist;
    size_t first; /* where they began in the order of age */
    size_t count;
    size_t left;
    int rc;
    struct kvt_charge freed;
    uint64_t removed; /* by us */
    uint64_t removed_bytes;
    struct victim all[ROUND];
};

/* The key of a long name stands in the file. */
static void read_long(struct dist *dist, struct victim *victim)
{
    const struct dist_old *old = victim->old;
    struct kvt_slice slice = {.base = victim->bytes};
    struct kvt_fs_elem fetch = {0};
    kvt_object_fetch_long(&fetch, old->path, &slice);
    int64_t got = kvt_fs_run(dist->fs, &fetch);
    victim->key = (struct kvt_key){NULL, 0};
    if (got > 0) {
        victim->key =
            kvt_object_long_key(&dist->layout, old->path, victim->bytes,
                                (uint64_t)got, fetch.file_size);
        victim->size = fetch.file_size - KVT_TRAILER_SIZE - victim->key.size;
    }
}

/* Whether a file of a mixed root has a trailer, its end tells. */
static void read_end(struct dist *dist, struct victim *victim)
{
    struct kvt_slice slices[KVT_OBJECT_SLICES];
    struct kvt_object_file file = {.slices = slices};
    enum kvt_object_kind kind;
    kvt_object_file_init(&file, &dist->layout, victim->key);
    kvt_object_file_fetch_tail(&file);
    file.elem.result = kvt_fs_run(dist->fs, &file.elem);
    if (file.elem.result >= 0 &&
        kvt_object_file_settle_tail(&file, true, &kind) == 0) {
        victim->size = file.size;
    }
}

/* What the handler is told of a victim. */
static void describe(struct dist *dist, struct victim *victim)
{
    const char *name = strchr(victim->old->path, '/') + 1;
    if (victim->old->is_long) {
        read_long(dist, victim);
        return;
    }
    victim->key = (struct kvt_key){victim->bytes,
                                   kvt_keyname_decode(name, victim->bytes)};
    victim->size = victim->charge.values;
    if (!dist->recorded) {
        read_end(dist, victim);
    }
}

/* Takes victims until they cover what is wanted, or the round is full. */
static void choose(struct victims *victims, struct kvt_charge wanted)
{
    struct dist *dist = victims->dist;
    struct kvt_charge chosen = {0};
    pthread_mutex_lock(&dist->mutex);
    victims->first = dist->limit.oldest != NULL ? dist->limit.oldest->next : 0;
    while (victims->count < ROUND && dist->limit.oldest != NULL &&
           !kvt_charge_covers(chosen, wanted)) {
        const struct dist_old *old = kvt_dist_oldest_take(dist->limit.oldest);
        if (old == NULL) {
            break;
        }
        struct victim *victim = &victims->all[victims->count++];
        uint64_t value = old->file_size > KVT_TRAILER_SIZE
                             ? old->file_size - KVT_TRAILER_SIZE
                             : 0;
        victim->victims = victims;
        victim->old = old;
        victim->charge = kvt_dist_charge(dist, old->file_size, value);
        kvt_charge_add(&chosen, victim->charge);
    }
    pthread_mutex_unlock(&dist->mutex);
}

/* Asks the caller's handler; non-zero when it keeps them. */
static int tell_handler(struct victims *victims)
{
    const struct kvt_handlers *handlers = victims->dist->base.args.handlers;
    struct kvt_meta metas[ROUND];
    size_t count = 0;
    if (handlers->evict == NULL) {
        return 0;
    }
    for (size_t i = 0; i < victims->count; i++) {
        struct victim *victim = &victims->all[i];
        describe(victims->dist, victim);
        if (victim->key.size > 0) {
            metas[count++] =
                kvt_dist_meta(victims->dist, victim->key, victim->size);
        }
    }
    return count > 0 ? handlers->evict(metas, count, handlers->evict_arg) : 0;
}

static void removed(struct kvt_fs_elem *elem)
{
    struct victim *victim = elem->arg;
    struct victims *victims = victim->victims;
    if (elem->result == 0 || kvt_dist_is_gone(elem->result)) {
        kvt_charge_add(&victims->freed, victim->charge);
    } else if (victims->rc == 0) {
        victims->rc = (int)elem->result;
    }
    if (elem->result == 0) {
        victims->removed++;
        victims->removed_bytes += victim->charge.values;
    }
    victims->left--;
}

static int remove_all(struct victims *victims)
{
    struct kvt_fs_queue *queue;
    int rc = kvt_dist_queue_open(victims->dist, &queue);
    if (rc != 0) {
        return rc;
    }
    victims->left = victims->count;
    for (size_t i = 0; i < victims->count; i++) {
        struct victim *victim = &victims->all[i];
        victim->elem = (struct kvt_fs_elem){.op = KVT_FS_REMOVE,
                                            .path = victim->old->path,
                                            .done = removed,
                                            .arg = victim};
        kvt_fs_submit(queue, &victim->elem, 1);
    }
    while (victims->left > 0) {
        kvt_fs_poll(queue, 1, 0);
    }
    kvt_fs_queue_close(queue);
    return victims->rc;
}

int kvt_dist_evict_some(struct dist *dist, struct kvt_charge wanted,
                        struct kvt_evict_result *result)
{
    struct victims *victims = malloc(sizeof *victims);
    if (victims == NULL) {
        return -ENOMEM;
    }
    victims->dist = dist;
    victims->count = 0;
    victims->rc = 0;
    victims->freed = (struct kvt_charge){0};
    victims->removed = 0;
    victims->removed_bytes = 0;
    choose(victims, wanted);
    bool none = victims->count == 0;
    int rc = none ? 0 : tell_handler(victims) != 0 ? -ECANCELED : 0;
    if (rc == 0 && !none) {
        rc = remove_all(victims);
    }
    pthread_mutex_lock(&dist->mutex);
    struct dist_limit *limit = &dist->limit;
    if (rc == -ECANCELED) { /* they are the oldest still */
        limit->oldest->next = victims->first;
    }
    kvt_charge_sub(&limit->used, kvt_charge_least(limit->used, victims->freed));
    limit->evicted_objects += victims->removed;
    pthread_mutex_unlock(&dist->mutex);
    rc = none ? -ENOENT : rc;
    __atomic_fetch_add(&dist->changes, victims->removed, __ATOMIC_RELAXED);
    if (result != NULL) {
        result->objects += victims->removed;
        result->bytes += victims->removed_bytes;
    }
    free(victims);
    return rc;
}

/* On request --------------------------------------------------------------- */

static uint64_t used_bytes(struct dist *dist)
{
    pthread_mutex_lock(&dist->mutex);
    uint64_t used = dist->limit.used.allocated;
    pthread_mutex_unlock(&dist->mutex);
    return used;
}

/* Evicts until at most `target` bytes are used. Pass held. */
static int evict_to(struct dist *dist, uint64_t target,
                    struct kvt_evict_result *result)
{
    int rc = kvt_dist_recount(dist);
    bool certain = true; /* all that is there is known */
    for (uint64_t used = used_bytes(dist); used > target && rc == 0;
         used = used_bytes(dist)) {
        struct kvt_charge wanted = {used - target, 0, 0};
        rc = kvt_dist_evict_some(dist, wanted, result);
        if (rc == -ENOENT && !certain) {
            rc = kvt_dist_recount(dist);
            certain = true;
        } else {
            certain = false;
        }
    }
    /* nothing is left that may go, or the handler keeps it: no failure */
    return rc == -ENOENT || rc == -ECANCELED ? 0 : rc;
}

int kvt_dist_evict(struct kvt_backend *backend, double high, double low,
                   struct kvt_evict_result *result, struct kvt_error *err)
{
    struct dist *dist = (struct dist *)backend;
    double most = (double)dist->limit.most.allocated;
    if (dist->limit.most.allocated == UINT64_MAX) {
        return kvt_error_set(
            err, KVT_ERR_NOT_SUPPORTED, 0, backend->args.path,
            "set total_size_limit, of which the watermarks are shares",
            "a shared directory without a limit is not evicted from");
    }
    pthread_mutex_lock(&dist->limit.pass);
    int rc = kvt_dist_recount(dist);
    if (rc == 0 && (double)used_bytes(dist) > high * most) {
        rc = evict_to(dist, (uint64_t)(low * most), result);
    }
    result->allocated = used_bytes(dist);
    pthread_mutex_unlock(&dist->limit.pass);
    return rc == 0 ? KVT_OK
                   : kvt_dist_fail(dist, KVT_FAULT_WRITE, rc, "evicting", err);
}
