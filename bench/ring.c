#define _DEFAULT_SOURCE
#include "ring.h"

#ifndef KVT_HAVE_URING

int ring_run(struct bench *bench, const struct ring_job *job,
             struct bench_result *result)
{
    (void)job;
    (void)result;
    return bench_fail(bench, "this build was made without liburing");
}

#else

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <string.h>
#include <unistd.h>

struct ring {
    const struct ring_job *job;
    struct io_uring uring;
    int fd;
    uint64_t next;
    uint32_t in_flight;
    bool failed;
};

static void start(struct ring *ring, uint64_t place)
{
    const struct ring_job *job = ring->job;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
    char *memory = job->memory + place * job->size;
    if (job->write) {
        io_uring_prep_write(sqe, ring->fd, memory, (unsigned)job->size,
                            ring->next);
    } else {
        io_uring_prep_read(sqe, ring->fd, memory, (unsigned)job->size,
                           ring->next);
    }
    sqe->user_data = place;
    ring->next += job->size;
    ring->in_flight++;
}

static void take(struct ring *ring)
{
    struct io_uring_cqe *cqe;
    while (io_uring_peek_cqe(&ring->uring, &cqe) == 0) {
        uint64_t place = cqe->user_data;
        ring->failed |= cqe->res != (int)ring->job->size;
        ring->in_flight--;
        io_uring_cqe_seen(&ring->uring, cqe);
        if (ring->next < ring->job->end && !ring->failed) {
            start(ring, place);
        }
    }
}

int ring_run(struct bench *bench, const struct ring_job *job,
             struct bench_result *result)
{
    struct ring ring = {.job = job};
    int rc = io_uring_queue_init(job->depth, &ring.uring, 0);
    if (rc != 0) {
        return bench_fail(bench, "no ring: %s", strerror(-rc));
    }
    /* its name without underscores is for _GNU_ sources */
    ring.fd = open(job->path, O_RDWR | __O_DIRECT | O_CLOEXEC);
    if (ring.fd < 0) {
        io_uring_queue_exit(&ring.uring);
        return bench_fail(bench, "%s: %s", job->path, strerror(errno));
    }
    struct bench_clock begin = bench_start();
    for (uint32_t i = 0; i < job->depth && ring.next < job->end; i++) {
        start(&ring, i);
    }
    while (ring.in_flight > 0 && rc >= 0) {
        bench_in_flight(result, ring.in_flight);
        rc = io_uring_submit_and_wait(&ring.uring, 1);
        take(&ring);
    }
    bench_stop(begin, result);
    close(ring.fd);
    io_uring_queue_exit(&ring.uring);
    result->operations = bench->operations;
    result->bytes = bench->bytes;
    return ring.failed || rc < 0 ? bench_fail(bench, "the ring failed") : 0;
}

#endif
