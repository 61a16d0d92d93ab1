/*
 * kvtier/kvtier.h - offload KV-cache blocks to storage and load them back.
 *
 *   struct kvt_config *config = kvt_config_open();
 *   kvt_config_set(config, "path", "/var/cache/kv", &err);
 *   kvt_store_open(config, NULL, &store, &err);
 *   kvt_batch_offload(store, objects, count, NULL);
 *   kvt_batch_load(store, objects, count, NULL);
 *   kvt_store_close(store);
 *
 * A store may be used from any number of threads at once; a process may have
 * several stores. Keys, objects and slices are borrowed until the batch is
 * complete. A store does not survive fork: in the child every call answers
 * KVT_ERR_INVALID_PARAMS, and kvt_store_close only frees memory.
 */
#ifndef KVTIER_KVTIER_H
#define KVTIER_KVTIER_H

#include <kvtier/base.h>
#include <kvtier/config.h>
#include <kvtier/error.h>
#include <kvtier/mem.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KVT_VERSION_MAJOR 0
#define KVT_VERSION_MINOR 1
#define KVT_VERSION_PATCH 0

/* "0.1.0": of the library that runs, not of the header. */
KVT_API const char *kvt_version(void);

struct kvt_store;

/* One object of a batch: a key and, for offload and load, its memory.
 * The results are written before the batch completes. */
struct kvt_object {
    struct kvt_key key;
    const struct kvt_slice *slices; /* null when slice_count is 0 */
    size_t slice_count;
    /* results */
    int status;    /* enum kvt_status of this object */
    int errnum;    /* the positive errno behind it, or 0 */
    uint64_t size; /* load, exists: bytes of the stored object, also when the
                      slices were too small; offload: bytes offloaded */
};

/* Where an object lies. A layout fills every field that it has and leaves
 * the others 0. */
struct kvt_place {
    const char *backend; /* name of the layout, constant */
    uint64_t bucket;     /* number of the bucket or hash directory */
    uint64_t offset;     /* of the value inside its file */
};

/* Metadata of one stored object, as handlers and scans are given it.
 * Borrowed: valid during the call only. */
struct kvt_meta {
    struct kvt_key key;
    uint64_t size; /* of the value */
    struct kvt_place place;
};

/* Called once per offloaded batch with exactly the objects that succeeded
 * (not at all when none did). A non-zero return undoes the batch: none of
 * its new objects is visible afterwards, and they fail with
 * KVT_ERR_UNABLE_OFFLOAD. In `bucket` new objects are not visible before the
 * handler has agreed, and what they were to replace stays when it does not;
 * layouts of one file a key have shown and replaced them by then, and what
 * was replaced is not brought back. Runs without locks, on the thread that
 * called the batch, or on an I/O thread of the store for kvt_submit. It may
 * call kvt_batch_load, kvt_batch_exists and kvt_stats of this store; nothing
 * else of it. */
typedef int (*kvt_complete_fn)(const struct kvt_meta *metas, size_t count,
                               void *arg);

/* Called with objects that are about to be evicted, before they go: they are
 * misses already. A non-zero return keeps them, in their old order. `bucket`
 * evicts whole buckets, and gives all that lives in one; where the keys of a
 * bucket cannot be read, as many metas with a null key of size 0. Under
 * `eviction = second_chance` it does not give what is to be written again, in
 * another place than the complete handler was told; where that is lost on the
 * way, it is called with it afterwards, and the return changes nothing; who
 * replaces or removes such an object meanwhile waits for the handler, which so
 * must not wait for them. May call what the complete handler may. Runs on the
 * thread whose call evicts (kvt_store_open is one, when the limit was lowered),
 * or on a thread of the store while offloads wait for the room, perhaps beside
 * other handlers. */
typedef int (*kvt_evict_fn)(const struct kvt_meta *metas, size_t count,
                            void *arg);

/* Called with batches of at most `scan_meta_keys_limit` stored objects. A
 * non-zero return ends the scan and becomes its result. May call anything
 * of the store but kvt_store_close. */
typedef int (*kvt_scan_fn)(const struct kvt_meta *metas, size_t count,
                           void *arg);

enum kvt_log_level {
    KVT_LOG_ERROR,
    KVT_LOG_WARN,
    KVT_LOG_INFO,
    KVT_LOG_DEBUG,
};

/* Gets the library's messages (it never prints). Called from any thread. */
typedef void (*kvt_log_fn)(enum kvt_log_level level, const char *message,
                           void *arg);

/* What a store calls back. All may be null. Start from KVT_HANDLERS_INIT. */
struct kvt_handlers {
    size_t size; /* of this struct */
    kvt_complete_fn complete;
    void *complete_arg;
    kvt_evict_fn evict;
    void *evict_arg;
    kvt_log_fn log;
    void *log_arg;
};
#define KVT_HANDLERS_INIT                                                      \
    {                                                                          \
        sizeof(struct kvt_handlers), NULL, NULL, NULL, NULL, NULL, NULL        \
    }

