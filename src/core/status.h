/* What went wrong with one object, and the public code for it. */
#ifndef KVT_CORE_STATUS_H
#define KVT_CORE_STATUS_H

#include <kvtier/error.h>
#include <stdbool.h>

enum kvt_fault {
    KVT_FAULT_ABSENT,  /* there is no such object */
    KVT_FAULT_EXISTS,  /* there is one already */
    KVT_FAULT_SMALL,   /* the slices are too small */
    KVT_FAULT_CORRUPT, /* the stored bytes are not what was written */
    KVT_FAULT_FULL,    /* no room, and nothing may be evicted for it */
    KVT_FAULT_KEYS,    /* too many objects, likewise */
    KVT_FAULT_REFUSED, /* the caller's handler said no */
    KVT_FAULT_READ,    /* the errno of a read, an open, a stat */
    KVT_FAULT_WRITE,   /* the errno of a write, a rename, a remove */
    KVT_FAULT_PARTIAL, /* fewer bytes were written than asked */
};

/* The public code of a fault; `errnum` is positive or 0; `shared`: the file
 * system is one that other hosts use. */
int kvt_status_of(enum kvt_fault fault, int errnum, bool shared);

#endif
