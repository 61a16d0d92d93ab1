/* One wrapper per control call: what holds for every adapter is checked and
 * emulated here, once. */
#include "fs/fs_core.h"

#include <errno.h>
#include <string.h>

const struct kvt_fs_facts *kvt_fs_facts(const struct kvt_fs *fs)
{
    return &fs->facts;
}

const char *kvt_fs_name(const struct kvt_fs *fs)
{
    return fs->core->name;
}

const char *kvt_fs_fallback_reason(const struct kvt_fs *fs)
{
    const char *reason = NULL;
    for (; fs != NULL && reason == NULL; fs = fs->core->inner) {
        reason = __atomic_load_n(&fs->fallback_reason, __ATOMIC_ACQUIRE);
    }
    return reason != NULL ? reason : "";
}

uint64_t kvt_fs_elem_bytes(const struct kvt_fs_elem *elem)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < elem->slice_count; i++) {
        bytes += elem->slices[i].size;
    }
    return bytes;
}

/* Paths stay below the root: no leading slash, no "..". */
static bool path_is_inside(const char *path)
{
    if (path[0] == '/' || path[0] == '\0') {
        return false;
    }
    for (const char *at = path; at != NULL; at = strchr(at, '/')) {
        at += *at == '/';
        if (strncmp(at, "..", 2) == 0 && (at[2] == '/' || at[2] == '\0')) {
            return false;
        }
    }
    return true;
}

bool kvt_fs_paths_are_inside(const struct kvt_fs_elem *elem)
{
    return (elem->path == NULL || path_is_inside(elem->path)) &&
           (elem->temp_path == NULL || path_is_inside(elem->temp_path));
}

int kvt_fs_probe(struct kvt_fs *fs)
{
    return kvt_fs_prober_ask(fs->core->prober);
}

int kvt_fs_mkdirs(struct kvt_fs *fs, const char *path)
{
    return path_is_inside(path) ? fs->ops->mkdirs(fs, path) : -EINVAL;
}

int kvt_fs_list(struct kvt_fs *fs, const char *path, bool sizes,
                kvt_fs_list_fn each, void *arg)
{
    return path_is_inside(path) ? fs->ops->list(fs, path, sizes, each, arg)
                                : -EINVAL;
}

static int remove_file(struct kvt_fs *fs, const char *path)
{
    struct kvt_fs_elem remove = {.op = KVT_FS_REMOVE, .path = path};
    return (int)kvt_fs_run(fs, &remove);
}

int kvt_fs_rename_by_link(struct kvt_fs *fs, const char *from, const char *to)
{
    int rc = kvt_fs_link(fs, from, to);
    if (rc != 0) {
        return rc;
    }
    rc = remove_file(fs, from);
    if (rc != 0 && rc != -ENOENT) { /* not half-done: one name, the old one */
        remove_file(fs, to);
        return rc;
    }
    return 0;
}

int kvt_fs_rename(struct kvt_fs *fs, const char *from, const char *to,
                  bool replace)
{
    bool inside = path_is_inside(from) && path_is_inside(to);
    if (inside && !replace && !fs->facts.rename_noreplace) {
        return kvt_fs_rename_by_link(fs, from, to);
    }
    return inside ? fs->ops->rename(fs, from, to, replace) : -EINVAL;
}

int kvt_fs_rmdir(struct kvt_fs *fs, const char *path)
{
    return path_is_inside(path) ? fs->ops->rmdir(fs, path) : -EINVAL;
}

int kvt_fs_usage(struct kvt_fs *fs, struct kvt_fs_usage *usage)
{
    return fs->ops->usage(fs, usage);
}

/* A directory whose names are being removed; all levels share `path`. */
struct removal {
    struct kvt_fs *fs;
    size_t size; /* of the path so far */
    char path[4096];
};

static int remove_below(struct removal *removal);

static int remove_name(struct removal *removal)
{
    return remove_file(removal->fs, removal->path);
}

static int remove_one(const struct kvt_fs_dirent *entry, void *arg)
{
    struct removal *removal = arg;
    size_t above = removal->size;
    size_t name = strlen(entry->name);
    if (above + 1 + name >= sizeof removal->path) {
        return -ENAMETOOLONG;
    }
    removal->path[above] = '/';
    memcpy(removal->path + above + 1, entry->name, name + 1);
    removal->size = above + 1 + name;
    int rc = entry->type == KVT_FS_TYPE_DIRECTORY ? remove_below(removal)
                                                  : remove_name(removal);
    removal->size = above;
    removal->path[above] = '\0';
    return rc == -ENOENT ? 0 : rc;
}

/* What is no directory, or is none any more, goes as a file does: a link is
 * never followed. */
static int remove_below(struct removal *removal)
{
    const struct kvt_fs_ops *ops = removal->fs->ops;
    int rc = ops->list(removal->fs, removal->path, false, remove_one, removal);
    if (rc == -ENOTDIR || rc == -ELOOP) {
        return remove_name(removal);
    }
    return rc == 0 ? ops->rmdir(removal->fs, removal->path) : rc;
}

