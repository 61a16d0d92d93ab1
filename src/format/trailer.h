/* The trailer behind the value of a file that holds one object: what makes
 * the file provable. docs/format.md, "Object file". */
#ifndef KVT_FORMAT_TRAILER_H
#define KVT_FORMAT_TRAILER_H

#include "core/hash.h"

#include <stdbool.h>

#define KVT_TRAILER_SIZE 64u

struct kvt_trailer {
    uint64_t value_size;
    uint32_t key_size; /* bytes of the key in front of the trailer; 0 when
                          the file's name holds it */
    struct kvt_hash128 key_hash;
    uint64_t check; /* of the value, from kvt_trailer_check */
};

void kvt_trailer_encode(const struct kvt_trailer *trailer,
                        uint8_t bytes[KVT_TRAILER_SIZE]);

/* 0; -EBADMSG when the bytes are no trailer or are damaged; -EPROTONOSUPPORT
 * when they are one of another version. */
int kvt_trailer_decode(const uint8_t bytes[KVT_TRAILER_SIZE],
                       struct kvt_trailer *trailer);

/* Does any of magic, length and key hash say that these last bytes of a file
 * of `file_size` bytes are the trailer of this key, whole or not? */
bool kvt_trailer_is_likely(const uint8_t bytes[KVT_TRAILER_SIZE],
                           struct kvt_hash128 key_hash, uint64_t file_size);

/* The check value: identity (key hash, size) and bytes in one number. The
 * slices hold at least `size` bytes. */
uint64_t kvt_trailer_check(uint64_t store_seed, struct kvt_hash128 key_hash,
                           const struct kvt_slice *slices, size_t count,
                           uint64_t size);

#endif
