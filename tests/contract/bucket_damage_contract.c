/* Damaged, torn, foreign and unknown files under bucket: whole objects or
 * misses, never wrong bytes; an opening never crashes, and what it does not
 * understand it leaves alone. */
#define _XOPEN_SOURCE 700
#include "support/bucket_fixture.h"

#include "core/bytes.h"
#include "core/hash.h"
#include "core/process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    KEYS = 6,
};

static const struct store_row posix_row = {"bucket", "posix", false, true,
                                           NULL};
static struct bucket_files files;

static unsigned boots = 1;

void __wrap_kvt_process_boot(uint8_t boot[16]);
void __wrap_kvt_process_boot(uint8_t boot[16])
{
    memset(boot, 0xb0, 16);
    memcpy(boot, &boots, sizeof boots);
}

static size_t size_of(uint64_t i)
{
    return i == 2 ? 0 : 900 * (size_t)i + 1;
}

/* Key 0 is replaced, key 1 is removed. */
static bool put_some(struct kvt_store *store)
{
    bool good = put_named(store, "k", 0, 99, 700) == KVT_OK;
    for (uint64_t i = 1; i < KEYS; i++) {
        good = good && put_named(store, "k", i, i, size_of(i)) == KVT_OK;
    }
    return good && put_named(store, "k", 0, 0, size_of(0)) == KVT_OK &&
           remove_named(store, "k", 1) == KVT_OK;
}

/* Each key is what it was or a miss; how many are there. get_value fails the
 * test when it gets other bytes. `old`: what was replaced or removed may be
 * there. */
static size_t expect_whole_or_missing(struct kvt_store *store, bool old)
{
    size_t count = 0;
    for (uint64_t i = 0; i < KEYS; i++) {
        struct named_key key;
        char bytes[8192];
        struct kvt_slice slice = {bytes, sizeof bytes, NULL};
        name_key(&key, "k", i);
        struct kvt_object object = {
            .key = key.key, .slices = &slice, .slice_count = 1};
        assert_true(kvt_batch_load(store, &object, 1, NULL) >= 0);
        if (object.status != KVT_OK) {
            continue;
        }
        bool right = object.size == size_of(i) &&
                     value_is(bytes, (size_t)object.size, i);
        bool was = i == 0 && object.size == 700 && value_is(bytes, 700, 99);
        assert_true((right && (i != 1 || old)) || (was && old));
        count += i != 1 && right;
    }
    return count;
}

/* A store with everything sealed. */
static void make_sealed(struct store_fixture *fixture)
{
    store_start(fixture);
    assert_true(put_some(fixture->store));
    store_stop(fixture);
    bucket_files_find(fixture, &files);
    assert_int_equal(files.count, 1);
}

static void drop_checkpoint(const struct store_fixture *fixture)
{
    char path[FILE_PATH_MAX];
    store_path(fixture, ".kvtier/index", path);
    remove(path);
}

/* The fixture's store becomes a copy of `from`. */
static void restore(const struct store_fixture *fixture, const char *from)
{
    remove_tree(fixture->path);
    tree_copy(from, fixture->path);
}

/* The only bucket, in memory. */
static unsigned char *read_bucket(const struct store_fixture *fixture,
                                  char path[FILE_PATH_MAX], size_t *size)
{
    bucket_files_find(fixture, &files);
    assert_true(files.count >= 1);
    store_path(fixture, files.names[0], path);
    return file_read(path, size);
}

static bool opens(struct store_fixture *fixture)
{
    struct kvt_error err = {0};
    int rc = kvt_store_open(fixture->config, NULL, &fixture->store, &err);
    if (rc != KVT_OK) {
        assert_null(fixture->store);
        assert_true(err.message[0] != '\0');
    }
    return rc == KVT_OK;
}

/* Bits ----------------------------------------------------------------------
 */

