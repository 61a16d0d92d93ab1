/* Whose turn it is at the pool's threads: reads before writes, and no writes
 * that wait for ever. */
#include "support/pool_fixture.h"

#include "fs/pool_line.h"

#include <string.h>

enum {
    PLACES = 40
};

static struct kvt_pool_lines lines;
static struct kvt_pool_place places[PLACES];
static struct kvt_fs_elem elems[PLACES][3];

static int setup(void **state)
{
    (void)state;
    kvt_pool_lines_init(&lines);
    memset(places, 0, sizeof places);
    memset(elems, 0, sizeof elems);
    return 0;
}

static void stand(size_t i, enum kvt_fs_op op)
{
    elems[i][0].op = op;
    places[i].unstarted = &elems[i][0];
    kvt_pool_line_up(&lines, &places[i]);
}

static void expect_next(size_t i)
{
    assert_ptr_equal(kvt_pool_next(&lines), &places[i]);
    assert_false(places[i].in_line);
}

static void reads_go_first(void **state)
{
    (void)state;
    assert_null(kvt_pool_next(&lines));
    stand(0, KVT_FS_PUBLISH);
    stand(1, KVT_FS_WRITE);
    stand(2, KVT_FS_READ);
    stand(3, KVT_FS_REMOVE);
    stand(4, KVT_FS_FETCH);
    stand(4, KVT_FS_FETCH); /* once */
    stand(5, KVT_FS_STAT);
    expect_next(2);
    expect_next(4);
    expect_next(5);
    expect_next(0);
    expect_next(1);
    expect_next(3);
    assert_null(kvt_pool_next(&lines));
    stand(1, KVT_FS_SYNC);
    expect_next(1);
}

static void a_chain_is_what_its_elements_are(void **state)
{
    static const enum kvt_fs_op load[] = {KVT_FS_OPEN, KVT_FS_READ,
                                          KVT_FS_CLOSE};
    static const enum kvt_fs_op offload[] = {KVT_FS_OPEN, KVT_FS_WRITE,
                                             KVT_FS_CLOSE};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        elems[0][i].op = offload[i];
        elems[1][i].op = load[i];
        elems[0][i].flags = elems[1][i].flags = i < 2 ? KVT_FS_THEN : 0;
        elems[0][i].next = i < 2 ? &elems[0][i + 1] : NULL;
        elems[1][i].next = i < 2 ? &elems[1][i + 1] : NULL;
    }
    stand(0, KVT_FS_OPEN);
    stand(1, KVT_FS_OPEN);
    /* what stands behind a chain is none of it */
    elems[1][2].next = &elems[2][0];
    elems[2][0].op = KVT_FS_WRITE;
    expect_next(1);
    expect_next(0);
}

static void writes_do_not_wait_for_ever(void **state)
{
    size_t reads = 0;
    (void)state;
    stand(0, KVT_FS_WRITE);
    stand(1, KVT_FS_WRITE);
    for (size_t i = 2; i < PLACES; i++) {
        stand(i, KVT_FS_READ);
    }
    for (size_t i = 0; i < 8; i++) {
        expect_next(2 + reads++);
    }
    expect_next(0);
    for (size_t i = 0; i < 8; i++) {
        expect_next(2 + reads++);
    }
    expect_next(1);
    while (reads < PLACES - 2) { /* and none waits any more */
        expect_next(2 + reads++);
    }
    assert_null(kvt_pool_next(&lines));
}

static void who_has_nothing_is_passed_over(void **state)
{
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        stand(i, i % 2 == 0 ? KVT_FS_READ : KVT_FS_WRITE);
    }
    places[0].unstarted = NULL;
    places[5].unstarted = NULL;
    expect_next(2);
    kvt_pool_leave(&lines, &places[4]);
    kvt_pool_leave(&lines, &places[4]);
    stand(6, KVT_FS_READ); /* the line has a right end */
    kvt_pool_leave(&lines, &places[1]);
    expect_next(6);
    expect_next(3);
    assert_null(kvt_pool_next(&lines));
    stand(5, KVT_FS_WRITE);
    expect_next(5);
}

/* The threads ----------------------------------------------------------------
 */

static size_t started_of(const struct fixture *f, size_t from, size_t to,
                         size_t among)
{
    size_t count = 0;
    for (size_t i = 0; i < among; i++) {
        for (size_t elem = from; elem < to; elem++) {
            count += f->counting.order[i] == &f->elems[elem];
        }
    }
    return count;
}

/* Offloads keep all threads busy and fill the pool; a load of another queue
 * that comes last starts when the first of them is through. */
static void a_load_overtakes_offloads(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *offloads = pool_open_queue(f, false);
    struct kvt_fs_queue *loads = pool_open_queue(f, false);
    for (size_t i = 0; i < 40; i++) {
        f->elems[i].op = i < 36 ? KVT_FS_PUBLISH : KVT_FS_STAT;
    }
    pool_set_work(f, 0, 36, WORK_GATE);
    kvt_fs_submit(offloads, f->elems, 36);
    assert_int_equal(pool_wait_for_started(f, THREADS), THREADS);
    kvt_fs_submit(loads, f->elems + 36, 4);
    pool_open_gate(f);
    pool_drain(loads);
    pool_drain(offloads);
    assert_int_equal(f->done_count, 40);
    /* the four that ran, and the four loads, but for who was seen first */
    assert_int_equal(started_of(f, 36, 40, 3 * THREADS), 4);
    assert_int_equal(kvt_fs_queue_close(loads), 0);
    assert_int_equal(kvt_fs_queue_close(offloads), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(reads_go_first, setup),
        cmocka_unit_test_setup(a_chain_is_what_its_elements_are, setup),
        cmocka_unit_test_setup(writes_do_not_wait_for_ever, setup),
        cmocka_unit_test_setup(who_has_nothing_is_passed_over, setup),
        cmocka_unit_test_setup_teardown(a_load_overtakes_offloads, pool_setup,
                                        pool_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
