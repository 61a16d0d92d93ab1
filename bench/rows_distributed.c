/* A shared root beside the original's way: one open, write or read, close
 * after the other, in one thread, in a tree of the same shape. And, with 5 ms
 * added to every call for metadata, beside what the number of calls and the
 * number of threads allow at best. */
#define _DEFAULT_SOURCE
#define _XOPEN_SOURCE 700
#include "caches.h"
#include "harness.h"

#include <kvtier/kvtier.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BATCH = 32,
    BYTES = 32 << 20, /* of one side of a pair */
    COUNT_MAX = 2048,
    SLOW_COUNT = 256,
    SLOW_MS = 5,
    THREADS = 16,
    SCAN_COUNT = 100000,
    DIRECTORIES = 256,
};

struct root {
    struct kvt_store *store;
    char *memory;
    size_t count; /* objects of one side */
    uint64_t round;
    uint64_t last; /* round whose files are read */
    char names[COUNT_MAX][32];
    char files[COUNT_MAX][64]; /* of the loop, below its own folder */
};

/* Setting up --------------------------------------------------------------- */

static int set(struct bench *bench, struct kvt_config *config, const char *key,
               const char *value)
{
    struct kvt_error err;
    return kvt_config_set(config, key, value, &err) == KVT_OK
               ? 0
               : bench_fail(bench, "%s = %s: %s", key, value, err.message);
}

static int open_root(struct bench *bench, struct root *root, const char *rules)
{
    struct kvt_config *config = kvt_config_open();
    struct kvt_error err;
    char fs[64];
    char path[4096];
    snprintf(fs, sizeof fs, "%s%s", rules != NULL ? "fault:" : "", bench->fs);
    snprintf(path, sizeof path, "%s/shared", bench->dir);
    int rc = config == NULL ? bench_fail(bench, "no memory") : 0;
    rc = rc != 0 ? rc : set(bench, config, "backend", "distributed");
    rc = rc != 0 ? rc : set(bench, config, "distributed.fs", fs);
    rc = rc != 0 ? rc : set(bench, config, "path", path);
    if (rc == 0 && rules != NULL) {
        rc = set(bench, config, "fault.rules", rules);
    }
    if (rc == 0 && kvt_store_open(config, NULL, &root->store, &err) != KVT_OK) {
        rc = bench_fail(bench, "%s", err.message);
    }
    kvt_config_close(config);
    return rc;
}

static int make_folders(struct bench *bench)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/original", bench->dir);
    int rc = mkdir(path, 0777);
    for (unsigned i = 0; rc == 0 && i < DIRECTORIES; i++) {
        snprintf(path, sizeof path, "%s/original/%02x", bench->dir, i);
        rc = mkdir(path, 0777);
    }
    return rc == 0 ? 0 : bench_fail(bench, "%s: %s", path, strerror(errno));
}

static int set_up_root(struct bench *bench, const char *rules)
{
    struct root *root = calloc(1, sizeof *root);
    bench->state = root;
    if (root == NULL) {
        return bench_fail(bench, "no memory");
    }
    size_t size = bench->row->size > 0 ? bench->row->size : 4096;
    root->count = rules != NULL ? SLOW_COUNT : BYTES / size / bench->scale;
    root->count = root->count > COUNT_MAX ? COUNT_MAX : root->count;
    root->count = (root->count + BATCH - 1) / BATCH * BATCH;
    root->memory = aligned_alloc(4096, BATCH * size);
    if (root->memory == NULL) {
        return bench_fail(bench, "no memory");
    }
    memset(root->memory, 7, BATCH * size);
    int rc = make_folders(bench);
    return rc != 0 ? rc : open_root(bench, root, rules);
}

static int setup(struct bench *bench)
{
    return set_up_root(bench, NULL);
}

#define SLOW(op) op ",every=1,delay=5"

static int setup_slow(struct bench *bench)
{
    return set_up_root(bench, SLOW("open") ";" SLOW("close") ";" SLOW(
                                  "rename") ";" SLOW("stat"));
}

static int teardown(struct bench *bench)
{
    struct root *root = bench->state;
    if (root != NULL) {
        kvt_store_close(root->store);
        free(root->memory);
    }
    free(root);
    kvt_fs_remove_tree(bench->mount, "shared");
    kvt_fs_remove_tree(bench->mount, "original");
    return 0;
}

/* Names of a round: new ones each time, as keys of a cache are. */
static void name_round(struct root *root, uint64_t round)
{
    for (size_t i = 0; i < root->count; i++) {
        uint32_t mixed = (uint32_t)(round * COUNT_MAX + i + 1) * 2654435761u;
        snprintf(root->names[i], sizeof root->names[i], "kv/%llx@%08x",
                 (unsigned long long)round, mixed);
        snprintf(root->files[i], sizeof root->files[i], "%02x/kv%%2f%llx%%40%x",
                 mixed % DIRECTORIES, (unsigned long long)round, mixed);
    }
}

