/* Calls that end late, under bucket: what a batch gave up at its deadline does
 * not count, and takes nothing else with it. */
#define _XOPEN_SOURCE 700
#include "support/bucket_fixture.h"
#include "support/gates.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum {
    SIZE = GATES_VALUE_SIZE,
    DEADLINE_MS = 200,
};

static const struct store_row posix_row = {"bucket", "posix", false, true,
                                           NULL};

struct kvt_fault_hit __real_kvt_fault_rules_match(struct kvt_fault_rules *rules,
                                                  enum kvt_rule_op op,
                                                  const char *path,
                                                  const char *to);
struct kvt_fault_hit __wrap_kvt_fault_rules_match(struct kvt_fault_rules *rules,
                                                  enum kvt_rule_op op,
                                                  const char *path,
                                                  const char *to);
struct kvt_fault_hit __wrap_kvt_fault_rules_match(struct kvt_fault_rules *rules,
                                                  enum kvt_rule_op op,
                                                  const char *path,
                                                  const char *to)
{
    gates_pass(op, path);
    return __real_kvt_fault_rules_match(rules, op, path, to);
}

/* A put of another key whose write is held: the log goes on behind it. */
static bool hold_a_put(struct gated_call *call, struct kvt_store *store)
{
    gated_prepare(call, store, "held", 1, 0);
    /* the first one waits for a bucket, and its header */
    if (put_value(store, key_of("first"), 1, SIZE) != KVT_OK) {
        return false;
    }
    gate_shut(&writes, 0, 1);
    return pthread_create(&call->thread, NULL, gated_put, call) == 0 &&
           gates_wait(&writes.came, 1);
}

/* It ends, and with it all that the log waits for. */
static bool let_it_end(struct gated_call *call)
{
    struct bkt *bkt = bkt_of(call->store);
    gate_open(&writes);
    pthread_join(call->thread, NULL);
    bool busy = true;
    for (int i = 0; i < GATES_PATIENCE_S * 1000 && busy; i++) {
        pthread_mutex_lock(&bkt->mutex);
        busy = false;
        for (uint32_t k = 0; k < bkt->slot_count; k++) {
            busy |= bkt->slots[k] != NULL && bkt->slots[k]->runs_under_way > 0;
        }
        pthread_mutex_unlock(&bkt->mutex);
        struct timespec pause = {0, busy ? 1000000 : 0};
        nanosleep(&pause, NULL);
    }
    return !busy && call->object.status == KVT_OK;
}

/* What was given up -------------------------------------------------------- */

static struct gated_call held;
static struct gated_call other;

static void set_gated(struct store_fixture *fixture)
{
    store_set(fixture, "fs", "fault:posix");
    store_set(fixture, "bucket.seal_after_ms", "3600000");
}

/* A put of `key`, sealed or not, before the child opens the store. */
static void put_before(struct store_fixture *fixture)
{
    set_gated(fixture);
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
    store_stop(fixture);
}

static bool give_up_a_put_and_reclaim(struct kvt_store *store)
{
    bool good = hold_a_put(&held, store);
    gated_prepare(&other, store, "k", 2, DEADLINE_MS);
    kvt_batch_offload(store, &other.object, 1, &other.options);
    good &= other.object.status != KVT_OK && let_it_end(&held);
    bucket_settle(store);
    kvt_bkt_reclaim_one(bkt_of(store));
    return good && get_value(store, key_of("k"), 1, SIZE) == KVT_OK;
}

/* It stands in the log with a kill of what it was to replace. Until it is
 * killed itself, on disk, its bytes must stay, or what lives is lost. */
static void nothing_is_punched_before_its_kill_is_written(void **state)
{
    struct store_fixture *fixture = *state;
    put_before(fixture);
    bucket_die_after(fixture, give_up_a_put_and_reclaim);
    store_start(fixture);
    assert_int_equal(get_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
}

static bool give_up_a_removal_and_put_again(struct kvt_store *store)
{
    bool good = hold_a_put(&held, store);
    gated_prepare(&other, store, "k", 1, DEADLINE_MS);
    kvt_batch_remove(store, &other.object, 1, &other.options);
    good &= other.object.status != KVT_OK && let_it_end(&held);
    return good && put_value(store, key_of("k"), 1, SIZE) == KVT_OK;
}

/* The same bytes are not "stored already": the removal stands in the log. */
static void a_removal_given_up_does_not_take_what_was_put_since(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "durability", "batch");
    put_before(fixture);
    bucket_die_after(fixture, give_up_a_removal_and_put_again);
    store_start(fixture);
    assert_int_equal(get_value(fixture->store, key_of("k"), 1, SIZE), KVT_OK);
}

