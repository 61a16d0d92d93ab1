/* The example adapter: its elements, its facts, its table, its module. */
#include "example.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Elements ---------------------------------------------------------------- */

static int64_t example_open(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    flags |= (elem->flags & KVT_FS_FOR_WRITE) != 0 ? O_RDWR : O_RDONLY;
    flags |= (elem->flags & KVT_FS_CREATE) != 0 ? O_CREAT : 0;
    flags |= (elem->flags & KVT_FS_EXCLUSIVE) != 0 ? O_EXCL : 0;
    struct example_file *file = malloc(sizeof *file);
    if (file == NULL) {
        return -ENOMEM;
    }
    struct stat st = {0};
    file->base.fs = fs;
    file->fd = openat(example_root(fs), elem->path, flags, 0666);
    int rc = file->fd < 0 || fstat(file->fd, &st) != 0 ? -errno
             : S_ISDIR(st.st_mode)                     ? -EISDIR
             : !S_ISREG(st.st_mode)                    ? -EINVAL
                                                       : 0;
    if (rc != 0) {
        if (file->fd >= 0) {
            close(file->fd);
        }
        free(file);
        return rc;
    }
    elem->file_size = (uint64_t)st.st_size; /* for KVT_FS_WANT_SIZE */
    elem->file = &file->base;
    return 0;
}

enum {
    TRANSFER_MAX = 1 << 20
};

/* The facts say one slice and 1 MiB at most: the core splits the rest. */
static int64_t example_transfer(int fd, const struct kvt_fs_elem *elem)
{
    size_t total = 0;
    size_t size = elem->slice_count > 0 ? elem->slices[0].size : 0;
    if (elem->slice_count > 1 || size > TRANSFER_MAX) {
        return -EINVAL; /* cannot be; here it shows that the core keeps it */
    }
    while (total < size) {
        char *at = (char *)elem->slices[0].base + total;
        off_t offset = (off_t)(elem->offset + total);
        ssize_t done = elem->op == KVT_FS_WRITE
                           ? pwrite(fd, at, size - total, offset)
                           : pread(fd, at, size - total, offset);
        if (done < 0 && errno != EINTR) {
            return -errno;
        }
        if (done == 0) {
            break; /* the end; a short write is an error to the core */
        }
        total += done > 0 ? (size_t)done : 0;
    }
    return (int64_t)total;
}

static int64_t example_sync_directory(struct kvt_fs *fs, const char *path)
{
    int fd = openat(example_root(fs), path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -errno : example_result(fsync(fd));
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

static int64_t example_stat(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    struct stat st;
    int root = example_root(fs);
    if (fstatat(root, elem->path, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return -errno;
    }
    elem->file_size = (uint64_t)st.st_size;
    return S_ISREG(st.st_mode) ? 0 : S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
}

static int64_t example_execute(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    struct example_file *file = (struct example_file *)elem->file;
    int rc;
    switch (elem->op) {
    case KVT_FS_READ:
    case KVT_FS_WRITE:
        return example_transfer(file->fd, elem);
    case KVT_FS_DATASYNC:
        return example_result(fdatasync(file->fd));
    case KVT_FS_SYNC:
        return file != NULL ? example_result(fsync(file->fd))
                            : example_sync_directory(fs, elem->path);
    case KVT_FS_OPEN:
        return example_open(fs, elem);
    case KVT_FS_CLOSE:
        rc = close(file->fd) != 0 && errno != EINTR ? -errno : 0;
        free(file);
        return rc;
    case KVT_FS_STAT:
        return example_stat(fs, elem);
    case KVT_FS_REMOVE:
        return example_result(unlinkat(example_root(fs), elem->path, 0));
    default: /* fetch, publish: the core does them; punch: there is none */
        return -EOPNOTSUPP;
    }
}

/* Mount ------------------------------------------------------------------- */

static const struct kvt_fs_ops example_ops;

/* What is not true here is 0. Each line is tried by kvtier-fs-contract. */
static void find_facts(struct kvt_fs_facts *facts, const struct statvfs *st,
                       const struct kvt_config *config)
{
    *facts = (struct kvt_fs_facts){
        .size = sizeof *facts,
        .generation = 1,
        .offset_alignment = 1,
        .length_alignment = 1,
        .memory_alignment = 1,
        .depth = (uint32_t)kvt_config_u64(config, "example.depth"),
        .metadata_depth = 16,
        .slices_max = 1,
        .transfer_max = TRANSFER_MAX,
        .transfer_best = TRANSFER_MAX,
        .allocation_unit = (uint32_t)st->f_frsize,
        .name_max = (uint32_t)st->f_namemax,
        .path_max = 4095,
        .exclusive_create = true,
        .atomic_rename = true,
        .overwrite_in_place = true,
        .concurrent_writers = true,
        .removed_stays_readable = true,
        .remove_frees_space = true,
        .bytes_outlive_process = true,
        .size_exact_while_open = true,
        .visibility = KVT_FS_VISIBLE_AT_ONCE,
    };
}

static int example_mount(const struct kvt_fs_mount_args *args,
                         struct kvt_fs **out, struct kvt_error *err)
{
    struct statvfs st;
    struct example_fs *fs = calloc(1, sizeof *fs);
    /* "/", so that the path of the root is one below it */
    struct example_fs top = {.root = open("/", O_RDONLY | O_CLOEXEC)};
    int rc = fs == NULL ? -ENOMEM : 0;
    if (rc == 0 && !args->read_only) {
        rc = example_mkdirs(&top.base, args->root + 1);
    }
    close(top.root);
    if (rc == 0) {
        fs->root = open(args->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        rc = fs->root < 0 ? -errno : 0;
    }
    if (rc != 0) {
        free(fs);
        return kvt_error_set(err, KVT_ERR_FILE_OPEN_FAIL, -rc, args->root,
                             "name a directory that can be written",
                             "cannot open the directory: %s", strerror(-rc));
    }
    fs->base.ops = &example_ops;
    fstatvfs(fs->root, &st);
    find_facts(&fs->base.facts, &st, args->config);
    *out = &fs->base;
    return KVT_OK;
}

static void example_unmount(struct kvt_fs *fs)
{
    close(example_root(fs));
    free(fs);
}

static const struct kvt_fs_ops example_ops = {
    .size = sizeof(struct kvt_fs_ops),
    .version = KVT_FS_VERSION,
    .name = "example",
    .summary = "a directory, by plain POSIX calls",
    .mount = example_mount,
    .unmount = example_unmount,
    .execute = example_execute,
    .mkdirs = example_mkdirs,
    .list = example_list,
    .rename = example_rename,
    .rmdir = example_rmdir,
    .usage = example_usage,
    .lock = example_lock,
    .unlock = example_unlock,
};

/* Module ------------------------------------------------------------------ */

static const struct kvt_fs_setting example_settings[] = {
    {.key = "example.depth",
     .type = KVT_FS_SETTING_COUNT,
     .unit = "elements",
     .default_value = "16",
     .min = 1,
     .max = 256,
     .help = "Elements that wait for the disk at a time."},
};

KVT_FS_MODULE = {
    KVT_FS_MODULE_INIT,
    .ops = &example_ops,
    .settings = example_settings,
    .setting_count = sizeof example_settings / sizeof example_settings[0],
};
