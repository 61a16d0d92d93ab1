/* Queues as a layout sees them, over an adapter's ring or the core's pool:
 * bounds what the adapter holds, keeps the rest, counts, and carries
 * completions from other threads. No locks and no allocation here. */
#include "core/clock.h"
#include "fs/fs_core.h"

#include <assert.h>
#include <errno.h>

int kvt_fs_queue_open(struct kvt_fs *fs,
                      const struct kvt_fs_queue_options *options,
                      struct kvt_fs_queue **queue)
{
    const struct kvt_fs_queue_ops *ops =
        fs->ops->queue != NULL ? fs->ops->queue : &kvt_fs_pool_queue;
    uint32_t depth = options->depth != 0 ? options->depth : fs->facts.depth;
    int rc = ops->open(fs, depth, options->poll_works, queue);
    if (rc != 0) {
        return rc;
    }
    struct kvt_fs_queue *q = *queue;
    q->fs = fs;
    q->ops = ops;
    q->depth = depth;
    q->in_adapter = 0;
    q->waiting = 0;
    q->completed = 0;
    q->backlog = NULL;
    q->backlog_end = &q->backlog;
    q->backlog_count = 0;
    q->posted = NULL;
    q->woken = 0;
    return 0;
}

int kvt_fs_queue_close(struct kvt_fs_queue *queue)
{
    if (queue == NULL) {
        return 0;
    }
    if (kvt_fs_in_flight(queue) > 0) {
        return -EBUSY;
    }
    queue->ops->close(queue);
    return 0;
}

size_t kvt_fs_in_flight(const struct kvt_fs_queue *queue)
{
    return queue->in_adapter + queue->waiting + queue->backlog_count;
}

static void count_submission(struct kvt_fs_core *core, size_t count)
{
    __atomic_fetch_add(&core->submissions, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&core->transfers, count, __ATOMIC_RELAXED);
    uint64_t now =
        __atomic_add_fetch(&core->in_flight, count, __ATOMIC_RELAXED);
    uint64_t max = __atomic_load_n(&core->in_flight_max, __ATOMIC_RELAXED);
    while (now > max &&
           !__atomic_compare_exchange_n(&core->in_flight_max, &max, now, true,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

static size_t chain_count(const struct kvt_fs_elem *elem)
{
    size_t count = 1;
    while ((elem->flags & KVT_FS_THEN) != 0) {
        elem = elem->next;
        count++;
    }
    return count;
}

/* Hands the adapter what it has room for. Chains go whole, and a chain
 * longer than the depth goes when the adapter is empty. */
static void hand_over(struct kvt_fs_queue *queue)
{
    struct kvt_fs_elem *first = queue->backlog;
    struct kvt_fs_elem **end = &queue->backlog;
    size_t total = 0;

    while (*end != NULL) {
        size_t count = chain_count(*end);
        size_t busy = queue->in_adapter + total;
        if (busy > 0 && busy + count > queue->depth) {
            break;
        }
        for (size_t i = 0; i < count; i++) {
            end = &(*end)->next;
        }
        total += count;
    }
    if (total == 0) {
        return;
    }
    struct kvt_fs_elem *rest = *end;
    *end = NULL;
    queue->backlog = rest;
    if (rest == NULL) {
        queue->backlog_end = &queue->backlog;
    }
    queue->backlog_count -= total;
    queue->in_adapter += total;
    count_submission(queue->fs->core, total);
    queue->ops->submit(queue, first);
}

void kvt_fs_expect(struct kvt_fs_queue *queue, struct kvt_fs_elem *elem)
{
    elem->op = KVT_FS_WAIT;
    elem->flags = 0;
    elem->queue = queue;
    elem->next = NULL;
    queue->waiting++;
}

void kvt_fs_submit(struct kvt_fs_queue *queue, struct kvt_fs_elem *elems,
                   size_t count)
{
    assert(count == 0 || (elems[count - 1].flags & KVT_FS_THEN) == 0);
    for (size_t i = 0; i < count; i++) {
        struct kvt_fs_elem *elem = &elems[i];
        assert(elem->op > 0 && elem->op < KVT_FS_OP_COUNT);
        if (elem->op == KVT_FS_WAIT) {
            kvt_fs_expect(queue, elem);
            continue;
        }
        elem->queue = queue;
        elem->next = NULL;
        *queue->backlog_end = elem;
        queue->backlog_end = &elem->next;
        queue->backlog_count++;
    }
    if (queue->backlog != NULL) {
        hand_over(queue);
    }
}

/* Every adapter's promise, checked in one place: a write is all or an
 * error. */
static int64_t checked_result(const struct kvt_fs_elem *elem, int64_t result)
{
    if ((elem->op == KVT_FS_WRITE || elem->op == KVT_FS_PUBLISH) &&
        result >= 0 && (uint64_t)result != kvt_fs_elem_bytes(elem)) {
        return -EIO;
    }
    return result;
}

void kvt_fs_complete(struct kvt_fs_elem *elem, int64_t result)
{
    struct kvt_fs_queue *queue = elem->queue;
    assert(queue->in_adapter > 0);
    queue->in_adapter--;
    queue->completed++;
    __atomic_fetch_sub(&queue->fs->core->in_flight, 1, __ATOMIC_RELAXED);
    elem->result = checked_result(elem, result);
    if (elem->done != NULL) {
        elem->done(elem);
    }
}

void kvt_fs_wake(struct kvt_fs_queue *queue)
{
    __atomic_store_n(&queue->woken, 1, __ATOMIC_RELEASE);
    queue->ops->wake(queue);
}

void kvt_fs_post(struct kvt_fs_elem *elem, int64_t result)
{
    struct kvt_fs_queue *queue = elem->queue;
    assert(elem->op == KVT_FS_WAIT);
    elem->result = result;
    struct kvt_fs_elem *head =
        __atomic_load_n(&queue->posted, __ATOMIC_RELAXED);
    do {
        elem->next = head;
    } while (!__atomic_compare_exchange_n(&queue->posted, &head, elem, true,
                                          __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    kvt_fs_wake(queue);
}

static void take_posted(struct kvt_fs_queue *queue)
{
    if (__atomic_load_n(&queue->posted, __ATOMIC_RELAXED) == NULL) {
        return;
    }
    struct kvt_fs_elem *elem =
        __atomic_exchange_n(&queue->posted, NULL, __ATOMIC_ACQUIRE);
    while (elem != NULL) {
        struct kvt_fs_elem *next = elem->next;
        queue->waiting--;
        queue->completed++;
        if (elem->done != NULL) {
            elem->done(elem);
        }
        elem = next;
    }
}

size_t kvt_fs_poll(struct kvt_fs_queue *queue, size_t min, int64_t deadline_ns)
{
    queue->completed = 0;
    for (;;) {
        bool woken = __atomic_exchange_n(&queue->woken, 0, __ATOMIC_ACQUIRE);
        take_posted(queue);
        hand_over(queue);
        bool enough = queue->completed >= min || woken;
        if (!enough && kvt_fs_in_flight(queue) == 0 && queue->completed > 0) {
            enough = true;
        }
        size_t before = queue->completed;
        size_t want = enough ? 0 : min - queue->completed;
        queue->ops->poll(queue, want, deadline_ns);
        hand_over(queue);
        if (enough) {
            return queue->completed;
        }
        if (queue->completed == before && deadline_ns != 0 &&
            kvt_clock_ns() >= deadline_ns) {
            return queue->completed;
        }
    }
}
