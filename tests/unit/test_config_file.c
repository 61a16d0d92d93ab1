#include "unit/config_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[] = "/tmp/kvt-config-XXXXXX";
static char file_path[64];
static char file_source[80];

static void write_bytes(const char *text, size_t size)
{
    FILE *file = fopen(file_path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void load(struct kvt_config *config, const char *text)
{
    struct kvt_error err = {0};

    write_bytes(text, strlen(text));
    if (kvt_config_load_file(config, file_path, &err) != KVT_OK) {
        fail_msg("%s: %s", err.subject, err.message);
    }
}

/* Refused as a whole, with the file and the line in the message. */
static void refuse_bytes(struct kvt_config *config, const char *text,
                         size_t size, unsigned line, struct kvt_error *err)
{
    char place[32];

    write_bytes(text, size);
    memset(err, 0, sizeof(*err));
    assert_int_equal(kvt_config_load_file(config, file_path, err),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(err->code, KVT_ERR_INVALID_PARAMS);
    snprintf(place, sizeof(place), "line %u", line);
    if (strstr(err->message, file_path) == NULL ||
        strstr(err->message, place) == NULL) {
        fail_msg("no `%s` in: %s", place, err->message);
    }
    assert_string_not_equal(err->subject, "");
    assert_string_not_equal(err->remedy, "");
    fixture_expect(config, "threads", "16", "default");
}

static void refuse(struct kvt_config *config, const char *text, unsigned line,
                   struct kvt_error *err)
{
    refuse_bytes(config, text, strlen(text), line, err);
}

static void keys_and_sections_are_read(void **state)
{
    load(*state, "# a comment\n"
                 "; another\n"
                 "\n"
                 "path = /data/kv\n"
                 "bucket.keys_limit=7\n"
                 "[distributed]\n"
                 "path = /shared   \n"
                 "  fs = hf3fs\n"
                 "\thealth_check = on ; said aloud\n"
                 "[watermark] ; comment\n"
                 "high = 0.7\r\n"
                 "low = 0.6\n"
                 "[cephfs.option]\n"
                 "mon_host = a\n"
                 "[fault]\n"
                 "rules = read,nth=3,do=EIO;write,every=2,short=1");
    fixture_expect(*state, "path", "/data/kv", file_source);
    fixture_expect(*state, "bucket.keys_limit", "7", file_source);
    fixture_expect(*state, "distributed.path", "/shared", file_source);
    fixture_expect(*state, "distributed.fs", "hf3fs", file_source);
    fixture_expect(*state, "distributed.health_check", "on", file_source);
    fixture_expect(*state, "watermark.high", "0.7", file_source);
    fixture_expect(*state, "watermark.low", "0.6", file_source);
    fixture_expect(*state, "cephfs.option.mon_host", "a", file_source);
    fixture_expect(*state, "fault.rules",
                   "read,nth=3,do=EIO;write,every=2,short=1", file_source);
    fixture_expect(*state, "threads", "16", "default");
}

static void an_empty_file_changes_nothing(void **state)
{
    load(*state, "");
    load(*state, "\n\n  \n# only words\n[bucket]\n");
    fixture_expect(*state, "bucket.keys_limit", "500", "default");
}

static void a_byte_order_mark_is_skipped(void **state)
{
    load(*state, "\xef\xbb\xbfthreads = 3\n");
    fixture_expect(*state, "threads", "3", file_source);
}

static void indented_lines_are_settings_of_their_own(void **state)
{
    load(*state, "[bucket]\n"
                 "    size_limit = 1M\n"
                 "    keys_limit = 3\n");
    fixture_expect(*state, "bucket.size_limit", "1048576", file_source);
    fixture_expect(*state, "bucket.keys_limit", "3", file_source);
}

static void a_later_source_wins_whatever_the_order(void **state)
{
    struct kvt_error err;

    setenv("KVTIER_THREADS", "4", 1);
    setenv("MOONCAKE_OFFLOAD_TOTAL_KEYS_LIMIT", "44", 1);
    fixture_set(*state, "path", "/option");
    assert_int_equal(kvt_config_load_env(*state, &err), KVT_OK);
    load(*state, "threads = 3\npath = /file\ntotal_keys_limit = 33\n"
                 "eviction = fifo\n");
    fixture_expect(*state, "threads", "4", "env:KVTIER_THREADS");
    fixture_expect(*state, "path", "/option", "option");
    fixture_expect(*state, "total_keys_limit", "44",
                   "env:MOONCAKE_OFFLOAD_TOTAL_KEYS_LIMIT");
    fixture_expect(*state, "eviction", "fifo", file_source);
}

static void all_five_sources_stand_in_their_order(void **state)
{
    struct kvt_error err;

    fixture_expect(*state, "eviction", "lru", "default");
    load(*state, "eviction = fifo\n");
    fixture_expect(*state, "eviction", "fifo", file_source);
    setenv("MOONCAKE_OFFLOAD_BUCKET_EVICTION_POLICY", "none", 1);
    assert_int_equal(kvt_config_load_env(*state, &err), KVT_OK);
    fixture_expect(*state, "eviction", "none",
                   "env:MOONCAKE_OFFLOAD_BUCKET_EVICTION_POLICY");
    setenv("KVTIER_EVICTION", "fifo", 1);
    assert_int_equal(kvt_config_load_env(*state, &err), KVT_OK);
    fixture_expect(*state, "eviction", "fifo", "env:KVTIER_EVICTION");
    fixture_set(*state, "eviction", "lru");
    fixture_expect(*state, "eviction", "lru", "option");
}

static void a_second_file_wins_over_the_first(void **state)
{
    load(*state, "threads = 3\ncephfs.option.a = 1\n");
    load(*state, "threads = 4\ncephfs.option.a = 2\n");
    fixture_expect(*state, "threads", "4", file_source);
    fixture_expect(*state, "cephfs.option.a", "2", file_source);
}

static void a_fault_anywhere_takes_nothing(void **state)
{
    struct kvt_error err;

    refuse(*state, "threads = 3\nevicton = lru\n", 2, &err);
    assert_string_equal(err.subject, "evicton");
    assert_non_null(strstr(err.remedy, "`eviction`"));
    refuse(*state, "threads = 3\n[bucket]\n\nkeys_limit = -1\n", 4, &err);
    assert_string_equal(err.subject, "bucket.keys_limit");
    assert_non_null(strstr(err.message, "negative"));
    refuse(*state, "threads = 3\nwords\n", 2, &err);
    refuse(*state, "wat = 3\nthreads = 5\n", 1, &err);
    refuse(*state, "threads = 3\n[bucket\nkeys_limit = 3\n", 2, &err);
    refuse(*state, "threads = 3\n[bucket] keys_limit = 3\n", 2, &err);
    refuse(*state, "threads = 3\npath =\n", 2, &err);
    refuse(*state, "threads = 3\n= 4\n", 2, &err);
    refuse(*state, "threads = 3\n[bucket]\nbucket.keys_limit = 3\n", 3, &err);
    refuse(*state, "threads = 3 # three\n", 1, &err);
    refuse(*state, "threads = 3\n[cephfs]\noption.NAME = 3\n", 3, &err);
}

static void a_key_stands_once_in_a_file(void **state)
{
    struct kvt_error err;

    refuse(*state, "threads = 3\nthreads = 3\n", 2, &err);
    assert_non_null(strstr(err.message, "line 1"));
    refuse(*state, "bucket.keys_limit = 3\n\n[bucket]\nkeys_limit = 4\n", 4,
           &err);
    refuse(*state, "cephfs.option.a = 3\ncephfs.option.a = 3\n", 2, &err);
    fixture_set(*state, "eviction", "lru"); /* even where it would not win */
    refuse(*state, "eviction = lru\neviction = lru\n", 2, &err);
    load(*state, "threads = 5\n"); /* nothing is left of the failed ones */
}

static void a_line_that_is_too_long_is_refused_not_cut(void **state)
{
    struct kvt_error err;
    char text[4096];
    size_t longest = 0;

    for (size_t size = 150; size < 400; size++) {
        struct kvt_config *config = kvt_config_open();
        struct kvt_setting setting;

        memcpy(text, "path = /", 8);
        memset(text + 8, 'x', size - 8);
        text[size] = '\n';
        write_bytes(text, size + 1);
        if (kvt_config_load_file(config, file_path, &err) == KVT_OK) {
            kvt_config_get(config, "path", &setting, NULL);
            assert_int_equal(strlen(setting.value), size - 7);
            longest = size;
        } else {
            assert_non_null(strstr(err.message, "line 1"));
            assert_non_null(strstr(err.message, "longer than"));
        }
        kvt_config_close(config);
    }
    assert_true(longest >= 190 && longest < 399);
    memcpy(text, "threads = 5\n", 12);
    memset(text + 12, ' ', 300); /* blanks behind a value are long, too */
    memcpy(text + 12, "eviction = lru", 14);
    text[312] = '\n';
    refuse_bytes(*state, text, 313, 2, &err);
    memset(text + 12, 'x', 300);
    memcpy(text + 12, "# ", 2);
    text[312] = '\0';
    load(*state, text); /* a comment loses nothing */
    fixture_expect(*state, "threads", "5", file_source);
}

static void a_long_section_is_refused_not_cut(void **state)
{
    struct kvt_error err;
    char text[256];

    /* 49 letters are what the parser keeps */
    snprintf(text, sizeof(text), "threads = 3\n[cephfs.option%s]\na = 1\n",
             "........................................");
    refuse(*state, text, 2, &err);
    assert_non_null(strstr(err.message, "so long a name"));
}

static void a_nul_byte_is_refused(void **state)
{
    static const char text[] = "threads = 3\npath = /a\0b\n";
    struct kvt_error err;

    refuse_bytes(*state, text, sizeof(text) - 1, 2, &err);
    assert_non_null(strstr(err.message, "NUL"));
}

static void rules_are_never_cut_at_a_semicolon(void **state)
{
    struct kvt_error err;

    refuse(*state, "threads = 3\n[fault]\nrules = a ; b\n", 3, &err);
    assert_non_null(strstr(err.message, "cut"));
    load(*state, "fault.rules = a; b\n");
    fixture_expect(*state, "fault.rules", "a; b", file_source);
}

static void a_file_that_is_not_there_is_told(void **state)
{
    struct kvt_error err;

    assert_int_equal(kvt_config_load_file(*state, "/nowhere/kvtier.ini", &err),
                     KVT_ERR_FILE_NOT_FOUND);
    assert_int_equal(err.errnum, ENOENT);
    assert_string_equal(err.subject, "/nowhere/kvtier.ini");
    assert_non_null(strstr(err.message, "/nowhere/kvtier.ini"));
    assert_int_equal(kvt_config_load_file(*state, directory, &err),
                     KVT_ERR_FILE_READ_FAIL);
    assert_int_equal(err.errnum, EISDIR);
    assert_int_equal(kvt_config_load_file(*state, NULL, &err),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_config_load_file(NULL, file_path, &err),
                     KVT_ERR_INVALID_PARAMS);
}

/* Root reads everything, so another user has to try. */
static void a_file_without_permission_is_told(void **state)
{
    int status;
    pid_t child;

    write_bytes("threads = 3\n", 12);
    assert_int_equal(chmod(file_path, 0), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct kvt_error err;

        if (getuid() == 0 && setuid(65534) != 0) {
            _exit(2);
        }
        _exit(kvt_config_load_file(*state, file_path, &err) ==
                          KVT_ERR_FILE_READ_FAIL &&
                      err.errnum == EACCES
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(chmod(file_path, 0600), 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_huge_file_is_refused(void **state)
{
    struct kvt_error err;
    size_t size = 1024 * 1024 + 1;
    char *text = malloc(size);

    assert_non_null(text);
    memset(text, '\n', size);
    write_bytes(text, size);
    assert_int_equal(kvt_config_load_file(*state, file_path, &err),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(err.errnum, EFBIG);
    write_bytes(text, size - 1);
    assert_int_equal(kvt_config_load_file(*state, file_path, &err), KVT_OK);
    free(text);
}

static int make_directory(void **state)
{
    (void)state;
    if (mkdtemp(directory) == NULL || chmod(directory, 0755) != 0) {
        return -1;
    }
    snprintf(file_path, sizeof(file_path), "%s/kvtier.ini", directory);
    snprintf(file_source, sizeof(file_source), "file:%s", file_path);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    unlink(file_path);
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(keys_and_sections_are_read),
        CASE(an_empty_file_changes_nothing),
        CASE(a_byte_order_mark_is_skipped),
        CASE(indented_lines_are_settings_of_their_own),
        CASE(a_later_source_wins_whatever_the_order),
        CASE(all_five_sources_stand_in_their_order),
        CASE(a_second_file_wins_over_the_first),
        CASE(a_fault_anywhere_takes_nothing),
        CASE(a_key_stands_once_in_a_file),
        CASE(a_line_that_is_too_long_is_refused_not_cut),
        CASE(a_long_section_is_refused_not_cut),
        CASE(a_nul_byte_is_refused),
        CASE(rules_are_never_cut_at_a_semicolon),
        CASE(a_file_that_is_not_there_is_told),
        CASE(a_file_without_permission_is_told),
        CASE(a_huge_file_is_refused),
    };

    return cmocka_run_group_tests(cases, make_directory, remove_directory) != 0;
}
