#include "store/backends.h"

#include "fs/registry.h"

#include <string.h>

extern const struct kvt_backend_ops kvt_backend_bucket;
extern const struct kvt_backend_ops kvt_backend_file_per_key;

/* One line a layout. A null table: known, not part of this build. */
static const struct {
    const char *name;
    const struct kvt_backend_ops *ops;
} backends[] = {
    {"file_per_key", &kvt_backend_file_per_key},
    {"bucket", &kvt_backend_bucket},
    {"offset_allocator", NULL},
    {"distributed", NULL},
};
#define BACKEND_COUNT (sizeof backends / sizeof backends[0])

static const char absent[] = "not part of this version; use file_per_key";

const struct kvt_backend_ops *kvt_backend_find(const char *name,
                                               struct kvt_error *err)
{
    for (size_t i = 0; i < BACKEND_COUNT; i++) {
        if (strcmp(backends[i].name, name) == 0 && backends[i].ops != NULL) {
            return backends[i].ops;
        }
    }
    kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, 0, name,
                  "run `kvtier backends` to see what this build has",
                  "the backend \"%s\" is %s", name, absent);
    return NULL;
}

int kvt_components(int (*each)(const struct kvt_component *component,
                               void *arg),
                   void *arg)
{
    int rc = 0;
    for (size_t i = 0; i < BACKEND_COUNT && rc == 0; i++) {
        const struct kvt_backend_ops *ops = backends[i].ops;
        struct kvt_component component = {"backend", backends[i].name,
                                          ops != NULL,
                                          ops != NULL ? ops->summary : absent};
        rc = each(&component, arg);
    }
    struct kvt_fs_adapter_info info;
    for (size_t i = 0; rc == 0 && kvt_fs_adapter(i, &info); i++) {
        struct kvt_component component = {info.kind, info.name, info.available,
                                          info.reason};
        rc = each(&component, arg);
    }
    return rc;
}
