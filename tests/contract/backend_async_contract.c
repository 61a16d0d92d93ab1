/* Submitted batches: callbacks, the eventfd, many at once, and closing while
 * they are under way. */
#include "support/store_fixture.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    SIZE = 256
};

/* A request with its one object, key and memory. */
struct job {
    struct kvt_request request;
    struct named_key named;
    struct kvt_object object;
    struct kvt_slice slice;
    unsigned char bytes[SIZE];
    unsigned finished; /* how often; atomic */
    void *arg;
};

static void job_init(struct job *job, enum kvt_batch_op op, uint64_t number)
{
    memset(job, 0, sizeof *job);
    name_key(&job->named, "j", number);
    job->slice = (struct kvt_slice){job->bytes, SIZE, NULL};
    value_fill(job->bytes, SIZE, op == KVT_BATCH_OFFLOAD ? number : ~number);
    job->object = (struct kvt_object){
        .key = job->named.key, .slices = &job->slice, .slice_count = 1};
    job->request = (struct kvt_request){.size = sizeof job->request,
                                        .op = op,
                                        .objects = &job->object,
                                        .count = 1,
                                        .options = KVT_BATCH_OPTIONS_INIT,
                                        .arg = job,
                                        .result = -12345};
}

static void mark(struct kvt_request *request)
{
    struct job *job = request->arg;
    __atomic_fetch_add(&job->finished, 1, __ATOMIC_RELEASE);
}

static void wait_finished(struct job *job)
{
    struct timespec pause = {0, 100000};
    while (__atomic_load_n(&job->finished, __ATOMIC_ACQUIRE) == 0) {
        nanosleep(&pause, NULL);
    }
}

/* Callbacks ---------------------------------------------------------------- */

static void a_submitted_batch_calls_back_once(void **state)
{
    struct store_fixture *fixture = *state;
    static struct job job;
    alarm(50);
    store_start(fixture);
    static const enum kvt_batch_op ops[] = {
        KVT_BATCH_OFFLOAD, KVT_BATCH_EXISTS, KVT_BATCH_LOAD,
        KVT_BATCH_REMOVE,  KVT_BATCH_LOAD,   KVT_BATCH_REMOVE};
    static const int results[] = {1, 1, 1, 1, 0, 0};
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        job_init(&job, ops[i], 5);
        job.request.done = mark;
        assert_int_equal(kvt_submit(fixture->store, &job.request), KVT_OK);
        wait_finished(&job);
        assert_int_equal(job.request.result, results[i]);
        assert_int_equal(job.request.options.prefix_count, (size_t)results[i]);
        assert_int_equal(job.object.status,
                         results[i] ? KVT_OK : KVT_ERR_OBJECT_NOT_FOUND);
        if (i == 2) {
            assert_true(value_is(job.bytes, SIZE, 5));
            assert_int_equal(job.object.size, SIZE);
        }
        assert_int_equal(job.finished, 1);
    }
    alarm(0);
}

static void what_makes_no_sense_is_not_started(void **state)
{
    struct store_fixture *fixture = *state;
    static struct job job;
    store_start(fixture);
    job_init(&job, KVT_BATCH_OFFLOAD, 1);
    job.request.done = mark;
    assert_int_equal(kvt_submit(fixture->store, NULL), KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_submit(NULL, &job.request), KVT_ERR_INVALID_PARAMS);
    job.request.count = 0;
    assert_int_equal(kvt_submit(fixture->store, &job.request),
                     KVT_ERR_INVALID_PARAMS);
    job_init(&job, KVT_BATCH_OFFLOAD, 1);
    job.request.size = 1;
    assert_int_equal(kvt_submit(fixture->store, &job.request),
                     KVT_ERR_INVALID_PARAMS);
    job_init(&job, KVT_BATCH_OFFLOAD, 1);
    job.request.op = (enum kvt_batch_op)4;
    assert_int_equal(kvt_submit(fixture->store, &job.request),
                     KVT_ERR_INVALID_PARAMS);
    job_init(&job, KVT_BATCH_OFFLOAD, 1);
    job.request.options.size = 0;
    assert_int_equal(kvt_submit(fixture->store, &job.request),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(job.finished, 0);
    assert_int_equal(kvt_eventfd(NULL), KVT_ERR_INVALID_PARAMS);
    store_stop(fixture);
    store_set(fixture, "read_only", "on");
    store_start(fixture);
    job_init(&job, KVT_BATCH_OFFLOAD, 1);
    assert_int_equal(kvt_submit(fixture->store, &job.request),
                     KVT_ERR_UNABLE_OFFLOAD);
}

/* Eventfd ------------------------------------------------------------------ */

static bool is_readable(int fd, int timeout_ms)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    return poll(&ready, 1, timeout_ms) == 1;
}

