/* What every wrapper shares: whatever it wraps, it hands on unchanged. What
 * goes through queues is in test_wrap_queue.c. */
#include "wrap_fixture.h"

#include <errno.h>
#include <pthread.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        mount_test(whole_files_go_through),
        mount_test(open_files_go_through),
        mount_test(control_calls_go_through),
        mount_test(locks_go_through),
        mount_test(memory_and_facts_are_those_inside),
        mount_test(many_threads_use_one_mount),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
