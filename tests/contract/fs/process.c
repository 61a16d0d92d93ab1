/* Threads, and the program once more as another process on the same root. */
#include "contract.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    THREADS_MAX = 64
};

int64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void sleep_ms(unsigned ms)
{
    struct timespec ts = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&ts, NULL);
}

/* Threads ----------------------------------------------------------------- */

struct job {
    void (*work)(size_t number, void *arg);
    void *arg;
    size_t number;
};

static void *run_job(void *arg)
{
    struct job *job = arg;
    job->work(job->number, job->arg);
    return NULL;
}

void run_threads(size_t count, void (*work)(size_t number, void *arg),
                 void *arg)
{
    pthread_t threads[THREADS_MAX];
    struct job jobs[THREADS_MAX];
    for (size_t i = 0; i < count; i++) {
        jobs[i] = (struct job){work, arg, i};
        EXPECT("a thread of the test", 0,
               pthread_create(&threads[i], NULL, run_job, &jobs[i]));
    }
    for (size_t i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
}

static size_t count_entries(const char *path)
{
    size_t count = 0;
    DIR *dir = opendir(path);
    EXPECT_TRUE("/proc/self can be read", dir != NULL);
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count;
}

size_t open_descriptors(void)
{
    return count_entries("/proc/self/fd");
}

size_t running_threads(void)
{
    return count_entries("/proc/self/task");
}

/* Roles: what the helper does --------------------------------------------- */

static int write_file(struct contract *c, bool leave_open)
{
    struct kvt_fs_file *file = must_open(
        c->fs, "helper", KVT_FS_FOR_WRITE | KVT_FS_CREATE | KVT_FS_EXCLUSIVE);
    must_write_pattern(file, HELPER_SEED, 0, HELPER_BYTES);
    if (!leave_open) {
        EXPECT("sync", 0, file_sync(file, KVT_FS_SYNC));
        must_close(file);
    }
    return 0;
}

static int hold_lock(struct contract *c)
{
    char owner[64];
    struct kvt_fs_lock *lock;
    return kvt_fs_lock(c->fs, "lock", HELPER_TEXT, owner, sizeof owner, &lock);
}

/* A child that holds nothing, and outlives this process. */
static long leave_child(void)
{
    pid_t child = fork();
    EXPECT_TRUE("fork", child >= 0);
    if (child == 0) {
        alarm(60); /* if nobody ends it */
        pause();
        _exit(0);
    }
    return child;
}

int play_role(struct contract *c, const char *role)
{
    contract_running(role);
    c->fs = mount_again(c);
    bool forks = strcmp(role, "lock and fork") == 0;
    int rc = strcmp(role, "write") == 0     ? write_file(c, true)
             : strcmp(role, "publish") == 0 ? write_file(c, false)
             : strcmp(role, "lock") == 0    ? hold_lock(c)
             : forks                        ? hold_lock(c)
                                            : -EINVAL;
    EXPECT("what the other process does", 0, rc);
    printf("ready %ld\n", forks ? leave_child() : 0);
    fflush(stdout);
    for (;;) {
        pause(); /* until it is killed */
    }
}

/* The case's side --------------------------------------------------------- */

struct helper start_helper(const struct contract *c, const char *role)
{
    int pipes[2];
    EXPECT("pipe", 0, pipe(pipes));
    fcntl(pipes[0], F_SETFD, FD_CLOEXEC);
    pid_t pid = fork();
    EXPECT_TRUE("fork", pid >= 0);
    if (pid == 0) {
        extern char **contract_arguments;
        dup2(pipes[1], STDOUT_FILENO);
        close(pipes[1]);
        setenv("KVT_FS_CONTRACT_ROLE", role, 1);
        setenv("KVT_FS_CONTRACT_ROOT", c->root, 1);
        execv("/proc/self/exe", contract_arguments);
        _exit(127);
    }
    close(pipes[1]);
    struct helper helper = {pid, 0, pipes[0]};
    char text[512] = "";
    ssize_t size = read(helper.out, text, sizeof text - 1);
    text[size > 0 ? strcspn(text, "\n") : 0] = '\0';
    if (sscanf(text, "ready %ld", &helper.child) != 1) {
        kill_helper(&helper);
        FAIL("another process in the role %s, expected ready, got \"%s\"", role,
             text);
    }
    return helper;
}

void kill_helper(struct helper *helper)
{
    kill((pid_t)helper->pid, SIGKILL);
    waitpid((pid_t)helper->pid, NULL, 0);
    close(helper->out);
}

bool others_see_files(const struct contract *c)
{
    struct helper helper = start_helper(c, "publish");
    struct kvt_fs *fs = mount_again(c);
    uint64_t size;
    bool seen = path_stat(fs, "helper", &size) == 0;
    kill_helper(&helper);
    path_remove(fs, "helper");
    kvt_fs_unmount(fs);
    return seen;
}
