/* Space: what is taken and given back, and what happens when there is none. */
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITE_NEW (KVT_FS_FOR_WRITE | KVT_FS_CREATE)
#define MIB (UINT64_C(1) << 20)

static uint64_t available(struct kvt_fs *fs)
{
    struct kvt_fs_usage usage = {0, 0};
    EXPECT("usage", 0, kvt_fs_usage(fs, &usage));
    return usage.available;
}

/* Some file systems give space back later: btrfs when it commits, by default
 * every 30 s. */
static bool wait_for_space(struct kvt_fs *fs, uint64_t wanted)
{
    for (unsigned i = 0; i < 900 && available(fs) < wanted; i++) {
        struct kvt_fs_elem sync = {.op = KVT_FS_SYNC, .path = "."};
        kvt_fs_run(fs, &sync);
        sleep_ms(50);
    }
    return available(fs) >= wanted;
}

/* Only where nobody else writes, which a small one suggests. */
static bool tells_of_space(struct contract *c)
{
    struct kvt_fs_usage usage = {0, 0};
    EXPECT("usage", 0, kvt_fs_usage(c->fs, &usage));
    return usage.capacity > 0 && usage.capacity < 1024 * MIB &&
           usage.available > 24 * MIB;
}

/* Layouts count what files take by it: neither too little nor too much. */
static void small_files_take_the_allocation_unit(struct contract *c)
{
    enum {
        COUNT = 512,
        SIZE = 600
    };
    SKIP_UNLESS(tells_of_space(c),
                "others may use the space: the mount is not below 1 GiB, or "
                "does not tell");
    char path[32];
    char bytes[SIZE];
    uint64_t unit = c->facts->allocation_unit;
    memset(bytes, 7, sizeof bytes);
    struct kvt_fs_elem sync = {.op = KVT_FS_SYNC, .path = "."};
    uint64_t before = available(c->fs);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(path, sizeof path, "file-%u", i);
        EXPECT("publish", SIZE,
               path_publish(c->fs, path, bytes, SIZE, KVT_FS_DURABLE));
    }
    EXPECT("sync", 0, kvt_fs_run(c->fs, &sync));
    uint64_t after = available(c->fs);
    uint64_t taken = before > after ? before - after : 0;
    SKIP_UNLESS(taken >= COUNT * (uint64_t)SIZE / 2,
                "the mount only estimates: 512 files did not show");
    EXPECT_TRUE("512 small files take a unit each, at least",
                taken >= COUNT * unit - COUNT * unit / 8);
    /* names and inodes take space as well */
    EXPECT_TRUE("512 small files take a unit each, and not two",
                taken < 2 * COUNT * unit + MIB);
}

static void remove_gives_space_back_as_the_fact_says(struct contract *c)
{
    SKIP_UNLESS(tells_of_space(c),
                "others may use the space: the mount is not below 1 GiB, or "
                "does not tell");
    uint64_t before = available(c->fs);
    struct kvt_fs_file *file = must_open(c->fs, "file", WRITE_NEW);
    for (uint64_t i = 0; i < 16; i++) {
        must_write_pattern(file, 1, i * MIB, MIB);
    }
    EXPECT("sync", 0, file_sync(file, KVT_FS_SYNC));
    must_close(file);
    uint64_t taken = before - available(c->fs);
    SKIP_UNLESS(taken >= 8 * MIB && taken <= 32 * MIB,
                "the mount only estimates: 16 MiB did not show");
    EXPECT("remove", 0, path_remove(c->fs, "file"));
    if (c->facts->remove_frees_space) {
        EXPECT_TRUE("space is back within 45 s after the remove",
                    wait_for_space(c->fs, before - MIB));
    } else {
        EXPECT_TRUE("space is not back, fact remove_frees_space is not",
                    available(c->fs) < before - 8 * MIB);
    }
}

static void punch_gives_space_back(struct contract *c)
{
    SKIP_UNLESS(c->facts->punch_hole, "the fact punch_hole is not");
    SKIP_UNLESS(tells_of_space(c),
                "others may use the space: the mount is not below 1 GiB, or "
                "does not tell");
    uint64_t before = available(c->fs);
    struct kvt_fs_file *file = must_open(c->fs, "file", WRITE_NEW);
    for (uint64_t i = 0; i < 16; i++) {
        must_write_pattern(file, 2, i * MIB, MIB);
        /* extents of 1 MiB: some file systems free none before all of it is
         * punched */
        EXPECT("sync", 0, file_sync(file, KVT_FS_SYNC));
    }
    uint64_t full = available(c->fs);
    EXPECT("punch", 0, file_punch(file, MIB, 14 * MIB));
    EXPECT("sync", 0, file_sync(file, KVT_FS_SYNC));
    uint64_t taken = before > full ? before - full : 0;
    taken =
        taken < 14 * MIB ? taken : 14 * MIB; /* some take more for a while */
    EXPECT_TRUE("half of what 14 MiB took is back within 45 s",
                wait_for_space(c->fs, full + taken / 2));
    must_read_pattern(file, 2, 15 * MIB, MIB);
    must_close(file);
}

