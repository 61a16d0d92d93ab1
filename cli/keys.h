/*
 * keys.h - keys of the command line as an array of objects.
 */
#ifndef CLI_KEYS_H
#define CLI_KEYS_H

#include "cli.h"

struct cli_keys {
    struct kvt_object *objects; /* with their keys, nothing else */
    size_t count;
    unsigned char *bytes; /* of all keys */
};

/* Reads `count` texts. Returns CLI_DONE (free with cli_keys_free), or
 * CLI_USAGE after it has named what is wrong. */
int cli_keys_parse(const struct cli *cli, const char *const *texts,
                   size_t count, struct cli_keys *keys);
void cli_keys_free(struct cli_keys *keys);

/* Reports every object whose status is neither KVT_OK nor `but`; returns how
 * many those are. */
size_t cli_objects_report(const struct cli *cli,
                          const struct kvt_object *objects, size_t count,
                          int but);

/* Turns what a batch call returned into an exit status: CLI_DONE when its
 * objects tell the rest, CLI_FAILED after a report when nothing was tried. */
int cli_batch_check(const struct cli *cli, int result);

#endif
