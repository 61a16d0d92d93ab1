/* What only a root without an owner has: formats and the record of the root,
 * mixed roots, peers that come and go, the breaker, limits by age. */
#define _XOPEN_SOURCE 700
#include "support/store_fixture.h"

#include "core/bytes.h"
#include "core/clock.h"
#include "core/hash.h"
#include "format/keyname.h"
#include "format/trailer.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    SIZE = 1000,
    TRAILER = 64
};

static const struct store_row posix_row = {"distributed", "posix", true, false,
                                           NULL};

static void pause_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

static size_t read_object_file(const struct store_fixture *fixture,
                               struct kvt_key key, unsigned char **bytes)
{
    char path[FILE_PATH_MAX];
    size_t size;
    store_object_path(fixture, key, path);
    *bytes = file_read(path, &size);
    return size;
}

/* A file as the original writes it: the value alone. */
static void write_raw(const struct store_fixture *fixture, struct kvt_key key,
                      uint64_t seed, size_t size)
{
    char path[FILE_PATH_MAX];
    char *bytes = malloc(size + 1);
    value_fill(bytes, size, seed);
    store_object_path(fixture, key, path);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    make_directory(path);
    *slash = '/';
    file_write(path, bytes, size);
    free(bytes);
}

static struct told told;
static struct kvt_store *slow_store;

static size_t scan(struct kvt_store *store)
{
    told = (struct told){0};
    assert_int_equal(kvt_scan_meta(store, told_handler, &told, NULL), KVT_OK);
    return told.count;
}

static bool has_record(const struct store_fixture *fixture)
{
    char path[FILE_PATH_MAX];
    store_path(fixture, ".kvtier/format", path);
    return file_exists(path);
}

/* Formats ------------------------------------------------------------------ */

static void raw_is_the_value_alone_and_nothing_else(void **state)
{
    struct store_fixture *fixture = *state;
    unsigned char *bytes;
    char path[FILE_PATH_MAX];
    store_set(fixture, "distributed.format", "raw");
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("a/b"), 1, SIZE), KVT_OK);
    assert_int_equal(put_value(fixture->store, key_of("empty"), 1, 0), KVT_OK);
    assert_int_equal(read_object_file(fixture, key_of("a/b"), &bytes), SIZE);
    assert_true(value_is(bytes, SIZE, 1));
    free(bytes);
    store_path(fixture, ".kvtier", path);
    assert_false(file_exists(path));
    assert_int_equal(get_value(fixture->store, key_of("a/b"), 1, SIZE), KVT_OK);
    assert_int_equal(get_value(fixture->store, key_of("empty"), 1, 0), KVT_OK);
    assert_int_equal(scan(fixture->store), 2);
    assert_int_equal(stats_of(fixture->store).unverifiable_objects, 2);
    store_restart(fixture);
    assert_int_equal(put_value(fixture->store, key_of("a/b"), 2, 10), KVT_OK);
    assert_int_equal(get_value(fixture->store, key_of("a/b"), 2, 10), KVT_OK);
    assert_int_equal(remove_key(fixture->store, key_of("a/b")), KVT_OK);
    assert_false(file_exists(path));
}

/* It would be taken for a file with a trailer, and never load. */
static void raw_refuses_values_that_end_like_a_trailer(void **state)
{
    struct store_fixture *fixture = *state;
    unsigned char zeros[KVT_TRAILER_SIZE] = {0};
    struct kvt_slice slices[] = {{zeros, 10, NULL},
                                 {zeros + 10, sizeof zeros - 10, NULL}};
    struct kvt_object object = {
        .key = key_of("zeros"), .slices = slices, .slice_count = 2};
    store_set(fixture, "distributed.format", "raw");
    store_start(fixture);
    assert_int_equal(kvt_batch_offload(fixture->store, &object, 1, NULL), 0);
    assert_int_equal(object.status, KVT_ERR_INVALID_PARAMS);
    assert_int_equal(object.errnum, EILSEQ);
    assert_false(has_key(fixture->store, object.key));
    slices[1].size--;
    assert_int_equal(kvt_batch_offload(fixture->store, &object, 1, NULL), 1);
    assert_int_equal(kvt_batch_load(fixture->store, &object, 1, NULL), 1);
}

