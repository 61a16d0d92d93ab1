/* Queues and chains of elements through wrappers. */
#include "support/null_ring.h"
#include "wrap_fixture.h"

#include "core/clock.h"
#include "fs/wrap.h"

#include <errno.h>
#include <pthread.h>

#define MS INT64_C(1000000)

/* Which allocation fails, from 1; 0: none. */
static size_t fail_at;
static size_t allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

void *__wrap_malloc(size_t size)
{
    return fail_at != 0 && __atomic_add_fetch(&allocations, 1,
                                              __ATOMIC_RELAXED) >= fail_at
               ? NULL
               : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fail_at != 0 && __atomic_add_fetch(&allocations, 1,
                                              __ATOMIC_RELAXED) >= fail_at
               ? NULL
               : __real_calloc(count, size);
}

struct counted {
    size_t done;
    struct kvt_fs_elem *again; /* submitted from the first callback */
};

static void count_done(struct kvt_fs_elem *elem)
{
    struct counted *counted = elem->arg;
    struct kvt_fs_elem *again = counted->again;
    counted->done++;
    counted->again = NULL;
    if (again != NULL) {
        kvt_fs_submit(elem->queue, again, 1);
    }
}

static struct kvt_fs_queue *open_queue(struct kvt_fs *fs, uint32_t depth,
                                       bool poll_works)
{
    struct kvt_fs_queue_options options = {sizeof options, depth, poll_works};
    struct kvt_fs_queue *queue;
    assert_int_equal(kvt_fs_queue_open(fs, &options, &queue), 0);
    return queue;
}

static void finish(struct kvt_fs_queue *queue)
{
    while (kvt_fs_in_flight(queue) > 0) {
        kvt_fs_poll(queue, 1, 0);
    }
}

static void check_queue(struct kvt_fs *fs)
{
    enum {
        COUNT = 100
    };
    static struct kvt_fs_elem elems[COUNT];
    struct kvt_fs_elem again = {.op = KVT_FS_STAT, .path = "none"};
    assert_int_equal(do_publish(fs, "f", "12345", 0), 5);
    for (int works = 0; works < 2; works++) {
        struct kvt_fs_queue *queue = open_queue(fs, 7, works == 1);
        struct counted counted = {.again = &again};
        again.done = count_done;
        again.arg = &counted;
        for (size_t i = 0; i < COUNT; i++) {
            elems[i] = (struct kvt_fs_elem){.op = KVT_FS_STAT,
                                            .path = i % 3 ? "f" : "missing",
                                            .done = count_done,
                                            .arg = &counted};
        }
        kvt_fs_submit(queue, elems, COUNT);
        finish(queue);
        assert_int_equal(counted.done, COUNT + 1);
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(elems[i].result, i % 3 ? 0 : -ENOENT);
            assert_int_equal(elems[i].file_size, i % 3 ? 5 : 0);
        }
        assert_int_equal(kvt_fs_poll(queue, 1, kvt_clock_ns() + 5 * MS), 0);
        assert_int_equal(kvt_fs_queue_close(queue), 0);
    }
}

static void each_element_is_completed_once(void **state)
{
    on_each(state, check_queue);
}

static void run_chain(struct kvt_fs_queue *queue, struct kvt_fs_elem *chain,
                      size_t count)
{
    kvt_fs_submit(queue, chain, count);
    finish(queue);
}

