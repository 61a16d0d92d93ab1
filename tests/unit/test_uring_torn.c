/* A kernel that is busy takes a part of what it is given, a chain in two, and
 * an open later than what is behind it: bytes are right all the same.
 * liburing's calls are wrapped. */
#include "uring_fixture.h"

#include "fs/uring.h"
#include "support/unit.h"

#include <errno.h>
#include <limits.h>
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
    unsigned blind; /* looks at the completions that find none */
    /* the next open comes late: a read on its place finds nothing, and what is
     * opened there later is replaced by its file */
    bool delays;
    unsigned place; /* of the ring's table, from 1; 0: none yet */
    const char *path;
    unsigned reads_early; /* so many reads, each third, find nothing open */
    unsigned reads;
} fake;

static pthread_t tester; /* other threads' calls are real: they wake us */

static void delay_open(struct io_uring_sqe *sqe)
{
    if (sqe->opcode != IORING_OP_OPENAT || sqe->file_index == 0) {
        return;
    }
    if (fake.place == sqe->file_index) {
        sqe->addr = (uintptr_t)fake.path;
    } else if (fake.place == 0) {
        struct io_uring_sqe nop = {.opcode = IORING_OP_NOP,
                                   .flags = sqe->flags,
                                   .user_data = sqe->user_data};
        fake.place = sqe->file_index;
        fake.path = (const char *)(uintptr_t)sqe->addr;
        *sqe = nop;
    }
}

