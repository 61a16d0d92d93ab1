/* A busy store: loads go before offloads, and an offload that may not wait is
 * refused at once. */
#define _XOPEN_SOURCE 700
#include "support/store_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    SIZE = 4096,
    OFFLOADS = 400,
};

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Starts on a file system whose writes take 5 ms each. */
static void start_slow(struct store_fixture *fixture)
{
    char fs[64];
    snprintf(fs, sizeof fs, "fault:%s", fixture->row->fs);
    store_set(fixture, "fs", fs);
    store_set(fixture, "threads", "4");
    store_set(fixture, "fault.rules", "write,every=1,delay=5");
    store_start(fixture);
}

/* Loads first ---------------------------------------------------------------
 */

struct batch {
    struct kvt_request request;
    struct named_key keys[OFFLOADS];
    struct kvt_slice slices[OFFLOADS];
    struct kvt_object objects[OFFLOADS];
    unsigned char bytes[OFFLOADS][SIZE];
    double done_s; /* atomic enough: read when `done` is set */
    bool done;
};

static void note_done(struct kvt_request *request)
{
    struct batch *batch = request->arg;
    batch->done_s = now_s();
    __atomic_store_n(&batch->done, true, __ATOMIC_RELEASE);
}

static void submit(struct kvt_store *store, struct batch *batch,
                   enum kvt_batch_op op, uint64_t first, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        name_key(&batch->keys[i], "b", first + i);
        value_fill(batch->bytes[i], SIZE, first + i);
        batch->slices[i] = (struct kvt_slice){batch->bytes[i], SIZE, NULL};
        batch->objects[i] = (struct kvt_object){.key = batch->keys[i].key,
                                                .slices = &batch->slices[i],
                                                .slice_count = 1};
    }
    batch->request = (struct kvt_request){.size = sizeof batch->request,
                                          .op = op,
                                          .objects = batch->objects,
                                          .count = count,
                                          .options = KVT_BATCH_OPTIONS_INIT,
                                          .done = note_done,
                                          .arg = batch};
    batch->done = false;
    assert_int_equal(kvt_submit(store, &batch->request), KVT_OK);
}

static void wait_for(struct batch *batch)
{
    struct timespec moment = {0, 1000000};
    while (!__atomic_load_n(&batch->done, __ATOMIC_ACQUIRE)) {
        nanosleep(&moment, NULL);
    }
}

/* Submitted behind two large batches of offloads, which take half a second
 * each at least. */
static void a_load_goes_before_offloads(void **state)
{
    struct store_fixture *fixture = *state;
    static struct batch offloads[2];
    static struct batch loads[4];
    alarm(50);
    start_slow(fixture);
    for (uint64_t i = 0; i < 4; i++) {
        assert_int_equal(put_named(fixture->store, "b", i, i, SIZE), KVT_OK);
    }
    submit(fixture->store, &offloads[0], KVT_BATCH_OFFLOAD, 1000, OFFLOADS);
    submit(fixture->store, &offloads[1], KVT_BATCH_OFFLOAD, 2000, OFFLOADS);
    double start_s = now_s();
    for (uint64_t i = 0; i < 4; i++) {
        submit(fixture->store, &loads[i], KVT_BATCH_LOAD, i, 1);
    }
    for (uint64_t i = 0; i < 4; i++) {
        wait_for(&loads[i]);
        assert_int_equal(loads[i].request.result, 1);
        assert_true(value_is(loads[i].bytes[0], SIZE, i));
    }
    /* and one by a blocking call */
    assert_int_equal(get_named(fixture->store, "b", 0, 0, SIZE), KVT_OK);
    double loaded_s = now_s();
    wait_for(&offloads[0]);
    wait_for(&offloads[1]);
    double all_s = now_s() - start_s;
    assert_int_equal(offloads[0].request.result, OFFLOADS);
    assert_int_equal(offloads[1].request.result, OFFLOADS);
    assert_true(all_s > 0.9); /* or it was not about that */
    assert_true(loaded_s - start_s < all_s / 4);
    alarm(0);
}

