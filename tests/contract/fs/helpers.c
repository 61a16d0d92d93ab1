/* Elements, one at a time or in batches. */
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int64_t file_open(struct kvt_fs *fs, const char *path, uint32_t flags,
                  struct kvt_fs_file **file)
{
    struct kvt_fs_elem elem = {.op = KVT_FS_OPEN, .path = path, .flags = flags};
    int64_t rc = kvt_fs_run(fs, &elem);
    *file = rc == 0 ? elem.file : NULL;
    return rc;
}

struct kvt_fs_file *must_open(struct kvt_fs *fs, const char *path,
                              uint32_t flags)
{
    struct kvt_fs_file *file;
    int64_t rc = file_open(fs, path, flags, &file);
    if (rc != 0) {
        FAIL("open of %.100s (flags %u), expected 0, got -%s", path,
             (unsigned)flags, kvt_errno_name((int)-rc));
    }
    return file;
}

void must_close(struct kvt_fs_file *file)
{
    struct kvt_fs_elem elem = {.op = KVT_FS_CLOSE, .file = file};
    EXPECT("close", 0, kvt_fs_run(file->fs, &elem));
}

int64_t file_read(struct kvt_fs_file *file, uint64_t offset, void *bytes,
                  size_t size)
{
    struct kvt_slice slice = {bytes, size, NULL};
    struct kvt_fs_elem elem = {.op = KVT_FS_READ,
                               .file = file,
                               .offset = offset,
                               .slices = &slice,
                               .slice_count = 1};
    return kvt_fs_run(file->fs, &elem);
}

int64_t file_write(struct kvt_fs_file *file, uint64_t offset, const void *bytes,
                   size_t size)
{
    struct kvt_slice slice = {(void *)(uintptr_t)bytes, size, NULL};
    struct kvt_fs_elem elem = {.op = KVT_FS_WRITE,
                               .file = file,
                               .offset = offset,
                               .slices = &slice,
                               .slice_count = 1};
    return kvt_fs_run(file->fs, &elem);
}

int64_t file_sync(struct kvt_fs_file *file, enum kvt_fs_op op)
{
    struct kvt_fs_elem elem = {.op = op, .file = file};
    return kvt_fs_run(file->fs, &elem);
}

int64_t file_punch(struct kvt_fs_file *file, uint64_t offset, uint64_t length)
{
    struct kvt_fs_elem elem = {
        .op = KVT_FS_PUNCH, .file = file, .offset = offset, .length = length};
    return kvt_fs_run(file->fs, &elem);
}

int64_t path_stat(struct kvt_fs *fs, const char *path, uint64_t *size)
{
    struct kvt_fs_elem elem = {.op = KVT_FS_STAT, .path = path};
    int64_t rc = kvt_fs_run(fs, &elem);
    *size = elem.file_size;
    return rc;
}

int64_t path_remove(struct kvt_fs *fs, const char *path)
{
    struct kvt_fs_elem elem = {.op = KVT_FS_REMOVE, .path = path};
    return kvt_fs_run(fs, &elem);
}

int64_t path_fetch(struct kvt_fs *fs, const char *path, uint64_t offset,
                   void *bytes, size_t size)
{
    struct kvt_slice slice = {bytes, size, NULL};
    struct kvt_fs_elem elem = {.op = KVT_FS_FETCH,
                               .path = path,
                               .offset = offset,
                               .slices = &slice,
                               .slice_count = 1};
    return kvt_fs_run(fs, &elem);
}

int64_t path_publish(struct kvt_fs *fs, const char *path, const void *bytes,
                     size_t size, uint32_t flags)
{
    char temp_path[4200];
    snprintf(temp_path, sizeof temp_path, "%s.temp", path);
    struct kvt_slice slice = {(void *)(uintptr_t)bytes, size, NULL};
    struct kvt_fs_elem elem = {.op = KVT_FS_PUBLISH,
                               .path = path,
                               .temp_path = temp_path,
                               .flags = flags,
                               .slices = &slice,
                               .slice_count = 1};
    return kvt_fs_run(fs, &elem);
}

/* Patterns ---------------------------------------------------------------- */

void *must_alloc(size_t size)
{
    void *bytes = malloc(size > 0 ? size : 1);
    EXPECT_TRUE("memory for the test", bytes != NULL);
    return bytes;
}

size_t block_size(const struct kvt_fs *fs, size_t size)
{
    const struct kvt_fs_facts *facts = kvt_fs_facts(fs);
    size_t unit = facts->length_alignment > facts->offset_alignment
                      ? facts->length_alignment
                      : facts->offset_alignment;
    return (size + unit - 1) / unit * unit;
}

