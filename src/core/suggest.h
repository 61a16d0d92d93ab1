/* "Did you mean": the name that a mistyped one is nearest to. */
#ifndef KVT_CORE_SUGGEST_H
#define KVT_CORE_SUGGEST_H

#include <stddef.h>

#define KVT_SUGGEST_SIZE 128u

/* The best candidate so far. Start with kvt_suggest_init, offer every name,
 * then look at `best`: "" when none is near. */
struct kvt_suggest {
    const char *wrong; /* borrowed */
    size_t cost;
    char best[KVT_SUGGEST_SIZE];
};

void kvt_suggest_init(struct kvt_suggest *suggest, const char *wrong);
void kvt_suggest_offer(struct kvt_suggest *suggest, const char *name);

/* Insertions, removals, replacements and swaps of neighbours that make one
 * text of the other; (size_t)-1 when one is KVT_SUGGEST_SIZE or longer. */
size_t kvt_edit_distance(const char *a, const char *b);

#endif