/* At once -------------------------------------------------------------------
 */

static int put_flagged(struct kvt_store *store, uint64_t number, size_t size,
                       uint32_t flags, int *errnum)
{
    struct kvt_batch_options options = KVT_BATCH_OPTIONS_INIT;
    struct named_key key;
    unsigned char *bytes = malloc(size);
    struct kvt_slice slice = {bytes, size, NULL};
    name_key(&key, "k", number);
    value_fill(bytes, size, number);
    struct kvt_object object = {
        .key = key.key, .slices = &slice, .slice_count = 1};
    options.flags = flags;
    int rc = kvt_batch_offload(store, &object, 1, &options);
    assert_int_equal(rc, object.status == KVT_OK ? 1 : 0);
    *errnum = object.errnum;
    free(bytes);
    return object.status;
}

static int think_long(const struct kvt_meta *metas, size_t count, void *arg)
{
    struct timespec moment = {0, 60000000};
    (void)metas;
    (void)count;
    __atomic_fetch_add((unsigned *)arg, 1, __ATOMIC_RELAXED);
    nanosleep(&moment, NULL);
    return 0;
}

/* Making room takes 60 ms and more. Who does not wait for it is refused, and
 * yet it is made: the store does not stay full. */
static void what_has_no_room_is_refused_at_once(void **state)
{
    struct store_fixture *fixture = *state;
    bool within = strcmp(fixture->row->backend, "file_per_key") == 0;
    unsigned evictions = 0;
    alarm(50);
    store_set_number(fixture, "total_size_limit", 1 << 20);
    fixture->handlers.evict = think_long;
    fixture->handlers.evict_arg = &evictions;
    store_start(fixture);
    unsigned stored = 0;
    unsigned refused = 0;
    unsigned slow = 0; /* on a busy machine some are */
    for (uint64_t i = 0; stored < 80 || refused < 10; i++) {
        int errnum;
        double start_s = now_s();
        int rc = put_flagged(fixture->store, i, 20000, KVT_NO_WAIT, &errnum);
        double took_s = now_s() - start_s;
        slow += took_s > 0.05;
        if (rc == KVT_OK) {
            stored++;
            if (within && stored == 80) {
                break;
            }
            continue;
        }
        assert_int_equal(rc, KVT_ERR_UNABLE_OFFLOAD);
        assert_int_equal(errnum, EAGAIN);
        assert_false(has_named(fixture->store, "k", i));
        refused++;
        struct timespec moment = {0, 2000000};
        nanosleep(&moment, NULL);
    }
    assert_true(evictions > 0);
    assert_true(within ? refused == 0 : slow <= evictions / 2);
    /* who waits is not refused */
    for (uint64_t i = 10000; i < 10015; i++) {
        int errnum;
        assert_int_equal(put_flagged(fixture->store, i, 20000, 0, &errnum),
                         KVT_OK);
    }
    alarm(0);
}

struct slow_put {
    struct kvt_store *store;
    int status;
    bool begun; /* atomic */
};

static void *put_slowly(void *arg)
{
    struct slow_put *put = arg;
    int errnum;
    __atomic_store_n(&put->begun, true, __ATOMIC_RELEASE);
    put->status = put_flagged(put->store, 1, 9000, 0, &errnum);
    return NULL;
}

