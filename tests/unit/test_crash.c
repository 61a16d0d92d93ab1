/* The crash wrapper: which trees a power loss may leave. A tree is written
 * here as a text, "f=abc g=", names in order; `?` for a byte that is 0. */
#include "mount_fixture.h"

#include "fs/crash.h"

#include <errno.h>
#include <sys/stat.h>

static void put_file(const char *path, const char *name, char *text,
                     size_t room)
{
    size_t size;
    unsigned char *bytes = file_read(path, &size);
    size_t at = strlen(text);
    at += (size_t)snprintf(text + at, room - at, "%s=", name);
    for (size_t i = 0; i < size && at + 2 < room; i++) {
        bool run = i >= 8 && bytes[i] == bytes[i - 1]; /* long files */
        if (!run) {
            text[at++] = bytes[i] != 0 ? (char)bytes[i] : '?';
        }
    }
    text[at++] = ' ';
    text[at] = '\0';
    free(bytes);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void put_tree(const char *path, const char *prefix, char *text,
                     size_t room)
{
    char *names[32];
    size_t count = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            assert_true(count < 32);
            names[count++] = strdup(entry->d_name);
        }
    }
    closedir(dir);
    qsort(names, count, sizeof names[0], by_name);
    for (size_t i = 0; i < count; i++) {
        char below[2048];
        char name[1024];
        struct stat st;
        snprintf(below, sizeof below, "%s/%s", path, names[i]);
        snprintf(name, sizeof name, "%s%s", prefix, names[i]);
        assert_int_equal(stat(below, &st), 0);
        if (S_ISDIR(st.st_mode)) {
            size_t at = strlen(text);
            snprintf(text + at, room - at, "%s/ ", name);
            strcat(name, "/");
            put_tree(below, name, text, room);
        } else {
            put_file(below, name, text, room);
        }
        free(names[i]);
    }
}

static void tree_of(struct mounted *m, uint64_t position, size_t state,
                    char *text, size_t room)
{
    char path[600];
    snprintf(path, sizeof path, "%s/state", m->top);
    assert_int_equal(kvt_crash_make_state(m->fs, position, state, path), 0);
    text[0] = '\0';
    put_tree(path, "", text, room);
    remove_tree(path);
}

/* Every state of now is one of `expected` (null ends them), each is met. */
static void expect_states(struct mounted *m, const char *const *expected)
{
    uint64_t position = kvt_crash_position(m->fs);
    size_t count = kvt_crash_state_count(m->fs, position);
    bool met[64] = {false};
    size_t expected_count = 0;
    while (expected[expected_count] != NULL) {
        expected_count++;
    }
    assert_true(count > 0);
    for (size_t state = 0; state < count; state++) {
        char text[4096];
        tree_of(m, position, state, text, sizeof text);
        size_t i = 0;
        while (i < expected_count && strcmp(expected[i], text) != 0) {
            i++;
        }
        if (i == expected_count) {
            char lost[2048];
            kvt_crash_describe(m->fs, position, state, lost, sizeof lost);
            fail_msg("state %zu is \"%s\"; %s", state, text, lost);
        }
        met[i] = true;
    }
    for (size_t i = 0; i < expected_count; i++) {
        if (!met[i]) {
            fail_msg("no state is \"%s\"", expected[i]);
        }
    }
}
#define EXPECT_STATES(m, ...)                                                  \
    expect_states(m, (const char *const[]){__VA_ARGS__, NULL})

static struct kvt_fs_file *create(struct kvt_fs *fs, const char *path)
{
    struct kvt_fs_file *file;
    assert_int_equal(do_open(fs, path, KVT_FS_FOR_WRITE | KVT_FS_CREATE, &file),
                     0);
    return file;
}

static void nothing_done_nothing_lost(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs *fs = mounted_start(m, "crash:posix");
    assert_int_equal(kvt_crash_position(fs), kvt_crash_start(fs));
    EXPECT_STATES(m, "");
    assert_int_equal(do_path(fs, KVT_FS_STAT, "none"), -ENOENT);
    assert_int_equal(do_path(fs, KVT_FS_REMOVE, "none"), -ENOENT);
    assert_int_equal(kvt_crash_position(fs), kvt_crash_start(fs));
}

