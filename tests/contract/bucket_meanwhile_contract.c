/* Under bucket, what is read while it goes, and what is replaced while it is
 * evicted. */
#define _XOPEN_SOURCE 700
#include "support/bucket_fixture.h"
#include "support/gates.h"

#include <dirent.h>
#include <string.h>
#include <time.h>

enum {
    SIZE = GATES_VALUE_SIZE,
};

static const struct store_row posix_row = {"bucket", "posix", false, true,
                                           NULL};

static char held_directory[BKT_PATH_MAX];

struct kvt_fault_hit __real_kvt_fault_rules_match(struct kvt_fault_rules *rules,
                                                  enum kvt_rule_op op,
                                                  const char *path,
                                                  const char *to);
struct kvt_fault_hit __wrap_kvt_fault_rules_match(struct kvt_fault_rules *rules,
                                                  enum kvt_rule_op op,
                                                  const char *path,
                                                  const char *to);
struct kvt_fault_hit __wrap_kvt_fault_rules_match(struct kvt_fault_rules *rules,
                                                  enum kvt_rule_op op,
                                                  const char *path,
                                                  const char *to)
{
    if (op != KVT_RULE_LIST || strcmp(path, held_directory) == 0) {
        gates_pass(op, path);
    }
    return __real_kvt_fault_rules_match(rules, op, path, to);
}

static struct gated_call other;

static void set_gated(struct store_fixture *fixture)
{
    store_set(fixture, "fs", "fault:posix");
}

static void *reclaim_thread(void *arg)
{
    kvt_bkt_reclaim_one(bkt_of(arg));
    return NULL;
}

/* It dies under the load, when what else is dead is about to be punched. */
static void a_load_gets_no_hole_for_what_dies_meanwhile(void **state)
{
    struct store_fixture *fixture = *state;
    pthread_t reclaim;
    store_set(fixture, "durability", "seal");
    store_set(fixture, "checksum", "off");
    set_gated(fixture);
    store_start(fixture);
    for (const char *key = "abcd"; *key != '\0'; key++) {
        struct kvt_key name = {key, 1};
        assert_int_equal(put_value(fixture->store, name, 1, SIZE), KVT_OK);
    }
    bucket_settle(fixture->store);
    assert_int_equal(remove_key(fixture->store, key_of("a")), KVT_OK);
    gate_shut(&syncs, 0, UINT32_MAX);
    assert_int_equal(
        pthread_create(&reclaim, NULL, reclaim_thread, fixture->store), 0);
    assert_true(gates_wait(&syncs.came, 1));
    gated_prepare(&other, fixture->store, "b", 1, 0);
    gate_shut(&reads, 0, 1);
    assert_int_equal(pthread_create(&other.thread, NULL, gated_load, &other),
                     0);
    assert_true(gates_wait(&reads.came, 1));
    assert_int_equal(remove_key(fixture->store, key_of("b")), KVT_OK);
    gate_open(&syncs);
    pthread_join(reclaim, NULL);
    gate_open(&reads);
    pthread_join(other.thread, NULL);
    assert_int_equal(other.object.status, KVT_OK);
    assert_true(value_is(other.bytes, SIZE, 1));
    assert_int_equal(get_value(fixture->store, key_of("c"), 1, SIZE), KVT_OK);
}

static void *evict_thread(void *arg)
{
    struct kvt_evict_result result = {0};
    struct kvt_error err;
    kvt_evict(arg, 0, 0, &result, &err);
    return NULL;
}

static struct store_fixture *parent;

/* The keeper is about to remove the older bucket, in which nothing lives; what
 * replaced it goes as well, and first. */
