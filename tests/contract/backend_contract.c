/* Batches of every backend on every adapter: offload, load, exists, remove;
 * sizes, slices, keys, faults of one object and of the whole call. */
#include "support/store_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CANARY = 0xa5
};

static const size_t sizes[] = {
    0, 1, 63, 64, 65, 4095, 4096, 4097, 1000000, (1 << 20) + 1, 16 << 20};
#define SIZE_COUNT (sizeof sizes / sizeof sizes[0])

static struct kvt_object object_of(struct kvt_key key,
                                   const struct kvt_slice *slices,
                                   size_t slice_count)
{
    return (struct kvt_object){
        .key = key, .slices = slices, .slice_count = slice_count};
}

/* Sizes and slices --------------------------------------------------------- */

static void every_size_comes_back_also_after_a_restart(void **state)
{
    struct store_fixture *fixture = *state;
    store_start(fixture);
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        assert_int_equal(put_named(fixture->store, "s", i, i, sizes[i]), 0);
    }
    for (int restarts = 0; restarts < 2; restarts++) {
        for (size_t i = 0; i < SIZE_COUNT; i++) {
            assert_int_equal(get_named(fixture->store, "s", i, i, sizes[i]),
                             KVT_OK);
        }
        store_restart(fixture);
    }
}

/* Cuts `size` bytes into `count` slices, some of them empty. */
static void cut(struct kvt_slice *slices, size_t count, unsigned char *bytes,
                size_t size, uint64_t seed)
{
    for (size_t i = 0; i < count; i++) {
        size_t part = i + 1 == count ? size : random_next(&seed) % (size + 1);
        if (i % 3 == 1) {
            part = 0;
        }
        if (i + 1 == count) {
            part = size;
        }
        slices[i] = (struct kvt_slice){part > 0 ? bytes : NULL, part, NULL};
        bytes += part;
        size -= part;
    }
}

static void an_object_may_be_cut_into_slices_anyhow(void **state)
{
    struct store_fixture *fixture = *state;
    static const size_t counts[] = {1, 2, 3, 7, 36, 256, 257, 1100};
    enum {
        SIZE = 300000
    };
    unsigned char *bytes = malloc(SIZE);
    struct kvt_slice *slices = calloc(1100, sizeof *slices);
    assert_non_null(bytes);
    assert_non_null(slices);
    store_start(fixture);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        size_t size = SIZE - i * 1000;
        value_fill(bytes, size, i);
        cut(slices, counts[i], bytes, size, i);
        struct named_key named;
        name_key(&named, "c", i);
        struct kvt_object object = object_of(named.key, slices, counts[i]);
        assert_int_equal(kvt_batch_offload(fixture->store, &object, 1, NULL),
                         1);
        assert_int_equal(object.size, size);
        assert_int_equal(get_value(fixture->store, named.key, i, size), 0);
        memset(bytes, 0, size);
        cut(slices, counts[i], bytes, size, i + 77);
        assert_int_equal(kvt_batch_load(fixture->store, &object, 1, NULL), 1);
        assert_int_equal(object.size, size);
        assert_true(value_is(bytes, size, i));
    }
    free(slices);
    free(bytes);
}

static void no_slices_at_all_is_an_empty_object(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_slice empty[3] = {{NULL, 0, NULL}, {NULL, 0, NULL}};
    struct kvt_object objects[2] = {object_of(key_of("none"), NULL, 0),
                                    object_of(key_of("empty"), empty, 3)};
    store_start(fixture);
    assert_int_equal(kvt_batch_offload(fixture->store, objects, 2, NULL), 2);
    store_restart(fixture);
    assert_int_equal(kvt_batch_load(fixture->store, objects, 2, NULL), 2);
    assert_int_equal(objects[0].size, 0);
    assert_int_equal(kvt_batch_exists(fixture->store, objects, 2, NULL), 2);
    assert_int_equal(stats_of(fixture->store).objects, 2);
}

/* Refusals ----------------------------------------------------------------- */

