/* scan_meta over many objects: memory does not grow with what is listed, and
 * a scan during writes never fails and never tells of half an object.
 * KVT_TEST_SCALE=10 is a million of them. */
#include "support/store_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    OBJECTS = 100000,
    BATCH = 1000,
    SIZE = 24,
};

static const struct store_row row = {"distributed", "mem", false, false, NULL};

static size_t resident_bytes(void)
{
    unsigned long total = 0;
    unsigned long resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &total, &resident), 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static void put_many(struct kvt_store *store, uint64_t count)
{
    static struct named_key names[BATCH];
    static struct kvt_object objects[BATCH];
    static unsigned char bytes[SIZE];
    struct kvt_slice slice = {bytes, SIZE, NULL};
    for (uint64_t at = 0; at < count; at += BATCH) {
        for (size_t i = 0; i < BATCH; i++) {
            name_key(&names[i], "object/", at + i);
            objects[i] = (struct kvt_object){
                .key = names[i].key, .slices = &slice, .slice_count = 1};
        }
        assert_int_equal(kvt_batch_offload(store, objects, BATCH, NULL), BATCH);
    }
}

struct watch {
    uint64_t count;
    uint64_t seen;
    size_t first_half;
    size_t last_half;
};

static int watch_memory(const struct kvt_meta *metas, size_t count, void *arg)
{
    struct watch *watch = arg;
    size_t now = resident_bytes();
    size_t *half =
        watch->seen < watch->count / 2 ? &watch->first_half : &watch->last_half;
    *half = now > *half ? now : *half;
    for (size_t i = 0; i < count; i++) {
        watch->seen += metas[i].size == SIZE;
    }
    return 0;
}

/* What a scan of any size may take. A sanitizer keeps what was freed: 256 MiB
 * at most. */
#ifdef __SANITIZE_ADDRESS__
#define SCAN_BYTES ((16u + 256u) << 20)
#else
#define SCAN_BYTES (16u << 20)
#endif

static void memory_stays_flat(void **state)
{
    struct store_fixture *fixture = *state;
    struct watch watch = {.count = (uint64_t)OBJECTS * test_scale()};
    watch.count = watch.count > 1000000 ? 1000000 : watch.count;
    store_set_number(fixture, "scan_meta_keys_limit", 2000);
    store_start(fixture);
    put_many(fixture->store, watch.count);
    size_t before = resident_bytes();
    assert_int_equal(kvt_scan_meta(fixture->store, watch_memory, &watch, NULL),
                     KVT_OK);
    assert_int_equal(watch.seen, watch.count);
    print_message("%llu objects: %zu KiB before, %zu in the first half, %zu "
                  "in the last\n",
                  (unsigned long long)watch.count, before >> 10,
                  watch.first_half >> 10, watch.last_half >> 10);
    assert_true((double)watch.last_half <= 1.05 * (double)watch.first_half);
    assert_true(watch.first_half <= before + SCAN_BYTES);
}

struct beside {
    struct kvt_store *store;
    int stop;
};

static void *replace_some(void *arg)
{
    struct beside *beside = arg;
    uint64_t random = 1;
    while (!__atomic_load_n(&beside->stop, __ATOMIC_RELAXED)) {
        struct named_key named;
        unsigned char bytes[SIZE] = {0};
        struct kvt_slice slice = {bytes, SIZE, NULL};
        name_key(&named, "object/", random_next(&random) % 2000);
        struct kvt_object object = {
            .key = named.key, .slices = &slice, .slice_count = 1};
        if (random_next(&random) % 4 == 0) {
            kvt_batch_remove(beside->store, &object, 1, NULL);
        } else {
            kvt_batch_offload(beside->store, &object, 1, NULL);
        }
    }
    return NULL;
}

static int check_whole(const struct kvt_meta *metas, size_t count, void *arg)
{
    for (size_t i = 0; i < count; i++) {
        bool ours = metas[i].key.size > 7 &&
                    memcmp(metas[i].key.data, "object/", 7) == 0;
        *(size_t *)arg += !ours || metas[i].size != SIZE;
    }
    return 0;
}

static void a_scan_beside_writers_tells_of_whole_objects(void **state)
{
    struct store_fixture *fixture = *state;
    struct beside beside = {0};
    pthread_t threads[2];
    size_t wrong = 0;
    store_start(fixture);
    put_many(fixture->store, 2000);
    beside.store = fixture->store;
    for (size_t i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, replace_some, &beside);
    }
    for (unsigned i = 0; i < 50 * test_scale(); i++) {
        assert_int_equal(
            kvt_scan_meta(fixture->store, check_whole, &wrong, NULL), KVT_OK);
    }
    __atomic_store_n(&beside.stop, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(memory_stays_flat),
        store_test(a_scan_beside_writers_tells_of_whole_objects),
    };
    return store_row_run(&row, "large scans", tests, 2) != 0;
}
