#include "arguments.h"
#include "cli.h"
#include "interrupt.h"
#include "json_out.h"
#include "number.h"
#include "report.h"
#include "session.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const char help[] =
    "Usage: kvtier [OPTIONS] verify [--repair] [--rate SIZE]\n"
    "Reads every object and checks it against all that is stored of it.\n"
    "\n"
    "  --repair      takes what is bad out of the store; a local store keeps "
    "a\n"
    "                copy in .kvtier/quarantine, up to 64 MiB and a sixteenth "
    "of\n"
    "                the limit. `distributed` changes nothing.\n"
    "  --rate SIZE   bytes to read in a second, at most; default 128MiB; 0: "
    "any\n"
    "\n"
    "Names each bad object on stderr. Prints objects, bytes, bad,\n"
    "unverifiable (nothing proves them) and repaired; with --json one object.\n"
    "Without --repair nothing is changed; the store is opened read-only, also\n"
    "while another process owns it, and what that one wrote last is not seen.\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 usage, 3 some objects are bad, repaired "
    "or\n"
    "not.\n";

enum {
    INTERRUPTED = 1
};

struct verify {
    struct cli *cli;
    bool shows; /* progress */
    bool shown;
    struct timespec due;
};

static void progress_clear(struct verify *verify)
{
    if (verify->shown) {
        fputs("\r\033[K", stderr);
        verify->shown = false;
    }
}

static int progress(const struct kvt_verify_result *so_far, void *arg)
{
    struct verify *verify = arg;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (verify->shows && (now.tv_sec > verify->due.tv_sec)) {
        verify->due = now; /* once a second */
        verify->shown = true;
        fprintf(stderr, "\r%" PRIu64 " objects, %.1f MiB, %" PRIu64 " bad   ",
                so_far->objects, (double)so_far->bytes / 1048576.0,
                so_far->bad);
    }
    return cli_interrupted() ? INTERRUPTED : 0;
}

static void bad(const struct kvt_meta *meta, int status, int errnum, void *arg)
{
    struct verify *verify = arg;
    struct cli_failure failure = {.code = status, .errnum = errnum};
    progress_clear(verify);
    if (meta->key.size > 0) {
        cli_report_key(verify->cli, &meta->key, &failure);
        return;
    }
    failure.message = "an object is damaged in such a way that its key cannot "
                      "be read";
    failure.remedy = "offload again what is missed";
    cli_report(verify->cli, &failure);
}

static int result_print(struct cli *cli, const struct kvt_verify_result *result)
{
    struct cJSON *row = cli_json_object();
    cli_json_count(row, "objects", result->objects);
    cli_json_count(row, "bytes", result->bytes);
    cli_json_count(row, "bad", result->bad);
    cli_json_count(row, "unverifiable", result->unverifiable);
    cli_json_count(row, "repaired", result->repaired);
    return cli_json_print(cli, row);
}

static int verify_run(struct cli *cli)
{
    struct kvt_verify_options options = KVT_VERIFY_OPTIONS_INIT;
    struct kvt_verify_result result;
    struct kvt_error error = {0};
    if (cli->arg_count > 0) {
        return cli_usage(cli, cli->args[0], NULL, "verify takes no arguments");
    }
    int status = cli_number_size(cli, "--rate", 0, UINT64_MAX,
                                 &options.bytes_per_second);
    if (status != CLI_DONE) {
        return status;
    }
    options.repair = cli_has(cli, "--repair");
    status = cli_store_begin(cli, options.repair ? CLI_WRITE : CLI_READ);
    if (status != CLI_DONE) {
        return status;
    }
    struct verify verify = {.cli = cli,
                            .shows = isatty(STDERR_FILENO) == 1 && !cli->json};
    options.progress = progress;
    options.bad = bad;
    options.arg = &verify;
    cli_interrupt_catch();
    int rc = kvt_verify(cli->store, &options, &result, &error);
    progress_clear(&verify);
    if (rc < 0) {
        return cli_report_error(cli, &error, "");
    }
    if (result_print(cli, &result) != 0 || rc == INTERRUPTED) {
        return CLI_FAILED;
    }
    return result.bad > 0 ? CLI_SOME_FAILED : CLI_DONE;
}

static const struct cli_option options[] = {
    {"--repair", false}, {"--rate", true}, {NULL, false}};

const struct cli_command cli_command_verify = {
    .name = "verify",
    .summary = "read and check every object",
    .help = help,
    .options = options,
    .run = verify_run,
};
