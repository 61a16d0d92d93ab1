#include "fs/crash_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NO_SLOT UINT32_MAX

/* Arrays ------------------------------------------------------------------ */

/* Room for one more; null without memory, which the log remembers. */
static void *grow(struct kvt_crash_log *log, void *array, size_t count,
                  size_t *capacity, size_t size)
{
    if (count < *capacity) {
        return array;
    }
    size_t wanted = *capacity > 0 ? *capacity * 2 : 64;
    void *grown = realloc(array, wanted * size);
    if (grown == NULL) {
        log->rc = -ENOMEM;
        return NULL;
    }
    *capacity = wanted;
    return grown;
}

static struct kvt_crash_op *add_op(struct kvt_crash_log *log,
                                   enum kvt_crash_kind kind)
{
    struct kvt_crash_op *ops =
        grow(log, log->ops, log->op_count, &log->op_capacity, sizeof ops[0]);
    if (ops == NULL) {
        return NULL;
    }
    log->ops = ops;
    struct kvt_crash_op *op = &ops[log->op_count++];
    *op = (struct kvt_crash_op){.kind = kind, .durable_at = UINT64_MAX};
    return op;
}

/* 0 without memory. */
static uint32_t add_inode(struct kvt_crash_log *log, bool directory)
{
    bool *inodes = grow(log, log->is_directory, log->inode_count,
                        &log->inode_capacity, sizeof inodes[0]);
    if (inodes == NULL) {
        return 0;
    }
    log->is_directory = inodes;
    inodes[log->inode_count] = directory;
    return (uint32_t)log->inode_count++;
}

int kvt_crash_log_init(struct kvt_crash_log *log)
{
    memset(log, 0, sizeof *log);
    add_inode(log, false);
    add_inode(log, true);
    return log->rc;
}

void kvt_crash_log_fini(struct kvt_crash_log *log)
{
    for (size_t i = 0; i < log->op_count; i++) {
        free(log->ops[i].bytes);
    }
    for (size_t i = 0; i < log->slot_count; i++) {
        free(log->slots[i].name);
    }
    free(log->ops);
    free(log->slots);
    free(log->is_directory);
}

/* Names ------------------------------------------------------------------- */

static uint32_t find_slot(struct kvt_crash_log *log, uint32_t directory,
                          const char *name, size_t size)
{
    for (size_t i = 0; i < log->slot_count; i++) {
        const struct kvt_crash_slot *slot = &log->slots[i];
        if (slot->directory == directory &&
            strncmp(slot->name, name, size) == 0 && slot->name[size] == '\0') {
            return (uint32_t)i;
        }
    }
    struct kvt_crash_slot *slots = grow(log, log->slots, log->slot_count,
                                        &log->slot_capacity, sizeof slots[0]);
    if (slots == NULL) {
        return NO_SLOT;
    }
    log->slots = slots;
    char *copy = strndup(name, size);
    if (copy == NULL) {
        log->rc = -ENOMEM;
        return NO_SLOT;
    }
    slots[log->slot_count] = (struct kvt_crash_slot){directory, 0, copy};
    return (uint32_t)log->slot_count++;
}

static uint32_t set_name(struct kvt_crash_log *log, uint32_t slot,
                         uint32_t inode)
{
    struct kvt_crash_op *op = add_op(log, KVT_CRASH_NAME);
    if (op == NULL) {
        return 0;
    }
    op->slot = slot;
    op->inode = inode;
    log->slots[slot].inode = inode;
    return inode;
}

/* The slot of a path; NO_SLOT for the root, without memory, or when a
 * directory above is missing and `make` is false. */
static uint32_t slot_of(struct kvt_crash_log *log, const char *path, bool make)
{
    uint32_t directory = KVT_CRASH_ROOT;
    for (;;) {
        const char *slash = strchr(path, '/');
        size_t size = slash != NULL ? (size_t)(slash - path) : strlen(path);
        bool here = size == 0 || (size == 1 && path[0] == '.');
        if (slash == NULL) {
            return here ? NO_SLOT : find_slot(log, directory, path, size);
        }
        path = slash + 1;
        if (here) {
            continue;
        }
        uint32_t slot = find_slot(log, directory, path - size - 1, size);
        if (slot == NO_SLOT) {
            return NO_SLOT;
        }
        directory = log->slots[slot].inode;
        if (directory == 0 && make) {
            directory = set_name(log, slot, add_inode(log, true));
        }
        if (directory == 0) {
            return NO_SLOT;
        }
    }
}

static bool is_root(const char *path)
{
    return path[strspn(path, "./")] == '\0';
}

uint32_t kvt_crash_log_find(struct kvt_crash_log *log, const char *path)
{
    if (is_root(path)) {
        return KVT_CRASH_ROOT;
    }
    uint32_t slot = slot_of(log, path, false);
    return slot != NO_SLOT ? log->slots[slot].inode : 0;
}

