/* The check of what threads saw (support/history.h), on histories made by hand:
 * good ones, and for each rule one that breaks it. */
#include "support/history.h"
#include "support/unit.h"

#include <string.h>

#define W HISTORY_WRITE
#define F HISTORY_FAILED
#define D HISTORY_REMOVE
#define R HISTORY_READ

struct sample {
    const char *what;
    const char *why; /* null: it is linear */
    struct history_op ops[8];
};

/* Operations of key 7: kind, key, version, start, end. */
static const struct sample samples[] = {
    {"nothing happened", NULL, {{0, 0, 0, 0, 0}}},
    {"one after another",
     NULL,
     {{W, 7, 1, 1, 2}, {R, 7, 1, 3, 4}, {W, 7, 2, 5, 6}, {R, 7, 2, 7, 8}}},
    {"a read beside a write may see either",
     NULL,
     {{W, 7, 1, 1, 2}, {W, 7, 2, 3, 9}, {R, 7, 1, 4, 5}, {R, 7, 2, 6, 7}}},
    {"a read may see a write that is not over",
     NULL,
     {{W, 7, 1, 1, 9}, {R, 7, 1, 2, 3}}},
    {"writers beside each other, the first number last",
     NULL,
     {{W, 7, 1, 1, 10}, {W, 7, 2, 2, 9}, {R, 7, 2, 11, 12}}},
    {"writers beside each other, seen in that order",
     NULL,
     {{W, 7, 2, 1, 10}, {W, 7, 1, 2, 9}, {R, 7, 2, 3, 4}, {R, 7, 1, 11, 12}}},
    {"a remove beside a read",
     NULL,
     {{W, 7, 1, 1, 2}, {D, 7, 0, 3, 6}, {R, 7, 1, 4, 8}}},
    {"a remove, and a write behind it",
     NULL,
     {{W, 7, 1, 1, 2}, {D, 7, 0, 3, 4}, {W, 7, 2, 5, 6}, {R, 7, 2, 7, 8}}},
    {"a remove beside the write that is seen",
     NULL,
     {{W, 7, 1, 1, 6}, {D, 7, 0, 2, 5}, {R, 7, 1, 7, 8}}},
    {"another key's write does not matter",
     NULL,
     {{W, 7, 1, 1, 2}, {W, 8, 5, 3, 4}, {D, 8, 0, 5, 6}, {R, 7, 1, 7, 8}}},
    {"what failed is not seen",
     NULL,
     {{W, 7, 1, 1, 2}, {F, 7, 2, 3, 4}, {R, 7, 1, 5, 6}}},
    {"an old version behind an acknowledged one",
     "before and after",
     {{W, 7, 1, 1, 2}, {W, 7, 2, 3, 4}, {R, 7, 1, 5, 6}}},
    {"an old version behind a new one that was seen, and is not over",
     "before and after",
     {{W, 7, 1, 1, 2}, {W, 7, 2, 3, 20}, {R, 7, 2, 5, 6}, {R, 7, 1, 7, 8}}},
    {"two writers, seen in one order and then in the other",
     "before and after",
     {{W, 7, 1, 1, 10},
      {W, 7, 2, 2, 9},
      {R, 7, 1, 11, 12},
      {R, 7, 2, 13, 14}, /* all writes were over before */
      {R, 7, 1, 15, 16}}},
    {"two readers disagree about two writers that are over",
     "before and after",
     {{W, 7, 1, 1, 10}, {W, 7, 2, 2, 9}, {R, 7, 1, 11, 12}, {R, 7, 2, 13, 14}}},
    {"a version behind an acknowledged remove",
     "before and after",
     {{W, 7, 1, 1, 2}, {D, 7, 0, 3, 4}, {R, 7, 1, 5, 6}}},
    {"a version that comes back behind a remove, with a later write",
     "before and after",
     {{W, 7, 1, 1, 2}, {D, 7, 0, 3, 4}, {W, 7, 2, 5, 6}, {R, 7, 1, 7, 8}}},
    {"a read of the future",
     "before it was written",
     {{R, 7, 1, 1, 2}, {W, 7, 1, 3, 4}}},
    {"a read of what nobody wrote", "never written", {{R, 7, 1, 1, 2}}},
    {"a read of what failed", "had failed", {{F, 7, 1, 1, 2}, {R, 7, 1, 3, 4}}},
    {"a version that was written twice",
     "written twice",
     {{W, 7, 1, 1, 2}, {W, 7, 1, 3, 4}}},
    {"the second key is looked at, too",
     "key 8",
     {{W, 7, 1, 1, 2}, {W, 8, 1, 3, 4}, {D, 8, 0, 5, 6}, {R, 8, 1, 7, 8}}},
};

static void histories_are_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(samples); i++) {
        const struct sample *sample = &samples[i];
        struct history_op ops[COUNT_OF(sample->ops)];
        char why[200] = "";
        size_t count = 0;

        memcpy(ops, sample->ops, sizeof ops);
        while (count < COUNT_OF(ops) && ops[count].kind != 0) {
            count++;
        }
        bool linear = history_is_linear(ops, count, why, sizeof why);
        if (linear != (sample->why == NULL) ||
            (!linear && strstr(why, sample->why) == NULL)) {
            fail_msg("%s: %s", sample->what, linear ? "linear" : why);
        }
    }
}

/* Any history of one thread after another is linear; with one read that sees
 * what was there two writes ago, it is not. */
static void long_histories_are_told_apart(void **state)
{
    enum {
        COUNT = 3000
    };
    struct history history;
    uint64_t held[5] = {0};
    uint64_t seed = 5;
    char why[200];

    (void)state;
    history_init(&history, COUNT + 5);
    for (uint64_t version = 1; version < COUNT; version++) {
        uint64_t key = unit_random_below(&seed, 5);
        uint64_t start = history_now(&history);
        size_t what = unit_random_below(&seed, 4);

        if (what == 0) {
            history_add(&history, HISTORY_WRITE, key, version, start);
            held[key] = version;
        } else if (what == 1) {
            history_add(&history, HISTORY_REMOVE, key, 0, start);
            held[key] = 0;
        } else if (held[key] != 0) {
            history_add(&history, HISTORY_READ, key, held[key], start);
        }
    }
    /* a write of which nobody knows may be seen now, or never */
    uint64_t begun = history_now(&history);
    history_add(&history, HISTORY_UNKNOWN, 5, 1, begun);
    history_add(&history, HISTORY_UNKNOWN, 5, 2, begun);
    begun = history_now(&history);
    history_add(&history, HISTORY_REMOVE, 5, 0, begun);
    begun = history_now(&history);
    history_add(&history, HISTORY_READ, 5, 2, begun);
    assert_true(history_is_linear(history.ops, history.count, why, sizeof why));
    for (size_t i = 0; i < history.count; i++) {
        struct history_op *op = &history.ops[i];

        if (op->kind == HISTORY_WRITE && op->end < history.now / 2) {
            uint64_t start = history_now(&history); /* long gone */
            history_add(&history, HISTORY_READ, op->key, op->version, start);
            break;
        }
    }
    assert_false(
        history_is_linear(history.ops, history.count, why, sizeof why));
    history_fini(&history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(histories_are_told_apart),
        cmocka_unit_test(long_histories_are_told_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
