/* Queues as a layout sees them, over an adapter's ring or the core's pool:
 * bounds what the adapter holds, keeps the rest, keeps chains in order,
 * counts, and carries completions from other threads. No locks and no
 * allocation here; what has a deadline takes the way through deadline.c. */
#include "core/clock.h"
#include "fs/fs_core.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <string.h>

int kvt_fs_queue_open(struct kvt_fs *fs,
                      const struct kvt_fs_queue_options *given,
                      struct kvt_fs_queue **queue)
{
    struct kvt_fs_queue_options full = {.size = sizeof full};
    const struct kvt_fs_queue_options *options = &full;
    if (given->size < sizeof given->size || given->size > sizeof full) {
        return -EINVAL;
    }
    memcpy(&full, given, given->size);
    const struct kvt_fs_queue_ops *ops =
        fs->ops->queue != NULL ? fs->ops->queue : &kvt_fs_pool_queue;
    uint32_t depth = options->depth != 0 ? options->depth : fs->facts.depth;
    int rc = ops->open(fs, depth, options->poll_works, queue);
    if (rc == -EOPNOTSUPP && fs->ops->execute != NULL) {
        ops = &kvt_fs_pool_queue; /* a queue that gets no ring */
        rc = ops->open(fs, depth, options->poll_works, queue);
    }
    if (rc != 0) {
        return rc;
    }
    __atomic_fetch_add(&fs->core->open, 1, __ATOMIC_RELEASE);
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
    q->pushing = 0;
    q->ready = NULL;
    q->ready_end = &q->ready;
    q->shadows = NULL;
    q->shadows_last = NULL;
    q->lingering = 0;
    q->backlog_deadlines = 0;
    q->backlog_deadline_ns = 0;
    q->held = 0;
    q->poll_works = options->poll_works;
    q->mine = NULL;
    return 0;
}

int kvt_fs_queue_close(struct kvt_fs_queue *queue)
{
    if (queue == NULL) {
        return 0;
    }
    if (kvt_fs_in_flight(queue) > 0 || queue->lingering > 0) {
        return -EBUSY;
    }
    /* who pushed the last one may still be inside kvt_fs_wake */
    while (__atomic_load_n(&queue->pushing, __ATOMIC_ACQUIRE) > 0) {
        sched_yield();
    }
    struct kvt_fs_core *core = queue->fs->core;
    queue->ops->close(queue);
    __atomic_fetch_sub(&core->open, 1, __ATOMIC_RELEASE);
    return 0;
}

size_t kvt_fs_in_flight(const struct kvt_fs_queue *queue)
{
    return queue->in_adapter - queue->lingering + queue->waiting +
           queue->backlog_count;
}

size_t kvt_fs_lingering(const struct kvt_fs_queue *queue)
{
    return queue->lingering;
}

/* Counters ---------------------------------------------------------------- */

/* One call of the adapter's `submit`. */
static void count_submission(struct kvt_fs_core *core)
{
    __atomic_fetch_add(&core->submissions, 1, __ATOMIC_RELAXED);
}

