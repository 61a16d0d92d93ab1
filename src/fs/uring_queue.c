/* A queue as a ring. `submit` prepares calls; the next `poll` hands all of them
 * to the kernel and waits in the same system call.
 *
 * Waking: a poller that is going to sleep says so in `sleep`, and in `wanted`
 * how many completions it waits for. Who wakes it sends it so many from a ring
 * of the mount's: nothing has to stand ready in the ring for that, and nothing
 * of it belongs to a thread. */
#define _GNU_SOURCE
#include "fs/uring.h"

#include "core/clock.h"
#include "fs/fs_core.h"
#include "fs/uring_tools.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

enum {
    PIECES = 4 * URING_PIECES_MAX, /* of the calls that are prepared */
    REAP_MAX = 32, /* completions told before what they led to is handed over */
    COPY_MIN = 16 << 10,   /* bytes */
    COPIES_HERE = 2,       /* handed over at a time */
    COPIES_AT_WORKERS = 2, /* beside those */
    PAUSE_NS = 1000000,
    NOBODY = 0x7fffffff, /* a place that no element has */
};

enum {
    AWAKE,
    ASLEEP,
    WOKEN, /* the next sleep is over before it begins */
};

/* A number that no other thread has, nor ever had. */
static uint32_t this_thread(void)
{
    static uint32_t threads;
    static _Thread_local uint32_t number;
    if (number == 0) {
        number = __atomic_add_fetch(&threads, 1, __ATOMIC_RELAXED);
    }
    return number;
}

/* Calls ------------------------------------------------------------------- */

struct io_uring_sqe *kvt_uring_call(struct uring_queue *queue,
                                    struct uring_io *io)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&queue->ring);
    io->thread = this_thread();
    return sqe;
}

void kvt_uring_tag(struct io_uring_sqe *sqe, const struct uring_queue *queue,
                   const struct uring_io *io)
{
    sqe->user_data = (uint64_t)(io - queue->ios) | (uint64_t)io->generation
                                                       << 32;
}

/* The io that a call belongs to; null for a wake, and for what came too
 * late. */
static struct uring_io *io_of(struct uring_queue *queue, uint64_t tag)
{
    uint32_t place = (uint32_t)tag;
    struct uring_io *io = place < queue->io_count ? &queue->ios[place] : NULL;
    return io != NULL && io->elem != NULL && io->generation == tag >> 32 ? io
                                                                         : NULL;
}

bool kvt_uring_is_orphan(const struct uring_io *io, int64_t result)
{
    return (result == -ECANCELED || result == -EFAULT) &&
           io->thread != this_thread();
}

/* Takes back what is prepared and was not handed over. */
static void take_back(struct io_uring *ring)
{
    struct io_uring_sq *sq = &ring->sq;
    unsigned head = sq->sqe_tail - io_uring_sq_ready(ring);
    sq->sqe_head = head;
    sq->sqe_tail = head;
    io_uring_smp_store_release(sq->ktail, head);
}

/* The kernel takes no calls any more: somebody closed the ring, or forbade it.
 * What it did not take ends with its answer. */
static void fail_calls(struct uring_queue *queue, int rc)
{
    struct io_uring_sq *sq = &queue->ring.sq;
    unsigned count = io_uring_sq_ready(&queue->ring);
    unsigned head = sq->sqe_tail - count;
    for (unsigned i = 0; i < count; i++) {
        uint64_t tag = sq->sqes[(head + i) & sq->ring_mask].user_data;
        struct uring_io *io = io_of(queue, tag);
        if (io != NULL && io->elem->op == KVT_FS_CLOSE) {
            kvt_uring_aside(queue, io); /* files are closed in any case */
        } else if (io != NULL) {
            kvt_uring_end(queue, io, rc);
        }
    }
    take_back(&queue->ring);
}

static void pause_a_moment(void)
{
    struct timespec moment = {0, PAUSE_NS};
    nanosleep(&moment, NULL);
}

