/* What is lost of a bucket takes no more with it than it must: nothing that was
 * removed or replaced comes back, whole objects stay, and no bytes lie around
 * that nobody counts. */
#define _XOPEN_SOURCE 700
#include "support/bucket_fixture.h"

#include "core/bytes.h"
#include "core/hash.h"
#include "core/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIZE = 5000,
};

static const struct store_row posix_row = {"bucket", "posix", false, true,
                                           NULL};
static struct bucket_files files;

static unsigned boots = 1;

void __wrap_kvt_process_boot(uint8_t boot[16]);
void __wrap_kvt_process_boot(uint8_t boot[16])
{
    memset(boot, 0xb1, 16);
    memcpy(boot, &boots, sizeof boots);
}

static unsigned char *read_nth(const struct store_fixture *fixture, size_t n,
                               char path[FILE_PATH_MAX], size_t *size)
{
    bucket_files_find(fixture, &files);
    assert_true(n < files.count);
    store_path(fixture, files.names[n], path);
    return file_read(path, size);
}

static void flip(const struct store_fixture *fixture, size_t n, size_t at)
{
    char path[FILE_PATH_MAX];
    size_t size;
    unsigned char *bytes = read_nth(fixture, n, path, &size);
    bytes[at] ^= 1;
    file_write(path, bytes, size);
    free(bytes);
}

static bool is_there(struct store_fixture *fixture, const char *key,
                     uint64_t seed, size_t size)
{
    return get_value(fixture->store, key_of(key), seed, size) == KVT_OK;
}

/* Headers -------------------------------------------------------------------
 */

static bool put_many(struct kvt_store *store)
{
    for (uint64_t i = 0; i < 50; i++) {
        if (put_named(store, "m", i, i, 4 * SIZE) != KVT_OK) {
            return false;
        }
    }
    return true;
}

static void a_bucket_is_known_by_its_runs(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    store_set(fixture, "bucket.seal_after_ms", "3600000");
    bucket_die_after(fixture, put_many);
    unsigned char *bytes = read_nth(fixture, 0, path, &size);
    memset(bytes, 0, KVT_BUCKET_BLOCK);
    file_write(path, bytes, size);
    free(bytes);
    for (int round = 0; round < 2; round++) {
        store_start(fixture);
        struct kvt_stats stats = stats_of(fixture->store);
        assert_int_equal(stats.objects, 50);
        assert_true(stats.allocated_bytes >= size);
        for (uint64_t i = 0; i < 50; i++) {
            assert_int_equal(get_named(fixture->store, "m", i, i, 4 * SIZE),
                             KVT_OK);
        }
        store_stop(fixture);
    }
    store_start(fixture);
    assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
    store_stop(fixture);
    assert_false(file_exists(path));
}

/* As a power loss leaves a file whose bytes never came. */
static void a_file_of_zeros_is_an_orphan(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    store_set(fixture, "bucket.seal_after_ms", "3600000");
    bucket_die_after(fixture, put_many);
    unsigned char *bytes = read_nth(fixture, 0, path, &size);
    memset(bytes, 0, size);
    file_write(path, bytes, size);
    store_start(fixture);
    assert_int_equal(stats_of(fixture->store).recovery.orphans, 1);
    assert_false(file_exists(path));
    store_stop(fixture);
    /* one byte may be somebody's */
    bytes[size / 2] = 1;
    *strrchr(path, '/') = '\0';
    make_directory(path);
    store_path(fixture, files.names[0], path);
    file_write(path, bytes, size);
    free(bytes);
    store_start(fixture);
    assert_int_equal(stats_of(fixture->store).recovery.orphans, 0);
    store_stop(fixture);
    assert_true(file_exists(path));
}

static void a_flipped_version_of_a_header_is_damage(void **state)
{
    struct store_fixture *fixture = *state;
    bucket_die_after(fixture, put_many);
    bucket_files_find(fixture, &files);
    flip(fixture, 0, 8);
    store_start(fixture);
    assert_int_equal(stats_of(fixture->store).objects, 50);
}

/* Runs ----------------------------------------------------------------------
 */

