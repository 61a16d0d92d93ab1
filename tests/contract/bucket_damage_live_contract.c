/* Bytes of a bucket that change under a running store: an error or a miss,
 * never data, and nothing else suffers. */
#define _XOPEN_SOURCE 700
#include "support/bucket_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SIZE = 5000,
    KEYS = 8,
    BLOCKS = 2, /* of a value */
};

static struct bucket_files files;

/* Objects k0 to k7 of one batch: their values follow each other. */
static void start(struct store_fixture *fixture)
{
    struct named_key names[KEYS];
    struct kvt_slice slices[KEYS];
    struct kvt_object objects[KEYS];
    static char bytes[KEYS][SIZE];
    store_start(fixture);
    for (size_t i = 0; i < KEYS; i++) {
        name_key(&names[i], "k", i);
        value_fill(bytes[i], SIZE, i);
        slices[i] = (struct kvt_slice){bytes[i], SIZE, NULL};
        objects[i] = (struct kvt_object){
            .key = names[i].key, .slices = &slices[i], .slice_count = 1};
    }
    assert_int_equal(kvt_batch_offload(fixture->store, objects, KEYS, NULL),
                     KEYS);
    bucket_settle(fixture->store);
    bucket_files_find(fixture, &files);
    assert_int_equal(files.count, 1);
}

static unsigned char *read_it(const struct store_fixture *fixture,
                              char path[FILE_PATH_MAX], size_t *size)
{
    store_path(fixture, files.names[0], path);
    return file_read(path, size);
}

static unsigned char *value_at(unsigned char *bytes, size_t key)
{
    unsigned char *at = bytes + (2 + key * BLOCKS) * KVT_BUCKET_BLOCK;
    assert_true(value_is(at, SIZE, key));
    return at;
}

/* The file stays the one that the store has open. */
static void write_it(const char *path, const unsigned char *bytes, size_t size)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* All in one batch, whose transfers are joined; which are whole. */
static unsigned load_all(struct kvt_store *store)
{
    static char bytes[KEYS][SIZE];
    struct named_key names[KEYS];
    struct kvt_slice slices[KEYS];
    struct kvt_object objects[KEYS];
    unsigned whole = 0;
    memset(bytes, 0x5a, sizeof bytes);
    for (size_t i = 0; i < KEYS; i++) {
        name_key(&names[i], "k", i);
        slices[i] = (struct kvt_slice){bytes[i], SIZE, NULL};
        objects[i] = (struct kvt_object){
            .key = names[i].key, .slices = &slices[i], .slice_count = 1};
    }
    assert_true(kvt_batch_load(store, objects, KEYS, NULL) >= 0);
    for (size_t i = 0; i < KEYS; i++) {
        if (objects[i].status == KVT_OK) {
            assert_int_equal(objects[i].size, SIZE);
            assert_true(value_is(bytes[i], SIZE, i));
            whole |= 1u << i;
        } else {
            assert_true(objects[i].status == KVT_ERR_CHECKSUM_MISMATCH ||
                        objects[i].status == KVT_ERR_OBJECT_NOT_FOUND);
        }
    }
    return whole;
}

static void a_flipped_bit_costs_its_object_and_no_other(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    for (size_t at = 0; at < SIZE; at += 617) {
        start(fixture);
        unsigned char *bytes = read_it(fixture, path, &size);
        value_at(bytes, 3)[at] ^= (unsigned char)(1u << at % 8);
        write_it(path, bytes, size);
        free(bytes);
        assert_int_equal(load_all(fixture->store), 0xff & ~(1u << 3));
        struct kvt_stats stats = stats_of(fixture->store);
        assert_int_equal(stats.checksum_misses, 1);
        assert_string_equal(stats.health.state, "ok");
        /* it is no object any more, also after a restart */
        assert_int_equal(get_named(fixture->store, "k", 3, 3, SIZE),
                         KVT_ERR_OBJECT_NOT_FOUND);
        assert_false(has_named(fixture->store, "k", 3));
        store_restart(fixture);
        assert_int_equal(load_all(fixture->store), 0xff & ~(1u << 3));
        /* the same bytes again are stored anew */
        assert_int_equal(put_named(fixture->store, "k", 3, 3, SIZE), KVT_OK);
        assert_int_equal(load_all(fixture->store), 0xff);
        assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
        store_stop(fixture);
    }
}

