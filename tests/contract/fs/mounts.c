/* Two mounts of one root, as two hosts have it; processes that die; what a
 * mount leaves behind. */
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITE_NEW (KVT_FS_FOR_WRITE | KVT_FS_CREATE)

/* Facts may say that a mount lies for a while. This is the end of that while,
 * for something that happened just now: 0 when it may not lie at all. */
static int64_t stale_until(uint32_t stale_ms)
{
    return stale_ms == 0 ? 0 : now_ns() + (int64_t)(stale_ms + 20) * 1000000;
}

/* True: look again, the mount may still lie. */
static bool may_lie(int64_t until_ns)
{
    if (now_ns() >= until_ns) {
        return false;
    }
    sleep_ms(5);
    return true;
}

/* The other mount sees `wanted` in time: 0 or -ENOENT. */
static void expect_seen(struct kvt_fs *other, const char *path, int64_t wanted,
                        int64_t until_ns)
{
    uint64_t size;
    int64_t rc;
    do {
        rc = path_stat(other, path, &size);
    } while (rc != wanted && may_lie(until_ns));
    if (rc != wanted && until_ns != 0) { /* now it may not */
        rc = path_stat(other, path, &size);
    }
    EXPECT("stat by a second mount, in time", wanted, rc);
}

static void expect_size_seen(struct kvt_fs *other, const char *path,
                             uint64_t wanted, int64_t until_ns)
{
    uint64_t size;
    do {
        EXPECT("stat by a second mount", 0, path_stat(other, path, &size));
    } while (size != wanted && may_lie(until_ns));
    if (size != wanted && until_ns != 0) { /* now it may not */
        EXPECT("stat by a second mount", 0, path_stat(other, path, &size));
    }
    EXPECT("size seen by a second mount, in time", wanted, size);
}

static void a_second_mount_sees_names_in_time(struct contract *c)
{
    struct kvt_fs *other = mount_again(c);
    uint32_t stale_ms = c->facts->names_stale_ms;
    for (unsigned round = 0; round < 3; round++) {
        must_be_missing(other, "file"); /* it may remember that */
        must_publish_pattern(c->fs, "file", 1, 100);
        expect_seen(other, "file", 0, stale_until(stale_ms));
        must_hold_pattern(other, "file", 1, 100);
        if (c->facts->atomic_rename) {
            EXPECT("rename", 0, kvt_fs_rename(c->fs, "file", "moved", true));
            int64_t until_ns = stale_until(stale_ms);
            expect_seen(other, "moved", 0, until_ns);
            expect_seen(other, "file", -ENOENT, until_ns);
            EXPECT("rename back", 0,
                   kvt_fs_rename(c->fs, "moved", "file", true));
        }
        EXPECT("remove", 0, path_remove(c->fs, "file"));
        int64_t until_ns = stale_until(stale_ms);
        expect_seen(other, "file", -ENOENT, until_ns);
        expect_seen(other, "moved", -ENOENT, until_ns);
    }
    kvt_fs_unmount(other);
}

/* Fetches by the other mount: the version before, or this one, whole. Returns
 * whether it was this one. A file that is gone may be an error. */
static bool sees_version(struct contract *c, struct kvt_fs *other,
                         size_t version)
{
    unsigned char bytes[9000];
    int64_t rc = path_fetch(other, "file", 0, bytes, sizeof bytes);
    if (rc < 0 && !c->facts->removed_stays_readable) {
        return false;
    }
    EXPECT("fetch by a second mount", sizeof bytes, rc);
    size_t same = pattern_differs(version, 0, bytes, sizeof bytes);
    EXPECT_PATTERN("one version's bytes",
                   same == sizeof bytes ? version : version - 1, 0, bytes,
                   sizeof bytes);
    return same == sizeof bytes;
}

static void a_second_mount_sees_what_replaced_a_file(struct contract *c)
{
    struct kvt_fs *other = mount_again(c);
    must_publish_pattern(c->fs, "file", 1, 9000);
    expect_seen(other, "file", 0, stale_until(c->facts->names_stale_ms));
    for (size_t version = 2; version < 6; version++) {
        sees_version(c, other, version); /* it may remember the old one */
        must_publish_pattern(c->fs, "file", version, 9000);
        int64_t until_ns = stale_until(c->facts->names_stale_ms);
        while (!sees_version(c, other, version) && may_lie(until_ns)) {
        }
        must_hold_pattern(other, "file", version, 9000);
    }
    kvt_fs_unmount(other);
}

