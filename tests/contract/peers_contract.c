/* What storage tiers of the kind were seen to get wrong, a case each: this one
 * does not. Behaviours of files of many objects; the others are those of every
 * layout, in the other contracts. */
#define _XOPEN_SOURCE 700
#include "support/bucket_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SIZE = 5000,
};

static struct bucket_files files;

/* An object of slices of equal sizes, in memory of its own. */
struct built {
    struct kvt_object object;
    struct kvt_slice *slices;
    unsigned char *bytes;
};

static void build(struct built *built, struct kvt_key key, size_t slices,
                  size_t slice_size, uint64_t seed)
{
    built->bytes = malloc(slices * slice_size + 1);
    built->slices = calloc(slices, sizeof built->slices[0]);
    assert_true(built->bytes != NULL && built->slices != NULL);
    value_fill(built->bytes, slices * slice_size, seed);
    for (size_t i = 0; i < slices; i++) {
        built->slices[i] =
            (struct kvt_slice){built->bytes + i * slice_size, slice_size, NULL};
    }
    built->object = (struct kvt_object){
        .key = key, .slices = built->slices, .slice_count = (uint32_t)slices};
}

static void drop(struct built *built)
{
    free(built->slices);
    free(built->bytes);
}

static void drop_checkpoint(const struct store_fixture *fixture)
{
    char path[FILE_PATH_MAX];
    store_path(fixture, ".kvtier/index", path);
    remove(path);
}

static unsigned char *read_first(const struct store_fixture *fixture,
                                 char path[FILE_PATH_MAX], size_t *size)
{
    bucket_files_find(fixture, &files);
    assert_true(files.count > 0);
    store_path(fixture, files.names[0], path);
    return file_read(path, size);
}

static int count_all(const struct kvt_meta *metas, size_t count, void *arg)
{
    (void)metas;
    *(size_t *)arg += count;
    return 0;
}

static size_t scanned(struct kvt_store *store)
{
    struct kvt_error err;
    size_t count = 0;
    assert_int_equal(kvt_scan_meta(store, count_all, &count, &err), KVT_OK);
    return count;
}

static void keys_that_look_alike_as_names_are_two_objects(void **state)
{
    static const char *const keys[] = {"m/57", "m_57",  "m\\57", "m:57", "m%57",
                                       "M/57", "m//57", "m/57/", "m.57"};
    struct store_fixture *fixture = *state;
    size_t count = sizeof keys / sizeof keys[0];
    store_start(fixture);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(
            put_value(fixture->store, key_of(keys[i]), i, SIZE + i), KVT_OK);
    }
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(
                get_value(fixture->store, key_of(keys[i]), i, SIZE + i),
                KVT_OK);
        }
        assert_int_equal(stats_of(fixture->store).objects, count);
        store_restart(fixture);
    }
}

static void bytes_that_changed_on_disk_are_never_data(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    for (int zeroed = 0; zeroed < 2; zeroed++) {
        for (int restarted = 0; restarted < 2; restarted++) {
            store_start(fixture);
            assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
            store_restart(fixture);
            assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE),
                             KVT_OK);
            bucket_settle(fixture->store);
            if (restarted == 1) {
                store_stop(fixture);
            }
            unsigned char *bytes = read_first(fixture, path, &size);
            unsigned char *value = bytes + 2 * KVT_BUCKET_BLOCK;
            assert_true(value_is(value, SIZE, 1));
            if (zeroed == 1) {
                memset(value, 0, SIZE);
            } else {
                value[SIZE / 2] ^= 0xff;
            }
            file_write(path, bytes, size);
            free(bytes);
            if (restarted == 1) {
                store_start(fixture);
            }
            assert_int_equal(get_value(fixture->store, key_of("k"), 1, SIZE),
                             KVT_ERR_CHECKSUM_MISMATCH);
            assert_int_equal(stats_of(fixture->store).checksum_misses, 1);
            store_stop(fixture);
        }
    }
}

static void a_cut_or_garbage_file_fails_neither_opening_nor_scan(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("a"), 1, SIZE), KVT_OK);
    bucket_settle(fixture->store);
    assert_int_equal(put_value(fixture->store, key_of("b"), 2, SIZE), KVT_OK);
    store_stop(fixture);
    unsigned char *bytes = read_first(fixture, path, &size);
    for (size_t cut = 0; cut <= size; cut += 999) {
        drop_checkpoint(fixture);
        file_write(path, bytes, cut);
        store_start(fixture);
        assert_true(scanned(fixture->store) >= 1);
        assert_int_equal(get_value(fixture->store, key_of("b"), 2, SIZE),
                         KVT_OK);
        store_stop(fixture);
        make_directory(fixture->path);
        *strrchr(path, '/') = '\0';
        make_directory(path);
        store_path(fixture, files.names[0], path);
    }
    drop_checkpoint(fixture);
    value_fill(bytes, size, 77);
    file_write(path, bytes, size);
    free(bytes);
    store_start(fixture);
    assert_int_equal(scanned(fixture->store), 1);
}

