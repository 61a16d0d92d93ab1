/* A store on a device that is really full: a small tmpfs, one with few
 * inodes, and a small ext4 on a loop device. The mounts are in a namespace of
 * their own: they go with this process, whatever happens to it. */
#define _XOPEN_SOURCE 700
#include "support/bucket_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MIB = 1 << 20,
    SIZE = 100000,
};

/* `mount` and `make` get the mount point and the place for an image. */
struct device {
    const char *name;
    const char *commands; /* %1$s: the directory beside it, %2$s: where */
};

static const struct device devices[] = {
    {"tmpfs", "mount -t tmpfs -o size=16m none '%2$s'"},
    {"tmpfs with few inodes",
     "mount -t tmpfs -o size=16m,nr_inodes=400 none '%2$s'"},
    {"ext4", "truncate -s 20M '%1$s/image' && "
             "mkfs.ext4 -q -F -m 0 '%1$s/image' && "
             "mount -o loop '%1$s/image' '%2$s'"},
};

static const struct device *device;

static const struct store_row log_row = {"bucket", "posix", false, true, NULL};

static bool run(const char *format, const char *beside, const char *where)
{
    char command[2 * FILE_PATH_MAX];
    snprintf(command, sizeof command, format, beside, where);
    return system(command) == 0;
}

/* The fixture's path becomes the root of the device. */
static int mount_device(void **state)
{
    if (store_setup(state) != 0) {
        return -1;
    }
    struct store_fixture *fixture = *state;
    char beside[sizeof fixture->path];
    snprintf(beside, sizeof beside, "%s", fixture->path);
    *strrchr(beside, '/') = '\0';
    make_directory(fixture->path);
    if (!run(device->commands, beside, fixture->path)) {
        fprintf(stderr, "cannot mount %s\n", device->name);
        return -1;
    }
    store_set(fixture, "total_size_limit", "1GiB"); /* the device is less */
    if (store_is_log(fixture)) {
        store_set(fixture, "bucket.size_limit", "1MiB");
    }
    char path[FILE_PATH_MAX]; /* later there may be no room for its name */
    store_path(fixture, "foreign", path);
    file_write(path, "", 0);
    return 0;
}

static int unmount_device(void **state)
{
    struct store_fixture *fixture = *state;
    store_stop(fixture);
    bool done = run("umount '%2$s'", "", fixture->path);
    return store_teardown(state) != 0 || !done ? -1 : 0;
}

