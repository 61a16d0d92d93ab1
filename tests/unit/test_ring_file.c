/* Whole files over a ring that only moves bytes: what is beside the ring is
 * carried out there, and the bytes of a batch go into the ring together. */
#include "support/queue_fixture.h"

#include "core/clock.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

enum {
    COUNT = 32,
    SIZE = 100,
    FILE_SIZE = 1000,
};

/* What the adapter was asked for, by operation, and for which one it fails. */
static size_t asked[KVT_FS_OP_COUNT]; /* atomic */
static enum kvt_fs_op fails;
static size_t fails_from; /* that one of its calls and all behind, from 0 */
static pthread_t poller;
static size_t open_files; /* atomic */
static uint64_t last_offset;
static long open_ms;

static int64_t adapter(struct kvt_fs_elem *elem)
{
    static struct kvt_fs_file file;
    size_t n = __atomic_fetch_add(&asked[elem->op], 1, __ATOMIC_RELAXED);
    bool moves = elem->op == KVT_FS_READ || elem->op == KVT_FS_WRITE;

    if (elem->op == KVT_FS_FETCH || elem->op == KVT_FS_PUBLISH) {
        return -EOPNOTSUPP;
    }
    /* in the ring, and only there */
    assert_int_equal(moves, pthread_equal(poller, pthread_self()) != 0);
    if (elem->op == KVT_FS_CLOSE) {
        __atomic_fetch_sub(&open_files, 1, __ATOMIC_RELAXED);
    }
    if (elem->op == fails && n >= fails_from) {
        return -EUCLEAN;
    }
    if (elem->op == KVT_FS_OPEN) {
        nanosleep(&(struct timespec){0, open_ms * MS}, NULL);
        elem->file = &file;
        elem->file_size = FILE_SIZE;
        __atomic_fetch_add(&open_files, 1, __ATOMIC_RELAXED);
    }
    if (moves) {
        assert_ptr_equal(elem->file, &file);
        last_offset = elem->offset;
    }
    return null_ring_success(elem);
}

static char bytes[COUNT][SIZE];
static struct kvt_slice slices[COUNT];

static struct fixture *start(void **state, enum kvt_fs_op op, size_t count)
{
    struct fixture *f = *state;

    memset(asked, 0, sizeof asked);
    fails = KVT_FS_OP_COUNT;
    fails_from = 0;
    open_files = 0;
    open_ms = 0;
    poller = pthread_self();
    f->ring.result = adapter;
    f->queue->depth = COUNT;
    for (size_t i = 0; i < count; i++) {
        slices[i] = (struct kvt_slice){bytes[i], SIZE, NULL};
        f->elems[i].op = op;
        f->elems[i].path = "d/name";
        f->elems[i].temp_path = "temp";
        f->elems[i].slices = &slices[i];
        f->elems[i].slice_count = 1;
    }
    return f;
}

static size_t posted(const struct fixture *f)
{
    size_t count = 0;
    const struct kvt_fs_elem *elem =
        __atomic_load_n(&f->queue->posted, __ATOMIC_ACQUIRE);

    for (; elem != NULL; elem = elem->next) {
        count++;
    }
    return count;
}

/* All are opened beside the ring before the poller looks. */
static void wait_until_opened(struct fixture *f, size_t count)
{
    int64_t end_ns = kvt_clock_ns() + 10000 * MS;

    while (posted(f) < count && kvt_clock_ns() < end_ns) {
        nanosleep(&(struct timespec){0, MS / 10}, NULL);
    }
    assert_int_equal(posted(f), count);
}

static void a_batch_of_fetches_is_one_submission(void **state)
{
    struct fixture *f = start(state, KVT_FS_FETCH, COUNT);
    struct kvt_fs_counters counters;

    kvt_fs_submit(f->queue, f->elems, COUNT);
    wait_until_opened(f, COUNT);
    assert_int_equal(f->ring.submissions, 0);
    queue_wait_for_done(f, COUNT);
    assert_int_equal(f->ring.submissions, 1);
    assert_int_equal(f->ring.seen, COUNT);
    assert_int_equal(asked[KVT_FS_READ], COUNT);
    assert_int_equal(asked[KVT_FS_CLOSE], COUNT);
    assert_int_equal(asked[KVT_FS_FETCH], 0);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(f->elems[i].result, SIZE);
    }
    kvt_fs_counters(&f->ring.fs, &counters);
    assert_int_equal(counters.submissions, 1);
    assert_int_equal(counters.transfers, COUNT);
}

static void a_batch_of_publishes_is_one_submission(void **state)
{
    struct fixture *f = start(state, KVT_FS_PUBLISH, COUNT);

    f->elems[3].flags = KVT_FS_DURABLE;
    kvt_fs_submit(f->queue, f->elems, COUNT);
    wait_until_opened(f, COUNT);
    queue_wait_for_done(f, COUNT);
    assert_int_equal(f->ring.submissions, 1);
    assert_int_equal(f->ring.seen, COUNT);
    assert_int_equal(asked[KVT_FS_WRITE], COUNT);
    assert_int_equal(asked[KVT_FS_DATASYNC], 1);
    assert_int_equal(asked[KVT_FS_SYNC], 2); /* "d" and "." */
    assert_int_equal(asked[KVT_FS_PUBLISH], 0);
    assert_int_equal(f->ring.renames, COUNT);
    assert_int_equal(open_files, 0);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(f->elems[i].result, SIZE);
    }
}

