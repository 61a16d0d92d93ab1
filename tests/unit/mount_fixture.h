/* A mount by name on an empty directory, for tests of adapters and wrappers,
 * with short forms of the elements that they use. */
#ifndef KVT_TESTS_MOUNT_FIXTURE_H
#define KVT_TESTS_MOUNT_FIXTURE_H

#include "support/store_fixture.h"

#include "fs/registry.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct mounted {
    char top[512]; /* a directory of the test's own */
    char root[600];
    struct kvt_config *config;
    struct kvt_fs *fs;
};

static inline int mounted_setup(void **state)
{
    struct mounted *m = calloc(1, sizeof *m);
    char base[400];
    if (m == NULL || getcwd(base, sizeof base) == NULL) {
        return -1;
    }
    snprintf(m->top, sizeof m->top, "%s/mount.XXXXXX", base);
    if (mkdtemp(m->top) == NULL) {
        return -1;
    }
    snprintf(m->root, sizeof m->root, "%s/root", m->top);
    m->config = kvt_config_open();
    *state = m;
    return m->config != NULL ? 0 : -1;
}

static inline int mounted_teardown(void **state)
{
    struct mounted *m = *state;
    kvt_fs_unmount(m->fs);
    kvt_config_close(m->config);
    remove_tree(m->top);
    free(m);
    return 0;
}

#define mount_test(f)                                                          \
    cmocka_unit_test_setup_teardown(f, mounted_setup, mounted_teardown)

static inline void mounted_set(struct mounted *m, const char *key,
                               const char *value)
{
    struct kvt_error err;
    if (kvt_config_set(m->config, key, value, &err) != KVT_OK) {
        fail_msg("%s = %s: %s", key, value, err.message);
    }
}

static inline int mounted_try(struct mounted *m, const char *name,
                              struct kvt_error *err)
{
    struct kvt_fs_mount_args args = {
        .size = sizeof args, .root = m->root, .config = m->config};
    return kvt_fs_mount(name, &args, &m->fs, err);
}

/* Must succeed. */
static inline struct kvt_fs *mounted_start(struct mounted *m, const char *name)
{
    struct kvt_error err;
    if (mounted_try(m, name, &err) != KVT_OK) {
        fail_msg("%s: %s", name, err.message);
    }
    return m->fs;
}

static inline void mounted_stop(struct mounted *m)
{
    kvt_fs_unmount(m->fs);
    m->fs = NULL;
}

/* One element each, blocking; the result. */
static inline int64_t do_publish(struct kvt_fs *fs, const char *path,
                                 const char *text, uint32_t flags)
{
    struct kvt_slice slice = {(void *)(uintptr_t)text, strlen(text), NULL};
    struct kvt_fs_elem elem = {.op = KVT_FS_PUBLISH,
                               .flags = flags,
                               .path = path,
                               .temp_path = "temp",
                               .slices = &slice,
                               .slice_count = 1};
    return kvt_fs_run(fs, &elem);
}

/* Into `text` of `room` bytes, NUL behind it. */
static inline int64_t do_fetch(struct kvt_fs *fs, const char *path, char *text,
                               size_t room)
{
    struct kvt_slice slice = {text, room - 1, NULL};
    struct kvt_fs_elem elem = {
        .op = KVT_FS_FETCH, .path = path, .slices = &slice, .slice_count = 1};
    int64_t rc = kvt_fs_run(fs, &elem);
    text[rc > 0 ? rc : 0] = '\0';
    return rc;
}

static inline int64_t do_path(struct kvt_fs *fs, enum kvt_fs_op op,
                              const char *path)
{
    struct kvt_fs_elem elem = {.op = op, .path = path};
    return kvt_fs_run(fs, &elem);
}

static inline int64_t do_open(struct kvt_fs *fs, const char *path,
                              uint32_t flags, struct kvt_fs_file **file)
{
    struct kvt_fs_elem elem = {.op = KVT_FS_OPEN, .path = path, .flags = flags};
    int64_t rc = kvt_fs_run(fs, &elem);
    *file = rc == 0 ? elem.file : NULL;
    return rc;
}

static inline int64_t do_file(struct kvt_fs *fs, enum kvt_fs_op op,
                              struct kvt_fs_file *file)
{
    struct kvt_fs_elem elem = {.op = op, .file = file};
    return kvt_fs_run(fs, &elem);
}

static inline int64_t do_write(struct kvt_fs *fs, struct kvt_fs_file *file,
                               uint64_t offset, const void *bytes, size_t size)
{
    struct kvt_slice slice = {(void *)(uintptr_t)bytes, size, NULL};
    struct kvt_fs_elem elem = {.op = KVT_FS_WRITE,
                               .file = file,
                               .offset = offset,
                               .slices = &slice,
                               .slice_count = 1};
    return kvt_fs_run(fs, &elem);
}

static inline int64_t do_read(struct kvt_fs *fs, struct kvt_fs_file *file,
                              uint64_t offset, void *bytes, size_t size)
{
    struct kvt_slice slice = {bytes, size, NULL};
    struct kvt_fs_elem elem = {.op = KVT_FS_READ,
                               .file = file,
                               .offset = offset,
                               .slices = &slice,
                               .slice_count = 1};
    return kvt_fs_run(fs, &elem);
}

/* Descriptors that this process has open. */
static inline size_t open_descriptors(void)
{
    size_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count;
}

#endif
