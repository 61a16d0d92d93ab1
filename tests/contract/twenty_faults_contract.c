/* Twenty faults that a per-key backend over a distributed file system had, in
 * its first version elsewhere: each must be impossible here. A case is named
 * after its number and what must hold instead. Numbers 17 (dead code) and 18
 * (no tests) are kept by the compiler's warnings and by this file. */
#define _XOPEN_SOURCE 700
#include "support/store_fixture.h"

#include "core/config.h"
#include "format/keyname.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SIZE = 3000,
    CANARY = 0xa5
};

static const struct store_row posix_row = {"distributed", "posix", true, false,
                                           NULL};
static const struct store_row mem_row = {"distributed", "mem", false, false,
                                         "shared"};

/* Starts with `rules`, on the row's adapter. */
static void start_with(struct store_fixture *fixture, const char *rules)
{
    char fs[64];
    store_stop(fixture);
    snprintf(fs, sizeof fs, "fault:%s", fixture->row->fs);
    store_set(fixture, "fs", fs);
    store_set(fixture, "fault.rules", rules);
    store_start(fixture);
}

static void start_plain(struct store_fixture *fixture)
{
    store_stop(fixture);
    store_set(fixture, "fs", fixture->row->fs);
    store_start(fixture);
}

static struct kvt_object load_of(const char *key, const struct kvt_slice *slice)
{
    return (struct kvt_object){
        .key = key_of(key), .slices = slice, .slice_count = 1};
}

/* 1 and 20 ----------------------------------------------------------------- */

/* Loads "k" into the middle of a page of canaries; its status. */
static int load_guarded(struct store_fixture *fixture)
{
    static unsigned char page[3 * SIZE];
    memset(page, CANARY, sizeof page);
    struct kvt_slice slice = {page + SIZE, SIZE, NULL};
    struct kvt_object object = load_of("k", &slice);
    int rc = kvt_batch_load(fixture->store, &object, 1, NULL);
    assert_int_equal(rc, object.status == KVT_OK);
    for (size_t i = 0; i < SIZE; i++) {
        assert_int_equal(page[i], CANARY);
        assert_int_equal(page[2 * SIZE + i], CANARY);
    }
    if (object.status == KVT_OK) {
        assert_true(value_is(page + SIZE, SIZE, 1));
    }
    return object.status;
}

static void f01_an_error_of_a_read_is_never_a_length(void **state)
{
    struct store_fixture *fixture = *state;
    static const struct {
        const char *rules;
        int status;
    } faults[] = {
        {"read@[0-9a-f]*,from=1,do=EIO", KVT_ERR_FILE_READ_FAIL},
        {"open@[0-9a-f]*,from=1,do=EACCES", KVT_ERR_DFS_PERMISSION_DENIED},
        {"read@[0-9a-f]*,from=1,do=ENOTCONN", KVT_ERR_DFS_SERVICE_UNAVAILABLE},
    };
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        start_with(fixture, faults[i].rules);
        assert_int_equal(load_guarded(fixture), faults[i].status);
    }
}

static void f20_a_short_read_is_never_a_success(void **state)
{
    struct store_fixture *fixture = *state;
    char rules[64];
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    for (unsigned bytes = 0; bytes < SIZE + 64; bytes += 191) {
        snprintf(rules, sizeof rules, "read@[0-9a-f]*,from=1,short=%u", bytes);
        start_with(fixture, rules);
        assert_int_equal(load_guarded(fixture), KVT_ERR_CHECKSUM_MISMATCH);
        /* and once only: the second read has it all */
        snprintf(rules, sizeof rules, "read@[0-9a-f]*,nth=1,short=%u", bytes);
        start_with(fixture, rules);
        assert_int_equal(load_guarded(fixture), KVT_OK);
    }
}

/* 2 ------------------------------------------------------------------------ */

