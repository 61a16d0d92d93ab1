/* What the tests of the mem adapter share: mounts with chosen facts, and
 * elements in one line. Each test has a file system of its own. */
#ifndef KVT_TESTS_MEM_FIXTURE_H
#define KVT_TESTS_MEM_FIXTURE_H

#include "support/unit.h"

#include "fs/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNIT 4096u

struct mem_fixture {
    char root[64];
    struct kvt_fs *fs[4];
    size_t fs_count;
};

static inline int mem_setup(void **state)
{
    static unsigned number;
    struct mem_fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    snprintf(f->root, sizeof f->root, "/test/%u", number++);
    *state = f;
    return 0;
}

static inline int mem_teardown(void **state)
{
    struct mem_fixture *f = *state;

    while (f->fs_count > 0) {
        kvt_fs_unmount(f->fs[--f->fs_count]);
    }
    free(f);
    return 0;
}

#define CASE(name)                                                             \
    cmocka_unit_test_setup_teardown(name, mem_setup, mem_teardown)

/* Mounts; `key` may be null. */
static inline int mem_try(const char *root, const char *facts, const char *key,
                          const char *value, bool read_only, struct kvt_fs **fs,
                          struct kvt_error *err)
{
    struct kvt_config *config = kvt_config_open();
    struct kvt_fs_mount_args args = {.size = sizeof args,
                                     .root = root,
                                     .config = config,
                                     .read_only = read_only};

    assert_int_equal(kvt_config_set(config, "mem.facts", facts, err), KVT_OK);
    if (key != NULL) {
        assert_int_equal(kvt_config_set(config, key, value, err), KVT_OK);
    }
    int rc = kvt_fs_mount("mem", &args, fs, err);
    kvt_config_close(config);
    return rc;
}

/* One more mount of the test's root, unmounted by the teardown. */
static inline struct kvt_fs *
mem_mount_sized(struct mem_fixture *f, const char *facts, uint64_t capacity)
{
    struct kvt_error err = {0};
    char text[32];

    snprintf(text, sizeof text, "%llu", (unsigned long long)capacity);
    assert_true(f->fs_count < COUNT_OF(f->fs));
    if (mem_try(f->root, facts, "mem.capacity", text, false,
                &f->fs[f->fs_count], &err) != KVT_OK) {
        fail_msg("mount: %s", err.message);
    }
    return f->fs[f->fs_count++];
}

static inline struct kvt_fs *mem_mount(struct mem_fixture *f, const char *facts)
{
    return mem_mount_sized(f, facts, 0);
}

static inline uint64_t mem_used(struct kvt_fs *fs)
{
    struct kvt_fs_usage usage;

    assert_int_equal(kvt_fs_usage(fs, &usage), 0);
    return (usage.capacity - usage.available) / UNIT;
}

/* Elements ---------------------------------------------------------------- */

static inline int64_t mem_open(struct kvt_fs *fs, const char *path,
                               uint32_t flags, struct kvt_fs_file **file)
{
    struct kvt_fs_elem elem = {.op = KVT_FS_OPEN, .path = path, .flags = flags};
    int64_t rc = kvt_fs_run(fs, &elem);

    *file = elem.file;
    return rc;
}

static inline struct kvt_fs_file *mem_create(struct kvt_fs *fs,
                                             const char *path)
{
    struct kvt_fs_file *file;
    uint32_t flags = KVT_FS_FOR_WRITE | KVT_FS_CREATE;

    assert_int_equal(mem_open(fs, path, flags, &file), 0);
    return file;
}

static inline int64_t mem_file_op(struct kvt_fs *fs, enum kvt_fs_op op,
                                  struct kvt_fs_file *file)
{
    struct kvt_fs_elem elem = {.op = op, .file = file};

    return kvt_fs_run(fs, &elem);
}

static inline int64_t mem_close(struct kvt_fs *fs, struct kvt_fs_file *file)
{
    return mem_file_op(fs, KVT_FS_CLOSE, file);
}

static inline int64_t mem_transfer(struct kvt_fs *fs, enum kvt_fs_op op,
                                   struct kvt_fs_file *file, uint64_t offset,
                                   const void *bytes, size_t size)
{
    struct kvt_slice slice = {(void *)(uintptr_t)bytes, size, NULL};
    struct kvt_fs_elem elem = {.op = op,
                               .file = file,
                               .offset = offset,
                               .slices = &slice,
                               .slice_count = 1};

    return kvt_fs_run(fs, &elem);
}

static inline int64_t mem_write(struct kvt_fs *fs, struct kvt_fs_file *file,
                                uint64_t offset, const void *bytes, size_t size)
{
    return mem_transfer(fs, KVT_FS_WRITE, file, offset, bytes, size);
}

static inline int64_t mem_read(struct kvt_fs *fs, struct kvt_fs_file *file,
                               uint64_t offset, void *bytes, size_t size)
{
    return mem_transfer(fs, KVT_FS_READ, file, offset, bytes, size);
}

static inline int64_t mem_punch(struct kvt_fs *fs, struct kvt_fs_file *file,
                                uint64_t offset, uint64_t length)
{
    struct kvt_fs_elem elem = {
        .op = KVT_FS_PUNCH, .file = file, .offset = offset, .length = length};

    return kvt_fs_run(fs, &elem);
}

/* STAT: the size, or an error. */
static inline int64_t mem_stat(struct kvt_fs *fs, const char *path)
{
    struct kvt_fs_elem elem = {.op = KVT_FS_STAT, .path = path};
    int64_t rc = kvt_fs_run(fs, &elem);

    return rc < 0 ? rc : (int64_t)elem.file_size;
}

static inline int64_t mem_remove(struct kvt_fs *fs, const char *path)
{
    struct kvt_fs_elem elem = {.op = KVT_FS_REMOVE, .path = path};

    return kvt_fs_run(fs, &elem);
}

/* Writes a text over the start of a file, made when missing. */
static inline void mem_put(struct kvt_fs *fs, const char *path,
                           const char *text)
{
    struct kvt_fs_file *file = mem_create(fs, path);

    assert_int_equal(mem_write(fs, file, 0, text, strlen(text)), strlen(text));
    assert_int_equal(mem_close(fs, file), 0);
}

/* FETCH of a text of up to 63 bytes: its size, or an error. */
static inline int64_t mem_get(struct kvt_fs *fs, const char *path,
                              char text[64])
{
    struct kvt_slice slice = {text, 63, NULL};
    struct kvt_fs_elem elem = {
        .op = KVT_FS_FETCH, .path = path, .slices = &slice, .slice_count = 1};
    int64_t rc = kvt_fs_run(fs, &elem);

    text[rc > 0 ? rc : 0] = '\0';
    return rc;
}

static inline void mem_expect(struct kvt_fs *fs, const char *path,
                              const char *text)
{
    char got[64];

    assert_int_equal(mem_get(fs, path, got), strlen(text));
    assert_string_equal(got, text);
}

static inline int64_t mem_publish(struct kvt_fs *fs, const char *path,
                                  const void *bytes, size_t size,
                                  uint32_t flags)
{
    char temp[300];
    struct kvt_slice slice = {(void *)(uintptr_t)bytes, size, NULL};
    struct kvt_fs_elem elem = {.op = KVT_FS_PUBLISH,
                               .flags = flags,
                               .path = path,
                               .temp_path = temp,
                               .slices = &slice,
                               .slice_count = 1};

    snprintf(temp, sizeof temp, "%.250s.tmp", path);
    return kvt_fs_run(fs, &elem);
}

#endif
