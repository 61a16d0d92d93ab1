#include "core/config_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

size_t kvt_config_family_stem(const struct kvt_config_row *row)
{
    return strlen(row->key) - (sizeof("NAME") - 1);
}

/* Whether the key is one of the family's: its stem and a name. */
static bool config_in_family(const struct kvt_config_row *row, const char *key)
{
    size_t stem = kvt_config_family_stem(row);

    if (strncmp(row->key, key, stem) != 0 || key[stem] == '\0') {
        return false;
    }
    /* The letters that an environment name can be turned back into. */
    return key[stem + strspn(key + stem, "abcdefghijklmnopqrstuvwxyz"
                                         "0123456789_")] == '\0';
}

static void config_entry_fini(struct kvt_config_entry *entry)
{
    free(entry->key);
    kvt_config_value_fini(&entry->value);
    free(entry->source);
    free(entry->default_text);
    free(entry->allowed);
}

static bool config_entry_init(struct kvt_config_entry *entry,
                              const struct kvt_config_row *row, const char *key)
{
    const char *text = row->default_text ? row->default_text : "";
    struct kvt_config_fault fault;

    *entry = (struct kvt_config_entry){.row = row};
    if (text[0] == '\0') { /* none given; not every row could be set to this */
        entry->value.text = strdup("");
    } else {
        int rc = kvt_config_value_parse(row, text, &entry->value, &fault);

        assert(rc == 0 || rc == -ENOMEM);
        (void)rc;
    }
    entry->key = strdup(key);
    entry->source = strdup("default");
    entry->allowed = kvt_config_row_allowed(row);
    entry->default_text = entry->value.text ? strdup(entry->value.text) : NULL;
    if (entry->key && entry->source && entry->allowed && entry->default_text) {
        return true;
    }
    config_entry_fini(entry);
    return false;
}

static bool config_entry_copy(struct kvt_config_entry *to,
                              const struct kvt_config_entry *from)
{
    *to = *from;
    to->line = 0;
    to->key = strdup(from->key);
    to->value.text = strdup(from->value.text);
    to->source = strdup(from->source);
    to->default_text = strdup(from->default_text);
    to->allowed = strdup(from->allowed);
    if (to->key && to->value.text && to->source && to->default_text &&
        to->allowed) {
        return true;
    }
    config_entry_fini(to);
    return false;
}

static struct kvt_config *config_alloc(size_t count)
{
    struct kvt_config *config = calloc(1, sizeof(*config));

    if (config == NULL) {
        return NULL;
    }
    config->entries = calloc(count, sizeof(*config->entries));
    if (config->entries == NULL) {
        free(config);
        return NULL;
    }
    return config;
}

struct kvt_config *kvt_config_open(void)
{
    const struct kvt_config_group *group;
    struct kvt_config *config;
    size_t count = 0;

    for (size_t i = 0; (group = kvt_config_group_at(i)) != NULL; i++) {
        count += group->count;
    }
    config = config_alloc(count);
    if (config == NULL) {
        return NULL;
    }
    for (size_t i = 0; (group = kvt_config_group_at(i)) != NULL; i++) {
        for (size_t j = 0; j < group->count; j++) {
            const struct kvt_config_row *row = &group->rows[j];

            if (!config_entry_init(&config->entries[config->count], row,
                                   row->key)) {
                kvt_config_close(config);
                return NULL;
            }
            config->count++;
        }
    }
    return config;
}

void kvt_config_close(struct kvt_config *config)
{
    if (config == NULL) {
        return;
    }
    for (size_t i = 0; i < config->count; i++) {
        config_entry_fini(&config->entries[i]);
    }
    free(config->entries);
    free(config);
}

struct kvt_config *kvt_config_copy(const struct kvt_config *config)
{
    struct kvt_config *copy = config_alloc(config->count);

    if (copy == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < config->count; i++) {
        if (!config_entry_copy(&copy->entries[i], &config->entries[i])) {
            kvt_config_close(copy);
            return NULL;
        }
        copy->count++;
    }
    return copy;
}

