/* Many threads on few keys: everyone gets an answer, nobody sees a value
 * that nobody wrote, and the limit holds at every moment. */
#include "support/store_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    THREADS = 8,
    VALUE_MAX = 65536,
};

/* cmocka's asserts are for its own thread: threads count instead. */
struct worker {
    struct kvt_store *store;
    unsigned number;
    unsigned rounds;
    unsigned keys;
    const bool *stop;
    pthread_t thread;
    size_t done;
    size_t wrong;
    size_t missing;
    size_t refused;
    int last; /* the last status that was no success */
};

static void run_workers(struct kvt_store *store, struct worker *workers,
                        unsigned count, unsigned rounds, unsigned keys,
                        void *(*run)(void *))
{
    for (unsigned i = 0; i < count; i++) {
        workers[i] = (struct worker){
            .store = store, .number = i, .rounds = rounds, .keys = keys};
        assert_int_equal(
            pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
    }
    for (unsigned i = 0; i < count; i++) {
        pthread_join(workers[i].thread, NULL);
    }
}

static size_t size_of(uint64_t seed)
{
    static const size_t sizes[] = {1, 100, 4096, 8192, 20000, VALUE_MAX};
    return sizes[seed % 6];
}

/* A value of `size` bytes tells by its first word which one it is. */
static bool is_some_value(const unsigned char *bytes, size_t size,
                          uint64_t seeds)
{
    for (uint64_t seed = 0; seed < seeds; seed++) {
        if (value_is(bytes, size, seed)) {
            return true;
        }
    }
    return false;
}

static int offload_one(struct kvt_store *store, struct kvt_key key,
                       unsigned char *bytes, uint64_t seed, size_t size)
{
    value_fill(bytes, size, seed);
    struct kvt_slice slice = {bytes, size, NULL};
    struct kvt_object object = {.key = key, .slices = &slice, .slice_count = 1};
    int rc = kvt_batch_offload(store, &object, 1, NULL);
    return rc < 0 ? rc : object.status;
}

static int load_one(struct kvt_store *store, struct kvt_key key,
                    unsigned char *bytes, size_t *size)
{
    struct kvt_slice slice = {bytes, *size, NULL};
    struct kvt_object object = {.key = key, .slices = &slice, .slice_count = 1};
    int rc = kvt_batch_load(store, &object, 1, NULL);
    *size = object.size;
    return rc < 0 ? rc : object.status;
}

/* One key, many writers ---------------------------------------------------- */

static void *write_rounds(void *arg)
{
    struct worker *worker = arg;
    unsigned char *bytes = malloc(VALUE_MAX);
    for (unsigned i = 0; i < worker->rounds; i++) {
        struct named_key named;
        name_key(&named, "k", i % worker->keys);
        uint64_t seed = worker->number * 1000u + i;
        int rc =
            offload_one(worker->store, named.key, bytes, seed, size_of(seed));
        worker->done += rc == KVT_OK;
        worker->last = rc != KVT_OK ? rc : worker->last;
    }
    free(bytes);
    return NULL;
}

static void many_writers_of_one_key_all_finish(void **state)
{
    struct store_fixture *fixture = *state;
    struct worker workers[THREADS];
    alarm(50);
    store_start(fixture);
    run_workers(fixture->store, workers, THREADS, 200 * test_scale(), 1,
                write_rounds);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(workers[i].done, workers[i].rounds);
    }
    assert_int_equal(stats_of(fixture->store).objects, 1);
    alarm(0);
}

/* Batches that share keys wait for several turns at once. */
static void *write_batches(void *arg)
{
    struct worker *worker = arg;
    enum {
        COUNT = 16
    };
    unsigned char *bytes = malloc(COUNT * 512);
    for (unsigned i = 0; i < worker->rounds; i++) {
        struct kvt_object objects[COUNT];
        struct kvt_slice slices[COUNT];
        struct named_key names[COUNT];
        memset(objects, 0, sizeof objects);
        for (unsigned k = 0; k < COUNT; k++) {
            /* every thread in an order of its own */
            unsigned number = (k * 5 + worker->number * 3) % COUNT;
            slices[k] = (struct kvt_slice){bytes + k * 512, 512, NULL};
            value_fill(slices[k].base, 512, worker->number * 100000u + i);
            name_key(&names[k], "k", number);
            objects[k].key = names[k].key;
            objects[k].slices = &slices[k];
            objects[k].slice_count = 1;
        }
        int rc;
        if (i % 4 == 3) {
            rc = kvt_batch_remove(worker->store, objects, COUNT, NULL);
            worker->done += rc >= 0;
        } else {
            rc = kvt_batch_offload(worker->store, objects, COUNT, NULL);
            worker->done += rc == COUNT;
        }
    }
    free(bytes);
    return NULL;
}

