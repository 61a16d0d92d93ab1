#include "support/history.h"

#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>

void history_init(struct history *history, size_t max)
{
    *history = (struct history){.max = max};
    history->ops = calloc(max, sizeof history->ops[0]);
    assert_non_null(history->ops);
}

void history_fini(struct history *history)
{
    free(history->ops);
    history->ops = NULL;
}

uint64_t history_now(struct history *history)
{
    return __atomic_add_fetch(&history->now, 1, __ATOMIC_SEQ_CST);
}

void history_add(struct history *history, enum history_kind kind, uint64_t key,
                 uint64_t version, uint64_t start)
{
    uint64_t end = history_now(history);
    size_t at = __atomic_fetch_add(&history->count, 1, __ATOMIC_RELAXED);

    assert_true(at < history->max);
    if (kind == HISTORY_UNKNOWN) {
        kind = HISTORY_WRITE;
        end = UINT64_MAX;
    }
    history->ops[at] = (struct history_op){kind, key, version, start, end};
}

/* Checking ---------------------------------------------------------------- */

/* A write and the reads of it, or a remove, are a cluster: nothing else of the
 * key lies between them in the order that is sought. So the register holds the
 * version at least from the first end to the last start of them, if the former
 * is earlier ("held"); otherwise one moment between is enough. An order exists
 * when no two versions are held at once, and no cluster that is not held has
 * all of its room inside the time that another is (Gibbons and Korach 1997). */
struct cluster {
    uint64_t version; /* 0: a remove */
    uint64_t first_end;
    uint64_t last_start;
};

static bool is_held(const struct cluster *cluster)
{
    return cluster->first_end < cluster->last_start;
}

static int by_key_and_version(const void *a, const void *b)
{
    const struct history_op *x = a;
    const struct history_op *y = b;

    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    if ((x->kind == HISTORY_REMOVE) != (y->kind == HISTORY_REMOVE)) {
        return x->kind == HISTORY_REMOVE ? -1 : 1;
    }
    if (x->version != y->version) {
        return x->version < y->version ? -1 : 1;
    }
    return (int)x->kind - (int)y->kind; /* the write first */
}

static bool contradict(const struct cluster *a, const struct cluster *b)
{
    if (is_held(a) && is_held(b)) {
        return a->first_end < b->last_start && b->first_end < a->last_start;
    }
    const struct cluster *held = is_held(a) ? a : b;
    const struct cluster *other = is_held(a) ? b : a;
    return is_held(held) && held->first_end < other->last_start &&
           other->first_end < held->last_start;
}

/* The cluster that begins at `ops`; returns how many operations it has, or 0
 * with `why` filled. */
static size_t take_cluster(const struct history_op *ops, size_t count,
                           struct cluster *cluster, char *why, size_t why_size)
{
    const struct history_op *first = &ops[0];
    size_t i;

    *cluster =
        (struct cluster){first->kind == HISTORY_REMOVE ? 0 : first->version,
                         first->end, first->start};
    for (i = 1; i < count && first->kind != HISTORY_REMOVE &&
                ops[i].key == first->key && ops[i].version == first->version;
         i++) {
        const struct history_op *op = &ops[i];
        const char *wrong =
            op->kind != HISTORY_READ        ? "was written twice"
            : first->kind == HISTORY_FAILED ? "was seen, and had failed"
            : first->kind == HISTORY_WRITE && op->end < first->start
                ? "was seen before it was written"
                : NULL;
        if (wrong != NULL) {
            snprintf(why, why_size, "key %llu: version %llu %s",
                     (unsigned long long)op->key,
                     (unsigned long long)op->version, wrong);
            return 0;
        }
        cluster->first_end =
            op->end < cluster->first_end ? op->end : cluster->first_end;
        cluster->last_start =
            op->start > cluster->last_start ? op->start : cluster->last_start;
    }
    if (first->kind == HISTORY_READ) {
        snprintf(why, why_size, "key %llu: version %llu was never written",
                 (unsigned long long)first->key,
                 (unsigned long long)first->version);
        return 0;
    }
    return i;
}

/* All operations of one key. */
static bool key_is_linear(const struct history_op *ops, size_t count, char *why,
                          size_t why_size)
{
    struct cluster *clusters = malloc(count * sizeof clusters[0]);
    size_t cluster_count = 0;
    bool linear = true;

    assert_non_null(clusters);
    for (size_t i = 0; i < count && linear;) {
        struct cluster *cluster = &clusters[cluster_count];
        size_t taken = take_cluster(ops + i, count - i, cluster, why, why_size);

        linear = taken > 0;
        cluster_count += ops[i].kind != HISTORY_FAILED;
        i += taken;
    }
    for (size_t i = 0; i < cluster_count && linear; i++) {
        for (size_t j = 0; j < i && linear; j++) {
            linear = !contradict(&clusters[i], &clusters[j]);
            if (!linear) {
                snprintf(why, why_size,
                         "key %llu: version %llu was there before and after "
                         "version %llu (0: a remove)",
                         (unsigned long long)ops[0].key,
                         (unsigned long long)clusters[i].version,
                         (unsigned long long)clusters[j].version);
            }
        }
    }
    free(clusters);
    return linear;
}

bool history_is_linear(struct history_op *ops, size_t count, char *why,
                       size_t why_size)
{
    qsort(ops, count, sizeof ops[0], by_key_and_version);
    for (size_t i = 0; i < count;) {
        size_t end = i;

        while (end < count && ops[end].key == ops[i].key) {
            end++;
        }
        if (!key_is_linear(ops + i, end - i, why, why_size)) {
            return false;
        }
        i = end;
    }
    return true;
}
