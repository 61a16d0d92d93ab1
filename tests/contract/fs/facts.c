/* The facts themselves, and those of them that one file can prove. Which case
 * proves which fact: docs/adding-an-adapter.md. */
#include "contract.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WRITE_NEW (KVT_FS_FOR_WRITE | KVT_FS_CREATE)

static bool is_power_of_2(uint64_t number)
{
    return number != 0 && (number & (number - 1)) == 0;
}

static void facts_make_sense(struct contract *c)
{
    const struct kvt_fs_facts *f = c->facts;
    EXPECT("size of the facts", sizeof *f, f->size);
    EXPECT_TRUE("offset_alignment is a power of 2",
                is_power_of_2(f->offset_alignment));
    EXPECT_TRUE("length_alignment is a power of 2",
                is_power_of_2(f->length_alignment));
    EXPECT_TRUE("memory_alignment is a power of 2",
                is_power_of_2(f->memory_alignment));
    EXPECT_TRUE("depth is above 0", f->depth > 0);
    EXPECT_TRUE("metadata_depth is above 0", f->metadata_depth > 0);
    EXPECT_TRUE("slices_max is above 0", f->slices_max > 0);
    EXPECT_TRUE("transfer_max takes an aligned block at least",
                f->transfer_max >= f->length_alignment &&
                    f->transfer_max >= f->offset_alignment);
    EXPECT_TRUE("transfer_best is above 0 and not above transfer_max",
                f->transfer_best > 0 && f->transfer_best <= f->transfer_max);
    EXPECT_TRUE("allocation_unit is above 0", f->allocation_unit > 0);
    EXPECT_TRUE("generation is above 0", f->generation > 0);
    /* what layouts need for their own names */
    EXPECT_TRUE("name_max is 64 or more", f->name_max >= 64);
    EXPECT_TRUE("path_max is 256 or more", f->path_max >= 256);
    EXPECT_TRUE("visibility is one of the three",
                f->visibility >= KVT_FS_VISIBLE_AT_ONCE &&
                    f->visibility <= KVT_FS_VISIBLE_AFTER_CLOSE);
    EXPECT("rename_noreplace and hard_links: no call, no fact", false,
           f->hard_links && c->fs->ops->link == NULL);
    EXPECT_TRUE("the mount has the name that it was asked for under",
                strcmp(kvt_fs_name(c->fs), c->adapter) == 0);
}

/* Asked for, and not refused: then it has to be so. */
static void direct_io_that_was_asked_for_is_in_the_facts(struct contract *c)
{
    struct kvt_error err;
    struct kvt_setting direct;
    EXPECT("the setting", KVT_OK,
           kvt_config_get(c->config, "direct", &direct, &err));
    SKIP_UNLESS(strcmp(direct.value, "auto") != 0, "direct = auto");
    EXPECT("fact direct", strcmp(direct.value, "on") == 0, c->facts->direct);
}

static void the_mount_is_alive(struct contract *c)
{
    int64_t before = now_ns();
    EXPECT("probe", 0, kvt_fs_probe(c->fs));
    EXPECT_TRUE("it took less than 10 s",
                now_ns() - before < INT64_C(10000000000));
}

static void two_mounts_tell_the_same_facts(struct contract *c)
{
    struct kvt_fs *other = mount_again(c);
    struct kvt_fs_facts facts = *kvt_fs_facts(other);
    facts.generation = c->facts->generation;
    EXPECT("alignment of offsets", c->facts->offset_alignment,
           facts.offset_alignment);
    EXPECT("alignment of lengths", c->facts->length_alignment,
           facts.length_alignment);
    EXPECT("alignment of memory", c->facts->memory_alignment,
           facts.memory_alignment);
    EXPECT("fact direct", c->facts->direct, facts.direct);
    EXPECT("fact atomic_rename", c->facts->atomic_rename, facts.atomic_rename);
    EXPECT("fact rename_noreplace", c->facts->rename_noreplace,
           facts.rename_noreplace);
    EXPECT("fact hard_links", c->facts->hard_links, facts.hard_links);
    EXPECT("fact punch_hole", c->facts->punch_hole, facts.punch_hole);
    EXPECT("fact name_max", c->facts->name_max, facts.name_max);
    kvt_fs_unmount(other);
}

/* Punch ------------------------------------------------------------------- */

static void punch_frees_the_range_and_no_byte_more(struct contract *c)
{
    enum {
        SIZE = 1 << 20,
        AT = 256 << 10,
        LENGTH = 128 << 10
    };
    struct kvt_fs_file *file = must_open(c->fs, "file", WRITE_NEW);
    must_write_pattern(file, 1, 0, SIZE);
    int64_t rc = file_punch(file, AT, LENGTH);
    if (!c->facts->punch_hole) {
        EXPECT_ERROR("punch, fact punch_hole is not", rc);
        must_read_pattern(file, 1, 0, SIZE);
        must_close(file);
        return;
    }
    EXPECT("punch", 0, rc);
    unsigned char *bytes = must_alloc(LENGTH);
    EXPECT("read of the hole", LENGTH, file_read(file, AT, bytes, LENGTH));
    for (size_t i = 0; i < LENGTH; i++) {
        EXPECT("byte of the hole", 0, bytes[i]);
    }
    free(bytes);
    must_read_pattern(file, 1, 0, AT);
    must_read_pattern(file, 1, AT + LENGTH, SIZE - AT - LENGTH);
    /* to the end and behind it: the size stays */
    EXPECT("punch across the end", 0,
           file_punch(file, SIZE - LENGTH, 4 * LENGTH));
    uint64_t size;
    EXPECT("stat", 0, path_stat(c->fs, "file", &size));
    EXPECT("size of the file", SIZE, size);
    must_read_pattern(file, 1, AT + LENGTH, SIZE - AT - 2 * LENGTH);
    if (c->facts->overwrite_in_place) {
        must_write_pattern(file, 2, AT, LENGTH);
        must_read_pattern(file, 2, AT, LENGTH);
    }
    must_close(file);
}

