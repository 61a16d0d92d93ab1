/*
 * figures.h - the store's figures, as `stat` and --stats show them.
 */
#ifndef CLI_FIGURES_H
#define CLI_FIGURES_H

#include <kvtier/kvtier.h>

struct cJSON;

/* Null texts are printed as empty ones. */
struct cJSON *cli_figures_json(const struct kvt_stats *stats);

/* The most memory that this process ever held. */
uint64_t cli_max_rss(void);

#endif
