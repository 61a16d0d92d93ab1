/* `write_budget_per_day` over every layout: what goes beyond is dropped at
 * once, told and counted, now and after a restart. */
#define _XOPEN_SOURCE 700
#include "support/store_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    SIZE = 4096,
    BUDGET = 40 * SIZE,
};

/* Offloads keys from `first` on until one is dropped; how many were not. */
static uint64_t fill(struct kvt_store *store, uint64_t first)
{
    uint64_t i = first;
    int rc;
    while ((rc = put_named(store, "k", i, i, SIZE)) == KVT_OK) {
        i++;
        assert_true(i - first < 1000);
    }
    assert_int_equal(rc, KVT_ERR_UNABLE_OFFLOAD);
    return i - first;
}

static void what_goes_beyond_is_dropped(void **state)
{
    struct store_fixture *fixture = *state;
    struct named_key key;
    char bytes[SIZE];
    struct kvt_slice slice = {bytes, SIZE, NULL};
    store_set_number(fixture, "write_budget_per_day", BUDGET);
    store_start(fixture);
    assert_true(kvt_is_offload_enabled(fixture->store));
    uint64_t stored = fill(fixture->store, 0);
    /* what a layout writes beside the values counts, too */
    assert_in_range(stored, 30, 40);
    struct kvt_stats stats = stats_of(fixture->store);
    assert_int_equal(stats.writes.budget, BUDGET);
    assert_int_equal(stats.writes.dropped_objects, 1);
    assert_in_range(stats.writes.day_bytes, BUDGET - 2 * SIZE, BUDGET);
    assert_string_equal(stats.health.state, "ok");
    name_key(&key, "k", stored);
    value_fill(bytes, SIZE, 5);
    struct kvt_object object = {
        .key = key.key, .slices = &slice, .slice_count = 1};
    assert_int_equal(kvt_batch_offload(fixture->store, &object, 1, NULL), 0);
    assert_int_equal(object.status, KVT_ERR_UNABLE_OFFLOAD);
    assert_int_equal(object.errnum, EDQUOT);
    assert_int_equal(stats_of(fixture->store).writes.dropped_objects, 2);
    /* all else goes on */
    for (uint64_t i = 0; i < stored; i++) {
        assert_int_equal(get_named(fixture->store, "k", i, i, SIZE), KVT_OK);
    }
    assert_false(has_named(fixture->store, "k", stored));
    assert_int_equal(remove_named(fixture->store, "k", 0), KVT_OK);
    if (fixture->row->owned) { /* known to be there: nothing is written */
        assert_int_equal(put_named(fixture->store, "k", 1, 1, SIZE), KVT_OK);
    }
    assert_int_equal(put_named(fixture->store, "k", 2, 77, SIZE),
                     KVT_ERR_UNABLE_OFFLOAD);
    assert_int_equal(get_named(fixture->store, "k", 2, 2, SIZE), KVT_OK);
}

/* Those of a batch that fit are written. */
static void a_batch_is_cut(void **state)
{
    enum {
        COUNT = 64
    };
    struct store_fixture *fixture = *state;
    static char bytes[COUNT][SIZE];
    struct named_key keys[COUNT];
    struct kvt_slice slices[COUNT];
    struct kvt_object objects[COUNT];
    store_set_number(fixture, "write_budget_per_day", BUDGET);
    store_start(fixture);
    for (uint64_t i = 0; i < COUNT; i++) {
        name_key(&keys[i], "k", i);
        value_fill(bytes[i], SIZE, i);
        slices[i] = (struct kvt_slice){bytes[i], SIZE, NULL};
        objects[i] = (struct kvt_object){
            .key = keys[i].key, .slices = &slices[i], .slice_count = 1};
    }
    int stored = kvt_batch_offload(fixture->store, objects, COUNT, NULL);
    assert_in_range(stored, 30, 40);
    for (uint64_t i = 0; i < COUNT; i++) {
        bool dropped = objects[i].status == KVT_ERR_UNABLE_OFFLOAD &&
                       objects[i].errnum == EDQUOT;
        assert_true(dropped || objects[i].status == KVT_OK);
        assert_true(dropped != has_named(fixture->store, "k", i));
    }
    assert_int_equal(stats_of(fixture->store).writes.dropped_objects,
                     COUNT - stored);
}

/* What is refused for want of room was not written. */
static void a_refusal_costs_nothing(void **state)
{
    struct store_fixture *fixture = *state;
    store_set_number(fixture, "write_budget_per_day", 1 << 30);
    store_set_number(fixture, "total_size_limit", 1 << 20);
    store_set(fixture, "eviction", "none");
    store_start(fixture);
    uint64_t stored = fill(fixture->store, 0);
    uint64_t before = stats_of(fixture->store).writes.day_bytes;
    assert_true(before >= stored * SIZE && before < (2 << 20));
    for (uint64_t i = 0; i < 20; i++) {
        assert_int_equal(put_named(fixture->store, "x", i, i, SIZE),
                         KVT_ERR_UNABLE_OFFLOAD);
    }
    assert_int_equal(stats_of(fixture->store).writes.day_bytes, before);
    assert_int_equal(stats_of(fixture->store).writes.dropped_objects, 0);
}

