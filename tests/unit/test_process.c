#include "support/unit.h"

#include "core/process.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void the_text_names_host_pid_and_start(void **state)
{
    char text[KVT_PROCESS_TEXT_MAX];
    char again[KVT_PROCESS_TEXT_MAX];
    char host[256];
    char expected[320];

    (void)state;
    kvt_process_describe(text);
    assert_int_equal(gethostname(host, sizeof host), 0);
    int size = snprintf(expected, sizeof expected, "host %s, pid %ld, started ",
                        host, (long)getpid());
    assert_int_equal(strncmp(text, expected, (size_t)size), 0);
    kvt_process_describe(again);
    assert_int_equal(strncmp(again, text, (size_t)size), 0);
}

/* A run of this program is no older than an hour and starts before now. */
static void the_start_is_a_time_of_today(void **state)
{
    char text[KVT_PROCESS_TEXT_MAX];
    char early[32];
    char late[32];
    time_t now = time(NULL);
    time_t before = now - 3600;
    time_t after = now + 2; /* the kernel counts in ticks */
    struct tm utc;

    (void)state;
    kvt_process_describe(text);
    const char *start = strstr(text, "started ");
    assert_non_null(start);
    start += strlen("started ");
    assert_int_equal(strlen(start), strlen("2026-01-31T12:00:00Z"));
    strftime(early, sizeof early, "%Y-%m-%dT%H:%M:%SZ",
             gmtime_r(&before, &utc));
    strftime(late, sizeof late, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&after, &utc));
    assert_true(strcmp(start, early) > 0);
    assert_true(strcmp(start, late) < 0);
}

/* Runs `check` in a child; returns its exit status. */
static int in_child(int (*check)(unsigned number), unsigned number)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        _exit(check(number));
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int number_is_another(unsigned number)
{
    return kvt_process_forks() == number + 1 ? 0 : 1;
}

static int grandchild_counts_twice(unsigned number)
{
    if (kvt_process_forks() != number + 1) {
        return 2;
    }
    return in_child(number_is_another, number + 1);
}

static void a_fork_changes_the_number_in_the_child_only(void **state)
{
    unsigned number = kvt_process_forks();

    (void)state;
    assert_int_equal(in_child(number_is_another, number), 0);
    assert_int_equal(kvt_process_forks(), number);
    assert_int_equal(in_child(grandchild_counts_twice, number), 0);
    assert_int_equal(kvt_process_forks(), number);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_names_host_pid_and_start),
        cmocka_unit_test(the_start_is_a_time_of_today),
        cmocka_unit_test(a_fork_changes_the_number_in_the_child_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
