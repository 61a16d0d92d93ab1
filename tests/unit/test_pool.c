/* Queues over an adapter that only has `execute`: the core's pool of threads
 * carries out its elements. */
#include "support/pool_fixture.h"

#include "core/clock.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

static size_t threads_of_process(void)
{
    DIR *dir = opendir("/proc/self/task");
    size_t count = 0;

    assert_non_null(dir);
    for (const struct dirent *name; (name = readdir(dir)) != NULL;) {
        count += name->d_name[0] != '.';
    }
    closedir(dir);
    return count;
}

/* Results and chains ------------------------------------------------------ */

static void all_elements_are_done_once(void **state)
{
    struct fixture *f = *state;
    bool seen[ELEMS] = {false};

    for (int poll_works = 0; poll_works < 2; poll_works++) {
        struct kvt_fs_queue *queue = pool_open_queue(f, poll_works != 0);

        memset(seen, 0, sizeof seen);
        f->done_count = 0;
        kvt_fs_submit(queue, f->elems, ELEMS);
        assert_int_equal(f->done_count, 0); /* not before the poll */
        pool_drain(queue);
        assert_int_equal(f->done_count, ELEMS);
        for (size_t i = 0; i < ELEMS; i++) {
            assert_false(seen[f->order[i]]);
            seen[f->order[i]] = true;
            assert_int_equal(f->elems[i].result, 0);
        }
        assert_int_equal(kvt_fs_queue_close(queue), 0);
    }
    assert_int_equal(f->counting.started, 2 * ELEMS);
    assert_int_equal(f->counting.core.in_flight, 0);
}

/* Where in the order of starting an element stands. */
static size_t started_at(const struct fixture *f, size_t elem)
{
    for (size_t i = 0; i < f->counting.started; i++) {
        if (f->counting.order[i] == &f->elems[elem]) {
            return i;
        }
    }
    return SIZE_MAX;
}

static void chains_keep_their_order(void **state)
{
    struct fixture *f = *state;

    for (int poll_works = 0; poll_works < 2; poll_works++) {
        struct kvt_fs_queue *queue = pool_open_queue(f, poll_works != 0);

        for (size_t i = 0; i < ELEMS; i++) {
            f->elems[i].flags = i % 4 < 3 ? KVT_FS_THEN : 0;
            f->elems[i].offset = i % 4 == 0 ? WORK_SLEEP : WORK_NOTHING;
        }
        f->done_count = 0;
        f->counting.started = 0;
        kvt_fs_submit(queue, f->elems, ELEMS);
        pool_drain(queue);
        assert_int_equal(f->counting.started, ELEMS);
        for (size_t i = 0; i < ELEMS; i++) {
            if (i % 4 > 0) {
                assert_true(started_at(f, i - 1) < started_at(f, i));
            }
        }
        assert_int_equal(kvt_fs_queue_close(queue), 0);
    }
}

static void what_is_behind_a_failure_is_canceled(void **state)
{
    struct fixture *f = *state;

    for (int poll_works = 0; poll_works < 2; poll_works++) {
        struct kvt_fs_queue *queue = pool_open_queue(f, poll_works != 0);

        for (size_t i = 0; i < 4; i++) {
            f->elems[i].flags = KVT_FS_THEN;
        }
        f->elems[1].offset = WORK_FAIL; /* 0 to 4 are a chain, 5 is alone */
        f->done_count = 0;
        f->counting.started = 0;
        kvt_fs_submit(queue, f->elems, 6);
        pool_drain(queue);
        assert_int_equal(f->done_count, 6);
        assert_int_equal(f->counting.started, 3);
        assert_int_equal(f->elems[0].result, 0);
        assert_int_equal(f->elems[1].result, -EUCLEAN);
        for (size_t i = 2; i < 5; i++) {
            assert_int_equal(f->elems[i].result, -ECANCELED);
        }
        assert_int_equal(f->elems[5].result, 0);
        assert_int_equal(kvt_fs_queue_close(queue), 0);
    }
}

/* To the caller it is -EIO: nothing may have been built on it. */
static void a_short_write_breaks_its_chain(void **state)
{
    static char bytes[10];
    static const struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, true);

    f->elems[0].op = KVT_FS_WRITE;
    f->elems[0].flags = KVT_FS_THEN;
    f->elems[0].slices = &slice;
    f->elems[0].slice_count = 1;
    f->elems[0].offset = WORK_SHORT;
    kvt_fs_submit(queue, f->elems, 2);
    pool_drain(queue);
    assert_int_equal(f->elems[0].result, -EIO);
    assert_int_equal(f->elems[1].result, -ECANCELED);
    assert_int_equal(kvt_fs_queue_close(queue), 0);
    f->elems[0].flags = 0;
    assert_int_equal(kvt_fs_run(&f->counting.fs, &f->elems[0]), -EIO);
}

