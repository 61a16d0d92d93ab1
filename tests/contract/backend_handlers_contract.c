/* The complete handler and the eviction handler: what they are told, what
 * their refusal does, and what they may call. */
#include "support/store_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Under a limit of so many objects of SIZE bytes eviction is exact. */
enum {
    SIZE = 1000
};

static struct told told;

static void watch_complete(struct store_fixture *fixture, int answer)
{
    told = (struct told){.answer = answer};
    fixture->handlers.complete = told_handler;
    fixture->handlers.complete_arg = &told;
}

static void watch_evict(struct store_fixture *fixture, int answer)
{
    told = (struct told){.answer = answer};
    fixture->handlers.evict = told_handler;
    fixture->handlers.evict_arg = &told;
}

static void tell_again(int answer)
{
    told = (struct told){.answer = answer};
}

/* Puts `count` objects prefix0.. in that order. */
static void put_some(struct kvt_store *store, const char *prefix,
                     uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++) {
        assert_int_equal(put_named(store, prefix, i, i, SIZE), KVT_OK);
    }
}

/* Are exactly the objects of the bits in `mask` there? */
static void expect_left(struct kvt_store *store, const char *prefix,
                        uint64_t count, uint64_t mask)
{
    for (uint64_t i = 0; i < count; i++) {
        bool wanted = (mask >> i & 1) != 0;
        if (has_named(store, prefix, i) != wanted) {
            fail_msg("%s%llu is %sthere", prefix, (unsigned long long)i,
                     wanted ? "not " : "");
        }
    }
}

/* Complete ----------------------------------------------------------------- */

static void complete_is_told_exactly_what_succeeded(void **state)
{
    struct store_fixture *fixture = *state;
    static unsigned char bytes[300];
    struct kvt_slice slices[2] = {{bytes, 200, NULL}, {bytes, 100, NULL}};
    struct kvt_slice bad = {NULL, 5, NULL};
    struct kvt_object objects[] = {
        {.key = key_of("one"), .slices = slices, .slice_count = 1},
        {.key = {"", 0}, .slices = slices, .slice_count = 1},
        {.key = key_of("two"), .slices = slices, .slice_count = 2},
        {.key = key_of("bad"), .slices = &bad, .slice_count = 1},
        {.key = {"nul\0key", 7}, .slices = NULL, .slice_count = 0},
    };
    watch_complete(fixture, 0);
    store_start(fixture);
    assert_int_equal(kvt_batch_offload(fixture->store, objects, 5, NULL), 3);
    assert_int_equal(told.calls, 1);
    assert_int_equal(told.count, 3);
    static const uint64_t wanted[] = {200, 300, 0};
    for (size_t i = 0; i < 3; i++) {
        const struct kvt_object *object = &objects[i * 2];
        assert_int_equal(told.metas[i].key_size, object->key.size);
        assert_memory_equal(told.metas[i].key, object->key.data,
                            object->key.size);
        assert_int_equal(told.metas[i].size, wanted[i]);
        assert_string_equal(told.metas[i].place.backend, fixture->row->backend);
        assert_string_equal(told.metas[i].place.backend,
                            stats_of(fixture->store).backend);
    }
    /* nothing succeeded: nothing is told */
    tell_again(0);
    assert_int_equal(kvt_batch_offload(fixture->store, &objects[3], 1, NULL),
                     0);
    assert_int_equal(told.calls, 0);
}

static void what_is_stored_already_is_told_too(void **state)
{
    struct store_fixture *fixture = *state;
    watch_complete(fixture, 0);
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    assert_int_equal(told.calls, 2);
    assert_int_equal(told.metas[1].size, SIZE);
}

static void the_error_of_complete_undoes_the_batch(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        COUNT = 50
    };
    struct named_key names[COUNT];
    struct kvt_object objects[COUNT];
    unsigned char bytes[SIZE];
    struct kvt_slice slice = {bytes, SIZE, NULL};
    value_fill(bytes, SIZE, 5);
    watch_complete(fixture, 0);
    store_start(fixture);
    put_some(fixture->store, "old", 0, 5);
    tell_again(-77);
    struct kvt_stats before = stats_of(fixture->store);
    for (size_t i = 0; i < COUNT; i++) {
        name_key(&names[i], "new", i);
        objects[i] = (struct kvt_object){
            .key = names[i].key, .slices = &slice, .slice_count = 1};
    }
    assert_int_equal(kvt_batch_offload(fixture->store, objects, COUNT, NULL),
                     0);
    assert_int_equal(told.count, COUNT);
    struct kvt_stats after = stats_of(fixture->store);
    assert_int_equal(after.objects, before.objects);
    if (!store_is_log(fixture)) {
        assert_int_equal(after.allocated_bytes, before.allocated_bytes);
    }
    assert_int_equal(after.object_bytes, before.object_bytes);
    for (int restarts = 0; restarts < 2; restarts++) {
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(objects[i].status, KVT_ERR_UNABLE_OFFLOAD);
            assert_false(has_named(fixture->store, "new", i));
        }
        expect_left(fixture->store, "old", 5, 31);
        store_restart(fixture);
    }
    tell_again(0);
    put_some(fixture->store, "new", 0, 5);
    expect_left(fixture->store, "new", 5, 31);
}

