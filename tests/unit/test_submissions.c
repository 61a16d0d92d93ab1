/* How often the adapter's submit is called: a ring is there to take many
 * elements in one call, with deadlines and in chains as well. */
#include "support/queue_fixture.h"

#include "core/clock.h"

#include <errno.h>
#include <time.h>

/* The counter is what the ring saw. */
static void expect_submissions(struct fixture *f, size_t count)
{
    struct kvt_fs_counters counters;

    kvt_fs_counters(&f->ring.fs, &counters);
    assert_int_equal(f->ring.submissions, count);
    assert_int_equal(counters.submissions, count);
}

static void give_deadlines(struct fixture *f, size_t count)
{
    int64_t deadline_ns = kvt_clock_ns() + 10000 * MS;

    for (size_t i = 0; i < count; i++) {
        f->elems[i].deadline_ns = deadline_ns;
    }
}

static void elements_with_a_deadline_go_together(void **state)
{
    struct fixture *f = *state;

    give_deadlines(f, 4);
    kvt_fs_submit(f->queue, f->elems, 4);
    assert_int_equal(f->ring.in_ring, 4);
    expect_submissions(f, 1);
    assert_int_equal(kvt_fs_poll(f->queue, 4, 0), 4);
    queue_expect_in_order(f, 4);
    expect_submissions(f, 1);
}

static void some_with_a_deadline_go_with_the_others(void **state)
{
    struct fixture *f = *state;

    give_deadlines(f, 4);
    f->elems[1].deadline_ns = 0;
    f->elems[3].deadline_ns = 0;
    kvt_fs_submit(f->queue, f->elems, 4);
    expect_submissions(f, 1);
    assert_int_equal(kvt_fs_poll(f->queue, 4, 0), 4);
    queue_expect_in_order(f, 4);
}

/* Two chains of two. The ring keeps their order, or the core does: then their
 * heads go together, and what is behind them. */
static void submit_two_chains(struct fixture *f)
{
    f->elems[0].flags = KVT_FS_THEN;
    f->elems[2].flags = KVT_FS_THEN;
    kvt_fs_submit(f->queue, f->elems, 4);
    expect_submissions(f, 1);
    while (kvt_fs_in_flight(f->queue) > 0) {
        kvt_fs_poll(f->queue, 1, 0);
    }
    assert_int_equal(f->done_count, 4);
}

static void chains_go_in_one_call(void **state)
{
    struct fixture *f = *state;

    submit_two_chains(f);
    expect_submissions(f, 1);
}

static void chains_with_a_deadline_go_in_one_call(void **state)
{
    struct fixture *f = *state;

    give_deadlines(f, 4);
    submit_two_chains(f);
    expect_submissions(f, 1);
}

static void heads_of_chains_go_in_one_call(void **state)
{
    struct fixture *f = *state;

    submit_two_chains(f);
    expect_submissions(f, 2);
}

static void heads_of_chains_with_a_deadline_go_in_one_call(void **state)
{
    struct fixture *f = *state;

    give_deadlines(f, 4);
    submit_two_chains(f);
    expect_submissions(f, 2);
}

static int64_t opens(struct kvt_fs_elem *elem)
{
    static struct kvt_fs_file file;

    if (elem->op == KVT_FS_OPEN) {
        elem->file = &file;
    }
    return null_ring_success(elem);
}

/* Opened beside the ring, read in it: what was opened by now goes together. */
static void what_comes_from_beside_the_ring_goes_in_one_call(void **state)
{
    struct fixture *f = *state;

    f->ring.result = opens;
    for (size_t i = 0; i < 4; i++) {
        f->elems[i].op = i % 2 == 0 ? KVT_FS_OPEN : KVT_FS_READ;
        f->elems[i].flags = i % 2 == 0 ? KVT_FS_THEN : 0;
        f->elems[i].path = "a";
    }
    kvt_fs_submit(f->queue, f->elems, 4);
    const struct kvt_fs_elem *last = NULL;
    while (last == NULL || last->next == NULL) {
        nanosleep(&(struct timespec){0, 100000}, NULL);
        last = __atomic_load_n(&f->queue->posted, __ATOMIC_ACQUIRE);
    }
    queue_wait_for_done(f, 4);
    expect_submissions(f, 1);
}

/* Twice as many elements with a deadline may not cost four times as much. */
static int64_t time_backlog(struct fixture *f, int64_t deadline_ns)
{
    enum {
        COUNT = 20000
    };
    static struct kvt_fs_elem elems[COUNT];
    int64_t start_ns = kvt_clock_ns();

    for (size_t i = 0; i < COUNT; i++) {
        elems[i] =
            (struct kvt_fs_elem){.op = KVT_FS_STAT, .deadline_ns = deadline_ns};
    }
    kvt_fs_submit(f->queue, elems, COUNT);
    while (kvt_fs_in_flight(f->queue) > 0) {
        kvt_fs_poll(f->queue, 1, 0);
    }
    return kvt_clock_ns() - start_ns;
}

static void a_long_backlog_is_not_looked_through_at_each_poll(void **state)
{
    struct fixture *f = *state;
    int64_t without = INT64_MAX;
    int64_t with = INT64_MAX;

    for (int i = 0; i < 3; i++) { /* the best of three: others work here too */
        int64_t took = time_backlog(f, 0);
        without = took < without ? took : without;
        took = time_backlog(f, kvt_clock_ns() + 60000 * MS);
        with = took < with ? took : with;
    }
    /* a shadow costs some allocations: 5 to 10 times as much as nothing;
     * looking through the backlog is 200 times */
    assert_true(with < 50 * without);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE_CHAINS(elements_with_a_deadline_go_together),
        CASE_CHAINS(some_with_a_deadline_go_with_the_others),
        CASE_CHAINS(chains_go_in_one_call),
        CASE_CHAINS(chains_with_a_deadline_go_in_one_call),
        CASE_SINGLES(heads_of_chains_go_in_one_call),
        CASE_SINGLES(heads_of_chains_with_a_deadline_go_in_one_call),
        CASE_PART(what_comes_from_beside_the_ring_goes_in_one_call),
        CASE_CHAINS(a_long_backlog_is_not_looked_through_at_each_poll),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