static void batches_that_share_all_keys_all_finish(void **state)
{
    struct store_fixture *fixture = *state;
    struct worker workers[THREADS];
    alarm(50);
    store_start(fixture);
    run_workers(fixture->store, workers, THREADS, 60 * test_scale(), 16,
                write_batches);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(workers[i].done, workers[i].rounds);
    }
    alarm(0);
}

/* Readers of what is being replaced ---------------------------------------- */

static void *read_until_told(void *arg)
{
    struct worker *worker = arg;
    unsigned char *bytes = malloc(VALUE_MAX);
    while (!__atomic_load_n(worker->stop, __ATOMIC_RELAXED)) {
        size_t size = VALUE_MAX;
        int rc = load_one(worker->store, key_of("k"), bytes, &size);
        if (rc != KVT_OK) {
            worker->missing++;
            worker->last = rc;
        } else if (!is_some_value(bytes, size, worker->keys) ||
                   (worker->number == 1 && size != 4096)) {
            worker->wrong++;
        }
        __atomic_fetch_add(&worker->done, 1, __ATOMIC_RELAXED);
    }
    free(bytes);
    return NULL;
}

/* Replaces `k` again and again under four readers of `reading`. */
static void replace_under_readers(struct kvt_store *store,
                                  struct kvt_store *reading, bool one_size,
                                  bool may_miss)
{
    enum {
        VALUES = 12
    };
    struct worker readers[4];
    bool stop = false;
    assert_int_equal(
        put_value(store, key_of("k"), 0, one_size ? 4096 : size_of(0)), KVT_OK);
    for (unsigned i = 0; i < 4; i++) {
        readers[i] = (struct worker){.store = reading,
                                     .number = one_size,
                                     .keys = VALUES,
                                     .stop = &stop};
        assert_int_equal(pthread_create(&readers[i].thread, NULL,
                                        read_until_told, &readers[i]),
                         0);
    }
    for (unsigned i = 0; i < 4; i++) {
        while (__atomic_load_n(&readers[i].done, __ATOMIC_RELAXED) == 0) {
            sched_yield(); /* all of them read before anything is replaced */
        }
    }
    size_t failed = 0;
    for (uint64_t i = 0; i < 400 * test_scale(); i++) {
        uint64_t seed = i % VALUES;
        failed += put_value(store, key_of("k"), seed,
                            one_size ? 4096 : size_of(seed)) != KVT_OK;
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(readers[i].thread, NULL);
    }
    assert_int_equal(failed, 0);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(readers[i].done > 0);
        assert_int_equal(readers[i].wrong, 0);
        if (readers[i].missing > 0 && !may_miss) {
            fail_msg("%zu of %zu loads of a key that was always there "
                     "failed, the last with %s",
                     readers[i].missing, readers[i].done,
                     kvt_status_name(readers[i].last));
        }
    }
    assert_int_equal(stats_of(store).checksum_misses, 0);
    assert_int_equal(stats_of(store).quarantined_objects, 0);
}

static void readers_see_the_old_or_the_new_value_whole(void **state)
{
    struct store_fixture *fixture = *state;
    store_start(fixture);
    replace_under_readers(fixture->store, fixture->store, true, false);
}

static void readers_see_the_old_or_the_new_size(void **state)
{
    struct store_fixture *fixture = *state;
    store_start(fixture);
    replace_under_readers(fixture->store, fixture->store, false, false);
}

