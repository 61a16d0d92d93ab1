#include "replay.h"

#include "block.h"
#include "keys.h"
#include "memory.h"

#include <errno.h>
#include <string.h>

enum {
    BATCH_COUNT_MAX = 128,
    BATCH_BYTES_MAX = 64 * 1024 * 1024,
    BLOCK_ALIGNMENT = 4096, /* lets direct I/O do without a copy */
};

enum block_state {
    BLOCK_ABSENT,  /* not stored when the request arrived */
    BLOCK_PRESENT, /* stored, says the store; not loaded */
    BLOCK_LOADED,
};

struct replay_block {
    uint64_t id;
    enum block_state state;
    size_t first_reference;
    char key[CLI_BLOCK_KEY_SIZE];
};

int replay_worker_init(struct replay_worker *worker, struct replay *replay)
{
    size_t size = (size_t)replay->options.block_size;
    void *bytes = NULL;
    worker->replay = replay;
    worker->stride =
        (size + BLOCK_ALIGNMENT - 1) & ~(size_t)(BLOCK_ALIGNMENT - 1);
    worker->batch_count = BATCH_BYTES_MAX / worker->stride;
    if (worker->batch_count > BATCH_COUNT_MAX) {
        worker->batch_count = BATCH_COUNT_MAX;
    } else if (worker->batch_count == 0) {
        worker->batch_count = 1;
    }
    int error = posix_memalign(&bytes, BLOCK_ALIGNMENT,
                               worker->batch_count * worker->stride);
    worker->bytes = error == 0 ? bytes : NULL;
    return -error;
}

void replay_worker_free(struct replay_worker *worker)
{
    cli_trace_request_free(&worker->request);
    free(worker->blocks);
    free(worker->reference_block);
    free(worker->table);
    free(worker->bytes);
    free(worker->objects);
    free(worker->slices);
}

static void room_make(struct replay_worker *worker, size_t count)
{
    size_t objects = count > BATCH_COUNT_MAX ? count : BATCH_COUNT_MAX;
    if (count > worker->room || worker->objects == NULL) {
        worker->room = count * 2 + 64;
        objects = worker->room > objects ? worker->room : objects;
        worker->blocks =
            cli_resize(worker->blocks, worker->room * sizeof(*worker->blocks));
        worker->reference_block =
            cli_resize(worker->reference_block,
                       worker->room * sizeof(*worker->reference_block));
        worker->objects =
            cli_resize(worker->objects, objects * sizeof(*worker->objects));
        worker->slices =
            cli_resize(worker->slices, objects * sizeof(*worker->slices));
    }
    size_t table_size = worker->table_size > 0 ? worker->table_size : 256;
    while (table_size < count * 2) {
        table_size *= 2;
    }
    if (table_size != worker->table_size) {
        worker->table_size = table_size;
        worker->table =
            cli_resize(worker->table, table_size * sizeof(*worker->table));
    }
}

/* Makes the list of distinct blocks, in the order of their first reference. */
static void blocks_collect(struct replay_worker *worker)
{
    const struct cli_trace_request *request = &worker->request;
    size_t block_size = (size_t)worker->replay->options.block_size;
    room_make(worker, request->id_count);
    memset(worker->table, 0, worker->table_size * sizeof(*worker->table));
    worker->block_count = 0;
    for (size_t i = 0; i < request->id_count; i++) {
        uint64_t id = request->ids[i];
        uint64_t hash = id * UINT64_C(0x9e3779b97f4a7c15);
        size_t at = (size_t)(hash >> 32) & (worker->table_size - 1);
        while (worker->table[at] != 0 &&
               worker->blocks[worker->table[at] - 1].id != id) {
            at = (at + 1) & (worker->table_size - 1);
        }
        if (worker->table[at] == 0) {
            struct replay_block *block = &worker->blocks[worker->block_count];
            worker->table[at] = ++worker->block_count;
            block->id = id;
            block->state = BLOCK_ABSENT;
            block->first_reference = i;
            cli_block_key(id, block_size, block->key);
        }
        worker->reference_block[i] = worker->table[at] - 1;
    }
}

static void object_set(struct kvt_object *object,
                       const struct replay_block *block,
                       struct kvt_slice *slice)
{
    *object = (struct kvt_object){
        .key = {block->key, CLI_BLOCK_KEY_SIZE},
        .slices = slice,
        .slice_count = slice != NULL,
    };
}

/* Asks the store which of the blocks from `first` on are there. */
static int blocks_ask(struct replay_worker *worker, size_t first)
{
    size_t count = worker->block_count - first;
    if (count == 0) {
        return CLI_DONE;
    }
    for (size_t i = 0; i < count; i++) {
        object_set(&worker->objects[i], &worker->blocks[first + i], NULL);
    }
    int result = kvt_batch_exists(worker->replay->cli->store, worker->objects,
                                  count, NULL);
    for (size_t i = 0; i < count && result >= 0; i++) {
        struct replay_block *block = &worker->blocks[first + i];
        block->state =
            worker->objects[i].status == KVT_OK ? BLOCK_PRESENT : BLOCK_ABSENT;
    }
    return cli_batch_check(worker->replay->cli, result);
}

static bool is_absent(int status)
{
    return status == KVT_ERR_OBJECT_NOT_FOUND ||
           status == KVT_ERR_BUCKET_NOT_FOUND ||
           status == KVT_ERR_FILE_NOT_FOUND;
}

