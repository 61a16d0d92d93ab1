/* Memory of a mount of uring's: registered up to a limit, freed, and followed
 * by other memory at the same address. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "uring_fixture.h"

#include "fs/uring.h"
#include "support/unit.h"

#include <sys/mman.h>

/* Memory that a ring has registered is freed, and its address given to other
 * memory: that is the one which is read into. */
static void memory_may_be_freed_and_come_back(void **state)
{
    enum {
        SIZE = 1 << 20
    };
    struct mounted *m = *state;
    struct kvt_fs *fs = uring_start(m, "auto");
    struct kvt_fs_queue *queues[2] = {start_queue(fs, 4), start_queue(fs, 4)};
    struct kvt_fs_file *file;
    make_file(m, "file", 9, SIZE);
    assert_int_equal(do_open(fs, "file", 0, &file), 0);
    for (unsigned i = 0; i < 60; i++) {
        struct kvt_mem *mem = NULL;
        void *base = NULL;
        if (i % 3 == 2) { /* foreign memory, often at the same address */
            assert_int_equal(posix_memalign(&base, 4096, SIZE), 0);
        } else {
            assert_int_equal(kvt_mem_alloc(fs, SIZE, &mem), 0);
            base = kvt_mem_base(mem);
        }
        memset(base, 0, SIZE);
        struct kvt_slice slice = {base, SIZE, mem};
        struct kvt_fs_elem read = {.op = KVT_FS_READ,
                                   .file = file,
                                   .slices = &slice,
                                   .slice_count = 1};
        kvt_fs_submit(queues[i % 2], &read, 1);
        finish_all(queues[i % 2]);
        assert_int_equal(read.result, SIZE);
        assert_true(value_is(base, SIZE, 9));
        if (mem == NULL) {
            free(base);
        }
        kvt_mem_free(mem);
    }
    stop_queue(queues[0]);
    stop_queue(queues[1]);
    assert_int_equal(do_file(fs, KVT_FS_CLOSE, file), 0);
}

/* Other pages come to the same address: a ring that had kept the old ones would
 * read into those. */
static void memory_is_forgotten_when_it_is_given_back(void **state)
{
    enum {
        SIZE = 1 << 20
    };
    struct mounted *m = *state;
    struct kvt_fs *fs = uring_start(m, "auto");
    struct kvt_fs_queue *queue = start_queue(fs, 4);
    static const char *const names[] = {"one", "two"};
    int kind = MAP_PRIVATE | MAP_ANONYMOUS;
    void *at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, kind, -1, 0);
    assert_true(at != MAP_FAILED);
    make_file(m, names[0], 20, SIZE);
    make_file(m, names[1], 21, SIZE);
    struct kvt_fs_file *files[2];
    assert_int_equal(do_open(fs, names[0], 0, &files[0]), 0);
    assert_int_equal(do_open(fs, names[1], 0, &files[1]), 0);
    for (unsigned i = 0; i < 6; i++) {
        struct kvt_mem *mem;
        assert_true(mmap(at, SIZE, PROT_READ | PROT_WRITE, kind | MAP_FIXED, -1,
                         0) == at);
        assert_int_equal(kvt_mem_register(fs, at, SIZE, &mem), 0);
        struct kvt_slice slice = {at, SIZE, mem};
        struct kvt_fs_elem read = {.op = KVT_FS_READ,
                                   .file = files[i % 2],
                                   .slices = &slice,
                                   .slice_count = 1};
        kvt_fs_submit(queue, &read, 1);
        finish_all(queue);
        assert_int_equal(read.result, SIZE);
        assert_true(value_is(at, SIZE, 20 + i % 2));
        kvt_mem_free(mem);
    }
    assert_int_equal(munmap(at, SIZE), 0);
    stop_queue(queue);
    assert_int_equal(do_file(fs, KVT_FS_CLOSE, files[0]), 0);
    assert_int_equal(do_file(fs, KVT_FS_CLOSE, files[1]), 0);
}

static void more_memory_than_may_be_registered_works(void **state)
{
    enum {
        SIZE = 100000,
        COUNT = 100
    };
    struct mounted *m = *state;
    static const char *const limits[] = {"0", "1MiB", "1GiB"};
    struct kvt_mem *mems[COUNT];
    struct kvt_slice slices[COUNT];
    struct kvt_fs_elem elems[COUNT];
    for (size_t l = 0; l < COUNT_OF(limits); l++) {
        mounted_set(m, "uring.registered_max", limits[l]);
        struct kvt_fs *fs = uring_start(m, "auto");
        struct kvt_fs_queue *queue = start_queue(fs, 32);
        struct kvt_fs_file *file;
        make_file(m, "file", 10, SIZE);
        assert_int_equal(do_open(fs, "file", 0, &file), 0);
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(kvt_mem_alloc(fs, SIZE, &mems[i]), 0);
            slices[i] =
                (struct kvt_slice){kvt_mem_base(mems[i]), SIZE, mems[i]};
            elems[i] = (struct kvt_fs_elem){.op = KVT_FS_READ,
                                            .file = file,
                                            .slices = &slices[i],
                                            .slice_count = 1};
        }
        kvt_fs_submit(queue, elems, COUNT);
        finish_all(queue);
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(elems[i].result, SIZE);
            assert_true(value_is(slices[i].base, SIZE, 10));
            kvt_mem_free(mems[i]);
        }
        stop_queue(queue);
        assert_int_equal(do_file(fs, KVT_FS_CLOSE, file), 0);
        assert_string_equal(kvt_fs_fallback_reason(fs), "");
        mounted_stop(m);
    }
}

/* How many of them the ring knows. */
static size_t count_registered(struct kvt_fs_queue *queue,
                               struct kvt_mem *const *mems, size_t count)
{
    size_t known = 0;
    for (size_t i = 0; i < count; i++) {
        known +=
            kvt_uring_buffer((struct uring_queue *)queue, kvt_mem_base(mems[i]),
                             kvt_mem_size(mems[i])) >= 0;
    }
    return known;
}

/* As much as fits, and again when some of it was freed. */
static void no_more_is_registered_than_may_be(void **state)
{
    enum {
        SIZE = 256 << 10,
        COUNT = 8
    };
    struct mounted *m = *state;
    static const struct {
        const char *max;
        size_t fit;
    } limits[] = {{"0", 0}, {"256KiB", 1}, {"1MiB", 4}, {"1GiB", COUNT}};
    for (size_t l = 0; l < COUNT_OF(limits); l++) {
        size_t fit = limits[l].fit;
        struct kvt_mem *mems[COUNT];
        mounted_set(m, "uring.registered_max", limits[l].max);
        struct kvt_fs *fs = uring_start(m, "auto");
        struct kvt_fs_queue *queue = start_queue(fs, 4);
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(kvt_mem_alloc(fs, SIZE, &mems[i]), 0);
        }
        assert_int_equal(count_registered(queue, mems, COUNT), fit);
        kvt_mem_free(mems[0]);
        assert_int_equal(kvt_mem_alloc(fs, SIZE, &mems[0]), 0);
        assert_int_equal(count_registered(queue, mems, COUNT), fit);
        for (size_t i = 0; i < COUNT; i++) {
            kvt_mem_free(mems[i]);
        }
        stop_queue(queue);
        mounted_stop(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        mount_test(memory_may_be_freed_and_come_back),
        mount_test(memory_is_forgotten_when_it_is_given_back),
        mount_test(no_more_is_registered_than_may_be),
        mount_test(more_memory_than_may_be_registered_works),
    };
    if (!uring_is_here()) {
        return uring_skip();
    }
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