static void a_read_only_reader_sees_the_old_or_the_new_value(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_store *reader;
    struct kvt_error err;
    store_start(fixture);
    assert_int_equal(store_open_other(fixture, true, &reader, &err), KVT_OK);
    /* one that does not own a log finds what was sealed, and not gone since */
    replace_under_readers(fixture->store, reader, false, store_is_log(fixture));
    assert_int_equal(stats_of(reader).checksum_misses, 0);
    kvt_store_close(reader);
}

/* Pins --------------------------------------------------------------------- */

enum {
    PINNED = 24,
    PINNED_SIZE = 2 << 20,
};

struct pinned_load {
    struct kvt_store *store;
    struct named_key names[PINNED];
    struct kvt_slice slices[PINNED];
    struct kvt_object objects[PINNED];
    unsigned char *bytes;
    int loaded;
};

static void *load_all_pinned(void *arg)
{
    struct pinned_load *load = arg;
    load->loaded = kvt_batch_load(load->store, load->objects, PINNED, NULL);
    return NULL;
}

/* Everything is asked to go while a batch reads it: it stays until it is
 * read. */
static void what_is_being_read_is_not_evicted(void **state)
{
    struct store_fixture *fixture = *state;
    static struct pinned_load load;
    pthread_t thread;
    alarm(50);
    store_start(fixture);
    load = (struct pinned_load){.store = fixture->store};
    load.bytes = malloc((size_t)PINNED * PINNED_SIZE);
    assert_non_null(load.bytes);
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < PINNED; i++) {
            name_key(&load.names[i], "k", i);
            load.slices[i] = (struct kvt_slice){load.bytes + i * PINNED_SIZE,
                                                PINNED_SIZE, NULL};
            load.objects[i] = (struct kvt_object){.key = load.names[i].key,
                                                  .slices = &load.slices[i],
                                                  .slice_count = 1};
            value_fill(load.slices[i].base, PINNED_SIZE, i);
        }
        assert_int_equal(
            kvt_batch_offload(fixture->store, load.objects, PINNED, NULL),
            PINNED);
        uint64_t before = stats_of(fixture->store).adapter.transfers;
        assert_int_equal(pthread_create(&thread, NULL, load_all_pinned, &load),
                         0);
        while (stats_of(fixture->store).adapter.transfers == before) {
        }
        kvt_evict(fixture->store, 0, 0, NULL, NULL);
        pthread_join(thread, NULL);
        assert_int_equal(load.loaded, PINNED);
        for (size_t i = 0; i < PINNED; i++) {
            assert_true(value_is(load.slices[i].base, PINNED_SIZE, i));
        }
        assert_int_equal(kvt_evict(fixture->store, 0, 0, NULL, NULL), 0);
        assert_int_equal(stats_of(fixture->store).objects, 0);
    }
    free(load.bytes);
    alarm(0);
}

/* Limits ------------------------------------------------------------------- */

static void *fill_rounds(void *arg)
{
    struct worker *worker = arg;
    unsigned char *bytes = malloc(VALUE_MAX);
    for (unsigned i = 0; i < worker->rounds; i++) {
        struct named_key named;
        uint64_t random = worker->number * 7919u + i;
        random = random_next(&random);
        name_key(&named, "k", random % worker->keys);
        uint64_t seed = random >> 20;
        int rc =
            offload_one(worker->store, named.key, bytes, seed, random % 30000);
        worker->done += rc == KVT_OK;
        worker->refused += rc == KVT_ERR_UNABLE_OFFLOAD;
        worker->last = rc != KVT_OK ? rc : worker->last;
        if (i % 16 == 15) {
            struct kvt_object object = {.key = named.key};
            kvt_batch_remove(worker->store, &object, 1, NULL);
        }
    }
    free(bytes);
    return NULL;
}

struct watch {
    const char *path;
    const bool *stop;
    uint64_t peak;
};

static void *watch_disk(void *arg)
{
    struct watch *watch = arg;
    while (!__atomic_load_n(watch->stop, __ATOMIC_RELAXED)) {
        /* one look counts what goes and what comes while it is taken */
        uint64_t used = UINT64_MAX;
        for (int i = 0; i < 3; i++) {
            uint64_t look = disk_usage(watch->path);
            used = look < used ? look : used;
        }
        watch->peak = used > watch->peak ? used : watch->peak;
    }
    return NULL;
}

