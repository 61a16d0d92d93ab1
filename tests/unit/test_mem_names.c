/* Names in the mem adapter: paths, opens, renames, links, removals, lists. */
#include "mem_fixture.h"

static void paths_fail_as_posix_says(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *fs = mem_mount(f, "");
    struct kvt_fs_file *file;
    char name[300];

    assert_int_equal(kvt_fs_mkdirs(fs, "d/e"), 0);
    assert_int_equal(kvt_fs_mkdirs(fs, "./d//e/"), 0);
    mem_put(fs, "d/f", "x");
    mem_expect(fs, "./d/./f", "x");
    assert_int_equal(kvt_fs_mkdirs(fs, "d/f"), -ENOTDIR);
    assert_int_equal(kvt_fs_mkdirs(fs, "d/f/g"), -ENOTDIR);
    assert_int_equal(mem_stat(fs, "d/f/g"), -ENOTDIR);
    assert_int_equal(mem_stat(fs, "d/f/"), -ENOTDIR);
    assert_int_equal(mem_stat(fs, "d/g"), -ENOENT);
    assert_int_equal(mem_stat(fs, "g/f"), -ENOENT);
    assert_int_equal(mem_stat(fs, "d"), -EISDIR);
    assert_int_equal(mem_stat(fs, "../x"), -EINVAL);
    assert_int_equal(mem_remove(fs, "d"), -EISDIR);
    assert_int_equal(mem_remove(fs, "."), -EISDIR);
    assert_int_equal(mem_open(fs, "d", KVT_FS_CREATE, &file), -EISDIR);
    assert_int_equal(mem_open(fs, "g/f", KVT_FS_CREATE, &file), -ENOENT);
    assert_int_equal(kvt_fs_rmdir(fs, "d"), -ENOTEMPTY);
    assert_int_equal(kvt_fs_rmdir(fs, "d/f"), -ENOTDIR);
    assert_int_equal(kvt_fs_rmdir(fs, "g"), -ENOENT);
    assert_int_equal(kvt_fs_rmdir(fs, "."), -EINVAL);
    assert_int_equal(kvt_fs_rmdir(fs, "d/e"), 0);
    assert_int_equal(kvt_fs_remove_tree(fs, "d"), 0);
    assert_int_equal(mem_stat(fs, "d/f"), -ENOENT);

    memset(name, 'n', sizeof name);
    name[256] = '\0';
    assert_int_equal(mem_stat(fs, name), -ENAMETOOLONG);
    assert_int_equal(kvt_fs_mkdirs(fs, name), -ENAMETOOLONG);
    name[255] = '\0';
    mem_put(fs, name, "long");
    mem_expect(fs, name, "long");
}

static void short_names_are_of_64_bytes(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *fs = mem_mount(f, "short_names");
    char name[66];

    memset(name, 'n', sizeof name);
    name[65] = '\0';
    assert_int_equal(mem_stat(fs, name), -ENAMETOOLONG);
    name[64] = '\0';
    assert_int_equal(mem_stat(fs, name), -ENOENT);
}

static void open_makes_finds_and_refuses(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *fs = mem_mount(f, "");
    const uint32_t exclusive =
        KVT_FS_FOR_WRITE | KVT_FS_CREATE | KVT_FS_EXCLUSIVE;
    struct kvt_fs_file *file;

    assert_int_equal(mem_open(fs, "a", KVT_FS_FOR_WRITE, &file), -ENOENT);
    assert_int_equal(mem_open(fs, "a", exclusive, &file), 0);
    assert_int_equal(mem_write(fs, file, 0, "abc", 3), 3);
    assert_int_equal(mem_close(fs, file), 0);
    assert_int_equal(mem_open(fs, "a", exclusive, &file), -EEXIST);
    assert_int_equal(mem_open(fs, "a", 0, &file), 0);
    assert_int_equal(mem_write(fs, file, 0, "abc", 3), -EBADF);
    assert_int_equal(mem_punch(fs, file, 0, 3), -EBADF);
    assert_int_equal(kvt_fs_allocate(fs, file, 3), -EBADF);
    assert_int_equal(kvt_fs_truncate(fs, file, 1), -EINVAL);
    assert_int_equal(mem_close(fs, file), 0);

    struct kvt_fs *lax = mem_mount(f, "no_exclusive");
    assert_int_equal(mem_open(lax, "a", exclusive, &file), 0);
    assert_int_equal(mem_close(lax, file), 0);
    mem_expect(fs, "a", "abc");
}

