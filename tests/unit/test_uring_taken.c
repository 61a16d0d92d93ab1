/* A ring that is taken away while it is in use: nothing hangs, and nothing
 * crashes. */
#define _DEFAULT_SOURCE /* setgroups */
#include "uring_child.h"

#include <seccomp.h>

enum {
    SIZE = 5000,
    ROUNDS = 100
};

/* A fetch that a thread carries out. */
static int64_t fetch_by_thread(struct kvt_fs_queue *queue, char *bytes)
{
    struct kvt_slice slice = {bytes, SIZE, NULL};
    struct kvt_fs_elem fetch = {.op = KVT_FS_FETCH,
                                .flags = KVT_FS_WANT_SIZE,
                                .path = "file",
                                .slices = &slice,
                                .slice_count = 1};
    kvt_fs_submit(queue, &fetch, 1);
    finish_all(queue);
    return fetch.result;
}

static struct kvt_fs_queue *start(struct mounted *m, char *bytes)
{
    struct kvt_fs_queue_options options = {sizeof options, 8, false};
    struct kvt_fs_queue *queue;
    struct kvt_error err;
    HOLDS(mounted_try(m, "uring", &err) == KVT_OK);
    make_file(m, "file", 1, SIZE);
    HOLDS(kvt_fs_queue_open(m->fs, &options, &queue) == 0);
    HOLDS(fetch_by_thread(queue, bytes) == SIZE);
    return queue;
}

static void enter_is_forbidden_later(struct mounted *m)
{
    struct kvt_error err;
    struct kvt_fs_elem stat = {.op = KVT_FS_STAT, .path = "file"};
    HOLDS(mounted_try(m, "uring", &err) == KVT_OK);
    use(m->fs, SIZE);
    forbid(SCMP_SYS(io_uring_enter), EPERM);
    HOLDS(kvt_fs_run(m->fs, &stat) == -EPERM);
    HOLDS(kvt_fs_run(m->fs, &stat) == -EPERM);
    mounted_stop(m);
}

/* A file is closed, whoever does it. */
static void files_are_closed(struct mounted *m)
{
    struct kvt_error err;
    struct kvt_fs_file *files[2];
    HOLDS(mounted_try(m, "uring", &err) == KVT_OK);
    use(m->fs, SIZE);
    struct kvt_fs_queue *queue = start_queue(m->fs, 4);
    size_t open = open_descriptors();
    for (size_t i = 0; i < 2; i++) {
        HOLDS(do_open(m->fs, "file", 0, &files[i]) == 0);
    }
    forbid(SCMP_SYS(io_uring_enter), EPERM);
    HOLDS(do_file(m->fs, KVT_FS_CLOSE, files[0]) == 0);
    struct kvt_fs_elem close = {.op = KVT_FS_CLOSE, .file = files[1]};
    kvt_fs_submit(queue, &close, 1);
    finish_all(queue);
    HOLDS(close.result == 0);
    HOLDS(open_descriptors() == open);
    HOLDS(kvt_fs_queue_close(queue) == 0);
    mounted_stop(m);
}

/* Threads work on, though nobody can be woken through a ring. */
static void threads_go_on(struct mounted *m)
{
    char bytes[SIZE];
    struct kvt_fs_queue *queue = start(m, bytes);
    forbid(SCMP_SYS(io_uring_enter), EPERM);
    for (unsigned i = 0; i < ROUNDS; i++) {
        memset(bytes, 0, sizeof bytes);
        HOLDS(fetch_by_thread(queue, bytes) == SIZE);
        HOLDS(value_is(bytes, SIZE, 1));
    }
    HOLDS(kvt_fs_queue_close(queue) == 0);
    mounted_stop(m);
}

static void a_ring_that_is_forbidden_fails_its_elements(void **state)
{
    in_child(*state, enter_is_forbidden_later);
    in_child(*state, threads_go_on);
    in_child(*state, files_are_closed);
}

/* As a program does that becomes a daemon. */
static void descriptors_are_closed(struct mounted *m)
{
    char bytes[SIZE];
    struct kvt_fs_queue *queue = start(m, bytes);
    for (int fd = 3; fd < 256; fd++) {
        close(fd);
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        HOLDS(fetch_by_thread(queue, bytes) == -EBADF);
    }
    HOLDS(kvt_fs_queue_close(queue) == 0);
    kvt_fs_unmount(m->fs);
}

static void a_ring_that_the_program_closes_fails_its_elements(void **state)
{
    in_child(*state, descriptors_are_closed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        mount_test(a_ring_that_is_forbidden_fails_its_elements),
        mount_test(a_ring_that_the_program_closes_fails_its_elements),
    };
    if (!uring_is_here()) {
        return uring_skip();
    }
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
