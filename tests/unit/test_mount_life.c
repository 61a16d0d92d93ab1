/* Mounts from the first call to the last: sizes of structs, a mount that hangs,
 * and what has to be closed before. */
#include "mount_fixture.h"

#include "core/clock.h"

#include <errno.h>
#include <stddef.h>

#define MS INT64_C(1000000)

static struct kvt_fs_queue *open_queue(struct kvt_fs *fs)
{
    struct kvt_fs_queue_options options = {sizeof options, 1, false};
    struct kvt_fs_queue *queue = NULL;
    assert_int_equal(kvt_fs_queue_open(fs, &options, &queue), 0);
    return queue;
}

static void what_is_open_keeps_the_mount(void **state)
{
    static const char *const names[] = {"posix", "mem", "trace:posix",
                                        "fault:trace:mem"};
    struct mounted *m = *state;
    char file[600];
    snprintf(file, sizeof file, "%s/trace", m->top);
    mounted_set(m, "trace.file", file);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct kvt_mem *mem;
        char bytes[16];
        struct kvt_fs *fs = mounted_start(m, names[i]);
        struct kvt_fs_queue *queue = open_queue(fs);
        struct kvt_fs_elem elem = {.op = KVT_FS_STAT, .path = "none"};
        kvt_fs_submit(queue, &elem, 1);
        assert_int_equal(kvt_fs_unmount(fs), -EBUSY);
        while (kvt_fs_in_flight(queue) > 0) { /* and nothing has happened */
            kvt_fs_poll(queue, 1, 0);
        }
        assert_int_equal(elem.result, -ENOENT);
        assert_int_equal(kvt_fs_unmount(fs), -EBUSY);
        assert_int_equal(kvt_fs_queue_close(queue), 0);
        assert_int_equal(kvt_mem_alloc(fs, 100, &mem), 0);
        assert_int_equal(kvt_fs_unmount(fs), -EBUSY);
        kvt_mem_free(mem);
        assert_int_equal(kvt_mem_register(fs, bytes, sizeof bytes, &mem), 0);
        assert_int_equal(kvt_fs_unmount(fs), -EBUSY);
        kvt_mem_free(mem);
        assert_int_equal(kvt_fs_unmount(fs), 0);
        m->fs = NULL;
    }
    assert_int_equal(kvt_fs_unmount(NULL), 0);
}

/* Those of an older header are shorter; those of a later one are refused. */
static void sizes_of_options_and_arguments_count(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs *fs = mounted_start(m, "mem");
    struct kvt_fs_queue *queue = NULL;
    struct {
        struct kvt_fs_queue_options options;
        uint64_t more;
    } later = {.options = {.size = sizeof later}};
    assert_int_equal(kvt_fs_queue_open(fs, &later.options, &queue), -EINVAL);
    struct kvt_fs_queue_options options = {0, 3, true};
    assert_int_equal(kvt_fs_queue_open(fs, &options, &queue), -EINVAL);
    assert_null(queue);
    options.size = offsetof(struct kvt_fs_queue_options, depth);
    assert_int_equal(kvt_fs_queue_open(fs, &options, &queue), 0);
    assert_int_equal(queue->depth, kvt_fs_facts(fs)->depth); /* not 3 */
    assert_int_equal(kvt_fs_queue_close(queue), 0);
    mounted_stop(m);

    struct {
        struct kvt_fs_mount_args args;
        uint64_t more;
    } args = {.args = {.root = m->root, .config = m->config}};
    struct kvt_error err;
    args.args.size = sizeof args;
    assert_int_equal(kvt_fs_mount("mem", &args.args, &fs, &err),
                     KVT_ERR_INVALID_PARAMS);
    args.args.size = offsetof(struct kvt_fs_mount_args, config);
    assert_int_equal(kvt_fs_mount("mem", &args.args, &fs, &err),
                     KVT_ERR_INVALID_PARAMS);
    args.args.size = offsetof(struct kvt_fs_mount_args, read_only);
    args.args.inner = (struct kvt_fs *)&args; /* nobody looks there */
    assert_int_equal(kvt_fs_mount("mem", &args.args, &m->fs, &err), KVT_OK);
}

