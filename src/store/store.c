#include "store/store.h"

#include "core/clock.h"
#include "core/config.h"
#include "core/process.h"
#include "fs/registry.h"
#include "store/backends.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

const char *kvt_version(void)
{
    return TEXT(KVT_VERSION_MAJOR) "." TEXT(KVT_VERSION_MINOR) "." TEXT(
        KVT_VERSION_PATCH);
}

/* Log --------------------------------------------------------------------- */

static enum kvt_log_level level_of(const char *name)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(names[i], name) == 0) {
            return (enum kvt_log_level)i;
        }
    }
    return KVT_LOG_WARN;
}

static void filter_log(enum kvt_log_level level, const char *message, void *arg)
{
    const struct kvt_store *store = arg;
    if (level <= store->log_level) {
        store->callers.log(level, message, store->callers.log_arg);
    }
}

/* Open and close ---------------------------------------------------------- */

static int no_memory(struct kvt_error *err)
{
    return kvt_error_set(err, KVT_ERR_INTERNAL, ENOMEM, "store", NULL,
                         "no memory to open the store");
}

static int copy_arguments(struct kvt_store *store,
                          const struct kvt_config *config,
                          const struct kvt_handlers *handlers,
                          struct kvt_error *err)
{
    if (handlers != NULL && handlers->size != sizeof *handlers) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, 0, "handlers",
                             "start from KVT_HANDLERS_INIT",
                             "the handlers' size is %zu bytes, expected %zu",
                             handlers->size, sizeof *handlers);
    }
    store->config = kvt_config_copy(config);
    if (store->config == NULL) {
        return no_memory(err);
    }
    if (handlers != NULL) {
        store->callers = *handlers;
        store->handlers = *handlers;
    }
    if (store->callers.log != NULL) {
        store->handlers.log = filter_log;
        store->handlers.log_arg = store;
    }
    store->log_level = level_of(kvt_config_text(config, "log_level"));
    store->read_only = kvt_config_bool(config, "read_only");
    store->object_size_max = kvt_config_u64(config, "object_size_max");
    store->deadline_ms = (uint32_t)kvt_config_u64(config, "deadline_ms");
    return KVT_OK;
}

static int mount(struct kvt_store *store, struct kvt_error *err)
{
    store->path = strdup(kvt_config_store_path(store->config));
    if (store->path == NULL) {
        return no_memory(err);
    }
    struct kvt_fs_mount_args args = {.size = sizeof args,
                                     .root = store->path,
                                     .config = store->config,
                                     .read_only = store->read_only};
    return kvt_fs_mount(kvt_config_store_fs(store->config), &args, &store->fs,
                        err);
}

void kvt_store_tell_fallback(struct kvt_store *store)
{
    const char *reason = kvt_fs_fallback_reason(store->fs);
    char message[512];
    if (reason[0] == '\0' ||
        __atomic_load_n(&store->fallback_told, __ATOMIC_RELAXED)) {
        return;
    }
    if (!__atomic_exchange_n(&store->fallback_told, true, __ATOMIC_RELAXED) &&
        store->handlers.log != NULL) {
        snprintf(message, sizeof message, "fs = %s: %s", kvt_fs_name(store->fs),
                 reason);
        store->handlers.log(KVT_LOG_WARN, message, store->handlers.log_arg);
    }
}

/* What was written today counts on, over restarts. */
static int keep_writes(struct kvt_store *store, struct kvt_error *err)
{
    int rc = kvt_write_keeper_start(&store->writes, store->backend);
    return rc == 0 ? KVT_OK
                   : kvt_error_set(
                         err, kvt_status_of(KVT_FAULT_WRITE, -rc, false), -rc,
                         store->path, "check the file system under the store",
                         "keeping what was written today: %s", strerror(-rc));
}

static int open_backend(struct kvt_store *store, struct kvt_error *err)
{
    const char *name = kvt_config_text(store->config, "backend");
    const struct kvt_backend_ops *ops = kvt_backend_find(name, err);
    if (ops == NULL) {
        return KVT_ERR_NOT_SUPPORTED;
    }
    int rc = mount(store, err);
    if (rc != KVT_OK) {
        return rc;
    }
    kvt_store_tell_fallback(store);
    struct kvt_backend_args args = {.config = store->config,
                                    .handlers = &store->handlers,
                                    .fs = store->fs,
                                    .path = store->path,
                                    .writes = &store->writes.budget,
                                    .read_only = store->read_only};
    rc = ops->open(&args, &store->backend, err);
    bool checks = ops->check != NULL &&
                  kvt_config_bool(store->config, "distributed.health_check");
    rc = rc == KVT_OK && checks ? ops->check(store->backend, err) : rc;
    return rc == KVT_OK ? keep_writes(store, err) : rc;
}

