/* Power loss under bucket: at each level, beside seals and evictions, with a
 * checkpoint that was there, and while a store is closed. After a cut the
 * machine has another boot id; recovery is cut, too. */
#include "support/bucket_fixture.h"
#include "support/power_cut.h"

#include "core/process.h"

#include <string.h>

/* Boots ---------------------------------------------------------------------
 */

static unsigned boots = 1;

void __wrap_kvt_process_boot(uint8_t boot[16]);
void __wrap_kvt_process_boot(uint8_t boot[16])
{
    memset(boot, 0xb0, 16);
    memcpy(boot, &boots, sizeof boots);
}

static void boot_again(void)
{
    boots++;
}

static const char *const second_chance[][2] = {
    {"eviction", "second_chance"},
    {"bucket.rewrite_limit", "0.9"},
};
static unsigned carried;

/* Steps of this layout ------------------------------------------------------
 */

static void evict(struct kvt_store *store)
{
    struct kvt_evict_result result = {0};
    bucket_settle(store);
    assert_int_equal(kvt_bkt_evict_one(bkt_of(store), false, &result), 0);
    assert_true(result.objects > 0);
}

/* What a close does before it frees everything. */
static void close_cleanly(struct kvt_store *store)
{
    struct bkt *bkt = bkt_of(store);
    kvt_bkt_keeper_stop(bkt);
    bkt->keeper_runs = false;
    assert_int_equal(kvt_bkt_checkpoint_write(bkt), 0);
}

/* Work ----------------------------------------------------------------------
 */

static const struct power_cut_step sealed_work[] = {
    {CUT_PUT, 0, -1, 1},  {CUT_PUT, 1, 2, 1},     {CUT_SEAL, 0, -1, 0},
    {CUT_PUT, 0, -1, 2},  {CUT_REMOVE, 1, -1, 0}, {CUT_PUT, 3, 4, 1},
    {CUT_SEAL, 0, -1, 0}, {CUT_PUT, 1, -1, 2},    {CUT_REMOVE, 0, 3, 0},
    {CUT_PUT, 4, -1, 2},  {CUT_PUT, 4, -1, 3},    {CUT_REMOVE_ALL, 0, -1, 0},
    {CUT_PUT, 1, -1, 3},  {CUT_SEAL, 0, -1, 0},   {CUT_PUT, 1, 0, 1},
};

/* What replaced or removed something is evicted before what it replaced: of
 * that a neighbour is in use. */
static const struct power_cut_step evicting_work[] = {
    {CUT_PUT, 0, 1, 1},    {CUT_PUT, 2, -1, 1},    {CUT_SEAL, 0, -1, 0},
    {CUT_PUT, 0, -1, 2},   {CUT_REMOVE, 2, -1, 0}, {CUT_SEAL, 0, -1, 0},
    {CUT_PUT, 3, -1, 1},   {CUT_SEAL, 0, -1, 0},   {CUT_USE, 3, -1, 1},
    {CUT_USE, 1, -1, 1},   {CUT_EVICT, 0, -1, 0},  {CUT_PUT, 4, -1, 1},
    {CUT_EVICT, 0, -1, 0}, {CUT_PUT, 0, -1, 3},    {CUT_SEAL, 0, -1, 0},
    {CUT_EVICT, 0, -1, 0},
};

/* The first four, and a checkpoint, are there already. */
static const struct power_cut_step closing_work[] = {
    {CUT_PUT, 0, 1, 1},     {CUT_PUT, 2, -1, 1},   {CUT_PUT, 0, -1, 2},
    {CUT_REMOVE, 1, -1, 0}, {CUT_PUT, 1, 3, 2},    {CUT_REMOVE, 2, -1, 0},
    {CUT_PUT, 0, -1, 3},    {CUT_CLOSE, 0, -1, 0},
};

#define WORK(work) work, sizeof work / sizeof work[0]

