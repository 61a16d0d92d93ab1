#include "number.h"

#include "arguments.h"
#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads decimal digits; returns what stands behind them, or null when there
 * are none or too many. */
static const char *digits_read(const char *text, uint64_t *value)
{
    const char *at = text;
    *value = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (*value > (UINT64_MAX - digit) / 10) {
            return NULL;
        }
        *value = *value * 10 + digit;
    }
    return at == text ? NULL : at;
}

/* Shift of a unit's text, or -1. */
static int unit_shift(const char *unit)
{
    static const char letters[] = "KMGT";
    if (unit[0] == '\0') {
        return 0;
    }
    const char *letter = strchr(letters, unit[0]);
    if (letter == NULL || (unit[1] != '\0' && strcmp(unit + 1, "iB") != 0)) {
        return -1;
    }
    return 10 * (int)(letter - letters + 1);
}

static int out_of_bounds(const struct cli *cli, const char *option,
                         const char *text, uint64_t smallest, uint64_t largest,
                         const char *unit)
{
    char remedy[128];
    if (largest == UINT64_MAX) {
        snprintf(remedy, sizeof(remedy), "at least %" PRIu64 "%s is allowed",
                 smallest, unit);
    } else {
        snprintf(remedy, sizeof(remedy),
                 "%" PRIu64 " to %" PRIu64 "%s is allowed", smallest, largest,
                 unit);
    }
    return cli_usage(cli, option, remedy, "'%s' cannot be its value", text);
}

int cli_number_count(const struct cli *cli, const char *option,
                     uint64_t smallest, uint64_t largest, uint64_t *value)
{
    const char *text = cli_value(cli, option);
    if (text == NULL) {
        return CLI_DONE;
    }
    uint64_t number;
    const char *end = digits_read(text, &number);
    if (end == NULL || *end != '\0' || number < smallest || number > largest) {
        return out_of_bounds(cli, option, text, smallest, largest, "");
    }
    *value = number;
    return CLI_DONE;
}

int cli_number_size(const struct cli *cli, const char *option,
                    uint64_t smallest, uint64_t largest, uint64_t *value)
{
    const char *text = cli_value(cli, option);
    if (text == NULL) {
        return CLI_DONE;
    }
    uint64_t number;
    const char *end = digits_read(text, &number);
    int shift = end != NULL ? unit_shift(end) : -1;
    if (shift < 0 || number > UINT64_MAX >> shift ||
        number << shift < smallest || number << shift > largest) {
        return out_of_bounds(cli, option, text, smallest, largest,
                             " bytes (64KiB, 1M, ...)");
    }
    *value = number << shift;
    return CLI_DONE;
}

int cli_number_ratio(const struct cli *cli, const char *option, double *value)
{
    const char *text = cli_value(cli, option);
    if (text == NULL) {
        return CLI_DONE;
    }
    char *end = NULL;
    double number = strtod(text, &end);
    /* also refuses nan, and the hexadecimal that strtod knows */
    if (end == text || *end != '\0' || !(number >= 0.0 && number <= 1.0) ||
        strpbrk(text, "xXnN") != NULL) {
        return cli_usage(cli, option, "0 to 1 is allowed",
                         "'%s' cannot be its value", text);
    }
    *value = number;
    return CLI_DONE;
}
