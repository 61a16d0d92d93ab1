#define _XOPEN_SOURCE 700 /* nftw */
#include "support/store_fixture.h"

#include "support/reference.h"

#include "core/hash.h"
#include "format/keyname.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* One line a combination. */
static const struct store_row rows[] = {
    {"file_per_key", "posix", true, true, NULL},
    {"file_per_key", "uring", true, true, NULL},
    {"file_per_key", "mem", false, true, NULL},
    {"distributed", "posix", true, false, NULL},
    {"distributed", "uring", true, false, NULL},
    {"distributed", "mem", false, false, NULL},
    {"bucket", "posix", false, true, NULL},
    {"bucket", "uring", false, true, NULL},
    {"bucket", "mem", false, true, NULL},
};

/* The same layouts on what other file systems are like. */
static const struct store_row fact_rows[] = {
    {"distributed", "mem", false, false, "shared,close_to_open"},
    {"distributed", "mem", false, false, "shared,after_sync,lost_on_kill"},
    {"distributed", "mem", false, false, "shared,no_rename"},
    {"distributed", "mem", false, false,
     "shared,no_rename,no_links,transfer64k"},
    {"distributed", "mem", false, false, "shared,no_noreplace,no_links"},
    {"distributed", "mem", false, false, "shared,removed_gone,trash"},
    {"distributed", "mem", false, false, "shared,align4096"},
    {"distributed", "mem", false, false,
     "shared,short_names,slices4,transfer64k,no_overwrite"},
    {"bucket", "mem", false, true, "close_to_open,no_overwrite"},
    {"bucket", "mem", false, true, "after_sync,lost_on_kill"},
    {"bucket", "mem", false, true, "no_rename,no_links"},
    {"bucket", "mem", false, true, "removed_gone,trash"},
    {"bucket", "mem", false, true, "align4096,slices4,transfer64k"},
};

/* Of the rows on uring, which differ from those on posix in how bytes move:
 * suites about that, and about threads, time and processes. The others run on
 * it with KVT_TEST_SCALE. */
static const char *const ring_suites[] = {
    "batches", "submitted batches", "threads",
    "damage",  "deadlines",         "processes",
};

static const struct store_row *current_row;
/* Suites that spoil what is stored, or have a hash of their own. */
static const char *const spoiling[] = {"damage", "lost", "collisions"};
static bool suite_spoils;

static bool is_log(const struct store_row *row)
{
    return strcmp(row->backend, "bucket") == 0;
}

bool store_is_log(const struct store_fixture *fixture)
{
    return is_log(fixture->row);
}

enum which {
    ALL = 0,
    FILES = 1,
    OWNED = 2,
    EXACT = 4,
    SHARED = 8,
    DISK = 16,
    LOG = 32,
};

static int is_uring(const struct kvt_component *component, void *arg)
{
    (void)arg;
    return strcmp(component->name, "uring") == 0 && component->available;
}

static bool is_left_out(const char *name, const struct store_row *row)
{
    bool ring = strcmp(row->fs, "uring") == 0;
    if (ring && kvt_components(NULL, is_uring, NULL, NULL) == 0) {
        print_message("SKIP: %s on uring: not part of this build\n", name);
        return true;
    }
    bool left_out = ring && test_scale() == 1 && getenv("KVT_TEST_ROW") == NULL;
    for (size_t i = 0; i < sizeof ring_suites / sizeof ring_suites[0]; i++) {
        left_out = left_out &&
                   strncmp(name, ring_suites[i], strlen(ring_suites[i])) != 0;
    }
    return left_out;
}

