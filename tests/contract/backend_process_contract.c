/* Who may open what: markers, foreign trees, the owner's lock, read-only
 * stores beside the owner, fork. */
#define _XOPEN_SOURCE 700
#include "format/marker.h"
#include "support/store_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    SIZE = 5000
};

/* Markers and foreign roots ------------------------------------------------ */

static void expect_refused(struct store_fixture *fixture, int code,
                           const char *word)
{
    struct kvt_error err = {0};
    struct kvt_store *store = NULL;
    uint64_t before = tree_digest(fixture->path);
    int rc = kvt_store_open(fixture->config, NULL, &store, &err);
    if (rc != code) {
        kvt_store_close(store);
        fail_msg("open says %s, not %s: %s", kvt_status_name(rc),
                 kvt_status_name(code), err.message);
    }
    assert_null(store);
    assert_int_equal(err.code, code);
    assert_non_null(strstr(err.message, word));
    assert_non_null(strstr(err.subject, fixture->path));
    assert_true(err.remedy[0] != '\0');
    assert_int_equal(tree_digest(fixture->path), before);
}

static void make_store(struct store_fixture *fixture)
{
    store_start(fixture);
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(put_named(fixture->store, "k", i, i, SIZE), KVT_OK);
    }
    store_stop(fixture);
}

static void every_damage_of_the_marker_is_refused(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    make_store(fixture);
    store_path(fixture, ".kvtier/store", path);
    unsigned char *bytes = file_read(path, &size);
    for (size_t i = 0; i < size; i++) {
        bytes[i] ^= 0x10;
        file_write(path, bytes, size);
        bytes[i] ^= 0x10;
        struct kvt_store *store = NULL;
        struct kvt_error err;
        int rc = kvt_store_open(fixture->config, NULL, &store, &err);
        assert_true(rc == KVT_ERR_CHECKSUM_MISMATCH ||
                    rc == KVT_ERR_NOT_SUPPORTED);
    }
    bytes[3] ^= 0x10;
    file_write(path, bytes, size);
    expect_refused(fixture, KVT_ERR_CHECKSUM_MISMATCH, "damaged");
    bytes[3] ^= 0x10;
    for (size_t cut = 0; cut < size; cut += 13) {
        file_write(path, bytes, cut);
        expect_refused(fixture, KVT_ERR_CHECKSUM_MISMATCH, "damaged");
    }
    /* byte 8: the version of the format */
    bytes[8]++;
    file_write(path, bytes, size);
    expect_refused(fixture, KVT_ERR_NOT_SUPPORTED, "version");
    bytes[8]--;
    file_write(path, bytes, size);
    free(bytes);
    store_start(fixture);
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(get_named(fixture->store, "k", i, i, SIZE), KVT_OK);
    }
}

/* Whole markers that another layout, a newer version of this one, or one on
 * a file system with longer names wrote. */
static void a_marker_of_another_layout_is_refused(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    struct kvt_marker marker;
    uint8_t encoded[KVT_MARKER_SIZE];
    make_store(fixture);
    fixture->spoilt = true;
    store_path(fixture, ".kvtier/store", path);
    unsigned char *bytes = file_read(path, &size);
    assert_int_equal(size, sizeof encoded);
    assert_int_equal(kvt_marker_decode(bytes, &marker), 0);
    struct kvt_marker other = marker;
    strcpy(other.backend, "another");
    kvt_marker_encode(&other, encoded);
    file_write(path, encoded, sizeof encoded);
    expect_refused(fixture, KVT_ERR_INVALID_PARAMS, "another");
    other = marker;
    other.backend_version++;
    kvt_marker_encode(&other, encoded);
    file_write(path, encoded, sizeof encoded);
    expect_refused(fixture, KVT_ERR_NOT_SUPPORTED, "version");
    other = marker;
    other.name_max = 1000;
    kvt_marker_encode(&other, encoded);
    file_write(path, encoded, sizeof encoded);
    expect_refused(fixture, KVT_ERR_NOT_SUPPORTED, "names");
    store_set(fixture, "read_only", "on");
    expect_refused(fixture, KVT_ERR_NOT_SUPPORTED, "names");
    free(bytes);
}

