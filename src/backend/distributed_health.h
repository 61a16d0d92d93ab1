/* Is the file system well? A small circuit breaker: after a few batches in a
 * row that it failed, offloads are refused until a probe succeeds. Loads go
 * on. */
#ifndef KVT_BACKEND_DISTRIBUTED_HEALTH_H
#define KVT_BACKEND_DISTRIBUTED_HEALTH_H

#include "backend/backend.h"

struct dist;

struct dist_health {
    unsigned failures[2]; /* batches in a row: loads, offloads */
    bool failed;          /* offloads are refused */
    bool degraded;        /* the last batch of some kind failed */
    uint64_t since_ms;    /* Unix time of the last change */
    int last_errnum;
    int64_t probe_ns; /* when failed: CLOCK_MONOTONIC of the next probe */
    int64_t wait_ns;  /* the time between two */
};

void kvt_dist_health_init(struct dist_health *health);

/* What a batch met: `rc` 0 when all was well, otherwise the first errno of
 * the file system. */
void kvt_dist_health_note(struct dist *dist, bool writes, int rc);
/* Is this errno one of a file system that is unwell? */
bool kvt_dist_health_counts(bool writes, int rc);

/* 0, or the negative errno for which offloads are refused. */
int kvt_dist_health_refuses(struct dist *dist);

/* For the janitor: probes when it is time. Blocks, for a bounded time. */
void kvt_dist_health_probe(struct dist *dist);
/* CLOCK_MONOTONIC of the next probe, or 0. */
int64_t kvt_dist_health_next(struct dist *dist);

void kvt_dist_health_stats(struct dist *dist, struct kvt_stats *stats);

#endif
