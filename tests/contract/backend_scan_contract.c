/* scan_meta, and what a start finds, says and clears away. */
#define _XOPEN_SOURCE 700
#include "support/store_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    KEYS_MAX = 2000
};

/* What a scan reported, for keys that end in a number below KEYS_MAX. */
struct report {
    size_t calls;
    size_t batch_max;
    size_t objects;
    size_t twice;
    uint64_t sizes[KEYS_MAX];
    unsigned char seen[KEYS_MAX];
    const char *backend;
    /* what to do at the first call */
    int answer;
    size_t answer_at;
    struct kvt_store *store;
};

static int note(const struct kvt_meta *metas, size_t count, void *arg)
{
    struct report *report = arg;
    report->calls++;
    report->batch_max = count > report->batch_max ? count : report->batch_max;
    for (size_t i = 0; i < count; i++) {
        const char *key = metas[i].key.data;
        size_t digits = 0;
        uint64_t number = 0;
        while (digits < metas[i].key.size && key[digits] >= '0' &&
               key[digits] <= '9') {
            number = number * 10 + (uint64_t)(key[digits++] - '0');
        }
        report->objects++;
        report->backend = metas[i].place.backend;
        if (number < KEYS_MAX) {
            report->twice += report->seen[number]++ > 0;
            report->sizes[number] = metas[i].size;
        }
    }
    return report->calls == report->answer_at ? report->answer : 0;
}

/* Keys "0~", "1~" ... of sizes that tell them apart; every seventh is too
 * long for a file's name. */
static struct kvt_key scan_key(uint64_t number, char text[400])
{
    int size = snprintf(text, 400, "%llu~", (unsigned long long)number);
    if (number % 7 == 3) {
        memset(text + size, '/', 300);
        size += 300;
    }
    return (struct kvt_key){text, (size_t)size};
}

static size_t scan_size(uint64_t number)
{
    return number * 3 % 1000;
}

static void put_scanned(struct kvt_store *store, uint64_t count)
{
    char text[400];
    for (uint64_t i = 0; i < count; i++) {
        assert_int_equal(put_value(store, scan_key(i, text), i, scan_size(i)),
                         KVT_OK);
    }
}

static void scan(struct kvt_store *store, struct report *report)
{
    struct kvt_error err;
    *report = (struct report){0};
    assert_int_equal(kvt_scan_meta(store, note, report, &err), KVT_OK);
}

static void an_empty_store_calls_the_handler_not_at_all(void **state)
{
    struct store_fixture *fixture = *state;
    static struct report report;
    store_start(fixture);
    scan(fixture->store, &report);
    assert_int_equal(report.calls, 0);
    put_scanned(fixture->store, 3);
    assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
    scan(fixture->store, &report);
    assert_int_equal(report.calls, 0);
    assert_int_equal(kvt_scan_meta(fixture->store, NULL, NULL, NULL),
                     KVT_ERR_INVALID_PARAMS);
}

static void every_object_is_reported_once_in_full_batches(void **state)
{
    struct store_fixture *fixture = *state;
    static struct report report;
    static const uint64_t limits[] = {1, 7, 100, 599, 600, 601, 20000};
    enum {
        COUNT = 600
    };
    store_start(fixture);
    put_scanned(fixture->store, COUNT);
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        uint64_t limit = limits[i];
        store_set_number(fixture, "scan_meta_keys_limit", limit);
        store_restart(fixture);
        assert_int_equal(stats_of(fixture->store).recovery.objects,
                         fixture->row->owned ? COUNT : 0);
        scan(fixture->store, &report);
        assert_int_equal(report.objects, COUNT);
        assert_int_equal(report.twice, 0);
        /* batches accumulate across directories */
        assert_int_equal(report.calls, (COUNT + limit - 1) / limit);
        assert_int_equal(report.batch_max, limit < COUNT ? limit : COUNT);
        assert_string_equal(report.backend, fixture->row->backend);
        for (uint64_t k = 0; k < COUNT; k++) {
            assert_int_equal(report.seen[k], 1);
            assert_int_equal(report.sizes[k], scan_size(k));
        }
    }
}