static void what_was_there_before_stays(void **state)
{
    struct mounted *m = *state;
    do_publish(mounted_start(m, "posix"), "d/f", "abc", 0);
    mounted_stop(m);
    mounted_start(m, "crash:posix");
    assert_true(kvt_crash_start(m->fs) > 0);
    EXPECT_STATES(m, "d/ d/f=abc ");
    do_path(m->fs, KVT_FS_REMOVE, "d/f");
    EXPECT_STATES(m, "d/ d/f=abc ", "d/ ");
    do_path(m->fs, KVT_FS_SYNC, "d");
    EXPECT_STATES(m, "d/ ");
}

static void a_new_file_may_lose_name_and_bytes(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs *fs = mounted_start(m, "crash:posix");
    struct kvt_fs_file *file = create(fs, "f");
    EXPECT_STATES(m, "", "f= ");
    assert_int_equal(do_write(fs, file, 0, "abc", 3), 3);
    EXPECT_STATES(m, "", "f= ", "f=abc ", "f=??? ");
    assert_int_equal(do_file(fs, KVT_FS_DATASYNC, file), 0);
    EXPECT_STATES(m, "", "f=abc ");
    assert_int_equal(do_path(fs, KVT_FS_SYNC, "."), 0);
    EXPECT_STATES(m, "f=abc ");
    assert_int_equal(do_write(fs, file, 1, "xyz", 3), 3);
    EXPECT_STATES(m, "f=abc ", "f=axyz ", "f=abc? ");
    assert_int_equal(kvt_fs_truncate(fs, file, 1), 0);
    EXPECT_STATES(m, "f=abc ", "f=axyz ", "f=a ", "f=abc? ");
    assert_int_equal(do_file(fs, KVT_FS_CLOSE, file), 0);
    /* a close syncs nothing */
    EXPECT_STATES(m, "f=abc ", "f=axyz ", "f=a ", "f=abc? ");
}

static void a_name_without_its_directory_is_gone(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs *fs = mounted_start(m, "crash:posix");
    assert_int_equal(kvt_fs_mkdirs(fs, "a/b"), 0);
    struct kvt_fs_file *file = create(fs, "a/b/f");
    do_file(fs, KVT_FS_CLOSE, file);
    assert_int_equal(do_path(fs, KVT_FS_SYNC, "a/b"), 0);
    EXPECT_STATES(m, "", "a/ ", "a/ a/b/ a/b/f= ");
    assert_int_equal(do_path(fs, KVT_FS_SYNC, "."), 0);
    EXPECT_STATES(m, "a/ ", "a/ a/b/ a/b/f= ");
    assert_int_equal(do_path(fs, KVT_FS_SYNC, "a"), 0);
    EXPECT_STATES(m, "a/ a/b/ a/b/f= ");
}

static void a_rename_happens_or_not(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs *fs = mounted_start(m, "posix");
    assert_int_equal(do_publish(fs, "d/old", "1", 0), 1);
    assert_int_equal(do_publish(fs, "e/new", "2", 0), 1);
    mounted_stop(m);
    fs = mounted_start(m, "crash:posix");
    assert_int_equal(kvt_fs_rename(fs, "e/new", "d/old", true), 0);
    EXPECT_STATES(m, "d/ d/old=1 e/ e/new=2 ", "d/ d/old=2 e/ ");
    /* the sync of one directory settles both names */
    assert_int_equal(do_path(fs, KVT_FS_SYNC, "d"), 0);
    EXPECT_STATES(m, "d/ d/old=2 e/ ");
}

static void a_sync_takes_along_what_the_name_was_before(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs *fs = mounted_start(m, "crash:posix");
    assert_int_equal(do_publish(fs, "d/f", "1", KVT_FS_DURABLE), 1);
    /* the temporary's creation was never synced, and must not come back */
    EXPECT_STATES(m, "d/ d/f=1 ");
}

/* Of a name in another directory as well: its file cannot be lost while what
 * it became stays. */
