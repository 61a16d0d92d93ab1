/*
 * The checkpoint: the index and what is known of the buckets, written when a
 * store is closed with everything sealed, and removed before anything is
 * changed. It is believed only when it is whole, fits the files that are
 * there, and was written by a machine of the same byte order; otherwise the
 * tables are read. docs/format.md, "Checkpoint".
 */
#include "backend/bucket_recover.h"
#include "core/bytes.h"
#include "core/hash.h"

#include <stdlib.h>
#include <string.h>

static const char checkpoint_path[] = ".kvtier/index";
static const uint8_t magic[8] = {0x89, 'K', 'V', 'T', 'I', '\r', '\n', 0x1a};

enum {
    VERSION = 1,
    HEADER_SIZE = 128,
    BUCKET_SIZE = 80,
    IMAGE_SIZE = 24,
    AT_ORDER = 12,
    AT_UUID = 16,
    AT_BUCKETS = 32,
    AT_IMAGES = 36,
    AT_BLOCK_BITS = 40,
    AT_SLOTS = 44,
    AT_SEQUENCE = 48,
    AT_ENTRIES = 56,
    AT_PARTS_CHECK = 64,
    AT_CHECK = 120,
};

/* Tells the byte order of the machine that wrote the tables. */
static const uint32_t order_mark = UINT32_C(0x01020304);

/* Buckets ---------------------------------------------------------------------
 */

static void put_bucket(const struct bkt_bucket *bucket, uint8_t *at)
{
    memset(at, 0, BUCKET_SIZE);
    kvt_put_le64(at, bucket->writer);
    kvt_put_le64(at + 8, bucket->number);
    kvt_put_le32(at + 16, bucket->slot);
    kvt_put_le32(at + 20, bucket->always_verify || bucket->unsynced);
    kvt_put_le64(at + 24, bucket->sequence);
    kvt_put_le32(at + 32, (uint32_t)bucket->objects);
    kvt_put_le32(at + 36, bucket->kill_count);
    kvt_put_le32(at + 40, (uint32_t)bucket->live_objects);
    kvt_put_le32(at + 44, bucket->run_count);
    kvt_put_le64(at + 48, bucket->live_bytes);
    kvt_put_le64(at + 56, bucket->charge.values);
    kvt_put_le64(at + 64, bucket->charge.allocated);
    kvt_put_le64(at + 72, bucket->dead_blocks);
}

