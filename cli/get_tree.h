/*
 * get_tree.h - `get --dir`.
 */
#ifndef CLI_GET_TREE_H
#define CLI_GET_TREE_H

#include "cli.h"

/* Writes every object of the store, or the keys of the command line, as files
 * below `root`, prints the tally and returns the exit status. */
int cli_get_tree(struct cli *cli, const char *root);

#endif
