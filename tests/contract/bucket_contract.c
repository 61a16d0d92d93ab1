/* What only bucket does: seals, runs of many objects, restarts by checkpoint
 * or by walking, eviction of whole buckets and what they killed. */
#define _XOPEN_SOURCE 700
#include "support/bucket_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    SIZE = 3000
};

static const struct store_row posix_row = {"bucket", "posix", false, true,
                                           NULL};

static struct bucket_files files;

static void pause_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

static bool has_table(const struct store_fixture *fixture, const char *name)
{
    static const unsigned char magic[4] = {0x89, 'K', 'V', 'T'};
    char path[FILE_PATH_MAX];
    size_t size;
    store_path(fixture, name, path);
    unsigned char *bytes = file_read(path, &size);
    bool has = size >= 2 * KVT_BUCKET_BLOCK &&
               memcmp(bytes + size - KVT_BUCKET_FOOTER_SIZE, magic, 4) == 0;
    free(bytes);
    return has;
}

static size_t sealed_files(const struct store_fixture *fixture)
{
    size_t count = 0;
    bucket_files_find(fixture, &files);
    for (size_t i = 0; i < files.count; i++) {
        count += has_table(fixture, files.names[i]);
    }
    return count;
}

/* `count` objects in one batch; how many were stored. */
static int put_batch(struct kvt_store *store, uint64_t first, size_t count,
                     size_t size, uint64_t salt)
{
    struct kvt_object *objects = calloc(count, sizeof *objects);
    struct kvt_slice *slices = calloc(count, sizeof *slices);
    struct named_key *names = calloc(count, sizeof *names);
    char *bytes = malloc(count * size + 1);
    for (size_t i = 0; i < count; i++) {
        name_key(&names[i], "k", first + i);
        value_fill(bytes + i * size, size, first + i + salt);
        slices[i] = (struct kvt_slice){bytes + i * size, size, NULL};
        objects[i] = (struct kvt_object){
            .key = names[i].key, .slices = &slices[i], .slice_count = 1};
    }
    int done = kvt_batch_offload(store, objects, count, NULL);
    free(objects);
    free(slices);
    free(names);
    free(bytes);
    return done;
}

/* Loads them in batches; all must be there. */
static void expect_batch(struct kvt_store *store, uint64_t first, size_t count,
                         size_t size, uint64_t salt, size_t together)
{
    struct kvt_object *objects = calloc(together, sizeof *objects);
    struct kvt_slice *slices = calloc(together, sizeof *slices);
    struct named_key *names = calloc(together, sizeof *names);
    char *bytes = malloc(together * size + 1);
    for (size_t at = 0; at < count; at += together) {
        size_t part = count - at < together ? count - at : together;
        for (size_t i = 0; i < part; i++) {
            name_key(&names[i], "k", first + at + i);
            slices[i] = (struct kvt_slice){bytes + i * size, size, NULL};
            objects[i] = (struct kvt_object){
                .key = names[i].key, .slices = &slices[i], .slice_count = 1};
        }
        assert_int_equal(kvt_batch_load(store, objects, part, NULL), part);
        for (size_t i = 0; i < part; i++) {
            assert_int_equal(objects[i].size, size);
            assert_true(
                value_is(bytes + i * size, size, first + at + i + salt));
        }
    }
    free(objects);
    free(slices);
    free(names);
    free(bytes);
}

/* Seals ---------------------------------------------------------------------
 */

static void a_bucket_is_sealed_when_it_has_its_keys(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "bucket.keys_limit", "4");
    store_start(fixture);
    for (uint64_t i = 0; i < 9; i++) {
        assert_int_equal(put_named(fixture->store, "k", i, i, SIZE), KVT_OK);
    }
    for (int i = 0; i < 500 && sealed_files(fixture) < 2; i++) {
        pause_ms(10);
    }
    assert_int_equal(sealed_files(fixture), 2);
    for (uint64_t i = 0; i < 9; i++) {
        assert_int_equal(get_named(fixture->store, "k", i, i, SIZE), KVT_OK);
    }
}

