#include "utf8.h"

#include "memory.h"

#include <string.h>

static int is_tail(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

/* Bytes of the well-formed character at `at` (RFC 3629, section 4), or 0. */
static size_t character_size(const unsigned char *at)
{
    if (at[0] < 0x80) {
        return 1;
    }
    if (at[0] >= 0xc2 && at[0] <= 0xdf) {
        return is_tail(at[1]) ? 2 : 0;
    }
    if (at[0] >= 0xe0 && at[0] <= 0xef) {
        unsigned char low = at[0] == 0xe0 ? 0xa0 : 0x80;
        unsigned char high = at[0] == 0xed ? 0x9f : 0xbf;
        int good = at[1] >= low && at[1] <= high && is_tail(at[2]);
        return good ? 3 : 0;
    }
    if (at[0] >= 0xf0 && at[0] <= 0xf4) {
        unsigned char low = at[0] == 0xf0 ? 0x90 : 0x80;
        unsigned char high = at[0] == 0xf4 ? 0x8f : 0xbf;
        int good =
            at[1] >= low && at[1] <= high && is_tail(at[2]) && is_tail(at[3]);
        return good ? 4 : 0;
    }
    return 0;
}

char *cli_utf8_clean(const char *text)
{
    static const char replacement[] = "\xef\xbf\xbd";
    char *clean = cli_alloc(strlen(text) * 3 + 1);
    char *out = clean;
    while (*text != '\0') {
        size_t size = character_size((const unsigned char *)text);
        if (size == 0) {
            memcpy(out, replacement, 3);
            out += 3;
            text++;
        } else {
            memcpy(out, text, size);
            out += size;
            text += size;
        }
    }
    return clean;
}
