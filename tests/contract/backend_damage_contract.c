/* Stored bytes that are not what was written: cut, flipped, zeroed, swapped,
 * put back from an older copy. A load says an error or a miss, never data. */
#define _XOPEN_SOURCE 700
#include "support/store_fixture.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SIZE = 300
};

static struct kvt_key long_key(void)
{
    static char text[300];
    memset(text, ':', sizeof text);
    return (struct kvt_key){text, sizeof text};
}

/* An error or a miss. get_value itself fails the test on wrong data. */
static void expect_no_data(struct kvt_store *store, struct kvt_key key,
                           size_t size)
{
    int rc = get_value(store, key, UINT64_MAX, size);
    if (rc != KVT_ERR_CHECKSUM_MISMATCH && rc != KVT_ERR_OBJECT_NOT_FOUND) {
        fail_msg("the load says %s", kvt_status_name(rc));
    }
}

/* The file of the first and only object of a store. */
static char found_file[FILE_PATH_MAX];

static int find_file(const char *path, const struct stat *st, int type,
                     struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    if (type == FTW_F && strstr(path, "/.kvtier/") == NULL) {
        snprintf(found_file, sizeof found_file, "%s", path);
        return 1;
    }
    return 0;
}

static void find_the_file(const struct store_fixture *fixture)
{
    assert_int_equal(nftw(fixture->path, find_file, 16, FTW_PHYS), 1);
}

/* Every byte --------------------------------------------------------------- */

/* One bit of every stored byte: with the store running, which knows the
 * object, or newly started, which does not. */
static void flip_every_byte(struct store_fixture *fixture, struct kvt_key key,
                            bool restart)
{
    size_t file_size;
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key, 1, SIZE), KVT_OK);
    find_the_file(fixture);
    unsigned char *bytes = file_read(found_file, &file_size);
    assert_true(file_size >= SIZE);
    for (size_t i = 0; i < file_size; i++) {
        if (restart) {
            store_stop(fixture);
        }
        bytes[i] ^= (unsigned char)(1u << i % 8);
        file_write(found_file, bytes, file_size);
        bytes[i] ^= (unsigned char)(1u << i % 8);
        if (restart) {
            store_start(fixture);
        }
        expect_no_data(fixture->store, key, SIZE);
        /* an owner forgets it; it can be stored again */
        assert_true(!fixture->row->owned || !has_key(fixture->store, key));
        assert_int_equal(put_value(fixture->store, key, 1, SIZE), KVT_OK);
        if (i % 50 == 0) {
            assert_int_equal(get_value(fixture->store, key, 1, SIZE), KVT_OK);
        }
    }
    if (!restart) {
        assert_int_equal(stats_of(fixture->store).checksum_misses, file_size);
    }
    free(bytes);
}

static void a_flipped_bit_anywhere_is_never_data(void **state)
{
    flip_every_byte(*state, key_of("k"), false);
}

static void a_flipped_bit_anywhere_is_never_data_after_a_start(void **state)
{
    flip_every_byte(*state, key_of("k"), true);
}

static void a_flipped_bit_of_a_long_key_is_never_data(void **state)
{
    flip_every_byte(*state, long_key(), false);
}

static void a_file_cut_anywhere_is_never_data(void **state)
{
    struct store_fixture *fixture = *state;
    size_t file_size;
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    find_the_file(fixture);
    unsigned char *bytes = file_read(found_file, &file_size);
    for (size_t i = 0; i <= file_size; i++) {
        size_t left = i < file_size ? i : file_size + 10; /* or longer */
        file_write(found_file, bytes, file_size);
        assert_int_equal(truncate(found_file, (off_t)left), 0);
        if (i < file_size) {
            expect_no_data(fixture->store, key_of("k"), SIZE);
        } else {
            get_value(fixture->store, key_of("k"), 1, SIZE); /* or right */
        }
        assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), 0);
        if (i % 30 == 0 || i == file_size) {
            store_stop(fixture);
            assert_int_equal(truncate(found_file, (off_t)left), 0);
            store_start(fixture);
            expect_no_data(fixture->store, key_of("k"), SIZE + 64);
            assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE),
                             0);
        }
    }
    free(bytes);
}

