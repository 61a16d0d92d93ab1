/* Chains: in order, broken by a failure, with one file from open to close. */
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITE_NEW (KVT_FS_FOR_WRITE | KVT_FS_CREATE)

static void a_chain_passes_its_file_on(struct contract *c)
{
    size_t size = block_size(c->fs, 5000);
    unsigned char *bytes = must_alloc(size);
    struct kvt_slice slice = {bytes, size, NULL};
    struct kvt_fs_queue *queue = must_open_queue(c->fs, 0, true);
    struct kvt_fs_elem write[] = {
        {.op = KVT_FS_OPEN, .path = "file", .flags = WRITE_NEW | KVT_FS_THEN},
        {.op = KVT_FS_WRITE,
         .slices = &slice,
         .slice_count = 1,
         .flags = KVT_FS_THEN},
        {.op = KVT_FS_DATASYNC, .flags = KVT_FS_THEN},
        {.op = KVT_FS_SYNC, .flags = KVT_FS_THEN},
        {.op = KVT_FS_CLOSE},
    };
    pattern_fill(1, 0, bytes, size);
    run_batch(queue, write, COUNT_OF(write));
    for (size_t i = 0; i < COUNT_OF(write); i++) {
        EXPECT("open, write, datasync, sync, close", i == 1 ? size : 0,
               write[i].result);
    }
    must_hold_pattern(c->fs, "file", 1, size);

    struct kvt_fs_elem read[] = {
        {.op = KVT_FS_OPEN,
         .path = "file",
         .flags = KVT_FS_WANT_SIZE | KVT_FS_THEN},
        {.op = KVT_FS_READ,
         .slices = &slice,
         .slice_count = 1,
         .offset = 100, /* short: that is no failure */
         .flags = KVT_FS_THEN},
        {.op = KVT_FS_CLOSE},
    };
    memset(bytes, 0, size);
    run_batch(queue, read, COUNT_OF(read));
    EXPECT("open", 0, read[0].result);
    EXPECT("size at open", size, read[0].file_size);
    EXPECT("read", size - 100, read[1].result);
    EXPECT_PATTERN("what was read", 1, 100, bytes, size - 100);
    EXPECT("close behind a short read", 0, read[2].result);
    must_close_queue(queue);
    free(bytes);
}

/* Each step needs the one before it. */
static void a_chain_keeps_its_order(struct contract *c)
{
    enum {
        CHAINS = 40,
        STEPS = 4
    };
    struct kvt_fs_elem elems[CHAINS * STEPS];
    char paths[CHAINS][16];
    char temps[CHAINS][16];
    struct kvt_slice slice = {"abcd", 4, NULL};
    char bytes[CHAINS][4];
    struct kvt_slice into[CHAINS];
    for (unsigned works = 0; works <= 1; works++) {
        struct kvt_fs_queue *queue = must_open_queue(c->fs, 16, works != 0);
        for (size_t i = 0; i < CHAINS; i++) {
            struct kvt_fs_elem *chain = &elems[i * STEPS];
            snprintf(paths[i], sizeof paths[i], "file-%zu", i);
            snprintf(temps[i], sizeof temps[i], "temp-%zu", i);
            into[i] = (struct kvt_slice){bytes[i], 4, NULL};
            chain[0] = (struct kvt_fs_elem){.op = KVT_FS_PUBLISH,
                                            .path = paths[i],
                                            .temp_path = temps[i],
                                            .slices = &slice,
                                            .slice_count = 1,
                                            .flags = KVT_FS_THEN};
            chain[1] = (struct kvt_fs_elem){
                .op = KVT_FS_STAT, .path = paths[i], .flags = KVT_FS_THEN};
            chain[2] = (struct kvt_fs_elem){.op = KVT_FS_FETCH,
                                            .path = paths[i],
                                            .slices = &into[i],
                                            .slice_count = 1,
                                            .flags = KVT_FS_THEN};
            chain[3] =
                (struct kvt_fs_elem){.op = KVT_FS_REMOVE, .path = paths[i]};
        }
        run_batch(queue, elems, CHAINS * STEPS);
        for (size_t i = 0; i < CHAINS; i++) {
            EXPECT("publish", 4, elems[i * STEPS].result);
            EXPECT("then stat", 0, elems[i * STEPS + 1].result);
            EXPECT("its size", 4, elems[i * STEPS + 1].file_size);
            EXPECT("then fetch", 4, elems[i * STEPS + 2].result);
            EXPECT("then remove", 0, elems[i * STEPS + 3].result);
        }
        must_close_queue(queue);
    }
    EXPECT("names afterwards", 0, must_count_names(c->fs, "."));
}

