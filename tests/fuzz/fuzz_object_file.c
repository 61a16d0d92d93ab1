/* Any bytes as a file name, as the end of an object file, and as the record of
 * a root. What is taken must be what encoding it again gives. */
#include "backend/object_name.h"
#include "format/root_record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

static void fuzz_name(const char *name)
{
    unsigned char key[KVT_KEYNAME_MAX];
    char again[KVT_KEYNAME_MAX + 1];
    size_t size = kvt_keyname_decode(name, key);

    if (size > 0) {
        struct kvt_key decoded = {key, size};
        require(size <= KVT_KEYNAME_MAX);
        require(kvt_keyname_encode(decoded, KVT_KEYNAME_MAX, again));
        require(strcmp(name, again) == 0);
        require(!kvt_keyname_is_long(name));
    }
}

/* As a key: its name leads back to it. */
static void fuzz_key(const uint8_t *data, size_t size)
{
    unsigned char back[KVT_KEYNAME_MAX];
    char name[KVT_KEYNAME_MAX + 1];
    struct kvt_key key = {data, size};

    if (size == 0 || size > KVT_KEY_SIZE_MAX) {
        return;
    }
    for (uint32_t most = 64; most <= KVT_KEYNAME_MAX; most += 191) {
        bool holds = kvt_keyname_encode(key, most, name);
        require(strlen(name) <= most && strchr(name, '/') == NULL);
        require(kvt_keyname_is_long(name) == !holds);
        require(kvt_keyname_decode(name, back) == (holds ? size : 0));
        require(!holds || memcmp(back, data, size) == 0);
    }
}

static void fuzz_trailer(const uint8_t *data, size_t size)
{
    uint8_t again[KVT_TRAILER_SIZE];
    struct kvt_trailer trailer;
    const uint8_t *bytes = data + size - KVT_TRAILER_SIZE;

    if (size < KVT_TRAILER_SIZE) {
        return;
    }
    if (kvt_trailer_decode(bytes, &trailer) == 0) {
        kvt_trailer_encode(&trailer, again);
        require(memcmp(bytes, again, sizeof again) == 0);
        require(kvt_trailer_is_likely(bytes, trailer.key_hash, size));
    }
}

/* As a file of unknown size, read into slices of every kind. */
static void fuzz_file(const uint8_t *data, size_t size)
{
    static const struct kvt_object_layout layout = {256, 2, 255, 0};
    enum {
        ROOM = 200
    };
    unsigned char room[ROOM];
    struct kvt_slice given[2] = {{room, 77, NULL}, {room + 77, 123, NULL}};
    struct kvt_object object = {.slices = given, .slice_count = 2};
    struct kvt_slice slices[2 + KVT_OBJECT_SLICES];
    struct kvt_object_file file = {.slices = slices};
    unsigned char key[300];
    enum kvt_object_kind kind;

    memset(key, 'k', sizeof key);
    for (size_t key_size = 3; key_size <= sizeof key; key_size += 297) {
        unsigned char tail_key[300];
        struct kvt_key whole = {key, key_size};
        kvt_object_file_init(&file, &layout, whole);
        file.tail_key = tail_key;
        kvt_object_file_fetch_any(&file, &object);
        size_t left = size;
        const uint8_t *from = data;
        for (uint32_t i = 0; i < file.elem.slice_count && left > 0; i++) {
            size_t part = slices[i].size < left ? slices[i].size : left;
            memcpy(slices[i].base, from, part);
            from += part;
            left -= part;
        }
        file.elem.result = (int64_t)(size - left);
        for (int raw = 0; raw < 2; raw++) {
            int rc = kvt_object_file_settle(&file, &layout, &object, true,
                                            raw == 1, &kind);
            require(rc <= 0);
            require(rc != 0 || raw == 1 || kind != KVT_OBJECT_RAW);
            require(rc != 0 || kind == KVT_OBJECT_LARGE || file.size <= ROOM);
        }
    }
}

static void fuzz_long_key(const uint8_t *data, size_t size)
{
    static const struct kvt_object_layout layout = {256, 2, 255, 0};
    size_t got = size < KVT_OBJECT_TAIL_MAX ? size : KVT_OBJECT_TAIL_MAX;
    struct kvt_key key = kvt_object_long_key(
        &layout, "00/%long-00000000000000000000000000000000", data + size - got,
        got, size);

    require(key.size <= KVT_KEY_SIZE_MAX);
}

static void fuzz_record(const uint8_t *data, size_t size)
{
    uint8_t again[KVT_ROOT_RECORD_SIZE];
    struct kvt_root_record record;

    if (size >= sizeof again && kvt_root_record_decode(data, &record) == 0) {
        kvt_root_record_encode(&record, again);
        require(memcmp(data, again, sizeof again) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *name = malloc(size + 1);

    if (name == NULL) {
        return 0;
    }
    memcpy(name, data, size);
    name[size] = '\0';
    fuzz_name(name);
    free(name);
    fuzz_key(data, size);
    fuzz_trailer(data, size);
    fuzz_file(data, size);
    fuzz_long_key(data, size);
    fuzz_record(data, size);
    return 0;
}
