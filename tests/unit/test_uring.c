/* The uring adapter: bytes and nothing but those, deep and shallow queues,
 * queues that change threads. */
#include "uring_fixture.h"

#include "support/unit.h"

#include <errno.h>
#include <pthread.h>

enum {
    FILE_SIZE = 300000,
    ARENA_SIZE = 4 << 20,
    BATCH = 12,
    SLICES = 6,
    ROUNDS = 60,
};

/* No byte outside ------------------------------------------------------- */

struct arena {
    uint64_t seed;
    unsigned char *bytes;
    unsigned char *expected;
    size_t used;
};

static void arena_init(struct arena *arena, uint64_t seed)
{
    void *bytes;
    assert_int_equal(posix_memalign(&bytes, 4096, ARENA_SIZE), 0);
    arena->seed = seed;
    arena->bytes = bytes;
    arena->expected = malloc(ARENA_SIZE);
    assert_non_null(arena->expected);
    arena->used = 0;
    memset(arena->bytes, 0xa5, ARENA_SIZE);
    memset(arena->expected, 0xa5, ARENA_SIZE);
}

static void arena_fini(struct arena *arena)
{
    free(arena->bytes);
    free(arena->expected);
}

/* A slice behind the last: close by, or on a page; large now and then. */
static struct kvt_slice arena_slice(struct arena *arena)
{
    size_t size = unit_random_below(&arena->seed, 9000);
    switch (unit_random_below(&arena->seed, 6)) {
    case 0:
        arena->used = (arena->used + 4095) / 4096 * 4096;
        size = (size + 4095) / 4096 * 4096;
        break;
    case 1:
        size = unit_random_below(&arena->seed, 200000);
        break;
    case 2:
        size = unit_random_below(&arena->seed, 4);
        break;
    default:
        arena->used += unit_random_below(&arena->seed, 600);
        break;
    }
    if (arena->used + size > ARENA_SIZE) {
        size = 0;
    }
    struct kvt_slice slice = {arena->bytes + arena->used, size, NULL};
    arena->used += size;
    return slice;
}

/* What the arena has to hold after an element was read. */
static void expect_read(struct arena *arena, const struct kvt_fs_elem *elem,
                        const unsigned char *file)
{
    uint64_t at = elem->offset;
    uint64_t wanted = kvt_fs_elem_bytes(elem);
    uint64_t there = at < FILE_SIZE ? FILE_SIZE - at : 0;
    uint64_t left = wanted < there ? wanted : there;
    assert_int_equal(elem->result, left);
    for (uint32_t i = 0; i < elem->slice_count; i++) {
        size_t size = elem->slices[i].size;
        size = size < left ? size : (size_t)left;
        size_t into =
            (size_t)((unsigned char *)elem->slices[i].base - arena->bytes);
        memcpy(arena->expected + into, file + at, size);
        /* the rest of a slice may hold anything */
        memcpy(arena->expected + into + size, arena->bytes + into + size,
               elem->slices[i].size - size);
        at += size;
        left -= size;
    }
}

static void read_batch(struct arena *arena, struct kvt_fs_queue *queue,
                       struct kvt_fs_file *file, const unsigned char *bytes)
{
    struct kvt_fs_elem elems[BATCH];
    struct kvt_slice slices[BATCH][SLICES];
    arena->used = 0;
    for (size_t i = 0; i < BATCH; i++) {
        uint32_t count = (uint32_t)unit_random_below(&arena->seed, SLICES + 1);
        for (uint32_t s = 0; s < count; s++) {
            slices[i][s] = arena_slice(arena);
        }
        elems[i] = (struct kvt_fs_elem){
            .op = i % 2 == 0 ? KVT_FS_READ : KVT_FS_FETCH,
            .file = file,
            .path = "file",
            .offset = unit_random_below(&arena->seed, 4) == 0
                          ? unit_random_below(&arena->seed, 70) * 4096
                          : unit_random_below(&arena->seed, FILE_SIZE + 10),
            .slices = slices[i],
            .slice_count = count};
    }
    kvt_fs_submit(queue, elems, BATCH);
    finish_all(queue);
    for (size_t i = 0; i < BATCH; i++) {
        expect_read(arena, &elems[i], bytes);
    }
    assert_memory_equal(arena->bytes, arena->expected, ARENA_SIZE);
}

