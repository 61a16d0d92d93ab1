/* Transfers that hang at a device: with a deadline the caller is free again
 * in time, and so is all of its memory but what the mount gave it. */
#include "mount_fixture.h"

#include "core/clock.h"

#include <errno.h>

#define MS INT64_C(1000000)

enum {
    SIZE = 30000,
    DEADLINE_MS = 20,      /* or longer, where threads start slowly */
    HANGS = 5,             /* deadlines that a hang takes */
    DEADLINE_MS_MAX = 640, /* a machine that is slower is broken */
    TRIES = 3,
    TRIES_MAX = 20,       /* where others keep the machine busy */
    LATENESS_MS_MAX = 20, /* of the best try */
};

struct late {
    size_t told;
    int64_t result;
};

static void note_late(void *arg, int64_t result)
{
    struct late *late = arg;
    late->told++;
    late->result = result;
}

/* What hangs, in `count` elements of one chain. */
struct hanging {
    const char *name;
    const char *rule; /* what hangs, for HANGS times the deadline */
    size_t count;
    size_t hangs; /* which of them moves the bytes */
    bool writes;
    struct kvt_fs_elem elems[3];
};

static const struct hanging kinds[] = {
    {"read", "read", 1, 0, false, {{.op = KVT_FS_READ}}},
    {"write", "write@file", 1, 0, true, {{.op = KVT_FS_WRITE}}},
    {"fetch", "read", 1, 0, false, {{.op = KVT_FS_FETCH, .path = "file"}}},
    {"fetch whose open hangs",
     "open@file",
     1,
     0,
     false,
     {{.op = KVT_FS_FETCH, .path = "file"}}},
    {"publish",
     "write@temp",
     1,
     0,
     true,
     {{.op = KVT_FS_PUBLISH, .path = "new", .temp_path = "temp"}}},
    {"publish whose rename hangs",
     "rename",
     1,
     0,
     true,
     {{.op = KVT_FS_PUBLISH, .path = "new", .temp_path = "temp"}}},
    {"open, read, close",
     "read",
     3,
     1,
     false,
     {{.op = KVT_FS_OPEN, .path = "file", .flags = KVT_FS_THEN},
      {.op = KVT_FS_READ, .flags = KVT_FS_THEN},
      {.op = KVT_FS_CLOSE}}},
    {"open, write, close",
     "write@file",
     3,
     1,
     true,
     {{.op = KVT_FS_OPEN,
       .path = "file",
       .flags = KVT_FS_THEN | KVT_FS_FOR_WRITE},
      {.op = KVT_FS_WRITE, .flags = KVT_FS_THEN},
      {.op = KVT_FS_CLOSE}}},
};

struct attempt {
    const struct hanging *kind;
    struct kvt_fs *fs;
    struct kvt_fs_file *file;
    struct kvt_fs_queue *queue;
    struct kvt_mem *mem; /* or null: foreign memory */
    unsigned char *bytes;
    struct late lates[3];
    int64_t deadline_ms;
    int64_t lateness_ns;
};

static void open_attempt(struct attempt *a, struct mounted *m,
                         const struct hanging *kind, const char *fs, bool ours,
                         int64_t deadline_ms)
{
    char rule[64];
    static unsigned char foreign[SIZE];
    static unsigned char old[SIZE];
    *a = (struct attempt){
        .kind = kind, .bytes = foreign, .deadline_ms = deadline_ms};
    mounted_set(m, "fault.rules", "");
    a->fs = mounted_start(m, fs + strlen("fault:"));
    value_fill(old, SIZE, 1);
    struct kvt_slice slice = {old, SIZE, NULL};
    struct kvt_fs_elem publish = {.op = KVT_FS_PUBLISH,
                                  .path = "file",
                                  .temp_path = "t",
                                  .slices = &slice,
                                  .slice_count = 1};
    assert_int_equal(kvt_fs_run(a->fs, &publish), SIZE);
    mounted_stop(m);
    snprintf(rule, sizeof rule, "%s,hang=%d", kind->rule,
             (int)deadline_ms * HANGS);
    mounted_set(m, "fault.rules", rule);
    a->fs = mounted_start(m, fs);
    if (ours) {
        assert_int_equal(kvt_mem_alloc(a->fs, SIZE, &a->mem), 0);
        a->bytes = kvt_mem_base(a->mem);
    }
    struct kvt_fs_queue_options options = {sizeof options, 4, true};
    assert_int_equal(kvt_fs_queue_open(a->fs, &options, &a->queue), 0);
}

