/* One element by blocking calls. Fetch and publish for adapters that have only
 * open, read, write and close: emulated here, once. */
#include "fs/fs_core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The part of an element that the steps of a whole-file operation share. */
static int64_t step(struct kvt_fs *fs, enum kvt_fs_op op,
                    struct kvt_fs_file *file)
{
    struct kvt_fs_elem elem = {.op = op, .file = file};
    return fs->ops->execute(fs, &elem);
}

static int64_t fetch(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    /* of what is no file, nothing cannot be read either */
    bool sized = (elem->flags & (KVT_FS_WANT_SIZE | KVT_FS_FROM_END)) != 0 ||
                 kvt_fs_elem_bytes(elem) == 0;
    struct kvt_fs_elem open = {.op = KVT_FS_OPEN,
                               .path = elem->path,
                               .flags = sized ? KVT_FS_WANT_SIZE : 0};
    int64_t rc = fs->ops->execute(fs, &open);
    if (rc < 0) {
        return rc;
    }
    struct kvt_fs_elem read = {.op = KVT_FS_READ,
                               .file = open.file,
                               .offset = elem->offset,
                               .slices = elem->slices,
                               .slice_count = elem->slice_count};
    if ((elem->flags & KVT_FS_FROM_END) != 0) {
        read.offset =
            open.file_size > elem->offset ? open.file_size - elem->offset : 0;
    }
    rc = kvt_fs_transfer(fs, &read);
    if (sized) {
        elem->file_size = open.file_size;
    }
    step(fs, KVT_FS_CLOSE, open.file); /* nothing was written: no error */
    return rc;
}

/* Makes the directory that `path` lies in. */
static int make_parent(struct kvt_fs *fs, const char *path)
{
    char parent[KVT_KEY_SIZE_MAX];
    const char *slash = strrchr(path, '/');
    size_t size = slash != NULL ? (size_t)(slash - path) : 0;
    if (size == 0 || size >= sizeof parent) {
        return -ENOENT;
    }
    memcpy(parent, path, size);
    parent[size] = '\0';
    return fs->ops->mkdirs(fs, parent);
}

/* Syncs the directory that `path` lies in, and those above it: each may be
 * new itself. */
static int64_t sync_parents(struct kvt_fs *fs, const char *path)
{
    char parent[KVT_KEY_SIZE_MAX];
    size_t size = strlen(path);
    if (size >= sizeof parent) {
        return -ENAMETOOLONG;
    }
    memcpy(parent, path, size + 1);
    for (;;) {
        char *slash = strrchr(parent, '/');
        if (slash != NULL) {
            *slash = '\0';
        }
        struct kvt_fs_elem sync = {.op = KVT_FS_SYNC,
                                   .path = slash != NULL ? parent : "."};
        int64_t rc = fs->ops->execute(fs, &sync);
        if (rc < 0 || slash == NULL) {
            return rc;
        }
    }
}

static int64_t remove_path(struct kvt_fs *fs, const char *path)
{
    struct kvt_fs_elem elem = {.op = KVT_FS_REMOVE, .path = path};
    return fs->ops->execute(fs, &elem);
}

int64_t kvt_fs_publish_begin(struct kvt_fs *fs, const char *path,
                             struct kvt_fs_file **file)
{
    struct kvt_fs_elem open = {
        .op = KVT_FS_OPEN,
        .path = path,
        .flags = KVT_FS_FOR_WRITE | KVT_FS_CREATE | KVT_FS_EXCLUSIVE,
    };
    int64_t rc = fs->ops->execute(fs, &open);
    if (rc == -ENOENT) {
        rc = make_parent(fs, path);
        rc = rc == 0 ? fs->ops->execute(fs, &open) : rc;
    }
    *file = open.file;
    return rc;
}

/* Writes all slices from the start of the file. Where a mount takes whole
 * blocks only, zeros fill the last one, and are cut off again. */
static int64_t write_whole(struct kvt_fs *fs, struct kvt_fs_file *file,
                           struct kvt_fs_elem *elem)
{
    uint64_t bytes = kvt_fs_elem_bytes(elem);
    uint64_t over = bytes % fs->facts.length_alignment;
    struct kvt_fs_elem write = {.op = KVT_FS_WRITE,
                                .file = file,
                                .slices = elem->slices,
                                .slice_count = elem->slice_count};
    struct kvt_slice *padded = NULL;
    if (over != 0) {
        size_t pad = (size_t)(fs->facts.length_alignment - over);
        size_t slices_size = elem->slice_count * sizeof padded[0];
        padded = calloc(1, slices_size + sizeof padded[0] + pad);
        if (padded == NULL) {
            return -ENOMEM;
        }
        memcpy(padded, elem->slices, slices_size);
        struct kvt_slice *last = &padded[elem->slice_count];
        *last = (struct kvt_slice){last + 1, pad, NULL};
        write.slices = padded;
        write.slice_count++;
    }
    int64_t written = kvt_fs_transfer(fs, &write);
    if (written >= 0 && (uint64_t)written != kvt_fs_elem_bytes(&write)) {
        elem->partial = true;
        written = -EIO;
    }
    if (written >= 0 && over != 0) {
        int rc = kvt_fs_truncate(fs, file, bytes);
        written = rc != 0 ? rc : (int64_t)bytes;
    }
    free(padded);
    return written;
}

