/* The posix adapter on a temporary directory. What locks do is in
 * test_posix_lock.c. */
#include "support/posix_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Transfers ---------------------------------------------------------------- */

static void bytes_come_back_at_odd_sizes_and_offsets(void **state)
{
    struct posix_fixture *f = *state;
    unsigned char expected[20000];
    unsigned char got[20000];
    uint64_t seed = 8;
    size_t size = 0;
    struct kvt_fs_file *file = posix_open_new(f, "a");

    memset(expected, 0, sizeof expected);
    for (int i = 0; i < 200; i++) {
        unsigned char bytes[5000];
        size_t count = unit_random_below(&seed, sizeof bytes + 1);
        size_t offset = unit_random_below(&seed, sizeof expected - count + 1);

        for (size_t j = 0; j < count; j++) {
            bytes[j] = (unsigned char)unit_random(&seed);
        }
        memcpy(expected + offset, bytes, count);
        if (count > 0 && offset + count > size) {
            size = offset + count;
        }
        assert_int_equal(posix_write(f, file, offset, bytes, count), count);
        offset = unit_random_below(&seed, size + 1);
        count = unit_random_below(&seed, size - offset + 1);
        assert_int_equal(posix_read(f, file, offset, got, count), count);
        assert_memory_equal(got, expected + offset, count);
    }
    assert_int_equal(posix_close(f, file), 0);
    assert_int_equal(posix_size(f, "a"), size);
}

/* Cuts `size` bytes into pieces of 0 to `piece_max`; returns how many. */
static uint32_t cut(struct kvt_slice *slices, unsigned char *bytes, size_t size,
                    size_t piece_max, uint64_t *seed)
{
    uint32_t count = 0;

    for (size_t at = 0; at < size;) {
        size_t piece = unit_random_below(seed, piece_max + 1);

        piece = piece < size - at ? piece : size - at;
        slices[count++] =
            (struct kvt_slice){piece > 0 ? bytes + at : NULL, piece, NULL};
        at += piece;
    }
    return count;
}

static void thousands_of_pieces_go_in_one_transfer(void **state)
{
    enum {
        SIZE = 10000,
    };
    struct posix_fixture *f = *state;
    static struct kvt_slice slices[SIZE * 4];
    static unsigned char in[SIZE];
    static unsigned char out[SIZE + 1];
    uint64_t seed = 9;
    struct kvt_fs_file *file = posix_open_new(f, "a");
    struct kvt_fs_elem elem = {.file = file, .offset = 3, .slices = slices};

    for (size_t i = 0; i < SIZE; i++) {
        in[i] = (unsigned char)unit_random(&seed);
    }
    elem.op = KVT_FS_WRITE;
    elem.slice_count = cut(slices, in, SIZE, 4, &seed);
    assert_true(elem.slice_count > 3 * 1024);
    assert_int_equal(kvt_fs_run(f->fs, &elem), SIZE);
    elem.op = KVT_FS_READ;
    elem.slice_count = cut(slices, out, SIZE, 6, &seed);
    assert_true(elem.slice_count > 2 * 1024);
    assert_int_equal(kvt_fs_run(f->fs, &elem), SIZE);
    assert_memory_equal(in, out, SIZE);
    assert_int_equal(posix_close(f, file), 0);
}

static void slices_of_nothing_move_nothing(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_slice empty[] = {{NULL, 0, NULL}, {NULL, 0, NULL}};
    struct kvt_fs_file *file = posix_open_new(f, "a");
    struct kvt_fs_elem elem = {
        .file = file, .offset = 100, .slices = empty, .slice_count = 2};

    elem.op = KVT_FS_WRITE;
    assert_int_equal(kvt_fs_run(f->fs, &elem), 0);
    elem.op = KVT_FS_READ;
    assert_int_equal(kvt_fs_run(f->fs, &elem), 0);
    elem.slices = NULL;
    elem.slice_count = 0;
    assert_int_equal(kvt_fs_run(f->fs, &elem), 0);
    assert_int_equal(posix_close(f, file), 0);
    assert_int_equal(posix_size(f, "a"), 0);
}

