/* What this kernel, and who guards it, lets us do: tried, not known from a
 * version. */
#define _GNU_SOURCE
#include "fs/uring.h"

#include "fs/uring_tools.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const unsigned needed_features =
    IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_EXT_ARG |
    IORING_FEAT_CQE_SKIP;

static const int needed_calls[] = {
    IORING_OP_READ,  IORING_OP_READV,     IORING_OP_READ_FIXED,
    IORING_OP_WRITE, IORING_OP_WRITEV,    IORING_OP_WRITE_FIXED,
    IORING_OP_FSYNC, IORING_OP_FALLOCATE, IORING_OP_CLOSE,
    IORING_OP_STATX, IORING_OP_UNLINKAT,  IORING_OP_MSG_RING,
};

static char rings; /* all of them, to ThreadSanitizer */

void kvt_uring_ring_close(struct io_uring *ring)
{
    kvt_tools_ring_unmapped(&rings);
    io_uring_queue_exit(ring);
}

int kvt_uring_ring_open(struct io_uring *ring, uint32_t entries,
                        uint32_t completions)
{
    struct io_uring_params params;
    memset(&params, 0, sizeof params);
    /* one call that the kernel refuses must not keep those behind it */
    params.flags =
        IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL;
    params.cq_entries = completions;
    int rc = io_uring_queue_init_params(entries, ring, &params);
    if (rc == -EINVAL) {
        return -ENOSYS; /* a kernel without one of these flags */
    }
    if (rc == 0) {
        kvt_tools_ring_mapped(&rings);
    }
    if (rc == 0 && (ring->features & needed_features) != needed_features) {
        kvt_uring_ring_close(ring);
        rc = -ENOSYS;
    }
    return rc;
}

static const char *say(struct uring_fs *fs, const char *call, int rc)
{
    const char *why =
        rc == -EPERM    ? "; kernel.io_uring_disabled or a seccomp filter "
                          "forbids it"
        : rc == -ENOMEM ? "; the memory that may be locked (ulimit -l) or "
                          "used is too small"
        : rc == -ENOSYS || rc == -EOPNOTSUPP
            ? "; it needs Linux 5.19, and no filter that hides it"
            : "";
    snprintf(fs->reason, sizeof fs->reason,
             "no io_uring, so threads read and write: %s: %s%s", call,
             strerror(-rc), why);
    return fs->reason;
}

static int try_calls(struct io_uring *ring)
{
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    if (probe == NULL) {
        return -ENOSYS;
    }
    bool all = true;
    for (size_t i = 0; i < sizeof needed_calls / sizeof needed_calls[0]; i++) {
        all = all && io_uring_opcode_supported(probe, needed_calls[i]);
    }
    io_uring_free_probe(probe);
    return all ? 0 : -EOPNOTSUPP;
}

/* The waker wakes the ring. */
static int try_wake(struct io_uring *waker, struct io_uring *ring)
{
    struct io_uring_cqe *cqe;
    struct io_uring_sqe *sqe = io_uring_get_sqe(waker);
    io_uring_prep_msg_ring(sqe, ring->ring_fd, 0, 7, 0);
    int rc = io_uring_submit_and_wait(waker, 1);
    rc = rc < 0 ? rc : io_uring_peek_cqe(waker, &cqe);
    if (rc < 0) {
        return rc;
    }
    rc = cqe->res;
    io_uring_cqe_seen(waker, cqe);
    rc = rc < 0 ? rc : io_uring_peek_cqe(ring, &cqe);
    if (rc < 0) {
        return rc;
    }
    rc = cqe->user_data == 7 ? 0 : -EOPNOTSUPP;
    io_uring_cqe_seen(ring, cqe);
    return rc;
}

const char *kvt_uring_probe(struct uring_fs *fs)
{
    struct io_uring ring;
    int rc = kvt_uring_ring_open(&fs->waker, 2 * URING_WAKES_MAX,
                                 4 * URING_WAKES_MAX);
    if (rc != 0) {
        return say(fs, "io_uring_setup", rc);
    }
    /* as large as the others will be: each is charged to what may be locked */
    rc = kvt_uring_queue_ring(&ring, kvt_uring_ios(fs->depth));
    if (rc != 0) {
        kvt_uring_ring_close(&fs->waker);
        return say(fs, "io_uring_setup", rc);
    }
    const char *call = "io_uring_register";
    rc = try_calls(&ring);
    if (rc == 0) {
        call = "io_uring_enter";
        rc = try_wake(&fs->waker, &ring);
    }
    kvt_uring_ring_close(&ring);
    if (rc != 0) {
        kvt_uring_ring_close(&fs->waker);
        return say(fs, call, rc);
    }
    return NULL;
}
