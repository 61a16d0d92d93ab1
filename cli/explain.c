#include "explain.h"

#include <kvtier/error.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct explanation {
    int number;
    const char *reason;
    const char *remedy;
};

static const char look_log[] = "look into the system's log, then try again";

static const struct explanation by_code[] = {
    {KVT_ERR_INTERNAL, "the store reached a state that cannot be",
     "run it again with -o log_level=debug and report what it says"},
    {KVT_ERR_BUFFER_OVERFLOW, "the object is larger than the memory given",
     "another writer replaced it meanwhile: try again"},
    {KVT_ERR_INVALID_KEY, "the key is empty or too long",
     "use 1 to 4096 bytes"},
    {KVT_ERR_INVALID_PARAMS, "the store refused the object",
     "compare its size with 'kvtier config --explain object_size_max'"},
    {KVT_ERR_OBJECT_NOT_FOUND, "no such object",
     "'kvtier ls' lists what is stored"},
    {KVT_ERR_OBJECT_ALREADY_EXISTS, "the object exists already",
     "remove it first"},
    {KVT_ERR_CHECKSUM_MISMATCH, "the stored bytes are not what was written",
     "put the object again, and check the device"},
    {KVT_ERR_NOT_SUPPORTED, "not supported here",
     "'kvtier backends' lists what this build has"},
    {KVT_ERR_FILE_NOT_FOUND, "the file is not there",
     "check the name and --path"},
    {KVT_ERR_FILE_OPEN_FAIL, "the file could not be opened", look_log},
    {KVT_ERR_FILE_READ_FAIL, "reading failed", look_log},
    {KVT_ERR_FILE_WRITE_FAIL, "writing failed", look_log},
    {KVT_ERR_FILE_INVALID_BUFFER, "the file system refused the memory",
     "try -o direct=off"},
    {KVT_ERR_FILE_LOCK_FAIL, "another process owns the store",
     "wait for it, or end it"},
    {KVT_ERR_FILE_INVALID_HANDLE, "a file was closed under the store",
     "try again"},
    {KVT_ERR_BUCKET_NOT_FOUND, "the bucket that held it is gone",
     "put the object again"},
    {KVT_ERR_BUCKET_ALREADY_EXISTS, "the bucket exists already",
     "do not copy files into a store"},
    {KVT_ERR_KEYS_EXCEED_BUCKET_LIMIT, "too many keys for one bucket",
     "raise bucket.keys_limit"},
    {KVT_ERR_KEYS_ULTRA_LIMIT, "the store holds as many keys as it may",
     "raise total_keys_limit, or evict"},
    {KVT_ERR_UNABLE_OFFLOAD, "the store takes no more objects now",
     "raise total_size_limit, remove objects, or set eviction"},
    {KVT_ERR_DFS_NETWORK_TIMEOUT, "the file system did not answer in time",
     "check its servers, or raise deadline_ms"},
    {KVT_ERR_DFS_SERVICE_UNAVAILABLE, "the file system is not available",
     "check its servers and the mount"},
    {KVT_ERR_DFS_QUOTA_EXCEEDED, "the file system or its quota is full",
     "free space, or raise the quota"},
    {KVT_ERR_DFS_PERMISSION_DENIED, "the file system denies access",
     "check its permissions and the user you run as"},
    {KVT_ERR_DFS_STALE_HANDLE, "the file was replaced or removed by others",
     "try again; if it stays, mount the file system anew"},
    {KVT_ERR_DFS_PARTIAL_WRITE, "fewer bytes were stored than asked for",
     "free space, then try again"},
};

/* Where the errno says better than the code what to do. */
static const struct explanation by_errno[] = {
    {ENOENT, NULL, "check the name"},
    {EACCES, NULL, "check the permissions and the user you run as"},
    {EPERM, NULL, "check the permissions and the user you run as"},
    {EROFS, NULL, "mount the file system writable"},
    {ENOSPC, NULL, "free space on the file system"},
    {EDQUOT, NULL,
     "free space, raise the quota, or write_budget_per_day if that is spent"},
    {EISDIR, NULL, "name a file, not a directory"},
    {ENOTDIR, NULL, "a part of the path is a file: rename one of them"},
    {ENAMETOOLONG, NULL, "choose a shorter name"},
    {ELOOP, NULL, "name the place itself, not a symbolic link"},
    {EMFILE, NULL, "raise the limit of open files (ulimit -n)"},
    {ENFILE, NULL, "raise the limit of open files (fs.file-max)"},
    {ENOMEM, NULL, "free memory, or raise the limit of the process"},
    {EFBIG, NULL,
     "it is too large by itself: raise total_size_limit or object_size_max, "
     "or the limit of file sizes (ulimit -f)"},
};

static const struct explanation *find(const struct explanation *table,
                                      size_t count, int number)
{
    for (size_t i = 0; i < count; i++) {
        if (table[i].number == number) {
            return &table[i];
        }
    }
    return NULL;
}

/* Where the errno only repeats what the code says. */
static int telling(int code, int errnum)
{
    return code == KVT_ERR_OBJECT_NOT_FOUND ? 0 : errnum;
}

#define FIND(table, number)                                                    \
    find(table, sizeof(table) / sizeof((table)[0]), number)

void cli_explain_reason(int code, int errnum, char *text, size_t size)
{
    const struct explanation *found = FIND(by_code, code);
    const char *reason = found != NULL ? found->reason : "it failed";
    char words[128];
    errnum = telling(code, errnum);
    if (errnum == 0 || strerror_r(errnum, words, sizeof(words)) != 0) {
        snprintf(text, size, "%s", reason);
    } else {
        snprintf(text, size, "%s: %s", reason, words);
    }
}

const char *cli_explain_remedy(int code, int errnum)
{
    const struct explanation *found = FIND(by_errno, telling(code, errnum));
    if (found == NULL) {
        found = FIND(by_code, code);
    }
    return found != NULL ? found->remedy : look_log;
}
