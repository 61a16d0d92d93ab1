/* Opening: settings, the root and its marker, recovery, the limits. */
#include "backend/bucket_recover.h"
#include "backend/limits.h"
#include "backend/root.h"
#include "core/config.h"
#include "core/process.h"
#include "core/random.h"

#include <stdlib.h>
#include <string.h>

enum {
    LAYOUT_VERSION = 1,
    BUCKETS_LEAST = 8, /* that the limits have room for */
    BLOCKS_LEAST = 12, /* of one */
    FILES_MAX = 4096,
    RESERVE_MOST = 64 * 1024,
    RESERVE_LEAST = 28 * 1024,
};

static bool is_ours(const char *name)
{
    uint64_t writer;
    return kvt_bkt_is_writer(name, &writer);
}

static int fail(const struct bkt *bkt, int rc, const char *doing,
                struct kvt_error *err)
{
    return kvt_error_set(err, kvt_status_of(KVT_FAULT_READ, -rc, false), -rc,
                         bkt->base.args.path,
                         "check the file system under the store", "%s: %s",
                         doing, strerror(-rc));
}

/* Settings
 * --------------------------------------------------------------------- */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Buckets are evicted whole, so a small store gets small ones. */
static void set_sizes(struct bkt *bkt)
{
    const struct kvt_config *config = bkt->base.args.config;
    const struct kvt_charge *limit = &bkt->budget.limit;
    uint64_t bytes = kvt_config_u64(config, "bucket.size_limit");
    uint64_t keys = kvt_config_u64(config, "bucket.keys_limit");
    bytes = least(bytes, limit->allocated / BUCKETS_LEAST);
    bytes = least(bytes, limit->values / BUCKETS_LEAST);
    keys = least(keys, limit->objects / BUCKETS_LEAST);
    uint64_t blocks = bytes / KVT_BUCKET_BLOCK;
    bkt->blocks_max = (uint32_t)(blocks > BLOCKS_LEAST ? blocks : BLOCKS_LEAST);
    bkt->keys_max = (uint32_t)(keys > 1 ? keys : 1);
    /* half of it: a bucket's own bytes and a run of kills */
    uint64_t reserve = least(RESERVE_MOST, limit->allocated / 8);
    reserve = reserve > RESERVE_LEAST ? reserve : RESERVE_LEAST;
    bkt->reserve = least(reserve, limit->allocated / 4);
    bkt->run_blocks_max = (uint32_t)least(BKT_RUN_BYTES_MAX / KVT_BUCKET_BLOCK,
                                          bkt->blocks_max - 2);
    bkt->runs_max =
        kvt_fs_facts(bkt->fs)->concurrent_writers ? BKT_RUNS_MAX : 1;
    uint32_t files = kvt_process_files_max() / 4;
    bkt->files_max = files < 4 ? 4 : files < FILES_MAX ? files : FILES_MAX;
    if (kvt_limits_policy(config) == KVT_EVICT_SECOND_CHANCE) {
        bkt->rewrite_share = kvt_config_ratio(config, "bucket.rewrite_limit");
    }
    bkt->seal_after_ns =
        (int64_t)kvt_config_u64(config, "bucket.seal_after_ms") * 1000000;
}

static void set_durability(struct bkt *bkt)
{
    const char *name = kvt_config_text(bkt->base.args.config, "durability");
    bkt->durability = strcmp(name, "none") == 0   ? BKT_DURABLE_NONE
                      : strcmp(name, "seal") == 0 ? BKT_DURABLE_SEAL
                                                  : BKT_DURABLE_BATCH;
    bkt->sync_runs = bkt->durability == BKT_DURABLE_BATCH ||
                     !kvt_fs_facts(bkt->fs)->bytes_outlive_process;
}

