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
    bench->operations = fetch->count;
    bench->bytes = fetch->count * bench->row->size;
    snprintf(bench->path, sizeof bench->path, "%s/f", bench->dir);
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

static int check(struct bench *bench, size_t step,
                 int (*look)(struct bench *bench, const char *path))
{
    const struct fetch *fetch = bench->state;
    char path[4096 + sizeof fetch->names[0]];
    int rc = 0;
    for (size_t i = 0; i < fetch->count && rc == 0; i += step) {
        snprintf(path, sizeof path, "%s/%s", bench->dir, fetch->names[i]);
        rc = look(bench, path);
    }
    return rc;
}

static int is_cold(struct bench *bench, const char *path)
{
    return caches_check(bench, path, 0);
}

/* Of cold files a few are looked at, since looking opens them; what the
 * device was asked for proves it of all. */
static int prepare(struct bench *bench)
{
    const struct fetch *fetch = bench->state;
    if (bench->row->cache == BENCH_WARM) {
        return check(bench, 1, caches_warm);
    }
    return caches_drop(bench) == 0 ? check(bench, 1 + fetch->count / 4, is_cold)
                                   : -1;
}

static void count_up(const struct bench *bench, struct bench_result *result)
{
    result->operations = bench->operations;
    result->bytes = bench->bytes;
}

static int run_batch(struct bench *bench, size_t at, size_t count,
                     struct bench_result *result)
{
    static struct kvt_fs_elem elems[BATCH];
    static struct kvt_slice slices[BATCH];
    struct fetch *fetch = bench->state;
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
        bench_in_flight(result, kvt_fs_in_flight(fetch->queue));
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
    const struct fetch *fetch = bench->state;
    int rc = 0;
    struct bench_clock start = bench_start();
    for (size_t at = 0; at < fetch->count && rc == 0; at += BATCH) {
        size_t left = fetch->count - at;
        rc = run_batch(bench, at, left < BATCH ? left : BATCH, result);
    }
    bench_stop(start, result);
    count_up(bench, result);
    return rc;
}

static int run_loop(struct bench *bench, struct bench_result *result)
{
    struct fetch *fetch = bench->state;
    size_t size = bench->row->size;
    char path[4096 + sizeof fetch->names[0]];
    int rc = 0;
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
    count_up(bench, result);
    return rc;
}

#define ROW(state, word)                                                       \
    {                                                                          \
        .name = "fetch/64KiB/files10000/" word "/loop", .other_name = "loop",  \
        .cache = state, .op = KVT_FS_READ, .size = 65536, .depth = DEPTH,      \
        .other_threads = 1, .other_is_code = true, .setup = setup,             \
        .prepare = prepare, .ours = run_ours, .other = run_loop,               \
        .teardown = teardown                                                   \
    }

struct bench_group bench_fetch_rows(void)
{
    static const struct bench_row rows[] = {
        ROW(BENCH_WARM, "warm"),
        ROW(BENCH_COLD, "cold"),
    };
    return (struct bench_group){rows, sizeof rows / sizeof rows[0]};
}