/* Opens a store: checks the configuration, mounts the file system, takes the
 * owner's lock unless `read_only` is on, and recovers. `handlers` may be
 * null; it is copied. On success returns KVT_OK and sets `*store` (close
 * with kvt_store_close); otherwise the code, with `err` filled and nothing
 * left behind. A path owned by another process gives
 * KVT_ERR_FILE_LOCK_FAIL; the message names host, pid and start. */
KVT_API int kvt_store_open(const struct kvt_config *config,
                           const struct kvt_handlers *handlers,
                           struct kvt_store **store, struct kvt_error *err);

/* Waits for what was submitted, then closes. Null is allowed. No other call
 * on the store may run or follow. */
KVT_API void kvt_store_close(struct kvt_store *store);

/* Batches ---------------------------------------------------------------- */

enum kvt_batch_flags {
    KVT_IF_ABSENT = 1, /* offload: an object that exists fails with
                          KVT_ERR_OBJECT_ALREADY_EXISTS */
    KVT_NO_WAIT = 2,   /* offload: an object that would have to wait for others
                          fails at once */
};

/* Options of a batch. Start from KVT_BATCH_OPTIONS_INIT; null means that. */
struct kvt_batch_options {
    size_t size;          /* of this struct */
    uint32_t flags;       /* of enum kvt_batch_flags */
    uint32_t deadline_ms; /* from now; 0 = what the setting of that name says,
                             which may be none */
    size_t prefix_count;  /* result of load and exists: how many objects from
                             the start of the array are all present */
};
#define KVT_BATCH_OPTIONS_INIT                                                 \
    {                                                                          \
        sizeof(struct kvt_batch_options), 0, 0, 0                              \
    }

/* Each returns how many objects succeeded (exists: are present), with every
 * object's own result in place, or a negative code when nothing was tried:
 * KVT_ERR_INVALID_PARAMS for a null array, a count of 0, or the same key
 * twice in one offload; a store used after fork; KVT_ERR_INTERNAL when there
 * is nothing to run it on, with the errno in each object's `errnum`.
 *
 * Faults of one object fail that object alone: KVT_ERR_INVALID_KEY,
 * KVT_ERR_INVALID_PARAMS (null base with a size, over `object_size_max`).
 *
 * offload: an object that is stored already with the same bytes is a success
 * without I/O and counts as a use. load: the slices must have room for the
 * object; `size` tells its bytes. After a failed load the slices' contents
 * are unspecified; bytes of the slices behind the object are, too; nothing
 * outside the slices is ever written. A repeated key is allowed in load,
 * exists and remove.
 *
 * With KVT_NO_WAIT an offload never waits for what others do: an object whose
 * key somebody else is writing, or for which there is no room before something
 * is evicted, fails at once with KVT_ERR_UNABLE_OFFLOAD, errnum EAGAIN, and is
 * not written. Room is made all the same, for those that come later. In
 * `bucket` that is also when the next bucket is not ready, as right after the
 * store was opened; in `distributed` with a limit, before its files have been
 * counted. `file_per_key` makes room within the batch, by removing files, and
 * does so also then. Writing itself takes its time.
 *
 * An object beyond `write_budget_per_day` is dropped at once: it fails with
 * KVT_ERR_UNABLE_OFFLOAD, errnum EDQUOT, and is counted in kvt_stats. One that
 * is stored already needs no budget.
 *
 * With a deadline the call returns by then; objects that are not done fail
 * with KVT_ERR_DFS_NETWORK_TIMEOUT. All memory of the call is the caller's
 * again, but for that of kvt_store_mem_alloc, which may be held. Whether an
 * object that timed out in offload or remove is stored is unknown until it is
 * asked for; its key waits for the outcome. */
KVT_API int kvt_batch_offload(struct kvt_store *store,
                              struct kvt_object *objects, size_t count,
                              struct kvt_batch_options *options);
KVT_API int kvt_batch_load(struct kvt_store *store, struct kvt_object *objects,
                           size_t count, struct kvt_batch_options *options);
KVT_API int kvt_batch_exists(struct kvt_store *store,
                             struct kvt_object *objects, size_t count,
                             struct kvt_batch_options *options);
/* Removes objects; one that is not there is KVT_ERR_OBJECT_NOT_FOUND. The
 * eviction handler is not called. */
KVT_API int kvt_batch_remove(struct kvt_store *store,
                             struct kvt_object *objects, size_t count,
                             struct kvt_batch_options *options);

/* Asynchronous batches --------------------------------------------------- */

