/* Removing: on request, all of it, and what turned out to be lost or not
 * what was written. */
#include "backend/file_per_key.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    REMOVE_ALL_BATCH = 256,
    EVIDENCE_MAX = 64 << 20, /* bytes kept aside for people to look at */
    EVIDENCE_SHARE = 16,     /* and at most this part of the limit */
};

/* On request -------------------------------------------------------------- */

static void start_remove(struct fpk_op *op);

static void turn_came(struct kvt_fs_elem *elem)
{
    struct fpk_op *op = elem->arg;
    op->waits = false;
    if (elem->result == -ETIMEDOUT) {
        kvt_fpk_op_fail(op, KVT_FAULT_WRITE, -ETIMEDOUT);
    } else {
        start_remove(op);
    }
}

/* The file is gone: so is the entry, with what it took. Mutex held. */
static void drop_present(struct fpk *fpk, struct kvt_key_entry *entry)
{
    kvt_budget_give_back(&fpk->budget, kvt_fpk_entry_charge(entry));
    kvt_fpk_uncount(fpk, entry);
    kvt_fpk_forget(fpk, entry);
}

static void synced(struct kvt_fs_elem *elem)
{
    struct fpk_op *op = elem->arg;
    if (elem->result < 0) {
        kvt_fpk_op_fail(op, KVT_FAULT_WRITE, (int)elem->result);
    } else {
        kvt_fpk_op_end(op);
    }
}

/* At durability `batch` a removal is done when its directory is on disk. */
static void sync_directory(struct fpk_op *op)
{
    struct kvt_fs_elem *elem = &op->file.elem;
    kvt_object_directory(&op->batch->fpk->layout, op->file.directory,
                         op->temp_path);
    *elem = (struct kvt_fs_elem){
        .op = KVT_FS_SYNC, .path = op->temp_path, .done = synced, .arg = op};
    kvt_fpk_submit(op->batch, elem);
}

static void removed(struct kvt_fs_elem *elem)
{
    struct fpk_op *op = elem->arg;
    struct fpk *fpk = op->batch->fpk;
    bool gone = elem->result == 0 || elem->result == -ENOENT;
    if (kvt_fpk_late_takes(op->late, elem)) {
        kvt_fpk_op_fail(op, KVT_FAULT_WRITE, (int)elem->result);
        return;
    }
    pthread_mutex_lock(&fpk->mutex);
    if (gone) {
        drop_present(fpk, op->entry);
    } else {
        kvt_fpk_release(op->entry);
    }
    pthread_mutex_unlock(&fpk->mutex);
    if (elem->result == -ENOENT) {
        kvt_fpk_op_fail(op, KVT_FAULT_ABSENT, -ENOENT);
    } else if (!gone) {
        kvt_fpk_op_fail(op, KVT_FAULT_WRITE, (int)elem->result);
    } else if ((fpk->publish_flags & KVT_FS_DURABLE) != 0) {
        sync_directory(op);
    } else {
        kvt_fpk_op_end(op);
    }
}

static void submit_remove(struct fpk_op *op)
{
    struct kvt_fs_elem *elem = &op->file.elem;
    int rc;
    op->late = kvt_fpk_late_new(op->batch->fpk, op->batch->batch->deadline_ns,
                                FPK_LATE_REMOVE, elem, op->entry, &rc);
    if (rc != 0) {
        elem->result = rc;
        removed(elem);
    } else {
        kvt_fpk_submit(op->batch, elem);
    }
}

static void start_remove(struct fpk_op *op)
{
    struct fpk *fpk = op->batch->fpk;
    struct kvt_fs_elem *elem = &op->file.elem;
    pthread_mutex_lock(&fpk->mutex);
    struct kvt_key_entry *entry =
        kvt_key_index_find(&fpk->index, op->object->key, op->hash);
    bool ours = entry != NULL && !entry->busy;
    if (entry != NULL && !ours) {
        elem->done = turn_came;
        op->waits = true;
        kvt_fpk_wait(entry, elem, op->batch->batch->queue);
    } else if (ours) {
        entry->busy = true;
        op->entry = entry;
        *elem = (struct kvt_fs_elem){.op = KVT_FS_REMOVE,
                                     .path = op->file.path,
                                     .done = removed,
                                     .arg = op};
    }
    pthread_mutex_unlock(&fpk->mutex);
    if (entry == NULL) {
        kvt_fpk_op_fail(op, KVT_FAULT_ABSENT, 0);
    } else if (ours) {
        submit_remove(op);
    }
}