static void *close_store(void *arg)
{
    kvt_store_close(arg);
    return NULL;
}

/* A store that could not be opened. Where its file system did not answer in
 * time, closing waits for what hangs: beside the caller, who has his answer. */
static void give_up(struct kvt_store *store, bool hangs)
{
    pthread_t thread;
    if (hangs && pthread_create(&thread, NULL, close_store, store) == 0) {
        pthread_detach(thread);
    } else {
        kvt_store_close(store);
    }
}

int kvt_store_open(const struct kvt_config *config,
                   const struct kvt_handlers *handlers, struct kvt_store **out,
                   struct kvt_error *err)
{
    if (config == NULL || out == NULL) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, 0, "store", NULL,
                             "no configuration, or nowhere to put the store");
    }
    int64_t start_ns = kvt_clock_ns();
    int rc = kvt_config_check(config, err);
    if (rc != KVT_OK) {
        return rc;
    }
    struct kvt_store *store = calloc(1, sizeof *store);
    if (store == NULL) {
        return no_memory(err);
    }
    store->forks = kvt_process_forks();
    store->eventfd = -1;
    store->healthy = true;
    store->health_since_ms = kvt_clock_unix_ms();
    store->completed_end = &store->completed;
    pthread_mutex_init(&store->mutex, NULL);
    pthread_mutex_init(&store->io_mutex, NULL);
    pthread_mutex_init(&store->reaper.mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&store->reaper.work, &monotonic);
    pthread_condattr_destroy(&monotonic);
    kvt_write_keeper_init(&store->writes,
                          kvt_config_u64(config, "write_budget_per_day"));
    rc = copy_arguments(store, config, handlers, err);
    if (rc == KVT_OK) {
        rc = open_backend(store, err);
    }
    if (rc != KVT_OK) {
        give_up(store,
                store->backend != NULL && rc == KVT_ERR_DFS_NETWORK_TIMEOUT);
        return rc;
    }
    store->open_seconds = (double)(kvt_clock_ns() - start_ns) / 1e9;
    *out = store;
    return KVT_OK;
}

/* In a forked child there are no threads to end and no lock to give back:
 * what the parent has open is the parent's. Its memory is a copy; the parts
 * that threads of the parent may have held are left to the exit. */
static void forget_in_child(struct kvt_store *store)
{
    if (store->eventfd >= 0) {
        close(store->eventfd);
    }
    kvt_config_close(store->config);
    free(store->path);
    free(store);
}

void kvt_store_close(struct kvt_store *store)
{
    if (store == NULL) {
        return;
    }
    if (store->forks != kvt_process_forks()) {
        forget_in_child(store);
        return;
    }
    kvt_fs_release(store->fs); /* what a wrapper keeps hanging ends now */
    kvt_io_threads_stop(store);
    kvt_reaper_stop(store);
    for (size_t i = 0; i < store->idle_count; i++) {
        while (kvt_fs_lingering(store->idle_queues[i]) > 0) {
            kvt_fs_poll(store->idle_queues[i], 1, kvt_clock_ns() + 10000000);
        }
        kvt_fs_queue_close(store->idle_queues[i]);
    }
    free(store->idle_queues);
    kvt_write_keeper_stop(&store->writes);
    if (store->backend != NULL) {
        store->backend->ops->close(store->backend);
    }
    kvt_fs_unmount(store->fs);
    if (store->eventfd >= 0) {
        close(store->eventfd);
    }
    kvt_config_close(store->config);
    free(store->path);
    pthread_cond_destroy(&store->reaper.work);
    pthread_mutex_destroy(&store->reaper.mutex);
    pthread_mutex_destroy(&store->io_mutex);
    pthread_mutex_destroy(&store->mutex);
    free(store);
}

/* Queues of the calling threads ------------------------------------------- */

int kvt_store_queue_take(struct kvt_store *store, struct kvt_fs_queue **queue)
{
    *queue = NULL;
    pthread_mutex_lock(&store->mutex);
    if (store->idle_count > 0) {
        *queue = store->idle_queues[--store->idle_count];
    }
    pthread_mutex_unlock(&store->mutex);
    if (*queue != NULL) {
        return 0;
    }
    struct kvt_fs_queue_options options = {sizeof options, 0, true};
    return kvt_fs_queue_open(store->fs, &options, queue);
}