static void count_up(struct bench *bench, const struct root *root,
                     struct bench_result *result)
{
    result->operations = root->count;
    result->bytes = root->count * bench->row->size;
}

/* Our side ----------------------------------------------------------------- */

typedef int (*batch_fn)(struct kvt_store *, struct kvt_object *, size_t,
                        struct kvt_batch_options *);

static int run_batches(struct bench *bench, batch_fn run)
{
    struct root *root = bench->state;
    struct kvt_object objects[BATCH];
    struct kvt_slice slices[BATCH];
    size_t size = bench->row->size;
    for (size_t at = 0; at < root->count; at += BATCH) {
        for (size_t i = 0; i < BATCH; i++) {
            const char *name = root->names[at + i];
            slices[i] = (struct kvt_slice){root->memory + i * size, size, NULL};
            objects[i] = (struct kvt_object){.key = {name, strlen(name)}};
            if (run != kvt_batch_exists) {
                objects[i].slices = &slices[i];
                objects[i].slice_count = 1;
            }
        }
        int done = run(root->store, objects, BATCH, NULL);
        if (done != BATCH) {
            return bench_fail(bench, "%d of %d succeeded", done, BATCH);
        }
    }
    return 0;
}

static int ours(struct bench *bench, struct bench_result *result, batch_fn run)
{
    struct bench_clock start = bench_start();
    int rc = run_batches(bench, run);
    bench_stop(start, result);
    count_up(bench, bench->state, result);
    return rc;
}

static int write_ours(struct bench *bench, struct bench_result *result)
{
    struct root *root = bench->state;
    name_round(root, root->round++);
    return ours(bench, result, kvt_batch_offload);
}

/* The loop ----------------------------------------------------------------- */

static int loop(struct bench *bench, struct bench_result *result, int flags)
{
    struct root *root = bench->state;
    size_t size = bench->row->size;
    char path[4200];
    int rc = 0;
    struct bench_clock start = bench_start();
    for (size_t i = 0; i < root->count && rc == 0; i++) {
        char *bytes = root->memory + i % BATCH * size;
        snprintf(path, sizeof path, "%s/original/%s", bench->dir,
                 root->files[i]);
        int fd = open(path, flags | O_CLOEXEC, 0666);
        ssize_t done = fd < 0              ? -1
                       : flags == O_RDONLY ? read(fd, bytes, size)
                                           : write(fd, bytes, size);
        if (done != (ssize_t)size || close(fd) != 0) {
            rc = bench_fail(bench, "%s: %s", path, strerror(errno));
        }
    }
    bench_stop(start, result);
    count_up(bench, root, result);
    return rc;
}

static int write_loop(struct bench *bench, struct bench_result *result)
{
    struct root *root = bench->state;
    name_round(root, root->round++);
    return loop(bench, result, O_WRONLY | O_CREAT | O_TRUNC);
}

static int exists_loop(struct bench *bench, struct bench_result *result)
{
    struct root *root = bench->state;
    char path[4200];
    struct stat st;
    int rc = 0;
    struct bench_clock start = bench_start();
    for (size_t i = 0; i < root->count && rc == 0; i++) {
        snprintf(path, sizeof path, "%s/original/%s", bench->dir,
                 root->files[i]);
        rc = stat(path, &st);
    }
    bench_stop(start, result);
    count_up(bench, root, result);
    return rc == 0 ? 0 : bench_fail(bench, "%s: %s", path, strerror(errno));
}

/* Rows that read: both trees hold the same objects ------------------------- */

static int setup_read(struct bench *bench)
{
    struct bench_result ignored;
    int rc = setup(bench);
    rc = rc != 0 ? rc : write_loop(bench, &ignored);
    return rc != 0 ? rc : ours(bench, &ignored, kvt_batch_offload);
}

static int prepare(struct bench *bench)
{
    return bench->row->cache == BENCH_COLD ? caches_drop(bench) : 0;
}

static int load_ours(struct bench *bench, struct bench_result *result)
{
    int rc = prepare(bench);
    return rc != 0 ? rc : ours(bench, result, kvt_batch_load);
}

static int load_loop(struct bench *bench, struct bench_result *result)
{
    int rc = prepare(bench);
    return rc != 0 ? rc : loop(bench, result, O_RDONLY);
}

static int exists_ours(struct bench *bench, struct bench_result *result)
{
    return ours(bench, result, kvt_batch_exists);
}

/* Slow metadata ------------------------------------------------------------ */