static void f02_nothing_goes_past_the_adapter(void **state)
{
    struct store_fixture *fixture = *state; /* on mem */
    char path[FILE_PATH_MAX];
    store_set(fixture, "distributed.health_check", "on");
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    assert_int_equal(get_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    assert_true(has_key(fixture->store, key_of("k")));
    assert_int_equal(stats_of(fixture->store).objects, 1);
    store_path(fixture, ".", path);
    assert_false(file_exists(path));
}

/* 3 ------------------------------------------------------------------------ */

static int count_all(const struct kvt_meta *metas, size_t count, void *arg)
{
    (void)metas;
    *(size_t *)arg += count;
    return 0;
}

static void f03_only_not_found_is_passed_over(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_error err;
    size_t seen = 0;
    store_start(fixture);
    for (uint64_t i = 0; i < 40; i++) {
        assert_int_equal(put_named(fixture->store, "k", i, i, 100), KVT_OK);
    }
    start_with(fixture, "list@[0-9a-f]*,nth=7,do=EIO");
    assert_int_equal(kvt_scan_meta(fixture->store, count_all, &seen, &err),
                     KVT_ERR_FILE_READ_FAIL);
    assert_int_equal(err.errnum, EIO);
    start_with(fixture, "list@.,from=1,do=ESTALE");
    assert_int_equal(kvt_scan_meta(fixture->store, count_all, &seen, &err),
                     KVT_ERR_DFS_STALE_HANDLE);
    start_with(fixture, "list@[0-9a-f]*,from=5,do=ESTALE");
    assert_int_equal(kvt_scan_meta(fixture->store, count_all, &seen, &err),
                     KVT_ERR_DFS_STALE_HANDLE);
    start_with(fixture, "list@[0-9a-f]*,nth=5,do=ESTALE"); /* another look */
    seen = 0;
    assert_int_equal(kvt_scan_meta(fixture->store, count_all, &seen, &err), 0);
    assert_int_equal(seen, 40);
    start_with(fixture, "list@[0-9a-f]*,nth=3,do=ENOENT"); /* it vanished */
    assert_int_equal(kvt_scan_meta(fixture->store, count_all, &seen, &err), 0);
    start_with(fixture, "stat@[0-9a-f]*,from=1,do=EACCES");
    struct kvt_object object = {.key = key_of("k1")};
    assert_int_equal(kvt_batch_exists(fixture->store, &object, 1, NULL), 0);
    assert_int_equal(object.status, KVT_ERR_DFS_PERMISSION_DENIED);
    assert_int_equal(object.errnum, EACCES);
}

/* 4 ------------------------------------------------------------------------ */

static void f04_a_name_that_escapes_badly_is_foreign(void **state)
{
    struct store_fixture *fixture = *state;
    static const char *const names[] = {"%",   "a%",   "a%4",  "%zz", "%4z",
                                        "%z4", "%2F",  "%0x",  "%41", "a%%",
                                        "%2",  "%2e.", ".%2e", "%lon"};
    char path[FILE_PATH_MAX];
    size_t seen = 0;
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    static char bytes[200];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        /* in that to which its bytes would be mapped, too */
        for (unsigned directory = 0; directory < 256; directory++) {
            char name[300];
            snprintf(name, sizeof name, "%02x", directory);
            store_path(fixture, name, path);
            make_directory(path);
            snprintf(name, sizeof name, "%02x/%s", directory, names[i]);
            store_path(fixture, name, path);
            file_write(path, bytes, sizeof bytes);
        }
    }
    assert_int_equal(kvt_scan_meta(fixture->store, count_all, &seen, NULL), 0);
    assert_int_equal(seen, 1);
    assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
    assert_true(file_exists(path));
}

/* 5 ------------------------------------------------------------------------ */

