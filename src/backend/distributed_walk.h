/* Going through all directories of a shared root, several of them at a time,
 * in memory that does not grow with what is there. */
#ifndef KVT_BACKEND_DISTRIBUTED_WALK_H
#define KVT_BACKEND_DISTRIBUTED_WALK_H

#include "backend/distributed.h"
#include "backend/object_name.h"

/* A file that a walk found; borrowed during the call. */
struct dist_found {
    const char *directory;
    const char *name;
    enum kvt_object_name kind; /* KVT_NAME_FOREIGN: a temporary */
    struct kvt_key key;        /* of KVT_NAME_KEY */
    /* when sizes were asked for */
    uint64_t file_size;
    int64_t modified_ns; /* Unix time */
};
typedef int (*kvt_dist_walk_fn)(const struct dist_found *found, void *arg);

/* Calls `each`, on the calling thread, for every object's file and every
 * temporary, until it returns non-zero; returns that, 0, or -errno. What
 * vanishes meanwhile is skipped, and foreign names are. */
int kvt_dist_walk(struct dist *dist, bool sizes, kvt_dist_walk_fn each,
                  void *arg);

/* An object that a walk found, with the size of its value. */
struct dist_object {
    struct kvt_key key;
    uint64_t size;
    uint64_t file_size;
    enum kvt_object_kind kind;
};
typedef int (*kvt_dist_object_fn)(const struct dist_object *object, void *arg);

/* As kvt_dist_walk, for objects: where the name and the size of a file do not
 * tell enough, its end is looked at, many files at a time. Collects the
 * temporaries of dead writers on the way. */
int kvt_dist_objects(struct dist *dist, kvt_dist_object_fn each, void *arg);

#endif
