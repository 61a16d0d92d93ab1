/* Memory that a mount moves without a copy, and memory that is offered; what
 * is counted. */
#include "contract.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void
allocated_memory_is_aligned_and_moves_without_a_copy(struct contract *c)
{
    static const size_t sizes[] = {1, 4095, 4096, 100001, 8 << 20};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct kvt_mem *mem;
        EXPECT("mem_alloc", 0, kvt_mem_alloc(c->fs, sizes[i], &mem));
        EXPECT("its size", sizes[i], kvt_mem_size(mem));
        EXPECT("held", false, kvt_mem_is_held(mem));
        EXPECT("its place, modulo memory_alignment", 0,
               (uintptr_t)kvt_mem_base(mem) % c->facts->memory_alignment);
        memset(kvt_mem_base(mem), 0x5a, sizes[i]);
        kvt_mem_free(mem);
    }
    size_t size = block_size(c->fs, 1 << 20);
    struct kvt_mem *mem;
    EXPECT("mem_alloc", 0, kvt_mem_alloc(c->fs, size, &mem));
    struct kvt_slice slice = {kvt_mem_base(mem), size, mem};
    struct kvt_fs_elem elem = {
        .op = KVT_FS_WRITE,
        .file = must_open(c->fs, "file", KVT_FS_FOR_WRITE | KVT_FS_CREATE),
        .slices = &slice,
        .slice_count = 1};
    struct kvt_fs_counters before;
    struct kvt_fs_counters after;
    pattern_fill(1, 0, slice.base, size);
    kvt_fs_counters(c->fs, &before);
    EXPECT("write", size, kvt_fs_run(c->fs, &elem));
    memset(slice.base, 0, size);
    elem.op = KVT_FS_READ;
    EXPECT("read", size, kvt_fs_run(c->fs, &elem));
    kvt_fs_counters(c->fs, &after);
    EXPECT_PATTERN("what was read", 1, 0, slice.base, size);
    EXPECT("bytes that were copied", 0,
           after.bytes_copied - before.bytes_copied);
    must_close(elem.file);
    kvt_mem_free(mem);
}

/* A mount with alignment moves odd reads through memory that is not the
 * caller's, and counts that: one who can align sees that it pays. */
static void copies_of_odd_reads_are_counted(struct contract *c)
{
    SKIP_UNLESS(c->facts->memory_alignment > 1 ||
                    c->facts->offset_alignment > 1,
                "the mount takes any place");
    struct kvt_fs_counters before;
    struct kvt_fs_counters after;
    size_t size = 3 * block_size(c->fs, 1);
    unsigned char *bytes = must_alloc(size);
    struct kvt_fs_file *file =
        must_open(c->fs, "file", KVT_FS_FOR_WRITE | KVT_FS_CREATE);
    must_write_pattern(file, 1, 0, size);
    kvt_fs_counters(c->fs, &before);
    EXPECT("odd read", size - 8, file_read(file, 5, bytes + 3, size - 5 - 3));
    kvt_fs_counters(c->fs, &after);
    EXPECT_PATTERN("what was read", 1, 5, bytes + 3, size - 5 - 3);
    EXPECT_TRUE("bytes that were copied are not more than were read",
                after.bytes_copied - before.bytes_copied <= size - 8);
    EXPECT_TRUE("bytes that were copied: an edge at least",
                after.bytes_copied > before.bytes_copied);
    free(bytes);
    must_close(file);
}

