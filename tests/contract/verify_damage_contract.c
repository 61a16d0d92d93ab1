/* kvt_verify over damaged files: what is bad is found, told of and, when that
 * is asked for, taken out, with the evidence kept; nothing else is touched. */
#define _XOPEN_SOURCE 700
#include "support/bucket_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    KEYS = 6,
    SIZE = 3000,
};

struct bads {
    size_t count;
    size_t keyless;
    char key[64]; /* the last one */
    int status;
    int errnum;
};

static void note_bad(const struct kvt_meta *meta, int status, int errnum,
                     void *arg)
{
    struct bads *bads = arg;
    bads->count++;
    bads->keyless += meta->key.size == 0;
    bads->status = status;
    bads->errnum = errnum;
    snprintf(bads->key, sizeof bads->key, "%.*s", (int)meta->key.size,
             meta->key.size > 0 ? (const char *)meta->key.data : "");
}

static struct kvt_verify_result verify(struct kvt_store *store, int repair,
                                       struct bads *bads)
{
    struct kvt_verify_options options = KVT_VERIFY_OPTIONS_INIT;
    struct kvt_verify_result result;
    struct kvt_error err = {0};
    *bads = (struct bads){0};
    options.repair = repair;
    options.bytes_per_second = 0;
    options.bad = note_bad;
    options.arg = bads;
    int rc = kvt_verify(store, &options, &result, &err);
    if (rc != KVT_OK) {
        fail_msg("%s: %s", kvt_status_name(rc), err.message);
    }
    assert_int_equal(result.bad, bads->count);
    assert_true(result.repaired <= result.bad);
    return result;
}

static void put_all(struct kvt_store *store)
{
    for (uint64_t i = 0; i < KEYS; i++) {
        assert_int_equal(put_named(store, "k", i, i, SIZE), KVT_OK);
    }
}

static size_t evidence(const struct store_fixture *fixture)
{
    char path[FILE_PATH_MAX];
    store_path(fixture, ".kvtier/quarantine", path);
    return files_in(path);
}

/* One file a key ------------------------------------------------------------
 */

static void damage(const char *path, int how)
{
    size_t size;
    unsigned char *bytes = file_read(path, &size);
    switch (how) {
    case 0: /* a bit of the value */
        bytes[size / 3] ^= 4;
        break;
    case 1: /* of the trailer */
        bytes[size - 9] ^= 1;
        break;
    case 2: /* cut */
        size -= 100;
        break;
    case 3: /* cut short of a trailer */
        size = 10;
        break;
    default: /* nothing left */
        size = 0;
    }
    file_write(path, bytes, size);
    free(bytes);
}

static void a_bad_file_is_found(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    struct named_key key;
    struct bads bads;
    bool owned = fixture->row->owned;
    store_start(fixture);
    put_all(fixture->store);
    name_key(&key, "k", 3);
    store_object_path(fixture, key.key, path);
    for (int how = 0; how < 5; how++) {
        damage(path, how);
        uint64_t digest = tree_digest(fixture->path);
        struct kvt_verify_result result = verify(fixture->store, 0, &bads);
        assert_int_equal(result.objects, KEYS);
        assert_int_equal(result.bad, 1);
        assert_int_equal(result.repaired, 0);
        assert_string_equal(bads.key, "k3");
        assert_int_equal(bads.status, KVT_ERR_CHECKSUM_MISMATCH);
        assert_int_equal(tree_digest(fixture->path), digest);
        /* again, and with what a store finds that was just opened */
        assert_int_equal(verify(fixture->store, 0, &bads).bad, 1);
        struct kvt_store *other = NULL;
        assert_int_equal(store_open_other(fixture, true, &other, NULL), KVT_OK);
        assert_int_equal(verify(other, 0, &bads).bad, 1);
        kvt_store_close(other);
        assert_int_equal(tree_digest(fixture->path), digest);

        result = verify(fixture->store, 1, &bads);
        assert_int_equal(result.bad, 1);
        assert_int_equal(result.repaired, owned ? 1 : 0);
        assert_true(owned || tree_digest(fixture->path) == digest);
        if (owned) {
            assert_false(file_exists(path));
            assert_int_equal(evidence(fixture), how + 1);
            assert_int_equal(verify(fixture->store, 0, &bads).bad, 0);
        }
        int rc = get_named(fixture->store, "k", 3, 3, SIZE);
        assert_int_equal(rc, owned ? KVT_ERR_OBJECT_NOT_FOUND
                                   : KVT_ERR_CHECKSUM_MISMATCH);
        /* the next offload mends it */
        assert_int_equal(put_named(fixture->store, "k", 3, 3, SIZE), KVT_OK);
        assert_int_equal(verify(fixture->store, 0, &bads).bad, 0);
    }
    for (uint64_t i = 0; i < KEYS; i++) {
        assert_int_equal(get_named(fixture->store, "k", i, i, SIZE), KVT_OK);
    }
}

