#include "fs/pool_line.h"

enum {
    READS_IN_A_ROW = 8 /* while writes wait */
};

static int kind_of(const struct kvt_fs_elem *chain)
{
    const unsigned reading = 1u << KVT_FS_READ | 1u << KVT_FS_FETCH |
                             1u << KVT_FS_OPEN | 1u << KVT_FS_CLOSE |
                             1u << KVT_FS_STAT;
    while ((reading & 1u << chain->op) != 0) {
        if ((chain->flags & KVT_FS_THEN) == 0) {
            return KVT_POOL_READS;
        }
        chain = chain->next;
    }
    return KVT_POOL_WRITES;
}

void kvt_pool_lines_init(struct kvt_pool_lines *lines)
{
    for (int i = 0; i < KVT_POOL_KINDS; i++) {
        lines->lines[i].first = NULL;
        lines->lines[i].end = &lines->lines[i].first;
    }
    lines->reads_in_a_row = 0;
}

void kvt_pool_line_up(struct kvt_pool_lines *lines,
                      struct kvt_pool_place *place)
{
    if (place->in_line) {
        return;
    }
    int kind = kind_of(place->unstarted);
    place->next = NULL;
    place->in_line = true;
    *lines->lines[kind].end = place;
    lines->lines[kind].end = &place->next;
}

/* Of one whose poller took all that it had, nothing is left. */
static struct kvt_pool_place *leave_front(struct kvt_pool_lines *lines,
                                          int kind)
{
    struct kvt_pool_place *place;
    while ((place = lines->lines[kind].first) != NULL) {
        lines->lines[kind].first = place->next;
        if (place->next == NULL) {
            lines->lines[kind].end = &lines->lines[kind].first;
        }
        place->in_line = false;
        if (place->unstarted != NULL) {
            return place;
        }
    }
    return NULL;
}

struct kvt_pool_place *kvt_pool_next(struct kvt_pool_lines *lines)
{
    bool writes = lines->reads_in_a_row >= READS_IN_A_ROW;
    struct kvt_pool_place *place =
        writes ? leave_front(lines, KVT_POOL_WRITES) : NULL;
    if (place == NULL && (place = leave_front(lines, KVT_POOL_READS)) != NULL) {
        lines->reads_in_a_row++;
        return place;
    }
    lines->reads_in_a_row = 0;
    return place != NULL ? place : leave_front(lines, KVT_POOL_WRITES);
}

void kvt_pool_leave(struct kvt_pool_lines *lines, struct kvt_pool_place *place)
{
    for (int i = 0; i < KVT_POOL_KINDS && place->in_line; i++) {
        struct kvt_pool_place **at = &lines->lines[i].first;
        while (*at != NULL && *at != place) {
            at = &(*at)->next;
        }
        if (*at == NULL) {
            continue;
        }
        *at = place->next;
        place->in_line = false;
        if (lines->lines[i].end == &place->next) {
            lines->lines[i].end = at;
        }
    }
}