static void reads_touch_no_byte_outside(struct mounted *m, const char *direct)
{
    struct kvt_fs *fs = uring_start(m, direct);
    unsigned char *bytes = malloc(FILE_SIZE);
    struct kvt_fs_file *file;
    struct arena arena;
    arena_init(&arena, 11);
    value_fill(bytes, FILE_SIZE, 3);
    make_file(m, "file", 3, FILE_SIZE);
    assert_int_equal(do_open(fs, "file", 0, &file), 0);
    static const uint32_t depths[] = {1, 3, 64};
    for (size_t d = 0; d < COUNT_OF(depths); d++) {
        struct kvt_fs_queue *queue = start_queue(fs, depths[d]);
        for (unsigned i = 0; i < ROUNDS; i++) {
            read_batch(&arena, queue, file, bytes);
        }
        stop_queue(queue);
    }
    assert_int_equal(do_file(fs, KVT_FS_CLOSE, file), 0);
    arena_fini(&arena);
    free(bytes);
}

static void direct_reads_touch_no_byte_outside(void **state)
{
    reads_touch_no_byte_outside(*state, "auto");
}

static void cached_reads_touch_no_byte_outside(void **state)
{
    reads_touch_no_byte_outside(*state, "off");
}

/* From memory anywhere, whole blocks; what stands beside them stays. */
static void writes_change_their_blocks_only(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs *fs = uring_start(m, "auto");
    struct kvt_fs_queue *queue = start_queue(fs, 8);
    enum {
        BLOCKS = 100,
        BLOCK = 4096
    };
    static unsigned char expected[BLOCKS * BLOCK];
    char path[FILE_PATH_MAX];
    struct kvt_fs_file *file;
    struct arena arena;
    arena_init(&arena, 12);
    value_fill(expected, sizeof expected, 4);
    make_file(m, "file", 4, sizeof expected);
    assert_int_equal(do_open(fs, "file", KVT_FS_FOR_WRITE, &file), 0);
    for (unsigned i = 0; i < 200; i++) {
        size_t first = unit_random_below(&arena.seed, BLOCKS);
        size_t count = 1 + unit_random_below(&arena.seed, BLOCKS - first);
        size_t skip = unit_random_below(&arena.seed, 5000);
        size_t cut = unit_random_below(&arena.seed, count * BLOCK);
        unsigned char *from = arena.bytes + skip;
        value_fill(from, count * BLOCK, 100 + i);
        memcpy(expected + first * BLOCK, from, count * BLOCK);
        struct kvt_slice slices[] = {{from, cut, NULL},
                                     {from + cut, count * BLOCK - cut, NULL}};
        struct kvt_fs_elem elem = {.op = KVT_FS_WRITE,
                                   .file = file,
                                   .offset = first * BLOCK,
                                   .slices = slices,
                                   .slice_count = 2};
        kvt_fs_submit(queue, &elem, 1);
        finish_all(queue);
        assert_int_equal(elem.result, count * BLOCK);
    }
    stop_queue(queue);
    assert_int_equal(do_file(fs, KVT_FS_CLOSE, file), 0);
    size_t size;
    snprintf(path, sizeof path, "%s/file", m->root);
    unsigned char *written = file_read(path, &size);
    assert_int_equal(size, sizeof expected);
    assert_memory_equal(written, expected, size);
    free(written);
    arena_fini(&arena);
}

static void many_pieces_go_in_any_number(void **state)
{
    enum {
        ELEMS = 4, /* at once: room runs out */
        PIECES = 5000,
        SIZE = 20,
        BYTES = PIECES * SIZE,
    };
    struct mounted *m = *state;
    static const char *const modes[] = {"off", "auto"};
    static unsigned char bytes[ELEMS][BYTES];
    static struct kvt_slice slices[ELEMS][PIECES];
    for (size_t i = 0; i < ELEMS * PIECES; i++) {
        /* the last comes first */
        size_t at = (PIECES - 1 - i % PIECES) * SIZE;
        slices[i / PIECES][i % PIECES] =
            (struct kvt_slice){bytes[i / PIECES] + at, SIZE, NULL};
    }
    for (size_t mode = 0; mode < 2; mode++) {
        struct kvt_fs *fs = uring_start(m, modes[mode]);
        struct kvt_fs_queue *queue = start_queue(fs, 3);
        make_file(m, "file", 5, BYTES);
        struct kvt_fs_file *file;
        struct kvt_fs_elem elems[ELEMS];
        assert_int_equal(do_open(fs, "file", 0, &file), 0);
        memset(bytes, 0, sizeof bytes);
        for (size_t i = 0; i < ELEMS; i++) {
            elems[i] = (struct kvt_fs_elem){.op = KVT_FS_READ,
                                            .file = file,
                                            .slices = slices[i],
                                            .slice_count = PIECES};
        }
        kvt_fs_submit(queue, elems, ELEMS);
        finish_all(queue);
        static unsigned char expected[BYTES];
        value_fill(expected, sizeof expected, 5);
        for (size_t i = 0; i < ELEMS * PIECES; i++) {
            assert_int_equal(elems[i / PIECES].result, BYTES);
            assert_memory_equal(slices[i / PIECES][i % PIECES].base,
                                expected + i % PIECES * SIZE, SIZE);
        }
        stop_queue(queue);
        assert_int_equal(do_file(fs, KVT_FS_CLOSE, file), 0);
        mounted_stop(m);
    }
}