static void a_fetch_may_count_from_the_end(void **state)
{
    struct fixture *f = start(state, KVT_FS_FETCH, 1);

    f->elems[0].offset = 70;
    kvt_fs_submit(f->queue, f->elems, 1);
    queue_wait_for_done(f, 1);
    assert_int_equal(last_offset, 70);
    f->done_count = 0;
    f->elems[0].flags = KVT_FS_FROM_END | KVT_FS_WANT_SIZE;
    kvt_fs_submit(f->queue, f->elems, 1);
    queue_wait_for_done(f, 1);
    assert_int_equal(last_offset, FILE_SIZE - 70);
    assert_int_equal(f->elems[0].file_size, FILE_SIZE);
    f->done_count = 0;
    f->elems[0].offset = FILE_SIZE + 1; /* more than there is */
    kvt_fs_submit(f->queue, f->elems, 1);
    queue_wait_for_done(f, 1);
    assert_int_equal(last_offset, 0);
}

/* Whichever step fails: its errno arrives, and nothing stays. */
static void a_failure_leaves_nothing(void **state)
{
    static const struct {
        enum kvt_fs_op op;
        enum kvt_fs_op fails;
        int64_t result;
        size_t removed;
        bool lost;
    } cases[] = {
        {KVT_FS_FETCH, KVT_FS_OPEN, -EUCLEAN, 0, false},
        {KVT_FS_FETCH, KVT_FS_READ, -EUCLEAN, 0, false},
        {KVT_FS_FETCH, KVT_FS_CLOSE, SIZE, 0, false}, /* nothing written */
        {KVT_FS_PUBLISH, KVT_FS_OPEN, -EUCLEAN, 0, false},
        {KVT_FS_PUBLISH, KVT_FS_WRITE, -EUCLEAN, 1, false},
        {KVT_FS_PUBLISH, KVT_FS_DATASYNC, -EUCLEAN, 1, false},
        {KVT_FS_PUBLISH, KVT_FS_CLOSE, -EUCLEAN, 1, false},
        {KVT_FS_PUBLISH, KVT_FS_SYNC, -EUCLEAN, 1, true},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct fixture *f = start(state, cases[i].op, 1);

        f->done_count = 0;
        f->elems[0].flags = KVT_FS_DURABLE;
        fails = cases[i].fails;
        kvt_fs_submit(f->queue, f->elems, 1);
        queue_wait_for_done(f, 1);
        assert_int_equal(f->elems[0].result, cases[i].result);
        assert_int_equal(asked[KVT_FS_REMOVE], cases[i].removed);
        assert_int_equal(f->elems[0].lost, cases[i].lost);
        assert_int_equal(open_files, 0);
    }
}

static int64_t one_byte_is_lost(struct kvt_fs_elem *elem)
{
    return adapter(elem) - (elem->op == KVT_FS_WRITE);
}

static void a_short_write_is_an_error(void **state)
{
    struct fixture *f = start(state, KVT_FS_PUBLISH, 1);

    f->ring.result = one_byte_is_lost;
    kvt_fs_submit(f->queue, f->elems, 1);
    queue_wait_for_done(f, 1);
    assert_int_equal(f->elems[0].result, -EIO);
    assert_int_equal(asked[KVT_FS_REMOVE], 1);
    assert_int_equal(f->ring.renames, 0);
}

static void what_is_opened_too_late_is_closed(void **state)
{
    struct fixture *f = start(state, KVT_FS_FETCH, 4);

    open_ms = 20;
    for (size_t i = 0; i < 4; i++) {
        f->elems[i].deadline_ns = kvt_clock_ns() + 5 * MS;
    }
    kvt_fs_submit(f->queue, f->elems, 4);
    queue_wait_for_done(f, 4);
    while (kvt_fs_lingering(f->queue) > 0) {
        kvt_fs_poll(f->queue, 1, 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(f->elems[i].result, -ETIMEDOUT);
    }
    assert_int_equal(asked[KVT_FS_READ], 0);
    assert_int_equal(open_files, 0);
}

/* Whole files keep their place in a chain. */
static void a_chain_goes_on_behind_a_whole_file(void **state)
{
    struct fixture *f = start(state, KVT_FS_PUBLISH, 3);

    f->elems[0].flags = KVT_FS_THEN;
    f->elems[1].flags = KVT_FS_THEN;
    f->elems[1].op = KVT_FS_FETCH;
    kvt_fs_submit(f->queue, f->elems, 3);
    queue_wait_for_done(f, 3);
    queue_expect_in_order(f, 3);
    f->done_count = 0;
    f->elems[0].flags = KVT_FS_THEN;
    f->elems[1].flags = KVT_FS_THEN;
    fails = KVT_FS_WRITE;
    kvt_fs_submit(f->queue, f->elems, 3);
    queue_wait_for_done(f, 3);
    assert_int_equal(f->elems[0].result, -EUCLEAN);
    assert_int_equal(f->elems[1].result, -ECANCELED);
    assert_int_equal(f->elems[2].result, -ECANCELED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE_BYTES(a_batch_of_fetches_is_one_submission),
        CASE_BYTES(a_batch_of_publishes_is_one_submission),
        CASE_BYTES(a_fetch_may_count_from_the_end),
        CASE_BYTES(a_failure_leaves_nothing),
        CASE_BYTES(a_short_write_is_an_error),
        CASE_BYTES(what_is_opened_too_late_is_closed),
        CASE_BYTES(a_chain_goes_on_behind_a_whole_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
