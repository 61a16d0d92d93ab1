/* What the uring adapter asks of the kernel, and what it makes of answers that
 * a healthy kernel rarely gives: liburing's calls are wrapped. */
#include "uring_fixture.h"

#include "support/unit.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <sys/mman.h>

enum {
    COUNT = 32,
    SIZE = 65536
};

/* What the wrappers do. */
static struct {
    uint64_t seed;
    unsigned enters; /* system calls that took or waited for something */
    unsigned submissions;
    /* of the next `times` system calls: the answer, or how much is taken */
    unsigned times;
    int answer;
    unsigned most;
    /* one in `every` results of transfers becomes `result`, or short */
    unsigned every;
    int result;
    unsigned seen;
    unsigned changed;
    bool direct;
    bool no_memory;
} fake;

static pthread_t tester; /* other threads' calls are real: they wake us */

static void fake_reset(void)
{
    memset(&fake, 0, sizeof fake);
    fake.seed = 5;
}

/* True when the kernel is not asked. */
static bool fake_answers(struct io_uring *ring, unsigned *hidden)
{
    fake.enters++;
    fake.submissions += io_uring_sq_ready(ring) > 0;
    *hidden = 0;
    if (fake.times == 0) {
        return false;
    }
    fake.times--;
    if (fake.most > 0 && io_uring_sq_ready(ring) > fake.most) {
        *hidden = io_uring_sq_ready(ring) - fake.most;
        ring->sq.sqe_tail -= *hidden; /* the kernel takes so many only */
    }
    return fake.answer != 0;
}

int __real_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring);
int __wrap_io_uring_submit(struct io_uring *ring)
{
    unsigned hidden;
    if (!pthread_equal(pthread_self(), tester)) {
        return __real_io_uring_submit(ring);
    }
    if (fake_answers(ring, &hidden)) {
        return fake.answer;
    }
    int rc = __real_io_uring_submit(ring);
    ring->sq.sqe_tail += hidden;
    return rc;
}

int __real_io_uring_submit_and_wait(struct io_uring *ring, unsigned count);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned count);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned count)
{
    unsigned hidden;
    if (fake_answers(ring, &hidden)) {
        return fake.answer;
    }
    int rc = hidden > 0 ? __real_io_uring_submit(ring)
                        : __real_io_uring_submit_and_wait(ring, count);
    ring->sq.sqe_tail += hidden;
    return rc;
}

static void fake_result(struct io_uring_cqe *cqe)
{
    if (fake.every == 0 || cqe->res < 2 || fake.seen++ % fake.every != 0) {
        return;
    }
    if (fake.result != 0) {
        cqe->res = fake.result;
        fake.changed++;
        return;
    }
    /* direct I/O is short by whole blocks, but at the end of the file */
    int unit = fake.direct ? 512 : 1;
    int part = 1 + (int)unit_random_below(&fake.seed, (size_t)cqe->res - 1);
    if (part >= unit) {
        cqe->res = part - part % unit;
        fake.changed++;
    }
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
    unsigned there = __real_io_uring_peek_batch_cqe(ring, cqes, count);
    for (unsigned i = 0; i < there; i++) {
        fake_result(cqes[i]);
    }
    return there;
}

void *__real_mmap(void *at, size_t size, int prot, int flags, int fd,
                  off_t offset);
void *__wrap_mmap(void *at, size_t size, int prot, int flags, int fd,
                  off_t offset);
void *__wrap_mmap(void *at, size_t size, int prot, int flags, int fd,
                  off_t offset)
{
    if (fake.no_memory && fd == -1) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return __real_mmap(at, size, prot, flags, fd, offset);
}

/* A batch of reads -------------------------------------------------------- */

struct work {
    struct mounted *m;
    struct kvt_fs *fs;
    struct kvt_fs_queue *queue;
    struct kvt_fs_file *file;
    unsigned char *bytes;
    size_t skew; /* of the memory, off its alignment */
    struct kvt_fs_elem elems[COUNT];
    struct kvt_slice slices[COUNT];
};

static void work_init(struct work *w, struct mounted *m, const char *direct)
{
    void *bytes;
    memset(w, 0, sizeof *w);
    w->m = m;
    w->fs = uring_start(m, direct);
    w->queue = start_queue(w->fs, COUNT);
    make_file(m, "file", 1, SIZE);
    assert_int_equal(do_open(w->fs, "file", KVT_FS_FOR_WRITE, &w->file), 0);
    assert_int_equal(posix_memalign(&bytes, 4096, COUNT * SIZE + 4096), 0);
    w->bytes = bytes;
    fake_reset();
    fake.direct = w->fs->facts.direct;
}

