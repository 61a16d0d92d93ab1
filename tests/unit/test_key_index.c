#include "support/unit.h"

#include "index/key_index.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    IDS = 3000,
    STEPS = 100000,
};

/* The index beside an array of what it should hold. Key `id` is its number
 * as text with a tail that makes the keys of several lengths. */
struct model {
    struct kvt_key_index index;
    struct kvt_key_entry *entries[IDS];
    uint64_t (*hash)(size_t id, struct kvt_key key);
    size_t ids;
    size_t count;
    uint64_t entry_bytes;
    uint64_t seed;
};

static struct kvt_key key_of(size_t id, char text[64])
{
    int size = snprintf(text, 64, "%zu", id);

    memset(text + size, 'x', id % 23);
    return (struct kvt_key){text, (size_t)size + id % 23};
}

static uint64_t own_hash(size_t id, struct kvt_key key)
{
    (void)id;
    return kvt_key_index_hash(key);
}

/* Seven hashes in all: whole keys have to be compared. */
static uint64_t seven_hashes(size_t id, struct kvt_key key)
{
    (void)key;
    return id % 7;
}

/* All near the table's end, so that runs go round it. */
static uint64_t end_of_table(size_t id, struct kvt_key key)
{
    (void)key;
    return UINT64_MAX - id % 61;
}

static void model_init(struct model *model,
                       uint64_t (*hash)(size_t id, struct kvt_key key),
                       size_t ids)
{
    memset(model, 0, sizeof *model);
    model->hash = hash;
    model->ids = ids;
    model->seed = 5;
    assert_int_equal(kvt_key_index_init(&model->index), 0);
}

static void model_add(struct model *model, size_t id)
{
    char text[64];
    struct kvt_key key = key_of(id, text);
    uint64_t hash = model->hash(id, key);
    struct kvt_key_entry *entry = kvt_key_index_add(&model->index, key, hash);

    assert_non_null(entry);
    assert_int_equal(entry->hash, hash);
    assert_int_equal(entry->size + entry->generation + entry->pins, 0);
    assert_false(entry->present || entry->busy || entry->removed);
    entry->size = id;
    model->entries[id] = entry;
    model->count++;
    model->entry_bytes += sizeof *entry + key.size;
}

static void model_remove(struct model *model, size_t id)
{
    struct kvt_key_entry *entry = model->entries[id];

    model->entry_bytes -= sizeof *entry + entry->key_size;
    model->count--;
    model->entries[id] = NULL;
    kvt_key_index_remove(&model->index, entry);
}

static void model_expect(struct model *model, size_t id)
{
    char text[64];
    struct kvt_key key = key_of(id, text);
    struct kvt_key_entry *entry =
        kvt_key_index_find(&model->index, key, model->hash(id, key));

    assert_ptr_equal(entry, model->entries[id]);
    if (entry != NULL) {
        assert_int_equal(entry->size, id);
        assert_int_equal(kvt_key_entry_key(entry).size, key.size);
        assert_memory_equal(kvt_key_entry_key(entry).data, text, key.size);
    }
}

static void model_expect_all(struct model *model)
{
    for (size_t id = 0; id < model->ids; id++) {
        model_expect(model, id);
    }
    assert_int_equal(model->index.count, model->count);
    assert_int_equal(model->index.bytes,
                     model->entry_bytes +
                         model->index.slot_count * sizeof(void *));
    assert_true(model->index.count * 4 <= model->index.slot_count * 3);
}

static void toggle(struct model *model, size_t id)
{
    if (model->entries[id] != NULL) {
        model_remove(model, id);
    } else {
        model_add(model, id);
    }
}

/* Removes what stands together, or adds it back. */
static void change_run(struct model *model, size_t id, bool add)
{
    size_t end = id + 1 + unit_random_below(&model->seed, 100);

    for (; id < end && id < model->ids; id++) {
        if ((model->entries[id] == NULL) == add) {
            toggle(model, id);
        }
    }
}

static void model_run(struct model *model)
{
    for (size_t step = 0; step < STEPS;) {
        size_t id = unit_random_below(&model->seed, model->ids);
        size_t what = unit_random_below(&model->seed, 1000);

        if (what < 5) {
            change_run(model, id, what < 3);
            step += 50;
        } else {
            model_expect(model, id);
            toggle(model, id);
            model_expect(model, id);
            step += 3;
        }
        if (step % 10000 < 3) {
            model_expect_all(model);
        }
    }
    model_expect_all(model);
    for (size_t id = 0; id < model->ids; id++) {
        if (model->entries[id] != NULL) {
            model_remove(model, id);
        }
    }
    model_expect_all(model);
    kvt_key_index_fini(&model->index);
}

