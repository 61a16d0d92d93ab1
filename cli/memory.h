/*
 * memory.h - small allocations that end the program when they fail.
 *
 * For what the program needs to go on at all. Memory for an object's bytes
 * comes from buffer.h, where a failure is that object's.
 */
#ifndef CLI_MEMORY_H
#define CLI_MEMORY_H

#include <stddef.h>
#include <stdlib.h>

/* Each returns memory to free with free(), never null. */
void *cli_alloc(size_t size); /* zeroed */
void *cli_resize(void *memory, size_t size);
char *cli_text_copy(const char *text);

/* Says that memory is short and exits with CLI_FAILED. */
_Noreturn void cli_memory_short(void);

#endif