static bool replace(struct kvt_store *store)
{
    return put_value(store, key_of("K"), 2, SIZE) == KVT_OK &&
           put_value(store, key_of("Y"), 3, SIZE) == KVT_OK &&
           put_value(store, key_of("Z"), 4, SIZE) == KVT_OK;
}

/* K is replaced in a run that one bit is flipped of: not the old value, and
 * what came later stays. */
static void a_flipped_bit_of_a_run_takes_no_other(void **state)
{
    struct store_fixture *fixture = *state;
    char backup[FILE_PATH_MAX];
    store_set(fixture, "bucket.seal_after_ms", "3600000");
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("K"), 1, SIZE), KVT_OK);
    assert_int_equal(put_value(fixture->store, key_of("L"), 9, SIZE), KVT_OK);
    store_stop(fixture);
    bucket_die_after(fixture, replace);
    snprintf(backup, sizeof backup, "%s.backup", fixture->path);
    tree_copy(fixture->path, backup);
    /* entry, kill, size of the key, key, and what the head fills up with */
    for (size_t at = 64; at < 64 + 32 + 24 + 3; at++) {
        remove_tree(fixture->path);
        tree_copy(backup, fixture->path);
        flip(fixture, 1, KVT_BUCKET_BLOCK + at);
        for (int round = 0; round < 3; round++) {
            store_start(fixture);
            assert_false(has_key(fixture->store, key_of("K")));
            assert_true(is_there(fixture, "L", 9, SIZE));
            assert_true(is_there(fixture, "Y", 3, SIZE));
            assert_true(is_there(fixture, "Z", 4, SIZE));
            store_stop(fixture);
        }
    }
    remove_tree(backup);
}

static bool put_twenty(struct kvt_store *store)
{
    bool good = put_value(store, key_of("K"), 2, SIZE) == KVT_OK;
    for (uint64_t i = 0; i < 20; i++) {
        good = good && put_named(store, "n", i, i, 100) == KVT_OK;
    }
    return good;
}

/* The machine was down, and the record's block is gone: but for it to be there
 * the run that came BKT_RUNS_MAX later could not be. */
static void a_lost_run_takes_no_acknowledged_ones(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    store_set(fixture, "bucket.seal_after_ms", "3600000");
    bucket_die_after(fixture, put_twenty);
    unsigned char *bytes = read_nth(fixture, 0, path, &size);
    memset(bytes + KVT_BUCKET_BLOCK, 0, KVT_BUCKET_BLOCK);
    file_write(path, bytes, size);
    free(bytes);
    boots++;
    store_start(fixture);
    assert_false(has_key(fixture->store, key_of("K")));
    for (uint64_t i = 0; i < 20; i++) {
        assert_int_equal(get_named(fixture->store, "n", i, i, 100), KVT_OK);
    }
    assert_true(stats_of(fixture->store).recovery.dropped_records > 0);
}

enum {
    LARGE = 3000 /* objects of a run whose record has more than 64 KiB */
};

static bool put_large(struct kvt_store *store)
{
    static struct kvt_object objects[LARGE];
    static struct named_key names[LARGE];
    static struct kvt_slice slices[LARGE];
    static char bytes[LARGE][16];
    for (size_t i = 0; i < LARGE; i++) {
        name_key(&names[i], "large", i);
        value_fill(bytes[i], 16, i);
        slices[i] = (struct kvt_slice){bytes[i], 16, NULL};
        objects[i] = (struct kvt_object){
            .key = names[i].key, .slices = &slices[i], .slice_count = 1};
    }
    return put_value(store, key_of("first"), 1, SIZE) == KVT_OK &&
           kvt_batch_offload(store, objects, LARGE, NULL) == LARGE &&
           put_value(store, key_of("last"), 2, SIZE) == KVT_OK;
}

/* Where the second run begins: the first has one object of two blocks. */
enum {
    SECOND = 4 * KVT_BUCKET_BLOCK
};