/* Threads ------------------------------------------------------------------*/

static void one_batch_uses_all_threads_and_no_more(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, false);

    pool_set_work(f, 0, THREADS * 2, WORK_GATE);
    kvt_fs_submit(queue, f->elems, THREADS * 2);
    assert_int_equal(pool_wait_for_started(f, THREADS), THREADS);
    assert_int_equal(f->counting.running_max, THREADS);
    pool_open_gate(f);
    pool_drain(queue);
    assert_int_equal(f->counting.running_max, THREADS);
    assert_int_equal(kvt_fs_queue_close(queue), 0);
}

static void elements_one_by_one_use_all_threads_too(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, false);

    /* first have threads that are idle */
    pool_set_work(f, 0, 2, WORK_SLEEP);
    kvt_fs_submit(queue, f->elems, 2);
    pool_drain(queue);
    nanosleep(&(struct timespec){0, 5000000}, NULL);
    f->counting.started = 0;
    pool_set_work(f, 0, THREADS, WORK_GATE);
    for (size_t i = 0; i < THREADS; i++) {
        kvt_fs_submit(queue, &f->elems[i], 1);
    }
    size_t started = pool_wait_for_started(f, THREADS);
    pool_open_gate(f);
    pool_drain(queue);
    assert_int_equal(kvt_fs_queue_close(queue), 0);
    assert_int_equal(started, THREADS);
}

static void a_polling_thread_does_the_work_of_one_itself(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, true);
    size_t threads = threads_of_process();

    for (size_t i = 0; i < 10; i++) {
        kvt_fs_submit(queue, &f->elems[i], 1);
        assert_int_equal(kvt_fs_poll(queue, 1, 0), 1);
    }
    f->elems[10].flags = KVT_FS_THEN; /* one chain is one piece of work */
    kvt_fs_submit(queue, &f->elems[10], 2);
    assert_int_equal(kvt_fs_poll(queue, 2, 0), 2);
    assert_int_equal(threads_of_process(), threads);
    kvt_fs_submit(queue, &f->elems[12], 2); /* two want a helper */
    assert_int_equal(threads_of_process(), threads + 1);
    pool_drain(queue);
    assert_int_equal(kvt_fs_queue_close(queue), 0);
}

/* Such a poll carries out nothing itself: a thread has to. */
static void a_poll_with_a_deadline_gets_the_work_done(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, true);

    kvt_fs_submit(queue, f->elems, 1);
    assert_int_equal(kvt_fs_poll(queue, 1, kvt_clock_ns() + 2000 * MS), 1);
    assert_int_equal(kvt_fs_queue_close(queue), 0);
}

static void polls_that_never_wait_get_the_work_done(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, true);
    int64_t end = kvt_clock_ns() + 2000 * MS;

    kvt_fs_submit(queue, f->elems, 1);
    while (kvt_fs_in_flight(queue) > 0 && kvt_clock_ns() < end) {
        kvt_fs_poll(queue, 0, 0);
    }
    size_t left = kvt_fs_in_flight(queue);
    pool_drain(queue);
    assert_int_equal(kvt_fs_queue_close(queue), 0);
    assert_int_equal(left, 0);
}

static void count_late(void *late_arg, int64_t result)
{
    *(size_t *)late_arg += result == -ECANCELED;
}

/* A step under way cannot be recalled; the steps behind it, and chains that
 * wait for a thread, can. */