static void a_scan_stops_with_what_the_handler_says(void **state)
{
    struct store_fixture *fixture = *state;
    static struct report report;
    struct kvt_error err;
    static const int answers[] = {1, -1, 12345, -704, INT32_MIN};
    store_set(fixture, "scan_meta_keys_limit", "10");
    store_start(fixture);
    put_scanned(fixture->store, 100);
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        report = (struct report){.answer = answers[i], .answer_at = 3};
        assert_int_equal(kvt_scan_meta(fixture->store, note, &report, &err),
                         answers[i]);
        assert_int_equal(report.calls, 3);
        assert_int_equal(report.objects, 30);
        /* at the last batch, too */
        report = (struct report){.answer = answers[i], .answer_at = 10};
        assert_int_equal(kvt_scan_meta(fixture->store, note, &report, &err),
                         answers[i]);
    }
}

/* The handler may remove what it is shown; what is gone is not reported. */
static int remove_all_seen(const struct kvt_meta *metas, size_t count,
                           void *arg)
{
    struct report *report = arg;
    for (size_t i = 0; i < count; i++) {
        struct kvt_object object = {.key = metas[i].key};
        report->twice += kvt_batch_remove(report->store, &object, 1, NULL) != 1;
    }
    return note(metas, count, report);
}

static int remove_everything(const struct kvt_meta *metas, size_t count,
                             void *arg)
{
    struct report *report = arg;
    kvt_remove_all(report->store, NULL);
    return note(metas, count, report);
}

static void the_handler_may_remove_while_it_scans(void **state)
{
    struct store_fixture *fixture = *state;
    static struct report report;
    struct kvt_error err;
    store_set(fixture, "scan_meta_keys_limit", "10");
    store_start(fixture);
    put_scanned(fixture->store, 100);
    report = (struct report){.store = fixture->store};
    assert_int_equal(
        kvt_scan_meta(fixture->store, remove_all_seen, &report, &err), 0);
    assert_int_equal(report.objects, 100);
    assert_int_equal(report.twice, 0);
    assert_int_equal(stats_of(fixture->store).objects, 0);
    put_scanned(fixture->store, 100);
    report = (struct report){.store = fixture->store};
    assert_int_equal(
        kvt_scan_meta(fixture->store, remove_everything, &report, &err), 0);
    if (fixture->row->owned) { /* others may tell of what they listed */
        assert_int_equal(report.objects, 10);
    }
    assert_int_equal(stats_of(fixture->store).objects, 0);
}

static void what_vanished_behind_our_back_is_skipped(void **state)
{
    struct store_fixture *fixture = *state;
    static struct report report;
    char text[400];
    char path[FILE_PATH_MAX];
    store_start(fixture);
    put_scanned(fixture->store, 50);
    for (uint64_t i = 0; i < 50; i += 5) {
        struct kvt_key key = scan_key(i, text);
        store_object_path(fixture, key, path);
        assert_int_equal(unlink(path), 0);
    }
    scan(fixture->store, &report);
    assert_int_equal(report.objects, 40);
    store_object_path(fixture, scan_key(1, text), path);
    *strrchr(path, '/') = '\0'; /* a whole directory */
    uint64_t in_it = files_in(path);
    assert_true(in_it >= 1);
    remove_tree(path);
    scan(fixture->store, &report);
    assert_int_equal(report.objects, 40 - in_it);
    for (uint64_t i = 0; i < 50; i += 5) {
        assert_false(has_key(fixture->store, scan_key(i, text)));
        assert_int_equal(
            get_value(fixture->store, scan_key(i, text), i, scan_size(i)),
            KVT_ERR_OBJECT_NOT_FOUND);
    }
    /* a load that misses is what makes a store forget; the names can be used
     * again */
    for (uint64_t i = 0; i < 50; i++) {
        get_value(fixture->store, scan_key(i, text), i, scan_size(i));
    }
    assert_int_equal(stats_of(fixture->store).objects, 40 - in_it);
    put_scanned(fixture->store, 50);
    scan(fixture->store, &report);
    assert_int_equal(report.objects, 50);
}

/* Foreign things ----------------------------------------------------------- */

static void make_file(const struct store_fixture *fixture, const char *name,
                      size_t size)
{
    char path[FILE_PATH_MAX];
    char *bytes = calloc(1, size + 1);
    store_path(fixture, name, path);
    file_write(path, bytes, size);
    free(bytes);
}

