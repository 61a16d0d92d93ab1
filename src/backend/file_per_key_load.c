/* Load and exists. With the index, an object that is not there costs no I/O
 * and a size is known before the read; a read-only store asks the directory
 * for it. Nothing is believed before the trailer behind the value, and the
 * hash over the value, have proved it. */
#include "backend/file_per_key.h"

#include <errno.h>

/* A file may be replaced between the look at its size and the read: so often
 * in a row is no coincidence. */
enum {
    CHANGED_ATTEMPTS = 32
};

static bool is_gone(int64_t result)
{
    return result == -ENOENT || result == -ESTALE || result == -ENOTDIR;
}

/* Pins what is there. Mutex held. */
static void find_and_pin(struct fpk *fpk, struct fpk_op *op)
{
    struct kvt_key_entry *entry =
        kvt_key_index_find(&fpk->index, op->object->key, op->hash);
    if (entry != NULL && entry->present) {
        kvt_key_entry_acquire(entry);
        op->entry = entry;
        op->generation = entry->generation;
        op->object->size = entry->size;
    }
}

/* Finds all objects of the batch, and starts those that may be there. */
static void start_all(struct fpk_batch *fb, void (*start)(struct fpk_op *op))
{
    struct fpk *fpk = fb->fpk;
    bool indexed = !fpk->base.args.read_only;
    bool uses = fb->batch->op == KVT_BATCH_LOAD && fb->batch->notes == NULL;
    pthread_mutex_lock(&fpk->mutex);
    for (size_t i = 0; indexed && i < fb->batch->count; i++) {
        struct fpk_op *op = &fb->ops[i];
        if (op->batch != NULL) {
            find_and_pin(fpk, op);
        }
        /* uses count in the order of the batch, not of what ends first */
        if (op->batch != NULL && op->entry != NULL && uses) {
            kvt_evict_use(&fpk->order, &op->entry->order);
        }
    }
    pthread_mutex_unlock(&fpk->mutex);
    for (size_t i = 0; i < fb->batch->count; i++) {
        struct fpk_op *op = &fb->ops[i];
        if (op->batch == NULL) {
            continue;
        }
        if (indexed && op->entry == NULL) {
            kvt_fpk_op_fail(op, KVT_FAULT_ABSENT, 0);
        } else {
            start(op);
        }
    }
}

/* The result is in: lets go of the pin. */
static void end(struct fpk_op *op)
{
    struct fpk *fpk = op->batch->fpk;
    if (op->entry != NULL) {
        pthread_mutex_lock(&fpk->mutex);
        kvt_key_entry_release(op->entry);
        pthread_mutex_unlock(&fpk->mutex);
        op->entry = NULL;
    }
    kvt_fpk_op_end(op);
}

static void fail(struct fpk_op *op, enum kvt_fault fault, int64_t rc)
{
    kvt_object_fail(&op->batch->fpk->base, op->object, fault, (int)rc);
    end(op);
}

/* Load -------------------------------------------------------------------- */

static void start_read(struct fpk_op *op);
static void look_again(struct fpk_op *op);

/* Is the object still the one that was found, and nobody working on it?
 * Mutex held. */
static bool is_untouched(const struct fpk_op *op)
{
    const struct kvt_key_entry *entry = op->entry;
    return !entry->removed && !entry->busy &&
           entry->generation == op->generation;
}

/* A whole file that proves itself may still be an older copy that somebody
 * put back: the index knows what was written last. Learns the check value of
 * a file that was found at open. */
static bool is_current(struct fpk_op *op, uint64_t check)
{
    struct fpk *fpk = op->batch->fpk;
    struct kvt_key_entry *entry = op->entry;
    if (entry == NULL) {
        return true;
    }
    pthread_mutex_lock(&fpk->mutex);
    bool untouched = is_untouched(op);
    bool current = !untouched || !entry->check_known || entry->check == check;
    if (untouched && current) {
        entry->check = check;
        entry->check_known = true;
    }
    pthread_mutex_unlock(&fpk->mutex);
    return current;
}

/* Finds the object anew: it was replaced or removed while it was read. While
 * a writer still owns its entry, the directory knows better than the index;
 * waiting for the writer is not possible: the load may be called by its own
 * handler. */
static void look_again(struct fpk_op *op)
{
    struct fpk *fpk = op->batch->fpk;
    pthread_mutex_lock(&fpk->mutex);
    if (op->entry != NULL) {
        kvt_key_entry_release(op->entry);
        op->entry = NULL;
    }
    struct kvt_key_entry *entry =
        kvt_key_index_find(&fpk->index, op->object->key, op->hash);
    bool written = entry != NULL && entry->busy && entry->present;
    if (!written) {
        find_and_pin(fpk, op);
    }
    pthread_mutex_unlock(&fpk->mutex);
    if (written || op->entry != NULL) {
        start_read(op);
    } else {
        fail(op, KVT_FAULT_ABSENT, 0);
    }
}

