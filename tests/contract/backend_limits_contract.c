/* Limits: bytes and keys, what counts against them, and that a full store is
 * never the end. */
#include "support/store_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    KIB = 1024,
    MANY = 6, /* of these objects in one file of a log of 1 MiB */
};

static void put_ok(struct kvt_store *store, const char *prefix, uint64_t i,
                   size_t size)
{
    assert_int_equal(put_named(store, prefix, i, i, size), KVT_OK);
}

/* How many of prefix0..count are there. */
static uint64_t count_left(struct kvt_store *store, const char *prefix,
                           uint64_t count)
{
    uint64_t left = 0;
    for (uint64_t i = 0; i < count; i++) {
        left += has_named(store, prefix, i);
    }
    return left;
}

static void the_figures_are_those_of_the_objects(void **state)
{
    struct store_fixture *fixture = *state;
    store_set_number(fixture, "total_size_limit", 10 << 20);
    store_start(fixture);
    put_ok(fixture->store, "a", 1, 100);
    put_ok(fixture->store, "a", 2, 100000);
    put_ok(fixture->store, "a", 3, 0);
    for (int restarts = 0; restarts < 2; restarts++) {
        struct kvt_stats stats = stats_of(fixture->store);
        assert_int_equal(stats.objects, 3);
        assert_int_equal(stats.object_bytes, 100100);
        assert_int_equal(stats.limit_bytes, 10 << 20);
        assert_true(stats.allocated_bytes >= 100100);
        assert_true(stats.allocated_bytes < 300000);
        assert_true(stats.value_bytes >= stats.object_bytes);
        assert_int_equal(stats.value_bytes,
                         stats.object_bytes + stats.dead_bytes);
        assert_string_equal(stats.path, fixture->path);
        assert_string_equal(stats.backend, fixture->row->backend);
        assert_string_equal(stats.effective.checksum, "on");
        assert_string_equal(stats.health.state, "ok");
        assert_int_equal(stats.recovery.objects, restarts == 0 ? 0 : 3);
        assert_true(kvt_is_offload_enabled(fixture->store));
        store_restart(fixture);
    }
    /* an older caller's shorter struct is filled as far as it goes */
    struct kvt_stats stats;
    memset(&stats, 0x77, sizeof stats);
    stats.size = offsetof(struct kvt_stats, object_bytes);
    assert_int_equal(kvt_stats(fixture->store, &stats), KVT_OK);
    assert_int_equal(stats.objects, 3);
    assert_int_equal(stats.object_bytes, UINT64_C(0x7777777777777777));
}

/* A log gives room back when a file has gone, which may be a little later. */
static bool wait_enabled(struct kvt_store *store)
{
    for (int i = 0; i < 2000 && !kvt_is_offload_enabled(store); i++) {
        struct timespec tick = {0, 1000000};
        nanosleep(&tick, NULL);
    }
    return kvt_is_offload_enabled(store);
}

static void a_full_store_without_eviction_refuses_and_serves(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "eviction", "none");
    store_set_number(fixture, "total_size_limit", 256 * KIB);
    store_start(fixture);
    uint64_t count = 0;
    while (put_named(fixture->store, "f", count, count, 10000) == KVT_OK) {
        count++;
        assert_true(count < 100);
    }
    assert_true(count >= 10);
    assert_int_equal(put_named(fixture->store, "f", count, count, 10000),
                     KVT_ERR_UNABLE_OFFLOAD);
    assert_true(stats_of(fixture->store).allocated_bytes <= 256 * KIB);
    for (int restarts = 0; restarts < 2; restarts++) {
        for (uint64_t i = 0; i < count; i++) {
            assert_int_equal(get_named(fixture->store, "f", i, i, 10000), 0);
        }
        assert_false(has_named(fixture->store, "f", count));
        assert_int_equal(put_named(fixture->store, "f", count, 0, 10000),
                         KVT_ERR_UNABLE_OFFLOAD);
        store_restart(fixture);
    }
    /* what is stored already is a success, also now */
    assert_int_equal(put_named(fixture->store, "f", 3, 3, 10000), KVT_OK);
    /* small ones fill the rest */
    for (uint64_t i = 0; put_named(fixture->store, "g", i, i, 1) == 0; i++) {
        assert_true(i < 100);
    }
    assert_false(kvt_is_offload_enabled(fixture->store));
    /* a log needs room for its own records, too */
    for (uint64_t i = 0; i < (store_is_log(fixture) ? 5 : 1); i++) {
        assert_int_equal(remove_named(fixture->store, "f", i), KVT_OK);
    }
    assert_true(wait_enabled(fixture->store));
    assert_int_equal(put_named(fixture->store, "f", count, 5, 10000), KVT_OK);
    assert_int_equal(get_named(fixture->store, "f", count, 5, 10000), KVT_OK);
    assert_int_equal(stats_of(fixture->store).evicted_objects, 0);
    assert_true(stats_of(fixture->store).peak_allocated_bytes <= 256 * KIB);
}

