#include "support/script_fs.h"

#include "support/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct script_file {
    struct kvt_fs_file base;
    struct script_inode *inode;
};

static struct script_fs *script_of(struct kvt_fs *fs)
{
    return (struct script_fs *)fs;
}

struct script_inode *script_fs_find(struct script_fs *script, const char *path)
{
    for (size_t i = 0; i < SCRIPT_FILES; i++) {
        if (strcmp(script->files[i].path, path) == 0) {
            return &script->files[i];
        }
    }
    return NULL;
}

bool script_fs_has_dir(const struct script_fs *script, const char *path)
{
    for (size_t i = 0; i < SCRIPT_DIRS; i++) {
        if (strcmp(script->dirs[i], path) == 0) {
            return true;
        }
    }
    return strcmp(path, ".") == 0;
}

static bool has_parent(const struct script_fs *script, const char *path)
{
    char parent[64];
    const char *slash = strrchr(path, '/');

    if (slash == NULL) {
        return true;
    }
    snprintf(parent, sizeof parent, "%.*s", (int)(slash - path), path);
    return script_fs_has_dir(script, parent);
}

static struct script_inode *make_file(struct script_fs *script,
                                      const char *path)
{
    for (size_t i = 0; i < SCRIPT_FILES; i++) {
        struct script_inode *inode = &script->files[i];

        if (inode->path[0] == '\0' && inode->handles == 0) {
            memset(inode, 0, sizeof *inode);
            inode->synced_size = SIZE_MAX;
            snprintf(inode->path, sizeof inode->path, "%s", path);
            return inode;
        }
    }
    fail_msg("no room for %s", path);
    return NULL;
}

void script_fs_put(struct script_fs *script, const char *path, const char *text)
{
    struct script_inode *inode = make_file(script, path);

    inode->size = strlen(text);
    memcpy(inode->bytes, text, inode->size);
}

/* Logs a call. Non-zero when the script lets it fail. */
static int begin(struct script_fs *script, const char *call, const char *path)
{
    size_t at = strlen(script->log);

    snprintf(script->log + at, sizeof script->log - at, "%s%s%s; ", call,
             path != NULL ? " " : "", path != NULL ? path : "");
    script->calls++;
    return script->calls == script->fail_at ? script->fail_rc : 0;
}

/* The operations ---------------------------------------------------------- */

static int64_t script_open(struct script_fs *script, struct kvt_fs_elem *elem)
{
    struct script_inode *inode = script_fs_find(script, elem->path);

    if (inode != NULL && (elem->flags & KVT_FS_EXCLUSIVE) != 0) {
        return -EEXIST;
    }
    if (inode == NULL) {
        if ((elem->flags & KVT_FS_CREATE) == 0 ||
            !has_parent(script, elem->path)) {
            return -ENOENT;
        }
        inode = make_file(script, elem->path);
    }
    struct script_file *file = malloc(sizeof *file);
    assert_non_null(file);
    file->base.fs = &script->fs;
    file->inode = inode;
    inode->handles++;
    script->handles++;
    if ((elem->flags & KVT_FS_WANT_SIZE) != 0) {
        elem->file_size = inode->size;
    }
    elem->file = &file->base;
    return 0;
}

static void script_close(struct script_fs *script, struct kvt_fs_file *base)
{
    struct script_file *file = (struct script_file *)base;

    file->inode->handles--;
    script->handles--;
    free(file);
}

static int64_t script_transfer(struct script_fs *script,
                               struct kvt_fs_elem *elem)
{
    struct script_inode *inode = ((struct script_file *)elem->file)->inode;
    bool write = elem->op == KVT_FS_WRITE;
    size_t at = (size_t)elem->offset;
    size_t start = at;

    for (uint32_t i = 0; i < elem->slice_count; i++) {
        size_t size = elem->slices[i].size;

        if (!write && at + size > inode->size) {
            size = at < inode->size ? inode->size - at : 0;
        }
        if (size == 0) {
            continue;
        }
        assert_true(at + size <= SCRIPT_BYTES);
        memcpy(write ? (void *)(inode->bytes + at) : elem->slices[i].base,
               write ? elem->slices[i].base : (void *)(inode->bytes + at),
               size);
        at += size;
    }
    if (write && at > inode->size) {
        inode->size = at;
    }
    return (int64_t)(at - start - (write ? script->short_by : 0));
}

