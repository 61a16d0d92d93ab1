#include "support/posix_fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t count_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t count = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count;
}

struct kvt_fs *posix_mount_again(struct posix_fixture *f)
{
    struct kvt_fs_mount_args args = {
        .size = sizeof args, .root = f->path, .config = f->config};
    struct kvt_fs *fs = NULL;
    struct kvt_error err;

    if (kvt_fs_mount("posix", &args, &fs, &err) != KVT_OK) {
        fail_msg("%s", err.message);
    }
    return fs;
}

int posix_setup(void **state)
{
    struct posix_fixture *f = calloc(1, sizeof *f);
    const char *tmp = getenv("TMPDIR");

    if (f == NULL) {
        return -1;
    }
    snprintf(f->path, sizeof f->path, "%s/kvtier-posix-XXXXXX",
             tmp != NULL ? tmp : "/tmp");
    f->descriptors = count_descriptors();
    if (mkdtemp(f->path) == NULL) {
        free(f);
        return -1;
    }
    f->config = kvt_config_open();
    f->fs = posix_mount_again(f);
    *state = f;
    return 0;
}

int posix_teardown(void **state)
{
    struct posix_fixture *f = *state;

    kvt_fs_unmount(f->fs);
    kvt_config_close(f->config);
    remove_tree(f->path);
    size_t before = f->descriptors;
    free(f);
    assert_int_equal(count_descriptors(), before);
    return 0;
}

char *posix_path(const struct posix_fixture *f, const char *name,
                 char path[FILE_PATH_MAX])
{
    snprintf(path, FILE_PATH_MAX, "%s/%s", f->path, name);
    return path;
}

void posix_make(struct posix_fixture *f, const char *name, const char *text)
{
    char path[FILE_PATH_MAX];

    file_write(posix_path(f, name, path), text, strlen(text));
}

void posix_make_via_mount(struct posix_fixture *f, const char *name,
                          const char *text)
{
    struct kvt_fs_file *file = posix_open_new(f, name);

    assert_int_equal(posix_write(f, file, 0, text, strlen(text)), strlen(text));
    assert_int_equal(posix_close(f, file), 0);
}

int64_t posix_open(struct posix_fixture *f, const char *path, uint32_t flags,
                   struct kvt_fs_file **file)
{
    struct kvt_fs_elem elem = {.op = KVT_FS_OPEN, .path = path, .flags = flags};
    int64_t rc = kvt_fs_run(f->fs, &elem);

    *file = elem.file;
    return rc;
}

int64_t posix_close(struct posix_fixture *f, struct kvt_fs_file *file)
{
    struct kvt_fs_elem elem = {.op = KVT_FS_CLOSE, .file = file};

    return kvt_fs_run(f->fs, &elem);
}

static int64_t transfer(struct posix_fixture *f, enum kvt_fs_op op,
                        struct kvt_fs_file *file, uint64_t offset, void *bytes,
                        size_t size)
{
    struct kvt_slice slice = {bytes, size, NULL};
    struct kvt_fs_elem elem = {.op = op,
                               .file = file,
                               .offset = offset,
                               .slices = &slice,
                               .slice_count = 1};

    return kvt_fs_run(f->fs, &elem);
}

int64_t posix_write(struct posix_fixture *f, struct kvt_fs_file *file,
                    uint64_t offset, const void *bytes, size_t size)
{
    return transfer(f, KVT_FS_WRITE, file, offset, (void *)(uintptr_t)bytes,
                    size);
}

int64_t posix_read(struct posix_fixture *f, struct kvt_fs_file *file,
                   uint64_t offset, void *bytes, size_t size)
{
    return transfer(f, KVT_FS_READ, file, offset, bytes, size);
}

int64_t posix_path_op(struct posix_fixture *f, enum kvt_fs_op op,
                      const char *path)
{
    char bytes[16];
    struct kvt_slice slice = {bytes, sizeof bytes, NULL};
    struct kvt_fs_elem elem = {.op = op, .path = path};

    if (op == KVT_FS_FETCH) {
        elem.slices = &slice;
        elem.slice_count = 1;
    }
    return kvt_fs_run(f->fs, &elem);
}

struct kvt_fs_file *posix_open_new(struct posix_fixture *f, const char *path)
{
    struct kvt_fs_file *file = NULL;

    assert_int_equal(
        posix_open(f, path, KVT_FS_FOR_WRITE | KVT_FS_CREATE | KVT_FS_EXCLUSIVE,
                   &file),
        0);
    return file;
}

uint64_t posix_size(struct posix_fixture *f, const char *path)
{
    struct kvt_fs_elem elem = {.op = KVT_FS_STAT, .path = path};

    assert_int_equal(kvt_fs_run(f->fs, &elem), 0);
    return elem.file_size;
}
