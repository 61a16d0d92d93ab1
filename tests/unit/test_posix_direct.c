/* How a mount finds out whether direct I/O is real, where files without a name
 * cannot be made and where nothing can be made. The calls of this program
 * stand in front of the C library's. */
#include "support/posix_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int unnamed_errno; /* of an open of a file without a name; 0: none */
static int create_errno;  /* of one that makes a name */
static bool statx_tells;
static uint32_t told; /* the alignment; 0: it cannot do it */

int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);
int __wrap_statx(int dir, const char *path, int flags, unsigned mask,
                 struct statx *st);

int __wrap_openat(int dir, const char *path, int flags, ...)
{
    if ((flags & __O_TMPFILE) == __O_TMPFILE && unnamed_errno != 0) {
        errno = unnamed_errno;
        return -1;
    }
    if ((flags & O_CREAT) != 0 && create_errno != 0) {
        errno = create_errno;
        return -1;
    }
    /* whether this file system can do it must not matter */
    return __real_openat(dir, path, flags & ~__O_DIRECT, 0600);
}

/* As a file system tells of its files, not of its directories. */
int __wrap_statx(int dir, const char *path, int flags, unsigned mask,
                 struct statx *st)
{
    struct stat plain;
    (void)mask;
    memset(st, 0, sizeof *st);
    if (fstatat(dir, path, &plain, flags & AT_SYMLINK_NOFOLLOW) != 0 &&
        (path[0] != '\0' || fstat(dir, &plain) != 0)) {
        return -1;
    }
#ifdef STATX_DIOALIGN
    if (statx_tells && S_ISREG(plain.st_mode)) {
        st->stx_mask = STATX_DIOALIGN;
        st->stx_dio_offset_align = told;
        st->stx_dio_mem_align = told;
    }
#endif
    return 0;
}

static int reset(void **state)
{
    unnamed_errno = 0;
    create_errno = 0;
    statx_tells = true;
    told = 512;
    return posix_setup(state);
}

static int try_mount(struct posix_fixture *f, bool read_only,
                     struct kvt_error *err)
{
    struct kvt_fs *fs = NULL;
    struct kvt_fs_mount_args args = {.size = sizeof args,
                                     .root = f->path,
                                     .config = f->config,
                                     .read_only = read_only};
    memset(err, 0, sizeof *err);
    assert_int_equal(kvt_config_set(f->config, "direct", "on", err), KVT_OK);
    int rc = kvt_fs_mount("posix", &args, &fs, err);
    if (rc == KVT_OK) {
        assert_true(kvt_fs_facts(fs)->direct);
        assert_int_equal(kvt_fs_facts(fs)->offset_alignment, told);
    }
    kvt_fs_unmount(fs);
    return rc;
}

static size_t count_names(struct posix_fixture *f)
{
    DIR *dir = opendir(f->path);
    size_t count = 0;
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count - 2;
}

#ifdef STATX_DIOALIGN

/* As on a file system that is full, or mounted to read, or not ours. */
static void a_file_that_is_there_is_asked(void **state)
{
    static const int errnums[] = {ENOSPC, EROFS, EACCES, EMFILE, EOPNOTSUPP};
    struct posix_fixture *f = *state;
    struct kvt_error err;
    char path[FILE_PATH_MAX];

    assert_int_equal(mkdir(posix_path(f, "d", path), 0700), 0);
    assert_int_equal(mkdir(posix_path(f, "e", path), 0700), 0);
    posix_make(f, "e/file", "");
    for (size_t i = 0; i < COUNT_OF(errnums); i++) {
        unnamed_errno = errnums[i];
        create_errno = errnums[i];
        assert_int_equal(try_mount(f, i % 2 == 0, &err), KVT_OK);
    }
    told = 0;
    assert_int_equal(try_mount(f, false, &err), KVT_ERR_NOT_SUPPORTED);
    assert_int_equal(err.errnum, EINVAL);
    assert_non_null(strstr(err.message, "only pretends"));
}

static void without_unnamed_files_one_is_made_and_gone(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_error err;

    unnamed_errno = EOPNOTSUPP;
    assert_int_equal(try_mount(f, false, &err), KVT_OK);
    unnamed_errno = EISDIR;
    assert_int_equal(try_mount(f, false, &err), KVT_OK);
    assert_int_equal(count_names(f), 0);
}

#endif

static void what_kept_it_from_being_asked_is_told(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_error err;

    unnamed_errno = ENOSPC;
    assert_int_equal(try_mount(f, false, &err), KVT_ERR_FILE_OPEN_FAIL);
    assert_int_equal(err.errnum, ENOSPC);
    assert_non_null(strstr(err.message, strerror(ENOSPC)));
    unnamed_errno = EOPNOTSUPP;
    create_errno = EACCES;
    assert_int_equal(try_mount(f, false, &err), KVT_ERR_FILE_OPEN_FAIL);
    assert_int_equal(err.errnum, EACCES);
    /* a mount that is to make nothing makes nothing */
    create_errno = 0;
    assert_int_equal(try_mount(f, true, &err), KVT_ERR_FILE_OPEN_FAIL);
    assert_int_equal(err.errnum, EOPNOTSUPP);
    assert_int_equal(count_names(f), 0);
}

/* The kernel does not tell, and this program takes O_DIRECT away: every size
 * is taken, as by a file system that only pretends. */
static void who_takes_odd_sizes_only_pretends(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_error err;

    statx_tells = false;
    assert_int_equal(try_mount(f, false, &err), KVT_ERR_NOT_SUPPORTED);
    posix_make(f, "file", "some bytes");
    unnamed_errno = ENOSPC;
    assert_int_equal(try_mount(f, false, &err), KVT_ERR_NOT_SUPPORTED);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, reset, posix_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef STATX_DIOALIGN
        CASE(a_file_that_is_there_is_asked),
        CASE(without_unnamed_files_one_is_made_and_gone),
#endif
        CASE(what_kept_it_from_being_asked_is_told),
        CASE(who_takes_odd_sizes_only_pretends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