/* Has the kernel too much to do, or too little memory? */
static bool is_for_later(int rc)
{
    return rc == -EAGAIN || rc == -EBUSY || rc == -ENOMEM;
}

/* Hands over what is prepared, and waits for `want` completions. */
static void enter(struct uring_queue *queue, unsigned want, int64_t deadline_ns)
{
    int64_t left_ns = deadline_ns != 0 ? deadline_ns - kvt_clock_ns() : 0;
    struct io_uring_cqe *first;
    int rc;
    if (want == 0 || left_ns < 0) {
        rc = io_uring_submit(&queue->ring);
    } else if (deadline_ns == 0) {
        rc = io_uring_submit_and_wait(&queue->ring, want);
    } else {
        struct __kernel_timespec left = {.tv_sec = left_ns / 1000000000,
                                         .tv_nsec = left_ns % 1000000000};
        rc = io_uring_submit_and_wait_timeout(&queue->ring, &first, 1, &left,
                                              NULL);
    }
    bool later = is_for_later(rc);
    if (rc < 0 && rc != -ETIME && rc != -EINTR && !later) {
        fail_calls(queue, rc);
        later = true;
    }
    if (later && want > 0 && queue->ended == NULL) {
        pause_a_moment(); /* the callers may come back at once */
    }
    if (io_uring_sq_ready(&queue->ring) == 0) {
        queue->pieces_used = 0;
    }
}

bool kvt_uring_has_room(struct uring_queue *queue, uint32_t pieces)
{
    if (pieces > 1 && queue->pieces_used + pieces > PIECES) {
        enter(queue, 0, 0);
    }
    return pieces <= 1 || queue->pieces_used + pieces <= PIECES;
}

/* Elements ---------------------------------------------------------------- */

static struct uring_io *take_io(struct uring_queue *queue,
                                struct kvt_fs_elem *elem)
{
    struct uring_io *io = queue->free;
    if (io != NULL) {
        queue->free = io->next;
        queue->busy++;
        io->elem = elem;
        io->next = NULL;
        io->worker = false;
        io->rest = kvt_rest_of(elem);
        io->done = 0;
        kvt_tools_memory_used(elem);
    }
    return io;
}

static struct kvt_fs_elem *give_io(struct uring_queue *queue,
                                   struct uring_io *io)
{
    struct kvt_fs_elem *elem = io->elem;
    kvt_tools_memory_used(elem);
    kvt_uring_bounce_give(queue, io);
    queue->at_workers -= io->worker;
    io->elem = NULL;
    io->generation++;
    queue->busy--;
    io->next = queue->free;
    queue->free = io;
    return elem;
}

void kvt_uring_end(struct uring_queue *queue, struct uring_io *io,
                   int64_t result)
{
    struct kvt_fs_elem *elem = give_io(queue, io);
    elem->result = result;
    elem->next = NULL;
    *queue->ended_end = elem;
    queue->ended_end = &elem->next;
}

void kvt_uring_aside(struct uring_queue *queue, struct uring_io *io)
{
    struct kvt_fs_elem *elem = give_io(queue, io);
    elem->next = NULL;
    kvt_fs_aside(&queue->base, elem);
}

void kvt_uring_starve(struct uring_queue *queue, struct uring_io *io)
{
    io->next = NULL;
    *queue->starved_end = io;
    queue->starved_end = &io->next;
}

static void go_on(struct uring_queue *queue, struct uring_io *io)
{
    switch (io->elem->op) {
    case KVT_FS_READ:
    case KVT_FS_WRITE:
        kvt_uring_transfer(queue, io);
        break;
    default:
        kvt_uring_single(queue, io);
        break;
    }
}

/* A thread does what takes several calls: linked in the ring, a thread of the
 * kernel's carries on each of them. Measured: docs/architecture.md. */
static bool is_for_the_pool(const struct kvt_fs_elem *elem)
{
    return elem->op == KVT_FS_FETCH || elem->op == KVT_FS_PUBLISH ||
           (elem->op == KVT_FS_SYNC && elem->file == NULL);
}