/* Only what the batch wrote goes: an object that was there before with the
 * same bytes is not one of its new ones. */
static void an_undone_batch_keeps_what_it_did_not_write(void **state)
{
    struct store_fixture *fixture = *state;
    watch_complete(fixture, 0);
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    tell_again(1);
    put_value(fixture->store, key_of("k"), 1, SIZE);
    assert_int_equal(get_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
}

struct undo_race {
    struct store_fixture *fixture;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int step;
    pthread_t evictor;
};

static void go_to(struct undo_race *race, int step)
{
    pthread_mutex_lock(&race->mutex);
    race->step = step;
    pthread_cond_broadcast(&race->changed);
    pthread_mutex_unlock(&race->mutex);
}

static void wait_for(struct undo_race *race, int step)
{
    pthread_mutex_lock(&race->mutex);
    while (race->step < step) {
        pthread_cond_wait(&race->changed, &race->mutex);
    }
    pthread_mutex_unlock(&race->mutex);
}

static void *ask_for_eviction(void *arg)
{
    struct undo_race *race = arg;
    kvt_evict(race->fixture->store, 0, 0, NULL, NULL);
    return NULL;
}

static int refuse_slowly(const struct kvt_meta *metas, size_t count, void *arg)
{
    struct undo_race *race = arg;
    (void)metas;
    (void)count;
    go_to(race, 1); /* the object is withdrawn */
    wait_for(race, 2);
    return 1; /* and comes back */
}

static int fail_while_evicted(const struct kvt_meta *metas, size_t count,
                              void *arg)
{
    struct undo_race *race = arg;
    (void)metas;
    (void)count;
    pthread_create(&race->evictor, NULL, ask_for_eviction, race);
    wait_for(race, 1);
    return 1;
}

static void *let_go_on(void *arg)
{
    /* the batch is being undone meanwhile; it may have to wait for us */
    struct timespec pause = {0, 200000000};
    wait_for(arg, 1);
    nanosleep(&pause, NULL);
    go_to(arg, 2);
    return NULL;
}

/* The object is in the hands of an eviction when its batch is undone, and
 * the eviction is refused: it must not stay. */
static void an_undone_object_does_not_come_back_from_an_eviction(void **state)
{
    struct store_fixture *fixture = *state;
    struct undo_race race = {.fixture = fixture,
                             .mutex = PTHREAD_MUTEX_INITIALIZER,
                             .changed = PTHREAD_COND_INITIALIZER};
    pthread_t helper;
    fixture->handlers.complete = fail_while_evicted;
    fixture->handlers.complete_arg = &race;
    fixture->handlers.evict = refuse_slowly;
    fixture->handlers.evict_arg = &race;
    store_start(fixture);
    assert_int_equal(pthread_create(&helper, NULL, let_go_on, &race), 0);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE),
                     KVT_ERR_UNABLE_OFFLOAD);
    pthread_join(helper, NULL);
    pthread_join(race.evictor, NULL);
    assert_false(has_key(fixture->store, key_of("k")));
}

/* What another batch wrote meanwhile is not this one's to take back. */
struct replacer {
    struct store_fixture *fixture;
    pthread_t thread;
    unsigned calls; /* atomic */
    int status;
};

static void *replace_it(void *arg)
{
    struct replacer *replacer = arg;
    static unsigned char bytes[SIZE];
    struct kvt_slice slice = {bytes, SIZE, NULL};
    struct kvt_object object = {
        .key = key_of("k"), .slices = &slice, .slice_count = 1};
    value_fill(bytes, SIZE, 2);
    kvt_batch_offload(replacer->fixture->store, &object, 1, NULL);
    replacer->status = object.status;
    return NULL;
}