/* A mount that hangs does not hang who asks, nor who unmounts. */
static void a_mount_that_hangs_is_told_in_time(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs *fs = mounted_start(m, "posix");
    assert_int_equal(kvt_fs_probe(fs), 0);
    mounted_stop(m);
    mounted_set(m, "fault.rules", "stat,hang");
    fs = mounted_start(m, "fault:posix");
    int64_t start_ns = kvt_clock_ns();
    assert_int_equal(kvt_fs_probe(fs), -ETIMEDOUT);
    assert_true(kvt_clock_ns() >= start_ns + 1900 * MS);
    assert_true(kvt_clock_ns() < start_ns + 10000 * MS);
    kvt_fs_release(fs);
    for (int i = 0; i < 200 && kvt_fs_probe(fs) != -EIO; i++) {
    }
    assert_int_equal(kvt_fs_probe(fs), -EIO); /* what a release makes of it */
    mounted_stop(m);

    fs = mounted_start(m, "fault:posix");
    assert_int_equal(kvt_fs_probe(fs), -ETIMEDOUT);
    mounted_stop(m); /* or it hangs */
}

/* Where a rename cannot keep what is there: a second name, then one less. */
static void a_rename_by_link_leaves_one_name(void **state)
{
    struct mounted *m = *state;
    char text[16];
    mounted_set(m, "mem.facts", "no_noreplace");
    mounted_set(m, "fault.rules", "remove,nth=1,do=EIO");
    struct kvt_fs *fs = mounted_start(m, "fault:mem");
    assert_int_equal(do_publish(fs, "a", "text", 0), 4);
    assert_int_equal(kvt_fs_rename(fs, "a", "b", false), -EIO);
    assert_int_equal(do_path(fs, KVT_FS_STAT, "b"), -ENOENT);
    assert_int_equal(do_fetch(fs, "a", text, sizeof text), 4);
    assert_int_equal(kvt_fs_rename(fs, "a", "b", false), 0);
    assert_int_equal(do_path(fs, KVT_FS_STAT, "a"), -ENOENT);
    assert_int_equal(do_publish(fs, "a", "t", 0), 1);
    assert_int_equal(kvt_fs_rename(fs, "a", "b", false), -EEXIST);
    mounted_stop(m);

    fs = mounted_start(m, "fault:mem");
    assert_int_equal(do_publish(fs, "c", "text", KVT_FS_IF_ABSENT), -EIO);
    assert_int_equal(do_path(fs, KVT_FS_STAT, "c"), -ENOENT);
    assert_int_equal(do_path(fs, KVT_FS_STAT, "temp"), -ENOENT);
    assert_int_equal(do_publish(fs, "c", "text", KVT_FS_IF_ABSENT), 4);
}

/* Also where nobody would look; and nothing is made before. */
static void settings_of_others_are_looked_at(void **state)
{
    static const char *const bad[][2] = {
        {"fault.rules", "garbage"},
        {"mem.facts", "no_renam"},
    };
    static const char *const names[] = {"posix", "fault:posix", "mem"};
    struct mounted *m = *state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        mounted_set(m, bad[i][0], bad[i][1]);
        for (size_t j = 0; j < sizeof names / sizeof names[0]; j++) {
            struct kvt_error err;
            assert_int_equal(mounted_try(m, names[j], &err),
                             KVT_ERR_INVALID_PARAMS);
            assert_string_equal(err.subject, bad[i][0]);
            assert_int_equal(access(m->root, F_OK), -1);
        }
        mounted_set(m, bad[i][0], "");
    }
    mounted_start(m, "posix");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        mount_test(what_is_open_keeps_the_mount),
        mount_test(sizes_of_options_and_arguments_count),
        mount_test(a_mount_that_hangs_is_told_in_time),
        mount_test(a_rename_by_link_leaves_one_name),
        mount_test(settings_of_others_are_looked_at),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
