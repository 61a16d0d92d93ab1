/*
 * replay.h - a trace of requests, run against a store.
 *
 *   cmd_replay.c     the command line, the result
 *   replay_run.c     the trace, the threads, the pace
 *   replay_request.c one request: what is stored, load, offload
 */
#ifndef CLI_REPLAY_H
#define CLI_REPLAY_H

#include "cli.h"
#include "histogram.h"
#include "trace_line.h"
#include "trace_reader.h"

#include <pthread.h>
#include <stdatomic.h>

struct replay_options {
    uint64_t block_size;
    uint64_t request_limit;
    uint64_t thread_count;
    bool paced;
    bool verify;
    bool skip_broken;
};

/* Figures of one request, or of many. */
struct replay_figures {
    uint64_t requests;
    uint64_t blocks_requested;
    uint64_t blocks_hit;
    uint64_t prefix_blocks_hit;
    uint64_t blocks_offloaded;
    uint64_t bytes_loaded;
    uint64_t bytes_offloaded;
    uint64_t wrong_blocks;
    uint64_t failed_loads;
    uint64_t failed_offloads;
};

/* One replay; shared by its threads. */
struct replay {
    struct cli *cli;
    const char *trace; /* its name, for messages */
    struct replay_options options;

    pthread_mutex_t trace_lock; /* guards what the trace is read with */
    struct cli_trace_reader reader;
    uint64_t requests_taken;
    uint64_t broken_lines;
    bool has_first_timestamp;
    double first_timestamp_ms;

    pthread_mutex_t figures_lock; /* guards figures and what is printed */
    struct replay_figures figures;
    struct cli_histogram load_ns;
    struct cli_histogram offload_ns;
    uint64_t failures_reported;
    uint64_t progress_due_ns;

    uint64_t start_ns;
    atomic_int status; /* enum cli_exit; not CLI_DONE ends the replay */
};

struct replay_block;

/* One thread with its memory, which is used for request after request. */
struct replay_worker {
    struct replay *replay;
    struct replay_figures figures; /* of the request under way */
    struct cli_histogram load_ns;
    struct cli_histogram offload_ns;
    struct cli_trace_request request;

    struct replay_block *blocks; /* the distinct ones of the request */
    size_t block_count;
    size_t *reference_block; /* which of them a reference means */
    size_t *table;           /* by hash of the id: a block's number + 1 */
    size_t table_size;       /* a power of two */
    size_t room;             /* references that the arrays have room for */

    unsigned char *bytes; /* `batch_count` blocks, `stride` apart */
    size_t stride;
    size_t batch_count;
    struct kvt_object *objects; /* room for a batch and for a request */
    struct kvt_slice *slices;
    size_t object_room;
};

/* Allocates the buffers. Returns 0 or -ENOMEM; free either way. */
int replay_worker_init(struct replay_worker *worker, struct replay *replay);
void replay_worker_free(struct replay_worker *worker);

/* Does the request in `worker->request` and fills `worker->figures`. Returns
 * CLI_DONE, or CLI_FAILED after a report when the store refuses whole
 * batches. */
int replay_request(struct replay_worker *worker);

/* Runs all of the trace that the options ask for. `replay->reader.fd` is
 * open. Returns CLI_DONE, or CLI_FAILED after a report; what was done is in
 * the figures either way. */
int replay_run(struct replay *replay);

/* Reports a failed object, unless there were many already. */
void replay_report_object(struct replay *replay,
                          const struct kvt_object *object);
void replay_report_wrong(struct replay *replay, const struct kvt_key *key);

/* Monotonic time. */
uint64_t replay_now_ns(void);

#endif
