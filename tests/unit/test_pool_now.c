/* What does not wait is carried out by the thread that submits or polls; what
 * waits never is, when others are in flight. */
#include "support/pool_fixture.h"

#include "core/clock.h"

#include <errno.h>

enum {
    SMALL = 4096,
    LARGE = 1 << 20,
};

static char bytes[LARGE];

/* Makes transfers of the first elements. */
static void set_transfers(struct fixture *f, enum kvt_fs_op op, size_t count,
                          size_t size)
{
    static struct kvt_slice slices[ELEMS];

    for (size_t i = 0; i < count; i++) {
        slices[i] = (struct kvt_slice){bytes, size, NULL};
        f->elems[i].op = op;
        f->elems[i].slices = &slices[i];
        f->elems[i].slice_count = 1;
    }
}

static void expect_done(struct fixture *f, size_t count, size_t size)
{
    assert_int_equal(f->done_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(f->elems[i].result, size);
    }
}

static void finish(struct fixture *f, struct kvt_fs_queue *queue)
{
    pool_open_gate(f);
    pool_drain(queue);
    assert_int_equal(kvt_fs_queue_close(queue), 0);
}

static void what_does_not_wait_meets_no_thread(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, true);

    set_transfers(f, KVT_FS_READ, 20, SMALL);
    kvt_fs_submit(queue, f->elems, 20);
    assert_int_equal(f->done_count, 0); /* `done` runs inside poll */
    assert_int_equal(kvt_fs_in_flight(queue), 20);
    assert_int_equal(kvt_fs_poll(queue, 20, 0), 20);
    expect_done(f, 20, SMALL);
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(f->order[i], i);
    }
    assert_int_equal(f->counting.asked, 20);
    assert_int_equal(f->counting.started, 0);
    finish(f, queue);
}

static void what_waits_goes_to_a_thread(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, true);

    set_transfers(f, KVT_FS_READ, 20, SMALL);
    for (size_t i = 0; i < 20; i += 2) {
        f->elems[i].offset = WORK_SLEEP;
    }
    kvt_fs_submit(queue, f->elems, 20);
    while (kvt_fs_in_flight(queue) > 0) {
        kvt_fs_poll(queue, 1, 0);
    }
    expect_done(f, 20, SMALL);
    assert_int_equal(f->counting.started, 10);
    finish(f, queue);
}

/* An error is `execute`'s to tell: -EAGAIN is not one. */
static void errors_come_from_execute(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, true);

    set_transfers(f, KVT_FS_WRITE, 2, SMALL);
    f->elems[0].offset = WORK_SHORT;
    f->elems[1].offset = WORK_SHORT;
    kvt_fs_submit(queue, f->elems, 2);
    pool_drain(queue);
    assert_int_equal(f->elems[0].result, -EIO);
    assert_int_equal(f->elems[1].result, -EIO);
    finish(f, queue);
}

static void chains_and_other_operations_are_not_asked_for(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, true);

    set_transfers(f, KVT_FS_READ, 3, SMALL);
    f->elems[0].flags = KVT_FS_THEN;
    f->elems[2].op = KVT_FS_DATASYNC;
    kvt_fs_submit(queue, f->elems, 3);
    pool_drain(queue);
    assert_int_equal(f->counting.asked, 0);
    assert_int_equal(f->counting.started, 3);
    finish(f, queue);
}

static void who_does_not_work_does_nothing_at_once(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, false);

    set_transfers(f, KVT_FS_READ, 4, SMALL);
    kvt_fs_submit(queue, f->elems, 4);
    pool_drain(queue);
    expect_done(f, 4, SMALL);
    assert_int_equal(f->counting.asked, 0);
    finish(f, queue);
}

static void a_deadline_is_no_reason_to_wait(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, true);

    set_transfers(f, KVT_FS_READ, 4, SMALL);
    for (size_t i = 0; i < 4; i++) {
        f->elems[i].deadline_ns = kvt_clock_ns() + 10000 * MS;
    }
    kvt_fs_submit(queue, f->elems, 4);
    assert_int_equal(kvt_fs_poll(queue, 4, 0), 4);
    expect_done(f, 4, SMALL);
    assert_int_equal(f->counting.started, 0);
    finish(f, queue);
}

