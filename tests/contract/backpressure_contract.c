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

int main(void)
{
    static const struct store_row files = {"file_per_key", "posix", true, true,
                                           NULL};
    static const struct CMUnitTest order_tests[] = {
        store_test_fast(a_load_goes_before_offloads),
    };
    return store_row_run(&files, "back-pressure", order_tests, 1) != 0;
}