static void f05_what_validates_can_be_opened(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_error err;
    struct kvt_store *store = NULL;
    /* accepted, and it works */
    store_set(fixture, "fs", "posix");
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    store_stop(fixture);
    /* unknown: refused where it is set, with what there is */
    assert_int_equal(
        kvt_config_set(fixture->config, "distributed.fs", "nfs4", &err),
        KVT_ERR_INVALID_PARAMS);
    assert_non_null(strstr(err.message, "hf3fs"));
    assert_non_null(strstr(err.message, "cephfs"));
    assert_non_null(strstr(err.message, "juicefs"));
    assert_non_null(strstr(err.message, "posix"));
    /* known, and perhaps not in this build: an error that says so */
    static const char *const others[] = {"hf3fs", "cephfs", "juicefs", "uring"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        store_set(fixture, "fs", others[i]);
        int rc = kvt_store_open(fixture->config, NULL, &store, &err);
        assert_true(rc == KVT_OK || (rc < 0 && err.message[0] != '\0'));
        if (rc == KVT_OK) {
            kvt_store_close(store);
        }
    }
    /* no type at all */
    struct kvt_config *bare = kvt_config_open();
    assert_int_equal(kvt_config_set(bare, "backend", "distributed", &err), 0);
    assert_int_equal(kvt_config_set(bare, "path", fixture->path, &err), 0);
    assert_int_equal(kvt_store_open(bare, NULL, &store, &err),
                     KVT_ERR_INVALID_PARAMS);
    assert_string_equal(err.subject, "distributed.fs");
    kvt_config_close(bare);
}

/* 6 ------------------------------------------------------------------------ */

static struct told told;

static void expect_filled(size_t count)
{
    assert_int_equal(told.count, count);
    for (size_t i = 0; i < count; i++) {
        struct kvt_key key = {told.metas[i].key, told.metas[i].key_size};
        assert_int_equal(key.size, 2);
        assert_int_equal(told.metas[i].size, 100);
        assert_string_equal(told.metas[i].place.backend, "distributed");
        assert_int_equal(told.metas[i].place.bucket,
                         kvt_keyname_directory(key, 256));
        assert_int_equal(told.metas[i].place.offset, 0);
    }
}

static void f06_every_field_of_the_metadata_is_filled(void **state)
{
    struct store_fixture *fixture = *state;
    told = (struct told){0};
    fixture->handlers.complete = told_handler;
    fixture->handlers.complete_arg = &told;
    store_start(fixture);
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(put_named(fixture->store, "k", i, i, 100), KVT_OK);
    }
    expect_filled(10);
    told = (struct told){0};
    assert_int_equal(kvt_scan_meta(fixture->store, told_handler, &told, NULL),
                     KVT_OK);
    expect_filled(10);
}

/* 7: golden values, by `printf KEY | xxhsum -H1` --------------------------- */

static const struct {
    struct kvt_key key;
    const char *name;
    const char *directory[6]; /* of counts */
} golden[] = {
    {{"key", 3}, "key", {"00", "00", "28", "34", "334", "4334"}},
    {{"model/layer@0:1", 15},
     "model%2flayer%400%3a1",
     {"00", "01", "07", "ab", "2ab", "52ab"}},
    {{".", 1}, "%2e", {"00", "00", "20", "08", "08", "8008"}},
    {{"..", 2}, "%2e%2e", {"00", "01", "23", "6f", "a6f", "6a6f"}},
    {{"%zz", 3}, "%25zz", {"00", "00", "58", "60", "460", "4460"}},
    {{"\0\1\xff", 3}, "%00%01%ff", {"00", "00", "1a", "d6", "6d6", "d6d6"}},
    {{"\xc3\xa4/\xe6\x97\xa5\xe6\x9c\xac", 9},
     "%c3%a4%2f%e6%97%a5%e6%9c%ac",
     {"00", "01", "35", "51", "b51", "1b51"}},
    {{"kv_cache@tp0:block_12345\\x", 26},
     "kv_cache%40tp0%3ablock_12345%5cx",
     {"00", "01", "2b", "27", "827", "827"}},
};
static const unsigned counts[6] = {1, 2, 100, 256, 4096, 65536};

