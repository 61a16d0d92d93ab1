/* Readers of the index beside a writer: whole entries while it grows. */
#include "index/place_index.h"
#include "support/store_fixture.h"

#include <pthread.h>

static uint64_t hash_of(uint64_t number)
{
    uint64_t state = number * UINT64_C(0x9e3779b97f4a7c15) + 1;
    return random_next(&state) ^ random_next(&state) << 1;
}

static struct kvt_index_entry entry_of(uint64_t number)
{
    return (struct kvt_index_entry){
        .place = number & ((UINT64_C(1) << KVT_INDEX_PLACE_BITS) - 1),
        .length = (uint32_t)(number * 7) & KVT_INDEX_LENGTH_MAX,
        .check = (uint32_t)(number * 13)};
}

static bool find(struct kvt_place_index *index, uint64_t hash,
                 struct kvt_index_entry *entry)
{
    bool found;
    kvt_place_index_find(index, &hash, entry, &found, 1);
    return found;
}

enum {
    STEADY = 2000, /* keys that are there all the time */
};

struct reading {
    struct kvt_place_index *index;
    bool stop;
};

/* What is always there is always found, whole. */
static void *read_steady(void *arg)
{
    struct reading *reading = arg;
    uint64_t random = (uintptr_t)&random;
    while (!__atomic_load_n(&reading->stop, __ATOMIC_RELAXED)) {
        uint64_t key = random_next(&random) % STEADY;
        struct kvt_index_entry got;
        if (!find(reading->index, hash_of(key), &got) ||
            (got.place - key) % STEADY != 0 ||
            got.length != (uint32_t)(got.place * 7) ||
            got.check != (uint32_t)(got.place * 13)) {
            return arg;
        }
        kvt_place_index_use(reading->index, hash_of(key), got.place, true);
    }
    return NULL;
}

static void readers_see_whole_entries_while_it_grows(void **state)
{
    (void)state;
    struct kvt_place_index index;
    struct kvt_index_entry old;
    struct reading reading = {&index, false};
    pthread_t readers[4];
    assert_int_equal(kvt_place_index_init(&index), 0);
    for (uint64_t i = 0; i < STEADY; i++) {
        struct kvt_index_entry entry = entry_of(i);
        assert_int_equal(kvt_place_index_put(&index, hash_of(i), &entry, &old),
                         0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(
            pthread_create(&readers[i], NULL, read_steady, &reading), 0);
    }
    for (uint64_t i = STEADY; i < 60000; i++) {
        struct kvt_index_entry entry = entry_of(i);
        assert_int_equal(kvt_place_index_put(&index, hash_of(i), &entry, &old),
                         0);
        /* another version of a steady one */
        uint64_t key = i % STEADY;
        assert_int_equal(
            kvt_place_index_put(&index, hash_of(key), &entry, &old), 1);
        if (i % 3 == 0) {
            assert_true(kvt_place_index_remove(&index, hash_of(i), i));
        }
    }
    __atomic_store_n(&reading.stop, true, __ATOMIC_RELAXED);
    for (size_t i = 0; i < 4; i++) {
        void *wrong;
        pthread_join(readers[i], &wrong);
        assert_null(wrong);
    }
    kvt_place_index_fini(&index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_see_whole_entries_while_it_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
