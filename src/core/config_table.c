#include "core/config_table.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)
#define DAY_MS (UINT64_C(24) * 60 * 60 * 1000)

static const struct kvt_config_choice backend_choices[] = {
    {"file_per_key", {"file_per_key_storage_backend"}},
    {"bucket", {"bucket_storage_backend"}},
    {"offset_allocator", {"offset_allocator_storage_backend"}},
    {"distributed", {"distributed_storage_backend"}},
    {0},
};

static const struct kvt_config_choice eviction_choices[] = {
    {"none", {0}}, {"fifo", {0}}, {"lru", {0}}, {"second_chance", {0}}, {0},
};

static const struct kvt_config_choice durability_choices[] = {
    {"none", {0}},
    {"seal", {0}},
    {"batch", {0}},
    {0},
};

static const struct kvt_config_choice auto_choices[] = {
    {"auto", {0}},
    {"on", {"true", "yes", "1"}},
    {"off", {"false", "no", "0"}},
    {0},
};

static const struct kvt_config_choice log_level_choices[] = {
    {"error", {0}}, {"warn", {"warning"}}, {"info", {0}}, {"debug", {0}}, {0},
};

static const struct kvt_config_choice distributed_format_choices[] = {
    {"trailer", {0}},
    {"raw", {0}},
    {0},
};

static const struct kvt_config_row core_rows[] = {
    {.key = "backend",
     .type = KVT_CONFIG_ENUM,
     .default_text = "bucket",
     .choices = backend_choices,
     .env = "MOONCAKE_OFFLOAD_STORAGE_BACKEND_DESCRIPTOR",
     .help = "How objects become files."},
    {.key = "path",
     .type = KVT_CONFIG_PATH,
     .max = KVT_CONFIG_PATH_MAX,
     .env = "MOONCAKE_OFFLOAD_FILE_STORAGE_PATH",
     .help = "Directory of the store; a relative one counts from the current "
             "directory."},
    {.key = "fs",
     .type = KVT_CONFIG_FS,
     .default_text = "posix",
     .max = KVT_CONFIG_PATH_MAX,
     .env_on = "MOONCAKE_OFFLOAD_USE_URING",
     .env_on_value = "uring",
     .help = "File system adapter of the local backends, with wrappers in "
             "front of it where wanted."},
    {.key = "read_only",
     .type = KVT_CONFIG_BOOL,
     .default_text = "off",
     .help = "Opens without the owner's lock and changes nothing."},
    {.key = "object_size_max",
     .type = KVT_CONFIG_SIZE,
     .unit = "bytes",
     .default_text = "64MiB",
     .min = 4 * KIB,
     .max = GIB,
     .help = "Largest object that is taken; a larger one fails alone."},
    {.key = "total_size_limit",
     .type = KVT_CONFIG_LIMIT,
     .unit = "bytes",
     .default_text = "90%",
     .min = 4 * KIB,
     .max = KVT_CONFIG_SIZE_MAX,
     .env = "MOONCAKE_OFFLOAD_TOTAL_SIZE_LIMIT_BYTES",
     .help = "Bytes that the store may allocate, as a size or as a share of "
             "the file system."},
    {.key = "total_value_limit",
     .type = KVT_CONFIG_SIZE,
     .unit = "bytes",
     .default_text = "0",
     .max = KVT_CONFIG_SIZE_MAX,
     .help = "Bytes of values on disk, live or dead; 0 is no such limit."},
    {.key = "total_keys_limit",
     .type = KVT_CONFIG_COUNT,
     .unit = "keys",
     .default_text = "10000000",
     .min = 1,
     .max = UINT64_C(1000000000000),
     .env = "MOONCAKE_OFFLOAD_TOTAL_KEYS_LIMIT",
     .help = "Objects that the store may hold."},
    {.key = "write_budget_per_day",
     .type = KVT_CONFIG_SIZE,
     .unit = "bytes",
     .default_text = "0",
     .max = KVT_CONFIG_SIZE_MAX,
     .help = "Bytes that offloads may write in 24 hours, to spare the device; "
             "what goes beyond is dropped. 0 is no budget."},
    {.key = "eviction",
     .type = KVT_CONFIG_ENUM,
     .default_text = "lru",
     .choices = eviction_choices,
     .env = "MOONCAKE_OFFLOAD_BUCKET_EVICTION_POLICY",
     .help = "What goes first when the store is full; none refuses instead."},
    {.key = "watermark.high",
     .type = KVT_CONFIG_RATIO,
     .default_text = "0.90",
     .env = "MOONCAKE_OFFLOAD_DISK_EVICTION_HIGH_WATERMARK_RATIO",
     .help = "Share of the limit at which eviction starts."},
    {.key = "watermark.low",
     .type = KVT_CONFIG_RATIO,
     .default_text = "0.80",
     .env = "MOONCAKE_OFFLOAD_DISK_EVICTION_LOW_WATERMARK_RATIO",
     .help = "Share of the limit down to which eviction goes."},
    {.key = "checksum",
     .type = KVT_CONFIG_BOOL,
     .default_text = "on",
     .help = "Whether the bytes of every load are checked."},
    {.key = "durability",
     .type = KVT_CONFIG_ENUM,
     .default_text = "seal",
     .choices = durability_choices,
     .help = "What survives a power loss: nothing promised, what was sealed, "
             "or every acknowledged batch."},
    {.key = "direct",
     .type = KVT_CONFIG_ENUM,
     .default_text = "auto",
     .choices = auto_choices,
     .help = "Whether transfers bypass the page cache; auto does where the "
             "file system really can."},
    {.key = "threads",
     .type = KVT_CONFIG_COUNT,
     .unit = "threads",
     .default_text = "16",
     .min = 1,
     .max = 256,
     .help = "Threads that serve adapters that only have blocking calls."},
    {.key = "deadline_ms",
     .type = KVT_CONFIG_COUNT,
     .unit = "ms",
     .default_text = "0",
     .max = DAY_MS,
     .help = "Time after which a batch returns whatever its transfers do; 0 "
             "is none."},
    {.key = "scan_meta_keys_limit",
     .type = KVT_CONFIG_COUNT,
     .unit = "keys",
     .default_text = "20000",
     .min = 1,
     .max = UINT64_C(100000000),
     .env = "MOONCAKE_OFFLOAD_SCANMETA_ITERATOR_KEYS_LIMIT",
     .help = "Objects in one call of a scan's handler."},
    {.key = "log_level",
     .type = KVT_CONFIG_ENUM,
     .default_text = "warn",
     .choices = log_level_choices,
     .help = "Least important messages that reach the log callback."},
    {.key = "module_path",
     .type = KVT_CONFIG_STRING,
     .flags = KVT_CONFIG_EMPTY | KVT_CONFIG_ABSOLUTE,
     .max = KVT_CONFIG_PATH_MAX,
     .help = "Directory that is searched for adapters in files of their own, "
             "kvtier-fs-NAME.so, before those of the library are."},
};

