/* Any bytes as the checkpoint of a bucket store: as they are, and with right
 * check values, so that what is behind those is reached. The files that it
 * names are there. An index that is taken from it can be read, filled and
 * emptied, and has as many entries as it says; one that is refused leaves
 * nothing behind. */
#include "backend/bucket_recover.h"
#include "core/bytes.h"
#include "core/hash.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    HEADER = 128,
    BUCKET = 80,
    HEAD = 24,
    FILES_MAX = 8,
    TABLES_MAX = 64,
    SIZE_MAX_FUZZED = 1 << 18,
};

static const uint8_t uuid[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                 8, 9, 10, 11, 12, 13, 14, 15};

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

/* Check values that hold, from the inside out. */
static void reseal(uint8_t *bytes, size_t size)
{
    static const uint8_t start[] = {0x89, 'K',  'V', 'T', 'I',    '\r',
                                    '\n', 0x1a, 1,   0,   HEADER, 0};
    static const uint32_t order = UINT32_C(0x01020304);
    uint64_t buckets = kvt_get_le32(bytes + 32);
    uint64_t tables = kvt_get_le32(bytes + 36);
    memcpy(bytes, start, sizeof start);
    memcpy(bytes + 12, &order, sizeof order);
    memcpy(bytes + 16, uuid, sizeof uuid);
    if (buckets <= FILES_MAX && tables <= TABLES_MAX &&
        HEADER + buckets * BUCKET + tables * HEAD <= size) {
        uint8_t *head = bytes + HEADER + buckets * BUCKET;
        size_t at = HEADER + buckets * BUCKET + tables * HEAD;
        for (uint64_t i = 0; i < tables; i++, head += HEAD) {
            uint64_t wanted = (uint64_t)kvt_get_le32(head + 4) * 320;
            if (wanted > size - at) {
                break;
            }
            kvt_put_le64(head + 16, kvt_hash64(bytes + at, (size_t)wanted, 0));
            at += (size_t)wanted;
        }
        kvt_put_le64(bytes + 64,
                     kvt_hash64(bytes + HEADER,
                                (size_t)(buckets * BUCKET + tables * HEAD), 0));
    }
    kvt_put_le64(bytes + 120, kvt_hash64(bytes, 120, 0));
}

static int older_first(const void *a, const void *b)
{
    const struct bkt_found *left = a;
    const struct bkt_found *right = b;
    if (left->number != right->number) {
        return left->number < right->number ? -1 : 1;
    }
    return left->writer < right->writer ? -1 : left->writer > right->writer;
}

/* The files that it names. */
static void find_files(const uint8_t *bytes, size_t size,
                       struct bkt_listing *listing,
                       struct bkt_found found[FILES_MAX])
{
    uint32_t buckets = size >= HEADER ? kvt_get_le32(bytes + 32) : 0;
    listing->found = found;
    for (uint32_t i = 0; i < buckets && i < FILES_MAX &&
                         HEADER + (size_t)(i + 1) * BUCKET <= size;
         i++) {
        const uint8_t *at = bytes + HEADER + (size_t)i * BUCKET;
        found[listing->count++] =
            (struct bkt_found){.writer = kvt_get_le64(at),
                               .number = kvt_get_le64(at + 8),
                               .size = 2 * KVT_BUCKET_BLOCK};
    }
    qsort(found, listing->count, sizeof found[0], older_first);
}

static struct kvt_fs *mount_memory(void)
{
    struct kvt_config *config = kvt_config_open();
    struct kvt_fs_mount_args args = {
        .size = sizeof args, .root = "/fuzz", .config = config};
    struct kvt_error err;
    struct kvt_fs *fs = NULL;
    require(config != NULL);
    require(kvt_fs_mount("mem", &args, &fs, &err) == KVT_OK);
    kvt_config_close(config);
    return fs;
}

static void write_checkpoint(struct kvt_fs *fs, const uint8_t *bytes,
                             size_t size)
{
    struct kvt_slice slice = {(void *)bytes, size, NULL};
    struct kvt_fs_elem remove = {.op = KVT_FS_REMOVE, .path = ".kvtier/index"};
    struct kvt_fs_elem publish = {.op = KVT_FS_PUBLISH,
                                  .path = ".kvtier/index",
                                  .temp_path = ".kvtier/index.new",
                                  .slices = &slice,
                                  .slice_count = 1};
    kvt_fs_run(fs, &remove);
    require(kvt_fs_run(fs, &publish) >= 0);
}

/* Some keys more, each once; then nothing is left. */
static void use(struct kvt_place_index *index, uint64_t said)
{
    uint64_t count = kvt_place_index_count(index);
    uint64_t bytes = 0;
    require(count == said);
    for (uint64_t i = 0; i < 40; i++) {
        uint64_t hash = kvt_hash64(&i, sizeof i, 9);
        struct kvt_index_entry entry = {.place = i, .length = 1};
        struct kvt_index_entry old;
        bool found;
        int rc = kvt_place_index_put(index, hash, &entry, &old);
        require(rc == 0 || rc == 1);
        count += rc == 0;
        require(kvt_place_index_count(index) == count);
        kvt_place_index_find(index, &hash, &old, &found, 1);
        require(found && old.place == i);
    }
    require(kvt_place_index_remove_range(index, 0, UINT64_MAX, &bytes) ==
            count);
    require(kvt_place_index_count(index) == 0);
}

static void fuzz_checkpoint(struct kvt_fs *fs, const uint8_t *bytes,
                            size_t size)
{
    struct bkt bkt = {.fs = fs, .block_bits = 8};
    struct bkt_found found[FILES_MAX];
    struct bkt_listing listing = {.bkt = &bkt};
    memcpy(bkt.marker.uuid, uuid, sizeof uuid);
    kvt_evict_init(&bkt.order, KVT_EVICT_FIFO);
    require(kvt_place_index_init(&bkt.index) == 0);
    find_files(bytes, size, &listing, found);
    write_checkpoint(fs, bytes, size);
    if (kvt_bkt_checkpoint_read(&bkt, &listing) == 0) {
        uint64_t used = 0;
        for (size_t i = 0; i < listing.count; i++) {
            const struct bkt_bucket *bucket = found[i].bucket;
            require(bucket != NULL && bkt.slots[bucket->slot] == bucket);
            used += bucket->charge.allocated;
        }
        require(bkt.bucket_count == listing.count);
        require(bkt.budget.used.allocated == used);
        use(&bkt.index, kvt_get_le64(bytes + 56));
        for (size_t i = 0; i < listing.count; i++) {
            free(found[i].bucket);
        }
        free(bkt.slots);
    } else {
        require(bkt.slots == NULL && bkt.bucket_count == 0);
        require(bkt.budget.used.allocated == 0);
        require(kvt_place_index_count(&bkt.index) == 0);
    }
    kvt_place_index_fini(&bkt.index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kvt_fs *fs;

    if (size > SIZE_MAX_FUZZED) {
        return 0;
    }
    if (fs == NULL) {
        fs = mount_memory();
    }
    fuzz_checkpoint(fs, data, size);
    if (size >= HEADER) {
        uint8_t *copy = malloc(size);
        require(copy != NULL);
        memcpy(copy, data, size);
        reseal(copy, size);
        fuzz_checkpoint(fs, copy, size);
        free(copy);
    }
    return 0;
}