static void a_file_of_another_key_is_found(void **state)
{
    struct store_fixture *fixture = *state;
    char one[FILE_PATH_MAX];
    char two[FILE_PATH_MAX];
    struct named_key key;
    struct bads bads;
    size_t size;
    store_start(fixture);
    put_all(fixture->store);
    name_key(&key, "k", 1);
    store_object_path(fixture, key.key, one);
    name_key(&key, "k", 2);
    store_object_path(fixture, key.key, two);
    unsigned char *bytes = file_read(one, &size);
    file_write(two, bytes, size);
    free(bytes);
    assert_int_equal(verify(fixture->store, 0, &bads).bad, 1);
    assert_string_equal(bads.key, "k2");
}

/* Its key stands in the file, and cannot be read any more. */
static void a_bad_file_of_a_long_key_is_found(void **state)
{
    struct store_fixture *fixture = *state;
    static char text[900];
    char path[FILE_PATH_MAX];
    struct bads bads;
    size_t size;
    memset(text, '/', sizeof text);
    struct kvt_key key = {text, sizeof text};
    store_start(fixture);
    put_all(fixture->store);
    assert_int_equal(put_value(fixture->store, key, 1, SIZE), KVT_OK);
    store_object_path(fixture, key, path);
    unsigned char *bytes = file_read(path, &size);
    bytes[100] ^= 1; /* the value: the key is there */
    file_write(path, bytes, size);
    assert_int_equal(verify(fixture->store, 0, &bads).bad, 1);
    assert_int_equal(bads.keyless, 0);
    bytes[100] ^= 1;
    bytes[SIZE + 10] ^= 1; /* the key */
    file_write(path, bytes, size);
    free(bytes);
    struct kvt_verify_result result = verify(fixture->store, 0, &bads);
    assert_int_equal(result.bad, 1);
    assert_int_equal(result.objects, KEYS + 1);
    assert_int_equal(bads.keyless, 1);
}

static void what_went_is_not_bad(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    struct named_key key;
    struct bads bads;
    store_start(fixture);
    put_all(fixture->store);
    name_key(&key, "k", 3);
    store_object_path(fixture, key.key, path);
    unlink(path);
    struct kvt_verify_result result = verify(fixture->store, 1, &bads);
    assert_int_equal(result.objects, KEYS - 1);
    assert_int_equal(result.bad, 0);
}

static void start_failing(struct store_fixture *fixture, const char *rules)
{
    char fs[64];
    store_stop(fixture);
    snprintf(fs, sizeof fs, "fault:%s", fixture->row->fs);
    store_set(fixture, "fs", fs);
    store_set(fixture, "fault.rules", rules);
    store_start(fixture);
}

/* What cannot be read is bad; a file system that fails tells nothing of its
 * objects, and ends the verification. */
