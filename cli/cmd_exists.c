#include "cli.h"
#include "json_out.h"
#include "keys.h"
#include "keytext.h"
#include "memory.h"
#include "output.h"
#include "report.h"
#include "session.h"

static const char help[] =
    "Usage: kvtier [OPTIONS] exists KEY...\n"
    "Says which objects are stored, without reading them.\n"
    "\n"
    "Prints a line for each key, in their order: 1 or 0, a tab, the key. With\n"
    "--json: {key,exists,size} each, and at the end {prefix_length}: how many\n"
    "keys from the first on are all stored.\n"
    "Opens the store read-only, also while another process owns it.\n"
    "\n"
    "KEY is text; bytes outside 0x21..0x7e and % are written %xx, or all of "
    "it\n"
    "in hex digits with --hex.\n"
    "\n"
    "Exit status: 0 all are stored, 3 some are not, 1 failed, 2 usage.\n";

static int print_one(struct cli *cli, const struct kvt_object *object)
{
    bool exists = object->status == KVT_OK;
    char *key = cli_key_text(object->key.data, object->key.size, cli->hex);
    if (key == NULL) {
        cli_memory_short();
    }
    int failed = 0;
    if (cli->json) {
        struct cJSON *row = cli_json_object();
        cli_json_text(row, "key", key);
        cli_json_bool(row, "exists", exists);
        cli_json_count(row, "size", exists ? object->size : 0);
        failed = cli_json_print(cli, row);
    } else {
        failed = cli_out(cli, "%d\t%s\n", exists, key);
    }
    free(key);
    return failed;
}

static int print_all(struct cli *cli, const struct cli_keys *keys,
                     size_t prefix_count)
{
    for (size_t i = 0; i < keys->count; i++) {
        int status = keys->objects[i].status;
        /* what could not be asked is neither there nor absent */
        bool known = status == KVT_OK || status == KVT_ERR_OBJECT_NOT_FOUND;
        if (known && print_one(cli, &keys->objects[i]) != 0) {
            return CLI_FAILED;
        }
    }
    if (cli->json) {
        struct cJSON *last = cli_json_object();
        cli_json_count(last, "prefix_length", prefix_count);
        if (cli_json_print(cli, last) != 0) {
            return CLI_FAILED;
        }
    }
    return CLI_DONE;
}

static int exists_run(struct cli *cli)
{
    if (cli->arg_count == 0) {
        return cli_usage(cli, "", NULL, "no key was given");
    }
    struct cli_keys keys;
    int status = cli_keys_parse(cli, cli->args, cli->arg_count, &keys);
    if (status != CLI_DONE) {
        return status;
    }
    status = cli_store_begin(cli, CLI_READ);
    if (status == CLI_DONE) {
        struct kvt_batch_options options = KVT_BATCH_OPTIONS_INIT;
        int present =
            kvt_batch_exists(cli->store, keys.objects, keys.count, &options);
        status = cli_batch_check(cli, present);
        if (status == CLI_DONE) {
            status = print_all(cli, &keys, options.prefix_count);
            cli_objects_report(cli, keys.objects, keys.count,
                               KVT_ERR_OBJECT_NOT_FOUND);
        }
        if (status == CLI_DONE && (size_t)present < keys.count) {
            status = CLI_SOME_FAILED;
        }
    }
    cli_keys_free(&keys);
    return status;
}

const struct cli_command cli_command_exists = {
    .name = "exists",
    .summary = "say which objects are stored",
    .help = help,
    .run = exists_run,
};