/* Somebody's directory in the place of one key says nothing of the others. */
static void a_directory_in_a_keys_place_stops_no_other(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    store_start(fixture);
    store_object_path(fixture, key_of("taken"), path);
    make_directory(path);
    for (int i = 0; i < 6; i++) {
        assert_true(put_value(fixture->store, key_of("taken"), 1, SIZE) < 0);
        assert_int_equal(put_value(fixture->store, key_of("other"), 2, SIZE),
                         KVT_OK);
    }
}

/* Keys would go through it, and what goes through all directories would not. */
static void a_link_in_place_of_a_directory_is_told(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    char other[FILE_PATH_MAX];
    struct kvt_error err;
    store_start(fixture);
    store_object_path(fixture, key_of("k"), path);
    *strrchr(path, '/') = '\0';
    snprintf(other, sizeof other, "%s.elsewhere", fixture->path);
    make_directory(other);
    assert_int_equal(symlink(other, path), 0);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    assert_true(kvt_remove_all(fixture->store, &err) < 0);
    assert_int_equal(err.errnum, ENOTDIR);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(kvt_remove_all(fixture->store, &err), KVT_OK);
}

static void raw_refuses_keys_that_no_name_can_hold(void **state)
{
    struct store_fixture *fixture = *state;
    static char text[300];
    struct kvt_key key = {text, sizeof text};
    memset(text, 'x', sizeof text);
    store_set(fixture, "distributed.format", "raw");
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key, 1, SIZE),
                     KVT_ERR_INVALID_KEY);
    assert_int_equal(get_value(fixture->store, key, 1, SIZE),
                     KVT_ERR_OBJECT_NOT_FOUND);
    key.size = 255;
    assert_int_equal(put_value(fixture->store, key, 1, SIZE), KVT_OK);
    assert_int_equal(get_value(fixture->store, key, 1, SIZE), KVT_OK);
}

/* Sizes around that of a trailer, and of the room they are loaded into. */
static void a_root_of_the_original_is_readable_as_it_is(void **state)
{
    struct store_fixture *fixture = *state;
    static const size_t sizes[] = {0, 1, 63, 64, 65, 100, 128, 5000, 100000};
    enum {
        COUNT = sizeof sizes / sizeof sizes[0]
    };
    struct named_key named;
    for (size_t i = 0; i < COUNT; i++) {
        name_key(&named, "layer@", i);
        write_raw(fixture, named.key, i, sizes[i]);
    }
    store_start(fixture);
    assert_false(has_record(fixture));
    for (size_t i = 0; i < COUNT; i++) {
        name_key(&named, "layer@", i);
        assert_int_equal(get_value(fixture->store, named.key, i, sizes[i]), 0);
        struct kvt_object object = {.key = named.key};
        assert_int_equal(kvt_batch_exists(fixture->store, &object, 1, NULL), 1);
        assert_int_equal(object.size, sizes[i]);
        /* too small a room, and a larger one */
        static unsigned char room[200000];
        for (size_t more = 0; more < 200; more += 9) {
            struct kvt_slice slice = {room, sizes[i] + more, NULL};
            object.slices = &slice;
            object.slice_count = 1;
            assert_int_equal(kvt_batch_load(fixture->store, &object, 1, NULL),
                             1);
            assert_int_equal(object.size, sizes[i]);
            assert_true(value_is(room, sizes[i], i));
            if (sizes[i] > more) {
                slice.size = sizes[i] - more - 1;
                kvt_batch_load(fixture->store, &object, 1, NULL);
                assert_int_equal(object.status, KVT_ERR_BUFFER_OVERFLOW);
                assert_int_equal(object.size, sizes[i]);
            }
        }
    }
    assert_int_equal(scan(fixture->store), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        uint64_t number = (uint64_t)(told.metas[i].key[6] - '0');
        assert_int_equal(told.metas[i].size, sizes[number]);
    }
    assert_int_equal(stats_of(fixture->store).unverifiable_objects, COUNT);
}

