#include "support/null_ring.h"

#include "support/unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t null_ring_success(const struct kvt_fs_elem *elem)
{
    bool moves = elem->op == KVT_FS_READ || elem->op == KVT_FS_WRITE ||
                 elem->op == KVT_FS_FETCH || elem->op == KVT_FS_PUBLISH;

    return moves ? (int64_t)kvt_fs_elem_bytes(elem) : 0;
}

static int null_ring_open(struct kvt_fs *fs, uint32_t depth, bool poll_works,
                          struct kvt_fs_queue **out)
{
    struct null_ring_queue *queue = calloc(1, sizeof *queue);
    pthread_condattr_t attr;

    (void)depth;
    (void)poll_works;
    assert_non_null(queue);
    queue->ring = (struct null_ring *)fs;
    queue->ring->queues_open++;
    queue->held_end = &queue->held;
    pthread_mutex_init(&queue->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&queue->changed, &attr);
    pthread_condattr_destroy(&attr);
    *out = &queue->base;
    return 0;
}

static void null_ring_close(struct kvt_fs_queue *base)
{
    struct null_ring_queue *queue = (struct null_ring_queue *)base;

    assert_int_equal(queue->held_count, 0);
    queue->ring->queues_open--;
    pthread_mutex_destroy(&queue->mutex);
    pthread_cond_destroy(&queue->changed);
    free(queue);
}

static void null_ring_submit(struct kvt_fs_queue *base,
                             struct kvt_fs_elem *first)
{
    struct null_ring_queue *queue = (struct null_ring_queue *)base;
    struct null_ring *ring = queue->ring;
    struct kvt_fs_elem *last = NULL;
    size_t chain = 1;
    size_t chain_max = 1;

    assert_non_null(first);
    ring->submissions++;
    *queue->held_end = first;
    for (struct kvt_fs_elem *elem = first; elem != NULL; elem = elem->next) {
        assert_ptr_equal(elem->queue, base);
        assert_int_not_equal(elem->op, KVT_FS_WAIT);
        queue->held_count++;
        ring->in_ring++;
        ring->seen++;
        chain_max = chain > chain_max ? chain : chain_max;
        chain = (elem->flags & KVT_FS_THEN) != 0 ? chain + 1 : 1;
        last = elem;
    }
    queue->held_end = &last->next;
    if (ring->in_ring > ring->in_ring_max) {
        ring->in_ring_max = ring->in_ring;
    }
    if (!base->ops->chains) {
        assert_true(queue->held_count <= base->depth);
        return;
    }
    assert_int_equal(last->flags & KVT_FS_THEN, 0); /* chains come whole */
    /* within the depth; only a chain that is longer may be more, alone */
    assert_true(queue->held_count <= base->depth ||
                queue->held_count == chain_max);
    if (base->ops->operations == 0) {
        /* what the core refused is counted until the next poll */
        assert_true(base->in_adapter >= queue->held_count);
    }
}

/* Completes what may; returns how many did. */
static size_t complete_allowed(struct null_ring_queue *queue)
{
    struct null_ring *ring = queue->ring;
    /* what `done` submits belongs to the next poll */
    size_t may = ring->on_demand && queue->allowed < queue->held_count
                     ? queue->allowed
                     : queue->held_count;
    size_t count;

    for (count = 0; count < may; count++) {
        struct kvt_fs_elem *elem = queue->held;

        queue->held = elem->next;
        if (queue->held == NULL) {
            queue->held_end = &queue->held;
        }
        queue->held_count--;
        ring->in_ring--;
        kvt_fs_complete(elem, ring->result != NULL ? ring->result(elem)
                                                   : null_ring_success(elem));
    }
    queue->allowed -= ring->on_demand ? count : 0;
    return count;
}

