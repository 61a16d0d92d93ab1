#include "backend/backend.h"

#include <stdarg.h>
#include <stdio.h>

void kvt_object_fail(const struct kvt_backend *backend,
                     struct kvt_object *object, enum kvt_fault fault, int rc)
{
    int errnum = rc < 0 ? -rc : 0;
    bool shared = backend->shared || kvt_fs_facts(backend->args.fs)->shared;
    object->status = kvt_status_of(fault, errnum, shared);
    object->errnum = errnum;
}

bool kvt_object_take_write(const struct kvt_backend *backend,
                           struct kvt_object *object, uint64_t bytes)
{
    struct kvt_write_budget *writes = backend->args.writes;
    if (writes->limit == 0 ||
        kvt_write_budget_take(writes, kvt_clock_unix_ms(), bytes)) {
        return true;
    }
    kvt_object_fail(backend, object, KVT_FAULT_FULL, -EDQUOT);
    return false;
}

void kvt_object_return_write(const struct kvt_backend *backend, uint64_t bytes)
{
    kvt_write_budget_return(backend->args.writes, kvt_clock_unix_ms(), bytes);
}

void kvt_backend_spend_write(const struct kvt_backend *backend, uint64_t bytes)
{
    kvt_write_budget_spend(backend->args.writes, kvt_clock_unix_ms(), bytes);
}

void kvt_backend_log(const struct kvt_backend *backend,
                     enum kvt_log_level level, const char *format, ...)
{
    const struct kvt_handlers *handlers = backend->args.handlers;
    if (handlers->log == NULL) {
        return;
    }
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    handlers->log(level, message, handlers->log_arg);
}
