#include "core/config_value.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static bool value_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads the digits at the start of `text`; `rest` gets what follows. */
static int value_digits(const char *text, uint64_t *number, const char **rest)
{
    uint64_t sum = 0;

    if (!value_is_digit(*text)) {
        return -EINVAL;
    }
    for (; value_is_digit(*text); text++) {
        uint64_t digit = (uint64_t)(*text - '0');

        if (sum > (UINT64_MAX - digit) / 10) {
            return -ERANGE;
        }
        sum = sum * 10 + digit;
    }
    *number = sum;
    *rest = text;
    return 0;
}

int kvt_value_count(const char *text, uint64_t *count)
{
    uint64_t number;
    const char *rest;
    int rc = value_digits(text, &number, &rest);

    if (rc != 0) {
        return rc;
    }
    if (*rest != '\0') {
        return -EINVAL;
    }
    *count = number;
    return 0;
}

static const char value_units[] = "KMGTPE";

/* The factor that a unit stands for, or 0 when it is none. */
static uint64_t value_unit_factor(const char *unit)
{
    const char *place;
    uint64_t base;
    uint64_t factor = 1;

    if (unit[0] == '\0' || strcasecmp(unit, "B") == 0) {
        return 1;
    }
    for (place = value_units; *place != '\0'; place++) {
        if (strncasecmp(place, unit, 1) == 0) {
            break;
        }
    }
    if (*place == '\0') {
        return 0;
    }
    if (unit[1] == '\0' || strcasecmp(unit + 1, "iB") == 0) {
        base = 1024;
    } else if (strcasecmp(unit + 1, "B") == 0) {
        base = 1000;
    } else {
        return 0;
    }
    for (ptrdiff_t i = 0; i <= place - value_units; i++) {
        factor *= base;
    }
    return factor;
}

int kvt_value_size(const char *text, uint64_t *bytes)
{
    uint64_t number;
    uint64_t factor;
    const char *rest;
    int rc = value_digits(text, &number, &rest);

    if (rc != 0) {
        return rc;
    }
    factor = value_unit_factor(rest);
    if (factor == 0) {
        return -EINVAL;
    }
    if (number > UINT64_MAX / factor) {
        return -ERANGE;
    }
    *bytes = number * factor;
    return 0;
}

int kvt_value_percent(const char *text, double *fraction)
{
    uint64_t number;
    const char *rest;
    int rc = value_digits(text, &number, &rest);

    if (rc != 0) {
        return rc;
    }
    if (strcmp(rest, "%") != 0) {
        return -EINVAL;
    }
    if (number < 1 || number > 100) {
        return -ERANGE;
    }
    *fraction = (double)number / 100.0;
    return 0;
}

int kvt_value_ratio(const char *text, double *ratio)
{
    uint64_t whole;
    uint64_t part = 0;
    uint64_t scale = 1;
    const char *rest;
    int rc = value_digits(text, &whole, &rest);

    if (rc != 0) {
        return rc;
    }
    if (*rest == '.') {
        rest++;
        if (!value_is_digit(*rest)) {
            return -EINVAL;
        }
        for (; value_is_digit(*rest); rest++) {
            /* 10^15 is exact in a double, so the quotient is the nearest
             * double to what was written; zeros behind that add nothing */
            if (scale >= UINT64_C(1000000000000000)) {
                if (*rest != '0') {
                    return -EINVAL;
                }
                continue;
            }
            part = part * 10 + (uint64_t)(*rest - '0');
            scale *= 10;
        }
    }
    if (*rest != '\0') {
        return -EINVAL;
    }
    if (whole > 1 || (whole == 1 && part != 0)) {
        return -ERANGE;
    }
    *ratio = (double)(whole * scale + part) / (double)scale;
    return 0;
}

int kvt_value_bool(const char *text, bool *on)
{
    static const char *const names[][2] = {
        {"off", "on"},
        {"false", "true"},
        {"no", "yes"},
        {"0", "1"},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        for (int is_on = 0; is_on < 2; is_on++) {
            if (strcmp(text, names[i][is_on]) == 0) {
                *on = is_on != 0;
                return 0;
            }
        }
    }
    return -EINVAL;
}

char *kvt_value_print_size(uint64_t bytes, char to[KVT_VALUE_SIZE_TEXT])
{
    size_t unit = 0;

    while (bytes != 0 && bytes % 1024 == 0 && value_units[unit] != '\0') {
        bytes /= 1024;
        unit++;
    }
    if (unit == 0) {
        snprintf(to, KVT_VALUE_SIZE_TEXT, "%llu", (unsigned long long)bytes);
    } else {
        snprintf(to, KVT_VALUE_SIZE_TEXT, "%llu%ciB", (unsigned long long)bytes,
                 value_units[unit - 1]);
    }
    return to;
}
