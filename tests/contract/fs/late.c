/* Elements whose deadline passes: they end, and `late` tells when they are
 * really over. */
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A deadline that passed, behind which nothing starts; and one that passes
 * while the element is under way, where calls are slow (`fault:` in front of
 * the adapter makes them so). */
static int64_t long_past(void)
{
    return now_ns() - INT64_C(1000000000);
}

static int64_t past_or_soon(size_t number)
{
    return number % 2 == 0 ? long_past() : now_ns() + 1000000;
}

struct lateness {
    unsigned calls;
    int64_t result;
};

static void note_late(void *arg, int64_t result)
{
    struct lateness *lateness = arg;
    lateness->calls++;
    lateness->result = result;
}

/* Runs until nothing lingers; each `late` that follows was told once. */
static void finish_late(struct kvt_fs_queue *queue,
                        const struct kvt_fs_elem *elems,
                        const struct lateness *lates, size_t count)
{
    int64_t end = now_ns() + INT64_C(60000000000);
    while (kvt_fs_lingering(queue) > 0 && now_ns() < end) {
        kvt_fs_poll(queue, 0, 0);
        sleep_ms(1);
    }
    EXPECT("lingering", 0, kvt_fs_lingering(queue));
    for (size_t i = 0; i < count; i++) {
        EXPECT("calls of late", elems[i].late_follows, lates[i].calls);
    }
}

static void past_its_deadline_everything_times_out(struct contract *c)
{
    enum {
        COUNT = 40
    };
    struct kvt_fs_queue *queue = must_open_queue(c->fs, 4, true);
    struct kvt_fs_elem elems[COUNT];
    struct lateness lates[COUNT] = {{0, 0}};
    struct kvt_slice slices[COUNT];
    unsigned char bytes[COUNT][100];
    must_publish_pattern(c->fs, "file", 4, 100);
    for (size_t i = 0; i < COUNT; i++) {
        memset(bytes[i], 0xa5, 100);
        slices[i] = (struct kvt_slice){bytes[i], 100, NULL};
        elems[i] = (struct kvt_fs_elem){.op = KVT_FS_FETCH,
                                        .path = "file",
                                        .slices = &slices[i],
                                        .slice_count = 1,
                                        .deadline_ns = long_past(),
                                        .late = note_late,
                                        .late_arg = &lates[i]};
    }
    run_batch(queue, elems, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        EXPECT("fetch past its deadline", -ETIMEDOUT, elems[i].result);
        EXPECT("late follows", true, elems[i].late_follows);
    }
    finish_late(queue, elems, lates, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        EXPECT_ANY("what late told", -ECANCELED, 100, lates[i].result);
        for (size_t b = 0; b < 100; b++) {
            EXPECT("foreign memory after the end", 0xa5, bytes[i][b]);
        }
    }
    must_close_queue(queue);
}

/* Runs a chain that starts with an open past its deadline, often. A file that
 * the open delivered all the same is the caller's, unless a close follows. */
static void open_too_late(struct contract *c, struct kvt_fs_elem *chain,
                          size_t count)
{
    enum {
        TIMES = 200
    };
    struct kvt_fs_elem elems[3];
    must_publish_pattern(c->fs, "file", 5, 100);
    size_t before = open_descriptors();
    struct kvt_fs_queue *queue = must_open_queue(c->fs, 0, true);
    for (unsigned i = 0; i < TIMES; i++) {
        memcpy(elems, chain, count * sizeof elems[0]);
        elems[0].deadline_ns = past_or_soon(i);
        run_batch(queue, elems, count);
        while (kvt_fs_lingering(queue) > 0) {
            kvt_fs_poll(queue, 1, now_ns() + 1000000);
        }
        if (elems[0].result == 0 && chain[count - 1].op != KVT_FS_CLOSE) {
            must_close(elems[0].file);
        }
    }
    must_close_queue(queue);
    /* a mount may keep some for itself */
    EXPECT_TRUE("descriptors after 200 opens past their deadline are not more",
                open_descriptors() <= before + 8);
}

static void a_file_opened_too_late_is_closed(struct contract *c)
{
    struct kvt_fs_elem open = {.op = KVT_FS_OPEN, .path = "file"};
    open_too_late(c, &open, 1);
}

static void a_file_opened_too_late_for_a_chain_is_closed(struct contract *c)
{
    unsigned char bytes[100];
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    struct kvt_fs_elem elems[] = {
        {.op = KVT_FS_OPEN, .path = "file", .flags = KVT_FS_THEN},
        {.op = KVT_FS_READ,
         .slices = &slice,
         .slice_count = 1,
         .flags = KVT_FS_THEN},
        {.op = KVT_FS_CLOSE},
    };
    open_too_late(c, elems, 3);
    elems[1].flags = 0; /* without the close */
    open_too_late(c, elems, 2);
}

