/* Opening a shared root: its record, the way to publish there, and nothing
 * that takes time in proportion to what it holds. */
#include "backend/distributed_walk.h"

#include "core/clock.h"
#include "core/config.h"
#include "core/random.h"
#include "format/root_record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char record_path[] = ".kvtier/format";

/* The record --------------------------------------------------------------- */

/* 0, -ENOENT when there is none, or another errno. */
static int read_record(struct dist *dist, struct kvt_root_record *record)
{
    uint8_t bytes[KVT_ROOT_RECORD_SIZE + 1];
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    struct kvt_fs_elem fetch = {.op = KVT_FS_FETCH,
                                .path = record_path,
                                .slices = &slice,
                                .slice_count = 1};
    int64_t got = kvt_fs_run(dist->fs, &fetch);
    if (got < 0) {
        return got == -ENOTDIR ? -ENOENT : (int)got;
    }
    return got == KVT_ROOT_RECORD_SIZE ? kvt_root_record_decode(bytes, record)
                                       : -EBADMSG;
}

static int refuse_record(const struct dist *dist, int rc, struct kvt_error *err)
{
    const char *path = dist->base.args.path;
    if (rc == -EPROTONOSUPPORT) {
        return kvt_error_set(
            err, KVT_ERR_NOT_SUPPORTED, EPROTONOSUPPORT, path,
            "use the version of kvtier that wrote it; nothing was touched",
            "%s has a format version that this build does not know",
            record_path);
    }
    if (rc == -EBADMSG) {
        return kvt_error_set(
            err, KVT_ERR_CHECKSUM_MISMATCH, EBADMSG, path,
            "restore that file, or name another directory; nothing was "
            "touched",
            "%s is damaged or not a record of a root", record_path);
    }
    return kvt_dist_fail(dist, KVT_FAULT_READ, rc, "reading the root's record",
                         err);
}

/* What the record says against what was asked for. */
static int check_record(const struct dist *dist,
                        const struct kvt_root_record *record,
                        struct kvt_error *err)
{
    const struct kvt_config *config = dist->base.args.config;
    const char *path = dist->base.args.path;
    const char *count_key = "distributed.hash_bucket_count";
    uint32_t name_max = kvt_fs_facts(dist->fs)->name_max;
    if (kvt_config_is_given(config, count_key) &&
        kvt_config_u64(config, count_key) != record->directory_count) {
        return kvt_error_set(
            err, KVT_ERR_INVALID_PARAMS, EINVAL, path,
            "leave distributed.hash_bucket_count out, or say what the record "
            "says",
            "the root spreads its keys over %u directories, not %s",
            record->directory_count, kvt_config_text(config, count_key));
    }
    if (dist->writes_raw && !dist->base.args.read_only) {
        return kvt_error_set(
            err, KVT_ERR_INVALID_PARAMS, EINVAL, path,
            "leave distributed.format out, or name a directory without "
            ".kvtier/format",
            "the root's record says that every file has a trailer; those of "
            "distributed.format = raw would never be read");
    }
    if (record->name_max > name_max) {
        return kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, ENAMETOOLONG, path,
                             "use the root on file systems like the one that "
                             "it was made on",
                             "the root has file names of up to %u bytes, this "
                             "file system takes %u",
                             record->name_max, name_max);
    }
    return KVT_OK;
}

static void use_record(struct dist *dist, const struct kvt_root_record *record)
{
    dist->recorded = true;
    dist->layout.directory_count = record->directory_count;
    dist->layout.name_max = record->name_max;
    dist->layout.seed = record->hash_seed;
}

/* Making one --------------------------------------------------------------- */

/* Could it be a directory of objects, with whatever count of them? */
static int is_ours(const struct kvt_fs_dirent *entry, void *arg)
{
    size_t size = strlen(entry->name);
    (void)arg;
    return size >= 2 && size <= 4 &&
           strspn(entry->name, "0123456789abcdef") == size;
}

