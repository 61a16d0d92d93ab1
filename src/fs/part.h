/* A READ or WRITE is moved in parts, each by one call. What a mount with
 * alignment cannot move as it is goes through memory of ours, in the same call
 * as the slices that it can. */
#ifndef KVT_FS_PART_H
#define KVT_FS_PART_H

#include <kvtier/fs.h>

/* What is left of a transfer. */
struct kvt_rest {
    const struct kvt_slice *slices;
    uint32_t count;
    size_t into;     /* bytes of the first slice that are done */
    uint64_t offset; /* in the file */
};

struct kvt_rest kvt_rest_of(const struct kvt_fs_elem *elem);
/* The first slice that is left; `count` is not 0. */
struct kvt_slice kvt_rest_front(const struct kvt_rest *rest);
/* Skips bytes that are done, and empty slices. */
void kvt_rest_advance(struct kvt_rest *rest, uint64_t bytes);

struct kvt_part_limits {
    uint32_t pieces;  /* room in `pieces` */
    uint64_t bytes;   /* of one call */
    uint64_t bounced; /* of them, through memory of ours */
};

/* One call. */
struct kvt_part {
    struct kvt_slice *pieces; /* the caller's array */
    uint32_t count;
    uint64_t offset;  /* in the file */
    uint64_t asked;   /* bytes of all pieces */
    uint64_t before;  /* the first of them, which nobody wants */
    uint64_t wanted;  /* bytes of the rest that it moves */
    uint64_t bounced; /* memory of ours that it takes */
    unsigned char *memory;
};

/* Plans the front of what is left: as many bytes as the limits allow, at least
 * a block. 0; -EINVAL when a write is not of whole blocks. The same arguments
 * give the same part. */
int kvt_part_plan(struct kvt_part *part, const struct kvt_fs_facts *facts,
                  const struct kvt_rest *rest, bool write,
                  const struct kvt_part_limits *limits);
/* Gives it `bounced` bytes of aligned memory. */
void kvt_part_place(struct kvt_part *part, void *memory);
/* That, and what is to be written. */
void kvt_part_attach(struct kvt_part *part, const struct kvt_rest *rest,
                     bool write, void *memory);
/* After the call moved `done` bytes: bytes of the rest that are done. What was
 * read into our memory is copied out, and counted in `*copied`. */
uint64_t kvt_part_end(const struct kvt_part *part,
                      const struct kvt_fs_facts *facts,
                      const struct kvt_rest *rest, bool write, uint64_t done,
                      uint64_t *copied);

#endif
