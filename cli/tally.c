#include "tally.h"

#include "json_out.h"

int cli_tally_end(struct cli *cli, const struct cli_tally *tally, int status)
{
    struct cJSON *row = cli_json_object();
    cli_json_count(row, "objects", tally->objects);
    cli_json_count(row, "bytes", tally->bytes);
    cli_json_count(row, "failed", tally->failed);
    if (cli_json_print(cli, row) != 0) {
        return CLI_FAILED;
    }
    if (status != CLI_DONE) {
        return status;
    }
    return tally->failed > 0 ? CLI_SOME_FAILED : CLI_DONE;
}
