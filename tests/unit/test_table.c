/* The table of an adapter is looked at once, before anything of it is called.
 */
#include "support/unit.h"

#include "fs/fs_core.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

static int no_mount(const struct kvt_fs_mount_args *args, struct kvt_fs **fs,
                    struct kvt_error *err)
{
    (void)args;
    (void)fs;
    (void)err;
    return 0;
}
static void no_unmount(struct kvt_fs *fs)
{
    (void)fs;
}
static int no_open(struct kvt_fs *fs, uint32_t depth, bool poll_works,
                   struct kvt_fs_queue **queue)
{
    (void)fs;
    (void)depth;
    (void)poll_works;
    (void)queue;
    return 0;
}
static void no_submit(struct kvt_fs_queue *queue, struct kvt_fs_elem *first)
{
    (void)queue;
    (void)first;
}
static void no_poll(struct kvt_fs_queue *queue, size_t min, int64_t deadline_ns)
{
    (void)queue;
    (void)min;
    (void)deadline_ns;
}
static void no_queue(struct kvt_fs_queue *queue)
{
    (void)queue;
}
static int64_t no_execute(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    (void)fs;
    (void)elem;
    return 0;
}
static int no_probe(struct kvt_fs *fs)
{
    (void)fs;
    return 0;
}
static int no_path(struct kvt_fs *fs, const char *path)
{
    (void)fs;
    (void)path;
    return 0;
}
static int no_list(struct kvt_fs *fs, const char *path, bool sizes,
                   kvt_fs_list_fn each, void *arg)
{
    (void)fs;
    (void)path;
    (void)sizes;
    (void)each;
    (void)arg;
    return 0;
}
static int no_rename(struct kvt_fs *fs, const char *from, const char *to,
                     bool replace)
{
    (void)fs;
    (void)from;
    (void)to;
    (void)replace;
    return 0;
}
static int no_usage(struct kvt_fs *fs, struct kvt_fs_usage *usage)
{
    (void)fs;
    (void)usage;
    return 0;
}
static int no_lock(struct kvt_fs *fs, const char *path, const char *holder,
                   char *owner, size_t owner_size, struct kvt_fs_lock **lock)
{
    (void)fs;
    (void)path;
    (void)holder;
    (void)owner;
    (void)owner_size;
    (void)lock;
    return 0;
}
static void no_unlock(struct kvt_fs_lock *lock)
{
    (void)lock;
}
static int no_alloc(struct kvt_fs *fs, size_t size, void **base, void **cookie)
{
    (void)fs;
    (void)size;
    (void)base;
    (void)cookie;
    return 0;
}

static const struct kvt_fs_queue_ops whole_queue = {.open = no_open,
                                                    .submit = no_submit,
                                                    .poll = no_poll,
                                                    .wake = no_queue,
                                                    .close = no_queue};
static const struct kvt_fs_ops whole = {.size = sizeof whole,
                                        .version = KVT_FS_VERSION,
                                        .name = "table",
                                        .summary = "a table",
                                        .mount = no_mount,
                                        .unmount = no_unmount,
                                        .execute = no_execute,
                                        .mkdirs = no_path,
                                        .list = no_list,
                                        .rename = no_rename,
                                        .rmdir = no_path,
                                        .usage = no_usage,
                                        .lock = no_lock,
                                        .unlock = no_unlock};

static void expect_refused(const struct kvt_fs_ops *ops, const char *what)
{
    struct kvt_error err = {0};

    assert_int_not_equal(kvt_fs_check_table(ops, &err), KVT_OK);
    if (strstr(err.message, what) == NULL) {
        fail_msg("no \"%s\" in: %s", what, err.message);
    }
}

static void expect_taken(const struct kvt_fs_ops *ops)
{
    struct kvt_error err = {0};

    if (kvt_fs_check_table(ops, &err) != KVT_OK) {
        fail_msg("%s", err.message);
    }
}

/* A member of the table, or of its queue, without which it is refused. */
static void expect_required(size_t offset, const char *what)
{
    struct kvt_fs_ops ops = whole;

    memset((char *)&ops + offset, 0, sizeof(void *));
    expect_refused(&ops, what);
}

static void expect_required_in_queue(size_t offset)
{
    struct kvt_fs_ops ops = whole;
    struct kvt_fs_queue_ops queue = whole_queue;

    memset((char *)&queue + offset, 0, sizeof(void *));
    ops.queue = &queue;
    expect_refused(&ops, "a member of its queue");
}

#define REQUIRED(member) offsetof(struct kvt_fs_ops, member), #member

static void what_is_required_has_to_be_there(void **state)
{
    (void)state;
    expect_taken(&whole);
    expect_required(REQUIRED(name));
    expect_required(REQUIRED(summary));
    expect_required(REQUIRED(mount));
    expect_required(REQUIRED(unmount));
    expect_required(REQUIRED(execute));
    expect_required(REQUIRED(mkdirs));
    expect_required(REQUIRED(list));
    expect_required(REQUIRED(rename));
    expect_required(REQUIRED(rmdir));
    expect_required(REQUIRED(usage));
    expect_required(REQUIRED(lock));
    expect_required(REQUIRED(unlock));
    struct kvt_fs_ops ops = whole;
    ops.mem_alloc = no_alloc;
    expect_refused(&ops, "mem_free");
}

static void a_queue_is_looked_at_too(void **state)
{
    struct kvt_fs_ops ops = whole;
    struct kvt_fs_queue_ops queue = whole_queue;

    (void)state;
    ops.queue = &queue;
    expect_taken(&ops);
    ops.execute = NULL; /* its ring takes all */
    expect_taken(&ops);
    queue.operations = 1u << KVT_FS_READ;
    expect_refused(&ops, "execute");
    expect_required_in_queue(offsetof(struct kvt_fs_queue_ops, open));
    expect_required_in_queue(offsetof(struct kvt_fs_queue_ops, submit));
    expect_required_in_queue(offsetof(struct kvt_fs_queue_ops, poll));
    expect_required_in_queue(offsetof(struct kvt_fs_queue_ops, wake));
    expect_required_in_queue(offsetof(struct kvt_fs_queue_ops, close));
}

static void the_table_of_an_older_header_is_taken(void **state)
{
    struct kvt_fs_ops ops = whole;
    struct kvt_fs_ops full;

    (void)state;
    ops.size = offsetof(struct kvt_fs_ops, probe);
    ops.probe = no_probe; /* behind its end */
    ops.wraps = true;
    expect_taken(&ops);
    kvt_fs_full_table(&ops, &full);
    assert_null(full.probe);
    assert_false(full.wraps);
    assert_ptr_equal(full.unlock, ops.unlock);
    ops.size = offsetof(struct kvt_fs_ops, usage); /* which is required */
    expect_refused(&ops, "usage");
    ops.size = 8;
    expect_refused(&ops, "8 bytes");
}

static void the_table_of_a_later_header_is_refused(void **state)
{
    struct kvt_fs_ops ops = whole;

    (void)state;
    ops.size++;
    expect_refused(&ops, "bytes, this library expects");
    ops = whole;
    ops.version++;
    expect_refused(&ops, "version");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_required_has_to_be_there),
        cmocka_unit_test(a_queue_is_looked_at_too),
        cmocka_unit_test(the_table_of_an_older_header_is_taken),
        cmocka_unit_test(the_table_of_a_later_header_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
