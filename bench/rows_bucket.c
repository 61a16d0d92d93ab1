/* Layout `bucket`: batches of loads at random places beside fio, a bare ring
 * and a loop of pread at the very same places; batches of offloads beside
 * fio's sequential writes of 1 MiB; and the room that objects take. */
#define _DEFAULT_SOURCE
#define _XOPEN_SOURCE 700
#include "caches.h"
#include "core/hash.h"
#include "fio.h"
#include "objects.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BATCH = 32,
    STORE_MIB = 600, /* two whole buckets, and a part of a third */
    FIO_BUCKET_MIB = 200,
    SIDE_MIB = 256, /* of one side */
    DIRECT_READS = 4096,
    SPACE_COUNT = 16000,
    MIB = 1 << 20,
};

struct state {
    struct objects objects;
    char *memory; /* of a batch */
    struct objects_key *keys;
    struct ring_place *places;
    uint64_t count; /* of one side */
    uint64_t next;  /* object to be written */
};

static const struct objects_setting common[] = {
    {"durability", "none"},
    {"total_size_limit", "32GiB"},
    {"bucket.keys_limit", "1000000"},
    {"checksum", "on"},
};
/* What was never synced is verified all the same. */
static const struct objects_setting unchecked[] = {
    {"durability", "seal"},
    {"total_size_limit", "32GiB"},
    {"bucket.keys_limit", "1000000"},
    {"checksum", "off"},
};
static const struct objects_setting synced[] = {
    {"durability", "batch"},
    {"total_size_limit", "32GiB"},
};
static const struct objects_setting usual[] = {
    {"total_size_limit", "32GiB"},
};

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

/* Setting up --------------------------------------------------------------- */

static uint64_t batches(uint64_t objects)
{
    uint64_t count = objects / BATCH * BATCH;
    return count > BATCH ? count : BATCH;
}

static int set_up(struct bench *bench, const struct objects_setting *settings,
                  size_t setting_count)
{
    struct state *state = calloc(1, sizeof *state);
    size_t size = bench->row->size;
    bench->state = state;
    if (state == NULL) {
        return bench_fail(bench, "no memory");
    }
    state->objects.size = size;
    state->count = batches((uint64_t)SIDE_MIB * MIB / size / bench->scale);
    if (bench->row->cache == BENCH_DIRECT && state->count > DIRECT_READS) {
        state->count = DIRECT_READS;
    }
    bench->operations = state->count;
    bench->bytes = state->count * size;
    state->memory = aligned_alloc(4096, BATCH * size);
    state->keys = calloc(state->count, sizeof state->keys[0]);
    if (state->memory == NULL || state->keys == NULL) {
        return bench_fail(bench, "no memory");
    }
    for (size_t i = 0; i < BATCH * size; i++) {
        state->memory[i] = (char)(i * 2654435761u >> 24);
    }
    return objects_init(bench, &state->objects, settings, setting_count);
}

static int teardown(struct bench *bench)
{
    struct state *state = bench->state;
    if (state == NULL) {
        return 0;
    }
    objects_fini(bench, &state->objects);
    if (bench->path[0] != '\0') {
        unlink(bench->path);
    }
    free(state->memory);
    free(state->keys);
    free(state->places);
    free(state);
    return 0;
}

static void count_up(const struct bench *bench, struct bench_result *result)
{
    result->operations = bench->operations;
    result->bytes = bench->bytes;
}

/* Loads -------------------------------------------------------------------- */

/* Objects by chance, each once. */
static int choose(struct bench *bench, struct state *state)
{
    uint32_t *order = objects_shuffled(state->objects.count);
    state->places = calloc(state->count, sizeof state->places[0]);
    if (order == NULL || state->places == NULL) {
        free(order);
        return bench_fail(bench, "no memory");
    }
    for (uint64_t i = 0; i < state->count; i++) {
        objects_name(&state->keys[i], order[i]);
        state->places[i] = state->objects.places[order[i]];
    }
    free(order);
    return 0;
}

static int set_up_load(struct bench *bench,
                       const struct objects_setting *settings, size_t count)
{
    int flags = bench->row->cache == BENCH_DIRECT ? __O_DIRECT : 0;
    int rc = set_up(bench, settings, count);
    struct state *state = bench->state;
    if (rc != 0) {
        return rc;
    }
    uint64_t objects =
        batches((uint64_t)STORE_MIB * MIB / bench->row->size / bench->scale);
    rc = objects_fill(bench, &state->objects, objects, BATCH, state->memory);
    rc = rc != 0 ? rc : objects_find(bench, &state->objects, flags);
    return rc != 0 ? rc : choose(bench, state);
}

static int setup_load(struct bench *bench)
{
    return set_up_load(bench, common, COUNT_OF(common));
}

static int setup_unchecked(struct bench *bench)
{
    return set_up_load(bench, unchecked, COUNT_OF(unchecked));
}

