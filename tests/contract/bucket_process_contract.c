/* Processes on one bucket store: what a reader beside the owner sees, and what
 * is left of an owner that is killed. */
#define _XOPEN_SOURCE 700
#include "support/bucket_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    SIZE = 5000,
    KEYS = 20,
};

/* A child with pipes to and from it. */
struct child {
    pid_t pid;
    int from;
    int to;
};

static void child_start(struct child *child, struct store_fixture *fixture,
                        void (*work)(struct store_fixture *fixture, int in,
                                     int out))
{
    int from[2];
    int to[2];
    assert_int_equal(pipe(from), 0);
    assert_int_equal(pipe(to), 0);
    child->pid = fork();
    if (child->pid == 0) {
        close(from[0]);
        close(to[1]); /* it ends with the parent, too */
        work(fixture, to[0], from[1]);
        _exit(0);
    }
    close(from[1]);
    close(to[0]);
    child->from = from[0];
    child->to = to[1];
}

static void child_wait(struct child *child, char expected)
{
    char byte = 0;
    assert_int_equal(read(child->from, &byte, 1), 1);
    assert_int_equal(byte, expected);
}

static void child_go(struct child *child)
{
    assert_int_equal(write(child->to, "g", 1), 1);
}

static void child_end(struct child *child, bool killed)
{
    int status = -1;
    assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
    assert_true(killed ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL
                       : status == 0);
    close(child->from);
    close(child->to);
}

/* In the child: 'y' or 'n' to the parent, then waits for its word. */
static void tell(int in, int out, bool good)
{
    char byte = good ? 'y' : 'n';
    if (write(out, &byte, 1) != 1 || read(in, &byte, 1) != 1) {
        _exit(9);
    }
}

/* Readers -------------------------------------------------------------------
 */

static bool put_all(struct kvt_store *store, uint64_t salt, size_t size)
{
    bool good = true;
    for (uint64_t i = 0; i < KEYS; i++) {
        good = good && put_named(store, "k", i, i + salt, size) == KVT_OK;
    }
    return good;
}

static void own_beside_a_reader(struct store_fixture *fixture, int in, int out)
{
    struct kvt_store *store = NULL;
    struct kvt_error err;
    bool good = kvt_store_open(fixture->config, NULL, &store, &err) == KVT_OK &&
                put_all(store, 0, SIZE);
    if (good) {
        bucket_settle(store);
    }
    tell(in, out, good);
    tell(in, out, put_named(store, "new", 1, 1, SIZE) == KVT_OK);
    good = put_all(store, 100, SIZE + 1);
    bucket_settle(store);
    tell(in, out, good);
    good = kvt_remove_all(store, NULL) == KVT_OK;
    bucket_settle(store);
    tell(in, out, good);
    kvt_store_close(store);
}

/* The old value, the new one, or a miss; which of them all are. */
static size_t count_of(struct kvt_store *reader, uint64_t salt, size_t size)
{
    char bytes[2 * SIZE];
    size_t count = 0;
    for (uint64_t i = 0; i < KEYS; i++) {
        struct named_key named;
        struct kvt_slice slice = {bytes, sizeof bytes, NULL};
        name_key(&named, "k", i);
        struct kvt_object object = {
            .key = named.key, .slices = &slice, .slice_count = 1};
        assert_true(kvt_batch_load(reader, &object, 1, NULL) >= 0);
        if (object.status == KVT_OK) {
            bool old = object.size == SIZE && value_is(bytes, SIZE, i);
            bool new =
                object.size == SIZE + 1 && value_is(bytes, SIZE + 1, i + 100);
            assert_true(old || new);
            count += object.size == size && value_is(bytes, size, i + salt);
        }
    }
    return count;
}

static void a_reader_beside_an_owner_sees_what_is_sealed(void **state)
{
    struct store_fixture *fixture = *state;
    struct child owner;
    struct kvt_store *first;
    struct kvt_store *second;
    struct kvt_error err;
    store_set(fixture, "bucket.seal_after_ms", "3600000");
    child_start(&owner, fixture, own_beside_a_reader);
    child_wait(&owner, 'y');
    assert_int_equal(store_open_other(fixture, true, &first, &err), KVT_OK);
    assert_int_equal(count_of(first, 0, SIZE), KEYS);
    child_go(&owner);
    child_wait(&owner, 'y'); /* a new one, which is not sealed */
    assert_int_equal(store_open_other(fixture, true, &second, &err), KVT_OK);
    assert_false(has_named(second, "new", 1));
    assert_int_equal(count_of(second, 0, SIZE), KEYS);
    kvt_store_close(second);
    child_go(&owner);
    child_wait(&owner, 'y'); /* all replaced, and sealed */
    assert_int_equal(store_open_other(fixture, true, &second, &err), KVT_OK);
    assert_int_equal(get_named(second, "new", 1, 1, SIZE), KVT_OK);
    assert_int_equal(count_of(second, 100, SIZE + 1), KEYS);
    count_of(first, 0, SIZE);
    child_go(&owner);
    child_wait(&owner, 'y'); /* all removed */
    count_of(first, 0, SIZE);
    count_of(second, 0, SIZE);
    kvt_store_close(second);
    child_go(&owner);
    child_end(&owner, false);
    assert_int_equal(store_open_other(fixture, true, &second, &err), KVT_OK);
    assert_int_equal(stats_of(second).objects, 0);
    kvt_store_close(second);
    kvt_store_close(first);
}

