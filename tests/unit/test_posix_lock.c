/* The lock of the posix adapter, between mounts and between processes. */
#include "support/posix_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What happens inside an open of the adapter's, once: null, or a function that
 * is called when the file is open. */
static void (*inside_open)(int fd);

int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);

int __wrap_openat(int dir, const char *path, int flags, ...)
{
    int fd = __real_openat(dir, path, flags, 0666);
    if (inside_open != NULL && (flags & O_CREAT) != 0) {
        void (*now)(int) = inside_open;
        inside_open = NULL;
        now(fd);
    }
    return fd;
}

static int lock_as(struct kvt_fs *fs, const char *holder, char owner[64],
                   struct kvt_fs_lock **lock)
{
    *lock = NULL;
    memset(owner, '#', 64);
    return kvt_fs_lock(fs, "lock", holder, owner, 64, lock);
}

static void a_second_lock_is_refused_and_told_who_holds_it(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_fs *other = posix_mount_again(f);
    struct kvt_fs_lock *first;
    struct kvt_fs_lock *second;
    char owner[64];
    char few[4];

    assert_int_equal(lock_as(f->fs, "first", owner, &first), 0);
    assert_int_equal(lock_as(other, "second", owner, &second), -EBUSY);
    assert_string_equal(owner, "first");
    assert_null(second);
    /* the same mount is refused, too */
    assert_int_equal(lock_as(f->fs, "second", owner, &second), -EBUSY);
    assert_string_equal(owner, "first");
    /* a text that has no room is cut */
    assert_int_equal(
        kvt_fs_lock(other, "lock", "second", few, sizeof few, &second), -EBUSY);
    assert_string_equal(few, "fir");
    kvt_fs_unlock(first);
    assert_int_equal(lock_as(other, "second", owner, &second), 0);
    kvt_fs_unlock(second);
    kvt_fs_unlock(NULL);
    kvt_fs_unmount(other);
}

static void the_file_holds_the_holder_while_it_is_held(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_fs_lock *lock;
    char owner[64];
    char path[FILE_PATH_MAX];
    size_t size;

    posix_make(f, "lock", "a longer text of somebody who died");
    assert_int_equal(lock_as(f->fs, "first", owner, &lock), 0);
    unsigned char *bytes = file_read(posix_path(f, "lock", path), &size);
    assert_int_equal(size, 5);
    assert_memory_equal(bytes, "first", 5);
    free(bytes);
    kvt_fs_unlock(lock);
    assert_int_equal(posix_size(f, "lock"), 0);
}

static void locks_on_two_names_do_not_meet(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_fs_lock *locks[2];
    char owner[64];

    assert_int_equal(lock_as(f->fs, "first", owner, &locks[0]), 0);
    assert_int_equal(
        kvt_fs_lock(f->fs, "other", "x", owner, sizeof owner, &locks[1]), 0);
    kvt_fs_unlock(locks[0]);
    assert_int_equal(lock_as(f->fs, "first", owner, &locks[0]), 0);
    kvt_fs_unlock(locks[1]);
    kvt_fs_unlock(locks[0]);
}

static void a_lock_is_a_file_and_nothing_else(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_fs_lock *lock;
    char owner[64];
    char path[FILE_PATH_MAX];

    assert_int_equal(kvt_fs_lock(f->fs, "none/lock", "x", owner, 64, &lock),
                     -ENOENT);
    assert_int_equal(mkdir(posix_path(f, "lock", path), 0700), 0);
    assert_int_equal(lock_as(f->fs, "x", owner, &lock), -EISDIR);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink("file", path), 0);
    assert_int_equal(lock_as(f->fs, "x", owner, &lock), -ELOOP);
    assert_int_equal(posix_path_op(f, KVT_FS_STAT, "file"), -ENOENT);
}

/* Processes ---------------------------------------------------------------- */

struct child {
    pid_t pid;
    int to;   /* closed by us: the child may go */
    int from; /* a byte from the child: it is ready */
};

/* Forks a child that runs `work`, says so, and stays until it is let go. */
static struct child child_start(struct posix_fixture *f,
                                int (*work)(struct posix_fixture *f, void *arg),
                                void *arg)
{
    int to[2];
    int from[2];
    char byte = 0;

    assert_int_equal(pipe(to), 0);
    assert_int_equal(pipe(from), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(to[1]);
        close(from[0]);
        byte = (char)work(f, arg);
        if (write(from[1], &byte, 1) != 1 || read(to[0], &byte, 1) != 0) {
            _exit(1);
        }
        _exit(0);
    }
    close(to[0]);
    close(from[1]);
    assert_int_equal(read(from[0], &byte, 1), 1);
    assert_int_equal(byte, 0);
    return (struct child){pid, to[1], from[0]};
}

