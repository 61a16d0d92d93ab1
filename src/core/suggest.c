#include "core/suggest.h"

#include <stdio.h>
#include <string.h>

static size_t suggest_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t kvt_edit_distance(const char *a, const char *b)
{
    /* three rows of the usual matrix: a swap looks two rows back */
    size_t rows[3][KVT_SUGGEST_SIZE];
    size_t a_size = strlen(a);
    size_t b_size = strlen(b);

    if (a_size >= KVT_SUGGEST_SIZE || b_size >= KVT_SUGGEST_SIZE) {
        return (size_t)-1;
    }
    for (size_t j = 0; j <= b_size; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a_size; i++) {
        size_t *now = rows[i % 3];
        const size_t *last = rows[(i + 2) % 3];
        const size_t *before = rows[(i + 1) % 3];

        now[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;

            now[j] = suggest_min(last[j] + 1, now[j - 1] + 1);
            now[j] = suggest_min(now[j], last[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
                a[i - 2] == b[j - 1]) {
                now[j] = suggest_min(now[j], before[j - 2] + 1);
            }
        }
    }
    return rows[a_size % 3][b_size];
}

void kvt_suggest_init(struct kvt_suggest *suggest, const char *wrong)
{
    suggest->wrong = wrong;
    /* A third of the letters may be wrong; beyond that a suggestion is noise.
     * The cost of the best must be less than this to be taken. */
    suggest->cost = strlen(wrong) / 3 + 2;
    suggest->best[0] = '\0';
}

void kvt_suggest_offer(struct kvt_suggest *suggest, const char *name)
{
    size_t cost = kvt_edit_distance(suggest->wrong, name);

    /* `size_limit` for `bucket.size_limit`: a part of a name, left alone */
    if (cost > 2 && strlen(suggest->wrong) >= 4 &&
        strlen(name) < KVT_SUGGEST_SIZE && strstr(name, suggest->wrong)) {
        cost = 2;
    }
    if (cost < suggest->cost) {
        suggest->cost = cost;
        snprintf(suggest->best, sizeof(suggest->best), "%s", name);
    }
}
