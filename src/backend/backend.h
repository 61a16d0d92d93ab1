/*
 * What a layout is to the store: how objects become files.
 *
 * A backend never blocks in a batch operation: it starts elements on the
 * batch's queue and goes on in their callbacks; when every object has its
 * result it calls kvt_batch_finish, once, on the thread that polls the
 * queue, perhaps before the operation returned. The other members block.
 *
 * Life: open (on failure nothing is left behind), any number of operations
 * from any threads, close when none is under way.
 */
#ifndef KVT_BACKEND_BACKEND_H
#define KVT_BACKEND_BACKEND_H

#include "core/clock.h"
#include "core/status.h"
#include "evict/write_budget.h"

#include <errno.h>
#include <kvtier/fs.h>
#include <kvtier/kvtier.h>

struct kvt_backend;

/* What a load of a verification says of an object beside its result. */
enum kvt_note {
    KVT_NOTE_UNPROVED = 1, /* it was read, and nothing proves it */
    KVT_NOTE_REPAIRED = 2, /* it was bad, and was taken out of the store */
};

struct kvt_batch {
    enum kvt_batch_op op;
    struct kvt_object *objects; /* those whose status is not KVT_OK failed
                                   before: they are left alone */
    size_t count;
    uint32_t flags; /* of enum kvt_batch_flags */
    struct kvt_fs_queue *queue;
    int64_t deadline_ns; /* CLOCK_MONOTONIC; 0 = none */
    void *state;         /* the backend's, while it is under way */
    /* A load of a verification: an enum kvt_note an object, to be filled; the
     * load is no use of its objects, checks their bytes whatever the settings
     * say, and takes what is bad out of the store only if it `repairs`. Null
     * otherwise. */
    uint8_t *notes;
    bool repairs;
    /* the store's */
    void (*finished)(struct kvt_batch *batch);
    void *arg;
};

/* May its objects not wait for others? */
static inline bool kvt_batch_hurries(const struct kvt_batch *batch)
{
    return batch->op == KVT_BATCH_OFFLOAD && (batch->flags & KVT_NO_WAIT) != 0;
}

static inline void kvt_batch_finish(struct kvt_batch *batch)
{
    batch->finished(batch);
}

/* What a verification found of one object. */
struct kvt_finding {
    struct kvt_meta meta; /* a null key of size 0: it cannot be read */
    int status;           /* KVT_OK: good, or unproved */
    int errnum;
    bool unproved; /* nothing proves it, or tells that it is bad */
    bool repaired;
};

/* A verification under way. */
struct kvt_verification {
    bool repairs;
    uint64_t burst; /* bytes that may be read before they are told of */
    /* Tells of an object, and takes as long as the rate asks for. 0, or what
     * ends the verification and is its result. No lock may be held. */
    int (*tell)(struct kvt_verification *verification,
                const struct kvt_finding *finding);
};

struct kvt_backend_args {
    const struct kvt_config *config;
    const struct kvt_handlers *handlers; /* live as long as the backend */
    struct kvt_fs *fs;                   /* mounted at the store's path */
    const char *path;                    /* of the store, for messages */
    struct kvt_write_budget *writes; /* the store's, perhaps without limit */
    bool read_only;
};

struct kvt_backend_ops {
    const char *name;
    const char *summary;
    /* `start` finishes a batch of KVT_BATCH_EXISTS at once, from memory: it
     * needs no queue, and tells nothing of the file system */
    bool exists_in_memory;
    int (*open)(const struct kvt_backend_args *args,
                struct kvt_backend **backend, struct kvt_error *err);
    void (*close)(struct kvt_backend *backend);
    /* KVT_BATCH_OFFLOAD, _LOAD, _EXISTS, _REMOVE */
    void (*start)(struct kvt_backend *backend, struct kvt_batch *batch);
    /* The batch's deadline passed: ends what does not wait for an element
     * with that deadline. On the thread that polls its queue. */
    void (*expire)(struct kvt_backend *backend, struct kvt_batch *batch);
    int (*scan)(struct kvt_backend *backend, size_t batch_max,
                kvt_scan_fn handler, void *arg, struct kvt_error *err);
    /* Reads and checks every object once, in bounded memory. 0, what `tell`
     * returned, or a negative code with `err` filled. */
    int (*verify)(struct kvt_backend *backend,
                  struct kvt_verification *verification, struct kvt_error *err);
    int (*remove_all)(struct kvt_backend *backend, struct kvt_error *err);
    int (*evict)(struct kvt_backend *backend, double high, double low,
                 struct kvt_evict_result *result, struct kvt_error *err);
    bool (*offload_enabled)(struct kvt_backend *backend);
    /* Fills what the layout knows; `health` when it keeps its own. */
    void (*stats)(struct kvt_backend *backend, struct kvt_stats *stats);
    /* Is the file system well? Null: the mount's own probe is asked. */
    int (*check)(struct kvt_backend *backend, struct kvt_error *err);
};

/* Base of a backend; the first member of its own struct. */
struct kvt_backend {
    const struct kvt_backend_ops *ops;
    struct kvt_backend_args args;
    bool shared; /* errors are those of a file system that hosts share, also
                    where the mount does not know that it is one */
};

/* The bytes that an offload of one object writes: taken out of what may be
 * written in a day before they are, when it is known that they have to be.
 * False: the object has failed. */
bool kvt_object_take_write(const struct kvt_backend *backend,
                           struct kvt_object *object, uint64_t bytes);
/* They are not written after all. */
void kvt_object_return_write(const struct kvt_backend *backend, uint64_t bytes);
/* More is written than was taken: a second try, or what is carried over. */
void kvt_backend_spend_write(const struct kvt_backend *backend, uint64_t bytes);

/* Sets the result of an object; `rc` is 0 or a negative errno. */
void kvt_object_fail(const struct kvt_backend *backend,
                     struct kvt_object *object, enum kvt_fault fault, int rc);

/* Logs through the caller's handler, when there is one. */
void kvt_backend_log(const struct kvt_backend *backend,
                     enum kvt_log_level level, const char *format, ...)
    KVT_PRINTF(3, 4);

#endif
