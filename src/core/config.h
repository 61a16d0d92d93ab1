/* Settings as the library itself reads them. Keys are names of the table: a
 * key that is not there, or is of another type, is a programmer's error and
 * is asserted. Texts live until the configuration is changed or closed. */
#ifndef KVT_CORE_CONFIG_H
#define KVT_CORE_CONFIG_H

#include <kvtier/config.h>
#include <stdbool.h>

double kvt_config_ratio(const struct kvt_config *config, const char *key);

/* A limit given as a size (returns false, sets `*bytes`, and `*fraction` to
 * 0) or as a share of the file system (returns true, sets `*fraction`, and
 * `*bytes` to 0). */
bool kvt_config_limit(const struct kvt_config *config, const char *key,
                      uint64_t *bytes, double *fraction);

/* Whether anything but the default set the value. */
bool kvt_config_is_given(const struct kvt_config *config, const char *key);

/* Path and fs of the chosen backend: the distributed keys for `distributed`
 * (whose path falls back to `path`), the plain ones otherwise. */
const char *kvt_config_store_path(const struct kvt_config *config);
const char *kvt_config_store_fs(const struct kvt_config *config);

struct kvt_module;

/* Joins the settings of a module that was loaded; does nothing when they are
 * in it. KVT_OK, or a code with `err` filled: no memory, or the settings of
 * two modules clash. */
int kvt_config_join(struct kvt_config *config, const struct kvt_module *module,
                    struct kvt_error *err);

/* The file of the module NAME: the one that `fs` or `distributed.fs` gives,
 * or what is found in the folders. False when there is none. */
bool kvt_config_module_file(const struct kvt_config *config, const char *name,
                            char *file);

/* Calls `each` for every such file, once for a name. Stops at non-zero and
 * returns it; a negative code when `module_path` cannot be read. */
int kvt_config_each_module(const struct kvt_config *config,
                           int (*each)(const char *file, void *arg), void *arg,
                           struct kvt_error *err);

/* Returns a copy with the same values and sources (close with
 * kvt_config_close), or null when memory is short. */
struct kvt_config *kvt_config_copy(const struct kvt_config *config);

#endif