/* 1 when no name could hold objects, 0, or -errno. */
static int root_is_empty(struct dist *dist)
{
    int rc = kvt_fs_list(dist->fs, ".", false, is_ours, NULL);
    return rc < 0 ? rc : rc == 0;
}

/* Longer than names may lie on this mount. */
static void let_names_settle(const struct dist *dist)
{
    uint32_t ms = kvt_fs_facts(dist->fs)->names_stale_ms;
    struct timespec wait = {.tv_sec = ms / 1000,
                            .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&wait, NULL);
}

static int write_record(struct dist *dist, const uint8_t *bytes)
{
    const struct kvt_fs_facts *facts = kvt_fs_facts(dist->fs);
    char temp_path[DIST_TEMP_PATH_MAX];
    struct kvt_slice slice = {(void *)(uintptr_t)bytes, KVT_ROOT_RECORD_SIZE,
                              NULL};
    struct kvt_fs_elem publish = {.op = KVT_FS_PUBLISH,
                                  .flags = KVT_FS_DURABLE,
                                  .path = record_path,
                                  .temp_path = temp_path,
                                  .slices = &slice,
                                  .slice_count = 1};
    kvt_dist_temp_path(&dist->temps, ".kvtier", temp_path);
    if (facts->rename_noreplace || facts->hard_links) {
        publish.flags |= KVT_FS_IF_ABSENT;
    }
    if ((publish.flags & KVT_FS_IF_ABSENT) != 0 || facts->atomic_rename) {
        int64_t rc = kvt_fs_run(dist->fs, &publish);
        return rc < 0 ? (int)rc : 0;
    }
    /* under its own name; the check value in it tells when it is whole */
    struct kvt_fs_elem open = {.op = KVT_FS_OPEN,
                               .path = record_path,
                               .flags = KVT_FS_FOR_WRITE | KVT_FS_CREATE |
                                        KVT_FS_EXCLUSIVE};
    int64_t rc = kvt_fs_mkdirs(dist->fs, ".kvtier");
    rc = rc == 0 ? kvt_fs_run(dist->fs, &open) : rc;
    if (rc < 0) {
        return (int)rc;
    }
    struct kvt_fs_elem write = {.op = KVT_FS_WRITE,
                                .file = open.file,
                                .slices = &slice,
                                .slice_count = 1};
    struct kvt_fs_elem sync = {.op = KVT_FS_SYNC, .file = open.file};
    struct kvt_fs_elem close = {.op = KVT_FS_CLOSE, .file = open.file};
    rc = kvt_fs_run(dist->fs, &write);
    rc = rc < 0 ? rc : kvt_fs_run(dist->fs, &sync);
    int64_t closed = kvt_fs_run(dist->fs, &close);
    return (int)(rc < 0 ? rc : closed);
}

/* The first writer of an empty root says what holds there; of two at once,
 * the one whose record is there in the end. */
static int make_record(struct dist *dist, struct kvt_root_record *record)
{
    uint8_t bytes[KVT_ROOT_RECORD_SIZE];
    uint32_t name_max = kvt_fs_facts(dist->fs)->name_max;
    *record = (struct kvt_root_record){
        .directory_count = dist->layout.directory_count,
        .name_max = name_max < KVT_KEYNAME_MAX ? name_max : KVT_KEYNAME_MAX,
        .created_ms = kvt_clock_unix_ms()};
    int rc = kvt_random(record->uuid, sizeof record->uuid);
    rc =
        rc == 0 ? kvt_random(&record->hash_seed, sizeof record->hash_seed) : rc;
    if (rc != 0) {
        return rc;
    }
    kvt_root_record_encode(record, bytes);
    rc = write_record(dist, bytes);
    if (rc != 0 && rc != -EEXIST) {
        return rc;
    }
    /* what is there now counts: another one may have been first, and an
     * answer may have been lost */
    rc = read_record(dist, record);
    for (int tries = 0; tries < 3 && (rc == -ENOENT || rc == -EBADMSG);
         tries++) {
        let_names_settle(dist);
        rc = read_record(dist, record);
    }
    return rc;
}