static void a_bucket_is_sealed_when_it_has_its_bytes(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "bucket.size_limit", "64KiB");
    store_start(fixture);
    for (uint64_t i = 0; i < 20; i++) {
        assert_int_equal(put_named(fixture->store, "k", i, i, 10000), KVT_OK);
    }
    bucket_settle(fixture->store);
    bucket_files_find(fixture, &files);
    assert_true(files.count >= 5);
    for (size_t i = 0; i < files.count; i++) {
        char path[FILE_PATH_MAX];
        size_t size;
        store_path(fixture, files.names[i], path);
        free(file_read(path, &size));
        assert_true(size <= (64 << 10) + 2 * KVT_BUCKET_BLOCK);
    }
}

static void an_idle_bucket_is_sealed(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "bucket.seal_after_ms", "30");
    store_start(fixture);
    assert_int_equal(put_named(fixture->store, "k", 1, 1, SIZE), KVT_OK);
    for (int i = 0; i < 500 && sealed_files(fixture) < 1; i++) {
        pause_ms(10);
    }
    assert_int_equal(sealed_files(fixture), 1);
    assert_int_equal(get_named(fixture->store, "k", 1, 1, SIZE), KVT_OK);
}

/* Batches -------------------------------------------------------------------
 */

static void a_batch_may_be_larger_than_a_bucket(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "bucket.size_limit", "64KiB");
    store_set(fixture, "bucket.keys_limit", "7");
    store_start(fixture);
    assert_int_equal(put_batch(fixture->store, 0, 100, SIZE, 1), 100);
    expect_batch(fixture->store, 0, 100, SIZE, 1, 100);
    store_restart(fixture);
    expect_batch(fixture->store, 0, 100, SIZE, 1, 7);
    bucket_files_find(fixture, &files);
    assert_true(files.count >= 100 / 7);
}

static void a_batch_may_have_ten_thousand_objects(void **state)
{
    struct store_fixture *fixture = *state;
    store_start(fixture);
    assert_int_equal(put_batch(fixture->store, 0, 10000, 100, 1), 10000);
    assert_int_equal(put_batch(fixture->store, 0, 10000, 120, 2), 10000);
    expect_batch(fixture->store, 0, 10000, 120, 2, 10000);
    store_restart(fixture);
    expect_batch(fixture->store, 0, 10000, 120, 2, 1000);
    assert_int_equal(stats_of(fixture->store).objects, 10000);
}

static void an_object_may_be_larger_than_a_bucket(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "bucket.size_limit", "64KiB");
    store_start(fixture);
    assert_int_equal(put_named(fixture->store, "k", 1, 1, 300000), KVT_OK);
    assert_int_equal(put_named(fixture->store, "k", 2, 2, 65536), KVT_OK);
    assert_int_equal(put_named(fixture->store, "k", 3, 3, 1), KVT_OK);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(get_named(fixture->store, "k", 1, 1, 300000), KVT_OK);
        assert_int_equal(get_named(fixture->store, "k", 2, 2, 65536), KVT_OK);
        assert_int_equal(get_named(fixture->store, "k", 3, 3, 1), KVT_OK);
        store_restart(fixture);
    }
}

/* Threads write side by side into one log; what was acknowledged is there
 * after a kill at any moment. The child tells by a pipe. */
enum {
    THREADS = 8,
    PUTS = 60,
};
static int told_pipe[2];

struct putter {
    struct kvt_store *store;
    unsigned number;
};

static void *put_and_tell(void *arg)
{
    const struct putter *putter = arg;
    for (uint64_t i = 0; i < PUTS; i++) {
        uint16_t at = (uint16_t)(putter->number * PUTS + i);
        if (put_named(putter->store, "k", at, at, SIZE + at) != KVT_OK ||
            write(told_pipe[1], &at, sizeof at) != (ssize_t)sizeof at) {
            return arg;
        }
    }
    return NULL;
}

static bool put_in_threads(struct kvt_store *store)
{
    pthread_t threads[THREADS];
    struct putter putters[THREADS];
    bool good = true;
    for (unsigned i = 0; i < THREADS; i++) {
        putters[i] = (struct putter){store, i};
        pthread_create(&threads[i], NULL, put_and_tell, &putters[i]);
    }
    /* the last one dies in the middle of its work */
    for (unsigned i = 0; i + 1 < THREADS; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        good = good && failed == NULL;
    }
    return good;
}