static void a_record_of_any_size_is_walked(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    store_set(fixture, "bucket.seal_after_ms", "3600000");
    store_set(fixture, "bucket.keys_limit", "100000");
    bucket_die_after(fixture, put_large);
    unsigned char *bytes = read_nth(fixture, 0, path, &size);
    size_t record = kvt_get_le32(bytes + SECOND + 24);
    assert_true(record > 64 << 10);
    for (int damaged = 0; damaged < 2; damaged++) {
        /* the end of it, where the keys are */
        char checkpoint[FILE_PATH_MAX];
        bytes[SECOND + record - 1] ^= (unsigned char)damaged;
        file_write(path, bytes, size);
        store_path(fixture, ".kvtier/index", checkpoint);
        remove(checkpoint);
        store_start(fixture);
        assert_true(is_there(fixture, "first", 1, SIZE));
        /* a record of many blocks may have been torn: the log ends there */
        assert_true(is_there(fixture, "last", 2, SIZE) == (damaged == 0));
        assert_int_equal(stats_of(fixture->store).objects,
                         damaged == 0 ? LARGE + 2 : 1);
        for (uint64_t i = 0; i < LARGE && damaged == 0; i += 37) {
            assert_int_equal(get_named(fixture->store, "large", i, i, 16),
                             KVT_OK);
        }
        store_stop(fixture);
    }
    free(bytes);
}

/* Nobody knows what of it reached the device. */
static void what_a_seal_cannot_sync_is_withdrawn(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "durability", "seal");
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("old"), 1, SIZE), KVT_OK);
    store_stop(fixture);
    store_set(fixture, "fs", "fault:posix");
    store_set(fixture, "fault.rules", "sync@*.kvb,nth=1,do=EIO");
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("new"), 2, SIZE), KVT_OK);
    assert_true(is_there(fixture, "new", 2, SIZE));
    bucket_settle(fixture->store);
    assert_false(has_key(fixture->store, key_of("new")));
    assert_true(is_there(fixture, "old", 1, SIZE));
    assert_int_equal(stats_of(fixture->store).objects, 1);
    assert_int_equal(put_value(fixture->store, key_of("new"), 3, SIZE), KVT_OK);
    store_restart(fixture);
    assert_true(is_there(fixture, "old", 1, SIZE));
    assert_true(is_there(fixture, "new", 3, SIZE));
}

/* Tables --------------------------------------------------------------------
 */

static bool touch(struct kvt_store *store)
{
    return put_value(store, key_of("touch"), 1, 100) == KVT_OK;
}

/* Three buckets and no checkpoint. Of the second one the first run is punched
 * out: it had replaced K, which is removed in the third. */
static void make_punched(struct store_fixture *fixture)
{
    store_set(fixture, "bucket.seal_after_ms", "3600000");
    store_start(fixture);
    struct kvt_store *store = fixture->store;
    assert_int_equal(put_value(store, key_of("K"), 1, SIZE), KVT_OK);
    assert_int_equal(put_value(store, key_of("L"), 9, SIZE), KVT_OK);
    bucket_settle(store);
    assert_int_equal(put_value(store, key_of("K"), 2, 4 * SIZE), KVT_OK);
    assert_int_equal(put_value(store, key_of("X"), 3, SIZE), KVT_OK);
    bucket_settle(store);
    assert_int_equal(remove_key(store, key_of("K")), KVT_OK);
    assert_int_equal(put_value(store, key_of("W"), 5, SIZE), KVT_OK);
    bucket_settle(store);
    assert_int_equal(kvt_bkt_reclaim_one(bkt_of(store)), 0);
    store_stop(fixture);
    bucket_die_after(fixture, touch);
}

/* X lives in the damaged bucket, and may be lost with its own entry. */
static void expect_no_old(struct store_fixture *fixture, bool with_x)
{
    for (int round = 0; round < 3; round++) {
        store_start(fixture);
        assert_false(has_key(fixture->store, key_of("K")));
        assert_true(is_there(fixture, "L", 9, SIZE));
        assert_true(is_there(fixture, "W", 5, SIZE));
        bool there = is_there(fixture, "X", 3, SIZE);
        assert_true(there || !with_x);
        store_stop(fixture);
    }
}

