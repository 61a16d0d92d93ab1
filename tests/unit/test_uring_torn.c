/* A kernel that is busy takes a part of what it is given: bytes are right all
 * the same. liburing's calls are wrapped. */
#include "uring_fixture.h"

#include "support/unit.h"
#include <liburing.h>

#include <errno.h>
#include <pthread.h>

enum {
    COUNT = 32,
    PIECES = 8,
    PIECE = 500,
    SIZE = PIECES * PIECE,
};

/* What the wrappers do. */
static struct {
    /* of the next `times` system calls: the answer, or how much is taken */
    unsigned times;
    int answer;
    unsigned most;
} fake;

static pthread_t tester; /* other threads' calls are real: they wake us */

/* How many of the calls the kernel is not shown. */
static unsigned hide(struct io_uring *ring)
{
    unsigned ready = io_uring_sq_ready(ring);
    if (fake.times == 0) {
        return 0;
    }
    fake.times--;
    return fake.most > 0 && ready > fake.most ? ready - fake.most : 0;
}

int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring)
{
    if (!pthread_equal(pthread_self(), tester)) {
        return __real_io_uring_submit(ring);
    }
    bool answers = fake.times > 0 && fake.answer != 0;
    unsigned hidden = hide(ring);
    if (answers) {
        return fake.answer;
    }
    ring->sq.sqe_tail -= hidden;
    int rc = __real_io_uring_submit(ring);
    ring->sq.sqe_tail += hidden;
    return rc;
}

int __real_io_uring_submit_and_wait(struct io_uring *ring, unsigned count);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned count);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned count)
{
    bool answers = fake.times > 0 && fake.answer != 0;
    unsigned hidden = hide(ring);
    if (answers) {
        return fake.answer;
    }
    ring->sq.sqe_tail -= hidden;
    int rc = hidden > 0 ? __real_io_uring_submit(ring)
                        : __real_io_uring_submit_and_wait(ring, count);
    ring->sq.sqe_tail += hidden;
    return rc;
}

/* Elements of several pieces ------------------------------------------------
 */

/* Element `i` is of file "file-I", and its bytes are those of number `i`. */
struct work {
    struct kvt_fs *fs;
    struct kvt_fs_queue *queue;
    char names[COUNT][16];
    struct kvt_fs_file *files[COUNT];
    struct kvt_fs_elem elems[COUNT];
    struct kvt_slice slices[COUNT][PIECES];
    unsigned char bytes[COUNT][SIZE];
};

static struct work *work_start(struct mounted *m, uint32_t depth)
{
    struct work *w = calloc(1, sizeof *w);
    assert_non_null(w);
    memset(&fake, 0, sizeof fake);
    w->fs = uring_start(m, "off");
    w->queue = start_queue(w->fs, depth);
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(w->names[i], sizeof w->names[i], "file-%zu", i);
        make_file(m, w->names[i], i, SIZE);
        assert_int_equal(do_open(w->fs, w->names[i], 0, &w->files[i]), 0);
    }
    return w;
}

static void work_stop(struct work *w)
{
    memset(&fake, 0, sizeof fake);
    stop_queue(w->queue);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(do_file(w->fs, KVT_FS_CLOSE, w->files[i]), 0);
    }
    free(w);
}

/* In pieces, the last of them first in memory. */
static void work_submit(struct work *w, size_t i)
{
    memset(w->bytes[i], 0, SIZE);
    for (size_t p = 0; p < PIECES; p++) {
        w->slices[i][p] = (struct kvt_slice){
            w->bytes[i] + (PIECES - 1 - p) * PIECE, PIECE, NULL};
    }
    w->elems[i] = (struct kvt_fs_elem){.op = KVT_FS_READ,
                                       .file = w->files[i],
                                       .slices = w->slices[i],
                                       .slice_count = PIECES};
    kvt_fs_submit(w->queue, &w->elems[i], 1);
}

static void work_check(const struct work *w, size_t i)
{
    static unsigned char expected[SIZE];
    value_fill(expected, SIZE, i);
    assert_int_equal(w->elems[i].result, SIZE);
    for (size_t p = 0; p < PIECES; p++) {
        assert_memory_equal(w->slices[i][p].base, expected + p * PIECE, PIECE);
    }
}

/* The kernel takes some of the calls; others are prepared behind the rest. */
static void pieces_of_calls_that_wait_are_kept(void **state)
{
    struct work *w = work_start(*state, COUNT);
    for (unsigned most = 1; most < 8; most++) {
        fake.times = 20;
        fake.most = most;
        for (size_t i = 0; i < COUNT; i++) {
            work_submit(w, i);
            if (i % 4 == 3) {
                kvt_fs_poll(w->queue, 0, 0);
            }
        }
        finish_all(w->queue);
        for (size_t i = 0; i < COUNT; i++) {
            work_check(w, i);
        }
    }
    work_stop(w);
}

/* More pieces at a time than there is room for, and a kernel that makes none,
 * at first. */
static void pieces_without_room_wait(void **state)
{
    enum {
        MANY = 1000,
        BYTES = 8
    };
    struct work *w = work_start(*state, COUNT);
    size_t size = (size_t)MANY * BYTES;
    unsigned char *bytes = malloc(COUNT * size);
    struct kvt_slice *slices = malloc(COUNT * MANY * sizeof *slices);
    assert_true(bytes != NULL && slices != NULL);
    struct kvt_fs_file *many;
    make_file(*state, "many", 30, size);
    assert_int_equal(do_open(w->fs, "many", 0, &many), 0);
    for (unsigned busy = 0; busy < 10; busy += 3) {
        memset(bytes, 0, COUNT * size);
        fake.times = busy;
        fake.answer = -EAGAIN;
        for (size_t i = 0; i < COUNT; i++) {
            for (size_t p = 0; p < MANY; p++) {
                slices[i * MANY + p] = (struct kvt_slice){
                    bytes + i * size + p * BYTES, BYTES, NULL};
            }
            w->elems[i] = (struct kvt_fs_elem){.op = KVT_FS_READ,
                                               .file = many,
                                               .slices = slices + i * MANY,
                                               .slice_count = MANY};
        }
        kvt_fs_submit(w->queue, w->elems, COUNT);
        finish_all(w->queue);
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(w->elems[i].result, size);
            assert_true(value_is(bytes + i * size, size, 30));
        }
    }
    assert_int_equal(do_file(w->fs, KVT_FS_CLOSE, many), 0);
    work_stop(w);
    free(slices);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        mount_test(pieces_of_calls_that_wait_are_kept),
        mount_test(pieces_without_room_wait),
    };
    tester = pthread_self();
    if (!uring_is_here()) {
        return uring_skip();
    }
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
