/* Calls of the file system that fail at the wrong moment, and readers beside
 * an owner: under bucket nothing that was replaced or removed comes back, and
 * nobody gets bytes that are not the object's. */
#define _XOPEN_SOURCE 700
#include "support/bucket_fixture.h"

#include <dirent.h>
#include <string.h>
#include <sys/resource.h>

enum {
    SIZE = 5000,
    MIB = 1 << 20,
};

static const struct store_row posix_row = {"bucket", "posix", false, true,
                                           NULL};

/* The store is closed; null: no faults. */
static void set_rules(struct store_fixture *fixture, const char *rules)
{
    store_set(fixture, "fs", rules != NULL ? "fault:posix" : "posix");
    store_set(fixture, "fault.rules", rules != NULL ? rules : "");
}

static void put(struct store_fixture *fixture, const char *key, uint64_t seed,
                size_t size)
{
    assert_int_equal(put_value(fixture->store, key_of(key), seed, size),
                     KVT_OK);
}

static bool is_there(struct store_fixture *fixture, const char *key)
{
    return has_key(fixture->store, key_of(key));
}

/* Failures -----------------------------------------------------------------
 */

static bool replace_and_remove(struct kvt_store *store)
{
    if (put_value(store, key_of("replaced"), 2, SIZE) != KVT_OK ||
        remove_key(store, key_of("removed")) != KVT_OK) {
        return false;
    }
    bucket_settle(store);
    return true;
}

/* The bucket of the new object goes, but not what it said of the old ones. */
static void a_failed_seal_brings_nothing_back(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "durability", "seal");
    store_start(fixture);
    put(fixture, "replaced", 1, SIZE);
    put(fixture, "removed", 3, SIZE);
    put(fixture, "other", 4, SIZE);
    bucket_settle(fixture->store);
    store_stop(fixture);
    set_rules(fixture, "sync@w-*,nth=1,do=EIO");
    bucket_die_after(fixture, replace_and_remove);
    set_rules(fixture, NULL);
    store_start(fixture);
    assert_false(is_there(fixture, "replaced"));
    assert_false(is_there(fixture, "removed"));
    assert_int_equal(get_value(fixture->store, key_of("other"), 4, SIZE),
                     KVT_OK);
}

/* Its objects are misses and can be written, but the file may stay. */
static void a_failed_unlink_brings_nothing_back(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_evict_result result = {0};
    struct kvt_error err;
    store_start(fixture);
    put(fixture, "replaced", 1, SIZE);
    put(fixture, "removed", 5, SIZE);
    bucket_settle(fixture->store);
    store_stop(fixture);
    set_rules(fixture, "remove@w-*,from=1,do=EIO");
    store_start(fixture);
    assert_int_not_equal(kvt_evict(fixture->store, 0, 0, &result, &err),
                         KVT_OK);
    put(fixture, "replaced", 2, SIZE);
    put(fixture, "removed", 6, SIZE);
    assert_int_equal(remove_key(fixture->store, key_of("removed")), KVT_OK);
    store_stop(fixture);
    set_rules(fixture, NULL);
    store_start(fixture);
    assert_int_equal(get_value(fixture->store, key_of("replaced"), 2, SIZE),
                     KVT_OK);
    assert_false(is_there(fixture, "removed"));
}

static size_t open_descriptors(void)
{
    size_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count;
}

/* The sync of each run is good, that of each seal is not: the files stay as
 * they are, and are counted as any that are open. */
static void buckets_that_cannot_be_sealed_take_few_descriptors(void **state)
{
    enum {
        PUTS = 60,
        DESCRIPTORS = 64,
    };
    struct store_fixture *fixture = *state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit few = {DESCRIPTORS, before.rlim_max};
    size_t opened = open_descriptors();
    store_set(fixture, "durability", "batch");
    set_rules(fixture, "sync@w-*.kvb,every=2,do=EIO");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    store_start(fixture);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    for (uint64_t i = 0; i < PUTS; i++) {
        assert_int_equal(put_named(fixture->store, "k", i, i, SIZE), KVT_OK);
        bucket_settle(fixture->store);
    }
    assert_int_equal(bkt_of(fixture->store)->in_state[BKT_CLOSED], PUTS);
    assert_true(open_descriptors() < opened + DESCRIPTORS / 2);
    for (uint64_t i = 0; i < PUTS; i++) {
        assert_int_equal(get_named(fixture->store, "k", i, i, SIZE), KVT_OK);
    }
}

/* Readers ------------------------------------------------------------------
 */

static struct kvt_store *open_reader(struct store_fixture *fixture)
{
    struct kvt_store *reader;
    struct kvt_error err;
    assert_int_equal(store_open_other(fixture, true, &reader, &err), KVT_OK);
    return reader;
}

