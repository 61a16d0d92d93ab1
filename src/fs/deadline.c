/*
 * Elements with a deadline. A transfer that a device or a daemon has cannot
 * be recalled, so what the adapter gets is a *shadow*: a copy of the element
 * that owns all it points to. When the deadline passes, the caller's element
 * ends; its shadow lingers until the adapter is done with it.
 */
#include "core/clock.h"
#include "fs/fs_core.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct kvt_fs_shadow {
    struct kvt_fs_elem elem;      /* first: what the adapter sees */
    struct kvt_fs_elem *original; /* null once it ended */
    /* in the queue's list, until it ended for its caller */
    struct kvt_fs_shadow *sooner;
    struct kvt_fs_shadow *later;
    struct kvt_slice *slices;
    char *paths;
    unsigned char *bounce; /* in place of foreign memory */
    void (*late)(void *late_arg, int64_t result);
    void *late_arg;
    struct kvt_fs_shadow *last; /* of its chain: it is freed last */
    /* of the last: */
    struct kvt_fs_file *orphan; /* a file that the chain opened and that nobody
                                   knows of any more */
    bool broken; /* an element of the chain failed, not for being late */
};

static bool is_write(const struct kvt_fs_elem *elem)
{
    return elem->op == KVT_FS_WRITE || elem->op == KVT_FS_PUBLISH;
}

/* Also when it says that it lies in memory of ours, and does not. */
static bool is_foreign(const struct kvt_slice *slice)
{
    if (slice->mem == NULL || !kvt_mem_is_ours(slice->mem)) {
        return true;
    }
    uintptr_t into =
        (uintptr_t)slice->base - (uintptr_t)kvt_mem_base(slice->mem);
    size_t size = kvt_mem_size(slice->mem);
    return into > size || slice->size > size - into;
}

/* Making ------------------------------------------------------------------ */

static int own_paths(struct kvt_fs_shadow *shadow)
{
    struct kvt_fs_elem *elem = &shadow->elem;
    size_t path = elem->path != NULL ? strlen(elem->path) + 1 : 0;
    size_t temp = elem->temp_path != NULL ? strlen(elem->temp_path) + 1 : 0;
    if (path + temp == 0) {
        return 0;
    }
    shadow->paths = malloc(path + temp);
    if (shadow->paths == NULL) {
        return -ENOMEM;
    }
    if (path > 0) {
        memcpy(shadow->paths, elem->path, path);
        elem->path = shadow->paths;
    }
    if (temp > 0) {
        memcpy(shadow->paths + path, elem->temp_path, temp);
        elem->temp_path = shadow->paths + path;
    }
    return 0;
}

/* Copies foreign slices to the bounce memory, or back from it. */
static void copy_foreign(struct kvt_fs_shadow *shadow, bool in, uint64_t bytes)
{
    const struct kvt_fs_elem *original = shadow->original;
    uint64_t copied = 0;
    for (uint32_t i = 0; i < original->slice_count && bytes > 0; i++) {
        const struct kvt_slice *theirs = &original->slices[i];
        const struct kvt_slice *ours = &shadow->slices[i];
        size_t size = theirs->size < bytes ? theirs->size : (size_t)bytes;
        if (size > 0 && ours->base != theirs->base) {
            memcpy(in ? ours->base : theirs->base,
                   in ? theirs->base : ours->base, size);
            copied += size;
        }
        bytes -= size;
    }
    kvt_fs_count_copied(original->queue->fs, copied);
}

/* Slices in memory of ours are aligned, whatever the caller's are: copying
 * once is enough. */
static size_t bounce_alignment(const struct kvt_fs_shadow *shadow)
{
    uint32_t alignment = shadow->elem.queue->fs->facts.memory_alignment;
    return alignment > sizeof(void *) ? alignment : sizeof(void *);
}

static size_t bounce_place(const struct kvt_fs_shadow *shadow, size_t at)
{
    size_t over = at % bounce_alignment(shadow);
    return over != 0 ? at + bounce_alignment(shadow) - over : at;
}

static size_t bounce_size(const struct kvt_fs_shadow *shadow)
{
    size_t size = 0;
    for (uint32_t i = 0; i < shadow->elem.slice_count; i++) {
        if (is_foreign(&shadow->slices[i])) {
            size = bounce_place(shadow, size) + shadow->slices[i].size;
        }
    }
    return size;
}

