/* Runs a fuzzer over files, in builds without libFuzzer: what its corpus has
 * holds in all of them. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    long size = -1;
    if (file != NULL && fseek(file, 0, SEEK_END) == 0) {
        size = ftell(file);
        rewind(file);
        data = size >= 0 ? malloc((size_t)size + 1) : NULL;
    }
    int good =
        data != NULL && fread(data, 1, (size_t)size, file) == (size_t)size;
    if (good) {
        LLVMFuzzerTestOneInput(data, (size_t)size);
    }
    free(data);
    if (file != NULL) {
        fclose(file);
    }
    return good;
}

int main(int argc, char **argv)
{
    DIR *directory = argc == 2 ? opendir(argv[1]) : NULL;
    struct dirent *entry;
    int count = 0;
    if (directory == NULL) {
        fprintf(stderr, "no corpus\n");
        return 1;
    }
    while ((entry = readdir(directory)) != NULL) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        if (entry->d_name[0] == '.') {
            continue;
        }
        if (!run_file(path)) {
            fprintf(stderr, "cannot read %s\n", path);
            return 1;
        }
        count++;
    }
    closedir(directory);
    printf("%d files\n", count);
    return count == 0;
}
