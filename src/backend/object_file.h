/*
 * One file an object: the part that every layout of that kind shares. It maps
 * keys to paths, builds the elements that publish and fetch a file, and
 * proves what was read. It knows no index and no limits.
 *
 * File: the value, then the key when the name cannot hold it, then the
 * trailer (format/trailer.h); or, where a root may hold such files, the value
 * alone: a raw one.
 */
#ifndef KVT_BACKEND_OBJECT_FILE_H
#define KVT_BACKEND_OBJECT_FILE_H

#include "format/keyname.h"
#include "format/trailer.h"

#include <kvtier/fs.h>
#include <kvtier/kvtier.h>

#define KVT_OBJECT_PATH_MAX (8u + KVT_KEYNAME_MAX + 1u)
#define KVT_OBJECT_TAIL_MAX (KVT_KEY_SIZE_MAX + KVT_TRAILER_SIZE)

/* What the files of one root have in common. */
struct kvt_object_layout {
    uint32_t directory_count;
    uint32_t directory_digits; /* at least so many */
    uint32_t name_max;
    uint64_t seed; /* of check values */
};

/* One file operation under way. */
struct kvt_object_file {
    struct kvt_fs_elem elem;
    struct kvt_slice *slices; /* room for the object's slices and
                                 KVT_OBJECT_SLICES more */
    struct kvt_key key;
    struct kvt_hash128 key_hash;
    uint64_t size;     /* of the value being moved */
    uint32_t key_size; /* in the file; 0 when the name holds the key */
    uint32_t directory;
    char path[KVT_OBJECT_PATH_MAX];
    uint8_t trailer[KVT_TRAILER_SIZE];
    unsigned char *tail_key; /* of a fetch: where the file's key goes */
    unsigned char beyond;    /* a byte behind all that there is room for */
};

/* Slices of an element beyond those of the object. */
enum {
    KVT_OBJECT_SLICES = 3
};

/* Writes the directory with this number, NUL-terminated; returns its length. */
size_t kvt_object_directory(const struct kvt_object_layout *layout,
                            uint32_t number, char name[16]);

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
/* The same with the value alone in the file. */
void kvt_object_file_publish_raw(struct kvt_object_file *file,
                                 const struct kvt_object *object, uint64_t size,
                                 const char *temp_path, uint32_t flags);

/* Would a file of the value alone be taken for one with a trailer? */
bool kvt_object_file_looks_whole(const struct kvt_object_file *file,
                                 const struct kvt_object *object,
                                 uint64_t size);

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

/* What a file of unknown size turned out to be. */
enum kvt_object_kind {
    KVT_OBJECT_WHOLE, /* proved by its trailer */
    KVT_OBJECT_RAW,   /* it has none: nothing proves it */
    KVT_OBJECT_LARGE, /* more than there is room for */
};

/* Makes `elem` fetch a value whose size is not known into all slices of the
 * object, and what follows behind them. */
void kvt_object_file_fetch_any(struct kvt_object_file *file,
                               const struct kvt_object *object);

/* After that fetch, whose result is a number of bytes: what the file is, with
 * `size` set unless it is KVT_OBJECT_LARGE; or the errors of
 * kvt_object_file_verify. Without `raw` no file is raw. */
int kvt_object_file_settle(struct kvt_object_file *file,
                           const struct kvt_object_layout *layout,
                           const struct kvt_object *object, bool checksum,
                           bool raw, enum kvt_object_kind *kind);

/* Makes `elem` fetch the end of the file alone: what tells the size of the
 * value without reading it. */
void kvt_object_file_fetch_tail(struct kvt_object_file *file);

/* After that fetch: KVT_OBJECT_WHOLE or _RAW with `size` set, or -EBADMSG or
 * -EPROTONOSUPPORT. */
int kvt_object_file_settle_tail(struct kvt_object_file *file, bool raw,
                                enum kvt_object_kind *kind);

/* Batches: one allocation holds a layout's own head, one operation an object,
 * and what their elements need. */
struct kvt_object_room {
    struct kvt_slice *slices;
    unsigned char *keys;
};

/* Returns `head_size` bytes (free with free), zeroed, and behind them
 * operations of `op_size` bytes each, not zeroed; or null. */
void *kvt_object_batch_alloc(enum kvt_batch_op op,
                             const struct kvt_object *objects, size_t count,
                             size_t head_size, size_t op_size,
                             struct kvt_object_room *room);
/* Gives the next object's file its part of the room. */
void kvt_object_room_take(struct kvt_object_room *room, enum kvt_batch_op op,
                          const struct kvt_object *object,
                          struct kvt_object_file *file);
/* Bytes of all slices. */
uint64_t kvt_object_bytes(const struct kvt_object *object);

#endif
