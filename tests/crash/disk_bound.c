/* Four threads write far more than the limit, replace, remove and load, and
 * their process is killed every few seconds and opens the store again. What
 * the directory takes on disk, read all the while from outside, never passes
 * the limit, and no load has wrong bytes. KVT_TEST_SCALE=100: ten minutes a
 * row, killed every ten seconds. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "support/store_fixture.h"

#include "core/clock.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    LIMIT_BYTES = 24 << 20,
    THREADS = 4,
    KEYS = 4000, /* eight times what fits */
    BATCH = 16,
    SIZE_MAX_BYTES = 100000,
    WRITTEN_LEAST = 1500, /* three times what fits */
    SECONDS = 4,
    KILLED_EVERY_MS = 1000,
    KILLED_EVERY_MOST_MS = 10000,
    LOOKED_AT_EVERY_MS = 20,
};

/* In memory that parent and child share; all of it atomic. */
struct shared {
    uint64_t written;
    uint64_t refused;
    uint64_t hits;
    uint64_t wrong;
};

static struct shared *shared;

static void add(uint64_t *number)
{
    __atomic_fetch_add(number, 1, __ATOMIC_RELAXED);
}

/* Values: the first bytes say which one it is ------------------------------ */

static size_t size_of(uint64_t seed)
{
    return 8 + (size_t)(seed * 7919 % (SIZE_MAX_BYTES - 8));
}

static void fill(unsigned char *bytes, uint64_t seed)
{
    value_fill(bytes, size_of(seed), seed);
    memcpy(bytes, &seed, sizeof seed);
}

static bool is_right(const unsigned char *bytes, uint64_t size, uint64_t key)
{
    unsigned char expected[SIZE_MAX_BYTES];
    uint64_t seed;
    memcpy(&seed, bytes, sizeof seed);
    if (seed % KEYS != key || size != size_of(seed)) {
        return false;
    }
    fill(expected, seed);
    return memcmp(bytes, expected, (size_t)size) == 0;
}

/* The process that is killed ----------------------------------------------- */

struct worker {
    struct kvt_store *store;
    uint64_t random;
    struct named_key names[BATCH];
    struct kvt_slice slices[BATCH];
    struct kvt_object objects[BATCH];
    uint64_t keys[BATCH];
    unsigned char bytes[BATCH][SIZE_MAX_BYTES];
};

/* A batch of keys, each with `size` bytes of memory. */
static size_t choose(struct worker *worker)
{
    size_t count = 1 + random_next(&worker->random) % BATCH;
    for (size_t i = 0; i < count; i++) {
        worker->keys[i] = random_next(&worker->random) % KEYS;
        name_key(&worker->names[i], "bound/key@", worker->keys[i]);
        worker->slices[i] =
            (struct kvt_slice){worker->bytes[i], SIZE_MAX_BYTES, NULL};
        worker->objects[i] = (struct kvt_object){.key = worker->names[i].key,
                                                 .slices = &worker->slices[i],
                                                 .slice_count = 1};
    }
    return count;
}

static void write_some(struct worker *worker)
{
    size_t count = choose(worker);
    for (size_t i = 0; i < count; i++) {
        uint64_t version = random_next(&worker->random) % 1000000;
        uint64_t seed = version * KEYS + worker->keys[i];
        fill(worker->bytes[i], seed);
        worker->slices[i].size = size_of(seed);
    }
    kvt_batch_offload(worker->store, worker->objects, count, NULL);
    for (size_t i = 0; i < count; i++) {
        bool written = worker->objects[i].status == KVT_OK;
        add(written ? &shared->written : &shared->refused);
    }
}

static void load_some(struct worker *worker)
{
    size_t count = choose(worker);
    kvt_batch_load(worker->store, worker->objects, count, NULL);
    for (size_t i = 0; i < count; i++) {
        const struct kvt_object *object = &worker->objects[i];
        if (object->status == KVT_OK) {
            add(is_right(worker->bytes[i], object->size, worker->keys[i])
                    ? &shared->hits
                    : &shared->wrong);
        }
    }
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    for (;;) {
        uint64_t what = random_next(&worker->random) % 16;
        if (what < 10) {
            write_some(worker);
        } else if (what < 15) {
            load_some(worker);
        } else {
            kvt_batch_remove(worker->store, worker->objects, choose(worker),
                             NULL);
        }
    }
    return NULL;
}

