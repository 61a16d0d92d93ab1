#include "core/errnum.h"

#include <errno.h>
#include <kvtier/error.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Copies `text` and cuts what does not fit, never inside a UTF-8 sequence:
 * these texts end up in JSON. */
static void error_copy(char *to, size_t size, const char *text)
{
    size_t length = strlen(text);

    if (length >= size) {
        length = size - 1;
        while (length > 0 && ((unsigned char)text[length] & 0xC0u) == 0x80u) {
            length--;
        }
    }
    memcpy(to, text, length);
    to[length] = '\0';
}

int kvt_error_set(struct kvt_error *err, int code, int errnum,
                  const char *subject, const char *remedy, const char *format,
                  ...)
{
    /* The arguments may be texts of `err` itself, so nothing is stored before
     * all of them were read. One byte more than is kept, to see the cut. */
    struct kvt_error made;
    char message[sizeof(made.message) + 4];
    va_list args;

    if (err == NULL) {
        return code;
    }
    va_start(args, format);
    if (vsnprintf(message, sizeof(message), format, args) < 0) {
        message[0] = '\0';
    }
    va_end(args);
    made.code = code;
    made.errnum = errnum;
    error_copy(made.subject, sizeof(made.subject), subject ? subject : "");
    error_copy(made.message, sizeof(made.message), message);
    error_copy(made.remedy, sizeof(made.remedy), remedy ? remedy : "");
    *err = made;
    return code;
}

void kvt_error_prefix(struct kvt_error *err, const char *format, ...)
{
    char prefix[sizeof(err->message)];
    char message[2 * sizeof(err->message) + 4];
    va_list args;

    if (err == NULL) {
        return;
    }
    va_start(args, format);
    if (vsnprintf(prefix, sizeof(prefix), format, args) < 0) {
        prefix[0] = '\0';
    }
    va_end(args);
    snprintf(message, sizeof(message), "%s: %s", prefix, err->message);
    error_copy(err->message, sizeof(err->message), message);
}

const char *kvt_status_name(int code)
{
    /* A switch, so that two codes with one number do not compile. */
    switch (code) {
#define STATUS(name)                                                           \
    case name:                                                                 \
        return #name
        STATUS(KVT_OK);
        STATUS(KVT_ERR_INTERNAL);
        STATUS(KVT_ERR_BUFFER_OVERFLOW);
        STATUS(KVT_ERR_INVALID_KEY);
        STATUS(KVT_ERR_INVALID_PARAMS);
        STATUS(KVT_ERR_OBJECT_NOT_FOUND);
        STATUS(KVT_ERR_OBJECT_ALREADY_EXISTS);
        STATUS(KVT_ERR_CHECKSUM_MISMATCH);
        STATUS(KVT_ERR_NOT_SUPPORTED);
        STATUS(KVT_ERR_FILE_NOT_FOUND);
        STATUS(KVT_ERR_FILE_OPEN_FAIL);
        STATUS(KVT_ERR_FILE_READ_FAIL);
        STATUS(KVT_ERR_FILE_WRITE_FAIL);
        STATUS(KVT_ERR_FILE_INVALID_BUFFER);
        STATUS(KVT_ERR_FILE_LOCK_FAIL);
        STATUS(KVT_ERR_FILE_INVALID_HANDLE);
        STATUS(KVT_ERR_BUCKET_NOT_FOUND);
        STATUS(KVT_ERR_BUCKET_ALREADY_EXISTS);
        STATUS(KVT_ERR_KEYS_EXCEED_BUCKET_LIMIT);
        STATUS(KVT_ERR_KEYS_ULTRA_LIMIT);
        STATUS(KVT_ERR_UNABLE_OFFLOAD);
        STATUS(KVT_ERR_DFS_NETWORK_TIMEOUT);
        STATUS(KVT_ERR_DFS_SERVICE_UNAVAILABLE);
        STATUS(KVT_ERR_DFS_QUOTA_EXCEEDED);
        STATUS(KVT_ERR_DFS_PERMISSION_DENIED);
        STATUS(KVT_ERR_DFS_STALE_HANDLE);
        STATUS(KVT_ERR_DFS_PARTIAL_WRITE);
#undef STATUS
    default:
        return "KVT_ERR_UNKNOWN";
    }
}

/* The C library's own function for this is a GNU extension. Where two names
 * share a number (EAGAIN and EWOULDBLOCK), the older one stands here. */
