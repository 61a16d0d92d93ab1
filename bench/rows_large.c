/* Large stores of layout `bucket`: what the index costs beside reads of memory
 * that depend on each other, and opening beside reading the same bytes again
 * into memory that nobody had before. `--objects` says how many.
 *
 * The values are punched out of the files as soon as these are sealed, so that
 * ten million blocks need no 40 GB: nothing here reads them, which the rows
 * that open a store prove by a trace. */
#define _DEFAULT_SOURCE
#include "caches.h"
#include "objects.h"
#include "replay.h"

#include <errno.h>
#include <glob.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    BATCH = 32,
    FILL_BATCH = 100,    /* five make a bucket of the usual limit */
    FILL_PART = 100000,  /* objects whose values are there at once */
    ASKED_MAX = 1 << 20, /* keys of one side */
    LINE = 64,
    SIZE = 4096, /* of a value */
};

static const struct objects_setting settings[] = {
    {"total_size_limit", "60GiB"},
    {"total_keys_limit", "100000000"},
    {"durability", "none"}, /* what is punched out need not be written */
};

struct state {
    struct objects objects;
    struct kvt_handlers handlers;
    char *memory;         /* of a batch */
    struct ranges values; /* of all buckets that are sealed */
    size_t punched;       /* of them */
    struct objects_key *keys;
    uint64_t count; /* of keys */
    char *lines;    /* beside the index */
    struct replay replay;
    char trace[4200];
    uint64_t written; /* objects */
};

/* The store ---------------------------------------------------------------- */

static int take_values(const struct kvt_meta *metas, size_t count, void *arg)
{
    struct state *state = arg;
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = ranges_add(&state->values, metas[i].place.bucket,
                        metas[i].place.offset, SIZE);
    }
    return rc;
}

/* The path of a bucket below the bench's directory. */
static int find_bucket(struct bench *bench, const struct state *state,
                       uint64_t number, char *path, size_t room)
{
    char pattern[4300];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/w-*/%016llx.kvb", state->objects.path,
             (unsigned long long)number);
    if (glob(pattern, GLOB_NOSORT, NULL, &found) != 0) {
        return bench_fail(bench, "%.200s: no such file", pattern);
    }
    snprintf(path, room, "%s", found.gl_pathv[0] + strlen(bench->dir) + 1);
    globfree(&found);
    return 0;
}

/* The bytes of all values that are still there. */
static int punch_values(struct bench *bench, struct state *state)
{
    struct kvt_fs_elem file = {.op = KVT_FS_OPEN, .flags = KVT_FS_FOR_WRITE};
    char path[4300];
    uint64_t number = 0;
    int64_t rc = 0;
    for (; state->punched < state->values.count && rc == 0; state->punched++) {
        const struct range *range = &state->values.ranges[state->punched];
        if (file.file == NULL || range->file != number) {
            struct kvt_fs_elem close_file = {.op = KVT_FS_CLOSE,
                                             .file = file.file};
            if (file.file != NULL) {
                kvt_fs_run(bench->mount, &close_file);
                file.file = NULL;
            }
            number = range->file;
            file.path = path;
            if (find_bucket(bench, state, number, path, sizeof path) != 0) {
                return -1;
            }
            rc = kvt_fs_run(bench->mount, &file);
        }
        struct kvt_fs_elem punch = {.op = KVT_FS_PUNCH,
                                    .file = file.file,
                                    .offset = range->start,
                                    .length = range->end - range->start};
        rc = rc == 0 ? kvt_fs_run(bench->mount, &punch) : rc;
    }
    struct kvt_fs_elem close_file = {.op = KVT_FS_CLOSE, .file = file.file};
    if (file.file != NULL) {
        kvt_fs_run(bench->mount, &close_file);
    }
    return rc == 0 ? 0 : bench_fail(bench, "punch: %s", strerror((int)-rc));
}

static int offload(struct bench *bench, struct state *state, size_t count)
{
    struct objects_key keys[FILL_BATCH];
    for (size_t i = 0; i < count; i++) {
        objects_name(&keys[i], state->written++);
    }
    return objects_batch(bench, &state->objects, kvt_batch_offload, keys, count,
                         state->memory);
}