static void a_mixed_root_holds_both(void **state)
{
    struct store_fixture *fixture = *state;
    char long_text[400];
    memset(long_text, ':', sizeof long_text);
    struct kvt_key long_key = {long_text, sizeof long_text};
    write_raw(fixture, key_of("old"), 1, SIZE);
    store_start(fixture);
    assert_false(has_record(fixture));
    assert_int_equal(put_value(fixture->store, key_of("new"), 2, SIZE), KVT_OK);
    assert_int_equal(put_value(fixture->store, long_key, 3, SIZE), KVT_OK);
    for (int restarts = 0; restarts < 2; restarts++) {
        assert_int_equal(get_value(fixture->store, key_of("old"), 1, SIZE), 0);
        assert_int_equal(get_value(fixture->store, key_of("new"), 2, SIZE), 0);
        assert_int_equal(get_value(fixture->store, long_key, 3, SIZE), KVT_OK);
        assert_int_equal(scan(fixture->store), 3);
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(told.metas[i].size, SIZE);
        }
        struct kvt_stats stats = stats_of(fixture->store);
        assert_int_equal(stats.objects, 3);
        assert_int_equal(stats.unverifiable_objects, 1);
        store_restart(fixture);
    }
    assert_false(has_record(fixture));
    /* the old one is not taken for data when that is not wanted */
    store_set(fixture, "distributed.read_raw", "off");
    store_restart(fixture);
    assert_true(get_value(fixture->store, key_of("old"), 1, SIZE) < 0);
    assert_false(has_key(fixture->store, key_of("old")));
    assert_int_equal(get_value(fixture->store, key_of("new"), 2, SIZE), KVT_OK);
    assert_int_equal(scan(fixture->store), 2);
    /* replaced, it has a trailer */
    assert_int_equal(put_value(fixture->store, key_of("old"), 4, SIZE), KVT_OK);
    assert_int_equal(stats_of(fixture->store).unverifiable_objects, 0);
}

/* One bit anywhere, in every mode. */
static void flip_all(struct store_fixture *fixture)
{
    char path[FILE_PATH_MAX];
    unsigned char *bytes;
    size_t size = read_object_file(fixture, key_of("k"), &bytes);
    store_object_path(fixture, key_of("k"), path);
    assert_int_equal(size, SIZE + TRAILER);
    for (size_t bit = 0; bit < size * 8; bit += bit < SIZE * 8 ? 97 : 1) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        file_write(path, bytes, size);
        for (size_t room = SIZE; room < SIZE + 200; room += 64) {
            int rc = get_value(fixture->store, key_of("k"), 1, room);
            if (rc != KVT_ERR_CHECKSUM_MISMATCH &&
                rc != KVT_ERR_OBJECT_NOT_FOUND && rc != KVT_ERR_NOT_SUPPORTED) {
                fail_msg("bit %zu: %s", bit, kvt_status_name(rc));
            }
        }
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    file_write(path, bytes, size);
    assert_int_equal(get_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    free(bytes);
}

/* A whole trailer of another version is neither damaged nor a raw file. */
static void a_newer_trailer_is_no_data(void **state)
{
    struct store_fixture *fixture = *state;
    unsigned char *bytes;
    char path[FILE_PATH_MAX];
    write_raw(fixture, key_of("old"), 9, SIZE); /* the root is mixed */
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    size_t size = read_object_file(fixture, key_of("k"), &bytes);
    store_object_path(fixture, key_of("k"), path);
    unsigned char *trailer = bytes + size - TRAILER;
    trailer[8] = 2;
    kvt_put_le64(trailer + 56, kvt_hash64(trailer, 56, 0));
    file_write(path, bytes, size);
    for (size_t room = SIZE - 100; room <= SIZE + 100; room += 100) {
        assert_int_equal(get_value(fixture->store, key_of("k"), 1, room),
                         KVT_ERR_NOT_SUPPORTED);
    }
    assert_false(has_key(fixture->store, key_of("k")));
    assert_int_equal(scan(fixture->store), 1);
    /* and a damaged one of a file that is larger than its room */
    trailer[20] ^= 1;
    file_write(path, bytes, size);
    assert_int_equal(get_value(fixture->store, key_of("k"), 1, SIZE - 100),
                     KVT_ERR_CHECKSUM_MISMATCH);
    free(bytes);
}

static void a_flipped_bit_is_a_miss_in_every_mode(void **state)
{
    struct store_fixture *fixture = *state;
    static const char *const modes[] = {"auto", "on", "off"};
    for (int mixed = 0; mixed < 2; mixed++) {
        if (mixed) {
            write_raw(fixture, key_of("old"), 9, SIZE);
        }
        for (size_t i = 0; i < 3; i++) {
            store_set(fixture, "distributed.read_raw", modes[i]);
            store_start(fixture);
            assert_int_equal(has_record(fixture), !mixed);
            assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE),
                             KVT_OK);
            flip_all(fixture);
            store_stop(fixture);
        }
        remove_tree(fixture->path);
    }
}