/* A bucket of the checkpoint must be a file of the listing. */
static struct bkt_found *find_file(const struct bkt_listing *listing,
                                   uint64_t writer, uint64_t number)
{
    size_t low = 0;
    size_t high = listing->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct bkt_found *found = &listing->found[middle];
        if (found->number == number && found->writer == writer) {
            return found;
        }
        if (found->number < number ||
            (found->number == number && found->writer < writer)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

static int take_bucket(struct bkt *bkt, const struct bkt_listing *listing,
                       const uint8_t *at)
{
    uint32_t slot = kvt_get_le32(at + 16);
    struct bkt_found *found =
        find_file(listing, kvt_get_le64(at), kvt_get_le64(at + 8));
    if (found == NULL || found->bucket != NULL || slot >= bkt->slot_count ||
        bkt->slots[slot] != NULL) {
        return -EBADMSG;
    }
    struct bkt_bucket *bucket = calloc(1, sizeof *bucket);
    if (bucket == NULL) {
        return -ENOMEM;
    }
    uint64_t unit = kvt_fs_facts(bkt->fs)->allocation_unit;
    *bucket = (struct bkt_bucket){.bkt = bkt,
                                  .writer = found->writer,
                                  .number = found->number,
                                  .seed = found->seed,
                                  .slot = slot,
                                  .state = BKT_SEALED,
                                  .has_table = true,
                                  .always_verify = kvt_get_le32(at + 20) != 0,
                                  .sequence = kvt_get_le64(at + 24),
                                  .objects = kvt_get_le32(at + 32),
                                  .kill_count = kvt_get_le32(at + 36),
                                  .live_objects = kvt_get_le32(at + 40),
                                  .run_count = kvt_get_le32(at + 44),
                                  .live_bytes = kvt_get_le64(at + 48),
                                  .file_bytes =
                                      (found->size + unit - 1) / unit * unit,
                                  .dead_blocks = kvt_get_le64(at + 72),
                                  .charge = {.allocated = kvt_get_le64(at + 64),
                                             .values = kvt_get_le64(at + 56)}};
    bucket->runs_end = &bucket->runs;
    found->bucket = bucket;
    bkt->slots[slot] = bucket;
    bkt->in_state[BKT_SEALED]++;
    bkt->bucket_count++;
    bkt->live_bytes += bucket->live_bytes;
    bkt->budget.used.objects += bucket->live_objects;
    kvt_charge_add(&bkt->budget.used, bucket->charge);
    return 0;
}

/* Writing
 * ---------------------------------------------------------------------- */

struct images {
    struct kvt_slice *slices;
    uint8_t *heads;
    size_t count;
    size_t capacity;
};

static int count_image(const struct kvt_index_image *image, void *arg)
{
    (void)image;
    ++*(size_t *)arg;
    return 0;
}

static int take_image(const struct kvt_index_image *image, void *arg)
{
    struct images *images = arg;
    uint8_t *head = images->heads + images->count * IMAGE_SIZE;
    kvt_put_le32(head, image->depth);
    kvt_put_le32(head + 4, image->groups);
    kvt_put_le32(head + 8, image->count);
    kvt_put_le32(head + 12, 0);
    kvt_put_le64(head + 16, kvt_hash64(image->bytes, image->size, 0));
    images->slices[1 + images->count++] =
        (struct kvt_slice){image->bytes, image->size, NULL};
    return 0;
}

static bool all_sealed(const struct bkt *bkt)
{
    return bkt->in_state[BKT_SEALED] == bkt->bucket_count;
}

static void put_header(const struct bkt *bkt, uint8_t *bytes, size_t images,
                       size_t parts_size)
{
    memset(bytes, 0, HEADER_SIZE);
    memcpy(bytes, magic, sizeof magic);
    kvt_put_le16(bytes + 8, VERSION);
    kvt_put_le16(bytes + 10, HEADER_SIZE);
    memcpy(bytes + AT_ORDER, &order_mark, sizeof order_mark);
    memcpy(bytes + AT_UUID, bkt->marker.uuid, sizeof bkt->marker.uuid);
    kvt_put_le32(bytes + AT_BUCKETS, (uint32_t)bkt->bucket_count);
    kvt_put_le32(bytes + AT_IMAGES, (uint32_t)images);
    kvt_put_le32(bytes + AT_BLOCK_BITS, bkt->block_bits);
    kvt_put_le32(bytes + AT_SLOTS, bkt->slot_count);
    kvt_put_le64(bytes + AT_SEQUENCE, bkt->next_sequence);
    kvt_put_le64(bytes + AT_ENTRIES, kvt_place_index_count(&bkt->index));
    kvt_put_le64(bytes + AT_PARTS_CHECK,
                 kvt_hash64(bytes + HEADER_SIZE, parts_size, 0));
    kvt_put_le64(bytes + AT_CHECK, kvt_hash64(bytes, AT_CHECK, 0));
}

static int publish(struct bkt *bkt, struct images *images, size_t head_size)
{
    uint8_t *head = images->slices[0].base;
    uint8_t *at = head + HEADER_SIZE;
    for (uint32_t i = 0; i < bkt->slot_count; i++) {
        if (bkt->slots[i] != NULL) {
            put_bucket(bkt->slots[i], at);
            at += BUCKET_SIZE;
        }
    }
    images->heads = at;
    kvt_place_index_images(&bkt->index, take_image, images);
    put_header(bkt, head, images->count, head_size - HEADER_SIZE);
    struct kvt_fs_elem elem = {
        .op = KVT_FS_PUBLISH,
        .path = checkpoint_path,
        .temp_path = ".kvtier/index.new",
        .flags = bkt->durability != BKT_DURABLE_NONE ? KVT_FS_DURABLE : 0,
        .slices = images->slices,
        .slice_count = (uint32_t)(images->count + 1)};
    struct kvt_fs_elem remove = {.op = KVT_FS_REMOVE, .path = elem.temp_path};
    kvt_fs_run(bkt->fs, &remove); /* left by an owner that died here */
    int64_t rc = kvt_fs_run(bkt->fs, &elem);
    return rc < 0 ? (int)rc : 0;
}

uint64_t kvt_bkt_checkpoint_bytes(const struct bkt *bkt)
{
    uint64_t size = HEADER_SIZE + bkt->bucket_count * BUCKET_SIZE +
                    kvt_place_index_bytes(&bkt->index);
    return kvt_blocks_of(size) * KVT_BUCKET_BLOCK;
}

/* Values left room for it; but the limit may be lower than it was. */
static bool has_room(const struct bkt *bkt)
{
    struct kvt_charge need = {.allocated = kvt_bkt_checkpoint_bytes(bkt)};
    return kvt_budget_shortage(&bkt->budget, need).allocated == 0;
}

int kvt_bkt_checkpoint_write(struct bkt *bkt)
{
    if (!all_sealed(bkt) || !bkt->checkpoint_stale || !has_room(bkt)) {
        return 0; /* the one on disk holds, or none can be written */
    }
    struct images images = {0};
    kvt_place_index_images(&bkt->index, count_image, &images.capacity);
    size_t size = HEADER_SIZE + (size_t)bkt->bucket_count * BUCKET_SIZE +
                  images.capacity * IMAGE_SIZE;
    images.slices = malloc((images.capacity + 1) * sizeof images.slices[0]);
    uint8_t *head = malloc(size);
    int rc = -ENOMEM;
    if (images.slices != NULL && head != NULL) {
        images.slices[0] = (struct kvt_slice){head, size, NULL};
        rc = publish(bkt, &images, size);
    }
    free(head);
    free(images.slices);
    if (rc != 0) {
        kvt_backend_log(&bkt->base, KVT_LOG_WARN,
                        "no checkpoint of the index: %s; the next opening "
                        "reads the tables",
                        kvt_errno_name(rc));
    }
    return rc;
}

int kvt_bkt_checkpoint_remove(struct bkt *bkt)
{
    pthread_mutex_lock(&bkt->mutex);
    bool stale = bkt->checkpoint_stale;
    pthread_mutex_unlock(&bkt->mutex);
    if (stale) {
        return 0;
    }
    struct kvt_fs_elem elem = {.op = KVT_FS_REMOVE, .path = checkpoint_path};
    int rc = (int)kvt_fs_run(bkt->fs, &elem);
    bool was_there = rc == 0;
    rc = rc == -ENOENT ? 0 : rc;
    if (was_there && bkt->durability != BKT_DURABLE_NONE) {
        elem = (struct kvt_fs_elem){.op = KVT_FS_SYNC, .path = ".kvtier"};
        rc = (int)kvt_fs_run(bkt->fs, &elem);
    }
    pthread_mutex_lock(&bkt->mutex);
    bkt->checkpoint_stale = bkt->checkpoint_stale || rc == 0;
    pthread_mutex_unlock(&bkt->mutex);
    return rc;
}

/* Reading
 * ---------------------------------------------------------------------- */

struct reading {
    struct bkt *bkt;
    const struct bkt_listing *listing;
    struct kvt_fs_file *file;
    uint64_t file_size;
    uint8_t header[HEADER_SIZE];
    uint8_t *parts; /* buckets, then images */
    uint32_t bucket_count;
    uint32_t image_count;
    struct kvt_index_image *images;
    size_t left;
    bool failed;
};

static int read_exact(struct reading *reading, uint64_t offset, void *bytes,
                      size_t size)
{
    struct kvt_slice slice = {bytes, size, NULL};
    struct kvt_fs_elem read = {.op = KVT_FS_READ,
                               .file = reading->file,
                               .offset = offset,
                               .slices = &slice,
                               .slice_count = 1};
    int64_t got = kvt_fs_run(reading->bkt->fs, &read);
    return got == (int64_t)size ? 0 : -EBADMSG;
}

static int check_header(struct reading *reading)
{
    const struct bkt *bkt = reading->bkt;
    const uint8_t *header = reading->header;
    if (memcmp(header, magic, sizeof magic) != 0 ||
        kvt_get_le16(header + 8) != VERSION ||
        kvt_get_le16(header + 10) != HEADER_SIZE ||
        memcmp(header + AT_ORDER, &order_mark, sizeof order_mark) != 0 ||
        memcmp(header + AT_UUID, bkt->marker.uuid, 16) != 0 ||
        kvt_get_le64(header + AT_CHECK) != kvt_hash64(header, AT_CHECK, 0)) {
        return -EBADMSG;
    }
    reading->bucket_count = kvt_get_le32(header + AT_BUCKETS);
    reading->image_count = kvt_get_le32(header + AT_IMAGES);
    uint32_t bits = kvt_get_le32(header + AT_BLOCK_BITS);
    uint64_t slots = kvt_get_le32(header + AT_SLOTS);
    return reading->bucket_count == reading->listing->count &&
                   reading->image_count > 0 && bits >= bkt->block_bits &&
                   bits < KVT_INDEX_PLACE_BITS &&
                   slots <= UINT64_C(1) << (KVT_INDEX_PLACE_BITS - bits)
               ? 0
               : -EBADMSG;
}

static int read_parts(struct reading *reading)
{
    size_t size = (size_t)reading->bucket_count * BUCKET_SIZE +
                  (size_t)reading->image_count * IMAGE_SIZE;
    if (HEADER_SIZE + size > reading->file_size) {
        return -EBADMSG;
    }
    reading->parts = malloc(size + 1);
    reading->images = calloc(reading->image_count, sizeof reading->images[0]);
    if (reading->parts == NULL || reading->images == NULL) {
        return -ENOMEM;
    }
    int rc = read_exact(reading, HEADER_SIZE, reading->parts, size);
    if (rc != 0 || kvt_get_le64(reading->header + AT_PARTS_CHECK) !=
                       kvt_hash64(reading->parts, size, 0)) {
        return -EBADMSG;
    }
    const uint8_t *head =
        reading->parts + (size_t)reading->bucket_count * BUCKET_SIZE;
    for (uint32_t i = 0; i < reading->image_count; i++) {
        reading->images[i].depth = kvt_get_le32(head);
        reading->images[i].groups = kvt_get_le32(head + 4);
        reading->images[i].count = kvt_get_le32(head + 8);
        head += IMAGE_SIZE;
    }
    return kvt_place_index_adopt(&reading->bkt->index, reading->images,
                                 reading->image_count);
}

static void image_read(struct kvt_fs_elem *elem)
{
    struct reading *reading = elem->arg;
    const struct kvt_slice *slice = elem->slices;
    const struct kvt_index_image *image = &reading->images[elem->length];
    const uint8_t *head =
        reading->parts + (size_t)reading->bucket_count * BUCKET_SIZE +
        (size_t)elem->length * IMAGE_SIZE; /* which one it is */
    reading->left--;
    if (elem->result != (int64_t)slice->size ||
        kvt_get_le64(head + 16) != kvt_hash64(slice->base, slice->size, 0) ||
        kvt_index_image_entries(image) != image->count) {
        reading->failed = true;
    }
}

/* All tables, straight into the index. */
static int read_images(struct reading *reading, struct kvt_fs_elem *elems,
                       struct kvt_slice *slices)
{
    struct kvt_fs_queue_options options = {sizeof options, 0, true};
    struct kvt_fs_queue *queue;
    uint64_t offset = HEADER_SIZE +
                      (uint64_t)reading->bucket_count * BUCKET_SIZE +
                      (uint64_t)reading->image_count * IMAGE_SIZE;
    for (uint32_t i = 0; i < reading->image_count; i++) {
        struct kvt_index_image *image = &reading->images[i];
        slices[i] = (struct kvt_slice){image->bytes, image->size, NULL};
        elems[i] = (struct kvt_fs_elem){.op = KVT_FS_READ,
                                        .file = reading->file,
                                        .offset = offset,
                                        .length = i,
                                        .slices = &slices[i],
                                        .slice_count = 1,
                                        .done = image_read,
                                        .arg = reading};
        offset += image->size;
    }
    if (offset != reading->file_size) {
        return -EBADMSG;
    }
    int rc = kvt_fs_queue_open(reading->bkt->fs, &options, &queue);
    if (rc != 0) {
        return rc;
    }
    reading->left = reading->image_count;
    kvt_fs_submit(queue, elems, reading->image_count);
    while (reading->left > 0) {
        kvt_fs_poll(queue, 1, 0);
    }
    kvt_fs_queue_close(queue);
    return reading->failed ? -EBADMSG : 0;
}

static int take_all(struct reading *reading)
{
    struct bkt *bkt = reading->bkt;
    uint32_t slots = kvt_get_le32(reading->header + AT_SLOTS);
    bkt->slots = calloc(slots + 1, sizeof bkt->slots[0]);
    if (bkt->slots == NULL) {
        return -ENOMEM;
    }
    bkt->slot_count = slots;
    bkt->slot_capacity = slots + 1;
    bkt->block_bits = kvt_get_le32(reading->header + AT_BLOCK_BITS);
    for (uint32_t i = 0; i < reading->bucket_count; i++) {
        int rc = take_bucket(bkt, reading->listing,
                             reading->parts + (size_t)i * BUCKET_SIZE);
        if (rc != 0) {
            return rc;
        }
    }
    return kvt_place_index_count(&bkt->index) ==
                   kvt_get_le64(reading->header + AT_ENTRIES)
               ? 0
               : -EBADMSG;
}

static int read_all(struct reading *reading)
{
    int rc = read_exact(reading, 0, reading->header, HEADER_SIZE);
    if (rc == 0) {
        rc = check_header(reading);
    }
    if (rc == 0) {
        rc = read_parts(reading);
    }
    if (rc == 0) {
        rc = take_all(reading);
    }
    if (rc != 0) {
        return rc;
    }
    struct kvt_fs_elem *elems = calloc(reading->image_count, sizeof elems[0]);
    struct kvt_slice *slices = malloc(reading->image_count * sizeof slices[0]);
    rc = elems != NULL && slices != NULL ? read_images(reading, elems, slices)
                                         : -ENOMEM;
    free(elems);
    free(slices);
    return rc;
}

/* As if nothing had been read. */
static void forget_all(struct bkt *bkt, const struct bkt_listing *listing,
                       uint32_t block_bits)
{
    for (size_t i = 0; i < listing->count; i++) {
        free(listing->found[i].bucket);
        listing->found[i].bucket = NULL;
    }
    free(bkt->slots);
    bkt->slots = NULL;
    bkt->slot_count = 0;
    bkt->slot_capacity = 0;
    bkt->block_bits = block_bits;
    bkt->bucket_count = 0;
    bkt->live_bytes = 0;
    memset(bkt->in_state, 0, sizeof bkt->in_state);
    bkt->budget.used = (struct kvt_charge){0};
    kvt_place_index_clear(&bkt->index);
}

int kvt_bkt_checkpoint_read(struct bkt *bkt, struct bkt_listing *listing)
{
    struct kvt_fs_elem open = {
        .op = KVT_FS_OPEN, .path = checkpoint_path, .flags = KVT_FS_WANT_SIZE};
    if (kvt_fs_run(bkt->fs, &open) != 0) {
        return -ENOENT;
    }
    struct reading reading = {.bkt = bkt,
                              .listing = listing,
                              .file = open.file,
                              .file_size = open.file_size};
    uint32_t block_bits = bkt->block_bits;
    struct kvt_charge used = bkt->budget.used;
    int rc = read_all(&reading);
    free(reading.parts);
    free(reading.images);
    kvt_bkt_file_close(bkt, open.file);
    if (rc != 0) {
        forget_all(bkt, listing, block_bits);
        bkt->budget.used = used;
        return rc;
    }
    uint64_t sequence = kvt_get_le64(reading.header + AT_SEQUENCE);
    bkt->next_sequence =
        sequence > bkt->next_sequence ? sequence : bkt->next_sequence;
    for (size_t i = 0; i < listing->count; i++) {
        kvt_evict_add(&bkt->order, &listing->found[i].bucket->order);
    }
    return 0;
}
