/* Fetch and publish as the core makes them of an adapter's open, read, write,
 * sync, rename and close; see support/script_fs.h. */
#include "support/script_fs.h"
#include "support/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char text[] = "hello, world";
#define TEXT_SIZE (sizeof text - 1)

static const struct kvt_slice pieces[] = {
    {(void *)(uintptr_t)text, 5, NULL},
    {NULL, 0, NULL},
    {(void *)(uintptr_t)(text + 5), TEXT_SIZE - 5, NULL},
};

struct what {
    const char *name; /* for messages */
    uint32_t flags;
    bool parents_missing;
    const char *old; /* what lies at the path before, or null */
};

static int64_t publish(struct script_fs *script, uint32_t flags)
{
    struct kvt_fs_elem elem = {.op = KVT_FS_PUBLISH,
                               .flags = flags,
                               .path = "00/key",
                               .temp_path = "tmp/1",
                               .slices = pieces,
                               .slice_count = COUNT_OF(pieces)};

    return kvt_fs_perform(&script->fs, &elem);
}

static void prepare(struct script_fs *script, const struct what *what)
{
    script_fs_init(script);
    if (!what->parents_missing) {
        script->fs.ops->mkdirs(&script->fs, "tmp");
        script->fs.ops->mkdirs(&script->fs, "00");
    }
    if (what->old != NULL) {
        script_fs_put(script, "00/key", what->old);
    }
    script->calls = 0;
    script->log[0] = '\0';
}

static void expect_file(struct script_fs *script, const char *path,
                        const char *expected)
{
    struct script_inode *inode = script_fs_find(script, path);

    assert_non_null(inode);
    assert_int_equal(inode->size, strlen(expected));
    assert_memory_equal(inode->bytes, expected, inode->size);
}

/* Publish: when all goes well --------------------------------------------- */

static void publish_writes_beside_and_renames(void **state)
{
    static const struct what what = {.name = "plain"};
    struct script_fs script;

    (void)state;
    prepare(&script, &what);
    assert_int_equal(publish(&script, 0), TEXT_SIZE);
    assert_string_equal(script.log,
                        "open tmp/1; write; close; rename 00/key; ");
    expect_file(&script, "00/key", text);
    assert_null(script_fs_find(&script, "tmp/1"));
    assert_int_equal(script.handles, 0);
}

/* Data before the name, then the directories up to the root. */
static void durable_syncs_in_the_right_order(void **state)
{
    static const struct what what = {.name = "durable"};
    struct script_fs script;

    (void)state;
    prepare(&script, &what);
    assert_int_equal(publish(&script, KVT_FS_DURABLE), TEXT_SIZE);
    assert_string_equal(script.log,
                        "open tmp/1; write; datasync; close; rename 00/key; "
                        "sync 00; sync .; ");
    assert_int_equal(script_fs_find(&script, "00/key")->synced_size, TEXT_SIZE);
}

static void missing_directories_are_made(void **state)
{
    static const struct what what = {.parents_missing = true};
    struct script_fs script;

    (void)state;
    prepare(&script, &what);
    assert_int_equal(publish(&script, 0), TEXT_SIZE);
    assert_string_equal(script.log,
                        "open tmp/1; mkdirs tmp; open tmp/1; write; close; "
                        "rename 00/key; mkdirs 00; rename 00/key; ");
    expect_file(&script, "00/key", text);
    assert_true(script_fs_has_dir(&script, "00"));
}

static void publish_replaces_what_is_there(void **state)
{
    static const struct what what = {.old = "old"};
    struct script_fs script;

    (void)state;
    prepare(&script, &what);
    assert_int_equal(publish(&script, 0), TEXT_SIZE);
    expect_file(&script, "00/key", text);
}

static void if_absent_leaves_what_is_there(void **state)
{
    static const struct what what = {.old = "old"};
    struct script_fs script;

    (void)state;
    prepare(&script, &what);
    assert_int_equal(publish(&script, KVT_FS_IF_ABSENT), -EEXIST);
    expect_file(&script, "00/key", "old");
    assert_null(script_fs_find(&script, "tmp/1"));
    assert_int_equal(script.handles, 0);
    script_fs_find(&script, "00/key")->path[0] = '\0';
    assert_int_equal(publish(&script, KVT_FS_IF_ABSENT), TEXT_SIZE);
    expect_file(&script, "00/key", text);
}

static void nothing_can_be_published(void **state)
{
    static const struct what what = {.name = "empty"};
    struct script_fs script;
    struct kvt_fs_elem elem = {
        .op = KVT_FS_PUBLISH, .path = "key", .temp_path = "tmp/1"};

    (void)state;
    prepare(&script, &what);
    assert_int_equal(kvt_fs_perform(&script.fs, &elem), 0);
    expect_file(&script, "key", "");
}

