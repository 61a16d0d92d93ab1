/* Torture of a layout: every kind of call fails once at its n-th time,
 * and fails from there on, for each n that the work reaches; transfers are
 * short; anything fails by chance; calls come too late. */
#include "support/torture.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
    CALLS = 40
};

static const char *backend;

static const char *const ops[] = {"open",   "close",  "read", "write", "sync",
                                  "rename", "remove", "list", "stat",  "mkdir"};
static const struct {
    const char *name;
    int errnum;
} errors[] = {{"ENOSPC", ENOSPC}, {"EIO", EIO}, {"EMFILE", EMFILE}};

/* All errors at the n-th call, and from it on; how many operations were told
 * of a failure. */
static size_t torture_call(struct torture *t, int n, size_t *turn)
{
    /* the kinds of store take turns, so that each meets each fault */
    size_t stride = test_scale() > 1 ? 1 : TORTURE_KINDS;
    size_t told_of = 0;
    char rules[64];
    for (size_t i = 0; i < 2 * sizeof errors / sizeof errors[0]; i++) {
        for (size_t kind = (*turn)++ % stride; kind < TORTURE_KINDS;
             kind += stride) {
            t->errnum = errors[i / 2].errnum;
            t->once = i % 2 == 1;
            t->always = n == 1 && !t->once;
            torture_choose_kind(t, kind);
            snprintf(rules, sizeof rules, "%s,%s=%d,do=%s", t->op,
                     t->once ? "nth" : "from", n, errors[i / 2].name);
            snprintf(t->what, sizeof t->what, "%s%s%s%s", rules,
                     t->durable ? " durable" : "", t->evicts ? " evicts" : "",
                     t->empty ? " empty" : "");
            torture_once(t, rules);
            told_of += t->failures;
        }
    }
    return told_of;
}

static void torture_op(const char *op)
{
    struct torture t;
    size_t turn = 0;
    int silent = 0; /* so many n in a row that nobody noticed */
    torture_init(&t, backend, op);
    for (int n = 1; n <= CALLS && silent < 3; n++) {
        silent = torture_call(&t, n, &turn) == 0 ? silent + 1 : 0;
    }
    torture_fini(&t);
}

static void short_transfers(const char *op)
{
    struct torture t;
    char rules[64];
    torture_init(&t, backend, op);
    for (int n = 1; n <= CALLS; n++) {
        for (size_t turn = (size_t)n % 4; turn < 16; turn += 4) {
            t.once = turn >= 8;
            torture_choose_kind(&t, turn);
            snprintf(rules, sizeof rules, "%s,%s=%d,short=%d", op,
                     t.once ? "nth" : "from", n, n % 3 * 50);
            snprintf(t.what, sizeof t.what, "%s, kind %zu", rules, turn);
            torture_once(&t, rules);
        }
    }
    torture_fini(&t);
}

/* Rounds with a store of its own each; one of a log takes longer to open and
 * close, since it seals. */
static unsigned rounds(const struct torture *t, unsigned most)
{
    return (t->is_log ? most / 3 : most) * test_scale();
}

/* Faults by chance, of every kind at once. */
static void when_anything_fails(void **state)
{
    struct torture t;
    (void)state;
    torture_init(&t, backend, "any");
    t.errnum = EIO;
    t.many = true;
    for (unsigned seed = 1; seed <= rounds(&t, 200); seed++) {
        char rules[1024] = "";
        size_t at = 0;
        for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
            /* an open store needs hundreds of calls of some kinds */
            bool often =
                strcmp(ops[i], "list") == 0 || strcmp(ops[i], "stat") == 0;
            at += (size_t)snprintf(rules + at, sizeof rules - at,
                                   "%s,prob=%s,do=EIO;", ops[i],
                                   often ? "0.001" : "0.1");
        }
        torture_choose_kind(&t, seed);
        snprintf(t.what, sizeof t.what, "fault.seed %u", seed);
        snprintf(t.seed, sizeof t.seed, "%u", seed);
        torture_once(&t, rules);
    }
    torture_fini(&t);
}

