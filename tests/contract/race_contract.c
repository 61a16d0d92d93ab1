/* Races, widened: delays of the file system by seeded chance, while threads
 * offload, replace, load, remove, evict and scan few keys under handlers that
 * refuse. Each load has the right bytes of one version, and there is an order
 * of all that explains what was seen (support/history.h). A miss is always
 * allowed: this store evicts. KVT_TEST_SEED repeats one seed. */
#include "support/history.h"
#include "support/store_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    KEYS = 6,
    WRITERS = 3,
    READERS = 3,
    STEPS = 30,
    SIZE_MAX_BYTES = 9000,
    SEEDS = 6,
    LOADS_MAX = 100000,
    HISTORY_MAX = 2 * LOADS_MAX,
    KEY_LIMIT = 4, /* so that eviction is always at work */
};

struct race {
    struct store_fixture *fixture;
    uint64_t seed;
    struct history history;
    uint64_t attempted[KEYS]; /* atomic: the last version of each key */
    int stop;
    size_t loaded;
    size_t missed;
    size_t refused;
    uint64_t completions; /* atomic, as all that handlers count */
    uint64_t evictions;
    int keep_all; /* nothing more is to be evicted */
};

struct actor {
    struct race *race;
    uint64_t random;
    size_t number;
};

/* A stream of its own for each thread: xorshift. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static size_t size_of(uint64_t version)
{
    return 100 + (size_t)(version * 977 % (SIZE_MAX_BYTES - 200));
}

static uint64_t value_seed(size_t key, uint64_t version)
{
    return version * KEYS + key + 1;
}

static void name_of(size_t key, char name[16])
{
    snprintf(name, 16, "key%zu", key);
}

static void write_next(struct actor *actor, size_t key)
{
    struct race *race = actor->race;
    char name[16];
    uint64_t version =
        __atomic_add_fetch(&race->attempted[key], 1, __ATOMIC_SEQ_CST);
    name_of(key, name);
    uint64_t start = history_now(&race->history);
    bool written =
        put_value(race->fixture->store, key_of(name), value_seed(key, version),
                  size_of(version)) == KVT_OK;
    /* a handler refuses what may have been seen for a moment */
    history_add(&race->history, written ? HISTORY_WRITE : HISTORY_UNKNOWN, key,
                version, start);
    if (!written) {
        __atomic_add_fetch(&race->refused, 1, __ATOMIC_RELAXED);
    }
}

static void *writer(void *arg)
{
    struct actor *actor = arg;
    for (size_t i = 0; i < STEPS; i++) {
        write_next(actor, next_random(&actor->random) % KEYS);
    }
    return NULL;
}

static uint64_t version_of(const struct race *race, size_t key,
                           const unsigned char *bytes, size_t size)
{
    uint64_t last = __atomic_load_n(&race->attempted[key], __ATOMIC_SEQ_CST);
    for (uint64_t version = last; version > 0; version--) {
        if (size == size_of(version) &&
            value_is(bytes, size, value_seed(key, version))) {
            return version;
        }
    }
    return 0;
}

static void read_one(struct actor *actor, size_t key)
{
    struct race *race = actor->race;
    unsigned char bytes[SIZE_MAX_BYTES];
    char name[16];
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    name_of(key, name);
    struct kvt_object object = {
        .key = key_of(name), .slices = &slice, .slice_count = 1};
    uint64_t start = history_now(&race->history);
    kvt_batch_load(race->fixture->store, &object, 1, NULL);
    if (object.status == KVT_ERR_OBJECT_NOT_FOUND) {
        __atomic_add_fetch(&race->missed, 1, __ATOMIC_RELAXED);
        return;
    }
    if (object.status != KVT_OK) {
        fprintf(stderr, "seed %llu: key %zu: %s, errno %d\n",
                (unsigned long long)race->seed, key,
                kvt_status_name(object.status), object.errnum);
        abort();
    }
    uint64_t version = version_of(race, key, bytes, (size_t)object.size);
    if (version == 0) {
        fprintf(stderr, "seed %llu: key %zu: bytes of no version\n",
                (unsigned long long)race->seed, key);
        abort();
    }
    history_add(&race->history, HISTORY_READ, key, version, start);
    __atomic_add_fetch(&race->loaded, 1, __ATOMIC_RELAXED);
}