static int fill(struct bench *bench, struct state *state)
{
    int rc = 0;
    while (state->written < bench->objects && rc == 0) {
        uint64_t end = state->written + FILL_PART;
        end = end < bench->objects ? end : bench->objects;
        while (state->written < end && rc == 0) {
            uint64_t left = end - state->written;
            rc = offload(bench, state,
                         left < FILL_BATCH ? (size_t)left : FILL_BATCH);
        }
        objects_close(bench, &state->objects); /* seals */
        rc = rc == 0 ? punch_values(bench, state) : rc;
        rc = rc == 0 ? objects_open(bench, &state->objects, NULL) : rc;
    }
    state->objects.count = state->written;
    return rc;
}

static int set_up(struct bench *bench)
{
    struct state *state = calloc(1, sizeof *state);
    bench->state = state;
    if (state == NULL) {
        return bench_fail(bench, "no memory");
    }
    state->handlers = (struct kvt_handlers)KVT_HANDLERS_INIT;
    state->handlers.complete = take_values;
    state->handlers.complete_arg = state;
    state->objects.size = SIZE;
    state->objects.handlers = &state->handlers;
    state->memory = aligned_alloc(4096, (size_t)FILL_BATCH * SIZE);
    bench->objects = bench->objects > BATCH ? bench->objects : BATCH;
    if (state->memory == NULL) {
        return bench_fail(bench, "no memory");
    }
    memset(state->memory, 7, (size_t)FILL_BATCH * SIZE);
    int rc = objects_init(bench, &state->objects, settings,
                          sizeof settings / sizeof settings[0]);
    return rc != 0 ? rc : fill(bench, state);
}

static int teardown(struct bench *bench)
{
    struct state *state = bench->state;
    if (state == NULL) {
        return 0;
    }
    objects_fini(bench, &state->objects);
    if (state->trace[0] != '\0') {
        unlink(state->trace);
    }
    replay_free(&state->replay);
    ranges_free(&state->values);
    free(state->memory);
    free(state->keys);
    free(state->lines);
    free(state);
    return 0;
}

/* Exists ------------------------------------------------------------------- */

static uint64_t index_bytes(const struct state *state)
{
    struct kvt_stats stats = {.size = sizeof stats};
    kvt_stats(state->objects.store, &stats);
    return stats.index_bytes;
}

/* Lines of memory as large as the index, each of which names the next. */
static int chain_lines(struct bench *bench, struct state *state)
{
    size_t count = (size_t)(index_bytes(state) / LINE) + 2;
    uint32_t *order = objects_shuffled(count);
    state->lines = aligned_alloc(4096, (count * LINE + 4095) / 4096 * 4096);
    if (order == NULL || state->lines == NULL) {
        free(order);
        return bench_fail(bench, "no memory");
    }
    for (size_t i = 0; i < count; i++) {
        char *next = state->lines + (size_t)order[(i + 1) % count] * LINE;
        memcpy(state->lines + (size_t)order[i] * LINE, &next, sizeof next);
    }
    free(order);
    return 0;
}

static int setup_exists(struct bench *bench)
{
    int rc = set_up(bench);
    struct state *state = bench->state;
    if (rc != 0) {
        return rc;
    }
    state->count = bench->objects < ASKED_MAX ? bench->objects : ASKED_MAX;
    state->count -= state->count % (2 * BATCH);
    state->keys = calloc(state->count, sizeof state->keys[0]);
    uint32_t *order = objects_shuffled(bench->objects);
    if (state->keys == NULL || order == NULL) {
        free(order);
        return bench_fail(bench, "no memory");
    }
    for (uint64_t i = 0; i < state->count; i++) {
        objects_name(&state->keys[i], order[i]);
    }
    free(order);
    bench->operations = state->count;
    return chain_lines(bench, state);
}

/* Asks for a part of the keys, so many at a time; how many there are. */
static uint64_t ask(const struct state *state, uint64_t from, uint64_t to,
                    size_t batch)
{
    struct kvt_object objects[BATCH];
    uint64_t found = 0;
    for (uint64_t at = from; at < to; at += batch) {
        for (size_t i = 0; i < batch; i++) {
            objects[i] = (struct kvt_object){
                .key = {state->keys[at + i].text, OBJECTS_KEY_SIZE}};
        }
        int there =
            kvt_batch_exists(state->objects.store, objects, batch, NULL);
        found += there > 0 ? (uint64_t)there : 0;
    }
    return found;
}