static void check_chains(struct kvt_fs *fs)
{
    struct kvt_fs_queue *queue = open_queue(fs, 3, false);
    struct kvt_slice slice = {(char[]){"chain"}, 5, NULL};
    struct kvt_fs_elem chain[5] = {
        {.op = KVT_FS_OPEN,
         .flags = KVT_FS_THEN | KVT_FS_FOR_WRITE | KVT_FS_CREATE,
         .path = "c"},
        {.op = KVT_FS_WRITE,
         .flags = KVT_FS_THEN,
         .slices = &slice,
         .slice_count = 1},
        {.op = KVT_FS_DATASYNC, .flags = KVT_FS_THEN},
        {.op = KVT_FS_CLOSE, .flags = KVT_FS_THEN},
        {.op = KVT_FS_STAT, .path = "c"},
    };
    run_chain(queue, chain, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(chain[i].result, i == 1 ? 5 : 0);
    }
    assert_int_equal(chain[4].file_size, 5);

    /* steps between that have no file, and paths from another use */
    struct kvt_fs_elem mixed[5] = {
        {.op = KVT_FS_OPEN, .flags = KVT_FS_THEN, .path = "c"},
        {.op = KVT_FS_STAT, .flags = KVT_FS_THEN, .path = "c"},
        {.op = KVT_FS_READ,
         .flags = KVT_FS_THEN,
         .path = "other",
         .slices = &slice,
         .slice_count = 1},
        {.op = KVT_FS_CLOSE, .flags = KVT_FS_THEN, .path = "other"},
        {.op = KVT_FS_SYNC, .path = "."},
    };
    run_chain(queue, mixed, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(mixed[i].result, i == 2 ? 5 : 0);
    }
    assert_int_equal(kvt_fs_queue_close(queue), 0);
}

static void check_broken_chains(struct kvt_fs *fs)
{
    struct kvt_fs_queue *queue = open_queue(fs, 3, false);
    struct kvt_slice slice = {(char[]){"chain"}, 5, NULL};
    struct kvt_fs_elem missing[3] = {
        {.op = KVT_FS_OPEN, .flags = KVT_FS_THEN, .path = "missing"},
        {.op = KVT_FS_READ,
         .flags = KVT_FS_THEN,
         .slices = &slice,
         .slice_count = 1},
        {.op = KVT_FS_CLOSE},
    };
    run_chain(queue, missing, 3);
    assert_int_equal(missing[0].result, -ENOENT);
    assert_int_equal(missing[1].result, -ECANCELED);
    assert_int_equal(missing[2].result, -ECANCELED);

    /* a write to a file that was opened to read: closed all the same */
    assert_int_equal(do_publish(fs, "c", "x", 0), 1);
    struct kvt_fs_elem refused[3] = {
        {.op = KVT_FS_OPEN, .flags = KVT_FS_THEN, .path = "c"},
        {.op = KVT_FS_WRITE,
         .flags = KVT_FS_THEN,
         .slices = &slice,
         .slice_count = 1},
        {.op = KVT_FS_CLOSE},
    };
    run_chain(queue, refused, 3);
    assert_int_equal(refused[0].result, 0);
    assert_int_equal(refused[1].result, -EBADF);
    assert_int_equal(refused[2].result, 0);
    assert_int_equal(kvt_fs_queue_close(queue), 0);
}

static void a_broken_chain_closes_what_it_opened(void **state)
{
    on_each(state, check_broken_chains);
}

static void chains_keep_their_order_and_their_file(void **state)
{
    on_each(state, check_chains);
}

static void check_old_fields(struct kvt_fs *fs)
{
    struct kvt_fs_queue *queue = open_queue(fs, 4, false);
    struct kvt_fs_elem elem = {.op = KVT_FS_OPEN,
                               .flags = KVT_FS_FOR_WRITE | KVT_FS_CREATE,
                               .path = "old"};
    static const enum kvt_fs_op then[] = {
        KVT_FS_DATASYNC, KVT_FS_SYNC, KVT_FS_CLOSE, KVT_FS_STAT, KVT_FS_REMOVE};
    kvt_fs_submit(queue, &elem, 1);
    finish(queue);
    assert_int_equal(elem.result, 0);
    for (size_t i = 0; i < sizeof then / sizeof then[0]; i++) {
        elem.op = then[i]; /* with the path, and the file, that are there */
        kvt_fs_submit(queue, &elem, 1);
        finish(queue);
        assert_int_equal(elem.result, 0);
    }
    assert_int_equal(do_path(fs, KVT_FS_STAT, "old"), -ENOENT);
    assert_int_equal(kvt_fs_queue_close(queue), 0);
}

static void an_element_may_be_used_again_as_it_is(void **state)
{
    on_each(state, check_old_fields);
}

static void *wake_soon(void *arg)
{
    struct timespec pause = {0, 20 * MS};
    nanosleep(&pause, NULL);
    kvt_fs_wake(arg);
    return NULL;
}

