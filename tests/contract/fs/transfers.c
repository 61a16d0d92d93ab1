/* Transfers: many pieces, none, alignment, many writers. */
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITE_NEW (KVT_FS_FOR_WRITE | KVT_FS_CREATE)

/* Cuts `size` bytes into `count` pieces: each a multiple of `unit`, some of
 * them empty, the last takes the rest. */
static void cut(struct kvt_slice *slices, size_t count, unsigned char *bytes,
                size_t size, size_t unit)
{
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        size_t part = i % 7 == 3 ? 0 : unit * (1 + i % 3);
        part = part > size - used || i + 1 == count ? size - used : part;
        slices[i] =
            (struct kvt_slice){part > 0 ? bytes + used : NULL, part, NULL};
        used += part;
    }
}

static void many_pieces_go_in_one_transfer(struct contract *c)
{
    enum {
        PIECES = 1500
    };
    size_t unit = block_size(c->fs, 700);
    size_t size = unit * 2 * PIECES;
    struct kvt_slice *slices = must_alloc(PIECES * sizeof slices[0]);
    struct kvt_mem *mem;
    EXPECT("mem_alloc", 0, kvt_mem_alloc(c->fs, size, &mem));
    unsigned char *bytes = kvt_mem_base(mem);
    cut(slices, PIECES, bytes, size, unit);
    pattern_fill(1, 0, bytes, size);
    struct kvt_fs_elem elem = {.op = KVT_FS_WRITE,
                               .file = must_open(c->fs, "file", WRITE_NEW),
                               .slices = slices,
                               .slice_count = PIECES};
    EXPECT("write of 1500 pieces", size, kvt_fs_run(c->fs, &elem));
    memset(bytes, 0, size);
    elem.op = KVT_FS_READ;
    EXPECT("read into 1500 pieces", size, kvt_fs_run(c->fs, &elem));
    EXPECT_PATTERN("what was read", 1, 0, bytes, size);

    /* odd pieces, odd places, across the end */
    cut(slices, PIECES, bytes, size, 1 + unit / 2);
    memset(bytes, 0, size);
    elem.offset = 333;
    EXPECT("read across the end", size - 333, kvt_fs_run(c->fs, &elem));
    EXPECT_PATTERN("what was read", 1, 333, bytes, size - 333);
    must_close(elem.file);
    free(slices);
    kvt_mem_free(mem);
}

static void a_transfer_of_nothing_is_a_success(struct contract *c)
{
    size_t size = block_size(c->fs, 100);
    struct kvt_slice empty[3] = {{NULL, 0, NULL}};
    struct kvt_fs_elem elem = {.op = KVT_FS_WRITE,
                               .file = must_open(c->fs, "file", WRITE_NEW),
                               .slices = empty,
                               .slice_count = 3};
    EXPECT("write of empty slices to a new file", 0, kvt_fs_run(c->fs, &elem));
    must_write_pattern(elem.file, 2, 0, size);
    for (unsigned write = 0; write < 2; write++) {
        elem.op = write ? KVT_FS_WRITE : KVT_FS_READ;
        for (elem.slice_count = 0; elem.slice_count <= 3; elem.slice_count++) {
            elem.offset = 0;
            EXPECT("nothing at the start", 0, kvt_fs_run(c->fs, &elem));
            elem.offset = size;
            EXPECT("nothing at the end", 0, kvt_fs_run(c->fs, &elem));
            elem.offset = block_size(c->fs, 100000);
            EXPECT("nothing behind the end", 0, kvt_fs_run(c->fs, &elem));
        }
    }
    must_close(elem.file);
    must_hold_pattern(c->fs, "file", 2, size);
}

static void a_transfer_above_the_largest_is_split(struct contract *c)
{
    uint64_t size = c->facts->transfer_max;
    SKIP_UNLESS(size <= 64u << 20, "the mount has no limit up to 64 MiB");
    size = size * 2 + block_size(c->fs, 5000);
    struct kvt_fs_file *file = must_open(c->fs, "file", WRITE_NEW);
    must_write_pattern(file, 3, 0, (size_t)size);
    must_read_pattern(file, 3, 0, (size_t)size);
    must_read_pattern(file, 3, 1, (size_t)size - 2);
    must_close(file);
}

/* What a mount takes is in its facts: all of it has to work, and what is not
 * aligned comes through the core, or is refused as a whole. */
