#include "backend/object_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t kvt_object_directory(const struct kvt_object_layout *layout,
                            uint32_t number, char name[16])
{
    return (size_t)snprintf(name, 16, "%0*x", (int)layout->directory_digits,
                            (unsigned)number);
}

void kvt_object_file_init(struct kvt_object_file *file,
                          const struct kvt_object_layout *layout,
                          struct kvt_key key)
{
    file->key = key;
    file->key_hash = kvt_hash128(key.data, key.size);
    file->directory = kvt_keyname_directory(key, layout->directory_count);
    size_t at = kvt_object_directory(layout, file->directory, file->path);
    file->path[at++] = '/';
    bool holds_key = kvt_keyname_encode(key, layout->name_max, file->path + at);
    file->key_size = holds_key ? 0 : (uint32_t)key.size;
}

uint64_t kvt_object_file_overhead(const struct kvt_object_file *file)
{
    return file->key_size + KVT_TRAILER_SIZE;
}

uint64_t kvt_object_file_check(const struct kvt_object_file *file,
                               const struct kvt_object_layout *layout,
                               const struct kvt_object *object, uint64_t size)
{
    return kvt_trailer_check(layout->seed, file->key_hash, object->slices,
                             object->slice_count, size);
}

/* The first `size` bytes of the object's slices; returns how many slices. */
static uint32_t take_value(struct kvt_object_file *file,
                           const struct kvt_object *object, uint64_t size)
{
    uint32_t count = 0;
    for (size_t i = 0; i < object->slice_count && size > 0; i++) {
        struct kvt_slice part = object->slices[i];
        if (part.size == 0) {
            continue;
        }
        if (part.size > size) {
            part.size = (size_t)size;
        }
        file->slices[count++] = part;
        size -= part.size;
    }
    return count;
}

static uint32_t add_slice(struct kvt_object_file *file, uint32_t count,
                          void *base, size_t size)
{
    file->slices[count] = (struct kvt_slice){base, size, NULL};
    return count + 1;
}

static void set_elem(struct kvt_object_file *file, enum kvt_fs_op op,
                     uint32_t flags, uint32_t slice_count)
{
    struct kvt_fs_elem *elem = &file->elem;
    elem->op = op;
    elem->flags = flags;
    elem->file = NULL;
    elem->path = file->path;
    elem->offset = 0;
    elem->slices = file->slices;
    elem->slice_count = slice_count;
}

void kvt_object_file_publish(struct kvt_object_file *file,
                             const struct kvt_object *object, uint64_t size,
                             uint64_t check, const char *temp_path,
                             uint32_t flags)
{
    struct kvt_trailer trailer = {.value_size = size,
                                  .key_size = file->key_size,
                                  .key_hash = file->key_hash,
                                  .check = check};
    kvt_trailer_encode(&trailer, file->trailer);
    file->size = size;
    uint32_t count = take_value(file, object, size);
    if (file->key_size > 0) {
        /* a write only reads the key: the cast drops const for the struct */
        count = add_slice(file, count, (void *)(uintptr_t)file->key.data,
                          file->key_size);
    }
    count = add_slice(file, count, file->trailer, KVT_TRAILER_SIZE);
    set_elem(file, KVT_FS_PUBLISH, flags, count);
    file->elem.temp_path = temp_path;
}

void kvt_object_file_publish_raw(struct kvt_object_file *file,
                                 const struct kvt_object *object, uint64_t size,
                                 const char *temp_path, uint32_t flags)
{
    file->size = size;
    set_elem(file, KVT_FS_PUBLISH, flags, take_value(file, object, size));
    file->elem.temp_path = temp_path;
}

static uint32_t add_tail(struct kvt_object_file *file, uint32_t count)
{
    if (file->key_size > 0) {
        count = add_slice(file, count, file->tail_key, file->key_size);
    }
    return add_slice(file, count, file->trailer, KVT_TRAILER_SIZE);
}

void kvt_object_file_fetch(struct kvt_object_file *file,
                           const struct kvt_object *object, uint64_t size)
{
    file->size = size;
    uint32_t count = add_tail(file, take_value(file, object, size));
    set_elem(file, KVT_FS_FETCH, 0, count);
}

