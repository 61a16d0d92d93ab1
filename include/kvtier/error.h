/*
 * kvtier/error.h - public result codes and the sentence that explains them.
 *
 * Inside the library errors are negative errno values; at the store's edge
 * they become one of the codes below, and the errno stays beside the code.
 */
#ifndef KVTIER_ERROR_H
#define KVTIER_ERROR_H

#include <kvtier/base.h>

#ifdef __cplusplus
extern "C" {
#endif

enum kvt_status {
    KVT_OK = 0,
    KVT_ERR_INTERNAL = -1,         /* a state that cannot be */
    KVT_ERR_BUFFER_OVERFLOW = -10, /* the object is larger than the slices */
    KVT_ERR_INVALID_KEY = -400,    /* empty, or over KVT_KEY_SIZE_MAX bytes */
    KVT_ERR_INVALID_PARAMS = -600, /* bad argument or configuration */
    KVT_ERR_OBJECT_NOT_FOUND = -704,
    KVT_ERR_OBJECT_ALREADY_EXISTS = -705,
    KVT_ERR_CHECKSUM_MISMATCH = -801, /* not the bytes that were stored */
    KVT_ERR_NOT_SUPPORTED = -1012,
    /* local file systems */
    KVT_ERR_FILE_NOT_FOUND = -1100,
    KVT_ERR_FILE_OPEN_FAIL = -1101,
    KVT_ERR_FILE_READ_FAIL = -1102,
    KVT_ERR_FILE_WRITE_FAIL = -1103,
    KVT_ERR_FILE_INVALID_BUFFER = -1104,
    KVT_ERR_FILE_LOCK_FAIL = -1105,
    KVT_ERR_FILE_INVALID_HANDLE = -1106,
    /* buckets and limits */
    KVT_ERR_BUCKET_NOT_FOUND = -1200,
    KVT_ERR_BUCKET_ALREADY_EXISTS = -1201,
    KVT_ERR_KEYS_EXCEED_BUCKET_LIMIT = -1202,
    KVT_ERR_KEYS_ULTRA_LIMIT = -1203,
    KVT_ERR_UNABLE_OFFLOAD = -1300, /* offloading is off, or store full */
    /* distributed file systems */
    KVT_ERR_DFS_NETWORK_TIMEOUT = -1600,
    KVT_ERR_DFS_SERVICE_UNAVAILABLE = -1601,
    KVT_ERR_DFS_QUOTA_EXCEEDED = -1602,
    KVT_ERR_DFS_PERMISSION_DENIED = -1603,
    KVT_ERR_DFS_STALE_HANDLE = -1604,
    KVT_ERR_DFS_PARTIAL_WRITE = -1605,
};

/* What went wrong in a control-plane call: open, recover, configure, evict.
 * Every text is NUL-terminated and may be empty; long texts are cut. The
 * struct is plain memory of the caller: nothing in it needs to be freed. */
struct kvt_error {
    int code;          /* enum kvt_status; KVT_OK when nothing went wrong */
    int errnum;        /* positive errno, or 0 */
    char subject[256]; /* the key, path or setting that it is about */
    char message[768]; /* what was being done, and why it failed */
    char remedy[384];  /* what to do about it */
};

/* Fills `err` (null is allowed: the call then only returns). Returns `code`,
 * so that a function can end with `return kvt_error_set(...)`. `subject` and
 * `remedy` may be null. Copies all texts. */
KVT_API int kvt_error_set(struct kvt_error *err, int code, int errnum,
                          const char *subject, const char *remedy,
                          const char *format, ...) KVT_PRINTF(6, 7);

/* Puts "<what was being done>: " in front of the message. Null is allowed. */
KVT_API void kvt_error_prefix(struct kvt_error *err, const char *format, ...)
    KVT_PRINTF(2, 3);

/* "KVT_ERR_OBJECT_NOT_FOUND"; "KVT_ERR_UNKNOWN" for a number that is none.
 * Returns a constant string. */
KVT_API const char *kvt_status_name(int code);

/* "ENOSPC"; "0" for 0; "E?" for a number that this system does not name.
 * Takes the value with either sign. Returns a constant string. */
KVT_API const char *kvt_errno_name(int errnum);

#ifdef __cplusplus
}
#endif

#endif