/* When others see written bytes: at once, after a sync, after a close. */
static void a_second_mount_sees_bytes_as_the_fact_says(struct contract *c)
{
    struct kvt_fs *other = mount_again(c);
    uint32_t stale_ms = c->facts->attributes_stale_ms;
    size_t part = block_size(c->fs, 5000);
    uint64_t end = 0;
    struct kvt_fs_file *file = must_open(c->fs, "file", WRITE_NEW);
    must_close(file);
    expect_seen(other, "file", 0, stale_until(c->facts->names_stale_ms));
    for (unsigned round = 0; round < 3; round++) {
        expect_size_seen(other, "file", end, stale_until(stale_ms));
        file = must_open(c->fs, "file", KVT_FS_FOR_WRITE);
        must_write_pattern(file, 2, end, part);
        end += part;
        if (c->facts->visibility == KVT_FS_VISIBLE_AFTER_SYNC) {
            EXPECT("sync", 0, file_sync(file, KVT_FS_SYNC));
        }
        if (c->facts->visibility == KVT_FS_VISIBLE_AFTER_CLOSE) {
            must_close(file);
        }
        expect_size_seen(other, "file", end, stale_until(stale_ms));
        must_hold_pattern(other, "file", 2, (size_t)end);
        if (c->facts->visibility != KVT_FS_VISIBLE_AFTER_CLOSE) {
            must_close(file);
        }
    }
    kvt_fs_unmount(other);
}

/* Every mount shows synced and closed bytes to who opens the file then. */
static void synced_bytes_are_seen_by_a_second_mount(struct contract *c)
{
    struct kvt_fs *other = mount_again(c);
    size_t size = block_size(c->fs, 300000);
    struct kvt_fs_file *file = must_open(c->fs, "file", WRITE_NEW);
    must_write_pattern(file, 3, 0, size);
    EXPECT("sync", 0, file_sync(file, KVT_FS_SYNC));
    must_close(file);
    uint32_t names_ms = c->facts->names_stale_ms;
    uint32_t attributes_ms = c->facts->attributes_stale_ms;
    expect_seen(other, "file", 0, stale_until(names_ms));
    expect_size_seen(other, "file", size, stale_until(attributes_ms));
    must_hold_pattern(other, "file", 3, size);
    if (c->facts->overwrite_in_place) {
        file = must_open(c->fs, "file", KVT_FS_FOR_WRITE);
        must_write_pattern(file, 4, 0, size);
        EXPECT("datasync", 0, file_sync(file, KVT_FS_DATASYNC));
        must_close(file);
        must_hold_pattern(other, "file", 4, size);
    }
    kvt_fs_unmount(other);
    other = mount_again(c);
    must_hold_pattern(other, "file", c->facts->overwrite_in_place ? 4 : 3,
                      size);
    kvt_fs_unmount(other);
}

static void what_is_written_is_there_after_a_new_mount(struct contract *c)
{
    must_publish_pattern(c->fs, "d/file", 5, 70001);
    must_mkdirs(c->fs, "e");
    kvt_fs_unmount(c->fs);
    c->fs = mount_again(c);
    c->facts = kvt_fs_facts(c->fs);
    must_hold_pattern(c->fs, "d/file", 5, 70001);
    EXPECT("names", 2, must_count_names(c->fs, "."));
}

/* Processes --------------------------------------------------------------- */

static void written_bytes_outlive_a_killed_process(struct contract *c)
{
    SKIP_UNLESS(c->facts->bytes_outlive_process,
                "the fact bytes_outlive_process is not");
    SKIP_UNLESS(others_see_files(c),
                "the mount is this process's own: no other sees its files");
    struct helper helper = start_helper(c, "write");
    kill_helper(&helper);
    kvt_fs_unmount(c->fs); /* a new mount has no old names */
    c->fs = mount_again(c);
    c->facts = kvt_fs_facts(c->fs);
    must_hold_pattern(c->fs, "helper", HELPER_SEED,
                      block_size(c->fs, HELPER_BYTES));
}

/* Leaks ------------------------------------------------------------------- */