/* Bytes that mean something: not the zeros that fill blocks up. */
static bool is_sampled(const unsigned char *bytes, size_t at, bool all)
{
    return all || bytes[at] != 0 || at % 509 == 0;
}

/* `sealed`: the table and the records both say what is dead. */
static void flip_everywhere(struct store_fixture *fixture, const char *backup,
                            bool with_checkpoint, bool sealed)
{
    char path[FILE_PATH_MAX];
    size_t size;
    bool all = test_scale() > 1;
    unsigned char *bytes = read_bucket(fixture, path, &size);
    size_t runs = 0;
    size_t step = all ? 1 : 7;
    for (size_t at = 0; at < size; at++) {
        if (!is_sampled(bytes, at, all) || (++runs % step != 0)) {
            continue;
        }
        restore(fixture, backup);
        if (!with_checkpoint) {
            drop_checkpoint(fixture);
        }
        bytes[at] ^= (unsigned char)(1u << at % 8);
        file_write(path, bytes, size);
        bytes[at] ^= (unsigned char)(1u << at % 8);
        if (opens(fixture)) {
            size_t found = expect_whole_or_missing(fixture->store, !sealed);
            assert_true(!sealed || found >= KEYS - 2);
            store_stop(fixture);
        }
    }
    assert_true(runs > 100);
    free(bytes);
}

static void a_flipped_bit_is_never_data(void **state)
{
    struct store_fixture *fixture = *state;
    char backup[FILE_PATH_MAX];
    make_sealed(fixture);
    snprintf(backup, sizeof backup, "%s.backup", fixture->path);
    tree_copy(fixture->path, backup);
    flip_everywhere(fixture, backup, true, true);
    restore(fixture, backup);
    flip_everywhere(fixture, backup, false, true);
    remove_tree(backup);
}

static void a_flipped_bit_of_an_unsealed_bucket_is_never_data(void **state)
{
    struct store_fixture *fixture = *state;
    char backup[FILE_PATH_MAX];
    bucket_die_after(fixture, put_some);
    snprintf(backup, sizeof backup, "%s.backup", fixture->path);
    tree_copy(fixture->path, backup);
    flip_everywhere(fixture, backup, false, false);
    remove_tree(backup);
}

/* Torn tails ----------------------------------------------------------------
 */

static void a_torn_tail_leaves_whole_objects(void **state)
{
    struct store_fixture *fixture = *state;
    char backup[FILE_PATH_MAX];
    char path[FILE_PATH_MAX];
    size_t size;
    size_t most = 0;
    bucket_die_after(fixture, put_some);
    snprintf(backup, sizeof backup, "%s.backup", fixture->path);
    tree_copy(fixture->path, backup);
    unsigned char *bytes = read_bucket(fixture, path, &size);
    for (size_t cut = 0; cut <= size; cut += cut % 4096 == 0 ? 1 : 4095) {
        for (int boot = 0; boot < 2; boot++) {
            restore(fixture, backup);
            assert_int_equal(truncate(path, (off_t)cut), 0);
            boots += (unsigned)boot; /* the machine was down, or not */
            assert_true(opens(fixture));
            size_t found = expect_whole_or_missing(fixture->store, true);
            assert_true(cut == 0 || found + 1 >= most || found == 0);
            most = found > most ? found : most;
            store_restart(fixture);
            assert_int_equal(expect_whole_or_missing(fixture->store, true),
                             found);
            assert_int_equal(put_named(fixture->store, "n", 1, 1, 100), KVT_OK);
            store_stop(fixture);
            boots -= (unsigned)boot;
        }
    }
    assert_int_equal(most, KEYS - 1);
    free(bytes);
    remove_tree(backup);
}

