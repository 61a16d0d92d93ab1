/*
 * utf8.h - text of unknown origin, made valid UTF-8.
 */
#ifndef CLI_UTF8_H
#define CLI_UTF8_H

/* Returns a copy (free with free) in which every byte that is not part of
 * well-formed UTF-8 is U+FFFD. */
char *cli_utf8_clean(const char *text);

#endif