static void registered_memory_works_and_stays_the_callers(struct contract *c)
{
    size_t size = block_size(c->fs, 100000);
    unsigned char *bytes = must_alloc(size + 200);
    struct kvt_mem *mem;
    memset(bytes, 0xa5, size + 200);
    EXPECT("mem_register", 0, kvt_mem_register(c->fs, bytes, size + 200, &mem));
    EXPECT_TRUE("its base", kvt_mem_base(mem) == bytes);
    EXPECT("its size", size + 200, kvt_mem_size(mem));
    struct kvt_slice slice = {bytes + 100, size, mem};
    struct kvt_fs_elem elem = {
        .op = KVT_FS_WRITE,
        .file = must_open(c->fs, "file", KVT_FS_FOR_WRITE | KVT_FS_CREATE),
        .slices = &slice,
        .slice_count = 1};
    pattern_fill(2, 0, slice.base, size);
    EXPECT("write", size, kvt_fs_run(c->fs, &elem));
    memset(slice.base, 0, size);
    elem.op = KVT_FS_READ;
    EXPECT("read", size, kvt_fs_run(c->fs, &elem));
    EXPECT_PATTERN("what was read", 2, 0, slice.base, size);
    must_close(elem.file);
    kvt_mem_free(mem);
    for (size_t i = 0; i < 100; i++) {
        EXPECT("bytes in front", 0xa5, bytes[i]);
        EXPECT("bytes behind", 0xa5, bytes[size + 100 + i]);
    }
    free(bytes);
}

static void count_release(struct kvt_mem *mem, void *arg)
{
    (void)mem;
    ++*(unsigned *)arg;
}

static void what_nobody_holds_is_released_at_once(struct contract *c)
{
    unsigned releases = 0;
    struct kvt_mem *mem;
    EXPECT("mem_alloc of nothing", -EINVAL, kvt_mem_alloc(c->fs, 0, &mem));
    EXPECT("mem_register of nothing", -EINVAL,
           kvt_mem_register(c->fs, "x", 0, &mem));
    EXPECT("mem_alloc", 0, kvt_mem_alloc(c->fs, 4096, &mem));
    kvt_mem_on_release(mem, count_release, &releases);
    EXPECT("calls of released", 1, releases);
    kvt_mem_on_release(mem, NULL, NULL);
    kvt_mem_free(mem);
    kvt_mem_free(NULL);
    EXPECT("calls of released", 1, releases);
}

static void use_memory(size_t number, void *arg)
{
    struct contract *c = arg;
    for (size_t i = 0; i < 100; i++) {
        struct kvt_mem *mem;
        size_t size = 1 + (number * 7919 + i * 104729) % 300000;
        EXPECT("mem_alloc", 0, kvt_mem_alloc(c->fs, size, &mem));
        unsigned char *bytes = kvt_mem_base(mem);
        bytes[0] = (unsigned char)number;
        bytes[size - 1] = (unsigned char)i;
        EXPECT("its last byte", (unsigned char)i, bytes[size - 1]);
        kvt_mem_free(mem);
    }
}

static void threads_allocate_side_by_side(struct contract *c)
{
    run_threads(8, use_memory, c);
}

static void counters_tell_what_went_through(struct contract *c)
{
    struct kvt_fs_counters before;
    struct kvt_fs_counters after;
    struct kvt_fs_elem elems[30];
    struct kvt_fs_queue *queue = must_open_queue(c->fs, 0, true);
    for (size_t i = 0; i < COUNT_OF(elems); i++) {
        elems[i] = (struct kvt_fs_elem){.op = KVT_FS_STAT, .path = "missing"};
    }
    kvt_fs_counters(c->fs, &before);
    run_batch(queue, elems, COUNT_OF(elems));
    kvt_fs_counters(c->fs, &after);
    EXPECT("transfers", COUNT_OF(elems), after.transfers - before.transfers);
    EXPECT_TRUE("a batch is not handed over one by one",
                after.submissions - before.submissions < COUNT_OF(elems));
    EXPECT_TRUE("more than one was in flight", after.in_flight_max > 1);
    EXPECT("bytes copied", before.bytes_copied, after.bytes_copied);
    must_close_queue(queue);
}

static const struct contract_case cases[] = {
    CASE(allocated_memory_is_aligned_and_moves_without_a_copy),
    CASE(copies_of_odd_reads_are_counted),
    CASE(registered_memory_works_and_stays_the_callers),
    CASE(what_nobody_holds_is_released_at_once),
    CASE(threads_allocate_side_by_side),
    CASE(counters_tell_what_went_through),
};
GROUP(contract_memory, cases);
