/*
 * number.h - numbers of the command line.
 */
#ifndef CLI_NUMBER_H
#define CLI_NUMBER_H

#include "cli.h"

/* Each reads the option's value, if it was given, and leaves `*value` alone
 * otherwise. Returns CLI_DONE, or CLI_USAGE after it has said what is wrong
 * and what is allowed. */
int cli_number_count(const struct cli *cli, const char *option,
                     uint64_t smallest, uint64_t largest, uint64_t *value);
/* Bytes: 65536, 64K, 64KiB, 4M, 1GiB. */
int cli_number_size(const struct cli *cli, const char *option,
                    uint64_t smallest, uint64_t largest, uint64_t *value);
/* 0 to 1. */
int cli_number_ratio(const struct cli *cli, const char *option, double *value);

#endif