static void what_can_never_fit_evicts_nothing(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "eviction", "lru");
    store_set_number(fixture, "total_size_limit", 256 * KIB);
    store_start(fixture);
    for (uint64_t i = 0; i < 10; i++) {
        put_ok(fixture->store, "o", i, 10000);
    }
    assert_int_equal(put_named(fixture->store, "big", 0, 0, 300 * KIB),
                     KVT_ERR_UNABLE_OFFLOAD);
    assert_int_equal(count_left(fixture->store, "o", 10), 10);
    assert_true(kvt_is_offload_enabled(fixture->store));
    put_ok(fixture->store, "big", 0, 200 * KIB);
}

static void a_write_evicts_only_what_it_needs(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "eviction", "fifo");
    store_set_number(fixture, "total_size_limit", 1024 * KIB);
    store_start(fixture);
    uint64_t count = 0;
    do {
        put_ok(fixture->store, "o", count++, 20000);
    } while (stats_of(fixture->store).evicted_objects == 0);
    /* steady state: one in, one out, whatever the watermarks say */
    for (uint64_t i = 0; i < 30; i++) {
        uint64_t before = stats_of(fixture->store).evicted_objects;
        put_ok(fixture->store, "o", count++, 20000);
        uint64_t more = stats_of(fixture->store).evicted_objects - before;
        assert_true(store_is_log(fixture) ? more <= MANY : more == 1);
    }
    uint64_t before = stats_of(fixture->store).evicted_objects;
    put_ok(fixture->store, "wide", 0, 100000);
    uint64_t gone = stats_of(fixture->store).evicted_objects - before;
    assert_true(store_is_log(fixture) ? gone <= 2 * MANY
                                      : gone >= 4 && gone <= 6);
    assert_true(stats_of(fixture->store).peak_allocated_bytes <= 1024 * KIB);
}

/* One batch that is larger than the store. One file an object: its own objects
 * make room for each other, one after the other. A larger unit, which a batch
 * fills as a whole, refuses what does not fit. What is left is whole. */
static void a_batch_larger_than_the_store_takes_turns(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        COUNT = 6,
        BYTES = 250000
    };
    static unsigned char bytes[COUNT][BYTES];
    struct kvt_object objects[COUNT];
    struct kvt_slice slices[COUNT];
    struct named_key named[COUNT];
    store_set(fixture, "total_size_limit", "1MiB");
    store_start(fixture);
    for (size_t i = 0; i < COUNT; i++) {
        value_fill(bytes[i], BYTES, i);
        name_key(&named[i], "k", i);
        slices[i] = (struct kvt_slice){bytes[i], BYTES, NULL};
        objects[i] = (struct kvt_object){
            .key = named[i].key, .slices = &slices[i], .slice_count = 1};
    }
    int stored = kvt_batch_offload(fixture->store, objects, COUNT, NULL);
    bool turns = strcmp(fixture->row->backend, "file_per_key") == 0;
    assert_true(turns ? stored == COUNT : stored >= 1);
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(objects[i].status == KVT_OK ||
                    objects[i].status == KVT_ERR_UNABLE_OFFLOAD);
    }
    struct kvt_stats stats = stats_of(fixture->store);
    assert_true(stats.objects >= 1 && stats.objects < COUNT);
    assert_true(stats.peak_allocated_bytes <= 1 << 20);
    size_t there = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        int rc = get_named(fixture->store, "k", i, i, BYTES);
        assert_true(rc == KVT_OK || rc == KVT_ERR_OBJECT_NOT_FOUND);
        there += rc == KVT_OK;
    }
    assert_int_equal(there, stats.objects);
}

/* Old and new do not fit together: the old one goes first. */
static void one_that_fills_the_store_is_replaced(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "total_size_limit", "1MiB");
    store_start(fixture);
    for (uint64_t version = 1; version < 5; version++) {
        assert_int_equal(put_named(fixture->store, "k", 1, version, 700000),
                         KVT_OK);
        assert_int_equal(get_named(fixture->store, "k", 1, version, 700000),
                         KVT_OK);
    }
    assert_int_equal(stats_of(fixture->store).objects, 1);
    assert_true(stats_of(fixture->store).peak_allocated_bytes <= 1 << 20);
}

