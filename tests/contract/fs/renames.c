/* Renames, second names, and which names there may be. */
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void rename_replaces_as_a_whole_or_says_no(struct contract *c)
{
    must_publish_pattern(c->fs, "from", 1, 9000);
    must_publish_pattern(c->fs, "to", 2, 20000);
    int rc = kvt_fs_rename(c->fs, "from", "to", true);
    if (rc != 0 && !c->facts->atomic_rename) {
        must_hold_pattern(c->fs, "from", 1, 9000);
        must_hold_pattern(c->fs, "to", 2, 20000);
        return;
    }
    EXPECT("rename over a file", 0, rc);
    must_be_missing(c->fs, "from");
    must_hold_pattern(c->fs, "to", 1, 9000);
    must_mkdirs(c->fs, "d/e");
    EXPECT("rename to another directory", 0,
           kvt_fs_rename(c->fs, "to", "d/e/file", true));
    must_be_missing(c->fs, "to");
    must_hold_pattern(c->fs, "d/e/file", 1, 9000);
    EXPECT("rename of a missing file", -ENOENT,
           kvt_fs_rename(c->fs, "from", "d/e/file", true));
    EXPECT("rename below a missing directory", -ENOENT,
           kvt_fs_rename(c->fs, "d/e/file", "no/file", true));
    EXPECT_ERROR("rename over a directory",
                 kvt_fs_rename(c->fs, "d/e/file", "d", true));
    must_mkdirs(c->fs, "empty");
    EXPECT_ERROR("rename over an empty directory",
                 kvt_fs_rename(c->fs, "d/e/file", "empty", true));
    EXPECT("rename to itself", 0,
           kvt_fs_rename(c->fs, "d/e/file", "d/e/file", true));
    must_hold_pattern(c->fs, "d/e/file", 1, 9000);
}

static void rename_without_replace_keeps_what_is_there(struct contract *c)
{
    must_publish_pattern(c->fs, "from", 3, 9000);
    must_publish_pattern(c->fs, "to", 4, 20000);
    int rc = kvt_fs_rename(c->fs, "from", "to", false);
    if (c->facts->rename_noreplace) {
        EXPECT("rename to a name that is taken", -EEXIST, rc);
    } else {
        EXPECT_ERROR("rename to a name that is taken, fact rename_noreplace "
                     "is not",
                     rc);
    }
    must_hold_pattern(c->fs, "from", 3, 9000);
    must_hold_pattern(c->fs, "to", 4, 20000);
    rc = kvt_fs_rename(c->fs, "from", "new", false);
    if (rc == 0 || c->facts->rename_noreplace) {
        EXPECT("rename to a free name", 0, rc);
        must_be_missing(c->fs, "from");
        must_hold_pattern(c->fs, "new", 3, 9000);
        EXPECT("rename of a missing file", -ENOENT,
               kvt_fs_rename(c->fs, "from", "newer", false));
        must_mkdirs(c->fs, "d");
        EXPECT_ERROR("rename to a directory",
                     kvt_fs_rename(c->fs, "new", "d", false));
        must_hold_pattern(c->fs, "new", 3, 9000);
    } else {
        must_hold_pattern(c->fs, "from", 3, 9000);
    }
}

/* Under readers ----------------------------------------------------------- */

enum {
    OLD_SIZE = 5000,
    NEW_SIZE = 70001,
    RENAMES = 100,
    READS = 20
};

struct renaming {
    struct contract *c;
    bool over; /* atomic */
    size_t seen;
};

/* Rounds more, and slower, as long as readers had no turn. */
static bool renaming_goes_on(struct renaming *all, unsigned round)
{
    size_t seen = __atomic_load_n(&all->seen, __ATOMIC_RELAXED);
    if (round < RENAMES) {
        return true;
    }
    sleep_ms(1);
    return seen < READS && all->c->facts->removed_stays_readable &&
           round < 10 * RENAMES;
}

