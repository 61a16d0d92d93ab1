/* Every nesting of wrappers that their tests run on. */
#ifndef KVT_TESTS_WRAP_FIXTURE_H
#define KVT_TESTS_WRAP_FIXTURE_H

#include "mount_fixture.h"

static const char *const wrap_names[] = {
    "trace:posix",
    "fault:posix",
    "crash:posix",
    "trace:fault:posix",
    "fault:trace:posix",
    "trace:trace:posix",
    "crash:fault:trace:posix",
};
/* Runs `check` on each of the names, in a directory of its own. */
static inline void on_each(void **state, void (*check)(struct kvt_fs *fs))
{
    struct mounted *m = *state;
    char file[600];
    snprintf(file, sizeof file, "%s/trace", m->top);
    mounted_set(m, "trace.file", file);
    for (size_t i = 0; i < sizeof wrap_names / sizeof wrap_names[0]; i++) {
        snprintf(m->root, sizeof m->root, "%s/%zu", m->top, i);
        size_t before = open_descriptors();
        check(mounted_start(m, wrap_names[i]));
        assert_string_equal(kvt_fs_name(m->fs), wrap_names[i]);
        mounted_stop(m);
        assert_int_equal(open_descriptors(), before);
    }
}

#endif