/* The last run's values are zeros, as after a power loss. */
static void values_that_never_came_are_misses(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    bucket_die_after(fixture, put_some);
    unsigned char *bytes = read_bucket(fixture, path, &size);
    size_t zeroed = 0;
    for (size_t at = KVT_BUCKET_BLOCK; at < size; at += KVT_BUCKET_BLOCK) {
        if (memcmp(bytes + at, "\x89KVT", 4) != 0) {
            memset(bytes + at, 0, KVT_BUCKET_BLOCK);
            zeroed++;
        }
    }
    assert_true(zeroed >= KEYS);
    file_write(path, bytes, size);
    free(bytes);
    boots++;
    store_start(fixture);
    /* but what has no bytes is whole */
    assert_int_equal(expect_whole_or_missing(fixture->store, false), 1);
    assert_true(stats_of(fixture->store).recovery.dropped_records >= KEYS - 2);
}

/* Formats -------------------------------------------------------------------
 */

/* Nothing of the root changes but who owns it, not even a directory that holds
 * nothing. A reader does not walk what is not sealed. */
static void expect_untouched(struct store_fixture *fixture, bool by_readers)
{
    struct kvt_error err = {0};
    char path[FILE_PATH_MAX];
    store_path(fixture, "w-00000000000000aa", path);
    make_directory(path);
    store_path(fixture, ".kvtier/lock", path);
    file_write(path, "", 0);
    uint64_t digest = tree_digest(fixture->path);
    for (int read_only = 0; read_only < 1 + by_readers; read_only++) {
        struct kvt_store *store = NULL;
        assert_int_equal(
            store_open_other(fixture, read_only == 1, &store, &err),
            KVT_ERR_NOT_SUPPORTED);
        assert_null(store);
        file_write(path, "", 0);
        assert_true(tree_digest(fixture->path) == digest);
    }
}

static void an_unknown_version_of_a_header_is_refused(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    bucket_die_after(fixture, put_some);
    unsigned char *bytes = read_bucket(fixture, path, &size);
    kvt_put_le16(bytes + 8, 2);
    kvt_put_le64(bytes + KVT_BUCKET_HEADER_SIZE - 8,
                 kvt_hash64(bytes, KVT_BUCKET_HEADER_SIZE - 8, 0));
    file_write(path, bytes, size);
    free(bytes);
    expect_untouched(fixture, true);
}

/* Where a structure with this magic begins, from `at` on. */
static size_t find_magic(const unsigned char *bytes, size_t size, size_t at,
                         char letter)
{
    for (; at + 128 <= size; at += 64) {
        if (memcmp(bytes + at, "\x89KVT", 4) == 0 && bytes[at + 4] == letter) {
            return at;
        }
    }
    fail_msg("no structure %c", letter);
    return 0;
}

static void reseal(const struct store_fixture *fixture, unsigned char *bytes,
                   size_t at, size_t size, size_t check)
{
    char path[FILE_PATH_MAX];
    size_t marker_size;
    uint64_t writer;
    uint64_t number = 0;
    store_path(fixture, ".kvtier/store", path);
    unsigned char *marker = file_read(path, &marker_size);
    bucket_files_find(fixture, &files);
    writer = strtoull(files.names[0] + 2, NULL, 16);
    number = strtoull(strchr(files.names[0], '/') + 1, NULL, 16);
    uint64_t seed = kvt_bucket_seed(marker + 16, writer, number);
    free(marker);
    uint64_t value = kvt_hash64(bytes + at, check, seed);
    if (size > check + 8) { /* a record: the rest is covered, too */
        value = kvt_hash64(bytes + at + check + 8, size - check - 8, value);
    }
    kvt_put_le64(bytes + at + check, value);
}

static void an_unknown_version_of_a_run_is_refused(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    bucket_die_after(fixture, put_some);
    unsigned char *bytes = read_bucket(fixture, path, &size);
    size_t at = find_magic(bytes, size, KVT_BUCKET_BLOCK, 'R');
    size_t record = kvt_get_le32(bytes + at + 24);
    kvt_put_le16(bytes + at + 8, 2);
    reseal(fixture, bytes, at, record, KVT_RUN_HEAD_SIZE - 8);
    file_write(path, bytes, size);
    free(bytes);
    expect_untouched(fixture, false);
}

