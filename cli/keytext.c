#include "keytext.h"

#include <stdlib.h>

static const char digits[] = "0123456789abcdef";

static char *hex_put(char *at, unsigned char byte)
{
    *at++ = digits[byte >> 4];
    *at++ = digits[byte & 0xf];
    return at;
}

char *cli_key_text(const void *data, size_t size, bool hex)
{
    const unsigned char *key = data;
    char *text = malloc(size * 3 + 1);
    if (text == NULL) {
        return NULL;
    }
    char *at = text;
    for (size_t i = 0; i < size; i++) {
        if (hex) {
            at = hex_put(at, key[i]);
        } else if (key[i] < 0x21 || key[i] > 0x7e || key[i] == '%') {
            *at++ = '%';
            at = hex_put(at, key[i]);
        } else {
            *at++ = (char)key[i];
        }
    }
    *at = '\0';
    return text;
}

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    if (digit >= 'A' && digit <= 'F') {
        return digit - 'A' + 10;
    }
    return -1;
}

/* The byte that two digits stand for, or -1. Never reads behind a NUL. */
static int hex_value(const char *text)
{
    int high = digit_value(text[0]);
    int low = high < 0 ? -1 : digit_value(text[1]);
    return low < 0 ? -1 : high * 16 + low;
}

const char *cli_key_parse(const char *text, bool hex, unsigned char *key,
                          size_t *size)
{
    size_t count = 0;
    while (*text != '\0') {
        if (!hex && *text != '%') {
            key[count++] = (unsigned char)*text++;
            continue;
        }
        const char *pair = hex ? text : text + 1;
        int value = hex_value(pair);
        if (value < 0) {
            /* in hex, the first good digit of a pair is not the fault */
            return hex && digit_value(*text) >= 0 ? text + 1 : text;
        }
        key[count++] = (unsigned char)value;
        text = pair + 2;
    }
    *size = count;
    return NULL;
}
