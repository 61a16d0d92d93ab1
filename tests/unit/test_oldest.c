/* The oldest files of many: a bounded heap, then in their order. */
#include "support/unit.h"

#include "backend/distributed_oldest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEPT = 4096, /* at most */
    MANY = 20000
};

static void offer(struct dist_oldest *oldest, int64_t modified_ns)
{
    char name[32];
    struct dist_found found = {.directory = "3f",
                               .name = name,
                               .kind = KVT_NAME_KEY,
                               .file_size = (uint64_t)modified_ns,
                               .modified_ns = modified_ns};

    snprintf(name, sizeof name, "f%lld", (long long)modified_ns);
    assert_int_equal(kvt_dist_oldest_offer(oldest, &found), 0);
}

static void of_many_the_oldest_are_kept_in_order(void **state)
{
    struct dist_oldest *oldest = kvt_dist_oldest_new();
    char path[32];

    (void)state;
    assert_non_null(oldest);
    for (int64_t i = 0; i < MANY; i++) {
        offer(oldest, i * 7919 % MANY); /* each once, in no order */
    }
    assert_int_equal(oldest->count, KEPT);
    kvt_dist_oldest_sort(oldest);
    for (int64_t i = 0; i < KEPT; i++) {
        struct dist_old *old = kvt_dist_oldest_take(oldest);
        snprintf(path, sizeof path, "3f/f%lld", (long long)i);
        assert_non_null(old);
        assert_int_equal(old->modified_ns, i);
        assert_string_equal(old->path, path);
    }
    assert_null(kvt_dist_oldest_take(oldest));
    kvt_dist_oldest_free(oldest);
}

static void what_was_renewed_is_passed_over(void **state)
{
    struct dist_oldest *oldest = kvt_dist_oldest_new();

    (void)state;
    assert_non_null(oldest);
    for (int64_t i = 0; i < 5; i++) {
        offer(oldest, i);
    }
    kvt_dist_oldest_sort(oldest);
    assert_int_equal(kvt_dist_oldest_take(oldest)->modified_ns, 0);
    kvt_dist_oldest_forget(oldest, "3f/f1");
    kvt_dist_oldest_forget(oldest, "3f/f3");
    kvt_dist_oldest_forget(oldest, "3f/f9");
    assert_int_equal(kvt_dist_oldest_take(oldest)->modified_ns, 2);
    assert_int_equal(kvt_dist_oldest_take(oldest)->modified_ns, 4);
    assert_null(kvt_dist_oldest_take(oldest));
    kvt_dist_oldest_free(oldest);
    kvt_dist_oldest_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_many_the_oldest_are_kept_in_order),
        cmocka_unit_test(what_was_renewed_is_passed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
