/* Files: made, opened, written, read back, overwritten. */
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define WRITE_NEW (KVT_FS_FOR_WRITE | KVT_FS_CREATE)

static int no_entry(const struct kvt_fs_dirent *entry, void *arg)
{
    (void)entry;
    (void)arg;
    return 0;
}

static void a_missing_name_is_enoent(struct contract *c)
{
    struct kvt_fs_file *file;
    uint64_t size;
    char byte;
    EXPECT("open", -ENOENT, file_open(c->fs, "missing", 0, &file));
    EXPECT("open for write", -ENOENT,
           file_open(c->fs, "missing", KVT_FS_FOR_WRITE, &file));
    EXPECT("open below a missing directory", -ENOENT,
           file_open(c->fs, "no/missing", WRITE_NEW, &file));
    EXPECT("stat", -ENOENT, path_stat(c->fs, "missing", &size));
    EXPECT("fetch", -ENOENT, path_fetch(c->fs, "missing", 0, &byte, 1));
    EXPECT("remove", -ENOENT, path_remove(c->fs, "missing"));
    EXPECT("remove below a missing directory", -ENOENT,
           path_remove(c->fs, "no/missing"));
    EXPECT("list", -ENOENT,
           kvt_fs_list(c->fs, "missing", true, no_entry, NULL));
    EXPECT("rmdir", -ENOENT, kvt_fs_rmdir(c->fs, "missing"));
    EXPECT("names in the root afterwards", 0, must_count_names(c->fs, "."));
}

static void a_new_file_is_empty_and_create_keeps_an_old_one(struct contract *c)
{
    uint64_t size = 1;
    size_t bytes = block_size(c->fs, 5000);
    struct kvt_fs_file *file = must_open(c->fs, "file", WRITE_NEW);
    must_close(file);
    EXPECT("stat", 0, path_stat(c->fs, "file", &size));
    EXPECT("size of a new file", 0, size);
    file = must_open(c->fs, "file", WRITE_NEW);
    must_write_pattern(file, 1, 0, bytes);
    must_close(file);
    file = must_open(c->fs, "file", WRITE_NEW);
    must_close(file);
    must_hold_pattern(c->fs, "file", 1, bytes);
    EXPECT("names in the root", 1, must_count_names(c->fs, "."));
}

/* Exclusive create -------------------------------------------------------- */

enum {
    RACERS = 8,
    ROUNDS = 20
};

struct race {
    struct contract *c;
    unsigned round;
    unsigned winners;
};

static void race_to_create(size_t number, void *arg)
{
    struct race *race = arg;
    char path[32];
    struct kvt_fs_file *file;
    (void)number;
    snprintf(path, sizeof path, "raced-%u", race->round);
    int64_t rc =
        file_open(race->c->fs, path, WRITE_NEW | KVT_FS_EXCLUSIVE, &file);
    EXPECT_ANY("exclusive create in a race", 0, -EEXIST, rc);
    if (rc == 0) {
        __atomic_fetch_add(&race->winners, 1, __ATOMIC_RELAXED);
        must_close(file);
    }
}

static void exclusive_create_has_one_winner(struct contract *c)
{
    SKIP_UNLESS(c->facts->exclusive_create, "the fact exclusive_create is not");
    struct race race = {.c = c};
    for (race.round = 0; race.round < ROUNDS; race.round++) {
        race.winners = 0;
        run_threads(RACERS, race_to_create, &race);
        EXPECT("winners of eight threads", 1, race.winners);
    }
}

/* Without the fact the flag is refused or does nothing; it harms nothing. */
static void exclusive_create_leaves_an_old_file_alone(struct contract *c)
{
    struct kvt_fs_file *file;
    must_publish_pattern(c->fs, "file", 2, 3000);
    int64_t rc = file_open(c->fs, "file", WRITE_NEW | KVT_FS_EXCLUSIVE, &file);
    if (c->facts->exclusive_create) {
        EXPECT("exclusive create of an old file", -EEXIST, rc);
    } else {
        EXPECT_ANY("exclusive create, fact exclusive_create is not",
                   -EOPNOTSUPP, 0, rc);
    }
    if (rc == 0) {
        must_close(file);
    }
    must_hold_pattern(c->fs, "file", 2, 3000);
}

