/* Reads and writes of one prewritten file at a rolling depth, each place of
 * the depth going through a part of its own, beside a loop of pread or pwrite
 * and beside fio; or all going through one sequence, beside fio's ring and a
 * bare loop over one. */
#define _DEFAULT_SOURCE
#include "caches.h"
#include "command.h"
#include "fio.h"
#include "harness.h"
#include "ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    DEPTH_MAX = 64,
    FILE_BYTES = 256 << 20,
    DIRECT_OPERATIONS = 4096, /* of one side, direct */
    STREAM_OPERATIONS = 32768,
    CACHED_LOOPS = 4,
};

struct transfer {
    char *memory;        /* `size` bytes for each place */
    struct kvt_mem *mem; /* other such memory, for ours; or null */
    uint64_t region;
    unsigned loops;
    struct kvt_fs_queue *queue;
    struct kvt_fs_file *file;
    int fd;
    bool failed;
    bool batch;
    bool stream;
    uint64_t next; /* block of the stream */
    uint64_t end;
    struct kvt_fs_elem elems[DEPTH_MAX];
    struct place { /* of each element */
        struct kvt_slice slice;
        uint64_t from;
        uint64_t end;
        unsigned loops_left;
        struct transfer *transfer;
    } places[DEPTH_MAX];
};

static int write_file(struct bench *bench, struct transfer *t, uint64_t bytes)
{
    static char block[1 << 20];
    for (size_t i = 0; i < sizeof block; i++) {
        block[i] = (char)(i * 2654435761u >> 24);
    }
    for (uint64_t at = 0; at < bytes; at += sizeof block) {
        if (pwrite(t->fd, block, sizeof block, (off_t)at) !=
            (ssize_t)sizeof block) {
            return bench_fail(bench, "%s: %s", bench->path, strerror(errno));
        }
    }
    return fsync(t->fd) == 0 ? 0 : bench_fail(bench, "%s: fsync", bench->path);
}

/* How much of the file a side goes through, and how often. */
static void choose_work(const struct bench *bench, struct transfer *t)
{
    const struct bench_row *row = bench->row;
    uint64_t bytes = FILE_BYTES;
    t->loops = CACHED_LOOPS;
    if (row->cache == BENCH_DIRECT) {
        uint64_t most =
            row->size * (row->stream ? STREAM_OPERATIONS : DIRECT_OPERATIONS);
        bytes = most < bytes ? most : bytes;
        t->loops = 1;
    }
    t->region = bytes / bench->scale / row->depth;
    t->region -= t->region % row->size;
    t->region = t->region > row->size ? t->region : row->size;
}

