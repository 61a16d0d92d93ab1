/* Elements that end at their deadline while the ring still has them. */
#include "support/queue_fixture.h"

#include "core/clock.h"

#include <errno.h>
#include <string.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE_CHAINS(a_file_opened_too_late_is_closed),
        CASE_CHAINS(a_deadline_ends_what_waits_for_the_ring_too),
        CASE_CHAINS(a_close_that_waits_at_its_deadline_is_carried_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