static int64_t do_work(struct script_fs *script, struct kvt_fs_elem *elem)
{
    switch (elem->op) {
    case KVT_FS_OPEN:
        return script_open(script, elem);
    case KVT_FS_READ:
    case KVT_FS_WRITE:
        return script_transfer(script, elem);
    case KVT_FS_DATASYNC: {
        struct script_inode *inode = ((struct script_file *)elem->file)->inode;
        inode->synced_size = inode->size;
        return 0;
    }
    case KVT_FS_SYNC:
        assert_true(script_fs_has_dir(script, elem->path));
        return 0;
    case KVT_FS_CLOSE:
        return 0; /* done by the caller */
    case KVT_FS_REMOVE: {
        struct script_inode *inode = script_fs_find(script, elem->path);
        if (inode == NULL) {
            return -ENOENT;
        }
        inode->path[0] = '\0';
        return 0;
    }
    default:
        fail_msg("operation %d is none of this adapter", (int)elem->op);
        return -EINVAL;
    }
}

static int64_t script_execute(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    static const char *const names[KVT_FS_OP_COUNT] = {
        [KVT_FS_READ] = "read",         [KVT_FS_WRITE] = "write",
        [KVT_FS_DATASYNC] = "datasync", [KVT_FS_SYNC] = "sync",
        [KVT_FS_PUNCH] = "punch",       [KVT_FS_OPEN] = "open",
        [KVT_FS_CLOSE] = "close",       [KVT_FS_STAT] = "stat",
        [KVT_FS_REMOVE] = "remove",
    };
    struct script_fs *script = script_of(fs);

    if (elem->op == KVT_FS_FETCH || elem->op == KVT_FS_PUBLISH) {
        return -EOPNOTSUPP; /* the core's work, not a call of it */
    }
    int failure = begin(script, names[elem->op], elem->path);
    if (elem->op == KVT_FS_CLOSE) { /* frees the file whatever comes of it */
        script_close(script, elem->file);
    }
    return failure != 0 ? failure : do_work(script, elem);
}

static int script_rename(struct kvt_fs *fs, const char *from, const char *to,
                         bool replace)
{
    struct script_fs *script = script_of(fs);
    int failure = begin(script, replace ? "rename" : "rename_noreplace", to);
    struct script_inode *inode = script_fs_find(script, from);
    struct script_inode *old = script_fs_find(script, to);

    if (failure != 0) {
        return failure;
    }
    if (inode == NULL || !has_parent(script, to)) {
        return -ENOENT;
    }
    if (old != NULL && !replace) {
        return -EEXIST;
    }
    if (old != NULL) {
        old->path[0] = '\0';
    }
    snprintf(inode->path, sizeof inode->path, "%s", to);
    return 0;
}

static int script_mkdirs(struct kvt_fs *fs, const char *path)
{
    struct script_fs *script = script_of(fs);
    int failure = begin(script, "mkdirs", path);

    if (failure != 0) {
        return failure;
    }
    for (const char *at = path; at != NULL; at = strchr(at + 1, '/')) {
        /* every parent: "a", "a/b" ... */
        const char *end = strchr(at + 1, '/');
        char name[64];

        snprintf(name, sizeof name, "%.*s",
                 end != NULL ? (int)(end - path) : (int)strlen(path), path);
        for (size_t i = 0; i < SCRIPT_DIRS && !script_fs_has_dir(script, name);
             i++) {
            if (script->dirs[i][0] == '\0') {
                memcpy(script->dirs[i], name, sizeof name);
            }
        }
    }
    return 0;
}

static const struct kvt_fs_ops ops = {
    .size = sizeof(struct kvt_fs_ops),
    .version = KVT_FS_VERSION,
    .name = "script",
    .execute = script_execute,
    .rename = script_rename,
    .mkdirs = script_mkdirs,
};

void script_fs_init(struct script_fs *script)
{
    memset(script, 0, sizeof *script);
    script->fs.ops = &ops;
    script->fs.core = &script->core;
    script->fs.facts = (struct kvt_fs_facts){
        .size = sizeof script->fs.facts,
        .depth = 1,
        .offset_alignment = 1,
        .length_alignment = 1,
        .memory_alignment = 1,
        .slices_max = UINT32_MAX,
        .transfer_max = UINT64_MAX,
        .atomic_rename = true,
        .rename_noreplace = true,
    };
}
