#define _GNU_SOURCE
#include "fs/uring.h"

#include "core/config.h"
#include "core/process.h"

#include <errno.h>
#include <stdlib.h>

extern const struct kvt_fs_ops kvt_fs_uring;

/* The mount works as posix then, but under the name that was asked for. */
static int uring_mount(const struct kvt_fs_mount_args *args,
                       struct kvt_fs **out, struct kvt_error *err);
static void uring_unmount(struct kvt_fs *base);

static const struct kvt_fs_ops without_ring = {
    .size = sizeof(struct kvt_fs_ops),
    .version = KVT_FS_VERSION,
    .name = "uring",
    .summary = "a directory of a mounted file system, without a ring",
    .mount = uring_mount,
    .unmount = uring_unmount,
    .try_now = kvt_posix_try_now,
    KVT_POSIX_CALLS,
};

void kvt_uring_fell_back(struct uring_fs *fs, const char *reason)
{
    const char **place = &fs->posix.base.fallback_reason;
    const char *none = NULL;
    __atomic_compare_exchange_n(place, &none, reason, false, __ATOMIC_RELEASE,
                                __ATOMIC_RELAXED); /* the first is told */
}

static void set_up(struct uring_fs *fs, const struct kvt_config *config)
{
    struct kvt_fs_facts *facts = &fs->posix.base.facts;
    fs->registered_max = kvt_config_u64(config, "uring.registered_max");
    facts->io_uring = true;
    facts->depth = fs->depth;
    fs->posix.base.ops = &kvt_fs_uring;
    pthread_mutex_init(&fs->waker_mutex, NULL);
    pthread_mutex_init(&fs->memory_mutex, NULL);
}

static int uring_mount(const struct kvt_fs_mount_args *args,
                       struct kvt_fs **out, struct kvt_error *err)
{
    struct uring_fs *fs = calloc(1, sizeof *fs);
    if (fs == NULL) {
        return kvt_error_set(err, KVT_ERR_INTERNAL, ENOMEM, args->root, NULL,
                             "no memory to mount");
    }
    fs->depth = (uint32_t)kvt_config_u64(args->config, "uring.queue_depth");
    fs->forks = kvt_process_forks();
    const char *reason = kvt_uring_probe(fs);
    int rc = kvt_posix_init(&fs->posix, args, reason == NULL, err);
    if (rc != KVT_OK) {
        if (reason == NULL) {
            kvt_uring_ring_close(&fs->waker);
        }
        free(fs);
        return rc;
    }
    if (reason == NULL) {
        set_up(fs, args->config);
    } else {
        fs->posix.base.ops = &without_ring;
        kvt_uring_fell_back(fs, reason);
    }
    *out = &fs->posix.base;
    return KVT_OK;
}

static void uring_unmount(struct kvt_fs *base)
{
    struct uring_fs *fs = (struct uring_fs *)base;
    if (base->facts.io_uring) {
        kvt_uring_ring_close(&fs->waker);
        pthread_mutex_destroy(&fs->waker_mutex);
        pthread_mutex_destroy(&fs->memory_mutex);
    }
    kvt_posix_fini(&fs->posix);
    free(fs);
}

const struct kvt_fs_ops kvt_fs_uring = {
    .size = sizeof(struct kvt_fs_ops),
    .version = KVT_FS_VERSION,
    .name = "uring",
    .summary = "a directory of a mounted file system, by io_uring",
    .mount = uring_mount,
    .unmount = uring_unmount,
    .queue = &kvt_uring_queue,
    .mem_alloc = kvt_uring_mem_alloc,
    .mem_register = kvt_uring_mem_register,
    .mem_free = kvt_uring_mem_free,
    KVT_POSIX_CALLS,
};