static void f07_every_host_maps_a_key_to_the_same_path(void **state)
{
    struct store_fixture *fixture = *state;
    for (size_t c = 0; c < 6; c++) {
        store_set_number(fixture, "distributed.hash_bucket_count", counts[c]);
        store_start(fixture);
        for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
            char name[400];
            char path[FILE_PATH_MAX];
            assert_int_equal(put_value(fixture->store, golden[i].key, i, 100),
                             KVT_OK);
            snprintf(name, sizeof name, "%s/%s", golden[i].directory[c],
                     golden[i].name);
            store_path(fixture, name, path);
            if (!file_exists(path)) {
                fail_msg("%u directories: not in %s", counts[c], name);
            }
        }
        size_t seen = 0;
        assert_int_equal(kvt_scan_meta(fixture->store, count_all, &seen, NULL),
                         KVT_OK);
        assert_int_equal(seen, sizeof golden / sizeof golden[0]);
        store_stop(fixture);
        remove_tree(fixture->path);
    }
}

/* 8 ------------------------------------------------------------------------ */

/* Files in the directories of objects. */
static size_t files_below(const char *path)
{
    size_t count = 0;
    for (unsigned i = 0; i < 256; i++) {
        char inner[FILE_PATH_MAX];
        snprintf(inner, sizeof inner, "%.4096s/%02x", path, i);
        count += files_in(inner);
    }
    return count;
}

enum {
    CHECKS = 200
};

/* How many checks of health failed. */
static size_t check_often(struct kvt_store *store)
{
    struct kvt_error err;
    size_t failures = 0;
    for (int i = 0; i < CHECKS; i++) {
        failures += kvt_health_check(store, &err) != KVT_OK;
    }
    return failures;
}

static void *other_host(void *arg)
{
    return check_often(arg) > 0 ? arg : NULL;
}

static void f08_the_probe_is_unique_compared_and_gone(void **state)
{
    struct store_fixture *fixture = *state;
    static const struct {
        const char *rules;
        int code;
        const char *says;
        size_t left; /* probes that cannot be removed */
    } faults[] = {
        {"write@*tmp*,from=1,do=EIO", KVT_ERR_FILE_WRITE_FAIL, "writing", 0},
        {"open@*tmp*,nth=1,do=EACCES", KVT_ERR_DFS_PERMISSION_DENIED, "writing",
         0},
        {"rename@*tmp*,from=1,do=ENOTCONN", KVT_ERR_DFS_SERVICE_UNAVAILABLE,
         "writing", 0},
        {"read@*tmp*,from=1,do=EIO", KVT_ERR_FILE_WRITE_FAIL, "reading", 0},
        {"read@*tmp*,from=1,short=10", KVT_ERR_DFS_SERVICE_UNAVAILABLE,
         "comparing", 0},
        {"remove@*tmp*,from=1,do=EIO", KVT_ERR_FILE_WRITE_FAIL, "removing", 1},
    };
    struct kvt_error err;
    store_start(fixture);
    assert_int_equal(kvt_health_check(fixture->store, &err), KVT_OK);
    assert_int_equal(files_below(fixture->path), 0);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        start_with(fixture, faults[i].rules);
        assert_int_equal(kvt_health_check(fixture->store, &err),
                         faults[i].code);
        if (strstr(err.message, faults[i].says) == NULL) {
            fail_msg("%s: %s", faults[i].rules, err.message);
        }
        assert_int_equal(files_below(fixture->path), faults[i].left);
        /* at open, when it is asked for */
        store_stop(fixture);
        store_set(fixture, "distributed.health_check", "on");
        assert_int_equal(
            kvt_store_open(fixture->config, NULL, &fixture->store, &err),
            faults[i].code);
        store_set(fixture, "distributed.health_check", "off");
        assert_null(fixture->store);
    }
    /* two hosts at once do not disturb each other */
    struct kvt_store *other;
    pthread_t thread;
    void *failed;
    start_plain(fixture);
    assert_int_equal(store_open_other(fixture, false, &other, &err), KVT_OK);
    assert_int_equal(pthread_create(&thread, NULL, other_host, other), 0);
    assert_int_equal(check_often(fixture->store), 0);
    pthread_join(thread, &failed);
    assert_null(failed);
    kvt_store_close(other);
}