/* Whole files ------------------------------------------------------------- */

/* A batch of `count` fetches of 1,000 bytes of files that are there, not
 * there, and directories. */
/* Reads of an open file, which are the ring's, among whole files, which are
 * for threads. */
static void read_many(struct kvt_fs_queue *queue, struct kvt_fs_file *file,
                      size_t count)
{
    /* direct I/O has its own word for a directory */
    int64_t folder = queue->fs->facts.direct ? -EINVAL : -EISDIR;
    struct kvt_fs_elem *elems = calloc(count, sizeof *elems);
    struct kvt_slice *slices = calloc(count, sizeof *slices);
    unsigned char *bytes = malloc(count * 1000);
    static const char *const names[] = {"file", "missing", "folder", "short"};
    const int64_t results[] = {1000, -ENOENT, folder, 10};
    for (size_t i = 0; i < count; i++) {
        slices[i] = (struct kvt_slice){bytes + i * 1000, 1000, NULL};
        bool reads = i % 4 == 0 && i % 3 != 0;
        elems[i] =
            (struct kvt_fs_elem){.op = reads ? KVT_FS_READ : KVT_FS_FETCH,
                                 .path = names[i % 4],
                                 .file = reads ? file : NULL,
                                 .slices = &slices[i],
                                 .slice_count = 1};
    }
    kvt_fs_submit(queue, elems, count);
    finish_all(queue);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(elems[i].result, results[i % 4]);
        if (i % 4 == 0) {
            assert_true(value_is(slices[i].base, 1000, 6));
        }
    }
    free(elems);
    free(slices);
    free(bytes);
}

static void make_many(struct mounted *m)
{
    char path[FILE_PATH_MAX];
    make_file(m, "file", 6, 5000);
    make_file(m, "short", 6, 10);
    snprintf(path, sizeof path, "%s/folder", m->root);
    make_directory(path);
}

static void ten_thousand_elements_at_every_depth(void **state)
{
    struct mounted *m = *state;
    static const uint32_t depths[] = {1, 2, 128, 10000};
    struct kvt_fs *fs = uring_start(m, "auto");
    struct kvt_fs_file *file;
    make_many(m);
    assert_int_equal(do_open(fs, "file", 0, &file), 0);
    for (size_t i = 0; i < COUNT_OF(depths); i++) {
        struct kvt_fs_queue *queue = start_queue(fs, depths[i]);
        read_many(queue, file, depths[i] < 100 ? 2000 : 10000);
        stop_queue(queue);
    }
    assert_int_equal(do_file(fs, KVT_FS_CLOSE, file), 0);
}

static void a_file_that_shrinks_is_read_to_its_end(void **state)
{
    struct mounted *m = *state;
    char path[FILE_PATH_MAX];
    unsigned char bytes[20000];
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    struct kvt_fs *fs = uring_start(m, "auto");
    struct kvt_fs_file *file;
    make_file(m, "file", 7, 20000);
    assert_int_equal(do_open(fs, "file", 0, &file), 0);
    snprintf(path, sizeof path, "%s/file", m->root);
    static const off_t sizes[] = {20000, 19999, 8192, 8191, 100, 0};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        assert_int_equal(truncate(path, sizes[i]), 0);
        memset(bytes, 0, sizeof bytes);
        assert_int_equal(do_read(fs, file, 0, bytes, sizeof bytes), sizes[i]);
        assert_true(value_is(bytes, (size_t)sizes[i], 7));
        memset(bytes, 0, sizeof bytes);
        struct kvt_fs_elem fetch = {.op = KVT_FS_FETCH,
                                    .path = "file",
                                    .slices = &slice,
                                    .slice_count = 1};
        assert_int_equal(kvt_fs_run(fs, &fetch), sizes[i]);
        assert_true(value_is(bytes, (size_t)sizes[i], 7));
    }
    assert_int_equal(do_file(fs, KVT_FS_CLOSE, file), 0);
}

