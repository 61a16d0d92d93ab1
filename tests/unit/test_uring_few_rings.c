/* More queues than rings can be had, since little memory may be locked or few
 * files may be open: all queues work, and it is told why some have none. */
#define _DEFAULT_SOURCE /* setgroups */
#include "uring_child.h"

#include <pthread.h>
#include <seccomp.h>

enum {
    SIZE = 200000,
    KIB = 1 << 10,
    QUEUES = 200,
    THREADS = 64
};

/* The kernel gives no ring any more ---------------------------------------- */

static void setup_fails_later(struct mounted *m, int errnum, const char *why)
{
    struct kvt_error err;
    HOLDS(mounted_try(m, "uring", &err) == KVT_OK);
    HOLDS(m->fs->facts.io_uring);
    HOLDS(strcmp(kvt_fs_fallback_reason(m->fs), "") == 0);
    forbid(SCMP_SYS(io_uring_setup), errnum);
    use(m->fs, SIZE);
    HOLDS(m->fs->facts.io_uring);
    HOLDS(says(m->fs, "some queues have no ring") && says(m->fs, why));
    mounted_stop(m);
}

static void no_memory_later(struct mounted *m)
{
    setup_fails_later(m, ENOMEM, "ulimit -l");
}

static void no_files_later(struct mounted *m)
{
    setup_fails_later(m, EMFILE, "ulimit -n");
}

static void no_files_of_the_system_later(struct mounted *m)
{
    setup_fails_later(m, ENFILE, "ulimit -n");
}

static void forbidden_later(struct mounted *m)
{
    setup_fails_later(m, EPERM, "seccomp");
}

static void a_queue_that_gets_no_ring_works_all_the_same(void **state)
{
    in_child(*state, no_memory_later);
    in_child(*state, no_files_later);
    in_child(*state, no_files_of_the_system_later);
    in_child(*state, forbidden_later);
}

/* Little memory may be locked -----------------------------------------------
 */

static void fetch_on(struct kvt_fs_queue *queue, char *bytes, size_t size)
{
    struct kvt_slice slice = {bytes, size, NULL};
    struct kvt_fs_elem fetch = {
        .op = KVT_FS_FETCH, .path = "file", .slices = &slice, .slice_count = 1};
    kvt_fs_submit(queue, &fetch, 1);
    finish_all(queue);
    HOLDS(fetch.result == (int64_t)size && value_is(bytes, size, 1));
}

/* Queues that are all open at a time. */
static void open_many(struct kvt_fs *fs, size_t size)
{
    static struct kvt_fs_queue *queues[QUEUES];
    struct kvt_fs_queue_options options = {sizeof options, 0, false};
    char *bytes = malloc(size);
    HOLDS(bytes != NULL);
    for (size_t i = 0; i < QUEUES; i++) {
        HOLDS(kvt_fs_queue_open(fs, &options, &queues[i]) == 0);
        fetch_on(queues[i], bytes, size);
    }
    for (size_t i = 0; i < QUEUES; i++) {
        fetch_on(queues[i], bytes, size);
        HOLDS(kvt_fs_queue_close(queues[i]) == 0);
    }
    free(bytes);
}

struct loader {
    struct kvt_store *store;
    pthread_barrier_t *start;
    bool all;
};

static void *load_some(void *arg)
{
    struct loader *loader = arg;
    pthread_barrier_wait(loader->start);
    loader->all = true;
    for (unsigned i = 0; i < 5; i++) {
        int rc = get_value(loader->store, key_of("a"), 1, SIZE);
        loader->all = loader->all && rc == KVT_OK;
    }
    return NULL;
}