static int fail_when_replaced(const struct kvt_meta *metas, size_t count,
                              void *arg)
{
    struct replacer *replacer = arg;
    (void)metas;
    (void)count;
    if (__atomic_fetch_add(&replacer->calls, 1, __ATOMIC_RELAXED) > 0) {
        return 0; /* the second batch is fine */
    }
    pthread_create(&replacer->thread, NULL, replace_it, replacer);
    pthread_join(replacer->thread, NULL);
    return 1;
}

static void an_undone_batch_leaves_what_replaced_it(void **state)
{
    struct store_fixture *fixture = *state;
    struct replacer replacer = {.fixture = fixture};
    alarm(50);
    fixture->handlers.complete = fail_when_replaced;
    fixture->handlers.complete_arg = &replacer;
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE),
                     KVT_ERR_UNABLE_OFFLOAD);
    assert_int_equal(replacer.status, KVT_OK);
    assert_int_equal(get_value(fixture->store, key_of("k"), 2, SIZE), KVT_OK);
    alarm(0);
}

/* Eviction orders ---------------------------------------------------------- */

/* A limit with room for exactly `count` objects "o0".. of SIZE bytes. */
static void limit_to(struct store_fixture *fixture, uint64_t count)
{
    store_set_number(fixture, "total_keys_limit", count);
}

static void fifo_evicts_in_the_order_of_writing(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "eviction", "fifo");
    limit_to(fixture, 6);
    watch_evict(fixture, 0);
    store_start(fixture);
    put_some(fixture->store, "o", 0, 6);
    /* uses change nothing */
    assert_int_equal(get_named(fixture->store, "o", 0, 0, SIZE), KVT_OK);
    assert_int_equal(put_named(fixture->store, "o", 1, 1, SIZE), KVT_OK);
    assert_int_equal(told.calls, 0);
    put_some(fixture->store, "o", 6, 2);
    expect_left(fixture->store, "o", 8, 0xfc);
    assert_int_equal(told.count, 2);
    assert_true(told_about(&told, "o", 0) && told_about(&told, "o", 1));
    assert_int_equal(told.metas[0].size, SIZE);
    assert_string_equal(told.metas[0].place.backend, fixture->row->backend);
    /* a replacement is written anew */
    assert_int_equal(put_named(fixture->store, "o", 2, 99, SIZE), KVT_OK);
    put_some(fixture->store, "o", 8, 2);
    assert_true(has_named(fixture->store, "o", 2));
    assert_false(has_named(fixture->store, "o", 3));
    assert_int_equal(stats_of(fixture->store).objects, 6);
}

static void lru_evicts_what_was_not_used_longest(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "eviction", "lru");
    limit_to(fixture, 6);
    store_start(fixture);
    put_some(fixture->store, "o", 0, 6);
    assert_int_equal(get_named(fixture->store, "o", 0, 0, SIZE), KVT_OK);
    /* offloading the same bytes again is a use */
    assert_int_equal(put_named(fixture->store, "o", 1, 1, SIZE), KVT_OK);
    put_some(fixture->store, "o", 6, 1);
    expect_left(fixture->store, "o", 7, 0x7b);
    put_some(fixture->store, "o", 7, 3);
    expect_left(fixture->store, "o", 10, 0x3c3);
    assert_int_equal(stats_of(fixture->store).evicted_objects, 4);
}

static void the_order_survives_a_restart_as_that_of_writing(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "eviction", "fifo");
    limit_to(fixture, 6);
    store_start(fixture);
    for (uint64_t i = 0; i < 6; i++) {
        struct timespec tick = {0, 20000000}; /* of the file system's clock */
        put_some(fixture->store, "o", i, 1);
        nanosleep(&tick, NULL);
    }
    store_restart(fixture);
    put_some(fixture->store, "o", 6, 3);
    expect_left(fixture->store, "o", 9, 0x1f8);
}

static void none_refuses_and_evicts_only_when_asked(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_evict_result result;
    struct kvt_error err;
    store_set(fixture, "eviction", "none");
    store_set_number(fixture, "total_size_limit", 1 << 20);
    watch_evict(fixture, 0);
    store_start(fixture);
    put_some(fixture->store, "o", 0, 20);
    assert_int_equal(get_named(fixture->store, "o", 0, 0, SIZE), KVT_OK);
    double used =
        (double)stats_of(fixture->store).allocated_bytes / (double)(1 << 20);
    /* between the marks: nothing to do */
    assert_int_equal(kvt_evict(fixture->store, used * 1.01, 0, &result, &err),
                     KVT_OK);
    assert_int_equal(result.objects, 0);
    assert_int_equal(told.calls, 0);
    assert_int_equal(result.allocated,
                     stats_of(fixture->store).allocated_bytes);
    assert_int_equal(
        kvt_evict(fixture->store, used * 0.99, used * 0.51, &result, &err),
        KVT_OK);
    assert_int_equal(result.objects, told.count);
    assert_int_equal(result.bytes, told.count * SIZE);
    assert_true(told.count >= 9 && told.count <= 11);
    assert_true((double)result.allocated <= used * 0.51 * (1 << 20));
    /* the oldest went, used or not */
    for (uint64_t i = 0; i < 20; i++) {
        assert_true(has_named(fixture->store, "o", i) == (i >= told.count));
    }
    assert_int_equal(kvt_evict(fixture->store, 0, 0, &result, &err), KVT_OK);
    assert_int_equal(result.allocated, 0);
    assert_int_equal(stats_of(fixture->store).objects, 0);
}

