/* The posix adapter over calls that move little and are interrupted: the ones
 * of this program stand in front of the C library's. */
#include "support/posix_fixture.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static size_t call_bytes_max; /* 0 = no limit */
static size_t calls;

static ssize_t move(int fd, const struct iovec *pieces, int count, off_t offset,
                    bool write_it)
{
    ssize_t total = 0;

    if (call_bytes_max > 0 && ++calls % 3 == 0) {
        errno = EINTR;
        return -1;
    }
    if (lseek(fd, offset, SEEK_SET) < 0) {
        return -1;
    }
    for (int i = 0; i < count; i++) {
        size_t size = pieces[i].iov_len;

        if (call_bytes_max > 0 && size > call_bytes_max - (size_t)total) {
            size = call_bytes_max - (size_t)total;
        }
        ssize_t done = write_it ? write(fd, pieces[i].iov_base, size)
                                : read(fd, pieces[i].iov_base, size);
        if (done < 0) {
            return total > 0 ? total : done;
        }
        total += done;
        if ((size_t)done < pieces[i].iov_len) {
            break;
        }
    }
    return total;
}

/* In front of the C library's own, which POSIX 2008 does not declare. */
ssize_t preadv(int fd, const struct iovec *pieces, int count, off_t offset);
ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t offset);

ssize_t preadv(int fd, const struct iovec *pieces, int count, off_t offset)
{
    return move(fd, pieces, count, offset, false);
}

ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t offset)
{
    return move(fd, pieces, count, offset, true);
}

ssize_t pread(int fd, void *bytes, size_t size, off_t offset)
{
    return move(fd, &(struct iovec){bytes, size}, 1, offset, false);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    struct iovec piece = {(void *)(uintptr_t)bytes, size};

    return move(fd, &piece, 1, offset, true);
}

static void calls_that_move_little_are_continued(void **state)
{
    struct posix_fixture *f = *state;
    char in[] = "the quick brown fox jumps over the lazy dog";
    char out[sizeof in + 10];
    struct kvt_slice slices[] = {{in, 20, NULL},
                                 {NULL, 0, NULL},
                                 {in + 20, 2, NULL},
                                 {in + 22, sizeof in - 22, NULL}};
    struct kvt_fs_file *file = posix_open_new(f, "a");
    struct kvt_fs_elem elem = {
        .file = file, .offset = 5, .slices = slices, .slice_count = 4};

    for (call_bytes_max = 1; call_bytes_max < sizeof in; call_bytes_max++) {
        memset(out, '#', sizeof out);
        elem.op = KVT_FS_WRITE;
        slices[0].base = in;
        slices[2].base = in + 20;
        slices[3].base = in + 22;
        slices[3].size = sizeof in - 22;
        assert_int_equal(kvt_fs_run(f->fs, &elem), sizeof in);
        elem.op = KVT_FS_READ;
        slices[0].base = out;
        slices[2].base = out + 20;
        slices[3].base = out + 22;
        slices[3].size = sizeof out - 22; /* more than there is */
        assert_int_equal(kvt_fs_run(f->fs, &elem), sizeof in);
        assert_memory_equal(in, out, sizeof in);
        assert_int_equal(out[sizeof in], '#');
        in[0]++;
    }
    assert_true(calls > sizeof in); /* they went through here */
    call_bytes_max = 0;
    assert_int_equal(posix_close(f, file), 0);
    assert_int_equal(posix_size(f, "a"), 5 + sizeof in);
}

static void a_failed_call_ends_the_transfer_with_its_errno(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_fs_file *file = posix_open_new(f, "a");

    /* lseek's, here */
    assert_int_equal(posix_write(f, file, UINT64_MAX, "x", 1), -EINVAL);
    assert_int_equal(posix_close(f, file), 0);
}

#define CASE(name)                                                             \
    cmocka_unit_test_setup_teardown(name, posix_setup, posix_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(calls_that_move_little_are_continued),
        CASE(a_failed_call_ends_the_transfer_with_its_errno),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
