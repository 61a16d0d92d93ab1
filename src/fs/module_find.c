/* Where modules are: `module_path`, the folder `kvtier` beside the library,
 * and beside the library. Nothing is opened but folders. */
#define _GNU_SOURCE /* dladdr1 */
#include "core/modules.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char prefix[] = "kvtier-fs-";
static const char suffix[] = ".so";
#define PREFIX_SIZE (sizeof prefix - 1)
#define SUFFIX_SIZE (sizeof suffix - 1)

/* Names ------------------------------------------------------------------- */

bool kvt_module_name_is_valid(const char *name, size_t size)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    return size >= 1 && size <= KVT_MODULE_NAME_MAX && name[0] >= 'a' &&
           strspn(name, letters) >= size;
}

/* The part between prefix and suffix of a file's last name; null when it is
 * no module's. */
static const char *name_part(const char *file, size_t *size)
{
    const char *slash = strrchr(file, '/');
    const char *last = slash != NULL ? slash + 1 : file;
    size_t length = strlen(last);
    if (length < PREFIX_SIZE + SUFFIX_SIZE ||
        strncmp(last, prefix, PREFIX_SIZE) != 0 ||
        strcmp(last + length - SUFFIX_SIZE, suffix) != 0) {
        return NULL;
    }
    *size = length - PREFIX_SIZE - SUFFIX_SIZE;
    return last + PREFIX_SIZE;
}

bool kvt_module_name_of(const char *file, char name[KVT_MODULE_NAME_MAX + 1])
{
    size_t size = 0;
    const char *part = name_part(file, &size);
    if (part == NULL || !kvt_module_name_is_valid(part, size)) {
        return false;
    }
    memcpy(name, part, size);
    name[size] = '\0';
    return true;
}

/* Folders ----------------------------------------------------------------- */

enum {
    FOLDER_PATH,   /* module_path */
    FOLDER_KVTIER, /* kvtier, beside the library */
    FOLDER_LIBRARY,
    FOLDER_COUNT
};

/* The folder of the library. A program that has the library inside has no
 * such folder; neither has one that loaded it by a relative path, which may
 * mean another folder by now. */
static bool library_folder(char folder[PATH_MAX])
{
    Dl_info info;
    struct link_map *map = NULL;
    /* by an address of data: no function pointer has to become one */
    if (dladdr1(prefix, &info, (void **)&map, RTLD_DL_LINKMAP) == 0 ||
        map == NULL || map->l_name[0] != '/') {
        return false;
    }
    char above[PATH_MAX];
    size_t size = (size_t)(strrchr(map->l_name, '/') - map->l_name);
    if (size >= sizeof above) {
        return false;
    }
    memcpy(above, map->l_name, size);
    above[size] = '\0';
    return realpath(size > 0 ? above : "/", folder) != NULL;
}

/* The `which`-th folder, or false where there is none. */
static bool folder_at(const char *module_path, int which, char folder[PATH_MAX])
{
    char library[PATH_MAX];
    int size = 0;
    switch (which) {
    case FOLDER_PATH:
        size = snprintf(folder, PATH_MAX, "%s", module_path);
        return size > 0 && size < PATH_MAX;
    case FOLDER_KVTIER:
        if (!library_folder(library)) {
            return false;
        }
        size = snprintf(folder, PATH_MAX, "%s/kvtier", library);
        return size < PATH_MAX;
    default:
        return library_folder(folder);
    }
}

static bool file_in(const char *folder, const char *name,
                    char file[KVT_MODULE_FILE_MAX])
{
    struct stat info;
    int size = snprintf(file, KVT_MODULE_FILE_MAX, "%s/%s%s%s", folder, prefix,
                        name, suffix);
    /* a link that leads nowhere is found, and then told as such */
    return size > 0 && (size_t)size < KVT_MODULE_FILE_MAX &&
           lstat(file, &info) == 0;
}

bool kvt_module_find(const char *module_path, const char *name,
                     char file[KVT_MODULE_FILE_MAX])
{
    char folder[PATH_MAX];
    for (int i = 0; i < FOLDER_COUNT; i++) {
        if (folder_at(module_path, i, folder) && file_in(folder, name, file)) {
            return true;
        }
    }
    return false;
}

static int path_unreadable(const char *module_path, int errnum,
                           struct kvt_error *err)
{
    return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, errnum, "module_path",
                         "name a folder that can be read, or leave it out",
                         "module_path = %s cannot be read: %s", module_path,
                         strerror(errnum));
}

int kvt_module_path_check(const char *module_path, struct kvt_error *err)
{
    if (module_path[0] == '\0') {
        return KVT_OK;
    }
    DIR *folder = opendir(module_path);
    if (folder == NULL) {
        return path_unreadable(module_path, errno, err);
    }
    closedir(folder);
    return KVT_OK;
}

/* Listing ----------------------------------------------------------------- */

struct found {
    char **files;
    size_t count;
};

static int by_name(const void *a, const void *b)
{
    const char *left = strrchr(*(char *const *)a, '/');
    const char *right = strrchr(*(char *const *)b, '/');
    return strcmp(left, right);
}

/* A file of this name in an earlier folder hides it. */
static bool is_hidden(const struct found *found, const char *file)
{
    for (size_t i = 0; i < found->count; i++) {
        char *at = found->files[i];
        if (by_name(&at, &file) == 0) {
            return true;
        }
    }
    return false;
}

static int add(struct found *found, const char *folder, const char *name)
{
    char file[KVT_MODULE_FILE_MAX];
    size_t unused;
    int size = snprintf(file, sizeof file, "%s/%s", folder, name);
    if (name_part(name, &unused) == NULL || size < 0 ||
        (size_t)size >= sizeof file || is_hidden(found, file)) {
        return 0;
    }
    char **files =
        realloc(found->files, (found->count + 1) * sizeof found->files[0]);
    if (files == NULL) {
        return -ENOMEM;
    }
    found->files = files;
    files[found->count] = strdup(file);
    if (files[found->count] == NULL) {
        return -ENOMEM;
    }
    found->count++;
    return 0;
}

static int add_folder(struct found *found, const char *folder)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        return -errno;
    }
    const struct dirent *entry;
    int rc = 0;
    while (rc == 0 && (errno = 0, entry = readdir(dir)) != NULL) {
        rc = add(found, folder, entry->d_name);
    }
    rc = rc == 0 ? -errno : rc;
    closedir(dir);
    return rc;
}

int kvt_module_each(const char *module_path,
                    int (*each)(const char *file, void *arg), void *arg,
                    struct kvt_error *err)
{
    struct found found = {0};
    char folder[PATH_MAX];
    int rc = KVT_OK;
    for (int i = 0; i < FOLDER_COUNT && rc == KVT_OK; i++) {
        int added =
            folder_at(module_path, i, folder) ? add_folder(&found, folder) : 0;
        if (added == -ENOMEM) {
            rc = kvt_error_set(err, KVT_ERR_INTERNAL, ENOMEM, NULL, NULL,
                               "no memory to list modules");
        } else if (added != 0 && i == FOLDER_PATH) {
            rc = path_unreadable(module_path, -added, err);
        }
    }
    if (found.count > 0) {
        qsort(found.files, found.count, sizeof found.files[0], by_name);
    }
    for (size_t i = 0; i < found.count && rc == KVT_OK; i++) {
        rc = each(found.files[i], arg);
    }
    for (size_t i = 0; i < found.count; i++) {
        free(found.files[i]);
    }
    free(found.files);
    return rc;
}
