#include "trace_line.h"

#include <stdlib.h>
#include <string.h>

enum {
    DEPTH_MAX = 64,
    NUMBER_SIZE_MAX = 63
};

struct scan {
    const char *at;
    const char *end;
};

static const char not_json[] = "not a JSON object";
static const char bad_ids[] =
    "hash_ids is not an array of integers from 0 to 2^64 - 1";

/* The next byte, or 0 at the end (a NUL in the text is refused anyway). */
static char peek(const struct scan *scan)
{
    return scan->at < scan->end ? *scan->at : '\0';
}

static void space_skip(struct scan *scan)
{
    while (peek(scan) == ' ' || peek(scan) == '\t' || peek(scan) == '\r' ||
           peek(scan) == '\n') {
        scan->at++;
    }
}

/* Takes `byte` and the space around it. */
static bool take(struct scan *scan, char byte)
{
    space_skip(scan);
    if (peek(scan) != byte) {
        return false;
    }
    scan->at++;
    space_skip(scan);
    return true;
}

static bool word_take(struct scan *scan, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(scan->end - scan->at) < size ||
        memcmp(scan->at, word, size) != 0) {
        return false;
    }
    scan->at += size;
    return true;
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool digits_take(struct scan *scan)
{
    const char *start = scan->at;
    while (is_digit(peek(scan))) {
        scan->at++;
    }
    return scan->at > start;
}

/* Takes a string; `text` and `size` are what stands between the quotes. */
static bool string_take(struct scan *scan, const char **text, size_t *size)
{
    if (peek(scan) != '"') {
        return false;
    }
    *text = ++scan->at;
    while (scan->at < scan->end && *scan->at != '"') {
        if ((unsigned char)*scan->at < 0x20) {
            return false;
        }
        if (*scan->at == '\\' && ++scan->at == scan->end) {
            return false;
        }
        scan->at++;
    }
    *size = (size_t)(scan->at - *text);
    return take(scan, '"');
}

static bool number_take(struct scan *scan)
{
    if (peek(scan) == '-') {
        scan->at++;
    }
    bool zero = peek(scan) == '0';
    const char *start = scan->at;
    if (!digits_take(scan) || (zero && scan->at - start > 1)) {
        return false;
    }
    if (peek(scan) == '.') {
        scan->at++;
        if (!digits_take(scan)) {
            return false;
        }
    }
    if (peek(scan) == 'e' || peek(scan) == 'E') {
        scan->at++;
        if (peek(scan) == '+' || peek(scan) == '-') {
            scan->at++;
        }
        return digits_take(scan);
    }
    return true;
}

static bool value_skip(struct scan *scan, int depth);

/* What stands between the brackets of an array or object; `close` ends it. */
static bool items_skip(struct scan *scan, char close, int depth)
{
    const char *name;
    size_t size;
    if (take(scan, close)) {
        return true;
    }
    do {
        if (close == '}' &&
            (!string_take(scan, &name, &size) || !take(scan, ':'))) {
            return false;
        }
        if (!value_skip(scan, depth + 1)) {
            return false;
        }
    } while (take(scan, ','));
    return take(scan, close);
}

static bool value_skip(struct scan *scan, int depth)
{
    const char *text;
    size_t size;
    if (depth > DEPTH_MAX) {
        return false;
    }
    switch (peek(scan)) {
    case '{':
        return take(scan, '{') && items_skip(scan, '}', depth);
    case '[':
        return take(scan, '[') && items_skip(scan, ']', depth);
    case '"':
        return string_take(scan, &text, &size);
    case 't':
        return word_take(scan, "true");
    case 'f':
        return word_take(scan, "false");
    case 'n':
        return word_take(scan, "null");
    default:
        return number_take(scan);
    }
}

/* Takes a number that is not negative. */
static bool amount_take(struct scan *scan, double *amount)
{
    char text[NUMBER_SIZE_MAX + 1];
    const char *start = scan->at;
    if (!number_take(scan) || *start == '-') {
        return false;
    }
    size_t size = (size_t)(scan->at - start);
    if (size > NUMBER_SIZE_MAX) {
        return false;
    }
    memcpy(text, start, size);
    text[size] = '\0';
    *amount = strtod(text, NULL);
    return true;
}

static bool id_take(struct scan *scan, uint64_t *id)
{
    const char *start = scan->at;
    *id = 0;
    for (; is_digit(peek(scan)); scan->at++) {
        uint64_t digit = (uint64_t)(*scan->at - '0');
        if (*id > (UINT64_MAX - digit) / 10) {
            return false;
        }
        *id = *id * 10 + digit;
    }
    size_t size = (size_t)(scan->at - start);
    return size > 0 && (size == 1 || *start != '0');
}

static bool id_append(struct cli_trace_request *request, uint64_t id)
{
    if (request->id_count == request->id_room) {
        size_t room = request->id_room * 2 + 64;
        uint64_t *ids = realloc(request->ids, room * sizeof(*ids));
        if (ids == NULL) {
            return false;
        }
        request->ids = ids;
        request->id_room = room;
    }
    request->ids[request->id_count++] = id;
    return true;
}

static const char *ids_take(struct scan *scan,
                            struct cli_trace_request *request)
{
    uint64_t id;
    request->id_count = 0;
    if (!take(scan, '[')) {
        return bad_ids;
    }
    if (take(scan, ']')) {
        return NULL;
    }
    do {
        if (!id_take(scan, &id)) {
            return bad_ids;
        }
        if (!id_append(request, id)) {
            return "memory is short";
        }
    } while (take(scan, ','));
    return take(scan, ']') ? NULL : bad_ids;
}

static bool named(const char *name, size_t size, const char *wanted)
{
    return size == strlen(wanted) && memcmp(name, wanted, size) == 0;
}

static const char *member_take(struct scan *scan, bool *has_ids,
                               struct cli_trace_request *request)
{
    const char *name;
    size_t size;
    double length;
    if (!string_take(scan, &name, &size) || !take(scan, ':')) {
        return not_json;
    }
    if (named(name, size, "hash_ids")) {
        *has_ids = true;
        return ids_take(scan, request);
    }
    if (named(name, size, "timestamp")) {
        request->has_timestamp = amount_take(scan, &request->timestamp_ms);
        return request->has_timestamp ? NULL : "timestamp is not a number";
    }
    if (named(name, size, "input_length") ||
        named(name, size, "output_length")) {
        return amount_take(scan, &length) ? NULL : "a length is not a number";
    }
    return value_skip(scan, 0) ? NULL : not_json;
}

const char *cli_trace_parse(const char *line, size_t size,
                            struct cli_trace_request *request)
{
    struct scan scan = {line, line + size};
    bool has_ids = false;
    request->has_timestamp = false;
    request->timestamp_ms = 0;
    request->id_count = 0;
    if (!take(&scan, '{')) {
        return not_json;
    }
    if (!take(&scan, '}')) {
        do {
            const char *wrong = member_take(&scan, &has_ids, request);
            if (wrong != NULL) {
                return wrong;
            }
        } while (take(&scan, ','));
        if (!take(&scan, '}')) {
            return not_json;
        }
    }
    if (scan.at != scan.end) {
        return "something stands behind the JSON object";
    }
    return has_ids ? NULL : "hash_ids is missing";
}

void cli_trace_request_free(struct cli_trace_request *request)
{
    free(request->ids);
    *request = (struct cli_trace_request){0};
}