static void a_sync_takes_along_what_came_from_elsewhere(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs *fs = mounted_start(m, "posix");
    assert_int_equal(kvt_fs_mkdirs(fs, "d"), 0);
    assert_int_equal(kvt_fs_mkdirs(fs, "e"), 0);
    mounted_stop(m);
    fs = mounted_start(m, "crash:posix");
    do_file(fs, KVT_FS_CLOSE, create(fs, "e/a"));
    assert_int_equal(do_path(fs, KVT_FS_SYNC, "e"), 0);
    assert_int_equal(kvt_fs_rename(fs, "e/a", "e/b", true), 0);
    assert_int_equal(kvt_fs_rename(fs, "e/b", "d/f", true), 0);
    assert_int_equal(do_path(fs, KVT_FS_SYNC, "d"), 0);
    EXPECT_STATES(m, "d/ d/f= e/ ");
}

static void an_undurable_publish_may_be_empty(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs *fs = mounted_start(m, "crash:posix");
    assert_int_equal(do_publish(fs, "f", "1", 0), 1);
    EXPECT_STATES(m, "", "temp= ", "temp=1 ", "f= ", "f=1 ", "temp=? ", "f=? ");
}

static void sectors_of_a_write_tear(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs *fs = mounted_start(m, "crash:posix");
    static char bytes[2048];
    struct kvt_fs_file *file = create(fs, "f");
    memset(bytes, 'a', sizeof bytes);
    assert_int_equal(do_write(fs, file, 0, bytes, sizeof bytes), 2048);
    assert_int_equal(do_file(fs, KVT_FS_SYNC, file), 0);
    assert_int_equal(do_path(fs, KVT_FS_SYNC, "."), 0);
    memset(bytes, 'b', sizeof bytes);
    assert_int_equal(do_write(fs, file, 0, bytes, sizeof bytes), 2048);
    uint64_t position = kvt_crash_position(fs);
    size_t count = kvt_crash_state_count(fs, position);
    size_t torn = 0;
    char path[600];
    snprintf(path, sizeof path, "%s/state", m->top);
    for (size_t i = 0; i < count; i++) {
        char name[700];
        size_t size;
        assert_int_equal(kvt_crash_make_state(fs, position, i, path), 0);
        snprintf(name, sizeof name, "%s/f", path);
        unsigned char *got = file_read(name, &size);
        assert_int_equal(size, 2048);
        for (size_t at = 0; at < size; at++) {
            assert_true(got[at] == 'a' || got[at] == 'b');
            assert_int_equal(got[at], got[at - at % 512]);
        }
        torn += memcmp(got, got + 512, 1536) != 0;
        free(got);
        remove_tree(path);
    }
    assert_true(torn >= 4);
    do_file(fs, KVT_FS_CLOSE, file);
}

static void links_and_punches_are_operations(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs *fs = mounted_start(m, "crash:posix");
    assert_int_equal(do_publish(fs, "f", "abcd", KVT_FS_DURABLE), 4);
    assert_int_equal(kvt_fs_link(fs, "f", "g"), 0);
    EXPECT_STATES(m, "f=abcd ", "f=abcd g=abcd ");
    assert_int_equal(do_path(fs, KVT_FS_SYNC, "."), 0);
    struct kvt_fs_file *file;
    assert_int_equal(do_open(fs, "g", KVT_FS_FOR_WRITE, &file), 0);
    struct kvt_fs_elem punch = {
        .op = KVT_FS_PUNCH, .file = file, .offset = 1, .length = 2};
    assert_int_equal(kvt_fs_run(fs, &punch), 0);
    EXPECT_STATES(m, "f=abcd g=abcd ", "f=a??d g=a??d ");
    do_file(fs, KVT_FS_CLOSE, file);
}

