#include "backend/distributed_temp.h"

#include "core/clock.h"
#include "core/hash.h"
#include "core/process.h"
#include "core/random.h"

#include <stdio.h>
#include <string.h>

static const char prefix[] = "%tmp-";
static const char hex[] = "0123456789abcdef";

enum {
    PREFIX_SIZE = sizeof prefix - 1,
    WORD_SIZE = 16
};

int kvt_dist_temps_init(struct dist_temps *temps, uint64_t grace_s)
{
    char text[KVT_PROCESS_TEXT_MAX];
    kvt_process_describe(text);
    temps->writer = kvt_hash64(text, strlen(text), 0);
    temps->grace_ns = (int64_t)grace_s * 1000000000;
    return kvt_random(&temps->opening, sizeof temps->opening);
}

void kvt_dist_temp_path(struct dist_temps *temps, const char *directory,
                        char path[DIST_TEMP_PATH_MAX])
{
    uint64_t number = __atomic_fetch_add(&temps->number, 1, __ATOMIC_RELAXED);
    snprintf(path, DIST_TEMP_PATH_MAX, "%.8s/%s%016llx-%016llx-%llx", directory,
             prefix, (unsigned long long)temps->writer,
             (unsigned long long)temps->opening, (unsigned long long)number);
}

bool kvt_dist_is_temp(const char *name)
{
    if (strncmp(name, prefix, PREFIX_SIZE) != 0) {
        return false;
    }
    const char *at = name + PREFIX_SIZE;
    for (int i = 0; i < 2; i++) {
        if (strspn(at, hex) != WORD_SIZE || at[WORD_SIZE] != '-') {
            return false;
        }
        at += WORD_SIZE + 1;
    }
    size_t size = strlen(at);
    return size > 0 && size <= WORD_SIZE && strspn(at, hex) == size;
}

static bool is_own(const struct dist_temps *temps, const char *name)
{
    char own[PREFIX_SIZE + 2 * (WORD_SIZE + 1) + 1];
    snprintf(own, sizeof own, "%s%016llx-%016llx-", prefix,
             (unsigned long long)temps->writer,
             (unsigned long long)temps->opening);
    return strncmp(name, own, sizeof own - 1) == 0;
}

void kvt_dist_temp_collect(struct dist_temps *temps, struct kvt_fs *fs,
                           const char *directory, const char *name,
                           int64_t modified_ns)
{
    char path[DIST_TEMP_PATH_MAX];
    int64_t now_ns = (int64_t)kvt_clock_unix_ms() * 1000000;
    if (temps->grace_ns == 0 || now_ns - modified_ns < temps->grace_ns ||
        is_own(temps, name)) {
        return;
    }
    snprintf(path, sizeof path, "%.8s/%.64s", directory, name);
    struct kvt_fs_elem remove = {.op = KVT_FS_REMOVE, .path = path};
    if (kvt_fs_run(fs, &remove) == 0) {
        __atomic_fetch_add(&temps->removed, 1, __ATOMIC_RELAXED);
    }
}
