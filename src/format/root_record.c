#include "format/root_record.h"

#include "core/bytes.h"
#include "core/hash.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static const uint8_t magic[8] = {0x89, 'K', 'V', 'T', 'F', '\r', '\n', 0x1a};

enum {
    VERSION = 1,
    DIRECTORIES_MAX = 65536,
    NAME_MIN = 64,
    NAME_MOST = 255,
};

enum {
    AT_MAGIC = 0,
    AT_VERSION = 8,
    AT_SIZE = 10,
    AT_DIRECTORY_COUNT = 12,
    AT_UUID = 16,
    AT_HASH_SEED = 32,
    AT_CREATED_MS = 40,
    AT_NAME_MAX = 48,
    AT_RESERVED = 52,
    AT_SELF_CHECK = 56,
};
_Static_assert(AT_SELF_CHECK + 8 == KVT_ROOT_RECORD_SIZE, "fields fill it");

void kvt_root_record_encode(const struct kvt_root_record *record,
                            uint8_t bytes[KVT_ROOT_RECORD_SIZE])
{
    memset(bytes, 0, KVT_ROOT_RECORD_SIZE);
    memcpy(bytes + AT_MAGIC, magic, sizeof magic);
    kvt_put_le16(bytes + AT_VERSION, VERSION);
    kvt_put_le16(bytes + AT_SIZE, KVT_ROOT_RECORD_SIZE);
    kvt_put_le32(bytes + AT_DIRECTORY_COUNT, record->directory_count);
    memcpy(bytes + AT_UUID, record->uuid, sizeof record->uuid);
    kvt_put_le64(bytes + AT_HASH_SEED, record->hash_seed);
    kvt_put_le64(bytes + AT_CREATED_MS, record->created_ms);
    kvt_put_le32(bytes + AT_NAME_MAX, record->name_max);
    kvt_put_le64(bytes + AT_SELF_CHECK, kvt_hash64(bytes, AT_SELF_CHECK, 0));
}

int kvt_root_record_decode(const uint8_t bytes[KVT_ROOT_RECORD_SIZE],
                           struct kvt_root_record *record)
{
    if (memcmp(bytes + AT_MAGIC, magic, sizeof magic) != 0) {
        return -EBADMSG;
    }
    /* before the check value: another version may keep it elsewhere */
    if (kvt_get_le16(bytes + AT_VERSION) != VERSION) {
        return -EPROTONOSUPPORT;
    }
    if (kvt_get_le16(bytes + AT_SIZE) != KVT_ROOT_RECORD_SIZE ||
        kvt_get_le32(bytes + AT_RESERVED) != 0 ||
        kvt_get_le64(bytes + AT_SELF_CHECK) !=
            kvt_hash64(bytes, AT_SELF_CHECK, 0)) {
        return -EBADMSG;
    }
    record->directory_count = kvt_get_le32(bytes + AT_DIRECTORY_COUNT);
    memcpy(record->uuid, bytes + AT_UUID, sizeof record->uuid);
    record->hash_seed = kvt_get_le64(bytes + AT_HASH_SEED);
    record->created_ms = kvt_get_le64(bytes + AT_CREATED_MS);
    record->name_max = kvt_get_le32(bytes + AT_NAME_MAX);
    bool sound = record->directory_count >= 1 &&
                 record->directory_count <= DIRECTORIES_MAX &&
                 record->name_max >= NAME_MIN && record->name_max <= NAME_MOST;
    return sound ? 0 : -EBADMSG;
}
