#include "cli.h"
#include "figures.h"
#include "json_out.h"
#include "report.h"
#include "session.h"

static const char help[] =
    "Usage: kvtier [OPTIONS] stat\n"
    "Shows the store's figures: objects, bytes, limits, settings in effect.\n"
    "\n"
    "Prints lines of `name  value`; with --json one object.\n"
    "  object_bytes     of the objects that can be loaded\n"
    "  value_bytes      of all values on disk, also of removed objects\n"
    "  allocated_bytes  all that counts against limit_bytes\n"
    "  effective        what runs, which may be less than what was asked for:\n"
    "                   fallback_reason says why\n"
    "  recovery         what opening found and cleaned up\n"
    "  health           state, since (Unix time in ms), last_error (errno)\n"
    "Counters (evicted_objects, checksum_misses, adapter) are of this "
    "process.\n"
    "Those of another command are written by --stats FILE.\n"
    "Opens the store read-only, also while another process owns it.\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 usage.\n";

static int stat_run(struct cli *cli)
{
    if (cli->arg_count > 0) {
        return cli_usage(cli, cli->args[0], NULL, "stat takes no arguments");
    }
    int status = cli_store_begin(cli, CLI_LOOK);
    if (status != CLI_DONE) {
        return status;
    }
    struct kvt_stats stats = {.size = sizeof(stats)};
    int result = kvt_stats(cli->store, &stats);
    if (result != KVT_OK) {
        struct cli_failure failure = {.code = result, .subject = ""};
        cli_report(cli, &failure);
        return CLI_FAILED;
    }
    struct cJSON *figures = cli_figures_json(&stats);
    return cli_json_print(cli, figures) == 0 ? CLI_DONE : CLI_FAILED;
}

const struct cli_command cli_command_stat = {
    .name = "stat",
    .summary = "show the store's figures",
    .help = help,
    .run = stat_run,
};