static bool evict_what_replaced(struct kvt_store *store)
{
    static struct bucket_files files;
    char path[FILE_PATH_MAX];
    pthread_t thread;
    gate_shut(&removals, 0, 1);
    if (put_value(store, key_of("k"), 2, SIZE) != KVT_OK ||
        !gates_wait(&removals.came, 1)) {
        return false;
    }
    bucket_files_find(parent, &files);
    store_path(parent, files.names[1], path);
    if (files.count < 2 || !file_exists(path) ||
        pthread_create(&thread, NULL, evict_thread, store) != 0 ||
        !gates_wait(&removals.came, 2)) {
        return false;
    }
    for (int i = 0; i < GATES_PATIENCE_S * 1000 && file_exists(path); i++) {
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    return !file_exists(path);
}

static void an_older_bucket_that_stays_shows_nothing_again(void **state)
{
    struct store_fixture *fixture = *state;
    parent = fixture;
    store_set(fixture, "bucket.keys_limit", "1"); /* sealed at once */
    store_set(fixture, "eviction", "fifo");
    set_gated(fixture);
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    bucket_settle(fixture->store);
    store_stop(fixture);
    bucket_die_after(fixture, evict_what_replaced);
    store_start(fixture);
    assert_int_not_equal(get_value(fixture->store, key_of("k"), 1, SIZE),
                         KVT_OK);
}

static unsigned replacing;
static unsigned evicted;

static int wait_for_eviction(const struct kvt_meta *metas, size_t count,
                             void *arg)
{
    const bool *waits = arg;
    (void)count;
    if (*waits && memcmp(metas[0].key.data, "k1", 2) == 0) {
        gates_tell(&replacing);
        gates_wait(&evicted, 1);
    }
    return 0;
}

static void the_limit_of_keys_holds_when_what_was_replaced_went(void **state)
{
    static bool waits;
    struct store_fixture *fixture = *state;
    replacing = evicted = 0;
    waits = false;
    fixture->handlers = (struct kvt_handlers){.size = sizeof fixture->handlers,
                                              .complete = wait_for_eviction,
                                              .complete_arg = &waits};
    store_set(fixture, "total_keys_limit", "2");
    store_set(fixture, "bucket.keys_limit", "1");
    store_set(fixture, "eviction", "fifo");
    set_gated(fixture);
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k1"), 1, SIZE), KVT_OK);
    assert_int_equal(put_value(fixture->store, key_of("k2"), 2, SIZE), KVT_OK);
    bucket_settle(fixture->store);
    waits = true;
    gated_prepare(&other, fixture->store, "k1", 9, 0);
    assert_int_equal(pthread_create(&other.thread, NULL, gated_put, &other), 0);
    assert_true(gates_wait(&replacing, 1));
    int rc = put_value(fixture->store, key_of("k3"), 3, SIZE);
    gates_tell(&evicted);
    pthread_join(other.thread, NULL);
    assert_int_equal(rc, KVT_OK);
    assert_true(stats_of(fixture->store).objects <= 2);
}

static void *reader_thread(void *arg)
{
    struct kvt_store *reader = NULL;
    struct kvt_error err;
    store_open_other(arg, true, &reader, &err);
    return reader;
}

/* The reader has listed two buckets when the newer one goes, whose kill of an
 * object in the older one then stands in a third, which is not sealed. */
static void a_reader_that_comes_at_an_eviction_sees_nothing_old(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_evict_result result = {0};
    pthread_t thread;
    void *reader;
    store_set(fixture, "bucket.keys_limit", "2"); /* sealed at once */
    store_set(fixture, "eviction", "lru");
    set_gated(fixture);
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    assert_int_equal(put_value(fixture->store, key_of("old"), 1, SIZE), KVT_OK);
    bucket_settle(fixture->store);
    assert_int_equal(put_value(fixture->store, key_of("k"), 2, SIZE), KVT_OK);
    assert_int_equal(put_value(fixture->store, key_of("new"), 2, SIZE), KVT_OK);
    bucket_settle(fixture->store);
    assert_int_equal(get_value(fixture->store, key_of("old"), 1, SIZE), KVT_OK);
    gate_shut(&opens, 0, 1);
    assert_int_equal(pthread_create(&thread, NULL, reader_thread, fixture), 0);
    assert_true(gates_wait(&opens.came, 1));
    assert_int_equal(kvt_bkt_evict_one(bkt_of(fixture->store), false, &result),
                     0);
    assert_int_equal(result.objects, 2);
    assert_int_equal(get_value(fixture->store, key_of("old"), 1, SIZE), KVT_OK);
    gate_open(&opens);
    pthread_join(thread, &reader);
    assert_non_null(reader);
    assert_int_equal(get_value(reader, key_of("k"), 1, SIZE),
                     KVT_ERR_OBJECT_NOT_FOUND);
    assert_int_equal(get_value(reader, key_of("old"), 1, SIZE), KVT_OK);
    assert_int_equal(stats_of(reader).objects, 1);
    kvt_store_close(reader);
}

/* Are directories listed in this order? */
static bool are_listed(struct store_fixture *fixture, const char *first,
                       const char *second)
{
    char path[FILE_PATH_MAX];
    store_path(fixture, ".", path);
    DIR *dir = opendir(path);
    bool first_seen = false;
    bool in_order = false;
    const struct dirent *entry;
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        first_seen = first_seen || strcmp(entry->d_name, first) == 0;
        in_order =
            in_order || (first_seen && strcmp(entry->d_name, second) == 0);
    }
    closedir(dir);
    return in_order;
}