static void a_read_ends_with_the_file(void **state)
{
    struct posix_fixture *f = *state;
    char bytes[20] = "####################";
    struct kvt_fs_file *file = posix_open_new(f, "a");

    assert_int_equal(posix_write(f, file, 0, "hello", 5), 5);
    assert_int_equal(posix_read(f, file, 3, bytes, 10), 2);
    assert_memory_equal(bytes, "lo########", 10);
    assert_int_equal(posix_read(f, file, 5, bytes, 10), 0);
    assert_int_equal(posix_read(f, file, 1000000, bytes, 10), 0);
    assert_int_equal(posix_close(f, file), 0);
}

static void offsets_above_4_gib_are_not_cut(void **state)
{
    struct posix_fixture *f = *state;
    const uint64_t far = (UINT64_C(5) << 30) + 3;
    char bytes[5] = "";
    struct kvt_fs_file *file = posix_open_new(f, "a");

    assert_int_equal(posix_write(f, file, far, "hello", 5), 5);
    assert_int_equal(posix_write(f, file, 3, "world", 5), 5);
    assert_int_equal(posix_read(f, file, far, bytes, 5), 5);
    assert_memory_equal(bytes, "hello", 5);
    assert_int_equal(posix_read(f, file, far - (UINT64_C(4) << 30), bytes, 5),
                     5);
    assert_memory_equal(bytes, "\0\0\0\0\0", 5);
    assert_int_equal(posix_close(f, file), 0);
    assert_int_equal(posix_size(f, "a"), far + 5);
}

static void an_offset_that_no_file_has_is_an_error(void **state)
{
    struct posix_fixture *f = *state;
    char bytes[5];
    struct kvt_fs_file *file = posix_open_new(f, "a");

    assert_true(posix_write(f, file, UINT64_MAX - 2, "hello", 5) < 0);
    assert_true(posix_read(f, file, UINT64_MAX - 2, bytes, 5) < 0);
    assert_int_equal(posix_close(f, file), 0);
    assert_int_equal(posix_size(f, "a"), 0);
}

static void a_file_opened_to_read_cannot_be_written(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_fs_file *file;

    posix_make(f, "a", "hello");
    assert_int_equal(posix_open(f, "a", 0, &file), 0);
    assert_int_equal(posix_write(f, file, 0, "x", 1), -EBADF);
    assert_int_equal(posix_close(f, file), 0);
}

static void a_punched_hole_reads_as_zeros(void **state)
{
    struct posix_fixture *f = *state;
    static unsigned char bytes[65536];
    struct kvt_fs_file *file = posix_open_new(f, "a");
    struct kvt_fs_elem punch = {
        .op = KVT_FS_PUNCH, .file = file, .offset = 16384, .length = 32768};

    memset(bytes, 'x', sizeof bytes);
    assert_int_equal(posix_write(f, file, 0, bytes, sizeof bytes),
                     sizeof bytes);
    assert_int_equal(kvt_fs_run(f->fs, &punch), 0);
    assert_int_equal(posix_read(f, file, 0, bytes, sizeof bytes), sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bool hole = i >= 16384 && i < 16384 + 32768;
        assert_int_equal(bytes[i], hole ? 0 : 'x');
    }
    assert_int_equal(posix_close(f, file), 0);
}

static void files_and_directories_can_be_synced(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_fs_file *file = posix_open_new(f, "a");
    struct kvt_fs_elem sync = {.op = KVT_FS_DATASYNC, .file = file};

    assert_int_equal(kvt_fs_run(f->fs, &sync), 0);
    sync.op = KVT_FS_SYNC;
    assert_int_equal(kvt_fs_run(f->fs, &sync), 0);
    assert_int_equal(posix_close(f, file), 0);
    assert_int_equal(kvt_fs_mkdirs(f->fs, "d"), 0);
    assert_int_equal(posix_path_op(f, KVT_FS_SYNC, "d"), 0);
    assert_int_equal(posix_path_op(f, KVT_FS_SYNC, "."), 0);
    assert_int_equal(posix_path_op(f, KVT_FS_SYNC, "a"), -ENOTDIR);
    assert_int_equal(posix_path_op(f, KVT_FS_SYNC, "none"), -ENOENT);
}

/* Opens, and what is no file ---------------------------------------------- */

