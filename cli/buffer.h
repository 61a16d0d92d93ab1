/*
 * buffer.h - memory for the bytes of objects, grown and reused.
 */
#ifndef CLI_BUFFER_H
#define CLI_BUFFER_H

#include <stddef.h>
#include <stdint.h>

struct cli_buffer {
    unsigned char *data;
    size_t size; /* bytes in use */
    size_t room;
};

/* Makes room for `size` bytes; what is in use stays. Returns 0 or -ENOMEM. */
int cli_buffer_reserve(struct cli_buffer *buffer, size_t size);

/* Appends what `fd` gives until its end. Returns 0 or a negative errno:
 * -EFBIG when there are more than `limit` bytes. After an error `size` is
 * what it was. */
int cli_buffer_read(struct cli_buffer *buffer, int fd, uint64_t limit);

void cli_buffer_free(struct cli_buffer *buffer);

#endif
