/* Buckets and the checkpoint against tests/golden/bucket_*_v1.bin and
 * index_v1.bin. Those were built from docs/format.md by a script of its own,
 * with the xxHash of Debian's python3-xxhash. */
#include "support/golden.h"

#include "core/hash.h"
#include "format/bucket_file.h"
#include "format/marker.h"
#include "format/trailer.h"

#include <kvtier/kvtier.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEED 0x0123456789abcdefu
#define WRITER UINT64_C(0x1122334455667788)
#define DIRECTORY "w-1122334455667788"
#define SEALED DIRECTORY "/0000000000000007.kvb"
#define UNSEALED DIRECTORY "/0000000000000008.kvb"
#define INDEX ".kvtier/index"

enum {
    SEALED_SIZE = 10 * 4096,
    UNSEALED_SIZE = 6 * 4096,
    INDEX_SIZE = 552,
};

struct sample {
    const char *key;
    size_t key_size;
    size_t size;
    unsigned factor; /* byte i is i * factor + first */
    unsigned first;
};

static char long_key[300];

static const struct sample block_old = {"model/layer@7:block", 19, 100, 5, 1};
static const struct sample block_new = {"model/layer@7:block", 19, 4096, 3, 2};
static const struct sample of_long_key = {long_key, 300, 5000, 7, 3};
static const struct sample empty = {"empty", 5, 0, 0, 0};
static const struct sample k_old = {"k", 1, 10, 1, 0};
static const struct sample k_new = {"k", 1, 20, 1, 7};
static const struct sample l_only = {"l", 1, 1, 1, 9};

static void fill(const struct sample *sample, uint8_t *value)
{
    for (size_t i = 0; i < sample->size; i++) {
        value[i] = (uint8_t)(i * sample->factor + sample->first);
    }
}

/* A bucket as the layout writes it. ---------------------------------------- */

struct writer {
    uint8_t bytes[SEALED_SIZE];
    uint64_t seed;
    uint64_t sequence;
    uint32_t block; /* next one */
    uint32_t run_count;
    uint8_t entries[8 * KVT_BUCKET_ENTRY_SIZE];
    uint32_t entry_count;
};

static const uint8_t uuid[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                 8, 9, 10, 11, 12, 13, 14, 15};

static void begin(struct writer *writer, uint64_t number, uint64_t sequence,
                  uint64_t created_ms)
{
    struct kvt_bucket_header header = {.writer = WRITER,
                                       .number = number,
                                       .sequence = sequence,
                                       .created_ms = created_ms};
    memset(writer, 0, sizeof *writer);
    memcpy(header.uuid, uuid, sizeof uuid);
    for (size_t i = 0; i < 16; i++) {
        header.boot[i] = (uint8_t)(0xf0 + i);
    }
    kvt_bucket_header_encode(&header, writer->bytes);
    writer->seed = kvt_bucket_seed(uuid, WRITER, number);
    writer->sequence = sequence;
    writer->block = 1;
}

static struct kvt_bucket_entry
put_value(struct writer *writer, const struct sample *sample, uint32_t block)
{
    uint8_t *value = writer->bytes + (size_t)block * KVT_BUCKET_BLOCK;
    fill(sample, value);
    struct kvt_slice slice = {value, sample->size, NULL};
    return (struct kvt_bucket_entry){
        .key_hash = kvt_hash64(sample->key, sample->key_size, SEED),
        .check =
            kvt_trailer_check(SEED, kvt_hash128(sample->key, sample->key_size),
                              &slice, 1, sample->size),
        .sequence = writer->sequence++,
        .block = block,
        .length = (uint32_t)sample->size};
}

