/* Power loss under a layout, at every moment of some work: whatever the crash
 * model leaves can be opened, never gives wrong bytes, and holds what the
 * level of durability says: at `batch` what was acknowledged, at `seal` what
 * was sealed. What was removed or replaced does not come back when what did it
 * holds. */
#include "support/power_cut.h"
#include "support/store_fixture.h"

#include "fs/crash.h"
#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    KEYS = 5,
    VERSIONS = 4,
    ABSENT = 1,           /* in a set of versions; 1 << v: version v */
    DAMAGED = 1 << 7,     /* found, and known not to be what was stored */
    STATES_QUICK = 1500,  /* of one durability */
    RECOVERIES_QUICK = 60 /* of them, cut again while they recover */
};

/* The usual work. */
static const struct power_cut_step usual[] = {
    {CUT_PUT, 0, -1, 1},    {CUT_PUT, 1, -1, 1},   {CUT_PUT, 0, -1, 2},
    {CUT_REMOVE, 1, -1, 0}, {CUT_PUT, 2, 3, 1},    {CUT_PUT, 1, -1, 2},
    {CUT_PUT, 2, 4, 2},     {CUT_REMOVE, 0, 3, 0}, {CUT_REMOVE, 4, -1, 0},
    {CUT_PUT, 0, 3, 3},     {CUT_PUT, 0, -1, 1},   {CUT_REMOVE_ALL, 0, -1, 0},
    {CUT_PUT, 1, -1, 3},
};

struct cut {
    const struct power_cut *spec;
    char top[512];
    char root[600];
    char state[600];
    char again[600];
    struct kvt_store *store;
    struct kvt_fs *fs;
    uint64_t begun[CUT_STEPS_MAX]; /* positions of the crash wrapper */
    uint64_t ended[CUT_STEPS_MAX];
    uint64_t durable[CUT_STEPS_MAX]; /* from here on it holds */
    size_t states;                   /* looked at */
    size_t recoveries;
};

static size_t size_of(int key, unsigned version)
{
    return (size_t)key * 911 + version * 700 + (version == 2 ? 0 : 1);
}

static uint64_t seed_of(int key, unsigned version)
{
    return (uint64_t)key * 10 + version + 1;
}

static void name_of(int key, char *name, size_t size)
{
    /* a name that holds its key, and one that is too long for that */
    snprintf(name, size, key == 4 ? "%0300d" : "key%d", key);
}

/* Stores ------------------------------------------------------------------- */

static void set(struct kvt_config *config, const char *key, const char *value)
{
    struct kvt_error err;
    if (kvt_config_set(config, key, value, &err) != KVT_OK) {
        fail_msg("%s = %s: %s", key, value, err.message);
    }
}

static int open_store(const struct cut *cut, const char *fs, const char *path,
                      struct kvt_store **store, struct kvt_error *err)
{
    struct kvt_config *config = kvt_config_open();
    set(config, "backend", cut->spec->backend);
    set(config, cut->spec->owned ? "fs" : "distributed.fs", fs);
    set(config, "path", path);
    set(config, "threads", "2");
    set(config, "eviction", cut->spec->evict != NULL ? "lru" : "none");
    set(config, "durability", cut->spec->level);
    set(config, "checksum", cut->spec->unchecked ? "off" : "on");
    for (size_t i = 0; i < cut->spec->setting_count; i++) {
        set(config, cut->spec->settings[i][0], cut->spec->settings[i][1]);
    }
    int rc = kvt_store_open(config, NULL, store, err);
    kvt_config_close(config);
    return rc;
}

