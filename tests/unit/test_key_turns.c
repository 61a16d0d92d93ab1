#include "backend/key_turns.h"
#include "support/queue_fixture.h"

#include <errno.h>

enum {
    MANY = 12
};

static struct kvt_turns turns;

struct waits {
    struct kvt_turn turn;
    struct kvt_fs_elem elem;
    int64_t told; /* 1: not yet */
};

static void was_told(struct kvt_fs_elem *elem)
{
    ((struct waits *)elem->arg)->told = elem->result;
}

static bool take(struct fixture *f, struct waits *waits, uint64_t hash)
{
    *waits = (struct waits){.turn = {.hash = hash}, .told = 1};
    waits->elem =
        (struct kvt_fs_elem){.op = KVT_FS_WAIT, .done = was_told, .arg = waits};
    return kvt_turn_take(&turns, &waits->turn, f->queue, &waits->elem);
}

static void poll(struct fixture *f)
{
    kvt_fs_poll(f->queue, 0, 0);
}

static void one_at_a_time_in_the_order_of_asking(void **state)
{
    struct fixture *f = *state;
    struct waits waits[MANY];
    assert_true(take(f, &waits[0], 7));
    for (int i = 1; i < MANY; i++) {
        assert_false(take(f, &waits[i], 7));
    }
    for (int i = 0; i < MANY; i++) {
        poll(f);
        for (int j = i + 1; j < MANY; j++) {
            assert_int_equal(waits[j].told, 1);
        }
        assert_int_equal(waits[i].told, i == 0 ? 1 : 0);
        kvt_turn_give(&turns, &waits[i].turn);
    }
    assert_true(take(f, &waits[0], 7));
    kvt_turn_give(&turns, &waits[0].turn);
}

static void other_keys_do_not_wait_also_of_one_chain(void **state)
{
    struct fixture *f = *state;
    struct waits waits[MANY];
    struct waits second[MANY];
    for (uint64_t i = 0; i < MANY; i++) {
        assert_true(take(f, &waits[i], 5 + i * KVT_TURN_CHAINS));
    }
    for (uint64_t i = 0; i < MANY; i++) {
        assert_false(take(f, &second[i], 5 + i * KVT_TURN_CHAINS));
    }
    for (int i = MANY - 1; i >= 0; i -= 2) {
        kvt_turn_give(&turns, &waits[i].turn);
    }
    poll(f);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(second[i].told, i % 2 == 1 ? 0 : 1);
    }
    for (int i = 0; i < MANY; i += 2) {
        kvt_turn_give(&turns, &waits[i].turn);
    }
    poll(f);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(second[i].told, 0);
        kvt_turn_give(&turns, &second[i].turn);
    }
}

static void who_leaves_is_passed_over(void **state)
{
    struct fixture *f = *state;
    struct waits waits[4];
    assert_true(take(f, &waits[0], 1));
    for (int i = 1; i < 4; i++) {
        assert_false(take(f, &waits[i], 1));
    }
    assert_true(kvt_turn_leave(&turns, &waits[2].turn));
    assert_false(kvt_turn_leave(&turns, &waits[2].turn));
    kvt_fs_post(&waits[2].elem, -ETIMEDOUT);
    kvt_turn_give(&turns, &waits[0].turn);
    assert_false(kvt_turn_leave(&turns, &waits[1].turn)); /* it has come */
    poll(f);
    assert_int_equal(waits[1].told, 0);
    assert_int_equal(waits[2].told, -ETIMEDOUT);
    assert_int_equal(waits[3].told, 1);
    kvt_turn_give(&turns, &waits[1].turn);
    poll(f);
    assert_int_equal(waits[3].told, 0);
    kvt_turn_give(&turns, &waits[3].turn);
    assert_false(kvt_turn_leave(&turns, &waits[3].turn));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE_CHAINS(one_at_a_time_in_the_order_of_asking),
        CASE_CHAINS(other_keys_do_not_wait_also_of_one_chain),
        CASE_CHAINS(who_leaves_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
