#define _DEFAULT_SOURCE /* mincore */
#include "caches.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int caches_drop(struct bench *bench)
{
    sync();
    int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return bench_fail(bench, "caches cannot be dropped: %s",
                          strerror(errno));
    }
    ssize_t written = write(fd, "3", 1);
    close(fd);
    return written == 1 ? 0 : bench_fail(bench, "caches cannot be dropped");
}

static double resident(const unsigned char *map, size_t pages)
{
    size_t there = 0;
    for (size_t i = 0; i < pages; i++) {
        there += map[i] & 1;
    }
    return pages > 0 ? (double)there / (double)pages : 0;
}

double caches_share(struct bench *bench, const char *path)
{
    struct stat info;
    double share = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0 || info.st_size == 0) {
        bench_fail(bench, "%s: %s", path, strerror(errno));
        goto out;
    }
    size_t size = (size_t)info.st_size;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t pages = (size + page - 1) / page;
    unsigned char *map = malloc(pages);
    void *memory = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (map != NULL && memory != MAP_FAILED &&
        mincore(memory, size, map) == 0) {
        share = resident(map, pages);
    } else {
        bench_fail(bench, "%s: mincore: %s", path, strerror(errno));
    }
    if (memory != MAP_FAILED) {
        munmap(memory, size);
    }
    free(map);
out:
    if (fd >= 0) {
        close(fd);
    }
    return share;
}

int caches_warm(struct bench *bench, const char *path)
{
    static char memory[1 << 20];
    for (int round = 0; round < 3; round++) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            return bench_fail(bench, "%s: %s", path, strerror(errno));
        }
        while (read(fd, memory, sizeof memory) > 0) {
        }
        close(fd);
        if (caches_share(bench, path) > 0.999) {
            return 0;
        }
    }
    return bench_fail(bench, "%s does not stay in the page cache", path);
}
