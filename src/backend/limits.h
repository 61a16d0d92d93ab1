/* What a store may take and how it evicts, from its settings. */
#ifndef KVT_BACKEND_LIMITS_H
#define KVT_BACKEND_LIMITS_H

#include "evict/budget.h"
#include "evict/order.h"

#include <kvtier/config.h>
#include <kvtier/fs.h>

/* Fills the limits; asks the mount for its size when the limit is a share of
 * it. 0 or -errno. */
int kvt_limits_read(const struct kvt_config *config, struct kvt_fs *fs,
                    struct kvt_charge *limit);

enum kvt_evict_policy kvt_limits_policy(const struct kvt_config *config);

#endif