static void it_counts_on_after_a_restart(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    store_set_number(fixture, "write_budget_per_day", BUDGET);
    store_start(fixture);
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(put_named(fixture->store, "k", i, i, SIZE), KVT_OK);
    }
    uint64_t before = stats_of(fixture->store).writes.day_bytes;
    assert_true(before >= 10 * SIZE);
    store_restart(fixture);
    struct kvt_stats stats = stats_of(fixture->store);
    assert_int_equal(stats.writes.dropped_objects, 0);
    store_path(fixture, ".kvtier/written", path);
    if (!fixture->row->owned) { /* the count of one opening */
        assert_int_equal(stats.writes.day_bytes, 0);
        assert_false(file_exists(path));
        return;
    }
    assert_int_equal(stats.writes.day_bytes, before);
    fill(fixture->store, 100);
    store_restart(fixture);
    assert_int_equal(put_named(fixture->store, "y", 0, 0, SIZE),
                     KVT_ERR_UNABLE_OFFLOAD);
    /* a larger budget has room again; without one nothing is refused */
    store_stop(fixture);
    store_set_number(fixture, "write_budget_per_day", 2 * BUDGET);
    store_start(fixture);
    assert_in_range(fill(fixture->store, 200), 30, 42);
    store_stop(fixture);
    store_set_number(fixture, "write_budget_per_day", 0);
    store_start(fixture);
    assert_int_equal(put_named(fixture->store, "y", 0, 0, SIZE), KVT_OK);
    assert_int_equal(stats_of(fixture->store).writes.day_bytes, 0);
}

static void store_dies(struct store_fixture *fixture, uint64_t first,
                       uint64_t count)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct kvt_store *store;
        if (kvt_store_open(fixture->config, NULL, &store, NULL) != KVT_OK) {
            _exit(1);
        }
        for (uint64_t i = first; i < first + count; i++) {
            if (put_named(store, "k", i, i, SIZE) != KVT_OK) {
                _exit(1);
            }
        }
        struct timespec moment = {0, 300000000};
        nanosleep(&moment, NULL); /* for the keeper */
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

/* A killed store: what it wrote counts, but for a 64th, which is counted
 * whether it was written or not. */
static void it_counts_on_after_a_kill(void **state)
{
    struct store_fixture *fixture = *state;
    store_set_number(fixture, "write_budget_per_day", 64 * BUDGET);
    store_dies(fixture, 0, 100);
    store_start(fixture);
    uint64_t counted = stats_of(fixture->store).writes.day_bytes;
    assert_true(counted >= 100 * SIZE);
    assert_true(counted <= 100 * SIZE * 21 / 20 + 2 * BUDGET);
    store_stop(fixture);
    /* one that wrote nothing costs a 64th */
    store_dies(fixture, 0, 0);
    store_start(fixture);
    assert_int_equal(stats_of(fixture->store).writes.day_bytes,
                     counted + BUDGET);
}

static void a_damaged_record_is_none(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    store_set_number(fixture, "write_budget_per_day", BUDGET);
    store_start(fixture);
    fill(fixture->store, 0);
    store_stop(fixture);
    store_path(fixture, ".kvtier/written", path);
    file_write(path, "what", 4);
    store_start(fixture);
    assert_int_equal(stats_of(fixture->store).writes.day_bytes, 0);
    fill(fixture->store, 0); /* the first ones are there */
    store_restart(fixture);
    assert_true(stats_of(fixture->store).writes.day_bytes > 0);
}

int main(void)
{
    static const struct store_row bucket = {"bucket", "posix", false, true,
                                            NULL};
    static const struct store_row files = {"file_per_key", "posix", true, true,
                                           NULL};
    static const struct CMUnitTest tests[] = {
        store_test_fast(what_goes_beyond_is_dropped),
        store_test_fast(a_batch_is_cut),
        store_test_fast(a_refusal_costs_nothing),
        store_test_fast(it_counts_on_after_a_restart),
    };
    static const struct CMUnitTest kept_tests[] = {
        store_test_fast(it_counts_on_after_a_kill),
        store_test_fast(a_damaged_record_is_none),
    };
    return store_rows_run("write budget", tests, 4) +
               store_row_run(&bucket, "kept write budget", kept_tests, 2) +
               store_row_run(&files, "kept write budget", kept_tests, 2) !=
           0;
}
