/* Evicting the oldest files of a shared root. */
#ifndef KVT_BACKEND_DISTRIBUTED_EVICT_H
#define KVT_BACKEND_DISTRIBUTED_EVICT_H

#include "backend/distributed_oldest.h"

/* Counts what the root holds and finds its oldest files. Pass held. Blocks. */
int kvt_dist_recount(struct dist *dist);

/* Evicts oldest files until `wanted` is freed or the known ones are used up. 0;
 * -ECANCELED when the handler refused; -ENOENT when none are known; or -errno.
 * `result`, or null, is added to. Pass held. Blocks. */
int kvt_dist_evict_some(struct dist *dist, struct kvt_charge wanted,
                        struct kvt_evict_result *result);

#endif
