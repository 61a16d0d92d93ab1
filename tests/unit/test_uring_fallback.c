/* Where io_uring, or a part of it, cannot be had: the mount works, and says
 * what is missing. */
#define _DEFAULT_SOURCE /* setgroups */
#include "uring_child.h"

#include <seccomp.h>

enum {
    SIZE = 200000,
    MIB = 1 << 20
};

/* No ring ----------------------------------------------------------------- */

static void expect_posix(struct mounted *m, const char *call, const char *why)
{
    struct kvt_error err;
    HOLDS(mounted_try(m, "uring", &err) == KVT_OK);
    HOLDS(!m->fs->facts.io_uring);
    HOLDS(!m->fs->facts.direct); /* as posix */
    HOLDS(strcmp(kvt_fs_name(m->fs), "uring") == 0);
    HOLDS(says(m->fs, "no io_uring") && says(m->fs, call) && says(m->fs, why));
    use(m->fs, SIZE);
    mounted_stop(m);
}

static void setup_is_forbidden(struct mounted *m)
{
    forbid(SCMP_SYS(io_uring_setup), EPERM);
    expect_posix(m, "io_uring_setup", "seccomp");
}

static void setup_is_unknown(struct mounted *m)
{
    forbid(SCMP_SYS(io_uring_setup), ENOSYS);
    expect_posix(m, "io_uring_setup", "Linux 5.19");
}

static void setup_has_no_memory(struct mounted *m)
{
    forbid(SCMP_SYS(io_uring_setup), ENOMEM);
    expect_posix(m, "io_uring_setup", "ulimit -l");
}

static void enter_is_forbidden(struct mounted *m)
{
    forbid(SCMP_SYS(io_uring_enter), EPERM);
    expect_posix(m, "io_uring_enter", "seccomp");
}

static void register_is_forbidden(struct mounted *m)
{
    forbid(SCMP_SYS(io_uring_register), EPERM);
    expect_posix(m, "io_uring_register", "");
}

static void without_a_ring_it_is_posix_and_says_so(void **state)
{
    in_child(*state, setup_is_forbidden);
    in_child(*state, setup_is_unknown);
    in_child(*state, setup_has_no_memory);
    in_child(*state, enter_is_forbidden);
    in_child(*state, register_is_forbidden);
}

/* The message goes to the log, and into the figures. */
struct logged {
    size_t count;
    char text[512];
};

static void note(enum kvt_log_level level, const char *message, void *arg)
{
    struct logged *logged = arg;
    if (level == KVT_LOG_WARN) {
        logged->count++;
        snprintf(logged->text, sizeof logged->text, "%s", message);
    }
}

static void open_store(struct mounted *m, bool falls_back)
{
    struct logged logged = {0};
    struct kvt_handlers handlers = KVT_HANDLERS_INIT;
    struct kvt_store *store;
    struct kvt_stats stats = {.size = sizeof stats};
    struct kvt_error err;
    handlers.log = note;
    handlers.log_arg = &logged;
    HOLDS(kvt_config_set(m->config, "path", m->root, &err) == KVT_OK);
    HOLDS(kvt_config_set(m->config, "fs", "uring", &err) == KVT_OK);
    HOLDS(kvt_store_open(m->config, &handlers, &store, &err) == KVT_OK);
    HOLDS(put_value(store, key_of("a"), 1, SIZE) == KVT_OK);
    HOLDS(get_value(store, key_of("a"), 1, SIZE) == KVT_OK);
    HOLDS(kvt_stats(store, &stats) == KVT_OK);
    HOLDS(stats.effective.io_uring == !falls_back);
    HOLDS((stats.effective.fallback_reason[0] != '\0') == falls_back);
    HOLDS(logged.count == (falls_back ? 1 : 0));
    HOLDS(!falls_back || strstr(logged.text, "no io_uring") != NULL);
    kvt_store_close(store);
}

static void a_store_falls_back(struct mounted *m)
{
    forbid(SCMP_SYS(io_uring_setup), EPERM);
    open_store(m, true);
}

static void a_store_does_not_fall_back(struct mounted *m)
{
    open_store(m, false);
}

static void a_store_tells_in_its_log_and_its_figures(void **state)
{
    in_child(*state, a_store_falls_back);
    in_child(*state, a_store_does_not_fall_back);
}

/* Less than all ----------------------------------------------------------- */

static void more_than_may_be_locked(struct mounted *m)
{
    struct kvt_error err;
    become_nobody(m, 8 * MIB);
    HOLDS(mounted_try(m, "uring", &err) == KVT_OK);
    HOLDS(m->fs->facts.io_uring);
    use(m->fs, MIB); /* fits */
    HOLDS(strcmp(kvt_fs_fallback_reason(m->fs), "") == 0);
    use(m->fs, 8 * MIB);
    HOLDS(m->fs->facts.io_uring);
    HOLDS(says(m->fs, "ulimit -l"));
    use(m->fs, MIB);
    mounted_stop(m);
}

static void nothing_may_be_locked(struct mounted *m)
{
    struct kvt_error err;
    become_nobody(m, 0);
    HOLDS(mounted_try(m, "uring", &err) == KVT_OK);
    use(m->fs, MIB);
    HOLDS(!m->fs->facts.io_uring || says(m->fs, "ulimit -l"));
    mounted_stop(m);
}

static void memory_that_may_not_be_locked_is_moved_as_any(void **state)
{
    if (getuid() != 0) {
        print_message("not tried: only root can become somebody else\n");
        return;
    }
    in_child(*state, more_than_may_be_locked);
    in_child(*state, nothing_may_be_locked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        mount_test(without_a_ring_it_is_posix_and_says_so),
        mount_test(a_store_tells_in_its_log_and_its_figures),
        mount_test(memory_that_may_not_be_locked_is_moved_as_any),
    };
    if (!uring_is_here()) {
        return uring_skip();
    }
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
