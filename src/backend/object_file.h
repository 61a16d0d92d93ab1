/*
 * One file an object: the part that every layout of that kind shares. It maps
 * keys to paths, builds the elements that publish and fetch a file, and
 * proves what was read. It knows no index and no limits.
 *
 * File: the value, then the key when the name cannot hold it, then the
 * trailer (format/trailer.h).
 */
#ifndef KVT_BACKEND_OBJECT_FILE_H
#define KVT_BACKEND_OBJECT_FILE_H

#include "format/keyname.h"
#include "format/trailer.h"

#include <kvtier/fs.h>
#include <kvtier/kvtier.h>

#define KVT_OBJECT_PATH_MAX (8u + KVT_KEYNAME_MAX + 1u)

/* What the files of one root have in common. */
struct kvt_object_layout {
    uint32_t directory_count;
    uint32_t directory_digits;
    uint32_t name_max;
    uint64_t seed; /* of check values */
};

/* One file operation under way. */
struct kvt_object_file {
    struct kvt_fs_elem elem;
    struct kvt_slice *slices; /* room for the object's slices and two more */
    struct kvt_key key;
    struct kvt_hash128 key_hash;
    uint64_t size;     /* of the value being moved */
    uint32_t key_size; /* in the file; 0 when the name holds the key */
    uint32_t directory;
    char path[KVT_OBJECT_PATH_MAX];
    uint8_t trailer[KVT_TRAILER_SIZE];
    unsigned char *tail_key; /* of a fetch: where the file's key goes */
};

/* Fills key, hash, path. */
void kvt_object_file_init(struct kvt_object_file *file,
                          const struct kvt_object_layout *layout,
                          struct kvt_key key);

/* Bytes of the file beyond the value. */
uint64_t kvt_object_file_overhead(const struct kvt_object_file *file);

/* The check value of an object's bytes. */
uint64_t kvt_object_file_check(const struct kvt_object_file *file,
                               const struct kvt_object_layout *layout,
                               const struct kvt_object *object, uint64_t size);

/* Makes `elem` publish the object. `temp_path` is borrowed until done. */
void kvt_object_file_publish(struct kvt_object_file *file,
                             const struct kvt_object *object, uint64_t size,
                             uint64_t check, const char *temp_path,
                             uint32_t flags);

/* Makes `elem` fetch a value of `size` bytes into the object's slices, which
 * have room for it, and the rest of the file behind it. */
void kvt_object_file_fetch(struct kvt_object_file *file,
                           const struct kvt_object *object, uint64_t size);

/* After that fetch: 0 and the check value; -EBADMSG when the file is not
 * exactly what was published under this key; -EPROTONOSUPPORT when a newer
 * version wrote it. */
int kvt_object_file_verify(struct kvt_object_file *file,
                           const struct kvt_object_layout *layout,
                           const struct kvt_object *object, bool checksum,
                           uint64_t *check);

#endif
