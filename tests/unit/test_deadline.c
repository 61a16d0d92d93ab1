/* Elements that end at their deadline while the ring still has them. */
#include "support/queue_fixture.h"

#include "core/clock.h"

#include <errno.h>
#include <string.h>
#include <time.h>

struct late {
    size_t calls;
    int64_t result;
};

static void note_late(void *late_arg, int64_t result)
{
    struct late *late = late_arg;

    late->calls++;
    late->result = result;
}

static size_t files_closed;

static int64_t open_and_close(struct kvt_fs_elem *elem)
{
    static struct kvt_fs_file file;

    if (elem->op == KVT_FS_OPEN) {
        elem->file = &file;
    } else {
        assert_int_equal(elem->op, KVT_FS_CLOSE);
        assert_ptr_equal(elem->file, &file);
        files_closed++;
    }
    return 0;
}

static void a_file_opened_too_late_is_closed(void **state)
{
    struct fixture *f = *state;
    struct late late = {0, 1000};

    files_closed = 0;
    f->ring.on_demand = true;
    f->ring.result = open_and_close;
    f->elems[0].op = KVT_FS_OPEN;
    f->elems[0].path = "a";
    f->elems[0].deadline_ns = kvt_clock_ns() + 2 * MS;
    f->elems[0].late = note_late;
    f->elems[0].late_arg = &late;
    kvt_fs_submit(f->queue, f->elems, 1);
    assert_int_equal(kvt_fs_poll(f->queue, 1, 0), 1);
    assert_int_equal(f->elems[0].result, -ETIMEDOUT);
    assert_null(f->elems[0].file);
    assert_int_equal(kvt_fs_in_flight(f->queue), 0);
    assert_int_equal(kvt_fs_lingering(f->queue), 1);
    assert_int_equal(kvt_fs_queue_close(f->queue), -EBUSY);
    null_ring_release(f->queue, 2);
    for (int i = 0; i < 10 && kvt_fs_lingering(f->queue) > 0; i++) {
        kvt_fs_poll(f->queue, 0, 0);
    }
    assert_int_equal(kvt_fs_lingering(f->queue), 0);
    assert_int_equal(late.calls, 1);
    assert_int_equal(late.result, 0);
    assert_int_equal(files_closed, 1);
    assert_int_equal(f->done_count, 1);
}

static void a_deadline_ends_what_waits_for_the_ring_too(void **state)
{
    struct fixture *f = *state;

    f->ring.on_demand = true;
    for (size_t i = 4; i < 6; i++) {
        f->elems[i].deadline_ns = kvt_clock_ns() + 2 * MS;
    }
    kvt_fs_submit(f->queue, f->elems, 6); /* 4 fill the ring */
    assert_int_equal(kvt_fs_poll(f->queue, 2, 0), 2);
    assert_int_equal(f->elems[4].result, -ETIMEDOUT);
    assert_int_equal(f->elems[5].result, -ETIMEDOUT);
    assert_int_equal(kvt_fs_lingering(f->queue), 0);
    assert_int_equal(kvt_fs_in_flight(f->queue), 4);
    null_ring_release(f->queue, 4);
    assert_int_equal(kvt_fs_poll(f->queue, 4, 0), 4);
}

static int64_t count_closes(struct kvt_fs_elem *elem)
{
    files_closed += elem->op == KVT_FS_CLOSE;
    return 0;
}

static void a_close_that_waits_at_its_deadline_is_carried_out(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_file file = {&f->ring.fs};
    struct late lates[2] = {{0, 1000}, {0, 1000}};

    files_closed = 0;
    f->ring.on_demand = true;
    f->ring.result = count_closes;
    f->elems[4].flags = KVT_FS_THEN;
    f->elems[5].op = KVT_FS_CLOSE;
    f->elems[5].file = &file;
    for (size_t i = 4; i < 6; i++) {
        f->elems[i].deadline_ns = kvt_clock_ns() + 2 * MS;
        f->elems[i].late = note_late;
        f->elems[i].late_arg = &lates[i - 4];
    }
    kvt_fs_submit(f->queue, f->elems, 6); /* 4 fill the ring */
    assert_int_equal(kvt_fs_poll(f->queue, 2, 0), 2);
    assert_int_equal(f->elems[4].result, -ETIMEDOUT);
    assert_int_equal(f->elems[5].result, -ETIMEDOUT);
    assert_int_equal(lates[0].result, -ECANCELED);
    assert_int_equal(lates[1].calls, 0);
    assert_int_equal(kvt_fs_lingering(f->queue), 1);
    null_ring_release(f->queue, 5);
    for (int i = 0; i < 10 && kvt_fs_lingering(f->queue) > 0; i++) {
        kvt_fs_poll(f->queue, 0, 0);
    }
    assert_int_equal(files_closed, 1);
    assert_int_equal(lates[1].calls, 1);
    assert_int_equal(lates[1].result, 0);
}

