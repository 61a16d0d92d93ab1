/* Several mounts of one root in the mem adapter, and many threads on one. */
#include "mem_fixture.h"

#include "core/clock.h"

#include <pthread.h>
#include <time.h>

/* Longer than names and sizes may lie. */
static void let_it_settle(void)
{
    struct timespec wait = {0, 60 * 1000000};

    nanosleep(&wait, NULL);
}

/* What lies for 50 ms is looked at within them, or the look says nothing. */
#define STILL(start_ns, condition)                                             \
    do {                                                                       \
        bool holds = (condition);                                              \
        if (kvt_clock_ns() - (start_ns) < 50 * 1000000) {                      \
            assert_true(holds);                                                \
        }                                                                      \
    } while (0)

static bool sees(struct kvt_fs *fs, const char *path, const char *text)
{
    char got[64];

    return mem_get(fs, path, got) == (int64_t)strlen(text) &&
           strcmp(got, text) == 0;
}

/* Visibility -------------------------------------------------------------- */

static void plain_mounts_see_each_other_at_once(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *a = mem_mount(f, "");
    struct kvt_fs *b = mem_mount(f, "");
    struct kvt_fs_file *file = mem_create(a, "x");

    assert_int_equal(mem_write(a, file, 0, "abc", 3), 3);
    mem_expect(b, "x", "abc");
    assert_int_equal(mem_remove(b, "x"), 0);
    assert_int_equal(mem_stat(a, "x"), -ENOENT);
    assert_int_equal(mem_close(a, file), 0);
}

static void bytes_are_seen_by_others_after_close(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *a = mem_mount(f, "close_to_open");
    struct kvt_fs *b = mem_mount(f, "close_to_open");
    struct kvt_fs_file *file;
    char text[64];

    mem_put(a, "x", "old");
    let_it_settle();
    assert_int_equal(mem_open(a, "x", KVT_FS_FOR_WRITE, &file), 0);
    assert_int_equal(mem_write(a, file, 0, "NEW", 3), 3);
    assert_int_equal(mem_write(a, file, 6, "end", 3), 3);
    assert_int_equal(mem_stat(a, "x"), 9);
    assert_int_equal(mem_stat(b, "x"), 3);
    mem_expect(b, "x", "old");
    int64_t start_ns = kvt_clock_ns();
    assert_int_equal(mem_close(a, file), 0);
    STILL(start_ns, mem_stat(b, "x") == 3);     /* attributes lie a while */
    assert_int_equal(mem_get(b, "x", text), 9); /* what is opened does not */
    assert_memory_equal(text, "NEW\0\0\0end", 9);
    let_it_settle();
    assert_int_equal(mem_stat(b, "x"), 9);
}

static void writers_on_two_hosts_keep_apart_what_they_wrote(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *fs[2];
    struct kvt_fs_file *file[2];

    mem_put(mem_mount(f, ""), "x", "..........");
    for (int i = 0; i < 2; i++) {
        fs[i] = mem_mount(f, "close_to_open");
        assert_int_equal(mem_open(fs[i], "x", KVT_FS_FOR_WRITE, &file[i]), 0);
    }
    assert_int_equal(mem_write(fs[0], file[0], 1, "aa", 2), 2);
    assert_int_equal(mem_write(fs[0], file[0], 8, "aaa", 3), 3);
    assert_int_equal(mem_write(fs[1], file[1], 4, "bb", 2), 2);
    mem_expect(fs[0], "x", ".aa.....aaa");
    mem_expect(fs[1], "x", "....bb....");
    assert_int_equal(mem_close(fs[0], file[0]), 0);
    mem_expect(fs[1], "x", ".aa.bb..aaa");
    assert_int_equal(mem_close(fs[1], file[1]), 0);
    mem_expect(f->fs[0], "x", ".aa.bb..aaa");
    assert_int_equal(mem_used(fs[0]), 2);
}

struct names {
    char text[64];
};

static int note(const struct kvt_fs_dirent *entry, void *arg)
{
    struct names *names = arg;
    size_t used = strlen(names->text);

    snprintf(names->text + used, sizeof names->text - used, "%s", entry->name);
    return 0;
}

static bool lists(struct kvt_fs *fs, const char *names)
{
    struct names got = {""};

    assert_int_equal(kvt_fs_list(fs, ".", true, note, &got), 0);
    return strcmp(got.text, names) == 0;
}

