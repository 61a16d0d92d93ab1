/* Going through all object files of a root. */
#ifndef KVT_BACKEND_FILE_PER_KEY_SCAN_H
#define KVT_BACKEND_FILE_PER_KEY_SCAN_H

#include "backend/file_per_key.h"

/* A file whose name is that of a key; borrowed during the call. */
struct kvt_fpk_found {
    const char *path;
    struct kvt_key key; /* size 0: the name is long, and the file too short
                           to hold its key, or with `keyless` not the one of
                           such a key */
    uint64_t file_size;
    uint64_t overhead; /* bytes beyond the value; may be more than file_size:
                          the file is then no whole object */
    int64_t modified_ns;
};
typedef int (*kvt_fpk_walk_fn)(const struct kvt_fpk_found *found, void *arg);

/* Calls `each` for every object's file until it returns non-zero; returns
 * that, 0, or -errno. Foreign names are passed over. */
int kvt_fpk_walk(struct fpk *fpk, bool keyless, kvt_fpk_walk_fn each,
                 void *arg);

#endif
