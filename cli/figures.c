#include "figures.h"

#include "json_out.h"

#include <stdint.h>
#include <sys/resource.h>

uint64_t cli_max_rss(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) {
        return 0;
    }
    return (uint64_t)usage.ru_maxrss * 1024;
}

static void put_effective(struct cJSON *root, const struct kvt_stats *stats)
{
    struct cJSON *object = cli_json_child(root, "effective");
    cli_json_text(object, "direct", stats->effective.direct);
    cli_json_bool(object, "io_uring", stats->effective.io_uring != 0);
    cli_json_text(object, "checksum", stats->effective.checksum);
    cli_json_text(object, "durability", stats->effective.durability);
    cli_json_text(object, "fallback_reason", stats->effective.fallback_reason);
}

static void put_recovery(struct cJSON *root, const struct kvt_stats *stats)
{
    struct cJSON *object = cli_json_child(root, "recovery");
    cli_json_count(object, "objects", stats->recovery.objects);
    cli_json_count(object, "removed_temporaries",
                   stats->recovery.removed_temporaries);
    cli_json_count(object, "dropped_records", stats->recovery.dropped_records);
    cli_json_count(object, "orphans", stats->recovery.orphans);
}

static void put_health(struct cJSON *root, const struct kvt_stats *stats)
{
    int errnum = stats->health.last_errnum;
    struct cJSON *object = cli_json_child(root, "health");
    cli_json_text(object, "state", stats->health.state);
    cli_json_count(object, "since", stats->health.since_ms);
    cli_json_text(object, "last_error",
                  errnum != 0 ? kvt_errno_name(errnum) : "");
}

static void put_adapter(struct cJSON *root, const struct kvt_stats *stats)
{
    struct cJSON *object = cli_json_child(root, "adapter");
    cli_json_count(object, "submissions", stats->adapter.submissions);
    cli_json_count(object, "transfers", stats->adapter.transfers);
    cli_json_count(object, "bytes_copied", stats->adapter.bytes_copied);
    cli_json_count(object, "max_in_flight", stats->adapter.max_in_flight);
}

/* Only of a store that has a budget. */
static void put_writes(struct cJSON *root, const struct kvt_stats *stats)
{
    if (stats->writes.budget == 0) {
        return;
    }
    struct cJSON *object = cli_json_child(root, "writes");
    cli_json_count(object, "budget", stats->writes.budget);
    cli_json_count(object, "day_bytes", stats->writes.day_bytes);
    cli_json_count(object, "dropped_objects", stats->writes.dropped_objects);
}

struct cJSON *cli_figures_json(const struct kvt_stats *stats)
{
    struct cJSON *root = cli_json_object();
    cli_json_text(root, "backend", stats->backend);
    cli_json_text(root, "fs", stats->fs);
    cli_json_text(root, "path", stats->path);
    cli_json_count(root, "objects", stats->objects);
    cli_json_count(root, "object_bytes", stats->object_bytes);
    cli_json_count(root, "value_bytes", stats->value_bytes);
    cli_json_count(root, "dead_bytes", stats->dead_bytes);
    cli_json_count(root, "allocated_bytes", stats->allocated_bytes);
    cli_json_count(root, "limit_bytes", stats->limit_bytes);
    cli_json_count(root, "files", stats->files);
    cli_json_count(root, "buckets", stats->buckets);
    cli_json_count(root, "index_bytes", stats->index_bytes);
    cli_json_number(root, "open_seconds", stats->open_seconds);
    cli_json_count(root, "evicted_objects", stats->evicted_objects);
    cli_json_count(root, "checksum_misses", stats->checksum_misses);
    cli_json_count(root, "unverifiable_objects", stats->unverifiable_objects);
    cli_json_count(root, "quarantined_objects", stats->quarantined_objects);
    cli_json_count(root, "max_rss_bytes", cli_max_rss());
    put_effective(root, stats);
    put_recovery(root, stats);
    put_health(root, stats);
    put_adapter(root, stats);
    put_writes(root, stats);
    return root;
}