static void what_a_crash_emptied_does_not_exist(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    store_stop(fixture);
    free(read_first(fixture, path, &size));
    file_write(path, "", 0);
    drop_checkpoint(fixture);
    store_start(fixture);
    assert_false(has_key(fixture->store, key_of("k")));
    assert_int_equal(stats_of(fixture->store).objects, 0);
}

/* `keys` objects of `slices` slices, in one batch. */
static void store_batch(struct store_fixture *fixture, size_t keys,
                        size_t slices, size_t slice_size)
{
    struct built *built = calloc(keys, sizeof built[0]);
    struct named_key *names = calloc(keys, sizeof names[0]);
    struct kvt_object *objects = calloc(keys, sizeof objects[0]);
    for (size_t i = 0; i < keys; i++) {
        name_key(&names[i], "batch", i);
        build(&built[i], names[i].key, slices, slice_size, i);
        objects[i] = built[i].object;
    }
    assert_int_equal(kvt_batch_offload(fixture->store, objects, keys, NULL),
                     keys);
    for (size_t i = 0; i < keys; i++) {
        memset(built[i].bytes, 0, slices * slice_size);
    }
    assert_int_equal(kvt_batch_load(fixture->store, objects, keys, NULL), keys);
    for (size_t i = 0; i < keys; i++) {
        assert_true(value_is(built[i].bytes, slices * slice_size, i));
        drop(&built[i]);
    }
    free(built);
    free(names);
    free(objects);
}

static void batches_have_no_limit_of_keys_or_slices(void **state)
{
    struct store_fixture *fixture = *state;
    store_start(fixture);
    store_batch(fixture, 513, 1, 100);
    store_batch(fixture, 32, 36, 100);
    store_batch(fixture, 1, 1100, 17);
    store_batch(fixture, 3, 1025, 4096);
    store_restart(fixture);
    assert_int_equal(get_named(fixture->store, "batch", 0, 0, 1025 * 4096),
                     KVT_OK);
}

static void every_key_is_stored_or_refused_aloud(void **state)
{
    static char text[KVT_KEY_SIZE_MAX + 1];
    static const size_t sizes[] = {1, 84, 86, 255, 256, 1000, KVT_KEY_SIZE_MAX};
    struct store_fixture *fixture = *state;
    memset(text, '/', sizeof text);
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("."), 1, SIZE), KVT_OK);
    assert_int_equal(put_value(fixture->store, key_of(".."), 2, SIZE), KVT_OK);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct kvt_key key = {text, sizes[i]};
        assert_int_equal(put_value(fixture->store, key, i, SIZE), KVT_OK);
    }
    struct kvt_key large = {text, sizeof text};
    assert_int_equal(put_value(fixture->store, large, 1, SIZE),
                     KVT_ERR_INVALID_KEY);
    store_restart(fixture);
    assert_int_equal(get_value(fixture->store, key_of("."), 1, SIZE), KVT_OK);
    assert_int_equal(get_value(fixture->store, key_of(".."), 2, SIZE), KVT_OK);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct kvt_key key = {text, sizes[i]};
        assert_int_equal(get_value(fixture->store, key, i, SIZE), KVT_OK);
    }
}

static void a_bucket_of_more_keys_than_a_scan_gives_is_scanned(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "scan_meta_keys_limit", "7");
    store_start(fixture);
    store_batch(fixture, 100, 1, 50);
    assert_int_equal(stats_of(fixture->store).buckets, 1);
    assert_int_equal(scanned(fixture->store), 100);
    store_restart(fixture);
    assert_int_equal(scanned(fixture->store), 100);
}

static void a_load_stays_inside_the_slice_wherever_it_lies(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        GUARD = 4200
    };
    static unsigned char room[GUARD + 3 * 4096 + GUARD];
    store_start(fixture);
    for (size_t size = 4095; size <= 8193; size += 2049) {
        assert_int_equal(put_value(fixture->store, key_of("k"), size, size),
                         KVT_OK);
        for (size_t shift = 0; shift < 3; shift++) {
            memset(room, 0xa5, sizeof room);
            struct kvt_slice slice = {room + GUARD + shift, size, NULL};
            struct kvt_object object = {
                .key = key_of("k"), .slices = &slice, .slice_count = 1};
            assert_int_equal(kvt_batch_load(fixture->store, &object, 1, NULL),
                             1);
            assert_ptr_equal(slice.base, room + GUARD + shift);
            assert_int_equal(slice.size, size);
            assert_true(value_is(room + GUARD + shift, size, size));
            for (size_t i = 0; i < GUARD + shift; i++) {
                assert_int_equal(room[i], 0xa5);
            }
            for (size_t i = GUARD + shift + size; i < sizeof room; i++) {
                assert_int_equal(room[i], 0xa5);
            }
        }
    }
}

