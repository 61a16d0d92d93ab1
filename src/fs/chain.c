/* What starts next in a chain, and with which file. */
#include "core/clock.h"
#include "fs/fs_core.h"

static bool uses_file(const struct kvt_fs_elem *elem)
{
    switch (elem->op) {
    case KVT_FS_READ:
    case KVT_FS_WRITE:
    case KVT_FS_DATASYNC:
    case KVT_FS_PUNCH:
    case KVT_FS_CLOSE:
        return true;
    case KVT_FS_SYNC:
        return elem->path == NULL;
    default:
        return false;
    }
}

void kvt_fs_chain_pass_file(const struct kvt_fs_elem *from,
                            struct kvt_fs_elem *to)
{
    to->passed = from->passed;
    if (from->op == KVT_FS_OPEN && from->result == 0) {
        to->passed = from->file;
    } else if (from->op == KVT_FS_CLOSE) {
        to->passed = NULL;
    }
    if (to->file == NULL && uses_file(to)) {
        to->file = to->passed;
    }
}

bool kvt_fs_closes(const struct kvt_fs_elem *elem)
{
    return elem->op == KVT_FS_CLOSE && elem->file != NULL;
}

bool kvt_fs_chain_cancels(const struct kvt_fs_elem *elem, bool broken)
{
    bool overdue =
        elem->deadline_ns != 0 && kvt_clock_ns() >= elem->deadline_ns;
    return (broken || overdue) && !kvt_fs_closes(elem);
}
