/* The fault wrapper: what its rules do to calls. */
#include "mount_fixture.h"

#include "core/clock.h"

#include <errno.h>
#include <pthread.h>

#define MS INT64_C(1000000)

/* Effects ----------------------------------------------------------------- */

static struct kvt_fs *start_with(struct mounted *m, const char *rules)
{
    mounted_set(m, "fault.rules", rules);
    return mounted_start(m, "fault:posix");
}

static void a_bad_rule_ends_the_mount(void **state)
{
    struct mounted *m = *state;
    struct kvt_error err;
    size_t before = open_descriptors();
    mounted_set(m, "fault.rules", "read,do=EWHAT");
    assert_int_equal(mounted_try(m, "fault:posix", &err),
                     KVT_ERR_INVALID_PARAMS);
    assert_null(m->fs);
    assert_int_equal(open_descriptors(), before);
}

/* Which step of a publish or a fetch each operation is. */
static void steps_of_whole_files_fail_in_their_place(void **state)
{
    static const struct {
        const char *rules;
        int64_t published;
        int64_t fetched;
    } cases[] = {
        {"open,nth=1,do=EMFILE", -EMFILE, -ENOENT},
        {"open,nth=2,do=EMFILE", 3, -EMFILE},
        {"write,nth=1,do=ENOSPC", -ENOSPC, -ENOENT},
        {"write,nth=1,short=2", -EIO, -ENOENT},
        {"sync,nth=1,do=EIO", -EIO, -ENOENT}, /* the file's */
        {"sync,nth=2,do=EIO", -EIO, -ENOENT}, /* its directory's */
        {"close,nth=1,do=EDQUOT", -EDQUOT, -ENOENT},
        {"rename,nth=1,do=EXDEV", -EXDEV, -ENOENT},
        {"read,nth=1,do=ESTALE", 3, -ESTALE},
        {"read,nth=1,short=1", 3, 1},
        {"close,nth=2,do=EIO", 3, 3}, /* nothing was written */
        {"open@f,do=EACCES", 3, -EACCES},
        {"rename@f,do=EACCES", -EACCES, -ENOENT},
    };
    struct mounted *m = *state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[8];
        size_t before = open_descriptors();
        struct kvt_fs *fs = start_with(m, cases[i].rules);
        int64_t published = do_publish(fs, "f", "abc", KVT_FS_DURABLE);
        int64_t fetched = do_fetch(fs, "f", text, sizeof text);
        if (published != cases[i].published || fetched != cases[i].fetched) {
            fail_msg("%s: %lld, %lld", cases[i].rules, (long long)published,
                     (long long)fetched);
        }
        do_path(fs, KVT_FS_REMOVE, "f");
        assert_int_equal(do_path(fs, KVT_FS_REMOVE, "temp"), -ENOENT);
        mounted_stop(m);
        assert_int_equal(open_descriptors(), before);
    }
}

static int keep_name(const struct kvt_fs_dirent *entry, void *arg)
{
    (void)entry;
    (void)arg;
    return 0;
}

static void every_operation_can_fail(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs_file *file;
    struct kvt_fs_usage usage;
    struct kvt_fs_lock *lock;
    char owner[8];
    struct kvt_fs *fs = start_with(
        m, "remove,nth=1,do=EROFS;list,nth=1,do=EIO;stat,from=1,do=ESTALE;"
           "mkdir,nth=1,do=ENOSPC;sync,nth=1,do=EIO;open@lock,do=ENOLCK;"
           "write@w,from=2,do=EFBIG;close@w,do=EDQUOT");
    assert_int_equal(kvt_fs_mkdirs(fs, "d"), -ENOSPC);
    assert_int_equal(kvt_fs_mkdirs(fs, "d"), 0);
    assert_int_equal(kvt_fs_rmdir(fs, "d"), -EROFS);
    assert_int_equal(kvt_fs_rmdir(fs, "d"), 0);
    assert_int_equal(kvt_fs_list(fs, ".", false, keep_name, NULL), -EIO);
    assert_int_equal(kvt_fs_list(fs, ".", false, keep_name, NULL), 0);
    assert_int_equal(do_path(fs, KVT_FS_STAT, "d"), -ESTALE);
    assert_int_equal(kvt_fs_usage(fs, &usage), -ESTALE);
    assert_int_equal(kvt_fs_probe(fs), -ESTALE);
    assert_int_equal(do_path(fs, KVT_FS_SYNC, "."), -EIO);
    assert_int_equal(kvt_fs_lock(fs, "lock", "x", owner, sizeof owner, &lock),
                     -ENOLCK);
    size_t before = open_descriptors();
    assert_int_equal(do_open(fs, "w", KVT_FS_FOR_WRITE | KVT_FS_CREATE, &file),
                     0);
    assert_int_equal(do_write(fs, file, 0, "a", 1), 1);
    assert_int_equal(do_write(fs, file, 0, "a", 1), -EFBIG);
    assert_int_equal(kvt_fs_truncate(fs, file, 0), -EFBIG);
    assert_int_equal(kvt_fs_allocate(fs, file, 1), -EFBIG);
    /* a close that fails closes */
    assert_int_equal(do_file(fs, KVT_FS_CLOSE, file), -EDQUOT);
    assert_int_equal(open_descriptors(), before);
}

