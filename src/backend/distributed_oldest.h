/* The oldest files of a root, as one count of it found them: candidates for
 * eviction. So many at most, whatever the root holds. */
#ifndef KVT_BACKEND_DISTRIBUTED_OLDEST_H
#define KVT_BACKEND_DISTRIBUTED_OLDEST_H

#include "backend/distributed_walk.h"

struct dist_old {
    char *path; /* null: it was renewed since */
    int64_t modified_ns;
    uint64_t file_size;
    bool is_long; /* its key stands in the file */
};

struct dist_oldest {
    struct dist_old *files; /* a heap with the newest on top, then sorted */
    size_t count;
    size_t next; /* when sorted: the first that is not taken */
};

struct dist_oldest *kvt_dist_oldest_new(void);
void kvt_dist_oldest_free(struct dist_oldest *oldest);
/* 0 or -ENOMEM. */
int kvt_dist_oldest_offer(struct dist_oldest *oldest,
                          const struct dist_found *found);
void kvt_dist_oldest_sort(struct dist_oldest *oldest);
/* The next candidate, or null; the caller's until the oldest are freed. */
struct dist_old *kvt_dist_oldest_take(struct dist_oldest *oldest);
void kvt_dist_oldest_forget(struct dist_oldest *oldest, const char *path);

#endif
