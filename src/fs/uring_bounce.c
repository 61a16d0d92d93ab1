/* Bounce memory of a queue: bounded, made when it is needed, kept until the
 * queue closes. Every element has a little, enough for the blocks at both ends
 * of a transfer; what is not aligned at all goes through one of a few larger
 * chunks, for which parts wait in line. */
#define _GNU_SOURCE
#include "fs/uring.h"

#include <errno.h>
#include <sys/mman.h>

/* Whole pages, as direct I/O wants them, and none touched before its use. */
static unsigned char *new_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory != MAP_FAILED ? memory : NULL;
}

static unsigned char *take_chunk(struct uring_queue *queue)
{
    if (queue->chunks_free > 0) {
        return queue->chunks[--queue->chunks_free];
    }
    unsigned char *chunk = NULL;
    if (queue->chunks_made < URING_CHUNKS_MAX) {
        chunk = new_memory(URING_CHUNK);
        queue->chunks_made += chunk != NULL;
    }
    return chunk;
}

int kvt_uring_bounce_take(struct uring_queue *queue, struct uring_io *io,
                          uint64_t size)
{
    if (size <= URING_SMALL && queue->small == NULL) {
        queue->small = new_memory((size_t)queue->io_count * URING_SMALL);
        return queue->small != NULL ? 0 : -ENOMEM;
    }
    if (size <= URING_SMALL || io->chunk != NULL) {
        return 0;
    }
    io->chunk = take_chunk(queue);
    if (io->chunk != NULL) {
        return 0;
    }
    return queue->chunks_made > 0 ? -EAGAIN : -ENOMEM;
}

unsigned char *kvt_uring_bounce_of(const struct uring_queue *queue,
                                   const struct uring_io *io)
{
    return io->chunk != NULL
               ? io->chunk
               : queue->small + (size_t)(io - queue->ios) * URING_SMALL;
}

void kvt_uring_bounce_give(struct uring_queue *queue, struct uring_io *io)
{
    if (io->chunk != NULL) {
        queue->chunks[queue->chunks_free++] = io->chunk;
        io->chunk = NULL;
    }
}

void kvt_uring_bounce_fini(struct uring_queue *queue)
{
    while (queue->chunks_free > 0) {
        munmap(queue->chunks[--queue->chunks_free], URING_CHUNK);
    }
    if (queue->small != NULL) {
        munmap(queue->small, (size_t)queue->io_count * URING_SMALL);
    }
}
