/* The root of a posix mount, its facts, and whether I/O is direct. */
#define _GNU_SOURCE
#include "fs/posix.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

static void posix_find_facts(struct posix_fs *fs, const struct statvfs *st)
{
    long open_max = sysconf(_SC_OPEN_MAX);
    uint32_t depth = 64;
    if (open_max > 0 && open_max / 2 < depth) {
        depth = (uint32_t)(open_max / 2);
    }
    fs->base.facts = (struct kvt_fs_facts){
        .size = sizeof fs->base.facts,
        .generation = 1,
        .offset_alignment = 1,
        .length_alignment = 1,
        .memory_alignment = 1,
        .depth = depth,
        .metadata_depth = depth,
        .slices_max = UINT32_MAX,
        .transfer_max = UINT64_MAX,
        .transfer_best = 1u << 20,
        .allocation_unit = st->f_frsize > 0 ? (uint32_t)st->f_frsize : 4096,
        .name_max = st->f_namemax > 0 ? (uint32_t)st->f_namemax : 255,
        .path_max = PATH_MAX - 1,
        .exclusive_create = true,
        .atomic_rename = true,
        .rename_noreplace = true,
        .hard_links = true,
        .overwrite_in_place = true,
        .concurrent_writers = true,
        .removed_stays_readable = true,
        .remove_frees_space = true,
        .punch_hole = kvt_posix_can_punch(fs),
        .bytes_outlive_process = true,
        .size_exact_while_open = true,
        .visibility = KVT_FS_VISIBLE_AT_ONCE,
    };
}

static int mount_failed(const struct kvt_fs_mount_args *args, int errnum,
                        const char *doing, struct kvt_error *err)
{
    const char *remedy =
        errnum == ENOENT || errnum == ENOTDIR
            ? "name a directory; missing ones are made unless the store is "
              "opened read-only"
        : errnum == EACCES || errnum == EPERM || errnum == EROFS
            ? "give this user write access to it, or name another directory"
            : "check the file system under it";
    int code =
        errnum == ENOENT ? KVT_ERR_FILE_NOT_FOUND : KVT_ERR_FILE_OPEN_FAIL;
    return kvt_error_set(err, code, errnum, args->root, remedy,
                         "cannot %s the directory: %s", doing,
                         strerror(errnum));
}

static int posix_set_direct(struct posix_fs *fs,
                            const struct kvt_fs_mount_args *args,
                            bool auto_is_direct, struct kvt_error *err)
{
    struct kvt_setting direct;
    int rc = kvt_config_get(args->config, "direct", &direct, err);
    if (rc != KVT_OK) {
        return rc;
    }
    bool on = strcmp(direct.value, "on") == 0;
    if (!on && (strcmp(direct.value, "auto") != 0 || !auto_is_direct)) {
        return KVT_OK;
    }
    rc = kvt_posix_find_direct(fs);
    fs->direct = rc == 0;
    if (!on || rc == 0) {
        return KVT_OK;
    }
    if (rc == -EINVAL) {
        return kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, EINVAL, args->root,
                             "set direct to auto or off, or name a directory "
                             "on another file system",
                             "direct = on (from %s) cannot be kept: the file "
                             "system refuses direct I/O, or only pretends",
                             direct.source);
    }
    return kvt_error_set(err, KVT_ERR_FILE_OPEN_FAIL, -rc, args->root,
                         "set direct to auto or off, or mend what keeps files "
                         "from being opened there",
                         "direct = on (from %s) cannot be checked: there is no "
                         "file to ask, and making one failed: %s",
                         direct.source, strerror(-rc));
}

int kvt_posix_init(struct posix_fs *fs, const struct kvt_fs_mount_args *args,
                   bool auto_is_direct, struct kvt_error *err)
{
    char path[PATH_MAX];
    if (strlen(args->root) >= sizeof path) {
        return mount_failed(args, ENAMETOOLONG, "open", err);
    }
    strcpy(path, args->root);
    int rc = args->read_only ? 0 : kvt_posix_make_directories(AT_FDCWD, path);
    if (rc != 0) {
        return mount_failed(args, -rc, "make", err);
    }
    struct statvfs st;
    fs->direct = false;
    fs->read_only = args->read_only;
    fs->reads_wait = false;
    fs->writes_wait = false;
    fs->root = open(args->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fs->root < 0 || fstatvfs(fs->root, &st) != 0) {
        int errnum = errno;
        if (fs->root >= 0) {
            close(fs->root);
        }
        return mount_failed(args, errnum, "open", err);
    }
    posix_find_facts(fs, &st);
    rc = posix_set_direct(fs, args, auto_is_direct, err);
    if (rc != KVT_OK) {
        close(fs->root);
    }
    return rc;
}

void kvt_posix_fini(struct posix_fs *fs)
{
    close(fs->root);
}
