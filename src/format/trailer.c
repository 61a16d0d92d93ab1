#include "format/trailer.h"

#include "core/bytes.h"

#include <errno.h>
#include <string.h>

/* Like PNG's: a text conversion or a cut to seven bits shows at once. */
static const uint8_t magic[8] = {0x89, 'K', 'V', 'T', 'O', '\r', '\n', 0x1a};

enum {
    VERSION = 1
};

/* Where each field stands. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 8,
    AT_SIZE = 10,
    AT_KEY_SIZE = 12,
    AT_VALUE_SIZE = 16,
    AT_KEY_HASH_LOW = 24,
    AT_KEY_HASH_HIGH = 32,
    AT_CHECK = 40,
    AT_RESERVED = 48,
    AT_SELF_CHECK = 56,
};
_Static_assert(AT_SELF_CHECK + 8 == KVT_TRAILER_SIZE, "fields fill it");

void kvt_trailer_encode(const struct kvt_trailer *trailer,
                        uint8_t bytes[KVT_TRAILER_SIZE])
{
    memset(bytes, 0, KVT_TRAILER_SIZE);
    memcpy(bytes + AT_MAGIC, magic, sizeof magic);
    kvt_put_le16(bytes + AT_VERSION, VERSION);
    kvt_put_le16(bytes + AT_SIZE, KVT_TRAILER_SIZE);
    kvt_put_le32(bytes + AT_KEY_SIZE, trailer->key_size);
    kvt_put_le64(bytes + AT_VALUE_SIZE, trailer->value_size);
    kvt_put_le64(bytes + AT_KEY_HASH_LOW, trailer->key_hash.low);
    kvt_put_le64(bytes + AT_KEY_HASH_HIGH, trailer->key_hash.high);
    kvt_put_le64(bytes + AT_CHECK, trailer->check);
    kvt_put_le64(bytes + AT_SELF_CHECK, kvt_hash64(bytes, AT_SELF_CHECK, 0));
}

int kvt_trailer_decode(const uint8_t bytes[KVT_TRAILER_SIZE],
                       struct kvt_trailer *trailer)
{
    if (memcmp(bytes + AT_MAGIC, magic, sizeof magic) != 0 ||
        kvt_get_le64(bytes + AT_SELF_CHECK) !=
            kvt_hash64(bytes, AT_SELF_CHECK, 0)) {
        return -EBADMSG;
    }
    if (kvt_get_le16(bytes + AT_VERSION) != VERSION) {
        return -EPROTONOSUPPORT;
    }
    if (kvt_get_le16(bytes + AT_SIZE) != KVT_TRAILER_SIZE ||
        kvt_get_le64(bytes + AT_RESERVED) != 0) {
        return -EBADMSG;
    }
    trailer->key_size = kvt_get_le32(bytes + AT_KEY_SIZE);
    trailer->value_size = kvt_get_le64(bytes + AT_VALUE_SIZE);
    trailer->key_hash.low = kvt_get_le64(bytes + AT_KEY_HASH_LOW);
    trailer->key_hash.high = kvt_get_le64(bytes + AT_KEY_HASH_HIGH);
    trailer->check = kvt_get_le64(bytes + AT_CHECK);
    return trailer->key_size <= KVT_KEY_SIZE_MAX ? 0 : -EBADMSG;
}

bool kvt_trailer_is_likely(const uint8_t bytes[KVT_TRAILER_SIZE],
                           struct kvt_hash128 key_hash, uint64_t file_size)
{
    uint64_t size = kvt_get_le64(bytes + AT_VALUE_SIZE) +
                    kvt_get_le32(bytes + AT_KEY_SIZE) + KVT_TRAILER_SIZE;
    return memcmp(bytes + AT_MAGIC, magic, sizeof magic) == 0 ||
           size == file_size ||
           (kvt_get_le64(bytes + AT_KEY_HASH_LOW) == key_hash.low &&
            kvt_get_le64(bytes + AT_KEY_HASH_HIGH) == key_hash.high);
}

uint64_t kvt_trailer_check(uint64_t store_seed, struct kvt_hash128 key_hash,
                           const struct kvt_slice *slices, size_t count,
                           uint64_t size)
{
    uint8_t identity[24];
    kvt_put_le64(identity, size);
    kvt_put_le64(identity + 8, key_hash.low);
    kvt_put_le64(identity + 16, key_hash.high);
    uint64_t seed = kvt_hash64(identity, sizeof identity, store_seed);
    return kvt_hash_slices(slices, count, size, seed);
}
