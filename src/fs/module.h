/* What the files module*.c share. */
#ifndef KVT_FS_MODULE_H
#define KVT_FS_MODULE_H

#include "core/modules.h"

#include <kvtier/fs.h>

/* module_file.c: can the file be given to the loader? KVT_OK, or
 * KVT_ERR_NOT_SUPPORTED with `err` filled. */
int kvt_module_file_check(const char *file, struct kvt_error *err);

/* module_settings.c: makes rows of the table of what a module brings, in
 * `group` (end with kvt_module_settings_fini). KVT_OK, or a code with the
 * reason in `err`. */
int kvt_module_settings_init(struct kvt_config_group *group,
                             const struct kvt_fs_module *table,
                             struct kvt_error *err);
void kvt_module_settings_fini(struct kvt_config_group *group);

#endif