static unsigned came_back;

static void *open_when_back(void *arg)
{
    bool *in_time = arg;
    *in_time = gates_wait(&came_back, 1);
    gate_open(&writes);
    return NULL;
}

/* It has more runs than are under way at a time. */
static void an_expired_batch_starts_no_more_runs(void **state)
{
    enum {
        COUNT = 40,
    };
    static unsigned char bytes[4 * SIZE];
    struct store_fixture *fixture = *state;
    struct named_key names[COUNT];
    struct kvt_object objects[COUNT];
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    struct kvt_batch_options options = {.size = sizeof options,
                                        .deadline_ms = DEADLINE_MS};
    pthread_t thread;
    bool in_time = false;
    came_back = 0;
    set_gated(fixture);
    store_set(fixture, "bucket.size_limit", "128KiB");
    store_start(fixture);
    for (uint64_t i = 0; i < COUNT; i++) {
        name_key(&names[i], "k", i);
        objects[i] = (struct kvt_object){
            .key = names[i].key, .slices = &slice, .slice_count = 1};
    }
    gate_shut(&writes, 2, UINT32_MAX);
    assert_int_equal(pthread_create(&thread, NULL, open_when_back, &in_time),
                     0);
    kvt_batch_offload(fixture->store, objects, COUNT, &options);
    gates_tell(&came_back);
    pthread_join(thread, NULL);
    assert_true(in_time);
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(objects[i].status == KVT_OK ||
                    objects[i].errnum == ETIMEDOUT);
        assert_int_equal(has_key(fixture->store, names[i].key),
                         objects[i].status == KVT_OK);
    }
}

static unsigned told_of_stored;
static bool all_ended;

/* The batch's other object is what it stored; its run is in the log still. */
static int end_the_log(const struct kvt_meta *metas, size_t count, void *arg)
{
    const unsigned *armed = arg;
    if (*armed > 0 && count == 1 && metas[0].key.size == 6 &&
        memcmp(metas[0].key.data, "stored", 6) == 0) {
        all_ended = let_it_end(&held);
        gates_tell(&told_of_stored);
    }
    return 0;
}

/* The log is through with it first, while its batch still tells of others. */
static void a_run_given_up_lasts_as_long_as_its_batch(void **state)
{
    static struct gated_call stored;
    static unsigned armed;
    struct store_fixture *fixture = *state;
    armed = told_of_stored = 0;
    fixture->handlers = (struct kvt_handlers){.size = sizeof fixture->handlers,
                                              .complete = end_the_log,
                                              .complete_arg = &armed};
    set_gated(fixture);
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("stored"), 7, SIZE),
                     KVT_OK);
    assert_true(hold_a_put(&held, fixture->store));
    armed = 1;
    gated_prepare(&stored, fixture->store, "stored", 7, 0);
    gated_prepare(&other, fixture->store, "late", 8, DEADLINE_MS);
    struct kvt_object objects[2] = {stored.object, other.object};
    assert_int_equal(
        kvt_batch_offload(fixture->store, objects, 2, &other.options), 1);
    assert_int_equal(objects[0].status, KVT_OK);
    assert_int_equal(objects[1].errnum, ETIMEDOUT);
    assert_int_equal(told_of_stored, 1);
    assert_true(all_ended);
    store_restart(fixture);
    assert_false(has_key(fixture->store, key_of("late")));
    assert_int_equal(get_value(fixture->store, key_of("stored"), 7, SIZE),
                     KVT_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(nothing_is_punched_before_its_kill_is_written),
        store_test(a_removal_given_up_does_not_take_what_was_put_since),
        store_test(an_expired_batch_starts_no_more_runs),
        store_test(a_run_given_up_lasts_as_long_as_its_batch),
    };
    return store_row_run(&posix_row, "late calls", tests,
                         sizeof tests / sizeof tests[0]);
}
