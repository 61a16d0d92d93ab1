#include "put_tree.h"

#include "buffer.h"
#include "keys.h"
#include "memory.h"
#include "report.h"
#include "session.h"
#include "tally.h"
#include "tree_in.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum {
    BATCH_COUNT_MAX = 64,
    BATCH_BYTES_MAX = 64 * 1024 * 1024
};

struct put {
    struct cli *cli;
    struct cli_tally tally;
    uint64_t object_size_max;
    struct cli_buffer bytes; /* of the batch's values, one after the other */
    size_t count;
    char *paths[BATCH_COUNT_MAX]; /* the keys */
    size_t sizes[BATCH_COUNT_MAX];
};

/* Ends the walk: CLI_FAILED after a report, when nothing can be stored. */
static int batch_offload(struct put *put)
{
    struct kvt_object objects[BATCH_COUNT_MAX];
    struct kvt_slice slices[BATCH_COUNT_MAX];
    if (put->count == 0) {
        return 0;
    }
    memset(objects, 0, sizeof(objects));
    unsigned char *at = put->bytes.data;
    for (size_t i = 0; i < put->count; i++) {
        slices[i] = (struct kvt_slice){at, put->sizes[i], NULL};
        objects[i].key = (struct kvt_key){put->paths[i], strlen(put->paths[i])};
        objects[i].slices = &slices[i];
        objects[i].slice_count = 1;
        at += put->sizes[i];
    }
    int result = kvt_batch_offload(put->cli->store, objects, put->count, NULL);
    int status = cli_batch_check(put->cli, result);
    size_t failed = put->count;
    if (status == CLI_DONE) {
        failed = cli_objects_report(put->cli, objects, put->count, KVT_OK);
    }
    for (size_t i = 0; i < put->count; i++) {
        if (status == CLI_DONE && objects[i].status == KVT_OK) {
            put->tally.bytes += put->sizes[i];
        }
        free(put->paths[i]);
    }
    put->tally.failed += failed;
    put->tally.objects += put->count - failed;
    put->count = 0;
    put->bytes.size = 0;
    return status;
}

static int file_failed(const char *path, int errnum, void *arg)
{
    struct put *put = arg;
    cli_report_file(put->cli, path[0] != '\0' ? path : ".",
                    KVT_ERR_FILE_READ_FAIL, errnum);
    put->tally.failed++;
    return 0;
}

static int file_add(int fd, const char *path, void *arg)
{
    struct put *put = arg;
    struct stat info;
    size_t before = put->bytes.size;
    uint64_t expected = fstat(fd, &info) == 0 ? (uint64_t)info.st_size : 0;
    if (expected <= put->object_size_max &&
        before + expected > BATCH_BYTES_MAX) {
        int status = batch_offload(put);
        if (status != CLI_DONE) {
            return status;
        }
        before = 0;
    }
    int result = cli_buffer_read(&put->bytes, fd, put->object_size_max);
    if (result == -EFBIG) {
        struct kvt_key key = {path, strlen(path)};
        cli_report_too_large(put->cli, &key, put->object_size_max);
        put->tally.failed++;
        return 0;
    }
    if (result < 0) {
        return file_failed(path, -result, put);
    }
    put->sizes[put->count] = put->bytes.size - before;
    put->paths[put->count] = cli_text_copy(path);
    put->count++;
    if (put->count == BATCH_COUNT_MAX || put->bytes.size >= BATCH_BYTES_MAX) {
        return batch_offload(put);
    }
    return 0;
}

static void skip_store(struct put *put, struct cli_tree_visitor *visitor)
{
    struct kvt_stats stats = {.size = sizeof(stats)};
    struct stat info;
    if (kvt_stats(put->cli->store, &stats) == KVT_OK && stats.path != NULL &&
        stat(stats.path, &info) == 0) {
        visitor->skip_device = info.st_dev;
        visitor->skip_inode = info.st_ino;
    }
}

int cli_put_tree(struct cli *cli, const char *root)
{
    struct put put = {.cli = cli};
    struct cli_tree_visitor visitor = {
        .file = file_add, .failed = file_failed, .arg = &put};
    int status = cli_store_begin(cli, CLI_WRITE);
    if (status != CLI_DONE) {
        return status;
    }
    put.object_size_max = cli_object_size_max(cli);
    skip_store(&put, &visitor);
    int result = cli_tree_walk(root, &visitor);
    if (result < 0) {
        cli_buffer_free(&put.bytes);
        return cli_report_file(cli, root, KVT_ERR_FILE_OPEN_FAIL, result);
    }
    status = result == 0 ? batch_offload(&put) : result;
    cli_buffer_free(&put.bytes);
    return cli_tally_end(cli, &put.tally, status);
}
