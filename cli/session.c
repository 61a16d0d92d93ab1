#include "session.h"

#include "figures.h"
#include "file_out.h"
#include "json_out.h"
#include "memory.h"
#include "report.h"

#include <stdio.h>
#include <string.h>

/* A value that cannot be is a fault of usage wherever it came from; a file
 * that cannot be read is a failure. */
static int config_failed(struct cli *cli, const struct kvt_error *error)
{
    cli_report_error(cli, error, "");
    return error->code == KVT_ERR_INVALID_PARAMS ? CLI_USAGE : CLI_FAILED;
}

int cli_config_set(struct cli *cli, const char *key, const char *value)
{
    struct kvt_error error = {0};
    if (kvt_config_set(cli->config, key, value, &error) != KVT_OK) {
        return config_failed(cli, &error);
    }
    return CLI_DONE;
}

/* "KEY=VALUE", as arguments.c checked it. */
static int setting_apply(struct cli *cli, const char *setting)
{
    char *key = cli_text_copy(setting);
    char *equals = strchr(key, '=');
    *equals = '\0';
    int status = cli_config_set(cli, key, equals + 1);
    free(key);
    return status;
}

/* The order of the -o: where modules are; the backend, whose keys --path and
 * --fs are; the adapter, which may bring settings along; the others. */
enum stage {
    STAGE_MODULES,
    STAGE_BACKEND,
    STAGE_FS,
    STAGE_OTHERS
};

static bool is_key(const char *setting, const char *key)
{
    size_t size = strlen(key);
    return strncmp(setting, key, size) == 0 && setting[size] == '=';
}

static enum stage stage_of(const char *setting)
{
    if (is_key(setting, "module_path")) {
        return STAGE_MODULES;
    }
    if (is_key(setting, "backend")) {
        return STAGE_BACKEND;
    }
    return is_key(setting, "fs") || is_key(setting, "distributed.fs")
               ? STAGE_FS
               : STAGE_OTHERS;
}

static int settings_apply(struct cli *cli, enum stage stage)
{
    int status = CLI_DONE;
    for (size_t i = 0; i < cli->setting_count && status == CLI_DONE; i++) {
        if (stage_of(cli->settings[i]) == stage) {
            status = setting_apply(cli, cli->settings[i]);
        }
    }
    return status;
}

static const char *config_text(const struct cli *cli, const char *key)
{
    struct kvt_setting setting;
    struct kvt_error error = {0};
    if (cli->config == NULL ||
        kvt_config_get(cli->config, key, &setting, &error) != KVT_OK ||
        setting.value == NULL) {
        return "";
    }
    return setting.value;
}

/* --path and --fs mean the chosen backend's own keys. */
static bool is_distributed(const struct cli *cli)
{
    return strcmp(config_text(cli, "backend"), "distributed") == 0;
}

static int options_apply(struct cli *cli)
{
    int status = CLI_DONE;
    if (cli->backend != NULL) {
        status = cli_config_set(cli, "backend", cli->backend);
    }
    if (status == CLI_DONE) {
        status = settings_apply(cli, STAGE_BACKEND);
    }
    bool distributed = is_distributed(cli);
    if (status == CLI_DONE) {
        status = settings_apply(cli, STAGE_FS);
    }
    if (cli->fs != NULL && status == CLI_DONE) {
        status =
            cli_config_set(cli, distributed ? "distributed.fs" : "fs", cli->fs);
    }
    if (status == CLI_DONE) {
        status = settings_apply(cli, STAGE_OTHERS);
    }
    if (cli->path != NULL && status == CLI_DONE) {
        status = cli_config_set(cli, distributed ? "distributed.path" : "path",
                                cli->path);
    }
    if (cli->read_only && status == CLI_DONE) {
        status = cli_config_set(cli, "read_only", "on");
    }
    return status;
}

/* Opens the configuration with what tells where modules are. */
static int config_begin(struct cli *cli)
{
    struct kvt_error error = {0};
    cli->config = kvt_config_open();
    if (cli->config == NULL) {
        cli_memory_short();
    }
    int status = settings_apply(cli, STAGE_MODULES);
    if (status == CLI_DONE &&
        kvt_config_load_module_path(cli->config, cli->config_file, &error) !=
            KVT_OK) {
        status = config_failed(cli, &error);
    }
    return status;
}

int cli_config_modules(struct cli *cli)
{
    int status = config_begin(cli);
    /* a name that is none yet is what one looks for in the list */
    if (status == CLI_DONE && cli->fs != NULL && strchr(cli->fs, '/') != NULL) {
        status = cli_config_set(cli, "fs", cli->fs);
    }
    return status;
}

int cli_config_build(struct cli *cli)
{
    struct kvt_error error = {0};
    int status = config_begin(cli);
    if (status != CLI_DONE) {
        return status;
    }
    if (cli->config_file != NULL &&
        kvt_config_load_file(cli->config, cli->config_file, &error) != KVT_OK) {
        return config_failed(cli, &error);
    }
    if (kvt_config_load_env(cli->config, &error) != KVT_OK) {
        return config_failed(cli, &error);
    }
    return options_apply(cli);
}

