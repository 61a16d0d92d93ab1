/* A mount of uring on an empty directory, and files whose bytes are a function
 * of their number. The ring has to be in effect: where it is not, the tests
 * are skipped, and under CI they fail. */
#ifndef KVT_TESTS_URING_FIXTURE_H
#define KVT_TESTS_URING_FIXTURE_H

#include "mount_fixture.h"

#include "core/clock.h"

#include <fcntl.h>

#define MS INT64_C(1000000)

/* False, with the reason told, when there is no io_uring. */
static inline bool uring_is_here(void)
{
    void *state;
    if (mounted_setup(&state) != 0) {
        return false;
    }
    struct mounted *m = state;
    struct kvt_error err;
    bool here =
        mounted_try(m, "uring", &err) == KVT_OK && m->fs->facts.io_uring;
    if (!here) {
        printf("%s: %s\n", getenv("CI") != NULL ? "FAIL" : "SKIP",
               m->fs != NULL ? kvt_fs_fallback_reason(m->fs) : err.message);
    }
    mounted_teardown(&state);
    return here;
}

/* What main returns when it is not. */
static inline int uring_skip(void)
{
    return getenv("CI") != NULL ? 1 : 77;
}

static inline struct kvt_fs *uring_start(struct mounted *m, const char *direct)
{
    mounted_set(m, "direct", direct);
    return mounted_start(m, "uring");
}

/* Writes file `name`, behind the adapter's back: `size` bytes of `number`. */
static inline void make_file(const struct mounted *m, const char *name,
                             uint64_t number, size_t size)
{
    char path[FILE_PATH_MAX];
    unsigned char *bytes = malloc(size + 1);
    assert_non_null(bytes);
    value_fill(bytes, size, number);
    snprintf(path, sizeof path, "%s/%s", m->root, name);
    file_write(path, bytes, size);
    free(bytes);
}

static inline struct kvt_fs_queue *start_queue(struct kvt_fs *fs,
                                               uint32_t depth)
{
    struct kvt_fs_queue_options options = {sizeof options, depth, true};
    struct kvt_fs_queue *queue;
    assert_int_equal(kvt_fs_queue_open(fs, &options, &queue), 0);
    return queue;
}

static inline void finish_all(struct kvt_fs_queue *queue)
{
    while (kvt_fs_in_flight(queue) > 0) {
        kvt_fs_poll(queue, kvt_fs_in_flight(queue), 0);
    }
}

static inline void stop_queue(struct kvt_fs_queue *queue)
{
    assert_int_equal(kvt_fs_queue_close(queue), 0);
}

#endif