static void what_cannot_be_read_is_bad(void **state)
{
    struct store_fixture *fixture = *state;
    bool log = store_is_log(fixture);
    struct bads bads;
    store_start(fixture);
    put_all(fixture->store);
    start_failing(fixture, log ? "read@w-*,every=2,do=ENOTCONN"
                               : "read@*k3,every=1,do=ENOTCONN");
    struct kvt_verify_options options = KVT_VERIFY_OPTIONS_INIT;
    struct kvt_verify_result result;
    struct kvt_error err = {0};
    assert_true(kvt_verify(fixture->store, &options, &result, &err) < 0);
    assert_int_equal(err.errnum, ENOTCONN);
    assert_true(err.message[0] != '\0');
    assert_int_equal(result.bad, 0);
    if (log) {
        return; /* no rule tells one value of a bucket from another */
    }
    start_failing(fixture, "read@*k3,every=1,do=EIO");
    assert_int_equal(verify(fixture->store, 0, &bads).bad, 1);
    assert_string_equal(bads.key, "k3");
    assert_int_equal(bads.errnum, EIO);
    result = verify(fixture->store, 1, &bads);
    assert_int_equal(result.bad, 1);
    assert_int_equal(result.repaired, fixture->row->owned);
    assert_int_equal(verify(fixture->store, 0, &bads).bad,
                     fixture->row->owned ? 0 : 1);
}

static void evidence_stays_within_its_bound(void **state)
{
    struct store_fixture *fixture = *state;
    struct bads bads;
    struct bucket_files files;
    bool log = store_is_log(fixture);
    store_set_number(fixture, "total_size_limit", 2 << 20);
    store_start(fixture);
    for (uint64_t i = 0; i < 60; i++) {
        assert_int_equal(put_named(fixture->store, "k", i, i, 10000), KVT_OK);
    }
    if (log) {
        bucket_settle(fixture->store);
        bucket_files_find(fixture, &files);
    }
    size_t damaged = 0;
    for (uint64_t i = 0; i < (log ? files.count : 60); i++) {
        char path[FILE_PATH_MAX];
        size_t size;
        struct named_key key;
        name_key(&key, "k", i);
        if (log) {
            store_path(fixture, files.names[i], path);
        } else {
            store_object_path(fixture, key.key, path);
        }
        unsigned char *bytes = file_read(path, &size);
        for (size_t at = 0; at + 10000 <= size; at += log ? 4096 : size) {
            uint64_t number = 0;
            while (number < 60 && !value_is(bytes + at, 10000, number)) {
                number++;
            }
            if (number < 60) {
                bytes[at + 5000] ^= 1;
                damaged++;
            }
        }
        file_write(path, bytes, size);
        free(bytes);
    }
    assert_int_equal(damaged, 60);
    struct kvt_verify_result result = verify(fixture->store, 1, &bads);
    assert_int_equal(result.bad, 60);
    assert_int_equal(result.repaired, result.bad);
    char path[FILE_PATH_MAX];
    store_path(fixture, ".kvtier/quarantine", path);
    assert_true(evidence(fixture) > 0);
    assert_true(disk_usage(path) <= (2 << 20) / 16 + 8192);
    assert_true(evidence(fixture) ==
                stats_of(fixture->store).quarantined_objects);
    assert_true(disk_usage(fixture->path) <= (2 << 20) + 300 * 4096);
    uint64_t kept = stats_of(fixture->store).quarantined_objects;
    store_restart(fixture);
    assert_int_equal(stats_of(fixture->store).quarantined_objects, kept);
    assert_int_equal(verify(fixture->store, 0, &bads).bad, 0);
}

/* Buckets -------------------------------------------------------------------
 */

/* Any byte of a sealed bucket: what loads is called good, what is called bad
 * is gone once it is repaired, and stays gone. */