static void the_eventfd_is_readable_while_requests_wait(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        COUNT = 64
    };
    static struct job jobs[COUNT];
    struct kvt_request *done[COUNT];
    alarm(50);
    store_start(fixture);
    int fd = kvt_eventfd(fixture->store);
    assert_true(fd >= 0);
    assert_int_equal(kvt_eventfd(fixture->store), fd);
    assert_false(is_readable(fd, 0));
    assert_int_equal(kvt_completed(fixture->store, done, COUNT), 0);
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            job_init(&jobs[i], KVT_BATCH_OFFLOAD, i + (size_t)round * COUNT);
            assert_int_equal(kvt_submit(fixture->store, &jobs[i].request), 0);
        }
        size_t count = 0;
        while (count < COUNT) {
            assert_true(is_readable(fd, 20000));
            size_t got = kvt_completed(fixture->store, done, 7);
            for (size_t i = 0; i < got; i++) {
                struct job *job = done[i]->arg;
                assert_int_equal(done[i]->result, 1);
                assert_int_equal(job->finished++, 0);
            }
            count += got;
        }
        assert_false(is_readable(fd, 0));
        assert_int_equal(kvt_completed(fixture->store, done, COUNT), 0);
    }
    alarm(0);
}

static void an_eventfd_asked_for_late_is_readable_at_once(void **state)
{
    struct store_fixture *fixture = *state;
    static struct job job;
    struct kvt_request *done[1];
    struct timespec pause = {0, 1000000};
    alarm(50);
    store_start(fixture);
    job_init(&job, KVT_BATCH_OFFLOAD, 1);
    assert_int_equal(kvt_submit(fixture->store, &job.request), KVT_OK);
    while (!has_named(fixture->store, "j", 1)) {
        nanosleep(&pause, NULL);
    }
    pause.tv_nsec = 50000000;
    nanosleep(&pause, NULL);
    int fd = kvt_eventfd(fixture->store);
    assert_true(is_readable(fd, 5000));
    assert_int_equal(kvt_completed(fixture->store, done, 0), 0);
    assert_true(is_readable(fd, 0));
    assert_int_equal(kvt_completed(fixture->store, done, 1), 1);
    assert_ptr_equal(done[0], &job.request);
    assert_false(is_readable(fd, 0));
    alarm(0);
}

/* Many --------------------------------------------------------------------- */

/* Thousands at once on few keys: each gets one answer, and a right one. */
static void thousands_in_flight_each_get_one_answer(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        COUNT = 4000,
        KEYS = 100
    };
    struct job *jobs = calloc(COUNT, sizeof *jobs);
    assert_non_null(jobs);
    alarm(50);
    store_start(fixture);
    uint64_t seed = 1;
    for (size_t i = 0; i < COUNT; i++) {
        uint64_t random = random_next(&seed);
        enum kvt_batch_op op = (enum kvt_batch_op)(random >> 32 & 3);
        op = i < KEYS ? KVT_BATCH_OFFLOAD : op;
        job_init(&jobs[i], op, i < KEYS ? i : random % KEYS);
        jobs[i].request.done = mark;
        assert_int_equal(kvt_submit(fixture->store, &jobs[i].request), 0);
    }
    for (size_t i = 0; i < COUNT; i++) {
        wait_finished(&jobs[i]);
        int result = jobs[i].request.result;
        uint64_t number = strtoull(jobs[i].named.text + 1, NULL, 10);
        assert_true(result == 0 || result == 1);
        if (jobs[i].request.op == KVT_BATCH_LOAD && result == 1) {
            assert_true(value_is(jobs[i].bytes, SIZE, number));
        }
        if (jobs[i].request.op == KVT_BATCH_OFFLOAD) {
            assert_int_equal(result, 1);
        }
    }
    store_stop(fixture);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(jobs[i].finished, 1);
    }
    free(jobs);
    alarm(0);
}