static void what_is_behind_a_failure_is_canceled(struct contract *c)
{
    struct kvt_slice slice = {"abcd", 4, NULL};
    must_publish_pattern(c->fs, "file", 2, 10);
    for (unsigned works = 0; works <= 1; works++) {
        struct kvt_fs_queue *queue = must_open_queue(c->fs, 0, works != 0);
        struct kvt_fs_elem elems[] = {
            {.op = KVT_FS_STAT, .path = "file", .flags = KVT_FS_THEN},
            {.op = KVT_FS_REMOVE, .path = "missing", .flags = KVT_FS_THEN},
            {.op = KVT_FS_REMOVE, .path = "file", .flags = KVT_FS_THEN},
            {.op = KVT_FS_PUBLISH,
             .path = "new",
             .temp_path = "temp",
             .slices = &slice,
             .slice_count = 1},
            {.op = KVT_FS_STAT, .path = "file"}, /* another chain */
        };
        run_batch(queue, elems, COUNT_OF(elems));
        EXPECT("before the failure", 0, elems[0].result);
        EXPECT("the failure", -ENOENT, elems[1].result);
        EXPECT("behind it", -ECANCELED, elems[2].result);
        EXPECT("behind that", -ECANCELED, elems[3].result);
        EXPECT("in another chain", 0, elems[4].result);
        must_hold_pattern(c->fs, "file", 2, 10);
        EXPECT("names", 1, must_count_names(c->fs, "."));
        must_close_queue(queue);
    }
}

/* An element without a file uses the one of the open before it, wherever that
 * stands in the chain. */
static void a_file_passes_over_steps_that_have_none(struct contract *c)
{
    unsigned char bytes[10];
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    must_publish_pattern(c->fs, "file", 3, 10);
    for (unsigned works = 0; works <= 1; works++) {
        struct kvt_fs_queue *queue = must_open_queue(c->fs, 0, works != 0);
        struct kvt_fs_elem elems[] = {
            {.op = KVT_FS_OPEN, .path = "file", .flags = KVT_FS_THEN},
            {.op = KVT_FS_STAT, .path = "file", .flags = KVT_FS_THEN},
            {.op = KVT_FS_SYNC, .path = ".", .flags = KVT_FS_THEN},
            {.op = KVT_FS_READ,
             .slices = &slice,
             .slice_count = 1,
             .flags = KVT_FS_THEN},
            {.op = KVT_FS_CLOSE},
        };
        run_batch(queue, elems, COUNT_OF(elems));
        EXPECT("open", 0, elems[0].result);
        EXPECT("stat behind it", 0, elems[1].result);
        EXPECT("sync of a directory", 0, elems[2].result);
        EXPECT("read behind them", 10, elems[3].result);
        EXPECT_PATTERN("what was read", 3, 0, bytes, 10);
        EXPECT("close", 0, elems[4].result);
        must_close_queue(queue);
    }
}

/* Descriptors of the process tell, where files are such. */
static void a_close_runs_whatever_failed_before(struct contract *c)
{
    enum {
        TIMES = 200
    };
    must_publish_pattern(c->fs, "file", 3, 10);
    size_t before = open_descriptors();
    for (unsigned i = 0; i < TIMES; i++) {
        struct kvt_fs_queue *queue = must_open_queue(c->fs, 0, i % 2 == 0);
        struct kvt_fs_elem elems[] = {
            {.op = KVT_FS_OPEN, .path = "file", .flags = KVT_FS_THEN},
            {.op = KVT_FS_REMOVE, .path = "missing", .flags = KVT_FS_THEN},
            {.op = KVT_FS_DATASYNC, .flags = KVT_FS_THEN},
            {.op = KVT_FS_CLOSE},
        };
        run_batch(queue, elems, COUNT_OF(elems));
        EXPECT("open", 0, elems[0].result);
        EXPECT("the failure", -ENOENT, elems[1].result);
        EXPECT("datasync behind it", -ECANCELED, elems[2].result);
        EXPECT("close behind it", 0, elems[3].result);
        must_close_queue(queue);
    }
    EXPECT_TRUE("descriptors after 200 broken chains are not more",
                open_descriptors() < before + TIMES / 2);
}

static void a_read_that_fails_leaks_no_file(struct contract *c)
{
    enum {
        TIMES = 200
    };
    must_publish_pattern(c->fs, "file", 4, 10);
    size_t before = open_descriptors();
    for (unsigned i = 0; i < TIMES; i++) {
        struct kvt_slice slice = {"abcd", 4, NULL};
        struct kvt_fs_queue *queue = must_open_queue(c->fs, 0, i % 2 == 0);
        struct kvt_fs_elem elems[] = {
            {.op = KVT_FS_OPEN, .path = "file", .flags = KVT_FS_THEN},
            {.op = KVT_FS_WRITE, /* it was opened to read */
             .slices = &slice,
             .slice_count = 1,
             .flags = KVT_FS_THEN},
            {.op = KVT_FS_DATASYNC, .flags = KVT_FS_THEN},
            {.op = KVT_FS_CLOSE},
        };
        run_batch(queue, elems, COUNT_OF(elems));
        EXPECT("open", 0, elems[0].result);
        EXPECT_ERROR("write to a file opened to read", elems[1].result);
        EXPECT("datasync behind it", -ECANCELED, elems[2].result);
        EXPECT("close behind a failure", 0, elems[3].result);
        must_close_queue(queue);
    }
    EXPECT_TRUE("descriptors after 200 broken chains are not more",
                open_descriptors() < before + TIMES / 2);
}