/* Fills what is left with a foreign file; 0 bytes asked for: all of it. */
static void fill_device(const struct store_fixture *fixture, uint64_t bytes)
{
    static char block[65536];
    char path[FILE_PATH_MAX];
    store_path(fixture, "foreign", path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    uint64_t written = 0;
    for (size_t step = sizeof block; step > 0; step /= 16) {
        ssize_t done = 0;
        while ((bytes == 0 || written < bytes) &&
               (done = write(fd, block, step)) > 0) {
            written += (uint64_t)done;
        }
    }
    fsync(fd);
    close(fd);
}

static void free_device(const struct store_fixture *fixture)
{
    char path[FILE_PATH_MAX];
    store_path(fixture, "foreign", path);
    assert_int_equal(unlink(path), 0);
}

/* What a full device is called: one that hosts share has a quota. */
static int full_code(const struct store_fixture *fixture)
{
    return fixture->row->owned ? KVT_ERR_UNABLE_OFFLOAD
                               : KVT_ERR_DFS_QUOTA_EXCEEDED;
}

/* How many of f0.. were stored before one was refused; they load right, and
 * the refused one is not there. */
static uint64_t fill_store(struct store_fixture *fixture, size_t size)
{
    uint64_t count = 0;
    char *bytes = malloc(size);
    struct kvt_slice slice = {bytes, size, NULL};
    for (;; count++) {
        struct named_key named;
        name_key(&named, "f", count);
        value_fill(bytes, size, count);
        struct kvt_object object = {
            .key = named.key, .slices = &slice, .slice_count = 1};
        kvt_batch_offload(fixture->store, &object, 1, NULL);
        if (object.status != KVT_OK) {
            assert_string_equal(kvt_status_name(object.status),
                                kvt_status_name(full_code(fixture)));
            assert_string_equal(kvt_errno_name(object.errnum), "ENOSPC");
            break;
        }
        assert_true(count < 20000);
    }
    free(bytes);
    return count;
}

static void expect_all(struct store_fixture *fixture, uint64_t count,
                       size_t size)
{
    char path[FILE_PATH_MAX];
    for (uint64_t i = 0; i < count; i++) {
        assert_int_equal(get_named(fixture->store, "f", i, i, size), KVT_OK);
    }
    assert_false(has_named(fixture->store, "f", count));
    store_path(fixture, ".kvtier/tmp", path);
    assert_int_equal(files_in(path), 0);
    assert_int_equal(stats_of(fixture->store).objects, count);
}

static void fill_beyond_the_device(struct store_fixture *fixture, size_t size)
{
    store_set(fixture, "eviction", "none");
    store_start(fixture);
    uint64_t count = fill_store(fixture, size);
    assert_true(count > 10);
    for (int restarts = 0; restarts < 2; restarts++) {
        expect_all(fixture, count, size);
        /* it goes on refusing, and nothing gets worse */
        for (int i = 0; i < 5; i++) {
            assert_int_equal(put_named(fixture->store, "f", count, count, size),
                             full_code(fixture));
        }
        store_restart(fixture);
    }
    assert_int_equal(kvt_remove_all(fixture->store, NULL), KVT_OK);
    assert_int_equal(stats_of(fixture->store).allocated_bytes, 0);
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(put_named(fixture->store, "g", i, i, SIZE), KVT_OK);
        assert_int_equal(get_named(fixture->store, "g", i, i, SIZE), KVT_OK);
    }
}

static void a_full_device_refuses_large_objects_and_recovers(void **state)
{
    fill_beyond_the_device(*state, SIZE);
}

static void a_full_device_refuses_small_objects_and_recovers(void **state)
{
    fill_beyond_the_device(*state, 5000);
}

static void removing_objects_makes_room_for_another(void **state)
{
    enum {
        LARGER = SIZE * 5 / 2
    };
    struct store_fixture *fixture = *state;
    store_set(fixture, "eviction", "none");
    fill_device(fixture, 65536);
    store_start(fixture);
    uint64_t count = fill_store(fixture, SIZE);
    if (store_is_log(fixture)) { /* a removal is written, too */
        free_device(fixture);
    }
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(remove_named(fixture->store, "f", i), KVT_OK);
    }
    /* the same directories are there for it */
    assert_int_equal(put_named(fixture->store, "f", 0, 77, LARGER), KVT_OK);
    assert_int_equal(get_named(fixture->store, "f", 0, 77, LARGER), KVT_OK);
    for (uint64_t i = 3; i < count; i++) {
        assert_int_equal(get_named(fixture->store, "f", i, i, SIZE), KVT_OK);
    }
}

/* What was replaced stays when its successor finds no room. */
static void a_replacement_without_room_leaves_the_old_value(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "eviction", "none");
    store_start(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 1, 5000), KVT_OK);
    fill_device(fixture, 0);
    for (int restarts = 0; restarts < 2; restarts++) {
        assert_int_equal(put_value(fixture->store, key_of("k"), 2, SIZE),
                         full_code(fixture));
        assert_int_equal(get_value(fixture->store, key_of("k"), 1, 5000), 0);
        store_restart(fixture);
    }
    free_device(fixture);
    assert_int_equal(put_value(fixture->store, key_of("k"), 2, SIZE), KVT_OK);
    assert_int_equal(get_value(fixture->store, key_of("k"), 2, SIZE), KVT_OK);
}