static void load_by_many(struct kvt_store *store)
{
    pthread_t threads[THREADS];
    struct loader loaders[THREADS];
    pthread_barrier_t start;
    HOLDS(pthread_barrier_init(&start, NULL, THREADS) == 0);
    for (size_t i = 0; i < THREADS; i++) {
        loaders[i] = (struct loader){store, &start, false};
        HOLDS(pthread_create(&threads[i], NULL, load_some, &loaders[i]) == 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        HOLDS(pthread_join(threads[i], NULL) == 0);
        HOLDS(loaders[i].all);
    }
    pthread_barrier_destroy(&start);
}

static void open_and_load(struct mounted *m)
{
    struct kvt_handlers handlers = KVT_HANDLERS_INIT;
    struct kvt_store *store;
    struct kvt_error err;
    HOLDS(kvt_config_set(m->config, "path", m->root, &err) == KVT_OK);
    HOLDS(kvt_config_set(m->config, "fs", "uring", &err) == KVT_OK);
    HOLDS(kvt_store_open(m->config, &handlers, &store, &err) == KVT_OK);
    HOLDS(put_value(store, key_of("a"), 1, SIZE) == KVT_OK);
    load_by_many(store);
    kvt_store_close(store);
}

static void lock_at_most(struct mounted *m, size_t kib)
{
    struct kvt_error err;
    become_nobody(m, (rlim_t)kib * KIB);
    HOLDS(mounted_try(m, "uring", &err) == KVT_OK);
    use(m->fs, SIZE);
    make_file(m, "file", 1, SIZE);
    open_many(m->fs, SIZE);
    /* a kernel that does not charge rings gives all of them; this one, none or
     * some, and says so */
    HOLDS(m->fs->facts.io_uring || says(m->fs, "ulimit -l"));
    mounted_stop(m);
    open_and_load(m);
}

static void lock_24_kib(struct mounted *m)
{
    lock_at_most(m, 24);
}

static void lock_64_kib(struct mounted *m)
{
    lock_at_most(m, 64);
}

static void lock_128_kib(struct mounted *m)
{
    lock_at_most(m, 128);
}

static void lock_1_mib(struct mounted *m)
{
    lock_at_most(m, 1024);
}

static void lock_8_mib(struct mounted *m)
{
    lock_at_most(m, 8192);
}

static void no_limit_of_lockable_memory_fails_a_load(void **state)
{
    if (getuid() != 0) {
        print_message("not tried: only root can become somebody else\n");
        return;
    }
    in_child(*state, lock_24_kib);
    in_child(*state, lock_64_kib);
    in_child(*state, lock_128_kib);
    in_child(*state, lock_1_mib);
    in_child(*state, lock_8_mib);
}

/* It is told ----------------------------------------------------------------
 */

struct logged {
    size_t count; /* atomic */
    char text[512];
};

static void note(enum kvt_log_level level, const char *message, void *arg)
{
    struct logged *logged = arg;
    if (level == KVT_LOG_WARN) {
        snprintf(logged->text, sizeof logged->text, "%s", message);
        __atomic_fetch_add(&logged->count, 1, __ATOMIC_RELEASE);
    }
}

static void submit_one(struct kvt_store *store)
{
    static char bytes[SIZE];
    struct kvt_slice slice = {bytes, SIZE, NULL};
    struct kvt_object object = {
        .key = key_of("a"), .slices = &slice, .slice_count = 1};
    struct kvt_request request = {.size = sizeof request,
                                  .op = KVT_BATCH_LOAD,
                                  .objects = &object,
                                  .count = 1,
                                  .options = KVT_BATCH_OPTIONS_INIT};
    struct kvt_request *completed;
    HOLDS(kvt_submit(store, &request) == KVT_OK);
    while (kvt_completed(store, &completed, 1) == 0) {
        usleep(1000);
    }
    HOLDS(request.result == 1 && value_is(bytes, SIZE, 1));
}

/* The queues of the I/O threads are made with the first submitted batch. */
static void a_store_has_rings_no_more(struct mounted *m)
{
    struct logged logged = {0};
    struct kvt_handlers handlers = KVT_HANDLERS_INIT;
    struct kvt_store *store;
    struct kvt_stats stats = {.size = sizeof stats};
    struct kvt_error err;
    handlers.log = note;
    handlers.log_arg = &logged;
    HOLDS(kvt_config_set(m->config, "path", m->root, &err) == KVT_OK);
    HOLDS(kvt_config_set(m->config, "fs", "uring", &err) == KVT_OK);
    HOLDS(kvt_store_open(m->config, &handlers, &store, &err) == KVT_OK);
    HOLDS(put_value(store, key_of("a"), 1, SIZE) == KVT_OK);
    HOLDS(logged.count == 0);
    forbid(SCMP_SYS(io_uring_setup), ENOMEM);
    submit_one(store);
    submit_one(store);
    HOLDS(get_value(store, key_of("a"), 1, SIZE) == KVT_OK);
    HOLDS(__atomic_load_n(&logged.count, __ATOMIC_ACQUIRE) == 1);
    HOLDS(strstr(logged.text, "some queues have no ring") != NULL);
    HOLDS(kvt_stats(store, &stats) == KVT_OK);
    HOLDS(stats.effective.io_uring);
    HOLDS(strstr(stats.effective.fallback_reason, "ulimit -l") != NULL);
    kvt_store_close(store);
}

static void what_falls_back_later_is_told_once(void **state)
{
    in_child(*state, a_store_has_rings_no_more);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        mount_test(a_queue_that_gets_no_ring_works_all_the_same),
        mount_test(no_limit_of_lockable_memory_fails_a_load),
        mount_test(what_falls_back_later_is_told_once),
    };
    if (!uring_is_here()) {
        return uring_skip();
    }
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