static int own_slices(struct kvt_fs_shadow *shadow)
{
    struct kvt_fs_elem *elem = &shadow->elem;
    uint32_t count = elem->slice_count;
    if (count == 0) {
        return 0;
    }
    shadow->slices = malloc(count * sizeof shadow->slices[0]);
    if (shadow->slices == NULL) {
        return -ENOMEM;
    }
    memcpy(shadow->slices, elem->slices, count * sizeof shadow->slices[0]);
    elem->slices = shadow->slices;
    size_t foreign = bounce_size(shadow);
    void *bounce = NULL;
    if (foreign > 0 &&
        posix_memalign(&bounce, bounce_alignment(shadow), foreign) != 0) {
        return -ENOMEM;
    }
    shadow->bounce = bounce;
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct kvt_slice *slice = &shadow->slices[i];
        if (is_foreign(slice) && slice->size > 0) {
            at = bounce_place(shadow, at);
            slice->base = shadow->bounce + at;
            slice->mem = NULL;
            at += slice->size;
        }
    }
    return 0;
}

static void hold_memory(struct kvt_fs_shadow *shadow, bool hold)
{
    for (uint32_t i = 0; i < shadow->elem.slice_count; i++) {
        struct kvt_mem *mem = shadow->slices[i].mem;
        if (mem != NULL && hold) {
            kvt_mem_hold(mem);
        } else if (mem != NULL) {
            kvt_mem_unhold(mem);
        }
    }
}

static void shadow_free(struct kvt_fs_shadow *shadow)
{
    if (shadow != NULL) {
        free(shadow->slices);
        free(shadow->bounce);
        free(shadow->paths);
        free(shadow);
    }
}

static void shadow_done(struct kvt_fs_elem *elem);

static struct kvt_fs_shadow *shadow_new(struct kvt_fs_elem *original,
                                        int64_t deadline_ns)
{
    struct kvt_fs_shadow *shadow = calloc(1, sizeof *shadow);
    if (shadow == NULL) {
        return NULL;
    }
    shadow->elem = *original;
    shadow->original = original;
    shadow->late = original->late;
    shadow->late_arg = original->late_arg;
    if (own_paths(shadow) != 0 || own_slices(shadow) != 0) {
        shadow_free(shadow);
        return NULL;
    }
    if (is_write(original)) {
        copy_foreign(shadow, true, UINT64_MAX);
    }
    shadow->elem.flags |= KVT_FS_NOT_INLINE;
    shadow->elem.deadline_ns = deadline_ns;
    shadow->elem.done = shadow_done;
    return shadow;
}

/* Starting ---------------------------------------------------------------- */

/* By their deadlines, those of one chain in its order: mostly at the end. */
static void enlist(struct kvt_fs_queue *queue, struct kvt_fs_shadow *shadow)
{
    struct kvt_fs_shadow *sooner = queue->shadows_last;
    while (sooner != NULL &&
           sooner->elem.deadline_ns > shadow->elem.deadline_ns) {
        sooner = sooner->sooner;
    }
    shadow->sooner = sooner;
    shadow->later = sooner != NULL ? sooner->later : queue->shadows;
    *(sooner != NULL ? &sooner->later : &queue->shadows) = shadow;
    *(shadow->later != NULL ? &shadow->later->sooner : &queue->shadows_last) =
        shadow;
}

static void delist(struct kvt_fs_shadow *shadow)
{
    struct kvt_fs_queue *queue = shadow->elem.queue;
    *(shadow->sooner != NULL ? &shadow->sooner->later : &queue->shadows) =
        shadow->later;
    *(shadow->later != NULL ? &shadow->later->sooner : &queue->shadows_last) =
        shadow->sooner;
}

/* The adapter never sees a chain that could not be copied, but for the close
 * of a file, which goes without a deadline: now, or after the others failed. */
static struct kvt_fs_elem *fail_chain(struct kvt_fs_elem *chain)
{
    for (struct kvt_fs_elem *elem = chain; elem != NULL; elem = elem->then) {
        elem->deadline_ns = 0;
    }
    if (kvt_fs_closes(chain)) {
        return chain;
    }
    chain->result = -ENOMEM;
    kvt_fs_push_posted(chain);
    return NULL;
}

