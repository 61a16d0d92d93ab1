/* Queues for adapters that only have blocking calls: a bounded pool of
 * threads, one a mount, that carries out elements of all its queues in turn.
 * A polling thread carries out elements of its own queue too (`poll_works`),
 * so that a batch of one costs no change of threads.
 *
 * How many threads are worth waking depends on whether elements wait. What
 * waits for a device or a server wants them all. What only computes, or comes
 * from the page cache, is over before a thread has woken up: then no more
 * threads work than there are processors, and those that do look for more
 * work for a moment before they sleep. The last elements tell which it is:
 * one waited when it gave up its processor of its own will. Work that is not
 * started while its poller sleeps calls all threads, whatever they told.
 *
 * Locks: pool->mutex (what is not started) and queue->mutex (what is done)
 * are never held together, nor across an element. */
#define _GNU_SOURCE /* RUSAGE_THREAD */
#include "fs/fs_core.h"
#include "fs/pool_line.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"

#define SHORT_NS INT64_C(30000) /* an element that does not wait for much */
#define LOOK_NS INT64_C(30000)  /* looking for work, or for an end, awake */
#define LAG_NS INT64_C(1000000) /* unstarted work calls all threads */

enum {
    ALL_WAIT = 1024
};

enum {
    SHARED_BYTES = 256 << 10,
    QUICK_BYTES = 256 << 10, /* a write into memory: tens of microseconds */
};

struct pool_queue {
    struct kvt_fs_queue base;
    struct kvt_fs_pool *pool;
    bool poll_works;
    bool no_threads; /* none can be had: the poller has to carry out all */
    /* chains for the poller itself: a batch of one meets no lock */
    struct kvt_fs_elem *mine;
    struct kvt_fs_elem **mine_end;
    /* carried out at once, by who submitted them: done in the next poll */
    struct kvt_fs_elem *now;
    struct kvt_fs_elem **now_end;
    bool shared; /* the last large one went to a thread */
    /* under pool->mutex */
    struct kvt_pool_place place;
    struct kvt_fs_elem **unstarted_end;
    /* under mutex */
    pthread_mutex_t mutex;
    pthread_cond_t some_done;
    struct kvt_fs_elem *done;
    struct kvt_fs_elem **done_end;
    size_t done_count;  /* also read without the mutex */
    size_t done_wanted; /* a poller sleeps until so many are done; or 0 */
    bool woken;
};

struct kvt_fs_pool {
    struct kvt_fs *fs;
    uint32_t threads_max;
    pthread_mutex_t mutex;
    pthread_cond_t work;
    struct kvt_pool_lines lines; /* queues with unstarted elements */
    struct kvt_fs_elem *aside;   /* elements beside a ring */
    struct kvt_fs_elem **aside_end;
    uint32_t threads_started;
    uint32_t idle;  /* threads that wait and were not called */
    uint32_t calls; /* that no waiting thread has heard yet */
    uint32_t processors;
    bool looking; /* a thread looks for work without sleeping */
    bool stop;
    int64_t chain_ns; /* atomic: what a chain takes, of late */
    uint32_t waits;   /* atomic: how many chains wait, of late; ALL_WAIT: all */
    size_t unstarted; /* atomic: chains and single elements in line */
    pthread_t threads[];
};

static struct pool_queue *queue_of(struct kvt_pool_place *place)
{
    return (struct pool_queue *)((char *)place -
                                 offsetof(struct pool_queue, place));
}

/* Takes one chain of the queue; pool->mutex is held. */
static struct kvt_fs_elem *take_chain(struct pool_queue *queue)
{
    struct kvt_fs_elem *first = queue->place.unstarted;
    struct kvt_fs_elem *last = first;
    while ((last->flags & KVT_FS_THEN) != 0) {
        last = last->next;
    }
    queue->place.unstarted = last->next;
    if (queue->place.unstarted == NULL) {
        queue->unstarted_end = &queue->place.unstarted;
    }
    last->next = NULL;
    __atomic_fetch_sub(&queue->pool->unstarted, 1, __ATOMIC_RELAXED);
    return first;
}

/* Takes one chain of the queue whose turn it is, or returns null;
 * pool->mutex is held. */
