#include "fetch.h"

#include "keys.h"
#include "memory.h"

#include <errno.h>

/* An object that is replaced by a larger one again and again is given up. */
enum {
    FETCH_TRIES = 8
};

static void fail_all(struct kvt_object *objects, size_t count, int errnum)
{
    for (size_t i = 0; i < count; i++) {
        objects[i].status = KVT_ERR_INTERNAL;
        objects[i].errnum = errnum;
    }
}

int cli_fetch_batch(struct cli *cli, struct kvt_object *objects, size_t count,
                    struct cli_buffer *buffer, size_t *offsets)
{
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        offsets[i] = (size_t)total;
        total += objects[i].size;
    }
    /* never null, even where all objects are empty */
    if (total > SIZE_MAX - 1 ||
        cli_buffer_reserve(buffer, (size_t)total + 1) < 0) {
        fail_all(objects, count, ENOMEM);
        return CLI_DONE;
    }
    struct kvt_slice *slices = cli_alloc(count * sizeof(*slices));
    for (size_t i = 0; i < count; i++) {
        slices[i].base = buffer->data + offsets[i];
        slices[i].size = (size_t)objects[i].size;
        objects[i].slices = &slices[i];
        objects[i].slice_count = 1;
    }
    int result = kvt_batch_load(cli->store, objects, count, NULL);
    for (size_t i = 0; i < count; i++) {
        objects[i].slices = NULL;
        objects[i].slice_count = 0;
    }
    free(slices);
    return cli_batch_check(cli, result);
}

int cli_fetch(struct cli *cli, struct kvt_object *object,
              struct cli_buffer *buffer)
{
    size_t offset;
    int result = kvt_batch_exists(cli->store, object, 1, NULL);
    int status = cli_batch_check(cli, result);
    if (status != CLI_DONE || object->status != KVT_OK) {
        return status;
    }
    for (int i = 0; i < FETCH_TRIES; i++) {
        status = cli_fetch_batch(cli, object, 1, buffer, &offset);
        if (status != CLI_DONE || object->status != KVT_ERR_BUFFER_OVERFLOW) {
            break;
        }
    }
    buffer->size = object->status == KVT_OK ? (size_t)object->size : 0;
    return status;
}
