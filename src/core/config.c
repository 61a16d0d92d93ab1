#include "core/config_impl.h"

#include "core/modules.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
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
    free(config->joined);
    free(config);
}

/* Makes room for one more module, and notes it. */
static bool config_note_module(struct kvt_config *config,
                               const struct kvt_module *module)
{
    size_t size = (config->joined_count + 1) * sizeof(config->joined[0]);
    const struct kvt_module **grown = realloc(config->joined, size);

    if (grown == NULL) {
        return false;
    }
    grown[config->joined_count++] = module;
    config->joined = grown;
    return true;
}

int kvt_config_append(struct kvt_config *config,
                      const struct kvt_module *module, struct kvt_error *err)
{
    size_t before = config->count;
    size_t after = before + module->settings.count;
    struct kvt_config_entry *grown =
        realloc(config->entries, after * sizeof(*grown));

    if (grown == NULL) {
        return kvt_config_no_memory(err);
    }
    config->entries = grown;
    for (size_t i = 0; i < module->settings.count; i++) {
        const struct kvt_config_row *row = &module->settings.rows[i];

        if (!config_entry_init(&grown[config->count], row, row->key)) {
            break;
        }
        config->count++;
    }
    if (config->count == after && config_note_module(config, module)) {
        return KVT_OK;
    }
    while (config->count > before) {
        config_entry_fini(&grown[--config->count]);
    }
    return kvt_config_no_memory(err);
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
    for (size_t i = 0; i < config->joined_count; i++) {
        if (!config_note_module(copy, config->joined[i])) {
            kvt_config_close(copy);
            return NULL;
        }
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

struct kvt_config_entry *kvt_config_find(const struct kvt_config *config,
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

/* The entry of a key, also of a module that was not asked for before. Returns
 * KVT_OK, or a code with `err` filled. */
static int config_find_or_join(struct kvt_config *config, const char *key,
                               const char *value,
                               const struct kvt_config_origin *origin,
                               struct kvt_config_entry **out,
                               struct kvt_error *err)
{
    struct kvt_config_entry *entry = kvt_config_find(config, key);
    int joined = 0;

    if (entry == NULL) {
        joined = kvt_config_join_for_key(config, key, err);
    }
    if (joined < 0) {
        kvt_error_prefix(err, "the setting %.100s from %.200s", key,
                         origin->source);
        return joined;
    }
    entry = joined > 0 ? kvt_config_find(config, key) : entry;
    if (entry == NULL || ((entry->row->flags & KVT_CONFIG_FAMILY) &&
                          strcmp(key, entry->row->key) == 0)) {
        return kvt_config_unknown(config, key, value, origin, err);
    }
    *out = entry;
    return KVT_OK;
}

/* What no row alone can tell of a value that was read. */
static int config_check_value(const struct kvt_config *config,
                              const struct kvt_config_entry *entry,
                              const struct kvt_config_value *value,
                              const struct kvt_config_origin *origin,
                              struct kvt_config_fault *fault)
{
    if (entry->row->type == KVT_CONFIG_FS) {
        return kvt_config_fs_check(config, value->text, fault);
    }
    if (config->joined_count > 0 && origin->rank >= entry->rank &&
        kvt_config_stage(entry->key) == 0 &&
        strcmp(value->text, entry->value.text) != 0) {
        snprintf(fault->reason, sizeof(fault->reason),
                 "comes too late: settings of the module %s are in use",
                 config->joined[0]->name);
        return -EINVAL;
    }
    return 0;
}

int kvt_config_assign(struct kvt_config *config, const char *key,
                      const char *value, const struct kvt_config_origin *origin,
                      struct kvt_error *err)
{
    struct kvt_config_entry *entry = NULL;
    struct kvt_config_value parsed;
    struct kvt_config_fault fault;
    char *source;
    int rc = config_find_or_join(config, key, value, origin, &entry, err);

    if (rc != KVT_OK) {
        return rc;
    }
    if (origin->line != 0 && entry->line != 0) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL, key,
                             "keep one of the two lines",
                             "%s line %u sets %s again: line %u did already",
                             origin->source, origin->line, key, entry->line);
    }
    rc = kvt_config_value_parse(entry->row, value, &parsed, &fault);
    if (rc == 0) {
        rc = config_check_value(config, entry, &parsed, origin, &fault);
        if (rc != 0) {
            kvt_config_value_fini(&parsed);
        }
    }
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
