#include "arguments.h"
#include "buffer.h"
#include "cli.h"
#include "keys.h"
#include "put_tree.h"
#include "report.h"
#include "session.h"
#include "tally.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "Usage: kvtier [OPTIONS] put KEY FILE\n"
    "       kvtier [OPTIONS] put --dir DIR\n"
    "Stores the bytes of FILE under KEY; FILE `-` is standard input.\n"
    "\n"
    "  --dir DIR   every regular file below DIR, each under its path relative\n"
    "              to DIR; symbolic links are not followed, and the store\n"
    "              itself is left out\n"
    "\n"
    "An object that exists is replaced. One may have at most "
    "`object_size_max`\n"
    "bytes ('kvtier config --explain object_size_max').\n"
    "With --dir, or with --json, prints objects, bytes and failed.\n"
    "\n"
    "KEY is text; bytes outside 0x21..0x7e and % are written %xx, or all of "
    "it\n"
    "in hex digits with --hex. A KEY that begins with - stands behind --.\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 usage, 3 some objects were not stored.\n";

/* Reads FILE into `buffer`. Returns CLI_DONE, CLI_FAILED or, where the object
 * is too large, CLI_SOME_FAILED, after a report. */
static int file_read(struct cli *cli, const char *path,
                     const struct kvt_key *key, struct cli_buffer *buffer)
{
    uint64_t limit = cli_object_size_max(cli);
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return cli_report_file(cli, path, KVT_ERR_FILE_OPEN_FAIL, errno);
    }
    int result = cli_buffer_read(buffer, fd, limit);
    if (!is_stdin) {
        close(fd);
    }
    if (result == -EFBIG) {
        cli_report_too_large(cli, key, limit);
        return CLI_SOME_FAILED;
    }
    if (result < 0) {
        return cli_report_file(cli, is_stdin ? "standard input" : path,
                               KVT_ERR_FILE_READ_FAIL, result);
    }
    return CLI_DONE;
}

static int offload_one(struct cli *cli, struct kvt_object *object,
                       const struct cli_buffer *buffer)
{
    struct kvt_slice slice = {buffer->data, buffer->size, NULL};
    object->slices = &slice;
    object->slice_count = 1;
    int result = kvt_batch_offload(cli->store, object, 1, NULL);
    int status = cli_batch_check(cli, result);
    if (status == CLI_DONE && cli_objects_report(cli, object, 1, KVT_OK) > 0) {
        status = CLI_SOME_FAILED;
    }
    return status;
}

static int put_file(struct cli *cli)
{
    struct cli_keys keys;
    struct cli_buffer buffer = {0};
    int status = cli_keys_parse(cli, cli->args, 1, &keys);
    if (status != CLI_DONE) {
        return status;
    }
    status = cli_store_begin(cli, CLI_WRITE);
    if (status == CLI_DONE) {
        status = file_read(cli, cli->args[1], &keys.objects[0].key, &buffer);
    }
    bool read = status == CLI_DONE;
    if (read) {
        status = offload_one(cli, &keys.objects[0], &buffer);
    }
    if (cli->json && (read || status == CLI_SOME_FAILED)) {
        struct cli_tally tally = {0};
        tally.objects = status == CLI_DONE;
        tally.bytes = status == CLI_DONE ? buffer.size : 0;
        tally.failed = status != CLI_DONE;
        status = cli_tally_end(cli, &tally, status);
    }
    cli_buffer_free(&buffer);
    cli_keys_free(&keys);
    return status;
}

static int put_run(struct cli *cli)
{
    if (cli_has(cli, "--dir")) {
        if (cli->arg_count > 0) {
            return cli_usage(cli, cli->args[0], "give a key or --dir",
                             "--dir takes no key");
        }
        return cli_put_tree(cli, cli_value(cli, "--dir"));
    }
    if (cli->arg_count != 2) {
        return cli_usage(cli, "", NULL, "a key and a file are needed");
    }
    return put_file(cli);
}

static const struct cli_option options[] = {{"--dir", true}, {NULL, false}};

const struct cli_command cli_command_put = {
    .name = "put",
    .summary = "store a file, standard input, or all files of a directory",
    .help = help,
    .options = options,
    .run = put_run,
};
