/* What a refused setting is told. */
#include "core/config_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int kvt_config_no_memory(struct kvt_error *err)
{
    return kvt_error_set(err, KVT_ERR_INTERNAL, ENOMEM, NULL, NULL,
                         "no memory for the configuration");
}

static void message_origin(const struct kvt_config_origin *origin, char *to,
                           size_t size)
{
    if (origin->line != 0) {
        snprintf(to, size, "%.400s line %u", origin->source, origin->line);
    } else {
        snprintf(to, size, "%.400s", origin->source);
    }
}

int kvt_config_unknown(const struct kvt_config *config, const char *key,
                       const char *value,
                       const struct kvt_config_origin *origin,
                       struct kvt_error *err)
{
    struct kvt_suggest suggest;
    char remedy[256];
    char from[512] = "";

    kvt_suggest_init(&suggest, key);
    for (size_t i = 0; i < config->count; i++) {
        kvt_suggest_offer(&suggest, config->entries[i].key);
    }
    if (suggest.best[0] != '\0') {
        snprintf(remedy, sizeof(remedy), "did you mean `%s`?", suggest.best);
    } else {
        snprintf(remedy, sizeof(remedy), "`kvtier config` lists all settings%s",
                 strchr(key, '.') != NULL
                     ? "; those of a module come with it: name its folder, "
                       "module_path, before them"
                     : "");
    }
    if (origin == NULL) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL, key, remedy,
                             "no setting is called `%.200s`", key);
    }
    message_origin(origin, from, sizeof(from));
    return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL, key, remedy,
                         "%.200s = \"%.200s\" from %s: no setting is called "
                         "that",
                         key, value, from);
}

int kvt_config_bad_value(const struct kvt_config_entry *entry, const char *key,
                         const char *value,
                         const struct kvt_config_origin *origin, int rc,
                         const struct kvt_config_fault *fault,
                         struct kvt_error *err)
{
    char remedy[256];
    char from[512];

    message_origin(origin, from, sizeof(from));
    if (fault->suggestion[0] != '\0') {
        snprintf(remedy, sizeof(remedy), "did you mean `%s`?",
                 fault->suggestion);
    } else if (entry->row->type == KVT_CONFIG_FS) {
        snprintf(remedy, sizeof(remedy),
                 "`kvtier backends` lists what there is; name the folder of a "
                 "module, module_path, before it");
    } else {
        snprintf(remedy, sizeof(remedy),
                 "give a value that is allowed; `kvtier config --explain "
                 "%.100s` tells more",
                 entry->row->key);
    }
    return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, -rc, key, remedy,
                         "%.100s = \"%.100s\" from %s: %s; allowed: %s", key,
                         value, from, fault->reason, entry->allowed);
}