/* Restarts the store until its own directory is listed before `older`. */
static void own_a_directory_before(struct store_fixture *fixture,
                                   const char *older)
{
    char own[BKT_PATH_MAX];
    bool in_order = false;
    for (int tries = 0; !in_order && tries < 50; tries++) {
        store_stop(fixture);
        store_start(fixture);
        assert_int_equal(put_value(fixture->store, key_of("x"), 1, SIZE),
                         KVT_OK);
        kvt_bkt_directory(bkt_of(fixture->store)->writer, own);
        in_order = are_listed(fixture, own, older);
        if (!in_order) {
            assert_int_equal(remove_key(fixture->store, key_of("x")), KVT_OK);
        }
    }
    assert_true(in_order);
}

/* The owner's directory has been listed when a bucket of another goes that is
 * not listed yet: the reader sees neither it nor what says its kill again. */
static void a_reader_between_two_listings_sees_nothing_old(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_evict_result result = {0};
    pthread_t thread;
    void *reader;
    store_set(fixture, "bucket.keys_limit", "2"); /* sealed at once */
    store_set(fixture, "eviction", "lru");
    set_gated(fixture);
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    assert_int_equal(put_value(fixture->store, key_of("old"), 1, SIZE), KVT_OK);
    store_stop(fixture);
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 2, SIZE), KVT_OK);
    assert_int_equal(put_value(fixture->store, key_of("new"), 2, SIZE), KVT_OK);
    kvt_bkt_directory(bkt_of(fixture->store)->writer, held_directory);
    own_a_directory_before(fixture, held_directory);
    assert_int_equal(get_value(fixture->store, key_of("old"), 1, SIZE), KVT_OK);
    gate_shut(&listings, 0, 1);
    assert_int_equal(pthread_create(&thread, NULL, reader_thread, fixture), 0);
    assert_true(gates_wait(&listings.came, 1));
    assert_int_equal(kvt_bkt_evict_one(bkt_of(fixture->store), false, &result),
                     0);
    assert_int_equal(result.objects, 2);
    gate_open(&listings);
    pthread_join(thread, &reader);
    assert_non_null(reader);
    assert_int_equal(get_value(reader, key_of("k"), 1, SIZE),
                     KVT_ERR_OBJECT_NOT_FOUND);
    assert_int_equal(get_value(reader, key_of("old"), 1, SIZE), KVT_OK);
    kvt_store_close(reader);
}

/* What replaced it is in no sealed bucket, so the reader does not have it; but
 * then it was removed, and with it all that was ever stored under the key. */
static void a_reader_sees_nothing_that_was_replaced_and_removed(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_store *reader = NULL;
    struct kvt_error err;
    store_set(fixture, "bucket.keys_limit", "4");
    store_start(fixture);
    for (const char *key = "abcd"; *key != '\0'; key++) {
        struct kvt_key name = {key, 1};
        assert_int_equal(put_value(fixture->store, name, 1, SIZE), KVT_OK);
    }
    bucket_settle(fixture->store);
    assert_int_equal(put_value(fixture->store, key_of("a"), 2, SIZE), KVT_OK);
    assert_int_equal(put_value(fixture->store, key_of("b"), 2, SIZE), KVT_OK);
    assert_int_equal(put_value(fixture->store, key_of("a"), 3, SIZE), KVT_OK);
    assert_int_equal(remove_key(fixture->store, key_of("a")), KVT_OK);
    assert_int_equal(store_open_other(fixture, true, &reader, &err), KVT_OK);
    assert_int_equal(get_value(reader, key_of("a"), 1, SIZE),
                     KVT_ERR_OBJECT_NOT_FOUND);
    assert_int_equal(get_value(reader, key_of("b"), 1, SIZE), KVT_OK);
    assert_int_equal(get_value(reader, key_of("c"), 1, SIZE), KVT_OK);
    assert_int_equal(stats_of(reader).objects, 3);
    kvt_store_close(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(a_load_gets_no_hole_for_what_dies_meanwhile),
        store_test(an_older_bucket_that_stays_shows_nothing_again),
        store_test(the_limit_of_keys_holds_when_what_was_replaced_went),
        store_test(a_reader_that_comes_at_an_eviction_sees_nothing_old),
        store_test(a_reader_between_two_listings_sees_nothing_old),
        store_test(a_reader_sees_nothing_that_was_replaced_and_removed),
    };
    return store_row_run(&posix_row, "meanwhile", tests,
                         sizeof tests / sizeof tests[0]);
}