/* Blocking calls, callbacks and the eventfd side by side. */
struct side {
    struct kvt_store *store;
    unsigned number;
    size_t wrong;
};

static void *block_beside(void *arg)
{
    struct side *side = arg;
    unsigned char bytes[SIZE];
    struct kvt_slice slice = {bytes, SIZE, NULL};
    for (uint64_t i = 0; i < 300; i++) {
        struct named_key named;
        uint64_t number = 1000000u * (side->number + 1) + i % 50;
        name_key(&named, "j", number);
        struct kvt_object object = {
            .key = named.key, .slices = &slice, .slice_count = 1};
        value_fill(bytes, SIZE, number);
        side->wrong += kvt_batch_offload(side->store, &object, 1, NULL) != 1;
        memset(bytes, 0, SIZE);
        side->wrong += kvt_batch_load(side->store, &object, 1, NULL) != 1 ||
                       !value_is(bytes, SIZE, number);
    }
    return NULL;
}

static void blocking_and_submitted_batches_mix(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        COUNT = 1000
    };
    struct job *jobs = calloc(COUNT, sizeof *jobs);
    struct kvt_request *done[32];
    struct side sides[2];
    pthread_t threads[2];
    assert_non_null(jobs);
    alarm(50);
    store_start(fixture);
    int fd = kvt_eventfd(fixture->store);
    for (unsigned i = 0; i < 2; i++) {
        sides[i] = (struct side){fixture->store, i, 0};
        pthread_create(&threads[i], NULL, block_beside, &sides[i]);
    }
    size_t handed_out = 0;
    for (size_t i = 0; i < COUNT; i++) {
        job_init(&jobs[i], KVT_BATCH_OFFLOAD, i);
        jobs[i].request.done = i % 2 == 0 ? mark : NULL;
        assert_int_equal(kvt_submit(fixture->store, &jobs[i].request), 0);
    }
    while (handed_out < COUNT / 2 && is_readable(fd, 20000)) {
        handed_out += kvt_completed(fixture->store, done, 32);
    }
    assert_int_equal(handed_out, COUNT / 2);
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(sides[i].wrong, 0);
    }
    for (size_t i = 0; i < COUNT; i++) {
        if (i % 2 == 0) {
            wait_finished(&jobs[i]);
        }
        assert_int_equal(jobs[i].request.result, 1);
        assert_int_equal(get_named(fixture->store, "j", i, i, SIZE), KVT_OK);
    }
    free(jobs);
    alarm(0);
}

/* A callback that submits ---------------------------------------------------
 */

struct chain {
    struct kvt_store *store;
    struct job job;
    uint64_t left;
    size_t refused;
    unsigned finished;
};

static void submit_next(struct kvt_request *request)
{
    struct job *job = request->arg;
    struct chain *chain = job->arg;
    if (request->result != 1) {
        chain->refused++;
    }
    if (chain->left == 0) {
        __atomic_store_n(&chain->finished, 1, __ATOMIC_RELEASE);
        return;
    }
    job_init(job, KVT_BATCH_OFFLOAD, chain->left--);
    job->arg = chain;
    job->request.done = submit_next;
    if (kvt_submit(chain->store, &job->request) != KVT_OK) {
        chain->refused++;
        __atomic_store_n(&chain->finished, 1, __ATOMIC_RELEASE);
    }
}

static void start_chain(struct chain *chain, struct kvt_store *store,
                        uint64_t length)
{
    *chain = (struct chain){.store = store, .left = length};
    job_init(&chain->job, KVT_BATCH_OFFLOAD, 0);
    chain->job.arg = chain;
    chain->job.request.done = submit_next;
    assert_int_equal(kvt_submit(store, &chain->job.request), KVT_OK);
}

