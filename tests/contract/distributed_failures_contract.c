/* What a root without an owner does when the file system fails: answers that
 * are lost or wrong, the breaker, health checks. */
#include "support/store_fixture.h"

#include "core/clock.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    SIZE = 1000
};

static const struct store_row posix_row = {"distributed", "posix", true, false,
                                           NULL};

static void start_with(struct store_fixture *fixture, const char *rules)
{
    store_stop(fixture);
    store_set(fixture, "fs", "fault:posix");
    store_set(fixture, "fault.rules", rules);
    store_start(fixture);
}

static void pause_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

/* Answers that are lost or wrong ------------------------------------------- */

static void a_lost_answer_of_a_rename_is_no_failure(void **state)
{
    struct store_fixture *fixture = *state;
    static const char *const rules[] = {
        "rename@*tmp*,nth=1,do=ENOENT", "rename@*tmp*,nth=1,do=ESTALE",
        "open@*tmp*,nth=1,do=EEXIST",   "write@*tmp*,nth=1,do=EBADF",
        "write@*tmp*,nth=1,do=EINTR",   "close@*tmp*,nth=1,do=ECONNABORTED"};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        start_with(fixture, rules[i]);
        assert_int_equal(put_value(fixture->store, key_of("k"), i, SIZE),
                         KVT_OK);
        assert_int_equal(get_value(fixture->store, key_of("k"), i, SIZE),
                         KVT_OK);
    }
    /* the first answer was wrong: the file is there, and it is ours */
    struct kvt_batch_options options = KVT_BATCH_OPTIONS_INIT;
    static unsigned char bytes[SIZE];
    struct kvt_slice slice = {bytes, SIZE, NULL};
    struct kvt_object object = {
        .key = key_of("once"), .slices = &slice, .slice_count = 1};
    options.flags = KVT_IF_ABSENT;
    start_with(fixture, "rename@*tmp*,nth=1,do=ESTALE");
    assert_int_equal(kvt_batch_offload(fixture->store, &object, 1, &options),
                     1);
    assert_int_equal(kvt_batch_offload(fixture->store, &object, 1, &options),
                     0);
    assert_int_equal(object.status, KVT_ERR_OBJECT_ALREADY_EXISTS);
    /* and a stale handle of a reader is another look, then a miss */
    start_with(fixture, "open@[0-9a-f]*/k,nth=1,do=ESTALE");
    assert_int_equal(get_value(fixture->store, key_of("k"), 5, SIZE), KVT_OK);
    start_with(fixture, "read@[0-9a-f]*/k,from=1,do=EBADF");
    assert_int_equal(get_value(fixture->store, key_of("k"), 5, SIZE),
                     KVT_ERR_OBJECT_NOT_FOUND);
}

struct once {
    struct kvt_store *store;
    struct kvt_object object;
};

static void *offload_if_absent(void *arg)
{
    struct once *once = arg;
    struct kvt_batch_options options = KVT_BATCH_OPTIONS_INIT;
    options.flags = KVT_IF_ABSENT;
    kvt_batch_offload(once->store, &once->object, 1, &options);
    return NULL;
}

/* After an answer that was lost the name is there. Whose file it is, its
 * trailer tells: ours is a success, and another host's is not. */
static void after_a_lost_answer_the_file_tells_whose_it_is(void **state)
{
    struct store_fixture *fixture = *state;
    static unsigned char bytes[SIZE];
    struct kvt_slice slice = {bytes, SIZE, NULL};
    struct kvt_error err;
    value_fill(bytes, SIZE, 1);
    store_start(fixture);
    for (uint64_t found = 1; found <= 2; found++) {
        struct once once = {
            .object = {.key = key_of("k"), .slices = &slice, .slice_count = 1}};
        pthread_t thread;
        store_set(fixture, "fs", "fault:posix");
        store_set(fixture, "fault.rules",
                  "rename@*tmp*,nth=1,do=ESTALE;open@*tmp*,nth=2,delay=500");
        assert_int_equal(store_open_other(fixture, false, &once.store, &err),
                         KVT_OK);
        pthread_create(&thread, NULL, offload_if_absent, &once);
        pause_ms(200); /* it waits before it tries again */
        assert_int_equal(put_value(fixture->store, key_of("k"), found, SIZE),
                         KVT_OK);
        pthread_join(thread, NULL);
        assert_int_equal(once.object.status,
                         found == 1 ? KVT_OK : KVT_ERR_OBJECT_ALREADY_EXISTS);
        assert_int_equal(get_value(fixture->store, key_of("k"), found, SIZE),
                         KVT_OK);
        kvt_store_close(once.store);
        assert_int_equal(remove_key(fixture->store, key_of("k")), KVT_OK);
    }
}