static void a_file_of_zeros_or_garbage_is_never_data(void **state)
{
    struct store_fixture *fixture = *state;
    static unsigned char bytes[100000];
    static const size_t sizes[] = {0, 1, 64, SIZE + 64, 4096, sizeof bytes};
    store_start(fixture);
    for (int garbage = 0; garbage < 2; garbage++) {
        if (garbage) {
            value_fill(bytes, sizeof bytes, 4);
        }
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE),
                             KVT_OK);
            find_the_file(fixture);
            file_write(found_file, bytes, sizes[i]);
            expect_no_data(fixture->store, key_of("k"), SIZE);
            assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE),
                             KVT_OK);
            store_stop(fixture);
            file_write(found_file, bytes, sizes[i]);
            store_start(fixture);
            expect_no_data(fixture->store, key_of("k"), sizeof bytes);
        }
    }
}

/* Whole files in the wrong place --------------------------------------------
 */

static void copy_file(const char *from, const char *to)
{
    size_t size;
    unsigned char *bytes = file_read(from, &size);
    file_write(to, bytes, size);
    free(bytes);
}

static void a_file_under_another_keys_name_is_never_its_data(void **state)
{
    struct store_fixture *fixture = *state;
    char a[FILE_PATH_MAX];
    char b[FILE_PATH_MAX];
    const struct kvt_key keys[][2] = {
        {key_of("a"), key_of("b")},
        {key_of("m/57"), key_of("m_57")},
        {key_of("short"), long_key()},
        {long_key(), {long_key().data, 299}},
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        for (int restart = 0; restart < 2; restart++) {
            store_stop(fixture);
            store_start(fixture);
            struct kvt_key key = keys[i][0];
            struct kvt_key other = keys[i][1];
            assert_int_equal(put_value(fixture->store, key, 1, SIZE), KVT_OK);
            assert_int_equal(put_value(fixture->store, other, 2, SIZE), 0);
            store_object_path(fixture, key, a);
            store_object_path(fixture, other, b);
            if (restart) {
                store_stop(fixture);
            }
            assert_int_equal(rename(a, b), 0);
            if (restart) {
                store_start(fixture);
            }
            expect_no_data(fixture->store, other, SIZE);
            assert_int_equal(get_value(fixture->store, key, 1, SIZE),
                             KVT_ERR_OBJECT_NOT_FOUND);
            assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
        }
    }
}

static void an_older_copy_of_the_same_key_is_never_data(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    char kept[FILE_PATH_MAX];
    store_start(fixture);
    store_object_path(fixture, key_of("k"), path);
    store_path(fixture, "kept", kept);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    copy_file(path, kept);
    assert_int_equal(put_value(fixture->store, key_of("k"), 2, SIZE), KVT_OK);
    copy_file(kept, path);
    expect_no_data(fixture->store, key_of("k"), SIZE);
    /* known only from a load */
    assert_int_equal(put_value(fixture->store, key_of("k"), 2, SIZE), KVT_OK);
    store_restart(fixture);
    assert_int_equal(get_value(fixture->store, key_of("k"), 2, SIZE), KVT_OK);
    copy_file(kept, path);
    expect_no_data(fixture->store, key_of("k"), SIZE);
    /* of another size */
    assert_int_equal(put_value(fixture->store, key_of("k"), 3, 77), KVT_OK);
    copy_file(kept, path);
    expect_no_data(fixture->store, key_of("k"), SIZE);
}

static int count_all(const struct kvt_meta *metas, size_t count, void *arg)
{
    (void)metas;
    *(size_t *)arg += count;
    return 0;
}