/* Threads ----------------------------------------------------------------- */

struct handed {
    struct kvt_fs_queue *queue;
    struct kvt_fs_elem *elems;
    size_t count;
};

static void *submit_and_leave(void *arg)
{
    struct handed *handed = arg;
    kvt_fs_submit(handed->queue, handed->elems, handed->count);
    kvt_fs_poll(handed->queue, 0, 0); /* to the kernel, and not waited for */
    return NULL;
}

/* What a thread handed over that ended meanwhile is carried out all the
 * same. */
static void a_queue_outlives_its_thread(void **state)
{
    enum {
        COUNT = 64,
        SIZE = 100000
    };
    struct mounted *m = *state;
    static const char *const modes[] = {"auto", "off"};
    unsigned char *bytes = malloc((size_t)COUNT * SIZE);
    for (unsigned round = 0; round < 20; round++) {
        struct kvt_fs *fs = uring_start(m, modes[round % 2]);
        struct kvt_fs_queue *queue = start_queue(fs, COUNT);
        struct kvt_fs_elem elems[COUNT];
        struct kvt_slice slices[COUNT];
        struct kvt_fs_file *file;
        char name[32];
        snprintf(name, sizeof name, "file-%u", round); /* not in the cache */
        make_file(m, name, 8, SIZE);
        assert_int_equal(do_open(fs, name, 0, &file), 0);
        memset(bytes, 0, (size_t)COUNT * SIZE);
        for (size_t i = 0; i < COUNT; i++) {
            slices[i] = (struct kvt_slice){bytes + i * SIZE, SIZE, NULL};
            elems[i] = (struct kvt_fs_elem){.op = i % 3 == 0   ? KVT_FS_READ
                                                  : i % 3 == 1 ? KVT_FS_FETCH
                                                               : KVT_FS_STAT,
                                            .path = name,
                                            .file = file,
                                            .slices = &slices[i],
                                            .slice_count = 1};
        }
        struct handed handed = {queue, elems, COUNT};
        pthread_t thread;
        assert_int_equal(
            pthread_create(&thread, NULL, submit_and_leave, &handed), 0);
        pthread_join(thread, NULL);
        finish_all(queue);
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(elems[i].result, i % 3 == 2 ? 0 : SIZE);
            if (i % 3 != 2) {
                assert_true(value_is(slices[i].base, SIZE, 8));
            }
        }
        stop_queue(queue);
        assert_int_equal(do_file(fs, KVT_FS_CLOSE, file), 0);
        mounted_stop(m);
    }
    free(bytes);
}

static void *wake_soon(void *arg)
{
    struct timespec moment = {0, 20000000};
    nanosleep(&moment, NULL);
    kvt_fs_wake(arg);
    return NULL;
}

/* Also one that waits for many completions, of which none comes. */
static void a_wake_ends_a_wait_for_many(void **state)
{
    struct mounted *m = *state;
    struct kvt_fs *fs = uring_start(m, "auto");
    struct kvt_fs_queue *queue = start_queue(fs, 128);
    struct kvt_fs_elem waits[100];
    for (size_t i = 0; i < COUNT_OF(waits); i++) {
        waits[i] = (struct kvt_fs_elem){.op = KVT_FS_WAIT};
    }
    kvt_fs_submit(queue, waits, COUNT_OF(waits));
    for (unsigned i = 0; i < 10; i++) {
        pthread_t thread;
        int64_t start = kvt_clock_ns();
        assert_int_equal(pthread_create(&thread, NULL, wake_soon, queue), 0);
        assert_int_equal(kvt_fs_poll(queue, 1 + i * 10, 0), 0);
        assert_true(kvt_clock_ns() - start >= 15 * MS);
        pthread_join(thread, NULL);
    }
    for (size_t i = 0; i < COUNT_OF(waits); i++) {
        kvt_fs_post(&waits[i], 0);
    }
    finish_all(queue);
    stop_queue(queue);
}

struct poster {
    struct kvt_fs_elem *waits;
    size_t count;
};

static void *post_all(void *arg)
{
    struct poster *poster = arg;
    for (size_t i = 0; i < poster->count; i++) {
        kvt_fs_post(&poster->waits[i], (int64_t)i);
    }
    return NULL;
}

