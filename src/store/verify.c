/* kvt_verify: the figures of a verification, its rate and its callbacks. What
 * an object is, and how it is read, the layout knows. */
#include "store/store.h"

#include "core/clock.h"

#include <errno.h>
#include <time.h>

enum {
    PROGRESS_NS = 100000000, /* between two calls while it waits */
    BURSTS_PER_SECOND = 8,
};
#define BURST_MAX (UINT64_C(8) << 20)
#define BURST_MIN (UINT64_C(64) << 10)

struct verify {
    struct kvt_verification base;
    const struct kvt_verify_options *options;
    struct kvt_verify_result *result;
    int64_t due_ns; /* when what was read so far may have been read */
};

static int tell_progress(const struct verify *verify)
{
    const struct kvt_verify_options *options = verify->options;
    return options->progress != NULL
               ? options->progress(verify->result, options->arg)
               : 0;
}

/* Waits until so many bytes may have been read. Time in which nothing was read
 * is not made up for later. */
static int pace(struct verify *verify, uint64_t bytes)
{
    uint64_t rate = verify->options->bytes_per_second;
    int64_t now_ns = kvt_clock_ns();
    int rc = 0;
    if (rate == 0) {
        return 0;
    }
    verify->due_ns = verify->due_ns > now_ns ? verify->due_ns : now_ns;
    verify->due_ns += (int64_t)((double)bytes * 1e9 / (double)rate);
    /* what a burst takes is waited for at once, not object by object */
    int64_t burst_ns =
        (int64_t)((double)verify->base.burst * 1e9 / (double)rate);
    bool waits = verify->due_ns - now_ns >= burst_ns;
    while (waits && rc == 0 && (now_ns = kvt_clock_ns()) < verify->due_ns) {
        int64_t left_ns = verify->due_ns - now_ns;
        left_ns = left_ns < PROGRESS_NS ? left_ns : PROGRESS_NS;
        struct timespec wait = {.tv_nsec = left_ns};
        nanosleep(&wait, NULL);
        rc = tell_progress(verify);
    }
    return rc;
}

static int tell(struct kvt_verification *verification,
                const struct kvt_finding *finding)
{
    struct verify *verify = (struct verify *)verification;
    const struct kvt_verify_options *options = verify->options;
    struct kvt_verify_result *result = verify->result;
    bool bad = finding->status != KVT_OK && !finding->unproved;
    result->objects++;
    result->bytes += finding->meta.size;
    result->bad += bad;
    result->unverifiable += finding->unproved;
    result->repaired += finding->repaired;
    if (bad && options->bad != NULL) {
        options->bad(&finding->meta, finding->status, finding->errnum,
                     options->arg);
    }
    int rc = tell_progress(verify);
    return rc != 0 ? rc : pace(verify, finding->meta.size);
}

static uint64_t burst_of(uint64_t rate)
{
    uint64_t burst = rate / BURSTS_PER_SECOND;
    return rate == 0 || burst > BURST_MAX ? BURST_MAX
           : burst < BURST_MIN            ? BURST_MIN
                                          : burst;
}

int kvt_verify(struct kvt_store *store,
               const struct kvt_verify_options *options,
               struct kvt_verify_result *result, struct kvt_error *err)
{
    static const struct kvt_verify_options defaults = KVT_VERIFY_OPTIONS_INIT;
    struct kvt_verify_result unwanted;
    options = options != NULL ? options : &defaults;
    result = result != NULL ? result : &unwanted;
    *result = (struct kvt_verify_result){0};
    if (options->size != sizeof *options) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, 0, "options",
                             "start from KVT_VERIFY_OPTIONS_INIT",
                             "the options' size is %zu bytes, expected %zu",
                             options->size, sizeof *options);
    }
    int rc = kvt_store_usable(store, options->repair != 0, err);
    if (rc != KVT_OK) {
        return rc;
    }
    struct verify verify = {
        .base = {.repairs = options->repair != 0,
                 .burst = burst_of(options->bytes_per_second),
                 .tell = tell},
        .options = options,
        .result = result};
    return store->backend->ops->verify(store->backend, &verify.base, err);
}