/* Reading back ------------------------------------------------------------ */

static const size_t odd_sizes[] = {0,    1,    511,  512,   513,
                                   4095, 4096, 4097, 65537, (1 << 20) + 1};

static void bytes_come_back_at_odd_sizes(struct contract *c)
{
    for (size_t i = 0; i < COUNT_OF(odd_sizes); i++) {
        size_t size = odd_sizes[i];
        char path[32];
        snprintf(path, sizeof path, "size-%zu", size);
        struct kvt_fs_file *file = must_open(c->fs, path, WRITE_NEW);
        must_write_pattern(file, i, 0, size);
        must_read_pattern(file, i, 0, size);
        must_close(file);
        file = must_open(c->fs, path, 0);
        must_read_pattern(file, i, 0, size);
        must_close(file);
        must_hold_pattern(c->fs, path, i, block_size(c->fs, size));
    }
}

static void bytes_come_back_from_odd_offsets(struct contract *c)
{
    static const uint64_t offsets[] = {0,    1,    3,    511,  513,
                                       4095, 4096, 4097, 8191, 131071};
    static const size_t lengths[] = {1, 2, 511, 513, 4095, 4096, 4097, 70001};
    struct kvt_fs_file *file = must_open(c->fs, "file", WRITE_NEW);
    must_write_pattern(file, 3, 0, 300000);
    for (size_t i = 0; i < COUNT_OF(offsets); i++) {
        for (size_t j = 0; j < COUNT_OF(lengths); j++) {
            must_read_pattern(file, 3, offsets[i], lengths[j]);
        }
    }
    must_close(file);
}

/* Each write starts where the one before ended, which no mount refuses. */
static void writes_at_odd_offsets_join(struct contract *c)
{
    struct kvt_fs_file *file = must_open(c->fs, "file", WRITE_NEW);
    uint64_t offset = 0;
    for (size_t i = 0; i < COUNT_OF(odd_sizes); i++) {
        size_t size = block_size(c->fs, odd_sizes[i]);
        must_write_pattern(file, 4, offset, size);
        offset += size;
    }
    must_close(file);
    must_hold_pattern(c->fs, "file", 4, (size_t)offset);
}

/* To refuse so large a file is fine, to write elsewhere is not. */
static bool is_too_far(struct contract *c, struct kvt_fs_file *file, int64_t rc)
{
    if (rc != -EFBIG && rc != -ENOSPC) {
        return false;
    }
    must_close(file);
    c->skipped = "the mount has no files beyond 4 GiB, or none with holes";
    return true;
}

static void offsets_beyond_4_gib_are_their_own(struct contract *c)
{
    const uint64_t far = (UINT64_C(5) << 30) + 4096 + 1;
    const uint64_t near = far & UINT32_MAX;
    size_t block = block_size(c->fs, 1);
    struct kvt_fs_file *file = must_open(c->fs, "file", WRITE_NEW);
    uint64_t start = far - far % block;
    size_t size = block_size(c->fs, 9000 + (size_t)(far - start));
    int64_t rc = write_pattern(file, 5, near, 9000);
    if (is_too_far(c, file, rc)) {
        return;
    }
    EXPECT("write beyond 1 GiB", size, rc);
    rc = write_pattern(file, 6, far, 9000);
    if (is_too_far(c, file, rc)) {
        return;
    }
    EXPECT("write beyond 4 GiB", size, rc);
    must_read_pattern(file, 6, far, 9000);
    must_read_pattern(file, 5, near, 9000);
    must_close(file);
    uint64_t file_size;
    EXPECT("stat", 0, path_stat(c->fs, "file", &file_size));
    EXPECT("size of the file", start + size, file_size);
    file = must_open(c->fs, "file", 0);
    must_read_pattern(file, 6, far, 9000);
    unsigned char hole[4096];
    EXPECT("read of the hole", sizeof hole,
           file_read(file, UINT64_C(3) << 30, hole, sizeof hole));
    for (size_t i = 0; i < sizeof hole; i++) {
        EXPECT("byte of a hole", 0, hole[i]);
    }
    must_close(file);
}

