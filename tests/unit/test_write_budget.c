/* What may be written in a day. */
#include "support/unit.h"

#include "evict/write_budget.h"

#include <string.h>

#define HOUR UINT64_C(3600000)
#define NOW (UINT64_C(1000) * HOUR)

static struct kvt_write_budget budget;

static int setup(void **state)
{
    (void)state;
    kvt_write_budget_init(&budget, 1000, 100);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kvt_write_budget_fini(&budget);
    return 0;
}

static void what_does_not_fit_is_dropped(void **state)
{
    (void)state;
    assert_true(kvt_write_budget_take(&budget, NOW, 600));
    assert_false(kvt_write_budget_take(&budget, NOW, 401));
    assert_true(kvt_write_budget_take(&budget, NOW, 400));
    assert_false(kvt_write_budget_take(&budget, NOW, 1));
    assert_int_equal(kvt_write_budget_spent(&budget, NOW), 1000);
    assert_int_equal(kvt_write_budget_dropped(&budget), 2);
    assert_false(kvt_write_budget_take(&budget, NOW, UINT64_MAX));
}

static void no_limit_counts_nothing(void **state)
{
    (void)state;
    budget.limit = 0;
    assert_true(kvt_write_budget_take(&budget, NOW, UINT64_MAX));
    kvt_write_budget_spend(&budget, NOW, 5);
    assert_int_equal(kvt_write_budget_spent(&budget, NOW), 0);
    assert_int_equal(kvt_write_budget_dropped(&budget), 0);
}

static void it_slides_by_the_hour(void **state)
{
    (void)state;
    uint64_t late = NOW + HOUR - 1; /* at the end of an hour */
    assert_true(kvt_write_budget_take(&budget, late, 300));
    assert_true(kvt_write_budget_take(&budget, NOW + 5 * HOUR, 700));
    /* 24 hours later it still counts, and not an hour after that */
    assert_false(kvt_write_budget_take(&budget, late + 24 * HOUR, 1));
    assert_true(kvt_write_budget_take(&budget, late + 24 * HOUR + 1, 300));
    assert_false(kvt_write_budget_take(&budget, late + 24 * HOUR + 1, 1));
    assert_int_equal(kvt_write_budget_spent(&budget, NOW + 30 * HOUR), 300);
    assert_int_equal(kvt_write_budget_spent(&budget, NOW + 1000 * HOUR), 0);
}

static void a_clock_that_is_set_back_gives_nothing_back(void **state)
{
    (void)state;
    assert_true(kvt_write_budget_take(&budget, NOW, 1000));
    assert_false(kvt_write_budget_take(&budget, NOW - 100 * HOUR, 1));
    assert_false(kvt_write_budget_take(&budget, 0, 1));
    assert_int_equal(kvt_write_budget_spent(&budget, 0), 1000);
}

static void what_was_not_written_comes_back(void **state)
{
    (void)state;
    assert_true(kvt_write_budget_take(&budget, NOW, 800));
    kvt_write_budget_return(&budget, NOW, 300);
    assert_int_equal(kvt_write_budget_spent(&budget, NOW), 500);
    assert_true(kvt_write_budget_take(&budget, NOW + HOUR, 100));
    kvt_write_budget_return(&budget, NOW + HOUR, 400); /* of both hours */
    assert_int_equal(kvt_write_budget_spent(&budget, NOW + HOUR), 200);
    kvt_write_budget_return(&budget, NOW + HOUR, 10000);
    assert_int_equal(kvt_write_budget_spent(&budget, NOW + HOUR), 0);
}

static void what_must_be_written_counts(void **state)
{
    (void)state;
    kvt_write_budget_spend(&budget, NOW, 5000);
    assert_false(kvt_write_budget_take(&budget, NOW, 0));
    assert_int_equal(kvt_write_budget_spent(&budget, NOW), 5000);
}

static void it_can_be_kept(void **state)
{
    (void)state;
    uint64_t hour;
    uint64_t hours[KVT_BUDGET_HOURS];
    struct kvt_write_budget next;
    kvt_write_budget_take(&budget, NOW, 100);
    kvt_write_budget_take(&budget, NOW + 3 * HOUR, 200);
    assert_int_equal(budget.unsaved, 300);
    kvt_write_budget_save(&budget, NOW + 3 * HOUR, &hour, hours);
    assert_int_equal(budget.unsaved, 0);
    for (uint64_t later = 0; later < 40; later++) {
        kvt_write_budget_init(&next, 1000, 100);
        kvt_write_budget_restore(&next, NOW + (3 + later) * HOUR, hour, hours);
        uint64_t wanted = later <= 21 ? 300 : later <= 24 ? 200 : 0;
        assert_int_equal(
            kvt_write_budget_spent(&next, NOW + (3 + later) * HOUR), wanted);
        kvt_write_budget_fini(&next);
    }
    /* by a clock that was ahead: none of it is lost */
    kvt_write_budget_init(&next, 1000, 100);
    kvt_write_budget_restore(&next, NOW - 500 * HOUR, hour, hours);
    assert_int_equal(kvt_write_budget_spent(&next, NOW - 500 * HOUR), 300);
    kvt_write_budget_fini(&next);
    memset(hours, 0xff, sizeof hours);
    kvt_write_budget_init(&next, 1000, 100);
    kvt_write_budget_restore(&next, NOW, 0, hours);
    kvt_write_budget_restore(&next, NOW, UINT64_MAX, hours);
    assert_false(kvt_write_budget_take(&next, NOW, 1));
    kvt_write_budget_fini(&next);
}

#define budget_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        budget_test(what_does_not_fit_is_dropped),
        budget_test(no_limit_counts_nothing),
        budget_test(it_slides_by_the_hour),
        budget_test(a_clock_that_is_set_back_gives_nothing_back),
        budget_test(what_was_not_written_comes_back),
        budget_test(what_must_be_written_counts),
        budget_test(it_can_be_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