static void names_of_others_are_seen_late(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *a = mem_mount(f, "close_to_open");
    struct kvt_fs *b = mem_mount(f, "close_to_open");
    int64_t start_ns = kvt_clock_ns();

    mem_put(a, "x", "one");
    STILL(start_ns, mem_stat(b, "x") == -ENOENT);
    STILL(start_ns, lists(b, ""));
    assert_true(lists(a, "x"));
    let_it_settle();
    mem_expect(b, "x", "one");
    assert_true(lists(b, "x"));

    start_ns = kvt_clock_ns();
    assert_int_equal(mem_publish(a, "x", "two", 3, 0), 3);
    mem_expect(a, "x", "two");
    STILL(start_ns, sees(b, "x", "one")); /* an old file under its name */
    let_it_settle();
    mem_expect(b, "x", "two");

    start_ns = kvt_clock_ns();
    assert_int_equal(mem_remove(a, "x"), 0);
    STILL(start_ns, sees(b, "x", "two"));
    STILL(start_ns, lists(b, "x"));
    assert_int_equal(mem_used(b), 1);
    assert_int_equal(mem_remove(b, "x"), -ENOENT); /* changes do not lie */
    let_it_settle();
    assert_int_equal(mem_stat(b, "x"), -ENOENT);
    assert_true(lists(b, ""));
}

static void a_change_goes_by_what_is_there(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *a = mem_mount(f, "close_to_open");
    struct kvt_fs *b = mem_mount(f, "close_to_open");
    struct kvt_fs_file *file;
    uint32_t exclusive = KVT_FS_FOR_WRITE | KVT_FS_CREATE | KVT_FS_EXCLUSIVE;
    int64_t start_ns = kvt_clock_ns();

    mem_put(a, "x", "one");
    STILL(start_ns, mem_stat(b, "x") == -ENOENT);
    assert_int_equal(mem_open(b, "x", exclusive, &file), -EEXIST);
    mem_expect(b, "x", "one"); /* who met it knows it */
    mem_put(a, "y", "one");
    assert_int_equal(mem_publish(b, "y", "two", 3, KVT_FS_IF_ABSENT), -EEXIST);
    assert_int_equal(mem_remove(b, "y"), 0);
    assert_int_equal(mem_stat(b, "y"), -ENOENT); /* its own change */
    assert_int_equal(kvt_fs_mkdirs(a, "d"), 0);
    mem_put(a, "d/z", "z");
    assert_int_equal(kvt_fs_rmdir(b, "d"), -ENOTEMPTY);
    assert_int_equal(mem_remove(a, "d/z"), 0);
    assert_int_equal(kvt_fs_rmdir(b, "d"), 0);
}

static void many_removals_leave_nothing_behind(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *a = mem_mount(f, "close_to_open");
    struct kvt_fs *b = mem_mount(f, "close_to_open");

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 2000; i++) {
            char name[16];
            snprintf(name, sizeof name, "%d", i);
            mem_put(a, name, "x");
            assert_int_equal(mem_remove(i % 2 ? b : a, name), 0);
        }
        let_it_settle();
    }
    assert_int_equal(mem_used(a), 1);
    assert_true(lists(a, ""));
    assert_true(lists(b, ""));
}

static void bytes_are_seen_by_others_after_sync(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *a = mem_mount(f, "after_sync");
    struct kvt_fs *b = mem_mount(f, "after_sync");
    struct kvt_fs_file *file = mem_create(a, "x");

    assert_int_equal(mem_write(a, file, 0, "abc", 3), 3);
    assert_int_equal(mem_stat(b, "x"), 0);
    assert_int_equal(mem_file_op(a, KVT_FS_DATASYNC, file), 0);
    mem_expect(b, "x", "abc");
    assert_int_equal(mem_write(a, file, 3, "def", 3), 3);
    assert_int_equal(mem_close(a, file), 0);
    mem_expect(b, "x", "abc");
    mem_expect(a, "x", "abcdef");
    assert_int_equal(mem_open(a, "x", 0, &file), 0);
    assert_int_equal(mem_file_op(a, KVT_FS_SYNC, file), 0);
    mem_expect(b, "x", "abcdef");
    assert_int_equal(mem_close(a, file), 0);

    mem_put(a, "y", "gone"); /* pending when it is removed */
    assert_int_equal(mem_remove(b, "y"), 0);
    assert_int_equal(mem_used(a), 2);
}

static void a_cut_by_one_host_does_not_uncharge_the_other(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *a = mem_mount_sized(f, "after_sync", 4 * UNIT);
    struct kvt_fs *b = mem_mount_sized(f, "after_sync", 4 * UNIT);
    static unsigned char bytes[3 * UNIT];
    struct kvt_fs_file *in_a = mem_create(a, "x");
    struct kvt_fs_file *in_b = mem_create(b, "x");

    assert_int_equal(mem_write(a, in_a, 0, bytes, sizeof bytes), sizeof bytes);
    assert_int_equal(mem_used(a), 4);
    assert_int_equal(mem_punch(b, in_b, 0, sizeof bytes), 0);
    assert_int_equal(mem_used(a), 1);
    assert_int_equal(mem_file_op(a, KVT_FS_SYNC, in_a), 0);
    assert_int_equal(mem_used(a), 4);
    assert_int_equal(mem_write(a, in_a, 0, bytes, sizeof bytes), sizeof bytes);
    assert_int_equal(mem_punch(b, in_b, 0, sizeof bytes), 0);
    mem_put(b, "y", "taken meanwhile");
    assert_int_equal(mem_file_op(a, KVT_FS_SYNC, in_a), -ENOSPC);
    assert_int_equal(mem_close(a, in_a), 0);
    assert_int_equal(mem_close(b, in_b), 0);
}

