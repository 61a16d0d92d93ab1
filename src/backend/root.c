#include "backend/root.h"

#include "core/clock.h"
#include "core/process.h"
#include "core/random.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char marker_path[] = ".kvtier/store";
static const char lock_path[] = ".kvtier/lock";

static int fail_as(const struct kvt_backend_args *args, enum kvt_fault fault,
                   int rc, const char *doing, struct kvt_error *err)
{
    int code = kvt_status_of(fault, -rc, false);
    const char *remedy =
        rc == -EACCES || rc == -EPERM || rc == -EROFS
            ? "give this user write access to the directory, or open the "
              "store read-only"
        : rc == -ENOSPC || rc == -EDQUOT
            ? "free some space there, or name another directory"
            : "check the file system under the store";
    return kvt_error_set(err, code, -rc, args->path, remedy, "%s: %s", doing,
                         strerror(-rc));
}

static int fail(const struct kvt_backend_args *args, int rc, const char *doing,
                struct kvt_error *err)
{
    return fail_as(args, KVT_FAULT_WRITE, rc, doing, err);
}

/* 0, -ENOENT when there is no marker, or another errno. */
static int read_marker(struct kvt_fs *fs, struct kvt_marker *marker)
{
    uint8_t bytes[KVT_MARKER_SIZE];
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    struct kvt_fs_elem fetch = {.op = KVT_FS_FETCH,
                                .path = marker_path,
                                .slices = &slice,
                                .slice_count = 1};
    int64_t got = kvt_fs_run(fs, &fetch);
    if (got < 0) {
        return (int)got;
    }
    return got == (int64_t)sizeof bytes ? kvt_marker_decode(bytes, marker)
                                        : -EBADMSG;
}

static int check_marker(const struct kvt_backend_args *args,
                        const struct kvt_root_spec *spec,
                        const struct kvt_marker *marker, struct kvt_error *err)
{
    if (strcmp(marker->backend, spec->backend) != 0) {
        return kvt_error_set(
            err, KVT_ERR_INVALID_PARAMS, 0, args->path,
            "open it with that backend, or name another directory",
            "the directory holds a store of backend %s, not %s",
            marker->backend, spec->backend);
    }
    if (marker->backend_version != spec->backend_version) {
        return kvt_error_set(
            err, KVT_ERR_NOT_SUPPORTED, EPROTONOSUPPORT, args->path,
            "use the version of kvtier that wrote it; nothing was touched",
            "the store has version %u of the %s layout; this build knows "
            "version %u",
            marker->backend_version, spec->backend, spec->backend_version);
    }
    if (marker->name_max > kvt_fs_facts(args->fs)->name_max) {
        return kvt_error_set(
            err, KVT_ERR_NOT_SUPPORTED, ENAMETOOLONG, args->path,
            "move the store back to a file system like the "
            "one that it was made on",
            "the store has file names of up to %u bytes, "
            "this file system takes %u",
            marker->name_max, kvt_fs_facts(args->fs)->name_max);
    }
    return KVT_OK;
}

static int bad_marker(const struct kvt_backend_args *args, int rc,
                      struct kvt_error *err)
{
    if (rc == -EPROTONOSUPPORT) {
        return kvt_error_set(
            err, KVT_ERR_NOT_SUPPORTED, EPROTONOSUPPORT, args->path,
            "use the version of kvtier that wrote it; nothing was touched",
            "%s has a format version that this build does not know",
            marker_path);
    }
    if (rc == -EBADMSG) {
        return kvt_error_set(
            err, KVT_ERR_CHECKSUM_MISMATCH, EBADMSG, args->path,
            "restore that file, or name another directory; nothing was "
            "touched",
            "%s is damaged or not a marker of a store", marker_path);
    }
    return fail_as(args, KVT_FAULT_READ, rc, "reading the store's marker", err);
}

/* Lock ---------------------------------------------------------------------*/

static int take_lock(const struct kvt_backend_args *args,
                     struct kvt_fs_lock **lock, struct kvt_error *err)
{
    char holder[KVT_PROCESS_TEXT_MAX];
    char owner[KVT_PROCESS_TEXT_MAX];
    kvt_process_describe(holder);
    int rc = kvt_fs_mkdirs(args->fs, ".kvtier");
    if (rc == 0) {
        rc =
            kvt_fs_lock(args->fs, lock_path, holder, owner, sizeof owner, lock);
    }
    if (rc == -EBUSY) {
        return kvt_error_set(
            err, KVT_ERR_FILE_LOCK_FAIL, EBUSY, args->path,
            "stop that process, open the store read-only, or name another "
            "directory",
            "another store owns the directory: %s",
            owner[0] != '\0' ? owner : "its owner has not said who it is");
    }
    return rc != 0 ? fail(args, rc, "taking the owner's lock", err) : KVT_OK;
}

/* Making a store ---------------------------------------------------------- */

struct look {
    const struct kvt_root_spec *spec;
    char name[64];
};

static int look_at(const struct kvt_fs_dirent *entry, void *arg)
{
    struct look *look = arg;
    if (!look->spec->is_ours(entry->name)) {
        return 0;
    }
    snprintf(look->name, sizeof look->name, "%s", entry->name);
    return 1;
}