static void a_reader_takes_no_hole_for_an_object(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "durability", "seal");
    store_set(fixture, "checksum", "off");
    store_start(fixture);
    for (uint64_t i = 0; i < 4; i++) {
        assert_int_equal(put_named(fixture->store, "k", i, i, 4 * SIZE),
                         KVT_OK);
    }
    bucket_settle(fixture->store);
    struct kvt_store *reader = open_reader(fixture);
    assert_int_equal(get_named(reader, "k", 1, 1, 4 * SIZE), KVT_OK);
    assert_int_equal(remove_named(fixture->store, "k", 1), KVT_OK);
    assert_int_equal(kvt_bkt_reclaim_one(bkt_of(fixture->store)), 0);
    assert_int_equal(get_named(reader, "k", 1, 1, 4 * SIZE),
                     KVT_ERR_CHECKSUM_MISMATCH);
    assert_int_equal(get_named(reader, "k", 2, 2, 4 * SIZE), KVT_OK);
    kvt_store_close(reader);
}

/* Evicts the bucket that was used least recently. */
static void evict_one(struct store_fixture *fixture)
{
    struct kvt_evict_result result = {0};
    struct kvt_error err;
    uint64_t limit = stats_of(fixture->store).limit_bytes;
    uint64_t used = stats_of(fixture->store).allocated_bytes;
    double part = (double)(used - MIB / 2) / (double)limit;
    assert_int_equal(kvt_evict(fixture->store, part, part, &result, &err),
                     KVT_OK);
    assert_true(result.objects > 0);
}

/* Sealed: old objects, and in another bucket what replaced and removed them,
 * which is evicted. What it had killed stands in a bucket that is not sealed.
 */
static void what_evicted_buckets_killed_stays_dead_for_readers(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "eviction", "lru");
    store_set(fixture, "bucket.seal_after_ms", "3600000");
    store_start(fixture);
    put(fixture, "replaced", 1, SIZE);
    put(fixture, "removed", 5, SIZE);
    put(fixture, "other", 9, SIZE);
    bucket_settle(fixture->store);
    put(fixture, "replaced", 2, SIZE);
    assert_int_equal(remove_key(fixture->store, key_of("removed")), KVT_OK);
    put(fixture, "large", 3, MIB);
    bucket_settle(fixture->store);
    struct kvt_store *reader = open_reader(fixture);
    assert_int_equal(get_value(reader, key_of("replaced"), 2, SIZE), KVT_OK);
    assert_false(has_key(reader, key_of("removed")));
    kvt_store_close(reader);
    assert_int_equal(get_value(fixture->store, key_of("other"), 9, SIZE),
                     KVT_OK); /* used later than what is to go */
    evict_one(fixture);
    assert_false(is_there(fixture, "replaced"));
    assert_true(is_there(fixture, "other"));
    reader = open_reader(fixture);
    assert_false(has_key(reader, key_of("replaced")));
    assert_false(has_key(reader, key_of("removed")));
    assert_int_equal(get_value(reader, key_of("other"), 9, SIZE), KVT_OK);
    kvt_store_close(reader);
}

/* Not what has a cause: whether that is whole, only the owner knows. */
static void a_reader_takes_removals_from_what_is_not_sealed(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "bucket.seal_after_ms", "3600000");
    store_start(fixture);
    put(fixture, "replaced", 1, SIZE);
    put(fixture, "removed", 2, SIZE);
    put(fixture, "other", 5, SIZE); /* so that their bucket stays */
    bucket_settle(fixture->store);
    put(fixture, "replaced", 3, SIZE);
    assert_int_equal(remove_key(fixture->store, key_of("removed")), KVT_OK);
    put(fixture, "new", 4, SIZE);
    uint64_t digest = tree_digest(fixture->path);
    struct kvt_store *reader = open_reader(fixture);
    assert_int_equal(get_value(reader, key_of("replaced"), 1, SIZE), KVT_OK);
    assert_false(has_key(reader, key_of("removed")));
    assert_false(has_key(reader, key_of("new")));
    assert_int_equal(stats_of(reader).recovery.dropped_records, 0);
    kvt_store_close(reader);
    assert_int_equal(tree_digest(fixture->path), digest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(a_failed_seal_brings_nothing_back),
        store_test(a_failed_unlink_brings_nothing_back),
        store_test(buckets_that_cannot_be_sealed_take_few_descriptors),
        store_test(a_reader_takes_no_hole_for_an_object),
        store_test(what_evicted_buckets_killed_stays_dead_for_readers),
        store_test(a_reader_takes_removals_from_what_is_not_sealed),
    };
    return store_row_run(&posix_row, "faults", tests,
                         sizeof tests / sizeof tests[0]);
}
