#include "core/random.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/types.h>

int kvt_random(void *bytes, size_t size)
{
    for (;;) {
        ssize_t got = getrandom(bytes, size, 0);
        if (got == (ssize_t)size) {
            return 0;
        }
        if (got < 0 && errno != EINTR) {
            return -errno;
        }
    }
}
