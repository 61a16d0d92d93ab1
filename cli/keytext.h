/*
 * keytext.h - keys as text, and back.
 *
 * Text: bytes outside 0x21..0x7e and `%` are written %xx. Hex: two digits a
 * byte. Reading accepts either case of digits and, in text, any byte as
 * itself except `%`.
 */
#ifndef CLI_KEYTEXT_H
#define CLI_KEYTEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Returns the text of a key (free with free), or null when memory is short. */
char *cli_key_text(const void *data, size_t size, bool hex);

/* Reads `text` into `key`, which has room for strlen(text) bytes, and sets
 * `*size`. Returns null; or, where the text is wrong, the place in it: at a
 * `%` that is not followed by two hex digits, at a byte that is no hex digit,
 * at the end of an odd number of digits. */
const char *cli_key_parse(const char *text, bool hex, unsigned char *key,
                          size_t *size);

#endif
