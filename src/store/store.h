/*
 * A store: one backend on one mount, for any number of threads.
 *
 * A blocking batch runs on a queue that the calling thread borrows; a
 * submitted one on a queue of an I/O thread. Both start the backend's
 * operation and poll until it is finished.
 *
 * Locks: `mutex` covers the idle queues, the completed requests and the
 * health; each I/O thread's inbox has a lock of its own. None is held across
 * a call into backend, file system or handler.
 */
#ifndef KVT_STORE_STORE_H
#define KVT_STORE_STORE_H

#include "backend/write_keeper.h"

#include <pthread.h>

enum {
    KVT_IO_THREADS = 2
};

struct kvt_io_thread {
    struct kvt_store *store;
    pthread_t thread;
    bool running;
    struct kvt_fs_queue *queue;
    pthread_mutex_t mutex;
    struct kvt_request *inbox; /* under mutex; oldest first */
    struct kvt_request **inbox_end;
    bool stop;                   /* under mutex */
    unsigned writing;            /* atomic: batches that write */
    struct kvt_submitted *timed; /* batches under way that have a deadline */
};

/* Keeps queues until nothing lingers on them; see reaper.c. */
enum {
    KVT_REAPER_QUEUES_MAX = 64
};
struct kvt_reaper {
    pthread_mutex_t mutex; /* covers all of it */
    pthread_cond_t work;
    pthread_t thread;
    bool running;
    bool stop;
    struct kvt_fs_queue *queues[KVT_REAPER_QUEUES_MAX];
    size_t count;
};

struct kvt_submitted;

struct kvt_store {
    struct kvt_config *config;
    struct kvt_handlers handlers; /* as the backend sees them */
    struct kvt_handlers callers;  /* as they were given */
    enum kvt_log_level log_level;
    char *path;
    bool read_only;
    unsigned forks; /* kvt_process_forks() at open */
    struct kvt_fs *fs;
    struct kvt_backend *backend;
    uint64_t object_size_max;
    uint32_t deadline_ms; /* of batches that name none; 0 = none */
    struct kvt_write_keeper writes;
    double open_seconds;
    bool fallback_told; /* atomic */

    pthread_mutex_t mutex;
    struct kvt_fs_queue **idle_queues;
    size_t idle_count;
    size_t idle_capacity;
    struct kvt_request *completed; /* oldest first */
    struct kvt_request **completed_end;
    int eventfd;       /* -1 until asked for */
    int health_errnum; /* of the last batch that met an I/O error */
    bool healthy;
    uint64_t health_since_ms;

    struct kvt_reaper reaper;
    pthread_mutex_t io_mutex; /* covers the start of the I/O threads */
    bool io_started;
    unsigned io_next; /* atomic */
    struct kvt_io_thread io[KVT_IO_THREADS];
};

/* Can this process use the store, and write with it? KVT_OK, or a code with
 * `err` filled. */
int kvt_store_usable(const struct kvt_store *store, bool writes,
                     struct kvt_error *err);

/* batch.c: checks of a batch before it starts, and its figures after. */

/* KVT_OK, or why the whole batch is refused. Sets every object's result to
 * success or to its own fault. */
int kvt_batch_check(const struct kvt_store *store, enum kvt_batch_op op,
                    struct kvt_object *objects, size_t count,
                    const struct kvt_batch_options *options);
/* Does such a batch go without a queue? */
bool kvt_batch_in_memory(const struct kvt_store *store, enum kvt_batch_op op);
/* Nothing of it is tried: `code` of each object, and what is returned. */
int kvt_batch_refuse(struct kvt_object *objects, size_t count, int code,
                     int errnum);
/* How many succeeded; fills prefix_count, and the store's health. */
int kvt_batch_result(struct kvt_store *store, struct kvt_batch *batch,
                     struct kvt_batch_options *options);

/* When a batch that starts now has to end; 0 = never. */
int64_t kvt_batch_deadline(const struct kvt_store *store,
                           const struct kvt_batch_options *options);

/* reaper.c: takes a queue over on which elements linger; false when it has
 * too many already. */
bool kvt_reaper_take(struct kvt_store *store, struct kvt_fs_queue *queue);
/* Waits until nothing lingers any more. */
void kvt_reaper_stop(struct kvt_store *store);

/* async.c */
void kvt_io_threads_stop(struct kvt_store *store);

/* What is asked for and not had is told in the log, once: when the store opens,
 * or after the batch that met it. */
void kvt_store_tell_fallback(struct kvt_store *store);

/* A queue for the calling thread: 0, or -errno. */
int kvt_store_queue_take(struct kvt_store *store, struct kvt_fs_queue **queue);
void kvt_store_queue_give(struct kvt_store *store, struct kvt_fs_queue *queue);

#endif
