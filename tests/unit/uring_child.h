/* Cases of uring that are processes of their own, since neither filters nor
 * limits can be taken back. */
#ifndef KVT_TESTS_URING_CHILD_H
#define KVT_TESTS_URING_CHILD_H

#include "uring_fixture.h"

#include <errno.h>
#include <grp.h>
#include <seccomp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define NOBODY 65534

/* Runs it in a child, where what does not hold ends the process. */
static inline void in_child(struct mounted *m, void (*run)(struct mounted *m))
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(50); /* a test that hangs fails, and not its neighbours */
        run(m);
        fflush(NULL);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

#define HOLDS(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            printf("line %d: %s (errno %d)\n", __LINE__, #condition, errno);   \
            fflush(NULL);                                                      \
            _exit(1);                                                          \
        }                                                                      \
    } while (0)

static inline bool says(const struct kvt_fs *fs, const char *part)
{
    const char *reason = kvt_fs_fallback_reason(fs);
    if (strstr(reason, part) == NULL) {
        printf("\"%s\" has no \"%s\"\n", reason, part);
        return false;
    }
    return true;
}

/* Whole files and transfers, on a queue, into memory of the mount's. */
static inline void use(struct kvt_fs *fs, size_t size)
{
    struct kvt_mem *mem;
    struct kvt_fs_elem elems[3];
    struct kvt_fs_queue_options options = {sizeof options, 0, true};
    struct kvt_fs_queue *queue;
    struct kvt_fs_file *file;
    HOLDS(kvt_mem_alloc(fs, 3 * size, &mem) == 0);
    unsigned char *bytes = kvt_mem_base(mem);
    value_fill(bytes, size, 1);
    struct kvt_slice slices[3];
    for (size_t i = 0; i < 3; i++) {
        slices[i] = (struct kvt_slice){bytes + i * size, size, mem};
    }
    struct kvt_fs_elem publish = {.op = KVT_FS_PUBLISH,
                                  .path = "file",
                                  .temp_path = "temp",
                                  .slices = slices,
                                  .slice_count = 1};
    HOLDS(kvt_fs_run(fs, &publish) == (int64_t)size);
    HOLDS(do_open(fs, "file", 0, &file) == 0);
    HOLDS(kvt_fs_queue_open(fs, &options, &queue) == 0);
    for (size_t i = 0; i < 3; i++) {
        elems[i] = (struct kvt_fs_elem){.op = i == 0   ? KVT_FS_STAT
                                              : i == 1 ? KVT_FS_READ
                                                       : KVT_FS_FETCH,
                                        .file = file,
                                        .path = "file",
                                        .slices = &slices[i],
                                        .slice_count = 1};
    }
    kvt_fs_submit(queue, elems, 3);
    finish_all(queue);
    HOLDS(elems[0].result == 0 && elems[0].file_size == size);
    for (size_t i = 1; i < 3; i++) {
        HOLDS(elems[i].result == (int64_t)size);
        HOLDS(value_is(slices[i].base, size, 1));
    }
    HOLDS(kvt_fs_queue_close(queue) == 0);
    HOLDS(do_file(fs, KVT_FS_CLOSE, file) == 0);
    kvt_mem_free(mem);
}

static inline void forbid(int call, int errnum)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    HOLDS(filter != NULL);
    /* threads that are there already, too */
    HOLDS(seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) == 0);
    HOLDS(seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint32_t)errnum), call, 0) ==
          0);
    HOLDS(seccomp_load(filter) == 0);
    seccomp_release(filter);
}

static inline void become_nobody(const struct mounted *m, rlim_t locked)
{
    struct rlimit limit = {locked, locked};
    HOLDS(chmod(m->top, 0777) == 0);
    HOLDS(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    HOLDS(setgroups(0, NULL) == 0);
    HOLDS(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
}

#endif
