#include "memory.h"

#include "cli.h"

#include <stdio.h>
#include <string.h>

_Noreturn void cli_memory_short(void)
{
    fputs("kvtier: memory is short; free some, or raise the limit of the "
          "process [KVT_ERR_INTERNAL -1 ENOMEM]\n",
          stderr);
    exit(CLI_FAILED);
}

void *cli_alloc(size_t size)
{
    void *memory = calloc(1, size > 0 ? size : 1);
    if (memory == NULL) {
        cli_memory_short();
    }
    return memory;
}

void *cli_resize(void *memory, size_t size)
{
    void *resized = realloc(memory, size > 0 ? size : 1);
    if (resized == NULL) {
        cli_memory_short();
    }
    return resized;
}

char *cli_text_copy(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(cli_alloc(size), text, size);
}