#define ERRNO(name) [name] = #name
static const char *const error_errno_names[] = {
    ERRNO(EPERM),
    ERRNO(ENOENT),
    ERRNO(ESRCH),
    ERRNO(EINTR),
    ERRNO(EIO),
    ERRNO(ENXIO),
    ERRNO(E2BIG),
    ERRNO(ENOEXEC),
    ERRNO(EBADF),
    ERRNO(ECHILD),
    ERRNO(EAGAIN),
    ERRNO(ENOMEM),
    ERRNO(EACCES),
    ERRNO(EFAULT),
    ERRNO(ENOTBLK),
    ERRNO(EBUSY),
    ERRNO(EEXIST),
    ERRNO(EXDEV),
    ERRNO(ENODEV),
    ERRNO(ENOTDIR),
    ERRNO(EISDIR),
    ERRNO(EINVAL),
    ERRNO(ENFILE),
    ERRNO(EMFILE),
    ERRNO(ENOTTY),
    ERRNO(ETXTBSY),
    ERRNO(EFBIG),
    ERRNO(ENOSPC),
    ERRNO(ESPIPE),
    ERRNO(EROFS),
    ERRNO(EMLINK),
    ERRNO(EPIPE),
    ERRNO(EDOM),
    ERRNO(ERANGE),
    ERRNO(EDEADLK),
    ERRNO(ENAMETOOLONG),
    ERRNO(ENOLCK),
    ERRNO(ENOSYS),
    ERRNO(ENOTEMPTY),
    ERRNO(ELOOP),
    ERRNO(ENOMSG),
    ERRNO(EIDRM),
    ERRNO(ECHRNG),
    ERRNO(EL2NSYNC),
    ERRNO(EL3HLT),
    ERRNO(EL3RST),
    ERRNO(ELNRNG),
    ERRNO(EUNATCH),
    ERRNO(ENOCSI),
    ERRNO(EL2HLT),
    ERRNO(EBADE),
    ERRNO(EBADR),
    ERRNO(EXFULL),
    ERRNO(ENOANO),
    ERRNO(EBADRQC),
    ERRNO(EBADSLT),
    ERRNO(EBFONT),
    ERRNO(ENOSTR),
    ERRNO(ENODATA),
    ERRNO(ETIME),
    ERRNO(ENOSR),
    ERRNO(ENONET),
    ERRNO(ENOPKG),
    ERRNO(EREMOTE),
    ERRNO(ENOLINK),
    ERRNO(EADV),
    ERRNO(ESRMNT),
    ERRNO(ECOMM),
    ERRNO(EPROTO),
    ERRNO(EMULTIHOP),
    ERRNO(EDOTDOT),
    ERRNO(EBADMSG),
    ERRNO(EOVERFLOW),
    ERRNO(ENOTUNIQ),
    ERRNO(EBADFD),
    ERRNO(EREMCHG),
    ERRNO(ELIBACC),
    ERRNO(ELIBBAD),
    ERRNO(ELIBSCN),
    ERRNO(ELIBMAX),
    ERRNO(ELIBEXEC),
    ERRNO(EILSEQ),
    ERRNO(ERESTART),
    ERRNO(ESTRPIPE),
    ERRNO(EUSERS),
    ERRNO(ENOTSOCK),
    ERRNO(EDESTADDRREQ),
    ERRNO(EMSGSIZE),
    ERRNO(EPROTOTYPE),
    ERRNO(ENOPROTOOPT),
    ERRNO(EPROTONOSUPPORT),
    ERRNO(ESOCKTNOSUPPORT),
    ERRNO(EOPNOTSUPP),
    ERRNO(EPFNOSUPPORT),
    ERRNO(EAFNOSUPPORT),
    ERRNO(EADDRINUSE),
    ERRNO(EADDRNOTAVAIL),
    ERRNO(ENETDOWN),
    ERRNO(ENETUNREACH),
    ERRNO(ENETRESET),
    ERRNO(ECONNABORTED),
    ERRNO(ECONNRESET),
    ERRNO(ENOBUFS),
    ERRNO(EISCONN),
    ERRNO(ENOTCONN),
    ERRNO(ESHUTDOWN),
    ERRNO(ETOOMANYREFS),
    ERRNO(ETIMEDOUT),
    ERRNO(ECONNREFUSED),
    ERRNO(EHOSTDOWN),
    ERRNO(EHOSTUNREACH),
    ERRNO(EALREADY),
    ERRNO(EINPROGRESS),
    ERRNO(ESTALE),
    ERRNO(EUCLEAN),
    ERRNO(ENOTNAM),
    ERRNO(ENAVAIL),
    ERRNO(EISNAM),
    ERRNO(EREMOTEIO),
    ERRNO(EDQUOT),
    ERRNO(ENOMEDIUM),
    ERRNO(EMEDIUMTYPE),
    ERRNO(ECANCELED),
    ERRNO(ENOKEY),
    ERRNO(EKEYEXPIRED),
    ERRNO(EKEYREVOKED),
    ERRNO(EKEYREJECTED),
    ERRNO(EOWNERDEAD),
    ERRNO(ENOTRECOVERABLE),
    ERRNO(ERFKILL),
    ERRNO(EHWPOISON),
};
#undef ERRNO

const char *kvt_errno_name(int errnum)
{
    const size_t count =
        sizeof(error_errno_names) / sizeof(error_errno_names[0]);

    if (errnum == 0) {
        return "0";
    }
    if (errnum == INT_MIN) { /* has no positive twin */
        return "E?";
    }
    if (errnum < 0) {
        errnum = -errnum;
    }
    if ((size_t)errnum >= count || error_errno_names[errnum] == NULL) {
        return "E?";
    }
    return error_errno_names[errnum];
}

int kvt_errnum_of(const char *name)
{
    static const struct {
        const char *name;
        int errnum;
    } aliases[] = {
        {"EWOULDBLOCK", EWOULDBLOCK},
        {"ENOTSUP", ENOTSUP},
        {"EDEADLOCK", EDEADLOCK},
    };
    const size_t count =
        sizeof(error_errno_names) / sizeof(error_errno_names[0]);

    for (size_t i = 0; i < count; i++) {
        if (error_errno_names[i] != NULL &&
            strcmp(error_errno_names[i], name) == 0) {
            return (int)i;
        }
    }
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
        if (strcmp(aliases[i].name, name) == 0) {
            return aliases[i].errnum;
        }
    }
    return 0;
}