static int run_rows(const char *name, const struct CMUnitTest *tests,
                    size_t count, const struct store_row *table, size_t size,
                    unsigned which)
{
    bool failed = false;
    suite_spoils = false;
    for (size_t i = 0; i < sizeof spoiling / sizeof spoiling[0]; i++) {
        suite_spoils = suite_spoils || strstr(name, spoiling[i]) != NULL;
    }
    const char *only = getenv("KVT_TEST_ROW");
    for (size_t i = 0; i < size; i++) {
        const struct store_row *row = &table[i];
        char title[256];
        if (((which & FILES) != 0 && !row->file_per_object) ||
            ((which & OWNED) != 0 && !row->owned) ||
            ((which & EXACT) != 0 && is_log(row)) ||
            ((which & SHARED) != 0 && row->owned) ||
            ((which & DISK) != 0 && strcmp(row->fs, "mem") == 0) ||
            ((which & LOG) != 0 && !is_log(row)) || is_left_out(name, row)) {
            continue;
        }
        snprintf(title, sizeof title, "%s: %s on %s %s", name, row->backend,
                 row->fs, row->facts != NULL ? row->facts : "");
        if (only != NULL && strstr(title, only) == NULL) {
            continue;
        }
        current_row = row;
        failed |= _cmocka_run_group_tests(title, tests, count, NULL, NULL) != 0;
    }
    return failed;
}

#define ROWS(array) array, sizeof array / sizeof array[0]

int store_rows_run(const char *name, const struct CMUnitTest *tests,
                   size_t count)
{
    return run_rows(name, tests, count, ROWS(rows), ALL);
}

int store_file_rows_run(const char *name, const struct CMUnitTest *tests,
                        size_t count)
{
    return run_rows(name, tests, count, ROWS(rows), FILES);
}

int store_owned_rows_run(const char *name, const struct CMUnitTest *tests,
                         size_t count)
{
    return run_rows(name, tests, count, ROWS(rows), OWNED);
}

int store_owned_file_rows_run(const char *name, const struct CMUnitTest *tests,
                              size_t count)
{
    return run_rows(name, tests, count, ROWS(rows), FILES | OWNED);
}

int store_disk_rows_run(const char *name, const struct CMUnitTest *tests,
                        size_t count)
{
    return run_rows(name, tests, count, ROWS(rows), DISK);
}

int store_owned_disk_rows_run(const char *name, const struct CMUnitTest *tests,
                              size_t count)
{
    return run_rows(name, tests, count, ROWS(rows), DISK | OWNED);
}

int store_log_rows_run(const char *name, const struct CMUnitTest *tests,
                       size_t count)
{
    return run_rows(name, tests, count, ROWS(rows), LOG);
}

int store_log_disk_rows_run(const char *name, const struct CMUnitTest *tests,
                            size_t count)
{
    return run_rows(name, tests, count, ROWS(rows), LOG | DISK);
}

int store_fact_rows_run(const char *name, const struct CMUnitTest *tests,
                        size_t count)
{
    return run_rows(name, tests, count, ROWS(fact_rows), ALL);
}

int store_exact_rows_run(const char *name, const struct CMUnitTest *tests,
                         size_t count)
{
    return run_rows(name, tests, count, ROWS(rows), OWNED | EXACT);
}

int store_single_rows_run(const char *name, const struct CMUnitTest *tests,
                          size_t count)
{
    return run_rows(name, tests, count, ROWS(rows), EXACT);
}

int store_shared_fact_rows_run(const char *name, const struct CMUnitTest *tests,
                               size_t count)
{
    return run_rows(name, tests, count, ROWS(fact_rows), SHARED);
}

int store_row_run(const struct store_row *row, const char *name,
                  const struct CMUnitTest *tests, size_t count)
{
    return run_rows(name, tests, count, row, 1, ALL);
}

/* Store ------------------------------------------------------------------- */

static int setup_in(const char *scratch, void **state)
{
    struct store_fixture *fixture = calloc(1, sizeof *fixture);
    char here[2048] = ".";
    char top[3072];
    if (fixture == NULL || getcwd(here, sizeof here) == NULL) {
        return -1;
    }
    snprintf(top, sizeof top, "%s/store.XXXXXX",
             scratch != NULL ? scratch : here);
    if (mkdtemp(top) == NULL) {
        return -1;
    }
    snprintf(fixture->path, sizeof fixture->path, "%s/s", top);
    fixture->row = current_row;
    fixture->config = kvt_config_open();
    fixture->handlers = (struct kvt_handlers)KVT_HANDLERS_INIT;
    store_set(fixture, "backend", current_row->backend);
    store_set(fixture, "fs", current_row->fs);
    if (current_row->facts != NULL) {
        store_set(fixture, "mem.facts", current_row->facts);
    }
    store_set(fixture, "path", fixture->path);
    *state = fixture;
    return 0;
}