static void an_unknown_version_of_a_footer_is_refused(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    make_sealed(fixture);
    drop_checkpoint(fixture);
    unsigned char *bytes = read_bucket(fixture, path, &size);
    size_t at = size - KVT_BUCKET_FOOTER_SIZE;
    kvt_put_le16(bytes + at + 8, 2);
    reseal(fixture, bytes, at, KVT_BUCKET_FOOTER_SIZE,
           KVT_BUCKET_FOOTER_SIZE - 8);
    file_write(path, bytes, size);
    free(bytes);
    expect_untouched(fixture, true);
}

/* Foreign files -------------------------------------------------------------
 */

static void foreign_files_are_left_alone(void **state)
{
    static const char *const names[] = {
        "notes.txt", "0000000000000000.kvb.bak", "000000000000000g.kvb",
        "00000000000000ff.kvb", "00000000000000FE.kvb"};
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    char name[128];
    make_sealed(fixture);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(name, sizeof name, "%.18s/%s", files.names[0], names[i]);
        store_path(fixture, name, path);
        file_write(path, "what is this?", 13);
    }
    for (int round = 0; round < 2; round++) {
        store_start(fixture);
        assert_int_equal(expect_whole_or_missing(fixture->store, false),
                         KEYS - 1);
        assert_int_equal(put_named(fixture->store, "n", 1, (uint64_t)round, 9),
                         KVT_OK);
        store_stop(fixture);
    }
    store_start(fixture);
    assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
    store_stop(fixture);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t size;
        snprintf(name, sizeof name, "%.18s/%s", files.names[0], names[i]);
        store_path(fixture, name, path);
        free(file_read(path, &size));
        assert_int_equal(size, 13);
    }
}

static void a_bucket_of_another_store_is_ignored(void **state)
{
    struct store_fixture *fixture = *state;
    char backup[FILE_PATH_MAX];
    char path[FILE_PATH_MAX + BKT_PATH_MAX];
    size_t size;
    make_sealed(fixture);
    snprintf(backup, sizeof backup, "%s.backup", fixture->path);
    assert_int_equal(rename(fixture->path, backup), 0);
    unsigned char *bytes;
    char name[BKT_PATH_MAX];
    memcpy(name, files.names[0], sizeof name);
    for (int sealed = 0; sealed < 2; sealed++) {
        remove_tree(fixture->path);
        store_start(fixture);
        assert_int_equal(put_named(fixture->store, "own", 1, 1, 50), KVT_OK);
        store_stop(fixture);
        snprintf(path, sizeof path, "%s/%s", backup, name);
        bytes = file_read(path, &size);
        store_path(fixture, name, path);
        *strrchr(path, '/') = '\0';
        make_directory(path);
        store_path(fixture, name, path);
        /* with its table, and without */
        file_write(path, bytes, sealed == 1 ? size : size - KVT_BUCKET_BLOCK);
        free(bytes);
        store_start(fixture);
        assert_int_equal(stats_of(fixture->store).objects, 1);
        for (uint64_t i = 0; i < KEYS; i++) {
            assert_false(has_named(fixture->store, "k", i));
        }
        assert_int_equal(get_named(fixture->store, "own", 1, 1, 50), KVT_OK);
        store_stop(fixture);
        assert_true(file_exists(path));
    }
    remove_tree(backup);
}

/* A bucket under the name of another of the same store. */
static void a_bucket_under_another_name_is_ignored(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    char name[BKT_PATH_MAX];
    size_t size;
    make_sealed(fixture);
    unsigned char *bytes = read_bucket(fixture, path, &size);
    snprintf(name, sizeof name, "%.18s/0000000000000abc.kvb", files.names[0]);
    store_path(fixture, name, path);
    file_write(path, bytes, size);
    free(bytes);
    store_start(fixture);
    assert_int_equal(stats_of(fixture->store).objects, KEYS - 1);
    assert_int_equal(expect_whole_or_missing(fixture->store, false), KEYS - 1);
    assert_int_equal(stats_of(fixture->store).buckets, 1);
    assert_true(file_exists(path));
}

