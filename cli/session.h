/*
 * session.h - the configuration and the store of one run.
 */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include "cli.h"

/* Builds the configuration: defaults, --config, the environment, and then
 * what the command line says. Returns CLI_DONE, or CLI_USAGE (a setting is
 * wrong) or CLI_FAILED after it has said so. */
int cli_config_build(struct cli *cli);

/* Begins the configuration with what tells where adapters in files of their
 * own are, and takes nothing else. Returns as above. */
int cli_config_modules(struct cli *cli);

enum cli_access {
    CLI_READ,  /* opens read-only: creates nothing, needs no lock */
    CLI_WRITE, /* opens as the owner, unless --read-only was given */
    CLI_LOOK,  /* opens a store that exists as its owner, who keeps aside what
                  is damaged; read-only when somebody else is that, or when
                  nothing may be changed there */
};

/* Builds the configuration, unless that was done, and opens the store.
 * Returns as above. */
int cli_store_begin(struct cli *cli, enum cli_access access);

/* Writes the --stats file, closes the store and the configuration. Returns
 * `status`, or CLI_FAILED when the file could not be written. */
int cli_session_end(struct cli *cli, int status);

/* Sets one value by command line, saying so when it is wrong. */
int cli_config_set(struct cli *cli, const char *key, const char *value);

/* Bytes that one object may have. */
uint64_t cli_object_size_max(const struct cli *cli);

#endif