static void flip_and_verify(struct store_fixture *fixture, const char *path,
                            size_t at)
{
    struct bads bads;
    store_start(fixture);
    size_t size;
    unsigned char *bytes = file_read(path, &size);
    bytes[at] ^= 0x10;
    file_write(path, bytes, size);
    free(bytes);

    uint64_t digest = tree_digest(fixture->path);
    struct kvt_verify_result found = verify(fixture->store, 0, &bads);
    assert_int_equal(found.unverifiable, 0);
    assert_int_equal(tree_digest(fixture->path), digest);
    struct kvt_verify_result result = verify(fixture->store, 1, &bads);
    assert_int_equal(result.bad, found.bad);
    assert_int_equal(result.objects, found.objects);
    size_t loaded = 0;
    for (uint64_t i = 0; i < KEYS; i++) {
        int rc = get_named(fixture->store, "k", i, i, SIZE);
        assert_true(rc == KVT_OK || rc == KVT_ERR_OBJECT_NOT_FOUND);
        loaded += rc == KVT_OK;
    }
    assert_int_equal(loaded, KEYS - result.repaired);
    if (result.repaired == result.bad) {
        assert_int_equal(verify(fixture->store, 0, &bads).bad, 0);
    }
    store_restart(fixture);
    size_t again = 0;
    for (uint64_t i = 0; i < KEYS; i++) {
        int rc = get_named(fixture->store, "k", i, i, SIZE);
        assert_true(rc == KVT_OK || rc == KVT_ERR_OBJECT_NOT_FOUND);
        again += rc == KVT_OK;
    }
    assert_true(again <= loaded);
    store_stop(fixture);
}

static void a_flipped_bit_of_a_bucket_is_found(void **state)
{
    struct store_fixture *fixture = *state;
    struct bucket_files files;
    char path[FILE_PATH_MAX];
    char backup[FILE_PATH_MAX];
    struct bads bads;
    store_start(fixture);
    put_all(fixture->store);
    store_stop(fixture);
    bucket_files_find(fixture, &files);
    assert_int_equal(files.count, 1);
    store_path(fixture, files.names[0], path);
    snprintf(backup, sizeof backup, "%s.copy", fixture->path);
    tree_copy(fixture->path, backup);

    /* values, which begin behind a record of one block: each is found, and
     * the key named */
    for (uint64_t i = 0; i < KEYS; i++) {
        size_t size;
        unsigned char *bytes = file_read(path, &size);
        size_t at = 0;
        while (!value_is(bytes + at, SIZE, i)) {
            at += 4096;
            assert_true(at + SIZE <= size);
        }
        bytes[at + 2000] ^= 1;
        file_write(path, bytes, size);
        free(bytes);
        char wanted[16];
        snprintf(wanted, sizeof wanted, "k%u", (unsigned)i);
        store_start(fixture);
        assert_int_equal(verify(fixture->store, 0, &bads).bad, 1);
        assert_string_equal(bads.key, wanted);
        assert_int_equal(verify(fixture->store, 1, &bads).repaired, 1);
        assert_int_equal(evidence(fixture), 1);
        store_restart(fixture);
        assert_int_equal(verify(fixture->store, 0, &bads).bad, 0);
        assert_false(has_named(fixture->store, "k", i));
        store_stop(fixture);
        remove_tree(fixture->path);
        tree_copy(backup, fixture->path);
    }
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    size_t step = test_scale() > 1 ? 37 : 1117;
    for (size_t at = 0; at < (size_t)st.st_size; at += step) {
        flip_and_verify(fixture, path, at);
        remove_tree(fixture->path);
        tree_copy(backup, fixture->path);
    }
    remove_tree(backup);
}

/* Its record is bad: nobody can list the object, or be told that it goes. */
static void an_object_without_a_record_is_bad(void **state)
{
    struct store_fixture *fixture = *state;
    struct bucket_files files;
    char path[FILE_PATH_MAX];
    struct bads bads;
    size_t size;
    store_start(fixture);
    put_all(fixture->store);
    bucket_settle(fixture->store);
    bucket_files_find(fixture, &files);
    store_path(fixture, files.names[0], path);
    unsigned char *bytes = file_read(path, &size);
    bytes[4096 + 40] ^= 1; /* of the first run */
    file_write(path, bytes, size);
    free(bytes);
    struct kvt_verify_result result = verify(fixture->store, 0, &bads);
    assert_int_equal(result.objects, KEYS);
    assert_int_equal(result.bad, 1);
    assert_int_equal(bads.keyless, 1);
    assert_int_equal(verify(fixture->store, 1, &bads).repaired, 1);
    assert_int_equal(verify(fixture->store, 0, &bads).objects, KEYS - 1);
    assert_int_equal(bads.count, 0);
    store_restart(fixture);
    assert_int_equal(verify(fixture->store, 0, &bads).objects, KEYS - 1);
    assert_int_equal(bads.count, 0);
}

