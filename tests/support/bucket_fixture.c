#define _XOPEN_SOURCE 700
#include "support/bucket_fixture.h"

#include "store/store.h"

#include <ftw.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int older_first(const void *a, const void *b)
{
    const char *left = strchr(a, '/');
    const char *right = strchr(b, '/');
    return strcmp(left, right);
}

void bucket_files_find(const struct store_fixture *fixture,
                       struct bucket_files *files)
{
    char pattern[FILE_PATH_MAX];
    glob_t found;
    store_path(fixture, "w-*/*.kvb", pattern);
    files->count = 0;
    if (glob(pattern, 0, NULL, &found) != 0) {
        return;
    }
    assert_true(found.gl_pathc <= BUCKET_FILES_MAX);
    for (; files->count < found.gl_pathc; files->count++) {
        const char *path = found.gl_pathv[files->count];
        snprintf(files->names[files->count], BKT_PATH_MAX, "%s",
                 path + strlen(fixture->path) + 1);
    }
    globfree(&found);
    qsort(files->names, files->count, sizeof files->names[0], older_first);
}

struct bkt *bkt_of(struct kvt_store *store)
{
    return (struct bkt *)store->backend;
}

void bucket_settle(struct kvt_store *store)
{
    struct bkt *bkt = bkt_of(store);
    for (int i = 0; i < 10000; i++) {
        pthread_mutex_lock(&bkt->mutex);
        if (bkt->active != NULL && bkt->active->run_count > 0) {
            bkt_set_state(bkt->active, BKT_FULL);
            bkt->active = NULL;
            pthread_cond_broadcast(&bkt->work);
        }
        bool quiet = bkt->in_state[BKT_FULL] + bkt->in_state[BKT_DYING] == 0 &&
                     !bkt->sealing && !bkt->dead_found;
        pthread_mutex_unlock(&bkt->mutex);
        if (quiet) {
            return;
        }
        struct timespec pause = {0, 1000000};
        nanosleep(&pause, NULL);
    }
    fail_msg("the keeper does not come to rest");
}

void bucket_die_after(struct store_fixture *fixture,
                      bool (*work)(struct kvt_store *store))
{
    int status = -1;
    assert_null(fixture->store);
    pid_t pid = fork();
    if (pid == 0) {
        struct kvt_store *store;
        struct kvt_error err;
        if (kvt_store_open(fixture->config, NULL, &store, &err) != KVT_OK ||
            !work(store)) {
            _exit(1);
        }
        kill(getpid(), SIGKILL);
        _exit(2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static _Thread_local const char *copy_to;
static _Thread_local size_t copy_from_size;

static int copy_one(const char *path, const struct stat *st, int type,
                    struct FTW *ftw)
{
    char to[2 * FILE_PATH_MAX];
    size_t size;
    (void)st;
    (void)ftw;
    snprintf(to, sizeof to, "%s%s", copy_to, path + copy_from_size);
    if (type == FTW_D) {
        make_directory(to);
    } else {
        unsigned char *bytes = file_read(path, &size);
        file_write(to, bytes, size);
        free(bytes);
    }
    return 0;
}

void tree_copy(const char *from, const char *to)
{
    copy_to = to;
    copy_from_size = strlen(from);
    assert_int_equal(nftw(from, copy_one, 16, FTW_PHYS), 0);
}
