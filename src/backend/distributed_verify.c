/* Verification of a shared root: every file is loaded, and none is changed or
 * moved. What may be somebody's unfinished work is not called bad. */
#include "backend/distributed_walk.h"
#include "backend/verify.h"

#include "core/clock.h"

#include <errno.h>
#include <stdio.h>

enum {
    YOUNG_MS = 60000 /* of a file that is written under its own name */
};

struct verify {
    struct dist *dist;
    struct kvt_verifier *verifier;
};

/* Is what no trailer proves perhaps no damage: being written, or a raw file
 * that is not looked at? */
static bool is_doubtful(const struct dist *dist, const struct dist_found *found)
{
    int64_t age_ms =
        (int64_t)kvt_clock_unix_ms() - found->modified_ns / 1000000;
    bool young = dist->strategy == DIST_IN_PLACE && age_ms < YOUNG_MS;
    bool raw = dist->accepts_raw && found->file_size > KVT_VERIFY_OBJECT_MAX;
    return young || raw || (!dist->recorded && !dist->accepts_raw);
}

/* The key of a long name stands in its file. 1 with the key, 0 when the file
 * has gone, -EBADMSG when it has no such key. */
static int find_key(const struct verify *verify, const struct dist_found *found,
                    unsigned char bytes[KVT_OBJECT_TAIL_MAX],
                    struct kvt_key *key)
{
    char path[KVT_OBJECT_PATH_MAX];
    struct kvt_slice slice = {.base = bytes};
    struct kvt_fs_elem fetch = {0};
    snprintf(path, sizeof path, "%.8s/%s", found->directory, found->name);
    kvt_object_fetch_long(&fetch, path, &slice);
    int64_t got = kvt_fs_run(verify->dist->fs, &fetch);
    if (got < 0) {
        return kvt_dist_is_gone(got) ? 0 : (int)got;
    }
    *key = kvt_object_long_key(&verify->dist->layout, path, bytes,
                               (uint64_t)got, fetch.file_size);
    return key->size > 0 ? 1 : -EBADMSG;
}

static int verify_one(const struct dist_found *found, void *arg)
{
    const struct verify *verify = arg;
    struct dist *dist = verify->dist;
    bool doubtful = is_doubtful(dist, found);
    unsigned char bytes[KVT_OBJECT_TAIL_MAX];
    struct kvt_key key = found->key;
    int rc = 1;
    if (found->kind == KVT_NAME_FOREIGN) {
        return 0;
    }
    if (found->kind == KVT_NAME_LONG) {
        rc = find_key(verify, found, bytes, &key);
    }
    struct kvt_meta meta = kvt_dist_meta(dist, key, found->file_size);
    if (rc == -EBADMSG) {
        meta.key = (struct kvt_key){NULL, 0};
        return kvt_verifier_add_keyless(verify->verifier, &meta, doubtful);
    }
    return rc == 1 ? kvt_verifier_add(verify->verifier, &meta, doubtful) : rc;
}

int kvt_dist_verify(struct kvt_backend *backend,
                    struct kvt_verification *verification,
                    struct kvt_error *err)
{
    struct verify verify = {.dist = (struct dist *)backend};
    int rc = kvt_verifier_open(backend, verification, &verify.verifier);
    int told = 0;
    if (rc == 0) {
        rc = kvt_dist_walk(verify.dist, true, verify_one, &verify);
        if (rc == 0) {
            rc = kvt_verifier_flush(verify.verifier);
        }
        told = kvt_verifier_told(verify.verifier);
        kvt_verifier_close(verify.verifier);
    }
    return rc == 0 || told != 0 ? told
                                : kvt_dist_fail(verify.dist, KVT_FAULT_READ, rc,
                                                "verifying the objects", err);
}
