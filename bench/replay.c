#define _DEFAULT_SOURCE
#include "replay.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Ranges ------------------------------------------------------------------- */

int ranges_add(struct ranges *ranges, uint64_t file, uint64_t start,
               uint64_t size)
{
    struct range *last =
        ranges->count > 0 ? &ranges->ranges[ranges->count - 1] : NULL;
    if (last != NULL && last->file == file && last->end == start) {
        last->end += size;
        return 0;
    }
    if (ranges->count == ranges->capacity) {
        size_t capacity = ranges->capacity * 2 + 64;
        struct range *more = realloc(ranges->ranges, capacity * sizeof more[0]);
        if (more == NULL) {
            return -1;
        }
        ranges->ranges = more;
        ranges->capacity = capacity;
    }
    ranges->ranges[ranges->count++] = (struct range){file, start, start + size};
    return 0;
}

void ranges_free(struct ranges *ranges)
{
    free(ranges->ranges);
}

/* The first range that is of a later file, or ends behind `offset`. */
static size_t range_at(const struct ranges *ranges, uint64_t file,
                       uint64_t offset)
{
    size_t low = 0;
    size_t high = ranges->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct range *range = &ranges->ranges[middle];
        if (range->file < file ||
            (range->file == file && range->end <= offset)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static uint64_t overlap(const struct ranges *ranges, uint64_t file,
                        uint64_t start, uint64_t end)
{
    uint64_t bytes = 0;
    for (size_t i = range_at(ranges, file, start); i < ranges->count; i++) {
        const struct range *range = &ranges->ranges[i];
        if (range->file != file || range->start >= end) {
            break;
        }
        bytes += (range->end < end ? range->end : end) -
                 (range->start > start ? range->start : start);
    }
    return bytes;
}

/* Reads -------------------------------------------------------------------- */

/* Of what is read from a file's end, the trace has the distance to it as the
 * offset: here it is always as much as is asked for. */
static int add_read(struct bench *bench, struct replay *replay,
                    const char *root, const cJSON *line)
{
    const char *path =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(line, "path"));
    const cJSON *offset = cJSON_GetObjectItemCaseSensitive(line, "offset");
    const cJSON *size = cJSON_GetObjectItemCaseSensitive(line, "size");
    const cJSON *got = cJSON_GetObjectItemCaseSensitive(line, "result");
    if (path == NULL || !cJSON_IsNumber(offset) || !cJSON_IsNumber(got)) {
        return bench_fail(bench, "the trace is not one");
    }
    if (got->valuedouble <= 0) {
        return 0;
    }
    if (replay->count == replay->capacity) {
        size_t capacity = replay->capacity * 2 + 64;
        struct replay_read *reads =
            realloc(replay->reads, capacity * sizeof reads[0]);
        if (reads == NULL) {
            return bench_fail(bench, "no memory");
        }
        replay->reads = reads;
        replay->capacity = capacity;
    }
    char *whole = malloc(strlen(root) + strlen(path) + 2);
    if (whole == NULL) {
        return bench_fail(bench, "no memory");
    }
    sprintf(whole, "%s/%s", root, path);
    uint64_t start = (uint64_t)offset->valuedouble;
    struct stat info;
    if (cJSON_IsNumber(size) && size->valuedouble == offset->valuedouble &&
        stat(whole, &info) == 0) {
        start = (uint64_t)info.st_size - (uint64_t)got->valuedouble;
    }
    replay->reads[replay->count++] =
        (struct replay_read){whole, start, (size_t)got->valuedouble};
    replay->bytes += (uint64_t)got->valuedouble;
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const struct replay_read *left = a;
    const struct replay_read *right = b;
    int order = strcmp(left->path, right->path);
    return order != 0 ? order
                      : (left->offset > right->offset) -
                            (left->offset < right->offset);
}

int replay_learn(struct bench *bench, struct replay *replay, const char *root,
                 const char *trace)
{
    static char text[65536];
    FILE *file = fopen(trace, "r");
    int rc = 0;
    if (file == NULL) {
        return bench_fail(bench, "%s: %s", trace, strerror(errno));
    }
    while (rc == 0 && fgets(text, sizeof text, file) != NULL) {
        cJSON *line = cJSON_Parse(text);
        const char *op =
            cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(line, "op"));
        if (op != NULL &&
            (strcmp(op, "read") == 0 || strcmp(op, "fetch") == 0)) {
            rc = add_read(bench, replay, root, line);
        }
        cJSON_Delete(line);
    }
    fclose(file);
    if (rc == 0 && replay->count == 0) {
        return bench_fail(bench, "the trace has no reads");
    }
    qsort(replay->reads, replay->count, sizeof replay->reads[0], by_place);
    return rc;
}

void replay_free(struct replay *replay)
{
    for (size_t i = 0; i < replay->count; i++) {
        free(replay->reads[i].path);
    }
    free(replay->reads);
}

uint64_t replay_overlap(const struct replay *replay,
                        const struct ranges *ranges)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < replay->count; i++) {
        const struct replay_read *read = &replay->reads[i];
        const char *name = strrchr(read->path, '/') + 1;
        char *end;
        uint64_t number = strtoull(name, &end, 16);
        if (strcmp(end, ".kvb") == 0) {
            bytes += overlap(ranges, number, read->offset,
                             read->offset + read->size);
        }
    }
    return bytes;
}

/* The same reads ----------------------------------------------------------- */

static int read_all(struct bench *bench, const struct replay *replay,
                    char *memory, size_t room, size_t *touched)
{
    int fd = -1;
    size_t at = 0;
    int rc = 0;
    for (size_t i = 0; i < replay->count && rc == 0; i++) {
        const struct replay_read *read = &replay->reads[i];
        if (i == 0 || strcmp(read->path, replay->reads[i - 1].path) != 0) {
            if (fd >= 0) {
                close(fd);
            }
            fd = open(read->path, O_RDONLY | O_CLOEXEC);
        }
        if (at + read->size > room) { /* used once more */
            at = 0;
        }
        if (fd < 0 || pread(fd, memory + at, read->size, (off_t)read->offset) !=
                          (ssize_t)read->size) {
            rc = bench_fail(bench, "%s: %s", read->path, strerror(errno));
        }
        at += read->size;
        *touched = at > *touched ? at : *touched;
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

int replay_run(struct bench *bench, const struct replay *replay,
               struct bench_result *result)
{
    size_t room = (size_t)replay->memory;
    size_t touched = 0;
    for (size_t i = 0; i < replay->count; i++) {
        if (replay->reads[i].size > room) {
            room = replay->reads[i].size;
        }
    }
    struct bench_clock start = bench_start();
    char *memory = mmap(NULL, room, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return bench_fail(bench, "no memory");
    }
    int rc = read_all(bench, replay, memory, room, &touched);
    memset(memory + touched, 1, room - touched);
    bench_stop(start, result);
    munmap(memory, room);
    return rc;
}
