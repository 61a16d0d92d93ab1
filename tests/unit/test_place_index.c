/* The index of layouts with many objects a file, against a plain model. */
#include "index/place_index.h"
#include "support/store_fixture.h"

#include <errno.h>
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

/* A model: hash number -> entry, or none -------------------------------------
 */

enum {
    MODEL_KEYS = 20000,
    MODEL_STEPS = 100000,
};

struct model {
    struct kvt_index_entry entries[MODEL_KEYS];
    bool there[MODEL_KEYS];
    uint64_t count;
};

static void expect_model(struct kvt_place_index *index,
                         const struct model *model)
{
    for (uint64_t i = 0; i < MODEL_KEYS; i++) {
        struct kvt_index_entry got;
        assert_int_equal(find(index, hash_of(i), &got), model->there[i]);
        if (model->there[i]) {
            assert_int_equal(got.place, model->entries[i].place);
            assert_int_equal(got.length, model->entries[i].length);
            assert_int_equal(got.check, model->entries[i].check);
            assert_int_equal(got.used, model->entries[i].used);
        }
    }
    assert_int_equal(kvt_place_index_count(index), model->count);
}

static void model_put(struct kvt_place_index *index, struct model *model,
                      uint64_t key, uint64_t number)
{
    struct kvt_index_entry entry = entry_of(number);
    struct kvt_index_entry old;
    int rc = kvt_place_index_put(index, hash_of(key), &entry, &old);
    assert_int_equal(rc, model->there[key]);
    if (rc == 1) {
        assert_int_equal(old.place, model->entries[key].place);
        assert_int_equal(old.length, model->entries[key].length);
        assert_int_equal(old.used, model->entries[key].used);
    }
    model->count += !model->there[key];
    model->there[key] = true;
    model->entries[key] = entry;
}

static void model_remove(struct kvt_place_index *index, struct model *model,
                         uint64_t key, bool right_place)
{
    uint64_t place = model->entries[key].place + !right_place;
    bool goes = model->there[key] && right_place;
    assert_int_equal(kvt_place_index_remove(index, hash_of(key), place), goes);
    model->there[key] = model->there[key] && !goes;
    model->count -= goes;
}

static void model_remove_range(struct kvt_place_index *index,
                               struct model *model, uint64_t from, uint64_t to)
{
    uint64_t objects = 0;
    uint64_t bytes = 0;
    uint64_t removed_bytes = 5;
    for (size_t i = 0; i < MODEL_KEYS; i++) {
        if (model->there[i] && model->entries[i].place >= from &&
            model->entries[i].place < to) {
            model->there[i] = false;
            objects++;
            bytes += model->entries[i].length;
        }
    }
    model->count -= objects;
    assert_int_equal(
        kvt_place_index_remove_range(index, from, to, &removed_bytes), objects);
    assert_int_equal(removed_bytes, bytes + 5);
}

static void it_does_what_a_plain_map_does(void **state)
{
    (void)state;
    static struct model model;
    struct kvt_place_index index;
    uint64_t random = 88172645463325252u;
    assert_int_equal(kvt_place_index_init(&index), 0);
    for (uint64_t step = 0; step < MODEL_STEPS; step++) {
        uint64_t key = random_next(&random) % MODEL_KEYS;
        uint64_t chance = random_next(&random) % 1000;
        if (chance < 550) {
            model_put(&index, &model, key, step);
        } else if (chance < 850) {
            model_remove(&index, &model, key, chance % 4 != 0);
        } else if (chance < 999) {
            bool used = chance % 2 == 0;
            uint64_t place = model.entries[key].place + (chance % 3 == 0);
            kvt_place_index_use(&index, hash_of(key), place, used);
            if (place == model.entries[key].place) {
                model.entries[key].used = used;
            }
        } else {
            model_remove_range(&index, &model, step / 2, step / 2 + 500);
        }
        if (step % 20000 == 0) {
            expect_model(&index, &model);
        }
    }
    expect_model(&index, &model);
    kvt_place_index_clear(&index);
    assert_int_equal(kvt_place_index_count(&index), 0);
    memset(&model, 0, sizeof model);
    expect_model(&index, &model);
    model_put(&index, &model, 1, 1);
    expect_model(&index, &model);
    kvt_place_index_fini(&index);
}