struct kvt_fs_elem *kvt_fs_shadow_chain(struct kvt_fs_queue *queue,
                                        struct kvt_fs_elem *chain)
{
    struct kvt_fs_elem *first = NULL;
    struct kvt_fs_elem **end = &first;
    struct kvt_fs_shadow *last = NULL;
    for (struct kvt_fs_elem *at = chain; at != NULL; at = at->then) {
        last = shadow_new(at, chain->deadline_ns);
        if (last == NULL) {
            while (first != NULL) {
                struct kvt_fs_elem *rest = first->then;
                shadow_free((struct kvt_fs_shadow *)first);
                first = rest;
            }
            return fail_chain(chain);
        }
        last->elem.then = NULL;
        *end = &last->elem;
        end = &last->elem.then;
    }
    for (struct kvt_fs_elem *at = first; at != NULL; at = at->then) {
        ((struct kvt_fs_shadow *)at)->last = last;
        enlist(queue, (struct kvt_fs_shadow *)at);
    }
    return first;
}

/* Ending ------------------------------------------------------------------ */

/* Ends an element that never started, and never will: nothing lingers. */
static void end_unstarted(struct kvt_fs_elem *elem)
{
    void (*late)(void *, int64_t) = elem->late;
    void *late_arg = elem->late_arg;
    elem->result = -ETIMEDOUT;
    elem->late_follows = late != NULL;
    if (elem->done != NULL) {
        elem->done(elem);
    }
    if (late != NULL) {
        late(late_arg, -ECANCELED);
    }
}

static void deliver(struct kvt_fs_shadow *shadow)
{
    struct kvt_fs_elem *original = shadow->original;
    int64_t result = shadow->elem.result;
    if (result == -ECANCELED && !shadow->last->broken &&
        kvt_clock_ns() >= shadow->elem.deadline_ns) {
        shadow_free(shadow);
        end_unstarted(original);
        return;
    }
    shadow->last->broken = shadow->last->broken || result < 0;
    if (!is_write(original) && result > 0) {
        copy_foreign(shadow, false, (uint64_t)result);
    }
    original->file = shadow->elem.file;
    original->file_size = shadow->elem.file_size;
    original->lost = shadow->elem.lost;
    original->partial = shadow->elem.partial;
    original->result = result;
    shadow_free(shadow);
    if (original->done != NULL) {
        original->done(original);
    }
}

/* A file that was opened past the deadline belongs to nobody, unless its chain
 * closes it. */
static void note_orphan(struct kvt_fs_shadow *shadow)
{
    const struct kvt_fs_elem *elem = &shadow->elem;
    if (elem->op == KVT_FS_OPEN && elem->result == 0) {
        shadow->last->orphan = elem->file;
    } else if (elem->op == KVT_FS_CLOSE && elem->result != -ECANCELED) {
        shadow->last->orphan = NULL;
    }
}

/* The last of a chain goes on as the close of the file that it left open. */
static bool close_orphan(struct kvt_fs_shadow *shadow)
{
    struct kvt_fs_elem *elem = &shadow->elem;
    struct kvt_fs_queue *queue = elem->queue;
    if (shadow->last != shadow || shadow->orphan == NULL) {
        return false;
    }
    elem->op = KVT_FS_CLOSE;
    elem->file = shadow->orphan;
    elem->flags = KVT_FS_NOT_INLINE;
    elem->then = NULL;
    elem->slice_count = 0;
    queue->lingering++;
    queue->in_adapter++;
    __atomic_fetch_add(&queue->fs->core->in_flight, 1, __ATOMIC_RELAXED);
    kvt_fs_start(queue, elem);
    return true;
}

static void shadow_done(struct kvt_fs_elem *elem)
{
    struct kvt_fs_shadow *shadow = (struct kvt_fs_shadow *)elem;
    struct kvt_fs_queue *queue = elem->queue;
    if (shadow->original != NULL) {
        delist(shadow);
        deliver(shadow);
        return;
    }
    hold_memory(shadow, false);
    queue->lingering--;
    queue->completed--; /* its element was counted at the deadline */
    if (shadow->late != NULL) {
        shadow->late(shadow->late_arg, elem->result);
        shadow->late = NULL;
    }
    note_orphan(shadow);
    if (!close_orphan(shadow)) {
        shadow_free(shadow);
    }
}