static void a_batch_that_makes_no_sense_is_refused_as_a_whole(void **state)
{
    struct store_fixture *fixture = *state;
    char byte = 'x';
    struct kvt_slice slice = {&byte, 1, NULL};
    struct kvt_object objects[3] = {object_of(key_of("a"), &slice, 1),
                                    object_of(key_of("b"), &slice, 1),
                                    object_of(key_of("a"), &slice, 1)};
    struct kvt_batch_options options = KVT_BATCH_OPTIONS_INIT;
    store_start(fixture);
    struct kvt_store *store = fixture->store;
    assert_int_equal(kvt_batch_offload(store, objects, 3, NULL),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_batch_offload(store, objects, 0, NULL),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_batch_offload(store, NULL, 1, NULL),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_batch_offload(NULL, objects, 1, NULL),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_batch_load(store, NULL, 1, NULL),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_batch_load(store, objects, 0, NULL),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_batch_exists(store, objects, 0, NULL),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_batch_remove(store, NULL, 0, NULL),
                     KVT_ERR_INVALID_PARAMS);
    options.flags = 1u << 31;
    assert_int_equal(kvt_batch_offload(store, objects, 1, &options),
                     KVT_ERR_INVALID_PARAMS);
    options = (struct kvt_batch_options){.size = 3};
    assert_int_equal(kvt_batch_offload(store, objects, 1, &options),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(stats_of(store).objects, 0);
    assert_false(has_key(store, key_of("a")));
    assert_false(has_key(store, key_of("b")));
}

static void one_faulty_object_spoils_no_other(void **state)
{
    struct store_fixture *fixture = *state;
    static char bytes[8192];
    static char too_long[KVT_KEY_SIZE_MAX + 1];
    struct kvt_slice good = {bytes, 100, NULL};
    struct kvt_slice other = {bytes + 200, 100, NULL};
    struct kvt_slice null_base[2] = {{bytes, 5, NULL}, {NULL, 1, NULL}};
    struct kvt_slice large = {bytes, 4097, NULL};
    struct kvt_slice wrapping[2] = {{bytes, SIZE_MAX, NULL}, {bytes, 2, NULL}};
    struct kvt_object objects[] = {
        object_of(key_of("first"), &good, 1),
        object_of((struct kvt_key){"", 0}, &good, 1),
        object_of((struct kvt_key){too_long, sizeof too_long}, &good, 1),
        object_of((struct kvt_key){NULL, 5}, &good, 1),
        object_of(key_of("null base"), null_base, 2),
        object_of(key_of("null slices"), NULL, 1),
        object_of(key_of("large"), &large, 1),
        object_of(key_of("wrapping"), wrapping, 2),
        object_of(key_of("last"), &other, 1),
    };
    static const int wanted[] = {
        KVT_OK,
        KVT_ERR_INVALID_KEY,
        KVT_ERR_INVALID_KEY,
        KVT_ERR_INVALID_KEY,
        KVT_ERR_INVALID_PARAMS,
        KVT_ERR_INVALID_PARAMS,
        KVT_ERR_INVALID_PARAMS,
        KVT_ERR_INVALID_PARAMS,
        KVT_OK,
    };
    enum {
        COUNT = sizeof objects / sizeof objects[0]
    };
    store_set(fixture, "object_size_max", "4096");
    store_start(fixture);
    assert_int_equal(kvt_batch_offload(fixture->store, objects, COUNT, NULL),
                     2);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(objects[i].status, wanted[i]);
    }
    assert_int_equal(stats_of(fixture->store).objects, 2);
    assert_int_equal(kvt_batch_load(fixture->store, objects, COUNT, NULL), 2);
    assert_int_equal(objects[0].status, KVT_OK);
    assert_int_equal(objects[1].status, KVT_ERR_INVALID_KEY);
    assert_int_equal(objects[COUNT - 1].status, KVT_OK);
    assert_int_equal(kvt_batch_remove(fixture->store, objects, COUNT, NULL), 2);
}