/* Threads ----------------------------------------------------------------- */

enum {
    THREADS = 16,
    SHARE = 3 * 65536 + 4321, /* of the file that all write */
    ROUNDS = 40,
};

struct worker {
    struct kvt_fs *fs;
    struct kvt_fs_file *file;
    size_t number;
    size_t faults;
    pthread_t thread;
};

static bool all_are(const unsigned char *bytes, size_t size, int value)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != value) {
            return false;
        }
    }
    return true;
}

/* Each its part of one file; and files that all publish, read and remove,
 * whole or not at all. cmocka's checks are for the main thread. */
static void *work(void *arg)
{
    struct worker *worker = arg;
    struct kvt_fs *fs = worker->fs;
    uint64_t seed = worker->number + 1;
    unsigned char *bytes = malloc(SHARE);
    uint64_t offset = worker->number * SHARE;

    for (int round = 0; round < ROUNDS && bytes != NULL; round++) {
        int value = (int)unit_random_below(&seed, 255) + 1;
        size_t size = unit_random_below(&seed, 20000) + 1;
        char path[32];
        struct kvt_fs_file *file;

        memset(bytes, value, SHARE);
        worker->faults +=
            mem_write(fs, worker->file, offset, bytes, SHARE) != SHARE;
        snprintf(path, sizeof path, "d%zu/%zu", unit_random_below(&seed, 3),
                 unit_random_below(&seed, 8));
        if (unit_random_below(&seed, 4) == 0) {
            int64_t rc = mem_remove(fs, path);
            worker->faults += rc != 0 && rc != -ENOENT;
        } else {
            /* temporary names are each thread's own */
            char temp[32];
            struct kvt_slice slice = {bytes, size, NULL};
            struct kvt_fs_elem elem = {.op = KVT_FS_PUBLISH,
                                       .path = path,
                                       .temp_path = temp,
                                       .slices = &slice,
                                       .slice_count = 1};
            snprintf(temp, sizeof temp, "tmp%zu", worker->number);
            worker->faults += kvt_fs_run(fs, &elem) != (int64_t)size;
        }
        memset(bytes, 0, SHARE);
        worker->faults +=
            mem_read(fs, worker->file, offset, bytes, SHARE) != SHARE;
        worker->faults += !all_are(bytes, SHARE, value);
        if (mem_open(fs, path, KVT_FS_WANT_SIZE, &file) == 0) {
            int64_t got = mem_read(fs, file, 0, bytes, SHARE);
            worker->faults +=
                got <= 0 || !all_are(bytes, (size_t)got, bytes[0]);
            worker->faults += mem_close(fs, file) != 0;
        }
    }
    free(bytes);
    return NULL;
}

static void run_threads(struct mem_fixture *f, const char *facts)
{
    struct worker workers[THREADS];
    struct kvt_fs *fs[2] = {mem_mount(f, facts), mem_mount(f, facts)};
    struct kvt_fs_file *files[2] = {mem_create(fs[0], "shared"),
                                    mem_create(fs[1], "shared")};

    for (size_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){fs[i % 2], files[i % 2], i, 0, 0};
        assert_int_equal(
            pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].faults, 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mem_close(fs[i], files[i]), 0);
    }
    assert_int_equal(mem_used(fs[0]) >= 1 + THREADS * SHARE / UNIT, 1);
    for (int i = 0; i < 3; i++) {
        char path[16];
        snprintf(path, sizeof path, "d%d", i);
        let_it_settle();
        assert_int_equal(kvt_fs_remove_tree(fs[0], path), 0);
    }
    assert_int_equal(mem_used(fs[0]), 2 + THREADS * SHARE / UNIT);
    assert_int_equal(mem_remove(fs[0], "shared"), 0);
    assert_int_equal(mem_used(fs[0]), 1);
    kvt_fs_unmount(f->fs[--f->fs_count]);
    kvt_fs_unmount(f->fs[--f->fs_count]);
}

static void sixteen_threads_on_two_mounts(void **state)
{
    run_threads(*state, "");
    run_threads(*state, "no_rename");
    run_threads(*state, "close_to_open");
    run_threads(*state, "close_to_open,no_rename");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(plain_mounts_see_each_other_at_once),
        CASE(bytes_are_seen_by_others_after_close),
        CASE(writers_on_two_hosts_keep_apart_what_they_wrote),
        CASE(names_of_others_are_seen_late),
        CASE(a_change_goes_by_what_is_there),
        CASE(many_removals_leave_nothing_behind),
        CASE(bytes_are_seen_by_others_after_sync),
        CASE(a_cut_by_one_host_does_not_uncharge_the_other),
        CASE(sixteen_threads_on_two_mounts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
