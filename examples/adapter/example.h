/* The example of docs/adding-an-adapter.md: a directory by plain POSIX calls.
 * It has what is required and no more; the core makes the rest of that. */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <kvtier/fs.h>

#include <errno.h>

/* What fs.h calls the base comes first; so a pointer to one is a pointer to
 * the other. */
struct example_fs {
    struct kvt_fs base;
    int root;
};

struct example_file {
    struct kvt_fs_file base;
    int fd;
};

static inline int example_root(const struct kvt_fs *fs)
{
    return ((const struct example_fs *)fs)->root;
}

/* Every errno is made negative where it arises, and stays as it is. */
static inline int example_result(int rc)
{
    return rc == 0 ? 0 : -errno;
}

/* names.c */
int example_mkdirs(struct kvt_fs *fs, const char *path);
int example_list(struct kvt_fs *fs, const char *path, bool sizes,
                 kvt_fs_list_fn each, void *arg);
int example_rename(struct kvt_fs *fs, const char *from, const char *to,
                   bool replace);
int example_rmdir(struct kvt_fs *fs, const char *path);
int example_usage(struct kvt_fs *fs, struct kvt_fs_usage *usage);
int example_lock(struct kvt_fs *fs, const char *path, const char *holder,
                 char *owner, size_t owner_size, struct kvt_fs_lock **lock);
void example_unlock(struct kvt_fs_lock *lock);

#endif
