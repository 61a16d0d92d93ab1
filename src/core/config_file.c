/* Settings from an INI file, through inih (https://github.com/benhoyt/inih).
 *
 * inih cuts long lines and long section names without a word, takes an
 * indented line for a continuation, and drops what follows a section's `]`.
 * A setting must not get lost that way, so the lines pass a reader of our
 * own first, which refuses what inih would cut and takes the indentation
 * off. It also counts lines for the messages, which the packaged inih does
 * not report. inih's own switches are process-wide and stay untouched. */
#include "core/config_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_SIZE_MAX (1024u * 1024u)
/* What inih keeps of a section's name, without the NUL. */
#define FILE_SECTION_MAX 49u

struct file_loader {
    struct kvt_config *draft;
    const char *path;
    char *source; /* "file:PATH" */
    const char *text;
    size_t size;
    size_t offset;
    unsigned line;       /* the last one read, from 1 */
    const char *current; /* that line, in `text` */
    size_t current_size; /* without its end */
    unsigned stage;      /* whose keys are taken */
    int rc;              /* the first failure */
    struct kvt_error *err;
};

static void file_refuse(struct file_loader *loader, const char *remedy,
                        const char *reason)
{
    if (loader->rc == KVT_OK) {
        loader->rc = kvt_error_set(loader->err, KVT_ERR_INVALID_PARAMS, EINVAL,
                                   loader->path, remedy, "%.400s line %u: %s",
                                   loader->source, loader->line, reason);
    }
}

static bool file_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static bool file_check_section(struct file_loader *loader, const char *line,
                               size_t size)
{
    const char *end = memchr(line, ']', size);

    if (end == NULL) {
        file_refuse(loader, "write [section]", "a section without its `]`");
        return false;
    }
    if ((size_t)(end - line) - 1 > FILE_SECTION_MAX) {
        file_refuse(loader, "`kvtier config` lists all settings",
                    "no section has so long a name");
        return false;
    }
    for (end++; end < line + size && file_is_blank(*end); end++) {
    }
    if (end < line + size && *end != ';' && *end != '#') {
        file_refuse(loader, "put each setting on a line of its own",
                    "there is text behind the section's `]`");
        return false;
    }
    return true;
}

/* Gives inih the next line, as fgets would, or null at the end or when the
 * line cannot be taken. */
static char *file_read_line(char *to, int room, void *stream)
{
    struct file_loader *loader = stream;
    const char *line = loader->text + loader->offset;
    size_t left = loader->size - loader->offset;
    const char *end;
    size_t size;

    if (left == 0 || loader->rc != KVT_OK) {
        return NULL;
    }
    end = memchr(line, '\n', left);
    size = end ? (size_t)(end - line) : left;
    loader->offset += end ? size + 1 : size;
    loader->line++;
    if (memchr(line, '\0', size) != NULL) {
        file_refuse(loader, "write the file as text", "a NUL byte");
        return NULL;
    }
    for (; size > 0 && file_is_blank(*line); size--) {
        line++;
    }
    loader->current = line;
    loader->current_size = size;
    if (size > 0 && (*line == ';' || *line == '#')) {
        size = 0; /* a comment may be as long as it likes */
    }
    if (size + 2 > (size_t)room) {
        char reason[64];

        snprintf(reason, sizeof(reason), "longer than the %d bytes of a line",
                 room - 2);
        file_refuse(loader,
                    "shorten it, or give the value with -o or in the "
                    "environment",
                    reason);
        return NULL;
    }
    if (size > 0 && *line == '[' && !file_check_section(loader, line, size)) {
        return NULL;
    }
    memcpy(to, line, size);
    memcpy(to + size, "\n", 2);
    return to;
}

/* inih takes a `;` behind a blank for the start of a comment. Where `;` parts
 * the value, half of it would be lost. */
static bool file_loses_text(const struct file_loader *loader)
{
    for (size_t i = 1; i < loader->current_size; i++) {
        if (loader->current[i] == ';' &&
            file_is_blank(loader->current[i - 1])) {
            return true;
        }
    }
    return false;
}

static bool file_row_has_semicolons(const struct kvt_config *config,
                                    const char *key)
{
    for (size_t i = 0; i < config->count; i++) {
        if (strcmp(config->entries[i].key, key) == 0) {
            return (config->entries[i].row->flags & KVT_CONFIG_SEMICOLON) != 0;
        }
    }
    return false;
}

