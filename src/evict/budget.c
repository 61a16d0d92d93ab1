#include "evict/budget.h"

#include <assert.h>

void kvt_charge_add(struct kvt_charge *sum, struct kvt_charge part)
{
    sum->allocated += part.allocated;
    sum->values += part.values;
    sum->objects += part.objects;
}

void kvt_charge_sub(struct kvt_charge *sum, struct kvt_charge part)
{
    assert(kvt_charge_covers(*sum, part));
    sum->allocated -= part.allocated;
    sum->values -= part.values;
    sum->objects -= part.objects;
}

bool kvt_charge_covers(struct kvt_charge have, struct kvt_charge want)
{
    return have.allocated >= want.allocated && have.values >= want.values &&
           have.objects >= want.objects;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

struct kvt_charge kvt_charge_least(struct kvt_charge a, struct kvt_charge b)
{
    return (struct kvt_charge){smaller(a.allocated, b.allocated),
                               smaller(a.values, b.values),
                               smaller(a.objects, b.objects)};
}

void kvt_charge_raise(struct kvt_charge *charge, struct kvt_charge floor)
{
    charge->allocated = larger(charge->allocated, floor.allocated);
    charge->values = larger(charge->values, floor.values);
    charge->objects = larger(charge->objects, floor.objects);
}

static uint64_t shortage(uint64_t used, uint64_t need, uint64_t limit)
{
    uint64_t total = need <= UINT64_MAX - used ? used + need : UINT64_MAX;
    return total > limit ? total - limit : 0;
}

struct kvt_charge kvt_budget_shortage(const struct kvt_budget *budget,
                                      struct kvt_charge need)
{
    const struct kvt_charge *used = &budget->used;
    const struct kvt_charge *limit = &budget->limit;
    return (struct kvt_charge){
        .allocated =
            shortage(used->allocated, need.allocated, limit->allocated),
        .values = shortage(used->values, need.values, limit->values),
        .objects = shortage(used->objects, need.objects, limit->objects),
    };
}

bool kvt_budget_possible(const struct kvt_budget *budget,
                         struct kvt_charge need)
{
    return kvt_charge_covers(budget->limit, need);
}

void kvt_budget_claim(struct kvt_budget *budget, struct kvt_charge need,
                      struct kvt_charge credit)
{
    struct kvt_charge *peak = &budget->peak;
    kvt_charge_add(&budget->used, need);
    kvt_charge_sub(&budget->used, credit);
    peak->allocated = larger(peak->allocated, budget->used.allocated);
    peak->values = larger(peak->values, budget->used.values);
    peak->objects = larger(peak->objects, budget->used.objects);
}

void kvt_budget_give_back(struct kvt_budget *budget, struct kvt_charge part)
{
    kvt_charge_sub(&budget->used, part);
}
