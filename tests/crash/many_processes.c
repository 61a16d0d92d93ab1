/* Eight processes on one shared root: they replace, remove, load and list 64
 * keys, and one of them is killed each second. Every load is checked against
 * what all of them have recorded in shared memory: right bytes, and no older
 * version than one that was acknowledged before the load began, or that the
 * same reader saw before. A miss is always allowed. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#define _XOPEN_SOURCE 700
#include "support/store_fixture.h"

#include "core/clock.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    PROCESSES = 8,
    KEYS = 64, /* each is written by one process, and read by all */
    SIZE_MAX_BYTES = 40000,
    SECONDS = 10,
    BATCH = 4,
};

/* In memory that all share; all of it atomic. A removal is a version, too. */
struct shared {
    int stop;
    uint64_t attempted[KEYS];
    uint64_t acknowledged[KEYS];
    uint64_t loads;
    uint64_t hits;
    uint64_t writes;
    uint64_t removals;
    uint64_t scans;
    uint64_t faults;
    char fault[256]; /* the first one */
};

static struct shared *shared;

static uint64_t get(const uint64_t *number)
{
    return __atomic_load_n(number, __ATOMIC_SEQ_CST);
}

static void set(uint64_t *number, uint64_t value)
{
    __atomic_store_n(number, value, __ATOMIC_SEQ_CST);
}

static void add(uint64_t *number)
{
    __atomic_fetch_add(number, 1, __ATOMIC_SEQ_CST);
}

static void fault(const char *what, uint64_t key, uint64_t a, uint64_t b)
{
    if (__atomic_fetch_add(&shared->faults, 1, __ATOMIC_SEQ_CST) == 0) {
        snprintf(shared->fault, sizeof shared->fault,
                 "key %llu: %s (%llu, %llu)", (unsigned long long)key, what,
                 (unsigned long long)a, (unsigned long long)b);
    }
}

/* Values ------------------------------------------------------------------- */

static size_t size_of(uint64_t key, uint64_t version)
{
    return 16 +
           (size_t)((version * 7919 + key * 104729) % (SIZE_MAX_BYTES - 16));
}

static void fill(unsigned char *bytes, uint64_t key, uint64_t version)
{
    value_fill(bytes, size_of(key, version), version * KEYS + key + 1);
    memcpy(bytes, &key, 8);
    memcpy(bytes + 8, &version, 8);
}

/* The version that the bytes are, or 0. */
static uint64_t version_of(const unsigned char *bytes, size_t size,
                           uint64_t key)
{
    static unsigned char expected[SIZE_MAX_BYTES];
    uint64_t found;
    uint64_t version;
    if (size < 16) {
        return 0;
    }
    memcpy(&found, bytes, 8);
    memcpy(&version, bytes + 8, 8);
    if (found != key || version == 0 || size_of(key, version) != size) {
        return 0;
    }
    fill(expected, key, version);
    return memcmp(bytes, expected, size) == 0 ? version : 0;
}

/* One process -------------------------------------------------------------- */

struct process {
    struct kvt_store *store;
    uint64_t number;
    uint64_t random;
    uint64_t seen[KEYS]; /* the newest version of each */
    unsigned char bytes[BATCH][SIZE_MAX_BYTES];
};

static void write_one(struct process *p, uint64_t key)
{
    struct named_key named;
    uint64_t version = get(&shared->attempted[key]) + 1;
    bool removes = random_next(&p->random) % 5 == 0;
    name_key(&named, "shared/key@", key);
    set(&shared->attempted[key], version);
    struct kvt_slice slice = {p->bytes[0], size_of(key, version), NULL};
    struct kvt_object object = {.key = named.key};
    if (removes) {
        kvt_batch_remove(p->store, &object, 1, NULL);
        add(&shared->removals);
        if (object.status != KVT_OK &&
            object.status != KVT_ERR_OBJECT_NOT_FOUND) {
            fault("a removal failed", key, (uint64_t)-object.status, 0);
        }
    } else {
        object.slices = &slice;
        object.slice_count = 1;
        fill(p->bytes[0], key, version);
        add(&shared->writes);
        if (kvt_batch_offload(p->store, &object, 1, NULL) != 1) {
            fault("an offload failed", key, (uint64_t)-object.status,
                  (uint64_t)object.errnum);
        }
    }
    set(&shared->acknowledged[key], version);
}

