#include "get_tree.h"

#include "fetch.h"
#include "keys.h"
#include "memory.h"
#include "report.h"
#include "session.h"
#include "tally.h"
#include "tree_out.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BATCH_COUNT_MAX = 64,
    BATCH_BYTES_MAX = 64 * 1024 * 1024
};

struct get {
    struct cli *cli;
    struct cli_tally tally;
    int root;
    bool vanished_is_fine; /* the keys are what a scan found a moment ago */
    struct cli_buffer bytes;
    size_t offsets[BATCH_COUNT_MAX];
    int status; /* why a scan was ended */
};

static void key_failed(struct get *get, const struct kvt_key *key, int code,
                       int errnum, const char *message, const char *remedy)
{
    struct cli_failure failure = {
        .code = code, .errnum = errnum, .message = message, .remedy = remedy};
    cli_report_key(get->cli, key, &failure);
    get->tally.failed++;
}

static void object_write(struct get *get, const struct kvt_object *object,
                         const void *data)
{
    const struct kvt_key *key = &object->key;
    char *path = cli_alloc(key->size + 1);
    memcpy(path, key->data, key->size);
    int result = cli_tree_write(get->root, path, data, (size_t)object->size);
    free(path);
    if (result < 0) {
        key_failed(get, key, KVT_ERR_FILE_WRITE_FAIL, -result, NULL, NULL);
        return;
    }
    get->tally.objects++;
    get->tally.bytes += object->size;
}

static void object_failed(struct get *get, const struct kvt_object *object)
{
    if (get->vanished_is_fine && object->status == KVT_ERR_OBJECT_NOT_FOUND) {
        return;
    }
    cli_report_object(get->cli, object);
    get->tally.failed++;
}

/* Loads and writes a batch of at most BATCH_COUNT_MAX objects. */
static int batch_write(struct get *get, struct kvt_object *objects,
                       size_t count)
{
    if (count == 0) {
        return CLI_DONE;
    }
    int status =
        cli_fetch_batch(get->cli, objects, count, &get->bytes, get->offsets);
    for (size_t i = 0; i < count && status == CLI_DONE; i++) {
        if (objects[i].status == KVT_OK) {
            object_write(get, &objects[i], get->bytes.data + get->offsets[i]);
        }
    }
    /* these use the buffer again, so they come last */
    for (size_t i = 0; i < count && status == CLI_DONE; i++) {
        if (objects[i].status == KVT_ERR_BUFFER_OVERFLOW) {
            status = cli_fetch(get->cli, &objects[i], &get->bytes);
            if (status == CLI_DONE && objects[i].status == KVT_OK) {
                object_write(get, &objects[i], get->bytes.data);
            }
        }
        if (status == CLI_DONE && objects[i].status != KVT_OK) {
            object_failed(get, &objects[i]);
        }
    }
    return status;
}

/* Objects with their sizes, in batches of bounded count and bytes. */
static int objects_write(struct get *get, const struct kvt_object *objects,
                         size_t count)
{
    struct kvt_object batch[BATCH_COUNT_MAX];
    size_t used = 0;
    uint64_t bytes = 0;
    int status = CLI_DONE;
    for (size_t i = 0; i < count && status == CLI_DONE; i++) {
        const struct kvt_key *key = &objects[i].key;
        const char *refused = cli_tree_refuse(key->data, key->size);
        if (refused != NULL) {
            key_failed(get, key, KVT_ERR_INVALID_KEY, 0, refused,
                       "get it by itself: kvtier get KEY FILE");
            continue;
        }
        if (used == BATCH_COUNT_MAX ||
            (used > 0 && bytes + objects[i].size > BATCH_BYTES_MAX)) {
            status = batch_write(get, batch, used);
            used = 0;
            bytes = 0;
        }
        batch[used++] = objects[i];
        bytes += objects[i].size;
    }
    return status == CLI_DONE ? batch_write(get, batch, used) : status;
}

static int scanned_write(const struct kvt_meta *metas, size_t count, void *arg)
{
    struct get *get = arg;
    struct kvt_object *objects = cli_alloc(count * sizeof(*objects));
    for (size_t i = 0; i < count; i++) {
        objects[i].key = metas[i].key;
        objects[i].size = metas[i].size;
    }
    get->status = objects_write(get, objects, count);
    free(objects);
    return get->status;
}

static int get_all(struct get *get)
{
    struct kvt_error error = {0};
    get->vanished_is_fine = true;
    int result = kvt_scan_meta(get->cli->store, scanned_write, get, &error);
    return result < 0 ? cli_report_error(get->cli, &error, "") : get->status;
}

static int get_keys(struct get *get, struct cli_keys *keys)
{
    int result =
        kvt_batch_exists(get->cli->store, keys->objects, keys->count, NULL);
    int status = cli_batch_check(get->cli, result);
    size_t present = 0;
    for (size_t i = 0; i < keys->count && status == CLI_DONE; i++) {
        if (keys->objects[i].status == KVT_OK) {
            keys->objects[present++] = keys->objects[i];
        } else {
            object_failed(get, &keys->objects[i]);
        }
    }
    keys->count = present;
    return status == CLI_DONE ? objects_write(get, keys->objects, present)
                              : status;
}

static int root_open(const struct cli *cli, const char *path, int *root)
{
    if (mkdir(path, 0777) == 0 || errno == EEXIST) {
        *root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (*root >= 0) {
            return CLI_DONE;
        }
    }
    return cli_report_file(cli, path, KVT_ERR_FILE_OPEN_FAIL, errno);
}

int cli_get_tree(struct cli *cli, const char *root)
{
    struct get get = {.cli = cli, .root = -1};
    struct cli_keys keys;
    int status = cli_keys_parse(cli, cli->args, cli->arg_count, &keys);
    if (status != CLI_DONE) {
        return status;
    }
    status = cli_store_begin(cli, CLI_LOOK);
    if (status == CLI_DONE) {
        status = root_open(cli, root, &get.root);
    }
    if (status == CLI_DONE) {
        status = keys.count > 0 ? get_keys(&get, &keys) : get_all(&get);
        status = cli_tally_end(cli, &get.tally, status);
        close(get.root);
    }
    cli_buffer_free(&get.bytes);
    cli_keys_free(&keys);
    return status;
}