static void what_threads_were_told_is_there_after_a_kill(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "bucket.keys_limit", "100");
    uint16_t at;
    size_t count = 0;
    assert_int_equal(pipe(told_pipe), 0);
    bucket_die_after(fixture, put_in_threads);
    close(told_pipe[1]);
    store_start(fixture);
    while (read(told_pipe[0], &at, sizeof at) == (ssize_t)sizeof at) {
        assert_int_equal(get_named(fixture->store, "k", at, at, SIZE + at),
                         KVT_OK);
        count++;
    }
    close(told_pipe[0]);
    assert_true(count >= (THREADS - 1) * PUTS);
    assert_true(stats_of(fixture->store).objects >= count);
}

/* Restarts ------------------------------------------------------------------
 */

/* How many elements of this kind the trace has that name a bucket. */
static size_t traced(const char *path, const char *op, const char *name)
{
    char line[4096];
    size_t count = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        count += strstr(line, op) != NULL && strstr(line, name) != NULL;
    }
    fclose(file);
    return count;
}

/* Opens the store once more; how many tables that read. */
static size_t tables_read_at_open(struct store_fixture *fixture)
{
    char path[FILE_PATH_MAX];
    snprintf(path, sizeof path, "%s.trace", fixture->path);
    remove(path);
    store_set(fixture, "fs", "trace:posix");
    store_set(fixture, "trace.file", path);
    store_start(fixture);
    store_stop(fixture); /* the trace is whole */
    size_t count = traced(path, "\"fetch\"", ".kvb");
    assert_true(traced(path, "\"open\"", ".kvtier/index") > 0);
    remove(path);
    store_set(fixture, "fs", "posix");
    return count;
}

static void fill_some(struct store_fixture *fixture)
{
    store_set(fixture, "bucket.keys_limit", "4");
    store_start(fixture);
    for (uint64_t i = 0; i < 10; i++) {
        assert_int_equal(put_named(fixture->store, "k", i, i, SIZE), KVT_OK);
    }
    assert_int_equal(put_named(fixture->store, "k", 3, 33, SIZE), KVT_OK);
    assert_int_equal(remove_named(fixture->store, "k", 4), KVT_OK);
}

static void expect_some(struct store_fixture *fixture)
{
    for (uint64_t i = 0; i < 10; i++) {
        if (i == 4) {
            assert_false(has_named(fixture->store, "k", i));
        } else {
            assert_int_equal(
                get_named(fixture->store, "k", i, i == 3 ? 33 : i, SIZE),
                KVT_OK);
        }
    }
    assert_int_equal(stats_of(fixture->store).objects, 9);
}

static void a_clean_close_spares_the_tables(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    fill_some(fixture);
    store_stop(fixture);
    store_path(fixture, ".kvtier/index", path);
    assert_int_equal(tables_read_at_open(fixture), 0);
    store_start(fixture);
    expect_some(fixture);
    struct kvt_stats from_checkpoint = stats_of(fixture->store);
    store_stop(fixture);
    assert_int_equal(remove(path), 0);
    assert_true(tables_read_at_open(fixture) >= 3);
    /* and there is one again */
    assert_int_equal(tables_read_at_open(fixture), 0);
    assert_int_equal(remove(path), 0);
    store_start(fixture);
    expect_some(fixture);
    struct kvt_stats from_tables = stats_of(fixture->store);
    assert_int_equal(from_tables.objects, from_checkpoint.objects);
    assert_int_equal(from_tables.object_bytes, from_checkpoint.object_bytes);
    assert_int_equal(from_tables.value_bytes, from_checkpoint.value_bytes);
    assert_int_equal(from_tables.allocated_bytes,
                     from_checkpoint.allocated_bytes);
}

static void a_checkpoint_goes_with_the_first_change(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    fill_some(fixture);
    store_path(fixture, ".kvtier/index", path);
    assert_false(file_exists(path));
    store_restart(fixture);
    assert_true(file_exists(path));
    assert_int_equal(get_named(fixture->store, "k", 1, 1, SIZE), KVT_OK);
    assert_true(file_exists(path));
    assert_int_equal(remove_named(fixture->store, "k", 1), KVT_OK);
    assert_false(file_exists(path));
    store_restart(fixture);
    assert_true(file_exists(path));
    assert_int_equal(put_named(fixture->store, "k", 20, 1, SIZE), KVT_OK);
    assert_false(file_exists(path));
}

static bool work_and_die(struct kvt_store *store)
{
    bool good = true;
    for (uint64_t i = 0; i < 10; i++) {
        good = good && put_named(store, "k", i, i, SIZE) == KVT_OK;
    }
    return good && put_named(store, "k", 3, 33, SIZE) == KVT_OK &&
           remove_named(store, "k", 4) == KVT_OK;
}