static void random_work_agrees_with_a_model(void **state)
{
    static struct model model;

    (void)state;
    model_init(&model, own_hash, IDS);
    model_run(&model);
}

static void colliding_hashes_agree_with_a_model(void **state)
{
    static struct model model;

    (void)state;
    model_init(&model, seven_hashes, 200);
    model_run(&model);
}

static void runs_round_the_end_agree_with_a_model(void **state)
{
    static struct model model;

    (void)state;
    model_init(&model, end_of_table, 200);
    model_run(&model);
}

static void the_table_grows_and_stays_findable(void **state)
{
    static struct model model;

    (void)state;
    model_init(&model, own_hash, IDS);
    size_t slots = model.index.slot_count;
    for (size_t id = 0; id < IDS; id++) {
        model_add(&model, id);
    }
    assert_true(model.index.slot_count > slots);
    model_expect_all(&model);
    kvt_key_index_fini(&model.index);
}

static void keys_may_begin_with_each_other(void **state)
{
    struct kvt_key_index index;
    char text[] = "aaaa";

    (void)state;
    assert_int_equal(kvt_key_index_init(&index), 0);
    for (size_t size = 1; size <= 3; size++) {
        assert_non_null(
            kvt_key_index_add(&index, (struct kvt_key){text, size}, 1));
    }
    for (size_t size = 1; size <= 3; size++) {
        struct kvt_key_entry *entry =
            kvt_key_index_find(&index, (struct kvt_key){text, size}, 1);
        assert_int_equal(entry->key_size, size);
    }
    assert_null(kvt_key_index_find(&index, (struct kvt_key){text, 4}, 1));
    kvt_key_index_fini(&index);
}

static void the_longest_key_and_any_bytes_are_kept(void **state)
{
    struct kvt_key_index index;
    unsigned char bytes[KVT_KEY_SIZE_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)i;
    }
    struct kvt_key key = {bytes, sizeof bytes};
    uint64_t hash = kvt_key_index_hash(key);
    assert_int_equal(kvt_key_index_init(&index), 0);
    struct kvt_key_entry *entry = kvt_key_index_add(&index, key, hash);
    assert_int_equal(entry->key_size, KVT_KEY_SIZE_MAX);
    assert_memory_equal(entry->key, bytes, sizeof bytes);
    assert_ptr_equal(kvt_key_index_find(&index, key, hash), entry);
    bytes[sizeof bytes - 1] ^= 1;
    assert_null(kvt_key_index_find(&index, key, hash));
    kvt_key_index_fini(&index);
}

/* The sanitizers tell of a use after free, and of what is never freed. */
static void a_pin_outlives_the_removal(void **state)
{
    struct kvt_key_index index;
    struct kvt_key key = {"key", 3};

    (void)state;
    assert_int_equal(kvt_key_index_init(&index), 0);
    struct kvt_key_entry *entry = kvt_key_index_add(&index, key, 1);
    kvt_key_entry_acquire(entry);
    kvt_key_entry_acquire(entry);
    kvt_key_index_remove(&index, entry);
    assert_true(entry->removed);
    assert_null(kvt_key_index_find(&index, key, 1));
    assert_int_equal(index.count, 0);
    /* the key may come back while the old entry is held */
    struct kvt_key_entry *again = kvt_key_index_add(&index, key, 1);
    assert_ptr_not_equal(again, entry);
    kvt_key_entry_release(entry);
    assert_int_equal(entry->pins, 1);
    assert_memory_equal(entry->key, "key", 3);
    kvt_key_entry_release(entry);
    assert_ptr_equal(kvt_key_index_find(&index, key, 1), again);
    kvt_key_index_fini(&index);
}

static void a_pin_that_goes_first_frees_nothing(void **state)
{
    struct kvt_key_index index;
    struct kvt_key key = {"key", 3};

    (void)state;
    assert_int_equal(kvt_key_index_init(&index), 0);
    struct kvt_key_entry *entry = kvt_key_index_add(&index, key, 1);
    kvt_key_entry_acquire(entry);
    kvt_key_entry_release(entry);
    assert_ptr_equal(kvt_key_index_find(&index, key, 1), entry);
    kvt_key_index_remove(&index, entry);
    kvt_key_index_fini(&index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_work_agrees_with_a_model),
        cmocka_unit_test(colliding_hashes_agree_with_a_model),
        cmocka_unit_test(runs_round_the_end_agree_with_a_model),
        cmocka_unit_test(the_table_grows_and_stays_findable),
        cmocka_unit_test(keys_may_begin_with_each_other),
        cmocka_unit_test(the_longest_key_and_any_bytes_are_kept),
        cmocka_unit_test(a_pin_outlives_the_removal),
        cmocka_unit_test(a_pin_that_goes_first_frees_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