static void limits_hold_across_overwrites(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "eviction", "lru");
    store_set_number(fixture, "total_size_limit", 512 * KIB);
    store_start(fixture);
    uint64_t seed = 1;
    for (int i = 0; i < 400; i++) {
        uint64_t random = random_next(&seed);
        uint64_t key = random % 12;
        size_t size = (random >> 8) % 60000;
        assert_int_equal(
            put_named(fixture->store, "o", key, random >> 30, size), KVT_OK);
        assert_int_equal(
            get_named(fixture->store, "o", key, random >> 30, size), KVT_OK);
    }
    struct kvt_stats stats = stats_of(fixture->store);
    assert_true(stats.peak_allocated_bytes <= 512 * KIB);
    assert_true(disk_usage(fixture->path) <= (512 + 300 * 4) * KIB);
    uint64_t allocated = stats.allocated_bytes;
    uint64_t bytes = stats.object_bytes;
    store_restart(fixture);
    stats = stats_of(fixture->store);
    assert_true(store_is_log(fixture) ? stats.allocated_bytes <= allocated
                                      : stats.allocated_bytes == allocated);
    assert_int_equal(stats.object_bytes, bytes);
    assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
    assert_int_equal(stats_of(fixture->store).allocated_bytes, 0);
}

/* A batch that fails half-way gives its room back. */
static void failed_writes_leave_no_claim(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        COUNT = 40
    };
    static unsigned char bytes[10000];
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    struct named_key names[COUNT];
    struct kvt_object objects[COUNT];
    store_set(fixture, "eviction", "none");
    store_set_number(fixture, "total_size_limit", 256 * KIB);
    store_start(fixture);
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            name_key(&names[i], "f", i);
            objects[i] = (struct kvt_object){
                .key = names[i].key, .slices = &slice, .slice_count = 1};
        }
        int done = kvt_batch_offload(fixture->store, objects, COUNT, NULL);
        assert_true(done >= (store_is_log(fixture) ? 4 : 10) && done < COUNT);
        for (size_t i = 0; i < COUNT; i++) {
            assert_true(objects[i].status == KVT_OK ||
                        objects[i].status == KVT_ERR_UNABLE_OFFLOAD);
        }
        struct kvt_stats stats = stats_of(fixture->store);
        assert_int_equal(stats.objects, done);
        assert_true(stats.peak_allocated_bytes <= 256 * KIB);
        assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
        assert_int_equal(stats_of(fixture->store).allocated_bytes, 0);
    }
}

static void a_lower_limit_at_the_next_start_evicts(void **state)
{
    struct store_fixture *fixture = *state;
    static struct told told;
    store_set(fixture, "eviction", "fifo");
    store_set_number(fixture, "total_size_limit", 1024 * KIB);
    store_start(fixture);
    for (uint64_t i = 0; i < 40; i++) {
        struct timespec tick = {0, 6000000}; /* of the file system's clock */
        nanosleep(&tick, NULL);
        put_ok(fixture->store, "o", i, 10000);
    }
    told = (struct told){0};
    fixture->handlers.evict = told_handler;
    fixture->handlers.evict_arg = &told;
    store_set_number(fixture, "total_size_limit", 200 * KIB);
    store_restart(fixture);
    struct kvt_stats stats = stats_of(fixture->store);
    assert_true(stats.allocated_bytes <= 200 * KIB);
    assert_true(stats.objects >= (store_is_log(fixture) ? 4 : 10) &&
                stats.objects < 20);
    assert_int_equal(told.count, 40 - stats.objects);
    assert_int_equal(stats.evicted_objects, told.count);
    /* the newest are left */
    for (uint64_t i = 0; i < 40; i++) {
        assert_int_equal(get_named(fixture->store, "o", i, i, 10000),
                         i >= told.count ? KVT_OK : KVT_ERR_OBJECT_NOT_FOUND);
    }
}

static void a_lower_limit_without_eviction_refuses_only(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "eviction", "none");
    store_set_number(fixture, "total_size_limit", 1024 * KIB);
    store_start(fixture);
    for (uint64_t i = 0; i < 40; i++) {
        put_ok(fixture->store, "o", i, 10000);
    }
    store_set_number(fixture, "total_size_limit", 200 * KIB);
    store_restart(fixture);
    assert_int_equal(count_left(fixture->store, "o", 40), 40);
    assert_int_equal(put_named(fixture->store, "n", 0, 0, 1),
                     KVT_ERR_UNABLE_OFFLOAD);
    assert_false(kvt_is_offload_enabled(fixture->store));
    assert_int_equal(kvt_evict(fixture->store, 0.9, 0.5, NULL, NULL), 0);
    assert_true(stats_of(fixture->store).allocated_bytes <= 100 * KIB);
    put_ok(fixture->store, "n", 0, 1);
}

/* Keys --------------------------------------------------------------------- */