/* Nobody writes a file of that name without a trailer. */
static void a_long_name_without_a_trailer_is_never_raw(void **state)
{
    struct store_fixture *fixture = *state;
    static char text[400];
    struct kvt_key key = {text, sizeof text};
    struct kvt_object object = {.key = key};
    char path[FILE_PATH_MAX];
    unsigned char *bytes;
    memset(text, 'x', sizeof text);
    write_raw(fixture, key_of("old"), 9, SIZE);
    store_start(fixture);
    assert_false(has_record(fixture));
    assert_int_equal(put_value(fixture->store, key, 1, SIZE), KVT_OK);
    store_object_path(fixture, key, path);
    size_t size = read_object_file(fixture, key, &bytes);
    assert_int_equal(size, SIZE + sizeof text + TRAILER);
    for (size_t cut = 0; cut < size; cut += 7) {
        file_write(path, bytes, cut);
        assert_true(get_value(fixture->store, key, 1, SIZE) < 0);
        assert_true(get_value(fixture->store, key, 1, size) < 0);
        assert_int_equal(kvt_batch_exists(fixture->store, &object, 1, NULL), 0);
        assert_int_equal(scan(fixture->store), 1);
    }
    free(bytes);
}

static void cut_and_zero(struct store_fixture *fixture)
{
    char path[FILE_PATH_MAX];
    static unsigned char zeros[SIZE + 2 * TRAILER];
    unsigned char *bytes;
    store_start(fixture);
    assert_true(has_record(fixture));
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    store_object_path(fixture, key_of("k"), path);
    size_t size = read_object_file(fixture, key_of("k"), &bytes);
    for (size_t cut = 0; cut < size; cut++) {
        file_write(path, bytes, cut);
        assert_true(get_value(fixture->store, key_of("k"), 1, SIZE) < 0);
        assert_true(get_value(fixture->store, key_of("k"), 1, cut) < 0);
        assert_int_equal(has_key(fixture->store, key_of("k")), cut >= TRAILER);
    }
    for (size_t fill = 0; fill <= size + TRAILER; fill += 8) {
        file_write(path, zeros, fill);
        assert_true(get_value(fixture->store, key_of("k"), 1, SIZE) < 0);
        memcpy(zeros, bytes, fill < SIZE ? fill : SIZE); /* only the end */
        file_write(path, zeros, size);
        memset(zeros, 0, sizeof zeros);
        assert_true(get_value(fixture->store, key_of("k"), 1, SIZE) < 0);
    }
    free(bytes);
    assert_true(stats_of(fixture->store).checksum_misses > 0);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    assert_int_equal(get_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
}

/* In every mode: the record says that there are no raw files. */
static void a_cut_or_zeroed_file_is_a_miss_under_the_record(void **state)
{
    struct store_fixture *fixture = *state;
    static const char *const modes[] = {"auto", "on", "off"};
    for (size_t i = 0; i < 3; i++) {
        store_set(fixture, "distributed.read_raw", modes[i]);
        cut_and_zero(fixture);
        write_raw(fixture, key_of("raw"), 2, SIZE);
        assert_true(get_value(fixture->store, key_of("raw"), 2, SIZE) < 0);
        assert_int_equal(stats_of(fixture->store).unverifiable_objects, 0);
        store_stop(fixture);
    }
}

/* The record --------------------------------------------------------------- */

static void expect_refused(struct store_fixture *fixture, int code,
                           const char *word)
{
    struct kvt_error err = {0};
    uint64_t before = tree_digest(fixture->path);
    int rc = kvt_store_open(fixture->config, NULL, &fixture->store, &err);
    if (rc != code || strstr(err.message, word) == NULL) {
        fail_msg("%s: %s", kvt_status_name(rc), err.message);
    }
    assert_null(fixture->store);
    assert_true(err.remedy[0] != '\0');
    assert_int_equal(tree_digest(fixture->path), before);
}

static void a_damaged_or_newer_record_is_refused(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    store_stop(fixture);
    store_path(fixture, ".kvtier/format", path);
    unsigned char *bytes = file_read(path, &size);
    assert_int_equal(size, 64);
    for (size_t i = 0; i < size; i++) {
        struct kvt_error err;
        bytes[i] ^= 4;
        file_write(path, bytes, size);
        int rc = kvt_store_open(fixture->config, NULL, &fixture->store, &err);
        assert_true(rc == KVT_ERR_CHECKSUM_MISMATCH ||
                    rc == KVT_ERR_NOT_SUPPORTED);
        bytes[i] ^= 4;
    }
    for (size_t cut = 0; cut < size; cut += 9) {
        file_write(path, bytes, cut);
        expect_refused(fixture, KVT_ERR_CHECKSUM_MISMATCH, "damaged");
    }
    bytes[8]++;
    file_write(path, bytes, size);
    expect_refused(fixture, KVT_ERR_NOT_SUPPORTED, "version");
    bytes[8]--;
    file_write(path, bytes, size);
    free(bytes);
    store_start(fixture);
    assert_int_equal(get_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
}

static void hosts_that_disagree_with_the_record_are_refused(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "distributed.hash_bucket_count", "16");
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    store_stop(fixture);
    store_set(fixture, "distributed.hash_bucket_count", "256");
    expect_refused(fixture, KVT_ERR_INVALID_PARAMS, "16");
    store_set(fixture, "distributed.hash_bucket_count", "16");
    store_set(fixture, "distributed.format", "raw");
    expect_refused(fixture, KVT_ERR_INVALID_PARAMS, "trailer");
    store_set(fixture, "distributed.format", "trailer");
    store_start(fixture);
    assert_int_equal(get_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    store_stop(fixture);
    /* one that says nothing does as the record says */
    struct kvt_error err;
    struct kvt_store *store;
    struct kvt_config *config = kvt_config_open();
    kvt_config_set(config, "backend", "distributed", &err);
    kvt_config_set(config, "distributed.fs", "posix", &err);
    kvt_config_set(config, "path", fixture->path, &err);
    assert_int_equal(kvt_store_open(config, NULL, &store, &err), KVT_OK);
    assert_int_equal(get_value(store, key_of("k"), 1, SIZE), KVT_OK);
    kvt_store_close(store);
    kvt_config_close(config);
}

static void a_root_of_another_layout_is_refused_both_ways(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_error err;
    store_start(fixture);
    store_stop(fixture);
    store_set(fixture, "backend", "file_per_key");
    assert_int_equal(
        kvt_store_open(fixture->config, NULL, &fixture->store, &err),
        KVT_ERR_INVALID_PARAMS);
    remove_tree(fixture->path);
    store_start(fixture);
    store_stop(fixture);
    store_set(fixture, "backend", "distributed");
    expect_refused(fixture, KVT_ERR_INVALID_PARAMS, "local");
}

struct opener {
    struct store_fixture *fixture;
    pthread_t thread;
    struct kvt_store *store;
    int rc;
    pthread_barrier_t *start;
};

static void *open_one(void *arg)
{
    struct opener *opener = arg;
    struct kvt_error err;
    pthread_barrier_wait(opener->start);
    opener->rc =
        kvt_store_open(opener->fixture->config, NULL, &opener->store, &err);
    return NULL;
}

static void many_first_writers_agree_on_one_record(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        HOSTS = 8
    };
    for (int round = 0; round < 5; round++) {
        struct opener openers[HOSTS];
        pthread_barrier_t start;
        pthread_barrier_init(&start, NULL, HOSTS);
        make_directory(fixture->path);
        for (size_t i = 0; i < HOSTS; i++) {
            openers[i] = (struct opener){.fixture = fixture, .start = &start};
            pthread_create(&openers[i].thread, NULL, open_one, &openers[i]);
        }
        for (size_t i = 0; i < HOSTS; i++) {
            pthread_join(openers[i].thread, NULL);
            assert_int_equal(openers[i].rc, KVT_OK);
            assert_int_equal(put_named(openers[i].store, "k", i, i, SIZE), 0);
        }
        for (size_t i = 0; i < HOSTS; i++) {
            for (size_t k = 0; k < HOSTS; k++) {
                assert_int_equal(get_named(openers[i].store, "k", k, k, SIZE),
                                 KVT_OK);
            }
        }
        for (size_t i = 0; i < HOSTS; i++) {
            kvt_store_close(openers[i].store);
        }
        pthread_barrier_destroy(&start);
        remove_tree(fixture->path);
    }
}

/* Both saw an empty root. The one that comes second uses the record that is
 * there, which the objects of the first depend on. */
static void a_record_that_was_first_stays(void **state)
{
    struct store_fixture *fixture = *state;
    struct opener late = {.fixture = fixture};
    struct kvt_store *first;
    struct kvt_error err;
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, 1);
    late.start = &start;
    store_set(fixture, "fs", "fault:posix");
    store_set(fixture, "fault.rules", "rename@.kvtier*,nth=1,delay=500");
    pthread_create(&late.thread, NULL, open_one, &late);
    pause_ms(200);
    struct kvt_config *config = kvt_config_open();
    kvt_config_set(config, "backend", "distributed", &err);
    kvt_config_set(config, "path", fixture->path, &err);
    kvt_config_set(config, "distributed.fs", "posix", &err);
    assert_int_equal(kvt_store_open(config, NULL, &first, &err), KVT_OK);
    assert_int_equal(put_value(first, key_of("k"), 1, SIZE), KVT_OK);
    pthread_join(late.thread, NULL);
    assert_int_equal(late.rc, KVT_OK);
    assert_int_equal(get_value(late.store, key_of("k"), 1, SIZE), KVT_OK);
    assert_int_equal(put_value(late.store, key_of("n"), 2, SIZE), KVT_OK);
    assert_int_equal(get_value(first, key_of("n"), 2, SIZE), KVT_OK);
    kvt_store_close(late.store);
    kvt_store_close(first);
    kvt_config_close(config);
    pthread_barrier_destroy(&start);
}