static struct kvt_fs_elem *take_turn(struct kvt_fs_pool *pool)
{
    struct kvt_pool_place *place = kvt_pool_next(&pool->lines);
    if (place == NULL) {
        return NULL;
    }
    struct kvt_fs_elem *chain = take_chain(queue_of(place));
    if (place->unstarted != NULL) {
        kvt_pool_line_up(&pool->lines, place);
    }
    return chain;
}

static struct kvt_fs_elem *take_aside(struct kvt_fs_pool *pool)
{
    struct kvt_fs_elem *elem = pool->aside;
    if (elem != NULL) {
        pool->aside = elem->next;
        if (pool->aside == NULL) {
            pool->aside_end = &pool->aside;
        }
        __atomic_fetch_sub(&pool->unstarted, 1, __ATOMIC_RELAXED);
    }
    return elem;
}

/* How often this thread gave up its processor of its own will. */
static long count_waits(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nvcsw : 0;
}

/* What a chain tells of those that follow. */
static void note_chain(struct kvt_fs_pool *pool, int64_t took_ns, bool counted,
                       bool waited)
{
    int64_t ns = __atomic_load_n(&pool->chain_ns, __ATOMIC_RELAXED);
    uint32_t waits = __atomic_load_n(&pool->waits, __ATOMIC_RELAXED);
    ns = (ns * 7 + took_ns) / 8;
    __atomic_store_n(&pool->chain_ns, ns, __ATOMIC_RELAXED);
    if (!counted) {
        waited = took_ns >= 10 * SHORT_NS; /* nobody looked, but surely */
    }
    if (counted || waited) {
        waits = (waits * 7 + (waited ? ALL_WAIT : 0)) / 8;
        __atomic_store_n(&pool->waits, waits, __ATOMIC_RELAXED);
    }
}

/* Do elements only compute, of late? */
static bool is_busy(const struct kvt_fs_pool *pool)
{
    return __atomic_load_n(&pool->chain_ns, __ATOMIC_RELAXED) < SHORT_NS ||
           __atomic_load_n(&pool->waits, __ATOMIC_RELAXED) < ALL_WAIT / 8;
}

