#include "backend/object_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void kvt_object_file_init(struct kvt_object_file *file,
                          const struct kvt_object_layout *layout,
                          struct kvt_key key)
{
    file->key = key;
    file->key_hash = kvt_hash128(key.data, key.size);
    file->directory = kvt_keyname_directory(key, layout->directory_count);
    int at = snprintf(file->path, 16, "%0*x/", (int)layout->directory_digits,
                      (unsigned)file->directory);
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
static int read_trailer(struct kvt_object_file *file,
                        struct kvt_trailer *trailer)
{
    uint64_t tail = kvt_object_file_overhead(file);
    bool whole = file->elem.result >= 0 &&
                 (uint64_t)file->elem.result == kvt_fs_elem_bytes(&file->elem);
    if (!whole || (uint64_t)file->elem.result < tail) {
        return -EBADMSG;
    }
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

int kvt_object_file_verify(struct kvt_object_file *file,
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
