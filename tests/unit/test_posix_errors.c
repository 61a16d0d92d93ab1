/* What the posix adapter makes of errors that calls of the system give. The
 * calls of this program stand in front of the C library's. */
#include "support/posix_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int close_errno;      /* 0: none. The descriptor is closed */
static int readdir_errno;    /* in place of the end */
static const char *vanishes; /* a name that fstatat does not find any more */
static int renameat2_errno;
static size_t unlinks_to_fail;  /* the next ones, with EIO */
static size_t unlinks_too_late; /* the next ones find nothing any more */

int __real_close(int fd);
int __wrap_close(int fd);
struct dirent *__real_readdir(DIR *dir);
struct dirent *__wrap_readdir(DIR *dir);
int __real_fstatat(int dir, const char *path, struct stat *st, int flags);
int __wrap_fstatat(int dir, const char *path, struct stat *st, int flags);
int __real_unlinkat(int dir, const char *path, int flags);
int __wrap_unlinkat(int dir, const char *path, int flags);
int __real_renameat2(int from_dir, const char *from, int to_dir, const char *to,
                     unsigned flags);
int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to,
                     unsigned flags);

int __wrap_close(int fd)
{
    int rc = __real_close(fd);
    if (rc == 0 && close_errno != 0) {
        errno = close_errno;
        return -1;
    }
    return rc;
}

struct dirent *__wrap_readdir(DIR *dir)
{
    struct dirent *entry = __real_readdir(dir);
    if (entry == NULL && readdir_errno != 0) {
        errno = readdir_errno;
    }
    return entry;
}

int __wrap_fstatat(int dir, const char *path, struct stat *st, int flags)
{
    if (vanishes != NULL && strcmp(path, vanishes) == 0) {
        errno = ENOENT;
        return -1;
    }
    return __real_fstatat(dir, path, st, flags);
}

int __wrap_unlinkat(int dir, const char *path, int flags)
{
    if (unlinks_to_fail > 0) {
        unlinks_to_fail--;
        errno = EIO;
        return -1;
    }
    int rc = __real_unlinkat(dir, path, flags);
    if (unlinks_too_late > 0) {
        unlinks_too_late--;
        errno = ENOENT;
        return -1;
    }
    return rc;
}

int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to,
                     unsigned flags)
{
    if (renameat2_errno != 0) {
        errno = renameat2_errno;
        return -1;
    }
    return __real_renameat2(from_dir, from, to_dir, to, flags);
}

static int reset(void **state)
{
    close_errno = 0;
    readdir_errno = 0;
    vanishes = NULL;
    renameat2_errno = 0;
    unlinks_to_fail = 0;
    unlinks_too_late = 0;
    return posix_setup(state);
}

static int count_name(const struct kvt_fs_dirent *entry, void *arg)
{
    (void)entry;
    ++*(size_t *)arg;
    return 0;
}

/* It tells of bytes that were lost. */
static void an_error_of_close_is_told(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_fs_file *file = posix_open_new(f, "a");

    close_errno = EDQUOT;
    assert_int_equal(posix_close(f, file), -EDQUOT);
    close_errno = 0;
    file = posix_open_new(f, "b");
    close_errno = EINTR; /* closed all the same */
    assert_int_equal(posix_close(f, file), 0);
    close_errno = 0;
}

/* Not as the end of the directory: an object that is not seen is lost. */
static void an_error_while_listing_is_told(void **state)
{
    struct posix_fixture *f = *state;
    size_t names = 0;

    posix_make(f, "a", "hello");
    readdir_errno = EIO;
    assert_int_equal(kvt_fs_list(f->fs, ".", false, count_name, &names), -EIO);
    readdir_errno = 0;
    assert_int_equal(names, 1);
}

static void a_name_that_vanishes_while_listing_is_skipped(void **state)
{
    struct posix_fixture *f = *state;
    size_t names = 0;

    posix_make(f, "a", "hello");
    posix_make(f, "b", "hello");
    posix_make(f, "c", "hello");
    vanishes = "b";
    assert_int_equal(kvt_fs_list(f->fs, ".", true, count_name, &names), 0);
    assert_int_equal(names, 2);
}

static void a_name_that_vanishes_does_not_end_remove_tree(void **state)
{
    struct posix_fixture *f = *state;
    size_t names = 0;

    assert_int_equal(kvt_fs_mkdirs(f->fs, "d/e"), 0);
    posix_make(f, "d/a", "hello");
    posix_make(f, "d/e/b", "hello");
    unlinks_too_late = 1;
    assert_int_equal(kvt_fs_remove_tree(f->fs, "d"), 0);
    assert_int_equal(unlinks_too_late, 0);
    assert_int_equal(kvt_fs_list(f->fs, ".", false, count_name, &names), 0);
    assert_int_equal(names, 0);
}

/* A mount without RENAME_NOREPLACE: by a second name. */
static void rename_without_the_flag_never_replaces(void **state)
{
    struct posix_fixture *f = *state;

    posix_make(f, "a", "hello");
    posix_make(f, "b", "x");
    renameat2_errno = EINVAL;
    assert_int_equal(kvt_fs_rename(f->fs, "a", "b", false), -EEXIST);
    assert_int_equal(posix_size(f, "b"), 1);
    assert_int_equal(kvt_fs_rename(f->fs, "a", "c", false), 0);
    assert_int_equal(posix_size(f, "c"), 5);
    assert_int_equal(posix_path_op(f, KVT_FS_STAT, "a"), -ENOENT);
    renameat2_errno = EXDEV; /* no reason for that */
    assert_int_equal(kvt_fs_rename(f->fs, "b", "d", false), -EXDEV);
}

static void a_rename_that_fails_half_way_leaves_one_name(void **state)
{
    struct posix_fixture *f = *state;

    posix_make(f, "a", "hello");
    renameat2_errno = EINVAL;
    unlinks_to_fail = 1;
    assert_int_equal(kvt_fs_rename(f->fs, "a", "b", false), -EIO);
    assert_int_equal(posix_size(f, "a"), 5);
    assert_int_equal(posix_path_op(f, KVT_FS_STAT, "b"), -ENOENT);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, reset, posix_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_error_of_close_is_told),
        CASE(an_error_while_listing_is_told),
        CASE(a_name_that_vanishes_while_listing_is_skipped),
        CASE(a_name_that_vanishes_does_not_end_remove_tree),
        CASE(rename_without_the_flag_never_replaces),
        CASE(a_rename_that_fails_half_way_leaves_one_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
