#define _DEFAULT_SOURCE /* wait4 */
#include "command.h"

#include "caches.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Starts it with its output in a pipe, of which `*out` is our end. */
static pid_t start(const char *command, int *out)
{
    char shell[] = "sh";
    char option[] = "-c";
    char *arguments[] = {shell, option, (char *)(uintptr_t)command, NULL};
    posix_spawn_file_actions_t actions;
    int ends[2];
    pid_t pid;
    if (pipe(ends) != 0) {
        return -1;
    }
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    errno = posix_spawn(&pid, "/bin/sh", &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (errno != 0) {
        close(ends[0]);
        return -1;
    }
    *out = ends[0];
    return pid;
}

static void read_all(int fd, char *text, size_t room)
{
    char rest[4096];
    size_t used = 0;
    for (;;) {
        bool keep = used + 1 < room;
        ssize_t got = keep ? read(fd, text + used, room - 1 - used)
                           : read(fd, rest, sizeof rest);
        if (got == 0 || (got < 0 && errno != EINTR)) {
            break;
        }
        used += keep && got > 0 ? (size_t)got : 0;
    }
    text[used] = '\0';
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

int command_run(struct bench *bench, const char *command, char *text,
                size_t room, struct bench_result *result)
{
    struct rusage usage;
    int status = 0;
    int out;
    snprintf(bench->other_command, sizeof bench->other_command, "%s", command);
    struct bench_clock clock = bench_start();
    pid_t pid = start(command, &out);
    if (pid < 0) {
        return bench_fail(bench, "%.100s: %s", command, strerror(errno));
    }
    read_all(out, text, room);
    close(out);
    while (wait4(pid, &status, 0, &usage) < 0 && errno == EINTR) {
    }
    bench_stop(clock, result);
    result->cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    result->operations = bench->operations;
    result->bytes = bench->bytes;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return bench_fail(bench, "%.100s: exit status %d: %.200s", command,
                          WIFEXITED(status) ? WEXITSTATUS(status)
                                            : 128 + WTERMSIG(status),
                          text);
    }
    return 0;
}

static void set_number(const char *name, uint64_t number)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    setenv(name, text, 1);
}

int command_against(struct bench *bench, const char *command,
                    struct bench_result *result)
{
    char text[4096];
    if (bench->path[0] == '\0') {
        return bench_fail(bench, "it has no file that a command could use");
    }
    setenv("BENCH_FILE", bench->path, 1);
    setenv("BENCH_OPERATION", bench->row->op == KVT_FS_WRITE ? "write" : "read",
           1);
    set_number("BENCH_SIZE", bench->row->size);
    set_number("BENCH_COUNT", bench->operations);
    set_number("BENCH_BYTES", bench->bytes);
    bool reads = bench->row->op != KVT_FS_WRITE;
    uint64_t before = caches_moved(reads);
    int rc = command_run(bench, command, text, sizeof text, result);
    result->seen_bytes = caches_moved(reads) - before;
    return rc;
}

int command_quote(struct bench *bench, const char *path, char *text,
                  size_t room)
{
    int size = snprintf(text, room, "'%s'", path);
    return strchr(path, '\'') == NULL && size >= 0 && (size_t)size < room
               ? 0
               : bench_fail(bench, "a command cannot be given the path %s",
                            path);
}
