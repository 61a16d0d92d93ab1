/* Settings from the environment: KVTIER_<KEY>, all of which must be known,
 * and the names of the table's own, of which only those are looked at. */
#include "core/config_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENV_PREFIX "KVTIER_"
#define ENV_PREFIX_SIZE (sizeof(ENV_PREFIX) - 1)
#define ENV_NAME_SIZE 192u

/* POSIX has no header declare it without GNU extensions. */
extern char **environ;

/* ASCII alone: the library's caller may have set any locale. */
static char env_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static char env_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* "distributed.fs" becomes "KVTIER_DISTRIBUTED_FS". */
static void env_name_of(const char *key, char name[ENV_NAME_SIZE])
{
    snprintf(name, ENV_NAME_SIZE, ENV_PREFIX "%s", key);
    for (char *c = name + ENV_PREFIX_SIZE; *c != '\0'; c++) {
        *c = *c == '.' ? '_' : env_upper(*c);
    }
}

/* A key of a family from a variable: what follows the stem goes back to lower
 * case. Returns whether the variable is of the family. */
static bool env_family_key(const struct kvt_config_row *row, const char *name,
                           char key[ENV_NAME_SIZE])
{
    size_t stem = kvt_config_family_stem(row);
    char own[ENV_NAME_SIZE];

    env_name_of(row->key, own);
    if (strncmp(own, name, ENV_PREFIX_SIZE + stem) != 0 ||
        strlen(name) - ENV_PREFIX_SIZE >= ENV_NAME_SIZE) {
        return false;
    }
    snprintf(key, ENV_NAME_SIZE, "%.*s%s", (int)stem, row->key,
             name + ENV_PREFIX_SIZE + stem);
    for (char *c = key + stem; *c != '\0'; c++) {
        *c = env_lower(*c);
    }
    return key[stem] != '\0';
}

/* Finds the key that a KVTIER_ variable sets; otherwise offers every name it
 * could have been to `suggest`. */
static bool env_key_of(const struct kvt_config *config, const char *name,
                       char key[ENV_NAME_SIZE], struct kvt_suggest *suggest)
{
    for (size_t i = 0; i < config->count; i++) {
        const struct kvt_config_entry *entry = &config->entries[i];
        char own[ENV_NAME_SIZE];

        if (entry->row->flags & KVT_CONFIG_FAMILY) {
            if (env_family_key(entry->row, name, key)) {
                return true;
            }
            continue;
        }
        env_name_of(entry->key, own);
        if (strcmp(own, name) == 0) {
            snprintf(key, ENV_NAME_SIZE, "%s", entry->key);
            return true;
        }
        kvt_suggest_offer(suggest, own);
    }
    return false;
}

/* The same, also for the settings of a module that was not asked for before.
 * Returns 1, 0 when it is nobody's, or a code with `err` filled. */
static int env_find_key(struct kvt_config *config, const char *name,
                        char key[ENV_NAME_SIZE], struct kvt_suggest *suggest,
                        struct kvt_error *err)
{
    char lower[ENV_NAME_SIZE];
    int joined;

    if (env_key_of(config, name, key, suggest)) {
        return 1;
    }
    snprintf(lower, sizeof(lower), "%s", name + ENV_PREFIX_SIZE);
    for (char *c = lower; *c != '\0'; c++) {
        *c = env_lower(*c);
    }
    while ((joined = kvt_config_join_for_variable(config, lower, err)) > 0) {
        if (env_key_of(config, name, key, suggest)) {
            return 1;
        }
    }
    if (joined < 0) {
        kvt_error_prefix(err, "%s from the environment", name);
    }
    return joined;
}

static int env_unknown(const char *name, const char *value,
                       const struct kvt_suggest *suggest, struct kvt_error *err)
{
    char remedy[256];

    if (suggest->best[0] != '\0') {
        snprintf(remedy, sizeof(remedy), "did you mean `%s`?", suggest->best);
    } else {
        snprintf(remedy, sizeof(remedy),
                 "unset it; `kvtier config` lists all settings");
    }
    return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL, name, remedy,
                         "%s = \"%.200s\" from the environment: no "
                         "setting is called that",
                         name, value);
}

