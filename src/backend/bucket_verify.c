/*
 * Verification: bucket by bucket, record by record, value by value, each
 * against the 64-bit check value that stands on disk. One value is read at a
 * time: the rate is bounded anyway.
 *
 * An object whose record is damaged still loads, for those who know its key;
 * but nobody can list it or be told that it is evicted, and it cannot be
 * verified. It is bad: such objects are found as those of the table that no
 * record gave.
 */
#include "backend/bucket.h"
#include "backend/verify.h"

#include <stdlib.h>
#include <string.h>

enum {
    READS = 2, /* before a value is called bad */
    STOP = 1,  /* `told` says why */
};

struct verify {
    struct bkt *bkt;
    struct kvt_verification *verification;
    struct bkt_name at; /* bucket under way */
    struct bkt_table table;
    uint8_t *seen; /* a bit a block of the bucket, where an object begins */
    size_t seen_size;
    unsigned char *value;
    size_t value_size;
    int told;
    bool changed; /* something was repaired */
};

/* The pinned bucket, or null when it went. */
static struct bkt_bucket *pin(struct verify *verify)
{
    struct bkt *bkt = verify->bkt;
    pthread_mutex_lock(&bkt->mutex);
    struct bkt_bucket *bucket = bkt_named(bkt, verify->at);
    if (bucket != NULL && bucket->state == BKT_DYING) {
        bucket = NULL;
    }
    if (bucket != NULL) {
        kvt_bkt_pin(bucket);
    }
    pthread_mutex_unlock(&bkt->mutex);
    return bucket;
}

static void unpin(struct verify *verify, struct bkt_bucket *bucket)
{
    pthread_mutex_lock(&verify->bkt->mutex);
    kvt_bkt_unpin(verify->bkt, bucket);
    pthread_mutex_unlock(&verify->bkt->mutex);
}

/* One value -----------------------------------------------------------------
 */

static int make_room(struct verify *verify, size_t size)
{
    size_t rounded = (size_t)bkt_value_blocks(size) * KVT_BUCKET_BLOCK;
    if (rounded <= verify->value_size) {
        return 0;
    }
    unsigned char *value = aligned_alloc(KVT_BUCKET_BLOCK, rounded);
    if (value == NULL) {
        return -ENOMEM;
    }
    free(verify->value);
    verify->value = value;
    verify->value_size = rounded;
    return 0;
}

/* From the open file where there is one: what is being written may not be
 * seen by way of its name yet. */
static int64_t read_value(struct verify *verify, struct bkt_bucket *bucket,
                          const struct kvt_bucket_entry *entry)
{
    struct bkt *bkt = verify->bkt;
    char path[BKT_PATH_MAX];
    struct kvt_slice slice = {verify->value, entry->length, NULL};
    kvt_bkt_path(bucket, path);
    pthread_mutex_lock(&bkt->mutex);
    struct kvt_fs_file *file = bucket->file;
    pthread_mutex_unlock(&bkt->mutex);
    struct kvt_fs_elem elem = {.op = file != NULL ? KVT_FS_READ : KVT_FS_FETCH,
                               .file = file,
                               .path = file != NULL ? NULL : path,
                               .offset =
                                   (uint64_t)entry->block * KVT_BUCKET_BLOCK,
                               .slices = &slice,
                               .slice_count = 1};
    return entry->length > 0 ? kvt_fs_run(bkt->fs, &elem) : 0;
}

/* 0, -EBADMSG, or what reading it says. */
static int check_value(struct verify *verify, struct bkt_bucket *bucket,
                       const struct kvt_bucket_entry *entry, struct kvt_key key)
{
    int rc = 0;
    for (int reads = 0; reads < READS; reads++) {
        int64_t got = read_value(verify, bucket, entry);
        struct kvt_slice slice = {verify->value, entry->length, NULL};
        if (got < 0) {
            rc = (int)got;
            continue;
        }
        if (got == (int64_t)entry->length &&
            kvt_bkt_check(verify->bkt, key, &slice, 1, entry->length) ==
                entry->check) {
            return 0;
        }
        rc = -EBADMSG;
    }
    return rc;
}

/* An owner gives back the room of what was replaced or removed; until that is
 * sealed, a read-only store does not know of it. Nothing was changed while
 * there is a checkpoint. */