/* 9 and 10 ----------------------------------------------------------------- */

static void f09_a_failure_to_open_is_returned(void **state)
{
    struct store_fixture *fixture = *state;
    static const char *const rules[] = {
        "open@.kvtier/format,from=1,do=EIO", "list@.,from=1,do=ENOTCONN",
        "write@.kvtier*,from=1,do=EDQUOT",   "rename@.kvtier*,from=1,do=EIO",
        "mkdir@.kvtier,from=1,do=EROFS",     "sync@*,from=1,do=EIO",
        "stat@.kvtier*,from=1,do=ESTALE",    "write@.kvtier*,from=1,short=5"};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        struct kvt_error err = {0};
        store_set(fixture, "fs", "fault:posix");
        store_set(fixture, "fault.rules", rules[i]);
        int rc = kvt_store_open(fixture->config, NULL, &fixture->store, &err);
        if (rc >= 0 || err.message[0] == '\0' || err.errnum == 0) {
            fail_msg("%s: %d, %s", rules[i], rc, err.message);
        }
        assert_null(fixture->store);
        remove_tree(fixture->path);
    }
    /* a record that cannot be read is not taken for none, or the root would
     * be a mixed one */
    start_plain(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    store_stop(fixture);
    static const char *const again[] = {"open@.kvtier/format,from=1,do=EACCES",
                                        "read@.kvtier/format,from=1,do=EIO",
                                        "read@.kvtier/format,from=1,short=9"};
    store_set(fixture, "fs", "fault:posix");
    for (size_t i = 0; i < sizeof again / sizeof again[0]; i++) {
        struct kvt_error err = {0};
        store_set(fixture, "fault.rules", again[i]);
        assert_true(
            kvt_store_open(fixture->config, NULL, &fixture->store, &err) < 0);
        assert_null(fixture->store);
    }
}

static void f10_nothing_works_before_open_or_after_a_failed_one(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_object object = {.key = key_of("k")};
    struct kvt_stats stats = {.size = sizeof stats};
    assert_int_equal(kvt_batch_offload(NULL, &object, 1, NULL),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_batch_load(NULL, &object, 1, NULL),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_batch_exists(NULL, &object, 1, NULL),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_batch_remove(NULL, &object, 1, NULL),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_remove_all(NULL, NULL), KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_stats(NULL, &stats), KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_health_check(NULL, NULL), KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_is_offload_enabled(NULL), 0);
    kvt_store_close(NULL);
    /* a second open is a second store, a peer of the first */
    struct kvt_store *other;
    struct kvt_error err;
    store_start(fixture);
    assert_int_equal(store_open_other(fixture, false, &other, &err), KVT_OK);
    assert_int_equal(put_value(other, key_of("k"), 1, SIZE), KVT_OK);
    assert_int_equal(get_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    kvt_store_close(other);
}

/* 11 ----------------------------------------------------------------------- */

static void f11_a_null_base_and_a_null_adapter_are_refused(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_slice null_base = {NULL, 5, NULL};
    struct kvt_object object = load_of("k", &null_base);
    struct kvt_error err;
    store_start(fixture);
    assert_int_equal(kvt_batch_offload(fixture->store, &object, 1, NULL), 0);
    assert_int_equal(object.status, KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_batch_load(fixture->store, &object, 1, NULL), 0);
    assert_int_equal(object.status, KVT_ERR_INVALID_PARAMS);
    assert_int_equal(
        kvt_config_set(fixture->config, "distributed.fs", "", &err),
        KVT_ERR_INVALID_PARAMS);
    assert_int_equal(
        kvt_config_set(fixture->config, "distributed.fs", "fault:", &err),
        KVT_ERR_INVALID_PARAMS);
    assert_int_equal(
        kvt_config_set(fixture->config, "distributed.fs", NULL, &err),
        KVT_ERR_INVALID_PARAMS);
}

/* 12 ----------------------------------------------------------------------- */

static void f12_opening_makes_no_directories_one_by_one(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    /* none of them can be made, and none is needed to open */
    start_with(fixture, "mkdir@[0-9a-f][0-9a-f],from=1,do=EIO");
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE),
                     KVT_ERR_FILE_WRITE_FAIL);
    start_plain(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    store_object_path(fixture, key_of("k"), path);
    assert_true(file_exists(path));
    size_t directories = 0;
    for (unsigned i = 0; i < 256; i++) {
        char name[8];
        snprintf(name, sizeof name, "%02x", i);
        store_path(fixture, name, path);
        directories += file_exists(path);
    }
    assert_int_equal(directories, 1);
}