void kvt_config_adopt(struct kvt_config *config, struct kvt_config *draft)
{
    struct kvt_config old = *config;

    *config = *draft;
    *draft = old;
    kvt_config_close(draft);
}

/* The entry with exactly this key; for a key of a family that was not set,
 * the family's own; null when unknown. */
static struct kvt_config_entry *config_find(const struct kvt_config *config,
                                            const char *key)
{
    struct kvt_config_entry *family = NULL;

    for (size_t i = 0; i < config->count; i++) {
        struct kvt_config_entry *entry = &config->entries[i];

        if (strcmp(entry->key, key) == 0) {
            return entry;
        }
        if (family == NULL && (entry->row->flags & KVT_CONFIG_FAMILY) &&
            config_in_family(entry->row, key)) {
            family = entry;
        }
    }
    return family;
}

/* A family's entry only describes it; this one holds a value of it. Goes
 * behind its relatives, so that listings keep them together. */
static struct kvt_config_entry *config_insert(struct kvt_config *config,
                                              struct kvt_config_entry *family,
                                              const char *key)
{
    const struct kvt_config_row *row = family->row;
    size_t place = (size_t)(family - config->entries);
    struct kvt_config_entry made;
    struct kvt_config_entry *grown;

    if (!config_entry_init(&made, row, key)) {
        return NULL;
    }
    grown = realloc(config->entries, (config->count + 1) * sizeof(*grown));
    if (grown == NULL) {
        config_entry_fini(&made);
        return NULL;
    }
    config->entries = grown;
    while (place < config->count && grown[place].row == row) {
        place++;
    }
    memmove(&grown[place + 1], &grown[place],
            (config->count - place) * sizeof(*grown));
    grown[place] = made;
    config->count++;
    return &grown[place];
}

int kvt_config_assign(struct kvt_config *config, const char *key,
                      const char *value, const struct kvt_config_origin *origin,
                      struct kvt_error *err)
{
    struct kvt_config_entry *entry = config_find(config, key);
    struct kvt_config_value parsed;
    struct kvt_config_fault fault;
    char *source;
    int rc;

    if (entry == NULL || ((entry->row->flags & KVT_CONFIG_FAMILY) &&
                          strcmp(key, entry->row->key) == 0)) {
        return kvt_config_unknown(config, key, value, origin, err);
    }
    if (origin->line != 0 && entry->line != 0) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL, key,
                             "keep one of the two lines",
                             "%s line %u sets %s again: line %u did already",
                             origin->source, origin->line, key, entry->line);
    }
    rc = kvt_config_value_parse(entry->row, value, &parsed, &fault);
    if (rc == -ENOMEM) {
        return kvt_config_no_memory(err);
    }
    if (rc != 0) {
        return kvt_config_bad_value(entry, key, value, origin, rc, &fault, err);
    }
    source = strdup(origin->source);
    if (source != NULL && strcmp(entry->key, key) != 0) {
        entry = config_insert(config, entry, key);
    }
    if (source == NULL || entry == NULL) {
        free(source);
        kvt_config_value_fini(&parsed);
        return kvt_config_no_memory(err);
    }
    entry->line = origin->line;
    if (origin->rank < entry->rank) {
        free(source);
        kvt_config_value_fini(&parsed);
        return KVT_OK;
    }
    kvt_config_value_fini(&entry->value);
    free(entry->source);
    entry->value = parsed;
    entry->source = source;
    entry->rank = origin->rank;
    return KVT_OK;
}

int kvt_config_set(struct kvt_config *config, const char *key,
                   const char *value, struct kvt_error *err)
{
    const struct kvt_config_origin origin = {
        .rank = KVT_CONFIG_RANK_OPTION,
        .source = "option",
    };

    if (config == NULL || key == NULL || value == NULL) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL, key, NULL,
                             "a setting needs a configuration, a key and a "
                             "value");
    }
    return kvt_config_assign(config, key, value, &origin, err);
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
    entry = config_find(config, key);
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