/* Full -------------------------------------------------------------------- */

static bool is_full(int64_t rc)
{
    return rc == -ENOSPC || rc == -EDQUOT;
}

/* Writes files of 4 MiB until there is no room; returns how many. */
static unsigned fill_up(struct contract *c, uint64_t capacity)
{
    enum {
        PART = 1 << 20,
        PARTS = 4
    };
    unsigned char *bytes = must_alloc(PART);
    unsigned number = 0;
    for (bool full = false; !full; number++) {
        char path[32];
        EXPECT_TRUE("a full mount says so, before twice its capacity",
                    number * PARTS * MIB < 2 * capacity);
        snprintf(path, sizeof path, "fill-%u", number);
        struct kvt_fs_file *file;
        int64_t rc = file_open(c->fs, path, WRITE_NEW, &file);
        if (is_full(rc)) {
            break;
        }
        EXPECT("open", 0, rc);
        for (uint64_t p = 0; p < PARTS && !full; p++) {
            pattern_fill(100 + number, p * PART, bytes, PART);
            rc = file_write(file, p * PART, bytes, PART);
            full = is_full(rc);
            EXPECT("write: all of it, or no space", full ? rc : PART, rc);
            if (!full) { /* some file systems tell only now */
                rc = file_sync(file, KVT_FS_DATASYNC);
                full = is_full(rc);
                EXPECT("datasync, or no space", full ? rc : 0, rc);
            }
            if (!full) {
                must_read_pattern(file, 100 + number, p * PART, PART);
            }
        }
        struct kvt_fs_elem close = {.op = KVT_FS_CLOSE, .file = file};
        rc = kvt_fs_run(c->fs, &close);
        EXPECT("close, or no space", is_full(rc) ? rc : 0, rc);
    }
    free(bytes);
    return number;
}

/* Whatever a full mount still takes, it takes whole. */
static void publish_while_full(struct contract *c)
{
    enum {
        SIZE = 8 << 20
    };
    unsigned char *bytes = must_alloc(SIZE);
    pattern_fill(3, 0, bytes, SIZE);
    int64_t rc = path_publish(c->fs, "new", bytes, SIZE, 0);
    EXPECT_TRUE("publish of 8 MiB while full: no space", is_full(rc));
    must_be_missing(c->fs, "new");
    must_be_missing(c->fs, "new.temp");
    rc = path_publish(c->fs, "old", bytes, SIZE, 0);
    EXPECT_TRUE("publish over an old file while full: no space", is_full(rc));
    must_hold_pattern(c->fs, "old", 2, 200000);
    free(bytes);
}

static void full_is_an_error_and_never_a_short_success(struct contract *c)
{
    struct kvt_fs_usage usage = {0, 0};
    EXPECT("usage", 0, kvt_fs_usage(c->fs, &usage));
    uint64_t capacity = c->full_size != 0 ? c->full_size : usage.capacity;
    SKIP_UNLESS(c->full_size != 0 ||
                    (usage.capacity > 0 && usage.capacity < 256 * MIB),
                "the mount may not be filled: it is not below 256 MiB, and "
                "there is no --full-size");
    must_publish_pattern(c->fs, "old", 2, 200000);
    unsigned files = fill_up(c, capacity);
    publish_while_full(c);
    for (unsigned i = 0; i < files; i++) {
        char path[32];
        snprintf(path, sizeof path, "fill-%u", i);
        EXPECT_ANY("remove on a full mount", 0, -ENOENT,
                   path_remove(c->fs, path));
    }
    must_hold_pattern(c->fs, "old", 2, 200000);
    if (!c->facts->remove_frees_space) {
        return;
    }
    unsigned char *bytes = must_alloc(8 * MIB);
    pattern_fill(4, 0, bytes, 8 * MIB);
    int64_t rc = -ENOSPC;
    for (unsigned i = 0; i < 100 && is_full(rc); i++) {
        rc = path_publish(c->fs, "new", bytes, 8 * MIB, KVT_FS_DURABLE);
        sleep_ms(is_full(rc) ? 100 : 0);
    }
    EXPECT("publish within 10 s after space was freed", 8 * MIB, rc);
    must_hold_pattern(c->fs, "new", 4, 8 * MIB);
    free(bytes);
}

static const struct contract_case cases[] = {
    CASE(small_files_take_the_allocation_unit),
    CASE(remove_gives_space_back_as_the_fact_says),
    CASE(punch_gives_space_back),
    CASE(full_is_an_error_and_never_a_short_success),
};
GROUP(contract_space, cases);
