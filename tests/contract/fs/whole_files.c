/* Fetch and publish: whole files by path. */
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Fetch ------------------------------------------------------------------- */

static void fetch_reads_a_whole_file_or_a_range(struct contract *c)
{
    enum {
        SIZE = 10001
    };
    unsigned char *bytes = must_alloc(SIZE + 1000);
    must_publish_pattern(c->fs, "file", 1, SIZE);
    EXPECT("fetch of all", SIZE, path_fetch(c->fs, "file", 0, bytes, SIZE));
    EXPECT_PATTERN("all", 1, 0, bytes, SIZE);
    EXPECT("fetch of a range", 4097,
           path_fetch(c->fs, "file", 511, bytes, 4097));
    EXPECT_PATTERN("the range", 1, 511, bytes, 4097);
    EXPECT("fetch across the end", 1001,
           path_fetch(c->fs, "file", 9000, bytes, 5000));
    EXPECT_PATTERN("up to the end", 1, 9000, bytes, 1001);
    EXPECT("fetch behind the end", 0,
           path_fetch(c->fs, "file", SIZE, bytes, 100));
    EXPECT("fetch far behind the end", 0,
           path_fetch(c->fs, "file", 1 << 30, bytes, 100));
    EXPECT("fetch of a missing file", -ENOENT,
           path_fetch(c->fs, "missing", 0, bytes, 100));
    free(bytes);
}

static void fetch_counts_from_the_end_and_tells_the_size(struct contract *c)
{
    enum {
        SIZE = 10001
    };
    unsigned char bytes[600];
    struct kvt_slice slice = {bytes, 64, NULL};
    struct kvt_fs_elem elem = {.op = KVT_FS_FETCH,
                               .path = "file",
                               .flags = KVT_FS_FROM_END | KVT_FS_WANT_SIZE,
                               .offset = 64,
                               .slices = &slice,
                               .slice_count = 1};
    must_publish_pattern(c->fs, "file", 2, SIZE);
    EXPECT("fetch of the last 64 bytes", 64, kvt_fs_run(c->fs, &elem));
    EXPECT("size of the file", SIZE, elem.file_size);
    EXPECT_PATTERN("the last 64 bytes", 2, SIZE - 64, bytes, 64);

    elem.offset = 100;
    slice.size = 600;
    EXPECT("fetch of the last 100 into more", 100, kvt_fs_run(c->fs, &elem));
    EXPECT_PATTERN("the last 100 bytes", 2, SIZE - 100, bytes, 100);

    elem.offset = SIZE + 5;
    EXPECT("fetch from before the start", 600, kvt_fs_run(c->fs, &elem));
    EXPECT_PATTERN("the first bytes", 2, 0, bytes, 600);

    elem.flags = KVT_FS_WANT_SIZE;
    elem.offset = 7;
    elem.file_size = 1;
    EXPECT("fetch with its size", 600, kvt_fs_run(c->fs, &elem));
    EXPECT("size of the file", SIZE, elem.file_size);
    EXPECT_PATTERN("bytes from 7 on", 2, 7, bytes, 600);

    elem.slice_count = 0;
    elem.file_size = 1;
    EXPECT("fetch of the size alone", 0, kvt_fs_run(c->fs, &elem));
    EXPECT("size of the file", SIZE, elem.file_size);

    must_publish_pattern(c->fs, "empty", 2, 0);
    elem.path = "empty";
    elem.flags = KVT_FS_FROM_END | KVT_FS_WANT_SIZE;
    elem.slice_count = 1;
    EXPECT("fetch of an empty file", 0, kvt_fs_run(c->fs, &elem));
    EXPECT("its size", 0, elem.file_size);
}

/* Who knows the size does not ask for it. */
static void fetch_counts_from_the_end_without_the_size(struct contract *c)
{
    enum {
        SIZE = 10001
    };
    static const size_t tails[] = {1, 64, 600, SIZE, SIZE + 5};
    unsigned char bytes[600];
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    must_publish_pattern(c->fs, "file", 4, SIZE);
    for (size_t i = 0; i < COUNT_OF(tails); i++) {
        struct kvt_fs_elem elem = {.op = KVT_FS_FETCH,
                                   .path = "file",
                                   .flags = KVT_FS_FROM_END,
                                   .offset = tails[i],
                                   .slices = &slice,
                                   .slice_count = 1};
        size_t tail = tails[i] < SIZE ? tails[i] : SIZE;
        size_t most = tail < sizeof bytes ? tail : sizeof bytes;
        EXPECT("fetch from the end", most, kvt_fs_run(c->fs, &elem));
        EXPECT_PATTERN("bytes from the end", 4, SIZE - tail, bytes, most);
    }
}

