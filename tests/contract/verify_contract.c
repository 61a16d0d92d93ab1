/* kvt_verify over every layout and adapter: what is whole is good, whoever
 * writes meanwhile; a verification changes nothing and ends when it is told. */
#define _XOPEN_SOURCE 700
#include "support/store_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    KEYS = 90,
};

static size_t size_of(uint64_t i)
{
    return i % 7 == 0 ? 0 : (size_t)(i * 997 + 1);
}

static struct kvt_key long_key(void)
{
    static char text[600];
    memset(text, ':', sizeof text);
    return (struct kvt_key){text, sizeof text};
}

/* Replaced, removed, empty and long keys among others; the bytes that live. */
static uint64_t put_some(struct kvt_store *store)
{
    uint64_t bytes = 1000;
    for (uint64_t i = 0; i < KEYS; i++) {
        assert_int_equal(put_named(store, "k", i, i, size_of(i)), KVT_OK);
    }
    for (uint64_t i = 0; i < KEYS; i += 9) {
        assert_int_equal(put_named(store, "k", i, i + 1000, size_of(i) + 5),
                         KVT_OK);
    }
    for (uint64_t i = 1; i < KEYS; i += 9) {
        assert_int_equal(remove_named(store, "k", i), KVT_OK);
    }
    for (uint64_t i = 0; i < KEYS; i++) {
        bytes += i % 9 == 1 ? 0 : size_of(i) + (i % 9 == 0 ? 5 : 0);
    }
    assert_int_equal(put_value(store, long_key(), 7, 1000), KVT_OK);
    return bytes;
}

static struct kvt_verify_result verify(struct kvt_store *store, int repair)
{
    struct kvt_verify_options options = KVT_VERIFY_OPTIONS_INIT;
    struct kvt_verify_result result;
    struct kvt_error err = {0};
    options.repair = repair;
    options.bytes_per_second = 0;
    int rc = kvt_verify(store, &options, &result, &err);
    if (rc != KVT_OK) {
        fail_msg("%s: %s", kvt_status_name(rc), err.message);
    }
    return result;
}

static void expect_all_good(struct kvt_store *store, uint64_t bytes)
{
    struct kvt_verify_result result = verify(store, 0);
    assert_int_equal(result.objects, KEYS - KEYS / 9 + 1);
    assert_int_equal(result.bytes, bytes);
    assert_int_equal(result.bad, 0);
    assert_int_equal(result.unverifiable, 0);
    assert_int_equal(result.repaired, 0);
}

static void what_is_whole_is_good(void **state)
{
    struct store_fixture *fixture = *state;
    store_start(fixture);
    assert_int_equal(verify(fixture->store, 1).objects, 0);
    uint64_t bytes = put_some(fixture->store);
    expect_all_good(fixture->store, bytes);
    assert_int_equal(verify(fixture->store, 1).bad, 0);
    expect_all_good(fixture->store, bytes);
    store_restart(fixture);
    expect_all_good(fixture->store, bytes);
}

static void it_checks_whatever_loads_do(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "checksum", "off");
    store_start(fixture);
    expect_all_good(fixture->store, put_some(fixture->store));
}

static void a_read_only_store_can_be_verified(void **state)
{
    struct store_fixture *fixture = *state;
    store_start(fixture);
    uint64_t bytes = put_some(fixture->store);
    store_restart(fixture); /* all is sealed */
    uint64_t digest = tree_digest(fixture->path);
    struct kvt_store *other = NULL;
    assert_int_equal(store_open_other(fixture, true, &other, NULL), KVT_OK);
    expect_all_good(other, bytes);
    struct kvt_verify_options options = KVT_VERIFY_OPTIONS_INIT;
    struct kvt_error err = {0};
    options.repair = 1;
    assert_int_equal(kvt_verify(other, &options, NULL, &err),
                     KVT_ERR_UNABLE_OFFLOAD);
    assert_int_equal(err.errnum, EROFS);
    kvt_store_close(other);
    assert_int_equal(tree_digest(fixture->path), digest);
}

static void options_of_another_size_are_refused(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_verify_options options = KVT_VERIFY_OPTIONS_INIT;
    struct kvt_error err = {0};
    store_start(fixture);
    options.size--;
    assert_int_equal(kvt_verify(fixture->store, &options, NULL, &err),
                     KVT_ERR_INVALID_PARAMS);
    assert_true(err.message[0] != '\0');
    assert_int_equal(kvt_verify(NULL, NULL, NULL, NULL),
                     KVT_ERR_INVALID_PARAMS);
}

/* Callbacks ---------------------------------------------------------------- */

struct stop {
    uint64_t after;
    int answer;
    uint64_t seen;
    unsigned calls;
    struct kvt_store *store;
};

static int stop_after(const struct kvt_verify_result *so_far, void *arg)
{
    struct stop *stop = arg;
    assert_true(so_far->objects >= stop->seen);
    stop->seen = so_far->objects;
    stop->calls++;
    if (stop->store != NULL) { /* it may call the store */
        assert_true(has_named(stop->store, "k", 2));
    }
    return so_far->objects >= stop->after ? stop->answer : 0;
}

