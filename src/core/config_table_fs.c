/* Rows of adapters and wrappers, one array each. They stand in the core, not
 * in the loadable modules of this project, so that a setting of a module that
 * is not installed is still known, checked and explained. Modules of others
 * bring their rows along. */
#include "core/config_table.h"

const char *const kvt_config_adapters[] = {
    "posix", "uring", "hf3fs", "cephfs", "juicefs", "mem", NULL,
};

const char *const kvt_config_wrappers[] = {"fault", "trace", "crash", NULL};

static const struct kvt_config_row uring_rows[] = {
    {.key = "uring.queue_depth",
     .type = KVT_CONFIG_COUNT,
     .unit = "transfers",
     .default_text = "128",
     .min = 1,
     .max = 4096,
     .help = "Transfers in flight on one ring."},
    {.key = "uring.registered_max",
     .type = KVT_CONFIG_SIZE,
     .unit = "bytes",
     .default_text = "1GiB",
     .max = KVT_CONFIG_SIZE_MAX,
     .help = "Memory of the store that may be registered with every ring: its "
             "pages are locked."},
};

static const struct kvt_config_choice hf3fs_client_choices[] = {
    {"own", {0}},
    {"vendor", {0}},
    {0},
};

static const struct kvt_config_row hf3fs_rows[] = {
    {.key = "hf3fs.client",
     .type = KVT_CONFIG_ENUM,
     .default_text = "own",
     .choices = hf3fs_client_choices,
     .help = "Whether kvtier's own client or the vendor's library talks to "
             "the 3FS daemon."},
    {.key = "hf3fs.library",
     .type = KVT_CONFIG_STRING,
     .flags = KVT_CONFIG_EMPTY,
     .max = KVT_CONFIG_PATH_MAX,
     .help = "File of the vendor's library; empty leaves it to the loader."},
};

static const struct kvt_config_row cephfs_rows[] = {
    {.key = "cephfs.conf",
     .type = KVT_CONFIG_STRING,
     .flags = KVT_CONFIG_EMPTY,
     .max = KVT_CONFIG_PATH_MAX,
     .help = "Ceph's configuration file; empty is Ceph's own search."},
    {.key = "cephfs.id",
     .type = KVT_CONFIG_STRING,
     .flags = KVT_CONFIG_EMPTY,
     .max = 256,
     .help = "Ceph user without the `client.` in front; empty is Ceph's "
             "default."},
    {.key = "cephfs.keyring",
     .type = KVT_CONFIG_STRING,
     .flags = KVT_CONFIG_EMPTY,
     .max = KVT_CONFIG_PATH_MAX,
     .help = "File with the user's key; empty is Ceph's own search."},
    {.key = "cephfs.fs",
     .type = KVT_CONFIG_STRING,
     .flags = KVT_CONFIG_EMPTY,
     .max = 256,
     .help = "Name of the file system in the cluster; empty is its default."},
    {.key = "cephfs.root",
     .type = KVT_CONFIG_STRING,
     .flags = KVT_CONFIG_EMPTY,
     .max = KVT_CONFIG_PATH_MAX,
     .help = "Directory of the file system that is mounted; empty is its "
             "root."},
    {.key = "cephfs.option.NAME",
     .type = KVT_CONFIG_STRING,
     .flags = KVT_CONFIG_EMPTY | KVT_CONFIG_FAMILY,
     .max = KVT_CONFIG_PATH_MAX,
     .help = "Ceph's own option NAME, given to its library as it is."},
};

static const struct kvt_config_choice juicefs_trash_choices[] = {
    {"warn", {0}},
    {"refuse", {0}},
    {"empty", {0}},
    {0},
};

static const struct kvt_config_row juicefs_rows[] = {
    {.key = "juicefs.meta",
     .type = KVT_CONFIG_STRING,
     .flags = KVT_CONFIG_EMPTY,
     .max = KVT_CONFIG_PATH_MAX,
     .help = "Address of the volume's metadata engine; empty asks the mount."},
    {.key = "juicefs.trash",
     .type = KVT_CONFIG_ENUM,
     .default_text = "warn",
     .choices = juicefs_trash_choices,
     .help = "What to do about a volume that keeps removed files in a trash "
             "bin."},
};

static const struct kvt_config_row mem_rows[] = {
    {.key = "mem.capacity",
     .type = KVT_CONFIG_SIZE,
     .unit = "bytes",
     .default_text = "0",
     .max = KVT_CONFIG_SIZE_MAX,
     .help = "Size of the file system in memory; 0 is 1TiB."},
    {.key = "mem.facts",
     .type = KVT_CONFIG_STRING,
     .flags = KVT_CONFIG_EMPTY,
     .max = 512,
     .help = "What the file system in memory is like, words parted by `,`: "
             "no_rename, no_noreplace, no_links, no_overwrite, no_exclusive, "
             "align4096, transfer64k, slices4, close_to_open, after_sync, "
             "lost_on_kill, removed_gone, trash, shared, no_punch, "
             "short_names."},
};

static const struct kvt_config_row fault_rows[] = {
    {.key = "fault.rules",
     .type = KVT_CONFIG_STRING,
     .flags = KVT_CONFIG_EMPTY | KVT_CONFIG_SEMICOLON,
     .max = KVT_CONFIG_TEXT_MAX,
     .help = "Rules OP[@GLOB],nth=N|every=N|from=N|prob=P,do=ERRNAME|short=N|"
             "delay=MS|hang[=MS] of the fault wrapper, several parted by "
             "`;`."},
    {.key = "fault.seed",
     .type = KVT_CONFIG_COUNT,
     .default_text = "0",
     .max = UINT64_MAX,
     .help = "Seed of what the fault wrapper chooses by chance."},
};

static const struct kvt_config_row trace_rows[] = {
    {.key = "trace.file",
     .type = KVT_CONFIG_STRING,
     .flags = KVT_CONFIG_EMPTY,
     .max = KVT_CONFIG_PATH_MAX,
     .help = "File that the trace wrapper appends its JSON lines to."},
};

#define GROUP(name, array)                                                     \
    {                                                                          \
        name, array, sizeof(array) / sizeof((array)[0])                        \
    }
const struct kvt_config_group kvt_config_fs_groups[] = {
    GROUP("uring", uring_rows),   GROUP("hf3fs", hf3fs_rows),
    GROUP("cephfs", cephfs_rows), GROUP("juicefs", juicefs_rows),
    GROUP("mem", mem_rows),       GROUP("fault", fault_rows),
    GROUP("trace", trace_rows),
};

const size_t kvt_config_fs_group_count =
    sizeof(kvt_config_fs_groups) / sizeof(kvt_config_fs_groups[0]);
