/*
 * interrupt.h - SIGINT and SIGTERM end long work cleanly.
 */
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

#include <stdbool.h>

/* From now on the first such signal is only noted; the second one ends the
 * process, as usual. System calls go on. */
void cli_interrupt_catch(void);

/* Whether one came. Any thread. */
bool cli_interrupted(void);

#endif