static pid_t start(struct store_fixture *fixture, uint64_t *random)
{
    uint64_t seed = random_next(random);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) {
        return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when the test fails */
    static struct worker workers[THREADS];
    struct kvt_store *store;
    struct kvt_error err;
    if (kvt_store_open(fixture->config, NULL, &store, &err) != KVT_OK) {
        fprintf(stderr, "%s\n", err.message);
        _exit(1);
    }
    for (uint64_t i = 0; i < THREADS; i++) {
        pthread_t thread;
        workers[i].store = store;
        workers[i].random = seed + i;
        pthread_create(&thread, NULL, work, &workers[i]);
    }
    for (;;) {
        pause();
    }
}

/* From outside ------------------------------------------------------------- */

static void look(const struct store_fixture *fixture, uint64_t *most)
{
    uint64_t limit = LIMIT_BYTES;
    if (fixture->row->file_per_object) {
        limit += 300 * 4096; /* its directories are beside the limit */
    }
    uint64_t used = UINT64_MAX;
    for (int i = 0; i < 3; i++) { /* one look counts what goes and what comes */
        uint64_t one = disk_usage(fixture->path);
        used = one < used ? one : used;
    }
    *most = used > *most ? used : *most;
    if (used > limit) {
        fail_msg("%llu bytes on disk, the limit is %llu",
                 (unsigned long long)used, (unsigned long long)limit);
    }
}

/* Lets the process work for a while and kills it. */
static void round_of(struct store_fixture *fixture, int64_t end_ns,
                     uint64_t *random, uint64_t *most)
{
    const struct timespec a_while = {0, LOOKED_AT_EVERY_MS * 1000000};
    int status;
    pid_t pid = start(fixture, random);
    while (kvt_clock_ns() < end_ns) {
        nanosleep(&a_while, NULL);
        look(fixture, most);
    }
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status)); /* it did not end by itself */
    look(fixture, most);
}

static void the_disk_is_bounded_at_every_moment(void **state)
{
    struct store_fixture *fixture = *state;
    int64_t round_ms = (int64_t)KILLED_EVERY_MS * test_scale();
    uint64_t random = (uint64_t)kvt_clock_ns();
    uint64_t most = 0;
    round_ms =
        round_ms < KILLED_EVERY_MOST_MS ? round_ms : KILLED_EVERY_MOST_MS;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(shared, MAP_FAILED);
    store_set_number(fixture, "total_size_limit", LIMIT_BYTES);
    if (store_is_log(fixture)) {
        store_set_number(fixture, "bucket.size_limit", 1 << 20);
    }
    int64_t now_ns = kvt_clock_ns();
    int64_t end_ns = now_ns + (int64_t)SECONDS * test_scale() * 1000000000;
    unsigned kills = 0;
    for (; now_ns < end_ns || shared->written < WRITTEN_LEAST;
         now_ns = kvt_clock_ns(), kills++) {
        store_set(fixture, "eviction",
                  store_is_log(fixture) && kills % 2 == 0 ? "second_chance"
                                                          : "lru");
        round_of(fixture, now_ns + round_ms * 1000000, &random, &most);
    }
    store_start(fixture);
    look(fixture, &most);
    store_stop(fixture);
    look(fixture, &most);
    print_message("%u kills; at most %.1f %% of the limit; %llu written, "
                  "%llu refused, %llu hits\n",
                  kills, 100.0 * (double)most / LIMIT_BYTES,
                  (unsigned long long)shared->written,
                  (unsigned long long)shared->refused,
                  (unsigned long long)shared->hits);
    assert_int_equal(shared->wrong, 0);
    assert_true(shared->hits > 0);
    assert_true(most > LIMIT_BYTES / 2); /* the limit was in reach */
    munmap(shared, sizeof *shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(the_disk_is_bounded_at_every_moment),
    };
    return store_owned_disk_rows_run("processes, bounded", tests, 1);
}