static void nothing_starts_past_its_deadline(void **state)
{
    struct fixture *f = *state;
    enum {
        COUNT = THREADS + 2
    };
    size_t late_count = 0;
    struct kvt_fs_queue *queue = pool_open_queue(f, false);
    /* by then a thread has started, however busy the machine is */
    int64_t end = kvt_clock_ns() + 200 * MS;

    for (size_t i = 0; i < COUNT * 2; i++) {
        f->elems[i].flags = i % 2 == 0 ? KVT_FS_THEN : 0;
        f->elems[i].offset = WORK_GATE;
        f->elems[i].deadline_ns = end;
        f->elems[i].late = count_late;
        f->elems[i].late_arg = &late_count;
    }
    kvt_fs_submit(queue, f->elems, COUNT * 2);
    while (f->done_count < COUNT * 2) {
        kvt_fs_poll(queue, 1, 0);
    }
    for (size_t i = 0; i < COUNT * 2; i++) {
        assert_int_equal(f->elems[i].result, -ETIMEDOUT);
    }
    pool_open_gate(f);
    while (kvt_fs_lingering(queue) > 0) {
        kvt_fs_poll(queue, 1, kvt_clock_ns() + MS);
    }
    assert_int_equal(late_count, COUNT * 2 - f->counting.started);
    assert_true(f->counting.started <= THREADS);
    assert_true(f->counting.started > 0);
    assert_int_equal(kvt_fs_queue_close(queue), 0);
}

static void poll_ends_at_its_deadline(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, false);

    pool_set_work(f, 0, 1, WORK_GATE);
    kvt_fs_submit(queue, f->elems, 1);
    assert_int_equal(pool_wait_for_started(f, 1), 1);
    int64_t start = kvt_clock_ns();
    assert_int_equal(kvt_fs_poll(queue, 1, start + 20 * MS), 0);
    assert_true(kvt_clock_ns() >= start + 20 * MS);
    assert_true(kvt_clock_ns() < start + 2000 * MS);
    /* it sleeps until then, and is not called again and again */
    start = kvt_clock_ns();
    queue->ops->poll(queue, 1, start + 20 * MS);
    assert_true(kvt_clock_ns() >= start + 20 * MS);
    assert_int_equal(kvt_fs_queue_close(queue), -EBUSY);
    pool_open_gate(f);
    pool_drain(queue);
    assert_int_equal(kvt_fs_queue_close(queue), 0);
}

static void *wake_later(void *arg)
{
    nanosleep(&(struct timespec){0, 5000000}, NULL);
    kvt_fs_wake(arg);
    return NULL;
}

static void a_wake_ends_a_waiting_poll(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *queue = pool_open_queue(f, true);
    pthread_t thread;

    kvt_fs_wake(queue); /* before the poll: it does not wait */
    assert_int_equal(kvt_fs_poll(queue, 1, 0), 0);
    assert_int_equal(pthread_create(&thread, NULL, wake_later, queue), 0);
    assert_int_equal(kvt_fs_poll(queue, 1, 0), 0);
    pthread_join(thread, NULL);
    assert_int_equal(kvt_fs_queue_close(queue), 0);
}

/* Several queues ---------------------------------------------------------- */

/* A line of a thousand that takes a quarter of a second: the other queue's
 * element takes its turn. */
static void a_full_queue_does_not_starve_another(void **state)
{
    enum {
        MANY = 1000,
    };
    static struct kvt_fs_elem many[MANY];
    struct fixture *f = *state;
    struct kvt_fs_queue_options options = {sizeof options, MANY, false};
    struct kvt_fs_queue *full = NULL;
    struct kvt_fs_queue *other = pool_open_queue(f, false);

    assert_int_equal(kvt_fs_queue_open(&f->counting.fs, &options, &full), 0);
    for (size_t i = 0; i < MANY; i++) {
        many[i] = (struct kvt_fs_elem){.op = KVT_FS_STAT, .offset = WORK_SLEEP};
    }
    kvt_fs_submit(full, many, MANY);
    for (size_t i = 0; i < 5; i++) {
        kvt_fs_submit(other, &f->elems[i], 1);
        assert_int_equal(kvt_fs_poll(other, 1, 0), 1);
    }
    pthread_mutex_lock(&f->counting.mutex);
    size_t started = f->counting.started;
    pthread_mutex_unlock(&f->counting.mutex);
    pool_drain(full);
    assert_int_equal(f->counting.started, MANY + 5);
    assert_int_equal(kvt_fs_queue_close(full), 0);
    assert_int_equal(kvt_fs_queue_close(other), 0);
    assert_true(started < MANY / 2);
}

/* The poller takes all elements while the queue stands in the pool's line:
 * closing takes the queue out of it, first, middle or last. */