/* Sizes and counts of an object that failed already must not be believed. */
static void nonsense_numbers_of_one_object_spoil_no_other(void **state)
{
    struct store_fixture *fixture = *state;
    static char bytes[200];
    static char slash_key[KVT_KEY_SIZE_MAX];
    memset(slash_key, '/', sizeof slash_key);
    struct kvt_slice good = {bytes, 100, NULL};
    struct kvt_slice other = {bytes + 100, 100, NULL};
    struct kvt_object objects[] = {
        object_of((struct kvt_key){slash_key, sizeof slash_key}, &good, 1),
        object_of(key_of("count"), NULL, SIZE_MAX - 5),
        object_of((struct kvt_key){"key", SIZE_MAX - 200}, &good, 1),
        object_of(key_of("good"), &other, 1),
    };
    store_start(fixture);
    assert_int_equal(kvt_batch_offload(fixture->store, objects, 4, NULL), 2);
    assert_int_equal(kvt_batch_load(fixture->store, objects, 4, NULL), 2);
    assert_int_equal(objects[0].status, KVT_OK);
    assert_int_equal(objects[1].status, KVT_ERR_INVALID_PARAMS);
    assert_int_equal(objects[2].status, KVT_ERR_INVALID_KEY);
    assert_int_equal(objects[3].status, KVT_OK);
}

static void exists_and_remove_do_not_look_at_slices(void **state)
{
    struct store_fixture *fixture = *state;
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("a"), 1, 10), KVT_OK);
    struct kvt_object object = object_of(
        key_of("a"), (const struct kvt_slice *)(uintptr_t)8, SIZE_MAX / 32);
    assert_int_equal(kvt_batch_exists(fixture->store, &object, 1, NULL), 1);
    assert_int_equal(object.size, 10);
    assert_int_equal(kvt_batch_remove(fixture->store, &object, 1, NULL), 1);
}

/* Keys --------------------------------------------------------------------- */

static char long_key[KVT_KEY_SIZE_MAX];
static char slashes[100]; /* 300 bytes as a name */
static char all_bytes[256];

static const struct kvt_key odd_keys[] = {
    {"/", 1},
    {"%", 1},
    {"\0", 1},
    {"\0\0", 2},
    {".", 1},
    {"..", 2},
    {"...", 3},
    {"../..", 5},
    {"../../etc", 9},
    {"/etc/passwd", 11},
    {"m/57", 4},
    {"m_57", 4},
    {"m%2f57", 6},
    {"m%2F57", 6},
    {"%long-", 6},
    {"%long-0123456789abcdef0123456789abcdef", 38},
    {"a", 1},
    {"A", 1},
    {"a\0", 2},
    {"a ", 2},
    {" a", 2},
    {"a\n", 2},
    {"\xc3\xa4", 2},
    {"\xff", 1},
    {"~", 1},
    {".kvtier/store", 13},
    {".kvtier", 7},
    {"%00", 3},
    {"a:b@c\\d", 7},
    {long_key, sizeof long_key},
    {long_key, sizeof long_key - 1},
    {long_key, 255},
    {long_key, 256},
    {slashes, 85},
    {slashes, 86},
    {slashes, sizeof slashes},
    {all_bytes, sizeof all_bytes},
    {all_bytes, 128},
};
enum {
    ODD_COUNT = sizeof odd_keys / sizeof odd_keys[0]
};

static void keys_may_have_any_bytes(void **state)
{
    struct store_fixture *fixture = *state;
    memset(long_key, 'k', sizeof long_key);
    memset(slashes, '/', sizeof slashes);
    for (int i = 0; i < 256; i++) {
        all_bytes[i] = (char)i;
    }
    store_start(fixture);
    for (size_t i = 0; i < ODD_COUNT; i++) {
        assert_int_equal(put_value(fixture->store, odd_keys[i], i, 100 + i),
                         KVT_OK);
    }
    assert_int_equal(stats_of(fixture->store).objects, ODD_COUNT);
    for (int restarts = 0; restarts < 2; restarts++) {
        for (size_t i = 0; i < ODD_COUNT; i++) {
            assert_int_equal(get_value(fixture->store, odd_keys[i], i, 100 + i),
                             KVT_OK);
        }
        store_restart(fixture);
    }
    /* nothing left the store's directory */
    char outside[FILE_PATH_MAX];
    store_path(fixture, "..", outside);
    assert_int_equal(files_in(outside), 0);
    for (size_t i = 0; i < ODD_COUNT; i++) {
        assert_int_equal(remove_key(fixture->store, odd_keys[i]), KVT_OK);
        for (size_t k = i + 1; k < ODD_COUNT; k++) {
            assert_true(has_key(fixture->store, odd_keys[k]));
        }
    }
}

