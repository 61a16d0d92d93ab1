/* mem.facts: what a mount does, and says of itself. */
#include "fs/mem.h"

#include "core/config.h"
#include "core/suggest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    enum memfs_word word;
} all_words[] = {
    {"no_rename", MEMFS_NO_RENAME},
    {"no_noreplace", MEMFS_NO_NOREPLACE},
    {"no_links", MEMFS_NO_LINKS},
    {"no_overwrite", MEMFS_NO_OVERWRITE},
    {"no_exclusive", MEMFS_NO_EXCLUSIVE},
    {"align4096", MEMFS_ALIGN4096},
    {"transfer64k", MEMFS_TRANSFER64K},
    {"slices4", MEMFS_SLICES4},
    {"close_to_open", MEMFS_CLOSE_TO_OPEN},
    {"after_sync", MEMFS_AFTER_SYNC},
    {"lost_on_kill", MEMFS_LOST_ON_KILL},
    {"removed_gone", MEMFS_REMOVED_GONE},
    {"trash", MEMFS_TRASH},
    {"shared", MEMFS_SHARED},
    {"no_punch", MEMFS_NO_PUNCH},
    {"short_names", MEMFS_SHORT_NAMES},
};
#define WORD_COUNT (sizeof all_words / sizeof all_words[0])

static int unknown_word(const struct kvt_setting *setting, const char *word,
                        size_t size, struct kvt_error *err)
{
    char remedy[384] = "use";
    char wrong[64];
    struct kvt_suggest suggest;
    snprintf(wrong, sizeof wrong, "%.*s", (int)(size < 60 ? size : 60), word);
    kvt_suggest_init(&suggest, wrong);
    for (size_t i = 0; i < WORD_COUNT; i++) {
        size_t used = strlen(remedy);
        snprintf(remedy + used, sizeof remedy - used, "%s %s", i > 0 ? "," : "",
                 all_words[i].name);
        kvt_suggest_offer(&suggest, all_words[i].name);
    }
    bool near = suggest.best[0] != '\0';
    return kvt_error_set(
        err, KVT_ERR_INVALID_PARAMS, EINVAL, setting->key, remedy,
        "%s = %s (from %s): \"%s\" is no fact of the mem "
        "adapter%s%s%s",
        setting->key, setting->value, setting->source, wrong,
        near ? "; did you mean \"" : "", suggest.best, near ? "\"?" : "");
}

/* The bit of a word, or 0. */
static uint32_t find_word(const char *name, size_t size)
{
    for (size_t i = 0; i < WORD_COUNT; i++) {
        if (strlen(all_words[i].name) == size &&
            memcmp(all_words[i].name, name, size) == 0) {
            return (uint32_t)all_words[i].word;
        }
    }
    return 0;
}

int kvt_memfs_check_direct(const struct kvt_config *config, uint32_t words,
                           struct kvt_error *err)
{
    struct kvt_setting direct;
    bool aligned = (words & MEMFS_ALIGN4096) != 0;
    int rc = kvt_config_get(config, "direct", &direct, err);
    if (rc != KVT_OK || strcmp(direct.value, aligned ? "off" : "on") != 0) {
        return rc;
    }
    return kvt_error_set(
        err, KVT_ERR_NOT_SUPPORTED, EINVAL, "direct",
        aligned ? "leave it out, or leave align4096 out of mem.facts"
                : "leave it out, or set mem.facts to align4096",
        "direct = %s (from %s) cannot be kept by these mem.facts", direct.value,
        direct.source);
}

int kvt_memfs_words(const struct kvt_config *config, uint32_t *words,
                    struct kvt_error *err)
{
    const uint32_t late = MEMFS_CLOSE_TO_OPEN | MEMFS_AFTER_SYNC;
    struct kvt_setting setting;
    int rc = kvt_config_get(config, "mem.facts", &setting, err);
    if (rc != KVT_OK) {
        return rc;
    }
    *words = 0;
    const char *at = setting.value;
    while (*at != '\0') {
        size_t size = strcspn(at, ",");
        size_t blanks = strspn(at, " ");
        const char *name = blanks < size ? at + blanks : at;
        size_t name_size = size - (size_t)(name - at);
        while (name_size > 0 && name[name_size - 1] == ' ') {
            name_size--;
        }
        uint32_t word = find_word(name, name_size);
        if (word == 0) {
            return unknown_word(&setting, name, name_size, err);
        }
        *words |= word;
        at += size + (at[size] == ',' ? 1 : 0);
    }
    if ((*words & late) == late) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL, setting.key,
                             "name one of the two",
                             "%s = %s (from %s): close_to_open and after_sync "
                             "exclude each other",
                             setting.key, setting.value, setting.source);
    }
    return KVT_OK;
}

void kvt_memfs_facts(uint32_t words, struct kvt_fs_facts *facts)
{
    uint32_t alignment = (words & MEMFS_ALIGN4096) != 0 ? 4096 : 1;
    bool small = (words & MEMFS_TRANSFER64K) != 0;
    bool late = (words & MEMFS_CLOSE_TO_OPEN) != 0;
    bool renames = (words & MEMFS_NO_RENAME) == 0;
    bool shared = (words & MEMFS_SHARED) != 0;
    *facts = (struct kvt_fs_facts){
        .size = sizeof *facts,
        .generation = 1,
        .offset_alignment = alignment,
        .length_alignment = alignment,
        .memory_alignment = alignment,
        .depth = 64,
        .metadata_depth = 64,
        .slices_max = (words & MEMFS_SLICES4) != 0 ? 4 : UINT32_MAX,
        .transfer_max = small ? 65536 : UINT64_MAX,
        .transfer_best = small ? 65536 : 1u << 20,
        .allocation_unit = MEMFS_UNIT,
        .direct = alignment > 1,
        .name_max = (words & MEMFS_SHORT_NAMES) != 0 ? 64 : 255,
        .path_max = 4095,
        .exclusive_create = (words & MEMFS_NO_EXCLUSIVE) == 0,
        .atomic_rename = renames,
        .rename_noreplace = renames && (words & MEMFS_NO_NOREPLACE) == 0,
        .hard_links = (words & MEMFS_NO_LINKS) == 0,
        .overwrite_in_place = (words & MEMFS_NO_OVERWRITE) == 0,
        .concurrent_writers = true,
        .removed_stays_readable = (words & MEMFS_REMOVED_GONE) == 0,
        .remove_frees_space = (words & MEMFS_TRASH) == 0,
        .punch_hole = (words & MEMFS_NO_PUNCH) == 0,
        .bytes_outlive_process = (words & MEMFS_LOST_ON_KILL) == 0,
        .size_exact_while_open = !late,
        .shared = shared,
        .visibility = late ? KVT_FS_VISIBLE_AFTER_CLOSE
                      : (words & MEMFS_AFTER_SYNC) != 0
                          ? KVT_FS_VISIBLE_AFTER_SYNC
                          : KVT_FS_VISIBLE_AT_ONCE,
        .names_stale_ms = late ? MEMFS_STALE_NS / 1000000 : 0,
        .attributes_stale_ms = late ? MEMFS_STALE_NS / 1000000 : 0,
        .locks_hold_across_hosts = shared,
    };
}