static void evict_and_carry(struct kvt_store *store)
{
    struct kvt_evict_result result = {0};
    uint64_t before = stats_of(store).rewritten_bytes;
    bucket_settle(store);
    assert_int_equal(kvt_bkt_evict_one(bkt_of(store), true, &result), 0);
    carried += stats_of(store).rewritten_bytes > before;
}

/* What is carried over had replaced something, and is replaced or removed. */
static const struct power_cut_step carrying_work[] = {
    {CUT_PUT, 0, 1, 1},    {CUT_SEAL, 0, -1, 0},   {CUT_PUT, 0, 2, 2},
    {CUT_SEAL, 0, -1, 0},  {CUT_PUT, 3, -1, 1},    {CUT_USE, 0, -1, 2},
    {CUT_USE, 1, -1, 1},   {CUT_EVICT, 0, -1, 0},  {CUT_PUT, 1, -1, 2},
    {CUT_EVICT, 0, -1, 0}, {CUT_REMOVE, 0, -1, 0}, {CUT_SEAL, 0, -1, 0},
    {CUT_PUT, 4, -1, 1},
};

static void cut(const char *level, const struct power_cut_step *steps,
                size_t count, size_t before, bool unchecked)
{
    struct power_cut spec = {
        .backend = "bucket",
        .owned = true,
        .level = level,
        .unchecked = unchecked,
        .steps = steps,
        .step_count = count,
        .before = before,
        .seal = bucket_settle,
        .settings = steps == carrying_work ? second_chance : NULL,
        .setting_count = steps == carrying_work ? 2 : 0,
        .evict = steps == evicting_work   ? evict
                 : steps == carrying_work ? evict_and_carry
                                          : NULL,
        .close = close_cleanly,
        .boot_again = boot_again,
    };
    power_cut_everywhere(&spec);
}

#define CUT(name, level, work, before, unchecked)                              \
    static void name(void **state)                                             \
    {                                                                          \
        (void)state;                                                           \
        cut(level, WORK(work), before, unchecked);                             \
    }
CUT(at_batch_what_was_acknowledged_is_there, "batch", sealed_work, 0, false)
CUT(at_seal_what_was_sealed_is_there, "seal", sealed_work, 0, false)
CUT(at_none_nothing_wrong_is_read, "none", sealed_work, 0, false)
CUT(at_none_nothing_wrong_is_read_unchecked, "none", sealed_work, 0, true)
CUT(evicted_kills_hold_at_batch, "batch", evicting_work, 0, false)
CUT(evicted_kills_hold_at_seal, "seal", evicting_work, 0, false)
CUT(carried_objects_keep_their_order_at_batch, "batch", carrying_work, 0, false)
CUT(carried_objects_keep_their_order_at_seal, "seal", carrying_work, 0, false)
CUT(checkpoints_hold_at_batch, "batch", closing_work, 4, false)
CUT(checkpoints_hold_at_seal, "seal", closing_work, 4, false)
CUT(checkpoints_are_not_wrong_at_none, "none", closing_work, 4, false)
CUT(checkpoints_are_not_wrong_unchecked, "none", closing_work, 4, true)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_batch_what_was_acknowledged_is_there),
        cmocka_unit_test(at_seal_what_was_sealed_is_there),
        cmocka_unit_test(at_none_nothing_wrong_is_read),
        cmocka_unit_test(at_none_nothing_wrong_is_read_unchecked),
        cmocka_unit_test(evicted_kills_hold_at_batch),
        cmocka_unit_test(evicted_kills_hold_at_seal),
        cmocka_unit_test(carried_objects_keep_their_order_at_batch),
        cmocka_unit_test(carried_objects_keep_their_order_at_seal),
        cmocka_unit_test(checkpoints_hold_at_batch),
        cmocka_unit_test(checkpoints_hold_at_seal),
        cmocka_unit_test(checkpoints_are_not_wrong_at_none),
        cmocka_unit_test(checkpoints_are_not_wrong_unchecked),
    };
    bool failed = cmocka_run_group_tests(tests, NULL, NULL) != 0;
    return failed || carried == 0; /* something was carried over */
}
