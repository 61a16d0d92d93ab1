/*
 * arguments.h - from argv to struct cli.
 *
 * Global options may stand before or after the command; options of a command
 * only after it. `--` ends the options.
 */
#ifndef CLI_ARGUMENTS_H
#define CLI_ARGUMENTS_H

#include "cli.h"

/* Fills `cli`, which must be zeroed; `commands` ends with null. Returns
 * CLI_DONE, or CLI_USAGE after it has said what is wrong. Either way free
 * with cli_arguments_free. */
int cli_arguments_parse(struct cli *cli,
                        const struct cli_command *const *commands, int argc,
                        char **argv);
void cli_arguments_free(struct cli *cli);

/* Whether an option of the command was given. */
bool cli_has(const struct cli *cli, const char *name);

/* The option's value (the last one wins), or null when it was not given. */
const char *cli_value(const struct cli *cli, const char *name);

#endif