static void exclusive_refuses_a_file_that_exists(void **state)
{
    struct posix_fixture *f = *state;
    const uint32_t create = KVT_FS_FOR_WRITE | KVT_FS_CREATE;
    struct kvt_fs_file *file;

    assert_int_equal(posix_open(f, "a", KVT_FS_FOR_WRITE, &file), -ENOENT);
    assert_int_equal(posix_open(f, "a", create | KVT_FS_EXCLUSIVE, &file), 0);
    assert_int_equal(posix_write(f, file, 0, "hello", 5), 5);
    assert_int_equal(posix_close(f, file), 0);
    assert_int_equal(posix_open(f, "a", create | KVT_FS_EXCLUSIVE, &file),
                     -EEXIST);
    assert_int_equal(posix_open(f, "a", create, &file), 0);
    assert_int_equal(posix_close(f, file), 0);
    assert_int_equal(posix_size(f, "a"), 5);
    assert_int_equal(posix_open(f, "d/a", create, &file), -ENOENT);
}

static void open_tells_the_size_when_asked(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_fs_elem open = {
        .op = KVT_FS_OPEN, .path = "a", .flags = KVT_FS_WANT_SIZE};

    posix_make(f, "a", "hello");
    assert_int_equal(kvt_fs_run(f->fs, &open), 0);
    assert_int_equal(open.file_size, 5);
    assert_int_equal(posix_close(f, open.file), 0);
}

static void a_directory_is_no_file(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_fs_file *file;

    assert_int_equal(kvt_fs_mkdirs(f->fs, "d"), 0);
    assert_int_equal(posix_path_op(f, KVT_FS_STAT, "d"), -EISDIR);
    assert_int_equal(posix_path_op(f, KVT_FS_FETCH, "d"), -EISDIR);
    assert_int_equal(posix_path_op(f, KVT_FS_REMOVE, "d"), -EISDIR);
    assert_int_equal(posix_open(f, "d", KVT_FS_FOR_WRITE, &file), -EISDIR);
}

/* It must not hang, either. */
static void a_fifo_is_no_file(void **state)
{
    struct posix_fixture *f = *state;
    char path[FILE_PATH_MAX];

    assert_int_equal(mkfifo(posix_path(f, "fifo", path), 0600), 0);
    assert_int_equal(posix_path_op(f, KVT_FS_STAT, "fifo"), -EINVAL);
    assert_int_equal(posix_path_op(f, KVT_FS_FETCH, "fifo"), -ESPIPE);
    assert_int_equal(posix_path_op(f, KVT_FS_REMOVE, "fifo"), 0);
}

static void a_symbolic_link_is_not_followed(void **state)
{
    struct posix_fixture *f = *state;
    char path[FILE_PATH_MAX];
    struct kvt_fs_file *file;

    posix_make(f, "a", "hello");
    assert_int_equal(symlink("a", posix_path(f, "link", path)), 0);
    assert_int_equal(posix_path_op(f, KVT_FS_STAT, "link"), -EINVAL);
    assert_int_equal(posix_path_op(f, KVT_FS_FETCH, "link"), -ELOOP);
    assert_int_equal(posix_open(f, "link", KVT_FS_FOR_WRITE, &file), -ELOOP);
    assert_int_equal(
        posix_open(f, "link", KVT_FS_FOR_WRITE | KVT_FS_CREATE, &file), -ELOOP);
    assert_int_equal(posix_path_op(f, KVT_FS_REMOVE, "link"), 0);
    assert_int_equal(posix_size(f, "a"), 5);
    /* one that points nowhere does not make its target */
    assert_int_equal(symlink("none", posix_path(f, "link", path)), 0);
    assert_int_equal(
        posix_open(f, "link", KVT_FS_FOR_WRITE | KVT_FS_CREATE, &file), -ELOOP);
    assert_int_equal(posix_path_op(f, KVT_FS_STAT, "none"), -ENOENT);
}

static void stat_tells_size_or_enoent(void **state)
{
    struct posix_fixture *f = *state;

    posix_make(f, "a", "hello");
    assert_int_equal(posix_size(f, "a"), 5);
    assert_int_equal(posix_path_op(f, KVT_FS_STAT, "b"), -ENOENT);
    assert_int_equal(posix_path_op(f, KVT_FS_STAT, "a/b"), -ENOTDIR);
}