/* Publish ----------------------------------------------------------------- */

static void publish_makes_a_file_of_any_size_and_no_other(struct contract *c)
{
    static const size_t sizes[] = {0,    1,    4095,  4096,
                                   4097, 8191, 65537, (1 << 20) + 1};
    char path[32];
    must_mkdirs(c->fs, "d");
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        snprintf(path, sizeof path, "d/%zu", sizes[i]);
        must_publish_pattern(c->fs, path, i, sizes[i]);
    }
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        snprintf(path, sizeof path, "d/%zu", sizes[i]);
        must_hold_pattern(c->fs, path, i, sizes[i]);
    }
    EXPECT("names in the directory", COUNT_OF(sizes),
           must_count_names(c->fs, "d"));
}

static void publish_writes_all_its_slices_in_order(struct contract *c)
{
    static const size_t cuts[] = {0, 1, 1, 4096, 4097, 9000, 9000, 12345};
    unsigned char *bytes = must_alloc(12345);
    struct kvt_slice slices[COUNT_OF(cuts)] = {{NULL, 0, NULL}};
    pattern_fill(3, 0, bytes, 12345);
    for (size_t i = 1; i < COUNT_OF(cuts); i++) {
        size_t size = cuts[i] - cuts[i - 1];
        slices[i] = (struct kvt_slice){size > 0 ? bytes + cuts[i - 1] : NULL,
                                       size, NULL};
    }
    struct kvt_fs_elem publish = {.op = KVT_FS_PUBLISH,
                                  .path = "file",
                                  .temp_path = "temp",
                                  .slices = slices,
                                  .slice_count = COUNT_OF(cuts)};
    EXPECT("publish", 12345, kvt_fs_run(c->fs, &publish));
    must_hold_pattern(c->fs, "file", 3, 12345);
    memset(bytes, 0, 12345);
    struct kvt_fs_elem fetch = {.op = KVT_FS_FETCH,
                                .path = "file",
                                .slices = slices,
                                .slice_count = COUNT_OF(cuts)};
    EXPECT("fetch into the same slices", 12345, kvt_fs_run(c->fs, &fetch));
    EXPECT_PATTERN("what was fetched", 3, 0, bytes, 12345);
    free(bytes);
}

/* Then only if absent always works; otherwise it may. */
static bool can_keep(const struct contract *c)
{
    return c->facts->rename_noreplace || c->facts->hard_links;
}

static void publish_replaces_and_if_absent_does_not(struct contract *c)
{
    char *bytes = must_alloc(9001);
    pattern_fill(5, 0, bytes, 9001);
    must_publish_pattern(c->fs, "file", 4, 20000);
    EXPECT("publish over it", 9001,
           path_publish(c->fs, "file", bytes, 9001, 0));
    must_hold_pattern(c->fs, "file", 5, 9001);
    pattern_fill(6, 0, bytes, 9001);
    int64_t rc = path_publish(c->fs, "file", bytes, 9001, KVT_FS_IF_ABSENT);
    EXPECT_ANY("publish of what is there, only if absent", -EEXIST,
               can_keep(c) ? -EEXIST : -EOPNOTSUPP, rc);
    must_hold_pattern(c->fs, "file", 5, 9001);
    rc = path_publish(c->fs, "new", bytes, 9001, KVT_FS_IF_ABSENT);
    if (can_keep(c) || rc >= 0) {
        EXPECT("publish of what is absent", 9001, rc);
        must_hold_pattern(c->fs, "new", 6, 9001);
        EXPECT("remove", 0, path_remove(c->fs, "new"));
    }
    EXPECT("names afterwards", 1, must_count_names(c->fs, "."));
    free(bytes);
}