static int setup(struct bench *bench)
{
    const struct bench_row *row = bench->row;
    struct transfer *t = calloc(1, sizeof *t);
    bench->state = t;
    if (t == NULL) {
        return bench_fail(bench, "no memory");
    }
    choose_work(bench, t);
    snprintf(bench->path, sizeof bench->path, "%s/bench-file", bench->dir);
    t->memory = aligned_alloc(4096, row->size * row->depth);
    t->fd = open(bench->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (t->memory == NULL || t->fd < 0) {
        return bench_fail(bench, "%s: %s", bench->path, strerror(errno));
    }
    memset(t->memory, 7, row->size * row->depth);
    uint64_t bytes = t->region * row->depth;
    bench->bytes = bytes * t->loops;
    bench->operations = bench->bytes / row->size;
    if (write_file(bench, t, (bytes + (1 << 20) - 1) >> 20 << 20) != 0) {
        return -1;
    }
    struct kvt_fs_queue_options options = {sizeof options, row->depth, true};
    struct kvt_fs_elem open_elem = {
        .op = KVT_FS_OPEN, .path = "bench-file", .flags = KVT_FS_FOR_WRITE};
    int rc = kvt_fs_queue_open(bench->mount, &options, &t->queue);
    rc = rc == 0 ? (int)kvt_fs_run(bench->mount, &open_elem) : rc;
    if (rc != 0) {
        return bench_fail(bench, "%s: %s", bench->fs, strerror(-rc));
    }
    t->file = open_elem.file;
    size_t size = row->size * row->depth;
    if (row->mount_memory && kvt_mem_alloc(bench->mount, size, &t->mem) != 0) {
        return bench_fail(bench, "no memory of the mount's");
    }
    if (t->mem != NULL) {
        memset(kvt_mem_base(t->mem), 7, size);
    }
    return 0;
}

static int prepare(struct bench *bench)
{
    return bench->row->cache == BENCH_WARM ? caches_warm(bench, bench->path)
                                           : 0;
}

static int teardown(struct bench *bench)
{
    struct transfer *t = bench->state;
    if (t == NULL) {
        return 0;
    }
    if (t->file != NULL) {
        struct kvt_fs_elem close_elem = {.op = KVT_FS_CLOSE, .file = t->file};
        kvt_fs_run(bench->mount, &close_elem);
    }
    kvt_fs_queue_close(t->queue);
    kvt_mem_free(t->mem);
    if (t->fd >= 0) {
        close(t->fd);
        unlink(bench->path);
    }
    free(t->memory);
    free(t);
    return 0;
}

static void stream_on(struct transfer *t, struct kvt_fs_elem *elem)
{
    if (t->next < t->end && !t->failed) {
        elem->offset = t->next;
        t->next += elem->slices[0].size;
        kvt_fs_submit(t->queue, elem, 1);
    }
}

/* The next block of the place, until its part is through. */
static void go_on(struct kvt_fs_elem *elem)
{
    struct place *place = elem->arg;
    struct transfer *t = place->transfer;
    t->failed |= elem->result != (int64_t)place->slice.size;
    if (t->stream) {
        stream_on(t, elem);
        return;
    }
    elem->offset += place->slice.size;
    if (elem->offset == place->end) {
        elem->offset = place->from;
        place->loops_left--;
    }
    if (place->loops_left > 0 && !t->failed && !t->batch) {
        kvt_fs_submit(t->queue, elem, 1);
    }
}

static void start_at(struct transfer *t, const struct bench_row *row,
                     uint32_t i)
{
    struct place *place = &t->places[i];
    place->transfer = t;
    char *memory = t->mem != NULL ? kvt_mem_base(t->mem) : t->memory;
    place->slice =
        (struct kvt_slice){memory + i * row->size, row->size, t->mem};
    place->from = t->stream ? i * row->size : i * t->region;
    place->end = place->from + t->region;
    place->loops_left = t->loops;
    t->elems[i] = (struct kvt_fs_elem){.op = row->op,
                                       .file = t->file,
                                       .offset = place->from,
                                       .slices = &place->slice,
                                       .slice_count = 1,
                                       .done = go_on,
                                       .arg = place};
}

static int run_ours(struct bench *bench, struct bench_result *result)
{
    const struct bench_row *row = bench->row;
    struct transfer *t = bench->state;
    t->batch = row->batch;
    t->stream = row->stream;
    t->next = row->depth * row->size;
    t->end = t->region * row->depth;
    for (uint32_t i = 0; i < row->depth; i++) {
        start_at(t, row, i);
    }
    struct bench_clock start = bench_start();
    do { /* once, when each of them goes on by itself */
        kvt_fs_submit(t->queue, t->elems, row->depth);
        while (kvt_fs_in_flight(t->queue) > 0) {
            bench_in_flight(result, kvt_fs_in_flight(t->queue));
            kvt_fs_poll(t->queue, row->batch ? row->depth : 1, 0);
        }
    } while (t->batch && t->places[0].loops_left > 0 && !t->failed);
    bench_stop(start, result);
    result->bytes = bench->bytes;
    result->operations = bench->operations;
    return t->failed ? bench_fail(bench, "a transfer failed") : 0;
}

static int run_loop(struct bench *bench, struct bench_result *result)
{
    const struct bench_row *row = bench->row;
    struct transfer *t = bench->state;
    bool failed = false;
    struct bench_clock start = bench_start();
    for (unsigned loop = 0; loop < t->loops; loop++) {
        for (uint64_t at = 0; at < t->region && !failed; at += row->size) {
            ssize_t done = row->op == KVT_FS_READ
                               ? pread(t->fd, t->memory, row->size, (off_t)at)
                               : pwrite(t->fd, t->memory, row->size, (off_t)at);
            failed = done != (ssize_t)row->size;
        }
    }
    bench_stop(start, result);
    result->bytes = bench->bytes;
    result->operations = bench->operations;
    return failed ? bench_fail(bench, "pread or pwrite failed") : 0;
}

static int run_fio_engine(struct bench *bench, struct bench_result *result,
                          const char *engine, bool is_async)
{
    const struct bench_row *row = bench->row;
    struct transfer *t = bench->state;
    struct fio_job job = {.path = bench->path,
                          .engine = engine,
                          .region =
                              is_async ? t->region * row->depth : t->region,
                          .jobs = row->other_threads,
                          .depth = is_async ? row->depth : 1,
                          .batch = row->batch,
                          .loops = t->loops};
    return fio_run(bench, &job, result);
}

static int run_fio(struct bench *bench, struct bench_result *result)
{
    return run_fio_engine(bench, result, "psync", false);
}

static int run_fio_uring(struct bench *bench, struct bench_result *result)
{
    return run_fio_engine(bench, result, "io_uring", true);
}

/* The same over a bare ring of io_uring. */
static int run_ring(struct bench *bench, struct bench_result *result)
{
    struct transfer *t = bench->state;
    struct ring_job job = {.path = bench->path,
                           .write = bench->row->op == KVT_FS_WRITE,
                           .size = bench->row->size,
                           .depth = bench->row->depth,
                           .end = t->region * bench->row->depth,
                           .memory = t->memory};
    return ring_run(bench, &job, result);
}

/* As many times dd as there are loops: its start is in its time. */
static int run_dd(struct bench *bench, struct bench_result *result)
{
    const struct transfer *t = bench->state;
    char quoted[520];
    char command[1000];
    char said[1000];
    if (command_quote(bench, bench->path, quoted, sizeof quoted) != 0) {
        return -1;
    }
    snprintf(command, sizeof command,
             "for i in $(seq %u); do dd if=%s of=/dev/null bs=%llu "
             "count=%llu status=none || exit 1; done",
             t->loops, quoted, (unsigned long long)bench->row->size,
             (unsigned long long)(bench->operations / t->loops));
    return command_run(bench, command, said, sizeof said, result);
}

#define SIDES                                                                  \
    .setup = setup, .prepare = prepare, .ours = run_ours, .teardown = teardown
#define ROW(operation, what, bytes, label, deep, state, word, with, side)      \
    {                                                                          \
        .name = what "/" label "/depth" #deep "/" word "/" with,               \
        .other_name = with, .cache = state, .op = operation, .size = bytes,    \
        .depth = deep, .other_threads = deep, .other = side, SIDES             \
    }
#define LOOP(operation, what, bytes, label)                                    \
    {                                                                          \
        .name = what "/" label "/depth1/warm/loop", .other_name = "loop",      \
        .cache = BENCH_WARM, .op = operation, .size = bytes, .depth = 1,       \
        .other_threads = 1, .other = run_loop, .other_is_code = true, SIDES    \
    }
#define STREAM(operation, what, bytes, label, with, side, code, ...)           \
    {                                                                          \
        .name = what "/" label "/depth32/direct/" with, .other_name = with,    \
        .cache = BENCH_DIRECT, .op = operation, .size = bytes, .depth = 32,    \
        .stream = true, .other_threads = 1, .other = side,                     \
        .other_is_code = code, SIDES, __VA_ARGS__                              \
    }
#define STREAMS(operation, what, bytes, label)                                 \
    STREAM(operation, what, bytes, label, "fio", run_fio_uring, false,         \
           .mount_memory = false),                                             \
        STREAM(operation, what, bytes, label, "ring", run_ring, true,          \
               .mount_memory = false),                                         \
        STREAM(operation, what, bytes, label, "registered/ring", run_ring,     \
               true, .mount_memory = true)
#define ROWS(operation, what, bytes, label)                                    \
    LOOP(operation, what, bytes, label),                                       \
        ROW(operation, what, bytes, label, 1, BENCH_WARM, "warm", "fio",       \
            run_fio),                                                          \
        ROW(operation, what, bytes, label, 16, BENCH_WARM, "warm", "fio",      \
            run_fio),                                                          \
        ROW(operation, what, bytes, label, 1, BENCH_DIRECT, "direct", "fio",   \
            run_fio),                                                          \
        ROW(operation, what, bytes, label, 16, BENCH_DIRECT, "direct", "fio",  \
            run_fio)

struct bench_group bench_transfer_rows(void)
{
    static const struct bench_row rows[] = {
        ROWS(KVT_FS_READ, "read", 4096, "4KiB"),
        ROWS(KVT_FS_READ, "read", 65536, "64KiB"),
        ROWS(KVT_FS_READ, "read", 1048576, "1MiB"),
        ROWS(KVT_FS_WRITE, "write", 4096, "4KiB"),
        ROWS(KVT_FS_WRITE, "write", 65536, "64KiB"),
        ROWS(KVT_FS_WRITE, "write", 1048576, "1MiB"),
        STREAMS(KVT_FS_READ, "read", 4096, "4KiB"),
        STREAMS(KVT_FS_READ, "read", 65536, "64KiB"),
        STREAMS(KVT_FS_READ, "read", 1048576, "1MiB"),
        STREAMS(KVT_FS_WRITE, "write", 4096, "4KiB"),
        STREAMS(KVT_FS_WRITE, "write", 65536, "64KiB"),
        STREAMS(KVT_FS_WRITE, "write", 1048576, "1MiB"),
        {.name = "read/64KiB/batch16/direct/fio",
         .other_name = "fio",
         .cache = BENCH_DIRECT,
         .op = KVT_FS_READ,
         .size = 65536,
         .depth = 16,
         .batch = true,
         .other_threads = 1,
         .other = run_fio_uring,
         SIDES},
        {.name = "read/1MiB/depth1/warm/dd",
         .other_name = "dd",
         .cache = BENCH_WARM,
         .op = KVT_FS_READ,
         .size = 1048576,
         .depth = 1,
         .other_threads = 1,
         .other = run_dd,
         SIDES},
    };
    return (struct bench_group){rows, sizeof rows / sizeof rows[0]};
}
