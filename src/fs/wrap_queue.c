/* Queues of a wrapper that only looks: each stands on a queue of the inner
 * mount, and each element on a copy there. The copies of what was handed over
 * together lie in one block, so that they are handed on together, chains and
 * all; blocks that are done are kept for the next ones. One thread at a time,
 * as any queue: no locks. */
#include "fs/wrap.h"

#include <errno.h>
#include <stdlib.h>

enum {
    SIZES = 24 /* blocks of 1, 2, 4, ... elements */
};

struct block;

/* What stands beside a copy. */
struct piece {
    struct kvt_fs_elem *outer;
    struct block *block;
    struct kvt_wrap_file *file; /* it works on, or opens */
    struct kvt_wrap_call call;
    bool frees_file;
};

struct block {
    struct block *next;
    unsigned size_class;
    size_t left; /* copies that are not done */
    size_t count;
    struct kvt_fs_elem *copies;
    struct piece pieces[];
};

struct wrap_queue {
    struct kvt_fs_queue base;
    struct kvt_wrap *wrap;
    struct kvt_fs_queue *inner;
    struct block *spare[SIZES];
    struct kvt_fs_elem *refused; /* no memory for their copies */
};

static int wrap_queue_open(struct kvt_fs *fs, uint32_t depth, bool poll_works,
                           struct kvt_fs_queue **out)
{
    struct wrap_queue *queue = calloc(1, sizeof *queue);
    if (queue == NULL) {
        return -ENOMEM;
    }
    struct kvt_fs_queue_options options = {sizeof options, depth, poll_works};
    queue->wrap = (struct kvt_wrap *)fs;
    int rc = kvt_fs_queue_open(queue->wrap->inner, &options, &queue->inner);
    if (rc != 0) {
        free(queue);
        return rc;
    }
    *out = &queue->base;
    return 0;
}

static void wrap_queue_close(struct kvt_fs_queue *base)
{
    struct wrap_queue *queue = (struct wrap_queue *)base;
    kvt_fs_queue_close(queue->inner);
    for (size_t i = 0; i < SIZES; i++) {
        while (queue->spare[i] != NULL) {
            struct block *block = queue->spare[i];
            queue->spare[i] = block->next;
            free(block->copies);
            free(block);
        }
    }
    free(queue);
}

static struct block *take_block(struct wrap_queue *queue, size_t count)
{
    unsigned size_class = 0;
    while ((size_t)1 << size_class < count) {
        size_class++;
    }
    if (size_class >= SIZES) {
        return NULL;
    }
    struct block *block = queue->spare[size_class];
    if (block != NULL) {
        queue->spare[size_class] = block->next;
    } else {
        size_t room = (size_t)1 << size_class;
        block = malloc(sizeof *block + room * sizeof block->pieces[0]);
        struct kvt_fs_elem *copies = malloc(room * sizeof copies[0]);
        if (block == NULL || copies == NULL) {
            free(block);
            free(copies);
            return NULL;
        }
        block->copies = copies;
        block->size_class = size_class;
    }
    block->left = 0;
    block->count = 0;
    return block;
}

/* Everything of the block is done. */
static void give_block(struct wrap_queue *queue, struct block *block)
{
    for (size_t i = 0; i < block->count; i++) {
        if (block->pieces[i].frees_file) {
            free(block->pieces[i].file);
        }
    }
    block->next = queue->spare[block->size_class];
    queue->spare[block->size_class] = block;
}

static void copy_done(struct kvt_fs_elem *copy)
{
    struct piece *piece = copy->arg;
    struct block *block = piece->block;
    struct kvt_fs_elem *outer = piece->outer;
    struct wrap_queue *queue = (struct wrap_queue *)outer->queue;
    int64_t result = copy->result;

    outer->file_size = copy->file_size;
    outer->lost = copy->lost;
    outer->partial = copy->partial;
    if (outer->op == KVT_FS_OPEN && result == 0) {
        piece->file->inner = copy->file;
        outer->file = &piece->file->base;
    }
    /* a CLOSE is cancelled only where its OPEN failed, which frees the file */
    piece->frees_file = (outer->op == KVT_FS_OPEN && result < 0) ||
                        (outer->op == KVT_FS_CLOSE && result != -ECANCELED);
    kvt_wrap_end(queue->wrap, &piece->call, result);
    if (--block->left == 0) {
        give_block(queue, block);
    }
    kvt_fs_complete(outer, result);
}

/* Does it take the file that its chain has open? As in chain.c. */
static bool takes_passed(const struct kvt_fs_elem *elem)
{
    switch (elem->op) {
    case KVT_FS_READ:
    case KVT_FS_WRITE:
    case KVT_FS_DATASYNC:
    case KVT_FS_PUNCH:
    case KVT_FS_CLOSE:
        return elem->file == NULL;
    case KVT_FS_SYNC:
        return elem->file == NULL && elem->path == NULL;
    default:
        return false;
    }
}

/* The file that an element works on: its own, the one that it opens, or the
 * one that its chain has open. False without memory. */
