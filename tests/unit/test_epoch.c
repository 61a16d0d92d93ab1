/* Memory that readers may still see is not freed. AddressSanitizer and
 * ThreadSanitizer are the judges of what the threads do; without them the
 * words that are freed early show by what is written over them. */
#include "core/epoch.h"
#include "support/store_fixture.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static unsigned frees;

void __real_free(void *memory);
void __wrap_free(void *memory);
void __wrap_free(void *memory)
{
    __atomic_add_fetch(&frees, memory != NULL, __ATOMIC_RELAXED);
    __real_free(memory);
}

static unsigned freed(void)
{
    return __atomic_exchange_n(&frees, 0, __ATOMIC_RELAXED);
}

static void memory_is_aligned(void **state)
{
    (void)state;
    for (size_t alignment = 16; alignment <= 4096; alignment *= 2) {
        void *memory = kvt_epoch_alloc(alignment, 100);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % alignment, 0);
        memset(memory, 1, 100);
        kvt_epoch_free(memory);
    }
    kvt_epoch_free(NULL);
}

static void without_readers_it_goes_soon(void **state)
{
    (void)state;
    struct kvt_epoch epoch;
    kvt_epoch_init(&epoch);
    void *first = kvt_epoch_alloc(64, 10);
    void *second = kvt_epoch_alloc(64, 10);
    freed();
    kvt_epoch_retire(&epoch, first);
    kvt_epoch_retire(&epoch, second);
    assert_true(freed() >= 1);
    kvt_epoch_fini(&epoch);
    freed();
}

static void a_reader_keeps_what_it_may_see(void **state)
{
    (void)state;
    struct kvt_epoch epoch;
    kvt_epoch_init(&epoch);
    for (int round = 0; round < 5; round++) {
        unsigned ticket = kvt_epoch_enter(&epoch);
        freed();
        void *seen = kvt_epoch_alloc(64, 10);
        kvt_epoch_retire(&epoch, seen);
        for (int i = 0; i < 20; i++) {
            kvt_epoch_retire(&epoch, kvt_epoch_alloc(64, 10));
        }
        assert_int_equal(freed(), 0);
        kvt_epoch_leave(&epoch, ticket);
        kvt_epoch_retire(&epoch, kvt_epoch_alloc(64, 10));
        assert_true(freed() >= 21);
    }
    kvt_epoch_fini(&epoch);
}

static void readers_may_nest(void **state)
{
    (void)state;
    struct kvt_epoch epoch;
    kvt_epoch_init(&epoch);
    unsigned outer = kvt_epoch_enter(&epoch);
    unsigned inner = kvt_epoch_enter(&epoch);
    freed();
    kvt_epoch_leave(&epoch, inner);
    kvt_epoch_retire(&epoch, kvt_epoch_alloc(64, 10));
    kvt_epoch_retire(&epoch, kvt_epoch_alloc(64, 10));
    assert_int_equal(freed(), 0);
    kvt_epoch_leave(&epoch, outer);
    kvt_epoch_fini(&epoch);
    assert_int_equal(freed(), 2);
}

/* A word that is replaced all the time. */
struct shared {
    struct kvt_epoch epoch;
    uint64_t *word; /* atomic: both halves of what it points to are equal */
    bool stop;
};

static void *read_word(void *arg)
{
    struct shared *shared = arg;
    while (!__atomic_load_n(&shared->stop, __ATOMIC_RELAXED)) {
        unsigned ticket = kvt_epoch_enter(&shared->epoch);
        const uint64_t *word = __atomic_load_n(&shared->word, __ATOMIC_ACQUIRE);
        for (int i = 0; i < 8; i++) {
            if (word[0] != ~word[1]) {
                return arg;
            }
        }
        kvt_epoch_leave(&shared->epoch, ticket);
    }
    return NULL;
}

static uint64_t *word_of(uint64_t number)
{
    uint64_t *word = kvt_epoch_alloc(64, 16);
    assert_non_null(word);
    word[0] = number;
    word[1] = ~number;
    return word;
}

static void threads_never_see_freed_memory(void **state)
{
    (void)state;
    struct shared shared = {.word = word_of(0)};
    pthread_t readers[3];
    kvt_epoch_init(&shared.epoch);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&readers[i], NULL, read_word, &shared),
                         0);
    }
    for (uint64_t i = 1; i < 30000; i++) {
        uint64_t *old =
            __atomic_exchange_n(&shared.word, word_of(i), __ATOMIC_ACQ_REL);
        kvt_epoch_retire(&shared.epoch, old);
    }
    __atomic_store_n(&shared.stop, true, __ATOMIC_RELAXED);
    for (size_t i = 0; i < 3; i++) {
        void *wrong;
        pthread_join(readers[i], &wrong);
        assert_null(wrong);
    }
    kvt_epoch_fini(&shared.epoch);
    kvt_epoch_free(shared.word);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_aligned),
        cmocka_unit_test(without_readers_it_goes_soon),
        cmocka_unit_test(a_reader_keeps_what_it_may_see),
        cmocka_unit_test(readers_may_nest),
        cmocka_unit_test(threads_never_see_freed_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
