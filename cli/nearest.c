#include "nearest.h"

#include <string.h>

/* Longer names are not compared: all of ours are shorter. */
enum {
    NAME_SIZE_MAX = 32
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edits (insert, delete, change) that make `a` of `b`: one row of the usual
 * table is enough. */
static size_t edit_distance(const char *a, size_t a_size, const char *b,
                            size_t b_size)
{
    size_t row[NAME_SIZE_MAX + 1];
    for (size_t j = 0; j <= b_size; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a_size; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = smaller(change, smaller(row[j], row[j - 1]) + 1);
        }
    }
    return row[b_size];
}

void cli_nearest_init(struct cli_nearest *nearest, const char *wanted,
                      size_t wanted_size)
{
    /* a third of the letters may be wrong, one always */
    size_t far = wanted_size / 3 + 2;
    *nearest = (struct cli_nearest){wanted, wanted_size, far, NULL};
}

void cli_nearest_offer(struct cli_nearest *nearest, const char *name)
{
    size_t size = strlen(name);
    if (nearest->wanted_size > NAME_SIZE_MAX || size > NAME_SIZE_MAX) {
        return;
    }
    size_t distance =
        edit_distance(nearest->wanted, nearest->wanted_size, name, size);
    if (distance < nearest->distance && distance < size) {
        nearest->distance = distance;
        nearest->name = name;
    }
}
