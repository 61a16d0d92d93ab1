/* The pool of threads with elements that have a deadline, and where threads
 * cannot be had. */
#include "support/pool_fixture.h"

#include "core/clock.h"

#include <errno.h>
#include <time.h>

static size_t threads_left; /* that can still be started */

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          void *(*run)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          void *(*run)(void *), void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          void *(*run)(void *), void *arg)
{
    if (threads_left == 0) {
        return EAGAIN;
    }
    threads_left--;
    return __real_pthread_create(thread, attr, run, arg);
}

static void finish(struct fixture *f, struct kvt_fs_queue *queue)
{
    pool_open_gate(f);
    while (kvt_fs_in_flight(queue) > 0 || kvt_fs_lingering(queue) > 0) {
        kvt_fs_poll(queue, 1, 0);
    }
    assert_int_equal(kvt_fs_queue_close(queue), 0);
}

static void poll_does_not_wait_for_what_lingers(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, false);

    f->elems[0].offset = WORK_GATE;
    f->elems[0].deadline_ns = kvt_clock_ns() + 5 * MS;
    kvt_fs_submit(queue, f->elems, 1);
    assert_int_equal(kvt_fs_poll(queue, 1, 0), 1);
    kvt_fs_submit(queue, f->elems + 1, 1);
    assert_int_equal(kvt_fs_poll(queue, 2, 0), 1); /* or it hangs */
    assert_int_equal(f->elems[1].result, 0);
    finish(f, queue);
}

/* What it kept for itself has to go to a thread: it may not be long. */
static void a_poll_with_a_deadline_ends_in_time(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, true);
    int64_t end_ns = kvt_clock_ns() + 10 * MS;

    f->elems[0].offset = WORK_GATE;
    kvt_fs_submit(queue, f->elems, 1);
    assert_int_equal(kvt_fs_poll(queue, 1, end_ns), 0); /* or it hangs */
    assert_true(kvt_clock_ns() >= end_ns);
    finish(f, queue);
}

static void a_poller_never_carries_out_what_has_a_deadline(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, true);

    pool_set_work(f, 0, 2, WORK_GATE);
    f->elems[0].deadline_ns = kvt_clock_ns() + 5 * MS;
    f->elems[1].deadline_ns = f->elems[0].deadline_ns;
    kvt_fs_submit(queue, f->elems, 2);
    while (f->done_count < 2) { /* or it hangs */
        kvt_fs_poll(queue, 1, 0);
    }
    assert_int_equal(f->elems[0].result, -ETIMEDOUT);
    finish(f, queue);
}

/* Nor the close of a file that was opened too late, which may hang as well. */
static void a_poller_never_closes_what_was_opened_too_late(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, true);
    struct kvt_fs_file file = {&f->counting.fs};

    f->elems[0].op = KVT_FS_OPEN;
    f->elems[0].path = "a";
    f->elems[0].file = &file; /* what the open delivers */
    f->elems[0].offset = WORK_GATE;
    f->elems[0].deadline_ns = kvt_clock_ns() + 200 * MS;
    kvt_fs_submit(queue, f->elems, 1);
    assert_int_equal(pool_wait_for_started(f, 1), 1);
    while (f->done_count < 1) {
        kvt_fs_poll(queue, 1, 0);
    }
    finish(f, queue);
    assert_int_equal(f->counting.started, 2);
    assert_false(pthread_equal(f->counting.last_on, pthread_self()));
}

static void *poll_until_done(void *arg)
{
    struct kvt_fs_queue *queue = arg;
    int64_t end_ns = kvt_clock_ns() + 2000 * MS;

    while (kvt_fs_in_flight(queue) > 0 && kvt_clock_ns() < end_ns) {
        kvt_fs_poll(queue, 0, 0);
    }
    return NULL;
}

/* One thread runs and hangs; no other can be had: the work waits for it. */
static void a_thread_that_cannot_be_had_is_no_error_beside_others(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, true);

    threads_left = 1;
    pool_set_work(f, 0, 3, WORK_GATE);
    kvt_fs_submit(queue, f->elems, 2); /* one is kept, one calls a thread */
    assert_int_equal(pool_wait_for_started(f, 1), 1);
    kvt_fs_submit(queue, f->elems + 2, 1);         /* no thread for it */
    assert_int_equal(kvt_fs_poll(queue, 0, 0), 0); /* or it hangs at the gate */
    assert_int_equal(f->counting.started, 1);
    finish(f, queue);
    assert_int_equal(f->done_count, 3);
}

static void without_any_thread_the_poller_works(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, false);

    threads_left = 0;
    kvt_fs_submit(queue, f->elems, 5);
    poll_until_done(queue);
    assert_int_equal(f->done_count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(f->elems[i].result, 0);
    }
    finish(f, queue);
}

static int setup(void **state)
{
    threads_left = 64;
    return pool_setup(state);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(poll_does_not_wait_for_what_lingers),
        CASE(a_poll_with_a_deadline_ends_in_time),
        CASE(a_poller_never_carries_out_what_has_a_deadline),
        CASE(a_poller_never_closes_what_was_opened_too_late),
        CASE(a_thread_that_cannot_be_had_is_no_error_beside_others),
        CASE(without_any_thread_the_poller_works),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