/* What a load may not be older than, when it begins. A key that stands twice
 * in one batch is loaded twice at the same time, in no order. */
struct bound {
    uint64_t acknowledged;
    uint64_t seen;
};

static void check_one(struct process *p, const struct kvt_object *object,
                      const unsigned char *bytes, uint64_t key,
                      struct bound bound)
{
    add(&shared->loads);
    if (object->status == KVT_ERR_OBJECT_NOT_FOUND) {
        return;
    }
    if (object->status != KVT_OK) {
        fault("a load failed", key, (uint64_t)-object->status,
              (uint64_t)object->errnum);
        return;
    }
    add(&shared->hits);
    uint64_t version = version_of(bytes, (size_t)object->size, key);
    if (version == 0) {
        fault("wrong bytes", key, object->size, 0);
    } else if (version < bound.acknowledged) {
        fault("older than what was acknowledged", key, version,
              bound.acknowledged);
    } else if (version < bound.seen) {
        fault("older than what was seen", key, version, bound.seen);
    } else if (version > get(&shared->attempted[key])) {
        fault("never written", key, version, get(&shared->attempted[key]));
    }
    if (version > p->seen[key]) {
        p->seen[key] = version;
    }
}

static void load_some(struct process *p)
{
    struct named_key names[BATCH];
    struct kvt_slice slices[BATCH];
    struct kvt_object objects[BATCH];
    uint64_t keys[BATCH];
    struct bound bounds[BATCH];
    for (size_t i = 0; i < BATCH; i++) {
        keys[i] = random_next(&p->random) % KEYS;
        name_key(&names[i], "shared/key@", keys[i]);
        slices[i] = (struct kvt_slice){p->bytes[i], SIZE_MAX_BYTES, NULL};
        objects[i] = (struct kvt_object){
            .key = names[i].key, .slices = &slices[i], .slice_count = 1};
        bounds[i] = (struct bound){get(&shared->acknowledged[keys[i]]),
                                   p->seen[keys[i]]};
    }
    if (kvt_batch_load(p->store, objects, BATCH, NULL) < 0) {
        fault("a batch was refused", 0, 0, 0);
        return;
    }
    for (size_t i = 0; i < BATCH; i++) {
        check_one(p, &objects[i], p->bytes[i], keys[i], bounds[i]);
    }
}

static int check_listed(const struct kvt_meta *metas, size_t count, void *arg)
{
    (void)arg;
    for (size_t i = 0; i < count; i++) {
        if (metas[i].key.size < 12 ||
            memcmp(metas[i].key.data, "shared/key@", 11) != 0 ||
            metas[i].size < 16 || metas[i].size >= SIZE_MAX_BYTES) {
            fault("listed what is no object", 0, metas[i].size, 0);
        }
    }
    return count > KEYS;
}

static void run_process(struct store_fixture *fixture, uint64_t number,
                        uint64_t seed)
{
    static struct process p;
    struct kvt_error err;
    p = (struct process){.number = number, .random = seed};
    if (kvt_store_open(fixture->config, NULL, &p.store, &err) != KVT_OK) {
        fault("cannot be opened", number, (uint64_t)err.errnum, 0);
        _exit(1);
    }
    while (!__atomic_load_n(&shared->stop, __ATOMIC_RELAXED)) {
        uint64_t what = random_next(&p.random) % 64;
        if (what == 0) {
            add(&shared->scans);
            if (kvt_scan_meta(p.store, check_listed, NULL, &err) != KVT_OK) {
                fault("a scan failed", number, (uint64_t)err.errnum, 0);
            }
        } else if (what < 24) {
            uint64_t turn = random_next(&p.random) % (KEYS / PROCESSES);
            write_one(&p, turn * PROCESSES + number);
        } else {
            load_some(&p);
        }
    }
    kvt_store_close(p.store);
    _exit(0);
}

/* All of them -------------------------------------------------------------- */

static pid_t start(struct store_fixture *fixture, uint64_t number,
                   uint64_t *seed)
{
    uint64_t own = random_next(seed);
    pid_t pid = fork();
    if (pid == 0) {
        run_process(fixture, number, own);
    }
    assert_true(pid > 0);
    return pid;
}

static size_t file_count;
static size_t temporary_count;

