/* Verification: every object's file is loaded. What lies in the root and is no
 * object of the index is left alone. */
#include "backend/file_per_key_scan.h"
#include "backend/verify.h"

#include <errno.h>
#include <string.h>

struct verify {
    struct fpk *fpk;
    struct kvt_verifier *verifier;
};

/* The size that a load expects; false when there is no such object. */
static bool find_size(struct fpk *fpk, const struct kvt_fpk_found *found,
                      uint64_t *size)
{
    *size = found->file_size > found->overhead
                ? found->file_size - found->overhead
                : 0;
    if (fpk->base.args.read_only) {
        return true;
    }
    uint64_t hash = kvt_key_index_hash(found->key);
    pthread_mutex_lock(&fpk->mutex);
    const struct kvt_key_entry *entry =
        kvt_key_index_find(&fpk->index, found->key, hash);
    bool stored = entry != NULL && entry->present;
    if (stored) {
        *size = entry->size;
    }
    pthread_mutex_unlock(&fpk->mutex);
    return stored;
}

static int verify_one(const struct kvt_fpk_found *found, void *arg)
{
    const struct verify *verify = arg;
    uint64_t size;
    if (found->key.size == 0) {
        struct kvt_meta meta = {.size = found->file_size};
        return kvt_verifier_add_keyless(verify->verifier, &meta, false);
    }
    if (!find_size(verify->fpk, found, &size)) {
        return 0;
    }
    struct kvt_meta meta = kvt_fpk_meta(verify->fpk, found->key, size);
    return kvt_verifier_add(verify->verifier, &meta, false);
}

int kvt_fpk_verify(struct kvt_backend *backend,
                   struct kvt_verification *verification, struct kvt_error *err)
{
    struct verify verify = {.fpk = (struct fpk *)backend};
    int rc = kvt_verifier_open(backend, verification, &verify.verifier);
    int told = 0;
    if (rc == 0) {
        rc = kvt_fpk_walk(verify.fpk, true, verify_one, &verify);
        if (rc == 0) {
            rc = kvt_verifier_flush(verify.verifier);
        }
        told = kvt_verifier_told(verify.verifier);
        kvt_verifier_close(verify.verifier);
    }
    return rc == 0 || told != 0
               ? told
               : kvt_error_set(err, kvt_status_of(KVT_FAULT_READ, -rc, false),
                               -rc, backend->args.path,
                               "check the file system under the store",
                               "verifying the objects: %s", strerror(-rc));
}
