#!/bin/bash
# The uring adapter under valgrind: its tests, and cases of the contract. No
# sanitizer sees what liburing and the kernel do to memory of the heap.
set -u
build=${KVT_TEST_BUILD:?}
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
mkdir "$temp/dir"

skip() {
    echo "SKIP: $*"
    exit 77
}
[ -z "${KVT_TEST_CFLAGS:-}" ] || skip "valgrind and sanitizers do not mix"
command -v valgrind >/dev/null || skip "valgrind is missing (scripts/setup)"
[ -x "$build/tests/test_uring" ] || skip "this build has no uring"

# valgrind 3.19 lets no other thread run while one is in io_uring_enter. So
# waits are short here, and others get their turn between them.
cat >"$temp/turns.c" <<'END'
#include <errno.h>
#include <liburing.h>
#include <sched.h>
#include <time.h>

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int wait_in_turns(struct io_uring *ring, unsigned count, long long end)
{
    struct __kernel_timespec moment = {0, 1000000};
    struct io_uring_cqe *first;
    int rc = io_uring_submit(ring);
    while (rc >= 0 && io_uring_cq_ready(ring) < count) {
        int waited = io_uring_wait_cqe_timeout(ring, &first, &moment);
        sched_yield();
        if (waited == 0 || waited == -EINTR) {
            break;
        }
        if (end != 0 && now() >= end) {
            return -ETIME;
        }
    }
    return rc;
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned count)
{
    return wait_in_turns(ring, count, 0);
}

int io_uring_submit_and_wait_timeout(struct io_uring *ring,
                                     struct io_uring_cqe **cqe, unsigned count,
                                     struct __kernel_timespec *left,
                                     sigset_t *mask)
{
    long long ns = left->tv_sec * 1000000000LL + left->tv_nsec;
    (void)cqe;
    (void)mask;
    return wait_in_turns(ring, count, now() + ns);
}
END
${KVT_TEST_CC:?} -shared -fPIC -D_GNU_SOURCE -o "$temp/turns.so" \
    "$temp/turns.c" -luring || exit 1

failures=0
check() {
    if ! LD_PRELOAD=$temp/turns.so valgrind -q --error-exitcode=9 \
        --leak-check=full --errors-for-leak-kinds=definite "$@" \
        >"$temp/out" 2>&1; then
        echo "FAIL: $*"
        tail -n 60 "$temp/out"
        failures=$((failures + 1))
    fi
}

cd "$temp/dir" || exit 1
check "$build/tests/test_uring"
check "$build/tests/test_uring_calls"
check "$build/tests/test_uring_memory"
check "$build/tests/test_uring_torn"
check "$build/bin/kvtier-fs-contract" --fs uring --path "$temp/dir" \
    --only many_pieces_go_in_one_transfer \
    --only every_depth_carries_out_all \
    --only another_thread_wakes_and_posts \
    --only a_chain_with_a_deadline_breaks_as_any \
    --only a_file_opened_too_late_is_closed \
    --only memory_is_held_until_late
exit $((failures > 0))