int store_setup(void **state)
{
    return setup_in(getenv("KVT_TEST_SCRATCH"), state);
}

/* A container's is often tiny. */
static bool has_space_in_memory(void)
{
    struct statvfs st;
    return access("/dev/shm", W_OK | X_OK) == 0 &&
           statvfs("/dev/shm", &st) == 0 &&
           st.f_bavail * st.f_frsize >= 256u << 20;
}

int store_setup_fast(void **state)
{
    const char *scratch = getenv("KVT_TEST_SCRATCH");
    if (scratch == NULL && has_space_in_memory()) {
        scratch = "/dev/shm";
    }
    return setup_in(scratch, state);
}

/* What a test leaves behind, read by the reader in Python. 0, or -1. */
static int read_what_is_left(const struct store_fixture *fixture)
{
    char marker[FILE_PATH_MAX];
    store_path(fixture, ".kvtier/store", marker);
    if (!is_log(fixture->row) || !file_exists(marker)) {
        return 0;
    }
    enum reference_answer answer = reference_compare(fixture->path);
    bool agrees =
        answer == REFERENCE_AGREES ||
        (answer == REFERENCE_REFUSES && (suite_spoils || fixture->spoilt)) ||
        (answer == REFERENCE_MISSING && getenv("CI") == NULL);
    return agrees ? 0 : -1;
}

int store_teardown(void **state)
{
    struct store_fixture *fixture = *state;
    kvt_store_close(fixture->store);
    kvt_config_close(fixture->config);
    int rc = read_what_is_left(fixture);
    fixture->path[strlen(fixture->path) - 2] = '\0';
    remove_tree(fixture->path);
    free(fixture);
    return rc;
}

void store_set(struct store_fixture *fixture, const char *key,
               const char *value)
{
    struct kvt_error err;
    if (strcmp(key, "fs") == 0 &&
        strcmp(fixture->row->backend, "distributed") == 0) {
        key = "distributed.fs"; /* its own key for the same thing */
    }
    if (kvt_config_set(fixture->config, key, value, &err) != KVT_OK) {
        fail_msg("%s = %s: %s", key, value, err.message);
    }
}

void store_set_number(struct store_fixture *fixture, const char *key,
                      uint64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    store_set(fixture, key, text);
}

void store_start(struct store_fixture *fixture)
{
    struct kvt_error err = {0};
    int rc = kvt_store_open(fixture->config, &fixture->handlers,
                            &fixture->store, &err);
    if (rc != KVT_OK) {
        fail_msg("open: %s (%d)", err.message, rc);
    }
}

void store_stop(struct store_fixture *fixture)
{
    kvt_store_close(fixture->store);
    fixture->store = NULL;
}

void store_restart(struct store_fixture *fixture)
{
    store_stop(fixture);
    store_start(fixture);
}

int store_open_other(struct store_fixture *fixture, bool read_only,
                     struct kvt_store **other, struct kvt_error *err)
{
    store_set(fixture, "read_only", read_only ? "on" : "off");
    int rc = kvt_store_open(fixture->config, NULL, other, err);
    store_set(fixture, "read_only", "off");
    return rc;
}

/* Values and keys --------------------------------------------------------- */

static uint64_t word_of(uint64_t seed, uint64_t at)
{
    uint64_t word = seed * UINT64_C(0x9e3779b97f4a7c15) +
                    at * UINT64_C(0xd1b54a32d192ed03) + 1;
    word ^= word >> 29;
    word *= UINT64_C(0xbf58476d1ce4e5b9);
    return word ^ word >> 32;
}

void value_fill(void *bytes, size_t size, uint64_t seed)
{
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word = word_of(seed, at / 8);
        memcpy((char *)bytes + at, &word, size - at < 8 ? size - at : 8);
    }
}

bool value_is(const void *bytes, size_t size, uint64_t seed)
{
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word = word_of(seed, at / 8);
        if (memcmp((const char *)bytes + at, &word,
                   size - at < 8 ? size - at : 8) != 0) {
            return false;
        }
    }
    return true;
}