static void a_callback_may_submit_the_next_one(void **state)
{
    struct store_fixture *fixture = *state;
    static struct chain chains[4];
    struct timespec pause = {0, 1000000};
    alarm(50);
    store_start(fixture);
    for (size_t i = 0; i < 4; i++) {
        start_chain(&chains[i], fixture->store, 200);
    }
    for (size_t i = 0; i < 4; i++) {
        while (__atomic_load_n(&chains[i].finished, __ATOMIC_ACQUIRE) == 0) {
            nanosleep(&pause, NULL);
        }
        assert_int_equal(chains[i].refused, 0);
        assert_int_equal(chains[i].left, 0);
    }
    alarm(0);
}

/* Each chain ends: by its last request, or by a kvt_submit that says no. */
static void closing_loses_no_request_that_a_callback_submits(void **state)
{
    struct store_fixture *fixture = *state;
    static struct chain chains[16];
    alarm(50);
    for (int round = 0; round < 20; round++) {
        store_start(fixture);
        for (size_t i = 0; i < 16; i++) {
            start_chain(&chains[i], fixture->store, 20);
        }
        store_stop(fixture);
        for (size_t i = 0; i < 16; i++) {
            if (__atomic_load_n(&chains[i].finished, __ATOMIC_ACQUIRE) == 0) {
                fail_msg("round %d: a request that kvt_submit took was "
                         "never completed",
                         round);
            }
        }
    }
    alarm(0);
}

/* A batch that needs no I/O may be over before its thread looks again. */
static void closing_right_after_a_submit_ends(void **state)
{
    struct store_fixture *fixture = *state;
    static struct job jobs[4];
    alarm(50);
    for (int round = 0; round < 100; round++) {
        store_start(fixture);
        for (size_t i = 0; i < 4; i++) {
            job_init(&jobs[i], KVT_BATCH_LOAD, i); /* is not there */
            jobs[i].request.done = mark;
        }
        /* the first one has started the threads */
        assert_int_equal(kvt_submit(fixture->store, &jobs[0].request), 0);
        wait_finished(&jobs[0]);
        for (size_t i = 1; i < 4; i++) {
            assert_int_equal(kvt_submit(fixture->store, &jobs[i].request), 0);
        }
        store_stop(fixture);
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(jobs[i].finished, 1);
            assert_int_equal(jobs[i].request.result, 0);
        }
    }
    alarm(0);
}

static void closing_waits_for_what_was_submitted(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        COUNT = 500
    };
    struct job *jobs = calloc(COUNT, sizeof *jobs);
    assert_non_null(jobs);
    alarm(50);
    for (int round = 0; round < 3; round++) {
        store_start(fixture);
        for (size_t i = 0; i < COUNT; i++) {
            job_init(&jobs[i], round == 1 ? KVT_BATCH_LOAD : KVT_BATCH_OFFLOAD,
                     i);
            jobs[i].request.done = i % 3 != 0 ? mark : NULL;
            assert_int_equal(kvt_submit(fixture->store, &jobs[i].request), 0);
        }
        store_stop(fixture);
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(jobs[i].request.result, 1);
            assert_int_equal(jobs[i].finished, i % 3 != 0);
            assert_true(value_is(jobs[i].bytes, SIZE, i));
        }
    }
    store_start(fixture);
    assert_int_equal(stats_of(fixture->store).objects, COUNT);
    free(jobs);
    alarm(0);
}

/* Handlers on the I/O threads -----------------------------------------------
 */

static int look_back(const struct kvt_meta *metas, size_t count, void *arg)
{
    struct store_fixture *fixture = arg;
    struct kvt_object object = {.key = metas[0].key};
    unsigned char bytes[SIZE];
    struct kvt_slice slice = {bytes, SIZE, NULL};
    object.slices = &slice;
    object.slice_count = 1;
    /* a log shows its objects when the handler has agreed */
    int visible = store_is_log(fixture) ? 0 : 1;
    /* an error undoes the batch: the test sees it */
    return count == 1 &&
                   kvt_batch_exists(fixture->store, &object, 1, NULL) ==
                       visible &&
                   kvt_batch_load(fixture->store, &object, 1, NULL) == visible
               ? 0
               : 1;
}

