/* Verifying by loading: for layouts in which an object is found by its name
 * alone. Objects are gathered until there are some, loaded as one batch and
 * told of. */
#ifndef KVT_BACKEND_VERIFY_H
#define KVT_BACKEND_VERIFY_H

#include "backend/backend.h"

/* Of a value: the most that `object_size_max` allows. What is larger was never
 * stored, and is not read. */
#define KVT_VERIFY_OBJECT_MAX (UINT64_C(1) << 30)

struct kvt_verifier;

/* Does this errno tell of the file system or of this process, and nothing of
 * the object? */
bool kvt_verify_ends_by(int errnum);

/* 0 or -errno. */
int kvt_verifier_open(struct kvt_backend *backend,
                      struct kvt_verification *verification,
                      struct kvt_verifier **verifier);
void kvt_verifier_close(struct kvt_verifier *verifier);

/* One more object, of perhaps so many bytes; its key is copied. `doubtful`:
 * what is not as it should be may not be bad. 0, -errno, or 1 when `tell` said
 * something. */
int kvt_verifier_add(struct kvt_verifier *verifier, const struct kvt_meta *meta,
                     bool doubtful);
/* A file that cannot be loaded, since its key is not known. */
int kvt_verifier_add_keyless(struct kvt_verifier *verifier,
                             const struct kvt_meta *meta, bool doubtful);
/* Loads what was added. */
int kvt_verifier_flush(struct kvt_verifier *verifier);
/* What `tell` said, or 0. */
int kvt_verifier_told(const struct kvt_verifier *verifier);

#endif
