/* What every wrapper shares: whatever it wraps, it hands on unchanged. */
#include "mount_fixture.h"
#include "support/null_ring.h"

#include "core/clock.h"
#include "fs/wrap.h"

#include <errno.h>
#include <pthread.h>

#define MS INT64_C(1000000)

static const char *const names[] = {
    "trace:posix",
    "fault:posix",
    "crash:posix",
    "trace:fault:posix",
    "fault:trace:posix",
    "trace:trace:posix",
    "crash:fault:trace:posix",
};
#define NAMES (sizeof names / sizeof names[0])

/* Runs `check` on each of the names, in a directory of its own. */
static void on_each(void **state, void (*check)(struct kvt_fs *fs))
{
    struct mounted *m = *state;
    char file[600];
    snprintf(file, sizeof file, "%s/trace", m->top);
    mounted_set(m, "trace.file", file);
    for (size_t i = 0; i < NAMES; i++) {
        snprintf(m->root, sizeof m->root, "%s/%zu", m->top, i);
        size_t before = open_descriptors();
        check(mounted_start(m, names[i]));
        assert_string_equal(kvt_fs_name(m->fs), names[i]);
        mounted_stop(m);
        assert_int_equal(open_descriptors(), before);
    }
}

static void check_whole_files(struct kvt_fs *fs)
{
    char text[32];
    struct kvt_fs_elem stat = {.op = KVT_FS_STAT, .path = "a/b"};
    assert_int_equal(do_publish(fs, "a/b", "hello", 0), 5);
    assert_int_equal(do_fetch(fs, "a/b", text, sizeof text), 5);
    assert_string_equal(text, "hello");
    assert_int_equal(do_publish(fs, "a/b", "again", KVT_FS_IF_ABSENT), -EEXIST);
    assert_int_equal(do_publish(fs, "a/b", "other!", KVT_FS_DURABLE), 6);
    assert_int_equal(kvt_fs_run(fs, &stat), 0);
    assert_int_equal(stat.file_size, 6);
    struct kvt_slice slice = {text, 3, NULL};
    struct kvt_fs_elem tail = {.op = KVT_FS_FETCH,
                               .flags = KVT_FS_FROM_END | KVT_FS_WANT_SIZE,
                               .path = "a/b",
                               .offset = 3,
                               .slices = &slice,
                               .slice_count = 1};
    assert_int_equal(kvt_fs_run(fs, &tail), 3);
    assert_memory_equal(text, "er!", 3);
    assert_int_equal(tail.file_size, 6);
    assert_int_equal(do_path(fs, KVT_FS_REMOVE, "a/b"), 0);
    assert_int_equal(do_path(fs, KVT_FS_REMOVE, "a/b"), -ENOENT);
    assert_int_equal(do_fetch(fs, "a/b", text, sizeof text), -ENOENT);
    assert_int_equal(do_path(fs, KVT_FS_REMOVE, "temp"), -ENOENT);
}

static void whole_files_go_through(void **state)
{
    on_each(state, check_whole_files);
}

static void check_open_files(struct kvt_fs *fs)
{
    struct kvt_fs_file *file;
    char text[8] = "";
    assert_int_equal(do_open(fs, "f", 0, &file), -ENOENT);
    assert_int_equal(do_open(fs, "f", KVT_FS_FOR_WRITE | KVT_FS_CREATE, &file),
                     0);
    assert_ptr_equal(file->fs, fs);
    assert_int_equal(do_write(fs, file, 2, "abc", 3), 3);
    assert_int_equal(do_file(fs, KVT_FS_DATASYNC, file), 0);
    assert_int_equal(do_file(fs, KVT_FS_SYNC, file), 0);
    assert_int_equal(kvt_fs_truncate(fs, file, 4), 0);
    assert_int_equal(kvt_fs_allocate(fs, file, 8192), 0);
    assert_int_equal(kvt_fs_advise(fs, file, 0, 0, KVT_FS_DROP), 0);
    assert_int_equal(do_read(fs, file, 0, text, sizeof text), 4);
    assert_memory_equal(text, "\0\0ab", 4);
    assert_int_equal(do_file(fs, KVT_FS_CLOSE, file), 0);
    assert_int_equal(do_path(fs, KVT_FS_SYNC, "."), 0);
}

