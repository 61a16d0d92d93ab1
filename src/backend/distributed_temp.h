/* Temporaries of a shared root: `<hh>/%tmp-<writer>-<opening>-<number>`, beside
 * the file that they become. No key is mapped to such a name. */
#ifndef KVT_BACKEND_DISTRIBUTED_TEMP_H
#define KVT_BACKEND_DISTRIBUTED_TEMP_H

#include <kvtier/fs.h>
#include <stdbool.h>
#include <stdint.h>

#define DIST_TEMP_PATH_MAX 80u

struct dist_temps {
    uint64_t writer;  /* of host, process and its start */
    uint64_t opening; /* random */
    uint64_t number;  /* atomic: the next */
    int64_t grace_ns; /* age at which the writer is taken for dead; 0: never */
    uint64_t removed; /* atomic */
};

/* 0 or -errno. */
int kvt_dist_temps_init(struct dist_temps *temps, uint64_t grace_s);

/* The next path of a temporary in a directory. */
void kvt_dist_temp_path(struct dist_temps *temps, const char *directory,
                        char path[DIST_TEMP_PATH_MAX]);

/* Is this the name of a temporary, whoever's? */
bool kvt_dist_is_temp(const char *name);

/* Removes a temporary that was last written at `modified_ns` (Unix time) when
 * its writer must be dead. Blocks. */
void kvt_dist_temp_collect(struct dist_temps *temps, struct kvt_fs *fs,
                           const char *directory, const char *name,
                           int64_t modified_ns);

#endif
