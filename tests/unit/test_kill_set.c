#include "backend/kill_set.h"
#include "support/unit.h"

static void nothing_is_killed_at_first(void **state)
{
    (void)state;
    struct kvt_kill_set set = {0};
    assert_int_equal(kvt_kill_set_find(&set, 1, 2, 3), KVT_NOT_KILLED);
    kvt_kill_set_fini(&set);
}

static void what_never_counted_stays_so(void **state)
{
    (void)state;
    struct kvt_kill_set set = {0};
    assert_int_equal(kvt_kill_set_add(&set, 1, 2, 3, KVT_KILLED), 0);
    assert_int_equal(kvt_kill_set_find(&set, 1, 2, 3), KVT_KILLED);
    assert_int_equal(kvt_kill_set_add(&set, 1, 2, 3, KVT_NEVER_COUNTED), 0);
    assert_int_equal(kvt_kill_set_add(&set, 1, 2, 3, KVT_KILLED), 0);
    assert_int_equal(kvt_kill_set_find(&set, 1, 2, 3), KVT_NEVER_COUNTED);
    assert_int_equal(set.count, 1);
    kvt_kill_set_fini(&set);
}

static void each_part_of_a_place_counts(void **state)
{
    (void)state;
    struct kvt_kill_set set = {0};
    assert_int_equal(kvt_kill_set_add(&set, 1, 2, 3, KVT_KILLED), 0);
    assert_int_equal(kvt_kill_set_find(&set, 0, 2, 3), KVT_NOT_KILLED);
    assert_int_equal(kvt_kill_set_find(&set, 1, 0, 3), KVT_NOT_KILLED);
    assert_int_equal(kvt_kill_set_find(&set, 1, 2, 0), KVT_NOT_KILLED);
    kvt_kill_set_fini(&set);
}

static void it_grows(void **state)
{
    (void)state;
    enum {
        MANY = 50000
    };
    struct kvt_kill_set set = {0};
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(
            kvt_kill_set_add(&set, i % 3, i / 7, i,
                             i % 5 == 0 ? KVT_NEVER_COUNTED : KVT_KILLED),
            0);
    }
    assert_int_equal(set.count, MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(kvt_kill_set_find(&set, i % 3, i / 7, i),
                         i % 5 == 0 ? KVT_NEVER_COUNTED : KVT_KILLED);
        assert_int_equal(kvt_kill_set_find(&set, i % 3 + 3, i / 7, i),
                         KVT_NOT_KILLED);
    }
    kvt_kill_set_fini(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_killed_at_first),
        cmocka_unit_test(what_never_counted_stays_so),
        cmocka_unit_test(each_part_of_a_place_counts),
        cmocka_unit_test(it_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