/* A removed object whose file somebody puts back. */
static void a_file_put_back_after_its_removal_is_no_object(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    char kept[FILE_PATH_MAX];
    store_start(fixture);
    store_object_path(fixture, key_of("k"), path);
    store_path(fixture, "kept", kept);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    copy_file(path, kept);
    assert_int_equal(remove_key(fixture->store, key_of("k")), KVT_OK);
    copy_file(kept, path);
    assert_false(has_key(fixture->store, key_of("k")));
    size_t scanned = 0;
    assert_int_equal(kvt_scan_meta(fixture->store, count_all, &scanned, NULL),
                     KVT_OK);
    assert_int_equal(scanned, 0);
    assert_int_equal(get_value(fixture->store, key_of("k"), 1, SIZE),
                     KVT_ERR_OBJECT_NOT_FOUND);
    assert_int_equal(put_value(fixture->store, key_of("k"), 2, SIZE), KVT_OK);
    assert_int_equal(get_value(fixture->store, key_of("k"), 2, SIZE), KVT_OK);
}

/* A file of another store proves nothing here. */
static void a_file_of_another_store_is_never_data(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    char kept[FILE_PATH_MAX];
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    store_object_path(fixture, key_of("k"), path);
    store_path(fixture, "../kept", kept);
    copy_file(path, kept);
    store_stop(fixture);
    remove_tree(fixture->path);
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 2, SIZE), KVT_OK);
    copy_file(kept, path);
    expect_no_data(fixture->store, key_of("k"), SIZE);
    assert_int_equal(put_value(fixture->store, key_of("k"), 2, SIZE), KVT_OK);
    store_stop(fixture);
    copy_file(kept, path);
    store_start(fixture);
    expect_no_data(fixture->store, key_of("k"), SIZE);
}

/* Evidence ----------------------------------------------------------------- */

static void damage(const struct store_fixture *fixture, struct kvt_key key)
{
    size_t size;
    char path[FILE_PATH_MAX];
    store_object_path(fixture, key, path);
    unsigned char *bytes = file_read(path, &size);
    bytes[size / 3] ^= 4;
    file_write(path, bytes, size);
    free(bytes);
}

static void evidence_is_kept_and_counted(void **state)
{
    struct store_fixture *fixture = *state;
    char aside[FILE_PATH_MAX];
    struct named_key named;
    store_set_number(fixture, "total_size_limit", 8 << 20);
    store_start(fixture);
    store_path(fixture, ".kvtier/quarantine", aside);
    for (uint64_t i = 0; i < 10; i++) {
        name_key(&named, "k", i);
        assert_int_equal(put_value(fixture->store, named.key, i, 5000), 0);
        damage(fixture, named.key);
        assert_int_equal(get_value(fixture->store, named.key, i, 5000),
                         KVT_ERR_CHECKSUM_MISMATCH);
        assert_int_equal(get_value(fixture->store, named.key, i, 5000),
                         KVT_ERR_OBJECT_NOT_FOUND);
    }
    struct kvt_stats stats = stats_of(fixture->store);
    assert_int_equal(stats.checksum_misses, 10);
    assert_int_equal(stats.quarantined_objects, 10);
    assert_int_equal(stats.objects, 0);
    assert_int_equal(files_in(aside), 10);
    /* it takes room, inside the limit, also after a restart */
    assert_true(stats.allocated_bytes >= 10 * 5000);
    store_restart(fixture);
    stats = stats_of(fixture->store);
    assert_true(stats.allocated_bytes >= 10 * 5000);
    assert_int_equal(stats.objects, 0);
    assert_int_equal(files_in(aside), 10);
}

/* A bad file that can neither be moved nor removed is no object, and what it
 * takes stays counted. */
