#include "format/keyname.h"

#include <stdio.h>
#include <string.h>

static const char long_prefix[] = "%long-";
enum {
    LONG_NAME_SIZE = sizeof long_prefix - 1 + 32
};

static const char hex_digits[] = "0123456789abcdef";

static bool is_plain(unsigned char byte)
{
    return byte >= 0x20 && byte <= 0x7e && strchr("@:/\\%", byte) == NULL;
}

/* "." and ".." are the only keys whose plain bytes the file system takes for
 * something else. */
static bool is_dots(const unsigned char *key, size_t size)
{
    return size <= 2 && key[0] == '.' && key[size - 1] == '.';
}

static void write_long(struct kvt_key key, char *name)
{
    struct kvt_hash128 hash = kvt_hash128(key.data, key.size);
    snprintf(name, LONG_NAME_SIZE + 1, "%s%016llx%016llx", long_prefix,
             (unsigned long long)hash.high, (unsigned long long)hash.low);
}

bool kvt_keyname_encode(struct kvt_key key, uint32_t name_max,
                        char name[KVT_KEYNAME_MAX + 1])
{
    const unsigned char *bytes = key.data;
    bool dots = is_dots(bytes, key.size);
    size_t at = 0;
    for (size_t i = 0; i < key.size; i++) {
        bool plain = is_plain(bytes[i]) && !dots;
        if (at + (plain ? 1 : 3) > name_max) {
            write_long(key, name);
            return false;
        }
        if (plain) {
            name[at++] = (char)bytes[i];
        } else {
            name[at++] = '%';
            name[at++] = hex_digits[bytes[i] >> 4];
            name[at++] = hex_digits[bytes[i] & 15];
        }
    }
    name[at] = '\0';
    return true;
}

static int hex_value(char digit)
{
    const char *at = digit != '\0' ? strchr(hex_digits, digit) : NULL;
    return at != NULL ? (int)(at - hex_digits) : -1;
}

size_t kvt_keyname_decode(const char *name, void *key)
{
    unsigned char *bytes = key;
    size_t size = 0;
    for (const char *at = name; *at != '\0'; at++) {
        if (size == KVT_KEYNAME_MAX) {
            return 0;
        }
        if (*at != '%') {
            bytes[size++] = (unsigned char)*at;
            continue;
        }
        int high = hex_value(at[1]);
        int low = high >= 0 ? hex_value(at[2]) : -1;
        if (low < 0) {
            return 0;
        }
        bytes[size++] = (unsigned char)(high << 4 | low);
        at += 2;
    }
    /* one name a key: what we would not have written is not ours */
    char again[KVT_KEYNAME_MAX + 1];
    struct kvt_key decoded = {bytes, size};
    if (size == 0 || !kvt_keyname_encode(decoded, KVT_KEYNAME_MAX, again) ||
        strcmp(again, name) != 0) {
        return 0;
    }
    return size;
}

bool kvt_keyname_is_long(const char *name)
{
    size_t prefix = sizeof long_prefix - 1;
    return strlen(name) == LONG_NAME_SIZE &&
           strncmp(name, long_prefix, prefix) == 0 &&
           strspn(name + prefix, hex_digits) == 32;
}

uint32_t kvt_keyname_directory(struct kvt_key key, uint32_t count)
{
    return (uint32_t)(kvt_hash_xxh64(key.data, key.size, 0) % count);
}
