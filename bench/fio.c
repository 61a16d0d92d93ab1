#include "fio.h"

#include "command.h"

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

/* For fio, to which a colon ends a name. */
static int escape(struct bench *bench, const char *path, char *text,
                  size_t room)
{
    size_t used = 0;
    for (; *path != '\0' && used + 3 < room; path++) {
        if (*path == ':' || *path == '\\') {
            text[used++] = '\\';
        }
        text[used++] = *path;
    }
    text[used] = '\0';
    return *path == '\0' ? 0 : bench_fail(bench, "too long a path for fio");
}

/* All paths between one pair of quotes. */
static int put_paths(struct bench *bench, const struct fio_job *job, char *text,
                     size_t room)
{
    char paths[900];
    size_t used = 0;
    for (size_t i = 0; i <= job->more_count; i++) {
        const char *path = i == 0 ? job->path : job->more[i - 1];
        if (i > 0) {
            paths[used++] = ':';
        }
        if (escape(bench, path, paths + used, sizeof paths - used - 1) != 0) {
            return -1;
        }
        used += strlen(paths + used);
    }
    return command_quote(bench, paths, text, room);
}

/* What only some jobs have. */
static void put_extras(const struct fio_job *job, char *text, size_t room)
{
    size_t used = 0;
    text[0] = '\0';
    if (job->batch) {
        used += (size_t)snprintf(text + used, room - used,
                                 "--iodepth_batch_submit=%u "
                                 "--iodepth_batch_complete_min=%u ",
                                 job->depth, job->depth);
    }
    if (job->more_count > 0) {
        used += (size_t)snprintf(text + used, room - used,
                                 "--file_service_type=random ");
    }
    if (job->total > 0) {
        used += (size_t)snprintf(text + used, room - used,
                                 "--io_size=%" PRIu64 " ", job->total);
    }
    if (job->random) { /* it takes multiples of the size otherwise */
        used +=
            (size_t)snprintf(text + used, room - used, "--blockalign=4096 ");
    }
    if (job->sync_every > 0) {
        snprintf(text + used, room - used, "--fdatasync=%u ", job->sync_every);
    }
}

int fio_run(struct bench *bench, const struct fio_job *job,
            struct bench_result *result)
{
    static char text[1 << 20];
    const struct bench_row *row = bench->row;
    char quoted[910];
    char command[1800];
    char extras[200];
    if (put_paths(bench, job, quoted, sizeof quoted) != 0) {
        return -1;
    }
    put_extras(job, extras, sizeof extras);
    /* mmap: whole pages, as ours; fio's own choice starts inside of one, which
     * halves its speed at 1 MiB */
    snprintf(command, sizeof command,
             "fio --name=other --filename=%s --rw=%s%s --bs=%" PRIu64
             " --size=%" PRIu64 " --offset_increment=%" PRIu64
             " --numjobs=%u --thread --group_reporting --ioengine=%s "
             "--iodepth=%u %s--direct=%d --loops=%u --invalidate=0 "
             "%s --gtod_reduce=1 --mem=mmap --output-format=json",
             quoted, job->random ? "rand" : "",
             row->op == KVT_FS_WRITE ? "write" : "read",
             job->size > 0 ? job->size : row->size, job->region, job->region,
             job->jobs, job->engine, job->depth, extras,
             row->cache == BENCH_DIRECT, job->loops,
             job->fresh ? "--fallocate=native"
                        : "--overwrite=1 --fallocate=none");
    if (command_run(bench, command, text, sizeof text, result) != 0) {
        return strstr(text, "fio: not found") != NULL
                   ? bench_fail(bench, "fio is not installed; run: "
                                       "scripts/setup bench")
                   : bench_fail(bench, "fio: %.200s", text);
    }
    return take_figures(bench, text, result);
}
