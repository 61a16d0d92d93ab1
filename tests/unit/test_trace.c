/* The trace wrapper: what stands in its file. */
#include "mount_fixture.h"

#include <errno.h>
#include <pthread.h>

static struct kvt_fs *start(struct mounted *m, const char *name)
{
    char file[600];
    snprintf(file, sizeof file, "%s/trace", m->top);
    mounted_set(m, "trace.file", file);
    return mounted_start(m, name);
}

/* Unmounts and returns all lines (free with free). */
static char *stop_and_read(struct mounted *m)
{
    char file[600];
    size_t size;
    mounted_stop(m);
    snprintf(file, sizeof file, "%s/trace", m->top);
    unsigned char *bytes = file_read(file, &size);
    char *text = realloc(bytes, size + 1);
    assert_non_null(text);
    text[size] = '\0';
    return text;
}

/* The number behind `"name":` in the line, which must have it. */
static long long field(const char *line, const char *name)
{
    char quoted[32];
    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    const char *at = strstr(line, quoted);
    const char *end = strchr(line, '\n');
    if (at == NULL || end == NULL || at > end) {
        fail_msg("no %s in %s", name, line);
        return 0;
    }
    return strtoll(at + strlen(quoted), NULL, 10);
}

/* The next line starts as given; moves on to the one behind it. Looks at a
 * copy: under the address sanitizer a search costs what is behind it, too. */
static const char *expect_line(const char *text, const char *start_of_it,
                               long long offset, long long size,
                               long long result)
{
    static char line[64 << 10];
    const char *end = memchr(text, '\n', sizeof line);
    assert_non_null(end);
    assert_true((size_t)(end - text) + 1 < sizeof line);
    memcpy(line, text, (size_t)(end - text) + 1);
    line[end - text + 1] = '\0';
    if (strncmp(line, start_of_it, strlen(start_of_it)) != 0) {
        fail_msg("expected %s, found %s", start_of_it, line);
    }
    assert_int_equal(field(line, "offset"), offset);
    assert_int_equal(field(line, "size"), size);
    assert_int_equal(field(line, "result"), result);
    assert_true(field(line, "ns") >= 0);
    assert_true(end[-1] == '}');
    return end + 1;
}

static int no_name(const struct kvt_fs_dirent *entry, void *arg)
{
    (void)entry;
    (void)arg;
    return 0;
}

static void each_call_is_a_line(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs *fs = start(m, "trace:posix");
    struct kvt_fs_file *file;
    char text[16];
    do_publish(fs, "d/f", "hello", 0);
    do_fetch(fs, "d/f", text, sizeof text);
    do_open(fs, "d/f", KVT_FS_FOR_WRITE, &file);
    do_write(fs, file, 3, "xyz", 3);
    do_read(fs, file, 4, text, sizeof text);
    do_file(fs, KVT_FS_DATASYNC, file);
    kvt_fs_truncate(fs, file, 2);
    do_file(fs, KVT_FS_CLOSE, file);
    do_path(fs, KVT_FS_STAT, "none");
    do_path(fs, KVT_FS_SYNC, "d");
    kvt_fs_rename(fs, "d/f", "d/g", false);
    kvt_fs_list(fs, "d", false, no_name, NULL);
    do_path(fs, KVT_FS_REMOVE, "d/g");
    kvt_fs_mkdirs(fs, "e/f");
    kvt_fs_rmdir(fs, "d");

    char *lines = stop_and_read(m);
    const char *at = lines;
    at = expect_line(at, "{\"op\":\"publish\",\"path\":\"d/f\",", 0, 5, 5);
    at = expect_line(at, "{\"op\":\"fetch\",\"path\":\"d/f\",", 0, 15, 5);
    at = expect_line(at, "{\"op\":\"open\",\"path\":\"d/f\",", 0, 0, 0);
    at = expect_line(at, "{\"op\":\"write\",\"path\":\"d/f\",", 3, 3, 3);
    at = expect_line(at, "{\"op\":\"read\",\"path\":\"d/f\",", 4, 16, 2);
    at = expect_line(at, "{\"op\":\"datasync\",\"path\":\"d/f\",", 0, 0, 0);
    at = expect_line(at, "{\"op\":\"truncate\",\"path\":\"d/f\",", 0, 2, 0);
    at = expect_line(at, "{\"op\":\"close\",\"path\":\"d/f\",", 0, 0, 0);
    at = expect_line(at, "{\"op\":\"stat\",\"path\":\"none\",", 0, 0, -ENOENT);
    at = expect_line(at, "{\"op\":\"sync\",\"path\":\"d\",", 0, 0, 0);
    at = expect_line(at, "{\"op\":\"rename\",\"path\":\"d/f\",\"to\":\"d/g\",",
                     0, 0, 0);
    at = expect_line(at, "{\"op\":\"list\",\"path\":\"d\",", 0, 0, 0);
    at = expect_line(at, "{\"op\":\"remove\",\"path\":\"d/g\",", 0, 0, 0);
    at = expect_line(at, "{\"op\":\"mkdirs\",\"path\":\"e/f\",", 0, 0, 0);
    at = expect_line(at, "{\"op\":\"rmdir\",\"path\":\"d\",", 0, 0, 0);
    assert_string_equal(at, "");
    free(lines);
}