/* 13 ----------------------------------------------------------------------- */

static void f13_batches_of_a_scan_accumulate_across_directories(void **state)
{
    struct store_fixture *fixture = *state;
    store_set_number(fixture, "scan_meta_keys_limit", 100);
    store_start(fixture);
    for (uint64_t i = 0; i < 350; i++) {
        assert_int_equal(put_named(fixture->store, "k", i, i, 10), KVT_OK);
    }
    told = (struct told){0};
    assert_int_equal(kvt_scan_meta(fixture->store, told_handler, &told, NULL),
                     KVT_OK);
    assert_int_equal(told.count, 350);
    assert_int_equal(told.calls, 4);
}

/* 14 ----------------------------------------------------------------------- */

static void f14_a_relative_root_is_made_absolute(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_setting setting;
    struct kvt_error err;
    char here[PATH_MAX];
    char parent[PATH_MAX];
    assert_non_null(getcwd(here, sizeof here));
    snprintf(parent, sizeof parent, "%.4000s", fixture->path);
    *strrchr(parent, '/') = '\0';
    assert_int_equal(chdir(parent), 0);
    assert_int_equal(setenv("MOONCAKE_DISTRIBUTED_ROOT_DIR", "s", 1), 0);
    assert_int_equal(kvt_config_load_env(fixture->config, &err), KVT_OK);
    assert_int_equal(unsetenv("MOONCAKE_DISTRIBUTED_ROOT_DIR"), 0);
    assert_int_equal(chdir(here), 0);
    assert_int_equal(
        kvt_config_get(fixture->config, "distributed.path", &setting, &err), 0);
    assert_string_equal(setting.value, fixture->path);
    store_start(fixture);
    assert_string_equal(stats_of(fixture->store).path, fixture->path);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    assert_int_equal(chdir(parent), 0);
    assert_int_equal(get_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    assert_int_equal(chdir(here), 0);
}

/* 15 ----------------------------------------------------------------------- */

static void f15_every_errno_keeps_its_code_and_stays_readable(void **state)
{
    struct store_fixture *fixture = *state; /* on mem, shared */
    static const struct {
        const char *name;
        int errnum;
        int load;
        int offload;
    } errnos[] = {
        {"ENOENT", ENOENT, KVT_ERR_OBJECT_NOT_FOUND, KVT_ERR_FILE_NOT_FOUND},
        {"EACCES", EACCES, KVT_ERR_DFS_PERMISSION_DENIED,
         KVT_ERR_DFS_PERMISSION_DENIED},
        {"EROFS", EROFS, KVT_ERR_DFS_PERMISSION_DENIED,
         KVT_ERR_DFS_PERMISSION_DENIED},
        {"ENOSPC", ENOSPC, KVT_ERR_DFS_QUOTA_EXCEEDED,
         KVT_ERR_DFS_QUOTA_EXCEEDED},
        {"EDQUOT", EDQUOT, KVT_ERR_DFS_QUOTA_EXCEEDED,
         KVT_ERR_DFS_QUOTA_EXCEEDED},
        {"ESTALE", ESTALE, KVT_ERR_OBJECT_NOT_FOUND, KVT_ERR_DFS_STALE_HANDLE},
        {"ETIMEDOUT", ETIMEDOUT, KVT_ERR_DFS_NETWORK_TIMEOUT,
         KVT_ERR_DFS_NETWORK_TIMEOUT},
        {"ENOTCONN", ENOTCONN, KVT_ERR_DFS_SERVICE_UNAVAILABLE,
         KVT_ERR_DFS_SERVICE_UNAVAILABLE},
        {"EHOSTDOWN", EHOSTDOWN, KVT_ERR_DFS_SERVICE_UNAVAILABLE,
         KVT_ERR_DFS_SERVICE_UNAVAILABLE},
        {"EIO", EIO, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL},
    };
    static unsigned char bytes[SIZE];
    struct kvt_slice slice = {bytes, SIZE, NULL};
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    for (size_t i = 0; i < sizeof errnos / sizeof errnos[0]; i++) {
        struct kvt_object object = load_of("k", &slice);
        char rules[128];
        snprintf(rules, sizeof rules,
                 "open@[0-9a-f]*/k,from=1,do=%s;open@*tmp*,from=1,do=%s",
                 errnos[i].name, errnos[i].name);
        start_with(fixture, rules);
        assert_int_equal(kvt_batch_load(fixture->store, &object, 1, NULL), 0);
        assert_string_equal(kvt_status_name(object.status),
                            kvt_status_name(errnos[i].load));
        assert_int_equal(object.errnum, errnos[i].errnum);
        assert_int_equal(kvt_batch_offload(fixture->store, &object, 1, NULL),
                         0);
        assert_string_equal(kvt_status_name(object.status),
                            kvt_status_name(errnos[i].offload));
        assert_int_equal(object.errnum, errnos[i].errnum);
    }
    /* fewer bytes than asked, and nothing of it is left */
    struct kvt_object object = load_of("new", &slice);
    start_with(fixture, "write@*tmp*,from=1,short=100");
    assert_int_equal(kvt_batch_offload(fixture->store, &object, 1, NULL), 0);
    assert_int_equal(object.status, KVT_ERR_DFS_PARTIAL_WRITE);
    assert_false(has_key(fixture->store, key_of("new")));
}

/* 16 ----------------------------------------------------------------------- */

static size_t descriptors(void)
{
    size_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count;
}

static void f16_errors_leak_nothing_and_a_failed_unlink_is_told(void **state)
{
    struct store_fixture *fixture = *state;
    static const char *const rules[] = {
        "write@*tmp*,from=1,do=EIO",  "close@*tmp*,from=1,do=EIO",
        "rename@*tmp*,from=1,do=EIO", "read@[0-9a-f]*,from=1,do=EIO",
        "write@*tmp*,from=1,short=7", "open@*tmp*,from=2,do=EMFILE"};
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        start_with(fixture, rules[i]);
        get_value(fixture->store, key_of("k"), 1, SIZE);
        size_t before = descriptors();
        for (uint64_t n = 0; n < 20; n++) {
            put_named(fixture->store, "n", n, n, SIZE);
            get_value(fixture->store, key_of("k"), 1, SIZE);
        }
        assert_int_equal(descriptors(), before);
        start_plain(fixture);
        kvt_remove_all(fixture->store, NULL);
        assert_int_equal(files_below(fixture->path), 0);
        assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE),
                         KVT_OK);
    }
    struct kvt_error err;
    struct kvt_object object = {.key = key_of("k")};
    start_with(fixture, "remove@[0-9a-f]*,from=1,do=EACCES");
    assert_int_equal(kvt_batch_remove(fixture->store, &object, 1, NULL), 0);
    assert_int_equal(object.status, KVT_ERR_DFS_PERMISSION_DENIED);
    assert_int_equal(kvt_remove_all(fixture->store, &err),
                     KVT_ERR_DFS_PERMISSION_DENIED);
    assert_true(has_key(fixture->store, key_of("k")));
}

