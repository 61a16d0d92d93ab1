/* Queues over a ring that moves nothing; over the core's pool of threads they
 * are in test_pool.c. */
#include "support/queue_fixture.h"

#include "core/clock.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void what_is_submitted_is_done_once_inside_poll(void **state)
{
    struct fixture *f = *state;

    kvt_fs_submit(f->queue, f->elems, 3);
    assert_int_equal(f->done_count, 0);
    assert_int_equal(kvt_fs_in_flight(f->queue), 3);
    assert_int_equal(kvt_fs_poll(f->queue, 3, 0), 3);
    queue_expect_in_order(f, 3);
    assert_int_equal(kvt_fs_in_flight(f->queue), 0);
    assert_int_equal(kvt_fs_poll(f->queue, 0, 0), 0);
    assert_int_equal(f->done_count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(f->elems[i].result, 0);
    }
}

static void submitting_nothing_does_nothing(void **state)
{
    struct fixture *f = *state;

    kvt_fs_submit(f->queue, NULL, 0);
    assert_int_equal(kvt_fs_in_flight(f->queue), 0);
    assert_int_equal(f->ring.submissions, 0);
}

static void done_may_be_null(void **state)
{
    struct fixture *f = *state;

    f->elems[0].done = NULL;
    kvt_fs_submit(f->queue, f->elems, 1);
    assert_int_equal(kvt_fs_poll(f->queue, 1, 0), 1);
    assert_int_equal(f->elems[0].result, 0);
}

static void depth_0_is_the_best_of_the_mount(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue_options options = {sizeof options, 0, false};
    struct kvt_fs_queue *queue;

    f->ring.on_demand = true;
    assert_int_equal(kvt_fs_queue_open(&f->ring.fs, &options, &queue), 0);
    kvt_fs_submit(queue, f->elems, 20);
    assert_int_equal(f->ring.in_ring, 7);
    null_ring_release(queue, 20);
    while (kvt_fs_in_flight(queue) > 0) {
        kvt_fs_poll(queue, 1, 0);
    }
    assert_int_equal(kvt_fs_queue_close(queue), 0);
}

static void the_adapter_never_holds_more_than_the_depth(void **state)
{
    struct fixture *f = *state;

    f->ring.on_demand = true;
    kvt_fs_submit(f->queue, f->elems, 10);
    kvt_fs_submit(f->queue, f->elems + 10, 10);
    assert_int_equal(f->ring.in_ring, 4);
    assert_int_equal(kvt_fs_in_flight(f->queue), 20);
    for (size_t done = 1; done <= 20; done++) {
        null_ring_release(f->queue, 1);
        assert_int_equal(kvt_fs_poll(f->queue, 1, 0), 1);
        assert_int_equal(f->ring.in_ring, 20 - done < 4 ? 20 - done : 4);
        assert_int_equal(kvt_fs_in_flight(f->queue), 20 - done);
    }
    assert_int_equal(f->ring.in_ring_max, 4);
    queue_expect_in_order(f, 20);
}

/* Also by a poll that only looks. */
static void room_in_the_adapter_is_filled_at_once(void **state)
{
    struct fixture *f = *state;

    f->ring.on_demand = true;
    kvt_fs_submit(f->queue, f->elems, 6);
    null_ring_release(f->queue, 2);
    assert_int_equal(kvt_fs_poll(f->queue, 0, 0), 2);
    assert_int_equal(f->ring.in_ring, 4);
    null_ring_release(f->queue, 4);
    assert_int_equal(kvt_fs_poll(f->queue, 4, 0), 4);
}

/* Chains of 3 beside a depth of 4: never one and a part of the next. */
static void chains_stay_whole(void **state)
{
    struct fixture *f = *state;

    f->ring.on_demand = true;
    for (size_t i = 0; i < 12; i++) {
        f->elems[i].flags = i % 3 < 2 ? KVT_FS_THEN : 0;
    }
    kvt_fs_submit(f->queue, f->elems, 12);
    assert_int_equal(f->ring.in_ring, 3);
    null_ring_release(f->queue, 2);
    assert_int_equal(kvt_fs_poll(f->queue, 2, 0), 2);
    assert_int_equal(f->ring.in_ring, 4); /* 1 and the next chain */
    null_ring_release(f->queue, 10);
    while (kvt_fs_in_flight(f->queue) > 0) {
        kvt_fs_poll(f->queue, 1, 0);
    }
    assert_int_equal(f->ring.in_ring_max, 4);
    queue_expect_in_order(f, 12);
}

