#include "fs/fault_rules.h"

#include "core/config_value.h"
#include "core/errnum.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

enum when {
    WHEN_ALWAYS,
    WHEN_NTH,
    WHEN_EVERY,
    WHEN_FROM,
    WHEN_PROB,
};

enum what {
    WHAT_UNKNOWN,
    WHAT_ERROR,
    WHAT_SHORT,
    WHAT_DELAY,
    WHAT_HANG,
};

struct rule {
    enum kvt_rule_op op;
    char *glob; /* null: every path */
    enum when when;
    uint64_t n;
    double prob;
    enum what what;
    uint64_t amount; /* errno, bytes or milliseconds */
    uint64_t count;  /* atomic: calls matched so far */
};

struct kvt_fault_rules {
    uint64_t seed;
    size_t count;
    struct rule *rules;
};

static const char *const op_names[] = {
    [KVT_RULE_OPEN] = "open",     [KVT_RULE_CLOSE] = "close",
    [KVT_RULE_READ] = "read",     [KVT_RULE_WRITE] = "write",
    [KVT_RULE_SYNC] = "sync",     [KVT_RULE_RENAME] = "rename",
    [KVT_RULE_REMOVE] = "remove", [KVT_RULE_LIST] = "list",
    [KVT_RULE_STAT] = "stat",     [KVT_RULE_MKDIR] = "mkdir",
};

/* Reading ----------------------------------------------------------------- */

/* Where the reader stands in the text. */
struct reader {
    const char *text;
    size_t at;
    size_t rule; /* its number, from 1 */
    struct kvt_error *err;
};

static int bad(const struct reader *reader, size_t at, const char *what,
               const char *token, const char *allowed)
{
    char remedy[256] = "allowed: ";
    strncat(remedy, allowed, sizeof remedy - strlen(remedy) - 1);
    return kvt_error_set(
        reader->err, KVT_ERR_INVALID_PARAMS, EINVAL, "fault.rules", remedy,
        "rule %zu of fault.rules, at character %zu: %s%s%s%s", reader->rule,
        at + 1, what, token[0] ? " \"" : "", token, token[0] ? "\"" : "");
}

/* The text up to one of `ends`, without blanks around it (free with free);
 * `*from` is where it starts. Null without memory. */
static char *take(struct reader *reader, const char *ends, size_t *from)
{
    const char *start = reader->text + reader->at;
    size_t size = strcspn(start, ends);
    reader->at += size;
    while (size > 0 && isspace((unsigned char)start[0])) {
        start++;
        size--;
    }
    while (size > 0 && isspace((unsigned char)start[size - 1])) {
        size--;
    }
    *from = (size_t)(start - reader->text);
    return strndup(start, size);
}

static int read_op(const struct reader *reader, size_t from, const char *token,
                   struct rule *rule)
{
    for (size_t i = 0; i < sizeof op_names / sizeof op_names[0]; i++) {
        if (strcmp(op_names[i], token) == 0) {
            rule->op = (enum kvt_rule_op)i;
            return KVT_OK;
        }
    }
    return bad(reader, from, "no such operation", token,
               "open, close, read, write, sync, rename, remove, list, stat, "
               "mkdir");
}

static int read_number(const struct reader *reader, size_t from,
                       const char *text, uint64_t min, uint64_t *number)
{
    if (kvt_value_count(text, number) != 0 || *number < min) {
        return bad(reader, from, "not a number that fits here:", text,
                   min > 0 ? "1 and above" : "0 and above");
    }
    return KVT_OK;
}

static int read_when(const struct reader *reader, size_t from,
                     const char *value, enum when when, struct rule *rule)
{
    if (rule->when != WHEN_ALWAYS) {
        return bad(reader, from, "a second condition,", value,
                   "one of nth=N, every=N, from=N, prob=P in a rule");
    }
    rule->when = when;
    if (when != WHEN_PROB) {
        return read_number(reader, from, value, 1, &rule->n);
    }
    return kvt_value_ratio(value, &rule->prob) == 0
               ? KVT_OK
               : bad(reader, from, "not a probability:", value, "0 to 1");
}

