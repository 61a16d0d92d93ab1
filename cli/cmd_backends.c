#include "cli.h"
#include "json_out.h"
#include "output.h"
#include "report.h"
#include "session.h"

static const char help[] =
    "Usage: kvtier [OPTIONS] backends\n"
    "Lists the backends, the file system adapters and the wrappers; for one\n"
    "that is not available, why, and how to get it.\n"
    "\n"
    "  backend   how objects become files: for --backend\n"
    "  fs        how bytes reach a file system: for --fs\n"
    "  wrapper   stands in front of an adapter, as in --fs trace:posix\n"
    "\n"
    "With --json an object each: {kind,name,available,reason}.\n"
    "Adapters in files of their own, kvtier-fs-NAME.so, are looked for in\n"
    "-o module_path=DIR, then in the folder of the library; --fs FILE is one.\n"
    "The store is not opened.\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 usage.\n";

static int print_one(const struct kvt_component *component, void *arg)
{
    struct cli *cli = arg;
    const char *reason = component->reason != NULL ? component->reason : "";
    if (!cli->json) {
        return cli_out(cli, "%-8s %-18s %-4s %s\n", component->kind,
                       component->name, component->available ? "yes" : "no",
                       reason);
    }
    struct cJSON *row = cli_json_object();
    cli_json_text(row, "kind", component->kind);
    cli_json_text(row, "name", component->name);
    cli_json_bool(row, "available", component->available != 0);
    cli_json_text(row, "reason", reason);
    return cli_json_print(cli, row);
}

static int backends_run(struct cli *cli)
{
    if (cli->arg_count > 0) {
        return cli_usage(cli, cli->args[0], NULL,
                         "backends takes no arguments");
    }
    int status = cli_config_modules(cli);
    if (status != CLI_DONE) {
        return status;
    }
    struct kvt_error error = {0};
    int rc = kvt_components(cli->config, print_one, cli, &error);
    if (error.code != KVT_OK) {
        return cli_report_error(cli, &error, "");
    }
    return rc == 0 ? CLI_DONE : CLI_FAILED;
}

const struct cli_command cli_command_backends = {
    .name = "backends",
    .summary = "list backends, adapters and wrappers of this build",
    .help = help,
    .run = backends_run,
};