struct kvt_key key_of(const char *text)
{
    return (struct kvt_key){text, strlen(text)};
}

/* A batch of one, in every way the same. */
static int run_one(int (*run)(struct kvt_store *, struct kvt_object *, size_t,
                              struct kvt_batch_options *),
                   struct kvt_store *store, struct kvt_object *object)
{
    int rc = run(store, object, 1, NULL);
    if (rc < 0) {
        return rc;
    }
    assert_int_equal(rc, object->status == KVT_OK ? 1 : 0);
    return object->status;
}

int put_value(struct kvt_store *store, struct kvt_key key, uint64_t seed,
              size_t size)
{
    char *bytes = malloc(size + 1);
    assert_non_null(bytes);
    value_fill(bytes, size, seed);
    struct kvt_slice slice = {bytes, size, NULL};
    struct kvt_object object = {.key = key, .slices = &slice, .slice_count = 1};
    int status = run_one(kvt_batch_offload, store, &object);
    free(bytes);
    return status;
}

int get_value(struct kvt_store *store, struct kvt_key key, uint64_t seed,
              size_t size)
{
    char *bytes = malloc(size + 1);
    assert_non_null(bytes);
    memset(bytes, 0x5a, size + 1);
    struct kvt_slice slice = {bytes, size, NULL};
    struct kvt_object object = {.key = key, .slices = &slice, .slice_count = 1};
    int status = run_one(kvt_batch_load, store, &object);
    if (status == KVT_OK) {
        assert_int_equal(object.size, size);
        assert_true(value_is(bytes, size, seed));
    }
    free(bytes);
    return status;
}

bool has_key(struct kvt_store *store, struct kvt_key key)
{
    struct kvt_object object = {.key = key};
    int status = run_one(kvt_batch_exists, store, &object);
    assert_true(status == KVT_OK || status == KVT_ERR_OBJECT_NOT_FOUND);
    return status == KVT_OK;
}

int remove_key(struct kvt_store *store, struct kvt_key key)
{
    struct kvt_object object = {.key = key};
    return run_one(kvt_batch_remove, store, &object);
}

void name_key(struct named_key *named, const char *prefix, uint64_t number)
{
    snprintf(named->text, sizeof named->text, "%s%llu", prefix,
             (unsigned long long)number);
    named->key = key_of(named->text);
}

int put_named(struct kvt_store *store, const char *prefix, uint64_t number,
              uint64_t seed, size_t size)
{
    struct named_key named;
    name_key(&named, prefix, number);
    return put_value(store, named.key, seed, size);
}

int get_named(struct kvt_store *store, const char *prefix, uint64_t number,
              uint64_t seed, size_t size)
{
    struct named_key named;
    name_key(&named, prefix, number);
    return get_value(store, named.key, seed, size);
}

bool has_named(struct kvt_store *store, const char *prefix, uint64_t number)
{
    struct named_key named;
    name_key(&named, prefix, number);
    return has_key(store, named.key);
}

int remove_named(struct kvt_store *store, const char *prefix, uint64_t number)
{
    struct named_key named;
    name_key(&named, prefix, number);
    return remove_key(store, named.key);
}

struct kvt_stats stats_of(struct kvt_store *store)
{
    struct kvt_stats stats = {.size = sizeof stats};
    assert_int_equal(kvt_stats(store, &stats), KVT_OK);
    return stats;
}

/* Files ------------------------------------------------------------------- */

void store_path(const struct store_fixture *fixture, const char *name,
                char path[FILE_PATH_MAX])
{
    snprintf(path, FILE_PATH_MAX, "%s/%s", fixture->path, name);
}

void store_object_path(const struct store_fixture *fixture, struct kvt_key key,
                       char path[FILE_PATH_MAX])
{
    char name[KVT_KEYNAME_MAX + 1];
    assert_true(fixture->row->file_per_object);
    kvt_keyname_encode(key, KVT_KEYNAME_MAX, name);
    snprintf(path, FILE_PATH_MAX, "%s/%02x/%s", fixture->path,
             (unsigned)kvt_keyname_directory(key, 256), name);
}

bool file_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

