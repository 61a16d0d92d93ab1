/* The states that a power loss may leave of a log. */
#ifndef KVT_FS_CRASH_STATES_H
#define KVT_FS_CRASH_STATES_H

#include "fs/crash_log.h"

enum kvt_crash_tear {
    KVT_CRASH_WHOLE,
    KVT_CRASH_CUT,   /* the sectors from `at` on are lost, and the size */
    KVT_CRASH_HOLE,  /* the sector of `at` is lost */
    KVT_CRASH_EMPTY, /* all sectors are; the size is not */
};

/* What became of an operation. */
struct kvt_crash_fate {
    bool kept;
    enum kvt_crash_tear tear;
    uint64_t at; /* offset in the file */
};

/* Of the first `position` operations. 0 when memory is short. */
size_t kvt_crash_count_states(const struct kvt_crash_log *log,
                              uint64_t position);
/* Returns one fate an operation (free with free); null without memory. */
struct kvt_crash_fate *kvt_crash_fates(const struct kvt_crash_log *log,
                                       uint64_t position, size_t state);
/* crash_tree.c: makes the tree. 0 or -errno. */
int kvt_crash_make_tree(const struct kvt_crash_log *log, uint64_t position,
                        const struct kvt_crash_fate *fates,
                        const char *directory);

#endif
