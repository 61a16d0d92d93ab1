/* Names and directories: made, listed, removed. */
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WRITE_NEW (KVT_FS_FOR_WRITE | KVT_FS_CREATE)

/* Listing ----------------------------------------------------------------- */

enum {
    LISTED_MAX = 64
};

struct listed {
    char name[40];
    enum kvt_fs_type type;
    uint64_t size;
    int64_t modified_ns;
};

struct listing {
    struct listed entries[LISTED_MAX];
    size_t count;
    size_t stop_at; /* 0: never */
};

static int note_entry(const struct kvt_fs_dirent *entry, void *arg)
{
    struct listing *listing = arg;
    EXPECT_TRUE("names that were made", listing->count < LISTED_MAX);
    struct listed *listed = &listing->entries[listing->count++];
    snprintf(listed->name, sizeof listed->name, "%s", entry->name);
    listed->type = entry->type;
    listed->size = entry->size;
    listed->modified_ns = entry->modified_ns;
    return listing->count == listing->stop_at ? 4711 : 0;
}

static const struct listed *find_listed(const struct listing *listing,
                                        const char *name)
{
    const struct listed *found = NULL;
    for (size_t i = 0; i < listing->count; i++) {
        if (strcmp(listing->entries[i].name, name) == 0) {
            EXPECT_TRUE("a name is listed once", found == NULL);
            found = &listing->entries[i];
        }
    }
    return found;
}

static void listing_tells_names_types_and_sizes(struct contract *c)
{
    struct listing listing = {.count = 0};
    char path[32];
    must_mkdirs(c->fs, "d/sub");
    must_mkdirs(c->fs, "d/sub/below");
    for (size_t i = 0; i < 20; i++) {
        snprintf(path, sizeof path, "d/file-%zu", i);
        must_publish_pattern(c->fs, path, i, i * 1001);
    }
    for (size_t i = 0; i < 20; i += 3) {
        snprintf(path, sizeof path, "d/file-%zu", i);
        EXPECT("remove", 0, path_remove(c->fs, path));
    }
    EXPECT("list", 0, kvt_fs_list(c->fs, "d", true, note_entry, &listing));
    EXPECT("names: 13 files and a directory", 14, listing.count);
    for (size_t i = 0; i < 20; i++) {
        snprintf(path, sizeof path, "file-%zu", i);
        const struct listed *listed = find_listed(&listing, path);
        EXPECT("a removed name is not listed, another is", i % 3 != 0,
               listed != NULL);
        if (listed != NULL) {
            EXPECT("type of a file", KVT_FS_TYPE_FILE, listed->type);
            EXPECT("size in the listing", i * 1001, listed->size);
            EXPECT_TRUE("time of a file's last write is after 2020",
                        listed->modified_ns > INT64_C(1577836800000000000));
        }
    }
    const struct listed *sub = find_listed(&listing, "sub");
    EXPECT_TRUE("the directory is listed", sub != NULL);
    EXPECT("type of a directory", KVT_FS_TYPE_DIRECTORY, sub->type);
}

static void listing_stops_when_told_and_returns_that(struct contract *c)
{
    struct listing listing = {.stop_at = 3};
    char path[32];
    must_mkdirs(c->fs, "d");
    EXPECT("list of an empty directory", 0,
           kvt_fs_list(c->fs, "d", true, note_entry, &listing));
    EXPECT("names in it", 0, listing.count);
    for (size_t i = 0; i < 10; i++) {
        snprintf(path, sizeof path, "d/file-%zu", i);
        must_publish_pattern(c->fs, path, i, 10);
    }
    EXPECT("list that is stopped", 4711,
           kvt_fs_list(c->fs, "d", false, note_entry, &listing));
    EXPECT("names until it was told", 3, listing.count);
}

static void listing_of_a_file_is_an_error(struct contract *c)
{
    struct listing listing = {.count = 0};
    must_publish_pattern(c->fs, "file", 1, 10);
    EXPECT("list of a file", -ENOTDIR,
           kvt_fs_list(c->fs, "file", true, note_entry, &listing));
    EXPECT("names", 0, listing.count);
}

/* A layout removes what it finds. */
struct removing {
    struct kvt_fs *fs;
    size_t removed;
};

static int remove_listed(const struct kvt_fs_dirent *entry, void *arg)
{
    struct removing *removing = arg;
    char path[64];
    snprintf(path, sizeof path, "d/%s", entry->name);
    EXPECT("remove inside a listing", 0, path_remove(removing->fs, path));
    removing->removed++;
    return 0;
}