static int asked(struct bench *bench, struct bench_result *result,
                 uint64_t found)
{
    result->operations = bench->operations;
    return found == bench->operations
               ? 0
               : bench_fail(bench, "%llu objects are missing",
                            (unsigned long long)(bench->operations - found));
}

static int exists(struct bench *bench, struct bench_result *result)
{
    const struct state *state = bench->state;
    struct bench_clock start = bench_start();
    uint64_t found = ask(state, 0, state->count, bench->row->depth);
    bench_stop(start, result);
    return asked(bench, result, found);
}

struct half {
    pthread_t thread;
    const struct state *state;
    size_t batch;
    uint64_t from;
    uint64_t found;
};

static void *ask_half(void *arg)
{
    struct half *half = arg;
    uint64_t to = half->from + half->state->count / 2;
    half->found = ask(half->state, half->from, to, half->batch);
    return NULL;
}

static int exists_by_two(struct bench *bench, struct bench_result *result)
{
    const struct state *state = bench->state;
    struct half halves[2];
    uint64_t found = 0;
    struct bench_clock start = bench_start();
    for (int i = 0; i < 2; i++) {
        halves[i] = (struct half){.state = state,
                                  .batch = bench->row->depth,
                                  .from = (uint64_t)i * (state->count / 2)};
        if (pthread_create(&halves[i].thread, NULL, ask_half, &halves[i])) {
            abort(); /* the other one runs */
        }
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(halves[i].thread, NULL);
        found += halves[i].found;
    }
    bench_stop(start, result);
    return asked(bench, result, found);
}

static int chase(struct bench *bench, struct bench_result *result)
{
    const struct state *state = bench->state;
    const char *line = state->lines;
    struct bench_clock start = bench_start();
    for (uint64_t i = 0; i < state->count; i++) {
        const char *next;
        memcpy(&next, line, sizeof(const char *));
        line = next;
    }
    bench_stop(start, result);
    result->operations = state->count;
    return line != NULL ? 0 : -1; /* so that it is followed */
}

/* Opening ------------------------------------------------------------------ */

static int setup_open(struct bench *bench)
{
    return set_up(bench);
}

static int open_traced(struct bench *bench, struct state *state)
{
    char fs[100];
    const struct objects_setting traced[] = {
        settings[0], settings[1], settings[2], {"trace.file", state->trace}};
    snprintf(state->trace, sizeof state->trace, "%s/trace", bench->dir);
    unlink(state->trace);
    snprintf(fs, sizeof fs, "trace:%s", bench->fs);
    state->objects.settings = traced;
    state->objects.setting_count = sizeof traced / sizeof traced[0];
    int rc = objects_open(bench, &state->objects, fs);
    state->replay.memory = rc == 0 ? index_bytes(state) : 0;
    objects_close(bench,
                  &state->objects); /* its trace has no reads of values */
    state->objects.settings = settings;
    state->objects.setting_count = sizeof settings / sizeof settings[0];
    return rc;
}

/* What an opening reads; that it reads no values. (Where tables end, it may
 * guess: a hundredth.) */
static int learn(struct bench *bench, struct state *state)
{
    int rc = open_traced(bench, state);
    rc = rc == 0 ? replay_learn(bench, &state->replay, state->objects.path,
                                state->trace)
                 : rc;
    uint64_t values =
        rc == 0 ? replay_overlap(&state->replay, &state->values) : 0;
    return values <= state->replay.bytes / 100
               ? rc
               : bench_fail(bench, "%llu bytes of values were read",
                            (unsigned long long)values);
}

static int setup_clean(struct bench *bench)
{
    int rc = setup_open(bench);
    struct state *state = bench->state;
    if (rc != 0) {
        return rc;
    }
    objects_close(bench, &state->objects);
    return learn(bench, state);
}

