/*
 * file_out.h - files that appear whole or not at all.
 */
#ifndef CLI_FILE_OUT_H
#define CLI_FILE_OUT_H

#include <stddef.h>

/* Writes `name` inside the directory `dir` under a temporary name and renames
 * it. Returns 0 or a negative errno; after an error nothing is left behind. */
int cli_file_write_at(int dir, const char *name, const void *data, size_t size);

/* The same for a path. Symbolic links are followed; what exists and is no
 * regular file (a device, a pipe), or is where stdout or stderr go, is
 * written directly. */
int cli_file_write(const char *path, const void *data, size_t size);

#endif