static void make_names(size_t thread, void *arg)
{
    struct contract *c = arg;
    char path[40];
    for (size_t i = thread; i < 5000; i += 8) {
        snprintf(path, sizeof path, "d/name-%zu", i);
        must_close(must_open(c->fs, path, WRITE_NEW));
    }
}

static int mark_name(const struct kvt_fs_dirent *entry, void *arg)
{
    unsigned char *seen = arg;
    unsigned number = 5000;
    EXPECT("a listed name that was made", 1,
           sscanf(entry->name, "name-%u", &number));
    EXPECT_TRUE("its number", number < 5000);
    seen[number]++;
    return 0;
}

static void five_thousand_names_are_listed_once_each(struct contract *c)
{
    unsigned char *seen = calloc(5000, 1);
    EXPECT_TRUE("memory for the test", seen != NULL);
    must_mkdirs(c->fs, "d");
    run_threads(8, make_names, c);
    EXPECT("list", 0, kvt_fs_list(c->fs, "d", false, mark_name, seen));
    for (size_t i = 0; i < 5000; i++) {
        EXPECT("times that a name is listed", 1, seen[i]);
    }
    free(seen);
    struct removing removing = {c->fs, 0};
    EXPECT("list that removes", 0,
           kvt_fs_list(c->fs, "d", false, remove_listed, &removing));
    EXPECT("names that were removed", 5000, removing.removed);
    EXPECT("names that are left", 0, must_count_names(c->fs, "d"));
    EXPECT("rmdir", 0, kvt_fs_rmdir(c->fs, "d"));
}

/* Removing ---------------------------------------------------------------- */

static void a_removed_name_is_gone_and_free_again(struct contract *c)
{
    must_publish_pattern(c->fs, "file", 1, 5000);
    EXPECT("remove", 0, path_remove(c->fs, "file"));
    must_be_missing(c->fs, "file");
    EXPECT("second remove", -ENOENT, path_remove(c->fs, "file"));
    must_publish_pattern(c->fs, "file", 2, 100);
    must_hold_pattern(c->fs, "file", 2, 100);
}

static void removed_stays_readable_as_the_fact_says(struct contract *c)
{
    size_t size = block_size(c->fs, 100000);
    unsigned char *bytes = must_alloc(size);
    must_publish_pattern(c->fs, "file", 3, size);
    struct kvt_fs_file *file = must_open(c->fs, "file", 0);
    struct kvt_fs_file *writer = must_open(c->fs, "file", KVT_FS_FOR_WRITE);
    EXPECT("remove of an open file", 0, path_remove(c->fs, "file"));
    must_be_missing(c->fs, "file");
    must_publish_pattern(c->fs, "file", 4, 200); /* nothing of the old one */
    int64_t rc = file_read(file, 0, bytes, size);
    if (c->facts->removed_stays_readable) {
        EXPECT("read of a removed file", size, rc);
        EXPECT_PATTERN("its bytes", 3, 0, bytes, size);
        must_read_pattern(writer, 3, 1000, 5000);
        must_write_pattern(writer, 3, size, 4096);
        must_read_pattern(writer, 3, size, 4096);
    } else if (rc >= 0) { /* an error, or those bytes: never others */
        EXPECT("read of a removed file", size, rc);
        EXPECT_PATTERN("its bytes", 3, 0, bytes, size);
    }
    must_close(file);
    must_close(writer);
    must_hold_pattern(c->fs, "file", 4, 200);
    free(bytes);
}

/* Directories ------------------------------------------------------------- */

static void mkdirs_makes_all_and_again_is_a_success(struct contract *c)
{
    must_mkdirs(c->fs, "a/b/c/d");
    must_mkdirs(c->fs, "a/b/c/d");
    must_mkdirs(c->fs, "a/b/e");
    must_mkdirs(c->fs, ".");
    EXPECT("names in a/b", 2, must_count_names(c->fs, "a/b"));
    must_publish_pattern(c->fs, "a/b/c/d/file", 5, 10);
    must_mkdirs(c->fs, "a/b/c/d");
    must_hold_pattern(c->fs, "a/b/c/d/file", 5, 10);
    EXPECT_ANY("mkdirs over a file", -EEXIST, -ENOTDIR,
               kvt_fs_mkdirs(c->fs, "a/b/c/d/file"));
    EXPECT("mkdirs below a file", -ENOTDIR,
           kvt_fs_mkdirs(c->fs, "a/b/c/d/file/x/y"));
    must_hold_pattern(c->fs, "a/b/c/d/file", 5, 10);
}

