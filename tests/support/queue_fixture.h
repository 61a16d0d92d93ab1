/* A queue over a ring that moves nothing (support/null_ring.h), and elements
 * that note the order in which they are done. */
#ifndef KVT_TESTS_QUEUE_FIXTURE_H
#define KVT_TESTS_QUEUE_FIXTURE_H

#include "support/null_ring.h"
#include "support/unit.h"

#define MS INT64_C(1000000)

struct fixture {
    struct null_ring ring;        /* its best depth is 7 */
    struct kvt_fs_queue *queue;   /* of depth 4 */
    struct kvt_fs_elem elems[64]; /* stats, until a test makes others of them */
    size_t done_count;
    size_t order[64]; /* the elements' numbers, as they were done */
};

/* cmocka's setups and teardown: `*state` is a struct fixture *. */
int queue_setup_chains(void **state);
int queue_setup_singles(void **state);
int queue_setup_part(void **state);
int queue_setup_bytes(void **state);
int queue_teardown(void **state);

#define CASE_CHAINS(name)                                                      \
    cmocka_unit_test_setup_teardown(name, queue_setup_chains, queue_teardown)
#define CASE_SINGLES(name)                                                     \
    cmocka_unit_test_setup_teardown(name, queue_setup_singles, queue_teardown)
#define CASE_BYTES(name)                                                       \
    cmocka_unit_test_setup_teardown(name, queue_setup_bytes, queue_teardown)
/* The name tells it from the same case on another kind of ring. */
#define CASE_PART(name)                                                        \
    {                                                                          \
#name "_in_part", name, queue_setup_part, queue_teardown, NULL         \
    }

/* Makes the first elements a chain of these operations. */
void queue_make_chain(struct fixture *f, const enum kvt_fs_op *ops,
                      size_t count);

/* Polls until `count` elements are done, at most two seconds. */
void queue_wait_for_done(struct fixture *f, size_t count);

/* Elements 0 to `count` - 1 are done, in that order, and no others. */
void queue_expect_in_order(const struct fixture *f, size_t count);

/* A result of the ring's: every element that can be short is, by a byte. */
int64_t queue_one_byte_short(struct kvt_fs_elem *elem);

#endif