static void put_run(struct writer *writer, const struct sample *const *samples,
                    uint32_t count, const struct kvt_bucket_kill *kills,
                    uint32_t kill_count)
{
    uint64_t key_bytes = 0;
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < count; i++) {
        key_bytes += samples[i]->key_size;
        blocks += samples[i]->size > 0 ? kvt_blocks_of(samples[i]->size) : 1;
    }
    uint64_t size = kvt_run_record_size(count, kill_count, key_bytes);
    struct kvt_run_head head = {.run = writer->run_count++,
                                .block = writer->block,
                                .record_size = (uint32_t)size,
                                .entry_count = count,
                                .kill_count = kill_count,
                                .blocks =
                                    (uint32_t)(kvt_blocks_of(size) + blocks)};
    uint8_t *record = writer->bytes + (size_t)head.block * KVT_BUCKET_BLOCK;
    uint32_t block = head.block + (uint32_t)kvt_blocks_of(size);
    uint32_t keys = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct kvt_bucket_entry entry = put_value(writer, samples[i], block);
        kvt_bucket_entry_encode(&entry, kvt_run_entry(record, i));
        kvt_run_put_key(record, &head, i,
                        (struct kvt_key){samples[i]->key, samples[i]->key_size},
                        &keys);
        kvt_bucket_entry_encode(&entry, writer->entries +
                                            (size_t)writer->entry_count++ *
                                                KVT_BUCKET_ENTRY_SIZE);
        block += entry.length > 0 ? (uint32_t)kvt_blocks_of(entry.length) : 1;
    }
    for (uint32_t i = 0; i < kill_count; i++) {
        kvt_bucket_kill_encode(&kills[i], kvt_run_kill(record, &head, i));
    }
    kvt_run_record_finish(record, &head, writer->seed);
    assert_int_equal(kvt_run_record_check(record, &head, writer->seed), 0);
    writer->block += head.blocks;
}

static const struct kvt_bucket_kill sealed_kills[] = {
    {WRITER, 7, 2, 1}, /* of the run's first entry, the table's fourth */
    {0x99, 3, 17, KVT_KILL_REMOVED},
    {WRITER, 7, 5, KVT_KILL_REMOVED},
    {0x99, 3, 20, KVT_KILL_UNDONE}};

static void seal(struct writer *writer)
{
    static const struct kvt_bucket_run runs[] = {{1, 1}, {6, 1}, {8, 1}};
    struct kvt_bucket_footer footer = {.table_block = writer->block,
                                       .file_blocks = writer->block + 1,
                                       .entry_count = writer->entry_count,
                                       .run_count = 3,
                                       .kill_count = COUNT_OF(sealed_kills),
                                       .synced = true,
                                       .sequence = 100,
                                       .sequence_end = writer->sequence,
                                       .value_bytes = 100 + 5000 + 4096,
                                       .sealed_ms = 1767225660456u};
    uint8_t *table = writer->bytes + (size_t)writer->block * KVT_BUCKET_BLOCK;
    memcpy(table, writer->entries,
           (size_t)writer->entry_count * KVT_BUCKET_ENTRY_SIZE);
    for (size_t i = 0; i < 3; i++) {
        kvt_bucket_run_encode(&runs[i], table + kvt_table_runs_at(&footer) +
                                            i * KVT_BUCKET_RUN_SIZE);
    }
    for (size_t i = 0; i < COUNT_OF(sealed_kills); i++) {
        struct kvt_bucket_kill kill = sealed_kills[i];
        kill.cause += i == 0 ? 3 : 0;
        kvt_bucket_kill_encode(&kill, table + kvt_table_kills_at(&footer) +
                                          i * KVT_BUCKET_KILL_SIZE);
    }
    kvt_bucket_footer_encode(&footer, table, writer->seed,
                             writer->bytes + SEALED_SIZE -
                                 KVT_BUCKET_FOOTER_SIZE);
}

