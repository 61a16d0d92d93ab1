/* Settings as the library itself reads them. Keys are names of the table: a
 * key that is not there, or is of another type, is a programmer's error and
 * is asserted. Texts live until the configuration is changed or closed. */
#ifndef KVT_CORE_CONFIG_H
#define KVT_CORE_CONFIG_H

#include <kvtier/config.h>
#include <stdbool.h>

/* A size or a count. */
uint64_t kvt_config_u64(const struct kvt_config *config, const char *key);
bool kvt_config_bool(const struct kvt_config *config, const char *key);
double kvt_config_ratio(const struct kvt_config *config, const char *key);

/* The canonical text of any row; "" where nothing was given. */
const char *kvt_config_text(const struct kvt_config *config, const char *key);

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

/* Returns a copy with the same values and sources (close with
 * kvt_config_close), or null when memory is short. */
struct kvt_config *kvt_config_copy(const struct kvt_config *config);

#endif
