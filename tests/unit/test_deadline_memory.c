/* What an element with a deadline points to is its caller's again when it has
 * ended, whatever the ring still does with it. */
#include "support/queue_fixture.h"

#include "core/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool no_memory;
static const void *watched;
static size_t watched_freed;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void __wrap_free(void *memory);

void *__wrap_malloc(size_t size)
{
    return no_memory ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return no_memory ? NULL : __real_calloc(count, size);
}

void __wrap_free(void *memory)
{
    watched_freed += memory != NULL && memory == watched;
    __real_free(memory);
}

static void drain_lingering(struct fixture *f)
{
    for (int i = 0; i < 10 && kvt_fs_lingering(f->queue) > 0; i++) {
        kvt_fs_poll(f->queue, 0, 0);
    }
    assert_int_equal(kvt_fs_lingering(f->queue), 0);
}

/* Late transfers ---------------------------------------------------------- */

enum {
    SIZE = 64
};

static const void *late_base; /* where the ring wrote */

static int64_t writes_into_it(struct kvt_fs_elem *elem)
{
    late_base = elem->slices[0].base;
    memset(elem->slices[0].base, 0xee, elem->slices[0].size);
    return (int64_t)elem->slices[0].size;
}

/* A read ends at its deadline; then the ring fills what it was given. */
static void read_late(struct fixture *f, struct kvt_slice *slice)
{
    f->ring.on_demand = true;
    f->ring.result = writes_into_it;
    f->elems[0].op = KVT_FS_READ;
    f->elems[0].slices = slice;
    f->elems[0].slice_count = 1;
    f->elems[0].deadline_ns = kvt_clock_ns() + 2 * MS;
    kvt_fs_submit(f->queue, f->elems, 1);
    assert_int_equal(kvt_fs_poll(f->queue, 1, 0), 1);
    assert_int_equal(f->elems[0].result, -ETIMEDOUT);
    null_ring_release(f->queue, 1);
}

static void expect_untouched(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(bytes[i], 0x11);
    }
}

static void registered_memory_is_left_alone(void **state)
{
    struct fixture *f = *state;
    unsigned char bytes[SIZE];
    struct kvt_mem *mem;

    memset(bytes, 0x11, sizeof bytes);
    assert_int_equal(kvt_mem_register(&f->ring.fs, bytes, SIZE, &mem), 0);
    struct kvt_slice slice = {bytes, SIZE, mem};
    read_late(f, &slice);
    assert_false(kvt_mem_is_held(mem));
    kvt_mem_free(mem); /* the caller's right */
    drain_lingering(f);
    expect_untouched(bytes, SIZE);
}

/* A slip of the caller's: its slice says that it lies in memory of ours. */
static void memory_beside_ours_is_left_alone(void **state)
{
    struct fixture *f = *state;
    unsigned char bytes[SIZE];
    struct kvt_mem *mem;

    f->ring.fs.facts.memory_alignment = 1;
    memset(bytes, 0x11, sizeof bytes);
    assert_int_equal(kvt_mem_alloc(&f->ring.fs, SIZE, &mem), 0);
    struct kvt_slice slice = {bytes, SIZE, mem};
    read_late(f, &slice);
    drain_lingering(f);
    expect_untouched(bytes, SIZE);
    /* half of it outside */
    memset(kvt_mem_base(mem), 0x11, SIZE);
    slice = (struct kvt_slice){(char *)kvt_mem_base(mem) + 1, SIZE, mem};
    read_late(f, &slice);
    drain_lingering(f);
    expect_untouched(kvt_mem_base(mem), SIZE);
    kvt_mem_free(mem);
}

static void memory_freed_while_it_is_held_is_freed_in_the_end(void **state)
{
    struct fixture *f = *state;
    struct kvt_mem *mem;

    f->ring.fs.facts.memory_alignment = 1;
    assert_int_equal(kvt_mem_alloc(&f->ring.fs, SIZE, &mem), 0);
    struct kvt_slice slice = {kvt_mem_base(mem), SIZE, mem};
    watched = kvt_mem_base(mem);
    watched_freed = 0;
    read_late(f, &slice);
    assert_true(kvt_mem_is_held(mem));
    kvt_mem_free(mem);
    assert_int_equal(watched_freed, 0);
    drain_lingering(f);
    assert_ptr_equal(late_base, watched); /* no copy of ours in between */
    assert_int_equal(watched_freed, 1);
    watched = NULL;
}