static void publish_may_be_durable(struct contract *c)
{
    char *bytes = must_alloc(9001);
    pattern_fill(7, 0, bytes, 9001);
    EXPECT("durable publish", 9001,
           path_publish(c->fs, "a/b/file", bytes, 9001, KVT_FS_DURABLE));
    EXPECT("durable publish in the root", 9001,
           path_publish(c->fs, "file", bytes, 9001, KVT_FS_DURABLE));
    must_hold_pattern(c->fs, "a/b/file", 7, 9001);
    must_hold_pattern(c->fs, "file", 7, 9001);
    free(bytes);
}

static void publish_makes_missing_directories(struct contract *c)
{
    struct kvt_slice slice = {"abc", 3, NULL};
    struct kvt_fs_elem elem = {.op = KVT_FS_PUBLISH,
                               .path = "x/y/z/file",
                               .temp_path = "temps/of/ours/1",
                               .slices = &slice,
                               .slice_count = 1};
    char bytes[8];
    EXPECT("publish below missing directories", 3, kvt_fs_run(c->fs, &elem));
    EXPECT("fetch", 3, path_fetch(c->fs, "x/y/z/file", 0, bytes, 8));
    EXPECT_TRUE("the bytes are those", memcmp(bytes, "abc", 3) == 0);
    EXPECT("names beside the file", 1, must_count_names(c->fs, "x/y/z"));
}

static void a_publish_that_fails_leaves_nothing(struct contract *c)
{
    must_publish_pattern(c->fs, "directory/inside", 8, 100);
    must_publish_pattern(c->fs, "file", 9, 100);
    EXPECT_ERROR("publish over a directory",
                 path_publish(c->fs, "directory", "abc", 3, 0));
    EXPECT_ERROR("publish over a directory, if absent",
                 path_publish(c->fs, "directory", "abc", 3, KVT_FS_IF_ABSENT));
    EXPECT_ERROR("publish below a file",
                 path_publish(c->fs, "file/below", "abc", 3, 0));
    EXPECT_ERROR("publish that is only if absent",
                 path_publish(c->fs, "file", "abc", 3, KVT_FS_IF_ABSENT));
    must_hold_pattern(c->fs, "directory/inside", 8, 100);
    must_hold_pattern(c->fs, "file", 9, 100);
    EXPECT("names in the root", 2, must_count_names(c->fs, "."));
    EXPECT("names in the directory", 1, must_count_names(c->fs, "directory"));
}

/* Replacing under readers ------------------------------------------------- */

/* Versions have sizes of their own, so that a mix of two shows. */
enum {
    VERSIONS = 2,
    SMALL = 5000,
    LARGE = 150001,
    REPLACES = 100
};

static const size_t version_sizes[VERSIONS] = {SMALL, LARGE};

struct replacing {
    struct contract *c;
    bool over;             /* atomic */
    size_t seen[VERSIONS]; /* atomic */
};

static void read_versions(struct replacing *all)
{
    unsigned char *bytes = must_alloc(LARGE + 1);
    while (!__atomic_load_n(&all->over, __ATOMIC_ACQUIRE)) {
        int64_t rc = path_fetch(all->c->fs, "file", 0, bytes, LARGE + 1);
        if (rc < 0 && !all->c->facts->removed_stays_readable) {
            continue; /* the file went while it was read */
        }
        size_t version = rc == SMALL ? 0 : 1;
        EXPECT_ANY("fetch of what is being replaced", SMALL, LARGE, rc);
        EXPECT_PATTERN("one version's bytes", 20 + version, 0, bytes,
                       (size_t)rc);
        __atomic_fetch_add(&all->seen[version], 1, __ATOMIC_RELAXED);
    }
    free(bytes);
}

/* Rounds more, and slower, as long as no reader saw both. */
static bool replacing_goes_on(struct replacing *all, unsigned round)
{
    bool seen_both = __atomic_load_n(&all->seen[0], __ATOMIC_RELAXED) > 0 &&
                     __atomic_load_n(&all->seen[1], __ATOMIC_RELAXED) > 0;
    if (round < REPLACES || round % VERSIONS != 0) {
        return true;
    }
    sleep_ms(1);
    return !seen_both && all->c->facts->removed_stays_readable &&
           round < 10 * REPLACES;
}

