/* Whose turn it is at the pool's threads. Queues with work stand in one of two
 * lines, by what they have to do next: somebody waits for what reads, and what
 * writes has time. So reads go first; but of nine turns one is a write's, if
 * one waits, or it might wait for ever. Within a line queues take turns. The
 * pool's lock covers all of it. */
#ifndef KVT_FS_POOL_LINE_H
#define KVT_FS_POOL_LINE_H

#include <kvtier/fs.h>

enum {
    KVT_POOL_READS,
    KVT_POOL_WRITES,
    KVT_POOL_KINDS
};

/* A queue's place; it stands in a line at most once. */
struct kvt_pool_place {
    struct kvt_pool_place *next;
    struct kvt_fs_elem *unstarted; /* chains, the next first */
    bool in_line;
};

struct kvt_pool_lines {
    struct {
        struct kvt_pool_place *first;
        struct kvt_pool_place **end;
    } lines[KVT_POOL_KINDS];
    unsigned reads_in_a_row;
};

void kvt_pool_lines_init(struct kvt_pool_lines *lines);
/* A place with work; nothing happens when it stands in line already. */
void kvt_pool_line_up(struct kvt_pool_lines *lines,
                      struct kvt_pool_place *place);
/* Takes the place out whose turn it is; null when none has work. */
struct kvt_pool_place *kvt_pool_next(struct kvt_pool_lines *lines);
/* Takes a place out, if it stands in line. */
void kvt_pool_leave(struct kvt_pool_lines *lines, struct kvt_pool_place *place);

#endif