static void make_git_like_tree(const struct store_fixture *fixture)
{
    char path[FILE_PATH_MAX];
    for (unsigned i = 0; i < 256; i += 17) {
        char name[80];
        snprintf(name, sizeof name, "%02x", i);
        store_path(fixture, name, path);
        make_directory(path);
        snprintf(name, sizeof name, "%02x/%038x", i, i * 977);
        store_path(fixture, name, path);
        file_write(path, "blob", 4);
    }
}

static void a_foreign_tree_that_looks_like_ours_is_refused(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    make_git_like_tree(fixture);
    expect_refused(fixture, KVT_ERR_INVALID_PARAMS, "no store");
    store_path(fixture, ".kvtier", path);
    assert_false(file_exists(path));
    /* nor does a read-only store take it for one */
    struct kvt_store *store;
    struct kvt_error err;
    assert_int_equal(store_open_other(fixture, true, &store, &err),
                     KVT_ERR_FILE_NOT_FOUND);
}

static void a_store_whose_marker_is_lost_is_refused(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    make_store(fixture);
    store_path(fixture, ".kvtier/store", path);
    assert_int_equal(unlink(path), 0);
    expect_refused(fixture, KVT_ERR_INVALID_PARAMS, "no store");
}

static void other_files_beside_a_new_store_are_left_alone(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    make_directory(fixture->path);
    store_path(fixture, "README", path);
    file_write(path, "mine", 4);
    make_store(fixture);
    unsigned char *bytes = file_read(path, &size);
    assert_int_equal(size, 4);
    free(bytes);
    store_start(fixture);
    assert_int_equal(stats_of(fixture->store).objects, 5);
}

static void a_path_that_cannot_be_one_is_refused(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_error err;
    struct kvt_store *store = NULL;
    file_write(fixture->path, "a file", 6);
    assert_true(kvt_store_open(fixture->config, NULL, &store, &err) < 0);
    assert_int_equal(err.errnum, ENOTDIR);
    assert_int_equal(unlink(fixture->path), 0);
    /* read-only makes nothing */
    assert_int_equal(store_open_other(fixture, true, &store, &err),
                     KVT_ERR_FILE_NOT_FOUND);
    assert_false(file_exists(fixture->path));
    make_directory(fixture->path);
    assert_int_equal(store_open_other(fixture, true, &store, &err),
                     KVT_ERR_FILE_NOT_FOUND);
    assert_int_equal(kvt_store_open(NULL, NULL, &store, &err),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_store_open(fixture->config, NULL, NULL, &err),
                     KVT_ERR_INVALID_PARAMS);
    fixture->handlers.size = 3;
    assert_int_equal(
        kvt_store_open(fixture->config, &fixture->handlers, &store, &err),
        KVT_ERR_INVALID_PARAMS);
    assert_null(store);
}

/* The owner ---------------------------------------------------------------- */

static void a_second_owner_is_refused_and_told_who_owns(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_store *other = NULL;
    struct kvt_error err;
    char host[256];
    char pid[32];
    store_start(fixture);
    assert_int_equal(store_open_other(fixture, false, &other, &err),
                     KVT_ERR_FILE_LOCK_FAIL);
    assert_null(other);
    assert_int_equal(gethostname(host, sizeof host), 0);
    snprintf(pid, sizeof pid, "pid %ld", (long)getpid());
    assert_non_null(strstr(err.message, host));
    assert_non_null(strstr(err.message, pid));
    assert_non_null(strstr(err.message, "started 20"));
    /* the refused one did no harm */
    assert_int_equal(put_named(fixture->store, "k", 1, 1, SIZE), KVT_OK);
    store_stop(fixture);
    assert_int_equal(store_open_other(fixture, false, &other, &err), KVT_OK);
    assert_int_equal(get_named(other, "k", 1, 1, SIZE), KVT_OK);
    kvt_store_close(other);
    kvt_store_close(NULL);
}

