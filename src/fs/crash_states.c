#include "fs/crash_states.h"

#include <stdlib.h>
#include <string.h>

enum {
    SUBSETS_MAX = 8, /* so many pending operations: all their subsets */
    SEEDED = 64,     /* subsets by chance above that */
    TEARS = 3,
    SEEDED_TEARS = 16,
};

/* The operations that a loss may undo. */
struct pending {
    uint64_t position;
    size_t *ops;
    size_t count;
    size_t writes; /* of them */
};

static int find_pending(const struct kvt_crash_log *log, uint64_t position,
                        struct pending *pending)
{
    *pending = (struct pending){.position = position};
    pending->ops = malloc((size_t)(position + 1) * sizeof pending->ops[0]);
    if (pending->ops == NULL) {
        return -1;
    }
    for (size_t i = 0; i < position; i++) {
        const struct kvt_crash_op *op = &log->ops[i];
        if (op->kind != KVT_CRASH_SYNC && op->durable_at > position) {
            pending->ops[pending->count++] = i;
            pending->writes += op->kind == KVT_CRASH_WRITE && op->size > 0;
        }
    }
    return 0;
}

static size_t subset_count(const struct pending *pending)
{
    size_t n = pending->count;
    return n <= SUBSETS_MAX ? (size_t)1 << n : (n + 1) + n + SEEDED;
}

static size_t state_count(const struct pending *pending)
{
    size_t torn = pending->writes * 2 * TEARS;
    return subset_count(pending) + torn + (torn > 0 ? SEEDED_TEARS : 0);
}

size_t kvt_crash_count_states(const struct kvt_crash_log *log,
                              uint64_t position)
{
    struct pending pending;
    if (position > log->op_count || find_pending(log, position, &pending)) {
        return 0;
    }
    size_t count = state_count(&pending);
    free(pending.ops);
    return count;
}

/* splitmix64's finaliser */
static uint64_t number(uint64_t position, uint64_t state, uint64_t i)
{
    uint64_t x = position * UINT64_C(0x9e3779b97f4a7c15) +
                 state * UINT64_C(0xd1b54a32d192ed03) + i;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static bool subset_keeps(const struct pending *pending, size_t state, size_t i)
{
    size_t n = pending->count;
    if (n <= SUBSETS_MAX) {
        return (state >> i & 1) != 0;
    }
    if (state <= n) {
        return i < state; /* a prefix */
    }
    if (state <= 2 * n) {
        return i != state - n - 1; /* one is missing */
    }
    return (number(pending->position, state, i) & 1) != 0;
}

static struct kvt_crash_fate torn(const struct kvt_crash_op *op,
                                  enum kvt_crash_tear tear, uint64_t chance)
{
    return (struct kvt_crash_fate){true, tear, op->offset + chance % op->size};
}

/* The fate of the i-th pending operation. `write` is its place among the
 * pending writes, if it is one. */
static struct kvt_crash_fate fate_of(const struct kvt_crash_log *log,
                                     const struct pending *pending,
                                     size_t state, size_t i, size_t write)
{
    const struct kvt_crash_op *op = &log->ops[pending->ops[i]];
    bool tears = op->kind == KVT_CRASH_WRITE && op->size > 0;
    uint64_t chance = number(pending->position, state, i);
    size_t subsets = subset_count(pending);
    if (state < subsets) {
        bool kept = subset_keeps(pending, state, i);
        return (struct kvt_crash_fate){.kept = kept};
    }
    state -= subsets;
    size_t target = state / (2 * TEARS);
    if (target < pending->writes) {
        /* one write is torn; what came behind it is there, or is not */
        bool all = state % 2 == 0;
        if (tears && write == target) {
            return torn(op, KVT_CRASH_CUT + state / 2 % TEARS, chance);
        }
        return (struct kvt_crash_fate){.kept = all || write <= target};
    }
    if (tears && chance % 4 == 0) {
        return torn(op, KVT_CRASH_CUT + (chance >> 8) % TEARS, chance >> 16);
    }
    return (struct kvt_crash_fate){.kept = chance % 4 != 1};
}

struct kvt_crash_fate *kvt_crash_fates(const struct kvt_crash_log *log,
                                       uint64_t position, size_t state)
{
    struct pending pending;
    if (find_pending(log, position, &pending) != 0) {
        return NULL;
    }
    struct kvt_crash_fate *fates =
        malloc((size_t)(position + 1) * sizeof fates[0]);
    for (size_t i = 0; fates != NULL && i < position; i++) {
        fates[i] = (struct kvt_crash_fate){.kept = true};
    }
    size_t write = 0; /* writes up to here, the next one not counted */
    for (size_t i = 0; fates != NULL && i < pending.count; i++) {
        const struct kvt_crash_op *op = &log->ops[pending.ops[i]];
        fates[pending.ops[i]] = fate_of(log, &pending, state, i, write);
        write += op->kind == KVT_CRASH_WRITE && op->size > 0;
    }
    free(pending.ops);
    return fates;
}