/* A stale handle does not say that the file is gone, and it is not. */
static void a_removal_that_met_a_stale_handle_is_no_success(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_object object = {.key = key_of("k")};
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    start_with(fixture, "remove@[0-9a-f]*,from=1,do=ESTALE");
    assert_int_equal(kvt_batch_remove(fixture->store, &object, 1, NULL), 0);
    assert_int_equal(object.status, KVT_ERR_DFS_STALE_HANDLE);
    assert_int_equal(kvt_remove_all(fixture->store, NULL),
                     KVT_ERR_DFS_STALE_HANDLE);
    assert_true(has_key(fixture->store, key_of("k")));
    /* once only: it is tried again */
    start_with(fixture, "remove@[0-9a-f]*,nth=1,do=ESTALE");
    assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
    assert_false(has_key(fixture->store, key_of("k")));
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    start_with(fixture, "remove@[0-9a-f]*,nth=1,do=EBADF");
    assert_int_equal(remove_key(fixture->store, key_of("k")), KVT_OK);
    assert_false(has_key(fixture->store, key_of("k")));
}

/* Health ------------------------------------------------------------------- */

static void wait_for_offloads(struct store_fixture *fixture)
{
    int64_t end_ns = kvt_clock_ns() + INT64_C(20000000000);
    while (!kvt_is_offload_enabled(fixture->store) && kvt_clock_ns() < end_ns) {
        pause_ms(20);
    }
    assert_true(kvt_is_offload_enabled(fixture->store));
}

static void offloads_stop_while_the_file_system_fails(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_object object = {.key = key_of("n")};
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    /* the first eight fail, and then it is well again */
    start_with(fixture, "open@*tmp*,nth=1,do=ENOTCONN;open@*tmp*,nth=2,"
                        "do=ENOTCONN;open@*tmp*,nth=3,do=ENOTCONN;"
                        "open@*tmp*,nth=4,do=ENOTCONN");
    assert_string_equal(stats_of(fixture->store).health.state, "ok");
    for (int i = 0; i < 3; i++) {
        assert_true(kvt_is_offload_enabled(fixture->store));
        assert_int_equal(put_value(fixture->store, key_of("n"), 1, SIZE),
                         KVT_ERR_DFS_SERVICE_UNAVAILABLE);
        assert_string_equal(stats_of(fixture->store).health.state,
                            i < 2 ? "degraded" : "failed");
    }
    assert_false(kvt_is_offload_enabled(fixture->store));
    assert_int_equal(stats_of(fixture->store).health.last_errnum, ENOTCONN);
    assert_int_equal(kvt_batch_offload(fixture->store, &object, 1, NULL), 0);
    assert_int_equal(object.status, KVT_ERR_UNABLE_OFFLOAD);
    assert_int_equal(object.errnum, ENOTCONN);
    assert_int_equal(get_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    /* by itself: the first probe fails, the second does not */
    wait_for_offloads(fixture);
    assert_string_equal(stats_of(fixture->store).health.state, "ok");
    assert_int_equal(put_value(fixture->store, key_of("n"), 1, SIZE), KVT_OK);
}

/* Who asked knows; and after it has recovered, three failures are needed
 * again. */
static void a_failed_health_check_stops_offloads_at_once(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_error err;
    store_start(fixture); /* which makes the record */
    start_with(fixture, "rename@*tmp*,nth=1,do=ENOTCONN;rename@*tmp*,nth=3,"
                        "do=ENOTCONN");
    assert_int_equal(kvt_health_check(fixture->store, &err),
                     KVT_ERR_DFS_SERVICE_UNAVAILABLE);
    assert_false(kvt_is_offload_enabled(fixture->store));
    assert_string_equal(stats_of(fixture->store).health.state, "failed");
    wait_for_offloads(fixture); /* by the second */
    assert_int_equal(put_value(fixture->store, key_of("n"), 1, SIZE),
                     KVT_ERR_DFS_SERVICE_UNAVAILABLE);
    assert_true(kvt_is_offload_enabled(fixture->store));
    /* a full one is another matter */
    start_with(fixture, "write@*tmp*,nth=1,do=ENOSPC");
    assert_int_equal(kvt_health_check(fixture->store, &err),
                     KVT_ERR_DFS_QUOTA_EXCEEDED);
    assert_true(kvt_is_offload_enabled(fixture->store));
    assert_string_equal(stats_of(fixture->store).health.state, "degraded");
}

/* Nobody is told of an empty store that cannot be listed. */
static void figures_that_cannot_be_had_are_older_ones(void **state)
{
    struct store_fixture *fixture = *state;
    store_start(fixture);
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(put_named(fixture->store, "k", i, i, SIZE), KVT_OK);
    }
    start_with(fixture, "list@.,from=2,do=EIO");
    assert_int_equal(stats_of(fixture->store).objects, 5);
    assert_int_equal(put_named(fixture->store, "k", 5, 5, SIZE), KVT_OK);
    struct kvt_stats stats = stats_of(fixture->store);
    assert_int_equal(stats.objects, 5);
    assert_string_equal(stats.health.state, "degraded");
    assert_int_equal(stats.health.last_errnum, EIO);
}

