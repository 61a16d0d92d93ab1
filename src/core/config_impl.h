/* What the files config*.c share. Nobody else includes this. */
#ifndef KVT_CORE_CONFIG_IMPL_H
#define KVT_CORE_CONFIG_IMPL_H

#include "core/config.h"
#include "core/config_value.h"

/* The later in this list wins. */
enum kvt_config_rank {
    KVT_CONFIG_RANK_DEFAULT,
    KVT_CONFIG_RANK_FILE,
    KVT_CONFIG_RANK_ENV_ALIAS, /* MOONCAKE_* */
    KVT_CONFIG_RANK_ENV,       /* KVTIER_* */
    KVT_CONFIG_RANK_OPTION,
};

/* Where a value comes from. */
struct kvt_config_origin {
    enum kvt_config_rank rank;
    const char *source; /* "file:PATH", "env:NAME", "option"; borrowed */
    unsigned line;      /* of the file, from 1; 0 for the other sources */
};

/* One setting. A family row has an entry of its own, which only describes
 * it, and one for each of its keys that was set. All texts are owned. */
struct kvt_config_entry {
    const struct kvt_config_row *row;
    char *key;
    struct kvt_config_value value;
    enum kvt_config_rank rank;
    char *source;
    char *default_text; /* canonical */
    char *allowed;
    unsigned line; /* in the file that is being loaded; 0: not in it */
};

struct kvt_config {
    struct kvt_config_entry *entries; /* in the table's order */
    size_t count;
    const struct kvt_module **joined; /* whose rows are in it, too */
    size_t joined_count;
};

/* The entry with exactly this key; for a key of a family that was not set,
 * the family's own; null when unknown. */
struct kvt_config_entry *kvt_config_find(const struct kvt_config *config,
                                         const char *key);

/* Sets one value if its rank is not below that of the present one; it is
 * checked in any case. Returns KVT_OK or a code with `err` filled, and then
 * nothing has changed. */
int kvt_config_assign(struct kvt_config *config, const char *key,
                      const char *value, const struct kvt_config_origin *origin,
                      struct kvt_error *err);

/* Moves the draft's settings into `config`, frees the old ones and the
 * draft. So a source with many values is taken as a whole or not at all. */
void kvt_config_adopt(struct kvt_config *config, struct kvt_config *draft);

/* Fill `err` and return the code: for memory that is short; for a key that
 * the table lacks (`origin` is null where it was only asked for); and for a
 * text that is no value of the entry's row (`rc` is the parser's). */
int kvt_config_no_memory(struct kvt_error *err);
int kvt_config_unknown(const struct kvt_config *config, const char *key,
                       const char *value,
                       const struct kvt_config_origin *origin,
                       struct kvt_error *err);
int kvt_config_bad_value(const struct kvt_config_entry *entry, const char *key,
                         const char *value,
                         const struct kvt_config_origin *origin, int rc,
                         const struct kvt_config_fault *fault,
                         struct kvt_error *err);

/* Sources are read in stages, see config_modules.c: the stage of a key, and
 * the loaders for the first `stages` of them. All of these is taken, or
 * nothing. */
#define KVT_CONFIG_STAGES 3u
unsigned kvt_config_stage(const char *key);
int kvt_config_load_file_stages(struct kvt_config *config, const char *path,
                                unsigned stages, struct kvt_error *err);
int kvt_config_load_env_stages(struct kvt_config *config, unsigned stages,
                               struct kvt_error *err);

/* Whether every part of `wrapper:...:adapter` is known: 0, or -EINVAL with
 * `fault` filled. */
int kvt_config_fs_check(const struct kvt_config *config, const char *text,
                        struct kvt_config_fault *fault);

/* For a key, or the lower case of what stands behind KVTIER_, that the table
 * lacks: joins the settings of the module whose it may be. 1 when some
 * joined, 0 when not, otherwise a code with `err` filled: there is such a
 * module, and it cannot be loaded. */
int kvt_config_join_for_key(struct kvt_config *config, const char *key,
                            struct kvt_error *err);
int kvt_config_join_for_variable(struct kvt_config *config, const char *name,
                                 struct kvt_error *err);

/* config.c, for kvt_config_join: adds the rows, all or none. */
int kvt_config_append(struct kvt_config *config,
                      const struct kvt_module *module, struct kvt_error *err);

/* The length of a family's key without NAME. */
size_t kvt_config_family_stem(const struct kvt_config_row *row);

#endif