static void an_owner_in_another_process_is_named(void **state)
{
    struct store_fixture *fixture = *state;
    int ready[2];
    int go_on[2];
    char byte = 0;
    char pid_text[32];
    struct kvt_store *store = NULL;
    struct kvt_error err;
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go_on), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(go_on[1]); /* it ends with the parent, too */
        int rc = kvt_store_open(fixture->config, NULL, &store, &err);
        byte = rc == KVT_OK;
        ssize_t moved = write(ready[1], &byte, 1);
        moved += read(go_on[0], &byte, 1);
        _exit(moved == 2 ? 0 : 1); /* without closing the store */
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 1);
    assert_int_equal(kvt_store_open(fixture->config, NULL, &store, &err),
                     KVT_ERR_FILE_LOCK_FAIL);
    snprintf(pid_text, sizeof pid_text, "pid %ld,", (long)pid);
    assert_non_null(strstr(err.message, pid_text));
    assert_int_equal(write(go_on[1], &byte, 1), 1);
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    store_start(fixture); /* the lock died with it */
    close(ready[0]);
    close(ready[1]);
    close(go_on[0]);
    close(go_on[1]);
}

/* Read-only ---------------------------------------------------------------- */

static int count_all(const struct kvt_meta *metas, size_t count, void *arg)
{
    (void)metas;
    *(size_t *)arg += count;
    return 0;
}

static size_t scanned(struct kvt_store *store)
{
    struct kvt_error err;
    size_t count = 0;
    assert_int_equal(kvt_scan_meta(store, count_all, &count, &err), KVT_OK);
    return count;
}

static void a_read_only_store_sees_what_the_owner_does(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_store *reader;
    struct kvt_error err;
    store_start(fixture);
    assert_int_equal(put_named(fixture->store, "k", 0, 0, SIZE), KVT_OK);
    assert_int_equal(store_open_other(fixture, true, &reader, &err), KVT_OK);
    assert_int_equal(get_named(reader, "k", 0, 0, SIZE), KVT_OK);
    assert_int_equal(get_named(reader, "k", 0, 0, SIZE - 1),
                     KVT_ERR_BUFFER_OVERFLOW);
    assert_false(has_named(reader, "k", 1));
    assert_int_equal(scanned(reader), 1);
    assert_int_equal(put_named(fixture->store, "k", 1, 1, 0), KVT_OK);
    assert_int_equal(put_named(fixture->store, "k", 0, 7, 70), KVT_OK);
    assert_int_equal(get_named(reader, "k", 1, 1, 0), KVT_OK);
    assert_int_equal(get_named(reader, "k", 0, 7, 70), KVT_OK);
    assert_int_equal(scanned(reader), 2);
    struct kvt_stats stats = stats_of(reader);
    assert_int_equal(stats.objects, 2);
    assert_int_equal(stats.object_bytes, 70);
    assert_int_equal(remove_named(fixture->store, "k", 0), KVT_OK);
    assert_int_equal(get_named(reader, "k", 0, 7, 70),
                     KVT_ERR_OBJECT_NOT_FOUND);
    assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
    assert_int_equal(scanned(reader), 0);
    store_stop(fixture);
    assert_int_equal(get_named(reader, "k", 1, 1, 0), KVT_ERR_OBJECT_NOT_FOUND);
    kvt_store_close(reader);
}

