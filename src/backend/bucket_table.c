/* The table of a bucket: how it grows while the bucket is written, and how it
 * and the keys are read back. */
#include "backend/bucket.h"

#include <stdlib.h>
#include <string.h>

static int make_space(uint8_t **array, uint32_t count, uint32_t more,
                      uint32_t *capacity, size_t size)
{
    if (count + more <= *capacity) {
        return 0;
    }
    uint32_t wanted =
        *capacity * 2 > count + more ? *capacity * 2 : count + more + 16;
    uint8_t *larger = realloc(*array, wanted * size);
    if (larger == NULL) {
        return -ENOMEM;
    }
    *array = larger;
    *capacity = wanted;
    return 0;
}

int kvt_bkt_table_add(struct bkt_table *table, const uint8_t *entries,
                      uint32_t entry_count, const struct kvt_bucket_run *run,
                      const struct kvt_bucket_kill *kills, uint32_t kill_count)
{
    if (make_space(&table->entries, table->entry_count, entry_count,
                   &table->entry_capacity, KVT_BUCKET_ENTRY_SIZE) != 0 ||
        make_space(&table->runs, table->run_count, 1, &table->run_capacity,
                   KVT_BUCKET_RUN_SIZE) != 0 ||
        make_space(&table->kills, table->kill_count, kill_count,
                   &table->kill_capacity, KVT_BUCKET_KILL_SIZE) != 0) {
        return -ENOMEM;
    }
    if (entry_count > 0) {
        memcpy(table->entries +
                   (size_t)table->entry_count * KVT_BUCKET_ENTRY_SIZE,
               entries, (size_t)entry_count * KVT_BUCKET_ENTRY_SIZE);
    }
    uint32_t first = table->entry_count;
    table->entry_count += entry_count;
    kvt_bucket_run_encode(run, table->runs + (size_t)table->run_count++ *
                                                 KVT_BUCKET_RUN_SIZE);
    for (uint32_t i = 0; i < kill_count; i++) {
        struct kvt_bucket_kill kill = kills[i];
        if (kill.cause != KVT_KILL_REMOVED && kill.cause != KVT_KILL_UNDONE) {
            kill.cause += first; /* of the run's entries, of the table's */
        }
        kvt_bucket_kill_encode(&kill,
                               table->kills + (size_t)table->kill_count++ *
                                                  KVT_BUCKET_KILL_SIZE);
    }
    return 0;
}

int kvt_bkt_table_add_kill(struct bkt_table *table,
                           const struct kvt_bucket_kill *kill)
{
    struct kvt_bucket_run none = {0, 0};
    int rc = kvt_bkt_table_add(table, NULL, 0, &none, kill, 1);
    table->run_count -= rc == 0; /* a kill of no run */
    return rc;
}

void kvt_bkt_table_free(struct bkt_table *table)
{
    free(table->entries);
    free(table->runs);
    free(table->kills);
    *table = (struct bkt_table){0};
}

/* Reading ----------------------------------------------------------------- */

/* The end of a file is read with its footer. How large the table is, only the
 * footer tells; but those of a store are mostly of one size, so as much is read
 * as the last one took: all of it, and no values. */
enum {
    TAIL_MOST = 64 * 1024
};

static size_t tail_size(const struct bkt *bkt)
{
    uint32_t last = __atomic_load_n(&bkt->table_bytes, __ATOMIC_RELAXED);
    return last > KVT_BUCKET_BLOCK ? last : KVT_BUCKET_BLOCK;
}

static void note_table(struct bkt *bkt, uint64_t bytes)
{
    uint64_t blocks = kvt_blocks_of(bytes);
    uint32_t tail = blocks < TAIL_MOST / KVT_BUCKET_BLOCK
                        ? (uint32_t)blocks * KVT_BUCKET_BLOCK
                        : TAIL_MOST;
    __atomic_store_n(&bkt->table_bytes, tail, __ATOMIC_RELAXED);
}

/* Reads `size` bytes of a file that has them: fewer are an error of the
 * device, and no reason to take the file for a torn one. */
