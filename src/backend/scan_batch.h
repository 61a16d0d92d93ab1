/* Metadata of objects, gathered until a batch of it goes to the handler of a
 * scan. */
#ifndef KVT_BACKEND_SCAN_BATCH_H
#define KVT_BACKEND_SCAN_BATCH_H

#include <kvtier/kvtier.h>

struct kvt_scan_batch {
    kvt_scan_fn handler;
    void *arg;
    struct kvt_meta *metas;
    size_t count;
    size_t max;
    unsigned char *keys; /* behind each other */
    size_t keys_size;
    size_t keys_capacity;
    int handler_rc; /* what the handler said when it was not 0 */
};

/* 0 or -ENOMEM. */
int kvt_scan_batch_init(struct kvt_scan_batch *batch, size_t max,
                        kvt_scan_fn handler, void *arg);
void kvt_scan_batch_fini(struct kvt_scan_batch *batch);

/* Adds an object (its key is copied); a full batch goes to the handler. 0,
 * what the handler said, or -ENOMEM. */
int kvt_scan_batch_add(struct kvt_scan_batch *batch,
                       const struct kvt_meta *meta);
/* Gives the handler what is left. */
int kvt_scan_batch_flush(struct kvt_scan_batch *batch);

#endif
