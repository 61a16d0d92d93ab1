/* Any bytes as a configuration file, and as the text of every kind of value.
 * What is taken must print, read back as itself, and be within its bounds. */
#include "core/config.h"
#include "core/config_value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

static void fuzz_row(const struct kvt_config_row *row, const char *text)
{
    struct kvt_config_value value;
    struct kvt_config_value again;
    struct kvt_config_fault fault;

    if (kvt_config_value_parse(row, text, &value, &fault) != 0) {
        require(value.text == NULL);
        return;
    }
    require(kvt_config_value_parse(row, value.text, &again, &fault) == 0);
    require(strcmp(value.text, again.text) == 0);
    require(value.number == again.number);
    require(value.is_fraction == again.is_fraction);
    require(!(value.fraction < again.fraction) &&
            !(value.fraction > again.fraction));
    require(value.fraction >= 0.0 && value.fraction <= 1.0);
    kvt_config_value_fini(&value);
    kvt_config_value_fini(&again);
}

static void fuzz_values(const char *text)
{
    const struct kvt_config_group *group;

    for (size_t i = 0; (group = kvt_config_group_at(i)) != NULL; i++) {
        for (size_t j = 0; j < group->count; j++) {
            fuzz_row(&group->rows[j], text);
        }
    }
}

static int fuzz_set_again(const struct kvt_setting *setting, void *arg)
{
    if (strcmp(setting->source, "default") != 0) {
        require(kvt_config_set(arg, setting->key, setting->value, NULL) ==
                KVT_OK);
    }
    return 0;
}

static char fuzz_path[] = "/tmp/kvt-fuzz-XXXXXX";

static void fuzz_remove_file(void)
{
    unlink(fuzz_path);
}

static void fuzz_file(const uint8_t *data, size_t size)
{
    static int fd = -1;
    struct kvt_config *config = kvt_config_open();
    struct kvt_config *copy;
    struct kvt_error err;

    if (fd < 0) {
        fd = mkstemp(fuzz_path);
        require(fd >= 0 && atexit(fuzz_remove_file) == 0);
    }
    require(config != NULL);
    require(ftruncate(fd, 0) == 0);
    require(pwrite(fd, data, size, 0) == (ssize_t)size);
    if (kvt_config_load_file(config, fuzz_path, &err) == KVT_OK) {
        copy = kvt_config_copy(config);
        require(copy != NULL);
        require(kvt_config_each(config, fuzz_set_again, copy) == 0);
        kvt_config_close(copy);
    } else {
        require(err.message[0] != '\0');
        require(kvt_config_each(config, fuzz_set_again, NULL) == 0);
    }
    kvt_config_check(config, &err);
    kvt_config_close(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    char *equals;

    require(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    fuzz_values(text);
    equals = strchr(text, '=');
    if (equals != NULL) {
        struct kvt_config *config = kvt_config_open();

        require(config != NULL);
        *equals = '\0';
        kvt_config_set(config, text, equals + 1, NULL);
        kvt_config_close(config);
    }
    free(text);
    fuzz_file(data, size);
    return 0;
}