/* Paths --------------------------------------------------------------------*/

static int64_t sees_its_paths(struct kvt_fs_elem *elem)
{
    assert_string_equal(elem->path, "name");
    assert_string_equal(elem->temp_path, "temporary");
    return 0;
}

static void paths_are_the_callers_again(void **state)
{
    struct fixture *f = *state;
    char path[] = "name";
    char temp_path[] = "temporary";

    f->ring.on_demand = true;
    f->ring.result = sees_its_paths;
    f->elems[0].op = KVT_FS_PUBLISH;
    f->elems[0].path = path;
    f->elems[0].temp_path = temp_path;
    f->elems[0].deadline_ns = kvt_clock_ns() + 2 * MS;
    kvt_fs_submit(f->queue, f->elems, 1);
    assert_int_equal(kvt_fs_poll(f->queue, 1, 0), 1);
    memset(path, 'x', sizeof path - 1);
    memset(temp_path, 'x', sizeof temp_path - 1);
    null_ring_release(f->queue, 1);
    drain_lingering(f);
}

/* No memory for shadows --------------------------------------------------- */

static void without_memory_it_ends_in_the_next_poll(void **state)
{
    struct fixture *f = *state;

    f->elems[0].deadline_ns = kvt_clock_ns() + 10000 * MS;
    f->elems[1].deadline_ns = f->elems[0].deadline_ns;
    no_memory = true;
    kvt_fs_submit(f->queue, f->elems, 2);
    no_memory = false;
    assert_int_equal(f->done_count, 0); /* `done` runs inside poll */
    assert_int_equal(kvt_fs_in_flight(f->queue), 2);
    assert_int_equal(kvt_fs_poll(f->queue, 2, 0), 2); /* or it hangs */
    assert_int_equal(f->elems[0].result, -ENOMEM);
    assert_int_equal(f->elems[1].result, -ENOMEM);
    assert_int_equal(f->ring.submissions, 0);
}

static size_t files_closed;

static int64_t count_closes(struct kvt_fs_elem *elem)
{
    assert_int_equal(elem->deadline_ns, 0);
    files_closed += elem->op == KVT_FS_CLOSE;
    return 0;
}

static void a_file_is_closed_without_memory_too(void **state)
{
    static const enum kvt_fs_op ops[] = {KVT_FS_STAT, KVT_FS_CLOSE, KVT_FS_STAT,
                                         KVT_FS_CLOSE};
    struct fixture *f = *state;
    struct kvt_fs_file file = {&f->ring.fs};

    f->ring.result = count_closes;
    files_closed = 0;
    for (size_t i = 0; i < 4; i++) { /* a chain of three, and a close */
        f->elems[i].op = ops[i];
        f->elems[i].file = ops[i] == KVT_FS_CLOSE ? &file : NULL;
        f->elems[i].flags = i < 2 ? KVT_FS_THEN : 0;
        f->elems[i].deadline_ns = kvt_clock_ns() + 10000 * MS;
    }
    no_memory = true;
    kvt_fs_submit(f->queue, f->elems, 4);
    queue_wait_for_done(f, 4);
    no_memory = false;
    assert_int_equal(files_closed, 2);
    assert_int_equal(f->elems[0].result, -ENOMEM);
    assert_int_equal(f->elems[1].result, 0);
    assert_int_equal(f->elems[2].result, -ECANCELED);
    assert_int_equal(f->elems[3].result, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE_CHAINS(registered_memory_is_left_alone),
        CASE_CHAINS(memory_beside_ours_is_left_alone),
        CASE_CHAINS(memory_freed_while_it_is_held_is_freed_in_the_end),
        CASE_CHAINS(paths_are_the_callers_again),
        CASE_CHAINS(without_memory_it_ends_in_the_next_poll),
        CASE_SINGLES(a_file_is_closed_without_memory_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
