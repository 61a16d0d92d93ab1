#include "format/write_record.h"

#include "core/bytes.h"
#include "core/hash.h"

#include <errno.h>
#include <string.h>

static const uint8_t magic[8] = {0x89, 'K', 'V', 'T', 'W', '\r', '\n', 0x1a};

enum {
    VERSION = 1,
};

enum {
    AT_MAGIC = 0,
    AT_VERSION = 8,
    AT_SIZE = 10,
    AT_OPEN = 12,
    AT_HOUR = 16,
    AT_HOURS = 24,
    AT_RESERVED = 224,
    AT_SELF_CHECK = 232,
};
_Static_assert(AT_HOURS + 8 * KVT_WRITE_HOURS == AT_RESERVED, "the hours fit");
_Static_assert(AT_SELF_CHECK + 8 == KVT_WRITE_RECORD_SIZE, "fields fill it");

void kvt_write_record_encode(const struct kvt_write_record *record,
                             uint8_t bytes[KVT_WRITE_RECORD_SIZE])
{
    memset(bytes, 0, KVT_WRITE_RECORD_SIZE);
    memcpy(bytes + AT_MAGIC, magic, sizeof magic);
    kvt_put_le16(bytes + AT_VERSION, VERSION);
    kvt_put_le16(bytes + AT_SIZE, KVT_WRITE_RECORD_SIZE);
    kvt_put_le32(bytes + AT_OPEN, record->open);
    kvt_put_le64(bytes + AT_HOUR, record->hour);
    for (uint32_t i = 0; i < KVT_WRITE_HOURS; i++) {
        kvt_put_le64(bytes + AT_HOURS + 8 * i, record->hours[i]);
    }
    kvt_put_le64(bytes + AT_SELF_CHECK, kvt_hash64(bytes, AT_SELF_CHECK, 0));
}

int kvt_write_record_decode(const uint8_t bytes[KVT_WRITE_RECORD_SIZE],
                            struct kvt_write_record *record)
{
    if (memcmp(bytes + AT_MAGIC, magic, sizeof magic) != 0) {
        return -EBADMSG;
    }
    /* before the check value: another version may keep it elsewhere */
    if (kvt_get_le16(bytes + AT_VERSION) != VERSION) {
        return -EPROTONOSUPPORT;
    }
    if (kvt_get_le16(bytes + AT_SIZE) != KVT_WRITE_RECORD_SIZE ||
        kvt_get_le64(bytes + AT_RESERVED) != 0 ||
        kvt_get_le64(bytes + AT_SELF_CHECK) !=
            kvt_hash64(bytes, AT_SELF_CHECK, 0)) {
        return -EBADMSG;
    }
    record->open = kvt_get_le32(bytes + AT_OPEN);
    record->hour = kvt_get_le64(bytes + AT_HOUR);
    for (uint32_t i = 0; i < KVT_WRITE_HOURS; i++) {
        record->hours[i] = kvt_get_le64(bytes + AT_HOURS + 8 * i);
    }
    return record->open <= 1 ? 0 : -EBADMSG;
}
