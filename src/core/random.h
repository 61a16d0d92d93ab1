/* Random bytes of the operating system: for ids and seeds. */
#ifndef KVT_CORE_RANDOM_H
#define KVT_CORE_RANDOM_H

#include <stddef.h>

/* Fills `size` (at most 256) bytes. 0 or -errno. */
int kvt_random(void *bytes, size_t size);

#endif
