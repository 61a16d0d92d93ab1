/* The table of settings: what kvt_config, `kvtier config`, the manual and the
 * tests know about every key. Each owner (the core, an adapter, a wrapper)
 * has an array of rows of its own; they are known whether or not the owner's
 * library is there. */
#ifndef KVT_CORE_CONFIG_TABLE_H
#define KVT_CORE_CONFIG_TABLE_H

#include <stddef.h>
#include <stdint.h>

enum kvt_config_type {
    KVT_CONFIG_STRING,
    KVT_CONFIG_PATH,  /* a string; a relative path is made absolute */
    KVT_CONFIG_FS,    /* a string: `ADAPTER`, `WRAPPER:...:ADAPTER`; the
                         configuration checks the names */
    KVT_CONFIG_SIZE,  /* bytes */
    KVT_CONFIG_LIMIT, /* bytes, or `N%` of what the file system has */
    KVT_CONFIG_COUNT,
    KVT_CONFIG_RATIO, /* 0 to 1 */
    KVT_CONFIG_BOOL,
    KVT_CONFIG_ENUM,
};

enum kvt_config_flags {
    KVT_CONFIG_EMPTY = 1,     /* a string that may be set to "" */
    KVT_CONFIG_FAMILY = 2,    /* the key ends with NAME: one row, many keys */
    KVT_CONFIG_SEMICOLON = 4, /* `;` parts the value: no comment in a file */
    KVT_CONFIG_ABSOLUTE = 8,  /* a string that starts with `/`, or is "" */
};

/* One value of an enumeration. An alias is read and never printed. */
struct kvt_config_choice {
    const char *name; /* null ends the list */
    const char *aliases[3];
};

struct kvt_config_row {
    const char *key;
    enum kvt_config_type type;
    unsigned flags;           /* of enum kvt_config_flags */
    const char *unit;         /* "bytes", "ms", "s"; "" where none */
    const char *default_text; /* "" of a string: none */
    /* Bounds of sizes and counts; a string is at most `max` bytes long. */
    uint64_t min;
    uint64_t max;
    const struct kvt_config_choice *choices; /* of an enumeration */
    const char *env; /* read besides KVTIER_<KEY>, or null */
    /* A boolean variable that means `env_on_value` when true, or null. */
    const char *env_on;
    const char *env_on_value;
    const char *help; /* one sentence */
};

struct kvt_config_group {
    const char *owner; /* "core", "cephfs" */
    const struct kvt_config_row *rows;
    size_t count;
};

/* The group at `index` of the library's own, in the order of listings, or null
 * past the last. Constant. */
const struct kvt_config_group *kvt_config_group_at(size_t index);

/* The arrays of adapters and wrappers, for kvt_config_group_at alone. */
extern const struct kvt_config_group kvt_config_fs_groups[];
extern const size_t kvt_config_fs_group_count;

/* Names that an fs value is made of; null ends each list. */
extern const char *const kvt_config_adapters[];
extern const char *const kvt_config_wrappers[];

#define KVT_CONFIG_PATH_MAX 4095u
#define KVT_CONFIG_TEXT_MAX 16384u
#define KVT_CONFIG_SIZE_MAX (UINT64_C(1) << 60) /* 1 EiB */

#endif