static int init(struct bkt *bkt, const struct kvt_backend_args *args)
{
    extern const struct kvt_backend_ops kvt_backend_bucket;
    pthread_condattr_t monotonic;
    bkt->base.ops = &kvt_backend_bucket;
    bkt->base.args = *args;
    bkt->fs = args->fs;
    /* who does not own the root cannot know what the owner punches out */
    bkt->checksum =
        args->read_only || kvt_config_bool(args->config, "checksum");
    bkt->line_end = &bkt->line;
    kvt_evict_init(&bkt->order, kvt_limits_policy(args->config));
    kvt_evict_init(&bkt->files, KVT_EVICT_LRU);
    pthread_mutex_init(&bkt->mutex, NULL);
    pthread_mutex_init(&bkt->evicting, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&bkt->work, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_cond_init(&bkt->quiet, NULL);
    kvt_process_boot(bkt->boot);
    int rc = kvt_place_index_init(&bkt->index);
    if (rc == 0) {
        rc = kvt_random(&bkt->writer, sizeof bkt->writer);
    }
    if (rc == 0) {
        rc = kvt_limits_read(args->config, args->fs, &bkt->budget.limit);
    }
    set_durability(bkt);
    return rc;
}

/* ------------------------------------------------------------------------------
 */

/* The limit may be lower than when the store was filled. What cannot go now is
 * no reason not to open: whoever needs room asks again. */
static void keep_within_limits(struct bkt *bkt)
{
    struct kvt_evict_result ignored = {0};
    int rc = 0;
    struct kvt_charge limit = bkt->budget.limit;
    uint64_t beside = kvt_bkt_checkpoint_bytes(bkt);
    if (limit.allocated != UINT64_MAX && limit.allocated > beside) {
        limit.allocated -= beside;
    }
    if (kvt_evict_allowed(&bkt->order)) {
        rc = kvt_bkt_evict_to(bkt, limit, &ignored);
    }
    bkt->budget.peak = bkt->budget.used;
    if (rc != 0) {
        kvt_backend_log(
            &bkt->base, KVT_LOG_WARN, "cannot evict down to the limit: %s",
            rc == BKT_KEPT ? "the eviction handler keeps its objects"
                           : kvt_errno_name(rc));
    }
}

static int start(struct bkt *bkt, struct kvt_error *err)
{
    int rc = kvt_bkt_recover(bkt, err);
    if (rc == KVT_OK) {
        rc = kvt_bkt_evidence_count(bkt);
        rc = rc != 0 ? fail(bkt, rc, "looking for evidence of damage", err)
                     : KVT_OK;
    }
    if (rc != KVT_OK || bkt->base.args.read_only) {
        bkt->budget.peak = bkt->budget.used;
        return rc;
    }
    keep_within_limits(bkt);
    kvt_backend_log(&bkt->base, KVT_LOG_INFO,
                    "recovered %llu objects in %llu buckets; %llu records "
                    "dropped, %llu orphans removed",
                    (unsigned long long)bkt->recovery.objects,
                    (unsigned long long)bkt->bucket_count,
                    (unsigned long long)bkt->recovery.dropped_records,
                    (unsigned long long)bkt->recovery.orphans);
    rc = kvt_bkt_keeper_start(bkt);
    return rc != 0 ? fail(bkt, rc, "starting the keeper's thread", err)
                   : KVT_OK;
}

int kvt_bkt_open(const struct kvt_backend_args *args,
                 struct kvt_backend **backend, struct kvt_error *err)
{
    struct bkt *bkt = calloc(1, sizeof *bkt);
    if (bkt == NULL) {
        return kvt_error_set(err, KVT_ERR_INTERNAL, ENOMEM, args->path, NULL,
                             "no memory to open the store");
    }
    int rc = init(bkt, args);
    if (rc != 0) {
        rc = fail(bkt, rc, "starting", err);
        goto out_close;
    }
    struct kvt_root_spec spec = {
        .backend = bkt->base.ops->name,
        .backend_version = LAYOUT_VERSION,
        .alignment = KVT_BUCKET_BLOCK,
        .is_ours = is_ours,
    };
    rc = kvt_root_open(args, &spec, &bkt->marker, &bkt->lock, err);
    if (rc != KVT_OK) {
        goto out_close;
    }
    if (kvt_fs_facts(args->fs)->offset_alignment > KVT_BUCKET_BLOCK ||
        kvt_fs_facts(args->fs)->length_alignment > KVT_BUCKET_BLOCK) {
        rc = kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, EINVAL, args->path,
                           "set direct to off, or use another file system",
                           "transfers of this mount are aligned to more than "
                           "%u bytes",
                           KVT_BUCKET_BLOCK);
        goto out_close;
    }
    set_sizes(bkt);
    rc = start(bkt, err);
    if (rc != KVT_OK) {
        goto out_close;
    }
    *backend = &bkt->base;
    return KVT_OK;

out_close:
    bkt->base.ops->close(&bkt->base);
    return rc;
}
