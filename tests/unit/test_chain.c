/* Chains over a ring that does not keep them in order, or takes only a part
 * of the operations: then the core does. Rings that do: test_queue.c; the
 * core's pool of threads: test_pool.c. */
#include "support/queue_fixture.h"

#include <errno.h>
#include <pthread.h>

static void the_next_of_a_chain_starts_after_the_last(void **state)
{
    struct fixture *f = *state;

    f->ring.on_demand = true;
    f->elems[0].flags = KVT_FS_THEN;
    f->elems[1].flags = KVT_FS_THEN; /* 0 to 2 are a chain, 3 is alone */
    kvt_fs_submit(f->queue, f->elems, 4);
    assert_int_equal(f->ring.in_ring, 2);
    assert_int_equal(kvt_fs_in_flight(f->queue), 4);
    null_ring_release(f->queue, 2);
    assert_int_equal(kvt_fs_poll(f->queue, 2, 0), 2);
    assert_int_equal(f->ring.in_ring, 1);
    null_ring_release(f->queue, 2);
    assert_int_equal(kvt_fs_poll(f->queue, 2, 0), 2);
    assert_int_equal(f->done_count, 4);
    /* 3 was not kept waiting */
    assert_true(f->order[1] == 3 || f->order[0] == 3);
}

static int64_t the_second_fails(struct kvt_fs_elem *elem)
{
    struct fixture *f = elem->arg;

    return elem == &f->elems[1] ? -EUCLEAN : null_ring_success(elem);
}

static void what_is_behind_a_failure_is_canceled(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < 4; i++) {
        f->elems[i].flags = KVT_FS_THEN; /* 0 to 4 are a chain, 5 is alone */
    }
    f->ring.result = the_second_fails;
    kvt_fs_submit(f->queue, f->elems, 6);
    assert_int_equal(kvt_fs_poll(f->queue, 6, 0), 6);
    assert_int_equal(f->elems[0].result, 0);
    assert_int_equal(f->elems[1].result, -EUCLEAN);
    for (size_t i = 2; i < 5; i++) {
        assert_int_equal(f->elems[i].result, -ECANCELED);
    }
    assert_int_equal(f->elems[5].result, 0);
    assert_int_equal(f->done_count, 6);
}

static int64_t opens_a_file(struct kvt_fs_elem *elem)
{
    static struct kvt_fs_file file;
    struct fixture *f = elem->arg;

    if (elem->op == KVT_FS_OPEN) {
        file.fs = &f->ring.fs;
        elem->file = &file;
        return 0;
    }
    assert_ptr_equal(elem->file, &file);
    return elem->op == KVT_FS_READ ? -EUCLEAN : 0;
}

/* Also when some of it is for the ring and some for the pool of threads. */
static void a_chain_closes_what_it_opened_whatever_fails(void **state)
{
    static const enum kvt_fs_op ops[] = {KVT_FS_OPEN, KVT_FS_READ,
                                         KVT_FS_DATASYNC, KVT_FS_CLOSE};
    struct fixture *f = *state;

    queue_make_chain(f, ops, COUNT_OF(ops));
    f->ring.result = opens_a_file;
    kvt_fs_submit(f->queue, f->elems, 4);
    queue_wait_for_done(f, 4);
    assert_int_equal(f->elems[1].result, -EUCLEAN);
    assert_int_equal(f->elems[2].result, -ECANCELED);
    assert_int_equal(f->elems[3].result, 0);
    queue_expect_in_order(f, 4);
}

static void what_is_behind_the_close_of_a_broken_chain_is_canceled(void **state)
{
    static const enum kvt_fs_op ops[] = {KVT_FS_OPEN, KVT_FS_READ, KVT_FS_CLOSE,
                                         KVT_FS_STAT};
    struct fixture *f = *state;

    queue_make_chain(f, ops, COUNT_OF(ops));
    f->ring.result = opens_a_file;
    kvt_fs_submit(f->queue, f->elems, 4);
    queue_wait_for_done(f, 4);
    assert_int_equal(f->elems[1].result, -EUCLEAN);
    assert_int_equal(f->elems[2].result, 0);
    assert_int_equal(f->elems[3].result, -ECANCELED);
    queue_expect_in_order(f, 4);
}