uint64_t cli_object_size_max(const struct cli *cli)
{
    const char *text = config_text(cli, "object_size_max");
    char *end = NULL;
    unsigned long long value = strtoull(text, &end, 10);
    /* a gibibyte is the most that any store takes */
    return end != text && *end == '\0' ? (uint64_t)value : UINT64_C(1) << 30;
}

static const char *store_path(const struct cli *cli)
{
    if (is_distributed(cli)) {
        const char *path = config_text(cli, "distributed.path");
        if (path[0] != '\0') {
            return path;
        }
    }
    return config_text(cli, "path");
}

/* The library's messages, for those who asked for them: what matters to
 * everybody is an error or a figure of `stat`. */
static void log_print(enum kvt_log_level level, const char *message, void *arg)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    const struct cli *cli = arg;
    if (!cli->json) {
        fprintf(stderr, "kvtier: %s: %s\n", names[level & 3], message);
        return;
    }
    struct cJSON *root = cli_json_object();
    struct cJSON *log = cli_json_child(root, "log");
    cli_json_text(log, "level", names[level & 3]);
    cli_json_text(log, "message", message);
    char *text = cli_json_finish(root);
    fprintf(stderr, "%s\n", text);
    free(text);
}

static bool log_wanted(const struct cli *cli)
{
    struct kvt_setting setting;
    struct kvt_error error = {0};
    return kvt_config_get(cli->config, "log_level", &setting, &error) ==
               KVT_OK &&
           strcmp(setting.source, "default") != 0;
}

static int store_open(struct cli *cli, bool read_only, struct kvt_error *error)
{
    struct kvt_handlers handlers = KVT_HANDLERS_INIT;
    if (read_only && cli_config_set(cli, "read_only", "on") != CLI_DONE) {
        return KVT_ERR_INTERNAL;
    }
    if (log_wanted(cli)) {
        handlers.log = log_print;
        handlers.log_arg = cli;
    }
    int rc = kvt_store_open(cli->config, &handlers, &cli->store, error);
    if (rc != KVT_OK) {
        cli->store = NULL;
    }
    return rc;
}

static bool is_read_only(const struct cli *cli)
{
    return strcmp(config_text(cli, "read_only"), "on") == 0;
}

/* A look makes no store: first it is seen whether there is one. */
static int store_look(struct cli *cli, struct kvt_error *error)
{
    bool asked = is_read_only(cli);
    int rc = store_open(cli, true, error);
    if (rc != KVT_OK || asked) {
        return rc;
    }
    struct kvt_store *seen = cli->store;
    struct kvt_error ignored = {0};
    if (cli_config_set(cli, "read_only", "off") == CLI_DONE &&
        store_open(cli, false, &ignored) == KVT_OK) {
        kvt_store_close(seen);
    } else {
        cli->store = seen;
    }
    return KVT_OK;
}

int cli_store_begin(struct cli *cli, enum cli_access access)
{
    int status = cli->config != NULL ? CLI_DONE : cli_config_build(cli);
    if (status != CLI_DONE) {
        return status;
    }
    struct kvt_error error = {0};
    if (kvt_config_check(cli->config, &error) != KVT_OK) {
        return config_failed(cli, &error);
    }
    int rc = access == CLI_LOOK ? store_look(cli, &error)
                                : store_open(cli, access == CLI_READ, &error);
    return rc == KVT_OK ? CLI_DONE
                        : cli_report_error(cli, &error, store_path(cli));
}

/* The figures as `stat` prints them; of a store that was not opened, zeros
 * and what the configuration says. */
static int stats_write(const struct cli *cli)
{
    struct kvt_stats stats = {.size = sizeof(stats)};
    if (cli->store == NULL || kvt_stats(cli->store, &stats) != KVT_OK) {
        stats = (struct kvt_stats){
            .size = sizeof(stats),
            .backend = config_text(cli, "backend"),
            .fs =
                config_text(cli, is_distributed(cli) ? "distributed.fs" : "fs"),
            .path = store_path(cli),
        };
        if (stats.path[0] == '\0' && cli->path != NULL) {
            stats.path = cli->path;
        }
    }
    char *text = cli_json_finish(cli_figures_json(&stats));
    size_t size = strlen(text);
    text[size] = '\n'; /* in place of the NUL: the size is given */
    int result = cli_file_write(cli->stats_file, text, size + 1);
    free(text);
    return result;
}

int cli_session_end(struct cli *cli, int status)
{
    if (cli->stats_file != NULL && !cli->help && !cli->version) {
        int result = stats_write(cli);
        if (result < 0) {
            status = cli_report_file(cli, cli->stats_file,
                                     KVT_ERR_FILE_WRITE_FAIL, result);
        }
    }
    kvt_store_close(cli->store);
    kvt_config_close(cli->config);
    cli->store = NULL;
    cli->config = NULL;
    return status;
}