/* 19 ----------------------------------------------------------------------- */

/* A local layout evicts in the same way on whatever adapter, and this one
 * evicts only where a limit was given. */
static void f19_eviction_asks_for_limits_and_not_for_the_adapter(void **state)
{
    struct store_fixture *fixture = *state;
    store_start(fixture);
    for (uint64_t i = 0; i < 50; i++) {
        assert_int_equal(put_named(fixture->store, "k", i, i, SIZE), KVT_OK);
    }
    assert_int_equal(stats_of(fixture->store).evicted_objects, 0);
    assert_int_equal(stats_of(fixture->store).limit_bytes, 0);
    struct kvt_error err;
    assert_int_equal(kvt_evict(fixture->store, 0, 0, NULL, &err),
                     KVT_ERR_NOT_SUPPORTED);
    assert_int_equal(stats_of(fixture->store).objects, 50);
    store_stop(fixture);
    static const char *const adapters[] = {"posix", "mem", "fault:posix"};
    for (size_t a = 0; a < 3; a++) {
        char path[FILE_PATH_MAX];
        struct kvt_store *store;
        snprintf(path, sizeof path, "%s-%zu", fixture->path, a);
        struct kvt_config *config = kvt_config_open();
        assert_int_equal(
            kvt_config_set(config, "backend", "file_per_key", &err), 0);
        assert_int_equal(kvt_config_set(config, "path", path, &err), 0);
        assert_int_equal(kvt_config_set(config, "fs", adapters[a], &err), 0);
        assert_int_equal(kvt_config_set(config, "total_keys_limit", "5", &err),
                         0);
        assert_int_equal(kvt_store_open(config, NULL, &store, &err), KVT_OK);
        for (uint64_t i = 0; i < 12; i++) {
            assert_int_equal(put_named(store, "k", i, i, SIZE), KVT_OK);
        }
        assert_int_equal(stats_of(store).evicted_objects, 7);
        kvt_store_close(store);
        kvt_config_close(config);
    }
}

