/* `.kvtier/format`: what all hosts have to agree on in a shared root, and
 * that every file in it has a trailer. docs/format.md, "Root record". */
#ifndef KVT_FORMAT_ROOT_RECORD_H
#define KVT_FORMAT_ROOT_RECORD_H

#include <stdint.h>

#define KVT_ROOT_RECORD_SIZE 64u

struct kvt_root_record {
    uint8_t uuid[16];
    uint32_t directory_count; /* 1 to 65536 */
    uint32_t name_max;        /* longest file name that keys are mapped to */
    uint64_t hash_seed;       /* of check values */
    uint64_t created_ms;      /* Unix time */
};

void kvt_root_record_encode(const struct kvt_root_record *record,
                            uint8_t bytes[KVT_ROOT_RECORD_SIZE]);

/* 0; -EBADMSG when the bytes are no record or are damaged; -EPROTONOSUPPORT
 * when they are one of another version. */
int kvt_root_record_decode(const uint8_t bytes[KVT_ROOT_RECORD_SIZE],
                           struct kvt_root_record *record);

#endif
