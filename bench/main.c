/* bench_kvtier: all benchmarks of the library, see docs/benchmarks.md. */
#define _DEFAULT_SOURCE /* realpath */
#include "harness.h"
#include "pairs.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: bench_kvtier [--dir DIR] [--fs NAME] [--only PART] [--pairs N]\n"
    "                    [--against COMMAND] [--quick N] [--objects N]\n"
    "                    [--csv FILE] [--list]\n"
    "  --dir DIR    where the files go (default .); 1 GiB is needed\n"
    "  --fs NAME    adapter under test (default posix), or a module's file\n"
    "  --only PART  rows whose name has this part\n"
    "  --pairs N    pairs a row (default 15)\n"
    "  --against COMMAND  of the shell, in place of the rows' other sides; it\n"
    "               does the same with $BENCH_FILE, $BENCH_OPERATION,\n"
    "               $BENCH_SIZE, $BENCH_COUNT and $BENCH_BYTES\n"
    "  --quick N    an N-th of the work: to try it, not to measure\n"
    "  --objects N  of rows on large stores (default 1000000)\n"
    "  --csv FILE   all figures, and the full command of the other side\n"
    "  --list       the names of the rows\n";

static int usage(const char *what)
{
    fprintf(stderr, "bench_kvtier: %s\n%s", what, help);
    return 2;
}

static bool take_number(const char *text, unsigned most, unsigned *number)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    *number = (unsigned)value;
    return end != text && *end == '\0' && value >= 1 && value <= most;
}

static const char *take_option(struct bench_options *options, const char *name,
                               const char *value)
{
    if (strcmp(name, "--dir") == 0) {
        options->dir = value;
    } else if (strcmp(name, "--fs") == 0) {
        options->fs = value;
    } else if (strcmp(name, "--only") == 0) {
        options->only = value;
    } else if (strcmp(name, "--against") == 0) {
        options->against = value;
    } else if (strcmp(name, "--csv") == 0) {
        options->csv = value;
    } else if (strcmp(name, "--pairs") == 0) {
        return take_number(value, PAIRS_MAX, &options->pairs)
                   ? NULL
                   : "--pairs takes 1 to 201";
    } else if (strcmp(name, "--quick") == 0) {
        return take_number(value, 1000000, &options->scale)
                   ? NULL
                   : "--quick takes a number from 1";
    } else if (strcmp(name, "--objects") == 0) {
        return take_number(value, 100000000, &options->objects)
                   ? NULL
                   : "--objects takes a number from 1";
    } else {
        return "no such option";
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct bench_options options = {
        .dir = ".", .fs = "posix", .pairs = 15, .scale = 1, .objects = 1000000};
    static char dir[PATH_MAX];
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            return 0;
        }
        if (strcmp(argv[i], "--list") == 0) {
            options.list = true;
            continue;
        }
        if (i + 1 == argc) {
            return usage("an option needs a value");
        }
        const char *wrong = take_option(&options, argv[i], argv[i + 1]);
        if (wrong != NULL) {
            return usage(wrong);
        }
        i++;
    }
    if (realpath(options.dir, dir) == NULL) {
        perror(options.dir);
        return 1;
    }
    options.dir = dir;
    return bench_run(&options);
}