static void handlers_of_submitted_batches_may_call_back(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        COUNT = 200
    };
    static struct job jobs[COUNT];
    alarm(50);
    fixture->handlers.complete = look_back;
    fixture->handlers.complete_arg = fixture;
    store_start(fixture);
    for (size_t i = 0; i < COUNT; i++) {
        job_init(&jobs[i], KVT_BATCH_OFFLOAD, i);
        jobs[i].request.done = mark;
        assert_int_equal(kvt_submit(fixture->store, &jobs[i].request), 0);
    }
    for (size_t i = 0; i < COUNT; i++) {
        wait_finished(&jobs[i]);
        assert_int_equal(jobs[i].request.result, 1);
    }
    alarm(0);
}

/* A handler on an I/O thread looks at objects that batches of the same thread
 * are replacing: it must not wait for its own thread. */
enum {
    HOT_KEYS = 4,
    HOT_SIZE = 40000,
};

struct hot {
    struct store_fixture *fixture;
    unsigned wrong; /* atomic */
    unsigned loads; /* atomic */
};

static int load_hot(const struct kvt_meta *metas, size_t count, void *arg)
{
    struct hot *hot = arg;
    unsigned char *bytes = malloc(HOT_SIZE);
    (void)metas;
    (void)count;
    for (uint64_t i = 0; i < HOT_KEYS; i++) {
        struct named_key named;
        struct kvt_slice slice = {bytes, HOT_SIZE, NULL};
        name_key(&named, "hot", i);
        struct kvt_object object = {
            .key = named.key, .slices = &slice, .slice_count = 1};
        kvt_batch_load(hot->fixture->store, &object, 1, NULL);
        bool good = object.status == KVT_OK
                        ? value_is(bytes, object.size, object.size)
                        : object.status == KVT_ERR_OBJECT_NOT_FOUND;
        __atomic_fetch_add(&hot->wrong, !good, __ATOMIC_RELAXED);
        __atomic_fetch_add(&hot->loads, object.status == KVT_OK,
                           __ATOMIC_RELAXED);
    }
    free(bytes);
    return 0;
}

static void a_handler_may_load_what_is_being_replaced(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        COUNT = 1000
    };
    struct hot hot = {.fixture = fixture};
    struct job *jobs = calloc(COUNT, sizeof *jobs);
    unsigned char *bytes = malloc((size_t)COUNT * HOT_SIZE);
    assert_true(jobs != NULL && bytes != NULL);
    alarm(50);
    fixture->handlers.complete = load_hot;
    fixture->handlers.complete_arg = &hot;
    store_start(fixture);
    for (size_t i = 0; i < COUNT; i++) {
        job_init(&jobs[i], KVT_BATCH_OFFLOAD, i);
        name_key(&jobs[i].named, "hot", i % HOT_KEYS);
        size_t size = i * 7919 % HOT_SIZE; /* its own seed */
        value_fill(bytes + i * HOT_SIZE, size, size);
        jobs[i].slice = (struct kvt_slice){bytes + i * HOT_SIZE, size, NULL};
        jobs[i].object.key = jobs[i].named.key;
        jobs[i].request.done = mark;
        assert_int_equal(kvt_submit(fixture->store, &jobs[i].request), 0);
    }
    for (size_t i = 0; i < COUNT; i++) {
        wait_finished(&jobs[i]);
        assert_int_equal(jobs[i].request.result, 1);
    }
    assert_int_equal(hot.wrong, 0);
    assert_true(hot.loads > COUNT);
    free(bytes);
    free(jobs);
    alarm(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(a_submitted_batch_calls_back_once),
        store_test(what_makes_no_sense_is_not_started),
        store_test(the_eventfd_is_readable_while_requests_wait),
        store_test(an_eventfd_asked_for_late_is_readable_at_once),
        store_test(thousands_in_flight_each_get_one_answer),
        store_test(blocking_and_submitted_batches_mix),
        store_test(a_callback_may_submit_the_next_one),
        store_test(closing_waits_for_what_was_submitted),
        store_test(handlers_of_submitted_batches_may_call_back),
        store_test_fast(a_handler_may_load_what_is_being_replaced),
        store_test_fast(closing_loses_no_request_that_a_callback_submits),
        store_test_fast(closing_right_after_a_submit_ends),
    };
    return store_rows_run("submitted batches", tests,
                          sizeof tests / sizeof tests[0]) != 0;
}
