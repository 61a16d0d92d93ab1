/* Error numbers by name, for settings that name one. */
#ifndef KVT_CORE_ERRNUM_H
#define KVT_CORE_ERRNUM_H

/* The number of "ENOSPC"; 0 for a text that is no name here. */
int kvt_errnum_of(const char *name);

#endif