static void many_are_found_in_one_call(void **state)
{
    (void)state;
    enum {
        MANY = 3000
    };
    static uint64_t hashes[MANY];
    static struct kvt_index_entry entries[MANY];
    static bool found[MANY];
    struct kvt_place_index index;
    struct kvt_index_entry old;
    assert_int_equal(kvt_place_index_init(&index), 0);
    for (uint64_t i = 0; i < MANY; i++) {
        struct kvt_index_entry entry = entry_of(i);
        hashes[i] = hash_of(i);
        if (i % 3 != 0) {
            assert_int_equal(
                kvt_place_index_put(&index, hashes[i], &entry, &old), 0);
        }
    }
    for (size_t count = 0; count <= MANY; count += count < 70 ? 1 : 977) {
        memset(found, 0x55, sizeof found);
        kvt_place_index_find(&index, hashes, entries, found, count);
        for (uint64_t i = 0; i < count; i++) {
            assert_int_equal(found[i], i % 3 != 0);
            assert_true(!found[i] || entries[i].place == i);
        }
    }
    kvt_place_index_fini(&index);
}

/* Memory and images ---------------------------------------------------------
 */

static void it_takes_few_bytes_a_key_at_every_size(void **state)
{
    (void)state;
    struct kvt_place_index index;
    struct kvt_index_entry old;
    assert_int_equal(kvt_place_index_init(&index), 0);
    uint64_t next = 1;
    for (uint64_t i = 0; i < 1000000; i++) {
        struct kvt_index_entry entry = entry_of(i);
        assert_int_equal(kvt_place_index_put(&index, hash_of(i), &entry, &old),
                         0);
        if (i + 1 == next || (i + 1) % 10000 == 0) {
            uint64_t bytes = kvt_place_index_bytes(&index);
            if (bytes > (i + 1) * 24 + 1024) {
                fail_msg("%llu keys: %llu bytes", (unsigned long long)i + 1,
                         (unsigned long long)bytes);
            }
            next += next / 8 + 1;
        }
    }
    kvt_place_index_fini(&index);
}

struct images {
    struct kvt_index_image images[4096];
    size_t count;
};

static int take_image(const struct kvt_index_image *image, void *arg)
{
    struct images *images = arg;
    assert_true(images->count < 4096);
    assert_int_equal(image->size, kvt_index_image_size(image->groups));
    images->images[images->count] = *image;
    void *copy = malloc(image->size);
    memcpy(copy, image->bytes, image->size);
    images->images[images->count++].bytes = copy;
    return 0;
}

static int stop_at_once(const struct kvt_index_image *image, void *arg)
{
    (void)image;
    return ++*(int *)arg + 41;
}

static void images_make_the_same_index(void **state)
{
    (void)state;
    static struct images images;
    static const uint64_t sizes[] = {0, 1, 50, 3000, 100000};
    for (size_t round = 0; round < 5; round++) {
        struct kvt_place_index index;
        struct kvt_place_index other;
        struct kvt_index_entry old;
        struct kvt_index_image adopted[4096];
        int calls = 0;
        images.count = 0;
        assert_int_equal(kvt_place_index_init(&index), 0);
        assert_int_equal(kvt_place_index_init(&other), 0);
        for (uint64_t i = 0; i < sizes[round]; i++) {
            struct kvt_index_entry entry = entry_of(i);
            kvt_place_index_put(&index, hash_of(i), &entry, &old);
            kvt_place_index_put(&other, hash_of(i + 7777777), &entry, &old);
        }
        assert_int_equal(kvt_place_index_images(&index, stop_at_once, &calls),
                         42);
        assert_int_equal(kvt_place_index_images(&index, take_image, &images),
                         0);
        memcpy(adopted, images.images, sizeof adopted);
        assert_int_equal(kvt_place_index_adopt(&other, adopted, images.count),
                         0);
        for (size_t i = 0; i < images.count; i++) {
            assert_int_equal(adopted[i].size, images.images[i].size);
            memcpy(adopted[i].bytes, images.images[i].bytes, adopted[i].size);
            free(images.images[i].bytes);
        }
        assert_int_equal(kvt_place_index_count(&other), sizes[round]);
        for (uint64_t i = 0; i < sizes[round]; i++) {
            assert_entry(&other, i);
        }
        assert_false(find(&other, hash_of(7777777), &old));
        for (uint64_t i = 200000; i < 230000; i++) { /* and it grows on */
            struct kvt_index_entry entry = entry_of(i);
            assert_int_equal(
                kvt_place_index_put(&other, hash_of(i), &entry, &old), 0);
        }
        for (uint64_t i = 0; i < sizes[round]; i++) {
            assert_entry(&other, i);
        }
        kvt_place_index_fini(&index);
        kvt_place_index_fini(&other);
    }
}