static void what_a_dead_owner_began_is_removed(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    char name[BKT_PATH_MAX];
    size_t size;
    make_sealed(fixture);
    unsigned char *bytes = read_bucket(fixture, path, &size);
    struct kvt_bucket_header header;
    assert_int_equal(kvt_bucket_header_decode(bytes, &header), 0);
    /* one that is empty, and one with a header and no run */
    snprintf(name, sizeof name, "w-%016llx/00000000000000aa.kvb",
             (unsigned long long)header.writer);
    store_path(fixture, name, path);
    file_write(path, "", 0);
    header.number = 0xab;
    memset(bytes, 0, KVT_BUCKET_BLOCK);
    kvt_bucket_header_encode(&header, bytes);
    snprintf(name, sizeof name, "w-%016llx/00000000000000ab.kvb",
             (unsigned long long)header.writer);
    store_path(fixture, name, path);
    file_write(path, bytes, KVT_BUCKET_BLOCK);
    free(bytes);
    store_start(fixture);
    assert_int_equal(stats_of(fixture->store).recovery.orphans, 2);
    assert_int_equal(expect_whole_or_missing(fixture->store, false), KEYS - 1);
    bucket_files_find(fixture, &files);
    assert_int_equal(files.count, 1);
}

/* Checkpoints ---------------------------------------------------------------
 */

/* Every byte of it in turn: the tables are read, or what is taken is right. */
static void a_damaged_checkpoint_is_ignored(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    size_t step = test_scale() > 1 ? 1 : 13;
    make_sealed(fixture);
    store_path(fixture, ".kvtier/index", path);
    unsigned char *bytes = file_read(path, &size);
    assert_true(size > 128 + 80 + 24);
    for (size_t at = 0; at < size; at += at < 240 ? 1 : step) {
        bytes[at] ^= (unsigned char)(1u << at % 8);
        file_write(path, bytes, size);
        bytes[at] ^= (unsigned char)(1u << at % 8);
        assert_true(opens(fixture));
        assert_int_equal(expect_whole_or_missing(fixture->store, false),
                         KEYS - 1);
        assert_int_equal(stats_of(fixture->store).objects, KEYS - 1);
        store_stop(fixture);
    }
    for (size_t cut = 0; cut < size; cut += cut < 240 ? 7 : 331) {
        file_write(path, bytes, cut);
        assert_true(opens(fixture));
        assert_int_equal(expect_whole_or_missing(fixture->store, false),
                         KEYS - 1);
        store_stop(fixture);
    }
    free(bytes);
}

/* One that is whole and says what cannot be: numbers out of range, with right
 * check values. */
static void a_checkpoint_that_lies_is_ignored(void **state)
{
    static const size_t fields[] = {12, 32, 36, 40, 44, 56};
    static const uint32_t values[] = {0, 1, 2, 63, 0x7fffffff, 0xffffffff};
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    make_sealed(fixture);
    store_path(fixture, ".kvtier/index", path);
    unsigned char *bytes = file_read(path, &size);
    unsigned char *lie = malloc(size);
    for (size_t i = 0; i < 6 * 6; i++) {
        memcpy(lie, bytes, size);
        kvt_put_le32(lie + fields[i / 6], values[i % 6]);
        kvt_put_le64(lie + 120, kvt_hash64(lie, 120, 0));
        file_write(path, lie, size);
        assert_true(opens(fixture));
        /* what it says may be true */
        expect_whole_or_missing(fixture->store, false);
        store_stop(fixture);
    }
    for (size_t at = 128; at < 128 + 80 + 24; at += 4) {
        memcpy(lie, bytes, size);
        kvt_put_le32(lie + at, 0x7ffffff0);
        kvt_put_le64(lie + 64, kvt_hash64(lie + 128, 80 + 24, 0));
        kvt_put_le64(lie + 120, kvt_hash64(lie, 120, 0));
        file_write(path, lie, size);
        assert_true(opens(fixture));
        expect_whole_or_missing(fixture->store, false);
        store_stop(fixture);
    }
    free(lie);
    free(bytes);
}