static void *reader(void *arg)
{
    struct actor *actor = arg;
    struct race *race = actor->race;
    while (__atomic_load_n(&race->stop, __ATOMIC_ACQUIRE) == 0 &&
           __atomic_load_n(&race->loaded, __ATOMIC_RELAXED) < LOADS_MAX) {
        read_one(actor, next_random(&actor->random) % KEYS);
    }
    return NULL;
}

static int see_meta(const struct kvt_meta *metas, size_t count, void *arg)
{
    (void)metas;
    (void)arg;
    return count > KEYS ? 1 : 0;
}

/* Takes away what others write and read. */
static void *spoiler(void *arg)
{
    struct actor *actor = arg;
    struct kvt_store *store = actor->race->fixture->store;
    while (__atomic_load_n(&actor->race->stop, __ATOMIC_ACQUIRE) == 0) {
        struct timespec pause = {0, 1500000};
        uint64_t what = next_random(&actor->random) % 16;
        nanosleep(&pause, NULL);
        size_t key = next_random(&actor->random) % KEYS;
        struct kvt_evict_result result;
        struct kvt_error err;
        char name[16];
        name_of(key, name);
        if (what < 6) {
            uint64_t start = history_now(&actor->race->history);
            int rc = remove_key(store, key_of(name));
            if (rc == KVT_OK || rc == KVT_ERR_OBJECT_NOT_FOUND) {
                history_add(&actor->race->history, HISTORY_REMOVE, key, 0,
                            start);
            }
        } else if (what < 8) {
            kvt_evict(store, 0.0, 0.0, &result, &err);
        } else if (what < 12) {
            kvt_scan_meta(store, see_meta, NULL, &err);
        } else {
            has_key(store, key_of(name));
        }
    }
    return NULL;
}

/* Handlers: some refuse; the complete handler also reads what it is told. */
static int on_complete(const struct kvt_meta *metas, size_t count, void *arg)
{
    struct race *race = arg;
    uint64_t now = __atomic_add_fetch(&race->completions, 1, __ATOMIC_RELAXED);
    if (now % 7 == 0 && count > 0) {
        struct kvt_object object = {.key = metas[0].key};
        kvt_batch_exists(race->fixture->store, &object, 1, NULL);
    }
    return now % 11 == 0 ? 1 : 0;
}

static int on_evict(const struct kvt_meta *metas, size_t count, void *arg)
{
    struct race *race = arg;
    (void)metas;
    (void)count;
    uint64_t now = __atomic_add_fetch(&race->evictions, 1, __ATOMIC_RELAXED);
    bool keep_all = __atomic_load_n(&race->keep_all, __ATOMIC_ACQUIRE) != 0;
    return keep_all || now % 3 == 0 ? 1 : 0;
}

/* Rules that make calls of chosen kinds late, by chance. */
static void make_rules(uint64_t seed, char *rules, size_t size)
{
    static const char *const places[] = {
        "open@*tmp*", "write", "close",      "rename",      "remove",
        "read",       "stat",  "open@*key*", "rename@*/k*", "sync"};
    uint64_t random = seed * 2654435761u + 88172645463325252u;
    size_t at = 0;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        unsigned chance = (unsigned)(next_random(&random) % 5);
        unsigned delay = (unsigned)(next_random(&random) % 6) + 1;
        if (chance > 1) {
            at += (size_t)snprintf(rules + at, size - at,
                                   "%s,prob=0.%u,delay=%u;", places[i], chance,
                                   delay);
        }
    }
}

static void start_threads(struct race *race)
{
    pthread_t writers[WRITERS];
    pthread_t others[READERS + 2];
    struct actor actors[WRITERS + READERS + 2];
    for (size_t i = 0; i < WRITERS + READERS + 2; i++) {
        actors[i] = (struct actor){
            race, race->seed * 6364136223846793005u + i * 1442695040888963407u,
            i};
        if (i < WRITERS) {
            pthread_create(&writers[i], NULL, writer, &actors[i]);
        } else {
            pthread_create(&others[i - WRITERS], NULL,
                           i < WRITERS + READERS ? reader : spoiler,
                           &actors[i]);
        }
    }
    for (size_t i = 0; i < WRITERS; i++) {
        pthread_join(writers[i], NULL);
    }
    __atomic_store_n(&race->stop, 1, __ATOMIC_RELEASE);
    for (size_t i = 0; i < READERS + 2; i++) {
        pthread_join(others[i], NULL);
    }
}