/* Carries out a chain and links the results behind each other. */
static void carry_out(struct kvt_fs_pool *pool, struct kvt_fs_elem *chain,
                      struct kvt_fs_elem **last, size_t *count)
{
    struct kvt_fs *fs = pool->fs;
    bool broken = false;
    int64_t start_ns = kvt_clock_ns();
    bool counts =
        __atomic_load_n(&pool->chain_ns, __ATOMIC_RELAXED) >= SHORT_NS;
    long waits = counts ? count_waits() : 0;
    *count = 0;
    for (struct kvt_fs_elem *elem = chain; elem != NULL; elem = elem->next) {
        bool cancel = kvt_fs_chain_cancels(elem, broken);
        elem->result = cancel ? -ECANCELED : kvt_fs_perform(fs, elem);
        broken = broken || elem->result < 0;
        if (elem->next != NULL) {
            kvt_fs_chain_pass_file(elem, elem->next);
        }
        *last = elem;
        ++*count;
    }
    note_chain(pool, kvt_clock_ns() - start_ns, counts,
               counts && count_waits() != waits);
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static void carry_out_aside(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    elem->result = kvt_fs_chain_cancels(elem, false) ? -ECANCELED
                                                     : kvt_fs_perform(fs, elem);
    kvt_fs_push_posted(elem);
}

static void hand_in(struct pool_queue *queue, struct kvt_fs_elem *chain,
                    struct kvt_fs_elem *last, size_t count)
{
    pthread_mutex_lock(&queue->mutex);
    *queue->done_end = chain;
    queue->done_end = &last->next;
    __atomic_fetch_add(&queue->done_count, count, __ATOMIC_RELAXED);
    if (queue->done_wanted != 0 && queue->done_count >= queue->done_wanted) {
        queue->done_wanted = 0;
        pthread_cond_signal(&queue->some_done);
    }
    pthread_mutex_unlock(&queue->mutex);
}

/* Looks for work for a moment; pool->mutex is held, and let go meanwhile. */
static void look_for_work(struct kvt_fs_pool *pool)
{
    int64_t end_ns = kvt_clock_ns() + LOOK_NS;
    pool->looking = true;
    pthread_mutex_unlock(&pool->mutex);
    while (__atomic_load_n(&pool->unstarted, __ATOMIC_RELAXED) == 0 &&
           kvt_clock_ns() < end_ns) {
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    pool->looking = false;
}

static void *worker(void *arg)
{
    struct kvt_fs_pool *pool = arg;
    bool looked = true;
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        struct kvt_fs_elem *single = take_aside(pool);
        if (single != NULL) {
            pthread_mutex_unlock(&pool->mutex);
            carry_out_aside(pool->fs, single);
            pthread_mutex_lock(&pool->mutex);
            continue;
        }
        struct kvt_fs_elem *chain = take_turn(pool);
        if (chain != NULL) {
            looked = false;
            pthread_mutex_unlock(&pool->mutex);
            struct pool_queue *queue = (struct pool_queue *)chain->queue;
            struct kvt_fs_elem *last;
            size_t count;
            carry_out(pool, chain, &last, &count);
            hand_in(queue, chain, last, count);
            pthread_mutex_lock(&pool->mutex);
            continue;
        }
        if (pool->stop) {
            break;
        }
        if (!looked && !pool->looking && is_busy(pool)) {
            look_for_work(pool);
            looked = true;
            continue;
        }
        pool->idle++;
        while (pool->calls == 0 && !pool->stop) {
            pthread_cond_wait(&pool->work, &pool->mutex);
        }
        pool->calls -= pool->calls > 0;
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

/* Wakes or starts threads for `chains` new pieces of work; pool->mutex is
 * held. A thread that cannot be started is no error while one runs: the work
 * waits for it. */
static int call_workers(struct kvt_fs_pool *pool, size_t chains, bool all)
{
    uint32_t awake = pool->threads_started - pool->idle;
    if (!all && is_busy(pool) && pool->threads_started > 0) {
        uint32_t useful = pool->processors > 1 ? pool->processors - 1 : 1;
        size_t more = useful > awake ? useful - awake : 0;
        chains = chains < more ? chains : more;
    }
    for (; chains > 0 && pool->idle > 0; chains--) {
        pool->idle--;
        pool->calls++;
        pthread_cond_signal(&pool->work);
    }
    for (; chains > 0 && pool->threads_started < pool->threads_max; chains--) {
        pthread_t *thread = &pool->threads[pool->threads_started];
        int rc = pthread_create(thread, NULL, worker, pool);
        if (rc != 0) {
            return pool->threads_started > 0 ? 0 : -rc;
        }
        pool->threads_started++;
    }
    return 0;
}

/* Puts chains where the pool's threads find them; pool->mutex is held. */
static void line_up(struct pool_queue *queue, struct kvt_fs_elem *first,
                    struct kvt_fs_elem *last, size_t chains)
{
    struct kvt_fs_pool *pool = queue->pool;
    *queue->unstarted_end = first;
    queue->unstarted_end = &last->next;
    __atomic_fetch_add(&pool->unstarted, chains, __ATOMIC_RELAXED);
    kvt_pool_line_up(&pool->lines, &queue->place);
    /* what has a deadline may hang, and must not keep others from starting */
    bool may_hang = (first->flags & KVT_FS_NOT_INLINE) != 0;
    if (call_workers(pool, chains, may_hang) != 0) {
        queue->no_threads = true;
    }
}

static bool poller_may_take(const struct pool_queue *queue,
                            const struct kvt_fs_elem *chain)
{
    return chain != NULL &&
           (queue->no_threads || (chain->flags & KVT_FS_NOT_INLINE) == 0);
}

static struct kvt_fs_elem *last_of_chain(struct kvt_fs_elem *elem)
{
    while ((elem->flags & KVT_FS_THEN) != 0) {
        elem = elem->next;
    }
    return elem;
}

/* Is it over sooner than another thread would have it? */
static bool is_quick(const struct pool_queue *queue,
                     const struct kvt_fs_elem *elem)
{
    return elem->op == KVT_FS_WRITE && (elem->flags & KVT_FS_THEN) == 0 &&
           !queue->pool->fs->facts.direct &&
           kvt_fs_elem_bytes(elem) <= QUICK_BYTES;
}

/* Would the poller, which has others to look after, wait for a device? */
static bool waits(const struct pool_queue *queue,
                  const struct kvt_fs_elem *elem)
{
    return (elem->op == KVT_FS_READ || elem->op == KVT_FS_WRITE) &&
           (elem->flags & KVT_FS_THEN) == 0 && queue->base.in_adapter > 1 &&
           !is_quick(queue, elem);
}

static void keep(struct pool_queue *queue, struct kvt_fs_elem *chain,
                 struct kvt_fs_elem *last)
{
    last->next = NULL;
    *queue->mine_end = chain;
    queue->mine_end = &last->next;
}

/* Keeps for the poller what is quick, and one more chain; returns the rest. */
static struct kvt_fs_elem *keep_some(struct pool_queue *queue,
                                     struct kvt_fs_elem *first)
{
    struct kvt_fs_elem *rest = NULL;
    struct kvt_fs_elem **end = &rest;
    while (first != NULL) {
        struct kvt_fs_elem *last = last_of_chain(first);
        struct kvt_fs_elem *next = last->next;
        bool mine = queue->poll_works && poller_may_take(queue, first) &&
                    (is_quick(queue, first) ||
                     (queue->mine == NULL && !waits(queue, first)));
        if (mine) {
            keep(queue, first, last);
        } else {
            *end = first;
            end = &last->next;
            *end = NULL;
        }
        first = next;
    }
    return rest;
}

/* Large copies out of the page cache are shared with a thread, one and one: for
 * small ones it is not worth waking it. */
static bool is_for_another(struct pool_queue *queue,
                           const struct kvt_fs_elem *elem)
{
    if (queue->base.in_adapter <= 1 || kvt_fs_elem_bytes(elem) < SHARED_BYTES) {
        return false;
    }
    queue->shared = !queue->shared;
    return queue->shared;
}

/* Carries out what does not wait; returns the rest. */
static struct kvt_fs_elem *take_now(struct pool_queue *queue,
                                    struct kvt_fs_elem *first)
{
    struct kvt_fs *fs = queue->pool->fs;
    struct kvt_fs_elem *rest = NULL;
    struct kvt_fs_elem **end = &rest;
    bool in_chain = false;
    if (fs->ops->try_now == NULL || !queue->poll_works ||
        queue->base.in_adapter <= 1) {
        return first; /* one alone is the poller's, whether it waits or not */
    }
    for (struct kvt_fs_elem *next; first != NULL; first = next) {
        bool then = (first->flags & KVT_FS_THEN) != 0;
        bool elsewhere = in_chain || then || is_for_another(queue, first);
        int64_t result = elsewhere ? -EAGAIN : kvt_fs_try_now(fs, first);
        struct kvt_fs_elem ***to = result != -EAGAIN ? &queue->now_end : &end;
        next = first->next;
        in_chain = then;
        first->result = result;
        first->next = NULL;
        **to = first;
        *to = &first->next;
    }
    return rest;
}

/* For the pool's threads, which one more piece of work wakes. */
static void give_away(struct pool_queue *queue, struct kvt_fs_elem *first)
{
    struct kvt_fs_elem *last = first;
    size_t chains = 1;
    for (; last->next != NULL; last = last->next) {
        chains += (last->flags & KVT_FS_THEN) == 0;
    }
    pthread_mutex_lock(&queue->pool->mutex);
    line_up(queue, first, last, chains);
    pthread_mutex_unlock(&queue->pool->mutex);
}

static void pool_queue_submit(struct kvt_fs_queue *base,
                              struct kvt_fs_elem *first)
{
    struct pool_queue *queue = (struct pool_queue *)base;
    first = take_now(queue, first);
    if (first == NULL) {
        return;
    }
    first = keep_some(queue, first);
    if (first == NULL) {
        return;
    }
    give_away(queue, first);
}

static struct kvt_fs_elem *take_own(struct pool_queue *queue)
{
    struct kvt_fs_pool *pool = queue->pool;
    struct kvt_fs_elem *chain = queue->mine;
    if (chain != NULL) {
        struct kvt_fs_elem *last = last_of_chain(chain);
        queue->mine = last->next;
        if (queue->mine == NULL) {
            queue->mine_end = &queue->mine;
        }
        last->next = NULL;
        return chain;
    }
    pthread_mutex_lock(&pool->mutex);
    if (poller_may_take(queue, queue->place.unstarted) &&
        !waits(queue, queue->place.unstarted)) {
        chain = take_chain(queue);
    }
    pthread_mutex_unlock(&pool->mutex);
    return chain;
}

static void complete_all(struct kvt_fs_elem *elem)
{
    while (elem != NULL) {
        struct kvt_fs_elem *next = elem->next;
        kvt_fs_complete(elem, elem->result);
        elem = next;
    }
}

/* The polling thread carries out one of its own chains; but not what was kept
 * when it was alone and would wait now that others are there. */
static bool poller_works(struct pool_queue *queue)
{
    struct kvt_fs *fs = queue->pool->fs;
    struct kvt_fs_elem *chain = take_own(queue);
    if (chain == NULL) {
        return false;
    }
    if (!queue->no_threads && waits(queue, chain)) {
        int64_t result = kvt_fs_try_now(fs, chain);
        if (result == -EAGAIN) {
            give_away(queue, chain);
            return false;
        }
        kvt_fs_complete(chain, result);
        return true;
    }
    struct kvt_fs_elem *last;
    size_t count;
    carry_out(queue->pool, chain, &last, &count);
    complete_all(chain);
    return true;
}

/* The poller goes to sleep, and work of the pool is not started: whoever
 * works may be stuck. */
static void call_all(struct kvt_fs_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    call_workers(pool, __atomic_load_n(&pool->unstarted, __ATOMIC_RELAXED),
                 true);
    pthread_mutex_unlock(&pool->mutex);
}

/* The poller may not wait for long, and so carries out nothing itself: a
 * thread has to take what was kept for it. */
static void leave_to_workers(struct pool_queue *queue)
{
    struct kvt_fs_elem *mine = queue->mine;
    queue->mine = NULL;
    queue->mine_end = &queue->mine;
    if (mine != NULL) {
        give_away(queue, mine);
    } else if (__atomic_load_n(&queue->pool->unstarted, __ATOMIC_RELAXED) > 0) {
        call_all(queue->pool); /* fewer may have been called than there are */
    }
}

/* Looks for the end of what others carry out, for a moment. */
static void look_for_done(const struct pool_queue *queue, size_t min)
{
    int64_t end_ns = kvt_clock_ns() + LOOK_NS;
    while (__atomic_load_n(&queue->done_count, __ATOMIC_RELAXED) < min &&
           kvt_clock_ns() < end_ns) {
        relax();
    }
}

/* Waits until `min` are done, the deadline, or a wake; queue->mutex held. */
static void wait_for_done(struct pool_queue *queue, size_t min,
                          int64_t deadline_ns)
{
    struct kvt_fs_pool *pool = queue->pool;
    while (queue->done_count < min && !queue->woken) {
        bool lags = __atomic_load_n(&pool->unstarted, __ATOMIC_RELAXED) > 0;
        int64_t until_ns = lags ? kvt_clock_ns() + LAG_NS : deadline_ns;
        if (deadline_ns != 0 && deadline_ns < until_ns) {
            until_ns = deadline_ns;
        }
        struct timespec until = {.tv_sec = until_ns / 1000000000,
                                 .tv_nsec = until_ns % 1000000000};
        int rc = 0;
        queue->done_wanted = min;
        if (until_ns == 0) {
            pthread_cond_wait(&queue->some_done, &queue->mutex);
        } else {
            rc = pthread_cond_timedwait(&queue->some_done, &queue->mutex,
                                        &until);
        }
        if (rc == ETIMEDOUT && until_ns == deadline_ns) {
            break;
        }
        if (rc == ETIMEDOUT) {
            pthread_mutex_unlock(&queue->mutex);
            call_all(pool);
            pthread_mutex_lock(&queue->mutex);
        }
    }
    queue->done_wanted = 0;
    queue->woken = false;
}

static void pool_queue_poll(struct kvt_fs_queue *base, size_t min,
                            int64_t deadline_ns)
{
    struct pool_queue *queue = (struct pool_queue *)base;
    if (queue->now != NULL) {
        struct kvt_fs_elem *now = queue->now;
        queue->now = NULL;
        queue->now_end = &queue->now;
        complete_all(now);
        min = 0; /* take what is done by now, and let the caller look */
    } else if (queue->no_threads) {
        min = poller_works(queue) ? 0 : min;
    } else if (queue->poll_works && (min == 0 || deadline_ns != 0)) {
        if (base->in_adapter > 0) {
            leave_to_workers(queue);
        }
    } else if (queue->poll_works && poller_works(queue)) {
        min = 0; /* take what is done by now, and let the caller look */
    }
    if (min == 0 &&
        __atomic_load_n(&queue->done_count, __ATOMIC_RELAXED) == 0) {
        return;
    }
    if (min > 0 && deadline_ns == 0 && base->in_adapter >= min &&
        is_busy(queue->pool)) {
        look_for_done(queue, min);
    }
    pthread_mutex_lock(&queue->mutex);
    if (min > 0) {
        wait_for_done(queue, min, deadline_ns);
    }
    struct kvt_fs_elem *elem = queue->done;
    queue->done = NULL;
    queue->done_end = &queue->done;
    __atomic_store_n(&queue->done_count, 0, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&queue->mutex);
    while (elem != NULL) {
        struct kvt_fs_elem *next = elem->next;
        kvt_fs_complete(elem, elem->result);
        elem = next;
    }
}

static void pool_queue_wake(struct kvt_fs_queue *base)
{
    struct pool_queue *queue = (struct pool_queue *)base;
    pthread_mutex_lock(&queue->mutex);
    queue->woken = true;
    pthread_cond_signal(&queue->some_done);
    pthread_mutex_unlock(&queue->mutex);
}

static int init_monotonic_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    int rc = pthread_condattr_init(&attr);
    if (rc == 0) {
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        rc = pthread_cond_init(cond, &attr);
        pthread_condattr_destroy(&attr);
    }
    return -rc;
}

static int pool_queue_open(struct kvt_fs *fs, uint32_t depth, bool poll_works,
                           struct kvt_fs_queue **out)
{
    (void)depth; /* bounded by the threads */
    struct pool_queue *queue = calloc(1, sizeof *queue);
    if (queue == NULL) {
        return -ENOMEM;
    }
    int rc = init_monotonic_cond(&queue->some_done);
    if (rc != 0) {
        free(queue);
        return rc;
    }
    pthread_mutex_init(&queue->mutex, NULL);
    queue->pool = fs->core->pool;
    queue->poll_works = poll_works;
    queue->unstarted_end = &queue->place.unstarted;
    queue->mine_end = &queue->mine;
    queue->now_end = &queue->now;
    queue->done_end = &queue->done;
    *out = &queue->base;
    return 0;
}

/* Leaves the pool's line, where an emptied queue may still stand. */
static void leave_line(struct pool_queue *queue)
{
    struct kvt_fs_pool *pool = queue->pool;
    pthread_mutex_lock(&pool->mutex);
    kvt_pool_leave(&pool->lines, &queue->place);
    pthread_mutex_unlock(&pool->mutex);
}

static void pool_queue_close(struct kvt_fs_queue *base)
{
    struct pool_queue *queue = (struct pool_queue *)base;
    leave_line(queue);
    /* a worker may still be inside hand_in or pool_queue_wake's unlock */
    pthread_mutex_lock(&queue->mutex);
    pthread_mutex_unlock(&queue->mutex);
    pthread_cond_destroy(&queue->some_done);
    pthread_mutex_destroy(&queue->mutex);
    free(queue);
}

const struct kvt_fs_queue_ops kvt_fs_pool_queue = {
    .open = pool_queue_open,
    .submit = pool_queue_submit,
    .poll = pool_queue_poll,
    .wake = pool_queue_wake,
    .close = pool_queue_close,
    .chains = true,
};

void kvt_fs_pool_aside(struct kvt_fs_pool *pool, struct kvt_fs_elem *first)
{
    struct kvt_fs_elem *last = first;
    size_t count = 1;
    for (; last->next != NULL; last = last->next) {
        count++;
    }
    pthread_mutex_lock(&pool->mutex);
    bool any = call_workers(pool, count, true) == 0;
    if (any) {
        *pool->aside_end = first;
        pool->aside_end = &last->next;
        __atomic_fetch_add(&pool->unstarted, count, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&pool->mutex);
    while (!any && first != NULL) { /* no thread can be had: ourselves, then */
        struct kvt_fs_elem *next = first->next;
        carry_out_aside(pool->fs, first);
        first = next;
    }
}

struct kvt_fs_pool *kvt_fs_pool_open(struct kvt_fs *fs, uint32_t threads)
{
    struct kvt_fs_pool *pool =
        calloc(1, sizeof *pool + threads * sizeof pool->threads[0]);
    if (pool == NULL) {
        return NULL;
    }
    pool->fs = fs;
    pool->threads_max = threads;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    pool->processors = processors > 0 ? (uint32_t)processors : 1;
    kvt_pool_lines_init(&pool->lines);
    pool->aside_end = &pool->aside;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    return pool;
}

void kvt_fs_pool_close(struct kvt_fs_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    pool->stop = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (uint32_t i = 0; i < pool->threads_started; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}
