/*
 * kvtier/mem.h - memory that a mount moves without a copy of the library's:
 * aligned for it, registered with it. Never required: any memory works.
 *
 * Made by kvt_store_mem_alloc (kvtier/kvtier.h) or kvt_mem_alloc
 * (kvtier/fs.h); a slice that lies in it names it in `mem`.
 */
#ifndef KVTIER_MEM_H
#define KVTIER_MEM_H

#include <kvtier/base.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

KVT_API void *kvt_mem_base(const struct kvt_mem *mem);
KVT_API size_t kvt_mem_size(const struct kvt_mem *mem);

/* True while a transfer that ended at its deadline may still touch it. */
KVT_API bool kvt_mem_is_held(const struct kvt_mem *mem);

/* Calls `released` when the last hold is over (at once when there is none),
 * on whatever thread that is. One at a time; null takes it back. */
KVT_API void
kvt_mem_on_release(struct kvt_mem *mem,
                   void (*released)(struct kvt_mem *mem, void *arg), void *arg);

/* Gives it back; null is allowed. While it is held, that happens when the
 * hold is over. */
KVT_API void kvt_mem_free(struct kvt_mem *mem);

#ifdef __cplusplus
}
#endif

#endif
