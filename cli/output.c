#include "output.h"

#include "keytext.h"
#include "memory.h"
#include "report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static int note(struct cli *cli, bool failed)
{
    if (failed && cli->output_errnum == 0) {
        cli->output_errnum = errno != 0 ? errno : EIO;
    }
    return failed ? -1 : 0;
}

int cli_out(struct cli *cli, const char *format, ...)
{
    if (cli->output_errnum != 0) {
        return -1;
    }
    va_list values;
    va_start(values, format);
    int written = vprintf(format, values);
    va_end(values);
    return note(cli, written < 0);
}

int cli_out_bytes(struct cli *cli, const void *data, size_t size)
{
    if (cli->output_errnum != 0) {
        return -1;
    }
    return note(cli, size > 0 && fwrite(data, 1, size, stdout) != size);
}

int cli_out_key(struct cli *cli, const struct kvt_key *key)
{
    char *text = cli_key_text(key->data, key->size, cli->hex);
    if (text == NULL) {
        cli_memory_short();
    }
    int failed = cli_out(cli, "%s", text);
    free(text);
    return failed;
}

int cli_out_end(struct cli *cli, int status)
{
    /* close too: a network file system may tell only then */
    bool failed = ferror(stdout) != 0;
    failed = fclose(stdout) != 0 || failed;
    note(cli, failed);
    if (cli->output_errnum == 0) {
        return status;
    }
    if (cli->output_errnum != EPIPE) {
        cli_report_file(cli, "stdout", KVT_ERR_FILE_WRITE_FAIL,
                        cli->output_errnum);
    }
    return CLI_FAILED;
}
