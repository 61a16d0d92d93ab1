#include "arguments.h"
#include "cli.h"
#include "figures.h"
#include "interrupt.h"
#include "json_out.h"
#include "memory.h"
#include "number.h"
#include "replay.h"
#include "report.h"
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "Usage: kvtier [OPTIONS] replay TRACE\n"
    "Runs a trace of requests against the store; TRACE `-` is standard input.\n"
    "A line is "
    "{\"timestamp\",\"input_length\",\"output_length\",\"hash_ids\"}: a block\n"
    "for each id. A request loads its longest stored prefix, then offloads "
    "the\n"
    "blocks that are not stored. Every loaded byte is checked.\n"
    "\n"
    "  --block-size SIZE      bytes of a block; 64KiB\n"
    "  --limit-blocks N       keep at most N blocks' values on disk\n"
    "  --requests N           end after N requests\n"
    "  --threads N            requests at a time, 1 to 256; 1\n"
    "  --paced                by timestamp (ms), not as fast as possible\n"
    "  --no-verify            do not check the loaded bytes\n"
    "  --on-broken fail|skip  end at a broken line, or only count it; fail\n"
    "\n"
    "blocks_hit counts blocks that were stored when their request came,\n"
    "prefix_blocks_hit those with all before them stored too. Latencies are "
    "of\n"
    "batch calls. An object that is gone is a miss; failed_loads are others.\n"
    "SIGINT and SIGTERM end it cleanly: what was done is printed, exit 1.\n"
    "\n"
    "Exit status: 0 done, 2 usage, 3 some loads or offloads failed; 1 failed:\n"
    "broken line, interrupted, wrong bytes.\n";

enum {
    THREADS_MAX = 256
};

static double ratio(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0.0;
}

static void latency_put(struct cJSON *root, const char *name,
                        const struct cli_histogram *histogram)
{
    struct cJSON *object = cli_json_child(root, name);
    static const struct {
        const char *name;
        double share;
    } points[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        uint64_t ns = cli_histogram_at(histogram, points[i].share);
        cli_json_number(object, points[i].name, (double)ns / 1000.0);
    }
    cli_json_number(object, "max", (double)histogram->max / 1000.0);
}

static struct cJSON *result_json(const struct replay *replay,
                                 const struct kvt_stats *stats, double seconds)
{
    const struct replay_figures *done = &replay->figures;
    struct cJSON *root = cli_json_object();
    cli_json_count(root, "requests", done->requests);
    cli_json_count(root, "blocks_requested", done->blocks_requested);
    cli_json_count(root, "blocks_hit", done->blocks_hit);
    cli_json_number(root, "block_hit_ratio",
                    ratio(done->blocks_hit, done->blocks_requested));
    cli_json_count(root, "prefix_blocks_hit", done->prefix_blocks_hit);
    cli_json_number(root, "prefix_hit_ratio",
                    ratio(done->prefix_blocks_hit, done->blocks_requested));
    cli_json_count(root, "blocks_offloaded", done->blocks_offloaded);
    cli_json_count(root, "bytes_loaded", done->bytes_loaded);
    cli_json_count(root, "bytes_offloaded", done->bytes_offloaded);
    cli_json_count(root, "bytes_rewritten", stats->rewritten_bytes);
    cli_json_count(root, "wrong_blocks", done->wrong_blocks);
    cli_json_count(root, "failed_loads", done->failed_loads);
    cli_json_count(root, "failed_offloads", done->failed_offloads);
    cli_json_count(root, "evicted_objects", stats->evicted_objects);
    cli_json_number(root, "seconds", seconds);
    cli_json_count(root, "peak_value_bytes", stats->peak_value_bytes);
    cli_json_count(root, "peak_allocated_bytes", stats->peak_allocated_bytes);
    cli_json_count(root, "max_rss_bytes", cli_max_rss());
    cli_json_count(root, "broken_lines", replay->broken_lines);
    cli_json_bool(root, "interrupted", cli_interrupted());
    latency_put(root, "load_latency_us", &replay->load_ns);
    latency_put(root, "offload_latency_us", &replay->offload_ns);
    return root;
}

