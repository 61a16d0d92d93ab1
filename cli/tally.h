/*
 * tally.h - what a command on many objects did.
 */
#ifndef CLI_TALLY_H
#define CLI_TALLY_H

#include "cli.h"

struct cli_tally {
    uint64_t objects; /* done */
    uint64_t bytes;   /* of them */
    uint64_t failed;
};

/* Prints {objects,bytes,failed}; returns the exit status that they mean, or
 * `status` when that is not CLI_DONE. */
int cli_tally_end(struct cli *cli, const struct cli_tally *tally, int status);

#endif
