#include "arguments.h"
#include "cli.h"
#include "keys.h"
#include "report.h"
#include "session.h"

static const char help[] =
    "Usage: kvtier [OPTIONS] rm KEY...\n"
    "       kvtier [OPTIONS] rm --all --yes\n"
    "Removes objects. Prints nothing but errors.\n"
    "\n"
    "  --all   every object of the store\n"
    "  --yes   yes, really; --all needs it\n"
    "\n"
    "KEY is text; bytes outside 0x21..0x7e and % are written %xx, or all of "
    "it\n"
    "in hex digits with --hex. A KEY that begins with - stands behind --.\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 usage, 3 some were not there or could\n"
    "not be removed.\n";

static int remove_all(struct cli *cli)
{
    struct kvt_error error = {0};
    if (kvt_remove_all(cli->store, &error) != KVT_OK) {
        return cli_report_error(cli, &error, "");
    }
    return CLI_DONE;
}

static int remove_keys(struct cli *cli, struct cli_keys *keys)
{
    int result = kvt_batch_remove(cli->store, keys->objects, keys->count, NULL);
    int status = cli_batch_check(cli, result);
    if (status == CLI_DONE &&
        cli_objects_report(cli, keys->objects, keys->count, KVT_OK) > 0) {
        status = CLI_SOME_FAILED;
    }
    return status;
}

static int rm_run(struct cli *cli)
{
    bool all = cli_has(cli, "--all");
    if (all && cli->arg_count > 0) {
        return cli_usage(cli, cli->args[0], "give keys or --all",
                         "--all and keys exclude each other");
    }
    if (all && !cli_has(cli, "--yes")) {
        return cli_usage(cli, "--all", "add --yes if you mean it",
                         "this removes every object of the store");
    }
    if (!all && cli->arg_count == 0) {
        return cli_usage(cli, "", NULL, "no key was given");
    }
    struct cli_keys keys;
    int status = cli_keys_parse(cli, cli->args, cli->arg_count, &keys);
    if (status != CLI_DONE) {
        return status;
    }
    status = cli_store_begin(cli, CLI_WRITE);
    if (status == CLI_DONE) {
        status = all ? remove_all(cli) : remove_keys(cli, &keys);
    }
    cli_keys_free(&keys);
    return status;
}

static const struct cli_option options[] = {
    {"--all", false}, {"--yes", false}, {NULL, false}};

const struct cli_command cli_command_rm = {
    .name = "rm",
    .summary = "remove objects",
    .help = help,
    .options = options,
    .run = rm_run,
};
