/* Locks on a name: between mounts, threads, processes. */
#include "contract.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int try_lock(struct kvt_fs *fs, const char *holder, char owner[64],
                    struct kvt_fs_lock **lock)
{
    memset(owner, '?', 64);
    owner[63] = '\0';
    return kvt_fs_lock(fs, "lock", holder, owner, 64, lock);
}

static void expect_owner(const char *wanted, const char *got)
{
    if (strcmp(wanted, got) != 0) {
        FAIL("text of the holder, expected \"%s\", got \"%.64s\"", wanted, got);
    }
}

static void a_lock_has_one_holder_and_tells_who(struct contract *c)
{
    char owner[64];
    struct kvt_fs_lock *lock;
    struct kvt_fs_lock *second;
    struct kvt_fs *other = mount_again(c);
    EXPECT("lock", 0, try_lock(c->fs, "first holder, pid 7", owner, &lock));
    EXPECT("lock by a second mount", -EBUSY,
           try_lock(other, "second", owner, &second));
    expect_owner("first holder, pid 7", owner);
    EXPECT("lock by the same mount", -EBUSY,
           try_lock(c->fs, "second", owner, &second));
    expect_owner("first holder, pid 7", owner);
    kvt_fs_unlock(lock);
    EXPECT("lock by the second mount when it is free", 0,
           try_lock(other, "two", owner, &second));
    EXPECT("lock by the first mount", -EBUSY,
           try_lock(c->fs, "first again", owner, &lock));
    expect_owner("two", owner); /* nothing of the longer text before */
    kvt_fs_unlock(second);
    kvt_fs_unmount(other);
}

static void a_long_text_of_the_holder_is_cut(struct contract *c)
{
    char holder[201];
    char owner[64];
    struct kvt_fs_lock *lock;
    struct kvt_fs_lock *second;
    memset(holder, 'h', sizeof holder - 1);
    holder[sizeof holder - 1] = '\0';
    EXPECT("lock", 0, try_lock(c->fs, holder, owner, &lock));
    EXPECT("second lock", -EBUSY, try_lock(c->fs, "second", owner, &second));
    holder[sizeof owner - 1] = '\0';
    expect_owner(holder, owner);
    kvt_fs_unlock(lock);
}

static void names_are_locked_each_for_itself(struct contract *c)
{
    char owner[64];
    struct kvt_fs_lock *lock;
    struct kvt_fs_lock *other;
    must_mkdirs(c->fs, "d");
    EXPECT("lock", 0, try_lock(c->fs, "one", owner, &lock));
    EXPECT("lock of another name", 0,
           kvt_fs_lock(c->fs, "d/lock", "two", owner, sizeof owner, &other));
    kvt_fs_unlock(lock);
    EXPECT("lock of the other name", -EBUSY,
           kvt_fs_lock(c->fs, "d/lock", "three", owner, sizeof owner, &lock));
    kvt_fs_unlock(other);
    EXPECT("lock below a missing directory", -ENOENT,
           kvt_fs_lock(c->fs, "no/lock", "x", owner, sizeof owner, &lock));
    EXPECT_ERROR("lock of a directory",
                 kvt_fs_lock(c->fs, "d", "x", owner, sizeof owner, &lock));
}

/* Threads ----------------------------------------------------------------- */

struct holding {
    struct contract *c;
    int holders; /* atomic */
    unsigned taken;
};

static void hold_now_and_then(size_t number, void *arg)
{
    struct holding *all = arg;
    struct kvt_fs *fs = number % 2 == 0 ? all->c->fs : mount_again(all->c);
    char owner[64];
    for (unsigned i = 0; i < 200; i++) {
        struct kvt_fs_lock *lock;
        int rc = try_lock(fs, "thread", owner, &lock);
        EXPECT_ANY("lock", 0, -EBUSY, rc);
        if (rc == 0) {
            EXPECT("holders", 1,
                   __atomic_add_fetch(&all->holders, 1, __ATOMIC_SEQ_CST));
            __atomic_fetch_add(&all->taken, 1, __ATOMIC_RELAXED);
            __atomic_fetch_sub(&all->holders, 1, __ATOMIC_SEQ_CST);
            kvt_fs_unlock(lock);
        }
    }
    if (fs != all->c->fs) {
        kvt_fs_unmount(fs);
    }
}

