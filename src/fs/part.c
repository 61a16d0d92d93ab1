#include "fs/part.h"

#include <errno.h>
#include <string.h>

/* In place of the memory of a slice, until a piece gets its address. */
static char mark;
#define BOUNCED ((struct kvt_mem *)(void *)&mark)

/* What is left ------------------------------------------------------------ */

struct kvt_rest kvt_rest_of(const struct kvt_fs_elem *elem)
{
    struct kvt_rest rest = {elem->slices, elem->slice_count, 0, elem->offset};
    kvt_rest_advance(&rest, 0);
    return rest;
}

struct kvt_slice kvt_rest_front(const struct kvt_rest *rest)
{
    struct kvt_slice slice = rest->slices[0];
    slice.base = (char *)slice.base + rest->into;
    slice.size -= rest->into;
    return slice;
}

static void skip_empty(struct kvt_rest *rest)
{
    while (rest->count > 0 && rest->slices[0].size == rest->into) {
        rest->slices++;
        rest->count--;
        rest->into = 0;
    }
}

void kvt_rest_advance(struct kvt_rest *rest, uint64_t bytes)
{
    rest->offset += bytes;
    skip_empty(rest);
    while (bytes > 0) {
        size_t left = rest->slices[0].size - rest->into;
        size_t part = bytes < left ? (size_t)bytes : left;
        rest->into += part;
        bytes -= part;
        skip_empty(rest);
    }
}

/* Copies between what is left and `memory`. */
static void copy(struct kvt_rest rest, unsigned char *memory, uint64_t bytes,
                 bool write)
{
    while (bytes > 0) {
        struct kvt_slice piece = kvt_rest_front(&rest);
        size_t size = piece.size < bytes ? piece.size : (size_t)bytes;
        memcpy(write ? memory : piece.base, write ? piece.base : memory, size);
        memory += size;
        bytes -= size;
        kvt_rest_advance(&rest, size);
    }
}

/* Planning ---------------------------------------------------------------- */

static uint64_t round_up(uint64_t size, uint64_t unit)
{
    uint64_t over = size % unit;
    return over != 0 ? size + unit - over : size;
}

/* Can the front go as it is, from `skip` bytes on, a block at least? */
static bool goes_as_it_is(const struct kvt_fs_facts *facts,
                          const struct kvt_slice *front, uint64_t skip)
{
    return skip <= front->size &&
           front->size - skip >= facts->length_alignment &&
           ((uintptr_t)front->base + skip) % facts->memory_alignment == 0;
}

/* Advances over what has to be bounced, `most` bytes at most: up to where a
 * slice can go as it is again, or to the end. */
static uint64_t skip_bounced(const struct kvt_fs_facts *facts,
                             struct kvt_rest *rest, uint64_t before,
                             uint64_t most)
{
    uint64_t unit = facts->length_alignment;
    uint64_t bytes = 0;
    bool stop = false;
    while (!stop && rest->count > 0 && bytes < most) {
        struct kvt_slice front = kvt_rest_front(rest);
        uint64_t to_block = round_up(before + bytes, unit) - before - bytes;
        uint64_t take = front.size;
        if (goes_as_it_is(facts, &front, to_block)) {
            take = to_block;
            stop = true;
        }
        take = take < most - bytes ? take : most - bytes;
        bytes += take;
        kvt_rest_advance(rest, take);
    }
    return bytes;
}

static void add_piece(struct kvt_part *part, void *base, uint64_t size,
                      struct kvt_mem *mem)
{
    part->pieces[part->count++] = (struct kvt_slice){base, (size_t)size, mem};
    part->asked += size;
}

static int plan_bounced(struct kvt_part *part, const struct kvt_fs_facts *facts,
                        struct kvt_rest *rest, bool write, uint64_t most)
{
    uint64_t before = part->count == 0 ? part->before : 0;
    uint64_t bytes = skip_bounced(facts, rest, before, most - before);
    uint64_t size = round_up(before + bytes, facts->length_alignment);
    if (write && (before != 0 || bytes != size)) {
        return -EINVAL; /* whole blocks only: what else is in them? */
    }
    add_piece(part, (void *)(uintptr_t)part->bounced, size, BOUNCED);
    part->bounced = round_up(part->bounced + size, facts->memory_alignment);
    part->wanted += bytes;
    return 0;
}

