/* The index of layouts with many objects a file, against a plain model. */
#include "index/place_index.h"
#include "support/store_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

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

static void assert_entry(struct kvt_place_index *index, uint64_t number)
{
    struct kvt_index_entry want = entry_of(number);
    struct kvt_index_entry got;
    assert_true(find(index, hash_of(number), &got));
    assert_int_equal(got.place, want.place);
    assert_int_equal(got.length, want.length);
    assert_int_equal(got.check, want.check);
}

static void what_was_put_is_found_at_every_size(void **state)
{
    (void)state;
    struct kvt_place_index index;
    struct kvt_index_entry old;
    assert_int_equal(kvt_place_index_init(&index), 0);
    uint64_t most = 200000;
    for (uint64_t i = 0; i < most; i++) {
        struct kvt_index_entry entry = entry_of(i);
        assert_int_equal(kvt_place_index_put(&index, hash_of(i), &entry, &old),
                         0);
        if (i % 997 == 0 || i < 300) {
            for (uint64_t j = 0; j <= i; j += i / 50 + 1) {
                assert_entry(&index, j);
            }
        }
    }
    for (uint64_t i = 0; i < most; i++) {
        assert_entry(&index, i);
        assert_false(find(&index, hash_of(i + most), &old));
    }
    assert_int_equal(kvt_place_index_count(&index), most);
    kvt_place_index_fini(&index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_found_at_every_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