static void large_ones_are_shared_with_a_thread(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, true);

    set_transfers(f, KVT_FS_READ, 8, LARGE);
    kvt_fs_submit(queue, f->elems, 8);
    pool_drain(queue);
    expect_done(f, 8, LARGE);
    assert_int_equal(f->counting.asked, 4);
    assert_int_equal(f->counting.started, 4);
    /* one alone has nobody to share with */
    kvt_fs_submit(queue, f->elems, 1);
    f->done_count = 0;
    pool_drain(queue);
    assert_int_equal(f->counting.started, 5);
    assert_true(pthread_equal(f->counting.last_on, pthread_self()));
    finish(f, queue);
}

/* What would wait for a device does so in a thread, though the poller may
 * work: others are in flight. */
static void the_poller_does_not_wait_beside_others(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, true);

    set_transfers(f, KVT_FS_READ, 2, SMALL);
    f->elems[0].offset = WORK_GATE;
    kvt_fs_submit(queue, f->elems, 2);
    assert_int_equal(kvt_fs_poll(queue, 1, 0), 1); /* or it hangs */
    assert_int_equal(f->order[0], 1);
    finish(f, queue);
}

/* Nor for one that was alone when it came. */
static void nor_for_one_that_came_alone(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, true);

    set_transfers(f, KVT_FS_READ, 3, SMALL);
    f->elems[0].offset = WORK_GATE;
    kvt_fs_submit(queue, f->elems, 1);
    assert_int_equal(f->counting.asked, 0); /* the poller's, if it stays so */
    kvt_fs_submit(queue, f->elems + 1, 1);
    assert_int_equal(kvt_fs_poll(queue, 2, kvt_clock_ns() + 5 * MS), 1);
    assert_int_equal(f->order[0], 1);
    pool_open_gate(f);
    pool_drain(queue);
    kvt_fs_submit(queue, f->elems + 2, 1);
    assert_int_equal(kvt_fs_poll(queue, 1, 0), 1);
    assert_true(pthread_equal(f->counting.last_on, pthread_self()));
    /* alone, and what is there beside another is not given away */
    f->done_count = 0;
    size_t started = f->counting.started;
    kvt_fs_submit(queue, f->elems + 1, 1);
    kvt_fs_submit(queue, f->elems + 2, 1);
    assert_int_equal(kvt_fs_poll(queue, 2, 0), 2);
    assert_int_equal(f->counting.started, started + 1);
    finish(f, queue);
}

/* Small writes into memory are over sooner than a thread is awake. */
static void the_poller_does_quick_writes(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, true);

    set_transfers(f, KVT_FS_WRITE, 16, SMALL);
    kvt_fs_submit(queue, f->elems, 16);
    assert_int_equal(f->counting.started, 0); /* not in submit: it may wait */
    assert_int_equal(kvt_fs_poll(queue, 16, 0), 16);
    expect_done(f, 16, SMALL);
    assert_true(pthread_equal(f->counting.last_on, pthread_self()));
    /* a poll that may not wait leaves them to threads */
    f->done_count = 0;
    kvt_fs_submit(queue, f->elems, 16);
    assert_int_equal(kvt_fs_poll(queue, 16, kvt_clock_ns() + 5000 * MS), 16);
    assert_false(pthread_equal(f->counting.last_on, pthread_self()));
    /* and direct ones wait for a device */
    f->counting.fs.facts.direct = true;
    f->done_count = 0;
    f->elems[0].offset = WORK_GATE;
    kvt_fs_submit(queue, f->elems, 2);
    assert_int_equal(kvt_fs_poll(queue, 1, 0), 1); /* or it hangs */
    finish(f, queue);
}

#define CASE(name)                                                             \
    cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)
#define CASE_NOW(name)                                                         \
    cmocka_unit_test_setup_teardown(name, pool_setup_now, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE_NOW(what_does_not_wait_meets_no_thread),
        CASE_NOW(what_waits_goes_to_a_thread),
        CASE_NOW(errors_come_from_execute),
        CASE_NOW(chains_and_other_operations_are_not_asked_for),
        CASE_NOW(who_does_not_work_does_nothing_at_once),
        CASE_NOW(a_deadline_is_no_reason_to_wait),
        CASE_NOW(large_ones_are_shared_with_a_thread),
        CASE_NOW(the_poller_does_not_wait_beside_others),
        CASE_NOW(nor_for_one_that_came_alone),
        CASE(the_poller_does_quick_writes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
