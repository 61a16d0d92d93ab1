/* Settings as the library reads them: typed, with nothing left to fail; and
 * as everybody sees them, with their rows. */
#include "core/config_impl.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static const struct kvt_config_entry *get_entry(const struct kvt_config *config,
                                                const char *key)
{
    for (size_t i = 0; i < config->count; i++) {
        if (strcmp(config->entries[i].key, key) == 0) {
            return &config->entries[i];
        }
    }
    assert(!"the table has no such key");
    return NULL;
}

uint64_t kvt_config_u64(const struct kvt_config *config, const char *key)
{
    const struct kvt_config_entry *entry = get_entry(config, key);
    bool is_number = entry != NULL && (entry->row->type == KVT_CONFIG_SIZE ||
                                       entry->row->type == KVT_CONFIG_COUNT);

    assert(is_number);
    return is_number ? entry->value.number : 0;
}

bool kvt_config_bool(const struct kvt_config *config, const char *key)
{
    const struct kvt_config_entry *entry = get_entry(config, key);
    bool is_bool = entry != NULL && entry->row->type == KVT_CONFIG_BOOL;

    assert(is_bool);
    return is_bool && entry->value.number != 0;
}

double kvt_config_ratio(const struct kvt_config *config, const char *key)
{
    const struct kvt_config_entry *entry = get_entry(config, key);

    assert(entry != NULL && entry->row->type == KVT_CONFIG_RATIO);
    return entry->value.fraction;
}

const char *kvt_config_text(const struct kvt_config *config, const char *key)
{
    const struct kvt_config_entry *entry = get_entry(config, key);

    return entry != NULL ? entry->value.text : "";
}

bool kvt_config_limit(const struct kvt_config *config, const char *key,
                      uint64_t *bytes, double *fraction)
{
    const struct kvt_config_entry *entry = get_entry(config, key);

    assert(entry != NULL && entry->row->type == KVT_CONFIG_LIMIT);
    *bytes = entry->value.number;
    *fraction = entry->value.fraction;
    return entry->value.is_fraction;
}

bool kvt_config_is_given(const struct kvt_config *config, const char *key)
{
    return get_entry(config, key)->rank != KVT_CONFIG_RANK_DEFAULT;
}

static bool get_is_distributed(const struct kvt_config *config)
{
    return strcmp(kvt_config_text(config, "backend"), "distributed") == 0;
}

const char *kvt_config_store_path(const struct kvt_config *config)
{
    if (get_is_distributed(config)) {
        const char *path = kvt_config_text(config, "distributed.path");

        if (path[0] != '\0') {
            return path;
        }
    }
    return kvt_config_text(config, "path");
}

const char *kvt_config_store_fs(const struct kvt_config *config)
{
    return kvt_config_text(config, get_is_distributed(config) ? "distributed.fs"
                                                              : "fs");
}

static void config_describe(const struct kvt_config_entry *entry,
                            struct kvt_setting *setting)
{
    static const char *const types[] = {
        [KVT_CONFIG_STRING] = "string", [KVT_CONFIG_PATH] = "string",
        [KVT_CONFIG_FS] = "string",     [KVT_CONFIG_SIZE] = "size",
        [KVT_CONFIG_LIMIT] = "size",    [KVT_CONFIG_COUNT] = "count",
        [KVT_CONFIG_RATIO] = "ratio",   [KVT_CONFIG_BOOL] = "bool",
        [KVT_CONFIG_ENUM] = "enum",
    };

    setting->key = entry->key;
    setting->value = entry->value.text;
    setting->source = entry->source;
    setting->default_value = entry->default_text;
    setting->type = types[entry->row->type];
    setting->unit = entry->row->unit ? entry->row->unit : "";
    setting->allowed = entry->allowed;
    setting->help = entry->row->help;
}

int kvt_config_get(const struct kvt_config *config, const char *key,
                   struct kvt_setting *setting, struct kvt_error *err)
{
    const struct kvt_config_entry *entry;

    if (config == NULL || key == NULL || setting == NULL) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL, key, NULL,
                             "a setting is asked for without saying which");
    }
    entry = kvt_config_find(config, key);
    if (entry == NULL) {
        return kvt_config_unknown(config, key, NULL, NULL, err);
    }
    config_describe(entry, setting);
    return KVT_OK;
}

int kvt_config_each(const struct kvt_config *config,
                    int (*each)(const struct kvt_setting *setting, void *arg),
                    void *arg)
{
    for (size_t i = 0; i < config->count; i++) {
        struct kvt_setting setting;
        int rc;

        config_describe(&config->entries[i], &setting);
        rc = each(&setting, arg);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}