static void make_the_same(size_t number, void *arg)
{
    struct contract *c = arg;
    char path[64];
    for (size_t i = 0; i < 20; i++) {
        snprintf(path, sizeof path, "shared/%zu/deep/%zu", i, number);
        must_mkdirs(c->fs, path);
    }
}

static void threads_make_the_same_directories(struct contract *c)
{
    run_threads(8, make_the_same, c);
    EXPECT("names", 20, must_count_names(c->fs, "shared"));
    EXPECT("names deeper", 8, must_count_names(c->fs, "shared/7/deep"));
}

static void rmdir_takes_empty_directories_only(struct contract *c)
{
    must_publish_pattern(c->fs, "d/file", 6, 10);
    must_mkdirs(c->fs, "e/f");
    EXPECT_ANY("rmdir of one with a file", -ENOTEMPTY, -EEXIST,
               kvt_fs_rmdir(c->fs, "d"));
    EXPECT_ANY("rmdir of one with a directory", -ENOTEMPTY, -EEXIST,
               kvt_fs_rmdir(c->fs, "e"));
    EXPECT("rmdir of a file", -ENOTDIR, kvt_fs_rmdir(c->fs, "d/file"));
    must_hold_pattern(c->fs, "d/file", 6, 10);
    EXPECT("rmdir of an empty one", 0, kvt_fs_rmdir(c->fs, "e/f"));
    EXPECT("rmdir of its parent", 0, kvt_fs_rmdir(c->fs, "e"));
    EXPECT("rmdir once more", -ENOENT, kvt_fs_rmdir(c->fs, "e"));
    EXPECT("names", 1, must_count_names(c->fs, "."));
}

static void remove_tree_takes_all_below_and_nothing_else(struct contract *c)
{
    char path[64];
    for (size_t i = 0; i < 60; i++) {
        snprintf(path, sizeof path, "tree/%zu/%zu/file", i % 5, i);
        must_publish_pattern(c->fs, path, i, 100);
    }
    must_mkdirs(c->fs, "tree/empty/deep/er");
    must_publish_pattern(c->fs, "tree-not", 7, 10);
    EXPECT("remove_tree", 0, kvt_fs_remove_tree(c->fs, "tree"));
    must_be_missing(c->fs, "tree");
    EXPECT("remove_tree of what is missing", 0,
           kvt_fs_remove_tree(c->fs, "tree"));
    must_hold_pattern(c->fs, "tree-not", 7, 10);
    EXPECT("names", 1, must_count_names(c->fs, "."));
}

/* What is no file --------------------------------------------------------- */

static void expect_no_file(struct contract *c, const char *path)
{
    struct kvt_fs_file *file;
    uint64_t size;
    char byte;
    EXPECT_ERROR("stat of what is no file", path_stat(c->fs, path, &size));
    EXPECT_ERROR("fetch of what is no file",
                 path_fetch(c->fs, path, 0, &byte, 1));
    EXPECT_ERROR("fetch of nothing from what is no file",
                 path_fetch(c->fs, path, 0, &byte, 0));
    struct kvt_fs_elem sized = {
        .op = KVT_FS_OPEN, .path = path, .flags = KVT_FS_WANT_SIZE};
    EXPECT_ERROR("open with its size of what is no file",
                 kvt_fs_run(c->fs, &sized));
    EXPECT_ERROR("open for write of what is no file",
                 file_open(c->fs, path, KVT_FS_FOR_WRITE, &file));
    if (file_open(c->fs, path, 0, &file) == 0) {
        EXPECT_ERROR("read of what is no file", file_read(file, 0, &byte, 1));
        must_close(file);
    }
}

static void a_directory_is_no_file(struct contract *c)
{
    struct kvt_fs_file *file;
    must_publish_pattern(c->fs, "d/file", 8, 10);
    expect_no_file(c, "d");
    expect_no_file(c, "d/");
    EXPECT_ERROR("create over a directory",
                 file_open(c->fs, "d", WRITE_NEW, &file));
    EXPECT_ERROR("remove of a directory", path_remove(c->fs, "d"));
    must_mkdirs(c->fs, "empty");
    EXPECT_ERROR("remove of an empty directory", path_remove(c->fs, "empty"));
    EXPECT_ERROR("fetch below a file",
                 path_fetch(c->fs, "d/file/x", 0, (char[1]){0}, 1));
    must_hold_pattern(c->fs, "d/file", 8, 10);
    EXPECT("names", 2, must_count_names(c->fs, "."));
}

