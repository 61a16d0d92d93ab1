/*
 * fetch.h - loads objects of unknown size.
 */
#ifndef CLI_FETCH_H
#define CLI_FETCH_H

#include "buffer.h"
#include "cli.h"

/* Loads one object, however large, into `buffer`, whose size becomes the
 * object's. The object's status says the rest. Returns CLI_DONE, or
 * CLI_FAILED after a report when nothing was tried. */
int cli_fetch(struct cli *cli, struct kvt_object *object,
              struct cli_buffer *buffer);

/* Loads objects whose `size` is known or guessed: the slices of the batch
 * are laid out in `buffer` one after the other, and `offsets` says where each
 * begins. Objects that turned out larger have KVT_ERR_BUFFER_OVERFLOW and are
 * for cli_fetch. Returns as above. */
int cli_fetch_batch(struct cli *cli, struct kvt_object *objects, size_t count,
                    struct cli_buffer *buffer, size_t *offsets);

#endif