static int prepare_load(struct bench *bench)
{
    const struct state *state = bench->state;
    int rc = 0;
    for (size_t i = 0; i < state->objects.file_count && rc == 0; i++) {
        rc = bench->row->cache == BENCH_WARM
                 ? caches_warm(bench, state->objects.files[i].path)
                 : 0;
    }
    return rc;
}

static int load(struct bench *bench, struct bench_result *result)
{
    struct state *state = bench->state;
    int rc = 0;
    struct bench_clock start = bench_start();
    for (uint64_t at = 0; at < state->count && rc == 0; at += BATCH) {
        rc = objects_batch(bench, &state->objects, kvt_batch_load,
                           state->keys + at, BATCH, state->memory);
    }
    bench_stop(start, result);
    count_up(bench, result);
    return rc;
}

static volatile uint64_t hashes; /* so that they are computed */

static void hash(const char *bytes, uint64_t size)
{
    hashes += kvt_hash64(bytes, (size_t)size, 1);
}

static int loop(struct bench *bench, struct bench_result *result,
                void (*look)(const char *bytes, uint64_t size))
{
    const struct state *state = bench->state;
    size_t size = bench->row->size;
    int rc = 0;
    struct bench_clock start = bench_start();
    for (uint64_t i = 0; i < state->count && rc == 0; i++) {
        char *bytes = state->memory + i % BATCH * size;
        const struct ring_place *place = &state->places[i];
        if (pread(place->fd, bytes, size, (off_t)place->offset) !=
            (ssize_t)size) {
            rc = bench_fail(bench, "pread failed");
        } else if (look != NULL) {
            look(bytes, size);
        }
    }
    bench_stop(start, result);
    count_up(bench, result);
    return rc;
}

static int load_loop(struct bench *bench, struct bench_result *result)
{
    return loop(bench, result, NULL);
}

static int load_loop_hash(struct bench *bench, struct bench_result *result)
{
    return loop(bench, result, hash);
}

static int load_ring_hash(struct bench *bench, struct bench_result *result)
{
    const struct state *state = bench->state;
    struct ring_job job = {
        .size = bench->row->size, .depth = BATCH, .memory = state->memory};
    return ring_read(bench, &job, state->places, state->count, hash, result);
}

/* Random places of the whole buckets, at multiples of a block as ours. */
static int load_fio(struct bench *bench, struct bench_result *result)
{
    const struct state *state = bench->state;
    const char *paths[OBJECTS_FILES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < state->objects.file_count; i++) {
        struct stat info;
        if (fstat(state->objects.files[i].fd, &info) == 0 &&
            (info.st_size >> 20 >= FIO_BUCKET_MIB || bench->scale > 1)) {
            paths[count++] = state->objects.files[i].path;
        }
    }
    if (count == 0) {
        return bench_fail(bench, "no whole bucket");
    }
    uint64_t region = (uint64_t)FIO_BUCKET_MIB * MIB;
    if (bench->scale > 1) { /* a part of a bucket */
        region = bench->bytes / count;
    }
    struct fio_job job = {.path = paths[0],
                          .more = paths + 1,
                          .more_count = count - 1,
                          .engine = "io_uring",
                          .region = region * count,
                          .jobs = 1,
                          .depth = BATCH,
                          .batch = true,
                          .loops = 1,
                          .random = true,
                          .total = bench->bytes};
    return fio_run(bench, &job, result);
}

/* Offloads ----------------------------------------------------------------- */

static int setup_write_as(struct bench *bench,
                          const struct objects_setting *settings, size_t count)
{
    snprintf(bench->path, sizeof bench->path, "%s/bench-file", bench->dir);
    return set_up(bench, settings, count);
}

static int setup_write(struct bench *bench)
{
    return setup_write_as(bench, common, COUNT_OF(common));
}

static int setup_synced(struct bench *bench)
{
    return setup_write_as(bench, synced, COUNT_OF(synced));
}

/* Both sides write new files, with room made in front of the writes. */
static int prepare_write(struct bench *bench)
{
    struct state *state = bench->state;
    struct kvt_error err;
    unlink(bench->path);
    for (uint64_t i = 0; i < state->count; i++) {
        objects_name(&state->keys[i], state->next++);
    }
    int rc = kvt_remove_all(state->objects.store, &err);
    sync(); /* removing is no side's work */
    return rc == KVT_OK ? 0 : bench_fail(bench, "%s", err.message);
}

static int offload(struct bench *bench, struct bench_result *result)
{
    struct state *state = bench->state;
    int rc = 0;
    struct bench_clock start = bench_start();
    for (uint64_t at = 0; at < state->count && rc == 0; at += BATCH) {
        rc = objects_batch(bench, &state->objects, kvt_batch_offload,
                           state->keys + at, BATCH, state->memory);
    }
    bench_stop(start, result);
    count_up(bench, result);
    return rc;
}