/* A root of a local layout belongs to its owner. */
static int check_other_layout(struct dist *dist, struct kvt_error *err)
{
    struct kvt_fs_elem stat = {.op = KVT_FS_STAT, .path = ".kvtier/store"};
    int64_t rc = kvt_fs_run(dist->fs, &stat);
    if (rc == -ENOENT || rc == -ENOTDIR) {
        return KVT_OK;
    }
    if (rc < 0) {
        return kvt_dist_fail(dist, KVT_FAULT_READ, (int)rc,
                             "looking for the marker of a local store", err);
    }
    return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EEXIST,
                         dist->base.args.path,
                         "open it with its own backend, or name another "
                         "directory; nothing was touched",
                         "the directory holds a store of a local backend");
}

static int open_record(struct dist *dist, struct kvt_error *err)
{
    struct kvt_root_record record;
    bool writes = !dist->base.args.read_only && !dist->writes_raw;
    int rc = read_record(dist, &record);
    if (rc == -ENOENT) {
        int other = check_other_layout(dist, err);
        if (other != KVT_OK) {
            return other;
        }
        int empty = writes ? root_is_empty(dist) : 0;
        if (empty < 0) {
            return kvt_dist_fail(dist, KVT_FAULT_READ, empty,
                                 "listing the directory", err);
        }
        if (empty > 0) {
            rc = make_record(dist, &record);
        } else {
            /* what is there may have come with a record since we looked for
             * one, or the record may be there and not be seen yet */
            let_names_settle(dist);
            rc = read_record(dist, &record);
        }
        if (rc != 0 && empty > 0) {
            return kvt_dist_fail(dist, KVT_FAULT_WRITE, rc,
                                 "making the root's record", err);
        }
    }
    if (rc == -ENOENT) {
        return KVT_OK; /* a mixed root */
    }
    if (rc != 0) {
        return refuse_record(dist, rc, err);
    }
    rc = check_record(dist, &record, err);
    if (rc == KVT_OK) {
        use_record(dist, &record);
    }
    return rc;
}

/* Facts -------------------------------------------------------------------- */

static int choose_strategy(struct dist *dist, struct kvt_error *err)
{
    const struct kvt_fs_facts *facts = kvt_fs_facts(dist->fs);
    bool links = facts->rename_noreplace || facts->hard_links;
    dist->strategy = facts->atomic_rename ? DIST_RENAME
                     : links              ? DIST_LINK
                                          : DIST_IN_PLACE;
    dist->absent_strategy = links ? dist->strategy : DIST_IN_PLACE;
    if (dist->strategy != DIST_IN_PLACE || dist->base.args.read_only) {
        return KVT_OK;
    }
    if (dist->writes_raw) {
        return kvt_error_set(
            err, KVT_ERR_NOT_SUPPORTED, EOPNOTSUPP, dist->base.args.path,
            "use distributed.format = trailer, whose files tell when they are "
            "whole",
            "this file system can neither rename nor link in one step, so a "
            "raw file would be seen in part");
    }
    if (facts->length_alignment > 1) {
        return kvt_error_set(
            err, KVT_ERR_NOT_SUPPORTED, EOPNOTSUPP, dist->base.args.path,
            "set direct = off",
            "this file system can neither rename nor link in one step, and "
            "takes whole blocks only");
    }
    return KVT_OK;
}

/* A chain cannot make a directory on the way: all are made now. */
static int make_directories(struct dist *dist, struct kvt_error *err)
{
    bool needed = dist->strategy == DIST_IN_PLACE ||
                  dist->absent_strategy == DIST_IN_PLACE;
    for (uint32_t i = 0; needed && !dist->base.args.read_only &&
                         i < dist->layout.directory_count;
         i++) {
        char name[16];
        kvt_object_directory(&dist->layout, i, name);
        int rc = kvt_fs_mkdirs(dist->fs, name);
        if (rc != 0) {
            return kvt_dist_fail(dist, KVT_FAULT_WRITE, rc,
                                 "making the directories", err);
        }
    }
    return KVT_OK;
}