static void the_golden_sealed_bucket_is_what_we_write(void **state)
{
    static const struct sample *const first[] = {&block_old, &of_long_key,
                                                 &empty};
    static const struct sample *const second[] = {&block_new};
    static uint8_t golden[SEALED_SIZE + 1];
    static struct writer writer;
    struct kvt_bucket_footer footer;

    (void)state;
    assert_int_equal(golden_read("bucket_sealed_v1.bin", golden, sizeof golden),
                     SEALED_SIZE);
    begin(&writer, 7, 100, 1767225600123u);
    put_run(&writer, first, 3, NULL, 0);
    put_run(&writer, second, 1, sealed_kills, 2);
    put_run(&writer, NULL, 0, sealed_kills + 2, 2);
    seal(&writer);
    assert_memory_equal(writer.bytes, golden, SEALED_SIZE);
    assert_int_equal(
        kvt_bucket_footer_decode(golden + SEALED_SIZE - KVT_BUCKET_FOOTER_SIZE,
                                 writer.seed, SEALED_SIZE, &footer),
        0);
    assert_int_equal(footer.sequence_end, 104);
    assert_int_equal(kvt_bucket_table_check(
                         &footer,
                         golden + (size_t)footer.table_block * KVT_BUCKET_BLOCK,
                         writer.seed),
                     0);
}

static void the_golden_unsealed_bucket_is_what_we_write(void **state)
{
    static const struct sample *const first[] = {&k_old};
    static const struct sample *const second[] = {&k_new, &l_only};
    static const struct kvt_bucket_kill kill = {WRITER, 8, 2, 1};
    static uint8_t golden[UNSEALED_SIZE + 1];
    static struct writer writer;
    struct kvt_bucket_header header;

    (void)state;
    assert_int_equal(
        golden_read("bucket_unsealed_v1.bin", golden, sizeof golden),
        UNSEALED_SIZE);
    begin(&writer, 8, 200, 1767225600789u);
    put_run(&writer, first, 1, NULL, 0);
    put_run(&writer, second, 2, &kill, 1);
    assert_memory_equal(writer.bytes, golden, UNSEALED_SIZE);
    assert_int_equal(kvt_bucket_header_decode(golden, &header), 0);
    assert_int_equal(header.number, 8);
    assert_int_equal(header.sequence, 200);
}

/* A store made of golden files. ---------------------------------------------
 */