/* As many writes of 1 MiB at a time as our batch has MiB. */
static int write_fio(struct bench *bench, struct bench_result *result)
{
    uint32_t depth = (uint32_t)(BATCH * bench->row->size / MIB);
    bool sync = bench->row->setup == setup_synced;
    struct fio_job job = {.path = bench->path,
                          .engine = "io_uring",
                          .size = MIB,
                          .region = bench->bytes,
                          .jobs = 1,
                          .depth = depth,
                          .batch = true,
                          .loops = 1,
                          .sync_every = sync ? depth : 0,
                          .fresh = true};
    int rc = fio_run(bench, &job, result);
    result->operations = bench->operations; /* in our objects */
    return rc;
}

/* Room --------------------------------------------------------------------- */

static uint64_t allocated; /* nftw passes nothing on */

static int add_blocks(const char *path, const struct stat *info, int type,
                      struct FTW *walk)
{
    if (type == FTW_F && strstr(path + walk->base, ".kvb") != NULL) {
        allocated += (uint64_t)info->st_blocks * 512;
    }
    return 0;
}

static int setup_space(struct bench *bench)
{
    int rc = set_up(bench, usual, COUNT_OF(usual));
    struct state *state = bench->state;
    if (rc != 0) {
        return rc;
    }
    rc = objects_fill(bench, &state->objects,
                      batches(SPACE_COUNT / bench->scale), bench->row->depth,
                      state->memory);
    objects_close(bench, &state->objects); /* all of it is sealed */
    return rc;
}

static int value_bytes(struct bench *bench, struct bench_result *result)
{
    const struct state *state = bench->state;
    result->operations = state->objects.count * state->objects.size;
    result->seconds = 1;
    return 0;
}

static int file_bytes(struct bench *bench, struct bench_result *result)
{
    const struct state *state = bench->state;
    allocated = 0;
    nftw(state->objects.path, add_blocks, 8, FTW_PHYS);
    result->operations = allocated;
    result->seconds = 1;
    return allocated > 0 ? 0 : bench_fail(bench, "no buckets");
}

/* Rows --------------------------------------------------------------------- */

#define LOAD(bytes, label, state, with, up, side, code)                        \
    {                                                                          \
        .name = "bucket/load/" label "/batch32/" with, .other_name = with,     \
        .cache = state, .op = KVT_FS_READ, .size = bytes, .depth = BATCH,      \
        .batch = true, .other_threads = 1, .other_is_code = code, .setup = up, \
        .prepare = prepare_load, .ours = load, .other = side,                  \
        .teardown = teardown                                                   \
    }
#define LOADS(bytes, label)                                                    \
    LOAD(bytes, label, BENCH_DIRECT, "direct/fio", setup_load, load_fio,       \
         false),                                                               \
        LOAD(bytes, label, BENCH_DIRECT, "direct/ring+hash", setup_load,       \
             load_ring_hash, true),                                            \
        LOAD(bytes, label, BENCH_WARM, "warm/loop", setup_unchecked,           \
             load_loop, true),                                                 \
        LOAD(bytes, label, BENCH_WARM, "warm/loop+hash", setup_load,           \
             load_loop_hash, true)
#define OFFLOAD(bytes, label, how, up)                                         \
    {                                                                          \
        .name = "bucket/offload/" label "/batch32/" how "/fio",                \
        .other_name = "fio", .cache = BENCH_DIRECT, .op = KVT_FS_WRITE,        \
        .size = bytes, .depth = BATCH, .batch = true, .other_threads = 1,      \
        .setup = up, .prepare = prepare_write, .ours = offload,                \
        .other = write_fio, .teardown = teardown                               \
    }
#define OFFLOADS(bytes, label)                                                 \
    OFFLOAD(bytes, label, "direct", setup_write),                              \
        OFFLOAD(bytes, label, "direct-synced", setup_synced)
#define SPACE(bytes, label, objects, count)                                    \
    {                                                                          \
        .name = "bucket/space/" label "/batch" count,                          \
        .other_name = "allocated", .unit = "bytes of values, allocated",       \
        .cache = BENCH_NONE, .op = KVT_FS_WRITE, .size = bytes,                \
        .depth = objects, .other_threads = 1, .setup = setup_space,            \
        .ours = value_bytes, .other = file_bytes, .teardown = teardown         \
    }

struct bench_group bench_bucket_rows(void)
{
    static const struct bench_row rows[] = {
        LOADS(4096, "4KiB"),           LOADS(65536, "64KiB"),
        LOADS(1048576, "1MiB"),        OFFLOADS(65536, "64KiB"),
        OFFLOADS(1048576, "1MiB"),     SPACE(4096, "4KiB", BATCH, "32"),
        SPACE(65536, "64KiB", 1, "1"),
    };
    return (struct bench_group){rows, COUNT_OF(rows)};
}
