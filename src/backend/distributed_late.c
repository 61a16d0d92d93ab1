/* A publish that outlived its deadline goes on in the file system, and may
 * give its file the name at any time. Until it is over, no other offload of
 * that key by this store begins: it would be acknowledged, and then be
 * replaced by an older one. (What other hosts do, nobody can wait for.) */
#include "backend/distributed.h"

#include <errno.h>
#include <stdlib.h>

struct dist_late {
    struct dist *dist;
    struct dist_late *next; /* of dist->lates, under its mutex */
    uint64_t hash;          /* of the key */
    struct dist_op *waiters;
};

static void outcome_known(void *arg, int64_t result)
{
    struct dist_late *late = arg;
    struct dist *dist = late->dist;
    (void)result;
    pthread_mutex_lock(&dist->mutex);
    struct dist_late **at = &dist->lates;
    while (*at != late) {
        at = &(*at)->next;
    }
    *at = late->next;
    while (late->waiters != NULL) {
        struct dist_op *op = late->waiters;
        late->waiters = op->next;
        kvt_fs_post(&op->file.elem, 0);
    }
    pthread_mutex_unlock(&dist->mutex);
    free(late);
}

int kvt_dist_late_prepare(struct dist_op *op)
{
    op->file.elem.late = NULL;
    op->late = NULL;
    if (op->batch->batch->deadline_ns == 0) {
        return 0;
    }
    op->late = calloc(1, sizeof *op->late);
    if (op->late == NULL) {
        return -ENOMEM;
    }
    op->late->dist = op->batch->dist;
    op->late->hash = op->file.key_hash.low;
    op->file.elem.late = outcome_known;
    op->file.elem.late_arg = op->late;
    return 0;
}

void kvt_dist_late_done(struct dist_op *op)
{
    struct dist_late *late = op->late;
    struct dist *dist = op->batch->dist;
    op->late = NULL;
    op->file.elem.late = NULL; /* the next one is another matter */
    if (late == NULL) {
        return;
    }
    if (!op->file.elem.late_follows) {
        free(late);
        return;
    }
    pthread_mutex_lock(&dist->mutex);
    late->next = dist->lates;
    dist->lates = late;
    pthread_mutex_unlock(&dist->mutex);
}

/* Of the op's key. Mutex held. */
static struct dist_late *find_late(const struct dist_op *op)
{
    struct dist_late *late = op->batch->dist->lates;
    while (late != NULL && late->hash != op->file.key_hash.low) {
        late = late->next;
    }
    return late;
}

bool kvt_dist_late_known(const struct dist_op *op)
{
    struct dist *dist = op->batch->dist;
    pthread_mutex_lock(&dist->mutex);
    bool known = find_late(op) != NULL;
    pthread_mutex_unlock(&dist->mutex);
    return known;
}

bool kvt_dist_late_wait(struct dist_op *op)
{
    struct dist *dist = op->batch->dist;
    pthread_mutex_lock(&dist->mutex);
    struct dist_late *late = find_late(op);
    if (late != NULL) {
        op->waits = true;
        kvt_fs_expect(op->batch->batch->queue, &op->file.elem);
        op->next = late->waiters;
        late->waiters = op;
    }
    pthread_mutex_unlock(&dist->mutex);
    return late != NULL;
}

static bool take_from(struct dist_op **list, struct dist_op *op)
{
    while (*list != NULL && *list != op) {
        list = &(*list)->next;
    }
    bool found = *list != NULL;
    if (found) {
        *list = op->next;
    }
    return found;
}

bool kvt_dist_stop_waiting(struct dist_op *op)
{
    struct dist *dist = op->batch->dist;
    pthread_mutex_lock(&dist->mutex);
    bool found = take_from(&dist->limit.waiters, op);
    for (struct dist_late *late = dist->lates; late != NULL && !found;
         late = late->next) {
        found = take_from(&late->waiters, op);
    }
    pthread_mutex_unlock(&dist->mutex);
    return found;
}
