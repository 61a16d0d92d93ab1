/* Paths that the operating system refuses: its error arrives as it was, by
 * every operation, and all goes on when the cause is gone. */
#include "support/posix_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static int64_t publish(struct posix_fixture *f, const char *path,
                       const char *temp_path)
{
    struct kvt_slice slice = {(char[]){"value"}, 5, NULL};
    struct kvt_fs_elem elem = {.op = KVT_FS_PUBLISH,
                               .path = path,
                               .temp_path = temp_path,
                               .slices = &slice,
                               .slice_count = 1};
    return kvt_fs_run(f->fs, &elem);
}

/* Every operation by path gives `expected`, and nothing is left. */
static void all_fail(struct posix_fixture *f, const char *path, int expected)
{
    static const enum kvt_fs_op ops[] = {KVT_FS_STAT, KVT_FS_REMOVE,
                                         KVT_FS_FETCH, KVT_FS_SYNC};
    struct kvt_fs_file *file;
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        assert_int_equal(posix_path_op(f, ops[i], path), expected);
    }
    assert_int_equal(posix_open(f, path, 0, &file), expected);
    assert_int_equal(
        posix_open(f, path, KVT_FS_FOR_WRITE | KVT_FS_CREATE, &file), expected);
    assert_int_equal(publish(f, path, "temp"), expected);
    assert_int_equal(publish(f, "good", path), expected);
    assert_int_equal(posix_path_op(f, KVT_FS_STAT, "temp"), -ENOENT);
    assert_int_equal(posix_path_op(f, KVT_FS_STAT, "good"), -ENOENT);
    assert_int_equal(kvt_fs_mkdirs(f->fs, path), expected);
    posix_make(f, "here", "x");
    assert_int_equal(kvt_fs_rename(f->fs, "here", path, true), expected);
    assert_int_equal(kvt_fs_rename(f->fs, path, "here", true), expected);
    assert_int_equal(posix_path_op(f, KVT_FS_REMOVE, "here"), 0);
}

static void a_loop_of_links_is_eloop(void **state)
{
    struct posix_fixture *f = *state;
    char a[FILE_PATH_MAX];
    char b[FILE_PATH_MAX];
    assert_int_equal(symlink("b", posix_path(f, "a", a)), 0);
    assert_int_equal(symlink("a", posix_path(f, "b", b)), 0);
    all_fail(f, "a/file", -ELOOP);
    assert_int_equal(unlink(a), 0);
    assert_int_equal(publish(f, "a/file", "temp"), 5);
}

static void a_name_above_the_limit_is_enametoolong(void **state)
{
    struct posix_fixture *f = *state;
    char name[300];
    memset(name, 'n', sizeof name);
    name[kvt_fs_facts(f->fs)->name_max + 1] = '\0';
    all_fail(f, name, -ENAMETOOLONG);
}

static void a_path_above_the_limit_is_enametoolong(void **state)
{
    struct posix_fixture *f = *state;
    static char path[8192];
    size_t size = 0;
    while (size <= kvt_fs_facts(f->fs)->path_max) {
        memcpy(path + size, "directory/", 10);
        size += 10;
    }
    strcpy(path + size, "file");
    all_fail(f, path, -ENAMETOOLONG);
}

static void a_path_below_a_file_is_enotdir(void **state)
{
    struct posix_fixture *f = *state;
    posix_make(f, "file", "x");
    all_fail(f, "file/below", -ENOTDIR);
}

/* Elements too, not only control calls. */
static void no_element_leaves_the_root(void **state)
{
    struct posix_fixture *f = *state;
    static const char *const paths[] = {"../out", "a/../../out", "/etc/passwd",
                                        ""};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        all_fail(f, paths[i], -EINVAL);
    }
    assert_int_equal(publish(f, "..name", "temp.."), 5); /* only names */
}

static void work_goes_on_when_descriptors_are_there_again(void **state)
{
    struct posix_fixture *f = *state;
    struct rlimit before;
    assert_int_equal(publish(f, "file", "temp"), 5);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(0);
    assert_true(next >= 0);
    close(next);
    struct rlimit none = {(rlim_t)next, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int64_t published = publish(f, "other", "temp");
    int64_t fetched = posix_path_op(f, KVT_FS_FETCH, "file");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(published, -EMFILE);
    assert_int_equal(fetched, -EMFILE);
    assert_int_equal(posix_path_op(f, KVT_FS_STAT, "other"), -ENOENT);
    assert_int_equal(posix_path_op(f, KVT_FS_STAT, "temp"), -ENOENT);
    assert_int_equal(publish(f, "other", "temp"), 5);
    assert_int_equal(posix_path_op(f, KVT_FS_FETCH, "file"), 5);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, posix_setup, posix_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_loop_of_links_is_eloop),
        CASE(a_name_above_the_limit_is_enametoolong),
        CASE(a_path_above_the_limit_is_enametoolong),
        CASE(a_path_below_a_file_is_enotdir),
        CASE(no_element_leaves_the_root),
        CASE(work_goes_on_when_descriptors_are_there_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
