#include "backend/write_keeper.h"

#include "format/write_record.h"

#include <string.h>

enum {
    PARTS = 64, /* of the budget; what may be written and not kept */
    SAVE_AFTER_S = 60,
};
_Static_assert(KVT_BUDGET_HOURS == KVT_WRITE_HOURS, "a record holds all");

static const char record_path[] = ".kvtier/written";

static int save(struct kvt_write_keeper *keeper, bool open)
{
    struct kvt_write_record record = {.open = open};
    uint8_t bytes[KVT_WRITE_RECORD_SIZE];
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    struct kvt_fs_elem publish = {.op = KVT_FS_PUBLISH,
                                  .path = record_path,
                                  .temp_path = ".kvtier/written.new",
                                  .slices = &slice,
                                  .slice_count = 1};
    struct kvt_fs *fs = keeper->backend->args.fs;
    struct kvt_fs_elem remove = {.op = KVT_FS_REMOVE,
                                 .path = publish.temp_path};
    kvt_write_budget_save(&keeper->budget, kvt_clock_unix_ms(), &record.hour,
                          record.hours);
    kvt_write_record_encode(&record, bytes);
    kvt_fs_run(fs, &remove); /* left by one that died here */
    int64_t rc = kvt_fs_run(fs, &publish);
    if (rc < 0 && !keeper->failing) {
        kvt_backend_log(keeper->backend, KVT_LOG_WARN, "%s: %s", record_path,
                        strerror((int)-rc));
    }
    keeper->failing = rc < 0;
    return rc < 0 ? (int)rc : 0;
}

/* What cannot be understood is as good as nothing. */
static int load(struct kvt_write_keeper *keeper)
{
    struct kvt_write_record record;
    uint8_t bytes[KVT_WRITE_RECORD_SIZE];
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    struct kvt_fs_elem fetch = {.op = KVT_FS_FETCH,
                                .path = record_path,
                                .slices = &slice,
                                .slice_count = 1};
    int64_t got = kvt_fs_run(keeper->backend->args.fs, &fetch);
    if (got < 0) {
        return got == -ENOENT ? 0 : (int)got;
    }
    int rc = got == (int64_t)sizeof bytes
                 ? kvt_write_record_decode(bytes, &record)
                 : -EBADMSG;
    if (rc != 0) {
        kvt_backend_log(keeper->backend, KVT_LOG_WARN,
                        "%s: %s; what was written before does not count",
                        record_path, strerror(-rc));
        return 0;
    }
    uint64_t now_ms = kvt_clock_unix_ms();
    kvt_write_budget_restore(&keeper->budget, now_ms, record.hour,
                             record.hours);
    if (record.open == 1) { /* nobody closed it */
        kvt_write_budget_spend(&keeper->budget, now_ms,
                               keeper->budget.limit / PARTS);
    }
    return 0;
}

/* Waits until there is something to save; false at the end. */
static bool wait_for_writes(struct kvt_write_keeper *keeper)
{
    struct kvt_write_budget *budget = &keeper->budget;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += SAVE_AFTER_S;
    int rc = 0;
    pthread_mutex_lock(&budget->mutex);
    while (!keeper->stop && rc == 0 && budget->unsaved < budget->notice) {
        rc = pthread_cond_timedwait(&budget->much, &budget->mutex, &until);
    }
    bool goes_on = !keeper->stop;
    pthread_mutex_unlock(&budget->mutex);
    return goes_on;
}

static void *keep(void *arg)
{
    struct kvt_write_keeper *keeper = arg;
    while (wait_for_writes(keeper)) {
        save(keeper, true);
    }
    return NULL;
}

void kvt_write_keeper_init(struct kvt_write_keeper *keeper, uint64_t limit)
{
    *keeper = (struct kvt_write_keeper){.backend = NULL};
    kvt_write_budget_init(&keeper->budget, limit, limit / PARTS);
}

int kvt_write_keeper_start(struct kvt_write_keeper *keeper,
                           struct kvt_backend *backend)
{
    if (keeper->budget.limit == 0 || backend->args.read_only ||
        backend->shared) {
        return 0;
    }
    keeper->backend = backend;
    int rc = load(keeper);
    if (rc == 0) {
        rc = save(keeper, true);
    }
    if (rc == 0) {
        rc = -pthread_create(&keeper->thread, NULL, keep, keeper);
    }
    keeper->running = rc == 0;
    return rc;
}

void kvt_write_keeper_stop(struct kvt_write_keeper *keeper)
{
    if (keeper->running) {
        pthread_mutex_lock(&keeper->budget.mutex);
        keeper->stop = true;
        pthread_cond_signal(&keeper->budget.much);
        pthread_mutex_unlock(&keeper->budget.mutex);
        pthread_join(keeper->thread, NULL);
        save(keeper, false);
    }
    kvt_write_budget_fini(&keeper->budget);
}
