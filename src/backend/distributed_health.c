/* The health check: a probe of a unique name is written, read back, compared
 * and removed, in the way of an object. And the breaker that asks for it. */
#include "backend/distributed.h"

#include "core/clock.h"
#include "core/random.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    TRIPS_AT = 3,    /* batches in a row */
    PROBE_SIZE = 64, /* bytes */
    STEP_MS = 5000,
};
#define WAIT_LEAST_NS INT64_C(500000000)
#define WAIT_MOST_NS INT64_C(30000000000)

/* The breaker -------------------------------------------------------------- */

void kvt_dist_health_init(struct dist_health *health)
{
    health->since_ms = kvt_clock_unix_ms();
}

bool kvt_dist_health_counts(bool writes, int rc)
{
    switch (-rc) {
    case 0:
    case ENOENT: /* of the caller's or another host's doing, or of a limit */
    case EEXIST:
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EFBIG:
    case EINVAL:
    case ENAMETOOLONG:
    case EOPNOTSUPP:
    case EPROTONOSUPPORT:
    case EISDIR: /* something of somebody else's stands in a key's place */
    case ELOOP:
    case ENOTDIR:
        return false;
    case EACCES: /* of one file: nothing about the others */
    case EPERM:
    case EROFS:
    case ESTALE:
    case EBADF:
        return writes;
    default:
        return true;
    }
}

/* Mutex held. */
static void set_state(struct dist_health *health, bool failed, bool degraded)
{
    if (failed != health->failed || degraded != health->degraded) {
        health->since_ms = kvt_clock_unix_ms();
    }
    health->failed = failed;
    health->degraded = degraded;
}

/* Notes a failure, `count` times; the last one that is tolerated stops
 * offloads. */
static void note_failure(struct dist *dist, bool writes, int rc, unsigned count)
{
    struct dist_health *health = &dist->health;
    pthread_mutex_lock(&dist->mutex);
    health->last_errnum = -rc;
    health->failures[writes] += count;
    bool tripped = !health->failed && health->failures[writes] >= TRIPS_AT;
    if (tripped) {
        health->wait_ns = WAIT_LEAST_NS;
        health->probe_ns = kvt_clock_ns() + health->wait_ns;
    }
    set_state(health, health->failed || tripped, true);
    pthread_mutex_unlock(&dist->mutex);
    if (tripped) {
        kvt_backend_log(&dist->base, KVT_LOG_WARN,
                        "the file system fails (%s): no offloads until it "
                        "answers a probe",
                        strerror(-rc));
        kvt_dist_janitor_wake(dist);
    }
}

void kvt_dist_health_note(struct dist *dist, bool writes, int rc)
{
    struct dist_health *health = &dist->health;
    if (rc != 0) {
        note_failure(dist, writes, rc, 1);
        return;
    }
    pthread_mutex_lock(&dist->mutex);
    health->failures[writes] = 0;
    set_state(health, health->failed,
              health->failed || health->failures[!writes] > 0);
    pthread_mutex_unlock(&dist->mutex);
}

int kvt_dist_health_refuses(struct dist *dist)
{
    pthread_mutex_lock(&dist->mutex);
    int rc = dist->health.failed ? -dist->health.last_errnum : 0;
    pthread_mutex_unlock(&dist->mutex);
    return rc;
}

int64_t kvt_dist_health_next(struct dist *dist)
{
    pthread_mutex_lock(&dist->mutex);
    int64_t next_ns = dist->health.failed ? dist->health.probe_ns : 0;
    pthread_mutex_unlock(&dist->mutex);
    return next_ns;
}

void kvt_dist_health_stats(struct dist *dist, struct kvt_stats *stats)
{
    pthread_mutex_lock(&dist->mutex);
    stats->health.state = dist->health.failed     ? "failed"
                          : dist->health.degraded ? "degraded"
                                                  : "ok";
    stats->health.since_ms = dist->health.since_ms;
    stats->health.last_errnum = dist->health.last_errnum;
    pthread_mutex_unlock(&dist->mutex);
}

/* The check ---------------------------------------------------------------- */

struct check {
    struct dist *dist;
    struct kvt_fs_queue *queue;
    char path[DIST_TEMP_PATH_MAX];
    char temp_path[DIST_TEMP_PATH_MAX];
    unsigned char written[PROBE_SIZE];
    unsigned char found[PROBE_SIZE];
    const char *failed; /* what was being done */
    int rc;
};

static void step_done(struct kvt_fs_elem *elem)
{
    *(bool *)elem->arg = true;
}

/* Carries out one element; ends at its deadline whatever the mount does. */
static int64_t step(struct check *check, struct kvt_fs_elem *elem)
{
    bool done = false;
    elem->done = step_done;
    elem->arg = &done;
    elem->deadline_ns = kvt_clock_ns() + STEP_MS * INT64_C(1000000);
    kvt_fs_submit(check->queue, elem, 1);
    while (!done) {
        kvt_fs_poll(check->queue, 1, 0);
    }
    return elem->result;
}

static void set_failure(struct check *check, const char *doing, int64_t rc)
{
    if (check->rc == 0) {
        check->failed = doing;
        check->rc = (int)rc;
    }
}