static void watermarks_out_of_order_are_refused(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_error err;
    static const double wrong[][2] = {
        {0.5, 0.6}, {1.1, 0.5}, {0.5, -0.1}, {0.0 / 1.0 - 1.0, -2.0}};
    store_start(fixture);
    put_some(fixture->store, "o", 0, 3);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(
            kvt_evict(fixture->store, wrong[i][0], wrong[i][1], NULL, &err),
            KVT_ERR_INVALID_PARAMS);
    }
    expect_left(fixture->store, "o", 3, 7);
}

/* Refusal ------------------------------------------------------------------ */

static void a_refusal_keeps_the_objects_in_their_old_order(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_error err;
    store_set(fixture, "eviction", "lru");
    limit_to(fixture, 6);
    watch_evict(fixture, 1);
    store_start(fixture);
    put_some(fixture->store, "o", 0, 6);
    struct kvt_stats before = stats_of(fixture->store);
    assert_int_equal(put_named(fixture->store, "o", 6, 6, SIZE),
                     KVT_ERR_UNABLE_OFFLOAD);
    assert_int_equal(told.calls, 1);
    assert_true(told_about(&told, "o", 0));
    assert_int_equal(kvt_evict(fixture->store, 0, 0, NULL, &err),
                     KVT_ERR_UNABLE_OFFLOAD);
    assert_int_equal(told.count, 1 + 6);
    struct kvt_stats after = stats_of(fixture->store);
    assert_int_equal(after.objects, before.objects);
    assert_int_equal(after.allocated_bytes, before.allocated_bytes);
    assert_int_equal(after.evicted_objects, 0);
    assert_int_equal(after.object_bytes, before.object_bytes);
    for (uint64_t i = 0; i < 3; i++) {
        tell_again(0);
        put_some(fixture->store, "o", 7 + i, 1);
        assert_int_equal(told.count, 1);
        assert_true(told_about(&told, "o", i));
    }
    expect_left(fixture->store, "o", 10, 0x3b8);
}

/* Objects that go are out of sight before the handler hears of them; what it
 * may call works, from both handlers. */
struct caller {
    struct store_fixture *fixture;
    size_t calls;
    size_t loaded;
    size_t there;
    size_t objects;
};

static int call_back(const struct kvt_meta *metas, size_t count, void *arg)
{
    struct caller *caller = arg;
    struct kvt_store *store = caller->fixture->store;
    unsigned char bytes[SIZE];
    struct kvt_slice slice = {bytes, SIZE, NULL};
    caller->calls++;
    for (size_t i = 0; i < count; i++) {
        struct kvt_object object = {
            .key = metas[i].key, .slices = &slice, .slice_count = 1};
        caller->there += kvt_batch_exists(store, &object, 1, NULL) == 1;
        caller->loaded += kvt_batch_load(store, &object, 1, NULL) == 1;
    }
    struct kvt_object other = {
        .key = key_of("other"), .slices = &slice, .slice_count = 1};
    caller->loaded += kvt_batch_load(store, &other, 1, NULL) == 1 ? 100 : 0;
    struct kvt_stats stats = {.size = sizeof stats};
    if (kvt_stats(store, &stats) == KVT_OK) {
        caller->objects = stats.objects;
    }
    return 0;
}