/* Not what the index or the directory promised. */
static void mismatch(struct fpk_op *op)
{
    struct fpk *fpk = op->batch->fpk;
    bool indexed = !fpk->base.args.read_only;
    pthread_mutex_lock(&fpk->mutex);
    bool changed = indexed && (op->entry == NULL || !is_untouched(op));
    pthread_mutex_unlock(&fpk->mutex);
    if (op->attempts++ < (indexed && !changed ? 1 : CHANGED_ATTEMPTS)) {
        if (changed) {
            look_again(op);
        } else {
            start_read(op); /* memory or the way may have been at fault */
        }
    } else {
        kvt_fpk_quarantine(op);
        fail(op, KVT_FAULT_CORRUPT, 0);
    }
}

/* What cannot be read twice is as bad as what is wrong, to who repairs. */
static void unreadable(struct fpk_op *op, int rc)
{
    if (rc == -EIO && op->batch->batch->repairs) {
        if (op->attempts++ < 1) {
            start_read(op);
            return;
        }
        kvt_fpk_quarantine(op);
    }
    fail(op, KVT_FAULT_READ, rc);
}

static void read_done(struct kvt_fs_elem *elem)
{
    struct fpk_op *op = elem->arg;
    struct fpk *fpk = op->batch->fpk;
    bool checks = fpk->checksum || op->batch->batch->notes != NULL;
    if (is_gone(elem->result)) {
        kvt_fpk_lost(op);
        fail(op, KVT_FAULT_ABSENT, elem->result);
        return;
    }
    if (elem->result < 0) {
        unreadable(op, (int)elem->result);
        return;
    }
    uint64_t check = 0;
    int rc = kvt_object_file_verify(&op->file, &fpk->layout, op->object, checks,
                                    &check);
    if (rc == -EPROTONOSUPPORT) {
        fail(op, KVT_FAULT_READ, rc); /* a newer version's: not ours to move */
    } else if (rc == 0 && is_current(op, check)) {
        end(op);
    } else {
        mismatch(op);
    }
}

static void fetch_value(struct fpk_op *op)
{
    if (op->object->size > op->size) {
        fail(op, KVT_FAULT_SMALL, 0);
        return;
    }
    kvt_object_file_fetch(&op->file, op->object, op->object->size);
    op->file.elem.done = read_done;
    kvt_fpk_submit(op->batch, &op->file.elem);
}

/* The size of the value follows from that of the file. */
static void size_known(struct kvt_fs_elem *elem)
{
    struct fpk_op *op = elem->arg;
    uint64_t overhead = kvt_object_file_overhead(&op->file);
    if (is_gone(elem->result)) {
        fail(op, KVT_FAULT_ABSENT, elem->result);
    } else if (elem->result < 0) {
        fail(op, KVT_FAULT_READ, elem->result);
    } else if (elem->file_size < overhead) {
        kvt_fpk_quarantine(op);
        fail(op, KVT_FAULT_CORRUPT, 0);
    } else {
        op->object->size = elem->file_size - overhead;
        fetch_value(op);
    }
}

static void start_stat(struct fpk_op *op, void (*done)(struct kvt_fs_elem *))
{
    struct kvt_fs_elem *elem = &op->file.elem;
    elem->op = KVT_FS_STAT;
    elem->path = op->file.path;
    elem->done = done;
    kvt_fpk_submit(op->batch, elem);
}

static void start_read(struct fpk_op *op)
{
    if (op->entry == NULL) {
        start_stat(op, size_known);
    } else {
        fetch_value(op);
    }
}

void kvt_fpk_start_load(struct fpk_batch *fb)
{
    start_all(fb, start_read);
}

/* Exists ------------------------------------------------------------------ */

/* A file of another size is not what was written, unless it is being
 * replaced. */
static bool is_expected_size(const struct fpk_op *op, uint64_t size)
{
    struct fpk *fpk = op->batch->fpk;
    const struct kvt_key_entry *entry = op->entry;
    if (entry == NULL || size == op->object->size) {
        return true;
    }
    pthread_mutex_lock(&fpk->mutex);
    bool untouched = is_untouched(op);
    pthread_mutex_unlock(&fpk->mutex);
    return !untouched;
}

/* The file is looked at too: what was deleted behind our back is not there,
 * and here a look costs no round trip. */
static void look_done(struct kvt_fs_elem *elem)
{
    struct fpk_op *op = elem->arg;
    uint64_t overhead = kvt_object_file_overhead(&op->file);
    if (is_gone(elem->result)) {
        kvt_fpk_lost(op);
        fail(op, KVT_FAULT_ABSENT, elem->result);
    } else if (elem->result < 0) {
        fail(op, KVT_FAULT_READ, elem->result);
    } else if (elem->file_size < overhead ||
               !is_expected_size(op, elem->file_size - overhead)) {
        fail(op, KVT_FAULT_ABSENT, 0); /* a load would not believe it */
    } else {
        op->object->size = elem->file_size - overhead;
        end(op);
    }
}

static void start_look(struct fpk_op *op)
{
    start_stat(op, look_done);
}

void kvt_fpk_start_exists(struct fpk_batch *fb)
{
    start_all(fb, start_look);
}
