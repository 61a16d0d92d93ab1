/* The posix adapter's parts, for each other and for adapters that are posix but
 * for how bytes move. */
#ifndef KVT_FS_POSIX_H
#define KVT_FS_POSIX_H

#include <kvtier/fs.h>

struct posix_fs {
    struct kvt_fs base;
    int root;       /* descriptor of the root directory */
    bool direct;    /* files are opened with O_DIRECT */
    bool read_only; /* the mount makes nothing */
    /* atomic: RWF_NOWAIT is of no use here */
    bool reads_wait;
    bool writes_wait;
};

struct posix_file {
    struct kvt_fs_file base;
    int fd;
};

static inline int kvt_posix_root(const struct kvt_fs *fs)
{
    return ((const struct posix_fs *)fs)->root;
}

/* src/fs/posix_mount.c: opens the root, which is made unless the mount is
 * read-only, and fills the facts; `base.ops` is the caller's to set.
 * `auto_is_direct`: what `direct = auto` means where direct I/O is real.
 * KVT_OK, or a code with `err` filled and nothing open. */
int kvt_posix_init(struct posix_fs *fs, const struct kvt_fs_mount_args *args,
                   bool auto_is_direct, struct kvt_error *err);
void kvt_posix_fini(struct posix_fs *fs);

/* src/fs/posix_elem.c: O_ flags of an open on this mount, without O_CLOEXEC. */
int kvt_posix_open_flags(const struct kvt_fs *fs, uint32_t flags);
int64_t kvt_posix_execute(struct kvt_fs *fs, struct kvt_fs_elem *elem);
int64_t kvt_posix_try_now(struct kvt_fs *fs, struct kvt_fs_elem *elem);

/* src/fs/posix_names.c: control calls, as in kvtier/fs.h. */
/* Makes `path` below the directory `at`; `path` is written to. */
int kvt_posix_make_directories(int at, char *path);
int kvt_posix_mkdirs(struct kvt_fs *fs, const char *path);
int kvt_posix_list(struct kvt_fs *fs, const char *path, bool sizes,
                   kvt_fs_list_fn each, void *arg);
int kvt_posix_rename(struct kvt_fs *fs, const char *from, const char *to,
                     bool replace);
int kvt_posix_rmdir(struct kvt_fs *fs, const char *path);
int kvt_posix_link(struct kvt_fs *fs, const char *from, const char *to);
int kvt_posix_truncate(struct kvt_fs *fs, struct kvt_fs_file *file,
                       uint64_t size);
int kvt_posix_allocate(struct kvt_fs *fs, struct kvt_fs_file *file,
                       uint64_t size);
int kvt_posix_advise(struct kvt_fs *fs, struct kvt_fs_file *file,
                     uint64_t offset, uint64_t size, enum kvt_fs_advice advice);
int kvt_posix_usage(struct kvt_fs *fs, struct kvt_fs_usage *usage);

/* src/fs/posix_direct.c */
/* Does the mount give blocks back out of the middle of a file? Asked of a file
 * without a name: where none can be made, it does not. */
bool kvt_posix_can_punch(const struct posix_fs *fs);
/* Does the mount really transfer past the page cache, and at what alignment?
 * 0 and the facts filled; -EINVAL when it does not; another errno when no file
 * could be asked. */
int kvt_posix_find_direct(struct posix_fs *fs);

/* src/fs/posix_lock.c: locks through flock(2). */
int kvt_posix_lock(struct kvt_fs *fs, const char *path, const char *holder,
                   char *owner, size_t owner_size, struct kvt_fs_lock **lock);
void kvt_posix_unlock(struct kvt_fs_lock *lock);

/* What all of them have in their tables. */
#define KVT_POSIX_CALLS                                                        \
    .execute = kvt_posix_execute, .mkdirs = kvt_posix_mkdirs,                  \
    .list = kvt_posix_list, .rename = kvt_posix_rename,                        \
    .rmdir = kvt_posix_rmdir, .usage = kvt_posix_usage,                        \
    .link = kvt_posix_link, .truncate = kvt_posix_truncate,                    \
    .allocate = kvt_posix_allocate, .advise = kvt_posix_advise,                \
    .lock = kvt_posix_lock, .unlock = kvt_posix_unlock

#endif
