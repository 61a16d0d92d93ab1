/* Random operations against a model in memory that knows what every load must
 * say; and versioned values under many threads: once a version was seen, no
 * older one may be. Prints its seeds; KVT_TEST_SEED repeats one, and
 * KVT_TEST_SCALE makes it longer. */
#include "support/history.h"
#include "support/store_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t seed_of_run(const char *what)
{
    const char *text = getenv("KVT_TEST_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed = text != NULL
                        ? strtoull(text, NULL, 10)
                        : (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 20;
    printf("%s: seed %llu\n", what, (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

/* The model ---------------------------------------------------------------- */

enum {
    KEYS = 200,
    BATCH_MAX = 8,
    SIZE_MAX_USED = 12000,
};

enum presence {
    ABSENT,
    PRESENT,
    EITHER
};

struct modelled {
    enum presence presence;
    uint64_t version; /* seed of the value, when it is there */
    size_t size;
    bool in_batch; /* of the offload that is under way */
    bool told;     /* to the complete handler */
    bool evicted;  /* meanwhile */
};

struct model {
    struct store_fixture *fixture;
    uint64_t random;
    uint64_t versions;
    struct modelled keys[KEYS];
    bool fail_complete;
    bool refuse_evict;
    bool may_miss; /* files are removed behind our back: not in use */
    size_t evicted;
    size_t seen; /* by a scan */
    const char *fault;
};

static uint64_t next(struct model *model)
{
    return random_next(&model->random);
}

/* Every ninth key has a name too long for a file. */
static struct kvt_key model_key(size_t number, char text[512])
{
    int size = snprintf(text, 512, "%zu/", number);
    if (number % 9 == 0) {
        memset(text + size, '%', 200);
        size += 200;
    }
    return (struct kvt_key){text, (size_t)size};
}

static size_t number_of(struct kvt_key key)
{
    size_t number = 0;
    const char *at = key.data;
    for (size_t i = 0; i < key.size && at[i] >= '0' && at[i] <= '9'; i++) {
        number = number * 10 + (size_t)(at[i] - '0');
    }
    return number < KEYS ? number : 0;
}

static int on_complete(const struct kvt_meta *metas, size_t count, void *arg)
{
    struct model *model = arg;
    for (size_t i = 0; i < count; i++) {
        model->keys[number_of(metas[i].key)].told = true;
    }
    return model->fail_complete ? -1 : 0;
}

static int on_evict(const struct kvt_meta *metas, size_t count, void *arg)
{
    struct model *model = arg;
    if (model->refuse_evict) {
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        struct modelled *key = &model->keys[number_of(metas[i].key)];
        if (key->presence == ABSENT && !key->in_batch) {
            model->fault = "an absent object was evicted";
        } else if (key->presence == PRESENT && !key->in_batch &&
                   key->size != metas[i].size) {
            model->fault = "the eviction handler was told a wrong size";
        }
        /* of the batch under way: before or after it was written? */
        key->evicted = true;
        key->presence = key->in_batch ? EITHER : ABSENT;
        model->evicted++;
    }
    return 0;
}

/* Chooses different keys. */
static size_t choose(struct model *model, size_t numbers[BATCH_MAX],
                     bool repeat)
{
    size_t wanted = next(model) % BATCH_MAX + 1;
    size_t count = 0;
    while (count < wanted) {
        size_t number = next(model) % KEYS;
        bool twice = false;
        for (size_t i = 0; i < count; i++) {
            twice |= numbers[i] == number;
        }
        if (!twice || repeat) {
            numbers[count++] = number;
        }
    }
    return count;
}

struct batch {
    size_t count;
    size_t numbers[BATCH_MAX];
    uint64_t versions[BATCH_MAX];
    size_t sizes[BATCH_MAX];
    char texts[BATCH_MAX][512];
    unsigned char bytes[BATCH_MAX][SIZE_MAX_USED];
    struct kvt_slice slices[BATCH_MAX][2];
    struct kvt_object objects[BATCH_MAX];
};

static struct batch batch;

/* Objects over the chosen keys, `sizes` bytes in two slices each. */
static void build(struct model *model)
{
    for (size_t i = 0; i < batch.count; i++) {
        size_t split = batch.sizes[i] > 0 ? next(model) % batch.sizes[i] : 0;
        batch.slices[i][0] = (struct kvt_slice){batch.bytes[i], split, NULL};
        batch.slices[i][1] = (struct kvt_slice){batch.bytes[i] + split,
                                                batch.sizes[i] - split, NULL};
        batch.objects[i] = (struct kvt_object){
            .key = model_key(batch.numbers[i], batch.texts[i]),
            .slices = batch.slices[i],
            .slice_count = 2};
    }
}

static void settle_offload(struct model *model, bool if_absent)
{
    for (size_t i = 0; i < batch.count; i++) {
        struct modelled *key = &model->keys[batch.numbers[i]];
        int status = batch.objects[i].status;
        key->in_batch = false;
        if (status == KVT_OK) {
            assert_true(key->told);
            assert_true(!if_absent || key->presence != PRESENT);
            /* evicted: before it was written, or after */
            key->presence = key->evicted ? EITHER : PRESENT;
            key->version = batch.versions[i];
            key->size = batch.sizes[i];
        } else if (status == KVT_ERR_OBJECT_ALREADY_EXISTS) {
            assert_true(if_absent && key->presence != ABSENT);
            key->presence = key->evicted ? EITHER : PRESENT;
        } else {
            assert_int_equal(status, KVT_ERR_UNABLE_OFFLOAD);
            assert_true(!key->told || model->fail_complete);
            bool undone = key->told && !store_is_log(model->fixture);
            if (undone || key->evicted) { /* or gone before */
                key->presence = ABSENT;
            }
        }
    }
}

static void do_offload(struct model *model)
{
    struct kvt_batch_options options = KVT_BATCH_OPTIONS_INIT;
    bool if_absent = next(model) % 8 == 0;
    options.flags = if_absent ? KVT_IF_ABSENT : 0;
    batch.count = choose(model, batch.numbers, false);
    for (size_t i = 0; i < batch.count; i++) {
        struct modelled *key = &model->keys[batch.numbers[i]];
        batch.versions[i] = ++model->versions;
        uint64_t kind = next(model) % 8;
        batch.sizes[i] = kind == 0   ? 0
                         : kind == 1 ? SIZE_MAX_USED
                                     : next(model) % 3000;
        if (kind == 7 && key->presence == PRESENT) { /* the same again */
            batch.versions[i] = key->version;
            batch.sizes[i] = key->size;
        }
        value_fill(batch.bytes[i], batch.sizes[i], batch.versions[i]);
        key->in_batch = true;
        key->told = false;
        key->evicted = false;
    }
    build(model);
    model->fail_complete = next(model) % 40 == 0;
    model->refuse_evict = next(model) % 30 == 0;
    assert_true(kvt_batch_offload(model->fixture->store, batch.objects,
                                  batch.count, &options) >= 0);
    settle_offload(model, if_absent);
    model->fail_complete = false;
    model->refuse_evict = false;
}

static void check_loaded(struct model *model, size_t i)
{
    struct modelled *key = &model->keys[batch.numbers[i]];
    int status = batch.objects[i].status;
    if (key->presence == EITHER) {
        /* the rest of this batch may ask for the same key */
        key->presence = status == KVT_ERR_OBJECT_NOT_FOUND ? ABSENT : PRESENT;
    }
    if (key->presence == ABSENT) {
        assert_int_equal(status, KVT_ERR_OBJECT_NOT_FOUND);
        return;
    }
    assert_int_equal(batch.objects[i].size, key->size);
    if (batch.sizes[i] < key->size) {
        assert_int_equal(status, KVT_ERR_BUFFER_OVERFLOW);
    } else {
        assert_int_equal(status, KVT_OK);
        assert_true(value_is(batch.bytes[i], key->size, key->version));
    }
}

static void do_load(struct model *model)
{
    batch.count = choose(model, batch.numbers, true);
    for (size_t i = 0; i < batch.count; i++) {
        size_t size = model->keys[batch.numbers[i]].size;
        uint64_t kind = next(model) % 8;
        batch.sizes[i] = kind == 0 && size > 0 ? next(model) % size
                         : kind < 5            ? size
                                               : SIZE_MAX_USED;
        memset(batch.bytes[i], 0x33, batch.sizes[i]);
    }
    build(model);
    assert_true(kvt_batch_load(model->fixture->store, batch.objects,
                               batch.count, NULL) >= 0);
    for (size_t i = 0; i < batch.count; i++) {
        check_loaded(model, i);
    }
}

static void do_exists(struct model *model)
{
    struct kvt_batch_options options = KVT_BATCH_OPTIONS_INIT;
    batch.count = choose(model, batch.numbers, true);
    memset(batch.sizes, 0, sizeof batch.sizes);
    build(model);
    kvt_batch_exists(model->fixture->store, batch.objects, batch.count,
                     &options);
    size_t prefix = 0;
    for (size_t i = 0; i < batch.count; i++) {
        struct modelled *key = &model->keys[batch.numbers[i]];
        bool there = batch.objects[i].status == KVT_OK;
        if (key->presence == EITHER) {
            key->presence = there ? PRESENT : ABSENT;
        }
        assert_int_equal(there, key->presence == PRESENT);
        assert_true(!there || batch.objects[i].size == key->size);
        prefix += there && prefix == i;
    }
    assert_int_equal(options.prefix_count, prefix);
}

static void do_remove(struct model *model)
{
    batch.count = choose(model, batch.numbers, false);
    memset(batch.sizes, 0, sizeof batch.sizes);
    build(model);
    kvt_batch_remove(model->fixture->store, batch.objects, batch.count, NULL);
    for (size_t i = 0; i < batch.count; i++) {
        struct modelled *key = &model->keys[batch.numbers[i]];
        if (key->presence != EITHER &&
            (batch.objects[i].status == KVT_OK) != (key->presence == PRESENT))
            print_message("status %d presence %d\n", batch.objects[i].status,
                          key->presence);
        assert_true(key->presence == EITHER ||
                    (batch.objects[i].status == KVT_OK) ==
                        (key->presence == PRESENT));
        key->presence = ABSENT;
    }
}

static int on_scan(const struct kvt_meta *metas, size_t count, void *arg)
{
    struct model *model = arg;
    for (size_t i = 0; i < count; i++) {
        struct modelled *key = &model->keys[number_of(metas[i].key)];
        if (key->presence == ABSENT ||
            (key->presence == PRESENT && key->size != metas[i].size)) {
            model->fault = "a scan reported what is not there";
        }
        key->told = true;
    }
    model->seen += count;
    return 0;
}

static void do_scan(struct model *model)
{
    for (size_t i = 0; i < KEYS; i++) {
        model->keys[i].told = false;
    }
    model->seen = 0;
    assert_int_equal(kvt_scan_meta(model->fixture->store, on_scan, model, NULL),
                     KVT_OK);
    uint64_t bytes = 0;
    for (size_t i = 0; i < KEYS; i++) {
        struct modelled *key = &model->keys[i];
        if (key->presence == EITHER) {
            key->presence = key->told ? PRESENT : ABSENT;
        }
        assert_int_equal(key->told, key->presence == PRESENT);
        bytes += key->told ? key->size : 0;
    }
    struct kvt_stats stats = stats_of(model->fixture->store);
    assert_int_equal(stats.objects, model->seen);
    assert_int_equal(stats.object_bytes, bytes);
    assert_int_equal(stats.checksum_misses, 0);
    assert_true(stats.peak_allocated_bytes <= stats.limit_bytes);
}

static void do_rare(struct model *model, uint64_t kind)
{
    if (kind < 10) {
        double low = (double)(next(model) % 100) / 100;
        model->refuse_evict = next(model) % 4 == 0;
        kvt_evict(model->fixture->store, low, low, NULL, NULL);
        model->refuse_evict = false;
    } else if (kind < 20) {
        do_scan(model);
    } else if (kind < 23) {
        store_restart(model->fixture);
    } else if (kind < 24) {
        assert_int_equal(kvt_remove_all(model->fixture->store, NULL), 0);
        for (size_t i = 0; i < KEYS; i++) {
            model->keys[i].presence = ABSENT;
        }
    }
}

static void step(struct model *model)
{
    uint64_t kind = next(model) % 1000;
    if (kind < 30) {
        do_rare(model, kind);
    } else if (kind < 400) {
        do_offload(model);
    } else if (kind < 800) {
        do_load(model);
    } else if (kind < 900) {
        do_exists(model);
    } else {
        do_remove(model);
    }
    if (model->fault != NULL) {
        fail_msg("%s", model->fault);
    }
}

/* A step moves 4.5 objects. */
static void run_model(struct store_fixture *fixture, const char *what,
                      size_t steps)
{
    struct model *model = calloc(1, sizeof *model);
    assert_non_null(model);
    model->fixture = fixture;
    model->random = seed_of_run(what);
    fixture->handlers.complete = on_complete;
    fixture->handlers.complete_arg = model;
    fixture->handlers.evict = on_evict;
    fixture->handlers.evict_arg = model;
    store_start(fixture);
    steps /= store_is_log(fixture) ? 4 : 2; /* a log takes longer */
    for (size_t i = 0; i < steps * test_scale(); i++) {
        step(model);
    }
    do_scan(model);
    store_restart(fixture);
    do_scan(model);
    store_stop(fixture);
    free(model);
}

static void an_unlimited_store_does_what_the_model_does(void **state)
{
    run_model(*state, "unlimited", 7000);
}

static void a_small_lru_store_does_what_the_model_does(void **state)
{
    store_set(*state, "total_size_limit", "300KiB");
    run_model(*state, "lru", 7000);
}

static void a_store_of_few_keys_does_what_the_model_does(void **state)
{
    store_set(*state, "eviction",
              store_is_log(*state) ? "second_chance" : "fifo");
    store_set(*state, "total_keys_limit", "60");
    run_model(*state, "few keys", 4000);
}

static void a_full_store_does_what_the_model_does(void **state)
{
    store_set(*state, "eviction", "none");
    store_set(*state, "total_size_limit", "300KiB");
    run_model(*state, "none", 4000);
}

/* Versions under threads --------------------------------------------------- */

enum {
    THREADS = 8,
    SHARED_KEYS = 64,
    VALUE_MAX = 9000,
};

/* Keys that all threads write, remove and read, and what they did. */
struct threads_of_keys {
    struct kvt_store *store;
    struct history history;
    uint64_t versions[SHARED_KEYS]; /* atomic: the last that was begun */
    bool removes;
    size_t steps;
    size_t loads;
    size_t misses;
    size_t bad_status;
    int last_status;
    char fault[256]; /* of the first one */
    size_t faults;
};

struct thread_of_keys {
    struct threads_of_keys *shared;
    uint64_t random;
    pthread_t thread;
};

static void note_fault(struct threads_of_keys *shared, uint64_t key,
                       uint64_t version)
{
    if (__atomic_fetch_add(&shared->faults, 1, __ATOMIC_RELAXED) == 0) {
        snprintf(shared->fault, sizeof shared->fault,
                 "key %llu: bytes that are not those of version %llu",
                 (unsigned long long)key, (unsigned long long)version);
    }
}

static void note_status(struct threads_of_keys *shared, int status)
{
    __atomic_fetch_add(&shared->bad_status, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&shared->last_status, status, __ATOMIC_RELAXED);
}

static size_t size_of_version(uint64_t version)
{
    return 16 + version * 977 % (VALUE_MAX - 16);
}

static void fill_version(unsigned char *bytes, uint64_t key, uint64_t version)
{
    memcpy(bytes, &key, 8);
    memcpy(bytes + 8, &version, 8);
    value_fill(bytes + 16, size_of_version(version) - 16, key << 32 | version);
}

static void write_version(struct threads_of_keys *shared, uint64_t number,
                          unsigned char *bytes)
{
    struct named_key named;
    name_key(&named, "r", number);
    uint64_t version =
        __atomic_add_fetch(&shared->versions[number], 1, __ATOMIC_RELAXED);
    fill_version(bytes, number, version);
    struct kvt_slice slice = {bytes, size_of_version(version), NULL};
    struct kvt_object object = {
        .key = named.key, .slices = &slice, .slice_count = 1};
    uint64_t start = history_now(&shared->history);
    kvt_batch_offload(shared->store, &object, 1, NULL);
    bool written = object.status == KVT_OK;
    history_add(&shared->history, written ? HISTORY_WRITE : HISTORY_FAILED,
                number, version, start);
    if (!written && object.status != KVT_ERR_UNABLE_OFFLOAD) {
        note_status(shared, object.status);
    }
}

static void remove_version(struct threads_of_keys *shared, uint64_t number)
{
    struct named_key named;
    name_key(&named, "r", number);
    struct kvt_object object = {.key = named.key};
    uint64_t start = history_now(&shared->history);
    kvt_batch_remove(shared->store, &object, 1, NULL);
    if (object.status == KVT_OK || object.status == KVT_ERR_OBJECT_NOT_FOUND) {
        history_add(&shared->history, HISTORY_REMOVE, number, 0, start);
    } else {
        note_status(shared, object.status);
    }
}

static void read_version(struct threads_of_keys *shared, uint64_t number,
                         unsigned char *bytes)
{
    struct named_key named;
    struct kvt_slice slice = {bytes, VALUE_MAX, NULL};
    name_key(&named, "r", number);
    struct kvt_object object = {
        .key = named.key, .slices = &slice, .slice_count = 1};
    uint64_t start = history_now(&shared->history);
    kvt_batch_load(shared->store, &object, 1, NULL);
    __atomic_fetch_add(&shared->loads, 1, __ATOMIC_RELAXED);
    if (object.status == KVT_ERR_OBJECT_NOT_FOUND) {
        __atomic_fetch_add(&shared->misses, 1, __ATOMIC_RELAXED);
        return;
    }
    if (object.status != KVT_OK) {
        note_status(shared, object.status);
        return;
    }
    uint64_t got_key;
    uint64_t version;
    memcpy(&got_key, bytes, 8);
    memcpy(&version, bytes + 8, 8);
    if (got_key != number || object.size != size_of_version(version) ||
        !value_is(bytes + 16, object.size - 16, number << 32 | version)) {
        note_fault(shared, number, version);
        return;
    }
    history_add(&shared->history, HISTORY_READ, number, version, start);
}

static void *run_history(void *arg)
{
    struct thread_of_keys *me = arg;
    struct threads_of_keys *shared = me->shared;
    unsigned char *bytes = malloc(VALUE_MAX);
    for (size_t i = 0; i < shared->steps; i++) {
        uint64_t random = random_next(&me->random);
        uint64_t number = random % SHARED_KEYS;
        uint64_t kind = random >> 32 & 255;
        struct named_key named;
        name_key(&named, "r", number);
        struct kvt_object object = {.key = named.key};
        if (kind < 90) {
            write_version(shared, number, bytes);
        } else if (kind < 220 || !shared->removes) {
            read_version(shared, number, bytes);
        } else if (kind < 225) {
            kvt_evict(shared->store, 0.7, 0.5, NULL, NULL);
        } else if (kind < 240) {
            remove_version(shared, number);
        } else {
            kvt_batch_exists(shared->store, &object, 1, NULL);
        }
    }
    free(bytes);
    return NULL;
}

static void check_history(struct store_fixture *fixture, const char *what,
                          bool removes)
{
    struct thread_of_keys threads[THREADS];
    struct threads_of_keys *shared = calloc(1, sizeof *shared);
    uint64_t seed = seed_of_run(what);
    assert_non_null(shared);
    alarm(55 * test_scale());
    store_start(fixture);
    shared->store = fixture->store;
    shared->removes = removes;
    shared->steps = 1500 * test_scale();
    history_init(&shared->history,
                 THREADS * shared->steps + 4 * (size_t)SHARED_KEYS);
    unsigned char *bytes = malloc(VALUE_MAX);
    for (uint64_t i = 0; i < SHARED_KEYS; i++) {
        write_version(shared, i, bytes);
    }
    for (size_t i = 0; i < THREADS; i++) {
        threads[i] = (struct thread_of_keys){.shared = shared,
                                             .random = random_next(&seed)};
        assert_int_equal(
            pthread_create(&threads[i].thread, NULL, run_history, &threads[i]),
            0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i].thread, NULL);
    }
    /* what is left at the end is what a restart finds */
    for (int restarts = 0; restarts < 2; restarts++) {
        for (uint64_t i = 0; i < SHARED_KEYS; i++) {
            read_version(shared, i, bytes);
        }
        store_restart(fixture);
        shared->store = fixture->store;
    }
    if (shared->faults > 0) {
        fail_msg("%zu of %zu loads: %s", shared->faults, shared->loads,
                 shared->fault);
    }
    char why[200];
    if (!history_is_linear(shared->history.ops, shared->history.count, why,
                           sizeof why)) {
        fail_msg("%zu operations are in no order: %s", shared->history.count,
                 why);
    }
    if (shared->bad_status > 0) {
        fail_msg("%zu calls failed, the last with %s", shared->bad_status,
                 kvt_status_name(shared->last_status));
    }
    assert_true(shared->loads > shared->misses);
    if (!removes) {
        assert_int_equal(shared->misses, 0);
    }
    assert_int_equal(stats_of(fixture->store).checksum_misses, 0);
    free(bytes);
    history_fini(&shared->history);
    free(shared);
    alarm(0);
}

static void no_older_version_is_seen_after_a_newer_one(void **state)
{
    check_history(*state, "versions", false);
}

static void nor_while_objects_are_removed_and_evicted(void **state)
{
    store_set(*state, "total_size_limit", "256KiB");
    check_history(*state, "versions with removals", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test_fast(an_unlimited_store_does_what_the_model_does),
        store_test_fast(a_small_lru_store_does_what_the_model_does),
        store_test_fast(a_full_store_does_what_the_model_does),
        store_test_fast(no_older_version_is_seen_after_a_newer_one),
        store_test_fast(nor_while_objects_are_removed_and_evicted),
    };
    const struct CMUnitTest owned[] = {
        store_test_fast(a_store_of_few_keys_does_what_the_model_does),
    };
    int failed = store_rows_run("model", tests, sizeof tests / sizeof tests[0]);
    failed |= store_owned_rows_run("model of an owner", owned, 1);
    return failed != 0;
}