/* Publish: every call fails once ------------------------------------------ */

static const struct what cases[] = {
    {"plain", 0, false, NULL},
    {"durable", KVT_FS_DURABLE, false, NULL},
    {"if absent", KVT_FS_IF_ABSENT, false, NULL},
    {"durable, if absent", KVT_FS_DURABLE | KVT_FS_IF_ABSENT, false, NULL},
    {"no parents", 0, true, NULL},
    {"no parents, durable, if absent", KVT_FS_DURABLE | KVT_FS_IF_ABSENT, true,
     NULL},
    {"replacing", 0, false, "old"},
    {"replacing, durable", KVT_FS_DURABLE, false, "old"},
};

/* After a failed publish: no handle and no temporary file is left, and at the
 * path is what was there, or nothing; never the new bytes. */
static void expect_clean(struct script_fs *script, const struct what *what,
                         bool renamed)
{
    struct script_inode *inode = script_fs_find(script, "00/key");

    assert_int_equal(script->handles, 0);
    assert_null(script_fs_find(script, "tmp/1"));
    if (what->old != NULL && !renamed) {
        expect_file(script, "00/key", what->old);
    } else if (inode != NULL) {
        fail_msg("%s: published all the same; calls: %s", what->name,
                 script->log);
    }
}

static void fail_each_call(const struct what *what)
{
    struct script_fs script;

    prepare(&script, what);
    assert_true(publish(&script, what->flags) >= 0);
    size_t calls = script.calls;
    assert_true(calls >= 4);
    for (size_t n = 1; n <= calls; n++) {
        prepare(&script, what);
        script.fail_at = n;
        script.fail_rc = -EUCLEAN; /* nobody makes this one up */
        int64_t rc = publish(&script, what->flags);
        if (rc != -EUCLEAN) {
            fail_msg("%s: call %zu failed, publish says %d; calls: %s",
                     what->name, n, (int)rc, script.log);
        }
        expect_clean(&script, what, strstr(script.log, "; sync ") != NULL);
    }
}

static void a_failed_call_is_told_and_leaves_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        fail_each_call(&cases[i]);
    }
}

/* A full disk or a lost connection is not "no such file". */
static void a_failed_mkdirs_is_told_as_it_is(void **state)
{
    static const struct what what = {.parents_missing = true};
    struct script_fs script;

    (void)state;
    prepare(&script, &what);
    script.fail_at = 2; /* of the temporary file */
    script.fail_rc = -ENOSPC;
    assert_int_equal(publish(&script, 0), -ENOSPC);
    expect_clean(&script, &what, false);
    prepare(&script, &what);
    script.fail_at = 7; /* of the object */
    script.fail_rc = -EDQUOT;
    assert_int_equal(publish(&script, 0), -EDQUOT);
    expect_clean(&script, &what, false);
}

static void a_short_write_is_eio(void **state)
{
    static const struct what what = {.name = "short"};
    struct script_fs script;

    (void)state;
    prepare(&script, &what);
    script.short_by = 1;
    assert_int_equal(publish(&script, KVT_FS_DURABLE), -EIO);
    expect_clean(&script, &what, false);
    assert_null(strstr(script.log, "datasync"));
}

/* What another attempt left there belongs to somebody else. */
static void a_temporary_file_that_exists_is_left_alone(void **state)
{
    static const struct what what = {.name = "left"};
    struct script_fs script;

    (void)state;
    prepare(&script, &what);
    script_fs_put(&script, "tmp/1", "other");
    assert_int_equal(publish(&script, 0), -EEXIST);
    expect_file(&script, "tmp/1", "other");
    assert_null(script_fs_find(&script, "00/key"));
    assert_int_equal(script.handles, 0);
}

/* Fetch -------------------------------------------------------------------- */

struct fetched {
    struct script_fs script;
    unsigned char bytes[100];
    struct kvt_slice slices[2];
    struct kvt_fs_elem elem;
};

/* A fetch of `size` bytes, in two slices, from a file of `text`. */
static void prepare_fetch(struct fetched *f, uint32_t flags, uint64_t offset,
                          size_t size)
{
    script_fs_init(&f->script);
    script_fs_put(&f->script, "00/key", text);
    memset(f->bytes, '#', sizeof f->bytes);
    f->slices[0] = (struct kvt_slice){f->bytes, size / 2, NULL};
    f->slices[1] =
        (struct kvt_slice){f->bytes + size / 2, size - size / 2, NULL};
    f->elem = (struct kvt_fs_elem){.op = KVT_FS_FETCH,
                                   .flags = flags,
                                   .path = "00/key",
                                   .offset = offset,
                                   .slices = f->slices,
                                   .slice_count = 2,
                                   .file_size = 777};
}

