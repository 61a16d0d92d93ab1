#include "replay.h"

#include "interrupt.h"
#include "keys.h"
#include "memory.h"
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum {
    FAILURES_SHOWN_MAX = 10,
    PROGRESS_NS = 100 * 1000 * 1000,
    SLEEP_NS_MAX = 50 * 1000 * 1000, /* how late an interrupt may be seen */
};

uint64_t replay_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool is_over(struct replay *replay)
{
    return cli_interrupted() || atomic_load(&replay->status) != CLI_DONE;
}

static void fail(struct replay *replay, int status)
{
    int done = CLI_DONE;
    atomic_compare_exchange_strong(&replay->status, &done, status);
}

/* Takes a place among the failures that are shown; says once that the others
 * are only counted. */
static bool may_report(struct replay *replay)
{
    uint64_t number = replay->failures_reported++;
    if (number == FAILURES_SHOWN_MAX) {
        struct cli_failure failure = {
            .code = KVT_ERR_INTERNAL,
            .subject = replay->trace,
            .message = "more objects failed; they are only counted",
            .remedy = "failed_loads, failed_offloads and wrong_blocks tell "
                      "how many",
        };
        cli_report(replay->cli, &failure);
    }
    return number < FAILURES_SHOWN_MAX;
}

void replay_report_object(struct replay *replay,
                          const struct kvt_object *object)
{
    pthread_mutex_lock(&replay->figures_lock);
    if (may_report(replay)) {
        cli_report_object(replay->cli, object);
    }
    pthread_mutex_unlock(&replay->figures_lock);
}

void replay_report_wrong(struct replay *replay, const struct kvt_key *key)
{
    struct cli_failure failure = {
        .code = KVT_ERR_CHECKSUM_MISMATCH,
        .message = "the store gave bytes that are not the block's",
        .remedy = "keep the store as it is, and report this",
    };
    pthread_mutex_lock(&replay->figures_lock);
    if (may_report(replay)) {
        cli_report_key(replay->cli, key, &failure);
    }
    pthread_mutex_unlock(&replay->figures_lock);
}

static void line_failed(struct replay *replay, const char *reason)
{
    char subject[512];
    snprintf(subject, sizeof(subject), "%s:%" PRIu64, replay->trace,
             replay->reader.line_number);
    struct cli_failure failure = {
        .code = KVT_ERR_INVALID_PARAMS,
        .subject = subject,
        .message = reason,
        .remedy = "mend the line, or replay with --on-broken skip",
    };
    cli_report(replay->cli, &failure);
    fail(replay, CLI_FAILED);
}

/* Reads lines until one is a request; returns whether one was. */
static bool request_read(struct replay *replay,
                         struct cli_trace_request *request)
{
    const char *line;
    size_t size;
    int result;
    while ((result = cli_trace_read(&replay->reader, &line, &size)) == 1) {
        const char *wrong = cli_trace_parse(line, size, request);
        if (wrong == NULL && replay->options.paced && !request->has_timestamp) {
            wrong = "timestamp is missing, and --paced needs it";
        }
        if (wrong == NULL) {
            return true;
        }
        replay->broken_lines++;
        if (!replay->options.skip_broken) {
            line_failed(replay, wrong);
            return false;
        }
    }
    if (result < 0) {
        cli_report_file(replay->cli, replay->trace, KVT_ERR_FILE_READ_FAIL,
                        result);
        fail(replay, CLI_FAILED);
    }
    return false;
}

static bool request_take(struct replay *replay,
                         struct cli_trace_request *request)
{
    bool taken = false;
    pthread_mutex_lock(&replay->trace_lock);
    if (!is_over(replay) &&
        replay->requests_taken < replay->options.request_limit) {
        taken = request_read(replay, request);
    }
    if (taken) {
        replay->requests_taken++;
        if (!replay->has_first_timestamp) {
            replay->has_first_timestamp = true;
            replay->first_timestamp_ms = request->timestamp_ms;
        }
    }
    pthread_mutex_unlock(&replay->trace_lock);
    return taken;
}