static void a_killed_owner_leaves_all_that_it_acknowledged(void **state)
{
    static const char *const levels[] = {"none", "seal", "batch"};
    struct store_fixture *fixture = *state;
    for (size_t i = 0; i < 3; i++) {
        store_set(fixture, "durability", levels[i]);
        store_set(fixture, "bucket.keys_limit", i == 1 ? "4" : "500");
        bucket_die_after(fixture, work_and_die);
        store_start(fixture);
        expect_some(fixture);
        store_restart(fixture);
        expect_some(fixture);
        assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
        store_stop(fixture);
    }
}

static void a_reader_beside_the_owner_sees_what_is_sealed(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_store *reader;
    struct kvt_error err;
    uint64_t digest;
    store_start(fixture);
    assert_int_equal(put_named(fixture->store, "k", 1, 1, SIZE), KVT_OK);
    bucket_settle(fixture->store);
    assert_int_equal(put_named(fixture->store, "k", 2, 2, SIZE), KVT_OK);
    digest = tree_digest(fixture->path);
    assert_int_equal(store_open_other(fixture, true, &reader, &err), KVT_OK);
    assert_int_equal(get_named(reader, "k", 1, 1, SIZE), KVT_OK);
    int status = get_named(reader, "k", 2, 2, SIZE);
    assert_true(status == KVT_OK || status == KVT_ERR_OBJECT_NOT_FOUND);
    assert_true(put_named(reader, "k", 3, 3, SIZE) < 0);
    kvt_store_close(reader);
    assert_true(tree_digest(fixture->path) == digest);
    assert_int_equal(get_named(fixture->store, "k", 2, 2, SIZE), KVT_OK);
    assert_int_equal(store_open_other(fixture, false, &reader, &err),
                     KVT_ERR_FILE_LOCK_FAIL);
}

/* Room ----------------------------------------------------------------------
 */

static void a_bucket_without_live_objects_goes(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "bucket.keys_limit", "4");
    store_start(fixture);
    for (uint64_t i = 0; i < 8; i++) {
        assert_int_equal(put_named(fixture->store, "k", i, i, SIZE), KVT_OK);
    }
    bucket_settle(fixture->store);
    bucket_files_find(fixture, &files);
    char first[BKT_PATH_MAX];
    char path[FILE_PATH_MAX];
    memcpy(first, files.names[0], sizeof first);
    for (uint64_t i = 0; i < 4; i++) {
        assert_int_equal(remove_named(fixture->store, "k", i), KVT_OK);
    }
    store_restart(fixture);
    bucket_settle(fixture->store);
    store_path(fixture, first, path);
    assert_false(file_exists(path));
    for (uint64_t i = 0; i < 8; i++) {
        assert_true(has_named(fixture->store, "k", i) == (i >= 4));
    }
}

static void room_of_the_dead_is_given_back(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        LARGE = 256 << 10
    };
    store_set(fixture, "total_size_limit", "16MiB");
    store_set(fixture, "eviction", "none");
    store_start(fixture);
    uint64_t next = 0;
    while (put_named(fixture->store, "k", next, next, LARGE) == KVT_OK) {
        next++;
    }
    assert_true(next > 30);
    bucket_settle(fixture->store);
    for (uint64_t i = 0; i < next; i += 2) {
        assert_int_equal(remove_named(fixture->store, "k", i), KVT_OK);
    }
    uint64_t allocated = stats_of(fixture->store).allocated_bytes;
    uint64_t usage = disk_usage(fixture->path);
    /* who needs it gets it */
    for (uint64_t i = 0; i < next / 4; i++) {
        assert_int_equal(put_named(fixture->store, "n", i, i, LARGE), KVT_OK);
    }
    bucket_settle(fixture->store);
    struct kvt_stats stats = stats_of(fixture->store);
    assert_true(stats.allocated_bytes <= 16 << 20);
    assert_true(stats.allocated_bytes <= allocated + (LARGE << 1));
    assert_true(disk_usage(fixture->path) < usage + (LARGE << 2));
    assert_true(disk_usage(fixture->path) <= (16 << 20) + (1 << 20));
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < next; i++) {
            assert_int_equal(get_named(fixture->store, "k", i, i, LARGE),
                             i % 2 == 0 ? KVT_ERR_OBJECT_NOT_FOUND : KVT_OK);
        }
        for (uint64_t i = 0; i < next / 4; i++) {
            assert_int_equal(get_named(fixture->store, "n", i, i, LARGE),
                             KVT_OK);
        }
        store_restart(fixture);
    }
}