/* Two calls of a work fail: also the one that was to undo the other. */
static void when_two_calls_fail(void **state)
{
    struct torture t;
    uint64_t random = 88172645463325252u;
    char rules[128];
    (void)state;
    torture_init(&t, backend, "pair");
    t.errnum = EIO;
    t.many = true;
    for (unsigned i = 0; i < rounds(&t, 300); i++) {
        const char *op[2];
        unsigned nth[2];
        for (int at = 0; at < 2; at++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            op[at] = ops[random % (sizeof ops / sizeof ops[0])];
            nth[at] = (unsigned)(random >> 32) % 12 + 1;
        }
        snprintf(rules, sizeof rules, "%s,nth=%u,do=EIO;%s,nth=%u,do=EIO",
                 op[0], nth[0], op[1], nth[1]);
        torture_choose_kind(&t, i);
        snprintf(t.what, sizeof t.what, "%s, kind %u", rules, i % 8);
        torture_once(&t, rules);
    }
    torture_fini(&t);
}

static const char *const late_calls[] = {
    "open@*tmp*",    "write@*tmp*",   "close@*tmp*",
    "sync@*tmp*",    "rename@*/key*", "read@*/key*",
    "remove@*/key*", "stat@*/key*",   "sync@[0-9a-f]*"};
static const char *const late_calls_of_log[] = {
    "open@*.kvb",   "write@*.kvb", "close@*.kvb",
    "sync@*.kvb",   "read@*.kvb",  "mkdir@w-*",
    "remove@*.kvb", "sync@w-*",    "remove@.kvtier/index"};
_Static_assert(sizeof late_calls == sizeof late_calls_of_log, "as many");

/* The n-th call of a kind really happens, but long after the deadline. */
static void when_calls_come_too_late(void **state)
{
    struct torture t;
    char rules[64];
    size_t turn = 0;
    (void)state;
    torture_init(&t, backend, "late");
    const char *const *calls = t.is_log ? late_calls_of_log : late_calls;
    t.errnum = ETIMEDOUT;
    t.once = true;
    t.many = true;
    t.deadline_ms = 20;
    for (unsigned n = 1; n <= 4 * test_scale(); n++) {
        for (size_t i = 0; i < sizeof late_calls / sizeof late_calls[0]; i++) {
            torture_choose_kind(&t, turn++ & 3);
            snprintf(rules, sizeof rules, "%s,nth=%u,hang=60", calls[i], n);
            snprintf(t.what, sizeof t.what, "%s%s%s", rules,
                     t.durable ? " durable" : "", t.evicts ? " evicts" : "");
            torture_once(&t, rules);
        }
    }
    torture_fini(&t);
}

#define TORTURE(number, name)                                                  \
    static void when_##name##_fails(void **state)                              \
    {                                                                          \
        (void)state;                                                           \
        torture_op(ops[number]);                                               \
    }
TORTURE(0, open)
TORTURE(1, close)
TORTURE(2, read)
TORTURE(3, write)
TORTURE(4, sync)
TORTURE(5, rename)
TORTURE(6, remove)
TORTURE(7, list)
TORTURE(8, stat)
TORTURE(9, mkdir)

static void when_reads_are_short(void **state)
{
    (void)state;
    short_transfers("read");
}

static void when_writes_are_short(void **state)
{
    (void)state;
    short_transfers("write");
}

int torture_suite_run(const char *layout)
{
    backend = layout;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(when_open_fails),
        cmocka_unit_test(when_close_fails),
        cmocka_unit_test(when_read_fails),
        cmocka_unit_test(when_write_fails),
        cmocka_unit_test(when_sync_fails),
        cmocka_unit_test(when_rename_fails),
        cmocka_unit_test(when_remove_fails),
        cmocka_unit_test(when_list_fails),
        cmocka_unit_test(when_stat_fails),
        cmocka_unit_test(when_mkdir_fails),
        cmocka_unit_test(when_reads_are_short),
        cmocka_unit_test(when_writes_are_short),
        cmocka_unit_test(when_anything_fails),
        cmocka_unit_test(when_two_calls_fail),
        cmocka_unit_test(when_calls_come_too_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