/* Load --------------------------------------------------------------------- */

/* Loads `size` stored bytes into `room`, and looks for writes beside it. */
static void load_into_room(struct kvt_store *store, size_t room, size_t size,
                           size_t slice_size)
{
    enum {
        EDGE = 8192
    };
    unsigned char *memory = malloc(room + 2 * EDGE);
    size_t count = room / slice_size + 1;
    struct kvt_slice *slices = calloc(count, sizeof *slices);
    assert_non_null(memory);
    assert_non_null(slices);
    memset(memory, CANARY, room + 2 * EDGE);
    size_t left = room;
    for (size_t i = 0; i < count; i++) {
        slices[i].size = left < slice_size ? left : slice_size;
        slices[i].base = memory + EDGE + (room - left);
        left -= slices[i].size;
    }
    struct kvt_object object = object_of(key_of("object"), slices, count);
    int rc = kvt_batch_load(store, &object, 1, NULL);
    assert_int_equal(object.size, size);
    if (room < size) {
        assert_int_equal(rc, 0);
        assert_int_equal(object.status, KVT_ERR_BUFFER_OVERFLOW);
    } else {
        assert_int_equal(rc, 1);
        assert_true(value_is(memory + EDGE, size, 9));
    }
    for (size_t i = 0; i < EDGE; i++) {
        assert_int_equal(memory[i], CANARY);
        assert_int_equal(memory[EDGE + room + i], CANARY);
    }
    free(slices);
    free(memory);
}

static void a_load_needs_room_and_writes_nowhere_else(void **state)
{
    struct store_fixture *fixture = *state;
    static const size_t stored[] = {0, 1, 4095, 4096, 4097, 70000};
    store_start(fixture);
    for (size_t i = 0; i < sizeof stored / sizeof stored[0]; i++) {
        size_t size = stored[i];
        assert_int_equal(put_value(fixture->store, key_of("object"), 9, size),
                         KVT_OK);
        for (int restarts = 0; restarts < 2; restarts++) {
            load_into_room(fixture->store, size, size, 100000);
            load_into_room(fixture->store, size, size, 4096);
            load_into_room(fixture->store, size, size, 1000);
            load_into_room(fixture->store, size + 1, size, 100000);
            load_into_room(fixture->store, size + 64, size, 100000);
            load_into_room(fixture->store, size + 5000, size, 512);
            if (size > 0) {
                load_into_room(fixture->store, size - 1, size, 100000);
                load_into_room(fixture->store, size / 2, size, 512);
                load_into_room(fixture->store, 0, size, 1);
            }
            store_restart(fixture);
        }
    }
    assert_int_equal(stats_of(fixture->store).checksum_misses, 0);
}

