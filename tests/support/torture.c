#define _XOPEN_SOURCE 700 /* nftw */
#include "support/torture.h"

#include "core/status.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    ABSENT = 1 /* in a set of allowed versions; 1 << v: version v */
};

static size_t size_of(size_t key, unsigned version)
{
    return 700 * key + 1800 * version + key;
}

static uint64_t seed_of(size_t key, unsigned version)
{
    return key * 100 + version + 1;
}

/* Values: what may be there ------------------------------------------------ */

#define CHECK(t, condition)                                                    \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fail_msg("%s: line %d: %s", (t)->what, __LINE__, #condition);      \
        }                                                                      \
    } while (0)

/* An operation failed: by the fault, and with its errno. */
static void told(struct torture *t, int status, int errnum)
{
    CHECK(t, status < 0);
    t->failures++;
    if (t->many && status == KVT_ERR_CHECKSUM_MISMATCH) {
        return; /* an offload that failed half-way left another file there */
    }
    bool shared = !t->owned;
    bool fits = errnum == t->errnum &&
                (status == kvt_status_of(KVT_FAULT_READ, errnum, shared) ||
                 status == kvt_status_of(KVT_FAULT_WRITE, errnum, shared) ||
                 /* without an owner: no more offloads after a few failures */
                 (shared && status == KVT_ERR_UNABLE_OFFLOAD));
    if (t->errnum != 0 && !fits) {
        fail_msg("%s: %s with errno %d", t->what, kvt_status_name(status),
                 errnum);
    }
}

static int run(struct torture *t,
               int (*batch)(struct kvt_store *, struct kvt_object *, size_t,
                            struct kvt_batch_options *),
               size_t key, struct kvt_slice *slice, struct kvt_object *object)
{
    char name[16];
    int size = snprintf(name, sizeof name, "key%zu", key);
    *object = (struct kvt_object){.key = {name, (size_t)size},
                                  .slices = slice,
                                  .slice_count = slice != NULL};
    int rc = batch(t->store, object, 1, NULL);
    CHECK(t, rc == (object->status == KVT_OK));
    object->key.data = NULL;
    return object->status;
}

static void offload(struct torture *t, size_t key, unsigned version)
{
    static char bytes[32 << 10];
    struct kvt_slice slice = {bytes, size_of(key, version), NULL};
    struct kvt_object object;
    value_fill(bytes, slice.size, seed_of(key, version));
    t->attempted[key] |= 1u << version;
    if (run(t, kvt_batch_offload, key, &slice, &object) == KVT_OK) {
        t->allowed[key] = 1u << version;
    } else {
        told(t, object.status, object.errnum);
        /* a name that is not synced is taken back, with what it replaced */
        t->allowed[key] |= t->durable ? ABSENT : 0;
        t->allowed[key] |= t->many ? ABSENT | 1u << version : 0;
    }
    for (size_t i = 0; i < TORTURE_KEYS && t->evicts; i++) {
        t->allowed[i] |= ABSENT;
    }
}

/* The version that the bytes are, among those ever offloaded; 0: none. */
static unsigned version_of(const struct torture *t, size_t key,
                           const char *bytes, size_t size)
{
    for (unsigned v = 1; v < 8; v++) {
        if ((t->attempted[key] & 1u << v) != 0 && size == size_of(key, v) &&
            value_is(bytes, size, seed_of(key, v))) {
            return v;
        }
    }
    return 0;
}

static void load(struct torture *t, size_t key, bool faults)
{
    static char bytes[32 << 10];
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    struct kvt_object object;
    memset(bytes, 0x5a, sizeof bytes);
    int status = run(t, kvt_batch_load, key, &slice, &object);
    if (status == KVT_OK) {
        unsigned version = version_of(t, key, bytes, (size_t)object.size);
        if (version == 0) {
            fail_msg("%s: key %zu: wrong bytes", t->what, key);
        }
        if ((t->allowed[key] & 1u << version) == 0) {
            fail_msg("%s: key %zu has version %u, allowed are %x", t->what, key,
                     version, t->allowed[key]);
        }
    } else if (status == KVT_ERR_OBJECT_NOT_FOUND) {
        if ((t->allowed[key] & ABSENT) == 0) {
            fail_msg("%s: key %zu is lost, allowed are %x", t->what, key,
                     t->allowed[key]);
        }
    } else if (faults) {
        told(t, status, object.errnum);
        if (t->errnum == 0 || t->many) { /* a file that lies is put aside */
            t->allowed[key] |= ABSENT;
        }
    } else {
        fail_msg("%s: key %zu: %s, errno %d", t->what, key,
                 kvt_status_name(status), object.errnum);
    }
}

