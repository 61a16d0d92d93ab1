/* Is a mount alive? A mount that hangs does not answer, and what hangs cannot
 * be recalled: so a thread asks, and who wants to know waits for a while. One
 * question at a time is under way; those who come meanwhile wait for it. */
#include "core/clock.h"
#include "fs/fs_core.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define PATIENCE_NS INT64_C(2000000000)

struct kvt_fs_prober {
    struct kvt_fs *fs;
    pthread_mutex_t mutex;
    pthread_cond_t answered;
    /* under mutex */
    pthread_t thread;
    bool started; /* and not joined */
    bool asking;
    uint64_t answers;
    int answer;
};

static int ask(struct kvt_fs *fs)
{
    if (fs->ops->probe != NULL) {
        return fs->ops->probe(fs);
    }
    struct kvt_fs_usage usage;
    return fs->ops->usage(fs, &usage);
}

static void *asker(void *arg)
{
    struct kvt_fs_prober *prober = arg;
    int answer = ask(prober->fs);
    pthread_mutex_lock(&prober->mutex);
    prober->asking = false;
    prober->answers++;
    prober->answer = answer;
    pthread_cond_broadcast(&prober->answered);
    pthread_mutex_unlock(&prober->mutex);
    return NULL;
}

/* The mutex is held. */
static int start(struct kvt_fs_prober *prober)
{
    if (prober->started) {
        pthread_join(prober->thread, NULL); /* it has answered */
    }
    int rc = pthread_create(&prober->thread, NULL, asker, prober);
    prober->started = rc == 0;
    prober->asking = rc == 0;
    return -rc;
}

int kvt_fs_prober_ask(struct kvt_fs_prober *prober)
{
    int64_t end_ns = kvt_clock_ns() + PATIENCE_NS;
    struct timespec end = {.tv_sec = end_ns / 1000000000,
                           .tv_nsec = end_ns % 1000000000};
    pthread_mutex_lock(&prober->mutex);
    int rc = prober->asking ? 0 : start(prober);
    uint64_t answers = prober->answers;
    while (rc == 0 && prober->answers == answers) {
        rc = -pthread_cond_timedwait(&prober->answered, &prober->mutex, &end);
    }
    rc = prober->answers != answers ? prober->answer : rc;
    pthread_mutex_unlock(&prober->mutex);
    return rc;
}

struct kvt_fs_prober *kvt_fs_prober_open(struct kvt_fs *fs)
{
    struct kvt_fs_prober *prober = calloc(1, sizeof *prober);
    pthread_condattr_t attr;
    if (prober == NULL || pthread_condattr_init(&attr) != 0) {
        free(prober);
        return NULL;
    }
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int rc = pthread_cond_init(&prober->answered, &attr);
    pthread_condattr_destroy(&attr);
    if (rc != 0) {
        free(prober);
        return NULL;
    }
    pthread_mutex_init(&prober->mutex, NULL);
    prober->fs = fs;
    return prober;
}

void kvt_fs_prober_close(struct kvt_fs_prober *prober)
{
    if (prober == NULL) {
        return;
    }
    if (prober->started) {
        pthread_join(prober->thread, NULL);
    }
    pthread_cond_destroy(&prober->answered);
    pthread_mutex_destroy(&prober->mutex);
    free(prober);
}