/* What the page cache has is copied within the system call that hands it
 * over, by one thread. So larger reads are handed over a few at a time, some of
 * them to a thread of the kernel's: it copies meanwhile, and gets more when it
 * is done, whatever part of a processor it has. */
static bool may_be_copying(const struct uring_queue *queue,
                           const struct kvt_fs_elem *elem)
{
    return elem->op == KVT_FS_READ && !queue->fs->posix.direct &&
           kvt_fs_elem_bytes(elem) >= COPY_MIN;
}

static void start_copy(struct uring_queue *queue, bool worker)
{
    struct kvt_fs_elem *elem = queue->copies;
    queue->copies = elem->next;
    if (queue->copies == NULL) {
        queue->copies_end = &queue->copies;
    }
    queue->copy_count--;
    struct uring_io *io = take_io(queue, elem);
    io->worker = worker;
    queue->at_workers += worker;
    go_on(queue, io);
}

static void start_copies(struct uring_queue *queue)
{
    if (queue->copy_count > COPIES_HERE && queue->free != NULL &&
        queue->at_workers < COPIES_AT_WORKERS) {
        start_copy(queue, true);
    }
    for (unsigned i = 0;
         i < COPIES_HERE && queue->copies != NULL && queue->free != NULL; i++) {
        start_copy(queue, false);
    }
}

static void start(struct uring_queue *queue, struct kvt_fs_elem *elem)
{
    if (may_be_copying(queue, elem)) {
        elem->next = NULL;
        *queue->copies_end = elem;
        queue->copies_end = &elem->next;
        queue->copy_count++;
        return;
    }
    struct uring_io *io = take_io(queue, elem);
    if (io != NULL) {
        go_on(queue, io);
        return;
    }
    elem->next = NULL;
    *queue->unstarted_end = elem;
    queue->unstarted_end = &elem->next;
}

static void start_all(struct uring_queue *queue, struct kvt_fs_elem *elem)
{
    struct kvt_fs_elem *aside = NULL; /* one call wakes the threads for all */
    struct kvt_fs_elem **end = &aside;
    while (elem != NULL) {
        struct kvt_fs_elem *next = elem->next;
        if (is_for_the_pool(elem)) {
            elem->next = NULL;
            *end = elem;
            end = &elem->next;
        } else {
            start(queue, elem);
        }
        elem = next;
    }
    if (aside != NULL) {
        kvt_fs_aside(&queue->base, aside);
    }
}

/* What waited for an io, for memory, or for room among the pieces. */
static void start_waiting(struct uring_queue *queue)
{
    struct kvt_fs_elem *unstarted = queue->unstarted;
    struct uring_io *starved = queue->starved;
    queue->starved = NULL;
    queue->starved_end = &queue->starved;
    while (starved != NULL) {
        struct uring_io *next = starved->next;
        go_on(queue, starved);
        starved = next;
    }
    if (unstarted != NULL && queue->free != NULL) {
        queue->unstarted = NULL;
        queue->unstarted_end = &queue->unstarted;
        start_all(queue, unstarted);
    }
}

static void uring_submit(struct kvt_fs_queue *base, struct kvt_fs_elem *first)
{
    start_all((struct uring_queue *)base, first);
}

/* Completions ------------------------------------------------------------- */

static void take_completion(struct uring_queue *queue, uint64_t tag,
                            int64_t result)
{
    struct uring_io *io = io_of(queue, tag);
    if (io == NULL) {
        return;
    }
    switch (io->elem->op) {
    case KVT_FS_READ:
    case KVT_FS_WRITE:
        kvt_uring_transfer_done(queue, io, result);
        break;
    default:
        kvt_uring_single_done(queue, io, result);
        break;
    }
}