/* One chain past its deadline; what it left behind is still under way. False:
 * this thread was away for so long that the hang was over when it looked. */
static bool hang_once(struct attempt *a)
{
    struct kvt_fs_elem elems[3];
    struct kvt_slice slice = {a->bytes, SIZE, a->mem};
    size_t count = a->kind->count;
    value_fill(a->bytes, SIZE, 2);
    memcpy(elems, a->kind->elems, sizeof elems);
    int64_t deadline_ns = kvt_clock_ns() + a->deadline_ms * MS;
    for (size_t i = 0; i < count; i++) {
        a->lates[i] = (struct late){0, 0};
        elems[i].deadline_ns = deadline_ns;
        elems[i].late = note_late;
        elems[i].late_arg = &a->lates[i];
    }
    elems[a->kind->hangs].slices = &slice;
    elems[a->kind->hangs].slice_count = 1;
    elems[a->kind->hangs].file = a->file;
    kvt_fs_submit(a->queue, elems, count);
    while (kvt_fs_in_flight(a->queue) > 0) {
        kvt_fs_poll(a->queue, 1, 0);
    }
    a->lateness_ns = kvt_clock_ns() - deadline_ns;
    assert_true(a->lateness_ns >= 0);
    if (elems[a->kind->hangs].result == SIZE) {
        assert_true(a->lateness_ns >= (HANGS - 1) * a->deadline_ms * MS);
        return false;
    }
    assert_int_equal(elems[a->kind->hangs].result, -ETIMEDOUT);
    assert_true(elems[a->kind->hangs].late_follows);
    return true;
}

/* The transfer completes late, into memory of its own. False: no thread had
 * started it by its deadline, and so it never was. */
static bool end_hang(struct attempt *a)
{
    struct late *late = &a->lates[a->kind->hangs];
    bool in_time = kvt_fs_lingering(a->queue) > 0;
    if (in_time && a->mem != NULL) {
        assert_true(kvt_mem_is_held(a->mem));
    } else {
        value_fill(a->bytes, SIZE, 3); /* the caller's again */
    }
    while (kvt_fs_lingering(a->queue) > 0) {
        kvt_fs_poll(a->queue, 1, kvt_clock_ns() + 10 * MS);
    }
    assert_int_equal(late->told, 1);
    if (late->result == -ECANCELED) {
        return false;
    }
    assert_int_equal(late->result, SIZE);
    if (a->mem != NULL) {
        assert_false(kvt_mem_is_held(a->mem));
        assert_true(value_is(a->bytes, SIZE, a->kind->writes ? 2 : 1));
    } else {
        assert_true(value_is(a->bytes, SIZE, 3));
    }
    return true;
}

/* What the late write wrote is what was to be written when it was given. */
static void check_written(struct attempt *a)
{
    static unsigned char bytes[SIZE];
    struct kvt_slice slice = {bytes, SIZE, NULL};
    const char *path = a->kind->elems[0].op == KVT_FS_PUBLISH ? "new" : "file";
    struct kvt_fs_elem fetch = {
        .op = KVT_FS_FETCH, .path = path, .slices = &slice, .slice_count = 1};
    assert_int_equal(kvt_fs_run(a->fs, &fetch), SIZE);
    assert_true(value_is(bytes, SIZE, 2));
}

/* One try; false when it has to be done with a longer deadline. */
static bool try_hang(struct mounted *m, const struct hanging *kind,
                     const char *fs, bool ours, int64_t deadline_ms,
                     int64_t *lateness_ns)
{
    struct attempt a;
    size_t before = open_descriptors();
    open_attempt(&a, m, kind, fs, ours, deadline_ms);
    if (kind->count == 1 && kind->elems[0].path == NULL) {
        struct kvt_fs_elem open = {
            .op = KVT_FS_OPEN, .path = "file", .flags = KVT_FS_FOR_WRITE};
        assert_int_equal(kvt_fs_run(a.fs, &open), 0);
        a.file = open.file;
    }
    bool hung = hang_once(&a) && end_hang(&a);
    if (hung && kind->writes) {
        check_written(&a);
    }
    assert_int_equal(kvt_fs_queue_close(a.queue), 0);
    if (a.file != NULL) {
        struct kvt_fs_elem close = {.op = KVT_FS_CLOSE, .file = a.file};
        assert_int_equal(kvt_fs_run(a.fs, &close), 0);
    }
    kvt_mem_free(a.mem);
    mounted_stop(m);
    assert_int_equal(open_descriptors(), before);
    *lateness_ns = a.lateness_ns;
    return hung;
}