static void poll_does_not_wait_for_what_lingers(void **state)
{
    struct fixture *f = *state;

    f->ring.on_demand = true;
    f->elems[0].deadline_ns = kvt_clock_ns() + 2 * MS;
    kvt_fs_submit(f->queue, f->elems, 1);
    assert_int_equal(kvt_fs_poll(f->queue, 1, 0), 1);
    kvt_fs_submit(f->queue, f->elems + 1, 2);
    assert_int_equal(kvt_fs_poll(f->queue, 9, kvt_clock_ns() + 2 * MS), 0);
    assert_int_equal(f->ring.last_min, 2);
    null_ring_release(f->queue, 3);
    assert_int_equal(kvt_fs_poll(f->queue, 9, 0), 2); /* a late one is none */
    assert_int_equal(kvt_fs_lingering(f->queue), 0);
}

static void poll_ends_when_what_lingered_is_over(void **state)
{
    struct fixture *f = *state;

    f->ring.on_demand = true;
    f->elems[0].deadline_ns = kvt_clock_ns() + 2 * MS;
    kvt_fs_submit(f->queue, f->elems, 1);
    assert_int_equal(kvt_fs_poll(f->queue, 1, 0), 1);
    null_ring_release(f->queue, 1);
    assert_int_equal(kvt_fs_poll(f->queue, 1, 0), 0); /* or it hangs */
    assert_int_equal(kvt_fs_lingering(f->queue), 0);
}

static void pass_time(void)
{
    nanosleep(&(struct timespec){0, 4 * MS}, NULL);
}

/* The poll finds the first done, past the deadline: it was in time, but what is
 * behind it is not. */
static void what_is_not_started_in_time_timed_out(void **state)
{
    struct fixture *f = *state;
    struct late late = {0, 1000};

    f->elems[0].flags = KVT_FS_THEN;
    f->elems[0].deadline_ns = kvt_clock_ns() + 2 * MS;
    f->elems[1].late = note_late;
    f->elems[1].late_arg = &late;
    kvt_fs_submit(f->queue, f->elems, 2);
    pass_time();
    assert_int_equal(kvt_fs_poll(f->queue, 2, 0), 2);
    assert_int_equal(f->elems[0].result, 0);
    assert_int_equal(f->elems[1].result, -ETIMEDOUT);
    assert_true(f->elems[1].late_follows);
    assert_int_equal(late.calls, 1);
    assert_int_equal(late.result, -ECANCELED);
}

static int64_t fails_slowly(struct kvt_fs_elem *elem)
{
    (void)elem;
    pass_time();
    return -EUCLEAN;
}

static void
what_is_behind_a_failure_is_canceled_past_the_deadline_too(void **state)
{
    struct fixture *f = *state;

    f->ring.result = fails_slowly;
    f->elems[0].flags = KVT_FS_THEN;
    f->elems[1].flags = KVT_FS_THEN;
    f->elems[0].deadline_ns = kvt_clock_ns() + 2 * MS;
    kvt_fs_submit(f->queue, f->elems, 3);
    assert_int_equal(kvt_fs_poll(f->queue, 3, 0), 3);
    assert_int_equal(f->elems[0].result, -EUCLEAN);
    assert_int_equal(f->elems[1].result, -ECANCELED);
    assert_int_equal(f->elems[2].result, -ECANCELED);
}

static void what_waits_ends_in_the_order_of_submission(void **state)
{
    struct fixture *f = *state;

    f->ring.on_demand = true;
    for (size_t i = 4; i < 12; i++) {
        f->elems[i].deadline_ns = kvt_clock_ns() + 2 * MS;
        f->elems[i].flags = i % 2 == 0 ? KVT_FS_THEN : 0;
    }
    kvt_fs_submit(f->queue, f->elems, 12); /* 4 fill the ring */
    pass_time();
    assert_int_equal(kvt_fs_poll(f->queue, 8, 0), 8);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(f->order[i], i + 4);
    }
    null_ring_release(f->queue, 4);
    assert_int_equal(kvt_fs_poll(f->queue, 4, 0), 4);
}

