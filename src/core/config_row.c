/* Values of rows: the type's parser, the row's bounds, the canonical text. */
#include "core/config_value.h"

#include <kvtier/base.h>

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int row_fault(struct kvt_config_fault *fault, int rc, const char *format,
                     ...) KVT_PRINTF(3, 4);

static int row_fault(struct kvt_config_fault *fault, int rc, const char *format,
                     ...)
{
    va_list args;

    va_start(args, format);
    if (vsnprintf(fault->reason, sizeof(fault->reason), format, args) < 0) {
        fault->reason[0] = '\0';
    }
    va_end(args);
    return rc;
}

static int row_take_text(struct kvt_config_value *value, const char *text)
{
    value->text = strdup(text);
    return value->text != NULL ? 0 : -ENOMEM;
}

static int row_take_number(struct kvt_config_value *value, uint64_t number)
{
    char text[32];

    snprintf(text, sizeof(text), "%" PRIu64, number);
    value->number = number;
    return row_take_text(value, text);
}

static int row_parse_number(const struct kvt_config_row *row, const char *text,
                            struct kvt_config_value *value,
                            struct kvt_config_fault *fault)
{
    uint64_t number = 0;
    int rc = row->type == KVT_CONFIG_COUNT ? kvt_value_count(text, &number)
                                           : kvt_value_size(text, &number);

    if (rc == -EINVAL) {
        return row_fault(fault, rc, "%s",
                         text[0] == '-'                  ? "is negative"
                         : row->type == KVT_CONFIG_COUNT ? "is no whole number"
                                                         : "is no size");
    }
    if (rc != 0 || number > row->max) {
        return row_fault(fault, -ERANGE, "is too large");
    }
    if (number < row->min) {
        return row_fault(fault, -ERANGE, "is too small");
    }
    return row_take_number(value, number);
}

static int row_parse_limit(const struct kvt_config_row *row, const char *text,
                           struct kvt_config_value *value,
                           struct kvt_config_fault *fault)
{
    char canonical[8];
    int rc;

    if (strchr(text, '%') == NULL) {
        return row_parse_number(row, text, value, fault);
    }
    rc = kvt_value_percent(text, &value->fraction);
    if (rc != 0) {
        return row_fault(fault, rc, "is no share from 1%% to 100%%");
    }
    value->is_fraction = true;
    snprintf(canonical, sizeof(canonical), "%d%%",
             (int)(value->fraction * 100.0 + 0.5));
    return row_take_text(value, canonical);
}

static int row_parse_ratio(const char *text, struct kvt_config_value *value,
                           struct kvt_config_fault *fault)
{
    char canonical[32];
    size_t size;
    uint64_t digits;
    int rc = kvt_value_ratio(text, &value->fraction);

    if (rc == -EINVAL) {
        return row_fault(fault, rc, "%s",
                         text[0] == '-' ? "is negative" : "is no number");
    }
    if (rc != 0) {
        return row_fault(fault, rc, "is too large");
    }
    /* Made of integers: printf's decimal point depends on the locale. */
    digits = (uint64_t)(value->fraction * 1e15 + 0.5);
    snprintf(canonical, sizeof(canonical), "%" PRIu64 ".%015" PRIu64,
             digits / UINT64_C(1000000000000000),
             digits % UINT64_C(1000000000000000));
    size = strlen(canonical);
    while (canonical[size - 1] == '0') {
        size--;
    }
    if (canonical[size - 1] == '.') {
        size--;
    }
    canonical[size] = '\0';
    return row_take_text(value, canonical);
}

static bool row_choice_is(const struct kvt_config_choice *choice,
                          const char *text)
{
    if (strcmp(choice->name, text) == 0) {
        return true;
    }
    for (size_t i = 0; i < 3 && choice->aliases[i] != NULL; i++) {
        if (strcmp(choice->aliases[i], text) == 0) {
            return true;
        }
    }
    return false;
}

static int row_parse_enum(const struct kvt_config_row *row, const char *text,
                          struct kvt_config_value *value,
                          struct kvt_config_fault *fault)
{
    struct kvt_suggest suggest;

    kvt_suggest_init(&suggest, text);
    for (size_t i = 0; row->choices[i].name != NULL; i++) {
        if (row_choice_is(&row->choices[i], text)) {
            value->number = i;
            return row_take_text(value, row->choices[i].name);
        }
        kvt_suggest_offer(&suggest, row->choices[i].name);
    }
    memcpy(fault->suggestion, suggest.best, sizeof(suggest.best));
    return row_fault(fault, -EINVAL, "is none of the names");
}

static int row_parse_bool(const char *text, struct kvt_config_value *value,
                          struct kvt_config_fault *fault)
{
    bool on = false;

    if (kvt_value_bool(text, &on) != 0) {
        return row_fault(fault, -EINVAL, "is neither on nor off");
    }
    value->number = on;
    return row_take_text(value, on ? "on" : "off");
}

static int row_parse_path(const struct kvt_config_row *row, const char *text,
                          struct kvt_config_value *value,
                          struct kvt_config_fault *fault)
{
    char cwd[PATH_MAX];
    size_t cwd_size;
    size_t text_size;

