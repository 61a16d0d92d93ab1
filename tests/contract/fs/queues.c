/* Queues: batches, failures among them, many queues, waits and wakes. */
#include "contract.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITE_NEW (KVT_FS_FOR_WRITE | KVT_FS_CREATE)
#define SECOND INT64_C(1000000000)

/* Batches ----------------------------------------------------------------- */

enum {
    FILES = 8,
    PARTS = 16
};

static void a_batch_goes_over_several_files(struct contract *c)
{
    size_t part = block_size(c->fs, 3000);
    struct kvt_fs_queue *queue = must_open_queue(c->fs, 0, true);
    struct kvt_fs_file *files[FILES];
    struct kvt_fs_elem elems[FILES * PARTS];
    struct kvt_slice slices[FILES * PARTS];
    char path[32];
    unsigned char *bytes = must_alloc(FILES * PARTS * part);
    for (size_t f = 0; f < FILES; f++) {
        snprintf(path, sizeof path, "file-%zu", f);
        files[f] = must_open(c->fs, path, WRITE_NEW);
        for (size_t p = 0; p < PARTS; p++) {
            size_t i = p * FILES + f;
            slices[i] = (struct kvt_slice){bytes + i * part, part, NULL};
            pattern_fill(f, p * part, slices[i].base, part);
            elems[i] = (struct kvt_fs_elem){.op = KVT_FS_WRITE,
                                            .file = files[f],
                                            .offset = p * part,
                                            .slices = &slices[i],
                                            .slice_count = 1};
        }
    }
    if (c->facts->overwrite_in_place && c->facts->concurrent_writers) {
        run_batch(queue, elems, FILES * PARTS);
    } else { /* one after the other in each file */
        for (size_t p = 0; p < PARTS; p++) {
            run_batch(queue, &elems[p * FILES], FILES);
        }
    }
    for (size_t i = 0; i < FILES * PARTS; i++) {
        EXPECT("result of a write", part, elems[i].result);
        elems[i].op = KVT_FS_READ;
        memset(slices[i].base, 0, part);
    }
    run_batch(queue, elems, FILES * PARTS);
    for (size_t i = 0; i < FILES * PARTS; i++) {
        EXPECT("result of a read", part, elems[i].result);
        EXPECT_PATTERN("what was read", i % FILES, i / FILES * part,
                       slices[i].base, part);
    }
    for (size_t f = 0; f < FILES; f++) {
        must_close(files[f]);
    }
    must_close_queue(queue);
    free(bytes);
}

static void one_that_fails_spoils_no_other(struct contract *c)
{
    enum {
        COUNT = 60
    };
    struct kvt_fs_queue *queue = must_open_queue(c->fs, 0, true);
    struct kvt_fs_elem elems[COUNT];
    struct kvt_slice slices[COUNT];
    unsigned char bytes[COUNT][600];
    must_publish_pattern(c->fs, "file", 1, 500);
    for (size_t i = 0; i < COUNT; i++) {
        slices[i] = (struct kvt_slice){bytes[i], 600, NULL};
        elems[i] = (struct kvt_fs_elem){.op = KVT_FS_FETCH,
                                        .path = i % 3 == 0 ? "missing" : "file",
                                        .slices = &slices[i],
                                        .slice_count = 1};
        if (i % 3 == 1) {
            elems[i].op = KVT_FS_STAT;
        }
    }
    run_batch(queue, elems, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        EXPECT("result of each for itself",
               i % 3 == 0   ? -ENOENT
               : i % 3 == 1 ? 0
                            : 500,
               elems[i].result);
        if (i % 3 == 1) {
            EXPECT("size by stat", 500, elems[i].file_size);
        } else if (i % 3 == 2) {
            EXPECT_PATTERN("what was fetched", 1, 0, bytes[i], 500);
        }
    }
    must_close_queue(queue);
}