static int setup_slow_read(struct bench *bench)
{
    struct bench_result ignored;
    int rc = setup_slow(bench);
    return rc != 0 ? rc : write_ours(bench, &ignored);
}

/* Nothing runs: the time that so many calls take at best. */
static int at_best(struct bench *bench, struct bench_result *result,
                   unsigned calls)
{
    struct root *root = bench->state;
    count_up(bench, root, result);
    result->seconds = (double)root->count * calls * SLOW_MS / 1000.0 / THREADS;
    return 0;
}

static int best_write(struct bench *bench, struct bench_result *result)
{
    return at_best(bench, result, 3); /* open, close, rename */
}

static int best_load(struct bench *bench, struct bench_result *result)
{
    return at_best(bench, result, 2); /* open, close */
}

/* One after the other: what the loop takes with such calls. */
static int one_by_one(struct bench *bench, struct bench_result *result)
{
    struct root *root = bench->state;
    count_up(bench, root, result);
    result->seconds = (double)root->count * SLOW_MS / 1000.0;
    return 0;
}

/* Scanning ----------------------------------------------------------------- */

static int setup_scan(struct bench *bench)
{
    int rc = setup(bench);
    struct root *root = bench->state;
    size_t rounds = SCAN_COUNT / bench->scale / COUNT_MAX + 1;
    for (size_t i = 0; i < rounds && rc == 0; i++) {
        struct bench_result ignored;
        root->count = COUNT_MAX;
        rc = write_ours(bench, &ignored);
    }
    return rc;
}

static int count_metas(const struct kvt_meta *metas, size_t count, void *arg)
{
    (void)metas;
    *(uint64_t *)arg += count;
    return 0;
}

static int scan_ours(struct bench *bench, struct bench_result *result)
{
    struct root *root = bench->state;
    struct kvt_error err;
    struct bench_clock start = bench_start();
    result->operations = 0;
    int rc = kvt_scan_meta(root->store, count_metas, &result->operations, &err);
    bench_stop(start, result);
    return rc == KVT_OK ? 0 : bench_fail(bench, "%s", err.message);
}

static int scan_find(struct bench *bench, struct bench_result *result)
{
    unsigned long long count = 0;
    snprintf(bench->other_command, sizeof bench->other_command,
             "find '%.900s/shared' -type f | wc -l", bench->dir);
    struct bench_clock start = bench_start();
    FILE *pipe = popen(bench->other_command, "r");
    int fields = pipe != NULL ? fscanf(pipe, "%llu", &count) : 0;
    if (pipe != NULL) {
        pclose(pipe);
    }
    bench_stop(start, result);
    result->operations = count > 0 ? count - 1 : 0; /* but for the record */
    return fields == 1 && count > 1 ? 0 : bench_fail(bench, "find failed");
}

/* Rows --------------------------------------------------------------------- */

#define ROW(word, beside, state, kind, bytes, up, mine, theirs)                \
    {                                                                          \
        .name = "distributed/" word "/" beside, .other_name = beside,          \
        .cache = state, .op = kind, .size = bytes, .depth = BATCH,             \
        .other_threads = 1, .setup = up, .ours = mine, .other = theirs,        \
        .teardown = teardown                                                   \
    }
#define BOTH(word, beside, state, kind, up, mine, theirs)                      \
    ROW(word "/4KiB", beside, state, kind, 4096, up, mine, theirs),            \
        ROW(word "/64KiB", beside, state, kind, 65536, up, mine, theirs)

struct bench_group bench_distributed_rows(void)
{
    static const struct bench_row rows[] = {
        BOTH("write", "loop", BENCH_NONE, KVT_FS_PUBLISH, setup, write_ours,
             write_loop),
        BOTH("load/cold", "loop", BENCH_COLD, KVT_FS_FETCH, setup_read,
             load_ours, load_loop),
        BOTH("load/warm", "loop", BENCH_WARM, KVT_FS_FETCH, setup_read,
             load_ours, load_loop),
        ROW("exists/warm", "loop", BENCH_WARM, KVT_FS_STAT, 4096, setup_read,
            exists_ours, exists_loop),
        BOTH("write/slow", "best", BENCH_NONE, KVT_FS_PUBLISH, setup_slow,
             write_ours, best_write),
        BOTH("load/slow", "best", BENCH_NONE, KVT_FS_FETCH, setup_slow_read,
             load_ours, best_load),
        ROW("exists/slow", "one-by-one", BENCH_NONE, KVT_FS_STAT, 4096,
            setup_slow_read, exists_ours, one_by_one),
        ROW("scan/files100000", "find", BENCH_WARM, KVT_FS_STAT, 64, setup_scan,
            scan_ours, scan_find),
    };
    return (struct bench_group){rows, sizeof rows / sizeof rows[0]};
}