enum kvt_batch_op {
    KVT_BATCH_OFFLOAD,
    KVT_BATCH_LOAD,
    KVT_BATCH_EXISTS,
    KVT_BATCH_REMOVE,
};

/* One batch under way. Memory of the caller; must stay until it completed. */
struct kvt_request {
    size_t size; /* of this struct */
    enum kvt_batch_op op;
    struct kvt_object *objects;
    size_t count;
    struct kvt_batch_options options;
    /* Called once on an I/O thread of the store when the batch is complete.
     * Null: the request is handed out by kvt_completed instead, and the
     * eventfd becomes readable. It may submit further requests, and may not
     * block for long. */
    void (*done)(struct kvt_request *request);
    void *arg; /* the caller's */
    /* result */
    int result; /* as the blocking call returns it */
    /* the store's own, while the request is under way */
    struct kvt_request *next;
    void *internal;
};

/* Starts a batch and returns. KVT_OK, or a negative code when it was not
 * started (`done` is then not called); KVT_ERR_INVALID_PARAMS once the store
 * is being closed. */
KVT_API int kvt_submit(struct kvt_store *store, struct kvt_request *request);

/* A descriptor that is readable while completed requests wait for
 * kvt_completed; the store's: never read, write or close it. Negative code
 * on failure. */
KVT_API int kvt_eventfd(struct kvt_store *store);

/* Takes up to `max` completed requests; returns how many. Never blocks. */
KVT_API size_t kvt_completed(struct kvt_store *store,
                             struct kvt_request **requests, size_t max);

/* Memory that the store's file system moves without a copy of the library's,
 * and that a transfer may hold beyond a deadline (kvtier/mem.h; free it before
 * the store is closed). KVT_OK or a negative code. */
KVT_API int kvt_store_mem_alloc(struct kvt_store *store, size_t size,
                                struct kvt_mem **mem);
/* Offers the caller's memory, which must stay until kvt_mem_free. */
KVT_API int kvt_store_mem_register(struct kvt_store *store, void *base,
                                   size_t size, struct kvt_mem **mem);

/* The whole store -------------------------------------------------------- */

/* Reports every stored object once, in batches. Memory stays bounded.
 * Returns 0, what the handler returned if not 0, or a negative code with
 * `err` filled. */
KVT_API int kvt_scan_meta(struct kvt_store *store, kvt_scan_fn handler,
                          void *arg, struct kvt_error *err);

/* What a verification found. */
struct kvt_verify_result {
    uint64_t objects;      /* looked at: good, bad and unverifiable */
    uint64_t bytes;        /* of their values */
    uint64_t bad;          /* not what was stored, or not to be read */
    uint64_t unverifiable; /* nothing proves them, as raw files of
                              `distributed`, or tells that they are bad */
    uint64_t repaired;     /* of the bad: taken out of the store */
};

/* Options of kvt_verify. Start from KVT_VERIFY_OPTIONS_INIT; null means
 * that. */
struct kvt_verify_options {
    size_t size;               /* of this struct */
    int repair;                /* not 0: takes what is bad out of the store */
    uint64_t bytes_per_second; /* of values read, at most; 0 = any number */
    /* Called after each object and ten times a second; a non-zero return ends
     * the verification and becomes its result. May be null. */
    int (*progress)(const struct kvt_verify_result *so_far, void *arg);
    /* Called for each bad object with the result that a load of it has; its
     * key is null when it cannot be read. May be null. */
    void (*bad)(const struct kvt_meta *meta, int status, int errnum, void *arg);
    void *arg;
};
#define KVT_VERIFY_RATE (UINT64_C(128) << 20)
#define KVT_VERIFY_OPTIONS_INIT                                                \
    {                                                                          \
        sizeof(struct kvt_verify_options), 0, KVT_VERIFY_RATE, NULL, NULL,     \
            NULL                                                               \
    }

/* Reads every stored object and checks it against all that is stored of it,
 * also with `checksum = off`. Memory stays bounded: 8 MiB, or the largest
 * object. Other calls go on meanwhile; what is offloaded, replaced or removed
 * under it may be seen or not. It counts as no use. A bad object is read twice
 * before it is called so.
 *
 * Without `repair` nothing is changed, and the store may be read-only. With
 * it, `file_per_key` moves the file of a bad object to `.kvtier/quarantine`
 * and `bucket` writes a copy of its bytes there, up to 64 MiB and a sixteenth
 * of the limit, within the limit; beyond that it is removed without. The
 * eviction handler is not called. `distributed` changes nothing: a host with
 * bad memory must not empty a root of others; a bad file is a miss to all of
 * them, and the next offload of its key mends it.
 *
 * `result` may be null; it is filled also when the verification did not come
 * to its end. Returns KVT_OK whatever was found, what `progress` returned, or
 * a negative code with `err` filled. The callbacks run on the calling thread,
 * without locks, and may call what a scan's handler may. */
