#include "arguments.h"
#include "buffer.h"
#include "cli.h"
#include "fetch.h"
#include "file_out.h"
#include "get_tree.h"
#include "keys.h"
#include "output.h"
#include "report.h"
#include "session.h"
#include "tally.h"

#include <string.h>

static const char help[] =
    "Usage: kvtier [OPTIONS] get KEY [FILE]\n"
    "       kvtier [OPTIONS] get --dir DIR [KEY...]\n"
    "Loads the object KEY to standard output or to FILE.\n"
    "\n"
    "  --dir DIR   every object, or each KEY, to a file below DIR of the "
    "key's\n"
    "              name; directories are made. A key that is no such name\n"
    "              (absolute, with `..`, `.` or empty parts, with a NUL) "
    "fails.\n"
    "\n"
    "Nothing is written before the whole object was read and checked; files\n"
    "appear whole or not at all.\n"
    "Opens the store read-only, also while another process owns it.\n"
    "With --dir, or with FILE and --json, prints objects, bytes and failed.\n"
    "\n"
    "KEY is text; bytes outside 0x21..0x7e and % are written %xx, or all of "
    "it\n"
    "in hex digits with --hex. A KEY that begins with - stands behind --.\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 usage, 3 some objects are not there or\n"
    "could not be read.\n";

static int object_write(struct cli *cli, const char *path,
                        const struct cli_buffer *buffer)
{
    if (path == NULL) {
        int failed = cli_out_bytes(cli, buffer->data, buffer->size);
        return failed == 0 ? CLI_DONE : CLI_FAILED;
    }
    int result = cli_file_write(path, buffer->data, buffer->size);
    if (result < 0) {
        return cli_report_file(cli, path, KVT_ERR_FILE_WRITE_FAIL, result);
    }
    return CLI_DONE;
}

static int get_one(struct cli *cli, struct kvt_object *object, const char *path)
{
    struct cli_buffer buffer = {0};
    int status = cli_fetch(cli, object, &buffer);
    if (status == CLI_DONE && cli_objects_report(cli, object, 1, KVT_OK) > 0) {
        status = CLI_SOME_FAILED;
    }
    if (status == CLI_DONE) {
        status = object_write(cli, path, &buffer);
    }
    if (cli->json && path != NULL && status != CLI_FAILED) {
        struct cli_tally tally = {0};
        tally.objects = status == CLI_DONE;
        tally.bytes = status == CLI_DONE ? buffer.size : 0;
        tally.failed = status != CLI_DONE;
        status = cli_tally_end(cli, &tally, status);
    }
    cli_buffer_free(&buffer);
    return status;
}

static int get_file(struct cli *cli)
{
    struct cli_keys keys;
    const char *path = cli->arg_count > 1 ? cli->args[1] : NULL;
    if (path != NULL && strcmp(path, "-") == 0) {
        path = NULL;
    }
    int status = cli_keys_parse(cli, cli->args, 1, &keys);
    if (status != CLI_DONE) {
        return status;
    }
    status = cli_store_begin(cli, CLI_LOOK);
    if (status == CLI_DONE) {
        status = get_one(cli, &keys.objects[0], path);
    }
    cli_keys_free(&keys);
    return status;
}

static int get_run(struct cli *cli)
{
    if (cli_has(cli, "--dir")) {
        return cli_get_tree(cli, cli_value(cli, "--dir"));
    }
    if (cli->arg_count < 1 || cli->arg_count > 2) {
        return cli_usage(cli, "", NULL, "a key is needed, and at most a file");
    }
    return get_file(cli);
}

static const struct cli_option options[] = {{"--dir", true}, {NULL, false}};

const struct cli_command cli_command_get = {
    .name = "get",
    .summary = "load objects to standard output or to files",
    .help = help,
    .options = options,
    .run = get_run,
};
