/* A store of objects of one size, of layout `bucket`, and where they lie: for
 * rows whose other side reads the same bytes at the same places. */
#ifndef KVT_BENCH_OBJECTS_H
#define KVT_BENCH_OBJECTS_H

#include "harness.h"
#include "ring.h"

#include <kvtier/kvtier.h>

enum {
    OBJECTS_KEY_SIZE = 64,
    OBJECTS_FILES_MAX = 64,
    OBJECTS_RUN = 512 /* most objects of a batch */
};

struct objects_setting {
    const char *key;
    const char *value;
};

struct objects_key {
    char text[OBJECTS_KEY_SIZE + 1];
};

struct objects {
    struct kvt_store *store;
    char path[4200]; /* of the root */
    const struct objects_setting *settings;
    size_t setting_count;
    const struct kvt_handlers *handlers; /* or null */
    uint64_t size;                       /* of each */
    uint64_t count;
    /* by objects_find */
    struct ring_place *places; /* of each object */
    struct {
        int fd;
        char path[4300];
    } files[OBJECTS_FILES_MAX];
    size_t file_count;
};

/* Of `objects`, size and handlers are set. Makes the root new; `settings` are
 * added to path and adapter of the bench, and stay the caller's. 0, or -1 with
 * the reason in the bench, as all here. */
int objects_init(struct bench *bench, struct objects *objects,
                 const struct objects_setting *settings, size_t count);
/* Opens the store, with `fs` in the place of the bench's adapter unless it is
 * null, and closes it. */
int objects_open(struct bench *bench, struct objects *objects, const char *fs);
void objects_close(struct bench *bench, struct objects *objects);
/* Closes and removes all. */
void objects_fini(struct bench *bench, struct objects *objects);

/* The key of object number i. */
void objects_name(struct objects_key *key, uint64_t i);
/* A batch of the objects with these keys, whose values are in `memory`, one
 * behind the other. */
typedef int (*objects_fn)(struct kvt_store *, struct kvt_object *, size_t,
                          struct kvt_batch_options *);
int objects_batch(struct bench *bench, struct objects *objects, objects_fn run,
                  const struct objects_key *keys, size_t count, char *memory);
/* Offloads objects number 0 .. count, `batch` at a time, and seals them by
 * closing the store; opens it again. */
int objects_fill(struct bench *bench, struct objects *objects, uint64_t count,
                 size_t batch, char *memory);
/* Opens the buckets' files for reading, and finds the places. */
int objects_find(struct bench *bench, struct objects *objects, int flags);

/* Numbers 0 .. count in an order of chance, the same each time. Free. */
uint32_t *objects_shuffled(uint64_t count);

#endif