static void a_chain_longer_than_the_depth_goes_alone(void **state)
{
    struct fixture *f = *state;

    f->ring.on_demand = true;
    for (size_t i = 2; i < 10; i++) { /* 2 single ones, a chain of 9, 1 more */
        f->elems[i].flags = KVT_FS_THEN;
    }
    kvt_fs_submit(f->queue, f->elems, 12);
    assert_int_equal(f->ring.in_ring, 2);
    null_ring_release(f->queue, 1);
    kvt_fs_poll(f->queue, 1, 0);
    assert_int_equal(f->ring.in_ring, 1); /* not before the ring is empty */
    null_ring_release(f->queue, 1);
    kvt_fs_poll(f->queue, 1, 0);
    assert_int_equal(f->ring.in_ring, 9);
    null_ring_release(f->queue, 10);
    while (kvt_fs_in_flight(f->queue) > 0) {
        kvt_fs_poll(f->queue, 1, 0);
    }
    queue_expect_in_order(f, 12);
}

static void close_is_refused_while_something_is_in_flight(void **state)
{
    struct fixture *f = *state;

    f->ring.on_demand = true;
    kvt_fs_submit(f->queue, f->elems, 6);
    assert_int_equal(kvt_fs_queue_close(f->queue), -EBUSY);
    null_ring_release(f->queue, 6);
    kvt_fs_poll(f->queue, 6, 0);
    f->elems[0].op = KVT_FS_WAIT;
    kvt_fs_submit(f->queue, f->elems, 1);
    assert_int_equal(kvt_fs_queue_close(f->queue), -EBUSY);
    kvt_fs_post(&f->elems[0], 0);
    assert_int_equal(kvt_fs_queue_close(f->queue), -EBUSY);
    kvt_fs_poll(f->queue, 1, 0);
    assert_int_equal(kvt_fs_queue_close(NULL), 0);
}

/* Results ----------------------------------------------------------------- */

static int64_t a_failure(struct kvt_fs_elem *elem)
{
    (void)elem;
    return -EUCLEAN;
}

static void expect_result(struct fixture *f, enum kvt_fs_op op, int64_t result)
{
    static char bytes[100];
    static const struct kvt_slice slices[] = {
        {bytes, 60, NULL}, {NULL, 0, NULL}, {bytes + 60, 40, NULL}};

    f->elems[0].op = op;
    f->elems[0].slices = slices;
    f->elems[0].slice_count = 3;
    kvt_fs_submit(f->queue, f->elems, 1);
    assert_int_equal(kvt_fs_poll(f->queue, 1, 0), 1);
    assert_int_equal(f->elems[0].result, result);
}

static void a_short_write_becomes_eio(void **state)
{
    struct fixture *f = *state;

    expect_result(f, KVT_FS_WRITE, 100);
    expect_result(f, KVT_FS_PUBLISH, 100);
    expect_result(f, KVT_FS_READ, 100);
    f->ring.result = queue_one_byte_short;
    expect_result(f, KVT_FS_WRITE, -EIO);
    expect_result(f, KVT_FS_PUBLISH, -EIO);
    expect_result(f, KVT_FS_READ, 99);
    expect_result(f, KVT_FS_FETCH, 99);
}

static void an_errno_arrives_unchanged(void **state)
{
    struct fixture *f = *state;

    f->ring.result = a_failure;
    for (int op = KVT_FS_READ; op < KVT_FS_WAIT; op++) {
        expect_result(f, (enum kvt_fs_op)op, -EUCLEAN);
    }
}

static void run_carries_out_one_element(void **state)
{
    struct fixture *f = *state;

    f->elems[0].flags = KVT_FS_THEN; /* means nothing here */
    assert_int_equal(kvt_fs_run(&f->ring.fs, &f->elems[0]), 0);
    assert_int_equal(f->done_count, 0);
    f->ring.result = a_failure;
    assert_int_equal(kvt_fs_run(&f->ring.fs, &f->elems[0]), -EUCLEAN);
    assert_int_equal(f->elems[0].result, -EUCLEAN);
    assert_int_equal(f->ring.queues_open, 2); /* its own, kept for the next */
    kvt_fs_close_spare(&f->ring.fs);
    assert_int_equal(f->ring.queues_open, 1);
}