static bool find_file(struct kvt_fs_elem *outer, struct kvt_wrap_file *chain,
                      struct kvt_wrap_file **file)
{
    *file = kvt_wrap_file_of(outer);
    if (outer->op == KVT_FS_OPEN) {
        *file = kvt_wrap_file_new(outer->queue->fs, outer->path);
        return *file != NULL;
    }
    if (takes_passed(outer)) {
        *file = chain;
    }
    return true;
}

/* Fills the next copy of the block. */
static bool add_copy(struct block *block, struct kvt_fs_elem *outer,
                     struct kvt_wrap_file **chain)
{
    struct kvt_fs_elem *copy = &block->copies[block->count];
    struct piece *piece = &block->pieces[block->count];
    if (!find_file(outer, *chain, &piece->file)) {
        return false;
    }
    const struct kvt_wrap_file *own = kvt_wrap_file_of(outer);
    if (outer->op == KVT_FS_OPEN) {
        *chain = piece->file;
    }
    if (outer->op == KVT_FS_CLOSE || (outer->flags & KVT_FS_THEN) == 0) {
        *chain = NULL;
    }
    *copy = *outer;
    copy->file = own != NULL ? own->inner : NULL;
    copy->done = copy_done;
    copy->arg = piece;
    copy->deadline_ns = 0; /* the outer queue keeps it */
    copy->late = NULL;
    copy->result = 0;
    copy->file_size = 0;
    piece->outer = outer;
    piece->block = block;
    piece->frees_file = outer->op == KVT_FS_OPEN; /* until it is open */
    piece->call = kvt_wrap_describe(outer, piece->file);
    block->count++;
    return true;
}

static struct block *copy_all(struct wrap_queue *queue,
                              struct kvt_fs_elem *first)
{
    size_t count = 0;
    for (struct kvt_fs_elem *at = first; at != NULL; at = at->next) {
        count++;
    }
    struct block *block = take_block(queue, count);
    struct kvt_wrap_file *chain = NULL;
    for (struct kvt_fs_elem *at = first; block != NULL && at != NULL;
         at = at->next) {
        if (!add_copy(block, at, &chain)) {
            give_block(queue, block);
            block = NULL;
        }
    }
    return block;
}

static void wrap_queue_submit(struct kvt_fs_queue *base,
                              struct kvt_fs_elem *first)
{
    struct wrap_queue *queue = (struct wrap_queue *)base;
    struct block *block = copy_all(queue, first);
    if (block == NULL) {
        struct kvt_fs_elem **end = &queue->refused;
        while (*end != NULL) {
            end = &(*end)->next;
        }
        *end = first;
        return;
    }
    block->left = block->count;
    for (size_t i = 0; i < block->count; i++) {
        kvt_wrap_begin(queue->wrap, &block->pieces[i].call);
    }
    kvt_fs_submit(queue->inner, block->copies, block->count);
}

static void refused_closed(struct kvt_fs_elem *closing)
{
    struct kvt_fs_elem *outer = closing->arg;
    struct kvt_wrap_file *file = (struct kvt_wrap_file *)outer->file;
    int64_t result = closing->result;
    struct kvt_wrap_call call = kvt_wrap_describe(outer, file);
    kvt_wrap_begin((struct kvt_wrap *)file->base.fs, &call);
    kvt_wrap_end((struct kvt_wrap *)file->base.fs, &call, result);
    free(file);
    kvt_fs_complete(outer, result);
}

/* A file is closed all the same: it has brought the memory for that. */
static void end_refused(struct wrap_queue *queue, struct kvt_fs_elem *elem,
                        bool behind)
{
    struct kvt_wrap_file *file = kvt_wrap_file_of(elem);
    if (elem->op != KVT_FS_CLOSE || file == NULL) {
        kvt_fs_complete(elem, behind ? -ECANCELED : -ENOMEM);
        return;
    }
    file->closing = (struct kvt_fs_elem){.op = KVT_FS_CLOSE,
                                         .file = file->inner,
                                         .done = refused_closed,
                                         .arg = elem};
    kvt_fs_submit(queue->inner, &file->closing, 1);
}

static void wrap_queue_poll(struct kvt_fs_queue *base, size_t min,
                            int64_t deadline_ns)
{
    struct wrap_queue *queue = (struct wrap_queue *)base;
    struct kvt_fs_elem *refused = queue->refused;
    queue->refused = NULL;
    min = refused != NULL ? 0 : min;
    bool behind = false; /* another of its chain */
    while (refused != NULL) {
        struct kvt_fs_elem *next = refused->next;
        bool then = (refused->flags & KVT_FS_THEN) != 0;
        end_refused(queue, refused, behind);
        behind = then;
        refused = next;
    }
    kvt_fs_poll(queue->inner, min, deadline_ns);
}

static void wrap_queue_wake(struct kvt_fs_queue *base)
{
    kvt_fs_wake(((struct wrap_queue *)base)->inner);
}

const struct kvt_fs_queue_ops kvt_wrap_queue = {
    .open = wrap_queue_open,
    .submit = wrap_queue_submit,
    .poll = wrap_queue_poll,
    .wake = wrap_queue_wake,
    .close = wrap_queue_close,
    .chains = true,
};
