/* `.kvtier/written`: how many bytes were written in each of the last hours, so
 * that a budget holds over restarts. docs/format.md, "Write record". */
#ifndef KVT_FORMAT_WRITE_RECORD_H
#define KVT_FORMAT_WRITE_RECORD_H

#include <stdint.h>

#define KVT_WRITE_HOURS 25u
#define KVT_WRITE_RECORD_SIZE 240u

struct kvt_write_record {
    uint64_t hour; /* of hours[0], since 1970 */
    uint32_t open; /* 1 while a store writes: more may have been written */
    /* bytes written in that hour, in the one before it, ... */
    uint64_t hours[KVT_WRITE_HOURS];
};

void kvt_write_record_encode(const struct kvt_write_record *record,
                             uint8_t bytes[KVT_WRITE_RECORD_SIZE]);

/* 0; -EBADMSG when the bytes are no record or are damaged; -EPROTONOSUPPORT
 * when they are one of another version. */
int kvt_write_record_decode(const uint8_t bytes[KVT_WRITE_RECORD_SIZE],
                            struct kvt_write_record *record);

#endif
