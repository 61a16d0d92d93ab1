/* The boundary's own cost: an adapter that completes at once. */
#include "harness.h"

#include <stdlib.h>

enum {
    BATCH = 32,
    ROUNDS = 100000,
};

struct null_queue {
    struct kvt_fs_queue base;
    struct kvt_fs_elem *ready;
};

static int null_open(struct kvt_fs *fs, uint32_t depth, bool poll_works,
                     struct kvt_fs_queue **queue)
{
    (void)fs;
    (void)depth;
    (void)poll_works;
    struct null_queue *null = calloc(1, sizeof *null);
    *queue = &null->base;
    return null != NULL ? 0 : -1;
}

static void null_submit(struct kvt_fs_queue *queue, struct kvt_fs_elem *first)
{
    ((struct null_queue *)queue)->ready = first;
}

static void null_poll(struct kvt_fs_queue *queue, size_t min,
                      int64_t deadline_ns)
{
    (void)min;
    (void)deadline_ns;
    struct null_queue *null = (struct null_queue *)queue;
    struct kvt_fs_elem *elem = null->ready;
    null->ready = NULL;
    while (elem != NULL) {
        struct kvt_fs_elem *next = elem->next;
        kvt_fs_complete(elem, 64);
        elem = next;
    }
}

static void null_wake(struct kvt_fs_queue *queue)
{
    (void)queue;
}

static void null_close(struct kvt_fs_queue *queue)
{
    free(queue);
}

static const struct kvt_fs_queue_ops null_queue_ops = {
    .open = null_open,
    .submit = null_submit,
    .poll = null_poll,
    .wake = null_wake,
    .close = null_close,
    .chains = true,
};

struct null_state {
    struct kvt_fs_ops ops;
    struct kvt_fs fs; /* the core of the mount, and another table */
    struct kvt_fs_queue *queue;
    uint64_t done;
};

static int setup(struct bench *bench)
{
    struct kvt_fs_queue_options options = {sizeof options, 64, false};
    struct null_state *state = calloc(1, sizeof *state);
    bench->state = state;
    if (state == NULL) {
        return bench_fail(bench, "no memory");
    }
    state->ops = *bench->mount->ops;
    state->ops.queue = &null_queue_ops;
    state->fs = *bench->mount;
    state->fs.ops = &state->ops;
    return kvt_fs_queue_open(&state->fs, &options, &state->queue) == 0
               ? 0
               : bench_fail(bench, "no queue");
}

static int teardown(struct bench *bench)
{
    struct null_state *state = bench->state;
    if (state != NULL) {
        kvt_fs_queue_close(state->queue);
    }
    free(state);
    return 0;
}

static void note_done(struct kvt_fs_elem *elem)
{
    ((struct null_state *)elem->arg)->done += elem->result == 64;
}

static int run(struct bench *bench, struct bench_result *result)
{
    static char memory[BATCH][64];
    struct null_state *state = bench->state;
    struct kvt_slice slices[BATCH];
    struct kvt_fs_elem elems[BATCH];
    unsigned rounds = ROUNDS / bench->scale + 1;
    for (int i = 0; i < BATCH; i++) {
        slices[i] = (struct kvt_slice){memory[i], 64, NULL};
        elems[i] = (struct kvt_fs_elem){.op = KVT_FS_READ,
                                        .slices = &slices[i],
                                        .slice_count = 1,
                                        .done = note_done,
                                        .arg = state};
    }
    state->done = 0;
    struct bench_clock start = bench_start();
    for (unsigned i = 0; i < rounds; i++) {
        kvt_fs_submit(state->queue, elems, BATCH);
        kvt_fs_poll(state->queue, BATCH, 0);
    }
    bench_stop(start, result);
    result->operations = state->done;
    return state->done == (uint64_t)rounds * BATCH
               ? 0
               : bench_fail(bench, "elements were lost");
}

struct bench_group bench_boundary_rows(void)
{
    static const struct bench_row rows[] = {
        {.name = "boundary/64B/batch32",
         .cache = BENCH_NONE,
         .op = KVT_FS_READ,
         .size = 64,
         .depth = BATCH,
         .setup = setup,
         .ours = run,
         .teardown = teardown},
    };
    return (struct bench_group){rows, sizeof rows / sizeof rows[0]};
}
