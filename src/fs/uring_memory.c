/* Memory that rings know: the kernel looks up and pins its pages once, not for
 * every transfer. A ring learns of it when it first uses it, and forgets it at
 * once when it is freed: pages that are pinned are not given back, and another
 * memory at the same address would not be the one that is transferred.
 *
 * What cannot be registered is transferred as any memory.
 *
 * A forked child has the rings of its parent: what it frees stays registered,
 * for the parent, and nothing of its own is. */
#define _GNU_SOURCE
#include "fs/uring.h"

#include "core/process.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    PIECE_MAX = 1 << 30 /* the kernel's limit of one registration */
};

/* Also of `memory_mutex`: whoever held it is not in the child. */
static bool is_parents(const struct uring_fs *fs)
{
    return fs->forks != kvt_process_forks();
}

static void changed(struct uring_fs *fs)
{
    __atomic_fetch_add(&fs->generation, 1, __ATOMIC_RELEASE);
}

static bool add_region(struct uring_fs *fs, char *base, size_t size)
{
    for (size_t i = 0; i < URING_REGIONS_MAX; i++) {
        if (fs->regions[i].size == 0) {
            fs->regions[i] = (struct uring_region){base, size};
            fs->registered += size;
            return true;
        }
    }
    return false;
}

static void add_memory(struct uring_fs *fs, char *base, size_t size)
{
    bool all = true;
    if (is_parents(fs)) {
        return;
    }
    pthread_mutex_lock(&fs->memory_mutex);
    while (size > 0 && all) {
        size_t piece = size < PIECE_MAX ? size : PIECE_MAX;
        all = piece <= fs->registered_max - fs->registered &&
              add_region(fs, base, piece);
        base += piece;
        size -= piece;
    }
    changed(fs);
    pthread_mutex_unlock(&fs->memory_mutex);
}

/* A ring takes the slot's memory, or forgets it; fs->memory_mutex is held. */
static int update(struct uring_queue *queue, size_t i,
                  const struct uring_region *region)
{
    struct iovec piece = {region->base, region->size};
    int rc = io_uring_register_buffers_update_tag(&queue->ring, (unsigned)i,
                                                  &piece, NULL, 1);
    queue->registered[i] = rc >= 0 && region->size > 0;
    return rc < 0 ? rc : 0;
}

static void remove_memory(struct uring_fs *fs, const char *base, size_t size)
{
    static const struct uring_region none = {NULL, 0};
    if (is_parents(fs)) {
        return;
    }
    pthread_mutex_lock(&fs->memory_mutex);
    for (size_t i = 0; i < URING_REGIONS_MAX; i++) {
        struct uring_region *region = &fs->regions[i];
        if (region->size == 0 || region->base < base ||
            region->base >= base + size) {
            continue;
        }
        for (struct uring_queue *at = fs->queues; at != NULL; at = at->next) {
            if (at->registered[i]) {
                update(at, i, &none);
            }
        }
        fs->registered -= region->size;
        *region = none;
    }
    changed(fs);
    pthread_mutex_unlock(&fs->memory_mutex);
}

/* The ring's side --------------------------------------------------------- */

void kvt_uring_memory_join(struct uring_queue *queue)
{
    struct uring_fs *fs = queue->fs;
    if (is_parents(fs)) {
        queue->generation = fs->generation; /* of no memory */
        return;
    }
    pthread_mutex_lock(&fs->memory_mutex);
    queue->next = fs->queues;
    queue->at = &fs->queues;
    if (queue->next != NULL) {
        queue->next->at = &queue->next;
    }
    fs->queues = queue;
    pthread_mutex_unlock(&fs->memory_mutex);
}

