/* The uring adapter: posix, but that bytes move through io_uring. A queue is
 * a ring. Its parts:
 *
 *   uring.c           the mount: ring or posix, and why
 *   uring_probe.c     what this kernel lets us do, tried
 *   uring_queue.c     a queue: elements in, completions out, waiting, waking
 *   uring_transfer.c  reads and writes, part by part
 *   uring_single.c    elements that are one call
 *   uring_bounce.c    memory of ours for what direct I/O cannot move
 *   uring_memory.c    memory that is registered with the rings
 *
 * A queue may move from one thread to another, so nothing of a ring is bound to
 * the thread that made it (IORING_SETUP_SINGLE_ISSUER, registered rings).
 *
 * Locks: `waker_mutex` and `memory_mutex` are never held together, nor across
 * a callback. A queue has none: it belongs to one thread. */
#ifndef KVT_FS_URING_H
#define KVT_FS_URING_H

#include "fs/part.h"
#include "fs/posix.h"

#include <liburing.h>
#include <pthread.h>

enum {
    URING_IOS_MAX = 4096,    /* elements of one queue under way */
    URING_REGIONS_MAX = 64,  /* pieces of registered memory */
    URING_WAKES_MAX = 64,    /* completions that one wake may take */
    URING_SMALL = 8192,      /* bounce memory that every element has */
    URING_CHUNK = 256 << 10, /* that few have */
    URING_CHUNKS_MAX = 16,
    URING_PIECES_MAX = 1024, /* of one call: the kernel's IOV_MAX */
};

struct uring_region {
    char *base;
    size_t size; /* 0: free */
};

struct uring_fs {
    struct posix_fs posix;
    char reason[256]; /* of a fallback */
    uint32_t depth;   /* of queues, unless they want another */
    unsigned forks;   /* kvt_process_forks() at mount */
    pthread_mutex_t waker_mutex;
    struct io_uring waker; /* under it: sends completions to other rings */
    pthread_mutex_t memory_mutex;
    /* under it */
    struct uring_queue *queues;
    struct uring_region regions[URING_REGIONS_MAX];
    uint64_t registered;     /* bytes of them */
    uint64_t registered_max; /* constant */
    uint64_t generation;     /* of `regions`; also read without the mutex */
};

/* One element under way. */
struct uring_io {
    struct kvt_fs_elem *elem; /* null: none */
    struct uring_io *next;    /* in the list of the free, the starved */
    uint32_t generation;      /* tells its calls from those of older elements */
    uint32_t thread;          /* that prepared its last call */
    bool worker;              /* a thread of the kernel's does it */
    /* transfers */
    int file; /* descriptor */
    struct kvt_rest rest;
    uint64_t done; /* bytes */
    /* the part under way; planned anew when it is over */
    uint64_t asked;
    uint64_t bounced;
    int buffer;           /* the registered memory that it uses, or -1 */
    unsigned char *chunk; /* of bounce memory, or null */
};

struct uring_queue {
    struct kvt_fs_queue base;
    struct uring_fs *fs;
    struct io_uring ring;
    /* waking, see uring_queue.c; atomic */
    int sleep;
    unsigned wanted;
    /* elements */
    uint32_t io_count;
    uint32_t busy; /* ios */
    struct uring_io *ios;
    struct uring_io *free;
    struct kvt_fs_elem *unstarted; /* no io was free */
    struct kvt_fs_elem **unstarted_end;
    /* what may be no more than copying out of the page cache */
    struct kvt_fs_elem *copies;
    struct kvt_fs_elem **copies_end;
    size_t copy_count;
    unsigned at_workers;       /* copies that threads of the kernel's have */
    struct kvt_fs_elem *ended; /* with a result, not told yet */
    struct kvt_fs_elem **ended_end;
    /* of the calls that are prepared and not handed over */
    struct iovec *pieces;
    uint32_t pieces_used;
    /* bounce memory */
    struct kvt_slice *plan;   /* the part in hand */
    unsigned char *small;     /* URING_SMALL for each io, once one needs it */
    struct uring_io *starved; /* parts that wait */
    struct uring_io **starved_end;
    uint32_t chunks_made;
    uint32_t chunks_free;
    unsigned char *chunks[URING_CHUNKS_MAX]; /* that are free */
    /* what the ring knows of fs->regions */
    struct uring_region regions[URING_REGIONS_MAX];
    uint64_t generation; /* of that copy */
    size_t last_region;  /* that was hit */
    bool has_buffers;    /* the ring has a table of them */
    /* under fs->memory_mutex */
    bool registered[URING_REGIONS_MAX];
    struct uring_queue *next;
    struct uring_queue **at;
};