/* Which keys are there, a bit each. */
static unsigned present(struct kvt_store *store)
{
    unsigned bits = 0;
    for (size_t key = 0; key < KEYS; key++) {
        char name[16];
        name_of(key, name);
        bits |= (has_key(store, key_of(name)) ? 1U : 0U) << key;
    }
    return bits;
}

/* Which keys are there once no eviction is under way: until then objects on
 * their way out are counted, but not found. */
static unsigned settled(struct race *race)
{
    struct kvt_store *store = race->fixture->store;
    __atomic_store_n(&race->keep_all, 1, __ATOMIC_RELEASE);
    unsigned bits = present(store);
    for (int i = 0; i < 10000; i++) {
        if (stats_of(store).objects == (uint64_t)__builtin_popcount(bits)) {
            return bits;
        }
        struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
        bits = present(store);
    }
    fail_msg("seed %llu: %llu objects are counted, %#x are found",
             (unsigned long long)race->seed,
             (unsigned long long)stats_of(store).objects, bits);
    return 0;
}

static void race_once(struct store_fixture *fixture, uint64_t seed)
{
    static struct race race;
    char rules[1024] = "";
    char fs[64];
    race = (struct race){.fixture = fixture, .seed = seed};
    history_init(&race.history, HISTORY_MAX);
    make_rules(seed, rules, sizeof rules);
    snprintf(fs, sizeof fs, "fault:%s", fixture->row->fs);
    store_set(fixture, "fs", fs);
    store_set(fixture, "fault.rules", rules);
    store_set_number(fixture, "fault.seed", seed);
    store_set(fixture, "eviction",
              store_is_log(fixture) && seed % 2 == 0 ? "second_chance" : "lru");
    fixture->handlers.complete = on_complete;
    fixture->handlers.complete_arg = &race;
    fixture->handlers.evict = on_evict;
    fixture->handlers.evict_arg = &race;
    store_start(fixture);
    start_threads(&race);

    struct actor actor = {&race, 1, 0};
    for (size_t key = 0; key < KEYS; key++) {
        read_one(&actor, key);
    }
    assert_true(stats_of(fixture->store).objects <= KEY_LIMIT);
    unsigned before = settled(&race);
    store_restart(fixture);
    for (size_t key = 0; key < KEYS; key++) {
        read_one(&actor, key);
    }
    unsigned after = settled(&race);
    if (after != before) {
        fail_msg("seed %llu: keys %#x before the restart, %#x after it",
                 (unsigned long long)seed, before, after);
    }
    kvt_remove_all(fixture->store, NULL);
    assert_int_equal(stats_of(fixture->store).allocated_bytes,
                     stats_of(fixture->store).quarantined_objects);
    store_stop(fixture);
    char why[200];
    if (!history_is_linear(race.history.ops, race.history.count, why,
                           sizeof why)) {
        fail_msg("seed %llu: %zu operations are in no order: %s",
                 (unsigned long long)seed, race.history.count, why);
    }
    history_fini(&race.history);
    print_message("seed %llu: %zu loads, %zu misses, %zu refused\n",
                  (unsigned long long)seed, race.loaded, race.missed,
                  race.refused);
    assert_true(race.loaded > 0 && race.refused > 0);
}

static void histories_of_races_are_in_order(void **state)
{
    struct store_fixture *fixture = *state;
    const char *only = getenv("KVT_TEST_SEED");
    store_set_number(fixture, "total_keys_limit", KEY_LIMIT);
    if (only != NULL) {
        race_once(fixture, strtoull(only, NULL, 0));
        return;
    }
    for (uint64_t seed = 1; seed <= SEEDS * test_scale(); seed++) {
        race_once(fixture, seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test_fast(histories_of_races_are_in_order),
    };
    return store_rows_run("races", tests, sizeof tests / sizeof tests[0]);
}