static unsigned find(struct kvt_store *store, int key)
{
    static char bytes[16 << 10];
    char name[320];
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    name_of(key, name, sizeof name);
    struct kvt_object object = {
        .key = key_of(name), .slices = &slice, .slice_count = 1};
    int rc = kvt_batch_load(store, &object, 1, NULL);
    assert_int_equal(rc, object.status == KVT_OK);
    if (object.status == KVT_ERR_OBJECT_NOT_FOUND) {
        return ABSENT;
    }
    if (object.status == KVT_ERR_CHECKSUM_MISMATCH) {
        return DAMAGED;
    }
    if (object.status != KVT_OK) {
        fail_msg("key %d: %s", key, kvt_status_name(object.status));
    }
    for (unsigned version = 1; version < VERSIONS; version++) {
        if (object.size == size_of(key, version) &&
            value_is(bytes, (size_t)object.size, seed_of(key, version))) {
            return 1u << version;
        }
    }
    fail_msg("key %d: wrong bytes", key);
    return 0;
}

static void do_objects(struct cut *cut, const struct power_cut_step *step)
{
    static char bytes[2][16 << 10];
    char names[2][320];
    struct kvt_slice slices[2];
    struct kvt_object objects[2];
    int count = step->second < 0 ? 1 : 2;
    for (int at = 0; at < count; at++) {
        int key = at == 0 ? step->key : step->second;
        name_of(key, names[at], sizeof names[at]);
        objects[at] = (struct kvt_object){.key = key_of(names[at])};
        if (step->what == CUT_PUT) {
            slices[at] = (struct kvt_slice){bytes[at],
                                            size_of(key, step->version), NULL};
            value_fill(bytes[at], slices[at].size, seed_of(key, step->version));
            objects[at].slices = &slices[at];
            objects[at].slice_count = 1;
        }
    }
    int done = step->what == CUT_PUT
                   ? kvt_batch_offload(cut->store, objects, (size_t)count, NULL)
                   : kvt_batch_remove(cut->store, objects, (size_t)count, NULL);
    assert_int_equal(done, count);
}

static void do_step(struct cut *cut, const struct power_cut_step *step)
{
    switch (step->what) {
    case CUT_PUT:
    case CUT_REMOVE:
        do_objects(cut, step);
        break;
    case CUT_REMOVE_ALL:
        assert_int_equal(kvt_remove_all(cut->store, NULL), KVT_OK);
        break;
    case CUT_USE:
        assert_int_equal(find(cut->store, step->key), 1u << step->version);
        break;
    case CUT_SEAL:
        cut->spec->seal(cut->store);
        break;
    case CUT_EVICT:
        cut->spec->evict(cut->store);
        break;
    case CUT_CLOSE:
        cut->spec->close(cut->store);
        break;
    }
}

static void open_for_work(struct cut *cut, const char *fs)
{
    struct kvt_error err;
    if (open_store(cut, fs, cut->root, &cut->store, &err) != KVT_OK) {
        fail_msg("%s", err.message);
    }
    cut->fs = cut->store->fs;
}

/* From where on does each step hold? */
static void find_durable(struct cut *cut)
{
    const struct power_cut *spec = cut->spec;
    uint64_t sealed = UINT64_MAX;
    for (size_t i = spec->step_count; i > 0; i--) {
        enum power_cut_what what = spec->steps[i - 1].what;
        if (what == CUT_SEAL || what == CUT_CLOSE) {
            sealed = cut->ended[i - 1];
        }
        cut->durable[i - 1] = strcmp(spec->level, "batch") == 0
                                  ? cut->ended[i - 1]
                              : strcmp(spec->level, "seal") == 0 ? sealed
                                                                 : UINT64_MAX;
    }
}

static void do_all(struct cut *cut)
{
    const struct power_cut *spec = cut->spec;
    if (spec->before > 0) { /* and closed: it was there all the time */
        open_for_work(cut, "posix");
        for (size_t i = 0; i < spec->before; i++) {
            do_step(cut, &spec->steps[i]);
        }
        kvt_store_close(cut->store);
    }
    open_for_work(cut, "crash:posix");
    for (size_t i = spec->before; i < spec->step_count; i++) {
        cut->begun[i] = kvt_crash_position(cut->fs);
        do_step(cut, &spec->steps[i]);
        cut->ended[i] = kvt_crash_position(cut->fs);
    }
    find_durable(cut);
    for (size_t i = 0; i < spec->before; i++) {
        cut->durable[i] = 0;
    }
}

