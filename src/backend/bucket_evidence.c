/* Evidence: an object that is not what was stored cannot be moved out of its
 * bucket, so its bytes are copied. What is kept counts against the limit, and
 * goes only when somebody removes it. */
#include "backend/bucket.h"

#include <stdio.h>
#include <string.h>

enum {
    EVIDENCE_SHARE = 16, /* at most this part of the limit */
};
#define EVIDENCE_MAX (UINT64_C(64) << 20)

static const char directory[] = ".kvtier/quarantine";

static uint64_t allocated_by(const struct bkt *bkt, uint64_t size)
{
    uint64_t unit = kvt_fs_facts(bkt->fs)->allocation_unit;
    return (size + unit - 1) / unit * unit;
}

static int count_one(const struct kvt_fs_dirent *entry, void *arg)
{
    struct bkt *bkt = arg;
    if (entry->type == KVT_FS_TYPE_FILE) {
        uint64_t bytes = allocated_by(bkt, entry->size);
        bkt->quarantine_bytes += bytes;
        bkt->quarantined_objects++;
        kvt_budget_claim(&bkt->budget, (struct kvt_charge){.allocated = bytes},
                         (struct kvt_charge){0});
    }
    return 0;
}

int kvt_bkt_evidence_count(struct bkt *bkt)
{
    int rc = kvt_fs_list(bkt->fs, directory, true, count_one, bkt);
    return rc == -ENOENT ? 0 : rc;
}

/* Takes room for it out of what is free anyway. */
static bool take_room(struct bkt *bkt, uint64_t bytes)
{
    uint64_t most = bkt->budget.limit.allocated / EVIDENCE_SHARE;
    most = most < EVIDENCE_MAX ? most : EVIDENCE_MAX;
    pthread_mutex_lock(&bkt->mutex);
    struct kvt_charge need = {.allocated = bytes + kvt_bkt_kept_free(bkt)};
    struct kvt_charge short_of = kvt_budget_shortage(&bkt->budget, need);
    bool room =
        bkt->quarantine_bytes + bytes <= most && short_of.allocated == 0;
    if (room) {
        kvt_budget_claim(&bkt->budget, (struct kvt_charge){.allocated = bytes},
                         (struct kvt_charge){0});
        bkt->quarantine_bytes += bytes;
        bkt->quarantined_objects++;
    }
    pthread_mutex_unlock(&bkt->mutex);
    return room;
}

static void give_room_back(struct bkt *bkt, uint64_t bytes)
{
    pthread_mutex_lock(&bkt->mutex);
    kvt_budget_give_back(&bkt->budget, (struct kvt_charge){.allocated = bytes});
    bkt->quarantine_bytes -= bytes;
    bkt->quarantined_objects--;
    pthread_mutex_unlock(&bkt->mutex);
}

void kvt_bkt_evidence_keep(struct bkt *bkt, const struct bkt_bucket *bucket,
                           uint32_t block, void *bytes, size_t size)
{
    char path[128];
    char temp_path[sizeof path + 4];
    struct kvt_slice slice = {bytes, size, NULL};
    uint64_t takes = allocated_by(bkt, size);
    if (size == 0 || !take_room(bkt, takes)) {
        return;
    }
    snprintf(path, sizeof path, "%s/%016llx-%016llx-%x", directory,
             (unsigned long long)bucket->writer,
             (unsigned long long)bucket->number, block);
    snprintf(temp_path, sizeof temp_path, "%s.new", path);
    struct kvt_fs_elem publish = {.op = KVT_FS_PUBLISH,
                                  .path = path,
                                  .temp_path = temp_path,
                                  .slices = &slice,
                                  .slice_count = 1};
    int64_t rc = kvt_fs_mkdirs(bkt->fs, directory);
    if (rc == 0) {
        rc = kvt_fs_run(bkt->fs, &publish);
    }
    if (rc < 0) {
        give_room_back(bkt, takes);
        kvt_backend_log(&bkt->base, KVT_LOG_WARN, "%s: keeping evidence: %s",
                        path, strerror((int)-rc));
    }
}