/* Also to a ring that takes all: there is no pool beside it. */
static void no_path_out_of_the_root_reaches_the_ring(void **state)
{
    static const char *const paths[] = {"../a", "/a", "a/..", ""};
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        f->elems[i].path = paths[i];
    }
    f->elems[4].path = "a";
    f->elems[4].temp_path = "a/../../b";
    f->elems[5].path = "a/..b";
    f->elems[6].flags = KVT_FS_THEN; /* behind it in a chain */
    f->elems[7].path = "..";
    kvt_fs_submit(f->queue, f->elems, 8);
    while (f->done_count < 8) {
        kvt_fs_poll(f->queue, 1, 0);
    }
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(f->elems[i].result, i == 5 || i == 6 ? 0 : -EINVAL);
    }
    assert_int_equal(f->ring.seen, 2);
}

/* Submitting from `done` -------------------------------------------------- */

static void submit_the_next(struct kvt_fs_elem *elem)
{
    struct fixture *f = elem->arg;

    f->order[f->done_count++] = (size_t)(elem - f->elems);
    if (f->done_count + 4 <= 20) {
        kvt_fs_submit(f->queue, &f->elems[f->done_count + 3], 1);
    }
}

static void done_may_submit(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < 20; i++) {
        f->elems[i].done = submit_the_next;
    }
    kvt_fs_submit(f->queue, f->elems, 4);
    assert_int_equal(kvt_fs_poll(f->queue, 20, 0), 20);
    queue_expect_in_order(f, 20);
    assert_int_equal(f->ring.in_ring_max, 4);
}

/* Polling ------------------------------------------------------------------*/

static void poll_waits_for_min(void **state)
{
    struct fixture *f = *state;

    f->ring.on_demand = true;
    null_ring_release(f->queue, 7);
    kvt_fs_submit(f->queue, f->elems, 12); /* the ring completes 4 at a time */
    assert_int_equal(kvt_fs_poll(f->queue, 6, 0), 7);
    assert_int_equal(kvt_fs_poll(f->queue, 0, 0), 0);
    null_ring_release(f->queue, 5);
    assert_int_equal(kvt_fs_poll(f->queue, 5, 0), 5);
}

static void poll_for_more_than_there_is_ends_with_the_last(void **state)
{
    struct fixture *f = *state;

    kvt_fs_submit(f->queue, f->elems, 6);
    assert_int_equal(kvt_fs_poll(f->queue, 1000, 0), 6);
}

static void poll_ends_at_its_deadline(void **state)
{
    struct fixture *f = *state;
    int64_t start = kvt_clock_ns();

    f->ring.on_demand = true;
    kvt_fs_submit(f->queue, f->elems, 1);
    assert_int_equal(kvt_fs_poll(f->queue, 1, start + 20 * MS), 0);
    assert_true(kvt_clock_ns() >= start + 20 * MS);
    assert_true(kvt_clock_ns() < start + 2000 * MS);
    assert_int_equal(f->ring.last_deadline_ns, start + 20 * MS);
    /* one that has passed */
    assert_int_equal(kvt_fs_poll(f->queue, 1, 1), 0);
    null_ring_release(f->queue, 1);
    assert_int_equal(kvt_fs_poll(f->queue, 1, 1), 1);
    /* also when nothing is in flight */
    assert_int_equal(kvt_fs_poll(f->queue, 1, kvt_clock_ns() + 5 * MS), 0);
}

static void a_wake_before_the_poll_is_kept(void **state)
{
    struct fixture *f = *state;

    f->ring.on_demand = true;
    kvt_fs_wake(f->queue);
    kvt_fs_wake(f->queue);
    kvt_fs_submit(f->queue, f->elems, 1);
    assert_int_equal(kvt_fs_poll(f->queue, 1, 0), 0); /* or it hangs */
    /* and is used up */
    int64_t start = kvt_clock_ns();
    assert_int_equal(kvt_fs_poll(f->queue, 1, start + 10 * MS), 0);
    assert_true(kvt_clock_ns() >= start + 10 * MS);
    null_ring_release(f->queue, 1);
    assert_int_equal(kvt_fs_poll(f->queue, 1, 0), 1);
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){0, ms * 1000000}, NULL);
}

static void *wake_later(void *arg)
{
    sleep_ms(5);
    kvt_fs_wake(arg);
    return NULL;
}

static void a_wake_from_another_thread_ends_a_waiting_poll(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;

    f->ring.on_demand = true;
    kvt_fs_submit(f->queue, f->elems, 1);
    assert_int_equal(pthread_create(&thread, NULL, wake_later, f->queue), 0);
    assert_int_equal(kvt_fs_poll(f->queue, 1, 0), 0);
    pthread_join(thread, NULL);
    null_ring_release(f->queue, 1);
    assert_int_equal(kvt_fs_poll(f->queue, 1, 0), 1);
}