int64_t write_pattern(struct kvt_fs_file *file, uint64_t seed, uint64_t offset,
                      size_t size)
{
    uint64_t start = offset - offset % block_size(file->fs, 1);
    size = block_size(file->fs, size + (size_t)(offset - start));
    void *bytes = must_alloc(size);
    pattern_fill(seed, start, bytes, size);
    int64_t rc = file_write(file, start, bytes, size);
    free(bytes);
    return rc;
}

void must_write_pattern(struct kvt_fs_file *file, uint64_t seed,
                        uint64_t offset, size_t size)
{
    uint64_t start = offset - offset % block_size(file->fs, 1);
    EXPECT("write", block_size(file->fs, size + (size_t)(offset - start)),
           write_pattern(file, seed, offset, size));
}

void must_read_pattern(struct kvt_fs_file *file, uint64_t seed, uint64_t offset,
                       size_t size)
{
    unsigned char *bytes = must_alloc(size + 1);
    memset(bytes, 0xa5, size + 1);
    EXPECT("read", size, file_read(file, offset, bytes, size));
    EXPECT_PATTERN("what was read back", seed, offset, bytes, size);
    EXPECT("the byte behind what was asked for", 0xa5, bytes[size]);
    free(bytes);
}

void must_publish_pattern(struct kvt_fs *fs, const char *path, uint64_t seed,
                          size_t size)
{
    void *bytes = must_alloc(size);
    pattern_fill(seed, 0, bytes, size);
    EXPECT("publish", size, path_publish(fs, path, bytes, size, 0));
    free(bytes);
}

void must_hold_pattern(struct kvt_fs *fs, const char *path, uint64_t seed,
                       size_t size)
{
    uint64_t file_size;
    unsigned char *bytes = must_alloc(size + 1);
    EXPECT("stat", 0, path_stat(fs, path, &file_size));
    EXPECT("size of the file", size, file_size);
    EXPECT("fetch of the whole file and one byte more", size,
           path_fetch(fs, path, 0, bytes, size + 1));
    EXPECT_PATTERN("bytes of the file", seed, 0, bytes, size);
    free(bytes);
}

void must_be_missing(struct kvt_fs *fs, const char *path)
{
    uint64_t size;
    EXPECT("stat of what should be missing", -ENOENT,
           path_stat(fs, path, &size));
}

void must_mkdirs(struct kvt_fs *fs, const char *path)
{
    EXPECT("mkdirs", 0, kvt_fs_mkdirs(fs, path));
}

static int count_name(const struct kvt_fs_dirent *entry, void *arg)
{
    (void)entry;
    ++*(size_t *)arg;
    return 0;
}

size_t must_count_names(struct kvt_fs *fs, const char *path)
{
    size_t count = 0;
    EXPECT("list", 0, kvt_fs_list(fs, path, false, count_name, &count));
    return count;
}

size_t count_temps(struct kvt_fs *fs, const char *path)
{
    size_t count = 0;
    int rc = kvt_fs_list(fs, path, false, count_name, &count);
    EXPECT_ANY("list", 0, -ENOENT, rc);
    return count;
}

/* Queues ------------------------------------------------------------------ */

struct kvt_fs_queue *must_open_queue(struct kvt_fs *fs, uint32_t depth,
                                     bool poll_works)
{
    struct kvt_fs_queue *queue = NULL;
    struct kvt_fs_queue_options options = {sizeof options, depth, poll_works};
    EXPECT("queue_open", 0, kvt_fs_queue_open(fs, &options, &queue));
    return queue;
}

void must_close_queue(struct kvt_fs_queue *queue)
{
    while (kvt_fs_lingering(queue) > 0) {
        kvt_fs_poll(queue, 1, now_ns() + 10000000);
    }
    EXPECT("queue_close", 0, kvt_fs_queue_close(queue));
}

static void count_done(struct kvt_fs_elem *elem)
{
    ++*(size_t *)elem->arg;
}

void run_batch(struct kvt_fs_queue *queue, struct kvt_fs_elem *elems,
               size_t count)
{
    size_t *done = calloc(count + 1, sizeof *done);
    EXPECT_TRUE("memory for the test", done != NULL);
    for (size_t i = 0; i < count; i++) {
        elems[i].done = count_done;
        elems[i].arg = &done[i];
    }
    kvt_fs_submit(queue, elems, count);
    while (kvt_fs_in_flight(queue) > 0) {
        kvt_fs_poll(queue, kvt_fs_in_flight(queue), 0);
    }
    for (size_t i = 0; i < count; i++) {
        EXPECT("calls of `done` for one element", 1, done[i]);
    }
    free(done);
}