static void remove_takes_the_name_and_readers_keep_the_bytes(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_fs_file *file;
    char bytes[5];

    posix_make(f, "a", "hello");
    assert_true(kvt_fs_facts(f->fs)->removed_stays_readable);
    assert_int_equal(posix_open(f, "a", 0, &file), 0);
    assert_int_equal(posix_path_op(f, KVT_FS_REMOVE, "a"), 0);
    assert_int_equal(posix_path_op(f, KVT_FS_REMOVE, "a"), -ENOENT);
    assert_int_equal(posix_path_op(f, KVT_FS_STAT, "a"), -ENOENT);
    assert_int_equal(posix_read(f, file, 0, bytes, 5), 5);
    assert_memory_equal(bytes, "hello", 5);
    assert_int_equal(posix_close(f, file), 0);
}

static void names_may_have_255_bytes(void **state)
{
    struct posix_fixture *f = *state;
    char name[257];

    memset(name, 'n', sizeof name);
    assert_int_equal(kvt_fs_facts(f->fs)->name_max, 255);
    name[255] = '\0';
    posix_make(f, name, "hello");
    assert_int_equal(posix_size(f, name), 5);
    name[255] = 'n';
    name[256] = '\0';
    assert_int_equal(posix_path_op(f, KVT_FS_STAT, name), -ENAMETOOLONG);
}

/* Directories --------------------------------------------------------------*/

static void mkdirs_makes_parents_and_accepts_what_is_there(void **state)
{
    struct posix_fixture *f = *state;
    char path[FILE_PATH_MAX];
    struct stat st;

    assert_int_equal(kvt_fs_mkdirs(f->fs, "a/b/c/d"), 0);
    assert_int_equal(stat(posix_path(f, "a/b/c/d", path), &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(kvt_fs_mkdirs(f->fs, "a/b/c/d"), 0);
    assert_int_equal(kvt_fs_mkdirs(f->fs, "a/b"), 0);
    assert_int_equal(kvt_fs_mkdirs(f->fs, "a/b/e"), 0);
    assert_int_equal(kvt_fs_mkdirs(f->fs, "."), 0);
}

static void mkdirs_stops_at_a_file_in_the_way(void **state)
{
    struct posix_fixture *f = *state;
    char name[300];

    posix_make(f, "file", "hello");
    assert_int_equal(kvt_fs_mkdirs(f->fs, "file"), -ENOTDIR);
    assert_int_equal(kvt_fs_mkdirs(f->fs, "file/a"), -ENOTDIR);
    assert_int_equal(posix_size(f, "file"), 5);
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = '\0';
    assert_int_equal(kvt_fs_mkdirs(f->fs, name), -ENAMETOOLONG);
}

static void rmdir_takes_empty_directories_only(void **state)
{
    struct posix_fixture *f = *state;

    assert_int_equal(kvt_fs_mkdirs(f->fs, "d"), 0);
    posix_make(f, "d/a", "");
    assert_int_equal(kvt_fs_rmdir(f->fs, "d"), -ENOTEMPTY);
    assert_int_equal(kvt_fs_rmdir(f->fs, "d/a"), -ENOTDIR);
    assert_int_equal(posix_path_op(f, KVT_FS_REMOVE, "d/a"), 0);
    assert_int_equal(kvt_fs_rmdir(f->fs, "d"), 0);
    assert_int_equal(kvt_fs_rmdir(f->fs, "d"), -ENOENT);
}

enum {
    MANY = 1500,
};

struct listing {
    unsigned char seen[MANY];
    size_t count;
    size_t stop_at; /* from 1; 0 = never */
    int answer;
    struct kvt_fs_dirent last;
    char last_name[256];
};

static int note_entry(const struct kvt_fs_dirent *entry, void *arg)
{
    struct listing *listing = arg;

    assert_true(strcmp(entry->name, ".") != 0);
    assert_true(strcmp(entry->name, "..") != 0);
    if (strncmp(entry->name, "file-", 5) == 0) {
        unsigned long number = strtoul(entry->name + 5, NULL, 10);

        assert_true(number < MANY);
        listing->seen[number]++;
        assert_int_equal(entry->type, KVT_FS_TYPE_FILE);
        assert_int_equal(entry->size, number % 3);
    }
    listing->last = *entry;
    snprintf(listing->last_name, sizeof listing->last_name, "%s", entry->name);
    return ++listing->count == listing->stop_at ? listing->answer : 0;
}

static void a_list_has_every_name_once_with_its_size(void **state)
{
    struct posix_fixture *f = *state;
    static struct listing listing;

    memset(&listing, 0, sizeof listing);
    assert_int_equal(kvt_fs_mkdirs(f->fs, "d"), 0);
    for (size_t i = 0; i < MANY; i++) {
        char name[32];

        snprintf(name, sizeof name, "d/file-%zu", i);
        posix_make(f, name, i % 3 == 0 ? "" : i % 3 == 1 ? "x" : "xx");
    }
    assert_int_equal(kvt_fs_list(f->fs, "d", true, note_entry, &listing), 0);
    assert_int_equal(listing.count, MANY);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(listing.seen[i], 1);
    }
}

static void a_list_tells_types_and_times(void **state)
{
    struct posix_fixture *f = *state;
    struct listing listing = {0};
    char path[FILE_PATH_MAX];
    int64_t now_ns = (int64_t)time(NULL) * 1000000000;

    assert_int_equal(kvt_fs_mkdirs(f->fs, "d/sub"), 0);
    for (int sizes = 0; sizes < 2; sizes++) {
        assert_int_equal(
            kvt_fs_list(f->fs, "d", sizes != 0, note_entry, &listing), 0);
        assert_string_equal(listing.last_name, "sub");
        assert_int_equal(listing.last.type, KVT_FS_TYPE_DIRECTORY);
    }
    assert_int_equal(kvt_fs_rmdir(f->fs, "d/sub"), 0);
    assert_int_equal(symlink("x", posix_path(f, "d/link", path)), 0);
    assert_int_equal(kvt_fs_list(f->fs, "d", true, note_entry, &listing), 0);
    assert_int_equal(listing.last.type, KVT_FS_TYPE_OTHER);
    assert_int_equal(posix_path_op(f, KVT_FS_REMOVE, "d/link"), 0);
    posix_make(f, "d/a", "hello");
    assert_int_equal(kvt_fs_list(f->fs, "d", true, note_entry, &listing), 0);
    assert_int_equal(listing.last.size, 5);
    assert_true(listing.last.modified_ns > now_ns - 60 * INT64_C(1000000000));
    assert_true(listing.last.modified_ns < now_ns + 60 * INT64_C(1000000000));
}

static void a_list_stops_when_told_and_returns_that(void **state)
{
    struct posix_fixture *f = *state;
    static const int answers[] = {1, -EUCLEAN, -ENOENT};

    for (int i = 0; i < 10; i++) {
        char name[2] = {(char)('a' + i), '\0'};

        posix_make(f, name, "");
    }
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        struct listing listing = {.stop_at = 4, .answer = answers[i]};

        assert_int_equal(kvt_fs_list(f->fs, ".", true, note_entry, &listing),
                         answers[i]);
        assert_int_equal(listing.count, 4);
    }
}

