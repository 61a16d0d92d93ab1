/* Any bytes as the marker of a store: as they are, and with a right check
 * value. What is taken must be what encoding it again gives. */
#include "core/bytes.h"
#include "core/hash.h"
#include "format/marker.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

static void fuzz_marker(const uint8_t bytes[KVT_MARKER_SIZE])
{
    struct kvt_marker marker;
    struct kvt_marker again;
    uint8_t encoded[KVT_MARKER_SIZE];

    memset(&marker, 0, sizeof marker);
    if (kvt_marker_decode(bytes, &marker) != 0) {
        return;
    }
    require(memchr(marker.backend, 0, sizeof marker.backend) != NULL);
    kvt_marker_encode(&marker, encoded);
    memset(&again, 0, sizeof again);
    require(kvt_marker_decode(encoded, &again) == 0);
    require(memcmp(again.uuid, marker.uuid, sizeof again.uuid) == 0);
    require(strcmp(again.backend, marker.backend) == 0);
    require(again.backend_version == marker.backend_version);
    require(again.alignment == marker.alignment);
    require(again.name_max == marker.name_max);
    require(again.hash_seed == marker.hash_seed);
    require(again.created_ms == marker.created_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t bytes[KVT_MARKER_SIZE];

    if (size < sizeof bytes) {
        return 0;
    }
    memcpy(bytes, data, sizeof bytes);
    fuzz_marker(bytes);
    kvt_put_le64(bytes + sizeof bytes - 8,
                 kvt_hash64(bytes, sizeof bytes - 8, 0));
    fuzz_marker(bytes);
    return 0;
}
