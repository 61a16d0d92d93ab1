#include "arguments.h"
#include "cli.h"
#include "json_out.h"
#include "output.h"
#include "report.h"
#include "session.h"

#include <string.h>

static const char help[] =
    "Usage: kvtier [OPTIONS] config [--explain KEY]\n"
    "Lists every setting, its value and where the value comes from.\n"
    "\n"
    "Prints lines of `KEY = VALUE  (SOURCE)`; with --json an object each:\n"
    "{key,value,source,default,type}. SOURCE is `default`, `file:PATH`,\n"
    "`env:NAME` or `option`; of several, the last in this order wins.\n"
    "\n"
    "  --explain KEY   one setting with what it means and what is allowed\n"
    "\n"
    "A setting is given as -o KEY=VALUE, as a line `KEY = VALUE` of a "
    "--config\n"
    "file ([section] puts `section.` in front), or as KVTIER_KEY in the\n"
    "environment: upper case, dots as underscores.\n"
    "The store is not opened.\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 usage, also for a setting that is "
    "wrong.\n";

/* For people: an empty value is to be seen. */
static const char *text(const char *value)
{
    return value != NULL && value[0] != '\0' ? value : "\"\"";
}

static struct cJSON *row_json(const struct kvt_setting *setting)
{
    struct cJSON *row = cli_json_object();
    cli_json_text(row, "key", setting->key);
    cli_json_text(row, "value", setting->value);
    cli_json_text(row, "source", setting->source);
    cli_json_text(row, "default", setting->default_value);
    cli_json_text(row, "type", setting->type);
    return row;
}

static int key_width(const struct kvt_setting *setting, void *arg)
{
    int *width = arg;
    int size = (int)strlen(setting->key);
    *width = size > *width ? size : *width;
    return 0;
}

struct listing {
    struct cli *cli;
    int width;
};

static int row_print(const struct kvt_setting *setting, void *arg)
{
    const struct listing *listing = arg;
    if (listing->cli->json) {
        return cli_json_print(listing->cli, row_json(setting));
    }
    return cli_out(listing->cli, "%-*s = %s  (%s)\n", listing->width,
                   setting->key, text(setting->value), setting->source);
}

static int explain(struct cli *cli, const char *key)
{
    struct kvt_setting setting;
    struct kvt_error error = {0};
    if (kvt_config_get(cli->config, key, &setting, &error) != KVT_OK) {
        cli_report_error(cli, &error, key);
        return CLI_USAGE;
    }
    struct cJSON *row = row_json(&setting);
    cli_json_text(row, "unit", setting.unit);
    cli_json_text(row, "allowed", setting.allowed);
    cli_json_text(row, "help", setting.help);
    return cli_json_print(cli, row) == 0 ? CLI_DONE : CLI_FAILED;
}

static int config_run(struct cli *cli)
{
    if (cli->arg_count > 0) {
        return cli_usage(cli, cli->args[0],
                         "ask for one setting with --explain KEY",
                         "config takes no arguments");
    }
    int status = cli_config_build(cli);
    if (status != CLI_DONE) {
        return status;
    }
    struct kvt_error error = {0};
    if (kvt_config_load_modules(cli->config, &error) != KVT_OK) {
        return cli_report_error(cli, &error, "");
    }
    if (cli_has(cli, "--explain")) {
        return explain(cli, cli_value(cli, "--explain"));
    }
    struct listing listing = {cli, 0};
    kvt_config_each(cli->config, key_width, &listing.width);
    int failed = kvt_config_each(cli->config, row_print, &listing);
    return failed == 0 ? CLI_DONE : CLI_FAILED;
}

static const struct cli_option options[] = {{"--explain", true}, {NULL, false}};

const struct cli_command cli_command_config = {
    .name = "config",
    .summary = "list the settings, or explain one",
    .help = help,
    .options = options,
    .run = config_run,
};
