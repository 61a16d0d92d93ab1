#include "buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    READ_SIZE_MIN = 64 * 1024
};

int cli_buffer_reserve(struct cli_buffer *buffer, size_t size)
{
    if (size <= buffer->room) {
        return 0;
    }
    unsigned char *data = realloc(buffer->data, size);
    if (data == NULL) {
        return -ENOMEM;
    }
    buffer->data = data;
    buffer->room = size;
    return 0;
}

/* One byte more than the file has, to see its end without a second step. */
static int reserve_for_file(struct cli_buffer *buffer, int fd, uint64_t limit)
{
    struct stat info;
    uint64_t expected = READ_SIZE_MIN;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) {
        off_t at = lseek(fd, 0, SEEK_CUR);
        off_t left = at >= 0 && at < info.st_size ? info.st_size - at : 0;
        if ((uint64_t)left > limit) {
            return -EFBIG;
        }
        expected = (uint64_t)left + 1;
    }
    if (expected > limit + 1) {
        expected = limit + 1;
    }
    return cli_buffer_reserve(buffer, buffer->size + (size_t)expected);
}

/* Doubles, but never beyond one byte over the limit. */
static int grow(struct cli_buffer *buffer, size_t start, uint64_t limit)
{
    uint64_t most = (uint64_t)start + limit + 1;
    uint64_t room = (uint64_t)buffer->room * 2;
    room = room < READ_SIZE_MIN ? READ_SIZE_MIN : room;
    return cli_buffer_reserve(buffer, (size_t)(room < most ? room : most));
}

int cli_buffer_read(struct cli_buffer *buffer, int fd, uint64_t limit)
{
    size_t start = buffer->size;
    int result = reserve_for_file(buffer, fd, limit);
    while (result == 0) {
        if (buffer->size == buffer->room) {
            result = grow(buffer, start, limit);
            continue;
        }
        ssize_t got =
            read(fd, buffer->data + buffer->size, buffer->room - buffer->size);
        if (got == 0) {
            return 0;
        }
        if (got < 0) {
            result = errno == EINTR ? 0 : -errno;
            continue;
        }
        buffer->size += (size_t)got;
        result = buffer->size - start > limit ? -EFBIG : 0;
    }
    buffer->size = start;
    return result;
}

void cli_buffer_free(struct cli_buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct cli_buffer){0};
}
