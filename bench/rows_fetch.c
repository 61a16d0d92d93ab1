/* Fetching whole files beside a plain loop of open, read, close. */
#define _DEFAULT_SOURCE
#include "caches.h"
#include "harness.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FILES = 10000,
    BATCH = 128,
    DEPTH = 16,
};

struct fetch {
    struct kvt_fs_queue *queue;
    char *memory;
    size_t count;
    char names[FILES][16];
};

static int publish(struct bench *bench, struct fetch *fetch, size_t i)
{
    struct kvt_slice slice = {fetch->memory, bench->row->size, NULL};
    /* an order that is neither the directory's nor the disk's */
    snprintf(fetch->names[i], sizeof fetch->names[i], "f/%08x",
             (unsigned)(i + 1) * 2654435761u);
    struct kvt_fs_elem elem = {.op = KVT_FS_PUBLISH,
                               .path = fetch->names[i],
                               .temp_path = "f/temp",
                               .slices = &slice,
                               .slice_count = 1};
    int64_t rc = kvt_fs_run(bench->mount, &elem);
    return rc >= 0 ? 0 : bench_fail(bench, "publish: %s", strerror((int)-rc));
}

static int setup(struct bench *bench)
{
    struct fetch *fetch = calloc(1, sizeof *fetch);
    struct kvt_fs_queue_options options = {sizeof options, 0, true};
    bench->state = fetch;
    if (fetch == NULL) {
        return bench_fail(bench, "no memory");
    }
    fetch->memory = aligned_alloc(4096, BATCH * bench->row->size);
    if (fetch->memory == NULL ||
        kvt_fs_queue_open(bench->mount, &options, &fetch->queue) != 0) {
        return bench_fail(bench, "no memory or no queue");
    }
    memset(fetch->memory, 7, BATCH * bench->row->size);
    fetch->count = FILES / bench->scale + 1;
    fetch->count = fetch->count < FILES ? fetch->count : FILES;
    for (size_t i = 0; i < fetch->count; i++) {
        if (publish(bench, fetch, i) != 0) {
            return -1;
        }
    }
    return 0;
}

static int teardown(struct bench *bench)
{
    struct fetch *fetch = bench->state;
    if (fetch != NULL) {
        kvt_fs_queue_close(fetch->queue);
        kvt_fs_remove_tree(bench->mount, "f");
        free(fetch->memory);
    }
    free(fetch);
    return 0;
}

/* Cold is dropped, and warm is from the side before; a sample of the files is
 * looked at. */
static int prepare(struct bench *bench, const struct fetch *fetch)
{
    char path[4096];
    bool cold = bench->row->cache == BENCH_COLD;
    if (cold && caches_drop(bench) != 0) {
        return -1;
    }
    for (size_t i = 0; i < fetch->count; i += 1 + fetch->count / 4) {
        snprintf(path, sizeof path, "%s/%s", bench->dir, fetch->names[i]);
        double share = caches_share(bench, path);
        if (share < 0) {
            return -1;
        }
        if (share != (cold ? 0 : 1)) {
            return bench_fail(bench, "%s is %.0f %% in the page cache", path,
                              share * 100);
        }
    }
    return 0;
}

static void count_up(struct bench *bench, const struct fetch *fetch,
                     struct bench_result *result)
{
    result->operations = fetch->count;
    result->bytes = fetch->count * bench->row->size;
}

static int run_batch(struct bench *bench, struct fetch *fetch, size_t at,
                     size_t count)
{
    static struct kvt_fs_elem elems[BATCH];
    static struct kvt_slice slices[BATCH];
    size_t size = bench->row->size;
    for (size_t i = 0; i < count; i++) {
        slices[i] = (struct kvt_slice){fetch->memory + i * size, size, NULL};
        elems[i] = (struct kvt_fs_elem){.op = KVT_FS_FETCH,
                                        .path = fetch->names[at + i],
                                        .slices = &slices[i],
                                        .slice_count = 1};
    }
    kvt_fs_submit(fetch->queue, elems, count);
    while (kvt_fs_in_flight(fetch->queue) > 0) {
        kvt_fs_poll(fetch->queue, 1, 0);
    }
    for (size_t i = 0; i < count; i++) {
        if (elems[i].result != (int64_t)size) {
            return bench_fail(bench, "a fetch gave %lld",
                              (long long)elems[i].result);
        }
    }
    return 0;
}

static int run_ours(struct bench *bench, struct bench_result *result)
{
    struct fetch *fetch = bench->state;
    int rc = prepare(bench, fetch);
    struct bench_clock start = bench_start();
    for (size_t at = 0; at < fetch->count && rc == 0; at += BATCH) {
        size_t left = fetch->count - at;
        rc = run_batch(bench, fetch, at, left < BATCH ? left : BATCH);
    }
    bench_stop(start, result);
    count_up(bench, fetch, result);
    return rc;
}

static int run_loop(struct bench *bench, struct bench_result *result)
{
    struct fetch *fetch = bench->state;
    size_t size = bench->row->size;
    char path[4096];
    int rc = prepare(bench, fetch);
    struct bench_clock start = bench_start();
    for (size_t at = 0; at < fetch->count && rc == 0; at++) {
        char *to = fetch->memory + at % BATCH * size;
        snprintf(path, sizeof path, "%s/%s", bench->dir, fetch->names[at]);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || read(fd, to, size) != (ssize_t)size) {
            rc = bench_fail(bench, "%s cannot be read", path);
        }
        close(fd);
    }
    bench_stop(start, result);
    count_up(bench, fetch, result);
    return rc;
}

#define ROW(state, word)                                                       \
    {                                                                          \
        .name = "fetch/64KiB/files10000/" word "/loop", .other_name = "loop",  \
        .cache = state, .op = KVT_FS_READ, .size = 65536, .depth = DEPTH,      \
        .other_threads = 1, .setup = setup, .ours = run_ours,                  \
        .other = run_loop, .teardown = teardown                                \
    }

struct bench_group bench_fetch_rows(void)
{
    static const struct bench_row rows[] = {
        ROW(BENCH_WARM, "warm"),
        ROW(BENCH_COLD, "cold"),
    };
    return (struct bench_group){rows, sizeof rows / sizeof rows[0]};
}