/* uring_probe.c */
/* Null when rings work here, one of a queue of `depth` among them, and `waker`
 * is made; otherwise why not, in fs->reason. `depth` is set. */
const char *kvt_uring_probe(struct uring_fs *fs);
/* 0; -ENOSYS where the kernel is too old for us, or -errno. */
int kvt_uring_ring_open(struct io_uring *ring, uint32_t entries,
                        uint32_t completions);

void kvt_uring_ring_close(struct io_uring *ring);

/* uring_queue.c */
extern const struct kvt_fs_queue_ops kvt_uring_queue;
/* How many elements a queue of that depth has under way. */
uint32_t kvt_uring_ios(uint32_t depth);
/* A ring that is large enough for so many; as kvt_uring_ring_open. */
int kvt_uring_queue_ring(struct io_uring *ring, uint32_t ios);
/* A call to be prepared; there is room for all that one io may prepare. */
struct io_uring_sqe *kvt_uring_call(struct uring_queue *queue,
                                    struct uring_io *io);
void kvt_uring_tag(struct io_uring_sqe *sqe, const struct uring_queue *queue,
                   const struct uring_io *io);
/* Is there room for a call of so many pieces? Hands over what is prepared when
 * there is not. */
bool kvt_uring_has_room(struct uring_queue *queue, uint32_t pieces);
/* The part has to wait for such room, or for memory. */
void kvt_uring_starve(struct uring_queue *queue, struct uring_io *io);
/* The element is over, and its io free; poll tells. */
void kvt_uring_end(struct uring_queue *queue, struct uring_io *io,
                   int64_t result);
/* A thread of the pool carries the element out, from its start. */
void kvt_uring_aside(struct uring_queue *queue, struct uring_io *io);
/* Is this the result of a call that never ran, since the thread that prepared
 * it has ended? */
bool kvt_uring_is_orphan(const struct uring_io *io, int64_t result);

/* uring_transfer.c */
/* Starts the next part, or ends the element. */
void kvt_uring_transfer(struct uring_queue *queue, struct uring_io *io);
void kvt_uring_transfer_done(struct uring_queue *queue, struct uring_io *io,
                             int64_t moved);
/* uring_single.c: all other elements. */
void kvt_uring_single(struct uring_queue *queue, struct uring_io *io);
void kvt_uring_single_done(struct uring_queue *queue, struct uring_io *io,
                           int64_t result);

/* uring_bounce.c */
/* Memory for `size` bytes. 0; -EAGAIN when all chunks are taken; -ENOMEM. */
int kvt_uring_bounce_take(struct uring_queue *queue, struct uring_io *io,
                          uint64_t size);
unsigned char *kvt_uring_bounce_of(const struct uring_queue *queue,
                                   const struct uring_io *io);
void kvt_uring_bounce_give(struct uring_queue *queue, struct uring_io *io);
void kvt_uring_bounce_fini(struct uring_queue *queue);

/* uring_memory.c: members of the table, and the ring's side. */
int kvt_uring_mem_alloc(struct kvt_fs *fs, size_t size, void **base,
                        void **cookie);
int kvt_uring_mem_register(struct kvt_fs *fs, void *base, size_t size,
                           void **cookie);
void kvt_uring_mem_free(struct kvt_fs *fs, void *base, size_t size,
                        void *cookie, bool registered);
/* The number of the registered memory that holds these bytes, or -1. */
int kvt_uring_buffer(struct uring_queue *queue, const void *base, size_t size);
/* True when a part failed since the ring does not know the memory any more: it
 * is to be moved as any other from now on. */
bool kvt_uring_buffer_is_lost(struct uring_queue *queue,
                              const struct uring_io *io, int64_t result);
void kvt_uring_memory_join(struct uring_queue *queue);
void kvt_uring_memory_leave(struct uring_queue *queue);

/* Tells the mount's users that less is in effect: the text is constant. */
void kvt_uring_fell_back(struct uring_fs *fs, const char *reason);

#endif
