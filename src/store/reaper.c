/* Queues with elements that outlived their deadline: somebody has to poll
 * them until the file system is done, or nobody would know how it ended. A
 * thread that exists only once a deadline was missed looks at them now and
 * then; there is nothing to be told by, since a queue tells its own poller. */
#include "store/store.h"

#include <time.h>

enum {
    LOOK_EVERY_MS = 10
};

static void wait_a_moment(struct kvt_store *store)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_EVERY_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_cond_timedwait(&store->reaper.work, &store->reaper.mutex, &until);
}

/* Polls one queue; true when nothing lingers on it any more. */
static bool reap(struct kvt_fs_queue *queue)
{
    kvt_fs_poll(queue, 0, 0);
    return kvt_fs_lingering(queue) == 0;
}

static void *reaper_thread(void *arg)
{
    struct kvt_store *store = arg;
    struct kvt_reaper *reaper = &store->reaper;
    pthread_mutex_lock(&reaper->mutex);
    while (!reaper->stop || reaper->count > 0) {
        if (reaper->count == 0) {
            pthread_cond_wait(&reaper->work, &reaper->mutex);
            continue;
        }
        for (size_t i = 0; i < reaper->count;) {
            struct kvt_fs_queue *queue = reaper->queues[i];
            pthread_mutex_unlock(&reaper->mutex);
            bool over = reap(queue);
            pthread_mutex_lock(&reaper->mutex);
            if (over) {
                reaper->queues[i] = reaper->queues[--reaper->count];
                kvt_fs_queue_close(queue);
            } else {
                i++;
            }
        }
        if (reaper->count > 0) {
            wait_a_moment(store);
        }
    }
    pthread_mutex_unlock(&reaper->mutex);
    return NULL;
}

bool kvt_reaper_take(struct kvt_store *store, struct kvt_fs_queue *queue)
{
    struct kvt_reaper *reaper = &store->reaper;
    pthread_mutex_lock(&reaper->mutex);
    bool room = reaper->count < KVT_REAPER_QUEUES_MAX;
    if (room && !reaper->running) {
        reaper->running =
            pthread_create(&reaper->thread, NULL, reaper_thread, store) == 0;
    }
    bool taken = room && reaper->running;
    if (taken) {
        reaper->queues[reaper->count++] = queue;
        pthread_cond_signal(&reaper->work);
    }
    pthread_mutex_unlock(&reaper->mutex);
    return taken;
}

void kvt_reaper_stop(struct kvt_store *store)
{
    struct kvt_reaper *reaper = &store->reaper;
    pthread_mutex_lock(&reaper->mutex);
    reaper->stop = true;
    pthread_cond_signal(&reaper->work);
    pthread_mutex_unlock(&reaper->mutex);
    if (reaper->running) {
        pthread_join(reaper->thread, NULL);
    }
}