static void a_read_only_store_changes_nothing(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    struct kvt_object object = {.key = key_of("new")};
    make_store(fixture);
    store_path(fixture, ".kvtier/tmp/left-over", path);
    file_write(path, "x", 1);
    struct named_key named;
    name_key(&named, "k", 2);
    store_object_path(fixture, named.key, path);
    assert_int_equal(truncate(path, 100), 0);
    uint64_t before = tree_digest(fixture->path);
    store_set(fixture, "read_only", "on");
    store_start(fixture);
    assert_false(kvt_is_offload_enabled(fixture->store));
    assert_int_equal(kvt_batch_offload(fixture->store, &object, 1, NULL),
                     KVT_ERR_UNABLE_OFFLOAD);
    assert_int_equal(object.status, KVT_ERR_UNABLE_OFFLOAD);
    assert_int_equal(kvt_batch_remove(fixture->store, &object, 1, NULL),
                     KVT_ERR_UNABLE_OFFLOAD);
    assert_int_equal(kvt_remove_all(fixture->store, NULL),
                     KVT_ERR_UNABLE_OFFLOAD);
    assert_int_equal(kvt_evict(fixture->store, 0, 0, NULL, NULL),
                     KVT_ERR_UNABLE_OFFLOAD);
    assert_int_equal(get_named(fixture->store, "k", 1, 1, SIZE), KVT_OK);
    /* a damaged object stays where it is: it is the owner's */
    assert_int_equal(get_named(fixture->store, "k", 2, 2, SIZE),
                     KVT_ERR_CHECKSUM_MISMATCH);
    assert_int_equal(stats_of(fixture->store).checksum_misses, 1);
    assert_int_equal(scanned(fixture->store), 5);
    store_stop(fixture);
    assert_int_equal(tree_digest(fixture->path), before);
}

static void *load_damaged(void *arg)
{
    struct kvt_store *store = arg;
    static char bytes[2][SIZE];
    static unsigned turn;
    unsigned me = __atomic_fetch_add(&turn, 1, __ATOMIC_RELAXED) % 2;
    struct kvt_slice slice = {bytes[me], SIZE, NULL};
    for (int i = 0; i < 100; i++) {
        struct kvt_object object = {
            .key = key_of("k2"), .slices = &slice, .slice_count = 1};
        struct kvt_stats stats = {.size = sizeof stats};
        kvt_batch_load(store, &object, 1, NULL);
        kvt_stats(store, &stats);
    }
    return NULL;
}

/* TSan looks at this one. */
static void figures_of_a_read_only_store_are_read_in_good_order(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    pthread_t threads[2];
    make_store(fixture);
    store_object_path(fixture, key_of("k2"), path);
    assert_int_equal(truncate(path, 100), 0);
    store_set(fixture, "read_only", "on");
    store_start(fixture);
    for (int i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, load_damaged, fixture->store);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(stats_of(fixture->store).checksum_misses, 200);
}

/* Two stores in one process ------------------------------------------------ */

static void two_stores_of_one_process_differ(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_store *other;
    struct kvt_error err;
    char path[FILE_PATH_MAX];
    store_set_number(fixture, "total_size_limit", 1 << 20);
    store_set(fixture, "eviction", "fifo");
    store_start(fixture);
    store_path(fixture, "../other", path);
    store_set(fixture, "path", path);
    store_set_number(fixture, "total_size_limit", 9 << 20);
    store_set_number(fixture, "total_keys_limit", 1);
    store_set(fixture, "checksum", "off");
    assert_int_equal(kvt_store_open(fixture->config, NULL, &other, &err), 0);
    assert_int_equal(stats_of(fixture->store).limit_bytes, 1 << 20);
    assert_int_equal(stats_of(other).limit_bytes, 9 << 20);
    assert_string_equal(stats_of(fixture->store).effective.checksum, "on");
    assert_string_equal(stats_of(other).effective.checksum, "off");
    assert_int_equal(put_named(fixture->store, "k", 1, 1, SIZE), KVT_OK);
    assert_int_equal(put_named(fixture->store, "k", 2, 2, SIZE), KVT_OK);
    assert_int_equal(put_named(other, "k", 1, 3, SIZE), KVT_OK);
    assert_int_equal(get_named(fixture->store, "k", 1, 1, SIZE), KVT_OK);
    assert_int_equal(get_named(other, "k", 1, 3, SIZE), KVT_OK);
    assert_false(has_named(other, "k", 2));
    kvt_store_close(other);
    assert_int_equal(get_named(fixture->store, "k", 2, 2, SIZE), KVT_OK);
}

