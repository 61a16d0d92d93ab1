/* The mem adapter: its facts, transfers, publish and locks. Names, space and
 * several mounts are in test_mem_names.c, test_mem_space.c and
 * test_mem_hosts.c. */
#include "mem_fixture.h"

/* Mounts and facts -------------------------------------------------------- */

static void an_unknown_fact_is_an_error_that_names_all(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_error err = {0};
    struct kvt_fs *fs;

    assert_int_equal(
        mem_try(f->root, "shared, no_renames", NULL, NULL, false, &fs, &err),
        KVT_ERR_INVALID_PARAMS);
    assert_non_null(strstr(err.message, "\"no_renames\" is no fact"));
    assert_non_null(strstr(err.message, "did you mean \"no_rename\""));
    assert_non_null(strstr(err.remedy, "no_rename, no_noreplace, "));
    assert_non_null(strstr(err.remedy, ", short_names"));
    assert_int_equal(
        mem_try(f->root, "shared,,trash", NULL, NULL, false, &fs, &err),
        KVT_ERR_INVALID_PARAMS);
    assert_int_equal(mem_try(f->root, "close_to_open,after_sync", NULL, NULL,
                             false, &fs, &err),
                     KVT_ERR_INVALID_PARAMS);
}

static const struct {
    const char *word;
    struct kvt_fs_facts facts; /* the bits that differ */
} word_rows[] = {
    {"no_rename", {.atomic_rename = true, .rename_noreplace = true}},
    {"no_noreplace", {.rename_noreplace = true}},
    {"no_links", {.hard_links = true}},
    {"no_overwrite", {.overwrite_in_place = true}},
    {"no_exclusive", {.exclusive_create = true}},
    {"lost_on_kill", {.bytes_outlive_process = true}},
    {"removed_gone", {.removed_stays_readable = true}},
    {"trash", {.remove_frees_space = true}},
    {"shared", {.shared = true, .locks_hold_across_hosts = true}},
    {"align4096",
     {.offset_alignment = 4097,
      .length_alignment = 4097,
      .memory_alignment = 4097,
      .direct = true}},
    {"no_punch", {.punch_hole = true}},
    {"short_names", {.name_max = 255 ^ 64}},
    {"close_to_open",
     {.size_exact_while_open = true,
      .visibility = KVT_FS_VISIBLE_AFTER_CLOSE,
      .names_stale_ms = 50,
      .attributes_stale_ms = 50}},
    {"after_sync", {.visibility = KVT_FS_VISIBLE_AFTER_SYNC}},
    {"slices4", {.slices_max = UINT32_MAX ^ 4}},
    {"transfer64k",
     {.transfer_max = UINT64_MAX ^ 65536, .transfer_best = 65536 ^ (1u << 20)}},
};