/* inih's handler: 0 is an error. */
static int file_take(void *user, const char *section, const char *name,
                     const char *value)
{
    struct file_loader *loader = user;
    const struct kvt_config_origin origin = {
        .rank = KVT_CONFIG_RANK_FILE,
        .source = loader->source,
        .line = loader->line,
    };
    char key[512];

    if (loader->rc != KVT_OK) {
        return 0;
    }
    if (name[0] == '\0') {
        file_refuse(loader, "write `key = value`", "a value without a key");
        return 0;
    }
    snprintf(key, sizeof(key), "%s%s%s", section, section[0] ? "." : "", name);
    if (kvt_config_stage(key) != loader->stage) {
        return 1;
    }
    if (file_row_has_semicolons(loader->draft, key) &&
        file_loses_text(loader)) {
        file_refuse(loader,
                    "write no blank in front of `;`, and the comment "
                    "on a line of its own",
                    "a blank and `;` start a comment and would cut the value");
        return 0;
    }
    loader->rc =
        kvt_config_assign(loader->draft, key, value, &origin, loader->err);
    return loader->rc == KVT_OK;
}

static int file_unreadable(const char *path, int errnum, struct kvt_error *err)
{
    return kvt_error_set(
        err, errnum == ENOENT ? KVT_ERR_FILE_NOT_FOUND : KVT_ERR_FILE_READ_FAIL,
        errnum, path, "give the name of a file that can be read",
        "the configuration file %.400s cannot be read: %s", path,
        kvt_errno_name(errnum));
}

/* Reads the whole file. On success `*text` is the caller's to free. */
static int file_read(const char *path, char **text, size_t *size,
                     struct kvt_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    char *buffer = NULL;
    size_t used;
    int rc;

    if (file == NULL) {
        rc = file_unreadable(path, errno, err);
        if (fd >= 0) {
            close(fd);
        }
        return rc;
    }
    buffer = malloc(FILE_SIZE_MAX + 1);
    if (buffer == NULL) {
        rc = kvt_config_no_memory(err);
        goto close_file;
    }
    errno = 0;
    used = fread(buffer, 1, FILE_SIZE_MAX + 1, file);
    if (ferror(file)) {
        rc = file_unreadable(path, errno ? errno : EIO, err);
        goto free_buffer;
    }
    if (used > FILE_SIZE_MAX) {
        rc = kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EFBIG, path,
                           "give the name of a configuration file",
                           "%.400s is larger than 1 MiB", path);
        goto free_buffer;
    }
    fclose(file);
    *text = buffer;
    *size = used;
    return KVT_OK;

free_buffer:
    free(buffer);
close_file:
    fclose(file);
    return rc;
}

static int file_parse(struct file_loader *loader)
{
    int line = ini_parse_stream(file_read_line, loader, file_take, loader);

    if (line > 0 && loader->rc == KVT_OK) {
        loader->line = (unsigned)line;
        file_refuse(loader, "write `key = value` or [section]",
                    "neither a setting nor a section nor a comment");
    }
    if (line < 0 && loader->rc == KVT_OK) {
        loader->rc = kvt_config_no_memory(loader->err);
    }
    return loader->rc;
}

int kvt_config_load_file_stages(struct kvt_config *config, const char *path,
                                unsigned stages, struct kvt_error *err)
{
    struct file_loader loader = {.path = path, .rc = KVT_OK, .err = err};
    size_t source_size;
    char *text = NULL;
    int rc;

    if (config == NULL || path == NULL) {
        return kvt_error_set(err, KVT_ERR_INVALID_PARAMS, EINVAL, NULL, NULL,
                             "loading needs a configuration and a file's name");
    }
    rc = file_read(path, &text, &loader.size, err);
    if (rc != KVT_OK) {
        return rc;
    }
    loader.text = text;
    source_size = strlen(path) + sizeof("file:");
    loader.source = malloc(source_size);
    loader.draft = kvt_config_copy(config);
    if (loader.source == NULL || loader.draft == NULL) {
        rc = kvt_config_no_memory(err);
        goto free_all;
    }
    snprintf(loader.source, source_size, "file:%s", path);
    for (; loader.stage < stages && rc == KVT_OK; loader.stage++) {
        loader.offset = 0;
        loader.line = 0;
        rc = file_parse(&loader);
    }
    if (rc == KVT_OK) {
        kvt_config_adopt(config, loader.draft);
        loader.draft = NULL;
    }

free_all:
    kvt_config_close(loader.draft);
    free(loader.source);
    free(text);
    return rc;
}

int kvt_config_load_file(struct kvt_config *config, const char *path,
                         struct kvt_error *err)
{
    return kvt_config_load_file_stages(config, path, KVT_CONFIG_STAGES, err);
}