/* Fork --------------------------------------------------------------------- */

static int none(const struct kvt_meta *metas, size_t count, void *arg)
{
    (void)metas;
    (void)count;
    (void)arg;
    return 0;
}

/* What a forked child gets from every call; 0 when all is as promised. */
static int use_in_child(struct kvt_store *store, struct kvt_request *request)
{
    struct kvt_object object = {.key = key_of("k1")};
    struct kvt_stats stats = {.size = sizeof stats};
    struct kvt_request *completed[1];
    int wrong = 0;
    const int bad = KVT_ERR_INVALID_PARAMS;
    wrong |= (kvt_batch_offload(store, &object, 1, NULL) != bad) << 0;
    wrong |= (kvt_batch_load(store, &object, 1, NULL) != bad) << 1;
    wrong |= (kvt_batch_exists(store, &object, 1, NULL) != bad) << 2;
    wrong |= (kvt_batch_remove(store, &object, 1, NULL) != bad) << 3;
    wrong |= (kvt_scan_meta(store, none, NULL, NULL) != bad) << 4;
    wrong |= (kvt_remove_all(store, NULL) != bad) << 5;
    wrong |= (kvt_evict(store, 1, 1, NULL, NULL) != bad) << 6;
    wrong |= (kvt_stats(store, &stats) != bad) << 7;
    wrong |= (kvt_is_offload_enabled(store) != 0) << 8;
    wrong |= (kvt_submit(store, request) != bad) << 9;
    wrong |= (kvt_eventfd(store) != bad) << 10;
    wrong |= (kvt_completed(store, completed, 1) != 0) << 11;
    kvt_store_close(store);
    return wrong;
}

