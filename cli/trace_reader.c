#include "trace_reader.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    ROOM_MIN = 64 * 1024,
    WAIT_MS = 100
};

static bool is_stopped(const struct cli_trace_reader *reader)
{
    return reader->stopped != NULL && reader->stopped();
}

/* Moves what is left to the front, and makes room behind it. */
static int room_make(struct cli_trace_reader *reader)
{
    size_t used = reader->end - reader->start;
    if (used > 0) {
        memmove(reader->buffer, reader->buffer + reader->start, used);
    }
    reader->start = 0;
    reader->end = used;
    if (used < reader->room) {
        return 0;
    }
    size_t room = reader->room == 0 ? ROOM_MIN : reader->room * 2;
    char *buffer = realloc(reader->buffer, room);
    if (buffer == NULL) {
        return -ENOMEM;
    }
    reader->buffer = buffer;
    reader->room = room;
    return 0;
}

/* Reads something more: returns 1, 0 when stopped, or a negative errno. */
static int more_read(struct cli_trace_reader *reader)
{
    struct pollfd ready = {.fd = reader->fd, .events = POLLIN};
    int result = room_make(reader);
    if (result < 0) {
        return result;
    }
    do {
        if (is_stopped(reader)) {
            return 0;
        }
        result = poll(&ready, 1, WAIT_MS);
    } while (result == 0 || (result < 0 && errno == EINTR));
    if (result < 0) {
        return -errno;
    }
    ssize_t got = read(reader->fd, reader->buffer + reader->end,
                       reader->room - reader->end);
    if (got < 0) {
        return errno == EINTR || errno == EAGAIN ? 1 : -errno;
    }
    reader->at_end = got == 0;
    reader->end += (size_t)got;
    return 1;
}

/* Finds the end of the line at `start`, reading as much as it takes. */
static int line_find(struct cli_trace_reader *reader, size_t *size)
{
    size_t searched = 0;
    for (;;) {
        const char *start =
            reader->buffer != NULL ? reader->buffer + reader->start : "";
        size_t used = reader->end - reader->start;
        const char *newline =
            used > searched ? memchr(start + searched, '\n', used - searched)
                            : NULL;
        if (newline != NULL) {
            *size = (size_t)(newline - start);
            return 1;
        }
        if (reader->at_end) {
            *size = used;
            return used > 0;
        }
        searched = used;
        int result = more_read(reader);
        if (result <= 0) {
            return result;
        }
    }
}

static bool is_blank(const char *line, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r') {
            return false;
        }
    }
    return true;
}

int cli_trace_read(struct cli_trace_reader *reader, const char **line,
                   size_t *size)
{
    for (;;) {
        int result = line_find(reader, size);
        if (result <= 0) {
            return result;
        }
        *line = reader->buffer + reader->start;
        reader->start += *size;
        reader->start += reader->start < reader->end; /* the newline */
        reader->line_number++;
        if (!is_blank(*line, *size)) {
            return 1;
        }
    }
}

void cli_trace_reader_free(struct cli_trace_reader *reader)
{
    free(reader->buffer);
    reader->buffer = NULL;
    reader->room = reader->start = reader->end = 0;
}
