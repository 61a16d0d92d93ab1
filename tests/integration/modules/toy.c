/* A module for tests/integration/test_modules.sh: good as it is, and with
 * definitions on the command line wrong in one way. It is loaded, listed and
 * asked for its settings; a mount of it always fails. */
#include <kvtier/fs.h>

#ifndef NAME
#define NAME "toy"
#endif
#ifndef KEY
#define KEY NAME ".size"
#endif
#ifndef TYPE
#define TYPE KVT_FS_SETTING_SIZE
#endif
#ifndef DEFAULT
#define DEFAULT "4KiB"
#endif
#ifndef HELP
#define HELP "Size of it."
#endif

static int toy_mount(const struct kvt_fs_mount_args *args, struct kvt_fs **fs,
                     struct kvt_error *err)
{
    (void)fs;
#ifdef NO_REASON
    (void)args;
    (void)err;
    return NO_REASON;
#else
    return kvt_error_set(err, KVT_ERR_FILE_OPEN_FAIL, 0, args->root,
                         "use another", "the toy cannot be mounted: %s = %llu",
                         KEY,
                         (unsigned long long)kvt_config_u64(args->config, KEY));
#endif
}

static void toy_unmount(struct kvt_fs *fs)
{
    (void)fs;
}

static int64_t toy_execute(struct kvt_fs *fs, struct kvt_fs_elem *elem)
{
    (void)fs;
    (void)elem;
    return -1;
}

static int toy_name(struct kvt_fs *fs, const char *path)
{
    (void)fs;
    (void)path;
    return -1;
}

static int toy_list(struct kvt_fs *fs, const char *path, bool sizes,
                    kvt_fs_list_fn each, void *arg)
{
    (void)sizes;
    (void)each;
    (void)arg;
    return toy_name(fs, path);
}

#ifndef NO_RENAME
static int toy_rename(struct kvt_fs *fs, const char *from, const char *to,
                      bool replace)
{
    (void)to;
    (void)replace;
    return toy_name(fs, from);
}
#endif

static int toy_usage(struct kvt_fs *fs, struct kvt_fs_usage *usage)
{
    (void)fs;
    (void)usage;
    return -1;
}

static int toy_lock(struct kvt_fs *fs, const char *path, const char *holder,
                    char *owner, size_t owner_size, struct kvt_fs_lock **lock)
{
    (void)holder;
    (void)owner;
    (void)owner_size;
    (void)lock;
    return toy_name(fs, path);
}

static void toy_unlock(struct kvt_fs_lock *lock)
{
    (void)lock;
}

#ifdef UNDEFINED
int nobody_has_this(void);
#endif
#ifdef MISSING_LIBRARY
int toy_library(void);
#endif

#ifdef UNAVAILABLE
static int toy_available(struct kvt_error *err)
{
#ifdef NO_REASON
    (void)err;
    return NO_REASON;
#endif
    return kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, 0, NULL,
                         "start the toy's daemon", "the toy has no daemon");
}
#endif

#ifdef NO_QUEUE_OPEN
static const struct kvt_fs_queue_ops toy_queue = {.operations = 0};
#endif

#ifndef OPS_SIZE
#define OPS_SIZE sizeof(struct kvt_fs_ops)
#endif
#ifndef OPS_VERSION
#define OPS_VERSION KVT_FS_VERSION
#endif

static const struct kvt_fs_ops toy_ops = {
    .size = OPS_SIZE,
    .version = OPS_VERSION,
#ifndef NO_NAME
    .name = NAME,
#endif
    .summary = "a toy",
    .mount = toy_mount,
    .unmount = toy_unmount,
    .execute = toy_execute,
    .mkdirs = toy_name,
    .list = toy_list,
#ifndef NO_RENAME
    .rename = toy_rename,
#endif
    .rmdir = toy_name,
    .usage = toy_usage,
    .lock = toy_lock,
    .unlock = toy_unlock,
#ifdef WRAPS
    .wraps = true,
#endif
#ifdef NO_QUEUE_OPEN
    .queue = &toy_queue,
#endif
};

static const char *const choices[] = {
#ifndef NO_CHOICES
    "a", "b",
#endif
    NULL};

static const struct kvt_fs_setting toy_settings[] = {
    {.key = KEY,
     .type = TYPE,
     .unit = "bytes",
     .default_value = DEFAULT,
     .max = 1 << 20,
     .choices = choices,
     .help = HELP},
    {.key = NAME ".mode",
     .type = KVT_FS_SETTING_CHOICE,
     .default_value = "a",
     .choices = choices,
     .help = "How it is."},
#ifdef TWICE
    {.key = NAME ".mode",
     .type = KVT_FS_SETTING_BOOL,
     .default_value = "on",
     .help = "The same once more."},
#endif
};

#if defined TINY
extern KVT_API const char kvt_fs_module;
const char kvt_fs_module = 1;
#elif defined FUNCTION
extern KVT_API int kvt_fs_module(void);
int kvt_fs_module(void)
{
    return toy_ops.size != 0 && toy_settings[0].key != NULL;
}
#elif defined LARGER
struct larger {
    struct kvt_fs_module module;
    void *more[4];
};
extern KVT_API const struct larger kvt_fs_module;
const struct larger kvt_fs_module = {
    .module = {.size = sizeof(struct larger),
               .version = KVT_FS_VERSION,
               .ops = &toy_ops,
               .settings = toy_settings,
               .setting_count = 1,
               .linked_with = kvt_fs_complete}};
#elif defined SMALLER
struct smaller {
    uint32_t size;
    uint32_t version;
    const struct kvt_fs_ops *ops;
    const struct kvt_fs_setting *settings;
};
extern KVT_API const struct smaller kvt_fs_module;
const struct smaller kvt_fs_module = {sizeof(struct smaller), KVT_FS_VERSION,
                                      &toy_ops, toy_settings};
#elif defined LYING /* more bytes than there are */
extern KVT_API const uint32_t kvt_fs_module[2];
const uint32_t kvt_fs_module[2] = {sizeof(struct kvt_fs_module),
                                   KVT_FS_VERSION};
#else
#ifdef HIDDEN
static
#else
extern KVT_API const struct kvt_fs_module kvt_fs_module;
#endif
    const struct kvt_fs_module kvt_fs_module = {
        KVT_FS_MODULE_INIT,
#ifndef NO_OPS
        .ops = &toy_ops,
#endif
        .settings = toy_settings,
        .setting_count = sizeof toy_settings / sizeof toy_settings[0],
#ifdef UNAVAILABLE
        .available = toy_available,
#endif
#ifdef VERSION
        .version = VERSION,
#endif
};
#endif

/* Refers to what would else be unused, or be dropped by the linker. */
KVT_API int toy_uses(void);
int toy_uses(void)
{
    int sum = (int)sizeof toy_ops + (int)sizeof toy_settings + choices[0][0];
#ifdef UNDEFINED
    sum += nobody_has_this();
#endif
#ifdef MISSING_LIBRARY
    sum += toy_library();
#endif
    return sum;
}
