/* One writer a key: whoever wants to change a key that another operation is
 * changing waits for its turn, without blocking a thread. Operations that
 * need several keys take them in the order of their hashes, so that no two
 * wait for each other. Not thread safe: the layout's lock covers it. */
#ifndef KVT_BACKEND_KEY_TURNS_H
#define KVT_BACKEND_KEY_TURNS_H

#include <kvtier/fs.h>

enum {
    KVT_TURN_CHAINS = 1024
};

/* In the layout's own struct, one a key. */
struct kvt_turn {
    uint64_t hash; /* of the key */
    struct kvt_turn *next;
    struct kvt_turn *waiters; /* of the one whose turn it is: oldest first */
    struct kvt_fs_elem *elem; /* completed when the turn comes */
};

struct kvt_turns {
    struct kvt_turn *chains[KVT_TURN_CHAINS]; /* whose turn it is */
};

/* True when it is our turn at once. Otherwise `elem` (a KVT_FS_WAIT element)
 * is submitted to the queue, and completed when it is. */
bool kvt_turn_take(struct kvt_turns *turns, struct kvt_turn *turn,
                   struct kvt_fs_queue *queue, struct kvt_fs_elem *elem);
/* True when it is our turn at once; nothing happens otherwise. */
bool kvt_turn_try(struct kvt_turns *turns, struct kvt_turn *turn);
/* The turn is over: the next one's comes. */
void kvt_turn_give(struct kvt_turns *turns, struct kvt_turn *turn);
/* Leaves the line; false when the turn had come already. `elem` is left to
 * the caller to be posted. */
bool kvt_turn_leave(struct kvt_turns *turns, struct kvt_turn *turn);

#endif