static void of_many_threads_one_holds_it(struct contract *c)
{
    struct holding all = {.c = c};
    run_threads(8, hold_now_and_then, &all);
    EXPECT_TRUE("it was taken at all", all.taken > 0);
}

/* Processes --------------------------------------------------------------- */

/* It is ours in the end: a server may take a while to see a death. */
static void expect_lock_soon(struct kvt_fs *fs)
{
    char owner[64];
    struct kvt_fs_lock *lock;
    int rc = -EBUSY;
    for (unsigned i = 0; i < 600 && rc == -EBUSY; i++) {
        rc = try_lock(fs, "me", owner, &lock);
        sleep_ms(rc == -EBUSY ? 100 : 0);
    }
    EXPECT("lock within a minute after its holder was killed", 0, rc);
    kvt_fs_unlock(lock);
}

static void a_lock_ends_with_its_process(struct contract *c)
{
    SKIP_UNLESS(others_see_files(c),
                "the mount is this process's own: no other sees its files");
    char owner[64];
    struct kvt_fs_lock *lock;
    struct helper helper = start_helper(c, "lock");
    EXPECT("lock that another process holds", -EBUSY,
           try_lock(c->fs, "me", owner, &lock));
    expect_owner(HELPER_TEXT, owner);
    kill_helper(&helper);
    expect_lock_soon(c->fs);
}

static void
a_lock_ends_with_its_process_though_a_child_lives(struct contract *c)
{
    SKIP_UNLESS(others_see_files(c),
                "the mount is this process's own: no other sees its files");
    struct helper helper = start_helper(c, "lock and fork");
    kill_helper(&helper);
    expect_lock_soon(c->fs);
    kill((pid_t)helper.child, SIGKILL);
}

static void a_forked_child_does_not_hold_it(struct contract *c)
{
    char owner[64];
    struct kvt_fs_lock *lock;
    EXPECT("lock", 0, try_lock(c->fs, "parent", owner, &lock));
    pid_t child = fork();
    EXPECT_TRUE("fork", child >= 0);
    if (child == 0) {
        pause();
        _exit(0);
    }
    struct kvt_fs *other = mount_again(c);
    struct kvt_fs_lock *second;
    int held = try_lock(other, "second", owner, &second);
    kvt_fs_unlock(lock);
    int freed = try_lock(other, "second", owner, &second);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    EXPECT("lock while the parent holds it", -EBUSY, held);
    EXPECT("lock when the parent let go and its child lives", 0, freed);
    kvt_fs_unlock(second);
    kvt_fs_unmount(other);
}

/* A fork is no end of the holder either. */
static void a_childs_death_does_not_free_it(struct contract *c)
{
    char owner[64];
    struct kvt_fs_lock *lock;
    struct kvt_fs_lock *second;
    EXPECT("lock", 0, try_lock(c->fs, "parent", owner, &lock));
    pid_t child = fork();
    EXPECT_TRUE("fork", child >= 0);
    if (child == 0) {
        _exit(0);
    }
    waitpid(child, NULL, 0);
    struct kvt_fs *other = mount_again(c);
    EXPECT("lock after a child of the holder ended", -EBUSY,
           try_lock(other, "second", owner, &second));
    expect_owner("parent", owner);
    kvt_fs_unlock(lock);
    kvt_fs_unmount(other);
}

static const struct contract_case cases[] = {
    CASE(a_lock_has_one_holder_and_tells_who),
    CASE(a_long_text_of_the_holder_is_cut),
    CASE(names_are_locked_each_for_itself),
    CASE(of_many_threads_one_holds_it),
    CASE(a_lock_ends_with_its_process),
    CASE(a_lock_ends_with_its_process_though_a_child_lives),
    CASE(a_forked_child_does_not_hold_it),
    CASE(a_childs_death_does_not_free_it),
};
GROUP(contract_locks, cases);
