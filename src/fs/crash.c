/* The wrapper `crash`: hands everything on, one change at a time, and keeps a
 * log of what changed. What it remembers lies in memory, with every byte that
 * was written: for tests. */
#include "fs/crash.h"

#include "fs/crash_states.h"
#include "fs/wrap.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct crash_fs {
    struct kvt_wrap wrap;
    /* held from before a change until it is in the log: the order of the log
     * is the order of the changes */
    pthread_mutex_t mutex;
    struct kvt_crash_log log; /* under mutex */
};

/* Hooks ------------------------------------------------------------------- */

static bool is_change(const struct kvt_wrap_call *call)
{
    switch (call->op) {
    case KVT_FS_OPEN:
    case KVT_FS_WRITE:
    case KVT_FS_DATASYNC:
    case KVT_FS_SYNC:
    case KVT_FS_PUNCH:
    case KVT_FS_REMOVE:
    case KVT_WRAP_MKDIRS:
    case KVT_WRAP_RENAME:
    case KVT_WRAP_RMDIR:
    case KVT_WRAP_LOCK:
    case KVT_WRAP_LINK:
    case KVT_WRAP_TRUNCATE:
        return true;
    default:
        return false;
    }
}

static int64_t crash_before(struct kvt_wrap *wrap, struct kvt_wrap_call *call)
{
    if (is_change(call)) {
        pthread_mutex_lock(&((struct crash_fs *)wrap)->mutex);
    }
    return 0;
}

static void note(struct kvt_crash_log *log, const struct kvt_wrap_call *call,
                 int64_t result)
{
    uint32_t inode = call->file != NULL ? (uint32_t)call->file->number : 0;
    switch (call->op) {
    case KVT_FS_OPEN:
        call->file->number = kvt_crash_log_make(log, call->path, false);
        break;
    case KVT_FS_WRITE:
        kvt_crash_log_write(log, inode, call->offset, call->elem->slices,
                            (uint64_t)result);
        break;
    case KVT_FS_DATASYNC:
    case KVT_FS_SYNC:
        if (call->file != NULL) {
            kvt_crash_log_sync_file(log, inode);
        } else {
            kvt_crash_log_sync_directory(log, call->path);
        }
        break;
    case KVT_FS_PUNCH:
        kvt_crash_log_zero(log, inode, call->offset, call->size);
        break;
    case KVT_FS_REMOVE:
    case KVT_WRAP_RMDIR:
        kvt_crash_log_remove(log, call->path);
        break;
    case KVT_WRAP_MKDIRS:
        kvt_crash_log_make(log, call->path, true);
        break;
    case KVT_WRAP_LOCK:
        kvt_crash_log_make(log, call->path, false);
        break;
    case KVT_WRAP_RENAME:
        kvt_crash_log_rename(log, call->path, call->to);
        break;
    case KVT_WRAP_LINK:
        kvt_crash_log_link(log, call->path, call->to);
        break;
    case KVT_WRAP_TRUNCATE:
        kvt_crash_log_size(log, inode, call->size);
        break;
    default:
        break;
    }
}

static void crash_after(struct kvt_wrap *wrap, struct kvt_wrap_call *call,
                        int64_t result)
{
    struct crash_fs *fs = (struct crash_fs *)wrap;
    if (!is_change(call)) {
        return;
    }
    if (result >= 0) {
        note(&fs->log, call, result);
    }
    pthread_mutex_unlock(&fs->mutex);
}

static const struct kvt_wrap_hooks crash_hooks = {
    .before = crash_before,
    .after = crash_after,
};

/* The tree that is there at the mount --------------------------------------*/

struct walk {
    struct crash_fs *fs;
    const char *directory;
};

static int read_file(struct crash_fs *fs, const char *path, uint64_t size)
{
    uint32_t inode = kvt_crash_log_make(&fs->log, path, false);
    unsigned char *bytes = malloc((size_t)size + 1);
    if (inode == 0 || bytes == NULL) {
        free(bytes);
        return -ENOMEM;
    }
    struct kvt_slice slice = {bytes, (size_t)size, NULL};
    struct kvt_fs_elem fetch = {
        .op = KVT_FS_FETCH, .path = path, .slices = &slice, .slice_count = 1};
    int64_t got = kvt_fs_run(fs->wrap.inner, &fetch);
    if (got >= 0) {
        kvt_crash_log_write(&fs->log, inode, 0, &slice, (uint64_t)got);
    }
    free(bytes);
    return got < 0 ? (int)got : fs->log.rc;
}

static int walk_one(const struct kvt_fs_dirent *entry, void *arg)
{
    const struct walk *walk = arg;
    char path[KVT_KEY_SIZE_MAX];
    int size =
        snprintf(path, sizeof path, "%s/%s", walk->directory, entry->name);
    if (size < 0 || (size_t)size >= sizeof path) {
        return -ENAMETOOLONG;
    }
    if (entry->type == KVT_FS_TYPE_FILE) {
        return read_file(walk->fs, path, entry->size);
    }
    if (entry->type != KVT_FS_TYPE_DIRECTORY) {
        return 0;
    }
    struct walk below = {walk->fs, path};
    return kvt_crash_log_make(&walk->fs->log, path, true) == 0
               ? -ENOMEM
               : kvt_fs_list(walk->fs->wrap.inner, path, true, walk_one,
                             &below);
}

