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

int fio_run(struct bench *bench, const struct fio_job *job,
            struct bench_result *result)
{
    static char text[1 << 20];
    const struct bench_row *row = bench->row;
    char path[512];
    char quoted[520];
    char command[1000];
    char batch[100] = "";
    if (escape(bench, job->path, path, sizeof path) != 0 ||
        command_quote(bench, path, quoted, sizeof quoted) != 0) {
        return -1;
    }
    if (job->batch) {
        snprintf(batch, sizeof batch,
                 "--iodepth_batch_submit=%u --iodepth_batch_complete_min=%u ",
                 job->depth, job->depth);
    }
    /* mmap: whole pages, as ours; fio's own choice starts inside of one, which
     * halves its speed at 1 MiB */
    snprintf(command, sizeof command,
             "fio --name=other --filename=%s --rw=%s --bs=%" PRIu64
             " --size=%" PRIu64 " --offset_increment=%" PRIu64
             " --numjobs=%u --thread --group_reporting --ioengine=%s "
             "--iodepth=%u %s--direct=%d --loops=%u --invalidate=0 "
             "--overwrite=1 --fallocate=none --gtod_reduce=1 --mem=mmap "
             "--output-format=json",
             quoted, row->op == KVT_FS_WRITE ? "write" : "read", row->size,
             job->region, job->region, job->jobs, job->engine, job->depth,
             batch, row->cache == BENCH_DIRECT, job->loops);
    if (command_run(bench, command, text, sizeof text, result) != 0) {
        return strstr(text, "fio: not found") != NULL
                   ? bench_fail(bench, "fio is not installed; run: "
                                       "scripts/setup bench")
                   : bench_fail(bench, "fio: %.200s", text);
    }
    return take_figures(bench, text, result);
}