int main(void)
{
    const struct CMUnitTest on_files[] = {
        store_test_fast(f01_an_error_of_a_read_is_never_a_length),
        store_test_fast(f03_only_not_found_is_passed_over),
        store_test_fast(f04_a_name_that_escapes_badly_is_foreign),
        store_test_fast(f05_what_validates_can_be_opened),
        store_test_fast(f06_every_field_of_the_metadata_is_filled),
        store_test_fast(f07_every_host_maps_a_key_to_the_same_path),
        store_test_fast(f08_the_probe_is_unique_compared_and_gone),
        store_test_fast(f09_a_failure_to_open_is_returned),
        store_test_fast(f10_nothing_works_before_open_or_after_a_failed_one),
        store_test_fast(f11_a_null_base_and_a_null_adapter_are_refused),
        store_test_fast(f12_opening_makes_no_directories_one_by_one),
        store_test_fast(f13_batches_of_a_scan_accumulate_across_directories),
        store_test_fast(f14_a_relative_root_is_made_absolute),
        store_test_fast(f16_errors_leak_nothing_and_a_failed_unlink_is_told),
        store_test_fast(f19_eviction_asks_for_limits_and_not_for_the_adapter),
    };
    const struct CMUnitTest on_mem[] = {
        store_test_fast(f01_an_error_of_a_read_is_never_a_length),
        store_test_fast(f02_nothing_goes_past_the_adapter),
        store_test_fast(f15_every_errno_keeps_its_code_and_stays_readable),
        store_test_fast(f20_a_short_read_is_never_a_success),
    };
    int failed = store_row_run(&posix_row, "twenty faults", on_files,
                               sizeof on_files / sizeof on_files[0]);
    failed |= store_row_run(&mem_row, "twenty faults", on_mem,
                            sizeof on_mem / sizeof on_mem[0]);
    return failed != 0;
}
