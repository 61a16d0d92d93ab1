/* Parts of a transfer: on any alignment, from and to any slices, every byte
 * goes to its place and no other byte is touched. */
#include "support/unit.h"

#include "fs/part.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    FILE_SIZE = 40000,
    ARENA_SIZE = 60000,
    SLICES = 9,
    PIECES = 5,
    BOUNCE = 8192,
    ROUNDS = 20000,
};

struct world {
    uint64_t seed;
    struct kvt_fs_facts facts;
    struct kvt_part_limits limits;
    unsigned char file[FILE_SIZE];
    unsigned char *arena;  /* the caller's memory */
    unsigned char *before; /* as it was */
    unsigned char *bounce;
    struct kvt_slice slices[SLICES];
    uint32_t count;
    uint64_t bytes;
    uint64_t offset;
};

static size_t below(struct world *w, size_t limit)
{
    return unit_random_below(&w->seed, limit);
}

static void choose_facts(struct world *w)
{
    static const uint32_t alignments[] = {1, 1, 4, 512, 4096};
    w->facts.memory_alignment = alignments[below(w, COUNT_OF(alignments))];
    w->facts.offset_alignment = alignments[below(w, COUNT_OF(alignments))];
    w->facts.length_alignment = w->facts.offset_alignment;
    w->limits.pieces = 1 + (uint32_t)below(w, PIECES);
    w->limits.bytes = below(w, 2) == 0 ? UINT64_MAX : 4096 + below(w, 20000);
    w->limits.bounced = BOUNCE;
}

/* Slices beside each other in the arena, some of them aligned, some empty. */
static void choose_slices(struct world *w)
{
    size_t at = 0;
    w->count = (uint32_t)below(w, SLICES + 1);
    w->bytes = 0;
    for (uint32_t i = 0; i < w->count; i++) {
        size_t size = below(w, 6000);
        switch (below(w, 4)) {
        case 0:
            at = (at + 4095) / 4096 * 4096;
            size = size / 512 * 512;
            break;
        case 1:
            at += below(w, 700);
            break;
        case 2:
            size = below(w, 3);
            break;
        default:
            break;
        }
        size = at + size > ARENA_SIZE ? 0 : size;
        w->slices[i] = (struct kvt_slice){w->arena + at, size, NULL};
        w->bytes += size;
        at += size;
    }
    w->offset = below(w, 10000);
}

/* What the call would be refused for. */
static void check_call(const struct world *w, const struct kvt_part *part)
{
    assert_in_range(part->count, 1, w->limits.pieces);
    assert_true(part->asked <= w->limits.bytes);
    assert_true(part->bounced <= w->limits.bounced);
    assert_int_equal(part->offset % w->facts.offset_alignment, 0);
    for (uint32_t i = 0; i < part->count; i++) {
        uintptr_t base = (uintptr_t)part->pieces[i].base;
        assert_int_equal(base % w->facts.memory_alignment, 0);
        assert_int_equal(part->pieces[i].size % w->facts.length_alignment, 0);
    }
}

/* Moves what is asked for, or less of it. */
static uint64_t carry_out(struct world *w, const struct kvt_part *part,
                          bool write)
{
    uint64_t left = part->asked;
    uint64_t at = part->offset;
    if (below(w, 3) == 0) {
        left = 1 + below(w, left); /* a short one */
    }
    if (!write && at + left > FILE_SIZE) {
        left = at < FILE_SIZE ? FILE_SIZE - at : 0;
    }
    uint64_t moved = left;
    for (uint32_t i = 0; i < part->count && left > 0; i++) {
        unsigned char *base = part->pieces[i].base;
        size_t size = part->pieces[i].size;
        size = size < left ? size : (size_t)left;
        memcpy(write ? w->file + at : base, write ? base : w->file + at, size);
        at += size;
        left -= size;
    }
    return moved;
}

/* Returns the bytes that were moved. */
static uint64_t transfer(struct world *w, bool write)
{
    struct kvt_slice pieces[PIECES];
    struct kvt_fs_elem elem = {
        .offset = w->offset, .slices = w->slices, .slice_count = w->count};
    struct kvt_rest rest = kvt_rest_of(&elem);
    uint64_t done = 0;
    uint64_t copied = 0;
    while (rest.count > 0) {
        struct kvt_part part = {.pieces = pieces};
        assert_int_equal(
            kvt_part_plan(&part, &w->facts, &rest, write, &w->limits), 0);
        if (part.bounced > 0) {
            kvt_part_attach(&part, &rest, write, w->bounce);
        }
        check_call(w, &part);
        uint64_t moved = carry_out(w, &part, write);
        uint64_t useful =
            kvt_part_end(&part, &w->facts, &rest, write, moved, &copied);
        bool end = part.offset + moved >= FILE_SIZE;
        assert_true(useful > 0 || end || moved < w->facts.length_alignment);
        if (useful == 0 && end) {
            break;
        }
        done += useful;
        kvt_rest_advance(&rest, useful);
    }
    assert_true(copied <= done);
    if (w->facts.memory_alignment == 1 && w->facts.length_alignment == 1) {
        assert_int_equal(copied, 0);
    }
    return done;
}