static void a_short_transfer_moves_so_many_bytes(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs_file *file;
    char text[8] = "";
    struct kvt_fs *fs = start_with(m, "write,short=3;read,nth=2,short=0");
    assert_int_equal(do_open(fs, "w", KVT_FS_FOR_WRITE | KVT_FS_CREATE, &file),
                     0);
    /* the core takes no write that is not whole */
    assert_int_equal(do_write(fs, file, 0, "12345", 5), -EIO);
    assert_int_equal(do_write(fs, file, 3, "ab", 2), 2);
    assert_int_equal(do_read(fs, file, 0, text, 8), 5);
    assert_memory_equal(text, "123ab", 5);
    assert_int_equal(do_read(fs, file, 0, text, 8), 0);
    assert_int_equal(do_file(fs, KVT_FS_CLOSE, file), 0);
}

/* Time -------------------------------------------------------------------- */

static void a_delay_comes_first(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs *fs = start_with(m, "stat,nth=1,delay=30");
    int64_t start_ns = kvt_clock_ns();
    assert_int_equal(do_path(fs, KVT_FS_STAT, "none"), -ENOENT);
    assert_true(kvt_clock_ns() - start_ns >= 30 * MS);
}

struct late {
    size_t told;
    int64_t result;
};

static void note_late(void *arg, int64_t result)
{
    struct late *late = arg;
    late->told++;
    late->result = result;
}

static struct kvt_fs_queue *open_queue(struct kvt_fs *fs)
{
    struct kvt_fs_queue_options options = {sizeof options, 4, true};
    struct kvt_fs_queue *queue;
    assert_int_equal(kvt_fs_queue_open(fs, &options, &queue), 0);
    return queue;
}

/* One publish with a deadline of 20 ms on a mount where writes take longer;
 * returns while it lingers. */
static void publish_too_slowly(struct kvt_fs_queue *queue, struct late *late)
{
    struct kvt_slice slice = {(char[]){"slow"}, 4, NULL};
    struct kvt_fs_elem publish = {.op = KVT_FS_PUBLISH,
                                  .path = "f",
                                  .temp_path = "temp",
                                  .slices = &slice,
                                  .slice_count = 1,
                                  .deadline_ns = kvt_clock_ns() + 20 * MS,
                                  .late = note_late,
                                  .late_arg = late};
    kvt_fs_submit(queue, &publish, 1);
    while (kvt_fs_in_flight(queue) > 0) {
        kvt_fs_poll(queue, 1, 0);
    }
    assert_int_equal(publish.result, -ETIMEDOUT);
    assert_int_equal(late->told, 0);
    assert_int_equal(kvt_fs_lingering(queue), 1);
    assert_int_equal(kvt_fs_queue_close(queue), -EBUSY);
}

static void drain(struct kvt_fs_queue *queue)
{
    while (kvt_fs_lingering(queue) > 0) {
        kvt_fs_poll(queue, 1, kvt_clock_ns() + 10 * MS);
    }
    assert_int_equal(kvt_fs_queue_close(queue), 0);
}

static void a_hang_for_a_time_completes_late(void **state)
{
    struct mounted *m = *state;
    struct late late = {0};
    char text[8];
    struct kvt_fs *fs = start_with(m, "write,nth=1,hang=100");
    struct kvt_fs_queue *queue = open_queue(fs);
    publish_too_slowly(queue, &late);
    drain(queue);
    assert_int_equal(late.told, 1);
    assert_int_equal(late.result, 4);
    assert_int_equal(do_fetch(fs, "f", text, sizeof text), 4);
}

static void a_hang_without_end_ends_with_the_release(void **state)
{
    struct mounted *m = *state;
    struct late late = {0};
    struct kvt_fs *fs = start_with(m, "write,from=1,hang");
    struct kvt_fs_queue *queue = open_queue(fs);
    publish_too_slowly(queue, &late);
    /* others go on */
    assert_int_equal(do_path(fs, KVT_FS_STAT, "none"), -ENOENT);
    kvt_fs_release(fs);
    drain(queue);
    assert_int_equal(late.told, 1);
    assert_int_equal(late.result, -EIO);
    assert_int_equal(do_path(fs, KVT_FS_REMOVE, "temp"), -ENOENT);
    assert_int_equal(do_publish(fs, "f", "x", 0), -EIO); /* from now on */
}

static void *stat_something(void *arg)
{
    return do_path(arg, KVT_FS_STAT, "p") == -EIO ? arg : NULL;
}

static void what_hangs_inside_a_wrapper_is_released_too(void **state)
{
    struct mounted *m = *state;
    pthread_t thread;
    void *ended;
    mounted_set(m, "fault.rules", "stat,hang");
    struct kvt_fs *fs = mounted_start(m, "crash:fault:posix");
    assert_int_equal(pthread_create(&thread, NULL, stat_something, fs), 0);
    struct timespec pause = {0, 20 * MS};
    nanosleep(&pause, NULL);
    kvt_fs_release(fs);
    pthread_join(thread, &ended);
    assert_ptr_equal(ended, fs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        mount_test(a_bad_rule_ends_the_mount),
        mount_test(steps_of_whole_files_fail_in_their_place),
        mount_test(every_operation_can_fail),
        mount_test(a_short_transfer_moves_so_many_bytes),
        mount_test(a_delay_comes_first),
        mount_test(a_hang_for_a_time_completes_late),
        mount_test(a_hang_without_end_ends_with_the_release),
        mount_test(what_hangs_inside_a_wrapper_is_released_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