static int read_tree(struct crash_fs *fs)
{
    struct walk walk = {fs, "."};
    int rc = kvt_crash_log_init(&fs->log);
    if (rc == 0) {
        rc = kvt_fs_list(fs->wrap.inner, ".", true, walk_one, &walk);
    }
    fs->log.start = fs->log.op_count;
    for (size_t i = 0; i < fs->log.start; i++) {
        fs->log.ops[i].durable_at = 0;
    }
    return rc;
}

/* Mount ------------------------------------------------------------------- */

static void crash_unmount(struct kvt_fs *base)
{
    struct crash_fs *fs = (struct crash_fs *)base;
    kvt_crash_log_fini(&fs->log);
    pthread_mutex_destroy(&fs->mutex);
    free(fs);
}

static int crash_mount(const struct kvt_fs_mount_args *args,
                       struct kvt_fs **out, struct kvt_error *err)
{
    extern const struct kvt_fs_ops kvt_fs_crash;
    struct crash_fs *fs = calloc(1, sizeof *fs);
    if (fs == NULL) {
        return kvt_error_set(err, KVT_ERR_INTERNAL, ENOMEM, args->root, NULL,
                             "no memory to mount the crash wrapper");
    }
    pthread_mutex_init(&fs->mutex, NULL);
    kvt_wrap_init(&fs->wrap, &kvt_fs_crash, &crash_hooks, args);
    int rc = read_tree(fs);
    if (rc != 0) {
        crash_unmount(&fs->wrap.base);
        return kvt_error_set(err, KVT_ERR_FILE_READ_FAIL, -rc, args->root,
                             "the crash wrapper is for small trees",
                             "cannot read what is there already: %s",
                             strerror(-rc));
    }
    *out = &fs->wrap.base;
    return KVT_OK;
}

const struct kvt_fs_ops kvt_fs_crash = {
    KVT_WRAP_OPS,
    KVT_WRAP_BLOCKING,
    .name = "crash",
    .summary = "remembers what a power loss may undo, for tests",
    .mount = crash_mount,
    .unmount = crash_unmount,
};

/* States ------------------------------------------------------------------ */

uint64_t kvt_crash_position(struct kvt_fs *base)
{
    struct crash_fs *fs = (struct crash_fs *)base;
    pthread_mutex_lock(&fs->mutex);
    uint64_t position = fs->log.op_count;
    pthread_mutex_unlock(&fs->mutex);
    return position;
}

uint64_t kvt_crash_start(struct kvt_fs *base)
{
    return ((struct crash_fs *)base)->log.start;
}

size_t kvt_crash_state_count(struct kvt_fs *base, uint64_t position)
{
    struct crash_fs *fs = (struct crash_fs *)base;
    pthread_mutex_lock(&fs->mutex);
    size_t count =
        fs->log.rc == 0 ? kvt_crash_count_states(&fs->log, position) : 0;
    pthread_mutex_unlock(&fs->mutex);
    return count;
}

int kvt_crash_make_state(struct kvt_fs *base, uint64_t position, size_t state,
                         const char *directory)
{
    struct crash_fs *fs = (struct crash_fs *)base;
    pthread_mutex_lock(&fs->mutex);
    int rc = position <= fs->log.op_count ? fs->log.rc : -EINVAL;
    struct kvt_crash_fate *fates =
        rc == 0 ? kvt_crash_fates(&fs->log, position, state) : NULL;
    if (rc == 0) {
        rc = fates != NULL
                 ? kvt_crash_make_tree(&fs->log, position, fates, directory)
                 : -ENOMEM;
    }
    free(fates);
    pthread_mutex_unlock(&fs->mutex);
    return rc;
}

static int describe_op(const struct kvt_crash_log *log, size_t i,
                       const struct kvt_crash_fate *fate, char *text,
                       size_t size)
{
    static const char *const kinds[] = {"name", "move", "write",
                                        "size", "zero", "sync"};
    static const char *const tears[] = {"lost", "cut", "hole", "empty"};
    const struct kvt_crash_op *op = &log->ops[i];
    bool names = op->kind == KVT_CRASH_NAME || op->kind == KVT_CRASH_MOVE;
    bool moves = op->kind == KVT_CRASH_MOVE;
    return snprintf(text, size, "%zu %s %s%s%s%s inode %u, %llu + %llu\n", i,
                    tears[fate->tear], kinds[op->kind], names ? " " : "",
                    names ? log->slots[op->slot].name : "",
                    moves ? log->slots[op->to].name : "", (unsigned)op->inode,
                    (unsigned long long)op->offset,
                    (unsigned long long)op->size);
}

void kvt_crash_describe(struct kvt_fs *base, uint64_t position, size_t state,
                        char *text, size_t size)
{
    struct crash_fs *fs = (struct crash_fs *)base;
    pthread_mutex_lock(&fs->mutex);
    struct kvt_crash_fate *fates =
        position <= fs->log.op_count
            ? kvt_crash_fates(&fs->log, position, state)
            : NULL; /* there is no such state */
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; fates != NULL && i < position && at < size; i++) {
        if (!fates[i].kept || fates[i].tear != KVT_CRASH_WHOLE) {
            int added =
                describe_op(&fs->log, i, &fates[i], text + at, size - at);
            at += added > 0 ? (size_t)added : 0;
        }
    }
    free(fates);
    pthread_mutex_unlock(&fs->mutex);
}