/* Where the mount is a directory of the operating system, more can be put
 * there than fs.h makes: somebody else's. */
static void links_and_fifos_are_no_files(struct contract *c)
{
    char path[4096];
    struct stat st;
    struct listing listing = {.count = 0};
    must_publish_pattern(c->fs, "file", 9, 10);
    snprintf(path, sizeof path, "%s/file", c->root);
    SKIP_UNLESS(stat(path, &st) == 0,
                "the mount is no directory of the system");
    snprintf(path, sizeof path, "%s/loop", c->root);
    EXPECT("symlink to itself", 0, symlink("loop", path));
    snprintf(path, sizeof path, "%s/fifo", c->root);
    EXPECT("fifo", 0, mkfifo(path, 0600));
    expect_no_file(c, "loop");
    EXPECT("list", 0, kvt_fs_list(c->fs, ".", true, note_entry, &listing));
    EXPECT("type of a link", KVT_FS_TYPE_OTHER,
           find_listed(&listing, "loop")->type);
    EXPECT("type of a fifo", KVT_FS_TYPE_OTHER,
           find_listed(&listing, "fifo")->type);
    struct kvt_fs_file *file; /* whatever comes of it, it comes at once */
    if (file_open(c->fs, "fifo", 0, &file) == 0) {
        must_close(file);
    }
    uint64_t size;
    EXPECT_ERROR("stat of a fifo", path_stat(c->fs, "fifo", &size));
    EXPECT("remove of a link", 0, path_remove(c->fs, "loop"));
    EXPECT("remove of a fifo", 0, path_remove(c->fs, "fifo"));
    must_hold_pattern(c->fs, "file", 9, 10);
}

/* Somebody put links into a tree, and in its place: what they point to lies
 * outside of the root, and is not ours to list or to remove. */
static void a_link_to_a_directory_is_not_followed(struct contract *c)
{
    char outside[4096];
    char path[4200];
    struct stat st;
    must_publish_pattern(c->fs, "tree/sub/file", 10, 10);
    snprintf(path, sizeof path, "%s/tree", c->root);
    SKIP_UNLESS(stat(path, &st) == 0,
                "the mount is no directory of the system");
    snprintf(outside, sizeof outside, "%s.outside", c->root);
    EXPECT("mkdir outside", 0, mkdir(outside, 0700));
    snprintf(path, sizeof path, "%s/victim", outside);
    EXPECT("mkdir outside", 0, mkdir(path, 0700));
    snprintf(path, sizeof path, "%s/tree/sub/link", c->root);
    EXPECT("symlink in a tree", 0, symlink(outside, path));
    snprintf(path, sizeof path, "%s/link", c->root);
    EXPECT("symlink", 0, symlink(outside, path));

    struct listing listing = {.count = 0};
    int rc = kvt_fs_list(c->fs, "link", false, note_entry, &listing);
    int tree = kvt_fs_remove_tree(c->fs, "tree");
    int link = kvt_fs_remove_tree(c->fs, "link");
    snprintf(path, sizeof path, "%s/victim", outside);
    int gone = rmdir(path); /* also when the case fails: it is not below root */
    rmdir(outside);
    EXPECT("what a link points to is left alone", 0, gone);
    EXPECT("list of a link", -ENOTDIR, rc);
    EXPECT("names told of it", 0, listing.count);
    EXPECT("remove_tree with a link below", 0, tree);
    EXPECT("remove_tree of a link", 0, link);
    EXPECT("names", 0, must_count_names(c->fs, "."));
}

static const struct contract_case cases[] = {
    CASE(listing_tells_names_types_and_sizes),
    CASE(listing_stops_when_told_and_returns_that),
    CASE(listing_of_a_file_is_an_error),
    CASE(five_thousand_names_are_listed_once_each),
    CASE(a_removed_name_is_gone_and_free_again),
    CASE(removed_stays_readable_as_the_fact_says),
    CASE(mkdirs_makes_all_and_again_is_a_success),
    CASE(threads_make_the_same_directories),
    CASE(rmdir_takes_empty_directories_only),
    CASE(remove_tree_takes_all_below_and_nothing_else),
    CASE(a_directory_is_no_file),
    CASE(links_and_fifos_are_no_files),
    CASE(a_link_to_a_directory_is_not_followed),
};
GROUP(contract_names, cases);