static bool put_k(struct kvt_store *store)
{
    return put_all(store, 0, SIZE);
}

/* Not even what a dead owner left is tidied up. */
static void a_reader_changes_nothing(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    struct kvt_object object = {.key = key_of("new")};
    store_start(fixture);
    assert_int_equal(put_named(fixture->store, "old", 1, 1, SIZE), KVT_OK);
    store_stop(fixture);
    bucket_die_after(fixture, put_k);
    store_path(fixture, "w-00000000000000aa", path);
    make_directory(path);
    store_path(fixture, "w-00000000000000aa/00000000000000ff.kvb", path);
    file_write(path, "", 0);
    store_path(fixture, "w-00000000000000bb", path);
    make_directory(path);
    uint64_t before = tree_digest(fixture->path);
    store_set(fixture, "read_only", "on");
    for (int round = 0; round < 2; round++) {
        store_start(fixture);
        struct kvt_store *store = fixture->store;
        assert_int_equal(kvt_batch_offload(store, &object, 1, NULL),
                         KVT_ERR_UNABLE_OFFLOAD);
        assert_int_equal(kvt_batch_remove(store, &object, 1, NULL),
                         KVT_ERR_UNABLE_OFFLOAD);
        assert_int_equal(kvt_remove_all(store, NULL), KVT_ERR_UNABLE_OFFLOAD);
        assert_int_equal(kvt_evict(store, 0, 0, NULL, NULL),
                         KVT_ERR_UNABLE_OFFLOAD);
        assert_int_equal(get_named(store, "old", 1, 1, SIZE), KVT_OK);
        store_stop(fixture);
        assert_true(tree_digest(fixture->path) == before);
    }
    store_set(fixture, "read_only", "off");
    store_start(fixture);
    assert_int_equal(stats_of(fixture->store).objects, KEYS + 1);
}

/* Roots ---------------------------------------------------------------------
 */

static void a_tree_with_names_of_buckets_is_refused(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    struct kvt_store *store = NULL;
    struct kvt_error err = {0};
    store_path(fixture, "w-00000000000000aa", path);
    make_directory(path);
    store_path(fixture, "w-00000000000000aa/0000000000000001.kvb", path);
    file_write(path, "blob", 4);
    uint64_t before = tree_digest(fixture->path);
    assert_int_equal(kvt_store_open(fixture->config, NULL, &store, &err),
                     KVT_ERR_INVALID_PARAMS);
    assert_non_null(strstr(err.message, "no store"));
    assert_true(tree_digest(fixture->path) == before);
    assert_int_equal(store_open_other(fixture, true, &store, &err),
                     KVT_ERR_FILE_NOT_FOUND);
    assert_true(tree_digest(fixture->path) == before);
}

/* A killed owner -------------------------------------------------------------
 */

/* One byte to the parent for each that was acknowledged, until it is killed. */
static void put_until_killed(struct store_fixture *fixture, int in, int out)
{
    struct kvt_store *store = NULL;
    struct kvt_error err;
    (void)in;
    if (kvt_store_open(fixture->config, NULL, &store, &err) != KVT_OK) {
        _exit(1);
    }
    for (uint64_t i = 0;; i++) {
        char byte = 'y';
        if (put_named(store, "k", i % KEYS, i, SIZE) != KVT_OK ||
            write(out, &byte, 1) != 1) {
            _exit(2);
        }
    }
}

static void what_a_killed_owner_acknowledged_is_there(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "bucket.size_limit", "128KiB"); /* seals, too */
    for (unsigned round = 0; round < 10 * test_scale(); round++) {
        struct child owner;
        char bytes[512];
        uint64_t told = 0;
        uint64_t until = 30 + 17 * round % 200;
        ssize_t got;
        child_start(&owner, fixture, put_until_killed);
        while (told < until) {
            child_wait(&owner, 'y');
            told++;
        }
        assert_int_equal(kill(owner.pid, SIGKILL), 0);
        while ((got = read(owner.from, bytes, sizeof bytes)) > 0) {
            told += (uint64_t)got;
        }
        child_end(&owner, true);
        store_start(fixture);
        assert_int_equal(stats_of(fixture->store).objects, KEYS);
        for (uint64_t i = 0; i < KEYS; i++) {
            /* the last one told of, or one that was under way */
            uint64_t last = (told - 1) / KEYS * KEYS + i;
            last -= last >= told ? KEYS : 0;
            int status = KVT_ERR_INTERNAL;
            char value[SIZE];
            struct named_key named;
            struct kvt_slice slice = {value, SIZE, NULL};
            name_key(&named, "k", i);
            struct kvt_object object = {
                .key = named.key, .slices = &slice, .slice_count = 1};
            assert_int_equal(kvt_batch_load(fixture->store, &object, 1, NULL),
                             1);
            if (value_is(value, SIZE, last) ||
                (told % KEYS == i && value_is(value, SIZE, told))) {
                status = KVT_OK;
            }
            assert_int_equal(status, KVT_OK);
        }
        store_stop(fixture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test_fast(a_reader_beside_an_owner_sees_what_is_sealed),
        store_test_fast(a_reader_changes_nothing),
        store_test_fast(a_tree_with_names_of_buckets_is_refused),
        store_test_fast(what_a_killed_owner_acknowledged_is_there),
    };
    return store_log_disk_rows_run("processes of a log", tests,
                                   sizeof tests / sizeof tests[0]);
}
