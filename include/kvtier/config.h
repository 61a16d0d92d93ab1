/*
 * kvtier/config.h - settings of one store.
 *
 * Every setting is a row of one table: name, type, unit, default, bounds, a
 * sentence. A value comes from the default, a file, the environment or an
 * explicit call; the later in that list wins, whatever the order of the
 * calls, and each value remembers where it came from. Nothing is ignored:
 * an unknown name, a value that cannot be read or is out of bounds is an
 * error at once and changes nothing; a combination that cannot work is an
 * error of kvt_config_check, which kvt_store_open calls first.
 *
 * An adapter in a file of its own (a module, see kvtier/fs.h) may bring rows
 * that are called as the adapter is: `NAME.key`. They join the table when one
 * of them is set and the module is found; so `module_path`, or an `fs` that
 * names the file, has to be set before them. kvt_config_load_file and
 * kvt_config_load_env see to that for what they read, and
 * kvt_config_load_module_path for several sources.
 *
 * Who sets the environment or the file can make the process load code
 * (`module_path`, `fs`): a program with more rights than its caller must not
 * read them from there.
 *
 * A configuration belongs to one thread at a time. A store copies what it
 * needs: the configuration may be closed right after the store was opened.
 */
#ifndef KVTIER_CONFIG_H
#define KVTIER_CONFIG_H

#include <kvtier/base.h>
#include <kvtier/error.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kvt_config;

/* One row of the table with its effective value. All texts are constant or
 * live as long as the configuration is not changed or closed. */
struct kvt_setting {
    const char *key;
    const char *value;  /* canonical text: sizes in plain bytes */
    const char *source; /* "default", "file:PATH", "env:NAME" or "option" */
    const char *default_value;
    const char *type; /* "string", "size", "count", "ratio", "bool", "enum" */
    const char *unit; /* "bytes", "ms", "" ... */
    const char *allowed; /* in words: "4KiB to 1GiB", "none, fifo, lru" */
    const char *help;    /* one sentence */
};

/* Returns a configuration of defaults (close with kvt_config_close), or null
 * when memory is short. */
KVT_API struct kvt_config *kvt_config_open(void);
KVT_API void kvt_config_close(struct kvt_config *config);

/* Sets one value explicitly. Returns KVT_OK or KVT_ERR_INVALID_PARAMS with
 * `err` filled (key, value, source, what is allowed, the nearest name). */
KVT_API int kvt_config_set(struct kvt_config *config, const char *key,
                           const char *value, struct kvt_error *err);

/* Reads an INI file: `key = value`; a `[section]` prefixes `section.`. All of
 * it is taken, or nothing. */
KVT_API int kvt_config_load_file(struct kvt_config *config, const char *path,
                                 struct kvt_error *err);

/* Reads the environment: KVTIER_<KEY> (upper case, `.` as `_`), which must
 * all be known, and the MOONCAKE_* names of the table; the others of that
 * prefix are not ours. */
KVT_API int kvt_config_load_env(struct kvt_config *config,
                                struct kvt_error *err);

/* Takes `module_path` alone, from the file (null: none) and the environment:
 * for programs that read both, before they do, so that it does not matter
 * which of them names the folder and which the adapter. */
KVT_API int kvt_config_load_module_path(struct kvt_config *config,
                                        const char *path,
                                        struct kvt_error *err);

/* Joins the settings of every module that can be found and loaded: for
 * listings. KVT_OK, or a code when `module_path` cannot be read. */
KVT_API int kvt_config_load_modules(struct kvt_config *config,
                                    struct kvt_error *err);

/* Returns KVT_OK and fills `setting`, or KVT_ERR_INVALID_PARAMS for an
 * unknown key, with the nearest name in `err`. */
KVT_API int kvt_config_get(const struct kvt_config *config, const char *key,
                           struct kvt_setting *setting, struct kvt_error *err);

/* Calls `each` for every row in the table's order until it returns non-zero;
 * returns that value, or 0. */
KVT_API int kvt_config_each(const struct kvt_config *config,
                            int (*each)(const struct kvt_setting *setting,
                                        void *arg),
                            void *arg);

/* For adapters: a value by its key. Asking for a key that the table lacks, or
 * as another type, is a programmer's error, is asserted, and gives "", 0 or
 * false. The text of any row ("" where nothing was given) lives until the
 * configuration is changed or closed. */
KVT_API const char *kvt_config_text(const struct kvt_config *config,
                                    const char *key);
/* A size or a count. */
KVT_API uint64_t kvt_config_u64(const struct kvt_config *config,
                                const char *key);
KVT_API bool kvt_config_bool(const struct kvt_config *config, const char *key);

/* Checks what only the whole can tell: a path is given, the low watermark is
 * below the high one, and so on. */
KVT_API int kvt_config_check(const struct kvt_config *config,
                             struct kvt_error *err);

#ifdef __cplusplus
}
#endif

#endif