void kvt_fpk_start_remove(struct fpk_batch *fb)
{
    for (size_t i = 0; i < fb->batch->count; i++) {
        if (fb->ops[i].batch != NULL) {
            start_remove(&fb->ops[i]);
        }
    }
}

/* All of it --------------------------------------------------------------- */

struct removal {
    struct kvt_fs_elem elem;
    struct removal_round *round;
    struct kvt_key_entry *entry;
    char path[KVT_OBJECT_PATH_MAX];
};

struct removal_round {
    struct fpk *fpk;
    size_t left;
    int rc;
    struct removal removals[REMOVE_ALL_BATCH];
};

static void one_removed(struct kvt_fs_elem *elem)
{
    struct removal *removal = elem->arg;
    struct removal_round *round = removal->round;
    struct fpk *fpk = round->fpk;
    pthread_mutex_lock(&fpk->mutex);
    if (elem->result == 0 || elem->result == -ENOENT) {
        drop_present(fpk, removal->entry);
    } else {
        round->rc = (int)elem->result;
        kvt_fpk_release(removal->entry);
    }
    pthread_mutex_unlock(&fpk->mutex);
    round->left--;
}

/* Takes objects that nobody works on; returns how many. */
static size_t take_some(struct removal_round *round)
{
    struct fpk *fpk = round->fpk;
    size_t count = 0;
    pthread_mutex_lock(&fpk->mutex);
    const struct kvt_evict_node *at = NULL;
    while (count < REMOVE_ALL_BATCH &&
           (at = kvt_evict_next(&fpk->order, at)) != NULL) {
        struct kvt_key_entry *entry = (struct kvt_key_entry *)(uintptr_t)at;
        if (!entry->busy && entry->present) {
            entry->busy = true;
            round->removals[count++].entry = entry;
        }
    }
    pthread_mutex_unlock(&fpk->mutex);
    return count;
}

static void start_removal(struct removal_round *round, size_t i,
                          struct kvt_fs_queue *queue)
{
    struct removal *removal = &round->removals[i];
    struct kvt_object_file file;
    kvt_object_file_init(&file, &round->fpk->layout,
                         kvt_key_entry_key(removal->entry));
    memcpy(removal->path, file.path, sizeof removal->path);
    removal->round = round;
    removal->elem = (struct kvt_fs_elem){.op = KVT_FS_REMOVE,
                                         .path = removal->path,
                                         .done = one_removed,
                                         .arg = removal};
    kvt_fs_submit(queue, &removal->elem, 1);
}

static int remove_rounds(struct fpk *fpk, struct kvt_fs_queue *queue)
{
    struct removal_round *round = malloc(sizeof *round);
    if (round == NULL) {
        return -ENOMEM;
    }
    round->fpk = fpk;
    round->rc = 0;
    while (round->rc == 0) {
        round->left = take_some(round);
        if (round->left == 0) {
            break;
        }
        for (size_t i = 0, count = round->left; i < count; i++) {
            start_removal(round, i, queue);
        }
        kvt_fpk_finish(queue, &round->left);
    }
    int rc = round->rc;
    free(round);
    return rc;
}

static int sync_one(const struct kvt_fs_dirent *entry, void *arg)
{
    struct fpk *fpk = arg;
    struct kvt_fs_elem sync = {.op = KVT_FS_SYNC, .path = entry->name};
    if (entry->type != KVT_FS_TYPE_DIRECTORY || entry->name[0] == '.') {
        return 0;
    }
    return (int)kvt_fs_run(fpk->fs, &sync);
}

/* At durability `batch` the removals are on disk before they are told. */
static int sync_directories(struct fpk *fpk)
{
    bool durable = (fpk->publish_flags & KVT_FS_DURABLE) != 0;
    return durable ? kvt_fs_list(fpk->fs, ".", false, sync_one, fpk) : 0;
}

int kvt_fpk_remove_all(struct kvt_backend *backend, struct kvt_error *err)
{
    struct fpk *fpk = (struct fpk *)backend;
    struct kvt_fs_queue *queue;
    int rc = kvt_fpk_queue_open(fpk, &queue);
    if (rc == 0) {
        rc = remove_rounds(fpk, queue);
        kvt_fs_queue_close(queue);
        rc = rc == 0 ? sync_directories(fpk) : rc;
    }
    if (rc != 0) {
        return kvt_error_set(err, kvt_status_of(KVT_FAULT_WRITE, -rc, false),
                             -rc, backend->args.path,
                             "check the file system under the store, and try "
                             "again: what is left is still whole",
                             "removing all objects: %s", strerror(-rc));
    }
    return KVT_OK;
}

