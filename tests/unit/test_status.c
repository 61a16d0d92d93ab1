#include "support/unit.h"

#include "core/status.h"

#include <errno.h>

/* One row an errno: what a read and a write of it are. 0: the same as on a
 * local file system. */
static const struct {
    int errnum;
    int local_read;
    int local_write;
    int shared;
} table[] = {
    {EIO, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL, 0},
    {0, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL, 0},
    {EINVAL, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL, 0},
    {EEXIST, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL, 0},
    {ENAMETOOLONG, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL, 0},
    {ENOTEMPTY, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL, 0},
    {EFBIG, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL, 0},
    {EPROTO, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL, 0},
    {ENOENT, KVT_ERR_FILE_NOT_FOUND, KVT_ERR_FILE_NOT_FOUND, 0},
    {EMFILE, KVT_ERR_FILE_OPEN_FAIL, KVT_ERR_FILE_OPEN_FAIL, 0},
    {ENFILE, KVT_ERR_FILE_OPEN_FAIL, KVT_ERR_FILE_OPEN_FAIL, 0},
    {ELOOP, KVT_ERR_FILE_OPEN_FAIL, KVT_ERR_FILE_OPEN_FAIL, 0},
    {EISDIR, KVT_ERR_FILE_OPEN_FAIL, KVT_ERR_FILE_OPEN_FAIL, 0},
    {ENOTDIR, KVT_ERR_FILE_OPEN_FAIL, KVT_ERR_FILE_OPEN_FAIL, 0},
    {EACCES, KVT_ERR_FILE_OPEN_FAIL, KVT_ERR_FILE_OPEN_FAIL,
     KVT_ERR_DFS_PERMISSION_DENIED},
    {EPERM, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL,
     KVT_ERR_DFS_PERMISSION_DENIED},
    {EROFS, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL,
     KVT_ERR_DFS_PERMISSION_DENIED},
    {EBADF, KVT_ERR_FILE_INVALID_HANDLE, KVT_ERR_FILE_INVALID_HANDLE,
     KVT_ERR_DFS_STALE_HANDLE},
    {ESTALE, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL,
     KVT_ERR_DFS_STALE_HANDLE},
    {EFAULT, KVT_ERR_FILE_INVALID_BUFFER, KVT_ERR_FILE_INVALID_BUFFER, 0},
    {ENOSPC, KVT_ERR_UNABLE_OFFLOAD, KVT_ERR_UNABLE_OFFLOAD,
     KVT_ERR_DFS_QUOTA_EXCEEDED},
    {EDQUOT, KVT_ERR_UNABLE_OFFLOAD, KVT_ERR_UNABLE_OFFLOAD,
     KVT_ERR_DFS_QUOTA_EXCEEDED},
    {ENOMEM, KVT_ERR_INTERNAL, KVT_ERR_INTERNAL, 0},
    {EOPNOTSUPP, KVT_ERR_NOT_SUPPORTED, KVT_ERR_NOT_SUPPORTED, 0},
    {ETIMEDOUT, KVT_ERR_DFS_NETWORK_TIMEOUT, KVT_ERR_DFS_NETWORK_TIMEOUT, 0},
    {ENOTCONN, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL,
     KVT_ERR_DFS_SERVICE_UNAVAILABLE},
    {ECONNREFUSED, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL,
     KVT_ERR_DFS_SERVICE_UNAVAILABLE},
    {ECONNRESET, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL,
     KVT_ERR_DFS_SERVICE_UNAVAILABLE},
    {ECONNABORTED, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL,
     KVT_ERR_DFS_SERVICE_UNAVAILABLE},
    {EHOSTDOWN, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL,
     KVT_ERR_DFS_SERVICE_UNAVAILABLE},
    {EHOSTUNREACH, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL,
     KVT_ERR_DFS_SERVICE_UNAVAILABLE},
    {ENETDOWN, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL,
     KVT_ERR_DFS_SERVICE_UNAVAILABLE},
    {ENETUNREACH, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL,
     KVT_ERR_DFS_SERVICE_UNAVAILABLE},
    {ENODEV, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL,
     KVT_ERR_DFS_SERVICE_UNAVAILABLE},
    {EREMOTEIO, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL,
     KVT_ERR_DFS_SERVICE_UNAVAILABLE},
    {ESHUTDOWN, KVT_ERR_FILE_READ_FAIL, KVT_ERR_FILE_WRITE_FAIL,
     KVT_ERR_DFS_SERVICE_UNAVAILABLE},
};