static void each_word_changes_its_facts_and_no_other(void **state)
{
    struct mem_fixture *f = *state;
    const struct kvt_fs_facts *plain = kvt_fs_facts(mem_mount(f, ""));

    for (size_t i = 0; i < COUNT_OF(word_rows); i++) {
        const struct kvt_fs_facts *facts =
            kvt_fs_facts(mem_mount(f, word_rows[i].word));

#define CHECK(fact)                                                            \
    do {                                                                       \
        uint64_t differs = (uint64_t)plain->fact ^ (uint64_t)facts->fact;      \
        if (differs != (uint64_t)word_rows[i].facts.fact) {                    \
            fail_msg("%s changes " #fact " wrongly", word_rows[i].word);       \
        }                                                                      \
    } while (0)
        CHECK(offset_alignment);
        CHECK(length_alignment);
        CHECK(memory_alignment);
        CHECK(depth);
        CHECK(metadata_depth);
        CHECK(slices_max);
        CHECK(transfer_max);
        CHECK(transfer_best);
        CHECK(allocation_unit);
        CHECK(direct);
        CHECK(name_max);
        CHECK(path_max);
        CHECK(exclusive_create);
        CHECK(atomic_rename);
        CHECK(rename_noreplace);
        CHECK(hard_links);
        CHECK(overwrite_in_place);
        CHECK(concurrent_writers);
        CHECK(removed_stays_readable);
        CHECK(remove_frees_space);
        CHECK(punch_hole);
        CHECK(bytes_outlive_process);
        CHECK(size_exact_while_open);
        CHECK(shared);
        CHECK(visibility);
        CHECK(names_stale_ms);
        CHECK(attributes_stale_ms);
        CHECK(locks_hold_across_hosts);
        CHECK(survives_fork);
#undef CHECK
        kvt_fs_unmount(f->fs[--f->fs_count]);
    }
}

static void direct_is_kept_or_refused(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_error err = {0};
    struct kvt_fs *fs;

    assert_int_equal(mem_try(f->root, "", "direct", "on", false, &fs, &err),
                     KVT_ERR_NOT_SUPPORTED);
    assert_int_equal(
        mem_try(f->root, "align4096", "direct", "off", false, &fs, &err),
        KVT_ERR_NOT_SUPPORTED);
    assert_int_equal(
        mem_try(f->root, "align4096", "direct", "on", false, &fs, &err),
        KVT_OK);
    kvt_fs_unmount(fs);
}

static void a_root_keeps_its_data_and_others_have_their_own(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_error err = {0};
    struct kvt_fs *fs;
    char other[80];

    assert_int_equal(mem_try(f->root, "", NULL, NULL, true, &fs, &err),
                     KVT_ERR_FILE_NOT_FOUND);
    mem_put(mem_mount(f, ""), "a", "kept");
    kvt_fs_unmount(f->fs[--f->fs_count]);

    assert_int_equal(mem_try(f->root, "", NULL, NULL, true, &fs, &err), KVT_OK);
    mem_expect(fs, "a", "kept");
    kvt_fs_unmount(fs);
    snprintf(other, sizeof other, "/%s//", f->root);
    assert_int_equal(mem_try(other, "", NULL, NULL, true, &fs, &err), KVT_OK);
    mem_expect(fs, "a", "kept");
    kvt_fs_unmount(fs);
    snprintf(other, sizeof other, "%s/x", f->root);
    assert_int_equal(mem_try(other, "", NULL, NULL, false, &fs, &err), KVT_OK);
    assert_int_equal(mem_stat(fs, "a"), -ENOENT);
    kvt_fs_unmount(fs);
}

/* Transfers --------------------------------------------------------------- */

/* Asks the adapter, past the core that would keep such transfers from it. */
static int64_t execute(struct kvt_fs *fs, struct kvt_fs_file *file,
                       uint64_t offset, unsigned char *bytes, size_t size,
                       uint32_t slice_count)
{
    struct kvt_slice slices[5] = {{bytes, size, NULL}};
    struct kvt_fs_elem elem = {.op = KVT_FS_WRITE,
                               .file = file,
                               .offset = offset,
                               .slices = slices,
                               .slice_count = slice_count};

    return fs->ops->execute(fs, &elem);
}

static void transfers_that_the_facts_exclude_are_refused(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *fs = mem_mount(f, "align4096,transfer64k,slices4");
    struct kvt_fs_file *file = mem_create(fs, "a");
    unsigned char *bytes = aligned_alloc(4096, 131072);
    unsigned char *back = malloc(131072);

    assert_non_null(bytes);
    memset(bytes, 'x', 131072);
    assert_int_equal(execute(fs, file, 0, bytes, 4096, 1), 4096);
    assert_int_equal(execute(fs, file, 0, bytes, 4096, 4), 4096);
    assert_int_equal(execute(fs, file, 0, bytes, 4096, 5), -EINVAL);
    assert_int_equal(execute(fs, file, 512, bytes, 4096, 1), -EINVAL);
    assert_int_equal(execute(fs, file, 0, bytes + 1, 4096, 1), -EINVAL);
    assert_int_equal(execute(fs, file, 0, bytes, 4095, 1), -EINVAL);
    assert_int_equal(execute(fs, file, 0, bytes, 65536, 1), 65536);
    assert_int_equal(execute(fs, file, 0, bytes, 69632, 1), -EINVAL);
    /* the core splits, and reads at any place */
    assert_int_equal(mem_write(fs, file, 4096, bytes, 126976), 126976);
    assert_int_equal(mem_read(fs, file, 3, back, 131072), 131069);
    assert_memory_equal(back, bytes, 131069);
    assert_int_equal(mem_close(fs, file), 0);
    assert_int_equal(mem_publish(fs, "b", bytes, 100001, 0), 100001);
    assert_int_equal(mem_stat(fs, "b"), 100001);
    free(bytes);
    free(back);
}

static void without_overwrite_a_file_only_grows(void **state)
{
    struct mem_fixture *f = *state;

    for (int late = 0; late < 2; late++) {
        struct kvt_fs *fs =
            mem_mount(f, late ? "no_overwrite,close_to_open" : "no_overwrite");
        struct kvt_fs_file *file = mem_create(fs, late ? "b" : "a");

        assert_int_equal(mem_write(fs, file, 0, "abc", 3), 3);
        assert_int_equal(mem_write(fs, file, 2, "x", 1), -EOPNOTSUPP);
        assert_int_equal(mem_write(fs, file, 3, "def", 3), 3);
        assert_int_equal(mem_write(fs, file, 10, "g", 1), 1);
        assert_int_equal(mem_write(fs, file, 8, "g", 1), -EOPNOTSUPP);
        assert_int_equal(mem_close(fs, file), 0);
    }
}

static void offsets_go_far_and_end(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *fs = mem_mount(f, "");
    struct kvt_fs_file *file = mem_create(fs, "a");
    const uint64_t far = UINT64_C(5) << 30;
    char bytes[8];

    assert_int_equal(mem_write(fs, file, far, "abc", 3), 3);
    assert_int_equal(mem_stat(fs, "a"), far + 3);
    assert_int_equal(mem_used(fs), 2);
    assert_int_equal(mem_read(fs, file, far - 2, bytes, 8), 5);
    assert_memory_equal(bytes, "\0\0abc", 5);
    assert_int_equal(mem_read(fs, file, far + 3, bytes, 8), 0);
    assert_int_equal(mem_read(fs, file, UINT64_MAX, bytes, 8), 0);
    assert_int_equal(mem_write(fs, file, UINT64_MAX - 2, bytes, 8), -EFBIG);
    assert_int_equal(mem_write(fs, file, (UINT64_C(1) << 44) - 4, bytes, 8),
                     -EFBIG);
    assert_int_equal(kvt_fs_truncate(fs, file, UINT64_MAX), -EFBIG);
    assert_int_equal(mem_close(fs, file), 0);
}

/* Publish ----------------------------------------------------------------- */

static void publish_replaces_or_refuses(void **state)
{
    static const char *const facts[] = {"", "no_rename", "no_rename,align4096",
                                        "close_to_open"};
    struct mem_fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(facts); i++) {
        struct kvt_fs *fs = mem_mount(f, facts[i]);
        uint64_t empty = mem_used(fs);

        assert_int_equal(mem_publish(fs, "d/e/a", "one", 3, KVT_FS_IF_ABSENT),
                         3);
        assert_int_equal(mem_publish(fs, "d/e/a", "two!", 4, KVT_FS_IF_ABSENT),
                         -EEXIST);
        mem_expect(fs, "d/e/a", "one");
        assert_int_equal(mem_publish(fs, "d/e/a", "two!", 4, KVT_FS_DURABLE),
                         4);
        mem_expect(fs, "d/e/a", "two!");
        assert_int_equal(mem_used(fs), empty + 3);
        assert_int_equal(mem_publish(fs, "d/e", "x", 1, 0), -EISDIR);
        assert_int_equal(mem_publish(fs, "d/e/a/b", "x", 1, 0), -ENOTDIR);
        assert_int_equal(mem_publish(fs, "d/e/b", "", 0, 0), 0);
        mem_expect(fs, "d/e/b", "");
        assert_int_equal(kvt_fs_remove_tree(fs, "d"), 0);
        kvt_fs_remove_tree(fs, "d"); /* what the emulation left is its own */
        kvt_fs_unmount(f->fs[--f->fs_count]);
    }
}

