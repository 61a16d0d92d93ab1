/* Rules of the fault wrapper: which calls they hit, and what a bad one is told.
 * What they do to calls is in test_fault.c. */
#include "support/unit.h"

#include "fs/fault_rules.h"

#include <errno.h>
#include <string.h>

static uint64_t seed = 42;

static struct kvt_fault_rules *rules_of(const char *text)
{
    struct kvt_fault_rules *rules = NULL;
    struct kvt_error err;
    if (kvt_fault_rules_open(text, seed, &rules, &err) != KVT_OK) {
        fail_msg("%s: %s", text, err.message);
    }
    return rules;
}

/* The errno of each of `count` calls, as a text: "..E.", where E is hit. */
static void hits(const char *text, enum kvt_rule_op op, const char *path,
                 char *pattern, size_t count)
{
    struct kvt_fault_rules *rules = rules_of(text);
    for (size_t i = 0; i < count; i++) {
        struct kvt_fault_hit hit = kvt_fault_rules_match(rules, op, path, NULL);
        pattern[i] = hit.errnum != 0 ? 'E' : '.';
    }
    pattern[count] = '\0';
    kvt_fault_rules_close(rules);
}

static void expect_hits(const char *text, const char *path, const char *pattern)
{
    char got[64];
    hits(text, KVT_RULE_READ, path, got, strlen(pattern));
    assert_string_equal(got, pattern);
}

static void a_rule_says_which_calls(void **state)
{
    (void)state;
    expect_hits("", "p", "......");
    expect_hits(" ; ;", "p", "......");
    expect_hits("read,do=EIO", "p", "EEEEEE");
    expect_hits("read,nth=3,do=EIO", "p", "..E...");
    expect_hits("read,every=2,do=EIO", "p", ".E.E.E");
    expect_hits("read,from=4,do=EIO", "p", "...EEE");
    expect_hits(" read , do=EIO , nth=1 ;", "p", "E.....");
    expect_hits("write,do=EIO", "p", "......");
    expect_hits("read,nth=1,do=EIO; read,nth=3,do=EPERM", "p", "E.E...");
    expect_hits("read,prob=0,do=EIO", "p", "......");
    expect_hits("read,prob=1,do=EIO", "p", "EEEEEE");
}

static void a_pattern_chooses_the_paths(void **state)
{
    (void)state;
    expect_hits("read@*.tmp,do=EIO", "a/b.tmp", "E");
    expect_hits("read@*.tmp,do=EIO", "a/b", ".");
    expect_hits("read@0?/[ab]*,do=EIO", "00/b1", "E");
    expect_hits("read@0?/[ab]*,do=EIO", "00/c1", ".");
    /* each rule counts what it matches */
    struct kvt_fault_rules *rules =
        rules_of("rename@new,nth=2,do=EIO;rename,nth=3,do=EPERM");
    const struct {
        const char *from;
        const char *to;
        int errnum;
    } calls[] = {
        {"a", "b", 0}, {"new", "b", 0}, {"a", "new", EIO}, {"a", "b", 0}};
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        struct kvt_fault_hit hit = kvt_fault_rules_match(
            rules, KVT_RULE_RENAME, calls[i].from, calls[i].to);
        assert_int_equal(hit.errnum, calls[i].errnum);
    }
    kvt_fault_rules_close(rules);
}

static void rules_add_up(void **state)
{
    (void)state;
    struct kvt_fault_rules *rules =
        rules_of("write,delay=3;write,hang=4;write,short=9;write,short=7;"
                 "write,do=ENOSPC;write,do=EIO;write,nth=2,hang");
    struct kvt_fault_hit hit =
        kvt_fault_rules_match(rules, KVT_RULE_WRITE, "p", NULL);
    assert_int_equal(hit.delay_ms, 7);
    assert_int_equal(hit.limit, 7);
    assert_int_equal(hit.errnum, ENOSPC);
    assert_false(hit.hang);
    hit = kvt_fault_rules_match(rules, KVT_RULE_WRITE, "p", NULL);
    assert_true(hit.hang);
    kvt_fault_rules_close(rules);
    rules = rules_of("write,short=7;write,short=9"); /* the least, always */
    hit = kvt_fault_rules_match(rules, KVT_RULE_WRITE, "p", NULL);
    assert_int_equal(hit.limit, 7);
    kvt_fault_rules_close(rules);
}

static void chance_is_the_same_on_every_run(void **state)
{
    char first[201];
    char second[201];
    size_t count = 0;
    (void)state;
    hits("read,prob=0.25,do=EIO", KVT_RULE_READ, "p", first, 200);
    hits("read,prob=0.25,do=EIO", KVT_RULE_READ, "p", second, 200);
    assert_string_equal(first, second);
    for (size_t i = 0; i < 200; i++) {
        count += first[i] == 'E';
    }
    assert_in_range(count, 30, 70);
    seed = 43; /* another run, if one wants it */
    hits("read,prob=0.25,do=EIO", KVT_RULE_READ, "p", second, 200);
    seed = 42;
    assert_string_not_equal(first, second);
}

static void a_bad_rule_is_named_with_its_place(void **state)
{
    static const struct {
        const char *text;
        const char *message;
        const char *remedy;
    } cases[] = {
        {"reed,do=EIO",
         "rule 1 of fault.rules, at character 1: no such "
         "operation \"reed\"",
         "rename"},
        {",do=EIO", "at character 1", "open"},
        {"@x,do=EIO", "at character 1", "open"},
        {"read@,do=EIO", "at character 6: no pattern", "*.tmp"},
        {"read", "at character 5: the rule does not say what to do", "do="},
        {"read,nth=2", "at character 11", "short=N"},
        {"read,nth=2;write,do=EIO", "rule 1 of fault.rules, at character 11",
         "hang"},
        {"read,do=EIO; write,nth=0,do=EIO",
         "rule 2 of fault.rules, at character 24", "1 and above"},
        {"read,nth=x,do=EIO", "at character 10: not a number", "1 and above"},
        {"read,prob=1.5,do=EIO", "at character 11: not a prob", "0 to 1"},
        {"read,nth=1,every=2,do=EIO", "at character 18: a second cond",
         "one of"},
        {"read,do=EIO,hang", "at character 13: a second fault", "one of"},
        {"read,do=EWHAT", "at character 9: no such error \"EWHAT\"", "ENOSPC"},
        {"read,do=5", "at character 9: no such error", "ENOSPC"},
        {"read,delay=-1", "at character 12: not a number", "0 and above"},
        {"read,sleep=1", "at character 6: no such field", "delay=MS"},
        {"read,nth", "at character 6: no such field", "nth=N"},
        {"read,", "at character 6: no such field", "nth=N"},
        {"open,short=1", "short= cannot be kept for \"open\"", "write"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct kvt_fault_rules *rules = NULL;
        struct kvt_error err;
        assert_int_equal(kvt_fault_rules_open(cases[i].text, 0, &rules, &err),
                         KVT_ERR_INVALID_PARAMS);
        if (strstr(err.message, cases[i].message) == NULL ||
            strstr(err.remedy, cases[i].remedy) == NULL) {
            fail_msg("%s: %s; %s", cases[i].text, err.message, err.remedy);
        }
        assert_string_equal(err.subject, "fault.rules");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rule_says_which_calls),
        cmocka_unit_test(a_pattern_chooses_the_paths),
        cmocka_unit_test(rules_add_up),
        cmocka_unit_test(chance_is_the_same_on_every_run),
        cmocka_unit_test(a_bad_rule_is_named_with_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