static void an_empty_batch_does_nothing(struct contract *c)
{
    for (unsigned works = 0; works <= 1; works++) {
        struct kvt_fs_queue *queue = must_open_queue(c->fs, 0, works != 0);
        kvt_fs_submit(queue, NULL, 0);
        EXPECT("in flight", 0, kvt_fs_in_flight(queue));
        EXPECT("poll of nothing", 0, kvt_fs_poll(queue, 0, 0));
        must_close_queue(queue);
    }
}

/* More than a queue hands over at once, at every depth. */
static void every_depth_carries_out_all(struct contract *c)
{
    static const uint32_t depths[] = {1, 2, 7, 64, 1000};
    enum {
        COUNT = 150
    };
    struct kvt_fs_elem *elems = must_alloc(COUNT * sizeof *elems);
    char paths[COUNT][16];
    for (size_t d = 0; d < COUNT_OF(depths) * 2; d++) {
        struct kvt_fs_queue *queue =
            must_open_queue(c->fs, depths[d / 2], d % 2 == 0);
        for (size_t i = 0; i < COUNT; i++) {
            snprintf(paths[i], sizeof paths[i], "file-%zu", i);
            elems[i] = (struct kvt_fs_elem){
                .op = KVT_FS_OPEN, .path = paths[i], .flags = WRITE_NEW};
        }
        run_batch(queue, elems, COUNT);
        for (size_t i = 0; i < COUNT; i++) {
            EXPECT("open", 0, elems[i].result);
            elems[i].op = KVT_FS_CLOSE;
        }
        run_batch(queue, elems, COUNT);
        for (size_t i = 0; i < COUNT; i++) {
            EXPECT("close", 0, elems[i].result);
            elems[i].op = KVT_FS_REMOVE;
        }
        run_batch(queue, elems, COUNT);
        for (size_t i = 0; i < COUNT; i++) {
            EXPECT("remove", 0, elems[i].result);
        }
        must_close_queue(queue);
    }
    EXPECT("names afterwards", 0, must_count_names(c->fs, "."));
    free(elems);
}

/* A layout submits the next read from inside `done`. */
struct relay {
    struct kvt_fs_elem elem;
    struct kvt_slice slice;
    unsigned char bytes[100];
    unsigned rounds;
};

static void submit_again(struct kvt_fs_elem *elem)
{
    struct relay *relay = elem->arg;
    EXPECT("fetch", 100, elem->result);
    EXPECT_PATTERN("what was fetched", 3, 0, relay->bytes, 100);
    if (--relay->rounds > 0) {
        memset(relay->bytes, 0, 100);
        kvt_fs_submit(elem->queue, elem, 1);
    }
}

static void done_may_submit(struct contract *c)
{
    enum {
        RELAYS = 10,
        ROUNDS = 30
    };
    struct relay relays[RELAYS];
    must_publish_pattern(c->fs, "file", 3, 100);
    struct kvt_fs_queue *queue = must_open_queue(c->fs, 4, true);
    for (size_t i = 0; i < RELAYS; i++) {
        struct relay *relay = &relays[i];
        relay->rounds = ROUNDS;
        relay->slice = (struct kvt_slice){relay->bytes, 100, NULL};
        relay->elem = (struct kvt_fs_elem){.op = KVT_FS_FETCH,
                                           .path = "file",
                                           .slices = &relay->slice,
                                           .slice_count = 1,
                                           .done = submit_again,
                                           .arg = relay};
        kvt_fs_submit(queue, &relay->elem, 1);
    }
    while (kvt_fs_in_flight(queue) > 0) {
        kvt_fs_poll(queue, 1, 0);
    }
    for (size_t i = 0; i < RELAYS; i++) {
        EXPECT("rounds that are left", 0, relays[i].rounds);
    }
    must_close_queue(queue);
}

static void count_call(struct kvt_fs_elem *elem)
{
    ++*(unsigned *)elem->arg;
}