/* How many of the calls the kernel is not shown. */
static unsigned hide(struct io_uring *ring)
{
    struct io_uring_sq *sq = &ring->sq;
    unsigned ready = io_uring_sq_ready(ring);
    for (unsigned i = 0; i < ready && fake.delays; i++) {
        delay_open(&sq->sqes[(sq->sqe_tail - ready + i) & sq->ring_mask]);
    }
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

unsigned __real_io_uring_peek_batch_cqe(struct io_uring *ring,
                                        struct io_uring_cqe **cqes,
                                        unsigned count);
unsigned __wrap_io_uring_peek_batch_cqe(struct io_uring *ring,
                                        struct io_uring_cqe **cqes,
                                        unsigned count);
unsigned __wrap_io_uring_peek_batch_cqe(struct io_uring *ring,
                                        struct io_uring_cqe **cqes,
                                        unsigned count)
{
    if (fake.blind > 0) {
        fake.blind--;
        return 0;
    }
    unsigned there = __real_io_uring_peek_batch_cqe(ring, cqes, count);
    for (unsigned i = 0; i < there && fake.reads_early > 0; i++) {
        bool part = (cqes[i]->user_data >> 20 & 15) == URING_PART;
        if (part && cqes[i]->res > 0 && fake.reads++ % 3 == 0) {
            cqes[i]->res = -EBADF;
            fake.reads_early--;
        }
    }
    return there;
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
static void work_submit(struct work *w, size_t i, enum kvt_fs_op op)
{
    memset(w->bytes[i], 0, SIZE);
    for (size_t p = 0; p < PIECES; p++) {
        w->slices[i][p] = (struct kvt_slice){
            w->bytes[i] + (PIECES - 1 - p) * PIECE, PIECE, NULL};
    }
    w->elems[i] = (struct kvt_fs_elem){.op = op,
                                       .file = w->files[i],
                                       .path = w->names[i],
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
            work_submit(w, i, i % 2 == 0 ? KVT_FS_READ : KVT_FS_FETCH);
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
    make_file(*state, "many", 30, size);
    for (unsigned busy = 0; busy < 10; busy += 3) {
        memset(bytes, 0, COUNT * size);
        fake.times = busy;
        fake.answer = -EAGAIN;
        for (size_t i = 0; i < COUNT; i++) {
            for (size_t p = 0; p < MANY; p++) {
                slices[i * MANY + p] = (struct kvt_slice){
                    bytes + i * size + p * BYTES, BYTES, NULL};
            }
            w->elems[i] = (struct kvt_fs_elem){.op = KVT_FS_FETCH,
                                               .path = "many",
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
    work_stop(w);
    free(slices);
    free(bytes);
}

/* Chains in two -------------------------------------------------------------
 */

/* Read before it is open: the open may come at any time, and take the place
 * of what is opened there then. */
static void a_place_whose_open_is_late_is_not_used_again(void **state)
{
    for (uint32_t depth = 2; depth <= COUNT; depth += 7) {
        struct work *w = work_start(*state, depth);
        fake.delays = true;
        work_submit(w, 0, KVT_FS_FETCH);
        finish_all(w->queue);
        assert_int_not_equal(fake.place, 0);
        work_check(w, 0);
        for (size_t i = 1; i < COUNT; i++) {
            work_submit(w, i, KVT_FS_FETCH);
        }
        finish_all(w->queue);
        for (size_t i = 1; i < COUNT; i++) {
            work_check(w, i);
        }
        work_stop(w);
        mounted_stop(*state);
    }
}

/* In the end no place is left, and what waits for one goes to threads; large
 * reads of the page cache wait in a line of their own. */
static void without_places_threads_fetch(void **state)
{
    static const size_t sizes[] = {SIZE, 20000};
    struct mounted *m = *state;
    unsigned char *bytes = malloc(COUNT * 20000);
    assert_non_null(bytes);
    for (unsigned round = 0; round < 8; round++) {
        uint32_t depth = 1u << round / 2;
        size_t size = sizes[round % 2];
        struct work *w = work_start(m, depth);
        fake.reads_early = depth;
        make_file(m, "large", 40, size);
        for (size_t i = 0; i < COUNT; i++) {
            w->slices[i][0] = (struct kvt_slice){bytes + i * size, size, NULL};
            w->elems[i] = (struct kvt_fs_elem){.op = KVT_FS_FETCH,
                                               .path = "large",
                                               .slices = w->slices[i],
                                               .slice_count = 1};
        }
        alarm(20); /* nothing would end them */
        kvt_fs_submit(w->queue, w->elems, COUNT);
        finish_all(w->queue);
        alarm(0);
        assert_int_equal(fake.reads_early, 0);
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(w->elems[i].result, size);
            assert_true(value_is(w->slices[i][0].base, size, 40));
        }
        work_stop(w);
        mounted_stop(m);
    }
    free(bytes);
}

/* A fetch whose open fails, and is taken alone: what is behind it is still
 * prepared when it is over. */
static void fetch_in_vain(struct work *w)
{
    char text[16];
    struct kvt_slice slice = {text, sizeof text, NULL};
    struct kvt_fs_elem fetch = {.op = KVT_FS_FETCH,
                                .path = "missing",
                                .slices = &slice,
                                .slice_count = 1};
    struct io_uring *ring = &((struct uring_queue *)w->queue)->ring;
    kvt_fs_submit(w->queue, &fetch, 1);
    fake.times = 1;
    fake.most = 1;
    kvt_fs_poll(w->queue, 0, 0);
    fake.answer = -EAGAIN; /* a thread of the kernel's opens meanwhile */
    fake.times = UINT_MAX;
    finish_all(w->queue);
    fake.answer = 0;
    fake.times = 0;
    assert_int_equal(fetch.result, -ENOENT);
    assert_int_equal(io_uring_sq_ready(ring), 2);
}

static const enum kvt_fs_op reads[] = {KVT_FS_READ, KVT_FS_FETCH};

/* An element that is over keeps its calls' room until the kernel has them. */
static void what_is_behind_a_failed_open_has_its_room(void **state)
{
    struct work *w = work_start(*state, 1);
    for (size_t i = 0; i < COUNT; i++) {
        fetch_in_vain(w);
        work_submit(w, i, reads[i % 2]);
        finish_all(w->queue);
        work_check(w, i);
    }
    work_stop(w);
}

/* And what comes of them belongs to nobody, though the place has a new
 * owner. */
static void what_comes_after_its_element_is_nobodys(void **state)
{
    struct work *w = work_start(*state, 1);
    for (size_t i = 0; i < COUNT; i++) {
        fetch_in_vain(w);
        fake.blind = 1;
        kvt_fs_poll(w->queue, 0, 0); /* the kernel takes the rest */
        assert_int_equal(fake.blind, 0);
        work_submit(w, i, reads[i % 2]);
        finish_all(w->queue);
        work_check(w, i);
    }
    work_stop(w);
}

/* The kernel has the read, which moves bytes; the close it refuses. */
static void a_read_is_waited_for_though_its_close_is_refused(void **state)
{
    struct work *w = work_start(*state, 4);
    for (unsigned blind = 0; blind < 6; blind++) {
        fake.times = 1;
        fake.most = 2;
        work_submit(w, blind, KVT_FS_FETCH);
        fake.blind = blind;
        kvt_fs_poll(w->queue, 0, 0);
        assert_int_equal(fake.times, 0);
        fake.times = 1;
        fake.most = 0;
        fake.answer = -EPERM;
        finish_all(w->queue);
        work_check(w, blind);
        assert_int_equal(files_in_rings(), 0);
        fake.answer = 0;
    }
    work_stop(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        mount_test(pieces_of_calls_that_wait_are_kept),
        mount_test(pieces_without_room_wait),
        mount_test(a_place_whose_open_is_late_is_not_used_again),
        mount_test(without_places_threads_fetch),
        mount_test(what_is_behind_a_failed_open_has_its_room),
        mount_test(what_comes_after_its_element_is_nobodys),
        mount_test(a_read_is_waited_for_though_its_close_is_refused),
    };
    tester = pthread_self();
    if (!uring_is_here()) {
        return uring_skip();
    }
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