static int read_exact(struct bkt *bkt, const char *path, uint64_t offset,
                      void *bytes, size_t size)
{
    struct kvt_slice slice = {bytes, size, NULL};
    struct kvt_fs_elem fetch = {.op = KVT_FS_FETCH,
                                .path = path,
                                .offset = offset,
                                .slices = &slice,
                                .slice_count = 1};
    int64_t got = kvt_fs_run(bkt->fs, &fetch);
    return got < 0 ? (int)got : got == (int64_t)size ? 0 : -EIO;
}

static uint64_t table_size(const struct kvt_bucket_footer *footer)
{
    return kvt_bucket_table_size(footer->entry_count, footer->run_count,
                                 footer->kill_count);
}

/* The table, from the tail where it lies in that whole. */
static int take_table(struct bkt *bkt, const char *path, uint64_t file_size,
                      const struct kvt_bucket_footer *footer, uint8_t *tail,
                      size_t got, uint8_t **bytes)
{
    uint64_t start = (uint64_t)footer->table_block * KVT_BUCKET_BLOCK;
    note_table(bkt, file_size - start);
    if (file_size - start <= got) {
        memmove(tail, tail + (got - (size_t)(file_size - start)),
                (size_t)(file_size - start));
        *bytes = tail;
        return 0;
    }
    size_t size = (size_t)table_size(footer);
    uint8_t *table = malloc(size + 1);
    if (table == NULL) {
        return -ENOMEM;
    }
    int rc = read_exact(bkt, path, start, table, size);
    if (rc != 0) {
        free(table);
        return rc;
    }
    free(tail);
    *bytes = table;
    return 0;
}

int kvt_bkt_table_read(struct bkt *bkt, const char *path, uint64_t seed,
                       struct kvt_bucket_footer *footer, uint8_t **bytes)
{
    size_t size = tail_size(bkt);
    uint8_t *tail = malloc(size);
    *bytes = NULL;
    if (tail == NULL) {
        return -ENOMEM;
    }
    struct kvt_slice slice = {tail, size, NULL};
    struct kvt_fs_elem fetch = {.op = KVT_FS_FETCH,
                                .flags = KVT_FS_FROM_END | KVT_FS_WANT_SIZE,
                                .path = path,
                                .offset = size,
                                .slices = &slice,
                                .slice_count = 1};
    int64_t got = kvt_fs_run(bkt->fs, &fetch);
    int rc = got < 0 ? (int)got : 0;
    if (rc == 0 && got < (int64_t)size && (uint64_t)got < fetch.file_size) {
        rc = -EIO;
    } else if (rc == 0 && got < (int64_t)KVT_BUCKET_FOOTER_SIZE) {
        rc = -EBADMSG;
    }
    if (rc == 0) {
        uint8_t *at = tail + got - KVT_BUCKET_FOOTER_SIZE;
        rc = kvt_bucket_footer_decode(at, seed, fetch.file_size, footer);
        if (rc == -EBADMSG && kvt_bucket_footer_mend(at, seed)) {
            rc = kvt_bucket_footer_decode(at, seed, fetch.file_size, footer);
        }
    }
    if (rc == 0) {
        rc = take_table(bkt, path, fetch.file_size, footer, tail, (size_t)got,
                        bytes);
    }
    if (rc != 0) {
        free(tail);
        return rc;
    }
    return kvt_bucket_table_check(footer, *bytes, seed);
}

static int copy_part(uint8_t **to, uint32_t *count, const uint8_t *from,
                     uint32_t from_count, size_t size)
{
    *to = malloc(from_count * size + 1);
    if (*to == NULL) {
        return -ENOMEM;
    }
    if (from_count > 0) {
        memcpy(*to, from, from_count * size);
    }
    *count = from_count;
    return 0;
}

/* A copy of parts that lie one behind the other, or apart. */
static int copy_table(struct bkt_table *table, const struct bkt_table *from)
{
    *table = (struct bkt_table){0};
    int rc = copy_part(&table->entries, &table->entry_count, from->entries,
                       from->entry_count, KVT_BUCKET_ENTRY_SIZE);
    if (rc == 0) {
        rc = copy_part(&table->runs, &table->run_count, from->runs,
                       from->run_count, KVT_BUCKET_RUN_SIZE);
    }
    if (rc == 0) {
        rc = copy_part(&table->kills, &table->kill_count, from->kills,
                       from->kill_count, KVT_BUCKET_KILL_SIZE);
    }
    if (rc != 0) {
        kvt_bkt_table_free(table);
    }
    return rc;
}

