/*
 * tree_out.h - files below a directory, by relative paths of unknown origin.
 */
#ifndef CLI_TREE_OUT_H
#define CLI_TREE_OUT_H

#include <stddef.h>

/* Returns null when the bytes can be a path below a directory, or why they
 * cannot: a constant text. */
const char *cli_tree_refuse(const void *path, size_t size);

/* Writes a file whole or not at all, and the directories above it. `path` is
 * one that cli_tree_refuse agreed to, with a NUL behind it. A symbolic link
 * in place of a directory is an error (ELOOP or ENOTDIR). Returns 0 or a
 * negative errno. */
int cli_tree_write(int root, const char *path, const void *data, size_t size);

#endif