static void a_queue_in_the_line_can_be_closed(void **state)
{
    struct fixture *f = *state;
    struct kvt_fs_queue *busy = pool_open_queue(f, false);

    pool_set_work(f, 0, THREADS, WORK_GATE);
    kvt_fs_submit(busy, f->elems, THREADS); /* nobody looks at the line */
    assert_int_equal(pool_wait_for_started(f, THREADS), THREADS);
    for (size_t first = 0; first < 3; first++) {
        struct kvt_fs_queue *queues[3];

        for (size_t i = 0; i < 3; i++) {
            queues[i] = pool_open_queue(f, true);
            kvt_fs_submit(queues[i], &f->elems[10 + 2 * i], 2);
            pool_drain(queues[i]);
        }
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(kvt_fs_queue_close(queues[(first + i) % 3]), 0);
        }
    }
    /* and the line still works for those who come then */
    struct kvt_fs_queue *last = pool_open_queue(f, false);
    kvt_fs_submit(last, &f->elems[20], 5);
    pool_open_gate(f);
    pool_drain(last);
    pool_drain(busy);
    assert_int_equal(kvt_fs_queue_close(last), 0);
    assert_int_equal(kvt_fs_queue_close(busy), 0);
}

struct client {
    struct fixture *f;
    pthread_t thread;
    bool poll_works;
    struct kvt_fs_elem elems[8];
    size_t done_count;
};

static void client_done(struct kvt_fs_elem *elem)
{
    struct client *client = elem->arg;

    client->done_count++;
}

/* Batches of changing size on queues that come and go. */
static void *client_run(void *arg)
{
    struct client *client = arg;
    uint64_t seed = 6 + client->poll_works;

    for (size_t round = 0; round < 20; round++) {
        struct kvt_fs_queue *queue =
            pool_open_queue(client->f, client->poll_works);

        for (size_t batch = 0; batch < 5; batch++) {
            size_t count = 1 + unit_random_below(&seed, 8);

            client->done_count = 0;
            for (size_t i = 0; i < count; i++) {
                client->elems[i] = (struct kvt_fs_elem){
                    .op = KVT_FS_STAT,
                    .flags = i + 1 < count && i % 3 == 0 ? KVT_FS_THEN : 0,
                    .done = client_done,
                    .arg = client};
            }
            kvt_fs_submit(queue, client->elems, count);
            pool_drain(queue);
            assert_int_equal(client->done_count, count);
        }
        assert_int_equal(kvt_fs_queue_close(queue), 0);
    }
    return NULL;
}

static void many_threads_have_queues_of_their_own(void **state)
{
    struct fixture *f = *state;
    static struct client clients[8];

    for (size_t i = 0; i < COUNT_OF(clients); i++) {
        clients[i].f = f;
        clients[i].poll_works = i % 2 == 0;
        assert_int_equal(
            pthread_create(&clients[i].thread, NULL, client_run, &clients[i]),
            0);
    }
    for (size_t i = 0; i < COUNT_OF(clients); i++) {
        pthread_join(clients[i].thread, NULL);
    }
    assert_int_equal(f->counting.core.in_flight, 0);
}

static void closing_the_pool_ends_its_threads(void **state)
{
    struct fixture *f = *state;
    size_t threads = threads_of_process();
    struct kvt_fs_pool *pool = f->counting.core.pool;
    struct kvt_fs_queue *queue = pool_open_queue(f, false);

    pool_set_work(f, 0, THREADS, WORK_SLEEP);
    kvt_fs_submit(queue, f->elems, THREADS);
    pool_drain(queue);
    assert_int_equal(kvt_fs_queue_close(queue), 0);
    assert_true(threads_of_process() > threads);
    f->counting.core.pool = NULL; /* the teardown closes null */
    kvt_fs_pool_close(pool);
    /* a thread that was joined may still be listed for a moment */
    for (int i = 0; i < 200 && threads_of_process() > threads; i++) {
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    assert_int_equal(threads_of_process(), threads);
}

#define CASE(name)                                                             \
    cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(all_elements_are_done_once),
        CASE(chains_keep_their_order),
        CASE(what_is_behind_a_failure_is_canceled),
        CASE(a_short_write_breaks_its_chain),
        CASE(one_batch_uses_all_threads_and_no_more),
        CASE(elements_one_by_one_use_all_threads_too),
        CASE(a_polling_thread_does_the_work_of_one_itself),
        CASE(a_poll_with_a_deadline_gets_the_work_done),
        CASE(polls_that_never_wait_get_the_work_done),
        CASE(nothing_starts_past_its_deadline),
        CASE(poll_ends_at_its_deadline),
        CASE(a_wake_ends_a_waiting_poll),
        CASE(a_full_queue_does_not_starve_another),
        CASE(a_queue_in_the_line_can_be_closed),
        CASE(many_threads_have_queues_of_their_own),
        CASE(closing_the_pool_ends_its_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