static void keep_renaming(struct renaming *all)
{
    char path[32];
    for (unsigned i = 0; renaming_goes_on(all, i); i++) {
        size_t size = i % 2 == 0 ? NEW_SIZE : OLD_SIZE;
        snprintf(path, sizeof path, "side-%u", i);
        must_publish_pattern(all->c->fs, path, i % 2 == 0 ? 6 : 5, size);
        EXPECT("rename over a file that is read", 0,
               kvt_fs_rename(all->c->fs, path, "file", true));
    }
    __atomic_store_n(&all->over, true, __ATOMIC_RELEASE);
}

static void rename_or_read(size_t number, void *arg)
{
    struct renaming *all = arg;
    if (number == 0) {
        keep_renaming(all);
        return;
    }
    unsigned char *bytes = must_alloc(NEW_SIZE + 1);
    while (!__atomic_load_n(&all->over, __ATOMIC_ACQUIRE)) {
        uint64_t size;
        EXPECT("stat of what is being replaced", 0,
               path_stat(all->c->fs, "file", &size));
        int64_t rc = path_fetch(all->c->fs, "file", 0, bytes, NEW_SIZE + 1);
        if (rc < 0 && !all->c->facts->removed_stays_readable) {
            continue; /* the file went while it was read */
        }
        EXPECT_ANY("fetch of what is being replaced", OLD_SIZE, NEW_SIZE, rc);
        EXPECT_PATTERN("one file's bytes", rc == OLD_SIZE ? 5 : 6, 0, bytes,
                       (size_t)rc);
        __atomic_fetch_add(&all->seen, 1, __ATOMIC_RELAXED);
    }
    free(bytes);
}

static void readers_of_a_renamed_name_see_old_or_new(struct contract *c)
{
    SKIP_UNLESS(c->facts->atomic_rename, "the fact atomic_rename is not");
    struct renaming all = {.c = c};
    must_publish_pattern(c->fs, "file", 5, OLD_SIZE);
    run_threads(4, rename_or_read, &all);
    EXPECT_TRUE("readers saw anything",
                !c->facts->removed_stays_readable || all.seen >= READS);
    EXPECT("names afterwards", 1, must_count_names(c->fs, "."));
}

static void race_to_rename(size_t number, void *arg)
{
    struct renaming *all = arg;
    char path[32];
    snprintf(path, sizeof path, "side-%zu", number);
    must_publish_pattern(all->c->fs, path, number, 3000);
    int rc = kvt_fs_rename(all->c->fs, path, "taken", false);
    EXPECT_ANY("rename without replace in a race", 0, -EEXIST, rc);
    if (rc == 0) {
        __atomic_fetch_add(&all->seen, 1, __ATOMIC_RELAXED);
    } else {
        must_hold_pattern(all->c->fs, path, number, 3000);
        EXPECT("remove", 0, path_remove(all->c->fs, path));
    }
}

static void rename_without_replace_has_one_winner(struct contract *c)
{
    SKIP_UNLESS(c->facts->rename_noreplace, "the fact rename_noreplace is not");
    for (unsigned round = 0; round < 20; round++) {
        struct renaming all = {.c = c};
        run_threads(8, race_to_rename, &all);
        EXPECT("winners of eight threads", 1, all.seen);
        EXPECT("remove", 0, path_remove(c->fs, "taken"));
    }
    EXPECT("names afterwards", 0, must_count_names(c->fs, "."));
}

/* Second names ------------------------------------------------------------ */