static bool may_be_punched(struct verify *verify,
                           const struct kvt_bucket_entry *entry)
{
    struct kvt_fs_elem stat = {.op = KVT_FS_STAT, .path = ".kvtier/index"};
    bool zero = true;
    for (uint32_t i = 0; i < entry->length && zero; i++) {
        zero = verify->value[i] == 0;
    }
    return zero && verify->bkt->base.args.read_only &&
           kvt_fs_run(verify->bkt->fs, &stat) == -ENOENT;
}

static bool is_gone(int rc)
{
    return rc == -ENOENT || rc == -ESTALE || rc == -ENOTDIR;
}

/* Findings ------------------------------------------------------------------
 */

static int tell(struct verify *verify, const struct kvt_finding *finding)
{
    verify->told = verify->verification->tell(verify->verification, finding);
    return verify->told;
}

/* Takes the object out, if it is still there. */
static bool repair(struct verify *verify, struct bkt_bucket *bucket,
                   const struct kvt_bucket_entry *entry)
{
    struct bkt *bkt = verify->bkt;
    struct kvt_index_entry dead = {
        .place = bkt_place(bkt, bucket, entry->block), .length = entry->length};
    pthread_mutex_lock(&bkt->mutex);
    bool there =
        kvt_place_index_remove(&bkt->index, entry->key_hash, dead.place);
    if (there) {
        kvt_bkt_object_died(bkt, &dead);
        kvt_bkt_kill_later(bkt, bucket, entry->block, KVT_KILL_REMOVED);
        verify->changed = true;
    }
    pthread_mutex_unlock(&bkt->mutex);
    return there;
}

static struct kvt_finding finding_of(const struct verify *verify,
                                     const struct kvt_bucket_entry *entry,
                                     struct kvt_key key, int rc)
{
    struct bkt_bucket name = {.number = verify->at.number};
    int errnum = rc == -EBADMSG ? 0 : -rc;
    return (struct kvt_finding){
        .meta =
            kvt_bkt_meta(verify->bkt, &name, key, entry->length, entry->block),
        .status = rc == 0 ? KVT_OK
                  : rc == -EBADMSG
                      ? KVT_ERR_CHECKSUM_MISMATCH
                      : kvt_status_of(KVT_FAULT_READ, errnum, false),
        .errnum = errnum};
}

static int found_bad(struct verify *verify, struct bkt_bucket *bucket,
                     const struct kvt_bucket_entry *entry, struct kvt_key key,
                     int rc)
{
    struct bkt *bkt = verify->bkt;
    struct kvt_finding finding = finding_of(verify, entry, key, rc);
    bool read = rc == -EBADMSG;
    if (!kvt_bkt_is_stored_at(bkt, verify->at.slot, entry)) {
        return 0; /* not any more */
    }
    finding.unproved = read && may_be_punched(verify, entry);
    if (!finding.unproved) {
        pthread_mutex_lock(&bkt->mutex);
        bkt->checksum_misses += read;
        pthread_mutex_unlock(&bkt->mutex);
    }
    if (verify->verification->repairs && (read || rc == -EIO)) {
        if (read) {
            kvt_bkt_evidence_keep(bkt, bucket, entry->block, verify->value,
                                  entry->length);
        }
        finding.repaired = repair(verify, bucket, entry);
    }
    return tell(verify, &finding);
}

static void note_seen(struct verify *verify, uint32_t block)
{
    if (block / 8 < verify->seen_size) {
        verify->seen[block / 8] |= (uint8_t)(1u << block % 8);
    }
}

static bool was_seen(const struct verify *verify, uint32_t block)
{
    return block / 8 < verify->seen_size &&
           (verify->seen[block / 8] >> block % 8 & 1) != 0;
}

static int visit(const struct kvt_bucket_entry *entry, struct kvt_key key,
                 void *arg)
{
    struct verify *verify = arg;
    note_seen(verify, entry->block);
    if (!kvt_bkt_is_stored_at(verify->bkt, verify->at.slot, entry)) {
        return 0;
    }
    int rc = make_room(verify, entry->length);
    if (rc != 0) {
        return rc;
    }
    struct bkt_bucket *bucket = pin(verify);
    if (bucket == NULL) {
        return -ENOENT;
    }
    rc = check_value(verify, bucket, entry, key);
    if (rc == 0) {
        unpin(verify, bucket);
        struct kvt_finding finding = finding_of(verify, entry, key, 0);
        return tell(verify, &finding) != 0 ? STOP : 0;
    }
    bool ends = is_gone(rc) || kvt_verify_ends_by(-rc);
    if (!ends) {
        rc = found_bad(verify, bucket, entry, key, rc) != 0 ? STOP : 0;
    }
    unpin(verify, bucket);
    return rc;
}

