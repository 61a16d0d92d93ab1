/* What ThreadSanitizer cannot see: rings are mapped and unmapped by system
 * calls of liburing's own, and the kernel reads and writes the memory of
 * transfers. In other builds these do nothing. */
#ifndef KVT_FS_URING_TSAN_H
#define KVT_FS_URING_TSAN_H

#include <kvtier/fs.h>

#ifndef __has_feature
#define __has_feature(feature) 0
#endif

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)

void __tsan_acquire(void *address);
void __tsan_release(void *address);
void __tsan_read_range(void *address, unsigned long size);
void __tsan_write_range(void *address, unsigned long size);

/* A ring that is unmapped comes before any that is mapped in its place. */
static inline void kvt_tsan_ring_mapped(void *rings)
{
    __tsan_acquire(rings);
}

static inline void kvt_tsan_ring_unmapped(void *rings)
{
    __tsan_release(rings);
}

/* The kernel works on an element's memory from its start to its end. */
static inline void kvt_tsan_memory_used(const struct kvt_fs_elem *elem)
{
    bool moves = elem->op == KVT_FS_READ || elem->op == KVT_FS_WRITE ||
                 elem->op == KVT_FS_FETCH;
    for (uint32_t i = 0; moves && i < elem->slice_count; i++) {
        const struct kvt_slice *slice = &elem->slices[i];
        if (elem->op == KVT_FS_WRITE) {
            __tsan_read_range(slice->base, slice->size);
        } else {
            __tsan_write_range(slice->base, slice->size);
        }
    }
}

#else

static inline void kvt_tsan_ring_mapped(void *rings)
{
    (void)rings;
}

static inline void kvt_tsan_ring_unmapped(void *rings)
{
    (void)rings;
}

static inline void kvt_tsan_memory_used(const struct kvt_fs_elem *elem)
{
    (void)elem;
}

#endif

#endif