static void a_second_name_is_the_same_file(struct contract *c)
{
    must_publish_pattern(c->fs, "one", 7, 9000);
    int rc = kvt_fs_link(c->fs, "one", "two");
    if (!c->facts->hard_links) {
        EXPECT_ERROR("link, fact hard_links is not", rc);
        must_hold_pattern(c->fs, "one", 7, 9000);
        must_be_missing(c->fs, "two");
        return;
    }
    EXPECT("link", 0, rc);
    must_hold_pattern(c->fs, "two", 7, 9000);
    must_publish_pattern(c->fs, "other", 8, 100);
    EXPECT("link to a name that is taken", -EEXIST,
           kvt_fs_link(c->fs, "one", "other"));
    must_hold_pattern(c->fs, "other", 8, 100);
    EXPECT("link of a missing file", -ENOENT,
           kvt_fs_link(c->fs, "missing", "three"));
    if (c->facts->overwrite_in_place) {
        size_t block = block_size(c->fs, 100);
        struct kvt_fs_file *file = must_open(c->fs, "two", KVT_FS_FOR_WRITE);
        must_write_pattern(file, 9, 0, block);
        must_close(file);
        file = must_open(c->fs, "one", 0);
        must_read_pattern(file, 9, 0, block);
        must_read_pattern(file, 7, block, 9000 - block);
        must_close(file);
    }
    EXPECT("remove of the first name", 0, path_remove(c->fs, "one"));
    uint64_t size = 0;
    EXPECT("stat of the second", 0, path_stat(c->fs, "two", &size));
    EXPECT("its size", 9000, size);
}

/* Lengths and bytes of names ---------------------------------------------- */

static void
the_longest_name_works_and_one_more_byte_does_not(struct contract *c)
{
    size_t longest = c->facts->name_max;
    char *name = must_alloc(longest + 2);
    memset(name, 'n', longest);
    name[longest] = '\0';
    struct kvt_slice slice = {"abc", 3, NULL};
    struct kvt_fs_elem publish = {.op = KVT_FS_PUBLISH,
                                  .path = name,
                                  .temp_path = "temp",
                                  .slices = &slice,
                                  .slice_count = 1};
    EXPECT("publish under the longest name", 3, kvt_fs_run(c->fs, &publish));
    char bytes[4];
    EXPECT("fetch of it", 3, path_fetch(c->fs, name, 0, bytes, 4));
    EXPECT("remove of it", 0, path_remove(c->fs, name));
    EXPECT("mkdirs of it", 0, kvt_fs_mkdirs(c->fs, name));
    EXPECT("rmdir of it", 0, kvt_fs_rmdir(c->fs, name));
    memset(name, 'n', longest + 1);
    name[longest + 1] = '\0';
    struct kvt_fs_file *file;
    EXPECT("publish under one byte more", -ENAMETOOLONG,
           kvt_fs_run(c->fs, &publish));
    EXPECT("open of one byte more", -ENAMETOOLONG,
           file_open(c->fs, name, 0, &file));
    EXPECT("create of one byte more", -ENAMETOOLONG,
           file_open(c->fs, name, KVT_FS_FOR_WRITE | KVT_FS_CREATE, &file));
    EXPECT("mkdirs of one byte more", -ENAMETOOLONG,
           kvt_fs_mkdirs(c->fs, name));
    EXPECT("names afterwards", 0, must_count_names(c->fs, "."));
    free(name);
}

/* Fills a path of `size` bytes with names as long as they may be; returns
 * where the last one starts. */
static size_t fill_path(char *path, size_t size, size_t name_max)
{
    size_t last = 0;
    memset(path, 'p', size);
    path[size] = '\0';
    while (size - last > name_max) {
        size_t left = size - last; /* of it one byte at least stays */
        size_t name = left > name_max + 1 ? name_max : name_max - 1;
        path[last + name] = '/';
        last += name + 1;
    }
    return last;
}