static void missing_and_repeated_keys_have_results_of_their_own(void **state)
{
    struct store_fixture *fixture = *state;
    static unsigned char bytes[6][300];
    static const char *const names[] = {"a", "gone", "b", "a", "b", "never"};
    struct kvt_slice slices[6];
    struct kvt_object objects[6];
    struct kvt_batch_options options = KVT_BATCH_OPTIONS_INIT;
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("a"), 1, 300), KVT_OK);
    assert_int_equal(put_value(fixture->store, key_of("b"), 2, 200), KVT_OK);
    for (int i = 0; i < 6; i++) {
        slices[i] = (struct kvt_slice){bytes[i], 300, NULL};
        objects[i] = object_of(key_of(names[i]), &slices[i], 1);
    }
    assert_int_equal(kvt_batch_load(fixture->store, objects, 6, &options), 4);
    assert_int_equal(options.prefix_count, 1);
    assert_int_equal(objects[1].status, KVT_ERR_OBJECT_NOT_FOUND);
    assert_int_equal(objects[5].status, KVT_ERR_OBJECT_NOT_FOUND);
    assert_int_equal(objects[2].size, 200);
    assert_true(value_is(bytes[0], 300, 1) && value_is(bytes[3], 300, 1));
    assert_true(value_is(bytes[2], 200, 2) && value_is(bytes[4], 200, 2));
    assert_int_equal(kvt_batch_exists(fixture->store, objects, 6, &options), 4);
    assert_int_equal(options.prefix_count, 1);
    assert_int_equal(objects[0].size, 300);
    assert_int_equal(objects[1].status, KVT_ERR_OBJECT_NOT_FOUND);
    /* the second removal of a key finds nothing */
    assert_int_equal(kvt_batch_remove(fixture->store, objects, 6, &options), 2);
    assert_int_equal(stats_of(fixture->store).objects, 0);
}

static void the_prefix_ends_at_the_first_object_that_is_not_there(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        COUNT = 100
    };
    struct named_key names[COUNT];
    struct kvt_object objects[COUNT];
    struct kvt_batch_options options = KVT_BATCH_OPTIONS_INIT;
    static const size_t holes[] = {COUNT, 99, 50, 1, 0};
    store_start(fixture);
    for (size_t i = 0; i < COUNT; i++) {
        name_key(&names[i], "p", i);
        objects[i] = object_of(names[i].key, NULL, 0);
    }
    assert_int_equal(
        kvt_batch_offload(fixture->store, objects, COUNT, &options), COUNT);
    for (size_t i = 0; i < sizeof holes / sizeof holes[0]; i++) {
        if (holes[i] < COUNT) {
            assert_int_equal(remove_key(fixture->store, names[holes[i]].key),
                             KVT_OK);
        }
        kvt_batch_exists(fixture->store, objects, COUNT, &options);
        assert_int_equal(options.prefix_count, holes[i]);
        kvt_batch_load(fixture->store, objects, COUNT, &options);
        assert_int_equal(options.prefix_count, holes[i]);
    }
}

static void a_batch_may_be_longer_than_any_queue_is_deep(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        COUNT = 10000,
        SIZE = 16
    };
    struct named_key *names = calloc(COUNT, sizeof *names);
    struct kvt_object *objects = calloc(COUNT, sizeof *objects);
    struct kvt_slice *slices = calloc(COUNT, sizeof *slices);
    unsigned char *bytes = calloc(COUNT, SIZE);
    struct kvt_batch_options options = KVT_BATCH_OPTIONS_INIT;
    assert_true(names && objects && slices && bytes);
    store_start(fixture);
    for (size_t i = 0; i < COUNT; i++) {
        name_key(&names[i], "many", i);
        slices[i] = (struct kvt_slice){bytes + i * SIZE, SIZE, NULL};
        value_fill(slices[i].base, SIZE, i);
        objects[i] = object_of(names[i].key, &slices[i], 1);
    }
    assert_int_equal(
        kvt_batch_offload(fixture->store, objects, COUNT, &options), COUNT);
    assert_int_equal(options.prefix_count, COUNT);
    memset(bytes, 0, (size_t)COUNT * SIZE);
    assert_int_equal(kvt_batch_load(fixture->store, objects, COUNT, &options),
                     COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(objects[i].size, SIZE);
        assert_true(value_is(slices[i].base, SIZE, i));
    }
    assert_int_equal(kvt_batch_exists(fixture->store, objects, COUNT, &options),
                     COUNT);
    assert_int_equal(kvt_batch_remove(fixture->store, objects, COUNT, &options),
                     COUNT);
    assert_int_equal(stats_of(fixture->store).allocated_bytes, 0);
    free(bytes);
    free(slices);
    free(objects);
    free(names);
}

/* Keys that exist ---------------------------------------------------------- */