static int64_t write_probe(struct check *check)
{
    struct kvt_slice slice = {check->written, PROBE_SIZE, NULL};
    struct kvt_fs_elem elem = {.op = KVT_FS_PUBLISH,
                               .flags = check->dist->publish_flags,
                               .path = check->path,
                               .temp_path = check->temp_path,
                               .slices = &slice,
                               .slice_count = 1};
    if (check->dist->strategy == DIST_LINK) {
        elem.flags |= KVT_FS_IF_ABSENT;
    }
    if (check->dist->strategy != DIST_IN_PLACE) {
        return step(check, &elem);
    }
    struct kvt_fs_elem open = {.op = KVT_FS_OPEN,
                               .flags = KVT_FS_FOR_WRITE | KVT_FS_CREATE |
                                        KVT_FS_EXCLUSIVE,
                               .path = check->path};
    int64_t rc = step(check, &open);
    if (rc < 0) {
        return rc;
    }
    struct kvt_fs_elem write = {.op = KVT_FS_WRITE,
                                .file = open.file,
                                .slices = &slice,
                                .slice_count = 1};
    struct kvt_fs_elem close = {.op = KVT_FS_CLOSE, .file = open.file};
    int64_t written = step(check, &write);
    rc = step(check, &close);
    return written < 0 ? written : rc;
}

static void read_probe(struct check *check)
{
    struct kvt_slice slice = {check->found, PROBE_SIZE, NULL};
    struct kvt_fs_elem fetch = {.op = KVT_FS_FETCH,
                                .path = check->path,
                                .slices = &slice,
                                .slice_count = 1};
    int64_t got = step(check, &fetch);
    if (got < 0) {
        set_failure(check, "reading the probe back", got);
    } else if (got != PROBE_SIZE ||
               memcmp(check->written, check->found, PROBE_SIZE) != 0) {
        set_failure(check, "comparing the probe with what was written",
                    -EREMOTEIO);
    }
}

static void run_check(struct check *check)
{
    struct kvt_fs_elem remove = {.op = KVT_FS_REMOVE, .path = check->path};
    int64_t rc = kvt_fs_probe(check->dist->fs);
    if (rc < 0) {
        set_failure(check, "asking the mount", rc);
        return;
    }
    rc = write_probe(check);
    if (rc < 0) {
        set_failure(check, "writing the probe", rc);
    } else {
        read_probe(check);
    }
    /* whatever came before: it may be there */
    bool written = rc >= 0;
    rc = step(check, &remove);
    if (rc < 0 && (written || rc != -ENOENT)) {
        set_failure(check, "removing the probe", rc);
    }
}

/* A directory by chance: each is as good as the others. */
static int check_init(struct check *check)
{
    struct dist *dist = check->dist;
    char directory[16];
    uint32_t number;
    int rc = kvt_random(check->written, PROBE_SIZE);
    if (rc != 0) {
        return rc;
    }
    memcpy(&number, check->written, sizeof number);
    kvt_object_directory(&dist->layout, number % dist->layout.directory_count,
                         directory);
    kvt_dist_temp_path(&dist->temps, directory, check->path);
    kvt_dist_temp_path(&dist->temps, directory, check->temp_path);
    return kvt_dist_queue_open(dist, &check->queue);
}

/* 0, or -errno and what was being done. */
static int check_health(struct dist *dist, const char **doing)
{
    struct check check = {.dist = dist};
    check.rc = check_init(&check);
    if (check.rc != 0) {
        *doing = "starting";
        return check.rc;
    }
    run_check(&check);
    if (kvt_fs_lingering(check.queue) > 0) {
        kvt_dist_janitor_adopt(dist, check.queue);
    } else {
        kvt_fs_queue_close(check.queue);
    }
    *doing = check.failed;
    return check.rc;
}

/* The file system answered: the breaker closes. */
static void recovered(struct dist *dist)
{
    pthread_mutex_lock(&dist->mutex);
    memset(dist->health.failures, 0, sizeof dist->health.failures);
    set_state(&dist->health, false, false);
    pthread_mutex_unlock(&dist->mutex);
}

void kvt_dist_health_probe(struct dist *dist)
{
    const char *doing;
    int64_t next_ns = kvt_dist_health_next(dist);
    if (next_ns == 0 || kvt_clock_ns() < next_ns) {
        return;
    }
    int rc = check_health(dist, &doing);
    if (rc == 0) {
        recovered(dist);
        kvt_backend_log(&dist->base, KVT_LOG_WARN,
                        "the file system answers again: offloads go on");
        return;
    }
    pthread_mutex_lock(&dist->mutex);
    struct dist_health *health = &dist->health;
    health->last_errnum = -rc;
    health->wait_ns =
        health->wait_ns < WAIT_MOST_NS / 2 ? health->wait_ns * 2 : WAIT_MOST_NS;
    health->probe_ns = kvt_clock_ns() + health->wait_ns;
    pthread_mutex_unlock(&dist->mutex);
}

int kvt_dist_check(struct kvt_backend *backend, struct kvt_error *err)
{
    struct dist *dist = (struct dist *)backend;
    const char *doing;
    if (backend->args.read_only) {
        int rc = kvt_fs_probe(dist->fs);
        return rc == 0 ? KVT_OK
                       : kvt_dist_fail(dist, KVT_FAULT_READ, rc,
                                       "health check: asking the mount", err);
    }
    int rc = check_health(dist, &doing);
    if (rc == 0) {
        recovered(dist);
        return KVT_OK;
    }
    /* it is known to fail, then: no batch has to find that out again */
    note_failure(dist, true, rc,
                 kvt_dist_health_counts(true, rc) ? TRIPS_AT : 0);
    char text[128];
    snprintf(text, sizeof text, "health check: %s", doing);
    return kvt_dist_fail(dist, KVT_FAULT_WRITE, rc, text, err);
}
