#include "support/unit.h"

#include "evict/budget.h"

#include <string.h>

static struct kvt_charge charge(uint64_t allocated, uint64_t values,
                                uint64_t objects)
{
    return (struct kvt_charge){allocated, values, objects};
}

static void expect(struct kvt_charge got, uint64_t allocated, uint64_t values,
                   uint64_t objects)
{
    assert_int_equal(got.allocated, allocated);
    assert_int_equal(got.values, values);
    assert_int_equal(got.objects, objects);
}

static struct kvt_budget budget_of(struct kvt_charge limit,
                                   struct kvt_charge used)
{
    struct kvt_budget budget = {.limit = limit};

    kvt_budget_claim(&budget, used, charge(0, 0, 0));
    return budget;
}

static void sums_and_differences_are_part_by_part(void **state)
{
    struct kvt_charge sum = charge(1, 2, 3);

    (void)state;
    kvt_charge_add(&sum, charge(10, 20, 30));
    expect(sum, 11, 22, 33);
    kvt_charge_sub(&sum, charge(1, 20, 33));
    expect(sum, 10, 2, 0);
}

static void covers_needs_every_part(void **state)
{
    (void)state;
    assert_true(kvt_charge_covers(charge(1, 2, 3), charge(1, 2, 3)));
    assert_true(kvt_charge_covers(charge(1, 2, 3), charge(0, 0, 0)));
    assert_false(kvt_charge_covers(charge(1, 2, 3), charge(2, 2, 3)));
    assert_false(kvt_charge_covers(charge(1, 2, 3), charge(1, 3, 3)));
    assert_false(kvt_charge_covers(charge(1, 2, 3), charge(1, 2, 4)));
}

static void what_fits_exactly_is_no_shortage(void **state)
{
    struct kvt_budget budget =
        budget_of(charge(100, 90, 10), charge(60, 50, 4));

    (void)state;
    expect(kvt_budget_shortage(&budget, charge(40, 40, 6)), 0, 0, 0);
    expect(kvt_budget_shortage(&budget, charge(0, 0, 0)), 0, 0, 0);
}

static void shortage_is_told_for_each_part(void **state)
{
    struct kvt_budget budget =
        budget_of(charge(100, 90, 10), charge(60, 50, 4));

    (void)state;
    expect(kvt_budget_shortage(&budget, charge(41, 40, 6)), 1, 0, 0);
    expect(kvt_budget_shortage(&budget, charge(40, 45, 6)), 0, 5, 0);
    expect(kvt_budget_shortage(&budget, charge(40, 40, 9)), 0, 0, 3);
    expect(kvt_budget_shortage(&budget, charge(200, 200, 200)), 160, 160, 194);
}

static void possible_is_what_an_empty_store_could_take(void **state)
{
    struct kvt_budget budget =
        budget_of(charge(100, 90, 10), charge(100, 90, 10));

    (void)state;
    assert_true(kvt_budget_possible(&budget, charge(100, 90, 10)));
    assert_false(kvt_budget_possible(&budget, charge(101, 1, 1)));
    assert_false(kvt_budget_possible(&budget, charge(1, 91, 1)));
    assert_false(kvt_budget_possible(&budget, charge(1, 1, 11)));
}

static void a_claim_counts_at_once_and_can_be_given_back(void **state)
{
    struct kvt_budget budget =
        budget_of(charge(100, 100, 100), charge(0, 0, 0));

    (void)state;
    kvt_budget_claim(&budget, charge(60, 50, 1), charge(0, 0, 0));
    expect(budget.used, 60, 50, 1);
    expect(kvt_budget_shortage(&budget, charge(50, 50, 1)), 10, 0, 0);
    kvt_budget_give_back(&budget, charge(60, 50, 1));
    expect(budget.used, 0, 0, 0);
    expect(kvt_budget_shortage(&budget, charge(50, 50, 1)), 0, 0, 0);
}

static void a_credit_is_taken_off_the_claim(void **state)
{
    struct kvt_budget budget =
        budget_of(charge(100, 100, 100), charge(80, 70, 2));

    (void)state;
    /* 30 replace an object of 20 */
    kvt_budget_claim(&budget, charge(30, 25, 1), charge(20, 15, 1));
    expect(budget.used, 90, 80, 2);
    /* a credit may be larger than the claim */
    kvt_budget_claim(&budget, charge(1, 1, 1), charge(60, 55, 1));
    expect(budget.used, 31, 26, 2);
}

static void peaks_remember_the_most_that_was_used(void **state)
{
    struct kvt_budget budget =
        budget_of(charge(100, 100, 100), charge(0, 0, 0));

    (void)state;
    kvt_budget_claim(&budget, charge(50, 10, 1), charge(0, 0, 0));
    kvt_budget_give_back(&budget, charge(40, 0, 0));
    kvt_budget_claim(&budget, charge(5, 20, 1), charge(0, 0, 0));
    expect(budget.peak, 50, 30, 2);
    /* what the credit frees is free before the claim is written */
    kvt_budget_claim(&budget, charge(40, 30, 2), charge(15, 30, 2));
    expect(budget.used, 40, 30, 2);
    expect(budget.peak, 50, 30, 2);
    kvt_budget_give_back(&budget, charge(40, 30, 2));
    expect(budget.peak, 50, 30, 2);
}

static void a_lowered_limit_makes_a_shortage_of_what_is_there(void **state)
{
    struct kvt_budget budget =
        budget_of(charge(100, 100, 100), charge(80, 70, 50));

    (void)state;
    budget.limit = charge(50, 100, 10);
    expect(kvt_budget_shortage(&budget, charge(0, 0, 0)), 30, 0, 40);
    expect(kvt_budget_shortage(&budget, charge(5, 40, 1)), 35, 10, 41);
}

static void without_limits_everything_fits(void **state)
{
    struct kvt_charge none = charge(UINT64_MAX, UINT64_MAX, UINT64_MAX);
    struct kvt_budget budget = budget_of(none, charge(1, 1, 1));

    (void)state;
    expect(kvt_budget_shortage(&budget, charge(1u << 30, 5, 5)), 0, 0, 0);
    assert_true(kvt_budget_possible(&budget, none));
}

/* A need that no number of this size can add to what is used does not wrap
 * round to one that fits. */
static void a_sum_above_64_bits_is_a_shortage(void **state)
{
    struct kvt_budget budget =
        budget_of(charge(100, UINT64_MAX - 1, 10), charge(60, 50, 4));
    struct kvt_charge most = charge(UINT64_MAX - 10, UINT64_MAX, UINT64_MAX);
    struct kvt_charge shortage = kvt_budget_shortage(&budget, most);

    (void)state;
    assert_true(shortage.allocated > 0);
    assert_true(shortage.values > 0);
    assert_true(shortage.objects > 0);
    assert_false(kvt_budget_possible(&budget, most));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_and_differences_are_part_by_part),
        cmocka_unit_test(covers_needs_every_part),
        cmocka_unit_test(what_fits_exactly_is_no_shortage),
        cmocka_unit_test(shortage_is_told_for_each_part),
        cmocka_unit_test(possible_is_what_an_empty_store_could_take),
        cmocka_unit_test(a_claim_counts_at_once_and_can_be_given_back),
        cmocka_unit_test(a_credit_is_taken_off_the_claim),
        cmocka_unit_test(peaks_remember_the_most_that_was_used),
        cmocka_unit_test(a_lowered_limit_makes_a_shortage_of_what_is_there),
        cmocka_unit_test(without_limits_everything_fits),
        cmocka_unit_test(a_sum_above_64_bits_is_a_shortage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
