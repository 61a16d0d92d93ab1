/* Power loss at every moment of some work on a layout. */
#ifndef KVT_TESTS_POWER_CUT_H
#define KVT_TESTS_POWER_CUT_H

#include <kvtier/kvtier.h>
#include <stdbool.h>
#include <stddef.h>

enum {
    CUT_STEPS_MAX = 48
};

enum power_cut_what {
    CUT_PUT,
    CUT_REMOVE,
    CUT_REMOVE_ALL,
    CUT_USE,   /* a load */
    CUT_SEAL,  /* what was done so far holds at level `seal`, too */
    CUT_EVICT, /* any key may be absent */
    CUT_CLOSE, /* as a clean close does it */
};

/* `key` and `second`: of 0 to 4; the second is in the same batch, or -1.
 * `version`: 1 to 3. */
struct power_cut_step {
    enum power_cut_what what;
    int key;
    int second;
    unsigned version;
};

struct power_cut {
    const char *backend;
    bool owned; /* what is damaged is put aside at the first load */
    const char *level;
    bool unchecked; /* checksum off */
    const char *const (*settings)[2];
    size_t setting_count;
    const struct power_cut_step *steps;
    size_t step_count;
    size_t before; /* so many are done, and the store closed, before the work */
    /* for the steps of these names, where there are such */
    void (*seal)(struct kvt_store *store);
    void (*evict)(struct kvt_store *store);
    void (*close)(struct kvt_store *store);
    void (*boot_again)(void); /* the machine was down, or null */
};

/* Does the work, cuts it, and fails the test where a state does not hold. */
void power_cut_everywhere(const struct power_cut *spec);

/* The usual work at two levels; what main returns. `has_owner`: one process
 * owns the store. */
int power_cut_run(const char *backend, bool has_owner);

#endif
