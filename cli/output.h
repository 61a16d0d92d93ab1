/*
 * output.h - stdout, with every failure noticed.
 *
 * The first failure stays in the run and is reported once, at the end; a
 * closed pipe is quiet. After a failure every call fails at once, so that a
 * command can stop.
 */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "cli.h"

/* Each returns 0, or -1 when stdout failed now or before. */
int cli_out(struct cli *cli, const char *format, ...) KVT_PRINTF(2, 3);
int cli_out_bytes(struct cli *cli, const void *data, size_t size);

/* Prints a key in the form that was asked for. */
int cli_out_key(struct cli *cli, const struct kvt_key *key);

/* Writes out what is buffered and closes stdout. Returns `status`, or
 * CLI_FAILED when stdout failed. */
int cli_out_end(struct cli *cli, int status);

#endif