/* No wake is lost, however they meet a poller that goes to sleep. */
static void posts_from_threads_all_arrive(void **state)
{
    enum {
        THREADS = 3,
        COUNT = 3000
    };
    struct mounted *m = *state;
    struct kvt_fs *fs = uring_start(m, "auto");
    struct kvt_fs_queue *queue = start_queue(fs, 4);
    static struct kvt_fs_elem waits[THREADS][COUNT];
    struct poster posters[THREADS];
    pthread_t threads[THREADS];
    for (size_t t = 0; t < THREADS; t++) {
        for (size_t i = 0; i < COUNT; i++) {
            waits[t][i] = (struct kvt_fs_elem){.op = KVT_FS_WAIT};
        }
        kvt_fs_submit(queue, waits[t], COUNT);
        posters[t] = (struct poster){waits[t], COUNT};
    }
    for (size_t t = 0; t < THREADS; t++) {
        assert_int_equal(
            pthread_create(&threads[t], NULL, post_all, &posters[t]), 0);
    }
    while (kvt_fs_in_flight(queue) > 0) {
        kvt_fs_poll(queue, 1, 0);
    }
    for (size_t t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
    }
    stop_queue(queue);
}

/* Deadlines --------------------------------------------------------------- */

static void count_late(void *arg, int64_t result)
{
    size_t *told = arg;
    assert_true(result == FILE_SIZE || result == -ECANCELED);
    ++*told;
}

/* So soon that the ring has most of them then. */
static void a_deadline_leaves_the_ring_at_work(void **state)
{
    enum {
        COUNT = 32
    };
    struct mounted *m = *state;
    struct kvt_fs *fs = uring_start(m, "auto");
    struct kvt_fs_queue *queue = start_queue(fs, COUNT);
    unsigned char *bytes = malloc((size_t)COUNT * FILE_SIZE);
    struct kvt_fs_elem elems[COUNT];
    struct kvt_slice slices[COUNT];
    size_t lingered = 0;
    struct kvt_fs_file *file;
    make_file(m, "file", 13, FILE_SIZE);
    assert_int_equal(do_open(fs, "file", 0, &file), 0);
    for (unsigned round = 0; round < 50; round++) {
        size_t late = 0;
        size_t expired = 0;
        int64_t deadline_ns = kvt_clock_ns() + 100000 * (1 + round % 10);
        for (size_t i = 0; i < COUNT; i++) {
            slices[i] =
                (struct kvt_slice){bytes + i * FILE_SIZE, FILE_SIZE, NULL};
            elems[i] = (struct kvt_fs_elem){.op = KVT_FS_READ,
                                            .file = file,
                                            .slices = &slices[i],
                                            .slice_count = 1,
                                            .deadline_ns = deadline_ns,
                                            .late = count_late,
                                            .late_arg = &late};
        }
        kvt_fs_submit(queue, elems, COUNT);
        finish_all(queue);
        lingered += kvt_fs_lingering(queue);
        for (size_t i = 0; i < COUNT; i++) {
            if (elems[i].result == -ETIMEDOUT) {
                expired++;
                memset(slices[i].base, 0x77, FILE_SIZE); /* ours again */
            } else {
                assert_int_equal(elems[i].result, FILE_SIZE);
                assert_true(value_is(slices[i].base, FILE_SIZE, 13));
            }
        }
        while (kvt_fs_lingering(queue) > 0) {
            kvt_fs_poll(queue, 1, kvt_clock_ns() + 10 * MS);
        }
        assert_int_equal(late, expired);
        for (size_t i = 0; i < COUNT; i++) {
            const unsigned char *first = slices[i].base;
            if (elems[i].result == -ETIMEDOUT) {
                assert_int_equal(first[0], 0x77);
                assert_memory_equal(first, first + 1, FILE_SIZE - 1);
            }
        }
    }
    assert_true(lingered > 0);
    stop_queue(queue);
    assert_int_equal(do_file(fs, KVT_FS_CLOSE, file), 0);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        mount_test(direct_reads_touch_no_byte_outside),
        mount_test(cached_reads_touch_no_byte_outside),
        mount_test(writes_change_their_blocks_only),
        mount_test(many_pieces_go_in_any_number),
        mount_test(ten_thousand_elements_at_every_depth),
        mount_test(a_file_that_shrinks_is_read_to_its_end),
        mount_test(a_queue_outlives_its_thread),
        mount_test(a_wake_ends_a_wait_for_many),
        mount_test(posts_from_threads_all_arrive),
        mount_test(a_deadline_leaves_the_ring_at_work),
    };
    if (!uring_is_here()) {
        return uring_skip();
    }
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
