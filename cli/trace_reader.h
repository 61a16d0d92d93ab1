/*
 * trace_reader.h - the lines of a trace, one at a time.
 *
 * Reads a file or a pipe; holds no more than the longest line. Not getline:
 * a signal must end the wait for a pipe, on whichever thread it arrives.
 */
#ifndef CLI_TRACE_READER_H
#define CLI_TRACE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli_trace_reader {
    int fd;                /* the caller's */
    bool (*stopped)(void); /* asked while waiting; null: never stopped */
    uint64_t line_number;  /* of the line that was read last, from 1 */
    bool at_end;
    char *buffer;
    size_t room;
    size_t start; /* of what was not handed out yet */
    size_t end;
};

/* Start from zeros and the members `fd` and `stopped`. Reads the next line
 * that is not blank: returns 1 and sets `*line` (valid until the next call)
 * and `*size`, without the newline; 0 at the end or when stopped; or a
 * negative errno. */
int cli_trace_read(struct cli_trace_reader *reader, const char **line,
                   size_t *size);
void cli_trace_reader_free(struct cli_trace_reader *reader);

#endif
