/* Submitted batches: a few I/O threads, each with a queue of its own, start
 * them as they come and keep as many under way as the queue is deep. What
 * writes all goes to the last of them: behind a queue full of offloads a load
 * would wait for the device's slower half. */
#include "store/store.h"

#include "core/clock.h"
#include "core/process.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A submitted batch. */
struct kvt_submitted {
    struct kvt_batch batch;
    struct kvt_io_thread *io;
    struct kvt_submitted *next; /* in the io thread's list of timed ones */
    bool expired;
    struct kvt_store *store;
    struct kvt_request *request;
};

static bool writes(enum kvt_batch_op op)
{
    return op == KVT_BATCH_OFFLOAD || op == KVT_BATCH_REMOVE;
}

static void hand_out(struct kvt_store *store, struct kvt_request *request)
{
    pthread_mutex_lock(&store->mutex);
    request->next = NULL;
    *store->completed_end = request;
    store->completed_end = &request->next;
    if (store->eventfd >= 0) {
        eventfd_write(store->eventfd, 1);
    }
    pthread_mutex_unlock(&store->mutex);
}

static void timed_remove(struct kvt_submitted *submitted)
{
    struct kvt_submitted **at = &submitted->io->timed;
    while (*at != NULL && *at != submitted) {
        at = &(*at)->next;
    }
    if (*at != NULL) {
        *at = submitted->next;
    }
}

/* The earliest deadline of the thread's batches, or 0. */
static int64_t timed_next(const struct kvt_io_thread *io)
{
    int64_t next_ns = 0;
    for (const struct kvt_submitted *at = io->timed; at != NULL;
         at = at->next) {
        int64_t deadline_ns = at->batch.deadline_ns;
        if (!at->expired && (next_ns == 0 || deadline_ns < next_ns)) {
            next_ns = deadline_ns;
        }
    }
    return next_ns;
}

static void timed_expire(struct kvt_io_thread *io)
{
    const struct kvt_backend_ops *ops = io->store->backend->ops;
    int64_t now_ns = kvt_clock_ns();
    for (struct kvt_submitted *at = io->timed; at != NULL; at = at->next) {
        if (!at->expired && at->batch.deadline_ns <= now_ns) {
            at->expired = true;
            ops->expire(io->store->backend, &at->batch);
        }
    }
}

static void request_finished(struct kvt_batch *batch)
{
    struct kvt_submitted *submitted = batch->arg;
    if (batch->deadline_ns != 0) {
        timed_remove(submitted);
    }
    if (writes(batch->op)) {
        __atomic_fetch_sub(&submitted->io->writing, 1, __ATOMIC_RELAXED);
    }
    struct kvt_request *request = submitted->request;
    request->result =
        kvt_batch_result(submitted->store, batch, &request->options);
    struct kvt_store *store = submitted->store;
    free(submitted);
    if (request->done != NULL) {
        request->done(request);
    } else {
        hand_out(store, request);
    }
}

/* The I/O threads ---------------------------------------------------------- */

static struct kvt_request *take_inbox(struct kvt_io_thread *io, bool *stop)
{
    pthread_mutex_lock(&io->mutex);
    struct kvt_request *requests = io->inbox;
    io->inbox = NULL;
    io->inbox_end = &io->inbox;
    *stop = io->stop;
    pthread_mutex_unlock(&io->mutex);
    return requests;
}

static void *io_thread(void *arg)
{
    struct kvt_io_thread *io = arg;
    struct kvt_backend *backend = io->store->backend;
    for (;;) {
        bool stop;
        struct kvt_request *request = take_inbox(io, &stop);
        bool idle = request == NULL && kvt_fs_in_flight(io->queue) == 0 &&
                    kvt_fs_lingering(io->queue) == 0;
        while (request != NULL) {
            struct kvt_request *next = request->next;
            struct kvt_submitted *submitted = request->internal;
            submitted->batch.queue = io->queue;
            submitted->io = io;
            if (submitted->batch.deadline_ns != 0) {
                submitted->next = io->timed;
                io->timed = submitted;
            }
            backend->ops->start(backend, &submitted->batch);
            request = next;
        }
        if (stop && idle) {
            return NULL;
        }
        int64_t next_ns = timed_next(io);
        /* at the end no wake comes any more: wait only for what is there */
        bool busy =
            kvt_fs_in_flight(io->queue) > 0 || kvt_fs_lingering(io->queue) > 0;
        kvt_fs_poll(io->queue, stop && !busy ? 0 : 1, next_ns);
        if (next_ns != 0) {
            timed_expire(io);
        }
    }
}

static int io_thread_start(struct kvt_store *store, struct kvt_io_thread *io)
{
    struct kvt_fs_queue_options options = {sizeof options, 0, false};
    int rc = kvt_fs_queue_open(store->fs, &options, &io->queue);
    if (rc != 0) {
        return rc;
    }
    io->store = store;
    io->inbox_end = &io->inbox;
    pthread_mutex_init(&io->mutex, NULL);
    rc = pthread_create(&io->thread, NULL, io_thread, io);
    if (rc != 0) {
        pthread_mutex_destroy(&io->mutex);
        kvt_fs_queue_close(io->queue);
        return -rc;
    }
    io->running = true;
    return 0;
}