static void child_end(struct child *child, int signal_number)
{
    int status;

    if (signal_number != 0) {
        assert_int_equal(kill(child->pid, signal_number), 0);
    }
    close(child->to);
    assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
    close(child->from);
    if (signal_number != 0) {
        assert_true(WIFSIGNALED(status));
    } else {
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

static int lock_in_child(struct posix_fixture *f, void *arg)
{
    struct kvt_fs_lock *lock;
    char owner[64];

    (void)arg;
    return lock_as(posix_mount_again(f), "the child", owner, &lock) == 0 ? 0
                                                                         : 1;
}

static void death_releases_a_lock(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_fs_lock *lock;
    char owner[64];
    struct child child = child_start(f, lock_in_child, NULL);

    assert_int_equal(lock_as(f->fs, "us", owner, &lock), -EBUSY);
    assert_string_equal(owner, "the child");
    child_end(&child, SIGKILL);
    assert_int_equal(lock_as(f->fs, "us", owner, &lock), 0);
    kvt_fs_unlock(lock);
}

static int do_nothing(struct posix_fixture *f, void *arg)
{
    (void)f;
    (void)arg;
    return 0;
}

static void a_forked_child_does_not_hold_the_lock(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_fs_lock *lock;
    struct kvt_fs_lock *other;
    char owner[64];

    assert_int_equal(lock_as(f->fs, "us", owner, &lock), 0);
    struct child child = child_start(f, do_nothing, NULL);
    assert_int_equal(lock_as(f->fs, "again", owner, &other), -EBUSY);
    kvt_fs_unlock(lock);
    /* the child lives and has no part in it */
    assert_int_equal(lock_as(f->fs, "again", owner, &lock), 0);
    kvt_fs_unlock(lock);
    child_end(&child, 0);
}

/* Locks, and forks a child that lives until our end of the pipe is closed. */
static int lock_and_fork(struct posix_fixture *f, void *arg)
{
    int *ends = arg;
    char byte;

    if (lock_in_child(f, NULL) != 0) {
        return 1;
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[1]);
        _exit(read(ends[0], &byte, 1) == 0 ? 0 : 1);
    }
    return pid > 0 ? 0 : 1;
}

static void a_childs_child_does_not_keep_a_dead_holders_lock(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_fs_lock *lock;
    char owner[64];
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    struct child child = child_start(f, lock_and_fork, ends);
    child_end(&child, SIGKILL);
    /* fork shares the lock until its child runs for the first time */
    int rc = -EBUSY;
    for (int i = 0; i < 2000 && rc == -EBUSY; i++) {
        rc = lock_as(f->fs, "us", owner, &lock);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(rc, 0);
    kvt_fs_unlock(lock);
}

/* The descriptors of the locks are closed in the child, and their numbers may
 * be those of other files. */
static int unlock_in_child(struct posix_fixture *f, void *arg)
{
    char owner[64];
    struct kvt_fs_lock *lock;
    struct kvt_fs_file *files[4];
    bool whole = true;

    for (size_t i = 0; i < COUNT_OF(files); i++) {
        char name[2] = {(char)('a' + i), '\0'};

        files[i] = posix_open_new(f, name);
        whole = whole && posix_write(f, files[i], 0, "hello", 5) == 5;
    }
    kvt_fs_unlock(arg); /* frees memory, and only that */
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        char bytes[5];

        whole = whole && posix_read(f, files[i], 0, bytes, 5) == 5;
    }
    return whole && lock_as(f->fs, "the child", owner, &lock) == -EBUSY &&
                   strcmp(owner, "us") == 0
               ? 0
               : 1;
}

static void an_unlock_in_a_child_leaves_the_parents_lock(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_fs_lock *locks[2];
    struct kvt_fs_lock *other;
    char owner[64];

    assert_int_equal(
        kvt_fs_lock(f->fs, "other", "x", owner, sizeof owner, &locks[0]), 0);
    assert_int_equal(lock_as(f->fs, "us", owner, &locks[1]), 0);
    struct child child = child_start(f, unlock_in_child, locks[1]);
    assert_int_equal(lock_as(f->fs, "again", owner, &other), -EBUSY);
    assert_string_equal(owner, "us");
    child_end(&child, 0);
    kvt_fs_unlock(locks[0]);
    kvt_fs_unlock(locks[1]);
}

/* What a fork shares between its two sides for a moment holds no lock. */
struct locker {
    struct posix_fixture *f;
    atomic_bool stop;
    size_t refused;
};

static void *lock_and_unlock(void *arg)
{
    struct locker *locker = arg;
    struct kvt_fs_lock *lock;
    char owner[64];

    while (!locker->stop) {
        if (lock_as(locker->f->fs, "us", owner, &lock) == 0) {
            kvt_fs_unlock(lock);
        } else {
            locker->refused++;
        }
    }
    return NULL;
}

static void a_fork_beside_an_unlock_keeps_nothing(void **state)
{
    enum {
        CHILDREN = 150,
    };
    struct locker locker = {.f = *state};
    pid_t children[CHILDREN];
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, lock_and_unlock, &locker),
                     0);
    for (size_t i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            nanosleep(&(struct timespec){0, 10000000}, NULL);
            _exit(0);
        }
        nanosleep(&(struct timespec){0, 50000}, NULL);
    }
    locker.stop = true;
    pthread_join(thread, NULL);
    for (size_t i = 0; i < CHILDREN; i++) {
        assert_int_equal(waitpid(children[i], NULL, 0), children[i]);
    }
    assert_int_equal(locker.refused, 0);
}