void kvt_store_queue_give(struct kvt_store *store, struct kvt_fs_queue *queue)
{
    if (kvt_fs_lingering(queue) > 0 && kvt_reaper_take(store, queue)) {
        return;
    }
    pthread_mutex_lock(&store->mutex);
    if (store->idle_count == store->idle_capacity) {
        size_t capacity = store->idle_capacity * 2 + 4;
        struct kvt_fs_queue **queues =
            realloc(store->idle_queues, capacity * sizeof queues[0]);
        if (queues != NULL) {
            store->idle_queues = queues;
            store->idle_capacity = capacity;
        }
    }
    bool kept = store->idle_count < store->idle_capacity;
    if (kept) { /* one on which elements linger is polled by its next user */
        store->idle_queues[store->idle_count++] = queue;
    }
    pthread_mutex_unlock(&store->mutex);
    if (!kept) {
        kvt_fs_queue_close(queue);
    }
}

/* Blocking batches --------------------------------------------------------- */

static void set_finished(struct kvt_batch *batch)
{
    *(bool *)batch->arg = true;
}

static int run_batch(struct kvt_store *store, enum kvt_batch_op op,
                     struct kvt_object *objects, size_t count,
                     struct kvt_batch_options *options)
{
    int rc = kvt_batch_check(store, op, objects, count, options);
    if (rc != KVT_OK) {
        return rc;
    }
    struct kvt_fs_queue *queue = NULL;
    rc = kvt_batch_in_memory(store, op) ? 0
                                        : kvt_store_queue_take(store, &queue);
    if (rc != 0) {
        return kvt_batch_refuse(objects, count, KVT_ERR_INTERNAL, -rc);
    }
    bool finished = false;
    struct kvt_batch batch = {.op = op,
                              .objects = objects,
                              .count = count,
                              .flags = options != NULL ? options->flags : 0,
                              .queue = queue,
                              .deadline_ns = kvt_batch_deadline(store, options),
                              .finished = set_finished,
                              .arg = &finished};
    int64_t left_ns = batch.deadline_ns;
    store->backend->ops->start(store->backend, &batch);
    while (!finished) {
        kvt_fs_poll(queue, 1, left_ns);
        if (left_ns != 0 && kvt_clock_ns() >= left_ns) {
            left_ns = 0;
            store->backend->ops->expire(store->backend, &batch);
        }
    }
    if (queue != NULL) {
        kvt_store_queue_give(store, queue);
    }
    return kvt_batch_result(store, &batch, options);
}

int kvt_batch_offload(struct kvt_store *store, struct kvt_object *objects,
                      size_t count, struct kvt_batch_options *options)
{
    return run_batch(store, KVT_BATCH_OFFLOAD, objects, count, options);
}

int kvt_batch_load(struct kvt_store *store, struct kvt_object *objects,
                   size_t count, struct kvt_batch_options *options)
{
    return run_batch(store, KVT_BATCH_LOAD, objects, count, options);
}

int kvt_batch_exists(struct kvt_store *store, struct kvt_object *objects,
                     size_t count, struct kvt_batch_options *options)
{
    return run_batch(store, KVT_BATCH_EXISTS, objects, count, options);
}

int kvt_batch_remove(struct kvt_store *store, struct kvt_object *objects,
                     size_t count, struct kvt_batch_options *options)
{
    return run_batch(store, KVT_BATCH_REMOVE, objects, count, options);
}

/* Memory ------------------------------------------------------------------- */

int kvt_store_mem_alloc(struct kvt_store *store, size_t size,
                        struct kvt_mem **mem)
{
    if (store == NULL || mem == NULL || store->forks != kvt_process_forks()) {
        return KVT_ERR_INVALID_PARAMS;
    }
    int rc = kvt_mem_alloc(store->fs, size, mem);
    return rc == -EINVAL ? KVT_ERR_INVALID_PARAMS
           : rc != 0     ? KVT_ERR_INTERNAL
                         : KVT_OK;
}

int kvt_store_mem_register(struct kvt_store *store, void *base, size_t size,
                           struct kvt_mem **mem)
{
    if (store == NULL || mem == NULL || store->forks != kvt_process_forks()) {
        return KVT_ERR_INVALID_PARAMS;
    }
    int rc = kvt_mem_register(store->fs, base, size, mem);
    return rc == -EINVAL ? KVT_ERR_INVALID_PARAMS
           : rc != 0     ? KVT_ERR_INTERNAL
                         : KVT_OK;
}

/* The whole store ---------------------------------------------------------- */

int kvt_store_usable(const struct kvt_store *store, bool writes,
                     struct kvt_error *err)
{
    if (store == NULL || store->forks != kvt_process_forks()) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, 0, "store",
                             "open a store in this process",
                             "there is no store, or it was opened before this "
                             "process was forked");
    }
    if (writes && store->read_only) {
        return kvt_error_set(err, KVT_ERR_UNABLE_OFFLOAD, EROFS, store->path,
                             "open the store without read_only",
                             "the store is open read-only");
    }
    return KVT_OK;
}

