/* Modules in a configuration: which file an adapter's name means, and when
 * the settings of one join the table. */
#include "core/config_impl.h"

#include "core/modules.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The order in which a source is read: what tells where modules are comes
 * before what they may be asked about. */
unsigned kvt_config_stage(const char *key)
{
    if (strcmp(key, "module_path") == 0) {
        return 0;
    }
    return strcmp(key, "fs") == 0 || strcmp(key, "distributed.fs") == 0
               ? 1
               : KVT_CONFIG_STAGES - 1;
}

/* Files ------------------------------------------------------------------- */

/* What an fs value has behind its wrappers: a name, or a file with slashes,
 * which may have colons too. */
static const char *fs_adapter(const char *fs)
{
    for (;;) {
        size_t size = strcspn(fs, ":/");

        if (fs[size] != ':') {
            return fs;
        }
        fs += size + 1;
    }
}

/* The file that the setting `key` names, or null. */
static const char *fs_file(const struct kvt_config *config, const char *key)
{
    const char *adapter = fs_adapter(kvt_config_text(config, key));

    return adapter[0] == '/' ? adapter : NULL;
}

static const char *const fs_keys[] = {"fs", "distributed.fs"};

bool kvt_config_module_file(const struct kvt_config *config, const char *name,
                            char *file)
{
    for (size_t i = 0; i < 2; i++) {
        const char *given = fs_file(config, fs_keys[i]);
        char own[KVT_MODULE_NAME_MAX + 1];

        if (given != NULL && kvt_module_name_of(given, own) &&
            strcmp(own, name) == 0) {
            snprintf(file, KVT_MODULE_FILE_MAX, "%s", given);
            return true;
        }
    }
    return kvt_module_find(kvt_config_text(config, "module_path"), name, file);
}

struct each_module {
    const struct kvt_config *config;
    int (*each)(const char *file, void *arg);
    void *arg;
};

static const char *last_name(const char *file)
{
    return strrchr(file, '/') + 1;
}

static bool is_given(const struct kvt_config *config, const char *file,
                     size_t key_count)
{
    for (size_t i = 0; i < key_count; i++) {
        const char *given = fs_file(config, fs_keys[i]);

        if (given != NULL && strcmp(last_name(given), last_name(file)) == 0) {
            return true;
        }
    }
    return false;
}

static int each_found(const char *file, void *arg)
{
    struct each_module *all = arg;

    return is_given(all->config, file, 2) ? 0 : all->each(file, all->arg);
}

int kvt_config_each_module(const struct kvt_config *config,
                           int (*each)(const char *file, void *arg), void *arg,
                           struct kvt_error *err)
{
    struct each_module all = {config, each, arg};

    for (size_t i = 0; i < 2; i++) {
        const char *given = fs_file(config, fs_keys[i]);
        int rc;

        if (given != NULL && !is_given(config, given, i)) {
            rc = each(given, arg);
            if (rc != 0) {
                return rc;
            }
        }
    }
    return kvt_module_each(kvt_config_text(config, "module_path"), each_found,
                           &all, err);
}

/* Checking a value of fs -------------------------------------------------- */

static int fs_fault(struct kvt_config_fault *fault, const char *part,
                    const char *reason)
{
    snprintf(fault->reason, sizeof(fault->reason), "`%.100s` %s", part, reason);
    return -EINVAL;
}

static bool fs_has_name(const char *const *names, const char *name,
                        struct kvt_suggest *suggest)
{
    for (; *names != NULL; names++) {
        if (strcmp(*names, name) == 0) {
            return true;
        }
        kvt_suggest_offer(suggest, *names);
    }
    return false;
}

static int offer_module(const char *file, void *arg)
{
    char name[KVT_MODULE_NAME_MAX + 1];

    if (kvt_module_name_of(file, name)) {
        kvt_suggest_offer(arg, name);
    }
    return 0;
}

static int fs_check_file(const char *file, struct kvt_config_fault *fault)
{
    char name[KVT_MODULE_NAME_MAX + 1];
    struct stat info;

    if (file[0] != '/') {
        return fs_fault(fault, file,
                        "is relative: name a module's file by "
                        "its absolute path");
    }
    if (!kvt_module_name_of(file, name)) {
        return fs_fault(fault, last_name(file),
                        "is not called "
                        "kvtier-fs-NAME.so");
    }
    return lstat(file, &info) == 0 ? 0
                                   : fs_fault(fault, file, "is no such file");
}

int kvt_config_fs_check(const struct kvt_config *config, const char *text,
                        struct kvt_config_fault *fault)
{
    const char *adapter = fs_adapter(text);
    char file[KVT_MODULE_FILE_MAX];
    char part[64];
    struct kvt_suggest suggest;

    for (; text < adapter; text += strcspn(text, ":") + 1) {
        snprintf(part, sizeof(part), "%.*s", (int)strcspn(text, ":"), text);
        kvt_suggest_init(&suggest, part);
        if (!fs_has_name(kvt_config_wrappers, part, &suggest)) {
            memcpy(fault->suggestion, suggest.best, sizeof(suggest.best));
            return fs_fault(fault, part, "is no wrapper");
        }
    }
    if (strchr(adapter, '/') != NULL) {
        return fs_check_file(adapter, fault);
    }
    kvt_suggest_init(&suggest, adapter);
    if (fs_has_name(kvt_config_adapters, adapter, &suggest) ||
        (kvt_module_name_is_valid(adapter, strlen(adapter)) &&
         kvt_config_module_file(config, adapter, file))) {
        return 0;
    }
    kvt_config_each_module(config, offer_module, &suggest, NULL);
    memcpy(fault->suggestion, suggest.best, sizeof(suggest.best));
    return fs_fault(fault, adapter,
                    "is no adapter, and there is no module of that name");
}