/* What may be there -------------------------------------------------------- */

static bool concerns(const struct power_cut_step *step, int key)
{
    return step->what == CUT_REMOVE_ALL || step->what == CUT_EVICT ||
           ((step->what == CUT_PUT || step->what == CUT_REMOVE) &&
            (step->key == key || step->second == key));
}

static void allow(const struct cut *cut, uint64_t position,
                  unsigned allowed[KEYS])
{
    for (int key = 0; key < KEYS; key++) {
        allowed[key] = ABSENT;
        for (size_t i = 0; i < cut->spec->step_count; i++) {
            const struct power_cut_step *step = &cut->spec->steps[i];
            if (!concerns(step, key)) {
                continue;
            }
            unsigned after =
                step->what == CUT_PUT ? 1u << step->version : ABSENT;
            bool begun = i < cut->spec->before || cut->begun[i] < position;
            if (cut->durable[i] <= position && step->what != CUT_EVICT) {
                allowed[key] = after;
            } else if (begun) {
                allowed[key] |= after;
            }
        }
        /* what nobody synced may be lost, or have come apart and show it */
        if (strcmp(cut->spec->level, "none") == 0) {
            allowed[key] |= ABSENT | DAMAGED;
        }
    }
}

/* Opens a tree, twice: everything must be allowed, and be the same again. */
static void check_tree(const struct cut *cut, const char *path,
                       const unsigned allowed[KEYS], const char *lost)
{
    unsigned before[KEYS] = {0};
    for (int round = 0; round < 2; round++) {
        struct kvt_store *store = NULL;
        struct kvt_error err;
        if (open_store(cut, "posix", path, &store, &err) != KVT_OK) {
            fail_msg("cannot be opened: %s\n%s", err.message, lost);
        }
        for (int key = 0; key < KEYS; key++) {
            unsigned found = find(store, key);
            if ((found & allowed[key]) == 0) {
                fail_msg("key %d: found %x, allowed are %x\n%s", key, found,
                         allowed[key], lost);
            }
            /* what is damaged is put aside by its owner */
            unsigned expected = before[key] == DAMAGED && cut->spec->owned
                                    ? ABSENT
                                    : before[key];
            if (round > 0 && found != expected) {
                fail_msg("key %d: found %x, before %x\n%s", key, found,
                         before[key], lost);
            }
            before[key] = found;
        }
        if (round > 0) {
            assert_int_equal(put_value(store, key_of("new"), 1, 100), KVT_OK);
            assert_int_equal(get_value(store, key_of("new"), 1, 100), KVT_OK);
        }
        kvt_store_close(store);
        char temporaries[700];
        snprintf(temporaries, sizeof temporaries, "%s/.kvtier/tmp", path);
        assert_true(!cut->spec->owned || files_in(temporaries) == 0);
    }
}

/* Cuts ----------------------------------------------------------------------
 */

static void boot_again(const struct cut *cut)
{
    if (cut->spec->boot_again != NULL) {
        cut->spec->boot_again();
    }
}

/* The power goes again while the store recovers from the first loss. */
static void cut_recovery(struct cut *cut, uint64_t position, size_t state,
                         const unsigned allowed[KEYS])
{
    struct kvt_store *store = NULL;
    struct kvt_error err;
    assert_int_equal(kvt_crash_make_state(cut->fs, position, state, cut->state),
                     0);
    boot_again(cut);
    if (open_store(cut, "crash:posix", cut->state, &store, &err) != KVT_OK) {
        fail_msg("cannot be opened: %s", err.message);
    }
    uint64_t end = kvt_crash_position(store->fs);
    for (uint64_t at = kvt_crash_start(store->fs); at <= end; at++) {
        size_t count = kvt_crash_state_count(store->fs, at);
        size_t stride = count / 4 + 1;
        for (size_t i = (position + at) % stride; i < count; i += stride) {
            char lost[4096];
            assert_int_equal(kvt_crash_make_state(store->fs, at, i, cut->again),
                             0);
            kvt_crash_describe(store->fs, at, i, lost, sizeof lost);
            boot_again(cut);
            check_tree(cut, cut->again, allowed, lost);
            remove_tree(cut->again);
        }
    }
    kvt_store_close(store);
    remove_tree(cut->state);
    cut->recoveries++;
}