/* An owner that writes a batch and is killed. */
static int kill_owner(struct bench *bench, struct state *state)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        if (objects_open(bench, &state->objects, NULL) == 0 &&
            offload(bench, state, BATCH) == 0) {
            kill(getpid(), SIGKILL);
        }
        fprintf(stderr, "bench_kvtier: %s\n", bench->reason);
        _exit(1);
    }
    state->written += BATCH; /* by the child */
    if (child < 0 || waitpid(child, &status, 0) != child ||
        !WIFSIGNALED(status)) {
        return bench_fail(bench, "the owner was not killed");
    }
    return 0;
}

static int setup_killed(struct bench *bench)
{
    int rc = setup_open(bench);
    struct state *state = bench->state;
    if (rc != 0) {
        return rc;
    }
    objects_close(bench, &state->objects);
    rc = kill_owner(bench, state);
    return rc != 0 ? rc : learn(bench, state);
}

/* Both sides get memory that nobody had before. */
static int prepare_clean(struct bench *bench)
{
    malloc_trim(0);
    return bench->row->cache == BENCH_COLD ? caches_drop(bench) : 0;
}

static int prepare_killed(struct bench *bench)
{
    int rc = kill_owner(bench, bench->state);
    return rc != 0 ? rc : prepare_clean(bench);
}

/* Is every object there? */
static int look_at_all(struct bench *bench, struct state *state)
{
    struct objects_key keys[BATCH];
    int rc = 0;
    for (uint64_t at = 0; at + BATCH <= state->written && rc == 0;
         at += BATCH) {
        for (size_t i = 0; i < BATCH; i++) {
            objects_name(&keys[i], at + i);
        }
        rc = objects_batch(bench, &state->objects, kvt_batch_exists, keys,
                           BATCH, state->memory);
    }
    return rc;
}

static int open_store(struct bench *bench, struct bench_result *result)
{
    struct state *state = bench->state;
    struct bench_clock start = bench_start();
    int rc = objects_open(bench, &state->objects, NULL);
    bench_stop(start, result);
    rc = rc == 0 ? look_at_all(bench, state) : rc;
    objects_close(bench, &state->objects);
    result->operations = state->objects.count;
    result->bytes = state->replay.bytes;
    return rc;
}

static int replay_reads(struct bench *bench, struct bench_result *result)
{
    const struct state *state = bench->state;
    int rc = replay_run(bench, &state->replay, result);
    result->operations = state->objects.count;
    result->bytes = state->replay.bytes;
    return rc;
}

/* Rows --------------------------------------------------------------------- */

#define EXISTS(word, count, with, mine, theirs)                                \
    {                                                                          \
        .name = "bucket/exists/" word, .other_name = with,                     \
        .cache = BENCH_NONE, .op = KVT_FS_STAT, .size = SIZE, .depth = count,  \
        .other_threads = 1, .setup = setup_exists, .ours = mine,               \
        .other = theirs, .teardown = teardown                                  \
    }
#define OPEN(word, state, up, before)                                          \
    {                                                                          \
        .name = "bucket/open/" word "/reads", .other_name = "reads",           \
        .cache = state, .op = KVT_FS_READ, .size = SIZE, .depth = 16,          \
        .other_threads = 1, .other_is_code = true, .setup = up,                \
        .prepare = before, .ours = open_store, .other = replay_reads,          \
        .teardown = teardown                                                   \
    }

struct bench_group bench_large_rows(void)
{
    static const struct bench_row rows[] = {
        EXISTS("single/line", 1, "line", exists, chase),
        EXISTS("batch32/line", BATCH, "line", exists, chase),
        EXISTS("single/two-threads", 1, "one", exists_by_two, exists),
        EXISTS("batch32/two-threads", BATCH, "one", exists_by_two, exists),
        OPEN("clean/warm", BENCH_WARM, setup_clean, prepare_clean),
        OPEN("clean/cold", BENCH_COLD, setup_clean, prepare_clean),
        OPEN("killed/warm", BENCH_WARM, setup_killed, prepare_killed),
        OPEN("killed/cold", BENCH_COLD, setup_killed, prepare_killed),
    };
    return (struct bench_group){rows, sizeof rows / sizeof rows[0]};
}
