/* The places that a recovery has found killed so far: going from the newest
 * bucket to the oldest, a kill is always met before what it kills. */
#ifndef KVT_BACKEND_KILL_SET_H
#define KVT_BACKEND_KILL_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kvt_killed {
    KVT_NOT_KILLED,
    KVT_KILLED,
    KVT_NEVER_COUNTED, /* undone: what it replaced lives */
};

struct kvt_kill_set {
    struct kvt_kill_slot *slots;
    size_t count;
    size_t capacity;
};

/* 0 or -ENOMEM. What never counted stays so. */
int kvt_kill_set_add(struct kvt_kill_set *set, uint64_t writer, uint64_t number,
                     uint32_t block, enum kvt_killed killed);
enum kvt_killed kvt_kill_set_find(const struct kvt_kill_set *set,
                                  uint64_t writer, uint64_t number,
                                  uint32_t block);
void kvt_kill_set_fini(struct kvt_kill_set *set);

#endif
