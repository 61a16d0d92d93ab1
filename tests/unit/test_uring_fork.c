/* A forked child has its parent's rings: what it frees there takes nothing from
 * the parent. */
#include "uring_fixture.h"

#include "fs/uring.h"

#include <sys/wait.h>

enum {
    SIZE = 65536,
    QUEUES = 2
};

struct parent {
    struct kvt_fs *fs;
    struct kvt_fs_queue *queues[QUEUES];
    struct kvt_fs_file *file;
    struct kvt_mem *mem;
};

static void start(struct parent *p, struct mounted *m)
{
    p->fs = uring_start(m, "auto");
    make_file(m, "file", 1, SIZE);
    assert_int_equal(do_open(p->fs, "file", 0, &p->file), 0);
    assert_int_equal(kvt_mem_alloc(p->fs, SIZE, &p->mem), 0);
    for (size_t i = 0; i < QUEUES; i++) {
        p->queues[i] = start_queue(p->fs, 4);
    }
}

static void stop(struct parent *p)
{
    for (size_t i = 0; i < QUEUES; i++) {
        stop_queue(p->queues[i]);
    }
    kvt_mem_free(p->mem);
    assert_int_equal(do_file(p->fs, KVT_FS_CLOSE, p->file), 0);
}

/* On both queues, into the mount's memory. */
static void read_all(const struct parent *p)
{
    static const enum kvt_fs_op ops[] = {KVT_FS_READ, KVT_FS_FETCH};
    for (size_t i = 0; i < QUEUES * 2; i++) {
        struct kvt_slice slice = {kvt_mem_base(p->mem), SIZE, p->mem};
        struct kvt_fs_elem elem = {.op = ops[i / 2],
                                   .file = p->file,
                                   .path = "file",
                                   .slices = &slice,
                                   .slice_count = 1};
        memset(slice.base, 0, SIZE);
        kvt_fs_submit(p->queues[i % 2], &elem, 1);
        finish_all(p->queues[i % 2]);
        assert_int_equal(elem.result, SIZE);
        assert_true(value_is(slice.base, SIZE, 1));
    }
}

static void wait_for(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void memory_that_a_child_frees_stays_the_parents(void **state)
{
    struct parent p;
    start(&p, *state);
    read_all(&p);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(30);
        kvt_mem_free(p.mem);
        _exit(0);
    }
    wait_for(child);
    read_all(&p);
    assert_string_equal(kvt_fs_fallback_reason(p.fs), "");
    stop(&p);
}

static void a_queue_that_a_child_closes_stays_the_parents(void **state)
{
    struct parent p;
    start(&p, *state);
    read_all(&p);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(30);
        bool closed = kvt_fs_queue_close(p.queues[0]) == 0;
        kvt_mem_free(p.mem);
        closed = closed && kvt_fs_queue_close(p.queues[1]) == 0;
        _exit(closed ? 0 : 1);
    }
    wait_for(child);
    read_all(&p);
    assert_string_equal(kvt_fs_fallback_reason(p.fs), "");
    stop(&p);
}

/* By whom ever: the ring's table is gone. */
static void memory_that_a_ring_forgot_is_moved_as_any(void **state)
{
    struct parent p;
    start(&p, *state);
    read_all(&p);
    for (size_t i = 0; i < QUEUES; i++) {
        struct uring_queue *queue = (struct uring_queue *)p.queues[i];
        assert_int_equal(io_uring_unregister_buffers(&queue->ring), 0);
    }
    read_all(&p);
    assert_non_null(strstr(kvt_fs_fallback_reason(p.fs), "registered"));
    read_all(&p);
    stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        mount_test(memory_that_a_child_frees_stays_the_parents),
        mount_test(a_queue_that_a_child_closes_stays_the_parents),
        mount_test(memory_that_a_ring_forgot_is_moved_as_any),
    };
    if (!uring_is_here()) {
        return uring_skip();
    }
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