/* The first writer takes 300 ms; another value of the key may not wait. */
static void who_may_not_wait_for_a_key_is_refused(void **state)
{
    struct store_fixture *fixture = *state;
    struct slow_put put = {.status = 1};
    pthread_t thread;
    char fs[64];
    int errnum;
    alarm(50);
    snprintf(fs, sizeof fs, "fault:%s", fixture->row->fs);
    store_set(fixture, "fs", fs);
    store_set(fixture, "fault.rules",
              "write@*k1,every=1,delay=300;"
              "write@w-*,every=1,delay=300;"
              "write@.kvtier/tmp/*,every=1,delay=300");
    store_start(fixture);
    assert_int_equal(put_flagged(fixture->store, 7, 100, 0, &errnum), KVT_OK);
    put.store = fixture->store;
    assert_int_equal(pthread_create(&thread, NULL, put_slowly, &put), 0);
    struct timespec moment = {0, 60000000};
    do {
        nanosleep(&moment, NULL);
    } while (!__atomic_load_n(&put.begun, __ATOMIC_ACQUIRE));
    double took_s = 0;
    int rc = KVT_OK;
    for (int i = 0; i < 10 && rc == KVT_OK; i++) { /* it may not be as far */
        double start_s = now_s();
        rc = put_flagged(fixture->store, 1, 100, KVT_NO_WAIT, &errnum);
        took_s = now_s() - start_s;
    }
    assert_int_equal(rc, KVT_ERR_UNABLE_OFFLOAD);
    assert_int_equal(errnum, EAGAIN);
    assert_true(took_s < 0.15);
    /* without the flag it waits for its turn, and then is the last */
    assert_int_equal(put_flagged(fixture->store, 1, 200, 0, &errnum), KVT_OK);
    assert_int_equal(get_named(fixture->store, "k", 1, 1, 200), KVT_OK);
    pthread_join(thread, NULL);
    assert_int_equal(put.status, KVT_OK);
    assert_int_equal(put_flagged(fixture->store, 1, 300, KVT_NO_WAIT, &errnum),
                     KVT_OK);
    assert_int_equal(get_named(fixture->store, "k", 1, 1, 300), KVT_OK);
    alarm(0);
}

/* A store may be closed with nobody but a refused one having asked for
 * room. */
static void a_refused_one_keeps_nothing(void **state)
{
    struct store_fixture *fixture = *state;
    int errnum;
    for (int i = 0; i < 10; i++) {
        store_start(fixture);
        put_flagged(fixture->store, (uint64_t)i, 5000, KVT_NO_WAIT, &errnum);
        store_stop(fixture);
    }
}

static void large_batches_need_not_wait_for_themselves(void **state)
{
    enum {
        COUNT = 300
    };
    struct store_fixture *fixture = *state;
    static struct batch batch;
    struct kvt_batch_options options = KVT_BATCH_OPTIONS_INIT;
    int errnum;
    store_set_number(fixture, "bucket.keys_limit", 1000);
    store_start(fixture);
    /* the first bucket is made */
    assert_int_equal(put_flagged(fixture->store, 0, 10, 0, &errnum), KVT_OK);
    for (size_t i = 0; i < COUNT; i++) {
        name_key(&batch.keys[i], "b", i);
        value_fill(batch.bytes[i], SIZE, i);
        batch.slices[i] = (struct kvt_slice){batch.bytes[i], SIZE, NULL};
        batch.objects[i] = (struct kvt_object){.key = batch.keys[i].key,
                                               .slices = &batch.slices[i],
                                               .slice_count = 1};
    }
    options.flags = KVT_NO_WAIT;
    assert_int_equal(
        kvt_batch_offload(fixture->store, batch.objects, COUNT, &options),
        COUNT);
}

int main(void)
{
    static const struct store_row files = {"file_per_key", "posix", true, true,
                                           NULL};
    static const struct CMUnitTest order_tests[] = {
        store_test_fast(a_load_goes_before_offloads),
    };
    static const struct CMUnitTest tests[] = {
        store_test_fast(what_has_no_room_is_refused_at_once),
        store_test_fast(a_refused_one_keeps_nothing),
        store_test_fast(large_batches_need_not_wait_for_themselves),
    };
    static const struct CMUnitTest owned_tests[] = {
        store_test_fast(who_may_not_wait_for_a_key_is_refused),
    };
    return store_row_run(&files, "loads first", order_tests, 1) +
               store_rows_run("no wait", tests, 3) +
               store_owned_rows_run("no wait", owned_tests, 1) !=
           0;
}
