#define _DEFAULT_SOURCE /* mincore */
#include "caches.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
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
        if (caches_share(bench, path) > 0.999) {
            return 0;
        }
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            return bench_fail(bench, "%s: %s", path, strerror(errno));
        }
        while (read(fd, memory, sizeof memory) > 0) {
        }
        close(fd);
    }
    return bench_fail(bench, "%s does not stay in the page cache", path);
}

int caches_check(struct bench *bench, const char *path, double wanted)
{
    double share = caches_share(bench, path);
    if (share < 0) {
        return -1;
    }
    return share < wanted || share > wanted
               ? bench_fail(bench, "%s is %.0f %% in the page cache", path,
                            share * 100)
               : 0;
}

/* A line of /proc/self/io, see proc(5). */
static int64_t io_line(const char *name)
{
    long long bytes = -1;
    char line[128];
    size_t size = strlen(name);
    FILE *io = fopen("/proc/self/io", "r");
    while (io != NULL && fgets(line, sizeof line, io) != NULL) {
        if (strncmp(line, name, size) == 0 && line[size] == ':') {
            bytes = strtoll(line + size + 1, NULL, 10);
            break;
        }
    }
    if (io != NULL) {
        fclose(io);
    }
    return bytes;
}

int64_t caches_device_read(void)
{
    return io_line("read_bytes");
}

int64_t caches_device_written(void)
{
    return io_line("write_bytes");
}

uint64_t caches_moved(bool reads)
{
    int64_t bytes = io_line(reads ? "rchar" : "wchar");
    return bytes > 0 ? (uint64_t)bytes : 0;
}

/* Does the kernel count what goes to the device of the row's files? Not where
 * there is none: in memory, or behind a daemon or a network. */
static bool is_counted(const struct bench *bench)
{
    /* its st_dev has no major number either */
    static const uint32_t btrfs = 0x9123683eu;
    struct stat info;
    struct statfs fs;
    return caches_device_read() >= 0 && stat(bench->dir, &info) == 0 &&
           statfs(bench->dir, &fs) == 0 &&
           (major(info.st_dev) != 0 || (uint32_t)fs.f_type == btrfs);
}

int caches_prove(struct bench *bench, const struct bench_result *result,
                 uint64_t code)
{
    const struct bench_row *row = bench->row;
    double share = (double)result->device_bytes / (double)result->bytes;
    bool reads = row->op != KVT_FS_WRITE;
    if (row->cache == BENCH_NONE || !is_counted(bench)) {
        return 0;
    }
    if (row->cache == BENCH_WARM) {
        return !reads || share < 0.01 || result->device_bytes <= code
                   ? 0
                   : bench_fail(bench,
                                "not warm: %.0f %% of the bytes came from the "
                                "device",
                                share * 100);
    }
    return share > 0.98
               ? 0
               : bench_fail(bench, "not %s: %.0f %% of the bytes %s the device",
                            row->cache == BENCH_COLD ? "cold" : "direct",
                            share * 100, reads ? "came from" : "went to");
}