static void expect(enum kvt_fault fault, int errnum, bool shared, int code)
{
    int got = kvt_status_of(fault, errnum, shared);

    if (got != code) {
        fail_msg("%s of %s on a %s file system: %s, not %s",
                 fault == KVT_FAULT_WRITE ? "write" : "read",
                 kvt_errno_name(errnum), shared ? "shared" : "local",
                 kvt_status_name(got), kvt_status_name(code));
    }
}

static void a_local_errno_has_its_code(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        expect(KVT_FAULT_READ, table[i].errnum, false, table[i].local_read);
        expect(KVT_FAULT_WRITE, table[i].errnum, false, table[i].local_write);
    }
}

static void a_shared_errno_has_its_code(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        int shared = table[i].shared;

        expect(KVT_FAULT_READ, table[i].errnum, true,
               shared != 0 ? shared : table[i].local_read);
        expect(KVT_FAULT_WRITE, table[i].errnum, true,
               shared != 0 ? shared : table[i].local_write);
    }
}

static void a_short_write_has_a_code_of_its_own(void **state)
{
    (void)state;
    expect(KVT_FAULT_PARTIAL, EIO, true, KVT_ERR_DFS_PARTIAL_WRITE);
    expect(KVT_FAULT_PARTIAL, EIO, false, KVT_ERR_FILE_WRITE_FAIL);
}

static void other_faults_do_not_look_at_the_errno(void **state)
{
    static const struct {
        enum kvt_fault fault;
        int code;
    } faults[] = {
        {KVT_FAULT_ABSENT, KVT_ERR_OBJECT_NOT_FOUND},
        {KVT_FAULT_EXISTS, KVT_ERR_OBJECT_ALREADY_EXISTS},
        {KVT_FAULT_SMALL, KVT_ERR_BUFFER_OVERFLOW},
        {KVT_FAULT_CORRUPT, KVT_ERR_CHECKSUM_MISMATCH},
        {KVT_FAULT_FULL, KVT_ERR_UNABLE_OFFLOAD},
        {KVT_FAULT_KEYS, KVT_ERR_KEYS_ULTRA_LIMIT},
        {KVT_FAULT_REFUSED, KVT_ERR_UNABLE_OFFLOAD},
    };
    static const int errnums[] = {0, EIO, ENOSPC, ESTALE};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        for (size_t j = 0; j < COUNT_OF(errnums); j++) {
            expect(faults[i].fault, errnums[j], false, faults[i].code);
            expect(faults[i].fault, errnums[j], true, faults[i].code);
        }
    }
}

/* A failure is never told as a success or by a number without a name. */
static void every_errno_has_a_named_code(void **state)
{
    (void)state;
    for (int errnum = 0; errnum < 150; errnum++) {
        for (int shared = 0; shared < 2; shared++) {
            int read = kvt_status_of(KVT_FAULT_READ, errnum, shared);
            int write = kvt_status_of(KVT_FAULT_WRITE, errnum, shared);

            assert_true(read < 0 && write < 0);
            assert_string_not_equal(kvt_status_name(read), "KVT_ERR_UNKNOWN");
            assert_string_not_equal(kvt_status_name(write), "KVT_ERR_UNKNOWN");
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_local_errno_has_its_code),
        cmocka_unit_test(a_shared_errno_has_its_code),
        cmocka_unit_test(a_short_write_has_a_code_of_its_own),
        cmocka_unit_test(other_faults_do_not_look_at_the_errno),
        cmocka_unit_test(every_errno_has_a_named_code),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
