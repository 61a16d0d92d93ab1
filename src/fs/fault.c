/* The wrapper `fault`: fails, shortens, delays or hangs the calls that the
 * rules of fault.rules name, so that tests need no hook in what they test. A
 * fetch counts as open, read, close; a publish as open, write, sync when it
 * is durable, close, rename; and each of them can fail in its place. */
#include "core/config.h"
#include "fs/fault_rules.h"
#include "fs/wrap.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct fault_fs {
    struct kvt_wrap wrap;
    struct kvt_fault_rules *rules;
    pthread_mutex_t mutex;
    pthread_cond_t end;
    bool released; /* under mutex */
};

static enum kvt_rule_op rule_op(unsigned op)
{
    static const unsigned char ops[KVT_WRAP_OP_COUNT] = {
        [KVT_FS_READ] = KVT_RULE_READ + 1,
        [KVT_FS_WRITE] = KVT_RULE_WRITE + 1,
        [KVT_FS_PUNCH] = KVT_RULE_WRITE + 1,
        [KVT_WRAP_TRUNCATE] = KVT_RULE_WRITE + 1,
        [KVT_WRAP_ALLOCATE] = KVT_RULE_WRITE + 1,
        [KVT_FS_DATASYNC] = KVT_RULE_SYNC + 1,
        [KVT_FS_SYNC] = KVT_RULE_SYNC + 1,
        [KVT_FS_OPEN] = KVT_RULE_OPEN + 1,
        [KVT_WRAP_LOCK] = KVT_RULE_OPEN + 1,
        [KVT_FS_CLOSE] = KVT_RULE_CLOSE + 1,
        [KVT_FS_STAT] = KVT_RULE_STAT + 1,
        [KVT_WRAP_USAGE] = KVT_RULE_STAT + 1,
        [KVT_WRAP_PROBE] = KVT_RULE_STAT + 1,
        [KVT_FS_REMOVE] = KVT_RULE_REMOVE + 1,
        [KVT_WRAP_RMDIR] = KVT_RULE_REMOVE + 1,
        [KVT_WRAP_MKDIRS] = KVT_RULE_MKDIR + 1,
        [KVT_WRAP_LIST] = KVT_RULE_LIST + 1,
        [KVT_WRAP_RENAME] = KVT_RULE_RENAME + 1,
        [KVT_WRAP_LINK] = KVT_RULE_RENAME + 1,
    };
    return ops[op] != 0 ? (enum kvt_rule_op)(ops[op] - 1) : KVT_RULE_NONE;
}

static void sleep_ms(uint64_t ms)
{
    struct timespec left = {.tv_sec = (time_t)(ms / 1000),
                            .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

static int64_t hang(struct fault_fs *fs)
{
    pthread_mutex_lock(&fs->mutex);
    while (!fs->released) {
        pthread_cond_wait(&fs->end, &fs->mutex);
    }
    pthread_mutex_unlock(&fs->mutex);
    return -EIO;
}

static int64_t fault_before(struct kvt_wrap *wrap, struct kvt_wrap_call *call)
{
    struct fault_fs *fs = (struct fault_fs *)wrap;
    struct kvt_fault_hit hit = kvt_fault_rules_match(
        fs->rules, rule_op(call->op), call->path, call->to);
    if (hit.delay_ms > 0) {
        sleep_ms(hit.delay_ms);
    }
    call->limit = hit.limit;
    return hit.hang ? hang(fs) : -hit.errnum;
}

static void fault_release(struct kvt_wrap *wrap)
{
    struct fault_fs *fs = (struct fault_fs *)wrap;
    pthread_mutex_lock(&fs->mutex);
    fs->released = true;
    pthread_cond_broadcast(&fs->end);
    pthread_mutex_unlock(&fs->mutex);
}

static const struct kvt_wrap_hooks fault_hooks = {
    .before = fault_before,
    .release = fault_release,
};

static int fault_mount(const struct kvt_fs_mount_args *args,
                       struct kvt_fs **out, struct kvt_error *err)
{
    extern const struct kvt_fs_ops kvt_fs_fault;
    struct fault_fs *fs = calloc(1, sizeof *fs);
    if (fs == NULL) {
        return kvt_error_set(err, KVT_ERR_INTERNAL, ENOMEM, args->root, NULL,
                             "no memory to mount the fault wrapper");
    }
    int rc = kvt_fault_rules_open(kvt_config_text(args->config, "fault.rules"),
                                  kvt_config_u64(args->config, "fault.seed"),
                                  &fs->rules, err);
    if (rc != KVT_OK) {
        free(fs);
        return rc;
    }
    pthread_mutex_init(&fs->mutex, NULL);
    pthread_cond_init(&fs->end, NULL);
    kvt_wrap_init(&fs->wrap, &kvt_fs_fault, &fault_hooks, args);
    *out = &fs->wrap.base;
    return KVT_OK;
}

static void fault_unmount(struct kvt_fs *base)
{
    struct fault_fs *fs = (struct fault_fs *)base;
    kvt_fault_rules_close(fs->rules);
    pthread_cond_destroy(&fs->end);
    pthread_mutex_destroy(&fs->mutex);
    free(fs);
}

const struct kvt_fs_ops kvt_fs_fault = {
    KVT_WRAP_OPS,
    KVT_WRAP_BLOCKING,
    .name = "fault",
    .summary = "fails, shortens, delays or hangs calls by fault.rules",
    .mount = fault_mount,
    .unmount = fault_unmount,
};
