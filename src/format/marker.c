#include "format/marker.h"

#include "core/bytes.h"
#include "core/hash.h"

#include <errno.h>
#include <string.h>

static const uint8_t magic[8] = {0x89, 'K', 'V', 'T', 'S', '\r', '\n', 0x1a};

enum {
    VERSION = 1
};

enum {
    AT_MAGIC = 0,
    AT_VERSION = 8,
    AT_SIZE = 10,
    AT_UUID = 16,
    AT_BACKEND = 32,
    AT_BACKEND_VERSION = 64,
    AT_ALIGNMENT = 68,
    AT_HASH_SEED = 72,
    AT_CREATED_MS = 80,
    AT_NAME_MAX = 88,
    AT_SELF_CHECK = 120,
};
_Static_assert(AT_SELF_CHECK + 8 == KVT_MARKER_SIZE, "fields fill it");
_Static_assert(AT_BACKEND + KVT_MARKER_BACKEND_MAX == AT_BACKEND_VERSION,
               "fields follow each other");

void kvt_marker_encode(const struct kvt_marker *marker,
                       uint8_t bytes[KVT_MARKER_SIZE])
{
    memset(bytes, 0, KVT_MARKER_SIZE);
    memcpy(bytes + AT_MAGIC, magic, sizeof magic);
    kvt_put_le16(bytes + AT_VERSION, VERSION);
    kvt_put_le16(bytes + AT_SIZE, KVT_MARKER_SIZE);
    memcpy(bytes + AT_UUID, marker->uuid, sizeof marker->uuid);
    memcpy(bytes + AT_BACKEND, marker->backend,
           strnlen(marker->backend, KVT_MARKER_BACKEND_MAX - 1));
    kvt_put_le32(bytes + AT_BACKEND_VERSION, marker->backend_version);
    kvt_put_le32(bytes + AT_ALIGNMENT, marker->alignment);
    kvt_put_le64(bytes + AT_HASH_SEED, marker->hash_seed);
    kvt_put_le64(bytes + AT_CREATED_MS, marker->created_ms);
    kvt_put_le32(bytes + AT_NAME_MAX, marker->name_max);
    kvt_put_le64(bytes + AT_SELF_CHECK, kvt_hash64(bytes, AT_SELF_CHECK, 0));
}

int kvt_marker_decode(const uint8_t bytes[KVT_MARKER_SIZE],
                      struct kvt_marker *marker)
{
    if (memcmp(bytes + AT_MAGIC, magic, sizeof magic) != 0) {
        return -EBADMSG;
    }
    /* before the check value: another version may keep it elsewhere */
    if (kvt_get_le16(bytes + AT_VERSION) != VERSION) {
        return -EPROTONOSUPPORT;
    }
    if (kvt_get_le16(bytes + AT_SIZE) != KVT_MARKER_SIZE ||
        kvt_get_le64(bytes + AT_SELF_CHECK) !=
            kvt_hash64(bytes, AT_SELF_CHECK, 0) ||
        bytes[AT_BACKEND + KVT_MARKER_BACKEND_MAX - 1] != 0) {
        return -EBADMSG;
    }
    memcpy(marker->uuid, bytes + AT_UUID, sizeof marker->uuid);
    memcpy(marker->backend, bytes + AT_BACKEND, KVT_MARKER_BACKEND_MAX);
    marker->backend_version = kvt_get_le32(bytes + AT_BACKEND_VERSION);
    marker->alignment = kvt_get_le32(bytes + AT_ALIGNMENT);
    marker->hash_seed = kvt_get_le64(bytes + AT_HASH_SEED);
    marker->created_ms = kvt_get_le64(bytes + AT_CREATED_MS);
    marker->name_max = kvt_get_le32(bytes + AT_NAME_MAX);
    return 0;
}
