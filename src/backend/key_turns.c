#include "backend/key_turns.h"

static struct kvt_turn **find(struct kvt_turns *turns, uint64_t hash)
{
    struct kvt_turn **at = &turns->chains[hash % KVT_TURN_CHAINS];
    while (*at != NULL && (*at)->hash != hash) {
        at = &(*at)->next;
    }
    return at;
}

bool kvt_turn_try(struct kvt_turns *turns, struct kvt_turn *turn)
{
    struct kvt_turn **at = find(turns, turn->hash);
    bool ours = *at == NULL;
    turn->next = NULL;
    turn->waiters = NULL;
    if (ours) {
        *at = turn;
    }
    return ours;
}

bool kvt_turn_take(struct kvt_turns *turns, struct kvt_turn *turn,
                   struct kvt_fs_queue *queue, struct kvt_fs_elem *elem)
{
    struct kvt_turn **at = find(turns, turn->hash);
    if (kvt_turn_try(turns, turn)) {
        return true;
    }
    turn->elem = elem;
    kvt_fs_expect(queue, elem);
    struct kvt_turn **end = &(*at)->waiters;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    *end = turn;
    return false;
}

void kvt_turn_give(struct kvt_turns *turns, struct kvt_turn *turn)
{
    struct kvt_turn **at = find(turns, turn->hash);
    struct kvt_turn *heir = turn->waiters;
    *at = turn->next;
    if (heir != NULL) {
        heir->waiters = heir->next;
        heir->next = *at;
        *at = heir;
        kvt_fs_post(heir->elem, 0);
    }
}

bool kvt_turn_leave(struct kvt_turns *turns, struct kvt_turn *turn)
{
    struct kvt_turn *holder = *find(turns, turn->hash);
    struct kvt_turn **at = holder != NULL ? &holder->waiters : NULL;
    while (at != NULL && *at != NULL && *at != turn) {
        at = &(*at)->next;
    }
    if (at == NULL || *at == NULL) {
        return false;
    }
    *at = turn->next;
    return true;
}