uint32_t kvt_crash_log_make(struct kvt_crash_log *log, const char *path,
                            bool directory)
{
    uint32_t slot = is_root(path) ? NO_SLOT : slot_of(log, path, directory);
    if (slot == NO_SLOT) {
        return is_root(path) ? KVT_CRASH_ROOT : 0;
    }
    uint32_t inode = log->slots[slot].inode;
    return inode != 0 ? inode : set_name(log, slot, add_inode(log, directory));
}

void kvt_crash_log_remove(struct kvt_crash_log *log, const char *path)
{
    uint32_t slot = slot_of(log, path, false);
    if (slot != NO_SLOT) {
        set_name(log, slot, 0);
    }
}

void kvt_crash_log_rename(struct kvt_crash_log *log, const char *from,
                          const char *to)
{
    uint32_t from_slot = slot_of(log, from, false);
    uint32_t to_slot = slot_of(log, to, false);
    if (from_slot == NO_SLOT || to_slot == NO_SLOT || from_slot == to_slot) {
        return;
    }
    struct kvt_crash_op *op = add_op(log, KVT_CRASH_MOVE);
    if (op != NULL) {
        op->slot = from_slot;
        op->to = to_slot;
        op->inode = log->slots[from_slot].inode;
        log->slots[to_slot].inode = op->inode;
        log->slots[from_slot].inode = 0;
    }
}

void kvt_crash_log_link(struct kvt_crash_log *log, const char *from,
                        const char *to)
{
    uint32_t inode = kvt_crash_log_find(log, from);
    uint32_t slot = slot_of(log, to, false);
    if (inode != 0 && slot != NO_SLOT) {
        set_name(log, slot, inode);
    }
}

/* Bytes ------------------------------------------------------------------- */

static struct kvt_crash_op *add_data(struct kvt_crash_log *log,
                                     enum kvt_crash_kind kind, uint32_t inode,
                                     uint64_t offset, uint64_t size)
{
    struct kvt_crash_op *op = add_op(log, kind);
    if (op != NULL) {
        op->inode = inode;
        op->offset = offset;
        op->size = size;
    }
    return op;
}

void kvt_crash_log_write(struct kvt_crash_log *log, uint32_t inode,
                         uint64_t offset, const struct kvt_slice *slices,
                         uint64_t size)
{
    unsigned char *bytes = malloc((size_t)size + 1);
    struct kvt_crash_op *op =
        bytes != NULL ? add_data(log, KVT_CRASH_WRITE, inode, offset, size)
                      : NULL;
    if (op == NULL) {
        free(bytes);
        log->rc = -ENOMEM;
        return;
    }
    op->bytes = bytes;
    for (uint64_t at = 0; at < size; slices++) {
        size_t part =
            slices->size < size - at ? slices->size : (size_t)(size - at);
        if (part > 0) {
            memcpy(bytes + at, slices->base, part);
        }
        at += part;
    }
}

void kvt_crash_log_size(struct kvt_crash_log *log, uint32_t inode,
                        uint64_t size)
{
    add_data(log, KVT_CRASH_SIZE, inode, 0, size);
}

void kvt_crash_log_zero(struct kvt_crash_log *log, uint32_t inode,
                        uint64_t offset, uint64_t size)
{
    add_data(log, KVT_CRASH_ZERO, inode, offset, size);
}

/* Syncs ------------------------------------------------------------------- */

static void settle(struct kvt_crash_op *op, uint64_t at)
{
    if (op->durable_at > at) {
        op->durable_at = at;
    }
}

void kvt_crash_log_sync_file(struct kvt_crash_log *log, uint32_t inode)
{
    if (add_data(log, KVT_CRASH_SYNC, inode, 0, 0) == NULL) {
        return;
    }
    for (size_t i = 0; i < log->op_count; i++) {
        struct kvt_crash_op *op = &log->ops[i];
        bool names = op->kind == KVT_CRASH_NAME || op->kind == KVT_CRASH_MOVE;
        if (!names && op->inode == inode) {
            settle(op, log->op_count);
        }
    }
}

/* All that changed a name of the directory, and what the same names went
 * through before: a journal keeps their order. */
void kvt_crash_log_sync_directory(struct kvt_crash_log *log, const char *path)
{
    uint32_t directory = kvt_crash_log_find(log, path);
    if (add_data(log, KVT_CRASH_SYNC, directory, 0, 0) == NULL) {
        return;
    }
    bool *touched = calloc(log->slot_count + 1, sizeof touched[0]);
    if (touched == NULL) {
        log->rc = -ENOMEM;
        return;
    }
    for (size_t i = 0; i < log->slot_count; i++) {
        touched[i] = log->slots[i].directory == directory;
    }
    for (size_t i = log->op_count; i-- > 0;) {
        struct kvt_crash_op *op = &log->ops[i];
        bool moves = op->kind == KVT_CRASH_MOVE;
        bool names = op->kind == KVT_CRASH_NAME || moves;
        if (names && (touched[op->slot] || (moves && touched[op->to]))) {
            settle(op, log->op_count);
            touched[op->slot] = true;
            touched[moves ? op->to : op->slot] = true;
        }
    }
    free(touched);
}