static atomic_bool opening;
static atomic_bool go_on;

static void hang(int fd)
{
    (void)fd;
    opening = true;
    while (!go_on) {
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}

static void *lock_once(void *arg)
{
    struct kvt_fs_lock *lock;
    char owner[64];
    int rc = lock_as(arg, "us", owner, &lock);
    kvt_fs_unlock(lock);
    return rc == 0 ? NULL : arg;
}

/* A mount that hangs keeps no fork waiting, and no lock of another mount. */
static void a_lock_that_hangs_holds_nobody_up(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_fs_lock *other;
    char owner[64];
    pthread_t thread;
    void *failed;
    int status;

    opening = false;
    go_on = false;
    inside_open = hang;
    assert_int_equal(pthread_create(&thread, NULL, lock_once, f->fs), 0);
    while (!opening) {
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    alarm(20); /* or it hangs */
    pid_t child = fork();
    if (child == 0) {
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(
        kvt_fs_lock(f->fs, "other", "x", owner, sizeof owner, &other), 0);
    kvt_fs_unlock(other);
    alarm(0);
    go_on = true;
    pthread_join(thread, &failed);
    assert_null(failed);
}

static pid_t child_of_open;
static int pipe_to_child[2];

/* The child has the descriptor, which nobody has told it of. */
static void fork_inside(int fd)
{
    child_of_open = fork();
    if (child_of_open == 0) {
        char byte;
        ssize_t told = read(pipe_to_child[0], &byte, 1);
        _exit(told == 1 && flock(fd, LOCK_EX | LOCK_NB) == 0 ? 1 : 0);
    }
}

static void a_fork_inside_of_a_lock_does_not_share_it(void **state)
{
    struct posix_fixture *f = *state;
    struct kvt_fs_lock *lock;
    char owner[64];
    int status;

    assert_int_equal(pipe(pipe_to_child), 0);
    inside_open = fork_inside;
    assert_int_equal(lock_as(f->fs, "us", owner, &lock), 0);
    assert_int_equal(write(pipe_to_child[1], "x", 1), 1);
    assert_int_equal(waitpid(child_of_open, &status, 0), child_of_open);
    assert_int_equal(status, 0); /* it did not get it */
    close(pipe_to_child[0]);
    close(pipe_to_child[1]);
    kvt_fs_unlock(lock);
}

#define CASE(name)                                                             \
    cmocka_unit_test_setup_teardown(name, posix_setup, posix_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_second_lock_is_refused_and_told_who_holds_it),
        CASE(the_file_holds_the_holder_while_it_is_held),
        CASE(locks_on_two_names_do_not_meet),
        CASE(a_lock_is_a_file_and_nothing_else),
        CASE(death_releases_a_lock),
        CASE(a_forked_child_does_not_hold_the_lock),
        CASE(a_childs_child_does_not_keep_a_dead_holders_lock),
        CASE(an_unlock_in_a_child_leaves_the_parents_lock),
        CASE(a_fork_beside_an_unlock_keeps_nothing),
        CASE(a_lock_that_hangs_holds_nobody_up),
        CASE(a_fork_inside_of_a_lock_does_not_share_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
