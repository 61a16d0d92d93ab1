/* What tests of the layout `bucket` share: its files, and its keeper. */
#ifndef KVT_TESTS_BUCKET_FIXTURE_H
#define KVT_TESTS_BUCKET_FIXTURE_H

#include "support/store_fixture.h"

#include "backend/bucket.h"

enum {
    BUCKET_FILES_MAX = 1024
};

/* Names of bucket files below the store ("w-.../....kvb"), oldest first. */
struct bucket_files {
    size_t count;
    char names[BUCKET_FILES_MAX][BKT_PATH_MAX];
};
void bucket_files_find(const struct store_fixture *fixture,
                       struct bucket_files *files);

struct bkt *bkt_of(struct kvt_store *store);

/* Seals what was written, and waits until the keeper has nothing to do. */
void bucket_settle(struct kvt_store *store);

/* Runs `work` on a store of its own in a child, which then dies without
 * closing it. Fails the test unless `work` returns true. */
void bucket_die_after(struct store_fixture *fixture,
                      bool (*work)(struct kvt_store *store));

/* A copy of a store's tree. */
void tree_copy(const char *from, const char *to);

#endif
