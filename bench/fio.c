#define _DEFAULT_SOURCE /* popen */
#include "fio.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double number(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

static int take_figures(struct bench *bench, const char *text,
                        struct bench_result *result)
{
    const char *start = strchr(text, '{'); /* warnings come first */
    cJSON *root = start != NULL ? cJSON_Parse(start) : NULL;
    const cJSON *jobs = cJSON_GetObjectItemCaseSensitive(root, "jobs");
    const cJSON *job = cJSON_GetArrayItem(jobs, 0);
    bool write = bench->row->op == KVT_FS_WRITE;
    const cJSON *figures =
        cJSON_GetObjectItemCaseSensitive(job, write ? "write" : "read");
    result->seconds = number(figures, "runtime") / 1000;
    result->bytes = (uint64_t)number(figures, "io_bytes");
    result->operations = (uint64_t)number(figures, "total_ios");
    double wall = number(job, "job_runtime") / 1000;
    result->cpu_seconds =
        (number(job, "usr_cpu") + number(job, "sys_cpu")) / 100 * wall;
    bool failed = number(job, "error") != 0 || result->seconds <= 0;
    cJSON_Delete(root);
    return failed ? bench_fail(bench, "fio: %.200s", text) : 0;
}

/* For the shell, and for fio, to which a colon ends a name. */
static int quote(struct bench *bench, const char *path, char *text, size_t room)
{
    size_t used = 0;
    for (; *path != '\0' && used + 4 < room; path++) {
        if (*path == '\'' || *path == '\n') {
            break;
        }
        if (*path == ':' || *path == '\\') {
            text[used++] = '\\';
        }
        text[used++] = *path;
    }
    text[used] = '\0';
    return *path == '\0'
               ? 0
               : bench_fail(bench, "fio cannot be given the path %s", path);
}

int fio_run(struct bench *bench, const struct fio_job *job,
            struct bench_result *result)
{
    static char text[1 << 20];
    const struct bench_row *row = bench->row;
    char path[512];
    if (quote(bench, job->path, path, sizeof path) != 0) {
        return -1;
    }
    /* mmap: whole pages, as ours; fio's own choice starts inside of one, which
     * halves its speed at 1 MiB */
    snprintf(bench->other_command, sizeof bench->other_command,
             "fio --name=other --filename='%s' --rw=%s --bs=%" PRIu64
             " --size=%" PRIu64 " --offset_increment=%" PRIu64
             " --numjobs=%u --thread --group_reporting --ioengine=%s "
             "--iodepth=%u --direct=%d --loops=%u --invalidate=0 --overwrite=1 "
             "--fallocate=none --gtod_reduce=1 --mem=mmap --output-format=json",
             path, row->op == KVT_FS_WRITE ? "write" : "read", row->size,
             job->region, job->region, job->jobs, job->engine, job->depth,
             row->cache == BENCH_DIRECT, job->loops);
    char command[1100];
    snprintf(command, sizeof command, "%s 2>&1", bench->other_command);
    FILE *pipe = popen(command, "r");
    if (pipe == NULL) {
        return bench_fail(bench, "fio cannot be run");
    }
    size_t size = fread(text, 1, sizeof text - 1, pipe);
    text[size] = '\0';
    int status = pclose(pipe);
    if (status != 0 && strstr(text, "not found") != NULL) {
        return bench_fail(bench,
                          "fio is not installed; run: scripts/setup bench");
    }
    return take_figures(bench, text, result);
}
