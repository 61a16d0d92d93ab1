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

int ring_read(struct bench *bench, const struct ring_job *job,
              const struct ring_place *places, uint64_t count,
              void (*look)(const char *bytes, uint64_t size),
              struct bench_result *result)
{
    (void)places;
    (void)count;
    (void)look;
    return ring_run(bench, job, result);
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

static bool read_batch(struct io_uring *uring, const struct ring_job *job,
                       const struct ring_place *places,
                       void (*look)(const char *bytes, uint64_t size))
{
    bool whole = true;
    for (uint32_t i = 0; i < job->depth; i++) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(uring);
        io_uring_prep_read(sqe, places[i].fd, job->memory + i * job->size,
                           (unsigned)job->size, places[i].offset);
        sqe->user_data = i;
    }
    if (io_uring_submit_and_wait(uring, job->depth) < 0) {
        return false;
    }
    for (uint32_t i = 0; i < job->depth; i++) {
        struct io_uring_cqe *cqe;
        if (io_uring_wait_cqe(uring, &cqe) != 0) {
            return false;
        }
        whole = whole && cqe->res == (int)job->size;
        if (look != NULL) {
            look(job->memory + cqe->user_data * job->size, job->size);
        }
        io_uring_cqe_seen(uring, cqe);
    }
    return whole;
}

int ring_read(struct bench *bench, const struct ring_job *job,
              const struct ring_place *places, uint64_t count,
              void (*look)(const char *bytes, uint64_t size),
              struct bench_result *result)
{
    struct io_uring uring;
    bool whole = true;
    int rc = io_uring_queue_init(job->depth, &uring, 0);
    if (rc != 0) {
        return bench_fail(bench, "no ring: %s", strerror(-rc));
    }
    struct bench_clock begin = bench_start();
    for (uint64_t at = 0; at < count && whole; at += job->depth) {
        whole = read_batch(&uring, job, places + at, look);
    }
    bench_stop(begin, result);
    io_uring_queue_exit(&uring);
    result->operations = bench->operations;
    result->bytes = bench->bytes;
    return whole ? 0 : bench_fail(bench, "the ring failed");
}

#endif