static void count_transfers(struct kvt_fs_core *core, size_t count)
{
    __atomic_fetch_add(&core->transfers, count, __ATOMIC_RELAXED);
    uint64_t now =
        __atomic_add_fetch(&core->in_flight, count, __ATOMIC_RELAXED);
    uint64_t max = __atomic_load_n(&core->in_flight_max, __ATOMIC_RELAXED);
    while (now > max &&
           !__atomic_compare_exchange_n(&core->in_flight_max, &max, now, true,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

void kvt_fs_count_copied(struct kvt_fs *fs, uint64_t bytes)
{
    __atomic_fetch_add(&fs->core->bytes_copied, bytes, __ATOMIC_RELAXED);
}

/* Handing over ------------------------------------------------------------ */

static size_t chain_count(const struct kvt_fs_elem *elem)
{
    size_t count = 1;
    for (; elem->then != NULL; elem = elem->then) {
        count++;
    }
    return count;
}

/* Does it go to the adapter's ring? What leaves the root does not. */
static bool takes(const struct kvt_fs_queue_ops *ops,
                  const struct kvt_fs_elem *elem)
{
    if (ops == &kvt_fs_pool_queue) {
        return true;
    }
    return (ops->operations == 0 || (ops->operations & 1u << elem->op) != 0) &&
           kvt_fs_paths_are_inside(elem);
}

bool kvt_fs_ring_takes(const struct kvt_fs *fs, const struct kvt_fs_elem *elem)
{
    return fs->ops->queue != NULL && takes(fs->ops->queue, elem);
}

/* Can the adapter keep this chain in order by itself? */
static bool takes_chain(const struct kvt_fs_queue_ops *ops,
                        const struct kvt_fs_elem *chain)
{
    if (chain->then == NULL) {
        return takes(ops, chain);
    }
    bool all = ops->chains;
    for (; chain != NULL && all; chain = chain->then) {
        all = takes(ops, chain);
    }
    return all;
}

/* Links a chain by `next`, as adapters take it; returns where it ends. */
static struct kvt_fs_elem **link_chain(struct kvt_fs_elem *chain)
{
    struct kvt_fs_elem *last = chain;
    while (last->then != NULL) {
        struct kvt_fs_elem *behind = last->then;
        last->next = behind;
        last->then = NULL; /* the adapter's, from now on */
        last = behind;
    }
    last->next = NULL;
    return &last->next;
}

/* What is handed over together. */
struct hand {
    struct kvt_fs_elem *ring; /* goes to the adapter, in one call */
    struct kvt_fs_elem **ring_end;
    struct kvt_fs_elem *aside; /* goes to the pool beside it */
    struct kvt_fs_elem **aside_end;
};

/* One element for which the chain behind it waits in `then`. */
static void take_one(struct kvt_fs_queue *queue, struct hand *hand,
                     struct kvt_fs_elem *elem)
{
    if (!kvt_fs_paths_are_inside(elem)) {
        elem->result = -EINVAL;
        kvt_fs_push_posted(elem);
        return;
    }
    bool ring = takes(queue->ops, elem);
    if (!ring && kvt_fs_ring_file_start(queue, elem)) {
        return;
    }
    struct kvt_fs_elem ***end = ring ? &hand->ring_end : &hand->aside_end;
    elem->next = NULL;
    elem->flags &= ~(uint32_t)KVT_FS_THEN; /* nothing is behind it there */
    **end = elem;
    *end = &elem->next;
}

static void take_chain(struct kvt_fs_queue *queue, struct hand *hand,
                       struct kvt_fs_elem *chain)
{
    if (takes_chain(queue->ops, chain)) {
        *hand->ring_end = chain;
        hand->ring_end = link_chain(chain);
    } else {
        take_one(queue, hand, chain);
    }
}

/* Takes what the adapter has room for from the backlog; what is past its
 * deadline is left to kvt_fs_deadline_expire. A chain longer than the depth
 * goes when the adapter is empty. Returns how many elements. */
static size_t take_backlog(struct kvt_fs_queue *queue, struct hand *hand)
{
    struct kvt_fs_elem **at = &queue->backlog;
    int64_t now_ns = queue->backlog_deadlines > 0 ? kvt_clock_ns() : 0;
    size_t total = 0;
    while (*at != NULL) {
        struct kvt_fs_elem *chain = *at;
        size_t count = chain_count(chain);
        if (chain->deadline_ns != 0 && now_ns >= chain->deadline_ns) {
            at = &chain->next;
            continue;
        }
        if (queue->in_adapter > 0 && queue->in_adapter + count > queue->depth) {
            return total;
        }
        *at = chain->next;
        queue->backlog_count -= count;
        queue->in_adapter += count;
        total += count;
        if (chain->deadline_ns != 0) {
            queue->backlog_deadlines--;
            chain = kvt_fs_shadow_chain(queue, chain);
        }
        if (chain != NULL) {
            take_chain(queue, hand, chain);
        }
    }
    queue->backlog_end = at;
    return total;
}

static void take_ready(struct kvt_fs_queue *queue, struct hand *hand)
{
    struct kvt_fs_elem *elem = queue->ready;
    queue->ready = NULL;
    queue->ready_end = &queue->ready;
    while (elem != NULL) {
        struct kvt_fs_elem *next = elem->next;
        take_one(queue, hand, elem);
        elem = next;
    }
}

/* Hands the adapter what it has room for: in one call, since that is what a
 * ring is for. */
static void hand_over(struct kvt_fs_queue *queue)
{
    if (queue->ready == NULL && queue->backlog == NULL) {
        return;
    }
    struct hand hand = {.ring = NULL, .aside = NULL};
    hand.ring_end = &hand.ring;
    hand.aside_end = &hand.aside;
    size_t total = take_backlog(queue, &hand);
    while (queue->ready != NULL) {
        take_ready(queue, &hand); /* which may find a first step */
    }
    if (total > 0) {
        count_transfers(queue->fs->core, total);
    }
    if (hand.ring != NULL) {
        count_submission(queue->fs->core);
        queue->ops->submit(queue, hand.ring);
    }
    if (hand.aside != NULL) {
        kvt_fs_aside(queue, hand.aside);
    }
}

/* The first is kept for the poller: a batch of one changes no threads. */
void kvt_fs_aside(struct kvt_fs_queue *queue, struct kvt_fs_elem *first)
{
    if (queue->poll_works && queue->mine == NULL &&
        (first->flags & KVT_FS_NOT_INLINE) == 0) {
        queue->mine = first;
        first = first->next;
        queue->mine->next = NULL;
    }
    if (first != NULL) {
        kvt_fs_pool_aside(queue->fs->core->pool, first);
    }
}

void kvt_fs_start(struct kvt_fs_queue *queue, struct kvt_fs_elem *elem)
{
    elem->next = NULL;
    *queue->ready_end = elem;
    queue->ready_end = &elem->next;
}

void kvt_fs_expect(struct kvt_fs_queue *queue, struct kvt_fs_elem *elem)
{
    elem->op = KVT_FS_WAIT;
    elem->flags = 0;
    elem->queue = queue;
    elem->next = NULL;
    elem->then = NULL;
    queue->waiting++;
}

/* Of a chain that is now in the backlog. */
static void note_deadline(struct kvt_fs_queue *queue, int64_t deadline_ns)
{
    if (deadline_ns == 0) {
        return;
    }
    if (queue->backlog_deadlines == 0 ||
        deadline_ns < queue->backlog_deadline_ns) {
        queue->backlog_deadline_ns = deadline_ns;
    }
    queue->backlog_deadlines++;
}

void kvt_fs_submit(struct kvt_fs_queue *queue, struct kvt_fs_elem *elems,
                   size_t count)
{
    assert(count == 0 || (elems[count - 1].flags & KVT_FS_THEN) == 0);
    bool head = true;
    for (size_t i = 0; i < count; i++) {
        struct kvt_fs_elem *elem = &elems[i];
        assert(elem->op > 0 && elem->op < KVT_FS_OP_COUNT);
        if (elem->op == KVT_FS_WAIT) {
            assert(head && (elem->flags & KVT_FS_THEN) == 0);
            kvt_fs_expect(queue, elem);
            continue;
        }
        bool last = (elem->flags & KVT_FS_THEN) == 0;
        elem->queue = queue;
        elem->next = NULL;
        elem->then = last ? NULL : elem + 1;
        elem->late_follows = false;
        elem->lost = false;
        elem->partial = false;
        elem->passed = NULL;
        if (head) {
            *queue->backlog_end = elem;
            queue->backlog_end = &elem->next;
            note_deadline(queue, elem->deadline_ns);
        }
        head = last;
        queue->backlog_count++;
    }
    if (queue->held == 0) {
        hand_over(queue);
    }
}

void kvt_fs_hold(struct kvt_fs_queue *queue)
{
    queue->held++;
}

void kvt_fs_let_go(struct kvt_fs_queue *queue)
{
    assert(queue->held > 0);
    queue->held--;
    if (queue->held == 0) {
        hand_over(queue);
    }
}

/* Completion -------------------------------------------------------------- */

static void end_one(struct kvt_fs_elem *elem, int64_t result)
{
    struct kvt_fs_queue *queue = elem->queue;
    elem->result = result;
    if ((elem->flags & KVT_FS_STEP) != 0) { /* the whole is what counts */
        elem->done(elem);
        return;
    }
    assert(queue->in_adapter > 0);
    queue->in_adapter--;
    queue->completed++;
    __atomic_fetch_sub(&queue->fs->core->in_flight, 1, __ATOMIC_RELAXED);
    if (elem->done != NULL) {
        elem->done(elem);
    }
}

void kvt_fs_complete(struct kvt_fs_elem *elem, int64_t result)
{
    struct kvt_fs_queue *queue = elem->queue;
    /* an adapter that was given the chain one by one has this one only */
    struct kvt_fs_elem *rest = elem->then;
    result = kvt_fs_checked_result(elem, result);
    if (rest != NULL) {
        elem->flags |= KVT_FS_THEN;
        elem->result = result;
        kvt_fs_chain_pass_file(elem, rest);
    }
    bool broken = result < 0 || (elem->flags & KVT_FS_BROKEN) != 0;
    elem->flags &= ~(uint32_t)KVT_FS_BROKEN;
    end_one(elem, result);
    while (rest != NULL && kvt_fs_chain_cancels(rest, broken)) {
        struct kvt_fs_elem *behind = rest->then;
        if (behind != NULL) {
            kvt_fs_chain_pass_file(rest, behind);
        }
        end_one(rest, -ECANCELED);
        rest = behind;
    }
    if (rest != NULL) {
        rest->flags |= broken ? (uint32_t)KVT_FS_BROKEN : 0;
        kvt_fs_start(queue, rest);
    }
}

void kvt_fs_wake(struct kvt_fs_queue *queue)
{
    __atomic_store_n(&queue->woken, 1, __ATOMIC_RELEASE);
    queue->ops->wake(queue);
}

void kvt_fs_push_posted(struct kvt_fs_elem *elem)
{
    struct kvt_fs_queue *queue = elem->queue;
    struct kvt_fs_elem *head =
        __atomic_load_n(&queue->posted, __ATOMIC_RELAXED);
    __atomic_fetch_add(&queue->pushing, 1, __ATOMIC_RELAXED);
    do {
        elem->next = head;
    } while (!__atomic_compare_exchange_n(&queue->posted, &head, elem, true,
                                          __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    if (head == NULL) { /* otherwise the one before has woken it, or will */
        queue->ops->wake(queue);
    }
    __atomic_fetch_sub(&queue->pushing, 1, __ATOMIC_RELEASE);
}

void kvt_fs_post(struct kvt_fs_elem *elem, int64_t result)
{
    assert(elem->op == KVT_FS_WAIT);
    elem->result = result;
    kvt_fs_push_posted(elem);
}

static bool take_wake(struct kvt_fs_queue *queue)
{
    /* a look costs less than an exchange, and mostly there is nothing */
    return __atomic_load_n(&queue->woken, __ATOMIC_RELAXED) != 0 &&
           __atomic_exchange_n(&queue->woken, 0, __ATOMIC_ACQUIRE) != 0;
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
        if (elem->op != KVT_FS_WAIT) {
            kvt_fs_complete(elem, elem->result);
        } else {
            queue->waiting--;
            queue->completed++;
            if (elem->done != NULL) {
                elem->done(elem);
            }
        }
        elem = next;
    }
}

/* Poll -------------------------------------------------------------------- */

static int64_t earlier(int64_t a_ns, int64_t b_ns)
{
    if (a_ns == 0 || b_ns == 0) {
        return a_ns + b_ns;
    }
    return a_ns < b_ns ? a_ns : b_ns;
}

/* How many of what the adapter has are to be waited for: never for more than
 * it can end soon, or poll would wait for what may hang for ever. */
static size_t wait_count(const struct kvt_fs_queue *queue, size_t wanted)
{
    size_t most = queue->in_adapter - queue->lingering;
    return wanted > most && wanted > 1 ? (most > 1 ? most : 1) : wanted;
}

/* The element that was kept for the poller. One that may not wait for long, or
 * has others in flight, leaves it to the pool. */
static void run_mine(struct kvt_fs_queue *queue, bool may_wait)
{
    struct kvt_fs_elem *elem = queue->mine;
    bool alone = queue->in_adapter == chain_count(elem);
    queue->mine = NULL;
    if (!may_wait || !alone) {
        kvt_fs_pool_aside(queue->fs->core->pool, elem);
        return;
    }
    queue->held++;
    kvt_fs_complete(elem, kvt_fs_chain_cancels(elem, false)
                              ? -ECANCELED
                              : kvt_fs_perform(queue->fs, elem));
    queue->held--;
    hand_over(queue);
}

size_t kvt_fs_poll(struct kvt_fs_queue *queue, size_t min, int64_t deadline_ns)
{
    bool lingered = queue->lingering > 0;
    queue->completed = 0;
    for (;;) {
        bool woken = take_wake(queue);
        queue->held++;
        take_posted(queue);
        queue->held--;
        hand_over(queue);
        int64_t next_ns = kvt_fs_deadline_next(queue);
        if (queue->mine != NULL) {
            run_mine(queue, min > 0 && deadline_ns == 0 && next_ns == 0);
            next_ns = kvt_fs_deadline_next(queue);
        }
        bool over = lingered && queue->lingering == 0;
        bool idle =
            kvt_fs_in_flight(queue) == 0 && (queue->completed > 0 || over);
        bool enough = queue->completed >= min || woken || idle;
        bool busy = queue->mine != NULL;
        size_t want = enough || busy ? 0 : min - queue->completed;
        queue->held++;
        queue->ops->poll(queue, wait_count(queue, want),
                         earlier(deadline_ns, next_ns));
        if (next_ns != 0) {
            kvt_fs_deadline_expire(queue);
        }
        queue->held--;
        hand_over(queue);
        if (enough || queue->completed >= min) {
            return queue->completed;
        }
        if (deadline_ns != 0 && kvt_clock_ns() >= deadline_ns) {
            return queue->completed;
        }
    }
}
