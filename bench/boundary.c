/*
 * The boundary's own cost, and posix through it beside bare system calls.
 *
 *   bench_boundary null              an adapter that completes at once
 *   bench_boundary read DIR          depth 1 beside a pread loop
 *   bench_boundary write DIR         depth 1 beside a pwrite loop
 *   bench_boundary fetch DIR         10,000 files of 64 KiB beside a loop of
 *                                    open, read, close; page cache warm
 *   bench_boundary fetch-cold DIR    the same, caches dropped (root)
 *
 * CSV on standard output; ratios above 1: ours is faster. Page cache unless
 * said otherwise, one thread, destinations touched before.
 */
#define _DEFAULT_SOURCE
#include "pairs.h"

#include "fs/registry.h"

#include <fcntl.h>
#include <kvtier/fs.h>
#include <string.h>
#include <unistd.h>

enum {
    PAIRS = 21,
    NULL_BATCH = 32,
    NULL_ROUNDS = 100000,
    FILES = 10000,
    FILE_SIZE = 65536,
    FETCH_BATCH = 128,
    XFER_BYTES = 256 << 20,
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* An adapter that completes at once ---------------------------------------- */

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

static size_t null_done_count;

static void null_done(struct kvt_fs_elem *elem)
{
    null_done_count += elem->result == 64;
}

static void bench_null(struct kvt_fs *posix)
{
    static char memory[NULL_BATCH][64];
    struct kvt_fs_ops ops = *posix->ops;
    struct kvt_fs fs = *posix; /* its core, another table */
    ops.queue = &null_queue_ops;
    fs.ops = &ops;
    struct kvt_fs_queue *queue;
    struct kvt_fs_queue_options options = {sizeof options, 64, false};
    struct kvt_slice slices[NULL_BATCH];
    struct kvt_fs_elem elems[NULL_BATCH] = {0};
    if (kvt_fs_queue_open(&fs, &options, &queue) != 0) {
        die("queue");
    }
    for (int i = 0; i < NULL_BATCH; i++) {
        slices[i] = (struct kvt_slice){memory[i], 64, NULL};
        elems[i].op = KVT_FS_READ;
        elems[i].slices = &slices[i];
        elems[i].slice_count = 1;
        elems[i].done = null_done;
    }
    printf("what,ns_an_element\n");
    for (int run = 0; run < 7; run++) {
        double start = bench_cpu();
        for (int i = 0; i < NULL_ROUNDS; i++) {
            kvt_fs_submit(queue, elems, NULL_BATCH);
            kvt_fs_poll(queue, NULL_BATCH, 0);
        }
        double seconds = bench_cpu() - start;
        printf("null,%.1f\n", seconds * 1e9 / NULL_ROUNDS / NULL_BATCH);
    }
    kvt_fs_queue_close(queue);
}

/* Depth 1 beside pread and pwrite ------------------------------------------ */

struct xfer {
    struct kvt_fs *fs;
    struct kvt_fs_queue *queue;
    struct kvt_fs_file *file;
    int fd;
    size_t size;
    char *memory;
    enum kvt_fs_op op;
};

static double xfer_ours(void *arg)
{
    struct xfer *xfer = arg;
    struct kvt_slice slice = {xfer->memory, xfer->size, NULL};
    struct kvt_fs_elem elem = {
        .op = xfer->op, .file = xfer->file, .slices = &slice, .slice_count = 1};
    double start = bench_now();
    for (uint64_t at = 0; at < XFER_BYTES; at += xfer->size) {
        elem.offset = at;
        kvt_fs_submit(xfer->queue, &elem, 1);
        kvt_fs_poll(xfer->queue, 1, 0);
        if (elem.result != (int64_t)xfer->size) {
            die("element");
        }
    }
    return bench_now() - start;
}

static double xfer_bare(void *arg)
{
    struct xfer *xfer = arg;
    double start = bench_now();
    for (off_t at = 0; at < XFER_BYTES; at += (off_t)xfer->size) {
        ssize_t done = xfer->op == KVT_FS_READ
                           ? pread(xfer->fd, xfer->memory, xfer->size, at)
                           : pwrite(xfer->fd, xfer->memory, xfer->size, at);
        if (done != (ssize_t)xfer->size) {
            die("pread or pwrite");
        }
    }
    return bench_now() - start;
}

static void bench_xfer(struct kvt_fs *fs, const char *dir, enum kvt_fs_op op)
{
    static const size_t sizes[] = {4096, 65536, 1 << 20};
    char path[4096];
    snprintf(path, sizeof path, "%s/bench", dir);
    struct xfer xfer = {.fs = fs, .op = op};
    struct kvt_fs_queue_options options = {sizeof options, 1, true};
    struct kvt_fs_elem open_elem = {.op = KVT_FS_OPEN,
                                    .path = "bench",
                                    .flags = KVT_FS_CREATE | KVT_FS_FOR_WRITE};
    if (kvt_fs_queue_open(fs, &options, &xfer.queue) != 0 ||
        kvt_fs_run(fs, &open_elem) != 0) {
        die("open");
    }
    xfer.file = open_elem.file;
    xfer.fd = open(path, O_RDWR);
    xfer.memory = aligned_alloc(4096, 1 << 20);
    if (xfer.fd < 0 || xfer.memory == NULL) {
        die(path);
    }
    memset(xfer.memory, 7, 1 << 20);
    pairs_header();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        static struct pairs pairs;
        char what[64];
        xfer.size = sizes[i];
        struct xfer fill = xfer;
        fill.op = KVT_FS_WRITE;
        xfer_bare(&fill);
        pairs_run(&pairs, PAIRS, xfer_ours, xfer_bare, &xfer);
        snprintf(what, sizeof what, "%s depth 1 %zu bytes page cache",
                 op == KVT_FS_READ ? "read" : "write", xfer.size);
        pairs_print(what, &pairs);
    }
    struct kvt_fs_elem close_elem = {.op = KVT_FS_CLOSE, .file = xfer.file};
    kvt_fs_run(fs, &close_elem);
    kvt_fs_queue_close(xfer.queue);
    close(xfer.fd);
    unlink(path);
    free(xfer.memory);
}