static void an_open_that_fails_closes_nothing(struct contract *c)
{
    char bytes[16];
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    struct kvt_fs_queue *queue = must_open_queue(c->fs, 0, true);
    struct kvt_fs_elem elems[] = {
        {.op = KVT_FS_OPEN, .path = "missing", .flags = KVT_FS_THEN},
        {.op = KVT_FS_READ,
         .slices = &slice,
         .slice_count = 1,
         .flags = KVT_FS_THEN},
        {.op = KVT_FS_CLOSE},
    };
    run_batch(queue, elems, COUNT_OF(elems));
    EXPECT("open", -ENOENT, elems[0].result);
    EXPECT("read", -ECANCELED, elems[1].result);
    EXPECT("close", -ECANCELED, elems[2].result);
    must_close_queue(queue);
}

/* Elements are used again and again: what an OPEN leaves in `file` when it
 * fails is no file, whatever was there before. */
static void elements_of_a_chain_can_be_used_again(struct contract *c)
{
    unsigned char bytes[10];
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    must_publish_pattern(c->fs, "file", 5, 10);
    for (unsigned works = 0; works <= 1; works++) {
        struct kvt_fs_queue *queue = must_open_queue(c->fs, 0, works != 0);
        struct kvt_fs_file *kept = must_open(c->fs, "file", 0);
        struct kvt_fs_elem elems[] = {
            {.op = KVT_FS_OPEN, .path = "missing", .flags = KVT_FS_THEN},
            {.op = KVT_FS_READ,
             .slices = &slice,
             .slice_count = 1,
             .flags = KVT_FS_THEN},
            {.op = KVT_FS_CLOSE},
        };
        elems[0].file = kept;
        run_batch(queue, elems, COUNT_OF(elems));
        EXPECT("open", -ENOENT, elems[0].result);
        EXPECT("read", -ECANCELED, elems[1].result);
        EXPECT("close", -ECANCELED, elems[2].result);
        must_read_pattern(kept, 5, 0, 10); /* it is still open */
        must_close(kept);
        elems[0] = (struct kvt_fs_elem){
            .op = KVT_FS_STAT, .path = "file", .file = kept};
        run_batch(queue, elems, 1); /* of a path: the file is gone */
        EXPECT("stat", 0, elems[0].result);
        must_close_queue(queue);
    }
}

/* Longer than the queue is deep. */
static void a_long_chain_goes_through_a_shallow_queue(struct contract *c)
{
    enum {
        STEPS = 50
    };
    size_t part = block_size(c->fs, 100);
    unsigned char *bytes = must_alloc(part * STEPS);
    struct kvt_slice slices[STEPS];
    struct kvt_fs_elem elems[STEPS + 2];
    struct kvt_fs_queue *queue = must_open_queue(c->fs, 2, true);
    pattern_fill(5, 0, bytes, part * STEPS);
    elems[0] = (struct kvt_fs_elem){
        .op = KVT_FS_OPEN, .path = "file", .flags = WRITE_NEW | KVT_FS_THEN};
    for (size_t i = 0; i < STEPS; i++) {
        slices[i] = (struct kvt_slice){bytes + i * part, part, NULL};
        elems[i + 1] = (struct kvt_fs_elem){.op = KVT_FS_WRITE,
                                            .offset = i * part,
                                            .slices = &slices[i],
                                            .slice_count = 1,
                                            .flags = KVT_FS_THEN};
    }
    elems[STEPS + 1] = (struct kvt_fs_elem){.op = KVT_FS_CLOSE};
    run_batch(queue, elems, COUNT_OF(elems));
    for (size_t i = 0; i < STEPS; i++) {
        EXPECT("write", part, elems[i + 1].result);
    }
    EXPECT("close", 0, elems[STEPS + 1].result);
    must_hold_pattern(c->fs, "file", 5, part * STEPS);
    must_close_queue(queue);
    free(bytes);
}

static const struct contract_case cases[] = {
    CASE(a_chain_passes_its_file_on),
    CASE(a_chain_keeps_its_order),
    CASE(what_is_behind_a_failure_is_canceled),
    CASE(a_file_passes_over_steps_that_have_none),
    CASE(a_close_runs_whatever_failed_before),
    CASE(a_read_that_fails_leaks_no_file),
    CASE(an_open_that_fails_closes_nothing),
    CASE(elements_of_a_chain_can_be_used_again),
    CASE(a_long_chain_goes_through_a_shallow_queue),
};
GROUP(contract_chains, cases);