/* What a load answered, and whether it was the truth. */
static enum block_state load_judge(struct replay_worker *worker,
                                   const struct replay_block *block,
                                   const struct kvt_object *object)
{
    struct replay *replay = worker->replay;
    if (object->status != KVT_OK) {
        if (!is_absent(object->status)) {
            worker->figures.failed_loads++;
            replay_report_object(replay, object);
        }
        return BLOCK_ABSENT;
    }
    worker->figures.bytes_loaded += object->size;
    if (replay->options.verify &&
        (object->size != replay->options.block_size ||
         !cli_block_check(block->id, object->slices[0].base,
                          (size_t)object->size))) {
        worker->figures.wrong_blocks++;
        replay_report_wrong(replay, &object->key);
        return BLOCK_ABSENT;
    }
    return BLOCK_LOADED;
}

/* Points `count` objects at the batch's memory. */
static void batch_prepare(struct replay_worker *worker, size_t slot,
                          const struct replay_block *block)
{
    worker->slices[slot] = (struct kvt_slice){
        .base = worker->bytes + slot * worker->stride,
        .size = (size_t)worker->replay->options.block_size,
    };
    object_set(&worker->objects[slot], block, &worker->slices[slot]);
}

/* Loads the leading blocks that are stored, up to the first one that is not,
 * or that turns out not to be: the store then knows more, and is asked about
 * the others again. */
static int prefix_load(struct replay_worker *worker)
{
    size_t at = 0;
    bool broken = false;
    while (at < worker->block_count && !broken &&
           worker->blocks[at].state == BLOCK_PRESENT) {
        size_t count = 0;
        while (at + count < worker->block_count &&
               count < worker->batch_count &&
               worker->blocks[at + count].state == BLOCK_PRESENT) {
            batch_prepare(worker, count, &worker->blocks[at + count]);
            count++;
        }
        uint64_t start_ns = replay_now_ns();
        int result = kvt_batch_load(worker->replay->cli->store, worker->objects,
                                    count, NULL);
        cli_histogram_add(&worker->load_ns, replay_now_ns() - start_ns);
        if (result < 0) {
            return cli_batch_check(worker->replay->cli, result);
        }
        for (size_t i = 0; i < count; i++) {
            struct replay_block *block = &worker->blocks[at + i];
            block->state = load_judge(worker, block, &worker->objects[i]);
            broken = broken || block->state != BLOCK_LOADED;
        }
        at += count;
    }
    return broken ? blocks_ask(worker, at) : CLI_DONE;
}

/* Hits are counted by reference: the second one to a block finds it stored. */
static void hits_count(struct replay_worker *worker)
{
    const struct cli_trace_request *request = &worker->request;
    bool in_prefix = true;
    for (size_t i = 0; i < request->id_count; i++) {
        const struct replay_block *block =
            &worker->blocks[worker->reference_block[i]];
        bool again = block->first_reference != i;
        in_prefix = in_prefix && (again || block->state == BLOCK_LOADED);
        worker->figures.blocks_hit += again || block->state != BLOCK_ABSENT;
        worker->figures.prefix_blocks_hit += in_prefix;
    }
    worker->figures.requests = 1;
    worker->figures.blocks_requested = request->id_count;
}

static void offload_judge(struct replay_worker *worker, enum block_state state,
                          const struct kvt_object *object)
{
    if (object->status != KVT_OK) {
        worker->figures.failed_offloads++;
        replay_report_object(worker->replay, object);
    } else if (state == BLOCK_ABSENT) {
        worker->figures.blocks_offloaded++;
        worker->figures.bytes_offloaded += worker->replay->options.block_size;
    }
}

/* Offloads what was not loaded, in order. What is stored behind the prefix is
 * offered too: the store sees that it is used, and writes nothing. */
static int rest_offload(struct replay_worker *worker)
{
    size_t block_size = (size_t)worker->replay->options.block_size;
    enum block_state states[BATCH_COUNT_MAX];
    size_t count = 0;
    for (size_t at = 0; at < worker->block_count; at++) {
        const struct replay_block *block = &worker->blocks[at];
        if (block->state != BLOCK_LOADED) {
            batch_prepare(worker, count, block);
            cli_block_fill(block->id, worker->slices[count].base, block_size);
            states[count++] = block->state;
        }
        bool is_last = at + 1 == worker->block_count;
        if (count == 0 || (count < worker->batch_count && !is_last)) {
            continue;
        }
        uint64_t start_ns = replay_now_ns();
        int result = kvt_batch_offload(worker->replay->cli->store,
                                       worker->objects, count, NULL);
        cli_histogram_add(&worker->offload_ns, replay_now_ns() - start_ns);
        if (result < 0) {
            return cli_batch_check(worker->replay->cli, result);
        }
        for (size_t i = 0; i < count; i++) {
            offload_judge(worker, states[i], &worker->objects[i]);
        }
        count = 0;
    }
    return CLI_DONE;
}

int replay_request(struct replay_worker *worker)
{
    worker->figures = (struct replay_figures){0};
    blocks_collect(worker);
    int status = blocks_ask(worker, 0);
    if (status == CLI_DONE) {
        status = prefix_load(worker);
    }
    if (status == CLI_DONE) {
        hits_count(worker);
        status = rest_offload(worker);
    }
    return status;
}
