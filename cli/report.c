#include "report.h"

#include "explain.h"
#include "json_out.h"
#include "keytext.h"
#include "memory.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Control bytes would break the line, or the terminal. */
static void text_put(FILE *line, const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte == '\n') {
            fputs("\\n", line);
        } else if (byte < 0x20 || byte == 0x7f) {
            fprintf(line, "\\x%02x", byte);
        } else {
            fputc(byte, line);
        }
    }
}

static void report_text(const struct cli *cli,
                        const struct cli_failure *failure, FILE *line)
{
    fputs("kvtier:", line);
    if (cli->command != NULL) {
        fprintf(line, " %s", cli->command->name);
    }
    if (failure->subject[0] != '\0') {
        fputc(' ', line);
        text_put(line, failure->subject);
    }
    if (cli->command != NULL || failure->subject[0] != '\0') {
        fputc(':', line);
    }
    fputc(' ', line);
    text_put(line, failure->message);
    if (failure->remedy[0] != '\0') {
        fputs("; ", line);
        text_put(line, failure->remedy);
    }
    fprintf(line, " [%s %d %s]\n", kvt_status_name(failure->code),
            failure->code, kvt_errno_name(failure->errnum));
}

static void report_json(const struct cli_failure *failure, FILE *line)
{
    struct cJSON *root = cli_json_object();
    struct cJSON *error = cli_json_child(root, "error");
    cli_json_text(error, "name", kvt_status_name(failure->code));
    cli_json_number(error, "code", failure->code);
    cli_json_text(error, "errno", kvt_errno_name(failure->errnum));
    cli_json_text(error, "subject", failure->subject);
    cli_json_text(error, "message", failure->message);
    cli_json_text(error, "remedy", failure->remedy);
    char *text = cli_json_finish(root);
    fprintf(line, "%s\n", text);
    free(text);
}

/* The line goes out in one write: threads and processes share stderr. */
static void report_line(const struct cli *cli,
                        const struct cli_failure *failure)
{
    char *text = NULL;
    size_t size = 0;
    FILE *line = open_memstream(&text, &size);
    if (line == NULL) {
        cli_memory_short();
    }
    if (cli->json) {
        report_json(failure, line);
    } else {
        report_text(cli, failure, line);
    }
    if (fclose(line) != 0) {
        cli_memory_short();
    }
    fwrite(text, 1, size, stderr);
    free(text);
}

void cli_report(const struct cli *cli, const struct cli_failure *failure)
{
    char reason[256];
    struct cli_failure full = *failure;
    if (full.message == NULL) {
        cli_explain_reason(full.code, full.errnum, reason, sizeof(reason));
        full.message = reason;
    }
    if (full.remedy == NULL) {
        full.remedy = cli_explain_remedy(full.code, full.errnum);
    }
    report_line(cli, &full);
}

int cli_report_error(const struct cli *cli, const struct kvt_error *error,
                     const char *subject)
{
    struct cli_failure failure = {
        .code = error->code,
        .errnum = error->errnum,
        .subject = error->subject[0] != '\0' ? error->subject : subject,
        .message = error->message[0] != '\0' ? error->message : NULL,
        .remedy = error->remedy[0] != '\0' ? error->remedy : NULL,
    };
    cli_report(cli, &failure);
    return CLI_FAILED;
}

void cli_report_key(const struct cli *cli, const struct kvt_key *key,
                    const struct cli_failure *failure)
{
    struct cli_failure named = *failure;
    char *text = cli_key_text(key->data, key->size, cli->hex);
    if (text == NULL) {
        cli_memory_short();
    }
    named.subject = text;
    cli_report(cli, &named);
    free(text);
}

void cli_report_object(const struct cli *cli, const struct kvt_object *object)
{
    struct cli_failure failure = {
        .code = object->status,
        .errnum = object->errnum,
    };
    cli_report_key(cli, &object->key, &failure);
}

void cli_report_too_large(const struct cli *cli, const struct kvt_key *key,
                          uint64_t limit)
{
    char message[96];
    snprintf(message, sizeof(message),
             "the object is larger than object_size_max, %" PRIu64 " bytes",
             limit);
    struct cli_failure failure = {
        .code = KVT_ERR_INVALID_PARAMS,
        .message = message,
        .remedy = "raise it with -o object_size_max=SIZE",
    };
    cli_report_key(cli, key, &failure);
}

int cli_report_file(const struct cli *cli, const char *path, int code,
                    int errnum)
{
    struct cli_failure failure = {
        .code = code,
        .errnum = errnum < 0 ? -errnum : errnum,
        .subject = path,
    };
    cli_report(cli, &failure);
    return CLI_FAILED;
}

int cli_usage(const struct cli *cli, const char *subject, const char *remedy,
              const char *format, ...)
{
    char message[256];
    char help[64];
    va_list values;
    va_start(values, format);
    vsnprintf(message, sizeof(message), format, values);
    va_end(values);
    snprintf(help, sizeof(help), "'kvtier%s%s --help' says more",
             cli->command != NULL ? " " : "",
             cli->command != NULL ? cli->command->name : "");
    struct cli_failure failure = {
        .code = KVT_ERR_INVALID_PARAMS,
        .subject = subject,
        .message = message,
        .remedy = remedy != NULL ? remedy : help,
    };
    report_line(cli, &failure);
    return CLI_USAGE;
}

int cli_usage_nearest(const struct cli *cli, const char *subject,
                      const char *message, const char *nearest)
{
    char remedy[96];
    if (nearest == NULL) {
        return cli_usage(cli, subject, NULL, "%s", message);
    }
    snprintf(remedy, sizeof(remedy), "did you mean '%s'?", nearest);
    return cli_usage(cli, subject, remedy, "%s", message);
}
