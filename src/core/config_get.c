/* Settings as the library reads them: typed, with nothing left to fail. */
#include "core/config_impl.h"

#include <assert.h>
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
    return &config->entries[0];
}

uint64_t kvt_config_u64(const struct kvt_config *config, const char *key)
{
    const struct kvt_config_entry *entry = get_entry(config, key);

    assert(entry->row->type == KVT_CONFIG_SIZE ||
           entry->row->type == KVT_CONFIG_COUNT);
    return entry->value.number;
}

bool kvt_config_bool(const struct kvt_config *config, const char *key)
{
    const struct kvt_config_entry *entry = get_entry(config, key);

    assert(entry->row->type == KVT_CONFIG_BOOL);
    return entry->value.number != 0;
}

double kvt_config_ratio(const struct kvt_config *config, const char *key)
{
    const struct kvt_config_entry *entry = get_entry(config, key);

    assert(entry->row->type == KVT_CONFIG_RATIO);
    return entry->value.fraction;
}

const char *kvt_config_text(const struct kvt_config *config, const char *key)
{
    return get_entry(config, key)->value.text;
}

bool kvt_config_limit(const struct kvt_config *config, const char *key,
                      uint64_t *bytes, double *fraction)
{
    const struct kvt_config_entry *entry = get_entry(config, key);

    assert(entry->row->type == KVT_CONFIG_LIMIT);
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