static void a_busy_queue_is_not_closed(struct contract *c)
{
    unsigned calls = 0;
    struct kvt_fs_queue *queue = must_open_queue(c->fs, 0, true);
    struct kvt_fs_elem elem = {.op = KVT_FS_STAT,
                               .path = "missing",
                               .done = count_call,
                               .arg = &calls};
    EXPECT("close of no queue", 0, kvt_fs_queue_close(NULL));
    kvt_fs_submit(queue, &elem, 1);
    EXPECT("done ran inside poll only", 0, calls);
    EXPECT("in flight", 1, kvt_fs_in_flight(queue));
    EXPECT("close while in flight", -EBUSY, kvt_fs_queue_close(queue));
    while (kvt_fs_in_flight(queue) > 0) {
        kvt_fs_poll(queue, 1, 0);
    }
    EXPECT("calls of done", 1, calls);
    EXPECT("result", -ENOENT, elem.result);
    must_close_queue(queue);
}

/* Many queues ------------------------------------------------------------- */

enum {
    QUEUES = 16,
    OBJECTS = 12,
    OBJECT_ROUNDS = 4
};

static void use_a_queue(size_t number, void *arg)
{
    struct contract *c = arg;
    char paths[OBJECTS][32];
    char temps[OBJECTS][32];
    struct kvt_fs_elem elems[OBJECTS];
    struct kvt_slice slices[OBJECTS];
    unsigned char *bytes = must_alloc(OBJECTS * 20001);
    struct kvt_fs_queue *queue = must_open_queue(c->fs, 8, number % 2 == 0);
    for (size_t round = 0; round < OBJECT_ROUNDS; round++) {
        for (size_t i = 0; i < OBJECTS; i++) {
            uint64_t seed = number * 1000 + round * 100 + i;
            snprintf(paths[i], sizeof paths[i], "q-%zu/%zu", number, i);
            snprintf(temps[i], sizeof temps[i], "temp/%zu-%zu", number, i);
            slices[i] =
                (struct kvt_slice){bytes + i * 20001, 20001 - i * 100, NULL};
            pattern_fill(seed, 0, slices[i].base, slices[i].size);
            elems[i] = (struct kvt_fs_elem){.op = KVT_FS_PUBLISH,
                                            .path = paths[i],
                                            .temp_path = temps[i],
                                            .slices = &slices[i],
                                            .slice_count = 1};
        }
        run_batch(queue, elems, OBJECTS);
        for (size_t i = 0; i < OBJECTS; i++) {
            EXPECT("publish", slices[i].size, elems[i].result);
            memset(slices[i].base, 0, slices[i].size);
            elems[i].op = KVT_FS_FETCH;
        }
        run_batch(queue, elems, OBJECTS);
        for (size_t i = 0; i < OBJECTS; i++) {
            uint64_t seed = number * 1000 + round * 100 + i;
            EXPECT("fetch", slices[i].size, elems[i].result);
            EXPECT_PATTERN("what was fetched", seed, 0, slices[i].base,
                           slices[i].size);
        }
    }
    must_close_queue(queue);
    free(bytes);
}

static void sixteen_queues_publish_and_fetch(struct contract *c)
{
    run_threads(QUEUES, use_a_queue, c);
    EXPECT("temporary names that are left", 0, count_temps(c->fs, "temp"));
}

/* Waits and wakes --------------------------------------------------------- */