static void check_wake(struct kvt_fs *fs)
{
    struct kvt_fs_queue *queue = open_queue(fs, 4, false);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wake_soon, queue), 0);
    assert_int_equal(kvt_fs_poll(queue, 1, 0), 0);
    pthread_join(thread, NULL);
    kvt_fs_wake(queue); /* before the poll: it does not wait */
    assert_int_equal(kvt_fs_poll(queue, 1, 0), 0);
    assert_int_equal(kvt_fs_queue_close(queue), 0);
}

static void a_wake_ends_a_poll(void **state)
{
    on_each(state, check_wake);
}

static void check_deadline(struct kvt_fs *fs)
{
    struct kvt_fs_queue *queue = open_queue(fs, 4, true);
    char text[8];
    struct kvt_slice slice = {text, 5, NULL};
    struct counted counted = {0};
    struct kvt_fs_elem fetch = {.op = KVT_FS_FETCH,
                                .path = "f",
                                .slices = &slice,
                                .slice_count = 1,
                                .done = count_done,
                                .arg = &counted,
                                .deadline_ns = kvt_clock_ns() + 60000 * MS};
    assert_int_equal(do_publish(fs, "f", "12345", 0), 5);
    kvt_fs_submit(queue, &fetch, 1);
    finish(queue);
    assert_int_equal(counted.done, 1);
    assert_int_equal(fetch.result, 5);
    assert_memory_equal(text, "12345", 5);
    assert_int_equal(kvt_fs_queue_close(queue), 0);
}

static void deadlines_hold_through_wrappers(void **state)
{
    on_each(state, check_deadline);
}

/* Over a ring ------------------------------------------------------------- */

static int64_t count_before(struct kvt_wrap *wrap, struct kvt_wrap_call *call)
{
    (void)wrap;
    (void)call;
    return 0;
}

static const struct kvt_wrap_hooks no_hooks = {.before = count_before};

static const struct kvt_fs_ops looking = {
    KVT_WRAP_OPS,
    KVT_WRAP_QUEUED,
    .name = "looking",
};

static void what_goes_together_is_handed_on_together(void **state)
{
    struct null_ring ring;
    struct kvt_fs_core core = {0};
    struct kvt_wrap wrap;
    struct kvt_fs_elem elems[40];
    struct counted counted = {0};
    (void)state;
    null_ring_init(&ring, 16, true);
    struct kvt_fs_mount_args args = {.size = sizeof args, .inner = &ring.fs};
    kvt_wrap_init(&wrap, &looking, &no_hooks, &args);
    wrap.base.core = &core;
    assert_int_equal(wrap.base.facts.depth, 16);
    assert_null(wrap.base.ops->mem_alloc);
    struct kvt_fs_queue *queue = open_queue(&wrap.base, 0, false);
    for (size_t round = 1; round <= 3; round++) {
        for (size_t i = 0; i < 12; i++) { /* 4 alone, 2 chains of 4 */
            bool then = i >= 4 && i % 4 != 3;
            elems[i] = (struct kvt_fs_elem){.op = KVT_FS_STAT,
                                            .flags = then ? KVT_FS_THEN : 0,
                                            .path = "p",
                                            .done = count_done,
                                            .arg = &counted};
        }
        kvt_fs_submit(queue, elems, 12);
        assert_int_equal(ring.submissions, round);
        assert_int_equal(ring.in_ring, 12);
        finish(queue);
        assert_int_equal(counted.done, 12 * round);
    }
    assert_int_equal(kvt_fs_queue_close(queue), 0);
    assert_int_equal(ring.queues_open, 0);
}

/* The n-th allocation fails, and all behind it. */
static void check_closes(struct kvt_fs *fs)
{
    struct kvt_fs_file *file;
    size_t before = open_descriptors();
    assert_int_equal(do_publish(fs, "f", "12345", 0), 5);
    for (size_t n = 1; n < 12; n++) {
        struct kvt_fs_elem chain[3] = {
            {.op = KVT_FS_OPEN, .flags = KVT_FS_THEN, .path = "f"},
            {.op = KVT_FS_DATASYNC, .flags = KVT_FS_THEN},
            {.op = KVT_FS_CLOSE},
        };
        assert_int_equal(do_open(fs, "f", 0, &file), 0);
        struct kvt_fs_elem alone = {.op = KVT_FS_CLOSE, .file = file};
        struct kvt_fs_queue *queue = open_queue(fs, 3, false);
        allocations = 0;
        fail_at = n;
        run_chain(queue, chain, 3);
        run_chain(queue, &alone, 1);
        fail_at = 0;
        assert_int_equal(alone.result, 0);
        assert_int_equal(kvt_fs_queue_close(queue), 0);
        assert_int_equal(open_descriptors(), before);
    }
}

