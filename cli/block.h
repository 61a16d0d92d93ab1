/*
 * block.h - the key and the bytes of a replayed block, made from its id.
 */
#ifndef CLI_BLOCK_H
#define CLI_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CLI_BLOCK_KEY_SIZE = 36
}; /* "kv-<16 hex>-<16 hex>" */

/* Writes the key, without a NUL. Blocks of different sizes have different
 * keys: their bytes differ. */
void cli_block_key(uint64_t id, size_t block_size,
                   char key[CLI_BLOCK_KEY_SIZE]);

/* Fills memory with the block's bytes: each 8 bytes depend on the id and on
 * where they stand, and no two ids have the same 8 bytes in the same place. */
void cli_block_fill(uint64_t id, void *data, size_t size);

/* Whether these are the block's bytes; compares every one. */
bool cli_block_check(uint64_t id, const void *data, size_t size);

#endif
