/* Keys whose hashes are the same, under bucket: the index holds no keys, so
 * that the later of two takes the place of the earlier. Each key's own bytes
 * or a miss, never the bytes of another. The linker puts the __wrap_ function
 * below in the place of the hash. */
#include "support/bucket_fixture.h"

#include "core/hash.h"

#include <pthread.h>
#include <string.h>

enum {
    KEYS = 40,
    HASHES = 4, /* that these keys have */
    SIZE = 2000,
};

static const struct store_row rows[] = {
    {"bucket", "posix", false, true, NULL},
    {"bucket", "mem", false, true, NULL},
};

uint64_t __real_kvt_hash64(const void *data, size_t size, uint64_t seed);
uint64_t __wrap_kvt_hash64(const void *data, size_t size, uint64_t seed);
uint64_t __wrap_kvt_hash64(const void *data, size_t size, uint64_t seed)
{
    uint64_t hash = __real_kvt_hash64(data, size, seed);
    bool ours = size > 4 && size < 12 && memcmp(data, "same", 4) == 0;
    return ours ? hash % HASHES * UINT64_C(0x0123456789abcdef) : hash;
}

/* How many of the keys are there, each with its own bytes; the newest first:
 * an older one finds bytes that are not its own, and takes them for bad. */
static size_t count_whole(struct kvt_store *store, uint64_t version)
{
    size_t count = 0;
    for (uint64_t i = KEYS; i-- > 0;) {
        int status = get_named(store, "same", i, i + version, SIZE);
        assert_true(status == KVT_OK || status == KVT_ERR_OBJECT_NOT_FOUND ||
                    status == KVT_ERR_CHECKSUM_MISMATCH);
        count += status == KVT_OK;
    }
    return count;
}

static void keys_of_one_hash_are_misses_or_right(void **state)
{
    struct store_fixture *fixture = *state;
    store_start(fixture);
    for (uint64_t i = 0; i < KEYS; i++) {
        assert_int_equal(put_named(fixture->store, "same", i, i, SIZE), KVT_OK);
        assert_int_equal(get_named(fixture->store, "same", i, i, SIZE), KVT_OK);
    }
    assert_true(stats_of(fixture->store).objects <= HASHES);
    size_t found = count_whole(fixture->store, 0);
    assert_true(found >= 1 && found <= HASHES);
}

static void neither_does_a_restart_mix_them(void **state)
{
    struct store_fixture *fixture = *state;
    store_set(fixture, "bucket.keys_limit", "5");
    store_start(fixture);
    for (uint64_t i = 0; i < KEYS; i++) {
        assert_int_equal(put_named(fixture->store, "same", i, i + 100, SIZE),
                         KVT_OK);
    }
    if (strcmp(fixture->row->fs, "mem") != 0) {
        store_restart(fixture);
    }
    size_t found = count_whole(fixture->store, 100);
    assert_true(found >= 1 && found <= HASHES);
    for (uint64_t i = 0; i < KEYS; i++) {
        remove_named(fixture->store, "same", i);
    }
    assert_int_equal(count_whole(fixture->store, 100), 0);
}

/* All in one batch, also the one that is read. */
static void a_batch_of_them_is_right(void **state)
{
    static char bytes[KEYS][SIZE];
    struct store_fixture *fixture = *state;
    struct named_key names[KEYS];
    struct kvt_slice slices[KEYS];
    struct kvt_object objects[KEYS];
    store_start(fixture);
    for (uint64_t i = 0; i < KEYS; i++) {
        name_key(&names[i], "same", i);
        value_fill(bytes[i], SIZE, i);
        slices[i] = (struct kvt_slice){bytes[i], SIZE, NULL};
        objects[i] = (struct kvt_object){
            .key = names[i].key, .slices = &slices[i], .slice_count = 1};
    }
    assert_true(kvt_batch_offload(fixture->store, objects, KEYS, NULL) > 0);
    memset(bytes, 0, sizeof bytes);
    int loaded = kvt_batch_load(fixture->store, objects, KEYS, NULL);
    assert_true(loaded >= 1 && loaded <= HASHES);
    for (uint64_t i = 0; i < KEYS; i++) {
        if (objects[i].status == KVT_OK) {
            assert_true(value_is(bytes[i], SIZE, i));
        }
    }
}

struct user {
    struct kvt_store *store;
    unsigned number;
};

static void *use(void *arg)
{
    const struct user *user = arg;
    uint64_t random = user->number + 7;
    for (int i = 0; i < 400; i++) {
        uint64_t key = random_next(&random) % KEYS;
        switch (random_next(&random) % 4) {
        case 0:
            remove_named(user->store, "same", key);
            break;
        case 1:
            put_named(user->store, "same", key, key, SIZE);
            break;
        default:
            get_named(user->store, "same", key, key, SIZE);
        }
    }
    return NULL;
}

static void threads_never_read_another_keys_bytes(void **state)
{
    struct store_fixture *fixture = *state;
    pthread_t threads[4];
    struct user users[4];
    store_set(fixture, "bucket.keys_limit", "20");
    store_start(fixture);
    for (unsigned i = 0; i < 4; i++) {
        users[i] = (struct user){fixture->store, i};
        assert_int_equal(pthread_create(&threads[i], NULL, use, &users[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    count_whole(fixture->store, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test_fast(keys_of_one_hash_are_misses_or_right),
        store_test_fast(neither_does_a_restart_mix_them),
        store_test_fast(a_batch_of_them_is_right),
        store_test_fast(threads_never_read_another_keys_bytes),
    };
    bool failed = false;
    for (size_t i = 0; i < 2; i++) {
        failed |= store_row_run(&rows[i], "collisions", tests,
                                sizeof tests / sizeof tests[0]) != 0;
    }
    return failed;
}