/* Sizes ------------------------------------------------------------------- */

/* Also for another mount of the root, when bytes are to be seen there. */
static void expect_size_elsewhere(struct contract *c, struct kvt_fs_file *file,
                                  uint64_t end)
{
    int64_t until_ns =
        now_ns() + (int64_t)c->facts->attributes_stale_ms * 1000000;
    uint64_t size = 0;
    if (c->facts->visibility == KVT_FS_VISIBLE_AFTER_SYNC) {
        EXPECT("sync", 0, file_sync(file, KVT_FS_SYNC));
    }
    struct kvt_fs *other = mount_again(c);
    do {
        EXPECT("stat of an open file by a second mount", 0,
               path_stat(other, "file", &size));
    } while (size != end && now_ns() < until_ns);
    EXPECT("its size", end, size);
    kvt_fs_unmount(other);
}

/* A forked child goes on with the mount, threads and all. */
static void a_child_can_use_the_mount_if_the_fact_says_so(struct contract *c)
{
    SKIP_UNLESS(c->facts->survives_fork, "the fact survives_fork is not");
    struct kvt_fs_elem elems[32];
    struct kvt_fs_queue *queue = must_open_queue(c->fs, 0, false);
    for (size_t i = 0; i < COUNT_OF(elems); i++) {
        elems[i] = (struct kvt_fs_elem){.op = KVT_FS_STAT, .path = "none"};
    }
    run_batch(queue, elems, COUNT_OF(elems));
    pid_t child = fork();
    EXPECT_TRUE("fork", child >= 0);
    if (child == 0) {
        alarm(10);
        run_batch(queue, elems, COUNT_OF(elems));
        _exit(elems[0].result == -ENOENT ? 0 : 1);
    }
    int status = -1;
    EXPECT("waitpid", child, waitpid(child, &status, 0));
    EXPECT("status of a child that used the mount", 0, status);
    must_close_queue(queue);
}

static void a_size_is_exact_when_the_facts_say_so(struct contract *c)
{
    uint64_t size = 0;
    uint64_t end = 0;
    struct kvt_fs_file *file = must_open(c->fs, "file", WRITE_NEW);
    for (size_t i = 0; i < 5; i++) {
        size_t part = block_size(c->fs, 4097);
        must_write_pattern(file, 3, end, part);
        end += part;
        if (c->facts->size_exact_while_open) {
            EXPECT("stat of an open file", 0, path_stat(c->fs, "file", &size));
            EXPECT("size of an open file", end, size);
            struct kvt_fs_elem open = {
                .op = KVT_FS_OPEN, .path = "file", .flags = KVT_FS_WANT_SIZE};
            EXPECT("open", 0, kvt_fs_run(c->fs, &open));
            EXPECT("size at open of an open file", end, open.file_size);
            must_close(open.file);
            expect_size_elsewhere(c, file, end);
        }
    }
    must_close(file);
    EXPECT("stat of the closed file", 0, path_stat(c->fs, "file", &size));
    EXPECT("size of the closed file", end, size);
}

/* An open tells the size of what it opened, which may have no name by then. */
static void open_tells_the_size(struct contract *c)
{
    static const size_t sizes[] = {0, 1, 4096, 100001};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        must_publish_pattern(c->fs, "file", 4, sizes[i]);
        for (uint32_t flags = 0; flags <= 1; flags++) {
            struct kvt_fs_elem open = {
                .op = KVT_FS_OPEN,
                .path = "file",
                .flags = KVT_FS_WANT_SIZE |
                         (flags != 0 ? (uint32_t)KVT_FS_FOR_WRITE : 0)};
            EXPECT("open", 0, kvt_fs_run(c->fs, &open));
            EXPECT("size at open", sizes[i], open.file_size);
            must_close(open.file);
        }
    }
}

/* The call has to be there: a mount that cannot does not crash. */
static void what_a_mount_lacks_is_an_error(struct contract *c)
{
    struct kvt_fs_usage usage = {1, 2};
    EXPECT("usage", 0, kvt_fs_usage(c->fs, &usage));
    EXPECT_TRUE("available is not above capacity",
                usage.available <= usage.capacity);
    must_publish_pattern(c->fs, "file", 5, 10);
    int rc = kvt_fs_link(c->fs, "file", "second");
    EXPECT("a link, as the fact hard_links says", c->facts->hard_links,
           rc == 0);
}

static const struct contract_case cases[] = {
    CASE(facts_make_sense),
    CASE(direct_io_that_was_asked_for_is_in_the_facts),
    CASE(the_mount_is_alive),
    CASE(a_child_can_use_the_mount_if_the_fact_says_so),
    CASE(two_mounts_tell_the_same_facts),
    CASE(punch_frees_the_range_and_no_byte_more),
    CASE(a_size_is_exact_when_the_facts_say_so),
    CASE(open_tells_the_size),
    CASE(what_a_mount_lacks_is_an_error),
};
GROUP(contract_facts, cases);