/* Joining ----------------------------------------------------------------- */

static bool has_joined(const struct kvt_config *config,
                       const struct kvt_module *module)
{
    for (size_t i = 0; i < config->joined_count; i++) {
        if (config->joined[i] == module) {
            return true;
        }
    }
    return false;
}

/* One variable of the environment cannot mean both. */
static bool share_variable(const char *a, const char *b)
{
    for (; *a != '\0' && *b != '\0'; a++, b++) {
        if ((*a == '.' ? '_' : *a) != (*b == '.' ? '_' : *b)) {
            return false;
        }
    }
    return *a == *b;
}

static int check_clash(const struct kvt_config *config,
                       const struct kvt_module *module, size_t row,
                       struct kvt_error *err)
{
    const char *key = module->settings.rows[row].key;
    const char *other = NULL;

    for (size_t i = 0; i < row && other == NULL; i++) {
        const char *own = module->settings.rows[i].key;

        other = share_variable(own, key) ? own : NULL;
    }
    for (size_t i = 0; i < config->count && other == NULL; i++) {
        const char *own = config->entries[i].key;

        other = share_variable(own, key) ? own : NULL;
    }
    if (other == NULL) {
        return KVT_OK;
    }
    return kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, 0, module->file,
                         "name it otherwise in the module",
                         "%s has a setting %s, which cannot be told from %s",
                         module->file, key, other);
}

int kvt_config_join(struct kvt_config *config, const struct kvt_module *module,
                    struct kvt_error *err)
{
    if (has_joined(config, module)) {
        return KVT_OK;
    }
    for (size_t i = 0; i < config->joined_count; i++) {
        if (strcmp(config->joined[i]->name, module->name) == 0) {
            return kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, 0, module->file,
                                 "name the module's folder or file before its "
                                 "settings",
                                 "%s is another file than %s, whose settings "
                                 "are in use",
                                 module->file, config->joined[i]->file);
        }
    }
    for (size_t i = 0; i < module->settings.count; i++) {
        int rc = check_clash(config, module, i, err);

        if (rc != KVT_OK) {
            return rc;
        }
    }
    return kvt_config_append(config, module, err);
}

/* 1 when the module `name` joined now, 0 when there is none or it has joined
 * before; otherwise a code. */
static int join_named(struct kvt_config *config, const char *name, size_t size,
                      struct kvt_error *err)
{
    char text[KVT_MODULE_NAME_MAX + 1];
    char file[KVT_MODULE_FILE_MAX];
    const struct kvt_module *module;
    int rc;

    if (!kvt_module_name_is_valid(name, size)) {
        return 0;
    }
    memcpy(text, name, size);
    text[size] = '\0';
    if (!kvt_config_module_file(config, text, file)) {
        return 0;
    }
    rc = kvt_module_load(file, &module, err);
    if (rc == KVT_OK && has_joined(config, module)) {
        return 0;
    }
    if (rc == KVT_OK) {
        rc = kvt_config_join(config, module, err);
    }
    return rc == KVT_OK ? 1 : rc;
}

int kvt_config_join_for_key(struct kvt_config *config, const char *key,
                            struct kvt_error *err)
{
    size_t size = strcspn(key, ".");

    return key[size] == '.' ? join_named(config, key, size, err) : 0;
}

int kvt_config_join_for_variable(struct kvt_config *config, const char *name,
                                 struct kvt_error *err)
{
    int rc = 0;

    for (size_t i = 1; name[i] != '\0' && rc == 0; i++) {
        if (name[i] == '_') {
            rc = join_named(config, name, i, err);
        }
    }
    return rc;
}

static int join_found(const char *file, void *arg)
{
    const struct kvt_module *module;
    struct kvt_error ignored; /* kvt_components tells them */
    int rc = kvt_module_load(file, &module, &ignored);

    if (rc == KVT_OK) {
        rc = kvt_config_join(arg, module, &ignored);
    }
    return rc == KVT_ERR_INTERNAL && ignored.errnum == ENOMEM ? rc : 0;
}

int kvt_config_load_modules(struct kvt_config *config, struct kvt_error *err)
{
    int rc;

    if (config == NULL) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL, NULL, NULL,
                             "there is no configuration to load into");
    }
    rc = kvt_config_each_module(config, join_found, config, err);
    return rc == KVT_ERR_INTERNAL ? kvt_config_no_memory(err) : rc;
}

int kvt_config_load_module_path(struct kvt_config *config, const char *path,
                                struct kvt_error *err)
{
    int rc;

    if (config == NULL) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL, NULL, NULL,
                             "there is no configuration to load into");
    }
    rc = kvt_config_load_env_stages(config, 1, err);
    return rc == KVT_OK && path != NULL
               ? kvt_config_load_file_stages(config, path, 1, err)
               : rc;
}