static void fill_under_a_limit(struct store_fixture *fixture,
                               const char *policy)
{
    enum {
        LIMIT = 2 << 20
    };
    struct worker workers[THREADS];
    bool stop = false;
    struct watch watch = {fixture->path, &stop, 0};
    pthread_t watcher;
    store_set(fixture, "eviction", policy);
    store_set_number(fixture, "total_size_limit", LIMIT);
    store_start(fixture);
    assert_int_equal(pthread_create(&watcher, NULL, watch_disk, &watch), 0);
    run_workers(fixture->store, workers, THREADS, 250 * test_scale(), 1000,
                fill_rounds);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    pthread_join(watcher, NULL);
    size_t done = 0;
    size_t refused = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        done += workers[i].done;
        refused += workers[i].refused;
        assert_int_equal(workers[i].done + workers[i].refused,
                         workers[i].rounds);
    }
    struct kvt_stats stats = stats_of(fixture->store);
    assert_true(stats.peak_allocated_bytes <= LIMIT);
    assert_true(stats.allocated_bytes <= stats.peak_allocated_bytes);
    assert_true(stats.allocated_bytes > LIMIT / 2);
    assert_true(done > 0);
    /* directories that are made once, and the files beside the objects */
    const uint64_t fixed = 300 * 4096;
    assert_true(watch.peak <= LIMIT + fixed);
    assert_true(disk_usage(fixture->path) <= LIMIT + fixed);
    if (strcmp(policy, "none") != 0) {
        assert_int_equal(refused, 0);
        assert_true(stats.evicted_objects > 0);
    } else {
        assert_true(refused > 0);
        assert_int_equal(stats.evicted_objects, 0);
    }
}

static void the_limit_holds_under_eight_writers_that_evict(void **state)
{
    alarm(50);
    fill_under_a_limit(*state, store_is_log(*state) ? "second_chance" : "lru");
    alarm(0);
}

static void the_limit_holds_under_eight_writers_that_are_refused(void **state)
{
    alarm(50);
    fill_under_a_limit(*state, "none");
    alarm(0);
}

/* All at once -------------------------------------------------------------- */

static int see(const struct kvt_meta *metas, size_t count, void *arg)
{
    size_t *seen = arg;
    for (size_t i = 0; i < count; i++) {
        *seen += metas[i].key.size > 0;
    }
    return 0;
}

static void *do_everything(void *arg)
{
    struct worker *worker = arg;
    unsigned char *bytes = malloc(VALUE_MAX);
    uint64_t random = worker->number;
    for (unsigned i = 0; i < worker->rounds; i++) {
        struct named_key named;
        uint64_t number = random_next(&random);
        name_key(&named, "k", number % worker->keys);
        struct kvt_object object = {.key = named.key};
        struct kvt_stats stats = {.size = sizeof stats};
        size_t size = VALUE_MAX;
        size_t seen = 0;
        int rc = KVT_OK;
        switch (number >> 32 & 31) {
        case 0:
            rc = kvt_scan_meta(worker->store, see, &seen, NULL);
            break;
        case 1:
            rc = kvt_evict(worker->store, 0.5, 0.3, NULL, NULL);
            break;
        case 2:
            rc = worker->number == 0 ? kvt_remove_all(worker->store, NULL)
                                     : KVT_OK;
            break;
        case 3:
            rc = kvt_stats(worker->store, &stats);
            break;
        case 4:
        case 5:
            kvt_batch_remove(worker->store, &object, 1, NULL);
            break;
        case 6:
        case 7:
            kvt_batch_exists(worker->store, &object, 1, NULL);
            break;
        case 8:
            kvt_is_offload_enabled(worker->store);
            break;
        default:
            if ((number >> 40 & 1) != 0) {
                uint64_t seed = number >> 48 & 7;
                rc = offload_one(worker->store, named.key, bytes, seed, 3000);
                rc = rc == KVT_ERR_UNABLE_OFFLOAD ? KVT_OK : rc;
            } else {
                rc = load_one(worker->store, named.key, bytes, &size);
                worker->wrong +=
                    rc == KVT_OK &&
                    (size != 3000 || !is_some_value(bytes, size, 8));
                rc = rc == KVT_ERR_OBJECT_NOT_FOUND ? KVT_OK : rc;
            }
        }
        worker->done += rc == KVT_OK;
        worker->last = rc != KVT_OK ? rc : worker->last;
    }
    free(bytes);
    return NULL;
}

