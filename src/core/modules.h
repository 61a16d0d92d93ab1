/* Adapters in files of their own, as the configuration needs them: their
 * settings join its table once they are found. What is declared here is
 * carried out above the core, by src/fs/module*.c. */
#ifndef KVT_CORE_MODULES_H
#define KVT_CORE_MODULES_H

#include "core/config_table.h"

#include <kvtier/error.h>
#include <stdbool.h>

#define KVT_MODULE_NAME_MAX 31u
#define KVT_MODULE_FILE_MAX 4096u

struct kvt_fs_ops;

/* One that was loaded: it stays until the process ends. */
struct kvt_module {
    char *file;       /* as it was asked for, absolute */
    const char *name; /* of the adapter */
    const struct kvt_fs_ops *ops;
    int (*available)(struct kvt_error *err); /* or null */
    struct kvt_config_group settings;
    struct kvt_module *next; /* the core does not look at it */
};

/* 1 to KVT_MODULE_NAME_MAX of a-z, 0-9 and _, a letter first. */
bool kvt_module_name_is_valid(const char *name, size_t size);

/* NAME of ".../kvtier-fs-NAME.so"; false when it is not called so. */
bool kvt_module_name_of(const char *file, char name[KVT_MODULE_NAME_MAX + 1]);

/* The file of a module: in `module_path` ("": none), or in the folders of the
 * library. It is not looked at; false when there is none. */
bool kvt_module_find(const char *module_path, const char *name,
                     char file[KVT_MODULE_FILE_MAX]);

/* Whether `module_path` is a folder that can be read. KVT_OK or a code. */
int kvt_module_path_check(const char *module_path, struct kvt_error *err);

/* Calls `each` for every file kvtier-fs-*.so of those folders, in the order
 * of names, once for a name; stops at non-zero and returns it. A negative
 * code, with `err` filled, when `module_path` cannot be read. */
int kvt_module_each(const char *module_path,
                    int (*each)(const char *file, void *arg), void *arg,
                    struct kvt_error *err);

/* Loads a module, or finds the one that was loaded from this file. KVT_OK, or
 * KVT_ERR_NOT_SUPPORTED with `err` filled: why not, and what to do. Any
 * thread. */
int kvt_module_load(const char *file, const struct kvt_module **module,
                    struct kvt_error *err);

#endif
