/* `.kvtier/store`: what lies in this root, and whose it is. Written first by
 * every local layout. docs/format.md, "Store marker". */
#ifndef KVT_FORMAT_MARKER_H
#define KVT_FORMAT_MARKER_H

#include <stdint.h>

#define KVT_MARKER_SIZE 128u
#define KVT_MARKER_BACKEND_MAX 32u

struct kvt_marker {
    uint8_t uuid[16];
    char backend[KVT_MARKER_BACKEND_MAX]; /* NUL-terminated */
    uint32_t backend_version;
    uint32_t alignment; /* of values in their files; 1 = none */
    uint32_t name_max;  /* longest file name that keys are mapped to */
    uint64_t hash_seed;
    uint64_t created_ms; /* Unix time */
};

void kvt_marker_encode(const struct kvt_marker *marker,
                       uint8_t bytes[KVT_MARKER_SIZE]);

/* 0; -EBADMSG when the bytes are no marker or are damaged; -EPROTONOSUPPORT
 * when they are one of another version. */
int kvt_marker_decode(const uint8_t bytes[KVT_MARKER_SIZE],
                      struct kvt_marker *marker);

#endif