/* Between our two looks another host made the record and wrote an object: the
 * root is not a mixed one for that. */
static void a_record_made_while_we_look_is_seen(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_store *other;
    struct kvt_error err;
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    store_set(fixture, "fs", "fault:posix");
    store_set(fixture, "fault.rules", "open@.kvtier/format,nth=1,do=ENOENT");
    assert_int_equal(store_open_other(fixture, false, &other, &err), KVT_OK);
    assert_int_equal(get_value(other, key_of("k"), 1, SIZE), KVT_OK);
    assert_int_equal(put_value(other, key_of("n"), 2, SIZE), KVT_OK);
    assert_int_equal(get_value(fixture->store, key_of("n"), 2, SIZE), KVT_OK);
    kvt_store_close(other);
}

static void a_read_only_peer_changes_nothing(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_store *reader;
    struct kvt_error err;
    write_raw(fixture, key_of("old"), 1, SIZE);
    uint64_t before = tree_digest(fixture->path);
    assert_int_equal(store_open_other(fixture, true, &reader, &err), KVT_OK);
    assert_int_equal(get_value(reader, key_of("old"), 1, SIZE), KVT_OK);
    assert_int_equal(scan(reader), 1);
    assert_int_equal(kvt_health_check(reader, &err), KVT_OK);
    assert_int_equal(kvt_is_offload_enabled(reader), 0);
    kvt_store_close(reader);
    assert_int_equal(tree_digest(fixture->path), before);
}