/* Also when a later one was submitted first, and in between. */
static void the_earliest_deadline_ends_first(void **state)
{
    struct fixture *f = *state;
    static const int64_t after_ms[] = {60000, 8, 20000, 3};
    int64_t now_ns = kvt_clock_ns();

    f->ring.on_demand = true;
    for (size_t i = 0; i < 8; i++) { /* in the ring, and waiting for it */
        f->elems[i].deadline_ns = now_ns + after_ms[i % 4] * MS;
    }
    kvt_fs_submit(f->queue, f->elems, 8);
    for (size_t done = 0; done < 4;) {
        done += kvt_fs_poll(f->queue, 1, 0);
    }
    assert_int_equal(f->order[0] % 4, 3);
    assert_int_equal(f->order[1] % 4, 3);
    assert_int_equal(f->order[2] % 4, 1);
    assert_int_equal(f->order[3] % 4, 1);
    assert_true(kvt_clock_ns() < now_ns + 20000 * MS);
    null_ring_release(f->queue, 8);
    queue_wait_for_done(f, 8);
    assert_int_equal(f->elems[0].result, 0);
}

static int64_t loses(struct kvt_fs_elem *elem)
{
    elem->lost = true;
    return -EIO;
}

static void a_loss_is_told_with_a_deadline_too(void **state)
{
    struct fixture *f = *state;

    f->ring.result = loses;
    f->elems[0].op = KVT_FS_PUBLISH;
    f->elems[0].deadline_ns = kvt_clock_ns() + 10000 * MS;
    kvt_fs_submit(f->queue, f->elems, 1);
    assert_int_equal(kvt_fs_poll(f->queue, 1, 0), 1);
    assert_int_equal(f->elems[0].result, -EIO);
    assert_true(f->elems[0].lost);
}

/* Beside a ring ----------------------------------------------------------- */

static int opens_started; /* atomic */
static bool gate_is_open; /* atomic */

static int64_t opens_at_the_gate(struct kvt_fs_elem *elem)
{
    static struct kvt_fs_file file;

    if (elem->op == KVT_FS_OPEN) {
        elem->file = &file;
        __atomic_fetch_add(&opens_started, 1, __ATOMIC_RELAXED);
        while (!__atomic_load_n(&gate_is_open, __ATOMIC_RELAXED)) {
            nanosleep(&(struct timespec){0, 100000}, NULL);
        }
    }
    return 0;
}

/* The two threads are at the gate with the first two. */
static void nothing_starts_beside_the_ring_past_its_deadline(void **state)
{
    struct fixture *f = *state;

    opens_started = 0;
    gate_is_open = false;
    f->ring.result = opens_at_the_gate;
    for (size_t i = 0; i < 4; i++) {
        f->elems[i].op = KVT_FS_OPEN;
        f->elems[i].path = "a";
        f->elems[i].deadline_ns = kvt_clock_ns() + 4 * MS;
    }
    kvt_fs_submit(f->queue, f->elems, 4);
    while (f->done_count < 4) {
        kvt_fs_poll(f->queue, 1, 0);
    }
    __atomic_store_n(&gate_is_open, true, __ATOMIC_RELAXED);
    while (kvt_fs_lingering(f->queue) > 0) {
        kvt_fs_poll(f->queue, 1, 0);
    }
    assert_true(opens_started <= 2);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(f->elems[i].result, -ETIMEDOUT);
    }
}

static void run_returns_when_it_is_really_over(void **state)
{
    struct fixture *f = *state;
    struct late late = {0, 1000};

    opens_started = 0;
    gate_is_open = true;
    f->ring.result = fails_slowly;
    f->elems[0].deadline_ns = kvt_clock_ns() + 1 * MS;
    f->elems[0].late = note_late;
    f->elems[0].late_arg = &late;
    assert_int_equal(kvt_fs_run(&f->ring.fs, f->elems), -ETIMEDOUT);
    assert_true(f->elems[0].late_follows);
    assert_int_equal(late.calls, 1);
    assert_int_equal(f->ring.queues_open, 1); /* the fixture's */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE_CHAINS(a_file_opened_too_late_is_closed),
        CASE_CHAINS(a_deadline_ends_what_waits_for_the_ring_too),
        CASE_CHAINS(a_close_that_waits_at_its_deadline_is_carried_out),
        CASE_CHAINS(poll_does_not_wait_for_what_lingers),
        CASE_CHAINS(poll_ends_when_what_lingered_is_over),
        CASE_SINGLES(what_is_not_started_in_time_timed_out),
        CASE_SINGLES(
            what_is_behind_a_failure_is_canceled_past_the_deadline_too),
        CASE_CHAINS(what_waits_ends_in_the_order_of_submission),
        CASE_CHAINS(the_earliest_deadline_ends_first),
        CASE_CHAINS(a_loss_is_told_with_a_deadline_too),
        CASE_PART(nothing_starts_beside_the_ring_past_its_deadline),
        CASE_PART(run_returns_when_it_is_really_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