int kvt_scan_meta(struct kvt_store *store, kvt_scan_fn handler, void *arg,
                  struct kvt_error *err)
{
    int rc = kvt_store_usable(store, false, err);
    if (rc != KVT_OK) {
        return rc;
    }
    if (handler == NULL) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, 0, store->path, NULL,
                             "no handler to give the objects to");
    }
    size_t batch_max =
        (size_t)kvt_config_u64(store->config, "scan_meta_keys_limit");
    return store->backend->ops->scan(store->backend, batch_max, handler, arg,
                                     err);
}

int kvt_remove_all(struct kvt_store *store, struct kvt_error *err)
{
    int rc = kvt_store_usable(store, true, err);
    return rc != KVT_OK ? rc
                        : store->backend->ops->remove_all(store->backend, err);
}

int kvt_evict(struct kvt_store *store, double high, double low,
              struct kvt_evict_result *result, struct kvt_error *err)
{
    struct kvt_evict_result unwanted;
    int rc = kvt_store_usable(store, true, err);
    if (rc != KVT_OK) {
        return rc;
    }
    if (!(low >= 0 && low <= high && high <= 1)) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, 0, store->path,
                             "give 0 <= low <= high <= 1",
                             "the watermarks %g and %g are out of order", high,
                             low);
    }
    result = result != NULL ? result : &unwanted;
    *result = (struct kvt_evict_result){0};
    return store->backend->ops->evict(store->backend, high, low, result, err);
}

int kvt_health_check(struct kvt_store *store, struct kvt_error *err)
{
    int rc = kvt_store_usable(store, false, err);
    if (rc != KVT_OK) {
        return rc;
    }
    const struct kvt_backend_ops *ops = store->backend->ops;
    if (ops->check != NULL) {
        return ops->check(store->backend, err);
    }
    rc = kvt_fs_probe(store->fs);
    bool shared = kvt_fs_facts(store->fs)->shared;
    return rc == 0 ? KVT_OK
                   : kvt_error_set(
                         err, kvt_status_of(KVT_FAULT_READ, -rc, shared), -rc,
                         store->path, "check the file system under the store",
                         "health check: asking the mount: %s", strerror(-rc));
}

/* Is anything left of what may be written today? */
static bool may_write(struct kvt_store *store)
{
    struct kvt_write_budget *budget = &store->writes.budget;
    return budget->limit == 0 ||
           kvt_write_budget_spent(budget, kvt_clock_unix_ms()) < budget->limit;
}

int kvt_is_offload_enabled(struct kvt_store *store)
{
    return kvt_store_usable(store, false, NULL) == KVT_OK && may_write(store) &&
           store->backend->ops->offload_enabled(store->backend);
}

/* Figures ------------------------------------------------------------------ */

static void fill_health(struct kvt_store *store, struct kvt_stats *stats)
{
    if (stats->health.state != NULL) {
        return; /* the layout knows better */
    }
    pthread_mutex_lock(&store->mutex);
    stats->health.state = store->healthy ? "ok" : "degraded";
    stats->health.since_ms = store->health_since_ms;
    stats->health.last_errnum = store->health_errnum;
    pthread_mutex_unlock(&store->mutex);
}

int kvt_stats(struct kvt_store *store, struct kvt_stats *stats)
{
    if (kvt_store_usable(store, false, NULL) != KVT_OK || stats == NULL ||
        stats->size < sizeof stats->size) {
        return KVT_ERR_INVALID_PARAMS;
    }
    struct kvt_stats all = {.size = stats->size};
    struct kvt_fs_counters counters;
    all.backend = store->backend->ops->name;
    all.fs = kvt_fs_name(store->fs);
    all.path = store->path;
    all.open_seconds = store->open_seconds;
    all.effective.direct = kvt_fs_facts(store->fs)->direct ? "on" : "off";
    all.effective.durability = kvt_config_text(store->config, "durability");
    all.effective.io_uring = kvt_fs_facts(store->fs)->io_uring;
    all.effective.fallback_reason = kvt_fs_fallback_reason(store->fs);
    store->backend->ops->stats(store->backend, &all);
    fill_health(store, &all);
    all.writes.budget = store->writes.budget.limit;
    all.writes.day_bytes =
        kvt_write_budget_spent(&store->writes.budget, kvt_clock_unix_ms());
    all.writes.dropped_objects =
        kvt_write_budget_dropped(&store->writes.budget);
    kvt_fs_counters(store->fs, &counters);
    all.adapter.submissions = counters.submissions;
    all.adapter.transfers = counters.transfers;
    all.adapter.bytes_copied = counters.bytes_copied;
    all.adapter.max_in_flight = counters.in_flight_max;
    size_t size = stats->size < sizeof all ? stats->size : sizeof all;
    memcpy(stats, &all, size);
    return KVT_OK;
}
