/*
 * tree_in.h - every regular file below a directory.
 */
#ifndef CLI_TREE_IN_H
#define CLI_TREE_IN_H

#include <sys/types.h>

/* What is told of a tree. Both return 0 to go on; any other value ends the
 * walk and becomes its result. `path` is relative to the root. */
struct cli_tree_visitor {
    /* A regular file, open for reading; the walk closes `fd`. */
    int (*file)(int fd, const char *path, void *arg);
    /* A file or directory that could not be read: positive errno. */
    int (*failed)(const char *path, int errnum, void *arg);
    void *arg;
    /* A directory to leave out: the store itself. */
    dev_t skip_device;
    ino_t skip_inode;
};

/* Walks the tree; symbolic links are not followed, and neither they nor
 * devices, pipes and sockets are told of. One descriptor a level is open.
 * Returns 0, what the visitor returned, or a negative errno when `root`
 * could not be opened. */
int cli_tree_walk(const char *root, const struct cli_tree_visitor *visitor);

#endif
