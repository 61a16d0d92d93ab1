/* The mem adapter's bytes and its space, against plain models of both: every
 * unit is counted once and given back once. */
#include "mem_fixture.h"

static size_t fail_at; /* the allocation that fails, from 1; 0: none */
static size_t allocations;

void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);

void *__wrap_realloc(void *memory, size_t size)
{
    return fail_at != 0 && ++allocations == fail_at
               ? NULL
               : __real_realloc(memory, size);
}

/* A file of up to SIZE bytes as it should be. */
enum {
    SIZE = 40 * UNIT
};

struct model {
    unsigned char bytes[SIZE];
    bool unit[SIZE / UNIT]; /* charged */
    uint64_t size;
};

static void model_write(struct model *model, uint64_t offset,
                        const unsigned char *bytes, size_t size)
{
    memcpy(model->bytes + offset, bytes, size);
    for (size_t at = 0; at < size; at++) {
        model->unit[(offset + at) / UNIT] = true;
    }
    if (size > 0 && offset + size > model->size) {
        model->size = offset + size;
    }
}

static void model_zero(struct model *model, uint64_t from, uint64_t to)
{
    memset(model->bytes + from, 0, to - from);
    for (uint64_t unit = (from + UNIT - 1) / UNIT; unit < to / UNIT; unit++) {
        model->unit[unit] = false;
    }
}

static uint64_t model_units(const struct model *model)
{
    uint64_t count = 0;

    for (size_t i = 0; i < COUNT_OF(model->unit); i++) {
        count += model->unit[i];
    }
    return count;
}

static void change(struct kvt_fs *fs, struct kvt_fs_file *file,
                   struct model *model, uint64_t *seed)
{
    static unsigned char bytes[SIZE];
    uint64_t from = unit_random_below(seed, SIZE);
    size_t size = unit_random_below(seed, SIZE - from + 1);
    unsigned kind = (unsigned)unit_random_below(seed, 16);

    size = kind % 2 == 0 ? size % 9000 : size;
    if (kind < 10) {
        memset(bytes, (int)unit_random_below(seed, 255) + 1, size);
        assert_int_equal(mem_write(fs, file, from, bytes, size), size);
        model_write(model, from, bytes, size);
    } else if (kind < 12 && size > 0) {
        assert_int_equal(mem_punch(fs, file, from, size), 0);
        model_zero(model, from, from + size);
    } else if (kind < 14) {
        assert_int_equal(kvt_fs_truncate(fs, file, from), 0);
        if (from < model->size) {
            model_zero(model, from, SIZE);
        }
        model->size = from;
    } else if (kind == 14 && from > 0) {
        assert_int_equal(kvt_fs_allocate(fs, file, from), 0);
        for (uint64_t unit = 0; unit * UNIT < from; unit++) {
            model->unit[unit] = true;
        }
    } else {
        assert_int_equal(mem_file_op(fs, KVT_FS_DATASYNC, file), 0);
    }
}

static void expect_model(struct kvt_fs *fs, struct kvt_fs_file *file,
                         const struct model *model, uint64_t *seed)
{
    static unsigned char got[SIZE];
    uint64_t from = unit_random_below(seed, SIZE);
    size_t size = unit_random_below(seed, SIZE - from + 1);
    uint64_t left = from < model->size ? model->size - from : 0;
    uint64_t want = size < left ? size : left;

    assert_int_equal(mem_read(fs, file, from, got, size), want);
    assert_memory_equal(got, model->bytes + from, want);
    assert_int_equal(mem_stat(fs, "a"), model->size);
    assert_int_equal(mem_used(fs), 1 + model_units(model));
}