/* Somebody else takes half of the device: never wrong, and never the end. */
static void an_evicting_store_shares_the_device(void **state)
{
    struct store_fixture *fixture = *state;
    uint64_t done = 0;
    store_set(fixture, "eviction", "lru");
    store_start(fixture);
    for (uint64_t i = 0; i < 400; i++) {
        if (i == 100) {
            fill_device(fixture, 7 * MIB);
        } else if (i == 200) {
            fill_device(fixture, 0);
        } else if (i == 300) {
            free_device(fixture);
        }
        int rc = put_named(fixture->store, "f", i, i, SIZE);
        assert_true(rc == KVT_OK || rc == KVT_ERR_UNABLE_OFFLOAD);
        done += rc == KVT_OK;
        for (uint64_t k = i < 20 ? 0 : i - 20; k <= i; k++) {
            int got = get_named(fixture->store, "f", k, k, SIZE);
            assert_true(got == KVT_OK || got == KVT_ERR_OBJECT_NOT_FOUND);
            assert_true(got == KVT_OK || k < i || rc != KVT_OK);
        }
        assert_true(i <= 300 || rc == KVT_OK);
    }
    assert_true(done >= 300);
    struct kvt_stats stats = stats_of(fixture->store);
    assert_true(stats.evicted_objects > 0);
    assert_int_equal(stats.checksum_misses, 0);
    uint64_t objects = stats.objects;
    store_restart(fixture);
    assert_int_equal(stats_of(fixture->store).objects, objects);
    for (uint64_t i = 390; i < 400; i++) {
        assert_int_equal(get_named(fixture->store, "f", i, i, SIZE), KVT_OK);
    }
}

/* What the bucket used least recently killed has to be written again before it
 * goes, on a device without a block left. */
static void a_victim_whose_kills_find_no_room_is_passed_over(void **state)
{
    enum {
        LARGE = MIB / 2,
    };
    struct store_fixture *fixture = *state;
    store_set(fixture, "eviction", "lru");
    store_set(fixture, "bucket.seal_after_ms", "3600000");
    store_start(fixture);
    for (uint64_t i = 0; i < 6; i++) {
        if (i < 2) { /* the second one kills that of the first */
            assert_int_equal(put_value(fixture->store, key_of("k"), i, 4096),
                             KVT_OK);
        }
        assert_int_equal(put_named(fixture->store, "f", i, i, LARGE), KVT_OK);
        bucket_settle(fixture->store);
    }
    while (kvt_bkt_reclaim_one(bkt_of(fixture->store)) == 0) {
    }
    assert_int_equal(put_named(fixture->store, "g", 0, 0, 4096), KVT_OK);
    for (uint64_t i = 0; i < 6; i++) {
        if (i != 1) {
            assert_int_equal(get_named(fixture->store, "f", i, i, LARGE),
                             KVT_OK);
        }
    }
    fill_device(fixture, 0);
    for (uint64_t i = 1; i < 6; i++) {
        assert_int_equal(put_named(fixture->store, "g", i, i, SIZE), KVT_OK);
        assert_int_equal(get_named(fixture->store, "g", i, i, SIZE), KVT_OK);
    }
    assert_true(stats_of(fixture->store).evicted_objects > 0);
    store_restart(fixture);
    int rc = get_value(fixture->store, key_of("k"), 1, 4096); /* not value 0 */
    assert_true(rc == KVT_OK || rc == KVT_ERR_OBJECT_NOT_FOUND);
}

