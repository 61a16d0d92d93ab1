/*
 * Rules of the fault wrapper: which calls go wrong, and how.
 *
 *   OP[@GLOB],WHEN,WHAT  several parted by `;`
 *   OP    open close read write sync rename remove list stat mkdir
 *   GLOB  as fnmatch(3) against the path (of a rename: either name);
 *         `*` matches `/`, too
 *   WHEN  nth=N  every=N  from=N (the n-th and all behind)  prob=P (0 to 1);
 *         without it, always
 *   WHAT  do=ERRNAME  short=N  delay=MS  hang  hang=MS
 *
 * Each rule counts the calls that its OP and GLOB match, from 1.
 */
#ifndef KVT_FS_FAULT_RULES_H
#define KVT_FS_FAULT_RULES_H

#include <kvtier/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kvt_rule_op {
    KVT_RULE_OPEN,
    KVT_RULE_CLOSE,
    KVT_RULE_READ,
    KVT_RULE_WRITE,
    KVT_RULE_SYNC,
    KVT_RULE_RENAME,
    KVT_RULE_REMOVE,
    KVT_RULE_LIST,
    KVT_RULE_STAT,
    KVT_RULE_MKDIR,
    KVT_RULE_NONE, /* a call that no rule is for */
};

struct kvt_fault_rules;

/* What a call gets: the sum of the rules that hit it. */
struct kvt_fault_hit {
    int errnum;        /* of the first such rule, or 0 */
    uint64_t limit;    /* bytes; UINT64_MAX = all */
    uint64_t delay_ms; /* before anything else */
    bool hang;         /* without an end */
};

/* Reads the rules; `seed` is that of prob=. Returns KVT_OK and the rules
 * (free with kvt_fault_rules_close), or a code with `err` filled. */
int kvt_fault_rules_open(const char *text, uint64_t seed,
                         struct kvt_fault_rules **rules, struct kvt_error *err);
/* Null is allowed. */
void kvt_fault_rules_close(struct kvt_fault_rules *rules);

/* Counts a call, and tells what becomes of it. `to` may be null. Any
 * thread. */
struct kvt_fault_hit kvt_fault_rules_match(struct kvt_fault_rules *rules,
                                           enum kvt_rule_op op,
                                           const char *path, const char *to);

#endif
