/* From files to objects. In a root with a record, a name and a size tell all
 * but the key of a long name. In a mixed root a file may be raw or not, and
 * where files are written under their own names one may be half of one: only
 * its end tells; so ends are looked at, many at a time. */
#include "backend/distributed_walk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOOKS = 64 /* in flight */
};

struct look {
    struct kvt_object_file file;
    struct kvt_slice slices[KVT_OBJECT_SLICES];
    unsigned char bytes[KVT_OBJECT_TAIL_MAX]; /* the key, or the file's end */
    struct objects *objects;
    bool is_long;
};

struct objects {
    struct dist *dist;
    kvt_dist_object_fn each;
    void *arg;
    struct kvt_fs_queue *queue;
    struct look *looks; /* null until the first is needed */
    size_t count;
    size_t left; /* under way */
};

static void look_done(struct kvt_fs_elem *elem)
{
    struct look *look = elem->arg;
    look->objects->left--;
}

static int open_looks(struct objects *objects)
{
    if (objects->looks != NULL) {
        return 0;
    }
    objects->looks = malloc(LOOKS * sizeof objects->looks[0]);
    return objects->looks == NULL
               ? -ENOMEM
               : kvt_dist_queue_open(objects->dist, &objects->queue);
}

/* The object that a look found: 1 when `object` is filled, 0 when there is
 * none, or -errno. */
static int look_result(struct look *look, struct dist_object *object)
{
    struct dist *dist = look->objects->dist;
    int64_t got = look->file.elem.result;
    if (got < 0) {
        return kvt_dist_is_gone(got) ? 0 : (int)got;
    }
    /* of the file as it is now: it may be another than the one listed */
    object->file_size = look->file.elem.file_size;
    if (look->is_long) {
        object->key =
            kvt_object_long_key(&dist->layout, look->file.path, look->bytes,
                                (uint64_t)got, object->file_size);
        object->size = object->file_size - object->key.size - KVT_TRAILER_SIZE;
        object->kind = KVT_OBJECT_WHOLE;
        return object->key.size > 0;
    }
    object->key = look->file.key;
    int rc = kvt_object_file_settle_tail(&look->file, dist->accepts_raw,
                                         &object->kind);
    object->size = look->file.size;
    return rc == 0; /* what is damaged, or a newer version's, is no object */
}

/* Waits for the looks and tells of what they found. */
static int finish_looks(struct objects *objects)
{
    int rc = 0;
    while (objects->left > 0) {
        kvt_fs_poll(objects->queue, 1, 0);
    }
    for (size_t i = 0; i < objects->count && rc == 0; i++) {
        struct dist_object object = {.size = 0};
        rc = look_result(&objects->looks[i], &object);
        if (rc > 0) {
            rc = objects->each(&object, objects->arg);
        }
    }
    objects->count = 0;
    return rc;
}

static void start_look(struct objects *objects, const struct dist_found *found)
{
    struct look *look = &objects->looks[objects->count++];
    struct kvt_object_file *file = &look->file;
    memset(file, 0, sizeof *file);
    look->objects = objects;
    look->is_long = found->kind == KVT_NAME_LONG;
    file->slices = look->slices;
    if (look->is_long) {
        snprintf(file->path, sizeof file->path, "%.8s/%s", found->directory,
                 found->name);
        look->slices[0].base = look->bytes;
        kvt_object_fetch_long(&file->elem, file->path, look->slices);
    } else {
        memcpy(look->bytes, found->key.data, found->key.size);
        struct kvt_key key = {look->bytes, found->key.size};
        kvt_object_file_init(file, &objects->dist->layout, key);
        kvt_object_file_fetch_tail(file);
    }
    file->elem.done = look_done;
    file->elem.arg = look;
    objects->left++;
    kvt_fs_submit(objects->queue, &file->elem, 1);
}

static int look_at(struct objects *objects, const struct dist_found *found)
{
    int rc = open_looks(objects);
    if (rc == 0 && objects->count == LOOKS) {
        rc = finish_looks(objects);
    }
    if (rc == 0) {
        start_look(objects, found);
    }
    return rc;
}

static int visit(const struct dist_found *found, void *arg)
{
    struct objects *objects = arg;
    struct dist *dist = objects->dist;
    if (found->kind == KVT_NAME_FOREIGN) {
        if (!dist->base.args.read_only) {
            kvt_dist_temp_collect(&dist->temps, dist->fs, found->directory,
                                  found->name, found->modified_ns);
        }
        return 0;
    }
    if (!kvt_dist_sizes_tell(dist) || found->kind == KVT_NAME_LONG) {
        return look_at(objects, found);
    }
    if (found->file_size < KVT_TRAILER_SIZE) {
        return 0; /* being written, or cut */
    }
    struct dist_object object = {.key = found->key,
                                 .size = found->file_size - KVT_TRAILER_SIZE,
                                 .file_size = found->file_size,
                                 .kind = KVT_OBJECT_WHOLE};
    return objects->each(&object, objects->arg);
}

int kvt_dist_objects(struct dist *dist, kvt_dist_object_fn each, void *arg)
{
    struct objects objects = {.dist = dist, .each = each, .arg = arg};
    int rc = kvt_dist_walk(dist, true, visit, &objects);
    while (objects.left > 0) { /* also when the walk was stopped */
        kvt_fs_poll(objects.queue, 1, 0);
    }
    if (rc == 0) {
        rc = finish_looks(&objects);
    }
    kvt_fs_queue_close(objects.queue);
    free(objects.looks);
    return rc;
}
