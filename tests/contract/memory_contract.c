/* Every allocation fails in turn, and from there on, under every backend:
 * an error or a success, never a crash, a leak, wrong bytes or a store that
 * does not work when there is memory again. The linker puts the __wrap_
 * functions below in the place of the allocator's. */
#include "support/store_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEYS = 3,
    SIZE = 3000,
    ROUNDS_MAX = 20000,
};

/* What fails: the n-th call from now, or it and all later; 0 = none. */
static unsigned long calls;
static unsigned long fail_at;
static bool fail_on;
static unsigned long failed;

static bool fails(void)
{
    unsigned long at = __atomic_load_n(&fail_at, __ATOMIC_RELAXED);
    unsigned long call = __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    bool now = at != 0 && (call == at || (fail_on && call > at));
    if (now) {
        __atomic_add_fetch(&failed, 1, __ATOMIC_RELAXED);
    }
    return now;
}

static void start_failing(unsigned long at, bool on)
{
    fail_on = on;
    __atomic_store_n(&failed, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&calls, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&fail_at, at, __ATOMIC_RELAXED);
}

static void stop_failing(void)
{
    __atomic_store_n(&fail_at, 0, __ATOMIC_RELAXED);
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
int __real_posix_memalign(void **memory, size_t alignment, size_t size);
char *__real_strdup(const char *text);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          void *(*run)(void *), void *arg);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          void *(*run)(void *), void *arg);

static void *no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? no_memory() : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? no_memory() : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails() ? no_memory() : __real_realloc(memory, size);
}