static void a_store_does_not_survive_a_fork_and_the_parent_does(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_object object = {.key = key_of("k1")};
    struct kvt_request request = {.size = sizeof request,
                                  .op = KVT_BATCH_EXISTS,
                                  .objects = &object,
                                  .count = 1,
                                  .options = KVT_BATCH_OPTIONS_INIT};
    int go_on[2];
    int status = -1;
    char byte = 0;
    assert_int_equal(pipe(go_on), 0);
    store_start(fixture);
    assert_true(kvt_eventfd(fixture->store) >= 0);
    assert_int_equal(put_named(fixture->store, "k", 1, 1, SIZE), KVT_OK);
    pid_t pid = fork();
    if (pid == 0) {
        close(go_on[1]); /* it ends with the parent, too */
        int wrong = use_in_child(fixture->store, &request);
        ssize_t ignored = read(go_on[0], &byte, 1);
        _exit(ignored == 0 ? wrong != 0 : 2);
    }
    close(go_on[0]);
    assert_int_equal(get_named(fixture->store, "k", 1, 1, SIZE), KVT_OK);
    assert_int_equal(put_named(fixture->store, "k", 2, 2, SIZE), KVT_OK);
    assert_int_equal(get_named(fixture->store, "k", 2, 2, SIZE), KVT_OK);
    /* the child lives, and does not hold what we give back */
    store_restart(fixture);
    assert_int_equal(get_named(fixture->store, "k", 2, 2, SIZE), KVT_OK);
    assert_int_equal(kill(pid, 0), 0);
    close(go_on[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void a_child_may_open_a_store_of_its_own(void **state)
{
    struct store_fixture *fixture = *state;
    int status = -1;
    store_start(fixture);
    assert_int_equal(put_named(fixture->store, "k", 1, 1, SIZE), KVT_OK);
    if (store_is_log(fixture)) {
        store_restart(fixture); /* others see what is sealed */
    }
    pid_t pid = fork();
    if (pid == 0) {
        struct kvt_store *reader = NULL;
        struct kvt_error err;
        char bytes[SIZE];
        struct kvt_slice slice = {bytes, SIZE, NULL};
        struct kvt_object object = {
            .key = key_of("k1"), .slices = &slice, .slice_count = 1};
        int wrong = store_open_other(fixture, true, &reader, &err) != KVT_OK;
        wrong |= kvt_batch_load(reader, &object, 1, NULL) != 1;
        wrong |= !value_is(bytes, SIZE, 1);
        kvt_store_close(reader);
        kvt_store_close(fixture->store); /* our copy of the parent's */
        _exit(wrong);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(get_named(fixture->store, "k", 1, 1, SIZE), KVT_OK);
    struct kvt_store *other;
    struct kvt_error err;
    assert_int_equal(store_open_other(fixture, false, &other, &err),
                     KVT_ERR_FILE_LOCK_FAIL);
}

/* Many processes on one path: one owner at a time, everyone gets a turn. */
static void processes_take_turns(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        PROCESSES = 6,
        ROUNDS = 10
    };
    pid_t pids[PROCESSES];
    for (unsigned i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            unsigned done = 0;
            for (int tries = 0; done < ROUNDS && tries < 20000; tries++) {
                struct kvt_store *store = NULL;
                struct kvt_error err;
                struct timespec pause = {0, 1000000};
                int rc = kvt_store_open(fixture->config, NULL, &store, &err);
                if (rc != KVT_OK) {
                    if (rc != KVT_ERR_FILE_LOCK_FAIL) {
                        print_error("open: %s (%s)\n", err.message,
                                    kvt_status_name(rc));
                        _exit(3);
                    }
                    nanosleep(&pause, NULL);
                    continue;
                }
                struct kvt_object object = {.key = key_of("mine")};
                /* nobody else is inside: absent, then ours, then gone */
                if (kvt_batch_exists(store, &object, 1, NULL) != 0 ||
                    kvt_batch_offload(store, &object, 1, NULL) != 1 ||
                    kvt_batch_remove(store, &object, 1, NULL) != 1) {
                    _exit(2);
                }
                kvt_store_close(store);
                done++;
            }
            _exit(done == ROUNDS ? 0 : 1);
        }
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        int status = -1;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    store_start(fixture);
    assert_int_equal(stats_of(fixture->store).objects, 0);
    assert_int_equal(stats_of(fixture->store).recovery.removed_temporaries, 0);
}

#define RUN(run, name, tests) run(name, tests, sizeof tests / sizeof tests[0])

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(other_files_beside_a_new_store_are_left_alone),
        store_test(two_stores_of_one_process_differ),
        store_test(a_store_does_not_survive_a_fork_and_the_parent_does),
    };
    const struct CMUnitTest owned[] = {
        store_test(every_damage_of_the_marker_is_refused),
        store_test(a_marker_of_another_layout_is_refused),
        store_test(a_store_whose_marker_is_lost_is_refused),
        store_test(a_path_that_cannot_be_one_is_refused),
        store_test(a_second_owner_is_refused_and_told_who_owns),
        store_test(an_owner_in_another_process_is_named),
        store_test(a_child_may_open_a_store_of_its_own),
        store_test(processes_take_turns),
    };
    /* of single objects' files; bucket_process_contract.c has the like */
    const struct CMUnitTest files[] = {
        store_test(a_read_only_store_sees_what_the_owner_does),
        store_test(figures_of_a_read_only_store_are_read_in_good_order),
    };
    const struct CMUnitTest owned_files[] = {
        store_test(a_foreign_tree_that_looks_like_ours_is_refused),
        store_test(a_read_only_store_changes_nothing),
    };
    int failed = RUN(store_owned_disk_rows_run, "processes of an owner", owned);
    failed |= RUN(store_disk_rows_run, "processes", tests);
    failed |= RUN(store_file_rows_run, "processes and files", files);
    failed |= RUN(store_owned_file_rows_run, "processes and files of an owner",
                  owned_files);
    return failed != 0;
}