static void values_that_changed_places_are_never_data(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    start(fixture);
    unsigned char *bytes = read_it(fixture, path, &size);
    unsigned char *one = value_at(bytes, 1);
    unsigned char *six = value_at(bytes, 6);
    for (size_t i = 0; i < SIZE; i++) {
        unsigned char byte = one[i];
        one[i] = six[i];
        six[i] = byte;
    }
    write_it(path, bytes, size);
    free(bytes);
    assert_int_equal(load_all(fixture->store), 0xff & ~(1u << 1) & ~(1u << 6));
}

/* Of several, one is put back: an older value of the same key and size. */
static void an_older_value_of_the_key_is_never_data(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    start(fixture);
    unsigned char *old = read_it(fixture, path, &size);
    assert_int_equal(put_named(fixture->store, "k", 2, 99, SIZE), KVT_OK);
    bucket_settle(fixture->store);
    bucket_files_find(fixture, &files);
    assert_int_equal(files.count, 2);
    size_t new_size;
    store_path(fixture, files.names[1], path);
    unsigned char *new = file_read(path, &new_size);
    unsigned char *at = new + 2 * KVT_BUCKET_BLOCK;
    assert_true(value_is(at, SIZE, 99));
    memcpy(at, value_at(old, 2), SIZE);
    write_it(path, new, new_size);
    free(old);
    free(new);
    assert_int_equal(get_named(fixture->store, "k", 2, 99, SIZE),
                     KVT_ERR_CHECKSUM_MISMATCH);
    assert_int_equal(load_all(fixture->store), 0xff & ~(1u << 2));
}

static void a_file_that_is_cut_or_zeroed_is_never_data(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    for (size_t cut = 0; cut < 2 * KEYS * KVT_BUCKET_BLOCK; cut += 7013) {
        for (int zeros = 0; zeros < 2; zeros++) {
            start(fixture);
            unsigned char *bytes = read_it(fixture, path, &size);
            if (zeros == 1) {
                memset(bytes + cut, 0, size - cut);
                write_it(path, bytes, size);
            } else {
                assert_int_equal(truncate(path, (off_t)cut), 0);
            }
            free(bytes);
            unsigned expected = 0;
            for (size_t i = 0; i < KEYS; i++) {
                size_t end = (2 + i * BLOCKS) * KVT_BUCKET_BLOCK + SIZE;
                expected |= end <= cut ? 1u << i : 0;
            }
            assert_int_equal(load_all(fixture->store), expected);
            assert_int_equal(put_named(fixture->store, "new", 1, 1, SIZE),
                             KVT_OK);
            store_restart(fixture);
            /* what is no table any more may cost the others */
            assert_int_equal(load_all(fixture->store) & ~expected, 0);
            assert_int_equal(get_named(fixture->store, "new", 1, 1, SIZE),
                             KVT_OK);
            store_stop(fixture);
            remove_tree(fixture->path);
        }
    }
}

/* What was stored without being checked is checked by who checks. */
static void a_store_that_checks_finds_what_another_did_not(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    store_set(fixture, "checksum", "off");
    start(fixture);
    assert_string_equal(stats_of(fixture->store).effective.checksum, "off");
    assert_int_equal(load_all(fixture->store), 0xff);
    store_stop(fixture);
    unsigned char *bytes = read_it(fixture, path, &size);
    value_at(bytes, 5)[7] ^= 1;
    write_it(path, bytes, size);
    free(bytes);
    store_set(fixture, "checksum", "on");
    store_start(fixture);
    assert_int_equal(load_all(fixture->store), 0xff & ~(1u << 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test_fast(a_flipped_bit_costs_its_object_and_no_other),
        store_test_fast(values_that_changed_places_are_never_data),
        store_test_fast(an_older_value_of_the_key_is_never_data),
        store_test_fast(a_file_that_is_cut_or_zeroed_is_never_data),
        store_test_fast(a_store_that_checks_finds_what_another_did_not),
    };
    return store_log_disk_rows_run("damage under a log", tests,
                                   sizeof tests / sizeof tests[0]);
}