static void use_much(struct contract *c, struct kvt_fs *fs)
{
    char path[32];
    char owner[64];
    struct kvt_fs_lock *lock;
    struct kvt_mem *mem;
    struct kvt_fs_queue *queue = must_open_queue(fs, 0, false);
    struct kvt_fs_elem elems[40];
    char bytes[40][100];
    struct kvt_slice slices[40];
    for (size_t i = 0; i < 40; i++) {
        snprintf(path, sizeof path, "file-%zu", i);
        must_publish_pattern(fs, path, i, 100);
        slices[i] = (struct kvt_slice){bytes[i], 100, NULL};
        elems[i] = (struct kvt_fs_elem){.op = KVT_FS_FETCH,
                                        .path = i % 2 == 0 ? "file-1" : "none",
                                        .slices = &slices[i],
                                        .slice_count = 1};
    }
    run_batch(queue, elems, 40);
    must_close_queue(queue);
    EXPECT("lock", 0,
           kvt_fs_lock(fs, "lock", "me", owner, sizeof owner, &lock));
    struct kvt_fs *other = mount_again(c);
    struct kvt_fs_lock *second;
    EXPECT("second lock", -EBUSY,
           kvt_fs_lock(other, "lock", "me too", owner, sizeof owner, &second));
    kvt_fs_unmount(other);
    kvt_fs_unlock(lock);
    EXPECT("mem_alloc", 0, kvt_mem_alloc(fs, 100000, &mem));
    kvt_mem_free(mem);
    must_count_names(fs, ".");
    empty_root(fs);
}

/* What a library keeps for the whole process is there after the first. */
static void a_mount_leaves_no_descriptor_and_no_thread(struct contract *c)
{
    enum {
        MOUNTS = 8
    };
    size_t descriptors = 0;
    size_t threads = 0;
    for (unsigned i = 0; i < MOUNTS; i++) {
        struct kvt_fs *fs = mount_again(c);
        use_much(c, fs);
        kvt_fs_unmount(fs);
        if (i == MOUNTS / 2 - 1) {
            descriptors = open_descriptors();
            threads = running_threads();
        }
    }
    /* one a mount would be four by now */
    EXPECT_TRUE("descriptors after four more mounts are not more",
                open_descriptors() < descriptors + MOUNTS / 2);
    for (unsigned i = 0; i < 800 && running_threads() > threads; i++) {
        sleep_ms(10); /* a joined thread may show a little longer, and one of
                         the kernel's (io_uring) for five seconds */
    }
    EXPECT_TRUE("threads after four more mounts are not more",
                running_threads() < threads + MOUNTS / 2);
}

static void failures_leave_no_descriptor(struct contract *c)
{
    enum {
        TIMES = 200
    };
    struct kvt_fs_file *file;
    char byte;
    must_mkdirs(c->fs, "d");
    must_publish_pattern(c->fs, "file", 1, 10);
    size_t before = open_descriptors();
    for (unsigned i = 0; i < TIMES; i++) {
        uint64_t size;
        file_open(c->fs, "missing", 0, &file);
        if (c->facts->exclusive_create) {
            file_open(c->fs, "file", WRITE_NEW | KVT_FS_EXCLUSIVE, &file);
        }
        path_fetch(c->fs, "missing", 0, &byte, 1);
        path_fetch(c->fs, "d", 0, &byte, 1);
        path_publish(c->fs, "d", &byte, 1, 0);
        path_publish(c->fs, "file", &byte, 1, KVT_FS_IF_ABSENT);
        path_publish(c->fs, "file/x", &byte, 1, 0);
        path_stat(c->fs, "d", &size);
    }
    EXPECT_TRUE("descriptors after 200 times eight failures are not more",
                open_descriptors() < before + TIMES / 2);
    EXPECT("names", 2, must_count_names(c->fs, "."));
}

static const struct contract_case cases[] = {
    CASE(a_second_mount_sees_names_in_time),
    CASE(a_second_mount_sees_what_replaced_a_file),
    CASE(a_second_mount_sees_bytes_as_the_fact_says),
    CASE(synced_bytes_are_seen_by_a_second_mount),
    CASE(what_is_written_is_there_after_a_new_mount),
    CASE(written_bytes_outlive_a_killed_process),
    CASE(a_mount_leaves_no_descriptor_and_no_thread),
    CASE(failures_leave_no_descriptor),
};
GROUP(contract_mounts, cases);