static int read_what(const struct reader *reader, size_t from,
                     const char *value, enum what what, struct rule *rule)
{
    if (rule->what != WHAT_UNKNOWN) {
        return bad(reader, from, "a second fault,", value,
                   "one of do=ERRNAME, short=N, delay=MS, hang, hang=MS in a "
                   "rule");
    }
    rule->what = what;
    if (what == WHAT_HANG) {
        return KVT_OK;
    }
    if (what != WHAT_ERROR) {
        return read_number(reader, from, value, 0, &rule->amount);
    }
    rule->amount = (uint64_t)kvt_errnum_of(value);
    return rule->amount != 0 ? KVT_OK
                             : bad(reader, from, "no such error", value,
                                   "the name of an errno, as ENOSPC or EIO");
}

/* `name` or `name=value`. */
static int read_field(const struct reader *reader, size_t from, char *token,
                      struct rule *rule)
{
    static const struct {
        const char *name;
        enum when when;
        enum what what;
    } fields[] = {
        {"nth", WHEN_NTH, WHAT_UNKNOWN},    {"every", WHEN_EVERY, 0},
        {"from", WHEN_FROM, WHAT_UNKNOWN},  {"prob", WHEN_PROB, 0},
        {"do", WHEN_ALWAYS, WHAT_ERROR},    {"short", WHEN_ALWAYS, WHAT_SHORT},
        {"delay", WHEN_ALWAYS, WHAT_DELAY}, {"hang", WHEN_ALWAYS, WHAT_DELAY},
    };
    if (strcmp(token, "hang") == 0) {
        return read_what(reader, from, token, WHAT_HANG, rule);
    }
    char *value = strchr(token, '=');
    for (size_t i = 0; value != NULL && i < sizeof fields / sizeof fields[0];
         i++) {
        size_t size = (size_t)(value - token);
        if (strlen(fields[i].name) != size ||
            strncmp(fields[i].name, token, size) != 0) {
            continue;
        }
        from += size + 1;
        return fields[i].when != WHEN_ALWAYS
                   ? read_when(reader, from, value + 1, fields[i].when, rule)
                   : read_what(reader, from, value + 1, fields[i].what, rule);
    }
    return bad(reader, from, "no such field", token,
               "nth=N, every=N, from=N, prob=P, do=ERRNAME, short=N, delay=MS, "
               "hang, hang=MS");
}

static int no_memory(const struct reader *reader)
{
    return kvt_error_set(reader->err, KVT_ERR_INTERNAL, ENOMEM, "fault.rules",
                         NULL, "no memory to read fault.rules");
}

static int read_fields(struct reader *reader, struct rule *rule)
{
    int rc = KVT_OK;
    size_t from = reader->at;
    while (rc == KVT_OK && reader->text[reader->at] == ',') {
        reader->at++;
        char *token = take(reader, ",;", &from);
        if (token == NULL) {
            return no_memory(reader);
        }
        rc = read_field(reader, from, token, rule);
        free(token);
    }
    if (rc == KVT_OK && rule->what == WHAT_UNKNOWN) {
        return bad(reader, reader->at, "the rule does not say what to do", "",
                   "do=ERRNAME, short=N, delay=MS, hang, hang=MS");
    }
    bool moves = rule->op == KVT_RULE_READ || rule->op == KVT_RULE_WRITE;
    if (rc == KVT_OK && rule->what == WHAT_SHORT && !moves) {
        return bad(reader, from, "short= cannot be kept for",
                   op_names[rule->op], "short= with read or write");
    }
    return rc;
}

