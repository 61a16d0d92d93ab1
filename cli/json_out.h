/*
 * json_out.h - JSON objects, printed in one line.
 *
 * Memory that is short ends the program. Text that is not UTF-8 is printed
 * with U+FFFD in place of the bytes that are not.
 */
#ifndef CLI_JSON_OUT_H
#define CLI_JSON_OUT_H

#include "cli.h"

struct cJSON;

struct cJSON *cli_json_object(void);
/* An object inside `parent`, which owns it. */
struct cJSON *cli_json_child(struct cJSON *parent, const char *name);

void cli_json_text(struct cJSON *object, const char *name, const char *text);
void cli_json_count(struct cJSON *object, const char *name, uint64_t count);
void cli_json_number(struct cJSON *object, const char *name, double number);
void cli_json_bool(struct cJSON *object, const char *name, bool value);

/* Frees the object and returns its text (free with free). */
char *cli_json_finish(struct cJSON *object);

/* Frees the object and prints it on stdout: as a line of JSON, or, without
 * --json, as a table of `name  value` with dots between nested names.
 * Returns 0, or -1 when stdout failed. */
int cli_json_print(struct cli *cli, struct cJSON *object);

#endif
