/* What the tests of the posix adapter share: a mount of an empty directory,
 * and elements in one line. Each test's end checks that no descriptor was
 * lost. */
#ifndef KVT_TESTS_POSIX_FIXTURE_H
#define KVT_TESTS_POSIX_FIXTURE_H

#include "support/store_fixture.h"
#include "support/unit.h"

#include "fs/registry.h"

struct posix_fixture {
    char path[4096]; /* of the mount, absolute */
    struct kvt_config *config;
    struct kvt_fs *fs;
    size_t descriptors; /* before the test */
};

/* cmocka's setup and teardown: `*state` is a struct posix_fixture *. */
int posix_setup(void **state);
int posix_teardown(void **state);

/* Another mount of the same directory. */
struct kvt_fs *posix_mount_again(struct posix_fixture *f);

/* "<mount>/<name>"; returns `path`. */
char *posix_path(const struct posix_fixture *f, const char *name,
                 char path[FILE_PATH_MAX]);

/* Writes a file, behind the adapter's back or through it. */
void posix_make(struct posix_fixture *f, const char *name, const char *text);
void posix_make_via_mount(struct posix_fixture *f, const char *name,
                          const char *text);

/* One element each; its result. */
int64_t posix_open(struct posix_fixture *f, const char *path, uint32_t flags,
                   struct kvt_fs_file **file);
int64_t posix_close(struct posix_fixture *f, struct kvt_fs_file *file);
int64_t posix_write(struct posix_fixture *f, struct kvt_fs_file *file,
                    uint64_t offset, const void *bytes, size_t size);
int64_t posix_read(struct posix_fixture *f, struct kvt_fs_file *file,
                   uint64_t offset, void *bytes, size_t size);
/* STAT, REMOVE, SYNC, and FETCH of up to 16 bytes. */
int64_t posix_path_op(struct posix_fixture *f, enum kvt_fs_op op,
                      const char *path);

/* A new file, open for writing. */
struct kvt_fs_file *posix_open_new(struct posix_fixture *f, const char *path);
/* The size of a file that is there. */
uint64_t posix_size(struct posix_fixture *f, const char *path);

#endif
