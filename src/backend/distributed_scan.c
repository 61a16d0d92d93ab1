/* scan_meta over a shared root. */
#include "backend/distributed_walk.h"
#include "backend/scan_batch.h"

struct scan {
    struct dist *dist;
    struct kvt_scan_batch batch;
};

static int scan_one(const struct dist_object *object, void *arg)
{
    struct scan *scan = arg;
    struct kvt_meta meta = kvt_dist_meta(scan->dist, object->key, object->size);
    return kvt_scan_batch_add(&scan->batch, &meta);
}

int kvt_dist_scan(struct kvt_backend *backend, size_t batch_max,
                  kvt_scan_fn handler, void *arg, struct kvt_error *err)
{
    struct dist *dist = (struct dist *)backend;
    struct scan scan = {.dist = dist};
    int rc = kvt_scan_batch_init(&scan.batch, batch_max, handler, arg);
    if (rc == 0) {
        rc = kvt_dist_objects(dist, scan_one, &scan);
    }
    if (rc == 0) {
        rc = kvt_scan_batch_flush(&scan.batch);
    }
    kvt_scan_batch_fini(&scan.batch);
    if (rc == 0 || scan.batch.handler_rc != 0) {
        return rc;
    }
    return kvt_dist_fail(dist, KVT_FAULT_READ, rc, "listing the objects", err);
}