int64_t kvt_fs_deadline_next(const struct kvt_fs_queue *queue)
{
    int64_t waiting_ns =
        queue->backlog_deadlines > 0 ? queue->backlog_deadline_ns : 0;
    int64_t under_way_ns =
        queue->shadows != NULL ? queue->shadows->elem.deadline_ns : 0;
    if (waiting_ns == 0 || under_way_ns == 0) {
        return waiting_ns + under_way_ns;
    }
    return waiting_ns < under_way_ns ? waiting_ns : under_way_ns;
}

static void append_to_backlog(struct kvt_fs_queue *queue,
                              struct kvt_fs_elem *elem)
{
    elem->next = NULL;
    elem->then = NULL;
    elem->flags &= ~(uint32_t)KVT_FS_THEN;
    elem->deadline_ns = 0;
    *queue->backlog_end = elem;
    queue->backlog_end = &elem->next;
    queue->backlog_count++;
}

/* A close has to be carried out: it ends for its caller, and its shadow takes
 * its place. Without memory for that it stays, and ends when it is done. */
static void expire_close(struct kvt_fs_queue *queue, struct kvt_fs_elem *elem)
{
    struct kvt_fs_shadow *shadow = shadow_new(elem, 0);
    queue->backlog_count--;
    if (shadow == NULL) {
        append_to_backlog(queue, elem);
        return;
    }
    shadow->original = NULL;
    shadow->last = shadow;
    append_to_backlog(queue, &shadow->elem);
    queue->lingering++;
    queue->completed++;
    elem->result = -ETIMEDOUT;
    elem->late_follows = shadow->late != NULL;
    if (elem->done != NULL) {
        elem->done(elem);
    }
}

static void expire_unstarted(struct kvt_fs_queue *queue,
                             struct kvt_fs_elem *elem)
{
    if (kvt_fs_closes(elem)) {
        expire_close(queue, elem);
    } else {
        queue->backlog_count--;
        queue->completed++;
        end_unstarted(elem);
    }
}

/* Chains that wait for the adapter, in their order. The backlog may be long: it
 * is looked through when one of it may be due, and then the next is known. */
static void expire_backlog(struct kvt_fs_queue *queue, int64_t now_ns)
{
    struct kvt_fs_elem **at = &queue->backlog;
    struct kvt_fs_elem *expired = NULL;
    struct kvt_fs_elem **end = &expired;
    int64_t next_ns = 0;
    if (queue->backlog_deadlines == 0 || now_ns < queue->backlog_deadline_ns) {
        return;
    }
    while (*at != NULL) {
        struct kvt_fs_elem *chain = *at;
        int64_t deadline_ns = chain->deadline_ns;
        if (deadline_ns == 0 || deadline_ns > now_ns) {
            if (deadline_ns != 0 && (next_ns == 0 || deadline_ns < next_ns)) {
                next_ns = deadline_ns;
            }
            at = &chain->next;
            continue;
        }
        *at = chain->next;
        queue->backlog_deadlines--;
        *end = chain;
        end = &chain->next;
    }
    *end = NULL;
    queue->backlog_end = at;
    queue->backlog_deadline_ns = next_ns;
    while (expired != NULL) {
        struct kvt_fs_elem *next = expired->next;
        while (expired != NULL) {
            struct kvt_fs_elem *rest = expired->then;
            expire_unstarted(queue, expired);
            expired = rest;
        }
        expired = next;
    }
}

/* Elements that the adapter has: their shadows linger. */
static void expire_shadows(struct kvt_fs_queue *queue, int64_t now_ns)
{
    struct kvt_fs_shadow *shadow = queue->shadows;
    while (shadow != NULL && shadow->elem.deadline_ns <= now_ns) {
        struct kvt_fs_elem *original = shadow->original;
        delist(shadow);
        shadow->original = NULL;
        hold_memory(shadow, true);
        queue->lingering++;
        queue->completed++;
        original->result = -ETIMEDOUT;
        original->late_follows = shadow->late != NULL;
        if (original->done != NULL) {
            original->done(original);
        }
        shadow = queue->shadows; /* the callback may have changed the list */
    }
}

void kvt_fs_deadline_expire(struct kvt_fs_queue *queue)
{
    int64_t now_ns = kvt_clock_ns();
    expire_shadows(queue, now_ns);
    expire_backlog(queue, now_ns);
}