/* Its table has no free slot, and says that it has few entries: whoever looked
 * for room in it would never find any. */
static void a_checkpoint_of_a_full_table_is_ignored(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    make_sealed(fixture);
    store_path(fixture, ".kvtier/index", path);
    unsigned char *bytes = file_read(path, &size);
    unsigned char *head = bytes + 128 + 80;
    unsigned char *table = head + 24;
    assert_int_equal(kvt_get_le32(bytes + 32), 1); /* buckets */
    assert_int_equal(kvt_get_le32(bytes + 36), 1); /* tables */
    uint32_t groups = kvt_get_le32(head + 4);
    assert_int_equal(size, 128 + 80 + 24 + groups * 320);
    for (uint32_t i = 0; i < groups * 16; i++) {
        unsigned char *tag = table + (size_t)(i / 16) * 320 + i % 16 * 4;
        if ((kvt_get_le32(tag) & 0x7fffffff) == 0) {
            kvt_put_le32(tag, 1);
        }
    }
    kvt_put_le64(head + 16, kvt_hash64(table, (size_t)groups * 320, 0));
    kvt_put_le64(bytes + 64, kvt_hash64(bytes + 128, 80 + 24, 0));
    kvt_put_le64(bytes + 120, kvt_hash64(bytes, 120, 0));
    file_write(path, bytes, size);
    free(bytes);
    store_start(fixture);
    assert_int_equal(expect_whole_or_missing(fixture->store, false), KEYS - 1);
    for (uint64_t i = 0; i < 64; i++) {
        assert_int_equal(put_named(fixture->store, "n", i, i, 100), KVT_OK);
    }
}

static void a_checkpoint_of_other_files_is_ignored(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    make_sealed(fixture);
    store_path(fixture, ".kvtier/index", path);
    unsigned char *bytes = file_read(path, &size);
    store_start(fixture);
    assert_int_equal(remove_named(fixture->store, "k", 3), KVT_OK);
    store_stop(fixture);
    file_write(path, bytes, size); /* an older one: there is a new bucket */
    free(bytes);
    store_start(fixture);
    assert_false(has_named(fixture->store, "k", 3));
    assert_int_equal(expect_whole_or_missing(fixture->store, false), KEYS - 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test_fast(a_flipped_bit_is_never_data),
        store_test_fast(a_flipped_bit_of_an_unsealed_bucket_is_never_data),
        store_test_fast(a_torn_tail_leaves_whole_objects),
        store_test_fast(values_that_never_came_are_misses),
        store_test_fast(an_unknown_version_of_a_header_is_refused),
        store_test_fast(an_unknown_version_of_a_run_is_refused),
        store_test_fast(an_unknown_version_of_a_footer_is_refused),
        store_test_fast(foreign_files_are_left_alone),
        store_test_fast(a_bucket_of_another_store_is_ignored),
        store_test_fast(a_bucket_under_another_name_is_ignored),
        store_test_fast(what_a_dead_owner_began_is_removed),
        store_test_fast(a_damaged_checkpoint_is_ignored),
        store_test_fast(a_checkpoint_that_lies_is_ignored),
        store_test_fast(a_checkpoint_of_a_full_table_is_ignored),
        store_test_fast(a_checkpoint_of_other_files_is_ignored),
    };
    return store_row_run(&posix_row, "bucket, damaged", tests,
                         sizeof tests / sizeof tests[0]);
}
