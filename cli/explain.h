/*
 * explain.h - a reason and a remedy for every status code.
 */
#ifndef CLI_EXPLAIN_H
#define CLI_EXPLAIN_H

#include <stddef.h>

/* Writes what `code` means, and the system's own words for `errnum` (positive,
 * or 0) behind it. */
void cli_explain_reason(int code, int errnum, char *text, size_t size);

/* What to do about it: by `errnum` where that says more. A constant text. */
const char *cli_explain_remedy(int code, int errnum);

#endif