static void hang(struct mounted *m, const struct hanging *kind, const char *fs,
                 bool ours)
{
    int64_t best_ns = INT64_MAX;
    int64_t deadline_ms = DEADLINE_MS;
    for (size_t i = 0;
         i < TRIES || (best_ns > LATENESS_MS_MAX * MS && i < TRIES_MAX); i++) {
        int64_t lateness_ns;
        while (!try_hang(m, kind, fs, ours, deadline_ms, &lateness_ns)) {
            deadline_ms *= 2;
            assert_true(deadline_ms <= DEADLINE_MS_MAX);
        }
        best_ns = lateness_ns < best_ns ? lateness_ns : best_ns;
    }
    print_message("%s, %s, %s: %lld us late\n", fs, kind->name,
                  ours ? "its own memory" : "foreign memory",
                  (long long)best_ns / 1000);
    assert_true(best_ns <= LATENESS_MS_MAX * MS);
}

static void hang_on(struct mounted *m, const char *fs)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        hang(m, &kinds[i], fs, false);
        hang(m, &kinds[i], fs, true);
    }
}

static void a_hung_transfer_frees_its_caller_on_posix(void **state)
{
    hang_on(*state, "fault:posix");
}

static void a_hung_transfer_frees_its_caller_on_uring(void **state)
{
    mounted_set(*state, "direct", "off"); /* sizes that are no blocks */
    hang_on(*state, "fault:uring");
}

static void many_hang_at_once_and_others_go_on(void **state)
{
    struct mounted *m = *state;
    enum {
        COUNT = 3
    };
    struct late lates[COUNT] = {{0, 0}};
    struct kvt_fs_elem elems[COUNT];
    char text[8];
    struct kvt_slice slice = {text, sizeof text, NULL};
    mounted_set(m, "fault.rules", "read@hung,hang=100");
    struct kvt_fs *fs = mounted_start(m, "fault:mem");
    static const char *const names[] = {"hung", "free"};
    for (size_t i = 0; i < 2; i++) {
        struct kvt_slice value = {(char[]){"12345678"}, 8, NULL};
        struct kvt_fs_elem publish = {.op = KVT_FS_PUBLISH,
                                      .path = names[i],
                                      .temp_path = "t",
                                      .slices = &value,
                                      .slice_count = 1};
        assert_int_equal(kvt_fs_run(fs, &publish), 8);
    }
    struct kvt_fs_queue_options options = {sizeof options, COUNT, true};
    struct kvt_fs_queue *queue;
    assert_int_equal(kvt_fs_queue_open(fs, &options, &queue), 0);
    for (size_t i = 0; i < COUNT; i++) {
        elems[i] = (struct kvt_fs_elem){.op = KVT_FS_FETCH,
                                        .path = names[0],
                                        .slices = &slice,
                                        .slice_count = 1,
                                        .deadline_ns = kvt_clock_ns() + 10 * MS,
                                        .late = note_late,
                                        .late_arg = &lates[i]};
    }
    kvt_fs_submit(queue, elems, COUNT);
    while (kvt_fs_in_flight(queue) > 0) {
        kvt_fs_poll(queue, 1, 0);
    }
    assert_int_equal(kvt_fs_lingering(queue), COUNT);
    struct kvt_fs_elem fetch = {.op = KVT_FS_FETCH,
                                .path = names[1],
                                .slices = &slice,
                                .slice_count = 1};
    assert_int_equal(kvt_fs_run(fs, &fetch), 8);
    assert_memory_equal(text, "12345678", 8);
    memset(text, 'x', sizeof text);
    while (kvt_fs_lingering(queue) > 0) {
        kvt_fs_poll(queue, 1, kvt_clock_ns() + 10 * MS);
    }
    assert_memory_equal(text, "xxxxxxxx", 8);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(lates[i].told, 1);
    }
    assert_int_equal(kvt_fs_queue_close(queue), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        mount_test(a_hung_transfer_frees_its_caller_on_posix),
        mount_test(a_hung_transfer_frees_its_caller_on_uring),
        mount_test(many_hang_at_once_and_others_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