    if (text[0] == '/') {
        return row_take_text(value, text);
    }
    while (text[0] == '.' && (text[1] == '/' || text[1] == '\0')) {
        text += text[1] == '/' ? 2 : 1;
        while (text[0] == '/') {
            text++;
        }
    }
    if (getcwd(cwd, sizeof(cwd)) == NULL) {
        int rc = -errno;

        return row_fault(fault, rc,
                         "is relative, and the current directory "
                         "cannot be told");
    }
    if (strcmp(cwd, "/") == 0) {
        cwd[0] = '\0';
    }
    if (cwd[0] != '\0' && text[0] == '\0') {
        return row_take_text(value, cwd);
    }
    cwd_size = strlen(cwd);
    text_size = strlen(text);
    if (cwd_size + 1 + text_size > row->max) {
        return row_fault(fault, -ERANGE, "is too long when made absolute");
    }
    value->text = malloc(cwd_size + 1 + text_size + 1);
    if (value->text == NULL) {
        return -ENOMEM;
    }
    memcpy(value->text, cwd, cwd_size);
    value->text[cwd_size] = '/';
    memcpy(value->text + cwd_size + 1, text, text_size + 1);
    return 0;
}

static int row_parse_string(const struct kvt_config_row *row, const char *text,
                            struct kvt_config_value *value,
                            struct kvt_config_fault *fault)
{
    if (strlen(text) > row->max) {
        return row_fault(fault, -ERANGE, "is too long");
    }
    if (row->type == KVT_CONFIG_PATH) {
        return row_parse_path(row, text, value, fault);
    }
    if ((row->flags & KVT_CONFIG_ABSOLUTE) != 0 && text[0] != '\0' &&
        text[0] != '/') {
        return row_fault(fault, -EINVAL, "is relative");
    }
    return row_take_text(value, text);
}

int kvt_config_value_parse(const struct kvt_config_row *row, const char *text,
                           struct kvt_config_value *value,
                           struct kvt_config_fault *fault)
{
    memset(value, 0, sizeof(*value));
    memset(fault, 0, sizeof(*fault));
    if (text[0] == '\0' && (row->flags & KVT_CONFIG_EMPTY) == 0) {
        return row_fault(fault, -EINVAL, "is empty");
    }
    switch (row->type) {
    case KVT_CONFIG_STRING:
    case KVT_CONFIG_PATH:
    case KVT_CONFIG_FS:
        return row_parse_string(row, text, value, fault);
    case KVT_CONFIG_SIZE:
    case KVT_CONFIG_COUNT:
        return row_parse_number(row, text, value, fault);
    case KVT_CONFIG_LIMIT:
        return row_parse_limit(row, text, value, fault);
    case KVT_CONFIG_RATIO:
        return row_parse_ratio(text, value, fault);
    case KVT_CONFIG_BOOL:
        return row_parse_bool(text, value, fault);
    case KVT_CONFIG_ENUM:
        return row_parse_enum(row, text, value, fault);
    }
    return -EINVAL;
}

void kvt_config_value_fini(struct kvt_config_value *value)
{
    if (value != NULL) {
        free(value->text);
        value->text = NULL;
    }
}

static void row_join(char *to, size_t size, const char *const *names,
                     const char *last)
{
    for (; *names != NULL; names++) {
        size_t used = strlen(to);

        snprintf(to + used, size - used, "%s%s", *names,
                 names[1] != NULL ? ", " : last);
    }
}

char *kvt_config_row_allowed(const struct kvt_config_row *row)
{
    const char *names[16] = {NULL};
    char text[512] = "";
    char low[KVT_VALUE_SIZE_TEXT];
    char high[KVT_VALUE_SIZE_TEXT];

    switch (row->type) {
    case KVT_CONFIG_STRING:
        if ((row->flags & KVT_CONFIG_ABSOLUTE) != 0) {
            snprintf(text, sizeof(text), "an absolute path");
        } else {
            snprintf(text, sizeof(text), "text of at most %" PRIu64 " bytes",
                     row->max);
        }
        break;
    case KVT_CONFIG_PATH:
        snprintf(text, sizeof(text), "a directory");
        break;
    case KVT_CONFIG_FS:
        row_join(text, sizeof(text), kvt_config_adapters,
                 ", a module's name or its file; in front of it ");
        row_join(text, sizeof(text), kvt_config_wrappers,
                 ", as in trace:posix");
        break;
    case KVT_CONFIG_SIZE:
    case KVT_CONFIG_LIMIT:
        snprintf(text, sizeof(text), "%s to %s%s",
                 kvt_value_print_size(row->min, low),
                 kvt_value_print_size(row->max, high),
                 row->type == KVT_CONFIG_LIMIT ? ", or 1% to 100%" : "");
        break;
    case KVT_CONFIG_COUNT:
        snprintf(text, sizeof(text), "%" PRIu64 " to %" PRIu64, row->min,
                 row->max);
        break;
    case KVT_CONFIG_RATIO:
        snprintf(text, sizeof(text), "0 to 1");
        break;
    case KVT_CONFIG_BOOL:
        snprintf(text, sizeof(text), "on, off");
        break;
    case KVT_CONFIG_ENUM:
        for (size_t i = 0; i < 15 && row->choices[i].name != NULL; i++) {
            names[i] = row->choices[i].name;
        }
        row_join(text, sizeof(text), names, "");
        break;
    }
    return strdup(text);
}