unsigned char *file_read(const char *path, size_t *size)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    unsigned char *bytes = NULL;
    ssize_t got = -1;
    if (fd < 0) {
        fail_msg("%s: %s", path, strerror(errno));
    }
    for (int i = 0; i < 1000 && (i == 0 || got != st.st_size); i++) {
        assert_int_equal(fstat(fd, &st), 0); /* it may be growing */
        free(bytes);
        bytes = malloc((size_t)st.st_size + 1);
        assert_non_null(bytes);
        got = pread(fd, bytes, (size_t)st.st_size + 1, 0);
    }
    assert_int_equal(got, st.st_size);
    *size = (size_t)st.st_size;
    close(fd);
    return bytes;
}

void file_write(const char *path, const void *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        fail_msg("%s: %s", path, strerror(errno));
    }
    assert_int_equal(write(fd, bytes, size), (ssize_t)size);
    assert_int_equal(close(fd), 0);
}

void make_directory(const char *path)
{
    char copy[FILE_PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    for (char *at = copy + 1; at != NULL; at++) {
        at = strchr(at, '/');
        if (at != NULL) {
            *at = '\0';
        }
        if (mkdir(copy, 0777) != 0 && errno != EEXIST) {
            fail_msg("%s: %s", copy, strerror(errno));
        }
        if (at == NULL) {
            break;
        }
        *at = '/';
    }
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    remove(path);
    return 0;
}

void remove_tree(const char *path)
{
    nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS);
}

/* nftw has no argument for its callback. */
static _Thread_local uint64_t walk_sum;
static _Thread_local size_t walk_prefix;

static int add_blocks(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    (void)path;
    (void)ftw;
    if (type == FTW_F || type == FTW_D) {
        walk_sum += (uint64_t)st->st_blocks * 512;
    }
    return 0;
}

uint64_t disk_usage(const char *path)
{
    walk_sum = 0;
    nftw(path, add_blocks, 32, FTW_PHYS);
    return walk_sum;
}

static int add_digest(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    (void)ftw;
    const char *name = path + walk_prefix;
    uint64_t sum = kvt_hash64(name, strlen(name), (uint64_t)type);
    if (type == FTW_F && S_ISREG(st->st_mode)) {
        size_t size;
        unsigned char *bytes = file_read(path, &size);
        sum = kvt_hash64(bytes, size, sum);
        free(bytes);
    }
    walk_sum += sum; /* whatever the order */
    return 0;
}

uint64_t tree_digest(const char *path)
{
    walk_sum = 0;
    walk_prefix = strlen(path);
    nftw(path, add_digest, 32, FTW_PHYS);
    return walk_sum;
}

static int count_file(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    (void)path;
    (void)st;
    walk_sum += type == FTW_F && ftw->level == 1;
    return 0;
}

size_t files_in(const char *path)
{
    walk_sum = 0;
    nftw(path, count_file, 32, FTW_PHYS);
    return (size_t)walk_sum;
}

/* Other ------------------------------------------------------------------- */

unsigned test_scale(void)
{
    const char *text = getenv("KVT_TEST_SCALE");
    unsigned scale = text != NULL ? (unsigned)strtoul(text, NULL, 10) : 1;
    return scale > 0 ? scale : 1;
}

uint64_t random_next(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    return word_of(*state, 7);
}

int told_handler(const struct kvt_meta *metas, size_t count, void *arg)
{
    struct told *told = arg;
    told->calls++;
    for (size_t i = 0; i < count && told->count < 4096; i++) {
        size_t at = told->count++;
        size_t size = metas[i].key.size < sizeof told->metas[at].key
                          ? metas[i].key.size
                          : sizeof told->metas[at].key;
        memcpy(told->metas[at].key, metas[i].key.data, size);
        told->metas[at].key_size = metas[i].key.size;
        told->metas[at].size = metas[i].size;
        told->metas[at].place = metas[i].place;
    }
    return told->answer;
}

bool told_about(const struct told *told, const char *prefix, uint64_t number)
{
    struct named_key named;
    name_key(&named, prefix, number);
    for (size_t i = 0; i < told->count; i++) {
        if (told->metas[i].key_size == named.key.size &&
            memcmp(told->metas[i].key, named.text, named.key.size) == 0) {
            return true;
        }
    }
    return false;
}
