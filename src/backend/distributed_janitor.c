/* One thread a store, for what no batch can wait for: probing a file system
 * that failed, making room under a limit, and collecting what dead writers
 * left. Without any of it to do, it sleeps. */
#include "backend/distributed_walk.h"

#include "core/clock.h"
#include "core/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    ADOPTED_MAX = 64,
    LOOK_EVERY_MS = 10, /* at queues on which something lingers */
};

struct dist_janitor {
    struct dist *dist;
    pthread_t thread;
    pthread_mutex_t mutex; /* covers the rest but sweep_ns */
    pthread_cond_t changed;
    bool woken;
    bool stop;
    struct kvt_fs_queue *adopted[ADOPTED_MAX];
    size_t adopted_count;
    int64_t sweep_ns; /* CLOCK_MONOTONIC of the next sweep; 0: none */
};

/* Temporaries -------------------------------------------------------------- */

/* Names cost little, times of files may cost a round trip each: directories
 * are listed by name first, and only those with temporaries once more. */
struct sweep {
    struct dist *dist;
    char directory[16]; /* the last one that was listed again */
};

static int collect(const struct kvt_fs_dirent *entry, void *arg)
{
    struct sweep *sweep = arg;
    if (entry->type == KVT_FS_TYPE_FILE && kvt_dist_is_temp(entry->name)) {
        kvt_dist_temp_collect(&sweep->dist->temps, sweep->dist->fs,
                              sweep->directory, entry->name,
                              entry->modified_ns);
    }
    return 0;
}

static int find_temp(const struct dist_found *found, void *arg)
{
    struct sweep *sweep = arg;
    struct dist *dist = sweep->dist;
    if (__atomic_load_n(&dist->janitor->stop, __ATOMIC_RELAXED)) {
        return 1;
    }
    if (found->kind != KVT_NAME_FOREIGN ||
        strcmp(sweep->directory, found->directory) == 0) {
        return 0;
    }
    memcpy(sweep->directory, found->directory, strlen(found->directory) + 1);
    kvt_fs_list(dist->fs, sweep->directory, true, collect, sweep);
    return 0;
}

/* That of a root's record, by a host that died while it made one. */
static void sweep_record(struct dist *dist)
{
    struct sweep sweep = {.dist = dist, .directory = ".kvtier"};
    kvt_fs_list(dist->fs, sweep.directory, true, collect, &sweep);
}

static void sweep(struct dist_janitor *janitor)
{
    struct sweep sweep = {.dist = janitor->dist};
    int64_t grace_ns = janitor->dist->temps.grace_ns;
    if (janitor->sweep_ns == 0 || kvt_clock_ns() < janitor->sweep_ns) {
        return;
    }
    sweep_record(janitor->dist);
    int rc = kvt_dist_walk(janitor->dist, false, find_temp, &sweep);
    if (rc < 0) {
        kvt_backend_log(&janitor->dist->base, KVT_LOG_WARN,
                        "looking for what dead writers left: %s",
                        strerror(-rc));
    }
    janitor->sweep_ns = kvt_clock_ns() + grace_ns;
}

/* A part of the grace by chance: many hosts that start together do not list
 * together. */
static int64_t first_sweep(const struct dist *dist)
{
    uint64_t chance = 0;
    if (dist->temps.grace_ns == 0) {
        return 0;
    }
    kvt_random(&chance, sizeof chance);
    return kvt_clock_ns() + (int64_t)(chance % (uint64_t)dist->temps.grace_ns) +
           1;
}

/* Adopted queues ----------------------------------------------------------- */

/* Mutex held; it is let go while a queue is polled. */
static void look_at_adopted(struct dist_janitor *janitor)
{
    for (size_t i = 0; i < janitor->adopted_count;) {
        struct kvt_fs_queue *queue = janitor->adopted[i];
        pthread_mutex_unlock(&janitor->mutex);
        kvt_fs_poll(queue, 0, 0);
        bool over = kvt_fs_lingering(queue) == 0;
        pthread_mutex_lock(&janitor->mutex);
        if (over) {
            janitor->adopted[i] = janitor->adopted[--janitor->adopted_count];
            kvt_fs_queue_close(queue);
        } else {
            i++;
        }
    }
}