/* One rule, up to its `;`. Blank ones are none. */
static int read_rule(struct reader *reader, struct kvt_fault_rules *rules)
{
    size_t from;
    char *token = take(reader, "@,;", &from);
    if (token == NULL) {
        return no_memory(reader);
    }
    char end = reader->text[reader->at];
    if (token[0] == '\0' && (end == ';' || end == '\0')) {
        free(token);
        return KVT_OK;
    }
    struct rule *grown =
        realloc(rules->rules, (rules->count + 1) * sizeof grown[0]);
    if (grown == NULL) {
        free(token);
        return no_memory(reader);
    }
    rules->rules = grown;
    struct rule *rule = &grown[rules->count++];
    memset(rule, 0, sizeof *rule);
    int rc = read_op(reader, from, token, rule);
    free(token);
    if (rc == KVT_OK && end == '@') {
        reader->at++;
        rule->glob = take(reader, ",;", &from);
        rc = rule->glob == NULL ? no_memory(reader)
             : rule->glob[0] == '\0'
                 ? bad(reader, from, "no pattern behind the @", "",
                       "a pattern of paths, as *.tmp")
                 : KVT_OK;
    }
    return rc == KVT_OK ? read_fields(reader, rule) : rc;
}

int kvt_fault_rules_open(const char *text, uint64_t seed,
                         struct kvt_fault_rules **out, struct kvt_error *err)
{
    struct reader reader = {.text = text, .rule = 1, .err = err};
    struct kvt_fault_rules *rules = calloc(1, sizeof *rules);
    if (rules == NULL) {
        return no_memory(&reader);
    }
    rules->seed = seed;
    int rc = KVT_OK;
    while (rc == KVT_OK && text[reader.at] != '\0') {
        rc = read_rule(&reader, rules);
        reader.at += text[reader.at] == ';';
        reader.rule++;
    }
    if (rc != KVT_OK) {
        kvt_fault_rules_close(rules);
        return rc;
    }
    *out = rules;
    return KVT_OK;
}

void kvt_fault_rules_close(struct kvt_fault_rules *rules)
{
    if (rules == NULL) {
        return;
    }
    for (size_t i = 0; i < rules->count; i++) {
        free(rules->rules[i].glob);
    }
    free(rules->rules);
    free(rules);
}

/* Matching ---------------------------------------------------------------- */

/* A number from 0 to 1 for the n-th call of a rule: the finaliser of
 * splitmix64. */
static double chance(uint64_t seed, uint64_t rule, uint64_t n)
{
    uint64_t x = seed + rule * UINT64_C(0xd1b54a32d192ed03) +
                 n * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    return (double)(x >> 11) / (double)(UINT64_C(1) << 53);
}

static bool is_hit(const struct kvt_fault_rules *rules, size_t i, uint64_t n)
{
    const struct rule *rule = &rules->rules[i];
    switch (rule->when) {
    case WHEN_NTH:
        return n == rule->n;
    case WHEN_EVERY:
        return n % rule->n == 0;
    case WHEN_FROM:
        return n >= rule->n;
    case WHEN_PROB:
        return chance(rules->seed, i, n) < rule->prob;
    case WHEN_ALWAYS:
        break;
    }
    return true;
}

static void add(const struct rule *rule, struct kvt_fault_hit *hit)
{
    switch (rule->what) {
    case WHAT_ERROR:
        hit->errnum = hit->errnum != 0 ? hit->errnum : (int)rule->amount;
        break;
    case WHAT_SHORT:
        hit->limit = rule->amount < hit->limit ? rule->amount : hit->limit;
        break;
    case WHAT_DELAY:
        hit->delay_ms += rule->amount;
        break;
    case WHAT_HANG:
        hit->hang = true;
        break;
    case WHAT_UNKNOWN:
        break;
    }
}

struct kvt_fault_hit kvt_fault_rules_match(struct kvt_fault_rules *rules,
                                           enum kvt_rule_op op,
                                           const char *path, const char *to)
{
    struct kvt_fault_hit hit = {.limit = UINT64_MAX};
    for (size_t i = 0; i < rules->count; i++) {
        struct rule *rule = &rules->rules[i];
        if (rule->op != op ||
            (rule->glob != NULL && fnmatch(rule->glob, path, 0) != 0 &&
             (to == NULL || fnmatch(rule->glob, to, 0) != 0))) {
            continue;
        }
        uint64_t n = __atomic_add_fetch(&rule->count, 1, __ATOMIC_RELAXED);
        if (is_hit(rules, i, n)) {
            add(rule, &hit);
        }
    }
    return hit;
}