static void
the_longest_path_works_and_one_more_byte_does_not(struct contract *c)
{
    size_t longest = c->facts->path_max;
    size_t name = c->facts->name_max < 255 ? c->facts->name_max : 255;
    char *path = must_alloc(longest + 2);
    struct kvt_fs_file *file;
    size_t last = fill_path(path, longest, name);
    if (last > 0) {
        path[last - 1] = '\0';
        must_mkdirs(c->fs, path);
        path[last - 1] = '/';
    }
    file = must_open(c->fs, path, KVT_FS_FOR_WRITE | KVT_FS_CREATE);
    must_write_pattern(file, 10, 0, block_size(c->fs, 100));
    must_close(file);
    must_hold_pattern(c->fs, path, 10, block_size(c->fs, 100));
    EXPECT("remove of the longest path", 0, path_remove(c->fs, path));
    struct kvt_slice slice = {"abc", 3, NULL};
    struct kvt_fs_elem publish = {.op = KVT_FS_PUBLISH,
                                  .path = path,
                                  .temp_path = "temp",
                                  .flags = KVT_FS_DURABLE,
                                  .slices = &slice,
                                  .slice_count = 1};
    EXPECT("durable publish at the longest path", 3,
           kvt_fs_run(c->fs, &publish));
    EXPECT("remove of it", 0, path_remove(c->fs, path));

    fill_path(path, longest + 1, name);
    EXPECT("open of one byte more", -ENAMETOOLONG,
           file_open(c->fs, path, 0, &file));
    EXPECT("create of one byte more", -ENAMETOOLONG,
           file_open(c->fs, path, KVT_FS_FOR_WRITE | KVT_FS_CREATE, &file));
    EXPECT("publish at one byte more", -ENAMETOOLONG,
           kvt_fs_run(c->fs, &publish));
    free(path);
}

/* Layouts write keys in printable ASCII, where case matters. */
static void names_keep_their_bytes(struct contract *c)
{
    char name[96];
    size_t count = 0;
    for (int byte = 0x21; byte < 0x7f; byte++) {
        if (byte != '/') {
            snprintf(name, sizeof name, "name%c", byte);
            must_publish_pattern(c->fs, name, (uint64_t)byte, 10);
            count++;
        }
    }
    static const char *const others[] = {"...",    "..a", ".a", "a..",
                                         "%2e%2e", "A",   "a"};
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        must_publish_pattern(c->fs, others[i], i, 20);
    }
    EXPECT("names", count + COUNT_OF(others), must_count_names(c->fs, "."));
    for (int byte = 0x21; byte < 0x7f; byte++) {
        if (byte != '/') {
            snprintf(name, sizeof name, "name%c", byte);
            must_hold_pattern(c->fs, name, (uint64_t)byte, 10);
        }
    }
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        must_hold_pattern(c->fs, others[i], i, 20);
    }
}

static void paths_stay_below_the_root(struct contract *c)
{
    static const char *const outside[] = {"/tmp", "..", "a/../../b", "a/..",
                                          ""};
    must_publish_pattern(c->fs, "file", 11, 10);
    for (size_t i = 0; i < COUNT_OF(outside); i++) {
        EXPECT("mkdirs outside", -EINVAL, kvt_fs_mkdirs(c->fs, outside[i]));
        EXPECT("rmdir outside", -EINVAL, kvt_fs_rmdir(c->fs, outside[i]));
        EXPECT("remove_tree outside", -EINVAL,
               kvt_fs_remove_tree(c->fs, outside[i]));
        EXPECT("rename outside", -EINVAL,
               kvt_fs_rename(c->fs, "file", outside[i], true));
        EXPECT("link outside", -EINVAL, kvt_fs_link(c->fs, "file", outside[i]));
    }
    must_hold_pattern(c->fs, "file", 11, 10);
}

static const struct contract_case cases[] = {
    CASE(rename_replaces_as_a_whole_or_says_no),
    CASE(rename_without_replace_keeps_what_is_there),
    CASE(readers_of_a_renamed_name_see_old_or_new),
    CASE(rename_without_replace_has_one_winner),
    CASE(a_second_name_is_the_same_file),
    CASE(the_longest_name_works_and_one_more_byte_does_not),
    CASE(the_longest_path_works_and_one_more_byte_does_not),
    CASE(names_keep_their_bytes),
    CASE(paths_stay_below_the_root),
};
GROUP(contract_renames, cases);
