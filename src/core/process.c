#include "core/process.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Unix time at which this process started: boot time, and the 22nd field of
 * /proc/self/stat in clock ticks after it (proc(5)). 0 when unknown. */
static time_t start_time(void)
{
    char text[1024];
    unsigned long long ticks = 0;
    FILE *file = fopen("/proc/self/stat", "re");
    if (file == NULL) {
        return 0;
    }
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = '\0';
    const char *at = strrchr(text, ')'); /* the name may hold spaces */
    for (int field = 2; at != NULL && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    if (at == NULL || sscanf(at, " %llu", &ticks) != 1) {
        return 0;
    }
    struct timespec now;
    struct timespec up;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0 ||
        clock_gettime(CLOCK_BOOTTIME, &up) != 0) {
        return 0;
    }
    long rate = sysconf(_SC_CLK_TCK);
    return now.tv_sec - up.tv_sec + (time_t)(ticks / (unsigned long)rate);
}

void kvt_process_describe(char text[KVT_PROCESS_TEXT_MAX])
{
    char host[HOST_NAME_MAX + 1] = "unknown";
    char start[32] = "unknown";
    time_t at = start_time();
    struct tm utc;
    gethostname(host, sizeof host - 1);
    host[sizeof host - 1] = '\0';
    if (at != 0 && gmtime_r(&at, &utc) != NULL) {
        strftime(start, sizeof start, "%Y-%m-%dT%H:%M:%SZ", &utc);
    }
    snprintf(text, KVT_PROCESS_TEXT_MAX, "host %s, pid %ld, started %s", host,
             (long)getpid(), start);
}

static atomic_uint forks;
static pthread_once_t counting = PTHREAD_ONCE_INIT;

static void count_fork(void)
{
    atomic_fetch_add(&forks, 1);
}

static void start_counting(void)
{
    pthread_atfork(NULL, NULL, count_fork);
}

unsigned kvt_process_forks(void)
{
    pthread_once(&counting, start_counting);
    return atomic_load(&forks);
}

uint32_t kvt_process_files_max(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 256;
    }
    return limit.rlim_cur < UINT32_MAX ? (uint32_t)limit.rlim_cur : UINT32_MAX;
}

void kvt_process_boot(uint8_t boot[16])
{
    static const char hex[] = "0123456789abcdef";
    char text[64] = {0};
    memset(boot, 0, 16);
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file == NULL) {
        return;
    }
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    size_t digits = 0;
    for (size_t i = 0; i < size && digits < 32; i++) {
        const char *at = strchr(hex, text[i]);
        if (at != NULL && text[i] != '\0') {
            unsigned value = (unsigned)(at - hex);
            boot[digits / 2] = (uint8_t)(boot[digits / 2] << 4 | value);
            digits++;
        }
    }
}
