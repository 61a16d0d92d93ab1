/* Whatever of the probing at mount fails: the mount works, and says what is
 * missing. liburing's calls are wrapped. */
#include "uring_fixture.h"

#include <errno.h>
#include <liburing.h>

static unsigned calls;
static unsigned fail_at; /* the call that fails, from 1 */
static int fail_rc;

static bool fails(void)
{
    calls++;
    return calls == fail_at;
}

int __real_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *params);
int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *params);
int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring,
                                      struct io_uring_params *params)
{
    return fails() ? fail_rc
                   : __real_io_uring_queue_init_params(entries, ring, params);
}

int __real_io_uring_submit_and_wait(struct io_uring *ring, unsigned count);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned count);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned count)
{
    return fails() ? fail_rc : __real_io_uring_submit_and_wait(ring, count);
}

static void works(struct kvt_fs *fs)
{
    char text[100];
    int64_t size = do_publish(fs, "file", "some bytes", 0);
    assert_int_equal(size, strlen("some bytes"));
    assert_int_equal(do_fetch(fs, "file", text, sizeof text), size);
    assert_string_equal(text, "some bytes");
}

static void what_fails_at_mount_is_told(void **state)
{
    static const int errors[] = {-ENOMEM, -EMFILE, -EPERM, -EINVAL};
    struct mounted *m = *state;
    calls = 0;
    fail_at = 0;
    struct kvt_fs *fs = mounted_start(m, "uring");
    assert_string_equal(kvt_fs_fallback_reason(fs), "");
    unsigned all = calls;
    mounted_stop(m);
    assert_in_range(all, 3, 20);
    for (size_t e = 0; e < 4; e++) {
        for (unsigned at = 1; at <= all; at++) {
            calls = 0;
            fail_at = at;
            fail_rc = errors[e];
            fs = mounted_start(m, "uring");
            fail_at = 0;
            assert_string_not_equal(kvt_fs_fallback_reason(fs), "");
            works(fs);
            mounted_stop(m);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        mount_test(what_fails_at_mount_is_told),
    };
    if (!uring_is_here()) {
        return uring_skip();
    }
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