KVT_API int kvt_verify(struct kvt_store *store,
                       const struct kvt_verify_options *options,
                       struct kvt_verify_result *result, struct kvt_error *err);

/* Removes every object. */
KVT_API int kvt_remove_all(struct kvt_store *store, struct kvt_error *err);

struct kvt_evict_result {
    uint64_t objects;   /* evicted by this call */
    uint64_t bytes;     /* of their values */
    uint64_t allocated; /* bytes allocated in the store afterwards */
};

/* When more than `high` of the limit is allocated, evicts until at most
 * `low` of it is. 0 <= low <= high <= 1. Works under eviction policy `none`
 * too (oldest first): it is asked for. Returns KVT_OK or a negative code. */
KVT_API int kvt_evict(struct kvt_store *store, double high, double low,
                      struct kvt_evict_result *result, struct kvt_error *err);

/* Asks whether the file system under the store is well: `distributed` writes a
 * probe, reads it back, compares and removes it; the others ask the mount.
 * Ends in bounded time. KVT_OK, or a negative code with `err` naming what
 * failed. An answer also ends a refusal of offloads. */
KVT_API int kvt_health_check(struct kvt_store *store, struct kvt_error *err);

/* 1 when offloads can be accepted, 0 when not (read-only, full under policy
 * `none`, the file system fails, or `write_budget_per_day` is spent). */
KVT_API int kvt_is_offload_enabled(struct kvt_store *store);

/* Figures -----------------------------------------------------------------*/

/* A snapshot. Texts are constant or live as long as the store. */
struct kvt_stats {
    size_t size; /* of this struct, set by the caller */
    const char *backend;
    const char *fs;
    const char *path;
    uint64_t objects;
    uint64_t object_bytes;    /* live values */
    uint64_t value_bytes;     /* values on disk, live and dead */
    uint64_t dead_bytes;      /* of value_bytes */
    uint64_t allocated_bytes; /* all that counts against the limit */
    uint64_t limit_bytes;
    uint64_t peak_value_bytes;
    uint64_t peak_allocated_bytes;
    uint64_t files;
    uint64_t buckets;
    uint64_t index_bytes; /* memory of the index */
    double open_seconds;
    uint64_t evicted_objects;
    uint64_t rewritten_bytes; /* values written again to keep them */
    uint64_t checksum_misses;
    uint64_t unverifiable_objects;
    uint64_t quarantined_objects;
    struct {
        const char *direct;   /* "on" or "off" */
        int io_uring;         /* 1 when transfers go through a ring */
        const char *checksum; /* "on" or "off" */
        const char *durability;
        const char *fallback_reason; /* "" when nothing fell back */
    } effective;
    struct {
        uint64_t objects;
        uint64_t removed_temporaries;
        uint64_t dropped_records;
        uint64_t orphans;
    } recovery;
    struct {
        const char *state; /* "ok", "degraded", "failed" */
        uint64_t since_ms; /* Unix time */
        int last_errnum;   /* positive errno, or 0 */
    } health;
    struct {
        uint64_t submissions;  /* calls that handed elements to the adapter */
        uint64_t transfers;    /* elements */
        uint64_t bytes_copied; /* bounced: neither memory nor file in place */
        uint64_t max_in_flight;
    } adapter;
    struct {
        uint64_t budget;    /* write_budget_per_day; 0 = none, and the rest is
                               not counted */
        uint64_t day_bytes; /* of offloads, in this hour and the 24 before */
        uint64_t dropped_objects; /* beyond the budget, since it was opened */
    } writes;
};

/* Fills `stats` up to its `size`. Returns KVT_OK or a negative code. Where
 * objects are counted by listing a shared directory, and that fails, they are
 * those of the last count, 0 before the first; `health` then says why. */
KVT_API int kvt_stats(struct kvt_store *store, struct kvt_stats *stats);

/* What there is ----------------------------------------------------------- */

/* Borrowed: valid during the call only. */
struct kvt_component {
    const char *kind; /* "backend", "fs", "wrapper" */
    const char *name;
    int available;
    const char *reason; /* why not and how to get it, or what it is */
};

/* Calls `each` for every backend, adapter and wrapper of the library, and for
 * every module (kvtier/fs.h) that `config` finds, which is loaded for that;
 * null finds those of the library's folder. Stops at non-zero and returns it.
 * A negative code, with `err` filled, when `module_path` cannot be read. */
KVT_API int kvt_components(const struct kvt_config *config,
                           int (*each)(const struct kvt_component *component,
                                       void *arg),
                           void *arg, struct kvt_error *err);

#ifdef __cplusplus
}
#endif

#endif