static void alignment_is_as_the_facts_say(struct contract *c)
{
    size_t unit = block_size(c->fs, 1);
    size_t memory = c->facts->memory_alignment;
    unsigned char *room = must_alloc(8 * unit + 2 * memory + 64);
    size_t past = memory - (uintptr_t)room % memory;
    unsigned char *bytes = room + past;
    struct kvt_fs_file *file = must_open(c->fs, "file", WRITE_NEW);
    pattern_fill(4, 0, bytes, 8 * unit);
    EXPECT("one aligned block", unit, file_write(file, 0, bytes, unit));
    EXPECT("aligned blocks behind it", 7 * unit,
           file_write(file, unit, bytes + unit, 7 * unit));
    must_read_pattern(file, 4, 0, 8 * unit);
    for (size_t off = 0; off < 4; off++) {
        memset(bytes, 0, 8 * unit);
        EXPECT("read into memory that is not aligned", 4 * unit,
               file_read(file, unit, bytes + off, 4 * unit));
        EXPECT_PATTERN("its bytes", 4, unit, bytes + off, 4 * unit);
        pattern_fill(4, unit, bytes + off, 3 * unit);
        if (c->facts->overwrite_in_place) {
            EXPECT("write from memory that is not aligned", 3 * unit,
                   file_write(file, unit, bytes + off, 3 * unit));
        }
    }
    if (unit > 1) {
        memset(bytes, 0xee, 2 * unit);
        EXPECT_ERROR("write of a part of a block",
                     file_write(file, 0, bytes, unit - 1));
        EXPECT_ERROR("write from inside a block",
                     file_write(file, 1, bytes, unit));
        EXPECT_ERROR("write of a block and a part",
                     file_write(file, 8 * unit, bytes, unit + 1));
    }
    must_read_pattern(file, 4, 0, 8 * unit);
    must_close(file);
    free(room);
}

/* Past the core, which would hide it. */
static void direct_is_what_the_facts_say(struct contract *c)
{
    const struct kvt_fs_ops *ops = c->fs->ops;
    SKIP_UNLESS(ops->execute != NULL && !ops->wraps,
                "the adapter itself cannot be asked: it has only a ring, or "
                "wraps another");
    size_t unit = block_size(c->fs, 1);
    bool aligned = unit > 1 || c->facts->memory_alignment > 1;
    EXPECT("fact direct without an alignment", false,
           c->facts->direct && !aligned);
    struct kvt_fs_file *file = must_open(c->fs, "file", WRITE_NEW);
    must_write_pattern(file, 5, 0, 4 * unit);
    unsigned char *bytes = must_alloc(unit + 4096);
    struct kvt_slice slice = {bytes + 1, unit > 1 ? unit - 1 : 1, NULL};
    struct kvt_fs_elem elem = {.op = KVT_FS_READ,
                               .file = file,
                               .offset = 1,
                               .slices = &slice,
                               .slice_count = 1};
    int64_t rc = ops->execute(c->fs, &elem);
    if (c->facts->direct) {
        EXPECT_ERROR("a transfer that is not aligned, fact direct", rc);
    } else if (!aligned) {
        EXPECT("a transfer that is not aligned, no fact says alignment", 1, rc);
        EXPECT_PATTERN("its byte", 5, 1, bytes + 1, 1);
    }
    must_close(file);
    free(bytes);
}

/* Many writers ------------------------------------------------------------ */

enum {
    WRITERS = 16,
    STRIPES = 20
};

struct writing {
    struct contract *c;
    struct kvt_fs_file *file;
    size_t stripe; /* bytes */
};

static void write_stripes(size_t number, void *arg)
{
    struct writing *all = arg;
    struct kvt_fs_file *file = all->file;
    if (number % 2 == 1) { /* every other one has it open for itself */
        file = must_open(all->c->fs, "file", KVT_FS_FOR_WRITE);
    }
    for (size_t i = 0; i < STRIPES; i++) {
        uint64_t offset = (i * WRITERS + number) * all->stripe;
        must_write_pattern(file, 6, offset, all->stripe);
        must_read_pattern(file, 6, offset, all->stripe);
    }
    if (file != all->file) {
        must_close(file);
    }
}

