/* Deadlines that are kept change nothing. */
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITE_NEW (KVT_FS_FOR_WRITE | KVT_FS_CREATE)

/* Never met. */
static int64_t far_ahead(void)
{
    return now_ns() + INT64_C(100000000000);
}

static uint64_t copied_bytes(struct kvt_fs *fs)
{
    struct kvt_fs_counters counters;
    kvt_fs_counters(fs, &counters);
    return counters.bytes_copied;
}

/* Without trouble --------------------------------------------------------- */

/* Half of each transfer is in memory of the mount's, half is the caller's. */
static void a_deadline_ahead_changes_nothing(struct contract *c)
{
    size_t half = block_size(c->fs, 70000);
    struct kvt_mem *mem;
    EXPECT("mem_alloc", 0, kvt_mem_alloc(c->fs, half, &mem));
    unsigned char *foreign = must_alloc(half);
    struct kvt_slice slices[] = {{kvt_mem_base(mem), half, mem},
                                 {foreign, half, NULL}};
    struct kvt_fs_queue *queue = must_open_queue(c->fs, 0, true);
    struct kvt_fs_elem write[] = {
        {.op = KVT_FS_OPEN,
         .path = "file",
         .flags = WRITE_NEW | KVT_FS_THEN,
         .deadline_ns = far_ahead()},
        {.op = KVT_FS_WRITE,
         .slices = slices,
         .slice_count = 2,
         .flags = KVT_FS_THEN},
        {.op = KVT_FS_CLOSE},
    };
    pattern_fill(1, 0, slices[0].base, half);
    pattern_fill(1, half, foreign, half);
    run_batch(queue, write, COUNT_OF(write));
    EXPECT("open", 0, write[0].result);
    EXPECT("write", 2 * half, write[1].result);
    EXPECT("close", 0, write[2].result);
    must_hold_pattern(c->fs, "file", 1, 2 * half);

    memset(slices[0].base, 0, half);
    memset(foreign, 0, half);
    struct kvt_fs_elem fetch = {.op = KVT_FS_FETCH,
                                .path = "file",
                                .flags = KVT_FS_WANT_SIZE,
                                .slices = slices,
                                .slice_count = 2,
                                .deadline_ns = far_ahead()};
    run_batch(queue, &fetch, 1);
    EXPECT("fetch", 2 * half, fetch.result);
    EXPECT("its size", 2 * half, fetch.file_size);
    EXPECT_PATTERN("in memory of the mount", 1, 0, slices[0].base, half);
    EXPECT_PATTERN("in foreign memory", 1, half, foreign, half);
    EXPECT("late follows", false, fetch.late_follows);
    EXPECT("lingering", 0, kvt_fs_lingering(queue));
    EXPECT("held", false, kvt_mem_is_held(mem));
    must_close_queue(queue);
    kvt_mem_free(mem);
    free(foreign);
}

static void only_foreign_memory_is_copied(struct contract *c)
{
    size_t size = block_size(c->fs, 1 << 20);
    struct kvt_mem *mem;
    EXPECT("mem_alloc", 0, kvt_mem_alloc(c->fs, size, &mem));
    unsigned char *foreign = must_alloc(size);
    must_publish_pattern(c->fs, "file", 2, size);
    struct kvt_slice slice = {kvt_mem_base(mem), size, mem};
    struct kvt_fs_elem fetch = {.op = KVT_FS_FETCH,
                                .path = "file",
                                .slices = &slice,
                                .slice_count = 1,
                                .deadline_ns = far_ahead()};
    struct kvt_fs_queue *queue = must_open_queue(c->fs, 0, true);
    uint64_t before = copied_bytes(c->fs);
    run_batch(queue, &fetch, 1);
    EXPECT("fetch into memory of the mount", size, fetch.result);
    EXPECT("bytes copied for it", 0, copied_bytes(c->fs) - before);
    slice = (struct kvt_slice){foreign, size, NULL};
    fetch.deadline_ns = far_ahead();
    before = copied_bytes(c->fs);
    run_batch(queue, &fetch, 1);
    EXPECT("fetch into foreign memory", size, fetch.result);
    EXPECT_PATTERN("what was fetched", 2, 0, foreign, size);
    EXPECT_TRUE("bytes copied are those of the file, at least",
                copied_bytes(c->fs) - before >= size);
    must_close_queue(queue);
    kvt_mem_free(mem);
    free(foreign);
}

/* Chains break as they do without one. */
static void a_chain_with_a_deadline_breaks_as_any(struct contract *c)
{
    enum {
        TIMES = 100
    };
    must_publish_pattern(c->fs, "file", 3, 10);
    size_t before = open_descriptors();
    struct kvt_fs_queue *queue = must_open_queue(c->fs, 0, true);
    for (unsigned i = 0; i < TIMES; i++) {
        struct kvt_slice slice = {"abcd", 4, NULL};
        struct kvt_fs_elem elems[] = {
            {.op = KVT_FS_OPEN,
             .path = "file",
             .flags = KVT_FS_THEN,
             .deadline_ns = far_ahead()},
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
        EXPECT("close", 0, elems[3].result);
    }
    must_close_queue(queue);
    EXPECT_TRUE("descriptors after 100 broken chains are not more",
                open_descriptors() < before + TIMES / 4);
}

static const struct contract_case cases[] = {
    CASE(a_deadline_ahead_changes_nothing),
    CASE(only_foreign_memory_is_copied),
    CASE(a_chain_with_a_deadline_breaks_as_any),
};
GROUP(contract_deadlines, cases);
