/* The harness's pairs: their order, the one that is thrown away, what is
 * counted and what is not. Sides, caches and the other rows are the test's. */
#include "../../bench/harness.c"

#include "../../bench/pairs.c"
#include "../../bench/report.c"

#include "mount_fixture.h"
#include "support/unit.h"

enum {
    PAIRS = 6,
    OPERATIONS = 10
};

static char order[100]; /* the sides that ran: o(urs), other is x */
static size_t proofs;
static unsigned long misplaced; /* a bit for each proof that fails */
static bool fails;

static void begin(unsigned long which)
{
    memset(order, 0, sizeof order);
    proofs = 0;
    misplaced = which;
    fails = false;
}

static int note(char side, struct bench_result *result)
{
    order[strlen(order)] = side;
    result->seconds = 1;
    result->operations = OPERATIONS;
    result->bytes = 100 * OPERATIONS;
    return 0;
}

/* Each operation is a submission of the mount's. */
static int ours(struct bench *bench, struct bench_result *result)
{
    struct kvt_fs_queue_options options = {sizeof options, 1, true};
    struct kvt_fs_queue *queue;
    assert_int_equal(kvt_fs_queue_open(bench->mount, &options, &queue), 0);
    for (unsigned i = 0; i < OPERATIONS; i++) {
        struct kvt_fs_elem stat = {.op = KVT_FS_STAT, .path = "missing"};
        kvt_fs_submit(queue, &stat, 1);
        while (kvt_fs_in_flight(queue) > 0) {
            kvt_fs_poll(queue, 1, 0);
        }
    }
    assert_int_equal(kvt_fs_queue_close(queue), 0);
    return fails ? bench_fail(bench, "it fails") : note('o', result);
}

static int other(struct bench *bench, struct bench_result *result)
{
    (void)bench;
    return note('x', result);
}

static int nothing(struct bench *bench)
{
    (void)bench;
    return 0;
}

static const struct bench_row rows[] = {
    {.name = "row/one",
     .other_name = "other",
     .depth = 1,
     .setup = nothing,
     .ours = ours,
     .other = other,
     .teardown = nothing},
    {.name = "row/two",
     .other_name = "other",
     .depth = 1,
     .setup = nothing,
     .ours = other,
     .other = other,
     .teardown = nothing},
};

/* What the harness is linked with otherwise -------------------------------- */

struct bench_group bench_boundary_rows(void)
{
    return (struct bench_group){rows, COUNT_OF(rows)};
}

struct bench_group bench_transfer_rows(void)
{
    return (struct bench_group){NULL, 0};
}

struct bench_group bench_fetch_rows(void)
{
    return (struct bench_group){NULL, 0};
}

struct bench_group bench_large_rows(void)
{
    return (struct bench_group){NULL, 0};
}

struct bench_group bench_bucket_rows(void)
{
    return (struct bench_group){NULL, 0};
}

struct bench_group bench_distributed_rows(void)
{
    return (struct bench_group){NULL, 0};
}

int64_t caches_device_read(void)
{
    return 0;
}

int64_t caches_device_written(void)
{
    return 0;
}

int caches_prove(struct bench *bench, const struct bench_result *result,
                 uint64_t code)
{
    (void)result;
    (void)code;
    bool wrong = misplaced >> proofs++ & 1;
    return wrong ? bench_fail(bench, "not where the row says") : 0;
}

int calls_count(int (*body)(void *arg), void *arg, uint64_t *calls)
{
    (void)body;
    (void)arg;
    (void)calls;
    return -1;
}

void calls_mark(void)
{
}

int command_against(struct bench *bench, const char *command,
                    struct bench_result *result)
{
    (void)bench;
    (void)command;
    (void)result;
    return -1;
}

/* The cases ------------------------------------------------------------------
 */

static int measure_row(struct mounted *m, struct figures *figures)
{
    struct bench bench = {
        .dir = m->top, .fs = "posix", .scale = 1, .row = &rows[0]};
    memset(figures, 0, sizeof *figures);
    return measure(&bench, PAIRS, figures);
}

/* The first pair is thrown away; who goes first alternates. */
static void pairs_are_interleaved(void **state)
{
    static struct figures figures;
    begin(0);
    assert_int_equal(measure_row(*state, &figures), 0);
    assert_string_equal(order, "ox"
                               "oxxooxxooxxo");
    assert_int_equal(figures.count, PAIRS);
    assert_int_equal(figures.misplaced, 0);
    assert_int_equal(figures.ours_sum.operations, PAIRS * OPERATIONS);
    assert_int_equal(figures.other_sum.operations, PAIRS * OPERATIONS);
    assert_int_equal(figures.counters.submissions, PAIRS * OPERATIONS);
    assert_int_equal(figures.counters.transfers, PAIRS * OPERATIONS);
}

/* Proofs 0 and 1 are of the pair that is thrown away. */
static void a_pair_that_is_left_out_counts_nowhere(void **state)
{
    static struct figures figures;
    for (unsigned proof = 2; proof < 8; proof++) {
        begin(1UL << proof);
        assert_int_equal(measure_row(*state, &figures), 0);
        assert_int_equal(figures.count, PAIRS);
        assert_int_equal(figures.misplaced, 1);
        assert_int_equal(figures.ours_sum.operations, PAIRS * OPERATIONS);
        assert_int_equal(figures.counters.submissions, PAIRS * OPERATIONS);
        assert_int_equal(figures.counters.transfers, PAIRS * OPERATIONS);
    }
}

static void rows_that_are_not_taken_are_no_success(void **state)
{
    struct mounted *m = *state;
    struct bench_options options = {
        .dir = m->top, .fs = "posix", .pairs = PAIRS, .scale = 1};
    begin(0);
    assert_int_equal(bench_run(&options), 0);
    fails = true; /* one of the two */
    assert_int_equal(bench_run(&options), 1);
    options.only = "two";
    assert_int_equal(bench_run(&options), 0);
    options.only = "none";
    assert_int_equal(bench_run(&options), 1);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        mount_test(pairs_are_interleaved),
        mount_test(a_pair_that_is_left_out_counts_nowhere),
        mount_test(rows_that_are_not_taken_are_no_success),
    };
    return cmocka_run_group_tests(cases, NULL, NULL) != 0;
}
