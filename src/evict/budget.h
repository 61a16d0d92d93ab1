/* What a store may take, and what it has taken: bytes allocated on disk,
 * bytes of values, number of objects. A write claims its need before its
 * first byte, so that the limits hold at every moment, also while it is
 * under way. Not thread safe: the layout's lock covers it. */
#ifndef KVT_EVICT_BUDGET_H
#define KVT_EVICT_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

/* What one object, or several, take. */
struct kvt_charge {
    uint64_t allocated;
    uint64_t values;
    uint64_t objects;
};

struct kvt_budget {
    struct kvt_charge limit; /* UINT64_MAX = none */
    struct kvt_charge used;  /* what is there and what is claimed */
    struct kvt_charge peak;
};

void kvt_charge_add(struct kvt_charge *sum, struct kvt_charge part);
void kvt_charge_sub(struct kvt_charge *sum, struct kvt_charge part);
/* Is every part of `have` at least that of `want`? */
bool kvt_charge_covers(struct kvt_charge have, struct kvt_charge want);

/* Each part the smaller of the two. */
struct kvt_charge kvt_charge_least(struct kvt_charge a, struct kvt_charge b);
/* Each part at least that of `floor`. */
void kvt_charge_raise(struct kvt_charge *charge, struct kvt_charge floor);

/* What has to go before `need` fits; all zero when it fits. */
struct kvt_charge kvt_budget_shortage(const struct kvt_budget *budget,
                                      struct kvt_charge need);
/* Can `need` ever fit? */
bool kvt_budget_possible(const struct kvt_budget *budget,
                         struct kvt_charge need);

/* Takes `need`, of which `credit` is going to be freed by the taker before
 * its first byte is written (and is not given back by that freeing). */
void kvt_budget_claim(struct kvt_budget *budget, struct kvt_charge need,
                      struct kvt_charge credit);
void kvt_budget_give_back(struct kvt_budget *budget, struct kvt_charge part);

#endif