static void null_ring_poll(struct kvt_fs_queue *base, size_t min,
                           int64_t deadline_ns)
{
    struct null_ring_queue *queue = (struct null_ring_queue *)base;

    queue->ring->last_min = min;
    queue->ring->last_deadline_ns = deadline_ns;
    if (complete_allowed(queue) > 0 || min == 0) {
        return;
    }
    struct timespec until = {.tv_sec = deadline_ns / 1000000000,
                             .tv_nsec = deadline_ns % 1000000000};
    int rc = 0;
    pthread_mutex_lock(&queue->mutex);
    while (!queue->woken && rc != ETIMEDOUT) {
        rc =
            deadline_ns != 0
                ? pthread_cond_timedwait(&queue->changed, &queue->mutex, &until)
                : pthread_cond_wait(&queue->changed, &queue->mutex);
    }
    queue->woken = false;
    pthread_mutex_unlock(&queue->mutex);
}

static void null_ring_wake(struct kvt_fs_queue *base)
{
    struct null_ring_queue *queue = (struct null_ring_queue *)base;

    pthread_mutex_lock(&queue->mutex);
    queue->woken = true;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->mutex);
}

static int64_t null_ring_execute(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    struct null_ring *ring = (struct null_ring *)fs;

    return ring->result != NULL ? ring->result(elem) : null_ring_success(elem);
}

static int null_ring_rename(struct kvt_fs *fs, const char *from, const char *to,
                            bool replace)
{
    struct null_ring *ring = (struct null_ring *)fs;

    (void)from;
    (void)to;
    (void)replace;
    __atomic_fetch_add(&ring->renames, 1, __ATOMIC_RELAXED);
    return 0;
}

#define QUEUE_OPS                                                              \
    .open = null_ring_open, .submit = null_ring_submit,                        \
    .poll = null_ring_poll, .wake = null_ring_wake, .close = null_ring_close

static const struct kvt_fs_queue_ops queue_ops[] = {
    [NULL_RING_SINGLES] = {QUEUE_OPS},
    [NULL_RING_CHAINS] = {QUEUE_OPS, .chains = true},
    [NULL_RING_PART] = {QUEUE_OPS, .chains = true,
                        .operations = 1u << KVT_FS_READ | 1u << KVT_FS_CLOSE},
    [NULL_RING_BYTES] = {QUEUE_OPS,
                         .operations = 1u << KVT_FS_READ | 1u << KVT_FS_WRITE},
};

#define OPS                                                                    \
    .size = sizeof(struct kvt_fs_ops), .version = KVT_FS_VERSION,              \
    .name = "null_ring", .execute = null_ring_execute,                         \
    .rename = null_ring_rename

static const struct kvt_fs_ops ops[] = {
    [NULL_RING_SINGLES] = {OPS, .queue = &queue_ops[NULL_RING_SINGLES]},
    [NULL_RING_CHAINS] = {OPS, .queue = &queue_ops[NULL_RING_CHAINS]},
    [NULL_RING_PART] = {OPS, .queue = &queue_ops[NULL_RING_PART]},
    [NULL_RING_BYTES] = {OPS, .queue = &queue_ops[NULL_RING_BYTES]},
};

void null_ring_fini(struct null_ring *ring)
{
    kvt_fs_pool_close(ring->core.pool);
}

void null_ring_init(struct null_ring *ring, uint32_t depth,
                    enum null_ring_kind kind)
{
    memset(ring, 0, sizeof *ring);
    ring->fs.ops = &ops[kind];
    if (kind == NULL_RING_PART || kind == NULL_RING_BYTES) {
        ring->core.pool = kvt_fs_pool_open(&ring->fs, 2);
    }
    ring->fs.core = &ring->core;
    ring->fs.facts.size = sizeof ring->fs.facts;
    ring->fs.facts.depth = depth;
    ring->fs.facts.offset_alignment = 1;
    ring->fs.facts.length_alignment = 1;
    ring->fs.facts.memory_alignment = 1;
    ring->fs.facts.slices_max = UINT32_MAX;
    ring->fs.facts.transfer_max = UINT64_MAX;
    ring->fs.facts.atomic_rename = true;
}

void null_ring_release(struct kvt_fs_queue *queue, size_t count)
{
    ((struct null_ring_queue *)queue)->allowed += count;
}