/* The temporary file was written: as it has to be before it gets its name, or
 * gone. Returns `written`, or what went wrong now. */
static int64_t settle_temp(struct kvt_fs *fs, const struct kvt_fs_elem *elem,
                           struct kvt_fs_file *file, int64_t written)
{
    int64_t rc = 0;
    /* others are to see it whole when they see its name */
    bool synced = (elem->flags & KVT_FS_DURABLE) != 0 ||
                  fs->facts.visibility == KVT_FS_VISIBLE_AFTER_SYNC;
    if (written >= 0 && synced) {
        rc = step(fs, KVT_FS_DATASYNC, file);
    }
    /* close tells of lost writes, too */
    int64_t closed = step(fs, KVT_FS_CLOSE, file);
    if (written >= 0 && (rc < 0 || closed < 0)) {
        written = rc < 0 ? rc : closed;
    }
    if (written < 0) {
        remove_path(fs, elem->temp_path);
    }
    return written;
}

/* Can the mount give a finished file its name in one step? */
static bool can_switch(const struct kvt_fs_facts *facts, bool replace)
{
    return replace ? facts->atomic_rename
                   : facts->rename_noreplace || facts->hard_links;
}

/* The temporary file becomes `path`, whole, in one step: by a rename or, where
 * a rename cannot keep what is there, by a second name, which can. */
static int64_t switch_name(struct kvt_fs *fs, const struct kvt_fs_elem *elem,
                           bool replace)
{
    if (replace || fs->facts.rename_noreplace) {
        return fs->ops->rename(fs, elem->temp_path, elem->path, replace);
    }
    return kvt_fs_rename_by_link(fs, elem->temp_path, elem->path);
}

bool kvt_fs_can_publish(const struct kvt_fs *fs, const struct kvt_fs_elem *elem)
{
    return can_switch(&fs->facts, (elem->flags & KVT_FS_IF_ABSENT) == 0);
}

int64_t kvt_fs_publish_end(struct kvt_fs *fs, struct kvt_fs_elem *elem,
                           struct kvt_fs_file *file, int64_t written)
{
    bool replace = (elem->flags & KVT_FS_IF_ABSENT) == 0;
    written = settle_temp(fs, elem, file, written);
    if (written < 0) {
        return written;
    }
    int64_t rc = switch_name(fs, elem, replace);
    if (rc == -ENOENT) {
        rc = make_parent(fs, elem->path);
        rc = rc == 0 ? switch_name(fs, elem, replace) : rc;
    }
    if (rc < 0) {
        remove_path(fs, elem->temp_path);
        return rc;
    }
    if ((elem->flags & KVT_FS_DURABLE) != 0) {
        rc = sync_parents(fs, elem->path);
        if (rc < 0) {
            /* it would be there now and perhaps gone later: not published */
            remove_path(fs, elem->path);
            elem->lost = true;
            return rc;
        }
    }
    return written;
}

static int64_t publish(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    struct kvt_fs_file *file;
    if (!kvt_fs_can_publish(fs, elem)) {
        return -EOPNOTSUPP; /* never a file that is seen in part */
    }
    int64_t rc = kvt_fs_publish_begin(fs, elem->temp_path, &file);
    return rc < 0 ? rc
                  : kvt_fs_publish_end(fs, elem, file,
                                       write_whole(fs, file, elem));
}

int64_t kvt_fs_checked_result(struct kvt_fs_elem *elem, int64_t result)
{
    if ((elem->op == KVT_FS_WRITE || elem->op == KVT_FS_PUBLISH) &&
        result >= 0 && (uint64_t)result != kvt_fs_elem_bytes(elem)) {
        elem->partial = true;
        return -EIO;
    }
    return result;
}

int64_t kvt_fs_perform(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    if (!kvt_fs_paths_are_inside(elem)) {
        return -EINVAL;
    }
    if (elem->op == KVT_FS_READ || elem->op == KVT_FS_WRITE) {
        return kvt_fs_checked_result(elem, kvt_fs_transfer(fs, elem));
    }
    if ((elem->flags & KVT_FS_STEP) != 0 && elem->op == KVT_FS_PUBLISH) {
        return kvt_fs_ring_file_step(fs, elem);
    }
    int64_t rc = fs->ops->execute(fs, elem);
    if (rc == -EOPNOTSUPP && elem->op == KVT_FS_FETCH) {
        return fetch(fs, elem);
    }
    if (rc == -EOPNOTSUPP && elem->op == KVT_FS_PUBLISH) {
        return publish(fs, elem);
    }
    return rc;
}
