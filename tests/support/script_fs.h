/* An adapter of blocking calls over files in memory, whose n-th call fails
 * on demand: for what the core emulates. It counts handles, so that a lost
 * one shows, and keeps a log of its calls: "open a/b; write 5; close; ". */
#ifndef KVT_TESTS_SCRIPT_FS_H
#define KVT_TESTS_SCRIPT_FS_H

#include "fs/fs_core.h"

enum {
    SCRIPT_FILES = 8,
    SCRIPT_DIRS = 8,
    SCRIPT_BYTES = 256,
};

struct script_inode {
    char path[64]; /* "" when it has no name */
    unsigned char bytes[SCRIPT_BYTES];
    size_t size;
    size_t synced_size; /* SIZE_MAX: never synced */
    size_t handles;
};

struct script_fs {
    struct kvt_fs fs;
    struct kvt_fs_core core;
    struct script_inode files[SCRIPT_FILES];
    char dirs[SCRIPT_DIRS][64];
    size_t handles;
    /* the script */
    size_t fail_at;  /* the call that fails, from 1; 0 = none */
    int fail_rc;     /* with what */
    size_t short_by; /* a write tells of so many bytes less */
    /* what was seen */
    size_t calls;
    char log[1024];
};

/* A mount with only the root in it, on the caller's memory. */
void script_fs_init(struct script_fs *script);

/* Makes a file of `text`; its directory need not be there. */
void script_fs_put(struct script_fs *script, const char *path,
                   const char *text);

/* The file of that path, or null. */
struct script_inode *script_fs_find(struct script_fs *script, const char *path);

bool script_fs_has_dir(const struct script_fs *script, const char *path);

#endif
