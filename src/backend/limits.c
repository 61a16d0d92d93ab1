#include "backend/limits.h"

#include "core/config.h"

#include <string.h>

int kvt_limits_read(const struct kvt_config *config, struct kvt_fs *fs,
                    struct kvt_charge *limit)
{
    uint64_t bytes = 0;
    double fraction = 0;
    kvt_config_limit(config, "total_size_limit", &bytes, &fraction);
    if (fraction > 0) {
        struct kvt_fs_usage usage;
        int rc = kvt_fs_usage(fs, &usage);
        if (rc != 0) {
            return rc;
        }
        bytes = (uint64_t)((double)usage.capacity * fraction);
    }
    limit->allocated = bytes;
    limit->objects = kvt_config_u64(config, "total_keys_limit");
    limit->values = kvt_config_u64(config, "total_value_limit");
    if (limit->values == 0) {
        limit->values = UINT64_MAX;
    }
    return 0;
}

enum kvt_evict_policy kvt_limits_policy(const struct kvt_config *config)
{
    const char *name = kvt_config_text(config, "eviction");
    return strcmp(name, "none") == 0   ? KVT_EVICT_NONE
           : strcmp(name, "fifo") == 0 ? KVT_EVICT_FIFO
           : strcmp(name, "lru") == 0  ? KVT_EVICT_LRU
                                       : KVT_EVICT_SECOND_CHANCE;
}
