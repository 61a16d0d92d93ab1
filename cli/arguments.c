#include "arguments.h"

#include "memory.h"
#include "nearest.h"
#include "report.h"

#include <string.h>

enum global {
    GLOBAL_PATH,
    GLOBAL_BACKEND,
    GLOBAL_FS,
    GLOBAL_SETTING,
    GLOBAL_CONFIG,
    GLOBAL_HEX,
    GLOBAL_JSON,
    GLOBAL_READ_ONLY,
    GLOBAL_STATS,
    GLOBAL_HELP,
    GLOBAL_VERSION,
    GLOBAL_COUNT,
};

static const struct cli_option globals[GLOBAL_COUNT + 1] = {
    [GLOBAL_PATH] = {"--path", true},
    [GLOBAL_BACKEND] = {"--backend", true},
    [GLOBAL_FS] = {"--fs", true},
    [GLOBAL_SETTING] = {"-o", true},
    [GLOBAL_CONFIG] = {"--config", true},
    [GLOBAL_HEX] = {"--hex", false},
    [GLOBAL_JSON] = {"--json", false},
    [GLOBAL_READ_ONLY] = {"--read-only", false},
    [GLOBAL_STATS] = {"--stats", true},
    [GLOBAL_HELP] = {"--help", false},
    [GLOBAL_VERSION] = {"--version", false},
};

/* One argument, taken apart: "--name=value", "--name", "-oVALUE", "-o". */
struct option_text {
    const char *text; /* as it was given, for messages */
    size_t name_size;
    const char *value; /* null when it is not in the same argument */
};

static struct option_text option_split(const char *text)
{
    struct option_text option = {text, strlen(text), NULL};
    if (text[1] != '-') {
        option.name_size = 2;
        option.value = text[2] != '\0' ? text + 2 : NULL;
        return option;
    }
    const char *equals = strchr(text, '=');
    if (equals != NULL) {
        option.name_size = (size_t)(equals - text);
        option.value = equals + 1;
    }
    return option;
}

static int option_find(const struct cli_option *table,
                       const struct option_text *option)
{
    for (int i = 0; table != NULL && table[i].name != NULL; i++) {
        if (strlen(table[i].name) == option->name_size &&
            memcmp(table[i].name, option->text, option->name_size) == 0) {
            return i;
        }
    }
    return -1;
}

static int option_unknown(const struct cli *cli,
                          const struct option_text *option)
{
    struct cli_nearest nearest;
    cli_nearest_init(&nearest, option->text, option->name_size);
    for (int i = 0; i < GLOBAL_COUNT; i++) {
        cli_nearest_offer(&nearest, globals[i].name);
    }
    const struct cli_option *own =
        cli->command != NULL ? cli->command->options : NULL;
    for (int i = 0; own != NULL && own[i].name != NULL; i++) {
        cli_nearest_offer(&nearest, own[i].name);
    }
    return cli_usage_nearest(cli, option->text, "unknown option", nearest.name);
}

static int global_apply(struct cli *cli, enum global which, const char *value)
{
    switch (which) {
    case GLOBAL_PATH:
        cli->path = value;
        break;
    case GLOBAL_BACKEND:
        cli->backend = value;
        break;
    case GLOBAL_FS:
        cli->fs = value;
        break;
    case GLOBAL_CONFIG:
        cli->config_file = value;
        break;
    case GLOBAL_STATS:
        cli->stats_file = value;
        break;
    case GLOBAL_HEX:
        cli->hex = true;
        break;
    case GLOBAL_JSON:
        cli->json = true;
        break;
    case GLOBAL_READ_ONLY:
        cli->read_only = true;
        break;
    case GLOBAL_HELP:
        cli->help = true;
        break;
    case GLOBAL_VERSION:
        cli->version = true;
        break;
    case GLOBAL_SETTING:
        if (strchr(value, '=') == NULL || value[0] == '=') {
            return cli_usage(cli, value, "write -o KEY=VALUE",
                             "a setting needs a name and a value");
        }
        cli->settings[cli->setting_count++] = value;
        break;
    case GLOBAL_COUNT:
        break;
    }
    return CLI_DONE;
}

/* Takes the option at argv[*at], and its value if that is the next one. */
static int option_take(struct cli *cli, int argc, char **argv, int *at)
{
    struct option_text option = option_split(argv[*at]);
    const struct cli_option *own =
        cli->command != NULL ? cli->command->options : NULL;
    int global = option_find(globals, &option);
    int local = global < 0 ? option_find(own, &option) : -1;
    if (global < 0 && local < 0) {
        return option_unknown(cli, &option);
    }
    const struct cli_option *found =
        global >= 0 ? &globals[global] : &own[local];
    if (!found->takes_value && option.value != NULL) {
        return cli_usage(cli, found->name, "leave out what stands behind it",
                         "this option takes no value");
    }
    if (found->takes_value && option.value == NULL) {
        if (*at + 1 >= argc) {
            return cli_usage(cli, found->name, NULL,
                             "this option needs a value");
        }
        option.value = argv[++*at];
    }
    if (global >= 0) {
        return global_apply(cli, (enum global)global, option.value);
    }
    cli->given[cli->given_count++] =
        (struct cli_given){found->name, option.value};
    return CLI_DONE;
}

static int command_take(struct cli *cli,
                        const struct cli_command *const *commands,
                        const char *name)
{
    struct cli_nearest nearest;
    cli_nearest_init(&nearest, name, strlen(name));
    for (size_t i = 0; commands[i] != NULL; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            cli->command = commands[i];
            return CLI_DONE;
        }
        cli_nearest_offer(&nearest, commands[i]->name);
    }
    return cli_usage_nearest(cli, name, "unknown command", nearest.name);
}

/* The form of error messages must be known before the first of them. */
static bool json_wanted(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            return true;
        }
    }
    return false;
}

int cli_arguments_parse(struct cli *cli,
                        const struct cli_command *const *commands, int argc,
                        char **argv)
{
    size_t room = (size_t)argc + 1;
    cli->settings = cli_alloc(room * sizeof(*cli->settings));
    cli->given = cli_alloc(room * sizeof(*cli->given));
    cli->args = cli_alloc(room * sizeof(*cli->args));
    cli->json = json_wanted(argc, argv);

    bool options_ended = false;
    for (int i = 1; i < argc; i++) {
        int status = CLI_DONE;
        if (!options_ended && strcmp(argv[i], "--") == 0) {
            options_ended = true;
        } else if (!options_ended && argv[i][0] == '-' && argv[i][1] != '\0') {
            status = option_take(cli, argc, argv, &i);
        } else if (cli->command == NULL) {
            status = command_take(cli, commands, argv[i]);
        } else {
            cli->args[cli->arg_count++] = argv[i];
        }
        if (status != CLI_DONE) {
            return status;
        }
    }
    if (cli->command == NULL && !cli->help && !cli->version) {
        return cli_usage(cli, "", NULL, "no command was given");
    }
    return CLI_DONE;
}

void cli_arguments_free(struct cli *cli)
{
    free(cli->settings);
    free(cli->given);
    free(cli->args);
}

const char *cli_value(const struct cli *cli, const char *name)
{
    for (size_t i = cli->given_count; i > 0; i--) {
        if (strcmp(cli->given[i - 1].name, name) == 0) {
            return cli->given[i - 1].value;
        }
    }
    return NULL;
}

bool cli_has(const struct cli *cli, const char *name)
{
    for (size_t i = 0; i < cli->given_count; i++) {
        if (strcmp(cli->given[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}