static void cut_once(struct cut *cut, uint64_t position, size_t state,
                     bool again)
{
    unsigned allowed[KEYS];
    char lost[8192];
    char title[100];
    snprintf(title, sizeof title, "position %llu, state %zu lost:\n",
             (unsigned long long)position, state);
    strcpy(lost, title);
    kvt_crash_describe(cut->fs, position, state, lost + strlen(title),
                       sizeof lost - strlen(title));
    allow(cut, position, allowed);
    int rc = kvt_crash_make_state(cut->fs, position, state, cut->state);
    assert_int_equal(rc, 0);
    boot_again(cut);
    check_tree(cut, cut->state, allowed, lost);
    remove_tree(cut->state);
    cut->states++;
    if (again) {
        cut_recovery(cut, position, state, allowed);
    }
}

static void set_up(struct cut *cut, const struct power_cut *spec)
{
    const char *place = "/dev/shm";
    char base[400];
    memset(cut, 0, sizeof *cut);
    if (access(place, W_OK) != 0) {
        assert_non_null(getcwd(base, sizeof base));
        place = base;
    }
    snprintf(cut->top, sizeof cut->top, "%s/kvt-cut.XXXXXX", place);
    assert_non_null(mkdtemp(cut->top));
    snprintf(cut->root, sizeof cut->root, "%s/root", cut->top);
    snprintf(cut->state, sizeof cut->state, "%s/state", cut->top);
    snprintf(cut->again, sizeof cut->again, "%s/again", cut->top);
    cut->spec = spec;
}

void power_cut_everywhere(const struct power_cut *spec)
{
    struct cut cut;
    set_up(&cut, spec);
    do_all(&cut);
    uint64_t end = kvt_crash_position(cut.fs);
    uint64_t start = spec->before > 0 ? kvt_crash_start(cut.fs) : 0;
    size_t total = 0;
    for (uint64_t at = start; at <= end; at++) {
        size_t count = kvt_crash_state_count(cut.fs, at);
        assert_true(count > 0);
        total += count;
    }
    size_t stride = total / (STATES_QUICK * test_scale()) + 1;
    size_t recovery_stride = total / (RECOVERIES_QUICK * test_scale()) + 1;
    size_t number = 0;
    for (uint64_t at = start; at <= end; at++) {
        size_t count = kvt_crash_state_count(cut.fs, at);
        for (size_t state = 0; state < count; state++, number++) {
            bool again = number % recovery_stride == recovery_stride / 2;
            if (again || number % stride == 0) {
                cut_once(&cut, at, state, again);
            }
        }
    }
    print_message("%zu of %zu states behind %llu operations, %zu cut again\n",
                  cut.states, total, (unsigned long long)end, cut.recoveries);
    kvt_store_close(cut.store);
    remove_tree(cut.top);
}

static struct power_cut layout;

static void cut_usual(const char *level)
{
    struct power_cut spec = layout;
    spec.level = level;
    spec.steps = usual;
    spec.step_count = sizeof usual / sizeof usual[0];
    power_cut_everywhere(&spec);
}

static void nothing_acknowledged_is_lost_at_batch(void **state)
{
    (void)state;
    cut_usual("batch");
}

static void nothing_wrong_is_read_at_none(void **state)
{
    (void)state;
    cut_usual("none");
}

int power_cut_run(const char *backend, bool has_owner)
{
    layout = (struct power_cut){.backend = backend, .owned = has_owner};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_acknowledged_is_lost_at_batch),
        cmocka_unit_test(nothing_wrong_is_read_at_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