/* k1 and a neighbour in the first bucket, k1 again in the second. */
static void fill_two(struct store_fixture *fixture)
{
    store_set(fixture, "eviction", "lru");
    store_start(fixture);
    assert_int_equal(put_named(fixture->store, "k", 1, 1, SIZE), KVT_OK);
    assert_int_equal(put_named(fixture->store, "k", 9, 9, SIZE), KVT_OK);
    bucket_settle(fixture->store);
    assert_int_equal(put_named(fixture->store, "k", 1, 2, SIZE), KVT_OK);
    bucket_settle(fixture->store);
    assert_int_equal(get_named(fixture->store, "k", 9, 9, SIZE), KVT_OK);
}

static void expect_killed(struct store_fixture *fixture)
{
    struct kvt_evict_result result = {0};
    char path[FILE_PATH_MAX];
    assert_int_equal(kvt_bkt_evict_one(bkt_of(fixture->store), false, &result),
                     0);
    assert_int_equal(result.objects, 1);
    for (int round = 0; round < 2; round++) {
        assert_false(has_named(fixture->store, "k", 1));
        assert_int_equal(get_named(fixture->store, "k", 9, 9, SIZE), KVT_OK);
        store_stop(fixture);
        store_path(fixture, ".kvtier/index", path);
        remove(path); /* from the tables */
        store_start(fixture);
    }
}

static void an_evicted_replacement_brings_nothing_back(void **state)
{
    struct store_fixture *fixture = *state;
    fill_two(fixture);
    expect_killed(fixture);
}

static void an_unreadable_replacement_brings_nothing_back(void **state)
{
    struct store_fixture *fixture = *state;
    char path[FILE_PATH_MAX];
    size_t size;
    fill_two(fixture);
    bucket_files_find(fixture, &files);
    store_path(fixture, files.names[1], path);
    unsigned char *bytes = file_read(path, &size);
    memset(bytes + size - KVT_BUCKET_BLOCK, 0x77, KVT_BUCKET_BLOCK);
    file_write(path, bytes, size);
    free(bytes);
    expect_killed(fixture);
}

/* Descriptors ---------------------------------------------------------------
 */