static void make_foreign_things(const struct store_fixture *fixture)
{
    char path[FILE_PATH_MAX];
    static const char *const directories[] = {"data",
                                              "data/00",
                                              "3f",
                                              "3f/directory",
                                              "3f/%2fdir",
                                              "zz",
                                              "000",
                                              "lost+found",
                                              ".kvtier/other",
                                              ".kvtier/quarantine/directory"};
    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
        store_path(fixture, directories[i], path);
        make_directory(path);
    }
    static const char *const files[] = {
        "README",
        "data/00/file",
        "3f/.hidden",
        "3f/UPPER%2F",
        "3f/%zz",
        "3f/bad%",
        "3f/bad%2",
        "3f/%long-0123",
        "3f/notes with spaces",
        "3f/%long-00000000000000000000000000000000",
        "3f/x.tmp.1234",
        "zz/a"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        make_file(fixture, files[i], 100 + i);
    }
    store_path(fixture, "3f/link", path);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    store_path(fixture, "3f/fifo", path);
    assert_int_equal(mkfifo(path, 0666), 0);
}

static void foreign_files_and_directories_are_no_objects(void **state)
{
    struct store_fixture *fixture = *state;
    static struct report report;
    char path[FILE_PATH_MAX];
    store_start(fixture);
    put_scanned(fixture->store, 30);
    store_stop(fixture);
    store_path(fixture, ".", path);
    make_foreign_things(fixture);
    uint64_t before = tree_digest(path);
    store_start(fixture);
    scan(fixture->store, &report);
    assert_int_equal(report.objects, 30);
    assert_int_equal(stats_of(fixture->store).objects, 30);
    assert_int_equal(stats_of(fixture->store).recovery.removed_temporaries, 0);
    assert_false(has_key(fixture->store, key_of("link")));
    assert_false(has_key(fixture->store, key_of("fifo")));
    store_stop(fixture);
    assert_int_equal(tree_digest(path), before);
    store_start(fixture);
    assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
    store_path(fixture, "README", path);
    assert_true(file_exists(path));
    store_path(fixture, "3f/notes with spaces", path);
    assert_true(file_exists(path));
}

/* A short file that somebody put where a key of its name would lie. */
static void a_foreign_file_under_a_keys_name_is_not_removed(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    store_start(fixture);
    put_scanned(fixture->store, 30);
    store_stop(fixture);
    store_object_path(fixture, key_of("notes.txt"), path);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    make_directory(path);
    *slash = '/';
    file_write(path, "to whom it may concern\n", 23);
    store_start(fixture);
    assert_int_equal(
        get_value(fixture->store, key_of("notes.txt"), 0, 100) == KVT_OK, 0);
    if (!file_exists(path)) {
        size_t kept = 0;
        char aside[FILE_PATH_MAX];
        store_path(fixture, ".kvtier/quarantine", aside);
        kept = files_in(aside);
        if (kept == 0) {
            fail_msg("a start deleted a file without our trailer");
        }
    }
}

/* Refused or left alone, and never touched. */
static void a_foreign_file_in_place_of_a_directory_is_left(void **state)
{
    struct store_fixture *fixture = *state;
    static struct report report;
    char text[400];
    char path[FILE_PATH_MAX];
    store_start(fixture);
    put_scanned(fixture->store, 20);
    store_stop(fixture);
    for (unsigned i = 0; i < 256; i++) { /* one that is not there yet */
        char name[8];
        snprintf(name, sizeof name, "%02x", i);
        store_path(fixture, name, path);
        if (!file_exists(path)) {
            file_write(path, "mine", 4);
            break;
        }
    }
    struct kvt_error err = {0};
    if (kvt_store_open(fixture->config, NULL, &fixture->store, &err) ==
        KVT_OK) {
        scan(fixture->store, &report);
        assert_int_equal(report.objects, 20);
        assert_int_equal(
            get_value(fixture->store, scan_key(4, text), 4, scan_size(4)),
            KVT_OK);
    } else {
        assert_int_equal(err.errnum, ENOTDIR);
    }
    assert_true(file_exists(path));
    assert_int_equal(unlink(path), 0);
    store_stop(fixture);
    store_start(fixture);
    assert_int_equal(stats_of(fixture->store).objects, 20);
}

/* What a dead owner left --------------------------------------------------- */