static void a_flipped_bit_of_a_table_brings_nothing_back(void **state)
{
    struct store_fixture *fixture = *state;
    char backup[FILE_PATH_MAX];
    char path[FILE_PATH_MAX];
    size_t size;
    size_t lost = 0;
    make_punched(fixture);
    snprintf(backup, sizeof backup, "%s.backup", fixture->path);
    tree_copy(fixture->path, backup);
    free(read_nth(fixture, 1, path, &size));
    size_t table = 2 * 32 + 2 * 8 + 24;
    for (size_t i = 0; i < table + KVT_BUCKET_FOOTER_SIZE; i++) {
        size_t at = size - KVT_BUCKET_BLOCK + i;
        at = i < table ? at : size - KVT_BUCKET_FOOTER_SIZE + i - table;
        remove_tree(fixture->path);
        tree_copy(backup, fixture->path);
        flip(fixture, 1, at);
        /* its run is not in the table; or its place, as if it was a later
         * object of the key */
        bool with_x = (i < 2 * 32 + 8 || i >= 2 * 32 + 16) &&
                      (i < 32 + 24 || i >= 32 + 28);
        expect_no_old(fixture, with_x);
        lost += !with_x;
    }
    assert_int_equal(lost, 12);
    remove_tree(backup);
}

/* More of the footer than can be mended: the file is nobody's to remove. */
static void a_bucket_that_was_sealed_is_no_orphan(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    make_punched(fixture);
    unsigned char *bytes = read_nth(fixture, 1, path, &size);
    memset(bytes + KVT_BUCKET_BLOCK, 0, size - 2 * KVT_BUCKET_BLOCK);
    memset(bytes + size - 64, 0xff, 64);
    file_write(path, bytes, size);
    free(bytes);
    store_start(fixture);
    struct kvt_stats stats = stats_of(fixture->store);
    assert_int_equal(stats.recovery.orphans, 0);
    assert_true(stats.recovery.dropped_records > 0);
    assert_true(is_there(fixture, "L", 9, SIZE));
    assert_true(is_there(fixture, "W", 5, SIZE));
    store_stop(fixture);
    assert_true(file_exists(path));
}

/* Limits --------------------------------------------------------------------
 */

static void an_opening_that_cannot_evict_opens(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "bucket.size_limit", "64KiB");
    store_start(fixture);
    assert_true(put_many(fixture->store));
    store_stop(fixture);
    store_set(fixture, "total_size_limit", "768KiB");
    store_set(fixture, "fs", "fault:posix");
    store_set(fixture, "fault.rules", "remove@*.kvb,do=EIO");
    store_start(fixture);
    assert_true(stats_of(fixture->store).allocated_bytes > 768 << 10);
    /* whatever is still there is whole */
    size_t found = 0;
    for (uint64_t i = 0; i < 50; i++) {
        found += get_named(fixture->store, "m", i, i, 4 * SIZE) == KVT_OK;
    }
    assert_true(found > 0);
    store_stop(fixture);
    store_set(fixture, "fs", "posix");
    store_start(fixture);
    assert_true(stats_of(fixture->store).allocated_bytes <= 768 << 10);
    assert_int_equal(put_named(fixture->store, "n", 1, 1, 100), KVT_OK);
    assert_int_equal(get_named(fixture->store, "n", 1, 1, 100), KVT_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test_fast(a_bucket_is_known_by_its_runs),
        store_test_fast(a_file_of_zeros_is_an_orphan),
        store_test_fast(a_flipped_version_of_a_header_is_damage),
        store_test_fast(a_flipped_bit_of_a_run_takes_no_other),
        store_test_fast(a_lost_run_takes_no_acknowledged_ones),
        store_test_fast(a_record_of_any_size_is_walked),
        store_test_fast(what_a_seal_cannot_sync_is_withdrawn),
        store_test_fast(a_flipped_bit_of_a_table_brings_nothing_back),
        store_test_fast(a_bucket_that_was_sealed_is_no_orphan),
        store_test_fast(an_opening_that_cannot_evict_opens),
    };
    return store_row_run(&posix_row, "bucket, lost", tests,
                         sizeof tests / sizeof tests[0]);
}
