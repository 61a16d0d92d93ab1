/* Who we are, for the people who meet our lock. */
#ifndef KVT_CORE_PROCESS_H
#define KVT_CORE_PROCESS_H

#define KVT_PROCESS_TEXT_MAX 256

#include <stdint.h>

/* "host NAME, pid 123, started 2026-01-31T12:00:00Z": this process. */
void kvt_process_describe(char text[KVT_PROCESS_TEXT_MAX]);

/* How many forks lie between the first call and this process: a handle that
 * remembers another number was opened by a parent. */
unsigned kvt_process_forks(void);

/* Descriptors that this process may have open. */
uint32_t kvt_process_files_max(void);

/* What changes with every boot of the machine; zeros where nothing tells. */
void kvt_process_boot(uint8_t boot[16]);

#endif