static void only_a_directory_can_be_listed(void **state)
{
    struct posix_fixture *f = *state;
    struct listing listing = {0};

    posix_make(f, "a", "");
    assert_int_equal(kvt_fs_list(f->fs, "a", true, note_entry, &listing),
                     -ENOTDIR);
    assert_int_equal(kvt_fs_list(f->fs, "none", true, note_entry, &listing),
                     -ENOENT);
    assert_int_equal(listing.count, 0);
}

static void rename_replaces_only_when_asked(void **state)
{
    struct posix_fixture *f = *state;

    posix_make(f, "a", "a");
    posix_make(f, "b", "bb");
    assert_int_equal(kvt_fs_rename(f->fs, "a", "b", false), -EEXIST);
    assert_int_equal(posix_size(f, "a"), 1);
    assert_int_equal(posix_size(f, "b"), 2);
    assert_int_equal(kvt_fs_rename(f->fs, "a", "b", true), 0);
    assert_int_equal(posix_size(f, "b"), 1);
    assert_int_equal(posix_path_op(f, KVT_FS_STAT, "a"), -ENOENT);
    assert_int_equal(kvt_fs_rename(f->fs, "b", "c", false), 0);
    assert_int_equal(posix_size(f, "c"), 1);
    assert_int_equal(kvt_fs_rename(f->fs, "none", "d", true), -ENOENT);
    assert_int_equal(kvt_fs_rename(f->fs, "c", "d/c", true), -ENOENT);
    assert_int_equal(posix_size(f, "c"), 1);
}