static int count_one(const char *path, const struct stat *st, int type,
                     struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    if (type == FTW_F) {
        bool temporary = strstr(path, "/%tmp-") != NULL;
        temporary_count += temporary;
        file_count += !temporary && strstr(path, "/.kvtier/") == NULL;
    }
    return 0;
}

static void count_files(const struct store_fixture *fixture)
{
    file_count = 0;
    temporary_count = 0;
    nftw(fixture->path, count_one, 16, FTW_PHYS);
}

static int count_metas(const struct kvt_meta *metas, size_t count, void *arg)
{
    (void)metas;
    *(size_t *)arg += count;
    return 0;
}

/* What dead writers left goes after the grace; all else is an object. */
static void check_what_is_left(struct store_fixture *fixture)
{
    size_t listed = 0;
    count_files(fixture);
    print_message("%zu temporaries left behind\n", temporary_count);
    store_set(fixture, "distributed.temporary_grace", "1");
    store_start(fixture);
    int64_t end_ns = kvt_clock_ns() + INT64_C(15000000000);
    do {
        struct timespec pause = {0, 50000000};
        nanosleep(&pause, NULL);
        count_files(fixture);
    } while (temporary_count > 0 && kvt_clock_ns() < end_ns);
    assert_int_equal(temporary_count, 0);
    assert_int_equal(kvt_scan_meta(fixture->store, count_metas, &listed, NULL),
                     KVT_OK);
    assert_int_equal(listed, file_count);
    for (uint64_t key = 0; key < KEYS; key++) {
        static unsigned char bytes[SIZE_MAX_BYTES];
        struct kvt_slice slice = {bytes, sizeof bytes, NULL};
        struct named_key named;
        name_key(&named, "shared/key@", key);
        struct kvt_object object = {
            .key = named.key, .slices = &slice, .slice_count = 1};
        kvt_batch_load(fixture->store, &object, 1, NULL);
        if (object.status == KVT_OK) {
            assert_true(version_of(bytes, (size_t)object.size, key) >=
                        get(&shared->acknowledged[key]));
        } else {
            assert_int_equal(object.status, KVT_ERR_OBJECT_NOT_FOUND);
        }
    }
}

static void a_history_of_many_processes_is_in_order(void **state)
{
    struct store_fixture *fixture = *state;
    pid_t pids[PROCESSES];
    uint64_t seed = (uint64_t)kvt_clock_ns();
    int status;
    const char *chosen = getenv("KVT_TEST_SEED");
    seed = chosen != NULL ? strtoull(chosen, NULL, 10) : seed;
    print_message("KVT_TEST_SEED=%llu\n", (unsigned long long)seed);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(shared, MAP_FAILED);
    store_set(fixture, "threads", "4");
    for (uint64_t i = 0; i < PROCESSES; i++) {
        pids[i] = start(fixture, i, &seed);
    }
    unsigned seconds = test_scale() > 6 ? 60 : SECONDS * test_scale();
    for (unsigned second = 0; second < seconds; second++) {
        struct timespec pause = {1, 0};
        nanosleep(&pause, NULL);
        uint64_t victim = random_next(&seed) % PROCESSES;
        assert_int_equal(kill(pids[victim], SIGKILL), 0);
        assert_int_equal(waitpid(pids[victim], &status, 0), pids[victim]);
        pids[victim] = start(fixture, victim, &seed);
    }
    __atomic_store_n(&shared->stop, 1, __ATOMIC_RELAXED);
    for (uint64_t i = 0; i < PROCESSES; i++) {
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    print_message(
        "%llu writes, %llu removals, %llu loads (%llu hits), %llu "
        "scans\n",
        (unsigned long long)shared->writes,
        (unsigned long long)shared->removals, (unsigned long long)shared->loads,
        (unsigned long long)shared->hits, (unsigned long long)shared->scans);
    if (shared->faults > 0) {
        fail_msg("%llu faults, the first: %s",
                 (unsigned long long)shared->faults, shared->fault);
    }
    assert_true(shared->hits > 100 && shared->writes > 100);
    check_what_is_left(fixture);
    munmap(shared, sizeof *shared);
}

int main(void)
{
    static const struct store_row row = {"distributed", "posix", true, false,
                                         NULL};
    const struct CMUnitTest tests[] = {
        store_test(a_history_of_many_processes_is_in_order),
    };
    return store_row_run(&row, "many processes", tests, 1) != 0;
}
