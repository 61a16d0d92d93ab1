/* A READ or WRITE by an adapter's blocking call, as its facts want it: split
 * where it is too large, and moved through aligned memory of our own where it
 * is not aligned. */
#include "fs/fs_core.h"
#include "fs/part.h"

#include <errno.h>
#include <stdlib.h>

enum {
    PIECES_MAX = 64, /* slices of one call */
    BOUNCE_MAX = 1 << 20,
};

/* Memory of ours, kept for the parts behind. */
struct bounce {
    void *memory;
    uint64_t size;
};

static int attach_bounce(struct kvt_fs *fs, struct kvt_part *part,
                         const struct kvt_rest *rest, bool write,
                         struct bounce *bounce)
{
    size_t alignment = fs->facts.memory_alignment > sizeof bounce->memory
                           ? fs->facts.memory_alignment
                           : sizeof bounce->memory;
    if (part->bounced > bounce->size) {
        free(bounce->memory);
        *bounce = (struct bounce){NULL, part->bounced};
        if (posix_memalign(&bounce->memory, alignment, (size_t)bounce->size) !=
            0) {
            *bounce = (struct bounce){NULL, 0};
            return -ENOMEM;
        }
    }
    kvt_part_attach(part, rest, write, bounce->memory);
    return 0;
}

static int64_t move_part(struct kvt_fs *fs, const struct kvt_fs_elem *elem,
                         struct kvt_part *part, const struct kvt_rest *rest)
{
    bool write = elem->op == KVT_FS_WRITE;
    struct kvt_fs_elem call = {.op = elem->op,
                               .file = elem->file,
                               .offset = part->offset,
                               .slices = part->pieces,
                               .slice_count = part->count};
    int64_t done = fs->ops->execute(fs, &call);
    if (done < 0) {
        return done;
    }
    uint64_t copied = 0;
    uint64_t useful =
        kvt_part_end(part, &fs->facts, rest, write, (uint64_t)done, &copied);
    kvt_fs_count_copied(fs, copied);
    return (int64_t)useful;
}

static int64_t move_parts(struct kvt_fs *fs, const struct kvt_fs_elem *elem,
                          struct bounce *bounce)
{
    struct kvt_slice pieces[PIECES_MAX];
    const struct kvt_fs_facts *facts = &fs->facts;
    bool write = elem->op == KVT_FS_WRITE;
    struct kvt_part_limits limits = {.pieces = facts->slices_max < PIECES_MAX
                                                   ? facts->slices_max
                                                   : (uint32_t)PIECES_MAX,
                                     .bytes = facts->transfer_max,
                                     .bounced = BOUNCE_MAX};
    struct kvt_rest rest = kvt_rest_of(elem);
    int64_t total = 0;
    while (rest.count > 0) {
        struct kvt_part part = {.pieces = pieces};
        int64_t rc = kvt_part_plan(&part, facts, &rest, write, &limits);
        if (rc == 0 && part.bounced > 0) {
            rc = attach_bounce(fs, &part, &rest, write, bounce);
        }
        if (rc == 0) {
            rc = move_part(fs, elem, &part, &rest);
        }
        if (rc < 0) {
            return rc;
        }
        total += rc;
        if ((uint64_t)rc < part.wanted) {
            return total; /* the end of the file */
        }
        kvt_rest_advance(&rest, (uint64_t)rc);
    }
    return total;
}

/* Does the adapter take it as it is, in one call? */
static bool goes_whole(const struct kvt_fs_facts *facts,
                       const struct kvt_fs_elem *elem)
{
    return facts->transfer_max == UINT64_MAX &&
           elem->slice_count <= facts->slices_max &&
           facts->offset_alignment == 1 && facts->length_alignment == 1 &&
           facts->memory_alignment == 1;
}

int64_t kvt_fs_try_now(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    bool moves = elem->op == KVT_FS_READ || elem->op == KVT_FS_WRITE;
    if (fs->ops->try_now == NULL || !moves || !goes_whole(&fs->facts, elem)) {
        return -EAGAIN;
    }
    return fs->ops->try_now(fs, elem);
}

int64_t kvt_fs_transfer(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    if (goes_whole(&fs->facts, elem)) {
        return fs->ops->execute(fs, elem);
    }
    struct bounce bounce = {NULL, 0};
    int64_t rc = move_parts(fs, elem, &bounce);
    free(bounce.memory);
    return rc;
}