/* A full disk or a file that may not be read is no reason to stop. */
static void quotas_and_single_files_do_not_stop_offloads(void **state)
{
    struct store_fixture *fixture = *state;
    start_with(fixture, "write@[0-9a-f]*,from=1,do=EDQUOT");
    for (int i = 0; i < 6; i++) {
        assert_int_equal(put_value(fixture->store, key_of("n"), 1, SIZE),
                         KVT_ERR_DFS_QUOTA_EXCEEDED);
    }
    assert_true(kvt_is_offload_enabled(fixture->store));
    start_with(fixture, "open@[0-9a-f]*/k,from=1,do=EACCES");
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(get_value(fixture->store, key_of("k"), 1, SIZE),
                         KVT_ERR_DFS_PERMISSION_DENIED);
    }
    assert_true(kvt_is_offload_enabled(fixture->store));
    assert_int_equal(put_value(fixture->store, key_of("k2"), 1, SIZE), KVT_OK);
}

struct checker {
    struct kvt_store *store;
    struct kvt_error err;
    int rc;
};

static void *check_health(void *arg)
{
    struct checker *checker = arg;
    checker->rc = kvt_health_check(checker->store, &checker->err);
    return NULL;
}

/* A mount that gives back other bytes than it took, as many of them. */
static void the_bytes_of_the_probe_are_compared(void **state)
{
    struct store_fixture *fixture = *state;
    static const char other[64];
    struct checker checker = {0};
    char directory[FILE_PATH_MAX];
    char path[FILE_PATH_MAX] = "";
    pthread_t thread;
    store_set(fixture, "distributed.hash_bucket_count", "1");
    store_start(fixture);
    start_with(fixture, "read@00/*tmp*,nth=1,delay=500");
    checker.store = fixture->store;
    pthread_create(&thread, NULL, check_health, &checker);
    pause_ms(200); /* it is written, and not read yet */
    store_path(fixture, "00", directory);
    DIR *dir = opendir(directory);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry != NULL;
         entry = readdir(dir)) {
        if (entry->d_name[0] == '%') {
            snprintf(path, sizeof path, "%.4000s/%s", directory, entry->d_name);
        }
    }
    closedir(dir);
    assert_true(path[0] != '\0');
    file_write(path, other, sizeof other);
    pthread_join(thread, NULL);
    assert_int_equal(checker.rc, KVT_ERR_DFS_SERVICE_UNAVAILABLE);
    assert_non_null(strstr(checker.err.message, "comparing the probe"));
    assert_false(file_exists(path));
}

static void a_health_check_of_what_hangs_ends(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_error err;
    start_with(fixture, "write@[0-9a-f]*,nth=1,hang");
    int64_t start_ns = kvt_clock_ns();
    assert_int_equal(kvt_health_check(fixture->store, &err),
                     KVT_ERR_DFS_NETWORK_TIMEOUT);
    assert_non_null(strstr(err.message, "writing the probe"));
    assert_true(kvt_clock_ns() - start_ns < INT64_C(12000000000));
    /* at open, too, and the caller is not kept waiting for the close */
    store_stop(fixture);
    store_set(fixture, "distributed.health_check", "on");
    start_ns = kvt_clock_ns();
    assert_int_equal(
        kvt_store_open(fixture->config, NULL, &fixture->store, &err),
        KVT_ERR_DFS_NETWORK_TIMEOUT);
    assert_true(kvt_clock_ns() - start_ns < INT64_C(12000000000));
    store_set(fixture, "distributed.health_check", "off");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test_fast(a_lost_answer_of_a_rename_is_no_failure),
        store_test_fast(after_a_lost_answer_the_file_tells_whose_it_is),
        store_test_fast(a_removal_that_met_a_stale_handle_is_no_success),
        store_test_fast(offloads_stop_while_the_file_system_fails),
        store_test_fast(a_failed_health_check_stops_offloads_at_once),
        store_test_fast(figures_that_cannot_be_had_are_older_ones),
        store_test_fast(quotas_and_single_files_do_not_stop_offloads),
        store_test_fast(the_bytes_of_the_probe_are_compared),
        store_test_fast(a_health_check_of_what_hangs_ends),
    };
    return store_row_run(&posix_row, "failures", tests,
                         sizeof tests / sizeof tests[0]) != 0;
}