static void work_fini(struct work *w)
{
    fake_reset();
    stop_queue(w->queue);
    assert_int_equal(do_file(w->fs, KVT_FS_CLOSE, w->file), 0);
    mounted_stop(w->m);
    free(w->bytes);
}

static void work_submit(struct work *w)
{
    memset(w->bytes, 0, COUNT * SIZE + 4096);
    for (size_t i = 0; i < COUNT; i++) {
        w->slices[i] =
            (struct kvt_slice){w->bytes + i * SIZE + w->skew, SIZE, NULL};
        w->elems[i] = (struct kvt_fs_elem){.op = KVT_FS_READ,
                                           .file = w->file,
                                           .slices = &w->slices[i],
                                           .slice_count = 1};
        /* one by one, as layouts do */
        kvt_fs_submit(w->queue, &w->elems[i], 1);
    }
}

/* Each ended with its bytes, or with the error that may be. */
static size_t work_check(struct work *w, int64_t error)
{
    size_t failures = 0;
    finish_all(w->queue);
    for (size_t i = 0; i < COUNT; i++) {
        if (w->elems[i].result == error) {
            failures++;
            continue;
        }
        assert_int_equal(w->elems[i].result, SIZE);
        assert_true(value_is(w->slices[i].base, SIZE, 1));
    }
    return failures;
}

/* System calls ------------------------------------------------------------ */

static void a_batch_is_one_submission(void **state)
{
    static const char *const modes[] = {"auto", "off"};
    struct work w;
    for (size_t mode = 0; mode < 2; mode++) {
        work_init(&w, *state, modes[mode]);
        work_submit(&w);
        assert_int_equal(fake.enters, 0); /* they wait for the poll */
        work_check(&w, 0);
        /* what may be copied within the call goes a few at a time */
        assert_in_range(fake.submissions, 1,
                        w.fs->facts.direct ? 1 : COUNT / 2);
        work_fini(&w);
    }
}

/* The rolling kind: each callback submits the next. */
struct roll {
    struct work *w;
    size_t left;
    unsigned polls;
};

static void roll_on(struct kvt_fs_elem *elem)
{
    struct roll *roll = elem->arg;
    assert_int_equal(elem->result, SIZE);
    if (roll->left > 0) {
        roll->left--;
        kvt_fs_submit(roll->w->queue, elem, 1);
    }
}

static void a_rolling_depth_submits_once_a_poll(void **state)
{
    struct work w;
    work_init(&w, *state, "auto");
    struct roll roll = {&w, 1000, 0};
    for (size_t i = 0; i < COUNT; i++) {
        w.slices[i] = (struct kvt_slice){w.bytes + i * SIZE, SIZE, NULL};
        w.elems[i] = (struct kvt_fs_elem){.op = KVT_FS_READ,
                                          .file = w.file,
                                          .slices = &w.slices[i],
                                          .slice_count = 1,
                                          .done = roll_on,
                                          .arg = &roll};
    }
    kvt_fs_submit(w.queue, w.elems, COUNT);
    while (kvt_fs_in_flight(w.queue) > 0) {
        kvt_fs_poll(w.queue, 1, 0);
        roll.polls++;
    }
    assert_true(fake.enters <= roll.polls);
    assert_true(fake.enters <= 1000 + COUNT);
    work_fini(&w);
}

/* Results ----------------------------------------------------------------- */

static void short_transfers_go_on(void **state)
{
    static const char *const modes[] = {"auto", "off"};
    struct work w;
    for (unsigned round = 0; round < 40; round++) {
        work_init(&w, *state, modes[round % 2]);
        fake.every = 1 + round % 3;
        fake.seed = round + 1;
        w.skew = round % 4 < 2 ? 0 : 100; /* that are copied */
        work_submit(&w);
        work_check(&w, 0);
        assert_true(fake.changed > 0);
        work_fini(&w);
    }
}

