/* What tests of a whole store share: an empty directory a test, a store on
 * it for every row of {backend, adapter}, and values that are a function of
 * a number, so that wrong bytes show. */
#ifndef KVT_TESTS_STORE_FIXTURE_H
#define KVT_TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <kvtier/kvtier.h>

/* One combination that every contract holds for. */
struct store_row {
    const char *backend;
    const char *fs;
    bool file_per_object; /* in the operating system's file system, where
                             store_object_path finds the file of a key */
    bool owned;           /* by one process, which knows all that is there:
                             its limits are exact, its order of eviction
                             is that of uses */
    const char *facts;    /* of mem, or null */
};

struct store_fixture {
    const struct store_row *row;
    char path[4096]; /* of the store, absolute; not there yet */
    struct kvt_config *config;
    struct kvt_handlers handlers;
    struct kvt_store *store;
    bool spoilt; /* what is left behind need not be read as a store */
};

/* Do objects share files? Then room comes back by whole files, what is written
 * takes some beside the values, and an object is there when the complete
 * handler has agreed. */
bool store_is_log(const struct store_fixture *fixture);

/* cmocka's setup and teardown: `*state` is a struct store_fixture *. What is
 * left of a log on disk is read by the reader in Python (support/reference.h),
 * and the test fails when the library finds something else there. The
 * directory lies in KVT_TEST_SCRATCH or the current directory; for the fast
 * ones, which are not about a disk, in memory where there is such a place. */
int store_setup(void **state);
int store_setup_fast(void **state);
int store_teardown(void **state);

#define store_test(f)                                                          \
    cmocka_unit_test_setup_teardown(f, store_setup, store_teardown)
#define store_test_fast(f)                                                     \
    cmocka_unit_test_setup_teardown(f, store_setup_fast, store_teardown)

/* Runs the group once a row; what main returns. KVT_TEST_ROW: only the rows
 * whose title has that text. */
int store_rows_run(const char *name, const struct CMUnitTest *tests,
                   size_t count);
/* Only for the rows with file_per_object. */
int store_file_rows_run(const char *name, const struct CMUnitTest *tests,
                        size_t count);
/* Only for the owned rows, and those of them with file_per_object. */
int store_owned_rows_run(const char *name, const struct CMUnitTest *tests,
                         size_t count);
int store_owned_file_rows_run(const char *name, const struct CMUnitTest *tests,
                              size_t count);
/* Only for rows in the operating system's file system, and those of them with
 * an owner; which of their tests are about files of single objects, they ask
 * the row. */
int store_disk_rows_run(const char *name, const struct CMUnitTest *tests,
                        size_t count);
int store_owned_disk_rows_run(const char *name, const struct CMUnitTest *tests,
                              size_t count);
/* Only for rows of objects that share files, and those of them on disk. */
int store_log_rows_run(const char *name, const struct CMUnitTest *tests,
                       size_t count);
int store_log_disk_rows_run(const char *name, const struct CMUnitTest *tests,
                            size_t count);
/* For other rows: what file systems are like that this machine may lack. */
int store_fact_rows_run(const char *name, const struct CMUnitTest *tests,
                        size_t count);
/* For a row that only one program has. */
/* Rows with an owner that evicts single objects. */
int store_exact_rows_run(const char *name, const struct CMUnitTest *tests,
                         size_t count);
/* Rows in which each object is a file of its own. */
int store_single_rows_run(const char *name, const struct CMUnitTest *tests,
                          size_t count);
/* Fact rows without an owner. */
int store_shared_fact_rows_run(const char *name, const struct CMUnitTest *tests,
                               size_t count);
int store_row_run(const struct store_row *row, const char *name,
                  const struct CMUnitTest *tests, size_t count);

/* Sets one value, which must be accepted. `fs` is that of the backend. */
void store_set(struct store_fixture *fixture, const char *key,
               const char *value);
void store_set_number(struct store_fixture *fixture, const char *key,
                      uint64_t value);
/* Opens, and must succeed. */
void store_start(struct store_fixture *fixture);
void store_stop(struct store_fixture *fixture);
void store_restart(struct store_fixture *fixture);
/* Opens another store on the same path; the code. */
int store_open_other(struct store_fixture *fixture, bool read_only,
                     struct kvt_store **other, struct kvt_error *err);

/* Bytes of value number `seed`: two seeds never share eight bytes at one
 * offset. */
void value_fill(void *bytes, size_t size, uint64_t seed);
bool value_is(const void *bytes, size_t size, uint64_t seed);

struct kvt_key key_of(const char *text);

/* One object; the status of it (or the call's negative code). */
int put_value(struct kvt_store *store, struct kvt_key key, uint64_t seed,
              size_t size);
/* The status; KVT_OK only when the value is that of `seed` and `size`. A
 * success with other bytes fails the test. */
int get_value(struct kvt_store *store, struct kvt_key key, uint64_t seed,
              size_t size);
bool has_key(struct kvt_store *store, struct kvt_key key);
int remove_key(struct kvt_store *store, struct kvt_key key);

/* "prefix" and a number as text. */
struct named_key {
    char text[64];
    struct kvt_key key;
};
void name_key(struct named_key *named, const char *prefix, uint64_t number);
int put_named(struct kvt_store *store, const char *prefix, uint64_t number,
              uint64_t seed, size_t size);
int get_named(struct kvt_store *store, const char *prefix, uint64_t number,
              uint64_t seed, size_t size);
bool has_named(struct kvt_store *store, const char *prefix, uint64_t number);
int remove_named(struct kvt_store *store, const char *prefix, uint64_t number);

struct kvt_stats stats_of(struct kvt_store *store);

/* Files ------------------------------------------------------------------- */

#define FILE_PATH_MAX 8192
/* The file of a key (rows with file_per_object). */
void store_object_path(const struct store_fixture *fixture, struct kvt_key key,
                       char path[FILE_PATH_MAX]);
/* "<store>/<name>" */
void store_path(const struct store_fixture *fixture, const char *name,
                char path[FILE_PATH_MAX]);
bool file_exists(const char *path);
/* Returns the bytes (free with free) and their size. */
unsigned char *file_read(const char *path, size_t *size);
void file_write(const char *path, const void *bytes, size_t size);
/* Makes a directory and its parents. */
void make_directory(const char *path);
void remove_tree(const char *path);
/* Bytes allocated below a directory, directories included. */
uint64_t disk_usage(const char *path);
/* A number that changes with any name, size or byte below a directory. */
uint64_t tree_digest(const char *path);
/* Files (not directories) in one directory; 0 when it is missing. */
size_t files_in(const char *path);

/* Other ------------------------------------------------------------------- */

/* KVT_TEST_SCALE, or 1. */
unsigned test_scale(void);
uint64_t random_next(uint64_t *state);

/* A handler that counts and keeps what it was told. */
struct told {
    int answer; /* what the handler returns */
    size_t calls;
    size_t count;
    struct {
        char key[64];
        size_t key_size;
        uint64_t size;
        struct kvt_place place;
    } metas[4096];
};
int told_handler(const struct kvt_meta *metas, size_t count, void *arg);
bool told_about(const struct told *told, const char *prefix, uint64_t number);

#endif
