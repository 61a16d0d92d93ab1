/* The one table that turns (what was done, errno, local or shared) into the
 * public codes; the errno stays readable beside it. */
#include "core/status.h"

#include <errno.h>

static int status_of_shared(int errnum)
{
    switch (errnum) {
    case ENOTCONN:
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENETDOWN:
    case ENETUNREACH:
    case ENODEV:
    case EREMOTEIO:
    case ESHUTDOWN:
        return KVT_ERR_DFS_SERVICE_UNAVAILABLE;
    case EDQUOT:
    case ENOSPC:
        return KVT_ERR_DFS_QUOTA_EXCEEDED;
    case EACCES:
    case EPERM:
    case EROFS:
        return KVT_ERR_DFS_PERMISSION_DENIED;
    case ESTALE:
    case EBADF:
        return KVT_ERR_DFS_STALE_HANDLE;
    default:
        return KVT_OK; /* nothing of its own */
    }
}

static int status_of_errno(int errnum, bool write)
{
    switch (errnum) {
    case ETIMEDOUT:
        return KVT_ERR_DFS_NETWORK_TIMEOUT;
    case EOPNOTSUPP:
    case EPROTONOSUPPORT:
        return KVT_ERR_NOT_SUPPORTED;
    case ENOMEM:
        return KVT_ERR_INTERNAL;
    case EFAULT:
        return KVT_ERR_FILE_INVALID_BUFFER;
    case EBADF:
        return KVT_ERR_FILE_INVALID_HANDLE;
    case ENOSPC:
    case EDQUOT:
        return KVT_ERR_UNABLE_OFFLOAD;
    case EACCES:
    case EMFILE:
    case ENFILE:
    case ELOOP:
    case EISDIR:
    case ENOTDIR:
        return KVT_ERR_FILE_OPEN_FAIL;
    case ENOENT:
        return KVT_ERR_FILE_NOT_FOUND;
    default:
        return write ? KVT_ERR_FILE_WRITE_FAIL : KVT_ERR_FILE_READ_FAIL;
    }
}

int kvt_status_of(enum kvt_fault fault, int errnum, bool shared)
{
    switch (fault) {
    case KVT_FAULT_ABSENT:
        return KVT_ERR_OBJECT_NOT_FOUND;
    case KVT_FAULT_EXISTS:
        return KVT_ERR_OBJECT_ALREADY_EXISTS;
    case KVT_FAULT_SMALL:
        return KVT_ERR_BUFFER_OVERFLOW;
    case KVT_FAULT_CORRUPT:
        return KVT_ERR_CHECKSUM_MISMATCH;
    case KVT_FAULT_KEYS:
        return KVT_ERR_KEYS_ULTRA_LIMIT;
    case KVT_FAULT_FULL:
    case KVT_FAULT_REFUSED:
        return KVT_ERR_UNABLE_OFFLOAD;
    case KVT_FAULT_PARTIAL:
        return shared ? KVT_ERR_DFS_PARTIAL_WRITE : KVT_ERR_FILE_WRITE_FAIL;
    case KVT_FAULT_READ:
    case KVT_FAULT_WRITE:
        break;
    }
    int status = shared ? status_of_shared(errnum) : KVT_OK;
    return status != KVT_OK ? status
                            : status_of_errno(errnum, fault == KVT_FAULT_WRITE);
}