int kvt_part_plan(struct kvt_part *part, const struct kvt_fs_facts *facts,
                  const struct kvt_rest *left, bool write,
                  const struct kvt_part_limits *limits)
{
    uint64_t unit = facts->length_alignment;
    uint64_t bytes_max = limits->bytes - limits->bytes % unit;
    struct kvt_rest rest = *left;
    part->count = 0;
    part->asked = 0;
    part->before = rest.offset % facts->offset_alignment;
    part->offset = rest.offset - part->before;
    part->wanted = 0;
    part->bounced = 0;
    part->memory = NULL;
    while (rest.count > 0 && part->count < limits->pieces &&
           part->asked < bytes_max) {
        struct kvt_slice front = kvt_rest_front(&rest);
        uint64_t room = bytes_max - part->asked;
        bool aligned = part->count > 0 || part->before == 0;
        if (aligned && goes_as_it_is(facts, &front, 0)) {
            uint64_t size = front.size < room ? front.size : room;
            size -= size % unit;
            add_piece(part, front.base, size, front.mem);
            part->wanted += size;
            kvt_rest_advance(&rest, size);
            continue;
        }
        uint64_t most = part->bounced < limits->bounced
                            ? limits->bounced - part->bounced
                            : 0;
        most = most < room ? most : room;
        most -= most % unit;
        if (most <= (part->count == 0 ? part->before : 0)) {
            break;
        }
        int rc = plan_bounced(part, facts, &rest, write, most);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

void kvt_part_place(struct kvt_part *part, void *memory)
{
    part->memory = memory;
    for (uint32_t i = 0; i < part->count; i++) {
        struct kvt_slice *piece = &part->pieces[i];
        if (piece->mem == BOUNCED) {
            piece->base = part->memory + (uintptr_t)piece->base;
            piece->mem = NULL;
        }
    }
}

static bool is_bounced(const struct kvt_part *part,
                       const struct kvt_slice *piece)
{
    uintptr_t at = (uintptr_t)piece->base - (uintptr_t)part->memory;
    return part->memory != NULL && at < part->bounced;
}

void kvt_part_attach(struct kvt_part *part, const struct kvt_rest *left,
                     bool write, void *memory)
{
    struct kvt_rest rest = *left;
    kvt_part_place(part, memory);
    for (uint32_t i = 0; write && i < part->count; i++) {
        const struct kvt_slice *piece = &part->pieces[i];
        if (is_bounced(part, piece)) {
            copy(rest, piece->base, piece->size, true);
        }
        kvt_rest_advance(&rest, piece->size);
    }
}

/* The call ---------------------------------------------------------------- */

uint64_t kvt_part_end(const struct kvt_part *part,
                      const struct kvt_fs_facts *facts,
                      const struct kvt_rest *left, bool write, uint64_t done,
                      uint64_t *copied)
{
    if (write && done < part->asked) {
        done -= done % facts->length_alignment; /* goes on at a whole block */
    }
    uint64_t useful = done > part->before ? done - part->before : 0;
    useful = useful < part->wanted ? useful : part->wanted;
    if (part->bounced == 0) {
        return useful;
    }
    struct kvt_rest rest = *left;
    uint64_t bytes = useful;
    for (uint32_t i = 0; i < part->count && bytes > 0; i++) {
        const struct kvt_slice *piece = &part->pieces[i];
        uint64_t before = i == 0 ? part->before : 0;
        uint64_t size = piece->size - before;
        size = size < bytes ? size : bytes;
        if (is_bounced(part, piece)) {
            if (!write) {
                copy(rest, (unsigned char *)piece->base + before, size, false);
            }
            *copied += size;
        }
        kvt_rest_advance(&rest, size);
        bytes -= size;
    }
    return useful;
}
