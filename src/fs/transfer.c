/* A READ or WRITE by an adapter's blocking call, as its facts want it: split
 * where it is too large, and moved through aligned memory of our own where it
 * is not aligned. */
#include "fs/fs_core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    PIECES_MAX = 64, /* slices of one call */
    BOUNCE_MAX = 1 << 20,
};

/* What is left of a transfer. */
struct rest {
    const struct kvt_slice *slices;
    uint32_t count;
    size_t into; /* bytes of the first slice that are done */
    uint64_t offset;
};

static struct kvt_slice front(const struct rest *rest)
{
    struct kvt_slice slice = rest->slices[0];
    slice.base = slice.size > 0 ? (char *)slice.base + rest->into : NULL;
    slice.size -= rest->into;
    return slice;
}

static void skip_empty(struct rest *rest)
{
    while (rest->count > 0 && rest->slices[0].size == rest->into) {
        rest->slices++;
        rest->count--;
        rest->into = 0;
    }
}

static void advance(struct rest *rest, uint64_t bytes)
{
    rest->offset += bytes;
    while (bytes > 0) {
        size_t left = rest->slices[0].size - rest->into;
        size_t part = bytes < left ? (size_t)bytes : left;
        rest->into += part;
        bytes -= part;
        skip_empty(rest);
    }
}

static bool is_aligned(const struct kvt_fs_facts *facts,
                       const struct kvt_slice *slice, uint64_t offset)
{
    return (uintptr_t)slice->base % facts->memory_alignment == 0 &&
           slice->size % facts->length_alignment == 0 &&
           offset % facts->offset_alignment == 0;
}

/* Collects slices that can go as they are, up to what one call takes. */
static uint32_t collect(const struct kvt_fs_facts *facts, struct rest rest,
                        struct kvt_slice *pieces)
{
    uint32_t count = 0;
    uint64_t room = facts->transfer_max;
    uint32_t most = facts->slices_max < PIECES_MAX ? facts->slices_max
                                                   : (uint32_t)PIECES_MAX;
    while (rest.count > 0 && count < most && room > 0) {
        struct kvt_slice piece = front(&rest);
        if (!is_aligned(facts, &piece, rest.offset)) {
            break;
        }
        if (piece.size > room) {
            piece.size = (size_t)(room - room % facts->length_alignment);
        }
        if (piece.size == 0) {
            break;
        }
        pieces[count++] = piece;
        room -= piece.size;
        advance(&rest, piece.size);
        skip_empty(&rest);
    }
    return count;
}

/* Copies between the front of the transfer and `memory`. */
static void copy(const struct rest *from, unsigned char *memory, uint64_t bytes,
                 bool write)
{
    struct rest rest = *from;
    while (bytes > 0) {
        struct kvt_slice piece = front(&rest);
        size_t size = piece.size < bytes ? piece.size : (size_t)bytes;
        memcpy(write ? memory : piece.base, write ? piece.base : memory, size);
        memory += size;
        bytes -= size;
        advance(&rest, size);
    }
}

/* Bytes until the next slice that can go as it is. */
static uint64_t unaligned_bytes(const struct kvt_fs_facts *facts,
                                struct rest rest)
{
    uint64_t bytes = 0;
    while (rest.count > 0) {
        struct kvt_slice piece = front(&rest);
        if (bytes > 0 && is_aligned(facts, &piece, rest.offset)) {
            break;
        }
        bytes += piece.size;
        advance(&rest, piece.size);
        skip_empty(&rest);
    }
    return bytes;
}

/* Moves the front of the transfer through `memory`; returns bytes moved. */
static int64_t bounce(struct kvt_fs *fs, const struct kvt_fs_elem *elem,
                      const struct rest *rest, unsigned char *memory)
{
    const struct kvt_fs_facts *facts = &fs->facts;
    bool write = elem->op == KVT_FS_WRITE;
    uint64_t most =
        facts->transfer_max < BOUNCE_MAX ? facts->transfer_max : BOUNCE_MAX;
    uint64_t before = rest->offset % facts->offset_alignment;
    uint64_t bytes = unaligned_bytes(facts, *rest);
    most -= most % facts->length_alignment;
    if (bytes > most - before) {
        bytes = most - before;
    }
    uint64_t size = before + bytes;
    uint64_t over = size % facts->length_alignment;
    if (write && (before != 0 || over != 0)) {
        return -EINVAL; /* whole blocks only: what else is in them? */
    }
    size += over != 0 ? facts->length_alignment - over : 0;
    struct kvt_slice slice = {memory, (size_t)size, NULL};
    struct kvt_fs_elem part = {.op = elem->op,
                               .file = elem->file,
                               .offset = rest->offset - before,
                               .slices = &slice,
                               .slice_count = 1};
    if (write) {
        copy(rest, memory, bytes, true);
    }
    int64_t done = fs->ops->execute(fs, &part);
    if (done < 0) {
        return done;
    }
    uint64_t useful = (uint64_t)done > before ? (uint64_t)done - before : 0;
    useful = useful < bytes ? useful : bytes;
    if (!write) {
        copy(rest, memory + before, useful, false);
    }
    kvt_fs_count_copied(fs, useful);
    return (int64_t)useful;
}

/* Enough for the transfer, or for as much as goes at a time. */
static unsigned char *bounce_memory(const struct kvt_fs_facts *facts,
                                    uint64_t bytes)
{
    void *memory = NULL;
    size_t alignment = facts->memory_alignment > sizeof memory
                           ? facts->memory_alignment
                           : sizeof memory;
    bytes += facts->offset_alignment + facts->length_alignment;
    size_t size = bytes < BOUNCE_MAX ? (size_t)bytes : (size_t)BOUNCE_MAX;
    return posix_memalign(&memory, alignment, size) == 0 ? memory : NULL;
}

static int64_t move_parts(struct kvt_fs *fs, const struct kvt_fs_elem *elem,
                          unsigned char **memory)
{
    struct kvt_slice pieces[PIECES_MAX];
    struct rest rest = {elem->slices, elem->slice_count, 0, elem->offset};
    int64_t total = 0;
    skip_empty(&rest);
    while (rest.count > 0) {
        struct kvt_fs_elem part = {.op = elem->op,
                                   .file = elem->file,
                                   .offset = rest.offset,
                                   .slices = pieces};
        part.slice_count = collect(&fs->facts, rest, pieces);
        uint64_t asked = kvt_fs_elem_bytes(&part);
        int64_t done;
        if (part.slice_count > 0) {
            done = fs->ops->execute(fs, &part);
        } else {
            if (*memory == NULL) {
                *memory = bounce_memory(&fs->facts, kvt_fs_elem_bytes(elem));
            }
            if (*memory == NULL) {
                return -ENOMEM;
            }
            done = bounce(fs, elem, &rest, *memory);
            asked = done > 0 ? (uint64_t)done : 1;
        }
        if (done < 0) {
            return done;
        }
        total += done;
        if ((uint64_t)done < asked) {
            return total; /* the end of the file */
        }
        advance(&rest, (uint64_t)done);
    }
    return total;
}

int64_t kvt_fs_transfer(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    const struct kvt_fs_facts *facts = &fs->facts;
    bool any_size = facts->transfer_max == UINT64_MAX &&
                    elem->slice_count <= facts->slices_max;
    bool any_place = facts->offset_alignment == 1 &&
                     facts->length_alignment == 1 &&
                     facts->memory_alignment == 1;
    if (any_size && any_place) {
        return fs->ops->execute(fs, elem);
    }
    unsigned char *memory = NULL;
    int64_t rc = move_parts(fs, elem, &memory);
    free(memory);
    return rc;
}