/* Starts the threads with the first submit; one is enough to go on. */
static int io_threads_start(struct kvt_store *store)
{
    int rc = 0;
    pthread_mutex_lock(&store->io_mutex);
    if (!store->io_started) {
        for (int i = 0; i < KVT_IO_THREADS && rc == 0; i++) {
            rc = io_thread_start(store, &store->io[i]);
        }
        store->io_started = store->io[0].running;
        rc = store->io_started ? 0 : rc;
    }
    pthread_mutex_unlock(&store->io_mutex);
    return rc;
}

static void io_thread_stop(struct kvt_io_thread *io)
{
    pthread_mutex_lock(&io->mutex);
    io->stop = true;
    pthread_mutex_unlock(&io->mutex);
    kvt_fs_wake(io->queue);
}

void kvt_io_threads_stop(struct kvt_store *store)
{
    for (int i = 0; i < KVT_IO_THREADS; i++) {
        if (store->io[i].running) {
            io_thread_stop(&store->io[i]);
        }
    }
    for (int i = 0; i < KVT_IO_THREADS; i++) {
        if (store->io[i].running) {
            pthread_join(store->io[i].thread, NULL);
        }
    }
    /* only now: one thread may tell a waiter on the queue of another */
    for (int i = 0; i < KVT_IO_THREADS; i++) {
        if (store->io[i].running) {
            pthread_mutex_destroy(&store->io[i].mutex);
            kvt_fs_queue_close(store->io[i].queue);
        }
    }
}

/* The interface ------------------------------------------------------------ */

/* Loads take turns, at threads where nothing is written. */
static struct kvt_io_thread *choose_thread(struct kvt_store *store,
                                           enum kvt_batch_op op)
{
    struct kvt_io_thread *last = &store->io[KVT_IO_THREADS - 1];
    if (writes(op)) {
        return last->running ? last : &store->io[0];
    }
    unsigned turn = __atomic_fetch_add(&store->io_next, 1, __ATOMIC_RELAXED);
    struct kvt_io_thread *io = &store->io[turn % KVT_IO_THREADS];
    bool free =
        io->running && __atomic_load_n(&io->writing, __ATOMIC_RELAXED) == 0;
    return free ? io : &store->io[0];
}

int kvt_submit(struct kvt_store *store, struct kvt_request *request)
{
    if (request == NULL || request->size != sizeof *request ||
        (unsigned)request->op > KVT_BATCH_REMOVE) {
        return KVT_ERR_INVALID_PARAMS;
    }
    int rc = kvt_batch_check(store, request->op, request->objects,
                             request->count, &request->options);
    if (rc != KVT_OK) {
        return rc;
    }
    struct kvt_submitted *submitted = calloc(1, sizeof *submitted);
    rc = submitted != NULL ? io_threads_start(store) : -ENOMEM;
    if (rc != 0) {
        free(submitted);
        return kvt_batch_refuse(request->objects, request->count,
                                KVT_ERR_INTERNAL, -rc);
    }
    submitted->store = store;
    submitted->request = request;
    submitted->batch = (struct kvt_batch){
        .op = request->op,
        .objects = request->objects,
        .count = request->count,
        .flags = request->options.flags,
        .deadline_ns = kvt_batch_deadline(store, &request->options),
        .finished = request_finished,
        .arg = submitted};
    request->internal = submitted;
    request->next = NULL;
    struct kvt_io_thread *io = choose_thread(store, request->op);
    pthread_mutex_lock(&io->mutex);
    bool closing = io->stop;
    if (!closing) {
        if (writes(request->op)) {
            __atomic_fetch_add(&io->writing, 1, __ATOMIC_RELAXED);
        }
        *io->inbox_end = request;
        io->inbox_end = &request->next;
    }
    pthread_mutex_unlock(&io->mutex);
    if (closing) { /* a callback of a request that close waits for */
        free(submitted);
        return KVT_ERR_INVALID_PARAMS;
    }
    kvt_fs_wake(io->queue);
    return KVT_OK;
}

int kvt_eventfd(struct kvt_store *store)
{
    if (store == NULL || store->forks != kvt_process_forks()) {
        return KVT_ERR_INVALID_PARAMS;
    }
    pthread_mutex_lock(&store->mutex);
    if (store->eventfd < 0) {
        /* readable at once when something waits already */
        unsigned waiting = store->completed != NULL;
        store->eventfd = eventfd(waiting, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    int fd = store->eventfd;
    pthread_mutex_unlock(&store->mutex);
    return fd >= 0 ? fd : KVT_ERR_INTERNAL;
}

size_t kvt_completed(struct kvt_store *store, struct kvt_request **requests,
                     size_t max)
{
    size_t count = 0;
    if (store == NULL || store->forks != kvt_process_forks()) {
        return 0;
    }
    pthread_mutex_lock(&store->mutex);
    while (count < max && store->completed != NULL) {
        requests[count++] = store->completed;
        store->completed = store->completed->next;
    }
    if (store->completed == NULL) {
        store->completed_end = &store->completed;
        eventfd_t ignored;
        if (store->eventfd >= 0) {
            eventfd_read(store->eventfd, &ignored);
        }
    }
    pthread_mutex_unlock(&store->mutex);
    return count;
}
