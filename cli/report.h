/*
 * report.h - what went wrong, one line each on stderr.
 *
 *   kvtier: COMMAND SUBJECT: reason; remedy [KVT_ERR_NAME CODE ERRNONAME]
 *
 * With --json: {"error":{name,code,errno,subject,message,remedy}}.
 */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include "cli.h"

struct cli_failure {
    int code;            /* enum kvt_status */
    int errnum;          /* positive errno, or 0 */
    const char *subject; /* "" when it is about nothing in particular */
    const char *message; /* null: what explain.h knows of code and errnum */
    const char *remedy;  /* null: the same */
};

void cli_report(const struct cli *cli, const struct cli_failure *failure);

/* The store's error of a whole call. `subject` is taken where the error has
 * none. Returns CLI_FAILED. */
int cli_report_error(const struct cli *cli, const struct kvt_error *error,
                     const char *subject);

/* An object whose status is not KVT_OK. */
void cli_report_object(const struct cli *cli, const struct kvt_object *object);

/* A key that failed for a reason of ours. */
void cli_report_key(const struct cli *cli, const struct kvt_key *key,
                    const struct cli_failure *failure);

/* A key whose bytes are more than `limit`. */
void cli_report_too_large(const struct cli *cli, const struct kvt_key *key,
                          uint64_t limit);

/* A file of ours that could not be read or written: `code` is
 * KVT_ERR_FILE_..., `errnum` of either sign. Returns CLI_FAILED. */
int cli_report_file(const struct cli *cli, const char *path, int code,
                    int errnum);

/* A command line that makes no sense. A null remedy names the help. Returns
 * CLI_USAGE. */
int cli_usage(const struct cli *cli, const char *subject, const char *remedy,
              const char *format, ...) KVT_PRINTF(4, 5);

/* The same; `nearest` is a name to suggest, or null. */
int cli_usage_nearest(const struct cli *cli, const char *subject,
                      const char *message, const char *nearest);

#endif
