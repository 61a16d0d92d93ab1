#include "tree_out.h"

#include "file_out.h"
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *component_refuse(const char *name, size_t size)
{
    if (size == 0) {
        return "the key begins or ends with a slash, or has two in a row";
    }
    if (size == 1 && name[0] == '.') {
        return "the key has the component '.'";
    }
    if (size == 2 && memcmp(name, "..", 2) == 0) {
        return "the key has the component '..'";
    }
    return NULL;
}

const char *cli_tree_refuse(const void *path, size_t size)
{
    const char *at = path;
    const char *end = at + size;
    if (memchr(path, '\0', size) != NULL) {
        return "the key has a NUL byte";
    }
    for (;;) {
        const char *slash = memchr(at, '/', (size_t)(end - at));
        const char *stop = slash != NULL ? slash : end;
        const char *reason = component_refuse(at, (size_t)(stop - at));
        if (reason != NULL || slash == NULL) {
            return reason;
        }
        at = slash + 1;
    }
}

/* Opens the directory `name`, which is made where it is missing. Never leads
 * out of `parent`: a link is not followed. Returns a descriptor or a negative
 * errno. */
static int directory_open(int parent, const char *name)
{
    if (mkdirat(parent, name, 0777) != 0 && errno != EEXIST) {
        return -errno;
    }
    int fd =
        openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 ? fd : -errno;
}

int cli_tree_write(int root, const char *path, const void *data, size_t size)
{
    char *parts = cli_text_copy(path);
    char *name = parts;
    int dir = root;
    for (char *slash = strchr(name, '/'); slash != NULL && dir >= 0;
         slash = strchr(name, '/')) {
        *slash = '\0';
        int next = directory_open(dir, name);
        if (dir != root) {
            close(dir);
        }
        dir = next;
        name = slash + 1;
    }
    int result = dir >= 0 ? cli_file_write_at(dir, name, data, size) : dir;
    if (dir >= 0 && dir != root) {
        close(dir);
    }
    free(parts);
    return result;
}