static void threads_write_ranges_of_one_file(struct contract *c)
{
    SKIP_UNLESS(c->facts->concurrent_writers && c->facts->overwrite_in_place,
                "the facts concurrent_writers and overwrite_in_place are not "
                "both");
    struct writing all = {c, must_open(c->fs, "file", WRITE_NEW),
                          block_size(c->fs, 3001)};
    run_threads(WRITERS, write_stripes, &all);
    must_read_pattern(all.file, 6, 0, WRITERS * STRIPES * all.stripe);
    must_close(all.file);
    must_hold_pattern(c->fs, "file", 6, WRITERS * STRIPES * all.stripe);
}

/* Each appends to a file of its own: no mount refuses that. */
static void write_own(size_t number, void *arg)
{
    struct contract *c = arg;
    char path[32];
    size_t part = block_size(c->fs, 5003);
    snprintf(path, sizeof path, "file-%zu", number);
    struct kvt_fs_file *file = must_open(c->fs, path, WRITE_NEW);
    for (size_t i = 0; i < STRIPES; i++) {
        must_write_pattern(file, 100 + number, i * part, part);
    }
    must_close(file);
    must_hold_pattern(c->fs, path, 100 + number, STRIPES * part);
    EXPECT("remove", 0, path_remove(c->fs, path));
}

static void threads_write_files_of_their_own(struct contract *c)
{
    run_threads(WRITERS, write_own, c);
    EXPECT("names afterwards", 0, must_count_names(c->fs, "."));
}

/* What an adapter carries out at once is right and whole, or has not happened:
 * -EAGAIN. Called as the core does, which wants to know no more of it. */
static void what_does_not_wait_is_whole_or_not_at_all(struct contract *c)
{
    enum {
        SIZE = 100000
    };
    SKIP_UNLESS(c->fs->ops->try_now != NULL && block_size(c->fs, 1) == 1 &&
                    c->facts->memory_alignment == 1,
                "the adapter has no try_now, or the core does not ask it");
    unsigned char *bytes = must_alloc(SIZE);
    struct kvt_fs_file *file =
        must_open(c->fs, "file", KVT_FS_FOR_WRITE | KVT_FS_CREATE);
    struct kvt_slice slice = {bytes, SIZE, NULL};
    struct kvt_fs_elem elem = {
        .op = KVT_FS_WRITE, .file = file, .slices = &slice, .slice_count = 1};
    pattern_fill(1, 0, bytes, SIZE);
    EXPECT("write", SIZE, kvt_fs_run(c->fs, &elem));
    for (uint64_t offset = 0; offset < 2 * SIZE; offset += 30001) {
        uint64_t left = offset < SIZE ? SIZE - offset : 0;
        elem.op = KVT_FS_READ;
        elem.offset = offset;
        memset(bytes, 0, SIZE);
        int64_t got = c->fs->ops->try_now(c->fs, &elem);
        if (left < SIZE) { /* not all that was asked for */
            EXPECT_ANY("read past the end at once", -EAGAIN, left, got);
        } else {
            EXPECT_ANY("read at once", -EAGAIN, SIZE, got);
        }
        EXPECT("read", left, kvt_fs_run(c->fs, &elem));
        EXPECT_PATTERN("what was read", 1, offset, bytes, (size_t)left);
    }
    if (c->facts->overwrite_in_place) {
        elem.op = KVT_FS_WRITE;
        elem.offset = SIZE / 2;
        pattern_fill(1, SIZE / 2, bytes, SIZE);
        EXPECT_ANY("write at once", -EAGAIN, SIZE,
                   c->fs->ops->try_now(c->fs, &elem));
        EXPECT("write", SIZE, kvt_fs_run(c->fs, &elem));
        must_read_pattern(file, 1, 0, SIZE + SIZE / 2);
    }
    must_close(file);
    free(bytes);
}

static const struct contract_case cases[] = {
    CASE(many_pieces_go_in_one_transfer),
    CASE(a_transfer_of_nothing_is_a_success),
    CASE(a_transfer_above_the_largest_is_split),
    CASE(alignment_is_as_the_facts_say),
    CASE(direct_is_what_the_facts_say),
    CASE(threads_write_ranges_of_one_file),
    CASE(threads_write_files_of_their_own),
    CASE(what_does_not_wait_is_whole_or_not_at_all),
};
GROUP(contract_transfers, cases);