static void paths_cannot_leave_the_root(void **state)
{
    static const char *const outside[] = {
        "",     "..",     "../x",  "/",      "/tmp",
        "a/..", "a/../b", "a//..", "./../x", "a/b/../../..",
    };
    static const char *const inside[] = {"...", "..a", "a..", "a/..b", "b/.c"};
    struct posix_fixture *f = *state;
    struct listing listing = {0};
    char owner[16];
    struct kvt_fs_lock *lock;

    posix_make(f, "file", "");
    for (size_t i = 0; i < COUNT_OF(outside); i++) {
        const char *path = outside[i];

        assert_int_equal(kvt_fs_mkdirs(f->fs, path), -EINVAL);
        assert_int_equal(kvt_fs_rmdir(f->fs, path), -EINVAL);
        assert_int_equal(kvt_fs_rename(f->fs, path, "x", true), -EINVAL);
        assert_int_equal(kvt_fs_rename(f->fs, "file", path, true), -EINVAL);
        assert_int_equal(kvt_fs_list(f->fs, path, false, note_entry, &listing),
                         -EINVAL);
        assert_int_equal(
            kvt_fs_lock(f->fs, path, "me", owner, sizeof owner, &lock),
            -EINVAL);
    }
    for (size_t i = 0; i < COUNT_OF(inside); i++) {
        assert_int_equal(kvt_fs_mkdirs(f->fs, inside[i]), 0);
    }
    assert_int_equal(listing.count, 0);
}

/* Whole files, mounts, descriptors -----------------------------------------*/

static void publish_and_fetch_move_a_whole_file(void **state)
{
    struct posix_fixture *f = *state;
    char bytes[5] = "hello";
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    struct kvt_fs_elem elem = {.op = KVT_FS_PUBLISH,
                               .flags = KVT_FS_DURABLE | KVT_FS_IF_ABSENT,
                               .path = "d/a",
                               .temp_path = "t/1",
                               .slices = &slice,
                               .slice_count = 1};

    assert_int_equal(kvt_fs_run(f->fs, &elem), 5);
    assert_int_equal(kvt_fs_run(f->fs, &elem), -EEXIST);
    assert_int_equal(posix_path_op(f, KVT_FS_STAT, "t/1"), -ENOENT);
    memset(bytes, 0, sizeof bytes);
    elem.op = KVT_FS_FETCH;
    elem.flags = KVT_FS_WANT_SIZE;
    assert_int_equal(kvt_fs_run(f->fs, &elem), 5);
    assert_int_equal(elem.file_size, 5);
    assert_memory_equal(bytes, "hello", 5);
}

static void usage_tells_capacity_and_what_is_left(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_fs_usage usage = {0, 0};

    assert_int_equal(kvt_fs_usage(f->fs, &usage), 0);
    assert_true(usage.available > 0);
    assert_true(usage.capacity >= usage.available);
    assert_int_equal(kvt_fs_probe(f->fs), 0);
}

static void a_mount_makes_missing_directories(void **state)
{
    struct posix_fixture *f = *state;
    char path[FILE_PATH_MAX];
    struct kvt_fs_mount_args args = {
        .size = sizeof args, .config = f->config, .read_only = true};
    struct kvt_fs *fs = NULL;
    struct kvt_error err;

    args.root = posix_path(f, "deep/er", path);
    assert_int_equal(kvt_fs_mount("posix", &args, &fs, &err),
                     KVT_ERR_FILE_NOT_FOUND);
    assert_int_equal(err.errnum, ENOENT);
    assert_string_equal(err.subject, path);
    assert_string_not_equal(err.remedy, "");
    assert_int_equal(posix_path_op(f, KVT_FS_STAT, "deep"), -ENOENT);
    args.read_only = false;
    assert_int_equal(kvt_fs_mount("posix", &args, &fs, &err), KVT_OK);
    assert_string_equal(kvt_fs_name(fs), "posix");
    kvt_fs_unmount(fs);
    assert_int_equal(posix_path_op(f, KVT_FS_STAT, "deep/er"), -EISDIR);
}