/* Temporaries -------------------------------------------------------------- */

static void age(const char *path, time_t seconds)
{
    struct timespec times[2] = {{0}};
    clock_gettime(CLOCK_REALTIME, &times[0]);
    times[0].tv_sec -= seconds;
    times[1] = times[0];
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void only_dead_writers_temporaries_are_collected(void **state)
{
    struct store_fixture *fixture = *state;
    static const struct {
        const char *name;
        time_t age;
        bool stays;
    } files[] = {
        {"00/%tmp-0123456789abcdef-0123456789abcdef-0", 7200, false},
        {"ff/%tmp-0123456789abcdef-fedcba9876543210-a1", 3700, false},
        {"00/%tmp-0123456789abcdef-0123456789abcdef-1", 60, true},
        {"00/%tmp-0123456789abcdef-0123456789abcdef-", 7200, true},
        {"00/%tmp-0123456789abcdef-0123456789abcde-11", 7200, true},
        {"00/%tmp-0123456789abcdef-0123456789abcdef-xyz", 7200, true},
        {"00/%tmp-mine", 7200, true},
        {"00/notes.txt", 7200, true},
        {"%tmp-0123456789abcdef-0123456789abcdef-0", 7200, true},
        {"data/%tmp-0123456789abcdef-0123456789abcdef-0", 7200, true},
    };
    enum {
        COUNT = sizeof files / sizeof files[0]
    };
    char path[FILE_PATH_MAX];
    static const char *const directories[] = {"00", "ff", "data"};
    store_start(fixture);
    for (size_t i = 0; i < 3; i++) {
        store_path(fixture, directories[i], path);
        make_directory(path);
    }
    for (size_t i = 0; i < COUNT; i++) {
        store_path(fixture, files[i].name, path);
        file_write(path, "bytes", 5);
        age(path, files[i].age);
    }
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    assert_int_equal(scan(fixture->store), 1); /* none is listed */
    for (size_t i = 0; i < COUNT; i++) {
        store_path(fixture, files[i].name, path);
        if (file_exists(path) != files[i].stays) {
            fail_msg("%s %s", files[i].name, files[i].stays ? "went" : "is");
        }
    }
    assert_int_equal(stats_of(fixture->store).recovery.removed_temporaries, 2);
    assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
    store_path(fixture, files[2].name, path);
    assert_true(file_exists(path));
}

static void temporaries_are_collected_without_being_asked(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    store_set(fixture, "distributed.temporary_grace", "1");
    store_start(fixture);
    static const char *const directories[] = {"3f", ".kvtier"};
    for (size_t i = 0; i < 2; i++) {
        char name[80];
        store_path(fixture, directories[i], path);
        make_directory(path);
        snprintf(name, sizeof name,
                 "%s/%%tmp-0123456789abcdef-0123456789abcdef-7",
                 directories[i]);
        store_path(fixture, name, path);
        file_write(path, "bytes", 5);
        int64_t end_ns = kvt_clock_ns() + INT64_C(10000000000);
        while (file_exists(path) && kvt_clock_ns() < end_ns) {
            pause_ms(20);
        }
        assert_false(file_exists(path));
    }
    assert_true(has_record(fixture));
}

/* A writer that is slower than the grace: others may take it for dead, but not
 * its own store. */
static void nobody_collects_what_it_writes_itself(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "distributed.temporary_grace", "1");
    store_set(fixture, "fs", "fault:posix");
    store_set(fixture, "fault.rules", "rename@[0-9a-f]*,nth=1,delay=3000");
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    assert_int_equal(stats_of(fixture->store).recovery.removed_temporaries, 0);
}

