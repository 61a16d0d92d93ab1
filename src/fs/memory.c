/* Memory that a mount moves without a copy of the core's, and that a transfer
 * which outlives its caller can hold. */
#include "fs/fs_core.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

struct kvt_mem {
    struct kvt_fs *fs;
    void *base;
    size_t size;
    void *cookie;    /* the adapter's */
    bool registered; /* the caller's memory, offered */
    bool adapters;   /* from the adapter's mem_alloc or mem_register */
    pthread_mutex_t mutex;
    /* under mutex */
    size_t holds;
    bool freed; /* gives way when the last hold is over */
    void (*released)(struct kvt_mem *mem, void *arg);
    void *released_arg;
};

static struct kvt_mem *mem_new(struct kvt_fs *fs, void *base, size_t size)
{
    struct kvt_mem *mem = calloc(1, sizeof *mem);
    if (mem != NULL) {
        mem->fs = fs;
        __atomic_fetch_add(&fs->core->open, 1, __ATOMIC_RELEASE);
        mem->base = base;
        mem->size = size;
        pthread_mutex_init(&mem->mutex, NULL);
    }
    return mem;
}

static void mem_delete(struct kvt_mem *mem)
{
    __atomic_fetch_sub(&mem->fs->core->open, 1, __ATOMIC_RELEASE);
    pthread_mutex_destroy(&mem->mutex);
    free(mem);
}

static void mem_destroy(struct kvt_mem *mem)
{
    if (mem->adapters) {
        mem->fs->ops->mem_free(mem->fs, mem->base, mem->size, mem->cookie,
                               mem->registered);
    } else if (!mem->registered) {
        free(mem->base);
    }
    mem_delete(mem);
}

static int allocate(struct kvt_mem *mem)
{
    const struct kvt_fs_ops *ops = mem->fs->ops;
    if (ops->mem_alloc != NULL) {
        mem->adapters = true;
        return ops->mem_alloc(mem->fs, mem->size, &mem->base, &mem->cookie);
    }
    size_t alignment = (size_t)sysconf(_SC_PAGESIZE);
    if (alignment < mem->fs->facts.memory_alignment) {
        alignment = mem->fs->facts.memory_alignment;
    }
    return -posix_memalign(&mem->base, alignment, mem->size);
}

int kvt_mem_alloc(struct kvt_fs *fs, size_t size, struct kvt_mem **out)
{
    if (size == 0) {
        return -EINVAL;
    }
    struct kvt_mem *mem = mem_new(fs, NULL, size);
    if (mem == NULL) {
        return -ENOMEM;
    }
    int rc = allocate(mem);
    if (rc != 0) {
        mem_delete(mem);
        return rc;
    }
    *out = mem;
    return 0;
}

int kvt_mem_register(struct kvt_fs *fs, void *base, size_t size,
                     struct kvt_mem **out)
{
    if (base == NULL || size == 0) {
        return -EINVAL;
    }
    struct kvt_mem *mem = mem_new(fs, base, size);
    if (mem == NULL) {
        return -ENOMEM;
    }
    mem->registered = true;
    int rc = 0;
    if (fs->ops->mem_register != NULL) {
        mem->adapters = true;
        rc = fs->ops->mem_register(fs, base, size, &mem->cookie);
    }
    if (rc != 0) {
        mem_delete(mem);
        return rc;
    }
    *out = mem;
    return 0;
}

void *kvt_mem_base(const struct kvt_mem *mem)
{
    return mem->base;
}

size_t kvt_mem_size(const struct kvt_mem *mem)
{
    return mem->size;
}

void *kvt_mem_cookie(const struct kvt_mem *mem)
{
    return mem->cookie;
}

bool kvt_mem_is_ours(const struct kvt_mem *mem)
{
    return !mem->registered;
}

/* Holds ------------------------------------------------------------------- */

void kvt_mem_hold(struct kvt_mem *mem)
{
    pthread_mutex_lock(&mem->mutex);
    mem->holds++;
    pthread_mutex_unlock(&mem->mutex);
}

void kvt_mem_unhold(struct kvt_mem *mem)
{
    pthread_mutex_lock(&mem->mutex);
    mem->holds--;
    bool over = mem->holds == 0;
    bool destroy = over && mem->freed;
    void (*released)(struct kvt_mem *, void *) = over ? mem->released : NULL;
    void *arg = mem->released_arg;
    if (over) {
        mem->released = NULL;
    }
    pthread_mutex_unlock(&mem->mutex);
    if (released != NULL) {
        released(mem, arg);
    }
    if (destroy) {
        mem_destroy(mem);
    }
}

bool kvt_mem_is_held(const struct kvt_mem *mem)
{
    struct kvt_mem *lockable = (struct kvt_mem *)(uintptr_t)mem;
    pthread_mutex_lock(&lockable->mutex);
    bool held = mem->holds > 0;
    pthread_mutex_unlock(&lockable->mutex);
    return held;
}

void kvt_mem_on_release(struct kvt_mem *mem,
                        void (*released)(struct kvt_mem *mem, void *arg),
                        void *arg)
{
    pthread_mutex_lock(&mem->mutex);
    bool now = mem->holds == 0;
    mem->released = now ? NULL : released;
    mem->released_arg = arg;
    pthread_mutex_unlock(&mem->mutex);
    if (now && released != NULL) {
        released(mem, arg);
    }
}

void kvt_mem_free(struct kvt_mem *mem)
{
    if (mem == NULL) {
        return;
    }
    pthread_mutex_lock(&mem->mutex);
    bool held = mem->holds > 0;
    mem->freed = held;
    pthread_mutex_unlock(&mem->mutex);
    if (!held) {
        mem_destroy(mem);
    }
}