static const struct kvt_config_row bucket_rows[] = {
    {.key = "bucket.size_limit",
     .type = KVT_CONFIG_SIZE,
     .unit = "bytes",
     .default_text = "256MiB",
     .min = 4 * KIB,
     .max = 64 * GIB,
     .env = "MOONCAKE_OFFLOAD_BUCKET_SIZE_LIMIT_BYTES",
     .help = "Bytes after which a bucket is sealed."},
    {.key = "bucket.keys_limit",
     .type = KVT_CONFIG_COUNT,
     .unit = "keys",
     .default_text = "500",
     .min = 1,
     .max = 10000000,
     .env = "MOONCAKE_OFFLOAD_BUCKET_KEYS_LIMIT",
     .help = "Objects after which a bucket is sealed."},
    {.key = "bucket.rewrite_limit",
     .type = KVT_CONFIG_RATIO,
     .default_text = "0.20",
     .help = "Share of all written bytes that eviction=second_chance may write "
             "again, at most 0.9."},
    {.key = "bucket.seal_after_ms",
     .type = KVT_CONFIG_COUNT,
     .unit = "ms",
     .default_text = "10000",
     .min = 1,
     .max = DAY_MS,
     .help = "Idle time after which a bucket is sealed though not full."},
};

static const struct kvt_config_row distributed_rows[] = {
    {.key = "distributed.path",
     .type = KVT_CONFIG_PATH,
     .max = KVT_CONFIG_PATH_MAX,
     .env = "MOONCAKE_DISTRIBUTED_ROOT_DIR",
     .help = "Shared directory; where not given, path."},
    {.key = "distributed.fs",
     .type = KVT_CONFIG_FS,
     .max = KVT_CONFIG_PATH_MAX,
     .env = "MOONCAKE_DISTRIBUTED_FS_TYPE",
     .help = "File system adapter of the shared directory."},
    {.key = "distributed.health_check",
     .type = KVT_CONFIG_BOOL,
     .default_text = "off",
     .env = "MOONCAKE_DISTRIBUTED_HEALTH_CHECK",
     .help = "Whether opening writes, reads and removes a probe file."},
    {.key = "distributed.hash_bucket_count",
     .type = KVT_CONFIG_COUNT,
     .unit = "directories",
     .default_text = "256",
     .min = 1,
     .max = 65536,
     .env = "MOONCAKE_DISTRIBUTED_HASH_BUCKET_COUNT",
     .help = "Directories that the keys are spread over; every host must say "
             "the same."},
    {.key = "distributed.format",
     .type = KVT_CONFIG_ENUM,
     .default_text = "trailer",
     .choices = distributed_format_choices,
     .help = "Whether a file carries a checked trailer or the value alone."},
    {.key = "distributed.read_raw",
     .type = KVT_CONFIG_ENUM,
     .default_text = "auto",
     .choices = auto_choices,
     .help = "Whether files without a trailer are objects in a root "
             "without a record; under one they never are."},
    {.key = "distributed.skip_stored",
     .type = KVT_CONFIG_BOOL,
     .default_text = "off",
     .help = "Whether an offload first reads what is stored and writes nothing "
             "when it is the same."},
    {.key = "distributed.temporary_grace",
     .type = KVT_CONFIG_COUNT,
     .unit = "s",
     .default_text = "3600",
     .max = UINT64_C(366) * 24 * 60 * 60,
     .help = "Age at which the temporary file of a dead writer is removed; 0 "
             "never does."},
    {.key = "distributed.refresh_interval",
     .type = KVT_CONFIG_COUNT,
     .unit = "s",
     .default_text = "0",
     .max = UINT64_C(366) * 24 * 60 * 60,
     .help = "A load refreshes a file's time at most once in so many seconds; "
             "0 never does."},
};

#define GROUP(name, array)                                                     \
    {                                                                          \
        name, array, sizeof(array) / sizeof((array)[0])                        \
    }
static const struct kvt_config_group own_groups[] = {
    GROUP("core", core_rows),
    GROUP("bucket", bucket_rows),
    GROUP("distributed", distributed_rows),
};

const struct kvt_config_group *kvt_config_group_at(size_t index)
{
    const size_t own_count = sizeof(own_groups) / sizeof(own_groups[0]);

    if (index < own_count) {
        return &own_groups[index];
    }
    index -= own_count;
    return index < kvt_config_fs_group_count ? &kvt_config_fs_groups[index]
                                             : NULL;
}
