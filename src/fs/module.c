/* Modules: adapters that are loaded from files of their own.
 *
 * One that was taken stays until the process ends: its library may have left
 * threads and exit handlers behind that nobody could call back, mounts point
 * to its table and configurations to its settings. So the list below only
 * grows, and needs no lock to be read. One that was refused is closed again:
 * nothing of it is in use, and after it was mended it can be tried again. */
#define _GNU_SOURCE /* dladdr1 */
#include "fs/module.h"

#include "fs/fs_core.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct kvt_module *loaded; /* atomic */

static const char rebuild[] = "build it anew against this version's headers";

static const struct kvt_module *find_loaded(const struct kvt_module *from,
                                            const char *file)
{
    while (from != NULL && strcmp(from->file, file) != 0) {
        from = from->next;
    }
    return from;
}

static int refuse(const char *file, const char *remedy, struct kvt_error *err,
                  const char *format, ...) KVT_PRINTF(4, 5);

static int refuse(const char *file, const char *remedy, struct kvt_error *err,
                  const char *format, ...)
{
    char why[512];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    return kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, 0, file, remedy, "%s %s",
                         file, why);
}

/* The symbol, if there is as much behind it as a table's first two members. */
static const struct kvt_fs_module *find_table(void *handle)
{
    Dl_info info;
    const ElfW(Sym) *symbol = NULL;
    void *address = dlsym(handle, "kvt_fs_module");
    if (address == NULL ||
        dladdr1(address, &info, (void **)&symbol, RTLD_DL_SYMENT) == 0 ||
        symbol == NULL || ELF64_ST_TYPE(symbol->st_info) != STT_OBJECT ||
        symbol->st_size < 2 * sizeof(uint32_t) ||
        (uintptr_t)address % _Alignof(struct kvt_fs_module) != 0) {
        return NULL;
    }
    const struct kvt_fs_module *table = address;
    /* a size beyond that of the object is nobody's table; a sanitizer may pad
     * the object */
    return table->size <= symbol->st_size ? table : NULL;
}

static int check_table(const struct kvt_fs_module *table, const char *file,
                       struct kvt_error *err)
{
    if (table == NULL) {
        return refuse(file,
                      "name the file of a module; one is made as "
                      "docs/adding-an-adapter.md says",
                      err, "is no module: it has no table kvt_fs_module");
    }
    if (table->version != KVT_FS_VERSION) {
        return refuse(file, rebuild, err,
                      "speaks version %u of the interface, this library "
                      "version %u",
                      (unsigned)table->version, KVT_FS_VERSION);
    }
    if (table->size != sizeof *table) {
        return refuse(file, rebuild, err,
                      "has a module table of %u bytes, this library expects "
                      "%zu",
                      (unsigned)table->size, sizeof *table);
    }
    if (table->linked_with != kvt_fs_complete) {
        return refuse(
            file, "link the program, and the module, with libkvtier.so", err,
            "is linked with another copy of the library than this "
            "program");
    }
    if (table->ops == NULL) {
        return refuse(file, "fill .ops", err, "has a module table without ops");
    }
    return KVT_OK;
}

static int check_adapter(const struct kvt_fs_ops *ops, const char *file,
                         struct kvt_error *err)
{
    char name[KVT_MODULE_NAME_MAX + 1];
    int rc = kvt_fs_check_table(ops, err);
    if (rc != KVT_OK) {
        kvt_error_prefix(err, "%s", file);
        return KVT_ERR_NOT_SUPPORTED;
    }
    struct kvt_fs_ops full;
    kvt_fs_full_table(ops, &full);
    if (full.wraps) {
        return refuse(file, "wrappers have to be part of the library", err,
                      "is a wrapper");
    }
    if (!kvt_module_name_of(file, name) || strcmp(name, ops->name) != 0) {
        return refuse(file, "name the file after the adapter in it", err,
                      "holds the adapter \"%s\"", ops->name);
    }
    return KVT_OK;
}

/* What is in the list stays; false when another thread was faster. */
static bool keep(struct kvt_module *module)
{
    struct kvt_module *first = __atomic_load_n(&loaded, __ATOMIC_ACQUIRE);
    do {
        if (find_loaded(first, module->file) != NULL) {
            return false;
        }
        module->next = first;
    } while (!__atomic_compare_exchange_n(&loaded, &first, module, false,
                                          __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
    return true;
}

static int no_memory(const char *file, struct kvt_error *err)
{
    return kvt_error_set(err, KVT_ERR_INTERNAL, ENOMEM, file, NULL,
                         "no memory to load %s", file);
}

/* Makes a module of a table that was checked. */
static int take(const struct kvt_fs_module *table, const char *file,
                struct kvt_module **out, struct kvt_error *err)
{
    struct kvt_module *module = calloc(1, sizeof *module);
    if (module == NULL || (module->file = strdup(file)) == NULL) {
        free(module);
        return no_memory(file, err);
    }
    module->name = table->ops->name;
    module->ops = table->ops;
    module->available = table->available;
    int rc = kvt_module_settings_init(&module->settings, table, err);
    if (rc != KVT_OK) {
        kvt_error_prefix(err, "%s", file);
        free(module->file);
        free(module);
        return rc;
    }
    *out = module;
    return KVT_OK;
}

static void drop(struct kvt_module *module)
{
    kvt_module_settings_fini(&module->settings);
    free(module->file);
    free(module);
}

static int load(void *handle, const char *file, struct kvt_error *err)
{
    const struct kvt_fs_module *table = find_table(handle);
    struct kvt_module *module = NULL;
    int rc = check_table(table, file, err);
    if (rc == KVT_OK) {
        rc = check_adapter(table->ops, file, err);
    }
    if (rc == KVT_OK) {
        rc = take(table, file, &module, err);
    }
    if (rc == KVT_OK && !keep(module)) {
        drop(module);
        dlclose(handle); /* the other thread has one of its own */
    }
    return rc;
}

int kvt_module_load(const char *file, const struct kvt_module **module,
                    struct kvt_error *err)
{
    *module = find_loaded(__atomic_load_n(&loaded, __ATOMIC_ACQUIRE), file);
    if (*module != NULL) {
        return KVT_OK;
    }
    int rc = kvt_module_file_check(file, err);
    if (rc != KVT_OK) {
        return rc;
    }
    /* NOW: what it lacks is told here, and is no crash later. LOCAL: two
     * modules may each have their own of what they define. */
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        const char *why = dlerror();
        return kvt_error_set(err, KVT_ERR_NOT_SUPPORTED, 0, file,
                             "install what it needs; `ldd` of the file lists "
                             "that",
                             "%s cannot be loaded: %s", file,
                             why != NULL ? why : "the loader does not say why");
    }
    rc = load(handle, file, err);
    if (rc != KVT_OK) {
        dlclose(handle);
        return rc;
    }
    *module = find_loaded(__atomic_load_n(&loaded, __ATOMIC_ACQUIRE), file);
    return KVT_OK;
}
