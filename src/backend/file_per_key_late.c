/* Deadlines. A batch ends at its deadline, but the file system goes on with
 * what it was given: until that is over, the entry stays busy, so that nobody
 * else works on its file, and then the index takes over what really
 * happened. */
#include "backend/file_per_key.h"

#include <errno.h>
#include <stdlib.h>

struct fpk_late {
    struct fpk *fpk;
    enum fpk_late_kind kind;
    struct kvt_key_entry *entry;
    /* of a publish */
    uint64_t size;
    uint64_t check;
    struct kvt_charge charge;
};

void kvt_fpk_submit(struct fpk_batch *fb, struct kvt_fs_elem *elem)
{
    elem->deadline_ns = fb->batch->deadline_ns;
    kvt_fs_submit(fb->batch->queue, elem, 1);
}

static void late_publish(struct fpk_late *late, int64_t result)
{
    struct fpk *fpk = late->fpk;
    if (result < 0) {
        kvt_fpk_undo_claim(fpk, late->entry, late->charge);
    } else {
        kvt_fpk_enter(fpk, late->entry, late->size, late->check, late->charge);
    }
}

static void late_remove(struct fpk_late *late, int64_t result)
{
    struct fpk *fpk = late->fpk;
    struct kvt_key_entry *entry = late->entry;
    if (result == 0 || result == -ENOENT) {
        kvt_budget_give_back(&fpk->budget, kvt_fpk_entry_charge(entry));
        if (entry->present) {
            kvt_fpk_uncount(fpk, entry);
        }
        kvt_fpk_forget(fpk, entry);
        return;
    }
    if (!entry->present) {
        kvt_fpk_count(fpk, entry);
    }
    kvt_fpk_release(entry);
}

static void outcome_known(void *arg, int64_t result)
{
    struct fpk_late *late = arg;
    pthread_mutex_lock(&late->fpk->mutex);
    if (late->kind == FPK_LATE_PUBLISH) {
        late_publish(late, result);
    } else {
        late_remove(late, result);
    }
    pthread_mutex_unlock(&late->fpk->mutex);
    free(late);
}

struct fpk_late *kvt_fpk_late_new(struct fpk *fpk, int64_t deadline_ns,
                                  enum fpk_late_kind kind,
                                  struct kvt_fs_elem *elem,
                                  struct kvt_key_entry *entry, int *rc)
{
    *rc = 0;
    elem->late = NULL;
    if (deadline_ns == 0) {
        return NULL;
    }
    struct fpk_late *late = calloc(1, sizeof *late);
    if (late == NULL) {
        *rc = -ENOMEM;
        return NULL;
    }
    late->fpk = fpk;
    late->kind = kind;
    late->entry = entry;
    elem->late = outcome_known;
    elem->late_arg = late;
    return late;
}

bool kvt_fpk_late_takes(struct fpk_late *late, struct kvt_fs_elem *elem)
{
    if (late != NULL && !elem->late_follows) {
        free(late);
    }
    return elem->late_follows;
}

void kvt_fpk_late_publish(struct fpk_late *late, const struct fpk_op *op)
{
    if (late != NULL) {
        late->size = op->size;
        late->check = op->check;
        late->charge = op->charge;
    }
}
