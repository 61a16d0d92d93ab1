/* Rows of the table of settings, made of what a module brings. */
#include "fs/module.h"

#include "core/config_value.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_MAX = 63, /* behind "NAME." */
    CHOICES_MAX = 15
};

static int refuse(const struct kvt_fs_setting *setting, struct kvt_error *err,
                  const char *why)
{
    return kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, 0, setting->key,
                         "mend that row in the module", "its setting %s %s",
                         setting->key != NULL ? setting->key : "(null)", why);
}

static bool key_is_valid(const char *key, const char *name)
{
    size_t stem = strlen(name);
    if (key == NULL || strncmp(key, name, stem) != 0 || key[stem] != '.') {
        return false;
    }
    key += stem + 1;
    size_t size = strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return size > 0 && size <= KEY_MAX && key[size] == '\0';
}

static int take_choices(struct kvt_config_row *row,
                        const struct kvt_fs_setting *setting,
                        struct kvt_error *err)
{
    size_t count = 0;
    while (setting->choices != NULL && count <= CHOICES_MAX &&
           setting->choices[count] != NULL) {
        count++;
    }
    if (count == 0 || count > CHOICES_MAX) {
        return refuse(setting, err, "has no choices, or more than 15");
    }
    struct kvt_config_choice *choices = calloc(count + 1, sizeof choices[0]);
    if (choices == NULL) {
        return kvt_error_set(err, KVT_ERR_INTERNAL, ENOMEM, setting->key, NULL,
                             "no memory for its settings");
    }
    for (size_t i = 0; i < count; i++) {
        choices[i].name = setting->choices[i];
    }
    row->choices = choices;
    return KVT_OK;
}

/* A default that is none would only show when somebody asks for it. */
static int check_default(const struct kvt_config_row *row,
                         const struct kvt_fs_setting *setting,
                         struct kvt_error *err)
{
    struct kvt_config_value value;
    struct kvt_config_fault fault;
    int rc = kvt_config_value_parse(row, row->default_text, &value, &fault);
    if (rc != 0) {
        return refuse(setting, err, "has a default that it does not take");
    }
    kvt_config_value_fini(&value);
    return KVT_OK;
}

static int take_row(struct kvt_config_row *row,
                    const struct kvt_fs_setting *setting, const char *name,
                    struct kvt_error *err)
{
    static const enum kvt_config_type types[] = {
        [KVT_FS_SETTING_TEXT] = KVT_CONFIG_STRING,
        [KVT_FS_SETTING_SIZE] = KVT_CONFIG_SIZE,
        [KVT_FS_SETTING_COUNT] = KVT_CONFIG_COUNT,
        [KVT_FS_SETTING_BOOL] = KVT_CONFIG_BOOL,
        [KVT_FS_SETTING_CHOICE] = KVT_CONFIG_ENUM,
    };
    if (!key_is_valid(setting->key, name)) {
        return refuse(setting, err, "is not called NAME.key, of a-z 0-9 _");
    }
    if ((unsigned)setting->type < KVT_FS_SETTING_TEXT ||
        (unsigned)setting->type > KVT_FS_SETTING_CHOICE) {
        return refuse(setting, err, "has an unknown type");
    }
    if (setting->help == NULL || setting->help[0] == '\0') {
        return refuse(setting, err, "has no help");
    }
    *row = (struct kvt_config_row){
        .key = setting->key,
        .type = types[setting->type],
        .flags = setting->type == KVT_FS_SETTING_TEXT ? KVT_CONFIG_EMPTY : 0,
        .unit = setting->unit != NULL ? setting->unit : "",
        .default_text =
            setting->default_value != NULL ? setting->default_value : "",
        .min = setting->min,
        .max = setting->max,
        .help = setting->help};
    uint64_t most = setting->type == KVT_FS_SETTING_TEXT   ? KVT_CONFIG_TEXT_MAX
                    : setting->type == KVT_FS_SETTING_SIZE ? KVT_CONFIG_SIZE_MAX
                                                           : UINT64_MAX;
    row->max = row->max == 0 || row->max > most ? most : row->max;
    int rc = setting->type == KVT_FS_SETTING_CHOICE
                 ? take_choices(row, setting, err)
                 : KVT_OK;
    return rc == KVT_OK ? check_default(row, setting, err) : rc;
}

int kvt_module_settings_init(struct kvt_config_group *group,
                             const struct kvt_fs_module *table,
                             struct kvt_error *err)
{
    const char *name = table->ops->name;
    size_t count = table->settings != NULL ? table->setting_count : 0;
    struct kvt_config_row *rows = calloc(count + 1, sizeof rows[0]);
    if (rows == NULL) {
        return kvt_error_set(err, KVT_ERR_INTERNAL, ENOMEM, name, NULL,
                             "no memory for its settings");
    }
    *group = (struct kvt_config_group){name, rows, 0};
    int rc = KVT_OK;
    for (size_t i = 0; i < count && rc == KVT_OK; i++) {
        rc = take_row(&rows[i], &table->settings[i], name, err);
        group->count++; /* the last one too, with what it has by now */
    }
    if (rc != KVT_OK) {
        kvt_module_settings_fini(group);
    }
    return rc;
}

void kvt_module_settings_fini(struct kvt_config_group *group)
{
    for (size_t i = 0; i < group->count; i++) {
        free((void *)(uintptr_t)group->rows[i].choices);
    }
    free((void *)(uintptr_t)group->rows);
    *group = (struct kvt_config_group){0};
}