static bool put_hundred(struct kvt_store *store)
{
    bool good = true;
    for (uint64_t i = 0; i < 100; i++) {
        good = good && put_named(store, "k", i, i, SIZE) == KVT_OK;
    }
    return good;
}

static void expect_hundred(struct store_fixture *fixture)
{
    store_start(fixture);
    assert_int_equal(stats_of(fixture->store).objects, 100);
    for (uint64_t i = 0; i < 100; i++) {
        assert_int_equal(get_named(fixture->store, "k", i, i, SIZE), KVT_OK);
    }
    store_stop(fixture);
}

static void a_restart_a_kill_or_another_limit_keeps_everything(void **state)
{
    struct store_fixture *fixture = *state;
    bucket_die_after(fixture, put_hundred);
    expect_hundred(fixture);
    expect_hundred(fixture);
    store_set(fixture, "total_size_limit", "1GiB");
    expect_hundred(fixture);
    store_set(fixture, "total_size_limit", "512MiB");
    expect_hundred(fixture);
    store_start(fixture);
    assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
    assert_int_equal(put_value(fixture->store, key_of("late"), 1, SIZE),
                     KVT_OK);
    store_restart(fixture);
    assert_int_equal(stats_of(fixture->store).objects, 1);
    assert_int_equal(get_value(fixture->store, key_of("late"), 1, SIZE),
                     KVT_OK);
}

static void values_fill_what_they_are_given(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        LIMIT = 32 << 20
    };
    store_set_number(fixture, "total_size_limit", LIMIT);
    store_set(fixture, "eviction", "none");
    for (size_t size = 4096; size <= 1 << 20; size <<= 8) {
        uint64_t stored = 0;
        size_t count = size == 4096 ? 32 : 1;
        static unsigned char bytes[1 << 20];
        store_start(fixture);
        value_fill(bytes, sizeof bytes, size);
        for (uint64_t next = 0;; next += count) {
            struct named_key names[32];
            struct kvt_object objects[32];
            struct kvt_slice slice = {bytes, size, NULL};
            for (size_t i = 0; i < count; i++) {
                name_key(&names[i], "k", next + i);
                objects[i] = (struct kvt_object){
                    .key = names[i].key, .slices = &slice, .slice_count = 1};
            }
            if (kvt_batch_offload(fixture->store, objects, count, NULL) !=
                (int)count) {
                break;
            }
            stored += count * size;
        }
        print_message("%zu-byte values fill %.1f %%\n", size,
                      100.0 * (double)stored / LIMIT);
        assert_true(stored >= LIMIT / 100 * 90);
        assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
        store_stop(fixture);
    }
}

static void a_durable_batch_costs_the_same_however_full_the_store(void **state)
{
    struct store_fixture *fixture = *state;
    uint64_t cost[2];
    store_set(fixture, "durability", "batch");
    store_start(fixture);
    for (uint64_t round = 0; round < 2; round++) {
        uint64_t before;
        assert_int_equal(put_named(fixture->store, "n", round, 1, 100), KVT_OK);
        before = stats_of(fixture->store).allocated_bytes;
        assert_int_equal(put_named(fixture->store, "m", round, 1, 100), KVT_OK);
        cost[round] = stats_of(fixture->store).allocated_bytes - before;
        if (round == 0) {
            store_batch(fixture, 3000, 1, 10);
        }
    }
    assert_true(cost[1] <= cost[0]);
}

/* Bytes that this process has read by calls so far. */
static uint64_t bytes_read(void)
{
    unsigned long long bytes = 0;
    FILE *file = fopen("/proc/self/io", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "rchar: %llu", &bytes), 1);
    fclose(file);
    return bytes;
}

static void no_value_is_read_at_a_restart(void **state)
{
    struct store_fixture *fixture = *state;
    for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
        store_start(fixture);
        store_batch(fixture, 64, 1, 256 << 10);
        store_stop(fixture);
        if (checkpoint == 0) {
            drop_checkpoint(fixture);
        }
        uint64_t before = bytes_read();
        store_start(fixture);
        uint64_t read = bytes_read() - before;
        assert_int_equal(stats_of(fixture->store).objects, 64);
        assert_true(read < 1 << 20);
        store_stop(fixture);
    }
}