/* Waits for the request's time. Returns false when the replay is over. */
static bool pace(struct replay *replay, const struct cli_trace_request *request)
{
    double after_ms = request->timestamp_ms - replay->first_timestamp_ms;
    double due_ns = (double)replay->start_ns + after_ms * 1e6;
    while (replay->options.paced && !is_over(replay)) {
        double left_ns = due_ns - (double)replay_now_ns();
        if (left_ns <= 0) {
            return true;
        }
        struct timespec wait = {
            .tv_nsec = left_ns < SLEEP_NS_MAX ? (long)left_ns : SLEEP_NS_MAX,
        };
        nanosleep(&wait, NULL);
    }
    return !is_over(replay);
}

static void progress_print(struct replay *replay)
{
    const struct replay_figures *done = &replay->figures;
    uint64_t now_ns = replay_now_ns();
    if (now_ns < replay->progress_due_ns) {
        return;
    }
    replay->progress_due_ns = now_ns + PROGRESS_NS;
    double seconds = (double)(now_ns - replay->start_ns) / 1e9;
    double blocks =
        done->blocks_requested > 0 ? (double)done->blocks_requested : 1.0;
    double moved = (double)(done->bytes_loaded + done->bytes_offloaded);
    fprintf(stderr, "\r%" PRIu64 " requests, hits %.4f, %.0f MiB/s   ",
            done->requests, (double)done->blocks_hit / blocks,
            moved / 1048576.0 / (seconds > 0 ? seconds : 1.0));
}

static void figures_add(struct replay_figures *sum,
                        const struct replay_figures *more)
{
    sum->requests += more->requests;
    sum->blocks_requested += more->blocks_requested;
    sum->blocks_hit += more->blocks_hit;
    sum->prefix_blocks_hit += more->prefix_blocks_hit;
    sum->blocks_offloaded += more->blocks_offloaded;
    sum->bytes_loaded += more->bytes_loaded;
    sum->bytes_offloaded += more->bytes_offloaded;
    sum->wrong_blocks += more->wrong_blocks;
    sum->failed_loads += more->failed_loads;
    sum->failed_offloads += more->failed_offloads;
}

static void *worker_run(void *arg)
{
    struct replay_worker *worker = arg;
    struct replay *replay = worker->replay;
    bool progress = isatty(STDERR_FILENO) == 1 && !replay->cli->json;
    while (request_take(replay, &worker->request) &&
           pace(replay, &worker->request)) {
        int status = replay_request(worker);
        if (status != CLI_DONE) {
            fail(replay, status);
        }
        pthread_mutex_lock(&replay->figures_lock);
        figures_add(&replay->figures, &worker->figures);
        if (progress) {
            progress_print(replay);
        }
        pthread_mutex_unlock(&replay->figures_lock);
    }
    pthread_mutex_lock(&replay->figures_lock);
    cli_histogram_merge(&replay->load_ns, &worker->load_ns);
    cli_histogram_merge(&replay->offload_ns, &worker->offload_ns);
    if (progress) {
        fputs("\r\033[K", stderr);
    }
    pthread_mutex_unlock(&replay->figures_lock);
    return NULL;
}

static void start_failed(struct replay *replay, int errnum)
{
    struct cli_failure failure = {
        .code = KVT_ERR_INTERNAL,
        .errnum = errnum,
        .subject = replay->trace,
        .message = "a thread or its memory could not be had",
        .remedy = "ask for fewer --threads or a smaller --block-size",
    };
    cli_report(replay->cli, &failure);
    fail(replay, CLI_FAILED);
}

int replay_run(struct replay *replay)
{
    size_t count = (size_t)replay->options.thread_count;
    struct replay_worker *workers = cli_alloc(count * sizeof(*workers));
    pthread_t *threads = cli_alloc(count * sizeof(*threads));
    int error = 0;
    for (size_t i = 0; i < count && error == 0; i++) {
        error = -replay_worker_init(&workers[i], replay);
    }
    replay->start_ns = replay_now_ns();
    size_t started = 1; /* the first worker runs on this thread */
    while (started < count && error == 0) {
        error = pthread_create(&threads[started], NULL, worker_run,
                               &workers[started]);
        started += error == 0;
    }
    if (error != 0) {
        start_failed(replay, error);
    } else {
        worker_run(&workers[0]);
    }
    for (size_t i = 1; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    for (size_t i = 0; i < count; i++) {
        replay_worker_free(&workers[i]);
    }
    free(threads);
    free(workers);
    return atomic_load(&replay->status);
}