static void everything_at_once_on_few_keys(void **state)
{
    struct store_fixture *fixture = *state;
    struct worker workers[THREADS];
    alarm(50);
    store_set(fixture, "total_size_limit", "128KiB");
    store_start(fixture);
    run_workers(fixture->store, workers, THREADS, 400 * test_scale(), 40,
                do_everything);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(workers[i].wrong, 0);
        assert_string_equal(kvt_status_name(workers[i].last), "KVT_OK");
        assert_int_equal(workers[i].done, workers[i].rounds);
    }
    struct kvt_stats stats = stats_of(fixture->store);
    assert_true(stats.peak_allocated_bytes <= 128 << 10);
    assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
    stats = stats_of(fixture->store);
    assert_int_equal(stats.objects, 0);
    assert_int_equal(stats.allocated_bytes, 0);
    assert_int_equal(stats.object_bytes, 0);
    alarm(0);
}

/* Batches of several runs, each of which needs room while those before it are
 * held, beside somebody who takes everything away. */
static void *write_large_batches(void *arg)
{
    struct worker *worker = arg;
    enum {
        COUNT = 12,
        SIZE = 512 << 10
    };
    unsigned char *bytes = malloc(SIZE);
    value_fill(bytes, SIZE, 1);
    for (unsigned i = 0; i < worker->rounds; i++) {
        struct kvt_object objects[COUNT];
        struct named_key names[COUNT];
        struct kvt_slice slice = {bytes, SIZE, NULL};
        bool answered = true;
        memset(objects, 0, sizeof objects);
        for (unsigned k = 0; k < COUNT; k++) {
            name_key(&names[k], "k", (worker->number * 100u + i) * COUNT + k);
            objects[k].key = names[k].key;
            objects[k].slices = &slice;
            objects[k].slice_count = 1;
        }
        for (unsigned k = 0; k < 20 && worker->number == 0; k++) {
            answered &= kvt_remove_all(worker->store, NULL) == KVT_OK;
        }
        if (worker->number > 0) {
            answered =
                kvt_batch_offload(worker->store, objects, COUNT, NULL) >= 0;
        }
        worker->done += answered;
    }
    free(bytes);
    return NULL;
}

static void removing_all_beside_large_batches_ends(void **state)
{
    struct store_fixture *fixture = *state;
    struct worker workers[4];
    alarm(50);
    store_set(fixture, "total_size_limit", "7MiB");
    if (store_is_log(fixture)) {
        store_set(fixture, "bucket.size_limit", "1MiB");
    }
    store_start(fixture);
    run_workers(fixture->store, workers, 4, 40 * test_scale(), 0,
                write_large_batches);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(workers[i].done, workers[i].rounds);
    }
    assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
    assert_int_equal(stats_of(fixture->store).allocated_bytes, 0);
    alarm(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test_fast(many_writers_of_one_key_all_finish),
        store_test_fast(batches_that_share_all_keys_all_finish),
        store_test(readers_see_the_old_or_the_new_value_whole),
        store_test(readers_see_the_old_or_the_new_size),
        store_test(a_read_only_reader_sees_the_old_or_the_new_value),
        store_test(the_limit_holds_under_eight_writers_that_evict),
        store_test_fast(the_limit_holds_under_eight_writers_that_are_refused),
        store_test_fast(everything_at_once_on_few_keys),
        store_test_fast(removing_all_beside_large_batches_ends),
    };
    const struct CMUnitTest owned[] = {
        store_test_fast(what_is_being_read_is_not_evicted),
    };
    int failed = store_owned_rows_run("threads of an owner", owned,
                                      sizeof owned / sizeof owned[0]);
    failed |= store_rows_run("threads", tests, sizeof tests / sizeof tests[0]);
    return failed != 0;
}
