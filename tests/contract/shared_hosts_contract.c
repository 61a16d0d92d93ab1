/* Several hosts on one root, on what file systems are like: names and sizes
 * that lie for a while, files that vanish under a reader, no rename, no links.
 * A reader gets the old or the new object, whole, or a miss. */
#include "support/store_fixture.h"

#include "core/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    KEYS = 5,
    WRITERS = 2,
    READERS = 3,
    RUN_MS = 250,
    SIZE_MAX_BYTES = 200000,
};

struct host {
    pthread_t thread;
    struct kvt_store *store;
    size_t number;
    size_t hits;
    size_t misses;
    char fault[128];
};

/* Shared; atomic. */
static uint64_t attempted[KEYS];
static int stop;

static size_t size_of(uint64_t version)
{
    return (size_t)(version * 7919 % SIZE_MAX_BYTES);
}

static uint64_t seed_of(uint64_t key, uint64_t version)
{
    return version * KEYS + key + 1;
}

static void *write_versions(void *arg)
{
    struct host *host = arg;
    static unsigned char bytes[WRITERS][SIZE_MAX_BYTES];
    uint64_t random = host->number;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        /* all writers write all keys, of which the last is mine alone */
        uint64_t key = random_next(&random) % KEYS;
        struct named_key named;
        name_key(&named, "k", key);
        struct kvt_object object = {.key = named.key};
        uint64_t version =
            __atomic_add_fetch(&attempted[key], 1, __ATOMIC_SEQ_CST);
        struct kvt_slice slice = {bytes[host->number], size_of(version), NULL};
        if (random_next(&random) % 6 == 0) {
            kvt_batch_remove(host->store, &object, 1, NULL);
            continue;
        }
        value_fill(slice.base, slice.size, seed_of(key, version));
        object.slices = &slice;
        object.slice_count = 1;
        if (kvt_batch_offload(host->store, &object, 1, NULL) != 1) {
            snprintf(host->fault, sizeof host->fault, "an offload: %s, %d",
                     kvt_status_name(object.status), object.errnum);
        }
    }
    return NULL;
}

static bool is_some_version(const unsigned char *bytes, size_t size,
                            uint64_t key)
{
    uint64_t last = __atomic_load_n(&attempted[key], __ATOMIC_SEQ_CST);
    for (uint64_t version = last; version > 0; version--) {
        if (size_of(version) == size &&
            value_is(bytes, size, seed_of(key, version))) {
            return true;
        }
    }
    return false;
}

static void *read_versions(void *arg)
{
    struct host *host = arg;
    unsigned char *bytes = malloc(SIZE_MAX_BYTES);
    uint64_t random = host->number + 100;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        uint64_t key = random_next(&random) % KEYS;
        struct named_key named;
        name_key(&named, "k", key);
        struct kvt_slice slice = {bytes, SIZE_MAX_BYTES, NULL};
        struct kvt_object object = {
            .key = named.key, .slices = &slice, .slice_count = 1};
        kvt_batch_load(host->store, &object, 1, NULL);
        if (object.status == KVT_OK) {
            host->hits++;
            if (!is_some_version(bytes, (size_t)object.size, key)) {
                snprintf(host->fault, sizeof host->fault,
                         "wrong bytes, %llu of them",
                         (unsigned long long)object.size);
            }
        } else if (object.status == KVT_ERR_OBJECT_NOT_FOUND ||
                   object.status == KVT_ERR_CHECKSUM_MISMATCH) {
            host->misses++;
        } else {
            snprintf(host->fault, sizeof host->fault, "a load: %s, %d",
                     kvt_status_name(object.status), object.errnum);
        }
    }
    free(bytes);
    return NULL;
}

static void readers_get_whole_objects_or_miss(void **state)
{
    struct store_fixture *fixture = *state;
    struct host hosts[WRITERS + READERS];
    struct kvt_error err;
    memset(attempted, 0, sizeof attempted);
    stop = 0;
    store_set(fixture, "threads", "2");
    for (size_t i = 0; i < WRITERS + READERS; i++) {
        hosts[i] = (struct host){.number = i};
        if (store_open_other(fixture, false, &hosts[i].store, &err) != KVT_OK) {
            fail_msg("%s", err.message);
        }
    }
    for (size_t i = 0; i < WRITERS + READERS; i++) {
        pthread_create(&hosts[i].thread, NULL,
                       i < WRITERS ? write_versions : read_versions, &hosts[i]);
    }
    struct timespec pause = {0, RUN_MS * 1000000};
    for (unsigned i = 0; i < test_scale(); i++) {
        nanosleep(&pause, NULL);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    size_t hits = 0;
    for (size_t i = 0; i < WRITERS + READERS; i++) {
        pthread_join(hosts[i].thread, NULL);
        if (hosts[i].fault[0] != '\0') {
            fail_msg("host %zu: %s", i, hosts[i].fault);
        }
        hits += hosts[i].hits;
    }
    assert_true(hits > 0);
    for (size_t i = 0; i < WRITERS + READERS; i++) {
        kvt_store_close(hosts[i].store);
    }
}

/* What one host acknowledged, the others get: at once, or when their caches
 * have forgotten. */
static void what_is_acknowledged_is_seen_by_others(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_store *other;
    struct kvt_error err;
    store_start(fixture);
    assert_int_equal(store_open_other(fixture, false, &other, &err), KVT_OK);
    for (uint64_t version = 1; version < 4; version++) {
        int rc = KVT_ERR_OBJECT_NOT_FOUND;
        assert_int_equal(put_named(fixture->store, "k", 1, version, 5000), 0);
        int64_t end_ns = kvt_clock_ns() + INT64_C(5000000000);
        bool seen = false;
        while (!seen && kvt_clock_ns() < end_ns) {
            static unsigned char bytes[5000];
            struct kvt_slice slice = {bytes, sizeof bytes, NULL};
            struct kvt_object object = {
                .key = key_of("k1"), .slices = &slice, .slice_count = 1};
            kvt_batch_load(other, &object, 1, NULL);
            rc = object.status;
            seen = rc == KVT_OK && value_is(bytes, 5000, version);
            if (rc == KVT_OK && !seen) { /* an older one, whole */
                assert_true(version > 1 && value_is(bytes, 5000, version - 1));
            }
        }
        assert_true(seen);
    }
    assert_int_equal(remove_named(other, "k", 1), KVT_OK);
    kvt_store_close(other);
}

/* Both see an empty root, and both make its record. */
static void first_writers_agree_whatever_the_mount_is_like(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_store *stores[3];
    struct kvt_error err;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(store_open_other(fixture, false, &stores[i], &err),
                         KVT_OK);
        assert_int_equal(put_named(stores[i], "k", i, i, 700), KVT_OK);
    }
    struct timespec settle = {0, 120000000};
    nanosleep(&settle, NULL);
    for (size_t i = 0; i < 3; i++) {
        for (uint64_t k = 0; k < 3; k++) {
            assert_int_equal(get_named(stores[i], "k", k, k, 700), KVT_OK);
        }
        assert_int_equal(stats_of(stores[i]).objects, 3);
    }
    for (size_t i = 0; i < 3; i++) {
        kvt_store_close(stores[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test_fast(first_writers_agree_whatever_the_mount_is_like),
        store_test_fast(what_is_acknowledged_is_seen_by_others),
        store_test_fast(readers_get_whole_objects_or_miss),
    };
    return store_shared_fact_rows_run("hosts", tests,
                                      sizeof tests / sizeof tests[0]) != 0;
}
