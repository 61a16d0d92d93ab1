/* What the cases of the fs contract are written with.
 *
 * Every case is a function of its own, runs in a process of its own and gets
 * a fresh mount in an empty directory. The first check that does not hold
 * prints one line and ends the process, from whatever thread. */
#ifndef KVT_TESTS_FS_CONTRACT_H
#define KVT_TESTS_FS_CONTRACT_H

#include <kvtier/fs.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Of processes: one that has printed why, and wrong usage. */
enum {
    STATUS_FAILED = 99,
    STATUS_USAGE = 2,
};

struct contract {
    const char *adapter; /* as configured: "trace:posix" */
    const struct kvt_config *config;
    const char *root;   /* of this case, absolute */
    uint64_t full_size; /* fill a mount up to this capacity; 0: small ones */
    struct kvt_fs *fs;
    const struct kvt_fs_facts *facts;
    const char *skipped; /* why; null */
};

struct contract_case {
    const char *name; /* a sentence */
    void (*run)(struct contract *c);
};

struct contract_group {
    const struct contract_case *cases;
    size_t count;
};

/* One a file. */
extern const struct contract_group contract_files;
extern const struct contract_group contract_whole_files;
extern const struct contract_group contract_transfers;
extern const struct contract_group contract_names;
extern const struct contract_group contract_renames;
extern const struct contract_group contract_facts;
extern const struct contract_group contract_mounts;
extern const struct contract_group contract_queues;
extern const struct contract_group contract_chains;
extern const struct contract_group contract_deadlines;
extern const struct contract_group contract_late;
extern const struct contract_group contract_memory;
extern const struct contract_group contract_locks;
extern const struct contract_group contract_space;

#define CASE(function)                                                         \
    {                                                                          \
#function, function                                                    \
    }
#define GROUP(name, array)                                                     \
    const struct contract_group name = {array, COUNT_OF(array)}

/* Ends a case that cannot tell anything here. Only in the case itself. */
#define SKIP_UNLESS(condition, reason)                                         \
    do {                                                                       \
        if (!(condition)) {                                                    \
            c->skipped = reason;                                               \
            return;                                                            \
        }                                                                      \
    } while (0)

/* Checks: check.c --------------------------------------------------------- */

void contract_running(const char *name);
_Noreturn void contract_fail(const char *file, int line, const char *format,
                             ...) KVT_PRINTF(3, 4);
void contract_expect(const char *file, int line, const char *what,
                     int64_t expected, int64_t got);
/* One of two is right. */
void contract_expect_any(const char *file, int line, const char *what,
                         int64_t expected, int64_t other, int64_t got);
void contract_expect_error(const char *file, int line, const char *what,
                           int64_t got);
void contract_expect_true(const char *file, int line, const char *what,
                          bool holds);
/* `size` bytes of the pattern `seed` from `offset` on. */
void contract_expect_pattern(const char *file, int line, const char *what,
                             uint64_t seed, uint64_t offset, const void *bytes,
                             size_t size);

#define FAIL(...) contract_fail(__FILE__, __LINE__, __VA_ARGS__)
#define EXPECT(what, expected, got)                                            \
    contract_expect(__FILE__, __LINE__, what, (int64_t)(expected),             \
                    (int64_t)(got))
#define EXPECT_ANY(what, expected, other, got)                                 \
    contract_expect_any(__FILE__, __LINE__, what, (int64_t)(expected),         \
                        (int64_t)(other), (int64_t)(got))
#define EXPECT_ERROR(what, got)                                                \
    contract_expect_error(__FILE__, __LINE__, what, (int64_t)(got))
#define EXPECT_TRUE(what, holds)                                               \
    contract_expect_true(__FILE__, __LINE__, what, holds)
#define EXPECT_PATTERN(what, seed, offset, bytes, size)                        \
    contract_expect_pattern(__FILE__, __LINE__, what, seed, offset, bytes, size)

/* The pattern: each byte is a function of the seed and of its place in the
 * file, so that a byte from anywhere else shows. */
void pattern_fill(uint64_t seed, uint64_t offset, void *bytes, size_t size);
/* Where `bytes` differs from it first, or `size`. */
size_t pattern_differs(uint64_t seed, uint64_t offset, const void *bytes,
                       size_t size);

/* Mounts: mount.c --------------------------------------------------------- */

