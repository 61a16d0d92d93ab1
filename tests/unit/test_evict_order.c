#include "support/unit.h"

#include "evict/order.h"

#include <stdio.h>
#include <string.h>

/* Nodes are named by their letters: "abc" is a, then b, then c. */
struct letters {
    struct kvt_evict_order order;
    struct kvt_evict_node nodes[8];
};

static struct kvt_evict_node *node(struct letters *letters, char letter)
{
    return &letters->nodes[letter - 'a'];
}

static void letters_init(struct letters *letters, enum kvt_evict_policy policy,
                         const char *added)
{
    memset(letters, 0, sizeof *letters);
    kvt_evict_init(&letters->order, policy);
    for (; *added != '\0'; added++) {
        kvt_evict_add(&letters->order, node(letters, *added));
    }
}

/* Walks both ways: the links must agree. */
static void expect_order(struct letters *letters, const char *expected)
{
    struct kvt_evict_order *order = &letters->order;
    char forward[16] = "";
    size_t count = 0;
    struct kvt_evict_node *last = NULL;

    for (struct kvt_evict_node *at = kvt_evict_next(order, NULL); at != NULL;
         at = kvt_evict_next(order, at)) {
        assert_ptr_equal(at->older, last != NULL ? last : &order->ends);
        assert_true(count < sizeof forward - 1);
        forward[count++] = (char)('a' + (at - letters->nodes));
        last = at;
    }
    assert_string_equal(forward, expected);
    assert_ptr_equal(order->ends.older, last != NULL ? last : &order->ends);
}

static void an_empty_order_has_no_next(void **state)
{
    struct letters letters;

    (void)state;
    letters_init(&letters, KVT_EVICT_LRU, "");
    assert_null(kvt_evict_next(&letters.order, NULL));
    expect_order(&letters, "");
}

static void every_policy_starts_in_the_order_of_writing(void **state)
{
    struct letters letters;

    (void)state;
    for (int policy = KVT_EVICT_NONE; policy <= KVT_EVICT_LRU; policy++) {
        letters_init(&letters, (enum kvt_evict_policy)policy, "cab");
        expect_order(&letters, "cab");
    }
}

static void a_use_moves_to_the_end_under_lru_only(void **state)
{
    struct letters letters;

    (void)state;
    letters_init(&letters, KVT_EVICT_LRU, "abc");
    kvt_evict_use(&letters.order, node(&letters, 'a'));
    expect_order(&letters, "bca");
    kvt_evict_use(&letters.order, node(&letters, 'a'));
    expect_order(&letters, "bca");
    kvt_evict_use(&letters.order, node(&letters, 'c'));
    expect_order(&letters, "bac");
    for (int policy = KVT_EVICT_NONE; policy < KVT_EVICT_LRU; policy++) {
        letters_init(&letters, (enum kvt_evict_policy)policy, "abc");
        kvt_evict_use(&letters.order, node(&letters, 'a'));
        expect_order(&letters, "abc");
    }
}

static void a_rewrite_moves_to_the_end_under_every_policy(void **state)
{
    struct letters letters;

    (void)state;
    for (int policy = KVT_EVICT_NONE; policy <= KVT_EVICT_LRU; policy++) {
        letters_init(&letters, (enum kvt_evict_policy)policy, "abc");
        kvt_evict_renew(&letters.order, node(&letters, 'b'));
        expect_order(&letters, "acb");
        kvt_evict_renew(&letters.order, node(&letters, 'b'));
        expect_order(&letters, "acb");
        kvt_evict_renew(&letters.order, node(&letters, 'a'));
        expect_order(&letters, "cba");
    }
}

static void drop_takes_out_first_middle_and_last(void **state)
{
    struct letters letters;

    (void)state;
    letters_init(&letters, KVT_EVICT_FIFO, "abcde");
    kvt_evict_drop(&letters.order, node(&letters, 'c'));
    expect_order(&letters, "abde");
    kvt_evict_drop(&letters.order, node(&letters, 'a'));
    expect_order(&letters, "bde");
    kvt_evict_drop(&letters.order, node(&letters, 'e'));
    expect_order(&letters, "bd");
    kvt_evict_add(&letters.order, node(&letters, 'a'));
    expect_order(&letters, "bda");
}

static void the_only_one_can_be_renewed_and_dropped(void **state)
{
    struct letters letters;

    (void)state;
    letters_init(&letters, KVT_EVICT_LRU, "a");
    kvt_evict_renew(&letters.order, node(&letters, 'a'));
    kvt_evict_use(&letters.order, node(&letters, 'a'));
    expect_order(&letters, "a");
    kvt_evict_drop(&letters.order, node(&letters, 'a'));
    expect_order(&letters, "");
}

static void none_alone_forbids_writes_to_evict(void **state)
{
    struct letters letters;

    (void)state;
    letters_init(&letters, KVT_EVICT_NONE, "");
    assert_false(kvt_evict_allowed(&letters.order));
    letters_init(&letters, KVT_EVICT_FIFO, "");
    assert_true(kvt_evict_allowed(&letters.order));
    letters_init(&letters, KVT_EVICT_LRU, "");
    assert_true(kvt_evict_allowed(&letters.order));
}

/* The list against a string of letters. */
static void random_work_keeps_the_order_of_a_model(void **state)
{
    uint64_t seed = 4;

    (void)state;
    for (int policy = KVT_EVICT_NONE; policy <= KVT_EVICT_LRU; policy++) {
        struct letters letters;
        char model[16] = "";

        letters_init(&letters, (enum kvt_evict_policy)policy, "");
        for (int i = 0; i < 5000; i++) {
            char letter = (char)('a' + unit_random_below(&seed, 8));
            char *at = strchr(model, letter);
            size_t action = unit_random_below(&seed, 3);
            bool to_end = true;

            if (at == NULL) {
                kvt_evict_add(&letters.order, node(&letters, letter));
            } else if (action == 0) {
                kvt_evict_drop(&letters.order, node(&letters, letter));
                to_end = false;
            } else if (action == 1) {
                kvt_evict_renew(&letters.order, node(&letters, letter));
            } else {
                kvt_evict_use(&letters.order, node(&letters, letter));
                if (policy != KVT_EVICT_LRU) {
                    continue;
                }
            }
            if (at != NULL) {
                memmove(at, at + 1, strlen(at));
            }
            if (to_end) {
                size_t size = strlen(model);
                model[size] = letter;
                model[size + 1] = '\0';
            }
            expect_order(&letters, model);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_order_has_no_next),
        cmocka_unit_test(every_policy_starts_in_the_order_of_writing),
        cmocka_unit_test(a_use_moves_to_the_end_under_lru_only),
        cmocka_unit_test(a_rewrite_moves_to_the_end_under_every_policy),
        cmocka_unit_test(drop_takes_out_first_middle_and_last),
        cmocka_unit_test(the_only_one_can_be_renewed_and_dropped),
        cmocka_unit_test(none_alone_forbids_writes_to_evict),
        cmocka_unit_test(random_work_keeps_the_order_of_a_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