void kvt_dist_janitor_adopt(struct dist *dist, struct kvt_fs_queue *queue)
{
    struct dist_janitor *janitor = dist->janitor;
    bool adopted = false;
    if (janitor != NULL) {
        pthread_mutex_lock(&janitor->mutex);
        adopted = janitor->adopted_count < ADOPTED_MAX;
        if (adopted) {
            janitor->adopted[janitor->adopted_count++] = queue;
        }
        pthread_cond_signal(&janitor->changed);
        pthread_mutex_unlock(&janitor->mutex);
    }
    while (!adopted && kvt_fs_lingering(queue) > 0) {
        kvt_fs_poll(queue, 1, kvt_clock_ns() + LOOK_EVERY_MS * 1000000);
    }
    if (!adopted) {
        kvt_fs_queue_close(queue);
    }
}

/* The thread --------------------------------------------------------------- */

/* Until something is to be done. Mutex held. */
static void wait_for_work(struct dist_janitor *janitor)
{
    int64_t until_ns = janitor->sweep_ns;
    int64_t probe_ns = kvt_dist_health_next(janitor->dist);
    if (probe_ns != 0 && (until_ns == 0 || probe_ns < until_ns)) {
        until_ns = probe_ns;
    }
    if (janitor->adopted_count > 0) {
        until_ns = kvt_clock_ns() + LOOK_EVERY_MS * 1000000;
    }
    struct timespec until = {.tv_sec = until_ns / 1000000000,
                             .tv_nsec = until_ns % 1000000000};
    while (!janitor->woken && !janitor->stop) {
        if (until_ns == 0) {
            pthread_cond_wait(&janitor->changed, &janitor->mutex);
        } else if (pthread_cond_timedwait(&janitor->changed, &janitor->mutex,
                                          &until) == ETIMEDOUT) {
            return;
        }
    }
}

static void *janitor_thread(void *arg)
{
    struct dist_janitor *janitor = arg;
    pthread_mutex_lock(&janitor->mutex);
    while (!janitor->stop || janitor->adopted_count > 0) {
        wait_for_work(janitor);
        look_at_adopted(janitor);
        if (janitor->stop) {
            /* what lingers on adopted queues is waited for, and no more */
            struct timespec moment = {0, LOOK_EVERY_MS * 1000000};
            pthread_mutex_unlock(&janitor->mutex);
            if (janitor->adopted_count > 0) {
                nanosleep(&moment, NULL);
            }
            pthread_mutex_lock(&janitor->mutex);
            continue;
        }
        janitor->woken = false;
        pthread_mutex_unlock(&janitor->mutex);
        kvt_dist_health_probe(janitor->dist);
        kvt_dist_limit_work(janitor->dist);
        sweep(janitor);
        pthread_mutex_lock(&janitor->mutex);
    }
    pthread_mutex_unlock(&janitor->mutex);
    return NULL;
}

void kvt_dist_janitor_wake(struct dist *dist)
{
    struct dist_janitor *janitor = dist->janitor;
    if (janitor != NULL) {
        pthread_mutex_lock(&janitor->mutex);
        janitor->woken = true;
        pthread_cond_signal(&janitor->changed);
        pthread_mutex_unlock(&janitor->mutex);
    }
}

int kvt_dist_janitor_start(struct dist *dist)
{
    struct dist_janitor *janitor = calloc(1, sizeof *janitor);
    pthread_condattr_t monotonic;
    if (janitor == NULL) {
        return -ENOMEM;
    }
    janitor->dist = dist;
    janitor->sweep_ns = first_sweep(dist);
    pthread_mutex_init(&janitor->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&janitor->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    dist->janitor = janitor;
    int rc = pthread_create(&janitor->thread, NULL, janitor_thread, janitor);
    if (rc != 0) {
        dist->janitor = NULL;
        pthread_cond_destroy(&janitor->changed);
        pthread_mutex_destroy(&janitor->mutex);
        free(janitor);
    }
    return -rc;
}

void kvt_dist_janitor_stop(struct dist *dist)
{
    struct dist_janitor *janitor = dist->janitor;
    if (janitor == NULL) {
        return;
    }
    pthread_mutex_lock(&janitor->mutex);
    __atomic_store_n(&janitor->stop, true, __ATOMIC_RELAXED);
    pthread_cond_signal(&janitor->changed);
    pthread_mutex_unlock(&janitor->mutex);
    pthread_join(janitor->thread, NULL);
    pthread_cond_destroy(&janitor->changed);
    pthread_mutex_destroy(&janitor->mutex);
    free(janitor);
    dist->janitor = NULL;
}