static void inside_is_seen_where_it_stands(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs *fs = start(m, "fault:trace:posix");
    do_publish(fs, "f", "hello", 0);
    char *lines = stop_and_read(m);
    const char *at = lines;
    at = expect_line(at, "{\"op\":\"open\",\"path\":\"temp\",", 0, 0, 0);
    at = expect_line(at, "{\"op\":\"write\",\"path\":\"temp\",", 0, 5, 5);
    at = expect_line(at, "{\"op\":\"close\",\"path\":\"temp\",", 0, 0, 0);
    at = expect_line(at, "{\"op\":\"rename\",\"path\":\"temp\",\"to\":\"f\",",
                     0, 0, 0);
    assert_string_equal(at, "");
    free(lines);
}

static void paths_are_json_strings(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs *fs = start(m, "trace:posix");
    do_path(fs, KVT_FS_STAT, "a\"b\\c\n\x7f\xc3\xa4");
    char *lines = stop_and_read(m);
    expect_line(lines,
                "{\"op\":\"stat\",\"path\":"
                "\"a\\\"b\\\\c\\u000a\\u007f\\u00c3\\u00a4\",",
                0, 0, -ENOENT);
    free(lines);
}

static void the_longest_path_fits(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs *fs = start(m, "trace:posix");
    static char path[KVT_KEY_SIZE_MAX];
    memset(path, '\x01', sizeof path - 1);
    for (int i = 0; i < 8; i++) {
        kvt_fs_rename(fs, path, path, true);
    }
    char *lines = stop_and_read(m);
    const char *at = lines;
    for (int i = 0; i < 8; i++) {
        at = expect_line(at, "{\"op\":\"rename\"", 0, 0, -ENAMETOOLONG);
    }
    assert_string_equal(at, "");
    free(lines);
}

static void *look_often(void *arg)
{
    for (int i = 0; i < 2000; i++) {
        do_path(arg, KVT_FS_STAT, "some/longer/path/to/fill/the/buffer");
    }
    return NULL;
}

static void lines_of_many_threads_stay_whole(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs *fs = start(m, "trace:posix");
    pthread_t threads[4];
    size_t count = 0;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, look_often, fs), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    char *lines = stop_and_read(m);
    for (const char *at = lines; *at != '\0'; count++) {
        at =
            expect_line(at, "{\"op\":\"stat\",\"path\":\"some/", 0, 0, -ENOENT);
    }
    assert_int_equal(count, 4 * 2000);
    free(lines);
}

static void a_trace_goes_on_where_it_was(void **state)
{
    struct mounted *m = *state;
    do_path(start(m, "trace:posix"), KVT_FS_STAT, "a");
    mounted_stop(m);
    do_path(start(m, "trace:posix"), KVT_FS_STAT, "b");
    char *lines = stop_and_read(m);
    const char *at =
        expect_line(lines, "{\"op\":\"stat\",\"path\":\"a\",", 0, 0, -ENOENT);
    at = expect_line(at, "{\"op\":\"stat\",\"path\":\"b\",", 0, 0, -ENOENT);
    assert_string_equal(at, "");
    free(lines);
}

static void a_missing_file_is_an_error_that_names_the_key(void **state)
{
    struct mounted *m = *state;
    struct kvt_error err;
    size_t before = open_descriptors();
    assert_int_equal(mounted_try(m, "trace:posix", &err),
                     KVT_ERR_INVALID_PARAMS);
    assert_string_equal(err.subject, "trace.file");
    assert_non_null(strstr(err.message, "trace.file"));
    assert_non_null(strstr(err.remedy, "trace.file"));

    mounted_set(m, "trace.file", "/nonexistent/trace");
    assert_int_equal(mounted_try(m, "trace:posix", &err),
                     KVT_ERR_FILE_OPEN_FAIL);
    assert_int_equal(err.errnum, ENOENT);
    assert_non_null(strstr(err.message, "/nonexistent/trace"));
    assert_null(m->fs);
    assert_int_equal(open_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        mount_test(each_call_is_a_line),
        mount_test(inside_is_seen_where_it_stands),
        mount_test(paths_are_json_strings),
        mount_test(the_longest_path_fits),
        mount_test(lines_of_many_threads_stay_whole),
        mount_test(a_trace_goes_on_where_it_was),
        mount_test(a_missing_file_is_an_error_that_names_the_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