int kvt_bkt_table_of(struct bkt *bkt, struct bkt_bucket *bucket,
                     struct bkt_table *table)
{
    pthread_mutex_lock(&bkt->mutex);
    bool in_memory = !bucket->has_table;
    int rc = in_memory ? copy_table(table, &bucket->table) : 0;
    pthread_mutex_unlock(&bkt->mutex);
    if (in_memory) {
        return rc;
    }
    char path[BKT_PATH_MAX];
    struct kvt_bucket_footer footer;
    uint8_t *bytes;
    kvt_bkt_path(bucket, path);
    rc = kvt_bkt_table_read(bkt, path, bucket->seed, &footer, &bytes);
    if (rc != 0) {
        free(bytes);
        return rc;
    }
    struct bkt_table parts = {.entries = bytes,
                              .runs = bytes + kvt_table_runs_at(&footer),
                              .kills = bytes + kvt_table_kills_at(&footer),
                              .entry_count = footer.entry_count,
                              .run_count = footer.run_count,
                              .kill_count = footer.kill_count};
    rc = copy_table(table, &parts);
    free(bytes);
    return rc;
}

/* Keys -------------------------------------------------------------------- */

static int each_of_run(uint64_t seed, const struct kvt_bucket_run *run,
                       uint8_t *record, kvt_bkt_each_fn each, void *arg)
{
    static const uint8_t punched[KVT_RUN_HEAD_SIZE];
    struct kvt_run_head head;
    if (memcmp(record, punched, sizeof punched) == 0) {
        return 0; /* none of its objects lives */
    }
    if (!kvt_run_head_decode(record, &head) || head.block != run->block ||
        kvt_blocks_of(head.record_size) != run->record_blocks ||
        kvt_run_record_check(record, &head, seed) != 0) {
        return -EBADMSG;
    }
    struct kvt_run_keys keys = kvt_run_keys_begin(record, &head);
    int rc = 0;
    for (uint32_t i = 0; i < head.entry_count && rc == 0; i++) {
        struct kvt_bucket_entry entry;
        kvt_bucket_entry_decode(kvt_run_entry(record, i), &entry);
        rc = each(&entry, kvt_run_keys_next(&keys), arg);
    }
    return rc;
}

/* Records that are read together. */
enum {
    TOGETHER = 32
};

struct records {
    struct kvt_fs_elem elems[TOGETHER];
    struct kvt_slice slices[TOGETHER];
    struct kvt_bucket_run runs[TOGETHER];
    size_t left;
};

static void record_read(struct kvt_fs_elem *elem)
{
    ((struct records *)elem->arg)->left--;
}

static void free_records(struct records *records, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(records->slices[i].base);
    }
}

/* Reads the records of some runs, from the open file where there is one: what
 * is being written may not be seen by way of its name yet. */
static int read_some(struct kvt_fs_queue *queue, struct records *records,
                     const char *path, struct kvt_fs_file *file, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t size = (size_t)records->runs[i].record_blocks * KVT_BUCKET_BLOCK;
        void *base = aligned_alloc(KVT_BUCKET_BLOCK, size);
        if (base == NULL) {
            free_records(records, i);
            return -ENOMEM;
        }
        records->slices[i] = (struct kvt_slice){base, size, NULL};
        records->elems[i] = (struct kvt_fs_elem){
            .op = file != NULL ? KVT_FS_READ : KVT_FS_FETCH,
            .file = file,
            .path = file != NULL ? NULL : path,
            .offset = (uint64_t)records->runs[i].block * KVT_BUCKET_BLOCK,
            .slices = &records->slices[i],
            .slice_count = 1,
            .done = record_read,
            .arg = records};
    }
    records->left = count;
    kvt_fs_submit(queue, records->elems, count);
    while (records->left > 0) {
        kvt_fs_poll(queue, 1, 0);
    }
    return 0;
}