/* Tells of all that ended, also of what ends meanwhile. */
static bool tell(struct uring_queue *queue)
{
    bool any = queue->ended != NULL;
    while (queue->ended != NULL) {
        struct kvt_fs_elem *elem = queue->ended;
        queue->ended = elem->next;
        if (queue->ended == NULL) {
            queue->ended_end = &queue->ended;
        }
        kvt_fs_complete(elem, elem->result);
    }
    return any;
}

static void reap(struct uring_queue *queue)
{
    struct io_uring_cqe *cqes[REAP_MAX];
    uint64_t tags[REAP_MAX];
    int results[REAP_MAX];
    unsigned count = io_uring_peek_batch_cqe(&queue->ring, cqes, REAP_MAX);
    for (unsigned i = 0; i < count; i++) {
        tags[i] = cqes[i]->user_data;
        results[i] = cqes[i]->res;
    }
    io_uring_cq_advance(&queue->ring, count);
    for (unsigned i = 0; i < count; i++) {
        take_completion(queue, tags[i], results[i]);
        tell(queue);
    }
}

/* Sleeping and waking ----------------------------------------------------- */

static void sleep_for(struct uring_queue *queue, size_t min,
                      int64_t deadline_ns)
{
    size_t want = min < queue->busy ? min : queue->busy;
    want = want > URING_WAKES_MAX ? URING_WAKES_MAX : want;
    if (want == 0 || queue->starved != NULL || queue->unstarted != NULL) {
        want = 1; /* the first that is over lets others go on */
    }
    int awake = AWAKE;
    __atomic_store_n(&queue->wanted, (unsigned)want, __ATOMIC_RELAXED);
    if (__atomic_compare_exchange_n(&queue->sleep, &awake, ASLEEP, false,
                                    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        enter(queue, (unsigned)want, deadline_ns);
    } else if (io_uring_sq_ready(&queue->ring) > 0) {
        enter(queue, 0, 0);
    }
    __atomic_exchange_n(&queue->sleep, AWAKE, __ATOMIC_ACQ_REL);
}

static void uring_poll(struct kvt_fs_queue *base, size_t min,
                       int64_t deadline_ns)
{
    struct uring_queue *queue = (struct uring_queue *)base;
    if (queue->unstarted != NULL || queue->starved != NULL) {
        start_waiting(queue);
    }
    start_copies(queue);
    bool told = tell(queue);
    bool more = queue->copies != NULL && queue->free != NULL;
    if (min > 0 && !told && !more && io_uring_cq_ready(&queue->ring) == 0) {
        sleep_for(queue, min, deadline_ns);
    } else if (io_uring_sq_ready(&queue->ring) > 0) {
        enter(queue, 0, 0);
    }
    tell(queue);
    reap(queue);
}

static void send_wakes(struct uring_fs *fs, int ring, unsigned count)
{
    struct io_uring *waker = &fs->waker;
    struct io_uring_cqe *cqe;
    for (unsigned i = 0; i < count; i++) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(waker);
        io_uring_prep_msg_ring(sqe, ring, 0, NOBODY, 0);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    }
    while (io_uring_sq_ready(waker) > 0) {
        int rc = io_uring_submit(waker);
        bool later = rc == 0 || is_for_later(rc) || rc == -EINTR;
        if (rc < 0 && !later) {
            take_back(waker); /* the sleeper's own calls are refused, too */
        } else if (later) {
            sched_yield(); /* the sleeper has nobody else */
        }
    }
    while (io_uring_peek_cqe(waker, &cqe) == 0) {
        io_uring_cqe_seen(waker, cqe); /* it has so many that it is awake */
    }
}

static void uring_wake(struct kvt_fs_queue *base)
{
    struct uring_queue *queue = (struct uring_queue *)base;
    if (__atomic_exchange_n(&queue->sleep, WOKEN, __ATOMIC_ACQ_REL) != ASLEEP) {
        return;
    }
    unsigned count = __atomic_load_n(&queue->wanted, __ATOMIC_RELAXED);
    struct uring_fs *fs = queue->fs;
    pthread_mutex_lock(&fs->waker_mutex);
    send_wakes(fs, queue->ring.ring_fd, count);
    pthread_mutex_unlock(&fs->waker_mutex);
}