static void write_file(const char *name, const uint8_t *bytes, size_t size)
{
    FILE *file = fopen(name, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void write_golden(const char *name, const char *golden)
{
    static uint8_t bytes[64 * 1024];
    write_file(name, bytes, golden_read(golden, bytes, sizeof bytes));
}

/* In a directory of its own, which is the current one. */
static int make_root(void **state)
{
    static char path[] = "/tmp/kvtier-golden-XXXXXX";
    uint8_t bytes[KVT_MARKER_SIZE];
    struct kvt_marker marker = {.backend = "bucket",
                                .backend_version = 1,
                                .alignment = 4096,
                                .name_max = 255,
                                .hash_seed = SEED,
                                .created_ms = 1767225600000u};

    strcpy(path + sizeof path - 7, "XXXXXX");
    assert_non_null(mkdtemp(path));
    *state = path;
    assert_int_equal(chdir(path), 0);
    assert_int_equal(mkdir(".kvtier", 0777), 0);
    assert_int_equal(mkdir(DIRECTORY, 0777), 0);
    memcpy(marker.uuid, uuid, sizeof uuid);
    kvt_marker_encode(&marker, bytes);
    write_file(".kvtier/store", bytes, sizeof bytes);
    write_golden(SEALED, "bucket_sealed_v1.bin");
    return 0;
}

static int remove_root(void **state)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", (const char *)*state);
    assert_int_equal(chdir("/"), 0);
    return system(command);
}

static struct kvt_store *open_as(const char *read_only)
{
    struct kvt_config *config = kvt_config_open();
    struct kvt_store *store = NULL;
    struct kvt_error err = {0};

    kvt_config_set(config, "path", ".", &err);
    kvt_config_set(config, "backend", "bucket", &err);
    kvt_config_set(config, "total_size_limit", "1GiB", &err);
    kvt_config_set(config, "read_only", read_only, &err);
    if (kvt_store_open(config, NULL, &store, &err) != KVT_OK) {
        fail_msg("%s: %s", err.subject, err.message);
    }
    kvt_config_close(config);
    return store;
}

static struct kvt_store *open_store(void)
{
    return open_as("off");
}

static void expect(struct kvt_store *store, const struct sample *sample,
                   bool there)
{
    uint8_t value[5000];
    uint8_t wanted[5000];
    struct kvt_slice slice = {value, sizeof value, NULL};
    struct kvt_object object = {.key = {sample->key, sample->key_size},
                                .slices = &slice,
                                .slice_count = 1};

    assert_int_equal(kvt_batch_load(store, &object, 1, NULL), there);
    if (there) {
        fill(sample, wanted);
        assert_int_equal(object.size, sample->size);
        assert_memory_equal(value, wanted, sample->size);
    }
}

static uint64_t objects_of(struct kvt_store *store)
{
    struct kvt_stats stats = {.size = sizeof stats};
    assert_int_equal(kvt_stats(store, &stats), KVT_OK);
    return stats.objects;
}

static void a_golden_store_opens(void **state)
{
    (void)state;
    write_golden(UNSEALED, "bucket_unsealed_v1.bin");
    for (int i = 0; i < 2; i++) { /* by walking, by its checkpoint */
        struct kvt_store *store = open_store();
        assert_int_equal(objects_of(store), 4);
        expect(store, &block_new, true);
        expect(store, &of_long_key, true);
        expect(store, &empty, false);
        expect(store, &k_new, true);
        expect(store, &l_only, true);
        kvt_store_close(store);
    }
}

/* The header and the end of the bucket are gone: only the checkpoint knows. */
static void spoil(void)
{
    static uint8_t bytes[SEALED_SIZE + 1];
    golden_read("bucket_sealed_v1.bin", bytes, sizeof bytes);
    memset(bytes, 0, KVT_BUCKET_BLOCK);
    memset(bytes + SEALED_SIZE - KVT_BUCKET_FOOTER_SIZE, 0,
           KVT_BUCKET_FOOTER_SIZE);
    write_file(SEALED, bytes, SEALED_SIZE);
}

static void the_golden_checkpoint_is_believed(void **state)
{
    (void)state;
    spoil();
    write_golden(INDEX, "index_v1.bin");
    struct kvt_store *store = open_store();
    assert_int_equal(objects_of(store), 2);
    expect(store, &block_new, true);
    expect(store, &of_long_key, true);
    expect(store, &empty, false);
    kvt_store_close(store);
}

static void a_flipped_bit_of_a_checkpoint_shows(void **state)
{
    uint8_t bytes[INDEX_SIZE + 1];

    (void)state;
    golden_read("index_v1.bin", bytes, sizeof bytes);
    spoil();
    for (size_t bit = 0; bit < (size_t)INDEX_SIZE * 8; bit += 5) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        write_file(INDEX, bytes, INDEX_SIZE);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        struct kvt_store *store = open_as("on");
        assert_int_equal(objects_of(store), 0);
        kvt_store_close(store);
    }
}

static void the_golden_checkpoint_is_what_we_write(void **state)
{
    uint8_t golden[INDEX_SIZE + 1];
    uint8_t ours[INDEX_SIZE];

    (void)state;
    kvt_store_close(open_store());
    assert_int_equal(golden_read("index_v1.bin", golden, sizeof golden),
                     INDEX_SIZE);
    FILE *file = fopen(INDEX, "rb");
    assert_non_null(file);
    assert_int_equal(fread(ours, 1, sizeof ours, file), sizeof ours);
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
    assert_memory_equal(ours, golden, sizeof ours);
}

int main(void)
{
    for (size_t i = 0; i < sizeof long_key; i++) {
        long_key[i] = (char)('a' + i % 26);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_golden_sealed_bucket_is_what_we_write),
        cmocka_unit_test(the_golden_unsealed_bucket_is_what_we_write),
        cmocka_unit_test_setup_teardown(a_golden_store_opens, make_root,
                                        remove_root),
        cmocka_unit_test_setup_teardown(the_golden_checkpoint_is_believed,
                                        make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_flipped_bit_of_a_checkpoint_shows,
                                        make_root, remove_root),
        cmocka_unit_test_setup_teardown(the_golden_checkpoint_is_what_we_write,
                                        make_root, remove_root),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
