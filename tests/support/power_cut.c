/* Power loss under a layout of one file a key, at every moment of some work:
 * whatever the crash model leaves can be opened, never gives wrong bytes, and
 * at durability `batch` holds what was acknowledged. */
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

enum what {
    PUT,
    REMOVE,
    REMOVE_ALL,
};

/* What is done, in order. `second` is in the same batch, or -1. */
static const struct {
    enum what what;
    int key;
    int second;
    unsigned version;
} steps[] = {
    {PUT, 0, -1, 1},    {PUT, 1, -1, 1},   {PUT, 0, -1, 2},
    {REMOVE, 1, -1, 0}, {PUT, 2, 3, 1},    {PUT, 1, -1, 2},
    {PUT, 2, 4, 2},     {REMOVE, 0, 3, 0}, {REMOVE, 4, -1, 0},
    {PUT, 0, 3, 3},     {PUT, 0, -1, 1},   {REMOVE_ALL, 0, -1, 0},
    {PUT, 1, -1, 3},
};
#define STEPS (sizeof steps / sizeof steps[0])

static const char *backend;
static bool owned; /* what is damaged is put aside at the first load */

struct cut {
    char top[512];
    char root[600];
    char state[600];
    char again[600];
    bool durable;
    struct kvt_store *store;
    struct kvt_fs *fs;
    uint64_t begun[STEPS]; /* positions of the crash wrapper */
    uint64_t ended[STEPS];
    size_t states; /* looked at */
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
    set(config, "backend", backend);
    set(config, owned ? "fs" : "distributed.fs", fs);
    set(config, "path", path);
    set(config, "threads", "2");
    set(config, "eviction", "none");
    set(config, "durability", cut->durable ? "batch" : "none");
    int rc = kvt_store_open(config, NULL, store, err);
    kvt_config_close(config);
    return rc;
}

static void do_step(struct cut *cut, size_t i)
{
    static char bytes[2][16 << 10];
    char names[2][320];
    struct kvt_slice slices[2];
    struct kvt_object objects[2];
    int count = steps[i].second < 0 ? 1 : 2;
    if (steps[i].what == REMOVE_ALL) {
        assert_int_equal(kvt_remove_all(cut->store, NULL), KVT_OK);
        return;
    }
    for (int at = 0; at < count; at++) {
        int key = at == 0 ? steps[i].key : steps[i].second;
        unsigned version = steps[i].version;
        name_of(key, names[at], sizeof names[at]);
        objects[at] = (struct kvt_object){.key = key_of(names[at])};
        if (steps[i].what == PUT) {
            slices[at] =
                (struct kvt_slice){bytes[at], size_of(key, version), NULL};
            value_fill(bytes[at], slices[at].size, seed_of(key, version));
            objects[at].slices = &slices[at];
            objects[at].slice_count = 1;
        }
    }
    int done = steps[i].what == PUT
                   ? kvt_batch_offload(cut->store, objects, (size_t)count, NULL)
                   : kvt_batch_remove(cut->store, objects, (size_t)count, NULL);
    assert_int_equal(done, count);
}

static void do_all(struct cut *cut)
{
    struct kvt_error err;
    if (open_store(cut, "crash:posix", cut->root, &cut->store, &err) !=
        KVT_OK) {
        fail_msg("%s", err.message);
    }
    cut->fs = cut->store->fs;
    for (size_t i = 0; i < STEPS; i++) {
        cut->begun[i] = kvt_crash_position(cut->fs);
        do_step(cut, i);
        cut->ended[i] = kvt_crash_position(cut->fs);
    }
}

/* What may be there -------------------------------------------------------- */

static void allow(const struct cut *cut, uint64_t position,
                  unsigned allowed[KEYS])
{
    for (int key = 0; key < KEYS; key++) {
        allowed[key] = ABSENT;
        for (size_t i = 0; i < STEPS; i++) {
            if (steps[i].key != key && steps[i].second != key &&
                steps[i].what != REMOVE_ALL) {
                continue;
            }
            unsigned after =
                steps[i].what == PUT ? 1u << steps[i].version : ABSENT;
            bool acknowledged = cut->ended[i] <= position;
            if (acknowledged && cut->durable) {
                allowed[key] = after;
            } else if (cut->begun[i] < position) {
                allowed[key] |= after;
            }
        }
        /* what nobody synced may have come apart, and shows it */
        allowed[key] |= cut->durable ? 0 : DAMAGED;
    }
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
            unsigned expected =
                before[key] == DAMAGED && owned ? ABSENT : before[key];
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
        assert_true(!owned || files_in(temporaries) == 0);
    }
}

/* Cuts ----------------------------------------------------------------------
 */

/* The power goes again while the store recovers from the first loss. */
static void cut_recovery(struct cut *cut, uint64_t position, size_t state,
                         const unsigned allowed[KEYS])
{
    struct kvt_store *store = NULL;
    struct kvt_error err;
    assert_int_equal(kvt_crash_make_state(cut->fs, position, state, cut->state),
                     0);
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
    check_tree(cut, cut->state, allowed, lost);
    remove_tree(cut->state);
    cut->states++;
    if (again) {
        cut_recovery(cut, position, state, allowed);
    }
}

static void set_up(struct cut *cut, bool durable)
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
    cut->durable = durable;
}

static void cut_everywhere(bool durable)
{
    struct cut cut;
    set_up(&cut, durable);
    do_all(&cut);
    uint64_t end = kvt_crash_position(cut.fs);
    size_t total = 0;
    for (uint64_t at = 0; at <= end; at++) {
        size_t count = kvt_crash_state_count(cut.fs, at);
        assert_true(count > 0);
        total += count;
    }
    size_t stride = total / (STATES_QUICK * test_scale()) + 1;
    size_t recovery_stride = total / (RECOVERIES_QUICK * test_scale()) + 1;
    size_t number = 0;
    for (uint64_t at = 0; at <= end; at++) {
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

static void nothing_acknowledged_is_lost_at_batch(void **state)
{
    (void)state;
    cut_everywhere(true);
}

static void nothing_wrong_is_read_at_none(void **state)
{
    (void)state;
    cut_everywhere(false);
}

int power_cut_run(const char *layout, bool has_owner)
{
    backend = layout;
    owned = has_owner;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_acknowledged_is_lost_at_batch),
        cmocka_unit_test(nothing_wrong_is_read_at_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