static void open_files_go_through(void **state)
{
    on_each(state, check_open_files);
}

static int count_name(const struct kvt_fs_dirent *entry, void *arg)
{
    (void)entry;
    ++*(int *)arg;
    return 0;
}

static int stop_at_once(const struct kvt_fs_dirent *entry, void *arg)
{
    (void)entry;
    (void)arg;
    return 7;
}

static void check_control_calls(struct kvt_fs *fs)
{
    struct kvt_fs_usage usage;
    int count = 0;
    assert_int_equal(kvt_fs_probe(fs), 0);
    assert_int_equal(kvt_fs_usage(fs, &usage), 0);
    assert_true(usage.capacity > 0);
    assert_int_equal(kvt_fs_mkdirs(fs, "d/e"), 0);
    assert_int_equal(do_publish(fs, "d/f", "x", 0), 1);
    assert_int_equal(kvt_fs_link(fs, "d/f", "d/g"), 0);
    assert_int_equal(kvt_fs_link(fs, "d/f", "d/g"), -EEXIST);
    assert_int_equal(kvt_fs_rename(fs, "d/f", "d/g", false), -EEXIST);
    assert_int_equal(kvt_fs_rename(fs, "d/f", "d/h", false), 0);
    assert_int_equal(kvt_fs_list(fs, "d", true, count_name, &count), 0);
    assert_int_equal(count, 3);
    assert_int_equal(kvt_fs_list(fs, "d", true, stop_at_once, NULL), 7);
    assert_int_equal(kvt_fs_rmdir(fs, "d"), -ENOTEMPTY);
    assert_int_equal(kvt_fs_rmdir(fs, "d/e"), 0);
    assert_int_equal(kvt_fs_remove_tree(fs, "d"), 0);
    assert_int_equal(kvt_fs_list(fs, "d", true, count_name, &count), -ENOENT);
}

static void control_calls_go_through(void **state)
{
    on_each(state, check_control_calls);
}

static void check_locks(struct kvt_fs *fs)
{
    struct kvt_fs_lock *lock;
    struct kvt_fs_lock *second;
    char owner[32];
    assert_int_equal(kvt_fs_lock(fs, "lock", "me", owner, sizeof owner, &lock),
                     0);
    assert_ptr_equal(lock->fs, fs);
    assert_int_equal(
        kvt_fs_lock(fs, "lock", "you", owner, sizeof owner, &second), -EBUSY);
    assert_string_equal(owner, "me");
    kvt_fs_unlock(lock);
    assert_int_equal(
        kvt_fs_lock(fs, "lock", "you", owner, sizeof owner, &second), 0);
    kvt_fs_unlock(second);
}

static void locks_go_through(void **state)
{
    on_each(state, check_locks);
}

static void check_memory(struct kvt_fs *fs)
{
    struct kvt_mem *mem;
    assert_int_equal(kvt_mem_alloc(fs, 4096, &mem), 0);
    memset(kvt_mem_base(mem), 'm', 4096);
    kvt_mem_free(mem);
    const struct kvt_fs_facts *facts = kvt_fs_facts(fs);
    assert_true(facts->hard_links && facts->atomic_rename);
    assert_true(facts->depth > 0 && facts->path_max > 0);
    assert_int_equal(facts->size, sizeof *facts);
}

static void memory_and_facts_are_those_inside(void **state)
{
    on_each(state, check_memory);
}

