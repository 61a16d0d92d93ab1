/* A case's mount: made for it, emptied and gone behind it. */
#include "contract.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int mount_root(const struct contract *c, struct kvt_fs **fs,
                      struct kvt_error *err)
{
    struct kvt_fs_mount_args args = {
        .size = sizeof args, .root = c->root, .config = c->config};
    memset(err, 0, sizeof *err);
    return kvt_fs_mount(c->adapter, &args, fs, err);
}

struct kvt_fs *mount_again(const struct contract *c)
{
    struct kvt_error err;
    struct kvt_fs *fs = NULL;
    if (mount_root(c, &fs, &err) != KVT_OK) {
        FAIL("mount of %s at %s, expected 0, got %s: %s", c->adapter, c->root,
             kvt_status_name(err.code), err.message);
    }
    return fs;
}

int try_mount(struct contract *c)
{
    struct kvt_error err;
    struct kvt_fs *fs = NULL;
    if (mount_root(c, &fs, &err) == KVT_OK) {
        kvt_fs_unmount(fs);
        return 0;
    }
    if (err.code == KVT_ERR_INVALID_PARAMS) {
        fprintf(stderr, "kvtier-fs-contract: %s; %s\n", err.message,
                err.remedy);
        return STATUS_USAGE;
    }
    printf("FAIL mount: %s at %s, expected 0, got %s: %s; %s\n", c->adapter,
           c->root, kvt_status_name(err.code), err.message, err.remedy);
    return STATUS_FAILED;
}

/* Emptying ---------------------------------------------------------------- */

struct found {
    struct kvt_fs_dirent entry;
    char name[4096];
};

static int take_first(const struct kvt_fs_dirent *entry, void *arg)
{
    struct found *found = arg;
    snprintf(found->name, sizeof found->name, "%s", entry->name);
    found->entry = *entry;
    return 1;
}

void empty_root(struct kvt_fs *fs)
{
    struct found found;
    int64_t stale_ns = (int64_t)kvt_fs_facts(fs)->names_stale_ms * 1000000;
    int64_t end_ns = 0;
    while (kvt_fs_list(fs, ".", false, take_first, &found) == 1) {
        int64_t rc = found.entry.type == KVT_FS_TYPE_DIRECTORY
                         ? kvt_fs_remove_tree(fs, found.name)
                         : path_remove(fs, found.name);
        if (rc != 0 && rc != -ENOENT) {
            FAIL("removing %s behind the case, expected 0, got -%s", found.name,
                 kvt_errno_name((int)-rc));
        }
        if (rc == 0) {
            end_ns = 0; /* on we go */
        } else if (end_ns == 0) {
            end_ns = now_ns() + stale_ns + INT64_C(1000000000);
        } else if (now_ns() > end_ns) {
            FAIL("listing behind the case, expected nothing that is removed, "
                 "got %s",
                 found.name);
        }
    }
}

void run_case(struct contract *c, const struct contract_case *one)
{
    contract_running(one->name);
    c->fs = mount_again(c);
    c->facts = kvt_fs_facts(c->fs);
    one->run(c);
    empty_root(c->fs);
    kvt_fs_unmount(c->fs);
}