static void progress_can_end_it(void **state)
{
    static const int answers[] = {1, -74, -5, -2, 12345};
    struct store_fixture *fixture = *state;
    store_start(fixture);
    put_some(fixture->store);
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct kvt_verify_options options = KVT_VERIFY_OPTIONS_INIT;
        struct kvt_verify_result result;
        struct stop stop = {
            .after = 10, .answer = answers[i], .store = fixture->store};
        options.progress = stop_after;
        options.arg = &stop;
        options.bytes_per_second = 0;
        assert_int_equal(kvt_verify(fixture->store, &options, &result, NULL),
                         answers[i]);
        assert_int_equal(result.objects, 10);
        assert_int_equal(stop.calls, 10);
    }
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Seconds of the fastest of some verifications: others may be in the way. */
static double fastest_verify(struct kvt_store *store,
                             struct kvt_verify_options *options, double enough)
{
    double best = 1e9;
    for (int i = 0; i < 20 && best >= enough; i++) {
        struct kvt_verify_result result;
        double start_s = now_s();
        assert_int_equal(kvt_verify(store, options, &result, NULL), KVT_OK);
        double took_s = now_s() - start_s;
        best = took_s < best ? took_s : best;
    }
    return best;
}

static void the_rate_is_bounded(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_verify_options options = KVT_VERIFY_OPTIONS_INIT;
    struct kvt_verify_result result;
    struct stop never = {.after = UINT64_MAX};
    store_start(fixture);
    for (uint64_t i = 0; i < 8; i++) {
        assert_int_equal(put_named(fixture->store, "k", i, i, 128 << 10),
                         KVT_OK);
    }
    options.bytes_per_second = 4 << 20;
    options.progress = stop_after;
    options.arg = &never;
    double start_s = now_s();
    assert_int_equal(kvt_verify(fixture->store, &options, &result, NULL),
                     KVT_OK);
    double took_s = now_s() - start_s;
    assert_int_equal(result.bytes, 1 << 20);
    assert_true(took_s > 0.12); /* a quarter of a second, less two bursts */
    assert_true(never.calls >= 8);
    /* nothing is waited for without a bound */
    never.seen = 0;
    options.bytes_per_second = 0;
    assert_true(fastest_verify(fixture->store, &options, took_s) < took_s);
}

/* Beside others ------------------------------------------------------------ */

struct writer {
    struct kvt_store *store;
    uint64_t first;
    bool stop; /* atomic */
};

static void *write_on(void *arg)
{
    struct writer *writer = arg;
    uint64_t random = writer->first + 1;
    for (uint64_t round = 0; !__atomic_load_n(&writer->stop, __ATOMIC_RELAXED);
         round++) {
        uint64_t i = writer->first + random_next(&random) % 40;
        size_t size = (size_t)(random_next(&random) % 30000);
        if (round % 5 == 4) {
            remove_named(writer->store, "w", i);
        } else {
            put_named(writer->store, "w", i, round, size);
        }
    }
    return NULL;
}

/* Files are written under their own names there: half of one is not bad. */
static bool is_seen_while_written(const struct store_fixture *fixture)
{
    const char *facts = fixture->row->facts;
    return !fixture->row->owned && facts != NULL &&
           strstr(facts, "no_rename,no_links") != NULL;
}

/* In a store that evicts all the while, too. */
static void nothing_is_bad_beside_writers(void **state)
{
    struct store_fixture *fixture = *state;
    struct writer writers[2];
    pthread_t threads[2];
    if (fixture->row->owned) {
        store_set_number(fixture, "total_size_limit", 1 << 20);
    }
    store_start(fixture);
    for (uint64_t i = 0; i < 2; i++) {
        writers[i] = (struct writer){fixture->store, i * 1000, false};
        assert_int_equal(
            pthread_create(&threads[i], NULL, write_on, &writers[i]), 0);
    }
    uint64_t objects = 0;
    for (double end_s = now_s() + 0.4; now_s() < end_s;) {
        struct kvt_verify_result result = verify(fixture->store, 1);
        objects += result.objects;
        assert_int_equal(result.bad, 0);
        assert_true(result.unverifiable == 0 || is_seen_while_written(fixture));
    }
    for (uint64_t i = 0; i < 2; i++) {
        __atomic_store_n(&writers[i].stop, true, __ATOMIC_RELAXED);
        pthread_join(threads[i], NULL);
    }
    assert_true(objects > 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        store_test_fast(what_is_whole_is_good),
        store_test_fast(it_checks_whatever_loads_do),
        store_test_fast(a_read_only_store_can_be_verified),
        store_test_fast(options_of_another_size_are_refused),
        store_test_fast(progress_can_end_it),
        store_test_fast(the_rate_is_bounded),
        store_test_fast(nothing_is_bad_beside_writers),
    };
    size_t count = sizeof tests / sizeof tests[0];
    return store_rows_run("verification", tests, count) +
               store_fact_rows_run("verification", tests, count) !=
           0;
}