/* Queues ------------------------------------------------------------------ */

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
    kvt_fs_submit(queue, chain, 5);
    finish(queue);
    assert_int_equal(chain[0].result, 0);
    assert_int_equal(chain[1].result, 5);
    assert_int_equal(chain[2].result, 0);
    assert_int_equal(chain[3].result, 0);
    assert_int_equal(chain[4].file_size, 5);

    /* nothing to open: the rest is not started */
    struct kvt_fs_elem broken[3] = {
        {.op = KVT_FS_OPEN, .flags = KVT_FS_THEN, .path = "missing"},
        {.op = KVT_FS_READ,
         .flags = KVT_FS_THEN,
         .slices = &slice,
         .slice_count = 1},
        {.op = KVT_FS_CLOSE},
    };
    kvt_fs_submit(queue, broken, 3);
    finish(queue);
    assert_int_equal(broken[0].result, -ENOENT);
    assert_int_equal(broken[1].result, -ECANCELED);
    assert_int_equal(broken[2].result, -ECANCELED);

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
    kvt_fs_submit(queue, mixed, 5);
    finish(queue);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(mixed[i].result, i == 2 ? 5 : 0);
    }

    /* a write to a file that was opened to read: closed all the same */
    struct kvt_fs_elem refused[3] = {
        {.op = KVT_FS_OPEN, .flags = KVT_FS_THEN, .path = "c"},
        {.op = KVT_FS_WRITE,
         .flags = KVT_FS_THEN,
         .slices = &slice,
         .slice_count = 1},
        {.op = KVT_FS_CLOSE},
    };
    kvt_fs_submit(queue, refused, 3);
    finish(queue);
    assert_int_equal(refused[0].result, 0);
    assert_int_equal(refused[1].result, -EBADF);
    assert_int_equal(refused[2].result, 0);
    assert_int_equal(kvt_fs_queue_close(queue), 0);
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

struct writer {
    pthread_t thread;
    struct kvt_fs *fs;
    size_t number;
    bool good;
};

static void *write_and_read(void *arg)
{
    struct writer *writer = arg;
    writer->good = true;
    for (int i = 0; i < 20 && writer->good; i++) {
        char path[32];
        char temp[32];
        char text[32];
        char back[32] = "";
        snprintf(path, sizeof path, "t/%zu", writer->number);
        snprintf(temp, sizeof temp, "t.%zu", writer->number);
        snprintf(text, sizeof text, "%zu of %d", writer->number, i);
        struct kvt_slice slice = {text, strlen(text), NULL};
        struct kvt_fs_elem publish = {.op = KVT_FS_PUBLISH,
                                      .path = path,
                                      .temp_path = temp,
                                      .slices = &slice,
                                      .slice_count = 1};
        writer->good =
            kvt_fs_run(writer->fs, &publish) == (int64_t)slice.size &&
            do_fetch(writer->fs, path, back, sizeof back) > 0 &&
            strcmp(text, back) == 0;
    }
    return NULL;
}

static void check_threads(struct kvt_fs *fs)
{
    struct writer writers[8];
    for (size_t i = 0; i < 8; i++) {
        writers[i].fs = fs;
        writers[i].number = i;
        assert_int_equal(pthread_create(&writers[i].thread, NULL,
                                        write_and_read, &writers[i]),
                         0);
    }
    for (size_t i = 0; i < 8; i++) {
        pthread_join(writers[i].thread, NULL);
        assert_true(writers[i].good);
    }
}

static void many_threads_use_one_mount(void **state)
{
    on_each(state, check_threads);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        mount_test(whole_files_go_through),
        mount_test(open_files_go_through),
        mount_test(control_calls_go_through),
        mount_test(locks_go_through),
        mount_test(memory_and_facts_are_those_inside),
        mount_test(each_element_is_completed_once),
        mount_test(chains_keep_their_order_and_their_file),
        mount_test(an_element_may_be_used_again_as_it_is),
        mount_test(a_wake_ends_a_poll),
        mount_test(deadlines_hold_through_wrappers),
        mount_test(many_threads_use_one_mount),
        cmocka_unit_test(what_goes_together_is_handed_on_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
