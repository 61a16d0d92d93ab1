/* The golden files of tests/golden: bytes on disk as version 1 wrote them.
 * They are never written again; a new version gets new files. */
#ifndef KVT_TESTS_GOLDEN_H
#define KVT_TESTS_GOLDEN_H

#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>

/* Reads tests/golden/NAME into `bytes`; returns its size, at most `room`. */
static inline size_t golden_read(const char *name, uint8_t *bytes, size_t room)
{
    const char *source = getenv("KVT_TEST_SOURCE");
    char path[4096];

    snprintf(path, sizeof path, "%s/tests/golden/%s",
             source != NULL ? source : "..", name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail_msg("no %s; is KVT_TEST_SOURCE the source tree?", path);
        return 0;
    }
    size_t size = fread(bytes, 1, room, file);
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
    return size;
}

#endif
