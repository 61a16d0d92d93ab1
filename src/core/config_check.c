/* What only the settings together can tell. */
#include "core/config_impl.h"

#include "core/modules.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int check_path(const struct kvt_config *config, struct kvt_error *err)
{
    if (kvt_config_store_path(config)[0] != '\0') {
        return KVT_OK;
    }
    return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL, "path",
                         "give --path DIR, or path = DIR in the file, or "
                         "KVTIER_PATH",
                         "no directory is given for the store");
}

static int check_fs(const struct kvt_config *config, struct kvt_error *err)
{
    if (kvt_config_store_fs(config)[0] != '\0') {
        return KVT_OK;
    }
    return kvt_error_set(
        err, KVT_ERR_INVALID_PARAMS, EINVAL, "distributed.fs",
        "give --fs NAME, or distributed.fs = NAME in the file, or "
        "KVTIER_DISTRIBUTED_FS; NAME is hf3fs, cephfs, juicefs or posix",
        "backend = distributed needs to know the file system of its shared "
        "directory");
}

static int check_watermarks(const struct kvt_config *config,
                            struct kvt_error *err)
{
    if (kvt_config_ratio(config, "watermark.low") <=
        kvt_config_ratio(config, "watermark.high")) {
        return KVT_OK;
    }
    return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL, "watermark.low",
                         "lower watermark.low or raise watermark.high",
                         "watermark.low = %s is above watermark.high = %s",
                         kvt_config_text(config, "watermark.low"),
                         kvt_config_text(config, "watermark.high"));
}

/* A size that was chosen, not the default of somebody who only wants a small
 * store, and can never be reached is a mistake. */
static int check_fits(const struct kvt_config *config, const char *key,
                      struct kvt_error *err)
{
    uint64_t limit;
    double fraction;

    if (kvt_config_limit(config, "total_size_limit", &limit, &fraction) ||
        !kvt_config_is_given(config, key) ||
        kvt_config_u64(config, key) <= limit) {
        return KVT_OK;
    }
    return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL, key,
                         "lower it or raise total_size_limit",
                         "%s = %" PRIu64 " is more than total_size_limit = "
                         "%" PRIu64,
                         key, kvt_config_u64(config, key), limit);
}

static int check_rewrites(const struct kvt_config *config,
                          struct kvt_error *err)
{
    /* eviction that writes again all that it reads makes no room */
    if (kvt_config_ratio(config, "bucket.rewrite_limit") <= 0.9) {
        return KVT_OK;
    }
    return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL,
                         "bucket.rewrite_limit", "use 0 to 0.9",
                         "bucket.rewrite_limit is above 0.9: eviction would "
                         "not make room");
}

/* Only where many objects go together is there something to be saved. */
static int check_eviction(const struct kvt_config *config,
                          struct kvt_error *err)
{
    if (strcmp(kvt_config_text(config, "eviction"), "second_chance") != 0) {
        return KVT_OK;
    }
    return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL, "eviction",
                         "use eviction = lru, or backend = bucket",
                         "eviction = second_chance is of backend = bucket, not "
                         "of %s",
                         kvt_config_text(config, "backend"));
}

static int check_distributed(const struct kvt_config *config,
                             struct kvt_error *err)
{
    if (strcmp(kvt_config_text(config, "distributed.format"), "raw") == 0 &&
        strcmp(kvt_config_text(config, "distributed.read_raw"), "off") == 0) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL,
                             "distributed.read_raw",
                             "use distributed.read_raw = auto or on",
                             "distributed.format = raw writes files that "
                             "distributed.read_raw = off never reads");
    }
    return KVT_OK;
}

int kvt_config_check(const struct kvt_config *config, struct kvt_error *err)
{
    const char *backend;
    int rc;

    if (config == NULL) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL, NULL, NULL,
                             "there is no configuration to check");
    }
    backend = kvt_config_text(config, "backend");
    if ((rc = check_path(config, err)) != KVT_OK ||
        (rc = check_fs(config, err)) != KVT_OK ||
        (rc = kvt_module_path_check(kvt_config_text(config, "module_path"),
                                    err)) != KVT_OK ||
        (rc = check_watermarks(config, err)) != KVT_OK ||
        (rc = check_fits(config, "object_size_max", err)) != KVT_OK) {
        return rc;
    }
    if (strcmp(backend, "bucket") == 0) {
        rc = check_fits(config, "bucket.size_limit", err);
        return rc == KVT_OK ? check_rewrites(config, err) : rc;
    }
    if (strcmp(backend, "distributed") == 0) {
        rc = check_distributed(config, err);
    }
    return rc == KVT_OK ? check_eviction(config, err) : rc;
}