int kvt_fs_remove_tree(struct kvt_fs *fs, const char *path)
{
    struct removal removal = {.fs = fs, .size = strlen(path)};
    if (!path_is_inside(path)) {
        return -EINVAL;
    }
    if (fs->ops->remove_tree != NULL) {
        return fs->ops->remove_tree(fs, path);
    }
    if (removal.size >= sizeof removal.path) {
        return -ENAMETOOLONG;
    }
    memcpy(removal.path, path, removal.size + 1);
    int rc = remove_below(&removal);
    return rc == -ENOENT ? 0 : rc;
}

int kvt_fs_link(struct kvt_fs *fs, const char *from, const char *to)
{
    if (!path_is_inside(from) || !path_is_inside(to)) {
        return -EINVAL;
    }
    return fs->ops->link != NULL ? fs->ops->link(fs, from, to) : -EOPNOTSUPP;
}

int kvt_fs_truncate(struct kvt_fs *fs, struct kvt_fs_file *file, uint64_t size)
{
    return fs->ops->truncate != NULL ? fs->ops->truncate(fs, file, size)
                                     : -EOPNOTSUPP;
}

int kvt_fs_allocate(struct kvt_fs *fs, struct kvt_fs_file *file, uint64_t size)
{
    return fs->ops->allocate != NULL ? fs->ops->allocate(fs, file, size)
                                     : -EOPNOTSUPP;
}

int kvt_fs_advise(struct kvt_fs *fs, struct kvt_fs_file *file, uint64_t offset,
                  uint64_t size, enum kvt_fs_advice advice)
{
    return fs->ops->advise != NULL
               ? fs->ops->advise(fs, file, offset, size, advice)
               : 0;
}

int kvt_fs_lock(struct kvt_fs *fs, const char *path, const char *holder,
                char *owner, size_t owner_size, struct kvt_fs_lock **lock)
{
    if (!path_is_inside(path)) {
        return -EINVAL;
    }
    owner[0] = '\0';
    return fs->ops->lock(fs, path, holder, owner, owner_size, lock);
}

void kvt_fs_unlock(struct kvt_fs_lock *lock)
{
    if (lock != NULL) {
        lock->fs->ops->unlock(lock);
    }
}

void kvt_fs_counters(const struct kvt_fs *fs, struct kvt_fs_counters *counters)
{
    struct kvt_fs_core *core = fs->core;
    counters->submissions =
        __atomic_load_n(&core->submissions, __ATOMIC_RELAXED);
    counters->transfers = __atomic_load_n(&core->transfers, __ATOMIC_RELAXED);
    counters->bytes_copied = 0;
    for (const struct kvt_fs *at = fs; at != NULL; at = at->core->inner) {
        counters->bytes_copied +=
            __atomic_load_n(&at->core->bytes_copied, __ATOMIC_RELAXED);
    }
    counters->in_flight_max =
        __atomic_load_n(&core->in_flight_max, __ATOMIC_RELAXED);
}

/* A ring costs more to make than most elements that run alone on one: their
 * queues are kept. */
static int take_spare(struct kvt_fs *fs, struct kvt_fs_queue **queue)
{
    for (size_t i = 0; i < KVT_FS_SPARE_QUEUES; i++) {
        *queue =
            __atomic_exchange_n(&fs->core->spare[i], NULL, __ATOMIC_ACQUIRE);
        if (*queue != NULL) {
            return 0;
        }
    }
    struct kvt_fs_queue_options options = {sizeof options, 1, true};
    return kvt_fs_queue_open(fs, &options, queue);
}

static void give_spare(struct kvt_fs *fs, struct kvt_fs_queue *queue)
{
    for (size_t i = 0; i < KVT_FS_SPARE_QUEUES; i++) {
        struct kvt_fs_queue *none = NULL;
        if (__atomic_compare_exchange_n(&fs->core->spare[i], &none, queue,
                                        false, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED)) {
            return;
        }
    }
    kvt_fs_queue_close(queue);
}

void kvt_fs_close_spare(struct kvt_fs *fs)
{
    for (size_t i = 0; i < KVT_FS_SPARE_QUEUES; i++) {
        kvt_fs_queue_close(fs->core->spare[i]);
        fs->core->spare[i] = NULL;
    }
}

static void run_on(struct kvt_fs_queue *queue, struct kvt_fs_elem *elem)
{
    elem->flags &= ~(uint32_t)KVT_FS_THEN;
    elem->done = NULL;
    kvt_fs_submit(queue, elem, 1);
    while (kvt_fs_in_flight(queue) > 0 || kvt_fs_lingering(queue) > 0) {
        kvt_fs_poll(queue, 1, 0);
    }
}

int64_t kvt_fs_run(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    bool waits = elem->deadline_ns == 0;
    if (waits && !kvt_fs_ring_takes(fs, elem)) {
        elem->result = kvt_fs_perform(fs, elem);
        return elem->result;
    }
    struct kvt_fs_queue *queue;
    struct kvt_fs_queue_options options = {sizeof options, 1, false};
    int rc = waits ? take_spare(fs, &queue)
                   : kvt_fs_queue_open(fs, &options, &queue);
    if (rc != 0 && fs->ops->execute != NULL) {
        /* without memory for a queue files are closed all the same */
        elem->result = kvt_fs_perform(fs, elem);
        return elem->result;
    }
    if (rc != 0) {
        return rc;
    }
    run_on(queue, elem);
    if (waits) {
        give_spare(fs, queue);
    } else {
        kvt_fs_queue_close(queue);
    }
    return elem->result;
}
