/*
 * nearest.h - which known name a mistyped one is most like.
 */
#ifndef CLI_NEAREST_H
#define CLI_NEAREST_H

#include <stddef.h>

struct cli_nearest {
    const char *wanted;
    size_t wanted_size;
    size_t distance;  /* of `name`, or the first one that is too far */
    const char *name; /* result: null when nothing is near */
};

/* `wanted` is borrowed for as long as `nearest` is used. */
void cli_nearest_init(struct cli_nearest *nearest, const char *wanted,
                      size_t wanted_size);

/* Offers a known name; it is borrowed. */
void cli_nearest_offer(struct cli_nearest *nearest, const char *name);

#endif