static void a_wait_is_ended_by_post(struct contract *c)
{
    unsigned calls = 0;
    struct kvt_fs_queue *queue = must_open_queue(c->fs, 1, true);
    struct kvt_fs_elem waits[3] = {{.result = 0}};
    for (size_t i = 0; i < COUNT_OF(waits); i++) {
        waits[i].done = count_call;
        waits[i].arg = &calls;
        kvt_fs_expect(queue, &waits[i]);
    }
    EXPECT("in flight", 3, kvt_fs_in_flight(queue));
    EXPECT("poll before any post", 0,
           kvt_fs_poll(queue, 1, now_ns() + SECOND / 100));
    kvt_fs_post(&waits[1], 42);
    kvt_fs_poll(queue, 1, now_ns() + 10 * SECOND);
    EXPECT("calls of done", 1, calls);
    EXPECT("result", 42, waits[1].result);
    /* others go on meanwhile */
    struct kvt_fs_elem stat = {.op = KVT_FS_STAT, .path = "missing"};
    kvt_fs_submit(queue, &stat, 1);
    while (kvt_fs_in_flight(queue) > 2) {
        kvt_fs_poll(queue, 1, now_ns() + 10 * SECOND);
    }
    EXPECT("stat beside the waits", -ENOENT, stat.result);
    kvt_fs_post(&waits[0], -EIO);
    kvt_fs_post(&waits[2], 7);
    while (kvt_fs_in_flight(queue) > 0) {
        kvt_fs_poll(queue, 1, now_ns() + 10 * SECOND);
    }
    EXPECT("calls of done", 3, calls);
    EXPECT("result", -EIO, waits[0].result);
    must_close_queue(queue);
}

struct waking {
    struct kvt_fs_queue *queue;
    struct kvt_fs_elem wait;
    int woken; /* atomic: the poll has returned */
};

static void *wake_and_post(void *arg)
{
    struct waking *waking = arg;
    sleep_ms(20);
    kvt_fs_wake(waking->queue);
    while (__atomic_load_n(&waking->woken, __ATOMIC_ACQUIRE) == 0) {
        sleep_ms(1);
    }
    sleep_ms(20);
    kvt_fs_post(&waking->wait, 5);
    return NULL;
}

static void another_thread_wakes_and_posts(struct contract *c)
{
    for (unsigned works = 0; works <= 1; works++) {
        struct waking waking = {.queue = must_open_queue(c->fs, 0, works != 0)};
        kvt_fs_expect(waking.queue, &waking.wait);
        pthread_t thread;
        EXPECT("a thread of the test", 0,
               pthread_create(&thread, NULL, wake_and_post, &waking));
        int64_t start = now_ns();
        EXPECT("poll that is woken", 0,
               kvt_fs_poll(waking.queue, 1, start + 30 * SECOND));
        __atomic_store_n(&waking.woken, 1, __ATOMIC_RELEASE);
        while (kvt_fs_in_flight(waking.queue) > 0) {
            kvt_fs_poll(waking.queue, 1, start + 30 * SECOND);
        }
        EXPECT("result of the wait", 5, waking.wait.result);
        EXPECT_TRUE("it took less than 10 s", now_ns() - start < 10 * SECOND);
        pthread_join(thread, NULL);
        must_close_queue(waking.queue);
    }
}

static void poll_ends_at_its_deadline(struct contract *c)
{
    for (unsigned works = 0; works <= 1; works++) {
        struct kvt_fs_queue *queue = must_open_queue(c->fs, 0, works != 0);
        struct kvt_fs_elem wait = {.result = 0};
        kvt_fs_expect(queue, &wait);
        int64_t start = now_ns();
        EXPECT("poll of what does not end", 0,
               kvt_fs_poll(queue, 1, start + SECOND / 20));
        EXPECT_TRUE("it waited until its deadline",
                    now_ns() >= start + SECOND / 20);
        EXPECT_TRUE("it took less than 10 s", now_ns() - start < 10 * SECOND);
        kvt_fs_post(&wait, 0);
        kvt_fs_poll(queue, 1, 0);
        must_close_queue(queue);
    }
}

static const struct contract_case cases[] = {
    CASE(a_batch_goes_over_several_files),
    CASE(one_that_fails_spoils_no_other),
    CASE(an_empty_batch_does_nothing),
    CASE(every_depth_carries_out_all),
    CASE(done_may_submit),
    CASE(a_busy_queue_is_not_closed),
    CASE(sixteen_queues_publish_and_fetch),
    CASE(a_wait_is_ended_by_post),
    CASE(another_thread_wakes_and_posts),
    CASE(poll_ends_at_its_deadline),
};
GROUP(contract_queues, cases);