static void bytes_and_units_are_those_of_a_model(void **state)
{
    static const char *const facts[] = {"", "close_to_open", "after_sync",
                                        "transfer64k"};
    struct mem_fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(facts); i++) {
        struct kvt_fs *fs = mem_mount(f, facts[i]);
        struct kvt_fs_file *file = mem_create(fs, "a");
        struct model *model = calloc(1, sizeof *model);
        uint64_t seed = 77 + i;

        for (int round = 0; round < 600; round++) {
            change(fs, file, model, &seed);
            expect_model(fs, file, model, &seed);
        }
        assert_int_equal(mem_close(fs, file), 0);
        kvt_fs_unmount(f->fs[--f->fs_count]);

        fs = mem_mount(f, ""); /* an unmount kept what was pending */
        assert_int_equal(mem_open(fs, "a", 0, &file), 0);
        expect_model(fs, file, model, &seed);
        assert_int_equal(mem_close(fs, file), 0);
        assert_int_equal(mem_remove(fs, "a"), 0);
        assert_int_equal(mem_used(fs), 1);
        kvt_fs_unmount(f->fs[--f->fs_count]);
        free(model);
    }
}

/* Capacity ---------------------------------------------------------------- */

static unsigned char block[16 * UNIT];

static void a_full_file_system_is_an_error_and_changes_nothing(void **state)
{
    struct mem_fixture *f = *state;
    /* root, d, 8 units, and less than one more */
    struct kvt_fs *fs = mem_mount_sized(f, "", 10 * UNIT + 4000);
    struct kvt_fs_file *file = mem_create(fs, "a");
    struct kvt_fs_usage usage;
    char byte = 1;

    assert_int_equal(kvt_fs_usage(fs, &usage), 0);
    assert_int_equal(usage.capacity, 10 * UNIT);
    assert_int_equal(usage.available, 9 * UNIT);
    assert_int_equal(kvt_fs_mkdirs(fs, "d"), 0);
    assert_int_equal(mem_write(fs, file, 0, block, 8 * UNIT + 1), -ENOSPC);
    assert_int_equal(mem_stat(fs, "a"), 0);
    assert_int_equal(mem_used(fs), 2);
    assert_int_equal(mem_write(fs, file, 0, block, 8 * UNIT), 8 * UNIT);
    assert_int_equal(mem_used(fs), 10);
    /* what has its space is written; nothing else is */
    assert_int_equal(mem_write(fs, file, 100, block, 7 * UNIT), 7 * UNIT);
    assert_int_equal(mem_write(fs, file, 8 * UNIT - 1, block, 2), -ENOSPC);
    assert_int_equal(mem_stat(fs, "a"), 8 * UNIT);
    assert_int_equal(mem_write(fs, file, 1 << 20, &byte, 1), -ENOSPC);
    assert_int_equal(kvt_fs_mkdirs(fs, "d/e"), -ENOSPC);
    assert_int_equal(kvt_fs_allocate(fs, file, 9 * UNIT), -ENOSPC);
    assert_int_equal(mem_publish(fs, "b", &byte, 1, 0), -ENOSPC);
    assert_int_equal(mem_stat(fs, "b"), -ENOENT);
    assert_int_equal(mem_stat(fs, "b.tmp"), -ENOENT);
    mem_close(fs, mem_create(fs, "empty")); /* names are free */

    assert_int_equal(mem_punch(fs, file, 1, 2 * UNIT), 0); /* one whole */
    assert_int_equal(mem_used(fs), 9);
    assert_int_equal(mem_publish(fs, "b", &byte, 1, 0), 1);
    assert_int_equal(kvt_fs_truncate(fs, file, UNIT + 1), 0);
    assert_int_equal(mem_used(fs), 4);
    assert_int_equal(mem_close(fs, file), 0);
}

/* No memory in the middle of a write: what it had reserved is given back. */
static void a_write_that_fails_takes_no_space(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *fs = mem_mount(f, "");
    struct kvt_fs_file *file = mem_create(fs, "a");
    int64_t written = -ENOMEM;

    assert_int_equal(mem_write(fs, file, 0, block, UNIT + 1), UNIT + 1);
    uint64_t used = mem_used(fs);
    for (size_t n = 1; written == -ENOMEM; n++) {
        allocations = 0;
        fail_at = n;
        written = mem_write(fs, file, 3 * UNIT, block, 16 * UNIT);
        fail_at = 0;
        if (written < 0) {
            assert_int_equal(written, -ENOMEM);
            assert_int_equal(mem_used(fs), used);
            assert_int_equal(mem_stat(fs, "a"), UNIT + 1);
        } else {
            assert_true(n > 1); /* some have failed */
        }
    }
    assert_int_equal(written, 16 * UNIT);
    assert_int_equal(mem_used(fs), used + 16);
    assert_int_equal(mem_close(fs, file), 0);
}