static void expect_fetched(struct fetched *f, const char *expected)
{
    assert_int_equal(kvt_fs_perform(&f->script.fs, &f->elem), strlen(expected));
    assert_memory_equal(f->bytes, expected, strlen(expected));
    assert_int_equal(f->bytes[strlen(expected)], '#');
    assert_int_equal(f->script.handles, 0);
}

static void fetch_reads_from_its_offset(void **state)
{
    struct fetched f;

    (void)state;
    prepare_fetch(&f, 0, 0, TEXT_SIZE);
    expect_fetched(&f, text);
    assert_string_equal(f.script.log, "open 00/key; read; close; ");
    prepare_fetch(&f, 0, 7, 5);
    expect_fetched(&f, "world");
}

static void fetch_of_a_short_file_tells_how_much_there_is(void **state)
{
    struct fetched f;

    (void)state;
    prepare_fetch(&f, 0, 0, 50);
    expect_fetched(&f, text);
    prepare_fetch(&f, 0, 7, 50);
    expect_fetched(&f, "world");
    prepare_fetch(&f, 0, TEXT_SIZE, 50);
    expect_fetched(&f, "");
    prepare_fetch(&f, 0, 200, 50);
    expect_fetched(&f, "");
}

static void from_end_counts_from_the_end(void **state)
{
    struct fetched f;

    (void)state;
    prepare_fetch(&f, KVT_FS_FROM_END, 5, 5);
    expect_fetched(&f, "world");
    prepare_fetch(&f, KVT_FS_FROM_END, 5, 3);
    expect_fetched(&f, "wor");
    prepare_fetch(&f, KVT_FS_FROM_END, TEXT_SIZE, TEXT_SIZE);
    expect_fetched(&f, text);
    /* a file shorter than that is read from its start */
    prepare_fetch(&f, KVT_FS_FROM_END, 64, 64);
    expect_fetched(&f, text);
    prepare_fetch(&f, KVT_FS_FROM_END, 0, 10);
    expect_fetched(&f, "");
}

static void want_size_fills_the_size(void **state)
{
    struct fetched f;

    (void)state;
    prepare_fetch(&f, KVT_FS_WANT_SIZE, 0, 3);
    expect_fetched(&f, "hel");
    assert_int_equal(f.elem.file_size, TEXT_SIZE);
    prepare_fetch(&f, KVT_FS_WANT_SIZE | KVT_FS_FROM_END, 2, 2);
    expect_fetched(&f, "ld");
    assert_int_equal(f.elem.file_size, TEXT_SIZE);
}

static void a_missing_file_is_enoent(void **state)
{
    struct fetched f;

    (void)state;
    prepare_fetch(&f, KVT_FS_WANT_SIZE, 0, 3);
    f.elem.path = "00/other";
    assert_int_equal(kvt_fs_perform(&f.script.fs, &f.elem), -ENOENT);
    assert_int_equal(f.script.handles, 0);
}

/* Nothing was written: what close says of a read does not matter. */
static void a_failed_fetch_is_told_and_leaves_no_handle(void **state)
{
    struct fetched f;

    (void)state;
    for (size_t n = 1; n <= 3; n++) {
        prepare_fetch(&f, KVT_FS_FROM_END, 5, 5);
        f.script.fail_at = n;
        f.script.fail_rc = -EUCLEAN;
        assert_int_equal(kvt_fs_perform(&f.script.fs, &f.elem),
                         n < 3 ? -EUCLEAN : 5);
        assert_int_equal(f.script.handles, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(publish_writes_beside_and_renames),
        cmocka_unit_test(durable_syncs_in_the_right_order),
        cmocka_unit_test(missing_directories_are_made),
        cmocka_unit_test(publish_replaces_what_is_there),
        cmocka_unit_test(if_absent_leaves_what_is_there),
        cmocka_unit_test(nothing_can_be_published),
        cmocka_unit_test(a_failed_call_is_told_and_leaves_nothing),
        cmocka_unit_test(a_failed_mkdirs_is_told_as_it_is),
        cmocka_unit_test(a_short_write_is_eio),
        cmocka_unit_test(a_temporary_file_that_exists_is_left_alone),
        cmocka_unit_test(fetch_reads_from_its_offset),
        cmocka_unit_test(fetch_of_a_short_file_tells_how_much_there_is),
        cmocka_unit_test(from_end_counts_from_the_end),
        cmocka_unit_test(want_size_fills_the_size),
        cmocka_unit_test(a_missing_file_is_enoent),
        cmocka_unit_test(a_failed_fetch_is_told_and_leaves_no_handle),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