static void a_file_cannot_be_mounted(void **state)
{
    struct posix_fixture *f = *state;
    char path[FILE_PATH_MAX];
    struct kvt_fs_mount_args args = {.size = sizeof args, .config = f->config};
    struct kvt_fs *fs = NULL;
    struct kvt_error err;

    posix_make(f, "file", "hello");
    args.root = posix_path(f, "file", path);
    for (int read_only = 0; read_only < 2; read_only++) {
        args.read_only = read_only != 0;
        assert_int_equal(kvt_fs_mount("posix", &args, &fs, &err),
                         KVT_ERR_FILE_OPEN_FAIL);
        assert_int_equal(err.errnum, ENOTDIR);
    }
    assert_null(fs);
}

static void a_mount_follows_its_directory_when_that_is_renamed(void **state)
{
    struct posix_fixture *f = *state;
    char moved[FILE_PATH_MAX];

    posix_make(f, "a", "hello");
    snprintf(moved, sizeof moved, "%s-moved", f->path);
    assert_int_equal(rename(f->path, moved), 0);
    assert_int_equal(posix_size(f, "a"), 5);
    posix_make_via_mount(f, "b", "x");
    assert_int_equal(rename(moved, f->path), 0);
    assert_int_equal(posix_size(f, "b"), 1);
}

static void too_many_open_files_is_emfile(void **state)
{
    struct posix_fixture *f = *state;
    struct listing listing = {0};
    struct rlimit limit;
    struct rlimit none;
    struct kvt_fs_file *file = NULL;
    struct kvt_fs_lock *lock = NULL;
    char owner[16];
    int64_t rc[6];

    posix_make(f, "a", "hello");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    rc[0] = posix_open(f, "a", 0, &file);
    rc[1] = posix_path_op(f, KVT_FS_FETCH, "a");
    rc[2] = posix_path_op(f, KVT_FS_SYNC, ".");
    rc[3] = kvt_fs_list(f->fs, ".", true, note_entry, &listing);
    rc[4] = kvt_fs_lock(f->fs, "lock", "me", owner, sizeof owner, &lock);
    rc[5] = posix_path_op(f, KVT_FS_STAT, "a"); /* needs none */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(rc[i], -EMFILE);
    }
    assert_int_equal(rc[5], 0);
    /* and nothing of that lasts */
    assert_int_equal(posix_path_op(f, KVT_FS_FETCH, "a"), 5);
}

#define CASE(name)                                                             \
    cmocka_unit_test_setup_teardown(name, posix_setup, posix_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(bytes_come_back_at_odd_sizes_and_offsets),
        CASE(thousands_of_pieces_go_in_one_transfer),
        CASE(slices_of_nothing_move_nothing),
        CASE(a_read_ends_with_the_file),
        CASE(offsets_above_4_gib_are_not_cut),
        CASE(an_offset_that_no_file_has_is_an_error),
        CASE(a_file_opened_to_read_cannot_be_written),
        CASE(a_punched_hole_reads_as_zeros),
        CASE(files_and_directories_can_be_synced),
        CASE(exclusive_refuses_a_file_that_exists),
        CASE(open_tells_the_size_when_asked),
        CASE(a_directory_is_no_file),
        CASE(a_fifo_is_no_file),
        CASE(a_symbolic_link_is_not_followed),
        CASE(stat_tells_size_or_enoent),
        CASE(remove_takes_the_name_and_readers_keep_the_bytes),
        CASE(names_may_have_255_bytes),
        CASE(mkdirs_makes_parents_and_accepts_what_is_there),
        CASE(mkdirs_stops_at_a_file_in_the_way),
        CASE(rmdir_takes_empty_directories_only),
        CASE(a_list_has_every_name_once_with_its_size),
        CASE(a_list_tells_types_and_times),
        CASE(a_list_stops_when_told_and_returns_that),
        CASE(only_a_directory_can_be_listed),
        CASE(rename_replaces_only_when_asked),
        CASE(paths_cannot_leave_the_root),
        CASE(publish_and_fetch_move_a_whole_file),
        CASE(usage_tells_capacity_and_what_is_left),
        CASE(a_mount_makes_missing_directories),
        CASE(a_file_cannot_be_mounted),
        CASE(a_mount_follows_its_directory_when_that_is_renamed),
        CASE(too_many_open_files_is_emfile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
