#include "arguments.h"
#include "cli.h"
#include "json_out.h"
#include "number.h"
#include "report.h"
#include "session.h"

#include <stdlib.h>

static const char help[] =
    "Usage: kvtier [OPTIONS] evict [--high R] [--low R]\n"
    "When more than the share --high of the limit is allocated, evicts "
    "objects\n"
    "until at most the share --low is.\n"
    "\n"
    "  --high R   0 to 1; default: the setting watermark.high\n"
    "  --low R    0 to --high; default: watermark.low, or --high if that is "
    "less\n"
    "\n"
    "Which objects go first is up to the setting `eviction`; with `none` the\n"
    "oldest. `--high 0 --low 0` evicts all.\n"
    "Prints evicted_objects, evicted_bytes (of their values) and\n"
    "allocated_bytes (in the store afterwards); with --json one object.\n"
    "\n"
    "Exit status: 0 done, also when there was nothing to do; 1 failed, 2 "
    "usage.\n";

static double config_ratio(const struct cli *cli, const char *key)
{
    struct kvt_setting setting;
    struct kvt_error error = {0};
    if (kvt_config_get(cli->config, key, &setting, &error) != KVT_OK) {
        return 1.0;
    }
    return strtod(setting.value, NULL);
}

static int evict_run(struct cli *cli)
{
    if (cli->arg_count > 0) {
        return cli_usage(cli, cli->args[0], NULL, "evict takes no arguments");
    }
    int status = cli_config_build(cli);
    if (status != CLI_DONE) {
        return status;
    }
    double high = config_ratio(cli, "watermark.high");
    double low = config_ratio(cli, "watermark.low");
    status = cli_number_ratio(cli, "--high", &high);
    if (status == CLI_DONE) {
        status = cli_number_ratio(cli, "--low", &low);
    }
    if (!cli_has(cli, "--low") && low > high) {
        low = high;
    }
    if (status == CLI_DONE && low > high) {
        status = cli_usage(cli, "--low", "give both so that --low <= --high",
                           "%g is above --high, which is %g", low, high);
    }
    if (status == CLI_DONE) {
        status = cli_store_begin(cli, CLI_WRITE);
    }
    if (status != CLI_DONE) {
        return status;
    }
    struct kvt_evict_result result = {0};
    struct kvt_error error = {0};
    if (kvt_evict(cli->store, high, low, &result, &error) != KVT_OK) {
        return cli_report_error(cli, &error, "");
    }
    struct cJSON *row = cli_json_object();
    cli_json_count(row, "evicted_objects", result.objects);
    cli_json_count(row, "evicted_bytes", result.bytes);
    cli_json_count(row, "allocated_bytes", result.allocated);
    return cli_json_print(cli, row) == 0 ? CLI_DONE : CLI_FAILED;
}

static const struct cli_option options[] = {
    {"--high", true}, {"--low", true}, {NULL, false}};

const struct cli_command cli_command_evict = {
    .name = "evict",
    .summary = "make room down to a share of the limit",
    .help = help,
    .options = options,
    .run = evict_run,
};