static void *scan_slowly(void *arg)
{
    *(size_t *)arg = 0;
    told = (struct told){0};
    kvt_scan_meta(slow_store, told_handler, &told, NULL);
    *(size_t *)arg = told.count;
    return NULL;
}

/* The key of a long name stands in the file, which may have been replaced by
 * one of another size since it was listed. */
static void a_long_name_replaced_during_a_scan_is_seen(void **state)
{
    struct store_fixture *fixture = *state;
    static char text[400];
    struct kvt_key key = {text, sizeof text};
    struct kvt_error err;
    pthread_t thread;
    size_t seen;
    memset(text, 'x', sizeof text);
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key, 1, SIZE), KVT_OK);
    store_set(fixture, "fs", "fault:posix");
    store_set(fixture, "fault.rules", "open@*%long-*,nth=1,delay=500");
    assert_int_equal(store_open_other(fixture, false, &slow_store, &err), 0);
    pthread_create(&thread, NULL, scan_slowly, &seen);
    pause_ms(200); /* it has listed by now, and waits at the file */
    assert_int_equal(put_value(fixture->store, key, 2, 2 * SIZE), KVT_OK);
    pthread_join(thread, NULL);
    kvt_store_close(slow_store);
    assert_int_equal(seen, 1);
    assert_int_equal(told.metas[0].size, 2 * SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test_fast(raw_is_the_value_alone_and_nothing_else),
        store_test_fast(raw_refuses_keys_that_no_name_can_hold),
        store_test_fast(raw_refuses_values_that_end_like_a_trailer),
        store_test_fast(a_directory_in_a_keys_place_stops_no_other),
        store_test_fast(a_link_in_place_of_a_directory_is_told),
        store_test_fast(a_root_of_the_original_is_readable_as_it_is),
        store_test_fast(a_mixed_root_holds_both),
        store_test_fast(a_newer_trailer_is_no_data),
        store_test_fast(a_flipped_bit_is_a_miss_in_every_mode),
        store_test_fast(a_long_name_without_a_trailer_is_never_raw),
        store_test_fast(a_cut_or_zeroed_file_is_a_miss_under_the_record),
        store_test_fast(a_damaged_or_newer_record_is_refused),
        store_test_fast(hosts_that_disagree_with_the_record_are_refused),
        store_test_fast(a_root_of_another_layout_is_refused_both_ways),
        store_test_fast(many_first_writers_agree_on_one_record),
        store_test_fast(a_record_that_was_first_stays),
        store_test_fast(a_record_made_while_we_look_is_seen),
        store_test_fast(a_read_only_peer_changes_nothing),
        store_test_fast(only_dead_writers_temporaries_are_collected),
        store_test_fast(temporaries_are_collected_without_being_asked),
        store_test_fast(nobody_collects_what_it_writes_itself),
        store_test_fast(a_long_name_replaced_during_a_scan_is_seen),
    };
    return store_row_run(&posix_row, "distributed", tests,
                         sizeof tests / sizeof tests[0]) != 0;
}