static void few_descriptors_are_enough_for_many_buckets(void **state)
{
    struct store_fixture *fixture = *state;
    struct rlimit limit;
    struct rlimit low;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = (struct rlimit){64, limit.rlim_max};
    store_set(fixture, "bucket.keys_limit", "2");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    store_start(fixture);
    for (uint64_t i = 0; i < 600; i += 2) {
        assert_int_equal(put_batch(fixture->store, i, 2, 500, 5), 2);
    }
    for (int round = 0; round < 3; round++) {
        bucket_settle(fixture->store);
        assert_true(stats_of(fixture->store).buckets >= 300);
        expect_batch(fixture->store, 0, 600, 500, 5, 128);
        expect_batch(fixture->store, 1, 599, 500, 5, 600);
        store_restart(fixture);
    }
    store_stop(fixture);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Of small objects the index is no small part; it is written at a close. */
static void a_closed_store_is_within_its_limit(void **state)
{
    enum {
        LIMIT = 24 << 20,
        TOGETHER = 100
    };
    struct store_fixture *fixture = *state;
    uint64_t stored = 0;
    int done;
    store_set_number(fixture, "total_size_limit", LIMIT);
    store_set(fixture, "eviction", "none");
    for (int restarts = 0; restarts < 2; restarts++) {
        store_start(fixture);
        do {
            done = put_batch(fixture->store, stored, TOGETHER, 10, 0);
            stored += (uint64_t)done;
        } while (done == TOGETHER);
        store_stop(fixture);
        assert_true(disk_usage(fixture->path) <= LIMIT);
    }
    assert_true(stored > LIMIT / KVT_BUCKET_BLOCK * 9 / 10);
    store_start(fixture);
    assert_int_equal(stats_of(fixture->store).objects, stored);
}

/* Fills a store of few keys, and uses every third object of the oldest
 * bucket; then more comes, perhaps (`all_go`) as if beside a call that removes
 * all. Returns how many of those used are left. */
static size_t used_that_stay(struct store_fixture *fixture, const char *share,
                             bool all_go)
{
    enum {
        LIMIT = 80, /* eight buckets */
        PART = 10
    };
    size_t left = 0;
    store_set_number(fixture, "total_keys_limit", LIMIT);
    store_set(fixture, "eviction", "second_chance");
    store_set(fixture, "bucket.rewrite_limit", share);
    store_start(fixture);
    for (uint64_t i = 0; i < LIMIT; i += PART) {
        assert_int_equal(put_batch(fixture->store, i, PART, SIZE, 0), PART);
    }
    for (uint64_t i = 0; i < PART; i += 3) {
        assert_int_equal(get_named(fixture->store, "k", i, i, SIZE), KVT_OK);
    }
    bucket_settle(fixture->store); /* one that is being sealed is passed over */
    bkt_of(fixture->store)->clearing += all_go;
    assert_int_equal(put_batch(fixture->store, LIMIT, 1, SIZE, 0), 1);
    for (uint64_t i = 0; i < PART; i++) {
        bool is_there = has_named(fixture->store, "k", i);
        assert_true(!is_there || i % 3 == 0);
        left += is_there;
    }
    struct kvt_stats stats = stats_of(fixture->store);
    assert_int_equal(stats.objects, LIMIT - PART + left + 1);
    assert_int_equal(stats.evicted_objects, PART - left);
    assert_int_equal(stats.rewritten_bytes, left * KVT_BUCKET_BLOCK);
    store_restart(fixture);
    assert_int_equal(stats_of(fixture->store).objects, stats.objects);
    for (uint64_t i = 0; i < PART; i++) {
        assert_int_equal(get_named(fixture->store, "k", i, i, SIZE) == KVT_OK,
                         i % 3 == 0 && left > 0);
    }
    return left;
}

static void what_was_used_gets_a_second_chance(void **state)
{
    assert_int_equal(used_that_stay(*state, "0.20", false), 4);
}

static void nothing_is_written_again_without_a_share(void **state)
{
    assert_int_equal(used_that_stay(*state, "0", false), 0);
}

/* It would get away from the call. */
static void nothing_is_written_again_while_all_is_removed(void **state)
{
    assert_int_equal(used_that_stay(*state, "0.20", true), 0);
}

static void a_share_that_makes_no_room_is_refused(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_store *store;
    struct kvt_error err;
    store_set(fixture, "bucket.rewrite_limit", "0.95");
    assert_int_equal(kvt_store_open(fixture->config, NULL, &store, &err),
                     KVT_ERR_INVALID_PARAMS);
    assert_non_null(strstr(err.message, "bucket.rewrite_limit"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test_fast(a_bucket_is_sealed_when_it_has_its_keys),
        store_test_fast(a_bucket_is_sealed_when_it_has_its_bytes),
        store_test_fast(an_idle_bucket_is_sealed),
        store_test_fast(a_batch_may_be_larger_than_a_bucket),
        store_test_fast(a_batch_may_have_ten_thousand_objects),
        store_test_fast(an_object_may_be_larger_than_a_bucket),
        store_test_fast(what_threads_were_told_is_there_after_a_kill),
        store_test_fast(a_clean_close_spares_the_tables),
        store_test_fast(a_checkpoint_goes_with_the_first_change),
        store_test_fast(a_killed_owner_leaves_all_that_it_acknowledged),
        store_test_fast(a_reader_beside_the_owner_sees_what_is_sealed),
        store_test_fast(a_bucket_without_live_objects_goes),
        store_test_fast(room_of_the_dead_is_given_back),
        store_test_fast(an_evicted_replacement_brings_nothing_back),
        store_test_fast(an_unreadable_replacement_brings_nothing_back),
        store_test_fast(few_descriptors_are_enough_for_many_buckets),
        store_test(a_closed_store_is_within_its_limit),
        store_test(what_was_used_gets_a_second_chance),
        store_test(nothing_is_written_again_without_a_share),
        store_test(nothing_is_written_again_while_all_is_removed),
        store_test(a_share_that_makes_no_room_is_refused),
    };
    return store_row_run(&posix_row, "bucket", tests,
                         sizeof tests / sizeof tests[0]);
}
