/* Keys as file names: `<hh>/<escaped key>`, the same on every host and after
 * every restart. docs/format.md, "Names". */
#ifndef KVT_FORMAT_KEYNAME_H
#define KVT_FORMAT_KEYNAME_H

#include "core/hash.h"

#include <stdbool.h>

#define KVT_KEYNAME_MAX 255u /* bytes of a name, without the NUL */

/* Writes the name of a key, NUL-terminated: escaped, or when that is longer
 * than `name_max` (64 to KVT_KEYNAME_MAX) "%long-" and the key's 128-bit
 * hash in hex. Returns true when the name holds the key (it is no long
 * one). */
bool kvt_keyname_encode(struct kvt_key key, uint32_t name_max,
                        char name[KVT_KEYNAME_MAX + 1]);

/* Reads a name back: the bytes of the key go to `key` (of at least
 * KVT_KEYNAME_MAX bytes), its size is returned. 0 when it is no name that
 * kvt_keyname_encode writes for a key that a name can hold: a foreign file,
 * or a long name. */
size_t kvt_keyname_decode(const char *name, void *key);

/* True for the form "%long-" and 32 hex digits. */
bool kvt_keyname_is_long(const char *name);

/* The number of the directory that a key belongs to: XXH64 with seed 0,
 * modulo `count`. */
uint32_t kvt_keyname_directory(struct kvt_key key, uint32_t count);

#endif