static void files_are_closed_without_memory_too(void **state)
{
    on_each(state, check_closes);
}

/* A publish that replaced a file and could not be kept: it says so. */
static void a_loss_is_told_through_a_queue(void **state)
{
    static const char *const names[] = {"fault:posix", "trace:fault:posix",
                                        "fault:trace:posix"};
    struct mounted *m = *state;
    char file[600];
    snprintf(file, sizeof file, "%s/trace", m->top);
    mounted_set(m, "trace.file", file);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        mounted_set(m, "fault.rules", "");
        struct kvt_fs *fs = mounted_start(m, names[i]);
        assert_int_equal(do_publish(fs, "f", "old", 0), 3);
        mounted_stop(m);
        mounted_set(m, "fault.rules", "sync@.,do=EIO"); /* its directory */
        fs = mounted_start(m, names[i]);
        struct kvt_slice slice = {(char[]){"new"}, 3, NULL};
        struct kvt_fs_elem publish = {.op = KVT_FS_PUBLISH,
                                      .flags = KVT_FS_DURABLE,
                                      .path = "f",
                                      .temp_path = "temp",
                                      .slices = &slice,
                                      .slice_count = 1};
        struct kvt_fs_queue *queue = open_queue(fs, 3, false);
        run_chain(queue, &publish, 1);
        assert_int_equal(kvt_fs_queue_close(queue), 0);
        assert_int_equal(publish.result, -EIO);
        assert_true(publish.lost);
        assert_int_equal(do_path(fs, KVT_FS_STAT, "f"), -ENOENT);
        mounted_stop(m);
    }
}

/* What hangs inside is no reason to wait for it. */
static void poll_does_not_wait_for_what_lingers(void **state)
{
    struct mounted *m = *state;
    char file[600];
    snprintf(file, sizeof file, "%s/trace", m->top);
    mounted_set(m, "trace.file", file);
    mounted_set(m, "fault.rules", "stat@slow,hang");
    struct kvt_fs *fs = mounted_start(m, "trace:fault:posix");
    struct kvt_fs_queue *queue = open_queue(fs, 0, false);
    struct kvt_fs_elem elems[2] = {
        {.op = KVT_FS_STAT,
         .path = "slow",
         .deadline_ns = kvt_clock_ns() + 10 * MS},
        {.op = KVT_FS_STAT, .path = "fast"},
    };
    kvt_fs_submit(queue, &elems[0], 1);
    assert_int_equal(kvt_fs_poll(queue, 1, 0), 1);
    assert_int_equal(elems[0].result, -ETIMEDOUT);
    kvt_fs_submit(queue, &elems[1], 1);
    assert_int_equal(kvt_fs_poll(queue, 2, 0), 1); /* or it hangs */
    assert_int_equal(elems[1].result, -ENOENT);
    kvt_fs_release(fs);
    while (kvt_fs_lingering(queue) > 0) {
        kvt_fs_poll(queue, 1, 0);
    }
    assert_int_equal(kvt_fs_queue_close(queue), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        mount_test(files_are_closed_without_memory_too),
        mount_test(a_loss_is_told_through_a_queue),
        mount_test(poll_does_not_wait_for_what_lingers),
        mount_test(each_element_is_completed_once),
        mount_test(a_broken_chain_closes_what_it_opened),
        mount_test(chains_keep_their_order_and_their_file),
        mount_test(an_element_may_be_used_again_as_it_is),
        mount_test(a_wake_ends_a_poll),
        mount_test(deadlines_hold_through_wrappers),
        cmocka_unit_test(what_goes_together_is_handed_on_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