static int options_read(struct cli *cli, struct replay_options *options,
                        uint64_t *limit_blocks)
{
    *options = (struct replay_options){
        .block_size = 64 * 1024,
        .request_limit = UINT64_MAX,
        .thread_count = 1,
        .paced = cli_has(cli, "--paced"),
        .verify = !cli_has(cli, "--no-verify"),
    };
    const char *on_broken = cli_value(cli, "--on-broken");
    if (on_broken != NULL) {
        options->skip_broken = strcmp(on_broken, "skip") == 0;
        if (!options->skip_broken && strcmp(on_broken, "fail") != 0) {
            return cli_usage(cli, "--on-broken", "fail or skip is allowed",
                             "'%s' cannot be its value", on_broken);
        }
    }
    int status = cli_number_size(
        cli, "--block-size", 1, cli_object_size_max(cli), &options->block_size);
    if (status == CLI_DONE) {
        status =
            cli_number_count(cli, "--limit-blocks", 1,
                             INT64_MAX / options->block_size, limit_blocks);
    }
    if (status == CLI_DONE) {
        status = cli_number_count(cli, "--requests", 1, UINT64_MAX,
                                  &options->request_limit);
    }
    if (status == CLI_DONE) {
        status = cli_number_count(cli, "--threads", 1, THREADS_MAX,
                                  &options->thread_count);
    }
    return status;
}

static int store_begin(struct cli *cli, const struct replay_options *options,
                       uint64_t limit_blocks)
{
    char limit[24];
    if (limit_blocks > 0) {
        snprintf(limit, sizeof(limit), "%" PRIu64,
                 limit_blocks * options->block_size);
        int status = cli_config_set(cli, "total_value_limit", limit);
        if (status != CLI_DONE) {
            return status;
        }
    }
    return cli_store_begin(cli, CLI_WRITE);
}

/* The replay itself, with the store open; prints the result. */
static int replay_print(struct cli *cli, struct replay *replay)
{
    struct kvt_stats stats = {.size = sizeof(stats)};
    cli_interrupt_catch();
    int status = replay_run(replay);
    double seconds = (double)(replay_now_ns() - replay->start_ns) / 1e9;
    kvt_stats(cli->store, &stats);
    if (cli_json_print(cli, result_json(replay, &stats, seconds)) != 0) {
        return CLI_FAILED;
    }
    const struct replay_figures *done = &replay->figures;
    if (status != CLI_DONE || cli_interrupted() || done->wrong_blocks > 0) {
        return CLI_FAILED;
    }
    bool all = done->failed_loads == 0 && done->failed_offloads == 0;
    return all ? CLI_DONE : CLI_SOME_FAILED;
}

static int trace_open(const struct cli *cli, const char *path, int *fd)
{
    bool is_stdin = strcmp(path, "-") == 0;
    *fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0) {
        return cli_report_file(cli, path, KVT_ERR_FILE_OPEN_FAIL, errno);
    }
    return CLI_DONE;
}

static int replay_command(struct cli *cli)
{
    if (cli->arg_count != 1) {
        return cli_usage(cli, "", NULL, "exactly one trace is needed");
    }
    int status = cli_config_build(cli);
    if (status != CLI_DONE) {
        return status;
    }
    uint64_t limit_blocks = 0;
    struct replay *replay = cli_alloc(sizeof(*replay));
    replay->cli = cli;
    replay->trace = cli->args[0];
    replay->reader.stopped = cli_interrupted;
    pthread_mutex_init(&replay->trace_lock, NULL);
    pthread_mutex_init(&replay->figures_lock, NULL);
    status = options_read(cli, &replay->options, &limit_blocks);
    if (status == CLI_DONE) {
        status = trace_open(cli, replay->trace, &replay->reader.fd);
    }
    if (status == CLI_DONE) {
        status = store_begin(cli, &replay->options, limit_blocks);
        if (status == CLI_DONE) {
            status = replay_print(cli, replay);
        }
        if (replay->reader.fd != STDIN_FILENO) {
            close(replay->reader.fd);
        }
    }
    cli_trace_reader_free(&replay->reader);
    pthread_mutex_destroy(&replay->trace_lock);
    pthread_mutex_destroy(&replay->figures_lock);
    free(replay);
    return status;
}

static const struct cli_option options_table[] = {
    {"--block-size", true}, {"--limit-blocks", true},
    {"--requests", true},   {"--threads", true},
    {"--paced", false},     {"--no-verify", false},
    {"--on-broken", true},  {NULL, false},
};

const struct cli_command cli_command_replay = {
    .name = "replay",
    .summary = "run a trace of requests against the store",
    .help = help,
    .options = options_table,
    .run = replay_command,
};