static void look(struct torture *t, size_t key)
{
    struct kvt_object object;
    int status = run(t, kvt_batch_exists, key, NULL, &object);
    if (status == KVT_ERR_OBJECT_NOT_FOUND) {
        CHECK(t, (t->allowed[key] & ABSENT) != 0);
    } else if (status != KVT_OK) {
        told(t, status, object.errnum);
    } else {
        CHECK(t, (t->allowed[key] & ~(unsigned)ABSENT) != 0);
    }
}

static void drop(struct torture *t, size_t key)
{
    struct kvt_object object;
    int status = run(t, kvt_batch_remove, key, NULL, &object);
    if (status == KVT_ERR_OBJECT_NOT_FOUND) {
        CHECK(t, (t->allowed[key] & ABSENT) != 0);
        if (t->many) {
            return; /* the file of an offload that could not be undone */
        }
    } else if (status != KVT_OK) {
        told(t, status, object.errnum);
        t->allowed[key] |= ABSENT;
        return;
    }
    t->allowed[key] = ABSENT;
}

static int count_meta(const struct kvt_meta *metas, size_t count, void *arg)
{
    (void)metas;
    *(size_t *)arg += count;
    return 0;
}

static void scan(struct torture *t)
{
    struct kvt_error err = {0};
    size_t count = 0;
    if (kvt_scan_meta(t->store, count_meta, &count, &err) != KVT_OK) {
        told(t, err.code, err.errnum);
    }
}

/* Directories and stores --------------------------------------------------- */

static size_t descriptors(void)
{
    size_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count;
}

static _Thread_local size_t temporary_count;

static int count_temporary(const char *path, const struct stat *st, int type,
                           struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    temporary_count += type == FTW_F && strstr(path, "tmp") != NULL;
    return 0;
}

/* Of any layout, wherever it puts them. */
static size_t temporaries(const struct torture *t)
{
    temporary_count = 0;
    nftw(t->root, count_temporary, 16, FTW_PHYS);
    return temporary_count;
}

static void set(struct kvt_config *config, const char *key, const char *value)
{
    struct kvt_error err;
    if (kvt_config_set(config, key, value, &err) != KVT_OK) {
        fail_msg("%s = %s: %s", key, value, err.message);
    }
}

static int open_store(struct torture *t, const char *rules,
                      struct kvt_error *err)
{
    struct kvt_config *config = kvt_config_open();
    set(config, "backend", t->backend);
    set(config, t->owned ? "fs" : "distributed.fs",
        rules != NULL ? "fault:posix" : "posix");
    set(config, "path", t->root);
    set(config, "threads", "2");
    set(config, "durability", t->durable ? "batch" : "none");
    if (rules != NULL) {
        set(config, "fault.rules", rules);
        set(config, "fault.seed", t->seed[0] != '\0' ? t->seed : "0");
    }
    if (t->deadline_ms > 0 && rules != NULL) {
        char text[16];
        snprintf(text, sizeof text, "%u", t->deadline_ms);
        set(config, "deadline_ms", text);
    }
    set(config, "eviction",
        !t->evicts  ? "none"
        : t->is_log ? "second_chance"
                    : "lru");
    set(config, "bucket.rewrite_limit", "0.9");
    if (t->evicts) {
        set(config, "total_keys_limit", "4");
    }
    int rc = kvt_store_open(config, NULL, &t->store, err);
    kvt_config_close(config);
    return rc;
}

static void open_sound(struct torture *t)
{
    struct kvt_error err;
    if (open_store(t, NULL, &err) != KVT_OK) {
        fail_msg("%s: %s", t->what, err.message);
    }
}

static void close_store(struct torture *t)
{
    kvt_store_close(t->store);
    t->store = NULL;
}

/* One run ------------------------------------------------------------------ */

static void work(struct torture *t)
{
    offload(t, 4, 1);
    offload(t, 0, 2);
    load(t, 0, true);
    load(t, 1, true);
    load(t, 4, true);
    look(t, 1);
    look(t, 4);
    drop(t, 2);
    drop(t, 4);
    load(t, 2, true);
    offload(t, 5, 1);
    offload(t, 5, 1); /* the same again */
    offload(t, 5, 3);
    scan(t);
    for (size_t key = 0; key < TORTURE_KEYS; key++) {
        load(t, key, true);
    }
}

/* What hangs is over after this. */
static void let_it_pass(const struct torture *t)
{
    struct timespec pause = {0, t->deadline_ms * 5000000L};
    nanosleep(&pause, NULL);
}

/* With a fault that is over, the same store goes on as if nothing was. */
static void expect_usable(struct torture *t)
{
    struct torture before = *t;
    let_it_pass(t);
    offload(t, 3, 4);
    if (t->failures > before.failures) { /* it was this one */
        let_it_pass(t);
        offload(t, 3, 5);
        CHECK(t, t->failures == before.failures + 1);
    }
    load(t, 3, true);
}

