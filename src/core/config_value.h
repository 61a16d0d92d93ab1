/* Texts of settings and what they mean.
 *
 *   size   digits and a unit. None or B: bytes. K M G T P E and KiB MiB ...:
 *          powers of 1024. KB MB GB TB PB EB: powers of 1000. Upper or lower
 *          case. No sign, no fraction, no blanks.
 *   limit  a size, or 1% to 100%.
 *   count  decimal digits.
 *   ratio  0 to 1 in decimal digits, at most 15 behind the point. Does not
 *          depend on the locale.
 *   bool   true on yes 1, false off no 0.
 *
 * The parsers return 0, -EINVAL for what is no such value, or -ERANGE for a
 * number that is too large; then the output is left alone. */
#ifndef KVT_CORE_CONFIG_VALUE_H
#define KVT_CORE_CONFIG_VALUE_H

#include "core/config_table.h"
#include "core/suggest.h"

#include <stdbool.h>

int kvt_value_count(const char *text, uint64_t *count);
int kvt_value_size(const char *text, uint64_t *bytes);
int kvt_value_percent(const char *text, double *fraction);
int kvt_value_ratio(const char *text, double *ratio);
int kvt_value_bool(const char *text, bool *on);

/* "256MiB": the largest unit of 1024 that divides. Needs 32 bytes of room;
 * returns `to`. */
#define KVT_VALUE_SIZE_TEXT 32u
char *kvt_value_print_size(uint64_t bytes, char to[KVT_VALUE_SIZE_TEXT]);

/* A value of a row. */
struct kvt_config_value {
    char *text;      /* canonical, owned; free with kvt_config_value_fini */
    uint64_t number; /* of sizes and counts; of a bool 0 or 1; of an
                        enumeration the place of the choice */
    double fraction; /* of ratios, and of a limit given in percent */
    bool is_fraction;
};

/* Why a text is no value of a row. */
struct kvt_config_fault {
    char reason[192];
    char suggestion[KVT_SUGGEST_SIZE]; /* or "" */
};

/* Reads `text` as a value of the row. Returns 0 and fills `value`, or
 * -EINVAL, -ERANGE (with `fault` filled), -ENOMEM, or what getcwd said. */
int kvt_config_value_parse(const struct kvt_config_row *row, const char *text,
                           struct kvt_config_value *value,
                           struct kvt_config_fault *fault);

/* Null is allowed. */
void kvt_config_value_fini(struct kvt_config_value *value);

/* What the row takes, in words ("4KiB to 1GiB", "none, fifo, lru"). Returns a
 * text (free with free), or null when memory is short. */
char *kvt_config_row_allowed(const struct kvt_config_row *row);

#endif
