/* Removing, on request and all of it. What another host removed first is not
 * found, or gone as it should be. */
#include "backend/distributed_walk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROUND = 256 /* removals at a time */
};

/* On request --------------------------------------------------------------- */

static void synced(struct kvt_fs_elem *elem)
{
    struct dist_op *op = elem->arg;
    if (elem->result < 0) {
        kvt_dist_op_fail(op, KVT_FAULT_WRITE, elem->result);
    } else {
        kvt_dist_op_end(op);
    }
}

/* At durability `batch` a removal is done when its directory is on disk. */
static void sync_directory(struct dist_op *op)
{
    kvt_object_directory(&op->batch->dist->layout, op->file.directory,
                         op->temp_path);
    op->file.elem =
        (struct kvt_fs_elem){.op = KVT_FS_SYNC, .path = op->temp_path};
    kvt_dist_submit(op, synced);
}

static void start_removal(struct dist_op *op);

/* A stale handle may be that of the directory: the file is still there, then,
 * and nobody is told that it is not. */
static void removed(struct kvt_fs_elem *elem)
{
    struct dist_op *op = elem->arg;
    struct dist *dist = op->batch->dist;
    if (kvt_dist_is_absent(elem->result)) {
        kvt_dist_op_fail(op, KVT_FAULT_ABSENT, elem->result);
    } else if (kvt_dist_is_gone(elem->result) && op->attempts++ < 1) {
        start_removal(op);
    } else if (elem->result < 0) {
        kvt_dist_op_fail(op, KVT_FAULT_WRITE, elem->result);
    } else {
        kvt_dist_freed(dist);
        if ((dist->publish_flags & KVT_FS_DURABLE) != 0) {
            sync_directory(op);
        } else {
            kvt_dist_op_end(op);
        }
    }
}

static void start_removal(struct dist_op *op)
{
    op->file.elem =
        (struct kvt_fs_elem){.op = KVT_FS_REMOVE, .path = op->file.path};
    kvt_dist_submit(op, removed);
}

void kvt_dist_start_remove(struct dist_batch *batch)
{
    for (size_t i = 0; i < batch->batch->count; i++) {
        struct dist_op *op = &batch->ops[i];
        if (op->batch != NULL) {
            start_removal(op);
        }
    }
}

/* All of it ---------------------------------------------------------------- */

struct removal {
    struct kvt_fs_elem elem;
    struct round *round;
    bool again; /* for the second time */
    char path[KVT_OBJECT_PATH_MAX];
};

struct round {
    struct dist *dist;
    struct kvt_fs_queue *queue;
    size_t count;
    size_t left;
    int rc;
    struct removal removals[ROUND];
};

static void one_removed(struct kvt_fs_elem *elem);

static void submit_removal(struct removal *removal)
{
    removal->elem = (struct kvt_fs_elem){.op = KVT_FS_REMOVE,
                                         .path = removal->path,
                                         .done = one_removed,
                                         .arg = removal};
    kvt_fs_submit(removal->round->queue, &removal->elem, 1);
}

static void one_removed(struct kvt_fs_elem *elem)
{
    struct removal *removal = elem->arg;
    struct round *round = removal->round;
    bool absent = kvt_dist_is_absent(elem->result);
    if (kvt_dist_is_gone(elem->result) && !absent && !removal->again) {
        removal->again = true;
        submit_removal(removal);
        return;
    }
    if (elem->result < 0 && !absent && round->rc == 0) {
        round->rc = (int)elem->result;
    }
    round->left--;
}

static int finish(struct round *round)
{
    while (round->left > 0) {
        kvt_fs_poll(round->queue, 1, 0);
    }
    round->count = 0;
    return round->rc;
}

static int remove_found(const struct dist_found *found, void *arg)
{
    struct round *round = arg;
    if (found->kind == KVT_NAME_FOREIGN) {
        return 0; /* a temporary: its writer's */
    }
    if (round->count == ROUND) {
        int rc = finish(round);
        if (rc != 0) {
            return rc;
        }
    }
    struct removal *removal = &round->removals[round->count++];
    removal->round = round;
    snprintf(removal->path, sizeof removal->path, "%.8s/%s", found->directory,
             found->name);
    removal->again = false;
    round->left++;
    submit_removal(removal);
    return 0;
}

static int sync_one(const struct kvt_fs_dirent *entry, void *arg)
{
    struct dist *dist = arg;
    struct kvt_fs_elem sync = {.op = KVT_FS_SYNC, .path = entry->name};
    if (entry->type != KVT_FS_TYPE_DIRECTORY || entry->name[0] == '.') {
        return 0;
    }
    return (int)kvt_fs_run(dist->fs, &sync);
}

static int remove_files(struct dist *dist)
{
    struct round *round = calloc(1, sizeof *round);
    if (round == NULL) {
        return -ENOMEM;
    }
    round->dist = dist;
    int rc = kvt_dist_queue_open(dist, &round->queue);
    if (rc == 0) {
        rc = kvt_dist_walk(dist, false, remove_found, round);
        int last = finish(round);
        rc = rc != 0 ? rc : last;
        kvt_fs_queue_close(round->queue);
    }
    free(round);
    return rc;
}

int kvt_dist_remove_all(struct kvt_backend *backend, struct kvt_error *err)
{
    struct dist *dist = (struct dist *)backend;
    int rc = remove_files(dist);
    kvt_dist_freed(dist);
    pthread_mutex_lock(&dist->mutex);
    dist->count_took_ns = 0; /* no earlier count says anything now */
    pthread_mutex_unlock(&dist->mutex);
    if (rc == 0 && (dist->publish_flags & KVT_FS_DURABLE) != 0) {
        rc = kvt_fs_list(dist->fs, ".", false, sync_one, dist);
    }
    return rc == 0 ? KVT_OK
                   : kvt_dist_fail(dist, KVT_FAULT_WRITE, rc,
                                   "removing all objects", err);
}