static void an_object_is_replaced(void **state)
{
    struct store_fixture *fixture = *state;
    static const size_t steps[] = {100, 100, 5000, 0, 70000, 1};
    store_start(fixture);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        assert_int_equal(
            put_value(fixture->store, key_of("k"), i + 1, steps[i]), KVT_OK);
        assert_int_equal(
            get_value(fixture->store, key_of("k"), i + 1, steps[i]), KVT_OK);
        struct kvt_stats stats = stats_of(fixture->store);
        assert_int_equal(stats.objects, 1);
        assert_int_equal(stats.object_bytes, steps[i]);
    }
    store_restart(fixture);
    assert_int_equal(get_value(fixture->store, key_of("k"), 6, 1), KVT_OK);
    assert_int_equal(stats_of(fixture->store).objects, 1);
}

static void if_absent_leaves_what_exists(void **state)
{
    struct store_fixture *fixture = *state;
    unsigned char bytes[50];
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    struct kvt_object objects[2] = {object_of(key_of("old"), &slice, 1),
                                    object_of(key_of("new"), &slice, 1)};
    struct kvt_batch_options options = KVT_BATCH_OPTIONS_INIT;
    options.flags = KVT_IF_ABSENT;
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("old"), 1, 60), KVT_OK);
    for (int restarts = 0; restarts < 2; restarts++) {
        value_fill(bytes, sizeof bytes, 2);
        assert_int_equal(
            kvt_batch_offload(fixture->store, objects, 2, &options), 1);
        assert_int_equal(objects[0].status, KVT_ERR_OBJECT_ALREADY_EXISTS);
        assert_int_equal(get_value(fixture->store, key_of("old"), 1, 60), 0);
        assert_int_equal(get_value(fixture->store, key_of("new"), 2, 50), 0);
        assert_int_equal(remove_key(fixture->store, key_of("new")), KVT_OK);
        store_restart(fixture);
    }
    /* the same bytes exist, too */
    value_fill(bytes, sizeof bytes, 1);
    slice.size = 50;
    assert_int_equal(put_value(fixture->store, key_of("new"), 1, 50), KVT_OK);
    assert_int_equal(
        kvt_batch_offload(fixture->store, &objects[1], 1, &options), 0);
    assert_int_equal(objects[1].status, KVT_ERR_OBJECT_ALREADY_EXISTS);
}

static void the_same_bytes_again_cost_no_io(void **state)
{
    struct store_fixture *fixture = *state;
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, 9000), KVT_OK);
    struct kvt_stats before = stats_of(fixture->store);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(put_value(fixture->store, key_of("k"), 1, 9000), 0);
    }
    struct kvt_stats after = stats_of(fixture->store);
    assert_int_equal(after.adapter.transfers, before.adapter.transfers);
    assert_int_equal(after.adapter.submissions, before.adapter.submissions);
    assert_int_equal(put_value(fixture->store, key_of("k"), 2, 9000), KVT_OK);
    after = stats_of(fixture->store);
    assert_true(after.adapter.transfers > before.adapter.transfers);
    assert_int_equal(get_value(fixture->store, key_of("k"), 2, 9000), KVT_OK);
}

static void the_same_bytes_after_a_restart_are_not_written_again(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, 90000), KVT_OK);
    store_restart(fixture);
    store_path(fixture, ".", path);
    uint64_t before = tree_digest(path);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, 90000), KVT_OK);
    assert_int_equal(tree_digest(path), before);
    /* the same size, other bytes */
    store_restart(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 2, 90000), KVT_OK);
    assert_int_equal(get_value(fixture->store, key_of("k"), 2, 90000), KVT_OK);
    store_restart(fixture);
    assert_int_equal(get_value(fixture->store, key_of("k"), 2, 90000), KVT_OK);
}

/* Remove ------------------------------------------------------------------- */

