/*
 * put_tree.h - `put --dir`.
 */
#ifndef CLI_PUT_TREE_H
#define CLI_PUT_TREE_H

#include "cli.h"

/* Offloads every regular file below `root` in batches of bounded memory,
 * prints the tally and returns the exit status. */
int cli_put_tree(struct cli *cli, const char *root);

#endif
