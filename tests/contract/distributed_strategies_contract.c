/* Publishing where a mount cannot rename, or cannot even link: what is there
 * goes first, or a file is written under its own name. With failures in the
 * middle, and with answers that are lost. */
#include "support/store_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    SIZE = 3000
};

static const struct store_row link_row = {"distributed", "mem", false, false,
                                          "shared,no_rename"};
static const struct store_row place_row = {"distributed", "mem", false, false,
                                           "shared,no_rename,no_links"};
static const struct store_row bare_row = {
    "distributed", "mem", false, false,
    "shared,no_rename,no_links,no_exclusive"};
static const struct store_row sync_row = {
    "distributed", "mem", false, false,
    "shared,no_rename,no_links,after_sync,lost_on_kill"};

static const struct store_row late_row = {
    "distributed", "mem", false, false, "shared,no_rename,no_links,after_sync"};

static const struct store_row library_row = {"distributed", "mem", false, false,
                                             "shared,lost_on_kill"};

static void start_with(struct store_fixture *fixture, const char *rules)
{
    store_stop(fixture);
    store_set(fixture, "fs", "fault:mem");
    store_set(fixture, "fault.rules", rules);
    store_start(fixture);
}

static int offload_once(struct store_fixture *fixture, uint64_t seed,
                        uint32_t flags)
{
    static unsigned char bytes[SIZE];
    struct kvt_slice slice = {bytes, SIZE, NULL};
    struct kvt_batch_options options = KVT_BATCH_OPTIONS_INIT;
    struct kvt_object object = {
        .key = key_of("k"), .slices = &slice, .slice_count = 1};
    options.flags = flags;
    value_fill(bytes, SIZE, seed);
    kvt_batch_offload(fixture->store, &object, 1, &options);
    return object.status;
}

static int count_all(const struct kvt_meta *metas, size_t count, void *arg)
{
    (void)metas;
    *(size_t *)arg += count;
    return 0;
}

static void objects_are_replaced_and_found(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_error err;
    size_t seen = 0;
    store_set(fixture, "distributed.health_check", "on");
    store_start(fixture);
    for (uint64_t version = 1; version < 6; version++) {
        assert_int_equal(put_value(fixture->store, key_of("k"), version, SIZE),
                         KVT_OK);
        assert_int_equal(get_value(fixture->store, key_of("k"), version, SIZE),
                         KVT_OK);
    }
    assert_int_equal(kvt_scan_meta(fixture->store, count_all, &seen, NULL), 0);
    assert_int_equal(seen, 1); /* the probe is gone, too */
    assert_int_equal(kvt_health_check(fixture->store, &err), KVT_OK);
    assert_int_equal(remove_key(fixture->store, key_of("k")), KVT_OK);
    assert_false(has_key(fixture->store, key_of("k")));
}

static void another_host_gets_what_was_acknowledged(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_store *other;
    struct kvt_error err;
    store_start(fixture);
    assert_int_equal(store_open_other(fixture, false, &other, &err), KVT_OK);
    for (uint64_t version = 1; version < 4; version++) {
        assert_int_equal(put_value(fixture->store, key_of("k"), version, SIZE),
                         KVT_OK);
        assert_int_equal(get_value(other, key_of("k"), version, SIZE), KVT_OK);
    }
    kvt_store_close(other);
}

static void only_if_absent_is_kept_or_refused(void **state)
{
    struct store_fixture *fixture = *state;
    bool bare = strstr(fixture->row->facts, "no_exclusive") != NULL;
    store_start(fixture);
    int first = offload_once(fixture, 1, KVT_IF_ABSENT);
    if (bare) {
        assert_int_equal(first, KVT_ERR_NOT_SUPPORTED);
        return;
    }
    assert_int_equal(first, KVT_OK);
    assert_int_equal(offload_once(fixture, 2, KVT_IF_ABSENT),
                     KVT_ERR_OBJECT_ALREADY_EXISTS);
    assert_int_equal(get_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
}

/* Where written bytes die with their process, an acknowledged object was
 * synced, whatever the level says: a failed sync is a failed offload. */
static void bytes_that_die_with_the_process_are_synced(void **state)
{
    struct store_fixture *fixture = *state;
    bool dies = strstr(fixture->row->facts, "lost_on_kill") != NULL;
    bool late = strstr(fixture->row->facts, "after_sync") != NULL;
    store_start(fixture);
    start_with(fixture, "sync@[0-9a-f]*,from=1,do=EIO");
    int rc = offload_once(fixture, 1, 0);
    assert_int_equal(rc, dies || late ? KVT_ERR_FILE_WRITE_FAIL : KVT_OK);
}

/* What failed half-way is cleaned up: nothing there is taken for an object. */
static void a_failed_write_leaves_the_name_free(void **state)
{
    struct store_fixture *fixture = *state;
    static const char *const rules[] = {"write@[0-9a-f]*,nth=1,do=EIO",
                                        "close@[0-9a-f]*,nth=1,do=EIO"};
    if (strstr(fixture->row->facts, "no_exclusive") != NULL) {
        return; /* which cannot tell: only_if_absent_is_kept_or_refused */
    }
    for (size_t i = 0; i < 2; i++) {
        start_with(fixture, rules[i]);
        assert_int_equal(offload_once(fixture, 1, 0), KVT_ERR_FILE_WRITE_FAIL);
        assert_int_equal(offload_once(fixture, 2, KVT_IF_ABSENT), KVT_OK);
        assert_int_equal(get_value(fixture->store, key_of("k"), 2, SIZE), 0);
        assert_int_equal(remove_key(fixture->store, key_of("k")), KVT_OK);
    }
}

/* The version that is there, whole, or 0. */
static unsigned load_version(struct store_fixture *fixture)
{
    static unsigned char bytes[SIZE];
    struct kvt_slice slice = {bytes, SIZE, NULL};
    struct kvt_object object = {
        .key = key_of("k"), .slices = &slice, .slice_count = 1};
    kvt_batch_load(fixture->store, &object, 1, NULL);
    if (object.status != KVT_OK) {
        return 0;
    }
    assert_int_equal(object.size, SIZE);
    assert_true(value_is(bytes, SIZE, 1) || value_is(bytes, SIZE, 2));
    return value_is(bytes, SIZE, 1) ? 1 : 2;
}

/* Each step fails once, and always: an error, and nothing that is no object. */
static void a_failure_in_the_middle_leaves_nothing_wrong(void **state)
{
    struct store_fixture *fixture = *state;
    static const char *const ops[] = {"open", "write", "sync", "close",
                                      "remove"};
    static const char *const how[] = {"nth=1,do=EIO", "from=1,do=ENOSPC",
                                      "nth=1,do=ESTALE", "from=1,do=EBADF",
                                      "nth=1,short=9"};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        for (size_t k = 0; k < sizeof how / sizeof how[0]; k++) {
            char rules[80];
            size_t seen = 0;
            snprintf(rules, sizeof rules, "%s@[0-9a-f]*,%s", ops[i], how[k]);
            if (strstr(how[k], "short") != NULL && strcmp(ops[i], "write")) {
                continue;
            }
            store_stop(fixture);
            store_set(fixture, "fs", "mem");
            store_start(fixture);
            put_value(fixture->store, key_of("k"), 1, SIZE);
            start_with(fixture, rules);
            int rc = offload_once(fixture, 2, 0);
            store_stop(fixture);
            store_set(fixture, "fs", "mem");
            store_start(fixture);
            unsigned got = load_version(fixture);
            if (rc == KVT_OK && got != 2) {
                fail_msg("%s: acknowledged, and version %u is there", rules,
                         got);
            }
            assert_int_equal(
                kvt_scan_meta(fixture->store, count_all, &seen, NULL), 0);
            assert_true(seen <= 1);
            assert_int_equal(put_value(fixture->store, key_of("k"), 3, SIZE),
                             KVT_OK);
            assert_int_equal(get_value(fixture->store, key_of("k"), 3, SIZE),
                             KVT_OK);
        }
    }
}