/* Fetch beside open, read, close ------------------------------------------- */

struct fetch {
    struct kvt_fs_queue *queue;
    const char *dir;
    bool cold;
    char *memory;
    char names[FILES][16];
};

static void drop_caches(void)
{
    sync();
    int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);
    if (fd < 0 || write(fd, "3", 1) != 1) {
        die("drop_caches");
    }
    close(fd);
}

static double fetch_ours(void *arg)
{
    struct fetch *fetch = arg;
    static struct kvt_fs_elem elems[FETCH_BATCH];
    static struct kvt_slice slices[FETCH_BATCH];
    if (fetch->cold) {
        drop_caches();
    }
    double start = bench_now();
    for (int at = 0; at < FILES; at += FETCH_BATCH) {
        int count = FILES - at < FETCH_BATCH ? FILES - at : FETCH_BATCH;
        for (int i = 0; i < count; i++) {
            slices[i] = (struct kvt_slice){
                fetch->memory + (size_t)i * FILE_SIZE, FILE_SIZE, NULL};
            elems[i] = (struct kvt_fs_elem){.op = KVT_FS_FETCH,
                                            .path = fetch->names[at + i],
                                            .slices = &slices[i],
                                            .slice_count = 1};
        }
        kvt_fs_submit(fetch->queue, elems, (size_t)count);
        while (kvt_fs_in_flight(fetch->queue) > 0) {
            kvt_fs_poll(fetch->queue, 1, 0);
        }
        for (int i = 0; i < count; i++) {
            if (elems[i].result != FILE_SIZE) {
                die("fetch");
            }
        }
    }
    return bench_now() - start;
}

static double fetch_bare(void *arg)
{
    struct fetch *fetch = arg;
    char path[4096];
    if (fetch->cold) {
        drop_caches();
    }
    double start = bench_now();
    for (int at = 0; at < FILES; at++) {
        char *to = fetch->memory + (size_t)(at % FETCH_BATCH) * FILE_SIZE;
        snprintf(path, sizeof path, "%s/%s", fetch->dir, fetch->names[at]);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || read(fd, to, FILE_SIZE) != FILE_SIZE) {
            die(path);
        }
        close(fd);
    }
    return bench_now() - start;
}

static void make_files(struct kvt_fs *fs, struct fetch *fetch)
{
    struct kvt_slice slice = {fetch->memory, FILE_SIZE, NULL};
    for (int i = 0; i < FILES; i++) {
        /* an order that is not that of the directory or the disk */
        snprintf(fetch->names[i], sizeof fetch->names[i], "f/%08x",
                 (unsigned)(i + 1) * 2654435761u);
        struct kvt_fs_elem publish = {.op = KVT_FS_PUBLISH,
                                      .path = fetch->names[i],
                                      .temp_path = "t",
                                      .slices = &slice,
                                      .slice_count = 1};
        if (kvt_fs_run(fs, &publish) != FILE_SIZE) {
            die("publish");
        }
    }
}

static void bench_fetch(struct kvt_fs *fs, const char *dir, bool cold)
{
    static struct fetch fetch;
    static struct pairs pairs;
    struct kvt_fs_queue_options options = {sizeof options, 0, true};
    fetch.dir = dir;
    fetch.cold = cold;
    fetch.memory = aligned_alloc(4096, (size_t)FETCH_BATCH * FILE_SIZE);
    if (fetch.memory == NULL ||
        kvt_fs_queue_open(fs, &options, &fetch.queue) != 0) {
        die("open");
    }
    memset(fetch.memory, 7, (size_t)FETCH_BATCH * FILE_SIZE);
    make_files(fs, &fetch);
    fetch_bare(&fetch);
    pairs_header();
    pairs_run(&pairs, cold ? 15 : PAIRS, fetch_ours, fetch_bare, &fetch);
    pairs_print(cold ? "fetch 10000 x 64 KiB cold"
                     : "fetch 10000 x 64 KiB warm",
                &pairs);
    kvt_fs_queue_close(fetch.queue);
    kvt_fs_remove_tree(fs, "f");
    free(fetch.memory);
}

int main(int argc, char **argv)
{
    struct kvt_error err;
    struct kvt_fs *fs;
    struct kvt_config *config = kvt_config_open();
    const char *what = argc > 1 ? argv[1] : "null";
    const char *dir = argc > 2 ? argv[2] : "/tmp";
    struct kvt_fs_mount_args args = {
        .size = sizeof args, .root = dir, .config = config};
    if (config == NULL || kvt_fs_mount("posix", &args, &fs, &err) != 0) {
        fprintf(stderr, "bench_boundary: %s: %s\n", err.subject, err.message);
        return 1;
    }
    if (strcmp(what, "read") == 0) {
        bench_xfer(fs, dir, KVT_FS_READ);
    } else if (strcmp(what, "write") == 0) {
        bench_xfer(fs, dir, KVT_FS_WRITE);
    } else if (strcmp(what, "fetch") == 0) {
        bench_fetch(fs, dir, false);
    } else if (strcmp(what, "fetch-cold") == 0) {
        bench_fetch(fs, dir, true);
    } else {
        bench_null(fs);
    }
    kvt_fs_unmount(fs);
    kvt_config_close(config);
    return 0;
}
