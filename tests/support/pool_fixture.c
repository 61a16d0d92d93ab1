#include "support/pool_fixture.h"

#include <errno.h>
#include <string.h>
#include <time.h>

static int64_t counting_execute(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    struct counting_fs *counting = (struct counting_fs *)fs;
    int64_t result = 0;

    pthread_mutex_lock(&counting->mutex);
    if (counting->started < COUNT_OF(counting->order)) {
        counting->order[counting->started] = elem;
    }
    counting->started++;
    counting->last_on = pthread_self();
    counting->running++;
    if (counting->running > counting->running_max) {
        counting->running_max = counting->running;
    }
    pthread_cond_broadcast(&counting->changed);
    while (elem->offset == WORK_GATE && !counting->gate_open) {
        pthread_cond_wait(&counting->changed, &counting->mutex);
    }
    pthread_mutex_unlock(&counting->mutex);
    if (elem->offset == WORK_SLEEP) {
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    if (elem->offset == WORK_FAIL) {
        result = -EUCLEAN;
    }
    if (elem->op == KVT_FS_WRITE || elem->op == KVT_FS_READ) {
        result = (int64_t)kvt_fs_elem_bytes(elem);
        result -= elem->offset == WORK_SHORT;
    }
    pthread_mutex_lock(&counting->mutex);
    counting->running--;
    pthread_mutex_unlock(&counting->mutex);
    return result;
}

static const struct kvt_fs_ops counting_ops = {
    .size = sizeof(struct kvt_fs_ops),
    .version = KVT_FS_VERSION,
    .name = "counting",
    .execute = counting_execute,
};

static int64_t counting_try_now(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    struct counting_fs *counting = (struct counting_fs *)fs;

    pthread_mutex_lock(&counting->mutex);
    counting->asked++;
    pthread_mutex_unlock(&counting->mutex);
    return elem->offset == WORK_NOTHING ? (int64_t)kvt_fs_elem_bytes(elem)
                                        : -EAGAIN;
}

static const struct kvt_fs_ops counting_now_ops = {
    .size = sizeof(struct kvt_fs_ops),
    .version = KVT_FS_VERSION,
    .name = "counting",
    .execute = counting_execute,
    .try_now = counting_try_now,
};

static void note_done(struct kvt_fs_elem *elem)
{
    struct fixture *f = elem->arg;

    assert_true(f->done_count < COUNT_OF(f->order));
    f->order[f->done_count++] = (size_t)(elem - f->elems);
}

int pool_setup(void **state)
{
    static struct fixture f;

    memset(&f, 0, sizeof f);
    f.counting.fs.ops = &counting_ops;
    f.counting.fs.core = &f.counting.core;
    f.counting.fs.facts = (struct kvt_fs_facts){
        .size = sizeof f.counting.fs.facts,
        .depth = ELEMS,
        .offset_alignment = 1,
        .length_alignment = 1,
        .memory_alignment = 1,
        .slices_max = UINT32_MAX,
        .transfer_max = UINT64_MAX,
    };
    pthread_mutex_init(&f.counting.mutex, NULL);
    pthread_cond_init(&f.counting.changed, NULL);
    for (size_t i = 0; i < ELEMS; i++) {
        f.elems[i] = (struct kvt_fs_elem){
            .op = KVT_FS_STAT, .done = note_done, .arg = &f, .result = -1000};
    }
    f.counting.core.pool = kvt_fs_pool_open(&f.counting.fs, THREADS);
    *state = &f;
    return f.counting.core.pool == NULL;
}

int pool_setup_now(void **state)
{
    int rc = pool_setup(state);
    struct fixture *f = *state;

    f->counting.fs.ops = &counting_now_ops;
    return rc;
}

void pool_open_gate(struct fixture *f)
{
    pthread_mutex_lock(&f->counting.mutex);
    f->counting.gate_open = true;
    pthread_cond_broadcast(&f->counting.changed);
    pthread_mutex_unlock(&f->counting.mutex);
}

int pool_teardown(void **state)
{
    struct fixture *f = *state;

    pool_open_gate(f); /* a test that failed may have left it shut */
    kvt_fs_pool_close(f->counting.core.pool);
    pthread_mutex_destroy(&f->counting.mutex);
    pthread_cond_destroy(&f->counting.changed);
    return 0;
}

struct kvt_fs_queue *pool_open_queue(struct fixture *f, bool poll_works)
{
    struct kvt_fs_queue_options options = {sizeof options, 0, poll_works};
    struct kvt_fs_queue *queue = NULL;

    assert_int_equal(kvt_fs_queue_open(&f->counting.fs, &options, &queue), 0);
    return queue;
}

void pool_drain(struct kvt_fs_queue *queue)
{
    while (kvt_fs_in_flight(queue) > 0) {
        kvt_fs_poll(queue, 1, 0);
    }
}

void pool_set_work(struct fixture *f, size_t from, size_t count, enum work work)
{
    for (size_t i = from; i < from + count; i++) {
        f->elems[i].offset = work;
    }
}

size_t pool_wait_for_started(struct fixture *f, size_t count)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 2;
    pthread_mutex_lock(&f->counting.mutex);
    while (f->counting.started < count &&
           pthread_cond_timedwait(&f->counting.changed, &f->counting.mutex,
                                  &until) == 0) {
    }
    size_t started = f->counting.started;
    pthread_mutex_unlock(&f->counting.mutex);
    return started;
}