/* Takes a variable if it is of the stage, or the last stage looks at it. */
static int env_take_own(struct kvt_config *draft, const char *variable,
                        unsigned stage, struct kvt_error *err)
{
    const char *equals = strchr(variable, '=');
    char name[ENV_NAME_SIZE];
    char key[ENV_NAME_SIZE];
    char source[ENV_NAME_SIZE + 8];
    struct kvt_suggest suggest;
    struct kvt_config_origin origin = {.rank = KVT_CONFIG_RANK_ENV};
    size_t size;
    bool is_cut;
    bool is_last = stage + 1 == KVT_CONFIG_STAGES;
    int found;

    if (equals == NULL) {
        return KVT_OK;
    }
    size = (size_t)(equals - variable);
    is_cut = size >= sizeof(name); /* longer than any of ours */
    size = is_cut ? sizeof(name) - 1 : size;
    memcpy(name, variable, size);
    name[size] = '\0';
    kvt_suggest_init(&suggest, name);
    if (is_last && !is_cut) {
        found = env_find_key(draft, name, key, &suggest, err);
        if (found < 0) {
            return found;
        }
    } else {
        found = !is_cut && env_key_of(draft, name, key, &suggest);
    }
    if (!found) {
        return is_last ? env_unknown(name, equals + 1, &suggest, err) : KVT_OK;
    }
    if (kvt_config_stage(key) != stage) {
        return KVT_OK;
    }
    snprintf(source, sizeof(source), "env:%s", name);
    origin.source = source;
    return kvt_config_assign(draft, key, equals + 1, &origin, err);
}

static int env_take_alias(struct kvt_config *draft, const char *key,
                          const char *name, const char *value,
                          struct kvt_error *err)
{
    char source[ENV_NAME_SIZE + 8];
    struct kvt_config_origin origin = {
        .rank = KVT_CONFIG_RANK_ENV_ALIAS,
        .source = source,
    };

    snprintf(source, sizeof(source), "env:%s", name);
    return kvt_config_assign(draft, key, value, &origin, err);
}

/* A variable that says yes or no to one value of the setting. */
static int env_take_switch(struct kvt_config *draft,
                           const struct kvt_config_row *row,
                           struct kvt_error *err)
{
    const char *value = getenv(row->env_on);
    bool on = false;

    if (value == NULL) {
        return KVT_OK;
    }
    if (kvt_value_bool(value, &on) != 0) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL, row->key,
                             "set it to true or false, or unset it",
                             "%s = \"%.200s\" from the environment: is "
                             "neither true nor false; true means %s = %s",
                             row->env_on, value, row->key, row->env_on_value);
    }
    if (!on) {
        return KVT_OK;
    }
    return env_take_alias(draft, row->key, row->env_on, row->env_on_value, err);
}

static int env_take_stage(struct kvt_config *draft, unsigned stage,
                          struct kvt_error *err)
{
    int rc;

    for (size_t i = 0; i < draft->count; i++) {
        const struct kvt_config_row *row = draft->entries[i].row;
        const char *value = row->env ? getenv(row->env) : NULL;

        if (kvt_config_stage(row->key) != stage) {
            continue;
        }
        if (value != NULL) {
            rc = env_take_alias(draft, row->key, row->env, value, err);
            if (rc != KVT_OK) {
                return rc;
            }
        }
        if (row->env_on != NULL) {
            rc = env_take_switch(draft, row, err);
            if (rc != KVT_OK) {
                return rc;
            }
        }
    }
    for (char **variable = environ; variable && *variable; variable++) {
        if (strncmp(*variable, ENV_PREFIX, ENV_PREFIX_SIZE) == 0) {
            rc = env_take_own(draft, *variable, stage, err);
            if (rc != KVT_OK) {
                return rc;
            }
        }
    }
    return KVT_OK;
}

int kvt_config_load_env_stages(struct kvt_config *config, unsigned stages,
                               struct kvt_error *err)
{
    struct kvt_config *draft;
    int rc = KVT_OK;

    if (config == NULL) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL, NULL, NULL,
                             "there is no configuration to load into");
    }
    draft = kvt_config_copy(config);
    if (draft == NULL) {
        return kvt_config_no_memory(err);
    }
    for (unsigned stage = 0; stage < stages && rc == KVT_OK; stage++) {
        rc = env_take_stage(draft, stage, err);
    }
    if (rc != KVT_OK) {
        kvt_config_close(draft);
        return rc;
    }
    kvt_config_adopt(config, draft);
    return KVT_OK;
}

int kvt_config_load_env(struct kvt_config *config, struct kvt_error *err)
{
    return kvt_config_load_env_stages(config, KVT_CONFIG_STAGES, err);
}
