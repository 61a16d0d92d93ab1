/* What recovery finds, bucket by bucket. */
#ifndef KVT_BACKEND_BUCKET_RECOVER_H
#define KVT_BACKEND_BUCKET_RECOVER_H

#include "backend/bucket.h"

/* A file with the name of a bucket. */
struct bkt_found {
    uint64_t writer;
    uint64_t number;
    uint64_t seed;
    uint64_t size;
    /* once it was looked at */
    enum {
        BKT_FOUND_FOREIGN, /* not of this store, or nothing that we know */
        BKT_FOUND_EMPTY,   /* ours, without a run: what a dead owner left */
        BKT_FOUND_SEALED,
        BKT_FOUND_UNSEALED,
        BKT_FOUND_OTHERS, /* not sealed, and its owner may still write it */
    } kind;
    bool synced;
    bool trusted; /* unsealed: what it was written with outlived the writer */
    uint64_t sequence;
    uint64_t sequence_end;
    uint64_t value_bytes;
    struct bkt_table table; /* freed when the index has it, unless unsealed */
    /* What stands in damaged tables and records: it may say that objects are
     * dead, and never that one lives. Its causes are in range. */
    struct bkt_table doubt;
    bool was_sealed;      /* once; its table is damaged since */
    bool damaged;         /* so it is, or a run that counted is */
    bool table_torn;      /* as a power loss leaves it: it was never whole */
    uint32_t table_block; /* when it was sealed */
    struct bkt_bucket *bucket;
};

struct bkt_listing {
    struct bkt *bkt;
    struct bkt_found *found; /* oldest first */
    size_t count;
    size_t capacity;
    uint64_t writer; /* being listed */
    size_t writer_count;
    uint64_t *empty; /* writers whose directories have no buckets */
    size_t empty_count;
};

/* All files with the names of buckets. 0 or -errno. */
int kvt_bkt_list_files(struct bkt *bkt, struct bkt_listing *listing);
/* The file of that name in another listing, or null. */
const struct bkt_found *kvt_bkt_listed(const struct bkt_listing *listing,
                                       const struct bkt_found *found);
/* And what its files were found to hold. */
void kvt_bkt_listing_fini(struct bkt_listing *listing);

/* Finds out what a file is and reads its table; changes nothing on disk. 0,
 * -ENOENT when it is gone, or -errno. */
int kvt_bkt_look_at(struct bkt *bkt, struct bkt_found *found);

/* bucket_look_again.c: for a reader that met a bucket that went after `first`
 * was listed. 0, -EAGAIN when buckets go all the time, or -errno. */
int kvt_bkt_look_again(struct bkt *bkt, const struct bkt_listing *first);

/* bucket_doubt.c: adds what bytes that may be damaged say. 0 or -ENOMEM. A
 * table that was never whole says nothing. */
int kvt_bkt_doubt_table(struct bkt_found *found, uint8_t *bytes,
                        const struct kvt_bucket_footer *footer);
int kvt_bkt_doubt_record(struct bkt_found *found, uint8_t *record, size_t size,
                         const struct kvt_run_head *head);
/* Is a run of this bucket, which was sealed, in its table? */
bool kvt_bkt_doubt_lists(const struct bkt_found *found,
                         const struct kvt_bucket_run *run);

/* bucket_walk.c: fills found->table from the runs, and found->doubt from what
 * is damaged. */
int kvt_bkt_walk_unsealed(struct bkt *bkt, struct bkt_found *found,
                          const char *path);

/* Bits of a place that a block of these files takes. */
uint32_t kvt_bkt_block_bits(const struct bkt *bkt,
                            const struct bkt_listing *listing);

#endif