static void what_was_removed_stays_removed(void **state)
{
    struct store_fixture *fixture = *state;
    store_start(fixture);
    for (uint64_t i = 0; i < 20; i++) {
        assert_int_equal(put_named(fixture->store, "r", i, i, 500), KVT_OK);
    }
    for (uint64_t i = 0; i < 20; i += 2) {
        assert_int_equal(remove_named(fixture->store, "r", i), KVT_OK);
        assert_int_equal(remove_named(fixture->store, "r", i),
                         KVT_ERR_OBJECT_NOT_FOUND);
    }
    for (int restarts = 0; restarts < 2; restarts++) {
        for (uint64_t i = 0; i < 20; i++) {
            assert_int_equal(get_named(fixture->store, "r", i, i, 500),
                             i % 2 == 0 ? KVT_ERR_OBJECT_NOT_FOUND : KVT_OK);
        }
        store_restart(fixture);
    }
    assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
    struct kvt_stats stats = stats_of(fixture->store);
    assert_int_equal(stats.objects, 0);
    assert_int_equal(stats.allocated_bytes, 0);
    store_restart(fixture);
    assert_int_equal(stats_of(fixture->store).objects, 0);
    assert_false(has_named(fixture->store, "r", 1));
    assert_int_equal(put_named(fixture->store, "r", 1, 5, 50), KVT_OK);
    assert_int_equal(get_named(fixture->store, "r", 1, 5, 50), KVT_OK);
    assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
    assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
}

static void remove_all_takes_more_than_one_round(void **state)
{
    struct store_fixture *fixture = *state;
    store_start(fixture);
    for (uint64_t i = 0; i < 700; i++) {
        assert_int_equal(put_named(fixture->store, "r", i, i, 1), KVT_OK);
    }
    assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
    assert_int_equal(stats_of(fixture->store).objects, 0);
    assert_false(has_named(fixture->store, "r", 699));
}

static void a_durable_store_keeps_the_same_promises(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "durability", "batch");
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("a"), 1, 5000), KVT_OK);
    assert_int_equal(put_value(fixture->store, key_of("a"), 2, 5000), KVT_OK);
    assert_int_equal(put_value(fixture->store, key_of("b"), 3, 50), KVT_OK);
    assert_int_equal(remove_key(fixture->store, key_of("b")), KVT_OK);
    assert_int_equal(remove_key(fixture->store, key_of("b")),
                     KVT_ERR_OBJECT_NOT_FOUND);
    assert_string_equal(stats_of(fixture->store).effective.durability, "batch");
    store_restart(fixture);
    assert_int_equal(get_value(fixture->store, key_of("a"), 2, 5000), KVT_OK);
    assert_false(has_key(fixture->store, key_of("b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(every_size_comes_back_also_after_a_restart),
        store_test(an_object_may_be_cut_into_slices_anyhow),
        store_test(no_slices_at_all_is_an_empty_object),
        store_test(a_batch_that_makes_no_sense_is_refused_as_a_whole),
        store_test(one_faulty_object_spoils_no_other),
        store_test(nonsense_numbers_of_one_object_spoil_no_other),
        store_test(exists_and_remove_do_not_look_at_slices),
        store_test(keys_may_have_any_bytes),
        store_test(a_load_needs_room_and_writes_nowhere_else),
        store_test(missing_and_repeated_keys_have_results_of_their_own),
        store_test(the_prefix_ends_at_the_first_object_that_is_not_there),
        store_test(a_batch_may_be_longer_than_any_queue_is_deep),
        store_test(an_object_is_replaced),
        store_test(if_absent_leaves_what_exists),
        store_test(the_same_bytes_after_a_restart_are_not_written_again),
        store_test(what_was_removed_stays_removed),
        store_test(remove_all_takes_more_than_one_round),
        store_test(a_durable_store_keeps_the_same_promises),
    };
    const struct CMUnitTest owned[] = {
        store_test(the_same_bytes_again_cost_no_io),
    };
    int failed = store_owned_rows_run("batches of an owner", owned,
                                      sizeof owned / sizeof owned[0]);
    failed |= store_rows_run("batches", tests, sizeof tests / sizeof tests[0]);
    failed |=
        store_fact_rows_run("batches", tests, sizeof tests / sizeof tests[0]);
    return failed != 0;
}
