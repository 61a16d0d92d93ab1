/* What ThreadSanitizer and valgrind cannot see: rings are mapped and unmapped
 * by system calls of liburing's own, and the kernel reads and writes the memory
 * of transfers. In other builds, and without them, these do nothing. */
#ifndef KVT_FS_URING_TOOLS_H
#define KVT_FS_URING_TOOLS_H

#include <kvtier/fs.h>

#ifndef __has_feature
#define __has_feature(feature) 0
#endif

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define VALGRIND_MAKE_MEM_DEFINED(address, size) ((void)(address), (void)(size))
#endif

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
void __tsan_acquire(void *address);
void __tsan_release(void *address);
void __tsan_read_range(void *address, unsigned long size);
void __tsan_write_range(void *address, unsigned long size);
#else
#define __tsan_acquire(address) ((void)(address))
#define __tsan_release(address) ((void)(address))
#define __tsan_read_range(address, size) ((void)(address), (void)(size))
#define __tsan_write_range(address, size) ((void)(address), (void)(size))
#endif

/* A ring that is unmapped comes before any that is mapped in its place. */
static inline void kvt_tools_ring_mapped(void *rings)
{
    __tsan_acquire(rings);
}

static inline void kvt_tools_ring_unmapped(void *rings)
{
    __tsan_release(rings);
}

/* The kernel works on an element's memory: told when that begins, and when it
 * is over. */
static inline void kvt_tools_memory_used(const struct kvt_fs_elem *elem)
{
    bool reads = elem->op == KVT_FS_READ;
    bool writes = elem->op == KVT_FS_WRITE;
    for (uint32_t i = 0; (reads || writes) && i < elem->slice_count; i++) {
        const struct kvt_slice *slice = &elem->slices[i];
        if (writes) {
            __tsan_read_range(slice->base, slice->size);
        } else {
            __tsan_write_range(slice->base, slice->size);
            VALGRIND_MAKE_MEM_DEFINED(slice->base, slice->size);
        }
    }
}

#endif
