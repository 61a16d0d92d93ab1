#include "backend/distributed_oldest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    OLDEST_MAX = 4096
};

struct dist_oldest *kvt_dist_oldest_new(void)
{
    struct dist_oldest *oldest = calloc(1, sizeof *oldest);
    if (oldest != NULL) {
        oldest->files = malloc(OLDEST_MAX * sizeof oldest->files[0]);
        if (oldest->files == NULL) {
            free(oldest);
            oldest = NULL;
        }
    }
    return oldest;
}

void kvt_dist_oldest_free(struct dist_oldest *oldest)
{
    if (oldest == NULL) {
        return;
    }
    for (size_t i = 0; i < oldest->count; i++) {
        free(oldest->files[i].path);
    }
    free(oldest->files);
    free(oldest);
}

static void swap(struct dist_oldest *oldest, size_t a, size_t b)
{
    struct dist_old old = oldest->files[a];
    oldest->files[a] = oldest->files[b];
    oldest->files[b] = old;
}

static bool is_newer(const struct dist_oldest *oldest, size_t a, size_t b)
{
    return oldest->files[a].modified_ns > oldest->files[b].modified_ns;
}

static void rise(struct dist_oldest *oldest, size_t at)
{
    while (at > 0 && is_newer(oldest, at, (at - 1) / 2)) {
        swap(oldest, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

static void sink(struct dist_oldest *oldest)
{
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= oldest->count) {
            return;
        }
        if (child + 1 < oldest->count && is_newer(oldest, child + 1, child)) {
            child++;
        }
        if (!is_newer(oldest, child, at)) {
            return;
        }
        swap(oldest, at, child);
        at = child;
    }
}

int kvt_dist_oldest_offer(struct dist_oldest *oldest,
                          const struct dist_found *found)
{
    bool full = oldest->count == OLDEST_MAX;
    if (full && found->modified_ns >= oldest->files[0].modified_ns) {
        return 0;
    }
    size_t size = strlen(found->directory) + strlen(found->name) + 2;
    char *path = malloc(size);
    if (path == NULL) {
        return -ENOMEM;
    }
    snprintf(path, size, "%s/%s", found->directory, found->name);
    struct dist_old old = {.path = path,
                           .modified_ns = found->modified_ns,
                           .file_size = found->file_size,
                           .is_long = found->kind == KVT_NAME_LONG};
    if (full) {
        free(oldest->files[0].path);
        oldest->files[0] = old;
        sink(oldest);
    } else {
        oldest->files[oldest->count] = old;
        rise(oldest, oldest->count++);
    }
    return 0;
}

static int older_first(const void *a, const void *b)
{
    const struct dist_old *left = a;
    const struct dist_old *right = b;
    return (left->modified_ns > right->modified_ns) -
           (left->modified_ns < right->modified_ns);
}

void kvt_dist_oldest_sort(struct dist_oldest *oldest)
{
    if (oldest->count > 0) {
        qsort(oldest->files, oldest->count, sizeof oldest->files[0],
              older_first);
    }
    oldest->next = 0;
}

struct dist_old *kvt_dist_oldest_take(struct dist_oldest *oldest)
{
    while (oldest->next < oldest->count) {
        struct dist_old *old = &oldest->files[oldest->next++];
        if (old->path != NULL) {
            return old;
        }
    }
    return NULL;
}

void kvt_dist_oldest_forget(struct dist_oldest *oldest, const char *path)
{
    for (size_t i = oldest->next; i < oldest->count; i++) {
        struct dist_old *old = &oldest->files[i];
        if (old->path != NULL && strcmp(old->path, path) == 0) {
            free(old->path);
            old->path = NULL;
        }
    }
}