static void what_cannot_be_removed_takes_its_room(void **state)
{
    struct store_fixture *fixture = *state;
    char fs[80];
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, 5000), KVT_OK);
    store_stop(fixture);
    snprintf(fs, sizeof fs, "fault:%s", fixture->row->fs);
    store_set(fixture, "fs", fs);
    store_set(fixture, "fault.rules",
              "rename@*,from=1,do=EACCES;remove@[0-9a-f]*,from=1,do=EACCES");
    store_start(fixture);
    damage(fixture, key_of("k"));
    uint64_t before = stats_of(fixture->store).allocated_bytes;
    assert_int_equal(get_value(fixture->store, key_of("k"), 1, 5000),
                     KVT_ERR_CHECKSUM_MISMATCH);
    assert_int_equal(get_value(fixture->store, key_of("k"), 1, 5000),
                     KVT_ERR_OBJECT_NOT_FOUND);
    struct kvt_stats stats = stats_of(fixture->store);
    assert_int_equal(stats.objects, 0);
    assert_true(before >= 5000);
    assert_int_equal(stats.allocated_bytes, before);
}

static void evidence_is_bounded(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        BIG = 10 << 20
    };
    char aside[FILE_PATH_MAX];
    struct named_key named;
    store_set(fixture, "total_size_limit", "1GiB");
    store_start(fixture);
    store_path(fixture, ".kvtier/quarantine", aside);
    for (uint64_t i = 0; i < 9; i++) {
        name_key(&named, "k", i);
        assert_int_equal(put_value(fixture->store, named.key, i, BIG), 0);
        damage(fixture, named.key);
        assert_int_equal(get_value(fixture->store, named.key, i, BIG),
                         KVT_ERR_CHECKSUM_MISMATCH);
        if (i == 4) {
            store_restart(fixture); /* which counts what is there */
        }
    }
    assert_int_equal(files_in(aside), 6);
    assert_true(disk_usage(aside) <= 64 << 20);
    assert_true(disk_usage(fixture->path) <= 66 << 20);
    assert_int_equal(stats_of(fixture->store).objects, 0);
}

/* A small store must not end up full of evidence. */
static void evidence_does_not_fill_a_small_store(void **state)
{
    struct store_fixture *fixture = *state;
    struct named_key named;
    store_set_number(fixture, "total_size_limit", 256 << 10);
    store_start(fixture);
    for (uint64_t i = 0; i < 40; i++) {
        name_key(&named, "k", i);
        int rc = put_value(fixture->store, named.key, i, 20000);
        if (rc != KVT_OK) {
            fail_msg("after %llu damaged objects an offload says %s",
                     (unsigned long long)i, kvt_status_name(rc));
        }
        damage(fixture, named.key);
        assert_int_equal(get_value(fixture->store, named.key, i, 20000),
                         KVT_ERR_CHECKSUM_MISMATCH);
    }
    assert_true(disk_usage(fixture->path) <= (256 + 300 * 4) << 10);
}

static void one_damaged_object_spoils_no_other(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        COUNT = 20
    };
    static unsigned char bytes[COUNT][SIZE];
    struct kvt_slice slices[COUNT];
    struct named_key names[COUNT];
    struct kvt_object objects[COUNT];
    store_start(fixture);
    for (size_t i = 0; i < COUNT; i++) {
        name_key(&names[i], "k", i);
        assert_int_equal(put_value(fixture->store, names[i].key, i, SIZE), 0);
        slices[i] = (struct kvt_slice){bytes[i], SIZE, NULL};
        objects[i] = (struct kvt_object){
            .key = names[i].key, .slices = &slices[i], .slice_count = 1};
    }
    for (size_t i = 0; i < COUNT; i += 4) {
        damage(fixture, names[i].key);
    }
    assert_int_equal(kvt_batch_load(fixture->store, objects, COUNT, NULL),
                     COUNT - 5);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(objects[i].status,
                         i % 4 == 0 ? KVT_ERR_CHECKSUM_MISMATCH : KVT_OK);
        assert_true(i % 4 == 0 || value_is(bytes[i], SIZE, i));
    }
    /* damage is no fault of the file system */
    assert_string_equal(stats_of(fixture->store).health.state, "ok");
}