/* One more mount of the case's root: another host. Fails the case. */
struct kvt_fs *mount_again(const struct contract *c);
/* Mounts, runs the case, removes all of it and unmounts. */
void run_case(struct contract *c, const struct contract_case *one);
/* Mounts and unmounts. Says why not, and returns an exit status. */
int try_mount(struct contract *c);
/* Removes all below the root, as far as possible. */
void empty_root(struct kvt_fs *fs);

/* Files: helpers.c -------------------------------------------------------- */
/* With `must_` in front a failure fails the case; the others return what the
 * element did. All are kvt_fs_run of one element. */

int64_t file_open(struct kvt_fs *fs, const char *path, uint32_t flags,
                  struct kvt_fs_file **file);
struct kvt_fs_file *must_open(struct kvt_fs *fs, const char *path,
                              uint32_t flags);
void must_close(struct kvt_fs_file *file);
int64_t file_read(struct kvt_fs_file *file, uint64_t offset, void *bytes,
                  size_t size);
int64_t file_write(struct kvt_fs_file *file, uint64_t offset, const void *bytes,
                   size_t size);
/* DATASYNC, SYNC. */
int64_t file_sync(struct kvt_fs_file *file, enum kvt_fs_op op);
int64_t file_punch(struct kvt_fs_file *file, uint64_t offset, uint64_t length);
int64_t path_stat(struct kvt_fs *fs, const char *path, uint64_t *size);
int64_t path_remove(struct kvt_fs *fs, const char *path);
int64_t path_fetch(struct kvt_fs *fs, const char *path, uint64_t offset,
                   void *bytes, size_t size);
/* The temporary name is `path` with ".temp" behind. */
int64_t path_publish(struct kvt_fs *fs, const char *path, const void *bytes,
                     size_t size, uint32_t flags);

/* Writes pattern bytes so that at least [offset, offset + size) has them: more
 * around it where the mount takes whole blocks only. */
void must_write_pattern(struct kvt_fs_file *file, uint64_t seed,
                        uint64_t offset, size_t size);
/* The same, but what the write gave, when it may fail. */
int64_t write_pattern(struct kvt_fs_file *file, uint64_t seed, uint64_t offset,
                      size_t size);
void must_read_pattern(struct kvt_fs_file *file, uint64_t seed, uint64_t offset,
                       size_t size);
void must_publish_pattern(struct kvt_fs *fs, const char *path, uint64_t seed,
                          size_t size);
/* The file is there, has this size, and these bytes. */
void must_hold_pattern(struct kvt_fs *fs, const char *path, uint64_t seed,
                       size_t size);
void must_be_missing(struct kvt_fs *fs, const char *path);
void must_mkdirs(struct kvt_fs *fs, const char *path);
/* Names in a directory. */
size_t must_count_names(struct kvt_fs *fs, const char *path);
/* In a directory that only a publish made: 0 too when it needed none. */
size_t count_temps(struct kvt_fs *fs, const char *path);

void *must_alloc(size_t size);
/* Rounded up to a multiple of what the mount takes. */
size_t block_size(const struct kvt_fs *fs, size_t size);

/* Queues: helpers.c ------------------------------------------------------- */

struct kvt_fs_queue *must_open_queue(struct kvt_fs *fs, uint32_t depth,
                                     bool poll_works);
void must_close_queue(struct kvt_fs_queue *queue);
/* Submits all and polls until each is done, exactly once. */
void run_batch(struct kvt_fs_queue *queue, struct kvt_fs_elem *elems,
               size_t count);

/* Threads and processes: process.c ---------------------------------------- */

/* Runs `work` in `count` threads, with 0, 1, ... and `arg`. */
void run_threads(size_t count, void (*work)(size_t number, void *arg),
                 void *arg);
size_t open_descriptors(void);
size_t running_threads(void);
int64_t now_ns(void);
void sleep_ms(unsigned ms);

/* This program once more, in a role, on the same root: another process. */
struct helper {
    long pid;
    long child; /* that it forked, or 0 */
    int out;    /* what it says */
};
/* Starts it and waits until it is ready. */
struct helper start_helper(const struct contract *c, const char *role);
void kill_helper(struct helper *helper);
/* The roles' side; returns an exit status. */
int play_role(struct contract *c, const char *role);
/* Does another process on this root see the same files? */
bool others_see_files(const struct contract *c);

#define HELPER_TEXT "helper of the contract"
enum {
    HELPER_SEED = 77,
    HELPER_BYTES = 200000
};

#endif
