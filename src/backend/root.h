/* Opening and making the root of a local layout: the marker that tells what
 * lies there, the owner's lock, the folders beside the objects. */
#ifndef KVT_BACKEND_ROOT_H
#define KVT_BACKEND_ROOT_H

#include "backend/backend.h"
#include "format/marker.h"

/* What a layout expects of its root. */
struct kvt_root_spec {
    const char *backend;
    uint32_t backend_version;
    uint32_t alignment;
    /* Could this name in a root without a marker be taken for one of the
     * layout's own? Such a root is refused. */
    bool (*is_ours)(const char *name);
};

/* Reads the marker of the root, or makes root and marker when there is none
 * and the store is not read-only; takes the owner's lock unless read-only.
 * On failure nothing that was there is touched, and no lock is held. */
int kvt_root_open(const struct kvt_backend_args *args,
                  const struct kvt_root_spec *spec, struct kvt_marker *marker,
                  struct kvt_fs_lock **lock, struct kvt_error *err);

#endif
