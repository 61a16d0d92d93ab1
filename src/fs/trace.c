/* The wrapper `trace`: one JSON line in trace.file for each element and each
 * control call, when it is done. `result` is the call's own (bytes, or a
 * negative errno), `ns` the time since it was handed over. */
#include "core/clock.h"
#include "core/config.h"
#include "fs/wrap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BUFFER_SIZE = 64 << 10,
    /* two paths of KVT_KEY_SIZE_MAX, each byte as \u00xx, and the numbers */
    LINE_MAX_SIZE = 2 * 6 * KVT_KEY_SIZE_MAX + 256,
};

struct trace_fs {
    struct kvt_wrap wrap;
    int fd;
    pthread_mutex_t mutex;
    /* under mutex: whole lines, not written yet */
    size_t used;
    char buffer[BUFFER_SIZE];
};

/* Nobody can be told that the trace cannot be written; what is traced goes
 * on, and the lines are lost. */
static void flush(struct trace_fs *fs)
{
    size_t at = 0;
    while (at < fs->used) {
        ssize_t done = write(fs->fd, fs->buffer + at, fs->used - at);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            break;
        }
        at += (size_t)done;
    }
    fs->used = 0;
}

/* A path as a JSON string; bytes outside ASCII as \u00xx, since nothing says
 * that they are UTF-8. */
static size_t put_path(char *to, const char *path)
{
    char *at = to;
    *at++ = '"';
    for (size_t i = 0; path[i] != '\0' && i < KVT_KEY_SIZE_MAX; i++) {
        unsigned char c = (unsigned char)path[i];
        if (c == '"' || c == '\\') {
            *at++ = '\\';
            *at++ = (char)c;
        } else if (c < 0x20 || c >= 0x7f) {
            at += sprintf(at, "\\u%04x", c);
        } else {
            *at++ = (char)c;
        }
    }
    *at++ = '"';
    return (size_t)(at - to);
}

static size_t put_line(char *to, const struct kvt_wrap_call *call,
                       int64_t result, int64_t ns)
{
    char *at = to;
    at += sprintf(at, "{\"op\":\"%s\",\"path\":", kvt_wrap_op_name(call->op));
    at += put_path(at, call->path);
    if (call->to != NULL) {
        at += sprintf(at, ",\"to\":");
        at += put_path(at, call->to);
    }
    at += sprintf(at,
                  ",\"offset\":%llu,\"size\":%llu,\"result\":%lld,\"ns\":%lld}"
                  "\n",
                  (unsigned long long)call->offset,
                  (unsigned long long)call->size, (long long)result,
                  (long long)ns);
    return (size_t)(at - to);
}

static int64_t trace_before(struct kvt_wrap *wrap, struct kvt_wrap_call *call)
{
    (void)wrap;
    call->start_ns = kvt_clock_ns();
    return 0;
}

static void trace_after(struct kvt_wrap *wrap, struct kvt_wrap_call *call,
                        int64_t result)
{
    struct trace_fs *fs = (struct trace_fs *)wrap;
    int64_t ns = kvt_clock_ns() - call->start_ns;
    pthread_mutex_lock(&fs->mutex);
    if (BUFFER_SIZE - fs->used < LINE_MAX_SIZE) {
        flush(fs);
    }
    fs->used += put_line(fs->buffer + fs->used, call, result, ns);
    pthread_mutex_unlock(&fs->mutex);
}

static const struct kvt_wrap_hooks trace_hooks = {
    .before = trace_before,
    .after = trace_after,
};

static int open_file(struct trace_fs *fs, const struct kvt_fs_mount_args *args,
                     struct kvt_error *err)
{
    const char *path = kvt_config_text(args->config, "trace.file");
    if (path[0] == '\0') {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, 0, "trace.file",
                             "set trace.file to the file that gets the trace",
                             "the trace wrapper needs trace.file");
    }
    fs->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fs->fd < 0) {
        int errnum = errno;
        return kvt_error_set(err, KVT_ERR_FILE_OPEN_FAIL, errnum, path,
                             "name a file that can be written in trace.file",
                             "cannot open trace.file %s: %s", path,
                             strerror(errnum));
    }
    return KVT_OK;
}

static int trace_mount(const struct kvt_fs_mount_args *args,
                       struct kvt_fs **out, struct kvt_error *err)
{
    extern const struct kvt_fs_ops kvt_fs_trace;
    struct trace_fs *fs = malloc(sizeof *fs);
    if (fs == NULL) {
        return kvt_error_set(err, KVT_ERR_INTERNAL, ENOMEM, args->root, NULL,
                             "no memory to mount the trace wrapper");
    }
    int rc = open_file(fs, args, err);
    if (rc != KVT_OK) {
        free(fs);
        return rc;
    }
    fs->used = 0;
    pthread_mutex_init(&fs->mutex, NULL);
    kvt_wrap_init(&fs->wrap, &kvt_fs_trace, &trace_hooks, args);
    *out = &fs->wrap.base;
    return KVT_OK;
}

static void trace_unmount(struct kvt_fs *base)
{
    struct trace_fs *fs = (struct trace_fs *)base;
    flush(fs);
    close(fs->fd);
    pthread_mutex_destroy(&fs->mutex);
    free(fs);
}

const struct kvt_fs_ops kvt_fs_trace = {
    KVT_WRAP_OPS,
    KVT_WRAP_QUEUED,
    .name = "trace",
    .summary = "writes each call to trace.file, as JSON lines",
    .mount = trace_mount,
    .unmount = trace_unmount,
};