/* What a writer left half-way, or is about to finish, is no object to any call
 * that does not read it. */
static void half_an_object_is_never_listed(void **state)
{
    struct store_fixture *fixture = *state;
    size_t seen = 0;
    start_with(fixture, "write@[0-9a-f]*,from=1,short=100;"
                        "remove@[0-9a-f]*,from=1,do=EIO");
    int rc = offload_once(fixture, 1, 0);
    assert_true(rc != KVT_OK);
    store_stop(fixture);
    store_set(fixture, "fs", "mem");
    store_start(fixture);
    assert_false(has_key(fixture->store, key_of("k")));
    assert_int_equal(kvt_scan_meta(fixture->store, count_all, &seen, NULL), 0);
    assert_int_equal(seen, 0);
    assert_int_equal(stats_of(fixture->store).objects, 0);
    assert_int_equal(put_value(fixture->store, key_of("k"), 2, SIZE), KVT_OK);
    struct kvt_object object = {.key = key_of("k")};
    assert_int_equal(kvt_batch_exists(fixture->store, &object, 1, NULL), 1);
    assert_int_equal(object.size, SIZE);
}

static void raw_files_need_a_name_in_one_step(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_error err;
    bool links = strstr(fixture->row->facts, "no_links") == NULL;
    store_set(fixture, "distributed.format", "raw");
    int rc = kvt_store_open(fixture->config, NULL, &fixture->store, &err);
    assert_int_equal(rc, links ? KVT_OK : KVT_ERR_NOT_SUPPORTED);
    if (links) {
        assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), 0);
        assert_int_equal(put_value(fixture->store, key_of("k"), 2, SIZE), 0);
        assert_int_equal(get_value(fixture->store, key_of("k"), 2, SIZE), 0);
    }
}

/* A refresh that fails at any of its steps is no failure of the load. */
static void a_refresh_that_fails_does_no_harm(void **state)
{
    struct store_fixture *fixture = *state;
    static const char *const rules[] = {
        "open@[0-9a-f]*,nth=2,do=EACCES", "read@[0-9a-f]*,nth=2,do=EIO",
        "write@[0-9a-f]*,nth=1,do=ENOSPC", "close@[0-9a-f]*,nth=2,do=EIO",
        "read@[0-9a-f]*,nth=2,short=0"};
    store_set(fixture, "distributed.refresh_interval", "60");
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        start_with(fixture, rules[i]);
        assert_int_equal(get_value(fixture->store, key_of("k"), 1, SIZE), 0);
    }
}

int main(void)
{
    static const struct store_row *const rows[] = {
        &link_row, &place_row, &bare_row, &sync_row, &late_row, &library_row};
    const struct CMUnitTest tests[] = {
        store_test_fast(objects_are_replaced_and_found),
        store_test_fast(another_host_gets_what_was_acknowledged),
        store_test_fast(only_if_absent_is_kept_or_refused),
        store_test_fast(a_failure_in_the_middle_leaves_nothing_wrong),
        store_test_fast(bytes_that_die_with_the_process_are_synced),
        store_test_fast(a_failed_write_leaves_the_name_free),
        store_test_fast(half_an_object_is_never_listed),
        store_test_fast(raw_files_need_a_name_in_one_step),
        store_test_fast(a_refresh_that_fails_does_no_harm),
    };
    int failed = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        failed |= store_row_run(rows[i], "strategies", tests,
                                sizeof tests / sizeof tests[0]);
    }
    return failed != 0;
}