/* The ring could keep the end of this chain in order, but was not given it. */
static void a_chain_that_ends_in_the_ring_is_done_whole(void **state)
{
    static const enum kvt_fs_op ops[] = {KVT_FS_OPEN, KVT_FS_READ, KVT_FS_READ,
                                         KVT_FS_CLOSE};
    struct fixture *f = *state;

    queue_make_chain(f, ops, COUNT_OF(ops));
    f->ring.result = opens_a_file;
    kvt_fs_submit(f->queue, f->elems, 4);
    queue_wait_for_done(f, 4);
    assert_int_equal(f->elems[1].result, -EUCLEAN);
    assert_int_equal(f->elems[2].result, -ECANCELED);
    assert_int_equal(f->elems[3].result, 0);
    queue_expect_in_order(f, 4);
}

static void a_short_write_breaks_its_chain(void **state)
{
    static char bytes[10];
    static const struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    struct fixture *f = *state;

    f->elems[0] = (struct kvt_fs_elem){.op = KVT_FS_WRITE,
                                       .flags = KVT_FS_THEN,
                                       .slices = &slice,
                                       .slice_count = 1};
    f->ring.result = queue_one_byte_short;
    kvt_fs_submit(f->queue, f->elems, 2);
    assert_int_equal(kvt_fs_poll(f->queue, 2, 0), 2);
    assert_int_equal(f->elems[0].result, -EIO);
    assert_int_equal(f->elems[1].result, -ECANCELED);
}

static pthread_t poller;
static size_t on_poller; /* atomic */

static int64_t note_thread(struct kvt_fs_elem *elem)
{
    if (pthread_equal(pthread_self(), poller)) {
        __atomic_fetch_add(&on_poller, 1, __ATOMIC_RELAXED);
    }
    return null_ring_success(elem);
}

/* Some beside the ring, in a chain or each alone; how many of them the poller
 * carried out itself. */
static size_t run_beside(struct fixture *f, size_t count, bool chain,
                         int64_t deadline_ns)
{
    struct kvt_fs_queue_options options = {sizeof options, 4, true};
    struct kvt_fs_queue *queue;

    f->ring.result = note_thread;
    f->done_count = 0;
    poller = pthread_self();
    on_poller = 0;
    assert_int_equal(kvt_fs_queue_open(&f->ring.fs, &options, &queue), 0);
    for (size_t i = 0; i < count; i++) {
        f->elems[i].flags = chain && i + 1 < count ? KVT_FS_THEN : 0;
    }
    kvt_fs_submit(queue, f->elems, count);
    while (kvt_fs_in_flight(queue) > 0) {
        kvt_fs_poll(queue, 1, deadline_ns);
    }
    assert_int_equal(f->done_count, count);
    assert_int_equal(kvt_fs_queue_close(queue), 0);
    return on_poller;
}

/* One that has something in the ring does not wait for anything else. */
static void a_poller_with_others_in_flight_carries_out_nothing(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue_options options = {sizeof options, 4, true};
    struct kvt_fs_queue *queue;

    f->ring.result = note_thread;
    f->ring.on_demand = true;
    poller = pthread_self();
    on_poller = 0;
    assert_int_equal(kvt_fs_queue_open(&f->ring.fs, &options, &queue), 0);
    f->elems[0].op = KVT_FS_READ; /* stays in the ring */
    kvt_fs_submit(queue, f->elems, 2);
    assert_int_equal(kvt_fs_poll(queue, 1, 0), 1);
    assert_int_equal(f->order[0], 1);
    assert_int_equal(on_poller, 0);
    null_ring_release(queue, 1);
    assert_int_equal(kvt_fs_poll(queue, 1, 0), 1);
    assert_int_equal(kvt_fs_queue_close(queue), 0);
}

/* And one that may not wait for long. */
static void the_poller_carries_out_what_the_ring_does_not_take(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(run_beside(f, 1, false, 0), 1);
    assert_int_equal(run_beside(f, 3, true, 0), 3);
    assert_int_equal(run_beside(f, 1, false, INT64_MAX), 0);
    assert_int_equal(run_beside(f, 3, true, INT64_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE_SINGLES(the_next_of_a_chain_starts_after_the_last),
        CASE_SINGLES(what_is_behind_a_failure_is_canceled),
        CASE_SINGLES(a_chain_closes_what_it_opened_whatever_fails),
        CASE_SINGLES(a_chain_that_ends_in_the_ring_is_done_whole),
        CASE_SINGLES(what_is_behind_the_close_of_a_broken_chain_is_canceled),
        CASE_SINGLES(a_short_write_breaks_its_chain),
        CASE_PART(a_chain_closes_what_it_opened_whatever_fails),
        CASE_PART(a_chain_that_ends_in_the_ring_is_done_whole),
        CASE_PART(what_is_behind_the_close_of_a_broken_chain_is_canceled),
        CASE_PART(a_poller_with_others_in_flight_carries_out_nothing),
        CASE_PART(the_poller_carries_out_what_the_ring_does_not_take),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