static void batches_on_a_full_device_give_each_object_its_result(void **state)
{
    struct store_fixture *fixture = *state;
    enum {
        COUNT = 64
    };
    struct named_key names[COUNT];
    struct kvt_slice slices[COUNT];
    struct kvt_object objects[COUNT];
    char *bytes = malloc((size_t)COUNT * SIZE);
    assert_non_null(bytes);
    store_set(fixture, "eviction", "none");
    store_start(fixture);
    for (int round = 0; round < 6; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            name_key(&names[i], "b", (uint64_t)round * COUNT + i);
            slices[i] = (struct kvt_slice){bytes + i * SIZE, SIZE, NULL};
            value_fill(slices[i].base, SIZE, (uint64_t)round * COUNT + i);
            objects[i] = (struct kvt_object){
                .key = names[i].key, .slices = &slices[i], .slice_count = 1};
        }
        int done = kvt_batch_offload(fixture->store, objects, COUNT, NULL);
        int good = 0;
        for (size_t i = 0; i < COUNT; i++) {
            int status = objects[i].status;
            uint64_t number = (uint64_t)round * COUNT + i;
            assert_true(status == KVT_OK || status == full_code(fixture));
            good += status == KVT_OK;
            assert_int_equal(
                get_named(fixture->store, "b", number, number, SIZE),
                status == KVT_OK ? KVT_OK : KVT_ERR_OBJECT_NOT_FOUND);
        }
        assert_int_equal(done, good);
    }
    free(bytes);
}

static void a_store_is_made_on_a_full_device_later_or_not_at_all(void **state)
{
    struct store_fixture *fixture = *state;
    struct kvt_error err = {0};
    char path[FILE_PATH_MAX];
    fill_device(fixture, 0);
    int rc = kvt_store_open(fixture->config, NULL, &fixture->store, &err);
    if (rc != KVT_OK) {
        assert_int_equal(err.errnum, ENOSPC);
        assert_null(fixture->store);
    } else {
        assert_int_equal(put_named(fixture->store, "k", 0, 0, SIZE),
                         full_code(fixture));
        store_stop(fixture);
    }
    free_device(fixture);
    store_start(fixture);
    assert_int_equal(put_named(fixture->store, "k", 0, 0, SIZE), KVT_OK);
    store_restart(fixture);
    assert_int_equal(get_named(fixture->store, "k", 0, 0, SIZE), KVT_OK);
    store_path(fixture, "foreign", path);
    assert_false(file_exists(path));
}

static int skip_all(const char *reason)
{
    printf("SKIP: %s\n", reason);
    return getenv("CI") != NULL ? 1 : 77;
}

#define device_test(f)                                                         \
    cmocka_unit_test_setup_teardown(f, mount_device, unmount_device)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        device_test(a_full_device_refuses_large_objects_and_recovers),
        device_test(a_full_device_refuses_small_objects_and_recovers),
        device_test(removing_objects_makes_room_for_another),
        device_test(a_replacement_without_room_leaves_the_old_value),
        device_test(batches_on_a_full_device_give_each_object_its_result),
        device_test(a_store_is_made_on_a_full_device_later_or_not_at_all),
    };
    /* without an owner, a full device is its own affair */
    const struct CMUnitTest owned[] = {
        device_test(an_evicting_store_shares_the_device),
    };
    const struct CMUnitTest logs[] = {
        device_test(an_evicting_store_shares_the_device),
        device_test(a_victim_whose_kills_find_no_room_is_passed_over),
    };
    if (argc == 1) {
        if (geteuid() != 0) {
            return skip_all("tmpfs and ext4 on a loop device need root");
        }
        if (system("unshare -m true 2>/dev/null") != 0) {
            return skip_all("no mount namespace for tmpfs and ext4");
        }
        execlp("unshare", "unshare", "-m", "--propagation", "private", argv[0],
               "inside", (char *)NULL);
        return skip_all("no unshare(1) for tmpfs and ext4");
    }
    bool failed = false;
    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++) {
        device = &devices[i];
        failed |= store_file_rows_run(device->name, tests,
                                      sizeof tests / sizeof tests[0]) != 0;
        failed |= store_owned_file_rows_run(device->name, owned, 1) != 0;
        failed |= store_row_run(&log_row, device->name, tests,
                                sizeof tests / sizeof tests[0]) != 0;
        failed |= store_row_run(&log_row, device->name, logs,
                                sizeof logs / sizeof logs[0]) != 0;
    }
    return failed;
}