int __wrap_posix_memalign(void **memory, size_t alignment, size_t size)
{
    return fails() ? ENOMEM : __real_posix_memalign(memory, alignment, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? no_memory() : __real_strdup(text);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                          void *(*run)(void *), void *arg)
{
    return fails() ? EAGAIN : __real_pthread_create(thread, attr, run, arg);
}

/* The work ----------------------------------------------------------------- */

struct work {
    struct store_fixture *fixture;
    unsigned allowed[KEYS]; /* versions: 1 << v; 1: absent */
};

typedef int (*batch_fn)(struct kvt_store *, struct kvt_object *, size_t,
                        struct kvt_batch_options *);

static uint64_t seed_of(size_t key, unsigned version)
{
    return key * 100 + version;
}

/* All keys in one batch, with or without a deadline. */
static int run(struct work *work, batch_fn batch, unsigned version,
               bool deadline, struct kvt_object objects[KEYS],
               unsigned char bytes[KEYS][SIZE])
{
    static const char *const names[KEYS] = {"a", "b", "c"};
    static struct kvt_slice slices[KEYS];
    struct kvt_batch_options options = {.size = sizeof options,
                                        .deadline_ms = deadline ? 20000 : 0};
    for (size_t key = 0; key < KEYS; key++) {
        slices[key] = (struct kvt_slice){bytes[key], SIZE, NULL};
        objects[key] = (struct kvt_object){.key = key_of(names[key]),
                                           .slices = &slices[key],
                                           .slice_count = 1};
        if (version != 0) {
            value_fill(bytes[key], SIZE, seed_of(key, version));
        }
    }
    return batch(work->fixture->store, objects, KEYS, &options);
}

static void offload(struct work *work, unsigned version, bool deadline)
{
    static unsigned char bytes[KEYS][SIZE];
    struct kvt_object objects[KEYS];
    int rc = run(work, kvt_batch_offload, version, deadline, objects, bytes);
    for (size_t key = 0; key < KEYS; key++) {
        if (rc < 0) {
            continue; /* nothing was tried */
        }
        if (objects[key].status == KVT_OK) {
            work->allowed[key] = 1u << version;
        }
    }
}

static void load(struct work *work, bool deadline)
{
    static unsigned char bytes[KEYS][SIZE];
    struct kvt_object objects[KEYS];
    int rc = run(work, kvt_batch_load, 0, deadline, objects, bytes);
    for (size_t key = 0; key < KEYS && rc >= 0; key++) {
        int status = objects[key].status;
        unsigned found = status == KVT_ERR_OBJECT_NOT_FOUND ? 1 : 0;
        for (unsigned version = 1; version < 8 && status == KVT_OK; version++) {
            if (value_is(bytes[key], SIZE, seed_of(key, version))) {
                found = 1u << version;
            }
        }
        if (status == KVT_OK && found == 0) {
            fail_msg("wrong bytes of key %zu", key);
        }
        if (found != 0 && (found & work->allowed[key]) == 0) {
            fail_msg("key %zu: found %x, allowed are %x", key, found,
                     work->allowed[key]);
        }
    }
}

static int count_all(const struct kvt_meta *metas, size_t count, void *arg)
{
    (void)metas;
    *(size_t *)arg += count;
    return 0;
}

static void request_done(struct kvt_request *request)
{
    __atomic_store_n((int *)request->arg, 1, __ATOMIC_RELEASE);
}

static void submit_one(struct work *work)
{
    int done = 0;
    struct kvt_object object = {.key = key_of("a")};
    struct kvt_request request = {.size = sizeof request,
                                  .op = KVT_BATCH_EXISTS,
                                  .objects = &object,
                                  .count = 1,
                                  .options = {.size = sizeof request.options},
                                  .done = request_done,
                                  .arg = &done};
    if (kvt_submit(work->fixture->store, &request) != KVT_OK) {
        return;
    }
    while (__atomic_load_n(&done, __ATOMIC_ACQUIRE) == 0) {
        struct timespec pause = {0, 100000};
        nanosleep(&pause, NULL);
    }
}

static void do_work(struct work *work)
{
    static unsigned char bytes[KEYS][SIZE];
    struct kvt_store *store = work->fixture->store;
    struct kvt_object objects[KEYS];
    struct kvt_evict_result result;
    struct kvt_error err;
    struct kvt_mem *mem;
    size_t count = 0;
    offload(work, 2, false);
    load(work, false);
    offload(work, 3, true);
    load(work, true);
    run(work, kvt_batch_exists, 0, false, objects, bytes);
    kvt_scan_meta(store, count_all, &count, &err);
    submit_one(work);
    if (kvt_store_mem_alloc(store, 100, &mem) == KVT_OK) {
        kvt_mem_free(mem);
    }
    kvt_evict(store, 1.0, 1.0, &result, &err);
    if (run(work, kvt_batch_remove, 0, false, objects, bytes) >= 0) {
        for (size_t key = 0; key < KEYS; key++) {
            work->allowed[key] =
                objects[key].status == KVT_OK ? 1 : work->allowed[key] | 1;
        }
    }
    offload(work, 4, false);
}

/* True when the allocation that was to fail was reached. */
static bool fail_once(struct store_fixture *fixture, unsigned long at, bool on)
{
    struct work work = {fixture, {1, 1, 1}};
    struct kvt_error err;
    store_start(fixture);
    offload(&work, 1, false);
    for (size_t key = 0; key < KEYS; key++) {
        assert_int_equal(work.allowed[key], 1u << 1);
        /* one that fails leaves the old or, by one that undoes, nothing */
        work.allowed[key] = 1;
    }
    offload(&work, 1, false);
    store_stop(fixture);

    start_failing(at, on);
    int rc = kvt_store_open(fixture->config, NULL, &fixture->store, &err);
    if (rc == KVT_OK) {
        do_work(&work);
    } else {
        assert_null(fixture->store);
        assert_true(err.message[0] != '\0');
    }
    bool reached = __atomic_load_n(&failed, __ATOMIC_RELAXED) > 0;
    stop_failing();
    if (rc == KVT_OK) {
        load(&work, false); /* the same store, with memory again */
        offload(&work, 5, false);
        assert_int_equal(work.allowed[0], 1u << 5);
        load(&work, false);
    }
    store_stop(fixture);
    store_start(fixture);
    load(&work, false);
    assert_int_equal(kvt_remove_all(fixture->store, &err), KVT_OK);
    store_stop(fixture);
    return reached;
}

static void fail_each(struct store_fixture *fixture, bool on)
{
    unsigned long at = 1;
    store_set(fixture, "threads", "2");
    /* a log has more of them, and a store on it takes longer */
    unsigned long step = store_is_log(fixture) && test_scale() == 1 ? 4 : 1;
    while (fail_once(fixture, at, on)) {
        at += step;
        assert_true(at < ROUNDS_MAX);
    }
    print_message("%lu allocations\n", at);
    assert_true(at > 20);
}

static void each_allocation_may_fail(void **state)
{
    fail_each(*state, false);
}

static void all_from_one_on_may_fail(void **state)
{
    fail_each(*state, true);
}

/* A batch finds no memory for its queue: nothing was tried, and it is told
 * why. */
static void without_a_queue_the_errno_is_told(void **state)
{
    struct store_fixture *fixture = *state;
    struct work work = {.fixture = fixture};
    static unsigned char bytes[KEYS][SIZE];
    struct kvt_object objects[KEYS];
    store_start(fixture);
    start_failing(1, true);
    int rc = run(&work, kvt_batch_load, 0, false, objects, bytes);
    stop_failing();
    assert_int_equal(rc, KVT_ERR_INTERNAL);
    for (size_t key = 0; key < KEYS; key++) {
        assert_int_equal(objects[key].status, KVT_ERR_INTERNAL);
        assert_int_equal(objects[key].errnum, ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test_fast(without_a_queue_the_errno_is_told),
        store_test_fast(each_allocation_may_fail),
        store_test_fast(all_from_one_on_may_fail),
    };
    return store_rows_run("no memory", tests, sizeof tests / sizeof tests[0]);
}