/* What the trailer says, when it is whole and that of this key. */
static int read_trailer(const struct kvt_object_file *file,
                        struct kvt_trailer *trailer)
{
    int rc = kvt_trailer_decode(file->trailer, trailer);
    if (rc != 0) {
        return rc;
    }
    bool same_key =
        trailer->key_size == file->key_size &&
        trailer->key_hash.low == file->key_hash.low &&
        trailer->key_hash.high == file->key_hash.high &&
        (file->key_size == 0 ||
         memcmp(file->tail_key, file->key.data, file->key_size) == 0);
    return same_key ? 0 : -EBADMSG;
}

/* Trailer, key and size are in place: do they hold, and the bytes? */
static int prove(const struct kvt_object_file *file,
                 const struct kvt_object_layout *layout,
                 const struct kvt_object *object, bool checksum,
                 uint64_t *check)
{
    struct kvt_trailer trailer;
    int rc = read_trailer(file, &trailer);
    if (rc != 0) {
        return rc;
    }
    if (trailer.value_size != file->size) {
        return -EBADMSG;
    }
    *check = trailer.check;
    if (checksum && kvt_object_file_check(file, layout, object, file->size) !=
                        trailer.check) {
        return -EBADMSG;
    }
    return 0;
}

int kvt_object_file_verify(struct kvt_object_file *file,
                           const struct kvt_object_layout *layout,
                           const struct kvt_object *object, bool checksum,
                           uint64_t *check)
{
    bool whole = file->elem.result >= 0 &&
                 (uint64_t)file->elem.result == kvt_fs_elem_bytes(&file->elem);
    return whole ? prove(file, layout, object, checksum, check) : -EBADMSG;
}

/* Files of unknown size ---------------------------------------------------- */

void kvt_object_file_fetch_any(struct kvt_object_file *file,
                               const struct kvt_object *object)
{
    uint32_t count = add_tail(file, take_value(file, object, UINT64_MAX));
    count = add_slice(file, count, &file->beyond, 1);
    set_elem(file, KVT_FS_FETCH, 0, count);
}

/* Copies the last `size` of the first `total` bytes of the slices. */
static void copy_end(const struct kvt_slice *slices, size_t count,
                     uint64_t total, unsigned char *to, uint64_t size)
{
    uint64_t skip = total - size;
    for (size_t i = 0; i < count && size > 0; i++) {
        const struct kvt_slice *slice = &slices[i];
        if (skip >= slice->size) {
            skip -= slice->size;
            continue;
        }
        uint64_t part = slice->size - skip;
        part = part < size ? part : size;
        memcpy(to, (const char *)slice->base + skip, (size_t)part);
        to += part;
        size -= part;
        skip = 0;
    }
}

/* Puts trailer and key of a file of `total` bytes where they belong, when the
 * value is shorter than its room, so that they lie in it. */
static void move_tail(struct kvt_object_file *file, uint64_t total)
{
    unsigned char tail[KVT_OBJECT_TAIL_MAX];
    uint64_t size = kvt_object_file_overhead(file);
    copy_end(file->slices, file->elem.slice_count, total, tail, size);
    if (file->key_size > 0) {
        memcpy(file->tail_key, tail, file->key_size);
    }
    memcpy(file->trailer, tail + file->key_size, KVT_TRAILER_SIZE);
}

bool kvt_object_file_looks_whole(const struct kvt_object_file *file,
                                 const struct kvt_object *object, uint64_t size)
{
    uint8_t end[KVT_TRAILER_SIZE];
    if (size < sizeof end) {
        return false;
    }
    copy_end(object->slices, object->slice_count, size, end, sizeof end);
    return kvt_trailer_is_likely(end, file->key_hash, size);
}

/* A file without a whole trailer: raw only when nothing tells of one. The name
 * of a key that no name holds does: nobody writes such files without. */
static int settle_bare(struct kvt_object_file *file, uint64_t total, bool raw,
                       int rc, enum kvt_object_kind *kind)
{
    if (!raw || file->key_size > 0 || rc == -EPROTONOSUPPORT ||
        (total >= KVT_TRAILER_SIZE &&
         kvt_trailer_is_likely(file->trailer, file->key_hash, total))) {
        return rc;
    }
    *kind = KVT_OBJECT_RAW;
    file->size = total;
    return 0;
}

/* The trailer of a file that is shorter than its own tail would be. */
static void take_short_trailer(struct kvt_object_file *file, uint64_t total)
{
    unsigned char tail[KVT_TRAILER_SIZE] = {0};
    uint64_t size = total < sizeof tail ? total : sizeof tail;
    copy_end(file->slices, file->elem.slice_count, total, tail, size);
    memcpy(file->trailer, tail, sizeof tail);
}