static void rename_moves_and_replaces(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *fs = mem_mount(f, "");

    assert_int_equal(kvt_fs_mkdirs(fs, "d"), 0);
    mem_put(fs, "a", "A");
    mem_put(fs, "b", "B");
    assert_int_equal(kvt_fs_rename(fs, "a", "b", false), -EEXIST);
    assert_int_equal(kvt_fs_rename(fs, "a", "d", true), -EISDIR);
    assert_int_equal(kvt_fs_rename(fs, "d", "e", true), -EISDIR);
    assert_int_equal(kvt_fs_rename(fs, "x", "b", true), -ENOENT);
    assert_int_equal(kvt_fs_rename(fs, "a", "x/a", true), -ENOENT);
    assert_int_equal(kvt_fs_rename(fs, "a", "a", true), 0);
    assert_int_equal(kvt_fs_rename(fs, "a", "b", true), 0);
    mem_expect(fs, "b", "A");
    assert_int_equal(mem_stat(fs, "a"), -ENOENT);
    assert_int_equal(kvt_fs_rename(fs, "b", "d/c", false), 0);
    mem_expect(fs, "d/c", "A");
    assert_int_equal(kvt_fs_rename(fs, "d/c", "a", true), 0);
    assert_int_equal(kvt_fs_rmdir(fs, "d"), 0);

    struct kvt_fs *lacks = mem_mount(f, "no_noreplace");
    /* the core links and removes instead */
    assert_int_equal(kvt_fs_rename(lacks, "a", "b", false), 0);
    assert_int_equal(mem_stat(lacks, "a"), -ENOENT);
    assert_int_equal(kvt_fs_rename(lacks, "b", "b", false), -EEXIST);
    lacks = mem_mount(f, "no_noreplace,no_links");
    assert_int_equal(kvt_fs_rename(lacks, "b", "c", false), -EOPNOTSUPP);
    lacks = mem_mount(f, "no_rename");
    assert_int_equal(kvt_fs_rename(lacks, "b", "a", true), -EOPNOTSUPP);
}

static void a_link_is_a_second_name(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *fs = mem_mount(f, "");

    mem_put(fs, "a", "A");
    assert_int_equal(kvt_fs_link(fs, "x", "b"), -ENOENT);
    assert_int_equal(kvt_fs_link(fs, "a", "b"), 0);
    assert_int_equal(kvt_fs_link(fs, "a", "b"), -EEXIST);
    assert_int_equal(mem_used(fs), 2);
    assert_int_equal(kvt_fs_rename(fs, "a", "b", true), 0); /* as rename(2) */
    mem_expect(fs, "a", "A");
    assert_int_equal(mem_remove(fs, "a"), 0);
    mem_expect(fs, "b", "A");
    assert_int_equal(mem_used(fs), 2);
    assert_int_equal(kvt_fs_link(mem_mount(f, "no_links"), "b", "c"),
                     -EOPNOTSUPP);
}

static void a_file_that_is_removed_stays_or_is_gone(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *fs = mem_mount(f, "");
    struct kvt_fs *strict = mem_mount(f, "removed_gone");
    struct kvt_fs_file *file;
    struct kvt_fs_file *there;
    char byte;

    mem_put(fs, "a", "A");
    assert_int_equal(mem_open(fs, "a", 0, &file), 0);
    assert_int_equal(mem_open(strict, "a", 0, &there), 0);
    assert_int_equal(mem_remove(fs, "a"), 0);
    assert_int_equal(mem_read(fs, file, 0, &byte, 1), 1);
    assert_int_equal(mem_read(strict, there, 0, &byte, 1), -ENOENT);
    assert_int_equal(mem_close(fs, file), 0);
    assert_int_equal(mem_close(strict, there), 0);
}

/* Listing ----------------------------------------------------------------- */

struct seen {
    struct kvt_fs *fs;
    size_t count;
    size_t stop_at;
    uint64_t sizes;
};

static int see(const struct kvt_fs_dirent *entry, void *arg)
{
    struct seen *seen = arg;

    if (entry->type == KVT_FS_TYPE_DIRECTORY) {
        assert_string_equal(entry->name, "sub");
        return 0;
    }
    assert_true(entry->modified_ns > INT64_C(1700000000) * 1000000000);
    seen->sizes += entry->size;
    char path[64];
    snprintf(path, sizeof path, "d/%s", entry->name);
    assert_int_equal(mem_remove(seen->fs, path), 0);
    return ++seen->count == seen->stop_at ? 7 : 0;
}

static void a_listing_may_change_its_directory_and_stops_when_told(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *fs = mem_mount(f, "");
    struct seen seen = {.fs = fs, .stop_at = 600};

    assert_int_equal(kvt_fs_mkdirs(fs, "d/sub"), 0);
    for (int i = 0; i < 1000; i++) {
        char path[32];
        snprintf(path, sizeof path, "d/%d", i);
        mem_put(fs, path, "12345");
    }
    assert_int_equal(kvt_fs_list(fs, "d", true, see, &seen), 7);
    assert_int_equal(seen.count, 600);
    assert_int_equal(kvt_fs_list(fs, "d", true, see, &seen), 0);
    assert_int_equal(seen.count, 1000);
    assert_int_equal(seen.sizes, 5000);
    assert_int_equal(kvt_fs_rmdir(fs, "d/sub"), 0);
    assert_int_equal(kvt_fs_rmdir(fs, "d"), 0);
    assert_int_equal(kvt_fs_list(fs, "d", true, see, &seen), -ENOENT);
    assert_int_equal(mem_used(fs), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(paths_fail_as_posix_says),
        CASE(short_names_are_of_64_bytes),
        CASE(open_makes_finds_and_refuses),
        CASE(rename_moves_and_replaces),
        CASE(a_link_is_a_second_name),
        CASE(a_file_that_is_removed_stays_or_is_gone),
        CASE(a_listing_may_change_its_directory_and_stops_when_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