/* Locks ------------------------------------------------------------------- */

static void a_lock_names_its_holder_to_all_mounts(void **state)
{
    struct mem_fixture *f = *state;
    struct kvt_fs *fs = mem_mount(f, "shared");
    struct kvt_fs *other = mem_mount(f, "shared");
    struct kvt_fs_lock *lock;
    struct kvt_fs_lock *second;
    char owner[8];

    assert_int_equal(kvt_fs_lock(fs, "x/l", "me", owner, sizeof owner, &lock),
                     -ENOENT);
    assert_int_equal(
        kvt_fs_lock(fs, "l", "it is me", owner, sizeof owner, &lock), 0);
    mem_expect(fs, "l", "it is me");
    assert_int_equal(
        kvt_fs_lock(other, "./l", "you", owner, sizeof owner, &second), -EBUSY);
    assert_string_equal(owner, "it is m");
    assert_int_equal(
        kvt_fs_lock(other, "m", "you", owner, sizeof owner, &second), 0);
    kvt_fs_unlock(lock);
    mem_expect(fs, "l", "");
    assert_int_equal(kvt_fs_lock(other, "l", "you", owner, sizeof owner, &lock),
                     0);
    kvt_fs_unlock(lock);
    kvt_fs_unlock(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_unknown_fact_is_an_error_that_names_all),
        CASE(each_word_changes_its_facts_and_no_other),
        CASE(direct_is_kept_or_refused),
        CASE(a_root_keeps_its_data_and_others_have_their_own),
        CASE(transfers_that_the_facts_exclude_are_refused),
        CASE(without_overwrite_a_file_only_grows),
        CASE(offsets_go_far_and_end),
        CASE(publish_replaces_or_refuses),
        CASE(a_lock_names_its_holder_to_all_mounts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