static void the_limit_of_keys_evicts_or_refuses(void **state)
{
    struct store_fixture *fixture = *state;
    store_set_number(fixture, "total_keys_limit", 5);
    store_set(fixture, "eviction", "lru");
    store_start(fixture);
    for (uint64_t i = 0; i < 9; i++) {
        put_ok(fixture->store, "o", i, 10);
        assert_true(stats_of(fixture->store).objects <= 5);
    }
    assert_int_equal(count_left(fixture->store, "o", 9), 5);
    store_set(fixture, "eviction", "none");
    store_restart(fixture);
    assert_int_equal(put_named(fixture->store, "o", 100, 0, 10),
                     KVT_ERR_KEYS_ULTRA_LIMIT);
    assert_false(kvt_is_offload_enabled(fixture->store));
    assert_int_equal(remove_named(fixture->store, "o", 8), KVT_OK);
    put_ok(fixture->store, "o", 100, 10);
    store_set_number(fixture, "total_keys_limit", 2);
    store_set(fixture, "eviction", "fifo");
    store_restart(fixture);
    assert_int_equal(stats_of(fixture->store).objects, 2);
}

static void replacing_at_the_limit_of_keys_needs_no_room(void **state)
{
    struct store_fixture *fixture = *state;
    store_set_number(fixture, "total_keys_limit", 3);
    store_set(fixture, "eviction", "lru");
    store_start(fixture);
    for (uint64_t i = 0; i < 3; i++) {
        put_ok(fixture->store, "o", i, 10);
    }
    assert_int_equal(put_named(fixture->store, "o", 2, 77, 20), KVT_OK);
    assert_int_equal(count_left(fixture->store, "o", 3), 3);
    assert_int_equal(stats_of(fixture->store).evicted_objects, 0);
    store_set(fixture, "eviction", "none");
    store_restart(fixture);
    assert_int_equal(put_named(fixture->store, "o", 1, 78, 20), KVT_OK);
    assert_int_equal(get_named(fixture->store, "o", 1, 78, 20), KVT_OK);
    /* and the only one of a store of one */
    store_set_number(fixture, "total_keys_limit", 1);
    store_set(fixture, "eviction", "lru");
    store_restart(fixture);
    assert_int_equal(put_named(fixture->store, "o", 1, 79, 20), KVT_OK);
    assert_int_equal(put_named(fixture->store, "o", 1, 80, 21), KVT_OK);
    assert_int_equal(get_named(fixture->store, "o", 1, 80, 21), KVT_OK);
}

static void the_limit_of_values_holds_too(void **state)
{
    struct store_fixture *fixture = *state;
    store_set_number(fixture, "total_value_limit", 100000);
    store_set(fixture, "eviction", "lru");
    store_start(fixture);
    for (uint64_t i = 0; i < 30; i++) {
        put_ok(fixture->store, "o", i, 10000);
    }
    struct kvt_stats stats = stats_of(fixture->store);
    assert_true(stats.peak_value_bytes <= 100000);
    assert_int_equal(stats.objects, 10);
    assert_int_equal(stats.evicted_objects, 20);
    assert_int_equal(put_named(fixture->store, "big", 0, 0, 100001),
                     KVT_ERR_UNABLE_OFFLOAD);
    assert_int_equal(stats_of(fixture->store).objects, 10);
}

/* A share of the file system is a limit, too. */
static void the_limit_may_be_a_share(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "total_size_limit", "50%");
    store_start(fixture);
    uint64_t half = stats_of(fixture->store).limit_bytes;
    store_set(fixture, "total_size_limit", "100%");
    store_restart(fixture);
    uint64_t all = stats_of(fixture->store).limit_bytes;
    assert_true(all / 2 <= half + 1 && half <= all / 2 + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(the_figures_are_those_of_the_objects),
        store_test(a_full_store_without_eviction_refuses_and_serves),
        store_test(what_can_never_fit_evicts_nothing),
        store_test(a_write_evicts_only_what_it_needs),
        store_test(a_batch_larger_than_the_store_takes_turns),
        store_test(one_that_fills_the_store_is_replaced),
        store_test(limits_hold_across_overwrites),
        store_test(failed_writes_leave_no_claim),
        store_test(a_lower_limit_at_the_next_start_evicts),
        store_test(a_lower_limit_without_eviction_refuses_only),
        store_test(the_limit_of_keys_evicts_or_refuses),
        store_test(replacing_at_the_limit_of_keys_needs_no_room),
        store_test(the_limit_of_values_holds_too),
        store_test(the_limit_may_be_a_share),
    };
    return store_owned_rows_run("limits", tests,
                                sizeof tests / sizeof tests[0]) != 0;
}