/* Waits --------------------------------------------------------------------*/

static void a_posted_wait_is_done_with_its_result(void **state)
{
    struct fixture *f = *state;

    f->elems[0].op = KVT_FS_WAIT;
    kvt_fs_submit(f->queue, f->elems, 2); /* the other one is a stat */
    assert_int_equal(f->ring.in_ring, 1); /* adapters see no waits */
    assert_int_equal(kvt_fs_in_flight(f->queue), 2);
    assert_int_equal(kvt_fs_poll(f->queue, 1, 0), 1);
    assert_int_equal(f->order[0], 1);
    kvt_fs_post(&f->elems[0], 42);
    assert_int_equal(f->done_count, 1); /* not before the poll */
    assert_int_equal(kvt_fs_poll(f->queue, 1, 0), 1);
    assert_int_equal(f->order[1], 0);
    assert_int_equal(f->elems[0].result, 42);
    assert_int_equal(kvt_fs_in_flight(f->queue), 0);
}

static void waits_take_no_room_of_the_depth(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < 10; i++) {
        kvt_fs_expect(f->queue, &f->elems[i]);
        assert_int_equal(f->elems[i].op, KVT_FS_WAIT);
    }
    kvt_fs_submit(f->queue, f->elems + 10, 4);
    assert_int_equal(f->ring.in_ring, 4);
    assert_int_equal(kvt_fs_in_flight(f->queue), 14);
    for (size_t i = 0; i < 10; i++) {
        kvt_fs_post(&f->elems[i], 0);
    }
    assert_int_equal(kvt_fs_poll(f->queue, 14, 0), 14);
}

enum {
    POSTERS = 4,
    POSTS = 12,
};

struct poster {
    struct kvt_fs_elem *elems;
    pthread_t thread;
};

static void *post_all(void *arg)
{
    struct poster *poster = arg;

    for (size_t i = 0; i < POSTS; i++) {
        kvt_fs_post(&poster->elems[i], (int64_t)i);
        if (i % 5 == 0) {
            sleep_ms(1);
        }
    }
    return NULL;
}

static void several_threads_may_post_to_one_queue(void **state)
{
    struct fixture *f = *state;
    struct poster posters[POSTERS];

    for (size_t i = 0; i < (size_t)POSTERS * POSTS; i++) {
        f->elems[i].op = KVT_FS_WAIT;
    }
    kvt_fs_submit(f->queue, f->elems, (size_t)POSTERS * POSTS);
    for (size_t i = 0; i < POSTERS; i++) {
        posters[i].elems = f->elems + i * POSTS;
        assert_int_equal(
            pthread_create(&posters[i].thread, NULL, post_all, &posters[i]), 0);
    }
    while (kvt_fs_in_flight(f->queue) > 0) {
        kvt_fs_poll(f->queue, 1, 0);
    }
    for (size_t i = 0; i < POSTERS; i++) {
        pthread_join(posters[i].thread, NULL);
    }
    assert_int_equal(f->done_count, (size_t)POSTERS * POSTS);
    for (size_t i = 0; i < (size_t)POSTERS * POSTS; i++) {
        assert_int_equal(f->elems[i].result, i % POSTS);
    }
}

/* Counters -----------------------------------------------------------------*/

static void counters_tell_submissions_and_transfers(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_counters counters;

    f->ring.on_demand = true;
    f->elems[9].op = KVT_FS_WAIT;
    kvt_fs_submit(f->queue, f->elems, 10); /* 4 of 9 */
    kvt_fs_counters(&f->ring.fs, &counters);
    assert_int_equal(counters.submissions, 1);
    assert_int_equal(counters.transfers, 4);
    assert_int_equal(counters.in_flight_max, 4);
    null_ring_release(f->queue, 9);
    kvt_fs_post(&f->elems[9], 0);
    while (kvt_fs_in_flight(f->queue) > 0) {
        kvt_fs_poll(f->queue, 1, 0);
    }
    kvt_fs_counters(&f->ring.fs, &counters);
    assert_int_equal(counters.submissions, f->ring.submissions);
    assert_int_equal(counters.submissions, 3); /* 4, 4, 1 */
    assert_int_equal(counters.transfers, 9);
    assert_int_equal(counters.in_flight_max, 4);
    assert_int_equal(counters.bytes_copied, 0);
}

