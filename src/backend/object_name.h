/* Names of object files: from a listing back to keys. */
#ifndef KVT_BACKEND_OBJECT_NAME_H
#define KVT_BACKEND_OBJECT_NAME_H

#include "backend/object_file.h"

enum kvt_object_name {
    KVT_NAME_FOREIGN, /* not what any key is mapped to */
    KVT_NAME_KEY,     /* holds its key */
    KVT_NAME_LONG,    /* the key stands in the file */
};

/* What a name in directory number `directory` is; the key goes to `bytes`
 * (KVT_KEYNAME_MAX of them). */
enum kvt_object_name
kvt_object_name_read(const struct kvt_object_layout *layout, uint32_t directory,
                     const char *name, unsigned char *bytes,
                     struct kvt_key *key);

/* Makes `elem` fetch the last KVT_OBJECT_TAIL_MAX bytes of a file, where the
 * key of a long name stands, and its size. `slice` is borrowed, and its base
 * has room. */
void kvt_object_fetch_long(struct kvt_fs_elem *elem, const char *path,
                           struct kvt_slice *slice);

/* After that fetch of `got` bytes of a file of `size` bytes: the key, in
 * `bytes`; of size 0 when the file is not the one of such a key. */
struct kvt_key kvt_object_long_key(const struct kvt_object_layout *layout,
                                   const char *path, const unsigned char *bytes,
                                   uint64_t got, uint64_t size);

#endif