/* Above eight operations: prefixes, one missing, some by chance. */
static void many_operations_are_sampled(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs *fs = mounted_start(m, "crash:posix");
    for (int i = 0; i < 8; i++) {
        char path[16];
        snprintf(path, sizeof path, "d%d", i);
        assert_int_equal(kvt_fs_mkdirs(fs, path), 0);
    }
    uint64_t position = kvt_crash_position(fs);
    assert_int_equal(kvt_crash_state_count(fs, position), 256);
    assert_int_equal(kvt_fs_mkdirs(fs, "d8"), 0);
    position = kvt_crash_position(fs);
    assert_int_equal(kvt_crash_state_count(fs, position), 10 + 9 + 64);
    char text[512];
    tree_of(m, position, 0, text, sizeof text);
    assert_string_equal(text, "");
    tree_of(m, position, 9, text, sizeof text);
    assert_string_equal(text, "d0/ d1/ d2/ d3/ d4/ d5/ d6/ d7/ d8/ ");
    tree_of(m, position, 10, text, sizeof text);
    assert_string_equal(text, "d1/ d2/ d3/ d4/ d5/ d6/ d7/ d8/ ");
    /* earlier moments can still be asked for */
    assert_int_equal(kvt_crash_state_count(fs, position - 8), 2);
    assert_int_equal(kvt_crash_state_count(fs, position + 1), 0);
    assert_int_equal(kvt_crash_make_state(fs, position + 1, 0, m->top),
                     -EINVAL);
}

static void what_failed_changed_nothing(void **state)
{
    struct mounted *m = *state;
    mounted_set(m, "fault.rules",
                "sync,do=EIO;mkdir,nth=2,do=ENOSPC;rename,do=EIO");
    struct kvt_fs *fs = mounted_start(m, "crash:fault:posix");
    assert_int_equal(kvt_fs_mkdirs(fs, "d"), 0);
    assert_int_equal(kvt_fs_mkdirs(fs, "e"), -ENOSPC);
    assert_int_equal(do_path(fs, KVT_FS_SYNC, "."), -EIO);
    EXPECT_STATES(m, "", "d/ ");
    assert_int_equal(kvt_fs_rename(fs, "d", "f", true), -EIO);
    EXPECT_STATES(m, "", "d/ ");
}

static bool is_torn(const char *path, const char *name)
{
    char file[1300];
    size_t size;
    snprintf(file, sizeof file, "%s/%s", path, name);
    unsigned char *got = file_read(file, &size);
    assert_int_equal(size, 2048);
    bool torn = memcmp(got, got + 512, 1536) != 0;
    free(got);
    return torn;
}

/* One write is torn in some states, and several at once in others. */
static void several_writes_tear_at_once(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs *fs = mounted_start(m, "crash:posix");
    static char bytes[2048];
    static const char *const names[] = {"f", "g"};
    char path[600];
    size_t torn[3] = {0};
    for (size_t i = 0; i < 2; i++) {
        struct kvt_fs_file *file = create(fs, names[i]);
        memset(bytes, 'a', sizeof bytes);
        assert_int_equal(do_write(fs, file, 0, bytes, sizeof bytes), 2048);
        assert_int_equal(do_file(fs, KVT_FS_SYNC, file), 0);
        assert_int_equal(do_path(fs, KVT_FS_SYNC, "."), 0);
        memset(bytes, 'b', sizeof bytes);
        assert_int_equal(do_write(fs, file, 0, bytes, sizeof bytes), 2048);
        do_file(fs, KVT_FS_CLOSE, file);
    }
    snprintf(path, sizeof path, "%s/state", m->top);
    uint64_t position = kvt_crash_position(fs);
    size_t count = kvt_crash_state_count(fs, position);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(kvt_crash_make_state(fs, position, i, path), 0);
        torn[is_torn(path, "f") + is_torn(path, "g")]++;
        remove_tree(path);
    }
    assert_true(torn[0] > 0);
    assert_true(torn[1] > 0);
    assert_true(torn[2] > 0);
    char text[64] = "#";
    kvt_crash_describe(fs, position + 1, 0, text, sizeof text); /* none */
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        mount_test(nothing_done_nothing_lost),
        mount_test(what_was_there_before_stays),
        mount_test(a_new_file_may_lose_name_and_bytes),
        mount_test(a_name_without_its_directory_is_gone),
        mount_test(a_rename_happens_or_not),
        mount_test(a_sync_takes_along_what_the_name_was_before),
        mount_test(a_sync_takes_along_what_came_from_elsewhere),
        mount_test(an_undurable_publish_may_be_empty),
        mount_test(sectors_of_a_write_tear),
        mount_test(links_and_punches_are_operations),
        mount_test(many_operations_are_sampled),
        mount_test(what_failed_changed_nothing),
        mount_test(several_writes_tear_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
