/* Any program as the other side of a row. */
#ifndef KVT_BENCH_COMMAND_H
#define KVT_BENCH_COMMAND_H

#include "harness.h"

/* Runs a command of the shell, which becomes bench->other_command, and waits
 * for it. `text` gets what it says, as far as there is room. Its start is in
 * its time, and the CPU time is that of all its processes; operations and
 * bytes are those of the row's work. 0, or -1 with the reason when it cannot
 * be run or fails. */
int command_run(struct bench *bench, const char *command, char *text,
                size_t room, struct bench_result *result);

/* The same for a command of the user's, who finds in its environment:
 * BENCH_FILE (a file, or the folder of the files), BENCH_OPERATION (read or
 * write), BENCH_SIZE, BENCH_COUNT and BENCH_BYTES. */
int command_against(struct bench *bench, const char *command,
                    struct bench_result *result);

/* Puts a path between single quotes. 0, or -1 where it has one. */
int command_quote(struct bench *bench, const char *path, char *text,
                  size_t room);

#endif
