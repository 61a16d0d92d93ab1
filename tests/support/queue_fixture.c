#include "support/queue_fixture.h"

#include "core/clock.h"

#include <string.h>

static void note_done(struct kvt_fs_elem *elem)
{
    struct fixture *f = elem->arg;

    assert_true(f->done_count < COUNT_OF(f->order));
    f->order[f->done_count++] = (size_t)(elem - f->elems);
}

static int setup_on(void **state, enum null_ring_kind kind)
{
    static struct fixture f;
    struct kvt_fs_queue_options options = {sizeof options, 4, false};

    memset(&f, 0, sizeof f);
    null_ring_init(&f.ring, 7, kind);
    for (size_t i = 0; i < COUNT_OF(f.elems); i++) {
        f.elems[i] = (struct kvt_fs_elem){
            .op = KVT_FS_STAT, .done = note_done, .arg = &f, .result = -1000};
    }
    *state = &f;
    return kvt_fs_queue_open(&f.ring.fs, &options, &f.queue);
}

int queue_setup_chains(void **state)
{
    return setup_on(state, NULL_RING_CHAINS);
}

int queue_setup_singles(void **state)
{
    return setup_on(state, NULL_RING_SINGLES);
}

int queue_setup_part(void **state)
{
    return setup_on(state, NULL_RING_PART);
}

int queue_setup_bytes(void **state)
{
    return setup_on(state, NULL_RING_BYTES);
}

int queue_teardown(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(kvt_fs_queue_close(f->queue), 0);
    kvt_fs_close_spare(&f->ring.fs);
    assert_int_equal(f->ring.queues_open, 0);
    assert_int_equal(f->ring.core.in_flight, 0);
    null_ring_fini(&f->ring);
    return 0;
}

void queue_make_chain(struct fixture *f, const enum kvt_fs_op *ops,
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        f->elems[i].op = ops[i];
        f->elems[i].flags = i + 1 < count ? KVT_FS_THEN : 0;
    }
}

void queue_wait_for_done(struct fixture *f, size_t count)
{
    int64_t end = kvt_clock_ns() + 2000 * MS;

    while (f->done_count < count && kvt_clock_ns() < end) {
        kvt_fs_poll(f->queue, 1, end);
    }
    assert_int_equal(f->done_count, count);
}

void queue_expect_in_order(const struct fixture *f, size_t count)
{
    assert_int_equal(f->done_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(f->order[i], i);
    }
}

int64_t queue_one_byte_short(struct kvt_fs_elem *elem)
{
    return null_ring_success(elem) - 1;
}