/* The arena as it has to be after `done` bytes were read. */
static void check_read(struct world *w, uint64_t done)
{
    uint64_t at = w->offset;
    uint64_t end = w->offset + done;
    for (uint32_t i = 0; i < w->count; i++) {
        size_t into = (size_t)((unsigned char *)w->slices[i].base - w->arena);
        size_t size = w->slices[i].size;
        size = size < end - at ? size : (size_t)(end - at);
        memcpy(w->before + into, w->file + at, size);
        at += size;
    }
    assert_memory_equal(w->before, w->arena, ARENA_SIZE);
}

static void fill(struct world *w, unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char)unit_random(&w->seed);
    }
}

static int setup(void **state)
{
    static struct world w;
    void *memory[3];
    w.seed = 7;
    for (size_t i = 0; i < 3; i++) {
        if (posix_memalign(&memory[i], 4096, ARENA_SIZE) != 0) {
            return -1;
        }
    }
    w.arena = memory[0];
    w.before = memory[1];
    w.bounce = memory[2];
    fill(&w, w.file, FILE_SIZE);
    fill(&w, w.arena, ARENA_SIZE);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    free(w->arena);
    free(w->before);
    free(w->bounce);
    return 0;
}

static void reads_fill_the_slices_and_nothing_else(void **state)
{
    struct world *w = *state;
    for (unsigned i = 0; i < ROUNDS; i++) {
        choose_facts(w);
        choose_slices(w);
        memcpy(w->before, w->arena, ARENA_SIZE);
        uint64_t there = w->offset < FILE_SIZE ? FILE_SIZE - w->offset : 0;
        uint64_t done = transfer(w, false);
        assert_int_equal(done, w->bytes < there ? w->bytes : there);
        check_read(w, done);
    }
}

static void writes_change_their_range_and_nothing_else(void **state)
{
    static unsigned char expected[FILE_SIZE];
    struct world *w = *state;
    for (unsigned i = 0; i < ROUNDS; i++) {
        choose_facts(w);
        choose_slices(w);
        uint64_t unit = w->facts.length_alignment;
        w->offset -= w->offset % w->facts.offset_alignment;
        if (w->count == 0 || w->offset + w->bytes > FILE_SIZE) {
            continue;
        }
        uint64_t over = w->bytes % unit;
        struct kvt_slice *last = &w->slices[w->count - 1];
        if (over > last->size) {
            continue;
        }
        last->size -= (size_t)over; /* whole blocks */
        w->bytes -= over;
        memcpy(w->before, w->arena, ARENA_SIZE);
        memcpy(expected, w->file, FILE_SIZE);
        uint64_t at = w->offset;
        for (uint32_t s = 0; s < w->count; s++) {
            memcpy(expected + at, w->slices[s].base, w->slices[s].size);
            at += w->slices[s].size;
        }
        assert_int_equal(transfer(w, true), w->bytes);
        assert_memory_equal(expected, w->file, FILE_SIZE);
        assert_memory_equal(w->before, w->arena, ARENA_SIZE);
    }
}

static void a_write_of_part_of_a_block_is_refused(void **state)
{
    struct world *w = *state;
    struct kvt_slice pieces[PIECES];
    struct kvt_part part = {.pieces = pieces};
    struct kvt_part_limits limits = {PIECES, UINT64_MAX, BOUNCE};
    w->facts.memory_alignment = 512;
    w->facts.offset_alignment = 512;
    w->facts.length_alignment = 512;
    struct kvt_slice slice = {w->arena, 1000, NULL};
    struct kvt_rest rest = {&slice, 1, 0, 512};
    assert_int_equal(kvt_part_plan(&part, &w->facts, &rest, true, &limits),
                     -EINVAL);
    slice.size = 1024;
    rest.offset = 500;
    assert_int_equal(kvt_part_plan(&part, &w->facts, &rest, true, &limits),
                     -EINVAL);
    rest.offset = 512;
    assert_int_equal(kvt_part_plan(&part, &w->facts, &rest, true, &limits), 0);
}

/* The value as it is, and its end through one block of ours, in one call. */
static void what_is_aligned_is_not_copied(void **state)
{
    struct world *w = *state;
    struct kvt_slice pieces[PIECES];
    struct kvt_part part = {.pieces = pieces};
    struct kvt_part_limits limits = {PIECES, UINT64_MAX, BOUNCE};
    w->facts.memory_alignment = 512;
    w->facts.offset_alignment = 512;
    w->facts.length_alignment = 512;
    struct kvt_slice slices[] = {{w->arena, 8192 + 100, NULL},
                                 {w->arena + 20000, 64, NULL}};
    struct kvt_rest rest = {slices, 2, 0, 0};
    assert_int_equal(kvt_part_plan(&part, &w->facts, &rest, false, &limits), 0);
    assert_int_equal(part.count, 2);
    assert_ptr_equal(part.pieces[0].base, w->arena);
    assert_int_equal(part.pieces[0].size, 8192);
    assert_int_equal(part.asked, 8192 + 512);
    assert_int_equal(part.wanted, 8192 + 164);
    assert_int_equal(part.bounced, 512);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_fill_the_slices_and_nothing_else),
        cmocka_unit_test(writes_change_their_range_and_nothing_else),
        cmocka_unit_test(a_write_of_part_of_a_block_is_refused),
        cmocka_unit_test(what_is_aligned_is_not_copied),
    };
    return cmocka_run_group_tests(tests, setup, teardown) != 0;
}
