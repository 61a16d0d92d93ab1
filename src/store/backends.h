/* The layouts of this build, by name. */
#ifndef KVT_STORE_BACKENDS_H
#define KVT_STORE_BACKENDS_H

#include "backend/backend.h"

/* The table of a backend, or null with `err` filled: unknown, or not part of
 * this build. */
const struct kvt_backend_ops *kvt_backend_find(const char *name,
                                               struct kvt_error *err);

#endif