/* Buckets -------------------------------------------------------------------
 */

/* Objects of the table that no record gave. */
static int tell_keyless(struct verify *verify)
{
    struct kvt_key none = {NULL, 0};
    int rc = 0;
    struct bkt_bucket *bucket = pin(verify);
    for (uint32_t i = 0;
         bucket != NULL && i < verify->table.entry_count && rc == 0; i++) {
        struct kvt_bucket_entry entry;
        kvt_bucket_entry_decode(
            verify->table.entries + (size_t)i * KVT_BUCKET_ENTRY_SIZE, &entry);
        if (was_seen(verify, entry.block) ||
            !kvt_bkt_is_stored_at(verify->bkt, verify->at.slot, &entry)) {
            continue;
        }
        struct kvt_finding finding = finding_of(verify, &entry, none, -EBADMSG);
        finding.repaired =
            verify->verification->repairs && repair(verify, bucket, &entry);
        rc = tell(verify, &finding);
    }
    if (bucket != NULL) {
        unpin(verify, bucket);
    }
    return rc;
}

/* A bucket without a table that can be read: its objects load until the store
 * is opened again, which then goes by the records. */
static int tell_tableless(struct verify *verify, struct bkt_bucket *bucket)
{
    pthread_mutex_lock(&verify->bkt->mutex);
    uint64_t live = bucket->live_objects;
    pthread_mutex_unlock(&verify->bkt->mutex);
    int rc = 0;
    for (uint64_t i = 0; i < live && rc == 0; i++) {
        struct kvt_bucket_entry entry = {.length = 0};
        struct kvt_key none = {NULL, 0};
        struct kvt_finding finding = finding_of(verify, &entry, none, -EBADMSG);
        rc = tell(verify, &finding);
    }
    return rc;
}

/* The table as it is before the records are read: what comes into the bucket
 * later is no object that they lack. */
static int take_table(struct verify *verify)
{
    struct bkt_bucket *bucket = pin(verify);
    if (bucket == NULL) {
        return -ENOENT;
    }
    int rc = kvt_bkt_table_of(verify->bkt, bucket, &verify->table);
    if (rc == -EBADMSG || rc == -EIO) {
        rc = tell_tableless(verify, bucket);
        rc = rc != 0 ? rc : -ENOENT; /* there is nothing more to see */
    }
    unpin(verify, bucket);
    return rc;
}

static int verify_bucket(struct verify *verify)
{
    memset(verify->seen, 0, verify->seen_size);
    int rc = take_table(verify);
    if (rc != 0) {
        return is_gone(rc) ? 0 : rc;
    }
    rc = kvt_bkt_each_object(verify->bkt, verify->at.slot, verify->at.number,
                             visit, verify);
    if (verify->told == 0 && (rc == -EBADMSG || rc == -EIO)) {
        rc = tell_keyless(verify);
    }
    kvt_bkt_table_free(&verify->table);
    return verify->told != 0 ? verify->told : is_gone(rc) ? 0 : rc;
}

/* What was taken out stays out after a restart. */
static int finish_repair(struct verify *verify)
{
    return verify->changed ? kvt_bkt_write_kills(verify->bkt, NULL, 0) : 0;
}

int kvt_bkt_verify(struct kvt_backend *backend,
                   struct kvt_verification *verification, struct kvt_error *err)
{
    struct bkt *bkt = (struct bkt *)backend;
    struct verify verify = {.bkt = bkt, .verification = verification};
    size_t count;
    struct bkt_name *names = kvt_bkt_list_buckets(bkt, &count);
    verify.seen_size = ((size_t)1 << bkt->block_bits) / 8 + 1;
    verify.seen = malloc(verify.seen_size);
    int rc = names != NULL && verify.seen != NULL ? 0 : -ENOMEM;
    for (size_t i = 0; i < count && rc == 0; i++) {
        verify.at = names[i];
        rc = verify_bucket(&verify);
    }
    int kept = finish_repair(&verify);
    free(names);
    free(verify.seen);
    free(verify.value);
    if (verify.told != 0) {
        return verify.told;
    }
    rc = rc != 0 ? rc : kept;
    return rc == 0
               ? KVT_OK
               : kvt_error_set(err, kvt_status_of(KVT_FAULT_READ, -rc, false),
                               -rc, backend->args.path,
                               "check the file system under the store",
                               "verifying the objects: %s", strerror(-rc));
}