static void replace_versions(struct replacing *all)
{
    char *bytes[VERSIONS];
    for (size_t v = 0; v < VERSIONS; v++) {
        bytes[v] = must_alloc(version_sizes[v]);
        pattern_fill(20 + v, 0, bytes[v], version_sizes[v]);
    }
    for (unsigned i = 0; replacing_goes_on(all, i); i++) {
        size_t v = i % VERSIONS;
        sleep_ms(i < REPLACES ? 0 : 2);
        EXPECT("publish over a file that is read", version_sizes[v],
               path_publish(all->c->fs, "file", bytes[v], version_sizes[v], 0));
    }
    free(bytes[0]);
    free(bytes[1]);
    __atomic_store_n(&all->over, true, __ATOMIC_RELEASE);
}

static void read_or_replace(size_t number, void *arg)
{
    struct replacing *all = arg;
    if (number == 0) {
        replace_versions(all);
    } else {
        read_versions(all);
    }
}

/* Whatever publish is made of: nobody sees none, or a part. */
static void readers_see_the_old_or_the_new_file(struct contract *c)
{
    struct replacing all = {.c = c};
    must_publish_pattern(c->fs, "file", 20, SMALL);
    run_threads(4, read_or_replace, &all);
    EXPECT_TRUE("readers saw both", !c->facts->removed_stays_readable ||
                                        (all.seen[0] > 0 && all.seen[1] > 0));
    must_hold_pattern(c->fs, "file", 21, LARGE);
    EXPECT("names afterwards", 1, must_count_names(c->fs, "."));
}

/* One of many wins; the others change nothing. */
struct absent_race {
    struct contract *c;
    size_t winner; /* atomic: 1 + its number */
    size_t winners;
};

static void publish_if_absent(size_t number, void *arg)
{
    struct absent_race *race = arg;
    char temp_path[32];
    unsigned char *bytes = must_alloc(40000);
    pattern_fill(number, 0, bytes, 40000);
    snprintf(temp_path, sizeof temp_path, "temp-%zu", number);
    struct kvt_slice slice = {bytes, 40000, NULL};
    struct kvt_fs_elem elem = {.op = KVT_FS_PUBLISH,
                               .path = "file",
                               .temp_path = temp_path,
                               .flags = KVT_FS_IF_ABSENT,
                               .slices = &slice,
                               .slice_count = 1};
    int64_t rc = kvt_fs_run(race->c->fs, &elem);
    EXPECT_ANY("publish if absent in a race", 40000, -EEXIST, rc);
    if (rc > 0) {
        __atomic_store_n(&race->winner, number, __ATOMIC_RELAXED);
        __atomic_fetch_add(&race->winners, 1, __ATOMIC_RELAXED);
    }
    free(bytes);
}

static void one_of_many_publishes_what_is_absent(struct contract *c)
{
    SKIP_UNLESS(can_keep(c),
                "neither of the facts rename_noreplace and hard_links holds");
    for (unsigned round = 0; round < 10; round++) {
        struct absent_race race = {.c = c};
        run_threads(8, publish_if_absent, &race);
        EXPECT("winners of eight threads", 1, race.winners);
        must_hold_pattern(c->fs, "file", race.winner, 40000);
        EXPECT("names afterwards", 1, must_count_names(c->fs, "."));
        EXPECT("remove", 0, path_remove(c->fs, "file"));
    }
}

static const struct contract_case cases[] = {
    CASE(fetch_reads_a_whole_file_or_a_range),
    CASE(fetch_counts_from_the_end_and_tells_the_size),
    CASE(fetch_counts_from_the_end_without_the_size),
    CASE(publish_makes_a_file_of_any_size_and_no_other),
    CASE(publish_writes_all_its_slices_in_order),
    CASE(publish_replaces_and_if_absent_does_not),
    CASE(publish_may_be_durable),
    CASE(publish_makes_missing_directories),
    CASE(a_publish_that_fails_leaves_nothing),
    CASE(readers_see_the_old_or_the_new_file),
    CASE(one_of_many_publishes_what_is_absent),
};
GROUP(contract_whole_files, cases);
