#include "backend/object_name.h"

#include <string.h>

enum kvt_object_name
kvt_object_name_read(const struct kvt_object_layout *layout, uint32_t directory,
                     const char *name, unsigned char *bytes,
                     struct kvt_key *key)
{
    *key = (struct kvt_key){bytes, kvt_keyname_decode(name, bytes)};
    if (key->size == 0) {
        return kvt_keyname_is_long(name) ? KVT_NAME_LONG : KVT_NAME_FOREIGN;
    }
    /* in the directory that it belongs to, and no longer than allowed */
    bool ours =
        strlen(name) <= layout->name_max &&
        kvt_keyname_directory(*key, layout->directory_count) == directory;
    return ours ? KVT_NAME_KEY : KVT_NAME_FOREIGN;
}

void kvt_object_fetch_long(struct kvt_fs_elem *elem, const char *path,
                           struct kvt_slice *slice)
{
    slice->size = KVT_OBJECT_TAIL_MAX;
    slice->mem = NULL;
    elem->op = KVT_FS_FETCH;
    elem->flags = KVT_FS_FROM_END | KVT_FS_WANT_SIZE;
    elem->path = path;
    elem->offset = KVT_OBJECT_TAIL_MAX;
    elem->slices = slice;
    elem->slice_count = 1;
}

struct kvt_key kvt_object_long_key(const struct kvt_object_layout *layout,
                                   const char *path, const unsigned char *bytes,
                                   uint64_t got, uint64_t size)
{
    static const struct kvt_key none = {NULL, 0};
    struct kvt_trailer trailer;
    struct kvt_object_file file;
    if (got < KVT_TRAILER_SIZE ||
        kvt_trailer_decode(bytes + got - KVT_TRAILER_SIZE, &trailer) != 0 ||
        trailer.key_size == 0 || trailer.key_size + KVT_TRAILER_SIZE > got ||
        trailer.value_size + trailer.key_size + KVT_TRAILER_SIZE != size) {
        return none;
    }
    struct kvt_key key = {bytes + got - KVT_TRAILER_SIZE - trailer.key_size,
                          trailer.key_size};
    /* the name must be the one of this key */
    kvt_object_file_init(&file, layout, key);
    return strcmp(file.path, path) == 0 ? key : none;
}