static void two_queues_count_together(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue_options options = {sizeof options, 4, false};
    struct kvt_fs_counters counters;
    struct kvt_fs_queue *other;

    f->ring.on_demand = true;
    assert_int_equal(kvt_fs_queue_open(&f->ring.fs, &options, &other), 0);
    kvt_fs_submit(f->queue, f->elems, 3);
    kvt_fs_submit(other, f->elems + 3, 2);
    kvt_fs_counters(&f->ring.fs, &counters);
    assert_int_equal(counters.in_flight_max, 5);
    null_ring_release(f->queue, 3);
    null_ring_release(other, 2);
    assert_int_equal(kvt_fs_poll(f->queue, 3, 0), 3);
    assert_int_equal(kvt_fs_poll(other, 2, 0), 2);
    assert_int_equal(kvt_fs_queue_close(other), 0);
}

/* The path of a transfer -------------------------------------------------- */

/* The sanitizers bring a malloc and locks of their own; other builds count. */
#if defined(__has_feature)
#define HAS_FEATURE(name) __has_feature(name)
#else
#define HAS_FEATURE(name) 0
#endif
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) &&                    \
    !defined(__SANITIZE_THREAD__) && !HAS_FEATURE(address_sanitizer) &&        \
    !HAS_FEATURE(thread_sanitizer)
#define CAN_COUNT 1
#else
#define CAN_COUNT 0
#endif

#if CAN_COUNT

static size_t allocations;
static size_t locks;

/* glibc's own functions behind the names that stand in front of them here. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);

void *malloc(size_t size)
{
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    return __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    return __libc_realloc(memory, size);
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    __atomic_fetch_add(&locks, 1, __ATOMIC_RELAXED);
    int rc = pthread_mutex_trylock(mutex);
    while (rc == EBUSY) {
        sched_yield();
        rc = pthread_mutex_trylock(mutex);
    }
    return rc;
}

static void a_transfer_takes_no_memory_and_no_lock(void **state)
{
    struct fixture *f = *state;

    /* the counters count */
    size_t allocations_before = allocations;
    size_t locks_before = locks;
    void *volatile memory = malloc(1);
    free(memory);
    kvt_fs_wake(f->queue); /* which locks in the null ring */
    kvt_fs_poll(f->queue, 1, 0);
    assert_true(allocations > allocations_before);
    assert_true(locks > locks_before);

    for (size_t i = 0; i < 30; i++) {
        f->elems[i].flags = i % 3 == 0 ? KVT_FS_THEN : 0;
    }
    allocations_before = allocations;
    locks_before = locks;
    kvt_fs_submit(f->queue, f->elems, 30);
    size_t done = kvt_fs_poll(f->queue, 30, 0);
    size_t allocations_after = allocations;
    size_t locks_after = locks;
    assert_int_equal(done, 30);
    assert_int_equal(allocations_after, allocations_before);
    assert_int_equal(locks_after, locks_before);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE_CHAINS(what_is_submitted_is_done_once_inside_poll),
        CASE_CHAINS(submitting_nothing_does_nothing),
        CASE_CHAINS(done_may_be_null),
        CASE_CHAINS(depth_0_is_the_best_of_the_mount),
        CASE_CHAINS(the_adapter_never_holds_more_than_the_depth),
        CASE_CHAINS(room_in_the_adapter_is_filled_at_once),
        CASE_CHAINS(chains_stay_whole),
        CASE_CHAINS(a_chain_longer_than_the_depth_goes_alone),
        CASE_CHAINS(close_is_refused_while_something_is_in_flight),
        CASE_CHAINS(a_short_write_becomes_eio),
        CASE_CHAINS(an_errno_arrives_unchanged),
        CASE_CHAINS(run_carries_out_one_element),
        CASE_CHAINS(no_path_out_of_the_root_reaches_the_ring),
        CASE_CHAINS(done_may_submit),
        CASE_CHAINS(poll_waits_for_min),
        CASE_CHAINS(poll_for_more_than_there_is_ends_with_the_last),
        CASE_CHAINS(poll_ends_at_its_deadline),
        CASE_CHAINS(a_wake_before_the_poll_is_kept),
        CASE_CHAINS(a_wake_from_another_thread_ends_a_waiting_poll),
        CASE_CHAINS(a_posted_wait_is_done_with_its_result),
        CASE_CHAINS(waits_take_no_room_of_the_depth),
        CASE_CHAINS(several_threads_may_post_to_one_queue),
        CASE_CHAINS(counters_tell_submissions_and_transfers),
        CASE_CHAINS(two_queues_count_together),
#if CAN_COUNT
        CASE_CHAINS(a_transfer_takes_no_memory_and_no_lock),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
