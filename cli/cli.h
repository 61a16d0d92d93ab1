/*
 * cli.h - one run of the program, and what a command is.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <kvtier/kvtier.h>

#include <stdbool.h>

enum cli_exit {
    CLI_DONE = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_SOME_FAILED = 3, /* some objects failed, the others are done */
};

/* An option of one command; a table ends with a null name. */
struct cli_option {
    const char *name; /* "--dir" */
    bool takes_value;
};

struct cli;

struct cli_command {
    const char *name;
    const char *summary; /* a few words for the list of commands */
    const char *help;    /* at most 24 lines of 80 columns */
    const struct cli_option *options;
    int (*run)(struct cli *cli); /* returns enum cli_exit */
};

/* An option as it was given. `value` is null for an option without one. */
struct cli_given {
    const char *name;
    const char *value;
};

/* One run. Texts are borrowed from argv. */
struct cli {
    const struct cli_command *command; /* null until it is known */

    bool help;
    bool version;
    bool hex;
    bool json;
    bool read_only;
    const char *path;
    const char *backend;
    const char *fs;
    const char *config_file;
    const char *stats_file;
    const char **settings; /* "KEY=VALUE" each */
    size_t setting_count;

    struct cli_given *given; /* options of the command */
    size_t given_count;
    const char **args;
    size_t arg_count;

    struct kvt_config *config; /* null until it was built */
    struct kvt_store *store;   /* null until it was opened */
    int output_errnum;         /* of the first failed write to stdout, or 0 */
};

extern const struct cli_command cli_command_put;
extern const struct cli_command cli_command_get;
extern const struct cli_command cli_command_exists;
extern const struct cli_command cli_command_ls;
extern const struct cli_command cli_command_rm;
extern const struct cli_command cli_command_stat;
extern const struct cli_command cli_command_config;
extern const struct cli_command cli_command_backends;
extern const struct cli_command cli_command_evict;
extern const struct cli_command cli_command_verify;
extern const struct cli_command cli_command_replay;

#endif