static void what_is_promised_durable_is_synced_and_replaced(void **state)
{
    struct store_fixture *fixture = *state;
    char fs[32];
    store_set(fixture, "durability", "batch");
    store_start(fixture);
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(put_value(fixture->store, key_of("k"), i, SIZE),
                         KVT_OK);
        assert_int_equal(get_value(fixture->store, key_of("k"), i, SIZE),
                         KVT_OK);
    }
    bucket_files_find(fixture, &files);
    assert_true(files.count <= 2);
    store_stop(fixture);
    snprintf(fs, sizeof fs, "fault:%s", fixture->row->fs);
    store_set(fixture, "fs", fs);
    store_set(fixture, "fault.rules", "sync@*.kvb,do=EIO");
    store_start(fixture);
    assert_true(put_value(fixture->store, key_of("k"), 11, SIZE) < 0);
    assert_int_equal(get_value(fixture->store, key_of("k"), 9, SIZE), KVT_OK);
}

static void a_batch_of_loads_is_one_submission(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        COUNT = 32
    };
    struct built built[COUNT];
    struct named_key names[COUNT];
    struct kvt_object objects[COUNT];
    store_set(fixture, "bucket.keys_limit", "8"); /* of four buckets */
    store_start(fixture);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(put_named(fixture->store, "k", i, i, SIZE), KVT_OK);
        name_key(&names[i], "k", i);
        build(&built[i], names[i].key, 1, SIZE, 0);
        objects[i] = built[i].object;
    }
    store_restart(fixture);
    /* once, so that the files are open */
    assert_int_equal(kvt_batch_load(fixture->store, objects, COUNT, NULL),
                     COUNT);
    uint64_t before = stats_of(fixture->store).adapter.submissions;
    assert_int_equal(kvt_batch_load(fixture->store, objects, COUNT, NULL),
                     COUNT);
    assert_int_equal(stats_of(fixture->store).adapter.submissions - before, 1);
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(value_is(built[i].bytes, SIZE, i));
        drop(&built[i]);
    }
}

static void no_handler_is_needed(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_handlers none = KVT_HANDLERS_INIT;
    struct kvt_error err;
    const struct kvt_handlers *given[] = {NULL, &none};
    store_set(fixture, "total_size_limit", "1MiB");
    for (size_t i = 0; i < 2; i++) {
        struct kvt_store *store = NULL;
        assert_int_equal(
            kvt_store_open(fixture->config, given[i], &store, &err), KVT_OK);
        for (uint64_t key = 0; key < 300; key++) { /* evicts, too */
            assert_int_equal(put_named(store, "k", key, key + i, SIZE), KVT_OK);
        }
        assert_true(stats_of(store).evicted_objects > 0);
        assert_true(scanned(store) > 0);
        kvt_store_close(store);
    }
}

static void every_call_takes_keys(void **state)
{
    struct store_fixture *fixture = *state;
    store_start(fixture);
    assert_false(has_key(fixture->store, key_of("k")));
    assert_int_equal(get_value(fixture->store, key_of("k"), 1, SIZE),
                     KVT_ERR_OBJECT_NOT_FOUND);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    assert_true(has_key(fixture->store, key_of("k")));
    assert_int_equal(get_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    assert_int_equal(remove_key(fixture->store, key_of("k")), KVT_OK);
    assert_false(has_key(fixture->store, key_of("k")));
}

#define RUN(run, name, tests) run(name, tests, sizeof tests / sizeof tests[0])

int main(void)
{
    const struct CMUnitTest all[] = {
        store_test_fast(keys_that_look_alike_as_names_are_two_objects),
        store_test_fast(batches_have_no_limit_of_keys_or_slices),
        store_test_fast(every_key_is_stored_or_refused_aloud),
        store_test_fast(a_bucket_of_more_keys_than_a_scan_gives_is_scanned),
        store_test_fast(a_load_stays_inside_the_slice_wherever_it_lies),
        store_test_fast(values_fill_what_they_are_given),
        store_test_fast(a_durable_batch_costs_the_same_however_full_the_store),
        store_test_fast(a_batch_of_loads_is_one_submission),
        store_test_fast(no_handler_is_needed),
        store_test_fast(every_call_takes_keys),
    };
    const struct CMUnitTest disk[] = {
        store_test_fast(bytes_that_changed_on_disk_are_never_data),
        store_test_fast(a_cut_or_garbage_file_fails_neither_opening_nor_scan),
        store_test_fast(what_a_crash_emptied_does_not_exist),
        store_test_fast(a_restart_a_kill_or_another_limit_keeps_everything),
        store_test_fast(no_value_is_read_at_a_restart),
        store_test_fast(what_is_promised_durable_is_synced_and_replaced),
    };
    int failed = RUN(store_log_rows_run, "batches as others have them", all);
    failed |= RUN(store_log_disk_rows_run, "damage as others have it", disk);
    return failed != 0;
}