/* Without checksums -------------------------------------------------------- */

static void without_checksums_identity_is_still_proved(void **state)
{
    struct store_fixture *fixture = *state;
    char a[FILE_PATH_MAX];
    char b[FILE_PATH_MAX];
    store_set(fixture, "checksum", "off");
    store_start(fixture);
    assert_string_equal(stats_of(fixture->store).effective.checksum, "off");
    store_object_path(fixture, key_of("a"), a);
    store_object_path(fixture, key_of("b"), b);
    for (int restart = 0; restart < 2; restart++) {
        assert_int_equal(put_value(fixture->store, key_of("a"), 1, SIZE), 0);
        assert_int_equal(put_value(fixture->store, key_of("b"), 2, SIZE), 0);
        if (restart) {
            store_stop(fixture);
        }
        assert_int_equal(rename(a, b), 0);
        if (restart) {
            store_start(fixture);
        }
        expect_no_data(fixture->store, key_of("b"), SIZE);
        assert_int_equal(put_value(fixture->store, key_of("b"), 2, SIZE), 0);
        if (restart) {
            store_stop(fixture);
        }
        assert_int_equal(truncate(b, SIZE), 0);
        if (restart) {
            store_start(fixture);
        }
        expect_no_data(fixture->store, key_of("b"), SIZE);
        assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
    }
    assert_int_equal(put_value(fixture->store, key_of("a"), 1, SIZE), KVT_OK);
    assert_int_equal(get_value(fixture->store, key_of("a"), 1, SIZE), KVT_OK);
    /* what was written so is checked by a store that checks */
    store_set(fixture, "checksum", "on");
    store_restart(fixture);
    assert_int_equal(get_value(fixture->store, key_of("a"), 1, SIZE), KVT_OK);
    damage(fixture, key_of("a"));
    expect_no_data(fixture->store, key_of("a"), SIZE);
}

/* A corrupt file must not stand for the bytes that it should hold. */
static void the_same_bytes_again_mend_a_file_that_lost_its_trailer(void **state)
{
    struct store_fixture *fixture = *state;
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    store_stop(fixture);
    find_the_file(fixture);
    size_t size;
    unsigned char *bytes = file_read(found_file, &size);
    memset(bytes + SIZE, 0, size - SIZE);
    file_write(found_file, bytes, size);
    free(bytes);
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    assert_int_equal(get_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test_fast(a_flipped_bit_anywhere_is_never_data),
        store_test_fast(a_flipped_bit_anywhere_is_never_data_after_a_start),
        store_test_fast(a_flipped_bit_of_a_long_key_is_never_data),
        store_test_fast(a_file_cut_anywhere_is_never_data),
        store_test_fast(a_file_of_zeros_or_garbage_is_never_data),
        store_test_fast(a_file_under_another_keys_name_is_never_its_data),
        store_test_fast(a_file_of_another_store_is_never_data),
        store_test_fast(one_damaged_object_spoils_no_other),
        store_test_fast(without_checksums_identity_is_still_proved),
        store_test_fast(the_same_bytes_again_mend_a_file_that_lost_its_trailer),
    };
    const struct CMUnitTest owned[] = {
        store_test_fast(an_older_copy_of_the_same_key_is_never_data),
        store_test_fast(a_file_put_back_after_its_removal_is_no_object),
        store_test_fast(evidence_is_kept_and_counted),
        store_test(what_cannot_be_removed_takes_its_room),
        store_test(evidence_is_bounded),
        store_test_fast(evidence_does_not_fill_a_small_store),
    };
    int failed = store_owned_file_rows_run("damage of an owner", owned,
                                           sizeof owned / sizeof owned[0]);
    failed |=
        store_file_rows_run("damage", tests, sizeof tests / sizeof tests[0]);
    return failed != 0;
}
