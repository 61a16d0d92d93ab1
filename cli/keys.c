#include "keys.h"

#include "keytext.h"
#include "memory.h"
#include "report.h"

#include <string.h>

static int bad_key(const struct cli *cli, const char *text, const char *at)
{
    if (!cli->hex) {
        return cli_usage(cli, text, "write % itself as %25",
                         "bad escape '%.3s' in the key", at);
    }
    if (*at == '\0') {
        return cli_usage(cli, text, "write two hex digits for every byte",
                         "odd number of hex digits in the key");
    }
    return cli_usage(cli, text, "write two hex digits for every byte",
                     "'%c' in the key is not a hex digit", *at);
}

int cli_keys_parse(const struct cli *cli, const char *const *texts,
                   size_t count, struct cli_keys *keys)
{
    size_t room = 0;
    for (size_t i = 0; i < count; i++) {
        room += strlen(texts[i]);
    }
    keys->objects = cli_alloc(count * sizeof(*keys->objects));
    keys->bytes = cli_alloc(room);
    keys->count = count;
    unsigned char *at = keys->bytes;
    for (size_t i = 0; i < count; i++) {
        struct kvt_key *key = &keys->objects[i].key;
        const char *bad = cli_key_parse(texts[i], cli->hex, at, &key->size);
        if (bad != NULL) {
            cli_keys_free(keys);
            return bad_key(cli, texts[i], bad);
        }
        key->data = at;
        at += key->size;
    }
    return CLI_DONE;
}

void cli_keys_free(struct cli_keys *keys)
{
    free(keys->objects);
    free(keys->bytes);
    *keys = (struct cli_keys){0};
}

size_t cli_objects_report(const struct cli *cli,
                          const struct kvt_object *objects, size_t count,
                          int but)
{
    size_t failed = 0;
    for (size_t i = 0; i < count; i++) {
        if (objects[i].status != KVT_OK && objects[i].status != but) {
            cli_report_object(cli, &objects[i]);
            failed++;
        }
    }
    return failed;
}

static bool is_read_only(const struct cli *cli)
{
    struct kvt_setting setting;
    struct kvt_error error = {0};
    return kvt_config_get(cli->config, "read_only", &setting, &error) ==
               KVT_OK &&
           strcmp(setting.value, "on") == 0;
}

int cli_batch_check(const struct cli *cli, int result)
{
    if (result >= 0) {
        return CLI_DONE;
    }
    struct cli_failure failure = {.code = result, .subject = ""};
    failure.message = "the store refused the whole batch";
    if (result == KVT_ERR_UNABLE_OFFLOAD && is_read_only(cli)) {
        failure.message = "the store is open read-only";
        failure.remedy = "leave out --read-only, or set read_only=off";
    }
    cli_report(cli, &failure);
    return CLI_FAILED;
}