static void a_read_past_the_end_is_short(struct contract *c)
{
    size_t size = block_size(c->fs, 5000);
    unsigned char *bytes = must_alloc(size + 20000);
    struct kvt_fs_file *file = must_open(c->fs, "file", WRITE_NEW);
    EXPECT("read of an empty file", 0, file_read(file, 0, bytes, 4096));
    must_write_pattern(file, 7, 0, size);
    EXPECT("read across the end", size,
           file_read(file, 0, bytes, size + 20000));
    EXPECT_PATTERN("its bytes", 7, 0, bytes, size);
    EXPECT("read of the last byte and more", 1,
           file_read(file, size - 1, bytes, 10000));
    EXPECT_PATTERN("the last byte", 7, size - 1, bytes, 1);
    EXPECT("read at the end", 0, file_read(file, size, bytes, 4096));
    EXPECT("read behind the end", 0, file_read(file, size + 1, bytes, 1));
    EXPECT("read far behind the end", 0,
           file_read(file, UINT64_C(1) << 40, bytes, 4096));
    must_close(file);
    free(bytes);
}

/* An object of any size on a mount that takes whole blocks only. */
static void a_file_that_ends_inside_a_block_reads_to_its_end(struct contract *c)
{
    static const size_t sizes[] = {1, 511, 513, 4095, 4097, 10001};
    unsigned char *bytes = must_alloc(32768);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        size_t size = sizes[i];
        must_publish_pattern(c->fs, "file", 8 + i, size);
        struct kvt_fs_file *file = must_open(c->fs, "file", 0);
        EXPECT("read across the end", size, file_read(file, 0, bytes, 32768));
        EXPECT_PATTERN("its bytes", 8 + i, 0, bytes, size);
        EXPECT("read of the last byte and more", 1,
               file_read(file, size - 1, bytes, 32768));
        EXPECT_PATTERN("the last byte", 8 + i, size - 1, bytes, 1);
        EXPECT("read at the end", 0, file_read(file, size, bytes, 32768));
        must_close(file);
        EXPECT("remove", 0, path_remove(c->fs, "file"));
    }
    free(bytes);
}

/* Overwriting ------------------------------------------------------------- */

static void overwriting_changes_those_bytes_only(struct contract *c)
{
    size_t block = block_size(c->fs, 1);
    size_t size = block_size(c->fs, 40000);
    uint64_t at = block == 1 ? 4097 : 2 * block;
    size_t length = block == 1 ? 5001 : 3 * block;
    char *bytes = must_alloc(length);
    pattern_fill(11, at, bytes, length);
    struct kvt_fs_file *file = must_open(c->fs, "file", WRITE_NEW);
    must_write_pattern(file, 10, 0, size);
    if (c->facts->overwrite_in_place) {
        EXPECT("overwrite", length, file_write(file, at, bytes, length));
        must_read_pattern(file, 11, at, length);
    } else {
        EXPECT_ERROR("overwrite, fact overwrite_in_place is not",
                     file_write(file, at, bytes, length));
        must_read_pattern(file, 10, at, length);
    }
    must_read_pattern(file, 10, 0, (size_t)at);
    must_read_pattern(file, 10, at + length, size - (size_t)at - length);
    must_close(file);
    uint64_t file_size;
    EXPECT("stat", 0, path_stat(c->fs, "file", &file_size));
    EXPECT("size of the file", size, file_size);
    free(bytes);
}

static void a_file_opened_to_read_cannot_be_written(struct contract *c)
{
    size_t size = block_size(c->fs, 100);
    char *bytes = must_alloc(size);
    must_publish_pattern(c->fs, "file", 12, size);
    struct kvt_fs_file *file = must_open(c->fs, "file", 0);
    pattern_fill(13, 0, bytes, size);
    EXPECT_ERROR("write", file_write(file, 0, bytes, size));
    must_read_pattern(file, 12, 0, size);
    must_close(file);
    must_hold_pattern(c->fs, "file", 12, size);
    free(bytes);
}

