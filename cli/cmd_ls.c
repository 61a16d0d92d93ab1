#include "arguments.h"
#include "cli.h"
#include "json_out.h"
#include "keys.h"
#include "keytext.h"
#include "memory.h"
#include "output.h"
#include "report.h"
#include "session.h"

#include <string.h>

static const char help[] =
    "Usage: kvtier [OPTIONS] ls [--prefix P]\n"
    "Lists the stored objects, in no particular order.\n"
    "\n"
    "Prints a line for each object: its size in bytes, a tab, its key. With\n"
    "--json: {key,size} each.\n"
    "Opens the store read-only, also while another process owns it.\n"
    "\n"
    "  --prefix P   only keys that begin with P\n"
    "\n"
    "Keys are text; bytes outside 0x21..0x7e and % are written %xx, or all of\n"
    "it in hex digits with --hex. P is written in the same way.\n"
    "\n"
    "Exit status: 0 done, 1 failed, 2 usage.\n";

struct listing {
    struct cli *cli;
    struct kvt_key prefix;
};

static int print_one(struct cli *cli, const struct kvt_meta *meta)
{
    if (!cli->json) {
        int failed = cli_out(cli, "%llu\t", (unsigned long long)meta->size);
        failed = failed != 0 ? failed : cli_out_key(cli, &meta->key);
        return failed != 0 ? failed : cli_out_bytes(cli, "\n", 1);
    }
    char *key = cli_key_text(meta->key.data, meta->key.size, cli->hex);
    if (key == NULL) {
        cli_memory_short();
    }
    struct cJSON *row = cli_json_object();
    cli_json_text(row, "key", key);
    cli_json_count(row, "size", meta->size);
    free(key);
    return cli_json_print(cli, row);
}

/* Ends the scan with 1 when stdout failed. */
static int listing_print(const struct kvt_meta *metas, size_t count, void *arg)
{
    const struct listing *listing = arg;
    const struct kvt_key *prefix = &listing->prefix;
    for (size_t i = 0; i < count; i++) {
        const struct kvt_key *key = &metas[i].key;
        if (key->size < prefix->size ||
            (prefix->size > 0 &&
             memcmp(key->data, prefix->data, prefix->size) != 0)) {
            continue;
        }
        if (print_one(listing->cli, &metas[i]) != 0) {
            return 1;
        }
    }
    return 0;
}

static int ls_run(struct cli *cli)
{
    struct cli_keys prefix = {0};
    struct listing listing = {.cli = cli};
    if (cli->arg_count > 0) {
        return cli_usage(cli, cli->args[0], "name a prefix with --prefix",
                         "ls takes no arguments");
    }
    const char *text = cli_value(cli, "--prefix");
    if (text != NULL) {
        int status = cli_keys_parse(cli, &text, 1, &prefix);
        if (status != CLI_DONE) {
            return status;
        }
        listing.prefix = prefix.objects[0].key;
    }
    int status = cli_store_begin(cli, CLI_READ);
    if (status == CLI_DONE) {
        struct kvt_error error = {0};
        int result = kvt_scan_meta(cli->store, listing_print, &listing, &error);
        if (result < 0) {
            status = cli_report_error(cli, &error, "");
        } else if (result > 0) {
            status = CLI_FAILED;
        }
    }
    cli_keys_free(&prefix);
    return status;
}

static const struct cli_option options[] = {{"--prefix", true}, {NULL, false}};

const struct cli_command cli_command_ls = {
    .name = "ls",
    .summary = "list the stored objects and their sizes",
    .help = help,
    .options = options,
    .run = ls_run,
};