/* Lost, or not what was written ------------------------------------------- */

/* Takes the object of a load out of everyone's sight, if it is still the one
 * that was read and nobody works on it. Mutex held. */
static bool take_read_object(struct fpk *fpk, struct fpk_op *op)
{
    struct kvt_key_entry *entry = op->entry;
    if (entry == NULL || entry->removed || entry->busy || !entry->present ||
        entry->generation != op->generation) {
        return false;
    }
    entry->busy = true;
    kvt_fpk_uncount(fpk, entry);
    return true;
}

void kvt_fpk_lost(struct fpk_op *op)
{
    struct fpk *fpk = op->batch->fpk;
    pthread_mutex_lock(&fpk->mutex);
    if (take_read_object(fpk, op)) {
        kvt_budget_give_back(&fpk->budget, kvt_fpk_entry_charge(op->entry));
        kvt_fpk_forget(fpk, op->entry);
    }
    pthread_mutex_unlock(&fpk->mutex);
}

bool kvt_fpk_keep_aside(struct fpk *fpk, const char *path, uint64_t bytes)
{
    char to[KVT_OBJECT_PATH_MAX + 64];
    const char *name = strrchr(path, '/') + 1;
    uint64_t most = fpk->budget.limit.allocated / EVIDENCE_SHARE;
    most = most < EVIDENCE_MAX ? most : EVIDENCE_MAX;
    pthread_mutex_lock(&fpk->mutex);
    bool keep = fpk->quarantine_bytes + bytes <= most;
    if (keep) {
        fpk->quarantine_bytes += bytes;
        fpk->quarantined_objects++;
    }
    pthread_mutex_unlock(&fpk->mutex);
    if (!keep) {
        return false;
    }
    uint64_t number = __atomic_fetch_add(&fpk->temp_count, 1, __ATOMIC_RELAXED);
    /* unique, and as much of the old name as surely fits */
    snprintf(to, sizeof to, ".kvtier/quarantine/%016llx-%llx-%.24s",
             (unsigned long long)fpk->instance, (unsigned long long)number,
             name);
    if (kvt_fs_rename(fpk->fs, path, to, false) == 0) {
        return true;
    }
    pthread_mutex_lock(&fpk->mutex);
    fpk->quarantine_bytes -= bytes;
    fpk->quarantined_objects--;
    pthread_mutex_unlock(&fpk->mutex);
    return false;
}

void kvt_fpk_quarantine(struct fpk_op *op)
{
    struct fpk *fpk = op->batch->fpk;
    const struct kvt_batch *batch = op->batch->batch;
    bool takes = batch->notes == NULL || batch->repairs;
    pthread_mutex_lock(&fpk->mutex);
    fpk->checksum_misses++;
    bool taken =
        takes && !fpk->base.args.read_only && take_read_object(fpk, op);
    pthread_mutex_unlock(&fpk->mutex);
    kvt_backend_log(&fpk->base, KVT_LOG_WARN,
                    "%s: the file is not what was published under its key",
                    op->file.path);
    if (!taken) {
        return;
    }
    bool kept = kvt_fpk_keep_aside(fpk, op->file.path, op->entry->allocated);
    int64_t rc = 0;
    if (!kept) {
        struct kvt_fs_elem remove = {.op = KVT_FS_REMOVE,
                                     .path = op->file.path};
        rc = kvt_fs_run(fpk->fs, &remove);
    }
    if (rc < 0 && rc != -ENOENT) {
        kvt_backend_log(&fpk->base, KVT_LOG_WARN, "%s: removing it: %s",
                        op->file.path, strerror((int)-rc));
    }
    bool stays = rc < 0 && rc != -ENOENT;
    if (!stays) {
        fpk_note(op, KVT_NOTE_REPAIRED);
    }
    pthread_mutex_lock(&fpk->mutex);
    struct kvt_charge charge = kvt_fpk_entry_charge(op->entry);
    if (kept || stays) {
        charge.allocated = 0; /* it takes its room still, as no object */
    }
    kvt_budget_give_back(&fpk->budget, charge);
    kvt_fpk_forget(fpk, op->entry);
    pthread_mutex_unlock(&fpk->mutex);
}
