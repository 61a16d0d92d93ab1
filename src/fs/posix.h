/* The mount of the posix adapter, for the parts of it in files of their
 * own. */
#ifndef KVT_FS_POSIX_H
#define KVT_FS_POSIX_H

#include <kvtier/fs.h>

struct posix_fs {
    struct kvt_fs base;
    int root;    /* descriptor of the root directory */
    bool direct; /* files are opened with O_DIRECT */
};

/* Does the mount give blocks back out of the middle of a file? Asked of a file
 * without a name. src/fs/posix_direct.c. */
bool kvt_posix_can_punch(const struct posix_fs *fs);

/* Does the mount really transfer past the page cache, and at what alignment?
 * 0 and the facts filled; -EINVAL when it does not. src/fs/posix_direct.c. */
int kvt_posix_find_direct(struct posix_fs *fs);

/* Locks through flock(2): src/fs/posix_lock.c. */
int kvt_posix_lock(struct kvt_fs *fs, const char *path, const char *holder,
                   char *owner, size_t owner_size, struct kvt_fs_lock **lock);
void kvt_posix_unlock(struct kvt_fs_lock *lock);

#endif