/* Open and close ---------------------------------------------------------- */

/* There are more queues than rings can be had. */
static const char *why_no_ring(int rc)
{
    switch (rc) {
    case -ENOMEM:
        return "some queues have no ring, so threads read and write there: the "
               "memory that may be locked (ulimit -l) or used is too small";
    case -EMFILE:
    case -ENFILE:
        return "some queues have no ring, so threads read and write there: no "
               "more files may be open (ulimit -n)";
    default:
        return "some queues have no ring, so threads read and write there: the "
               "kernel, or a seccomp filter, refuses one";
    }
}

int kvt_uring_queue_ring(struct io_uring *ring, uint32_t ios)
{
    return kvt_uring_ring_open(ring, ios, ios + 2 * URING_WAKES_MAX);
}

/* 0; -EOPNOTSUPP when the core's pool has to do without it. */
static int open_ring(struct uring_queue *queue)
{
    int rc = kvt_uring_queue_ring(&queue->ring, queue->io_count);
    if (rc != 0) {
        kvt_uring_fell_back(queue->fs, why_no_ring(rc));
        return -EOPNOTSUPP;
    }
    return 0;
}

uint32_t kvt_uring_ios(uint32_t depth)
{
    return depth < URING_IOS_MAX ? depth : URING_IOS_MAX;
}

static void queue_free(struct uring_queue *queue)
{
    free(queue->ios);
    free(queue->pieces);
    free(queue->plan);
    free(queue);
}

static int uring_open(struct kvt_fs *fs, uint32_t depth, bool poll_works,
                      struct kvt_fs_queue **out)
{
    (void)poll_works; /* the core sees to that */
    struct uring_queue *queue = calloc(1, sizeof *queue);
    if (queue == NULL) {
        return -ENOMEM;
    }
    queue->fs = (struct uring_fs *)fs;
    queue->io_count = kvt_uring_ios(depth);
    queue->ios = calloc(queue->io_count, sizeof queue->ios[0]);
    queue->pieces = malloc(PIECES * sizeof queue->pieces[0]);
    queue->plan = malloc(URING_PIECES_MAX * sizeof queue->plan[0]);
    queue->unstarted_end = &queue->unstarted;
    queue->copies_end = &queue->copies;
    queue->ended_end = &queue->ended;
    queue->starved_end = &queue->starved;
    int rc = -ENOMEM;
    if (queue->ios != NULL && queue->pieces != NULL && queue->plan != NULL) {
        rc = open_ring(queue);
    }
    if (rc != 0) {
        queue_free(queue);
        return rc;
    }
    for (uint32_t i = queue->io_count; i > 0; i--) {
        queue->ios[i - 1].next = queue->free;
        queue->free = &queue->ios[i - 1];
    }
    kvt_uring_memory_join(queue);
    *out = &queue->base;
    return 0;
}

static void uring_close(struct kvt_fs_queue *base)
{
    struct uring_queue *queue = (struct uring_queue *)base;
    kvt_uring_memory_leave(queue);
    kvt_uring_ring_close(&queue->ring);
    kvt_uring_bounce_fini(queue);
    queue_free(queue);
}

const struct kvt_fs_queue_ops kvt_uring_queue = {
    .open = uring_open,
    .submit = uring_submit,
    .poll = uring_poll,
    .wake = uring_wake,
    .close = uring_close,
    .operations = 1u << KVT_FS_READ | 1u << KVT_FS_WRITE |
                  1u << KVT_FS_DATASYNC | 1u << KVT_FS_SYNC |
                  1u << KVT_FS_PUNCH | 1u << KVT_FS_CLOSE | 1u << KVT_FS_STAT |
                  1u << KVT_FS_REMOVE | 1u << KVT_FS_FETCH |
                  1u << KVT_FS_PUBLISH,
};
