#include "support/reference.h"

#include "core/hash.h"

#include <fcntl.h>
#include <kvtier/kvtier.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

/* The reader, one process for all stores of a program --------------------- */

static FILE *to_reader;
static FILE *from_reader;

/* The other side is not to have our ends. */
static bool make_pipe(int ends[2], int ours)
{
    return pipe(ends) == 0 && fcntl(ends[ours], F_SETFD, FD_CLOEXEC) == 0;
}

static bool start_reader(void)
{
    char script[4096];
    char *const argv[] = {"/usr/bin/python3", script, NULL};
    const char *source = getenv("KVT_TEST_SOURCE");
    int to[2];
    int from[2];
    pid_t pid;
    posix_spawn_file_actions_t actions;
    if (to_reader != NULL) {
        return true;
    }
    snprintf(script, sizeof script, "%s/tests/reference/agree.py",
             source != NULL ? source : "../..");
    if (!make_pipe(to, 1) || !make_pipe(from, 0)) {
        return false;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to[0], 0);
    posix_spawn_file_actions_adddup2(&actions, from[1], 1);
    posix_spawn_file_actions_addclose(&actions, to[0]);
    posix_spawn_file_actions_addclose(&actions, from[1]);
    int rc = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(to[0]);
    close(from[1]);
    if (rc != 0) {
        return false;
    }
    to_reader = fdopen(to[1], "w");
    from_reader = fdopen(from[0], "r");
    return to_reader != NULL && from_reader != NULL;
}

static bool ask_reader(const char *path, char *answer, size_t size)
{
    if (!start_reader() || fprintf(to_reader, "%s\n", path) < 0 ||
        fflush(to_reader) != 0 ||
        fgets(answer, (int)size, from_reader) == NULL) {
        printf("no reader in Python (python3-xxhash; KVT_TEST_SOURCE is this "
               "tree): nothing is compared\n");
        return false;
    }
    answer[strcspn(answer, "\n")] = '\0';
    return true;
}

/* The library -------------------------------------------------------------- */

struct sums {
    struct kvt_store *store;
    uint64_t count;
    uint64_t sum;
    uint64_t unread;
};

static void add_object(struct sums *sums, const struct kvt_meta *meta)
{
    size_t size = (size_t)meta->size;
    struct kvt_slice slice = {malloc(size + 1), size, NULL};
    struct kvt_object object = {
        .key = meta->key, .slices = &slice, .slice_count = 1};
    if (slice.base != NULL &&
        kvt_batch_load(sums->store, &object, 1, NULL) == 1) {
        uint64_t seed = kvt_hash64(meta->key.data, meta->key.size, 0);
        sums->count++;
        sums->sum += kvt_hash64(slice.base, size, seed);
    } else {
        sums->unread++;
    }
    free(slice.base);
}

static int add_objects(const struct kvt_meta *metas, size_t count, void *arg)
{
    for (size_t i = 0; i < count; i++) {
        add_object(arg, &metas[i]);
    }
    return 0;
}

static bool open_store(const char *path, struct kvt_store **store)
{
    struct kvt_error err;
    struct kvt_config *config = kvt_config_open();
    bool good =
        config != NULL &&
        kvt_config_set(config, "backend", "bucket", &err) == KVT_OK &&
        kvt_config_set(config, "fs", "posix", &err) == KVT_OK &&
        kvt_config_set(config, "path", path, &err) == KVT_OK &&
        kvt_config_set(config, "total_size_limit", "1TiB", &err) == KVT_OK &&
        kvt_store_open(config, NULL, store, &err) == KVT_OK;
    if (!good) {
        printf("the library: %s\n", err.message);
    }
    kvt_config_close(config);
    return good;
}

static bool ask_library(const char *path, struct sums *sums)
{
    struct kvt_error err;
    if (!open_store(path, &sums->store)) {
        return false;
    }
    int rc = kvt_scan_meta(sums->store, add_objects, sums, &err);
    if (rc != KVT_OK) {
        printf("the library: %s\n", err.message);
    }
    kvt_store_close(sums->store);
    return rc == KVT_OK;
}

enum reference_answer reference_compare(const char *path)
{
    char answer[4096];
    struct sums sums = {0};
    unsigned long long count;
    unsigned long long sum;
    if (!ask_reader(path, answer, sizeof answer)) {
        return REFERENCE_MISSING;
    }
    if (sscanf(answer, "ok %llu %llx", &count, &sum) != 2) {
        printf("the reader: %s\n", answer);
        return REFERENCE_REFUSES;
    }
    if (!ask_library(path, &sums)) {
        return REFERENCE_REFUSES;
    }
    if (sums.unread > 0 || sums.count != count || sums.sum != sum) {
        printf("the reader has %llu objects (%llx), the library %llu (%llx), "
               "and %llu that it cannot load\n",
               count, sum, (unsigned long long)sums.count,
               (unsigned long long)sums.sum, (unsigned long long)sums.unread);
        return REFERENCE_DIFFERS;
    }
    return REFERENCE_AGREES;
}