static void images_that_do_not_fit_together_are_refused(void **state)
{
    (void)state;
    static const struct kvt_index_image wrong[][3] = {
        {{.depth = 1, .groups = 4}, {.depth = 2, .groups = 4}},
        {{.depth = 0, .groups = 4}, {.depth = 0, .groups = 4}},
        {{.depth = 1, .groups = 4}},
        {{.depth = 2, .groups = 4}, {.depth = 1, .groups = 4}},
        {{.depth = 64, .groups = 4}},
        {{.depth = 0xffffffff, .groups = 4}},
        {{.depth = 0, .groups = 0}},
        {{.depth = 0, .groups = 0xffffffff}},
        {{.depth = 0, .groups = 4, .count = 0xffffffff}},
    };
    static const size_t counts[] = {2, 2, 1, 2, 1, 1, 1, 1, 1};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        struct kvt_place_index index;
        struct kvt_index_entry old;
        struct kvt_index_entry entry = entry_of(5);
        struct kvt_index_image images[3];
        memcpy(images, wrong[i], sizeof images);
        assert_int_equal(kvt_place_index_init(&index), 0);
        kvt_place_index_put(&index, hash_of(5), &entry, &old);
        int rc = kvt_place_index_adopt(&index, images, counts[i]);
        if (rc != -EBADMSG && rc != -ENOMEM) {
            fail_msg("images %zu: %d", i, rc);
        }
        assert_int_equal(kvt_place_index_count(&index), 1);
        assert_entry(&index, 5);
        kvt_place_index_fini(&index);
    }
}

static void a_filled_index_is_cut_to_what_it_has(void **state)
{
    static const uint64_t counts[] = {0, 1, 15, 16, 17, 1000, 9000, 100000};
    (void)state;
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        struct kvt_place_index index;
        struct kvt_index_entry old;
        assert_int_equal(kvt_place_index_init(&index), 0);
        kvt_place_index_fill(&index, true);
        for (uint64_t i = 0; i < counts[c]; i++) {
            struct kvt_index_entry entry = {.place = i};
            assert_int_equal(
                kvt_place_index_put(&index, hash_of(i), &entry, &old), 0);
        }
        kvt_place_index_fill(&index, false);
        assert_int_equal(kvt_place_index_count(&index), counts[c]);
        if (counts[c] >= 9000) {
            assert_true(kvt_place_index_bytes(&index) <= counts[c] * 24);
        }
        for (uint64_t i = 0; i < counts[c] + 10; i++) {
            uint64_t hash = hash_of(i);
            struct kvt_index_entry entry;
            bool found;
            kvt_place_index_find(&index, &hash, &entry, &found, 1);
            assert_int_equal(found, i < counts[c]);
            assert_true(!found || entry.place == i);
        }
        kvt_place_index_fini(&index);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_filled_index_is_cut_to_what_it_has),
        cmocka_unit_test(what_was_put_is_found_at_every_size),
        cmocka_unit_test(it_does_what_a_plain_map_does),
        cmocka_unit_test(many_are_found_in_one_call),
        cmocka_unit_test(it_takes_few_bytes_a_key_at_every_size),
        cmocka_unit_test(images_make_the_same_index),
        cmocka_unit_test(images_that_do_not_fit_together_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