static void space_is_free_when_name_and_last_open_are_gone(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *fs = mem_mount(f, "");
    struct kvt_fs_file *file;

    mem_put(fs, "a", "A");
    mem_put(fs, "b", "B");
    assert_int_equal(mem_open(fs, "a", 0, &file), 0);
    assert_int_equal(mem_used(fs), 3);
    assert_int_equal(kvt_fs_rename(fs, "b", "a", true), 0);
    assert_int_equal(mem_used(fs), 3);
    assert_int_equal(mem_close(fs, file), 0);
    assert_int_equal(mem_used(fs), 2);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(mem_publish(fs, "a", block, 3 * UNIT, 0), 3 * UNIT);
    }
    assert_int_equal(mem_used(fs), 4);
    assert_int_equal(mem_remove(fs, "a"), 0);
    assert_int_equal(mem_used(fs), 1);
}

static void a_trash_bin_keeps_the_space(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *fs = mem_mount_sized(f, "trash", 5 * UNIT);

    mem_put(fs, "a", "A");
    assert_int_equal(kvt_fs_link(fs, "a", "b"), 0);
    assert_int_equal(mem_remove(fs, "a"), 0);
    assert_int_equal(mem_used(fs), 2);
    assert_int_equal(mem_remove(fs, "b"), 0);
    assert_int_equal(mem_used(fs), 2);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(mem_publish(fs, "a", "x", 1, 0), 1);
    }
    assert_int_equal(mem_used(fs), 5);
    assert_int_equal(mem_publish(fs, "a", "x", 1, 0), -ENOSPC);
    mem_expect(fs, "a", "x");
}

static void the_last_mount_says_the_capacity(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *fs = mem_mount_sized(f, "", 100 * UNIT);
    struct kvt_fs_file *file = mem_create(fs, "a");
    struct kvt_fs_usage usage;

    assert_int_equal(mem_write(fs, file, 0, block, 9 * UNIT), 9 * UNIT);
    mem_mount_sized(f, "", 8 * UNIT);
    assert_int_equal(kvt_fs_usage(fs, &usage), 0);
    assert_int_equal(usage.capacity, 8 * UNIT);
    assert_int_equal(usage.available, 0);
    assert_int_equal(mem_write(fs, file, 9 * UNIT, block, 1), -ENOSPC);
    assert_int_equal(mem_write(fs, file, 0, block, 9 * UNIT), 9 * UNIT);
    assert_int_equal(mem_close(fs, file), 0);
}

static void many_names_in_one_directory(void **state)
{
    enum {
        COUNT = 20000
    };
    struct mem_fixture *f = *state;
    struct kvt_fs *fs = mem_mount(f, "");
    char path[32];

    for (int i = 0; i < COUNT; i++) {
        snprintf(path, sizeof path, "d/%d", i);
        assert_int_equal(mem_publish(fs, path, &i, sizeof i, 0), sizeof i);
    }
    assert_int_equal(mem_used(fs), 2 + COUNT);
    for (int i = 0; i < COUNT; i++) {
        int got = -1;
        struct kvt_fs_file *file;
        snprintf(path, sizeof path, "d/%d", i);
        assert_int_equal(mem_open(fs, path, 0, &file), 0);
        assert_int_equal(mem_read(fs, file, 0, &got, sizeof got), sizeof got);
        assert_int_equal(got, i);
        assert_int_equal(mem_close(fs, file), 0);
    }
    assert_int_equal(kvt_fs_remove_tree(fs, "d"), 0);
    assert_int_equal(mem_used(fs), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(bytes_and_units_are_those_of_a_model),
        CASE(a_full_file_system_is_an_error_and_changes_nothing),
        CASE(a_write_that_fails_takes_no_space),
        CASE(space_is_free_when_name_and_last_open_are_gone),
        CASE(a_trash_bin_keeps_the_space),
        CASE(the_last_mount_says_the_capacity),
        CASE(many_names_in_one_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