/* The figures are those that a look at the files gives. */
static void expect_figures(struct torture *t, const struct kvt_stats *before)
{
    struct kvt_stats stats = {.size = sizeof stats};
    assert_int_equal(kvt_stats(t->store, &stats), KVT_OK);
    /* a log has put by tables for what is not sealed yet, and a table that was
     * torn stays in the file */
    bool allocated_fits =
        stats.allocated_bytes == before->allocated_bytes ||
        (t->is_log && stats.allocated_bytes < before->allocated_bytes + 4096);
    if (stats.objects != before->objects ||
        stats.object_bytes != before->object_bytes || !allocated_fits) {
        fail_msg("%s: %llu objects, %llu bytes, %llu allocated; there are "
                 "%llu, %llu, %llu",
                 t->what, (unsigned long long)before->objects,
                 (unsigned long long)before->object_bytes,
                 (unsigned long long)before->allocated_bytes,
                 (unsigned long long)stats.objects,
                 (unsigned long long)stats.object_bytes,
                 (unsigned long long)stats.allocated_bytes);
    }
}

static void prepare(struct torture *t)
{
    for (size_t key = 0; key < TORTURE_KEYS; key++) {
        t->allowed[key] = ABSENT;
        t->attempted[key] = 0;
    }
    if (!t->empty) {
        open_sound(t);
        for (size_t key = 0; key < 4; key++) {
            offload(t, key, 1);
        }
        CHECK(t, t->failures == 0);
        close_store(t);
    }
}

/* Under faults. True when the store could be opened. */
static bool suffer(struct torture *t, const char *rules,
                   struct kvt_stats *stats)
{
    struct kvt_error err = {0};
    int rc = open_store(t, rules, &err);
    if (rc != KVT_OK) {
        told(t, rc, err.errnum);
        CHECK(t, t->store == NULL && err.message[0] != '\0');
        return false;
    }
    work(t);
    if (t->once) {
        expect_usable(t);
    }
    for (size_t key = 0; key < TORTURE_KEYS; key++) {
        load(t, key, true);
    }
    stats->size = sizeof *stats;
    assert_int_equal(kvt_stats(t->store, stats), KVT_OK);
    close_store(t);
    return true;
}

/* Somebody needs a call of this kind, and nothing can do without. */
static bool must_be_told(const struct torture *t)
{
    if (strcmp(t->op, "sync") == 0) {
        return t->durable;
    }
    /* a log publishes its marker, and what it can do without; what it closes
     * is sealed, or not durable */
    return !t->is_log || (strcmp(t->op, "close") != 0 &&
                          (t->empty || strcmp(t->op, "rename") != 0));
}

void torture_once(struct torture *t, const char *rules)
{
    struct kvt_stats stats = {0};
    size_t before = descriptors();
    t->failures = 0;
    prepare(t);
    bool opened = suffer(t, rules, &stats);
    if (t->always && must_be_told(t)) {
        CHECK(t, t->failures > 0);
    }
    CHECK(t, descriptors() == before);
    if (opened && !t->many && strcmp(t->op, "remove") != 0) {
        CHECK(t, temporaries(t) == 0);
    }
    open_sound(t);
    /* without an owner they are anybody's, for a while */
    CHECK(t, temporaries(t) == 0 || (!t->owned && t->many));
    if (opened && t->once && !t->many && t->owned) {
        expect_figures(t, &stats);
    }
    for (size_t key = 0; key < TORTURE_KEYS; key++) {
        load(t, key, false);
    }
    size_t failures = t->failures;
    offload(t, 2, 6);
    load(t, 2, false);
    CHECK(t, t->failures == failures);
    close_store(t);
    CHECK(t, descriptors() == before);
    remove_tree(t->root);
}

void torture_init(struct torture *t, const char *backend, const char *op)
{
    const char *memory = "/dev/shm";
    char base[400];
    memset(t, 0, sizeof *t);
    t->op = op;
    t->backend = backend;
    t->owned = strcmp(backend, "distributed") != 0;
    t->is_log = strcmp(backend, "bucket") == 0;
    if (access(memory, W_OK) != 0) {
        assert_non_null(getcwd(base, sizeof base));
        memory = base;
    }
    snprintf(t->top, sizeof t->top, "%s/kvt-fault.XXXXXX", memory);
    assert_non_null(mkdtemp(t->top));
    snprintf(t->root, sizeof t->root, "%s/s", t->top);
}

void torture_choose_kind(struct torture *t, size_t turn)
{
    t->durable = (turn & 1) != 0;
    t->evicts = (turn & 2) != 0;
    t->empty = (turn & 4) != 0;
}

void torture_fini(struct torture *t)
{
    remove_tree(t->top);
}