static void truncate_cuts_and_grows(struct contract *c)
{
    struct kvt_fs_file *file = must_open(c->fs, "file", WRITE_NEW);
    size_t size = block_size(c->fs, 20000);
    unsigned char bytes[600];
    must_write_pattern(file, 14, 0, size);
    int rc = kvt_fs_truncate(c->fs, file, 777);
    if (rc == -EOPNOTSUPP) {
        must_read_pattern(file, 14, 0, size);
        must_close(file);
        c->skipped = "the adapter has no truncate";
        return;
    }
    EXPECT("truncate to less", 0, rc);
    EXPECT("read across the new end", 277,
           file_read(file, 500, bytes, sizeof bytes));
    EXPECT_PATTERN("its bytes", 14, 500, bytes, 277);
    EXPECT("truncate to more", 0, kvt_fs_truncate(c->fs, file, 10000));
    EXPECT("read of what grew", sizeof bytes,
           file_read(file, 700, bytes, sizeof bytes));
    EXPECT_PATTERN("old bytes", 14, 700, bytes, 77);
    for (size_t i = 77; i < sizeof bytes; i++) {
        EXPECT("byte that truncate made", 0, bytes[i]);
    }
    must_close(file);
    uint64_t file_size;
    EXPECT("stat", 0, path_stat(c->fs, "file", &file_size));
    EXPECT("size of the file", 10000, file_size);
}

static void
allocate_keeps_the_size_and_advice_changes_nothing(struct contract *c)
{
    struct kvt_fs_file *file = must_open(c->fs, "file", WRITE_NEW);
    size_t size = block_size(c->fs, 20000);
    must_write_pattern(file, 15, 0, size);
    int rc = kvt_fs_allocate(c->fs, file, 1 << 20);
    EXPECT_ANY("allocate", 0, -EOPNOTSUPP, rc);
    EXPECT("advise that it will be read", 0,
           kvt_fs_advise(c->fs, file, 0, 0, KVT_FS_WARM));
    must_read_pattern(file, 15, 0, size);
    EXPECT("advise that a part will not", 0,
           kvt_fs_advise(c->fs, file, 4096, 8192, KVT_FS_DROP));
    EXPECT("advise that it will not", 0,
           kvt_fs_advise(c->fs, file, 0, 0, KVT_FS_DROP));
    must_read_pattern(file, 15, 0, size);
    must_close(file);
    must_hold_pattern(c->fs, "file", 15, size);
}

static void sync_of_files_and_directories_succeeds(struct contract *c)
{
    must_mkdirs(c->fs, "a/b");
    struct kvt_fs_file *file = must_open(c->fs, "a/b/file", WRITE_NEW);
    EXPECT("datasync of an empty file", 0, file_sync(file, KVT_FS_DATASYNC));
    must_write_pattern(file, 16, 0, 10000);
    EXPECT("datasync", 0, file_sync(file, KVT_FS_DATASYNC));
    EXPECT("sync", 0, file_sync(file, KVT_FS_SYNC));
    must_close(file);
    static const char *const paths[] = {"a/b", "a", "."};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct kvt_fs_elem sync = {.op = KVT_FS_SYNC, .path = paths[i]};
        EXPECT("sync of a directory", 0, kvt_fs_run(c->fs, &sync));
    }
    struct kvt_fs_elem sync = {.op = KVT_FS_SYNC, .path = "a/missing"};
    EXPECT("sync of a missing directory", -ENOENT, kvt_fs_run(c->fs, &sync));
}

static const struct contract_case cases[] = {
    CASE(a_missing_name_is_enoent),
    CASE(a_new_file_is_empty_and_create_keeps_an_old_one),
    CASE(exclusive_create_has_one_winner),
    CASE(exclusive_create_leaves_an_old_file_alone),
    CASE(bytes_come_back_at_odd_sizes),
    CASE(bytes_come_back_from_odd_offsets),
    CASE(writes_at_odd_offsets_join),
    CASE(offsets_beyond_4_gib_are_their_own),
    CASE(a_read_past_the_end_is_short),
    CASE(a_file_that_ends_inside_a_block_reads_to_its_end),
    CASE(overwriting_changes_those_bytes_only),
    CASE(a_file_opened_to_read_cannot_be_written),
    CASE(truncate_cuts_and_grows),
    CASE(allocate_keeps_the_size_and_advice_changes_nothing),
    CASE(sync_of_files_and_directories_succeeds),
};
GROUP(contract_files, cases);