static void handlers_may_load_and_ask(void **state)
{
    struct store_fixture *fixture = *state;
    struct caller complete = {fixture, 0, 0, 0, 0};
    struct caller evict = {fixture, 0, 0, 0, 0};
    limit_to(fixture, 4);
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("other"), 1, SIZE), 0);
    store_stop(fixture);
    fixture->handlers.complete = call_back;
    fixture->handlers.complete_arg = &complete;
    fixture->handlers.evict = call_back;
    fixture->handlers.evict_arg = &evict;
    store_start(fixture);
    put_some(fixture->store, "o", 0, 3);
    assert_int_equal(complete.calls, 3);
    assert_int_equal(complete.there, 3);
    assert_int_equal(complete.loaded, 303);
    assert_int_equal(evict.calls, 0);
    put_some(fixture->store, "o", 3, 1);
    assert_int_equal(evict.calls, 1);
    assert_int_equal(evict.loaded, 100); /* the victim is out of sight */
    assert_int_equal(evict.there, 0);
    assert_int_equal(evict.objects, 3);
}

/* One write, one handler ----------------------------------------------------
 */

static void a_batch_asks_once_for_all_that_it_needs(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        COUNT = 5
    };
    unsigned char bytes[SIZE] = {0};
    struct kvt_slice slice = {bytes, SIZE, NULL};
    struct named_key names[COUNT];
    struct kvt_object objects[COUNT];
    limit_to(fixture, 8);
    watch_evict(fixture, 0);
    store_start(fixture);
    put_some(fixture->store, "o", 0, 8);
    for (size_t i = 0; i < COUNT; i++) {
        name_key(&names[i], "n", i);
        objects[i] = (struct kvt_object){
            .key = names[i].key, .slices = &slice, .slice_count = 1};
    }
    assert_int_equal(kvt_batch_offload(fixture->store, objects, COUNT, NULL),
                     COUNT);
    assert_int_equal(told.calls, 1);
    assert_int_equal(told.count, COUNT);
    expect_left(fixture->store, "o", 8, 0xe0);
}

/* A batch may evict what it is about to write itself. */
static void a_batch_may_replace_what_it_evicts(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        COUNT = 6
    };
    static unsigned char bytes[COUNT][SIZE];
    struct kvt_slice slices[COUNT];
    struct named_key names[COUNT];
    struct kvt_object objects[COUNT];
    limit_to(fixture, 6);
    store_start(fixture);
    put_some(fixture->store, "o", 0, 6);
    for (size_t i = 0; i < COUNT; i++) {
        /* new ones first, then the oldest, with other bytes */
        name_key(&names[i], i < 3 ? "n" : "o", i < 3 ? i : i - 3);
        value_fill(bytes[i], SIZE, 50 + i);
        slices[i] = (struct kvt_slice){bytes[i], SIZE, NULL};
        objects[i] = (struct kvt_object){
            .key = names[i].key, .slices = &slices[i], .slice_count = 1};
    }
    assert_int_equal(kvt_batch_offload(fixture->store, objects, COUNT, NULL),
                     COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        int rc = get_value(fixture->store, names[i].key, 50 + i, SIZE);
        assert_true(rc == KVT_OK || rc == KVT_ERR_OBJECT_NOT_FOUND);
    }
    struct kvt_stats stats = stats_of(fixture->store);
    assert_true(stats.objects <= 6);
    assert_true(stats.objects >= 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(complete_is_told_exactly_what_succeeded),
        store_test(what_is_stored_already_is_told_too),
        store_test(the_error_of_complete_undoes_the_batch),
        store_test(watermarks_out_of_order_are_refused),
    };
    const struct CMUnitTest owned[] = {
        store_test(an_undone_batch_keeps_what_it_did_not_write),
    };
    const struct CMUnitTest exact[] = {
        store_test(an_undone_object_does_not_come_back_from_an_eviction),
        store_test(fifo_evicts_in_the_order_of_writing),
        store_test(lru_evicts_what_was_not_used_longest),
        store_test(the_order_survives_a_restart_as_that_of_writing),
        store_test(none_refuses_and_evicts_only_when_asked),
        store_test(a_refusal_keeps_the_objects_in_their_old_order),
        store_test(handlers_may_load_and_ask),
        store_test(a_batch_asks_once_for_all_that_it_needs),
        store_test(a_batch_may_replace_what_it_evicts),
    };
    int failed = store_owned_rows_run("handlers of an owner", owned,
                                      sizeof owned / sizeof owned[0]);
    failed |= store_exact_rows_run("handlers and single objects", exact,
                                   sizeof exact / sizeof exact[0]);
    const struct CMUnitTest single[] = {
        /* in a log, the key is its batch's until the handler has agreed */
        store_test(an_undone_batch_leaves_what_replaced_it),
    };
    failed |= store_single_rows_run("handlers beside other writers", single,
                                    sizeof single / sizeof single[0]);
    failed |= store_rows_run("handlers", tests, sizeof tests / sizeof tests[0]);
    return failed != 0;
}