/* A damaged record does not keep the others back. */
static int each_of_some(uint64_t seed, struct records *records, size_t count,
                        bool *damaged, kvt_bkt_each_fn each, void *arg)
{
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        int64_t got = records->elems[i].result;
        rc = got < 0 ? (int)got
             : (uint64_t)got < records->slices[i].size
                 ? -EBADMSG
                 : each_of_run(seed, &records->runs[i], records->slices[i].base,
                               each, arg);
        if (rc == -EBADMSG) {
            *damaged = true;
            rc = 0;
        }
    }
    return rc;
}

/* The pinned bucket, or null when it went meanwhile. */
static struct bkt_bucket *pin_again(struct bkt *bkt, uint32_t slot,
                                    uint64_t number)
{
    pthread_mutex_lock(&bkt->mutex);
    struct bkt_bucket *bucket = bkt_named(bkt, (struct bkt_name){slot, number});
    if (bucket != NULL && bucket->state == BKT_DYING) {
        bucket = NULL;
    }
    if (bucket != NULL) {
        kvt_bkt_pin(bucket);
    }
    pthread_mutex_unlock(&bkt->mutex);
    return bucket;
}

static void unpin(struct bkt *bkt, struct bkt_bucket *bucket)
{
    pthread_mutex_lock(&bkt->mutex);
    kvt_bkt_unpin(bkt, bucket);
    pthread_mutex_unlock(&bkt->mutex);
}

/* What is gone through. */
struct walk {
    struct bkt *bkt;
    uint32_t slot;
    uint64_t number;
    uint64_t seed;
    struct bkt_table table;
    struct kvt_fs_queue *queue;
    struct records records;
};

/* Reads the records of the runs from `at` on; returns how many, or -errno. */
static int read_from(struct walk *walk, uint32_t at)
{
    struct records *records = &walk->records;
    struct bkt_bucket *bucket = pin_again(walk->bkt, walk->slot, walk->number);
    char path[BKT_PATH_MAX];
    if (bucket == NULL) {
        return -ENOENT;
    }
    uint32_t count = walk->table.run_count - at;
    count = count < TOGETHER ? count : TOGETHER;
    for (uint32_t i = 0; i < count; i++) {
        kvt_bucket_run_decode(walk->table.runs +
                                  (size_t)(at + i) * KVT_BUCKET_RUN_SIZE,
                              &records->runs[i]);
    }
    kvt_bkt_path(bucket, path);
    pthread_mutex_lock(&walk->bkt->mutex);
    struct kvt_fs_file *file = bucket->file;
    pthread_mutex_unlock(&walk->bkt->mutex);
    int rc = read_some(walk->queue, records, path, file, count);
    unpin(walk->bkt, bucket);
    return rc != 0 ? rc : (int)count;
}

static int walk_runs(struct walk *walk, kvt_bkt_each_fn each, void *arg)
{
    bool damaged = false;
    int rc = 0;
    for (uint32_t at = 0; at < walk->table.run_count && rc == 0;) {
        int count = read_from(walk, at);
        if (count < 0) {
            return count;
        }
        rc = each_of_some(walk->seed, &walk->records, (size_t)count, &damaged,
                          each, arg);
        free_records(&walk->records, (size_t)count);
        at += (uint32_t)count;
    }
    return rc == 0 && damaged ? -EBADMSG : rc;
}

int kvt_bkt_each_object(struct bkt *bkt, uint32_t slot, uint64_t number,
                        kvt_bkt_each_fn each, void *arg)
{
    struct kvt_fs_queue_options options = {sizeof options, 0, true};
    struct bkt_bucket *bucket = pin_again(bkt, slot, number);
    if (bucket == NULL) {
        return -ENOENT;
    }
    struct walk *walk = malloc(sizeof *walk);
    int rc =
        walk != NULL ? kvt_bkt_table_of(bkt, bucket, &walk->table) : -ENOMEM;
    uint64_t seed = bucket->seed;
    unpin(bkt, bucket);
    if (rc != 0) {
        free(walk);
        return rc;
    }
    walk->bkt = bkt;
    walk->slot = slot;
    walk->number = number;
    walk->seed = seed;
    rc = kvt_fs_queue_open(bkt->fs, &options, &walk->queue);
    if (rc == 0) {
        rc = walk_runs(walk, each, arg);
        kvt_fs_queue_close(walk->queue);
    }
    kvt_bkt_table_free(&walk->table);
    free(walk);
    return rc;
}