void kvt_uring_memory_leave(struct uring_queue *queue)
{
    struct uring_fs *fs = queue->fs;
    if (is_parents(fs)) {
        return;
    }
    pthread_mutex_lock(&fs->memory_mutex);
    *queue->at = queue->next;
    if (queue->next != NULL) {
        queue->next->at = queue->at;
    }
    pthread_mutex_unlock(&fs->memory_mutex);
    if (queue->has_buffers) {
        /* now, not when the kernel gets round to it: others need the limit */
        io_uring_unregister_buffers(&queue->ring);
    }
}

static int register_region(struct uring_queue *queue, size_t i)
{
    if (!queue->has_buffers) {
        int rc =
            io_uring_register_buffers_sparse(&queue->ring, URING_REGIONS_MAX);
        if (rc != 0) {
            return rc;
        }
        queue->has_buffers = true;
    }
    return update(queue, i, &queue->regions[i]);
}

static const char *why_not(int rc)
{
    return rc == -ENOMEM
               ? "memory is not registered with the rings, which costs CPU "
                 "time: no more may be locked (ulimit -l)"
               : "memory is not registered with the rings, which costs CPU "
                 "time: the kernel refuses it";
}

/* Takes over what changed. */
static void refresh(struct uring_queue *queue)
{
    struct uring_fs *fs = queue->fs;
    pthread_mutex_lock(&fs->memory_mutex);
    queue->generation = fs->generation;
    for (size_t i = 0; i < URING_REGIONS_MAX; i++) {
        queue->regions[i] = fs->regions[i];
        int rc = 0;
        if (queue->regions[i].size > 0 && !queue->registered[i]) {
            rc = register_region(queue, i);
        }
        if (rc != 0) {
            queue->regions[i].size = 0;
            kvt_uring_fell_back(fs, why_not(rc));
        }
    }
    pthread_mutex_unlock(&fs->memory_mutex);
}

static bool holds(const struct uring_region *region, const char *base,
                  size_t size)
{
    return base >= region->base && size <= region->size &&
           (size_t)(base - region->base) <= region->size - size;
}

int kvt_uring_buffer(struct uring_queue *queue, const void *base, size_t size)
{
    struct uring_fs *fs = queue->fs;
    if (queue->generation !=
        __atomic_load_n(&fs->generation, __ATOMIC_ACQUIRE)) {
        refresh(queue);
    }
    if (!queue->has_buffers) {
        return -1;
    }
    if (holds(&queue->regions[queue->last_region], base, size)) {
        return (int)queue->last_region;
    }
    for (size_t i = 0; i < URING_REGIONS_MAX; i++) {
        if (holds(&queue->regions[i], base, size)) {
            queue->last_region = i;
            return (int)i;
        }
    }
    return -1;
}

bool kvt_uring_buffer_is_lost(struct uring_queue *queue,
                              const struct uring_io *io, int64_t result)
{
    if (result != -EFAULT || io->buffer < 0) {
        return false;
    }
    queue->regions[io->buffer].size = 0;
    kvt_uring_fell_back(queue->fs,
                        "memory is not registered with a ring any more, which "
                        "costs CPU time: another process has changed it");
    return true;
}

/* The table's members ----------------------------------------------------- */

int kvt_uring_mem_alloc(struct kvt_fs *fs, size_t size, void **base,
                        void **cookie)
{
    size_t alignment = (size_t)sysconf(_SC_PAGESIZE);
    if (alignment < fs->facts.memory_alignment) {
        alignment = fs->facts.memory_alignment;
    }
    int rc = -posix_memalign(base, alignment, size);
    if (rc == 0) {
        add_memory((struct uring_fs *)fs, *base, size);
        *cookie = NULL;
    }
    return rc;
}

int kvt_uring_mem_register(struct kvt_fs *fs, void *base, size_t size,
                           void **cookie)
{
    add_memory((struct uring_fs *)fs, base, size);
    *cookie = NULL;
    return 0;
}

void kvt_uring_mem_free(struct kvt_fs *fs, void *base, size_t size,
                        void *cookie, bool registered)
{
    (void)cookie;
    remove_memory((struct uring_fs *)fs, base, size);
    if (!registered) {
        free(base);
    }
}
