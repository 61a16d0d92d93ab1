#include "store/backends.h"

#include "fs/registry.h"

#include <errno.h>
#include <string.h>

extern const struct kvt_backend_ops kvt_backend_file_per_key;
extern const struct kvt_backend_ops kvt_backend_distributed;

/* One line a layout. A null table: known, not part of this build. */
static const struct {
    const char *name;
    const struct kvt_backend_ops *ops;
} backends[] = {
    {"file_per_key", &kvt_backend_file_per_key},
    {"bucket", NULL},
    {"offset_allocator", NULL},
    {"distributed", &kvt_backend_distributed},
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

struct listing {
    int (*each)(const struct kvt_component *component, void *arg);
    void *arg;
};

static int tell_adapter(const struct kvt_fs_adapter_info *info, void *arg)
{
    const struct listing *listing = arg;
    struct kvt_component component = {info->kind, info->name, info->available,
                                      info->reason};
    return listing->each(&component, listing->arg);
}

int kvt_components(const struct kvt_config *config,
                   int (*each)(const struct kvt_component *component,
                               void *arg),
                   void *arg, struct kvt_error *err)
{
    int rc = 0;
    for (size_t i = 0; i < BACKEND_COUNT && rc == 0; i++) {
        const struct kvt_backend_ops *ops = backends[i].ops;
        struct kvt_component component = {"backend", backends[i].name,
                                          ops != NULL,
                                          ops != NULL ? ops->summary : absent};
        rc = each(&component, arg);
    }
    if (rc != 0) {
        return rc;
    }
    struct kvt_config *defaults = config == NULL ? kvt_config_open() : NULL;
    if (config == NULL && defaults == NULL) {
        return kvt_error_set(err, KVT_ERR_INTERNAL, ENOMEM, NULL, NULL,
                             "no memory to list what there is");
    }
    struct listing listing = {each, arg};
    rc = kvt_fs_adapters(config != NULL ? config : defaults, tell_adapter,
                         &listing, err);
    kvt_config_close(defaults);
    return rc;
}