/* Keys of one run: its record stays while one of them lives. */
static void put_four(struct kvt_store *store, uint64_t first, uint64_t seed)
{
    static unsigned char bytes[4][12000];
    struct named_key keys[4];
    struct kvt_slice slices[4];
    struct kvt_object objects[4];
    for (size_t i = 0; i < 4; i++) {
        name_key(&keys[i], "k", first + i);
        value_fill(bytes[i], sizeof bytes[i], seed + i);
        slices[i] = (struct kvt_slice){bytes[i], sizeof bytes[i], NULL};
        objects[i] = (struct kvt_object){
            .key = keys[i].key, .slices = &slices[i], .slice_count = 1};
    }
    assert_int_equal(kvt_batch_offload(store, objects, 4, NULL), 4);
}

/* What was written meanwhile and is not sealed cannot be seen by a reader: it
 * must not call bad what the owner has given back. */
static void an_owner_beside_it_makes_nothing_bad(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_store *reader = NULL;
    struct bads bads;
    store_set_number(fixture, "total_size_limit", 1 << 20);
    store_set_number(fixture, "bucket.seal_after_ms", 3600000);
    store_start(fixture);
    for (uint64_t i = 0; i < 40; i += 4) {
        put_four(fixture->store, i, i);
    }
    store_restart(fixture);
    uint64_t unproved = 0;
    uint64_t random = 1;
    for (uint64_t round = 0; round < 60; round++) {
        if (round % 6 == 0) {
            kvt_store_close(reader);
            assert_int_equal(store_open_other(fixture, true, &reader, NULL),
                             KVT_OK);
        }
        for (unsigned n = 0; n < 5; n++) {
            uint64_t i = random_next(&random) % 40;
            uint64_t seed = round * 100 + n;
            assert_int_equal(put_named(fixture->store, "k", i, seed, 12000),
                             KVT_OK);
        }
        struct kvt_verify_result result = verify(reader, 0, &bads);
        assert_int_equal(result.bad, 0);
        unproved += result.unverifiable;
    }
    kvt_store_close(reader);
    assert_true(unproved > 0); /* or it was not about that */
}

int main(void)
{
    static const struct store_row bucket = {"bucket", "posix", false, true,
                                            NULL};
    static const struct CMUnitTest file_tests[] = {
        store_test_fast(a_bad_file_is_found),
        store_test_fast(a_file_of_another_key_is_found),
        store_test_fast(a_bad_file_of_a_long_key_is_found),
        store_test_fast(what_went_is_not_bad),
        store_test_fast(what_cannot_be_read_is_bad),
    };
    static const struct CMUnitTest owned_tests[] = {
        store_test_fast(evidence_stays_within_its_bound),
    };
    static const struct CMUnitTest bucket_tests[] = {
        store_test_fast(a_flipped_bit_of_a_bucket_is_found),
        store_test_fast(an_object_without_a_record_is_bad),
        store_test_fast(an_owner_beside_it_makes_nothing_bad),
        store_test_fast(evidence_stays_within_its_bound),
        store_test_fast(what_cannot_be_read_is_bad),
    };
    return store_file_rows_run("damage that is verified", file_tests, 5) +
               store_owned_file_rows_run("evidence", owned_tests, 1) +
               store_row_run(&bucket, "damage that is verified", bucket_tests,
                             5) !=
           0;
}
