/* Reads out of the page cache, on the thread that submits. The call of this
 * program stands in front of the C library's. */
#include "support/posix_fixture.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum answer {
    ALL,
    LESS, /* one byte is not there */
    NOT_NOW,
    NEVER, /* the file system does not know the flag */
};

static enum answer answer;
static size_t asked;

ssize_t __wrap_preadv2(int fd, const struct iovec *pieces, int count,
                       off_t offset, int flags);

ssize_t __wrap_preadv2(int fd, const struct iovec *pieces, int count,
                       off_t offset, int flags)
{
    ssize_t total = 0;
    assert_int_not_equal(flags, 0);
    asked++;
    if (answer == NOT_NOW || answer == NEVER) {
        errno = answer == NEVER ? EOPNOTSUPP : EAGAIN;
        return -1;
    }
    for (int i = 0; i < count; i++) {
        ssize_t done = pread(fd, pieces[i].iov_base, pieces[i].iov_len, offset);
        assert_true(done >= 0);
        total += done;
        offset += done;
    }
    if (answer == LESS && total > 0) {
        total--;
        ((char *)pieces[0].iov_base)[0] = '#'; /* what is there is not right */
    }
    return total;
}

static const char text[] = "the quick brown fox";

/* Reads `size` bytes of the text, in two pieces. */
static void read_twice(struct posix_fixture *f, size_t size, size_t got)
{
    struct kvt_fs_queue_options options = {sizeof options, 0, true};
    struct kvt_fs_queue *queue;
    struct kvt_fs_file *file;
    char bytes[2][64];
    struct kvt_slice slices[2][2];
    struct kvt_fs_elem elems[2];

    assert_int_equal(posix_open(f, "a", 0, &file), 0);
    assert_int_equal(kvt_fs_queue_open(f->fs, &options, &queue), 0);
    for (size_t i = 0; i < 2; i++) {
        memset(bytes[i], '?', sizeof bytes[i]);
        slices[i][0] = (struct kvt_slice){bytes[i], 5, NULL};
        slices[i][1] = (struct kvt_slice){bytes[i] + 5, size - 5, NULL};
        elems[i] = (struct kvt_fs_elem){.op = KVT_FS_READ,
                                        .file = file,
                                        .slices = slices[i],
                                        .slice_count = 2};
    }
    kvt_fs_submit(queue, elems, 2);
    while (kvt_fs_in_flight(queue) > 0) {
        kvt_fs_poll(queue, 1, 0);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(elems[i].result, got);
        assert_memory_equal(bytes[i], text, got);
        assert_int_equal(bytes[i][got], '?');
    }
    assert_int_equal(kvt_fs_queue_close(queue), 0);
    assert_int_equal(posix_close(f, file), 0);
}

static void what_is_there_is_read_at_once(void **state)
{
    posix_make(*state, "a", text);
    answer = ALL;
    asked = 0;
    read_twice(*state, sizeof text - 1, sizeof text - 1);
    assert_int_equal(asked, 2);
}

static void what_is_not_all_there_is_read_again(void **state)
{
    posix_make(*state, "a", text);
    asked = 0;
    answer = LESS;
    read_twice(*state, sizeof text - 1, sizeof text - 1);
    answer = NOT_NOW;
    read_twice(*state, sizeof text - 1, sizeof text - 1);
    answer = ALL; /* the end of the file may be not all of it, too */
    read_twice(*state, sizeof text + 20, sizeof text - 1);
    assert_int_equal(asked, 6);
}

static void a_file_system_that_cannot_is_asked_once(void **state)
{
    posix_make(*state, "a", text);
    asked = 0;
    answer = NEVER;
    read_twice(*state, sizeof text - 1, sizeof text - 1);
    read_twice(*state, sizeof text - 1, sizeof text - 1);
    assert_int_equal(asked, 1);
}

#define CASE(name)                                                             \
    cmocka_unit_test_setup_teardown(name, posix_setup, posix_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_is_there_is_read_at_once),
        CASE(what_is_not_all_there_is_read_again),
        CASE(a_file_system_that_cannot_is_asked_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
