#include "json_out.h"

#include "memory.h"
#include "output.h"
#include "utf8.h"

#include <cjson/cJSON.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    NAME_SIZE_MAX = 64
};

static cJSON *must(cJSON *item)
{
    if (item == NULL) {
        cli_memory_short();
    }
    return item;
}

struct cJSON *cli_json_object(void)
{
    return must(cJSON_CreateObject());
}

struct cJSON *cli_json_child(struct cJSON *parent, const char *name)
{
    return must(cJSON_AddObjectToObject(parent, name));
}

void cli_json_text(struct cJSON *object, const char *name, const char *text)
{
    char *clean = cli_utf8_clean(text != NULL ? text : "");
    must(cJSON_AddStringToObject(object, name, clean));
    free(clean);
}

/* cJSON keeps numbers as double: a count goes in as its own digits. */
void cli_json_count(struct cJSON *object, const char *name, uint64_t count)
{
    char digits[24];
    snprintf(digits, sizeof(digits), "%" PRIu64, count);
    must(cJSON_AddRawToObject(object, name, digits));
}

void cli_json_number(struct cJSON *object, const char *name, double number)
{
    must(cJSON_AddNumberToObject(object, name, number));
}

void cli_json_bool(struct cJSON *object, const char *name, bool value)
{
    must(cJSON_AddBoolToObject(object, name, value));
}

char *cli_json_finish(struct cJSON *object)
{
    char *text = cJSON_PrintUnformatted(object);
    if (text == NULL) {
        cli_memory_short();
    }
    cJSON_Delete(object);
    return text;
}

static void full_name(char *text, const char *prefix, const cJSON *item)
{
    snprintf(text, NAME_SIZE_MAX, "%s%s%s", prefix,
             prefix[0] != '\0' ? "." : "", item->string);
}

static int name_width(const cJSON *object, const char *prefix, int width)
{
    char name[NAME_SIZE_MAX];
    for (const cJSON *item = object->child; item; item = item->next) {
        full_name(name, prefix, item);
        if (cJSON_IsObject(item)) {
            width = name_width(item, name, width);
        } else if ((int)strlen(name) > width) {
            width = (int)strlen(name);
        }
    }
    return width;
}

static int table_print(struct cli *cli, const cJSON *object, const char *prefix,
                       int width)
{
    char name[NAME_SIZE_MAX];
    int failed = 0;
    for (const cJSON *item = object->child; item && failed == 0;
         item = item->next) {
        full_name(name, prefix, item);
        if (cJSON_IsObject(item)) {
            failed = table_print(cli, item, name, width);
        } else if (cJSON_IsNumber(item) || cJSON_IsBool(item)) {
            char *value = cJSON_PrintUnformatted(item);
            if (value == NULL) {
                cli_memory_short();
            }
            failed = cli_out(cli, "%-*s  %s\n", width, name, value);
            free(value);
        } else {
            failed = cli_out(cli, "%-*s  %s\n", width, name, item->valuestring);
        }
    }
    return failed;
}

int cli_json_print(struct cli *cli, struct cJSON *object)
{
    if (!cli->json) {
        int failed = table_print(cli, object, "", name_width(object, "", 0));
        cJSON_Delete(object);
        return failed;
    }
    char *text = cli_json_finish(object);
    int failed = cli_out(cli, "%s\n", text);
    free(text);
    return failed;
}