/* A shared root has a record in place of a marker, and no owner. */
static int check_shared(const struct kvt_backend_args *args,
                        struct kvt_error *err)
{
    struct kvt_fs_elem stat = {.op = KVT_FS_STAT, .path = ".kvtier/format"};
    int64_t rc = kvt_fs_run(args->fs, &stat);
    if (rc == -ENOENT || rc == -ENOTDIR) {
        return KVT_OK;
    }
    if (rc < 0) {
        return fail_as(args, KVT_FAULT_READ, (int)rc,
                       "looking for the record of a shared root", err);
    }
    return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EEXIST, args->path,
                         "open it with backend distributed, or name another "
                         "directory; nothing was touched",
                         "the directory is the root of a shared store");
}

/* A directory that holds something which we would take for ours is not a
 * place for a new store. Other foreign files are left alone. */
static int check_foreign(const struct kvt_backend_args *args,
                         const struct kvt_root_spec *spec,
                         struct kvt_error *err)
{
    struct look look = {.spec = spec};
    int rc = kvt_fs_list(args->fs, ".", false, look_at, &look);
    if (rc < 0) {
        return fail_as(args, KVT_FAULT_READ, rc, "listing the directory", err);
    }
    if (rc > 0) {
        return kvt_error_set(
            err, KVT_ERR_INVALID_PARAMS, EEXIST, args->path,
            "name an empty directory; nothing was touched",
            "the directory is no store, but holds \"%s\", which a store "
            "would use",
            look.name);
    }
    return KVT_OK;
}

static int make_marker(const struct kvt_backend_args *args,
                       const struct kvt_root_spec *spec,
                       struct kvt_marker *marker)
{
    uint32_t name_max = kvt_fs_facts(args->fs)->name_max;
    *marker = (struct kvt_marker){.backend_version = spec->backend_version,
                                  .alignment = spec->alignment,
                                  .name_max = name_max < 255 ? name_max : 255,
                                  .created_ms = kvt_clock_unix_ms()};
    snprintf(marker->backend, sizeof marker->backend, "%s", spec->backend);
    int rc = kvt_random(marker->uuid, sizeof marker->uuid);
    if (rc == 0) {
        rc = kvt_random(&marker->hash_seed, sizeof marker->hash_seed);
    }
    if (rc != 0) {
        return rc;
    }
    uint8_t bytes[KVT_MARKER_SIZE];
    kvt_marker_encode(marker, bytes);
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    struct kvt_fs_elem publish = {.op = KVT_FS_PUBLISH,
                                  .flags = KVT_FS_IF_ABSENT | KVT_FS_DURABLE,
                                  .path = marker_path,
                                  .temp_path = ".kvtier/store.new",
                                  .slices = &slice,
                                  .slice_count = 1};
    /* left by an owner that died here; the lock is ours now */
    struct kvt_fs_elem remove = {.op = KVT_FS_REMOVE,
                                 .path = publish.temp_path};
    kvt_fs_run(args->fs, &remove);
    int64_t written = kvt_fs_run(args->fs, &publish);
    if (written == -EOPNOTSUPP) { /* then the lock alone keeps others off */
        publish.flags = KVT_FS_DURABLE;
        written = kvt_fs_run(args->fs, &publish);
    }
    return written < 0 ? (int)written : 0;
}

/* With the lock held: another process may have made the store meanwhile. */
static int open_locked(const struct kvt_backend_args *args,
                       const struct kvt_root_spec *spec,
                       struct kvt_marker *marker, struct kvt_error *err)
{
    int rc = read_marker(args->fs, marker);
    if (rc == -ENOENT) {
        rc = make_marker(args, spec, marker);
        if (rc == -EOPNOTSUPP) {
            return kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, EOPNOTSUPP,
                                 args->path,
                                 "put the store on another file system",
                                 "making the store's marker: the file system "
                                 "cannot make a file appear whole, by a rename "
                                 "or otherwise");
        }
        return rc != 0 ? fail(args, rc, "making the store's marker", err)
                       : KVT_OK;
    }
    return rc != 0 ? bad_marker(args, rc, err)
                   : check_marker(args, spec, marker, err);
}

int kvt_root_open(const struct kvt_backend_args *args,
                  const struct kvt_root_spec *spec, struct kvt_marker *marker,
                  struct kvt_fs_lock **lock, struct kvt_error *err)
{
    *lock = NULL;
    /* before anything is made or locked: a wrong path must cost nothing */
    int rc = read_marker(args->fs, marker);
    if (rc == -ENOENT && args->read_only) {
        return kvt_error_set(err, KVT_ERR_FILE_NOT_FOUND, ENOENT, args->path,
                             "name the directory of a store, or make one by "
                             "offloading into it",
                             "the directory holds no store");
    }
    if (rc != 0 && rc != -ENOENT) {
        return bad_marker(args, rc, err);
    }
    bool is_store = rc == 0;
    rc = is_store ? check_marker(args, spec, marker, err)
                  : check_shared(args, err);
    if (rc == KVT_OK && !is_store) {
        rc = check_foreign(args, spec, err);
        /* unless it is one by now: the marker comes before all else */
        if (rc == KVT_ERR_INVALID_PARAMS &&
            read_marker(args->fs, marker) == 0) {
            rc = check_marker(args, spec, marker, err);
        }
    }
    if (rc != KVT_OK || args->read_only) {
        return rc;
    }
    rc = take_lock(args, lock, err);
    if (rc != KVT_OK) {
        return rc;
    }
    rc = open_locked(args, spec, marker, err);
    if (rc != KVT_OK) {
        kvt_fs_unlock(*lock);
        *lock = NULL;
    }
    return rc;
}
