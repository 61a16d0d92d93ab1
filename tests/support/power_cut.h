/* Power loss at every moment of some work on a layout of one file a key. */
#ifndef KVT_TESTS_POWER_CUT_H
#define KVT_TESTS_POWER_CUT_H

#include <stdbool.h>

/* What main returns. `has_owner`: one process owns the store. */
int power_cut_run(const char *layout, bool has_owner);

#endif