static void temporaries_are_removed_and_counted(void **state)
{
    struct store_fixture *fixture = *state;
    static struct report report;
    char path[FILE_PATH_MAX];
    store_start(fixture);
    put_scanned(fixture->store, 10);
    store_stop(fixture);
    make_file(fixture, ".kvtier/tmp/0123456789abcdef-0", 100000);
    make_file(fixture, ".kvtier/tmp/0123456789abcdef-1", 0);
    make_file(fixture, ".kvtier/tmp/fedcba9876543210-1f", 5);
    store_start(fixture);
    struct kvt_stats stats = stats_of(fixture->store);
    assert_int_equal(stats.recovery.removed_temporaries, 3);
    assert_int_equal(stats.recovery.objects, 10);
    store_path(fixture, ".kvtier/tmp", path);
    assert_int_equal(files_in(path), 0);
    scan(fixture->store, &report);
    assert_int_equal(report.objects, 10);
    store_restart(fixture);
    assert_int_equal(stats_of(fixture->store).recovery.removed_temporaries, 0);
}

/* A power loss may leave a name without bytes: no object, nothing leaks. */
static void stumps_are_no_objects_and_do_not_stay(void **state)
{
    struct store_fixture *fixture = *state;
    static struct report report;
    char text[400];
    char path[FILE_PATH_MAX];
    store_start(fixture);
    put_scanned(fixture->store, 20);
    store_stop(fixture);
    static const uint64_t hurt[] = {3, 4, 5, 10}; /* 3 and 10 are long */
    for (size_t i = 0; i < 4; i++) {
        store_object_path(fixture, scan_key(hurt[i], text), path);
        assert_int_equal(truncate(path, i % 2 == 0 ? 0 : 40), 0);
    }
    store_start(fixture);
    scan(fixture->store, &report);
    assert_int_equal(report.objects, 16);
    assert_int_equal(stats_of(fixture->store).recovery.dropped_records, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_false(has_key(fixture->store, scan_key(hurt[i], text)));
        store_object_path(fixture, scan_key(hurt[i], text), path);
        assert_false(file_exists(path));
    }
    put_scanned(fixture->store, 20);
    scan(fixture->store, &report);
    assert_int_equal(report.objects, 20);
}

static void a_start_finds_everything_again_and_again(void **state)
{
    struct store_fixture *fixture = *state;
    char text[400];
    enum {
        COUNT = 300
    };
    store_start(fixture);
    put_scanned(fixture->store, COUNT);
    for (int restarts = 0; restarts < 3; restarts++) {
        store_restart(fixture);
        struct kvt_stats stats = stats_of(fixture->store);
        assert_int_equal(stats.objects, COUNT);
        assert_int_equal(stats.recovery.objects,
                         fixture->row->owned ? COUNT : 0);
        assert_int_equal(stats.recovery.dropped_records, 0);
        for (uint64_t i = 0; i < COUNT; i++) {
            assert_int_equal(
                get_value(fixture->store, scan_key(i, text), i, scan_size(i)),
                KVT_OK);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(an_empty_store_calls_the_handler_not_at_all),
        store_test(every_object_is_reported_once_in_full_batches),
        store_test(a_scan_stops_with_what_the_handler_says),
        store_test(the_handler_may_remove_while_it_scans),
        store_test(a_start_finds_everything_again_and_again),
    };
    const struct CMUnitTest file_tests[] = {
        store_test(what_vanished_behind_our_back_is_skipped),
        store_test(foreign_files_and_directories_are_no_objects),
        store_test(a_foreign_file_under_a_keys_name_is_not_removed),
        store_test(a_foreign_file_in_place_of_a_directory_is_left),
    };
    const struct CMUnitTest owned_tests[] = {
        store_test(temporaries_are_removed_and_counted),
        store_test(stumps_are_no_objects_and_do_not_stay),
    };
    int failed = store_rows_run("scan and recovery", tests,
                                sizeof tests / sizeof tests[0]);
    failed |= store_fact_rows_run("scan and recovery", tests,
                                  sizeof tests / sizeof tests[0]);
    failed |= store_file_rows_run("what stands on the disk", file_tests,
                                  sizeof file_tests / sizeof file_tests[0]);
    failed |=
        store_owned_file_rows_run("what a dead owner left", owned_tests,
                                  sizeof owned_tests / sizeof owned_tests[0]);
    return failed != 0;
}
