#include "evict/order.h"

#include <stddef.h>

void kvt_evict_init(struct kvt_evict_order *order, enum kvt_evict_policy policy)
{
    order->policy = policy;
    order->ends.older = &order->ends;
    order->ends.newer = &order->ends;
}

void kvt_evict_add(struct kvt_evict_order *order, struct kvt_evict_node *node)
{
    node->newer = &order->ends;
    node->older = order->ends.older;
    node->older->newer = node;
    order->ends.older = node;
}

void kvt_evict_drop(struct kvt_evict_order *order, struct kvt_evict_node *node)
{
    (void)order;
    node->older->newer = node->newer;
    node->newer->older = node->older;
    node->older = NULL;
    node->newer = NULL;
}

void kvt_evict_renew(struct kvt_evict_order *order, struct kvt_evict_node *node)
{
    kvt_evict_drop(order, node);
    kvt_evict_add(order, node);
}

void kvt_evict_use(struct kvt_evict_order *order, struct kvt_evict_node *node)
{
    if (order->policy == KVT_EVICT_LRU) {
        kvt_evict_renew(order, node);
    }
}

struct kvt_evict_node *kvt_evict_next(const struct kvt_evict_order *order,
                                      const struct kvt_evict_node *after)
{
    struct kvt_evict_node *next =
        after != NULL ? after->newer : order->ends.newer;
    return next != &order->ends ? next : NULL;
}

bool kvt_evict_allowed(const struct kvt_evict_order *order)
{
    return order->policy != KVT_EVICT_NONE;
}