static void short_writes_go_on(void **state)
{
    static const char *const modes[] = {"auto", "off"};
    struct work w;
    char path[FILE_PATH_MAX];
    for (unsigned round = 0; round < 20; round++) {
        work_init(&w, *state, modes[round % 2]);
        fake.every = 2;
        fake.seed = round + 1;
        w.skew = round % 4 < 2 ? 0 : 100;
        unsigned char *from = w.bytes + w.skew;
        value_fill(from, SIZE, 50 + round);
        struct kvt_slice slice = {from, SIZE, NULL};
        struct kvt_fs_elem write = {.op = KVT_FS_WRITE,
                                    .file = w.file,
                                    .slices = &slice,
                                    .slice_count = 1};
        kvt_fs_submit(w.queue, &write, 1);
        finish_all(w.queue);
        assert_true(fake.changed > 0);
        assert_int_equal(write.result, SIZE);
        size_t size;
        snprintf(path, sizeof path, "%s/file", w.m->root);
        unsigned char *bytes = file_read(path, &size);
        assert_true(size == SIZE && value_is(bytes, SIZE, 50 + round));
        free(bytes);
        work_fini(&w);
    }
}

static void an_error_reaches_its_element_and_no_other(void **state)
{
    static const int errors[] = {-EIO,    -ENOSPC, -ENOMEM,
                                 -ESTALE, -EFAULT, -ECANCELED};
    struct work w;
    for (size_t i = 0; i < COUNT_OF(errors); i++) {
        work_init(&w, *state, "auto");
        fake.every = 3;
        fake.result = errors[i];
        work_submit(&w);
        size_t failures = work_check(&w, errors[i]);
        assert_int_equal(failures, fake.changed);
        assert_true(failures > 5 && failures < COUNT);
        fake_reset();
        work_submit(&w); /* and all goes on */
        work_check(&w, 0);
        work_fini(&w);
    }
}

/* Interrupted, or not possible without waiting: it is done again. */
static void what_is_not_final_is_tried_again(void **state)
{
    static const int errors[] = {-EINTR, -EAGAIN};
    struct work w;
    for (size_t i = 0; i < COUNT_OF(errors); i++) {
        work_init(&w, *state, "auto");
        fake.every = 2;
        fake.result = errors[i];
        work_submit(&w);
        assert_int_equal(work_check(&w, errors[i]), 0);
        assert_true(fake.changed > 5);
        work_fini(&w);
    }
}

/* The kernel takes nothing, or not all ------------------------------------ */

static void a_kernel_that_is_busy_is_asked_again(void **state)
{
    static const int answers[] = {-EAGAIN, -EBUSY, -ENOMEM, -EINTR};
    struct work w;
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        work_init(&w, *state, "auto");
        fake.times = 5;
        fake.answer = answers[i];
        work_submit(&w);
        work_check(&w, 0);
        assert_int_equal(fake.times, 0);
        work_fini(&w);
    }
}

static void a_kernel_that_refuses_ends_what_it_did_not_take(void **state)
{
    struct work w;
    work_init(&w, *state, "auto");
    work_submit(&w);
    fake.times = 1000;
    fake.answer = -EPERM;
    finish_all(w.queue);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(w.elems[i].result, -EPERM);
    }
    fake_reset();
    work_submit(&w);
    work_check(&w, 0);
    work_fini(&w);
}

/* Any number of calls is taken. */
static void a_batch_that_is_torn_costs_no_bytes(void **state)
{
    struct work w;
    for (unsigned most = 1; most <= 30; most++) {
        work_init(&w, *state, most % 2 == 0 ? "auto" : "off");
        fake.times = 40;
        fake.most = most;
        work_submit(&w);
        work_check(&w, 0);
        work_fini(&w);
    }
}

/* Memory ------------------------------------------------------------------ */

static void without_memory_to_copy_through_it_is_enomem(void **state)
{
    struct work w;
    work_init(&w, *state, "auto");
    if (!w.fs->facts.direct) {
        print_message("nothing is copied here\n");
        work_fini(&w);
        return;
    }
    fake.no_memory = true;
    w.skew = 100;
    work_submit(&w);
    assert_int_equal(work_check(&w, -ENOMEM), COUNT);
    fake.no_memory = false;
    work_submit(&w);
    work_check(&w, 0);
    work_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        mount_test(a_batch_is_one_submission),
        mount_test(a_rolling_depth_submits_once_a_poll),
        mount_test(short_transfers_go_on),
        mount_test(short_writes_go_on),
        mount_test(an_error_reaches_its_element_and_no_other),
        mount_test(what_is_not_final_is_tried_again),
        mount_test(a_kernel_that_is_busy_is_asked_again),
        mount_test(a_kernel_that_refuses_ends_what_it_did_not_take),
        mount_test(a_batch_that_is_torn_costs_no_bytes),
        mount_test(without_memory_to_copy_through_it_is_enomem),
    };
    tester = pthread_self();
    if (!uring_is_here()) {
        return uring_skip();
    }
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
