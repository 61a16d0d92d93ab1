/* Who goes next: objects in the order of eviction, oldest first.
 *
 * `fifo` keeps the order of writing, `lru` moves what is used to the end;
 * `second_chance` keeps that of writing, and the layout writes again what was
 * used since;
 * under `none` the order is that of writing, for evictions that somebody
 * asks for. The list is intrusive: a node lies in the layout's own entry.
 * Not thread safe: the layout's lock covers it. */
#ifndef KVT_EVICT_ORDER_H
#define KVT_EVICT_ORDER_H

#include <stdbool.h>

enum kvt_evict_policy {
    KVT_EVICT_NONE,
    KVT_EVICT_FIFO,
    KVT_EVICT_LRU,
    KVT_EVICT_SECOND_CHANCE,
};

struct kvt_evict_node {
    struct kvt_evict_node *older;
    struct kvt_evict_node *newer;
};

struct kvt_evict_order {
    enum kvt_evict_policy policy;
    struct kvt_evict_node ends; /* newer = the oldest, older = the newest */
};

void kvt_evict_init(struct kvt_evict_order *order,
                    enum kvt_evict_policy policy);
/* A new object goes last. */
void kvt_evict_add(struct kvt_evict_order *order, struct kvt_evict_node *node);
void kvt_evict_drop(struct kvt_evict_order *order, struct kvt_evict_node *node);
/* An object was used. */
void kvt_evict_use(struct kvt_evict_order *order, struct kvt_evict_node *node);
/* An object was written anew: it goes last under every policy. */
void kvt_evict_renew(struct kvt_evict_order *order,
                     struct kvt_evict_node *node);
/* The oldest (`after` null) or the one behind `after`; null at the end. */
struct kvt_evict_node *kvt_evict_next(const struct kvt_evict_order *order,
                                      const struct kvt_evict_node *after);
/* May a write evict by itself? */
bool kvt_evict_allowed(const struct kvt_evict_order *order);

#endif