/* Foreign memory is the caller's again when the element ended. */
static void foreign_memory_is_left_alone_behind_the_end(struct contract *c)
{
    enum {
        TIMES = 40,
        SIZE = 50000
    };
    struct kvt_fs_queue *queue = must_open_queue(c->fs, 0, false);
    unsigned char *bytes = must_alloc(SIZE);
    must_publish_pattern(c->fs, "file", 8, SIZE);
    for (size_t i = 0; i < TIMES; i++) {
        struct kvt_slice slice = {bytes, SIZE, NULL};
        struct lateness late = {0, 0};
        struct kvt_fs_elem fetch = {.op = KVT_FS_FETCH,
                                    .path = "file",
                                    .slices = &slice,
                                    .slice_count = 1,
                                    .deadline_ns = past_or_soon(i),
                                    .late = note_late,
                                    .late_arg = &late};
        memset(bytes, 0, SIZE);
        run_batch(queue, &fetch, 1);
        EXPECT_ANY("fetch with little time", SIZE, -ETIMEDOUT, fetch.result);
        if (fetch.result == SIZE) {
            EXPECT_PATTERN("what was fetched", 8, 0, bytes, SIZE);
        }
        pattern_fill(i + 100, 0, bytes, SIZE);
        finish_late(queue, &fetch, &late, 1);
        EXPECT_PATTERN("what the caller has there by now", i + 100, 0, bytes,
                       SIZE);
    }
    must_close_queue(queue);
    free(bytes);
}

static void a_publish_past_its_deadline_is_whole_or_not(struct contract *c)
{
    enum {
        COUNT = 20,
        SIZE = 20000
    };
    struct kvt_fs_queue *queue = must_open_queue(c->fs, 4, false);
    struct kvt_fs_elem elems[COUNT];
    struct lateness lates[COUNT] = {{0, 0}};
    char paths[COUNT][32];
    char temps[COUNT][32];
    unsigned char *bytes = must_alloc(SIZE);
    struct kvt_slice slice = {bytes, SIZE, NULL};
    pattern_fill(6, 0, bytes, SIZE);
    must_mkdirs(c->fs, "d");
    must_mkdirs(c->fs, "t");
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(paths[i], sizeof paths[i], "d/%zu", i);
        snprintf(temps[i], sizeof temps[i], "t/%zu", i);
        elems[i] = (struct kvt_fs_elem){.op = KVT_FS_PUBLISH,
                                        .path = paths[i],
                                        .temp_path = temps[i],
                                        .slices = &slice,
                                        .slice_count = 1,
                                        .deadline_ns = past_or_soon(i),
                                        .late = note_late,
                                        .late_arg = &lates[i]};
    }
    run_batch(queue, elems, COUNT);
    memset(bytes, 0, SIZE); /* it is the caller's again */
    for (size_t i = 0; i < COUNT; i++) {
        elems[i].path = NULL;
        elems[i].temp_path = NULL;
    }
    finish_late(queue, elems, lates, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        int64_t rc = elems[i].late_follows ? lates[i].result : elems[i].result;
        if (rc == SIZE) {
            must_hold_pattern(c->fs, paths[i], 6, SIZE);
        } else {
            EXPECT("publish that did not happen", -ECANCELED, rc);
            must_be_missing(c->fs, paths[i]);
        }
    }
    EXPECT("temporary names", 0, must_count_names(c->fs, "t"));
    must_close_queue(queue);
    free(bytes);
}

static void count_release(struct kvt_mem *mem, void *arg)
{
    (void)mem;
    __atomic_fetch_add((unsigned *)arg, 1, __ATOMIC_RELAXED);
}

static void memory_is_held_until_late(struct contract *c)
{
    enum {
        TIMES = 30,
        SIZE = 100000
    };
    must_publish_pattern(c->fs, "file", 7, SIZE);
    struct kvt_fs_queue *queue = must_open_queue(c->fs, 0, false);
    for (unsigned i = 0; i < TIMES; i++) {
        unsigned releases = 0;
        struct kvt_mem *mem;
        EXPECT("mem_alloc", 0, kvt_mem_alloc(c->fs, SIZE, &mem));
        struct kvt_slice slice = {kvt_mem_base(mem), SIZE, mem};
        struct lateness late = {0, 0};
        struct kvt_fs_elem fetch = {.op = KVT_FS_FETCH,
                                    .path = "file",
                                    .slices = &slice,
                                    .slice_count = 1,
                                    .deadline_ns = past_or_soon(i / 2),
                                    .late = note_late,
                                    .late_arg = &late};
        run_batch(queue, &fetch, 1);
        kvt_mem_on_release(mem, count_release, &releases);
        EXPECT("released, or still held", 1,
               (int)(releases + kvt_mem_is_held(mem)));
        if (i % 2 == 0) {
            kvt_mem_free(mem); /* may be held: it goes when that is over */
            mem = NULL;
        }
        finish_late(queue, &fetch, &late, 1);
        EXPECT("calls of released", 1, releases);
        if (mem != NULL) {
            EXPECT("held when nothing lingers", false, kvt_mem_is_held(mem));
            if (late.result == SIZE || fetch.result == SIZE) {
                EXPECT_PATTERN("it arrived late", 7, 0, kvt_mem_base(mem),
                               SIZE);
            }
            kvt_mem_free(mem);
        }
    }
    must_close_queue(queue);
}

static const struct contract_case cases[] = {
    CASE(past_its_deadline_everything_times_out),
    CASE(a_file_opened_too_late_is_closed),
    CASE(a_file_opened_too_late_for_a_chain_is_closed),
    CASE(foreign_memory_is_left_alone_behind_the_end),
    CASE(a_publish_past_its_deadline_is_whole_or_not),
    CASE(memory_is_held_until_late),
};
GROUP(contract_late, cases);