int kvt_object_file_settle(struct kvt_object_file *file,
                           const struct kvt_object_layout *layout,
                           const struct kvt_object *object, bool checksum,
                           bool raw, enum kvt_object_kind *kind)
{
    uint64_t total = (uint64_t)file->elem.result;
    uint64_t most = kvt_fs_elem_bytes(&file->elem); /* and one byte more */
    uint64_t overhead = kvt_object_file_overhead(file);
    uint64_t check;
    int rc = -EBADMSG;
    *kind = KVT_OBJECT_LARGE;
    if (total == most) {
        return 0;
    }
    if (total >= overhead) {
        if (total + 1 < most) {
            move_tail(file, total);
        }
        file->size = total - overhead;
        rc = prove(file, layout, object, checksum, &check);
        if (rc == 0) {
            *kind = KVT_OBJECT_WHOLE;
            return 0;
        }
    } else {
        take_short_trailer(file, total);
    }
    rc = settle_bare(file, total, raw, rc, kind);
    if (rc == 0 && total > most - 1 - overhead) {
        *kind = KVT_OBJECT_LARGE; /* its end lies in what is not the caller's */
    }
    return rc;
}

void kvt_object_file_fetch_tail(struct kvt_object_file *file)
{
    set_elem(file, KVT_FS_FETCH, KVT_FS_FROM_END | KVT_FS_WANT_SIZE,
             add_tail(file, 0));
    file->elem.offset = kvt_object_file_overhead(file);
}

int kvt_object_file_settle_tail(struct kvt_object_file *file, bool raw,
                                enum kvt_object_kind *kind)
{
    uint64_t overhead = kvt_object_file_overhead(file);
    uint64_t total = file->elem.file_size;
    struct kvt_trailer trailer;
    int rc = -EBADMSG;
    if ((uint64_t)file->elem.result == overhead && total >= overhead) {
        rc = read_trailer(file, &trailer);
        if (rc == 0 && trailer.value_size == total - overhead) {
            *kind = KVT_OBJECT_WHOLE;
            file->size = trailer.value_size;
            return 0;
        }
        rc = rc != 0 ? rc : -EBADMSG;
    } else {
        take_short_trailer(file, (uint64_t)file->elem.result);
    }
    return settle_bare(file, total, raw, rc, kind);
}

/* Batches ------------------------------------------------------------------ */

/* Do the objects' own bytes move? */
static bool moves(enum kvt_batch_op op)
{
    return op == KVT_BATCH_OFFLOAD || op == KVT_BATCH_LOAD;
}

/* Slices that the elements of an object need at most. */
static size_t slices_of(enum kvt_batch_op op, const struct kvt_object *object)
{
    return (moves(op) ? object->slice_count : 0) + KVT_OBJECT_SLICES;
}

void *kvt_object_batch_alloc(enum kvt_batch_op op,
                             const struct kvt_object *objects, size_t count,
                             size_t head_size, size_t op_size,
                             struct kvt_object_room *room)
{
    size_t slices = 0;
    size_t key_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        if (objects[i].status == KVT_OK) { /* others may hold any nonsense */
            slices += slices_of(op, &objects[i]);
            key_bytes += objects[i].key.size;
        }
    }
    size_t ops_size = count * op_size;
    size_t slices_size = slices * sizeof room->slices[0];
    unsigned char *memory =
        malloc(head_size + ops_size + slices_size + key_bytes);
    if (memory == NULL) {
        return NULL;
    }
    memset(memory, 0, head_size);
    room->slices = (struct kvt_slice *)(void *)(memory + head_size + ops_size);
    room->keys = memory + head_size + ops_size + slices_size;
    return memory;
}

void kvt_object_room_take(struct kvt_object_room *room, enum kvt_batch_op op,
                          const struct kvt_object *object,
                          struct kvt_object_file *file)
{
    file->slices = room->slices;
    file->tail_key = room->keys;
    room->slices += slices_of(op, object);
    room->keys += object->key.size;
}

uint64_t kvt_object_bytes(const struct kvt_object *object)
{
    uint64_t size = 0;
    for (size_t i = 0; i < object->slice_count; i++) {
        size += object->slices[i].size;
    }
    return size;
}