/* Open --------------------------------------------------------------------- */

static int init(struct dist *dist, const struct kvt_backend_args *args)
{
    extern const struct kvt_backend_ops kvt_backend_distributed;
    const struct kvt_config *config = args->config;
    uint32_t name_max = kvt_fs_facts(args->fs)->name_max;
    dist->base.ops = &kvt_backend_distributed;
    dist->base.args = *args;
    dist->base.shared = true;
    dist->fs = args->fs;
    dist->checksum = kvt_config_bool(config, "checksum");
    dist->skip_stored = kvt_config_bool(config, "distributed.skip_stored");
    dist->writes_raw =
        strcmp(kvt_config_text(config, "distributed.format"), "raw") == 0;
    bool durable =
        strcmp(kvt_config_text(config, "durability"), "batch") == 0 ||
        !kvt_fs_facts(args->fs)->bytes_outlive_process;
    dist->publish_flags = durable ? KVT_FS_DURABLE : 0;
    dist->layout = (struct kvt_object_layout){
        .directory_count =
            (uint32_t)kvt_config_u64(config, "distributed.hash_bucket_count"),
        .directory_digits = 2,
        .name_max = name_max < KVT_KEYNAME_MAX ? name_max : KVT_KEYNAME_MAX,
        .seed = 0};
    pthread_mutex_init(&dist->mutex, NULL);
    kvt_dist_health_init(&dist->health);
    int rc = kvt_dist_limit_init(dist);
    if (rc == 0) {
        rc = kvt_dist_temps_init(
            &dist->temps,
            kvt_config_u64(config, "distributed.temporary_grace"));
    }
    return rc != 0 ? rc
                   : kvt_dist_refresh_open(
                         dist, kvt_config_u64(config,
                                              "distributed.refresh_interval"));
}

/* Files without a trailer: never under a record, which says that there are
 * none. What looks like one was cut, or emptied by a crash. */
static bool accepts_raw(const struct dist *dist)
{
    const char *how =
        kvt_config_text(dist->base.args.config, "distributed.read_raw");
    if (dist->recorded && strcmp(how, "on") == 0) {
        kvt_backend_log(&dist->base, KVT_LOG_WARN,
                        "distributed.read_raw: the root's record says that "
                        "every file has a trailer; without one it is a miss");
    }
    return !dist->recorded && strcmp(how, "off") != 0;
}

int kvt_dist_open(const struct kvt_backend_args *args,
                  struct kvt_backend **backend, struct kvt_error *err)
{
    struct dist *dist = calloc(1, sizeof *dist);
    if (dist == NULL) {
        return kvt_error_set(err, KVT_ERR_INTERNAL, ENOMEM, args->path, NULL,
                             "no memory to open the store");
    }
    int rc = init(dist, args);
    if (rc != 0) {
        rc = kvt_dist_fail(dist, KVT_FAULT_READ, rc, "starting", err);
        goto out_close;
    }
    if (kvt_config_bool(args->config, "distributed.health_check")) {
        /* what comes next waits for the mount as long as it takes */
        rc = kvt_fs_probe(dist->fs);
    }
    if (rc != 0) {
        rc = kvt_dist_fail(dist, KVT_FAULT_READ, rc,
                           "health check: asking the mount", err);
        goto out_close;
    }
    rc = choose_strategy(dist, err);
    if (rc == KVT_OK) {
        rc = open_record(dist, err);
    }
    if (rc == KVT_OK) {
        rc = make_directories(dist, err);
    }
    if (rc != KVT_OK) {
        goto out_close;
    }
    dist->accepts_raw = accepts_raw(dist);
    if (!args->read_only) {
        rc = kvt_dist_janitor_start(dist);
    }
    if (rc != 0) {
        rc = kvt_dist_fail(dist, KVT_FAULT_READ, rc, "starting a thread", err);
        goto out_close;
    }
    *backend = &dist->base;
    return KVT_OK;

out_close:
    dist->base.ops->close(&dist->base);
    return rc;
}
