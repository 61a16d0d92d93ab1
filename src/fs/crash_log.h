/* What the crash wrapper remembers: names and files as they are now, and
 * every operation that made them so. docs/crash-model.md says what a power
 * loss may do to it. No locks: the wrapper has one. */
#ifndef KVT_FS_CRASH_LOG_H
#define KVT_FS_CRASH_LOG_H

#include <kvtier/base.h>
#include <stdbool.h>

enum {
    KVT_CRASH_ROOT = 1, /* the inode of "."; 0 is none */
};

enum kvt_crash_kind {
    KVT_CRASH_NAME, /* `slot` names `inode` (0: nothing) */
    KVT_CRASH_MOVE, /* `inode` goes from `slot` to `to` */
    KVT_CRASH_WRITE,
    KVT_CRASH_SIZE, /* the file is `size` bytes long */
    KVT_CRASH_ZERO, /* [offset, offset + size) reads as zeros */
    KVT_CRASH_SYNC, /* marks what came before; changes nothing itself */
};

struct kvt_crash_op {
    enum kvt_crash_kind kind;
    uint32_t inode;
    uint32_t slot;
    uint32_t to;
    uint64_t offset;
    uint64_t size;
    unsigned char *bytes; /* of a WRITE, owned */
    uint64_t durable_at;  /* it survives a loss behind so many operations */
};

/* A name in a directory, whether or not something has it now. */
struct kvt_crash_slot {
    uint32_t directory;
    uint32_t inode; /* now, or 0 */
    char *name;     /* owned */
};

struct kvt_crash_log {
    struct kvt_crash_op *ops;
    size_t op_count;
    size_t op_capacity;
    struct kvt_crash_slot *slots;
    size_t slot_count;
    size_t slot_capacity;
    bool *is_directory; /* by inode */
    size_t inode_count; /* with the 0 */
    size_t inode_capacity;
    size_t start; /* operations that made the tree of the mount: durable */
    int rc;       /* -ENOMEM once something could not be remembered */
};

int kvt_crash_log_init(struct kvt_crash_log *log);
void kvt_crash_log_fini(struct kvt_crash_log *log);

/* The inode of a path, or 0. */
uint32_t kvt_crash_log_find(struct kvt_crash_log *log, const char *path);
/* The same, made when missing; a directory with its parents. */
uint32_t kvt_crash_log_make(struct kvt_crash_log *log, const char *path,
                            bool directory);
void kvt_crash_log_remove(struct kvt_crash_log *log, const char *path);
void kvt_crash_log_rename(struct kvt_crash_log *log, const char *from,
                          const char *to);
void kvt_crash_log_link(struct kvt_crash_log *log, const char *from,
                        const char *to);
/* The first `size` bytes of the slices. */
void kvt_crash_log_write(struct kvt_crash_log *log, uint32_t inode,
                         uint64_t offset, const struct kvt_slice *slices,
                         uint64_t size);
void kvt_crash_log_size(struct kvt_crash_log *log, uint32_t inode,
                        uint64_t size);
void kvt_crash_log_zero(struct kvt_crash_log *log, uint32_t inode,
                        uint64_t offset, uint64_t size);
void kvt_crash_log_sync_file(struct kvt_crash_log *log, uint32_t inode);
void kvt_crash_log_sync_directory(struct kvt_crash_log *log, const char *path);

#endif
