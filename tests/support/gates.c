#include "support/gates.h"

#include <string.h>
#include <time.h>

struct gate opens = {.op = KVT_RULE_OPEN};
struct gate writes = {.op = KVT_RULE_WRITE};
struct gate reads = {.op = KVT_RULE_READ};
struct gate syncs = {.op = KVT_RULE_SYNC};
struct gate removals = {.op = KVT_RULE_REMOVE};
struct gate listings = {.op = KVT_RULE_LIST};

static struct gate *const gates[] = {&opens, &writes,   &reads,
                                     &syncs, &removals, &listings};
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void pass(struct gate *gate)
{
    unsigned number = gate->came++;
    pthread_cond_broadcast(&changed);
    if (number >= gate->let_by && number - gate->let_by < gate->most) {
        while (gate->shut) {
            pthread_cond_wait(&changed, &mutex);
        }
    }
}

void gates_pass(enum kvt_rule_op op, const char *path)
{
    if (path == NULL || (op != KVT_RULE_LIST && strstr(path, ".kvb") == NULL)) {
        return;
    }
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < sizeof gates / sizeof gates[0]; i++) {
        if (gates[i]->op == op && gates[i]->shut) {
            pass(gates[i]);
        }
    }
    pthread_mutex_unlock(&mutex);
}

void gate_shut(struct gate *gate, unsigned let_by, unsigned most)
{
    pthread_mutex_lock(&mutex);
    gate->shut = true;
    gate->let_by = let_by;
    gate->most = most;
    gate->came = 0;
    pthread_mutex_unlock(&mutex);
}

void gate_open(struct gate *gate)
{
    pthread_mutex_lock(&mutex);
    gate->shut = false;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

bool gates_wait(const unsigned *number, unsigned least)
{
    struct timespec end;
    int rc = 0;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += GATES_PATIENCE_S;
    pthread_mutex_lock(&mutex);
    while (*number < least && rc == 0) {
        rc = pthread_cond_timedwait(&changed, &mutex, &end);
    }
    bool has = *number >= least;
    pthread_mutex_unlock(&mutex);
    return has;
}

void gates_tell(unsigned *number)
{
    pthread_mutex_lock(&mutex);
    ++*number;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

void gated_prepare(struct gated_call *call, struct kvt_store *store,
                   const char *key, uint64_t seed, uint32_t deadline_ms)
{
    call->store = store;
    call->slice = (struct kvt_slice){call->bytes, GATES_VALUE_SIZE, NULL};
    call->object = (struct kvt_object){
        .key = key_of(key), .slices = &call->slice, .slice_count = 1};
    call->options = (struct kvt_batch_options){.size = sizeof call->options,
                                               .deadline_ms = deadline_ms};
    value_fill(call->bytes, GATES_VALUE_SIZE, seed);
}

void *gated_put(void *arg)
{
    struct gated_call *call = arg;
    kvt_batch_offload(call->store, &call->object, 1, &call->options);
    return NULL;
}

void *gated_load(void *arg)
{
    struct gated_call *call = arg;
    memset(call->bytes, 0x55, GATES_VALUE_SIZE);
    kvt_batch_load(call->store, &call->object, 1, &call->options);
    return NULL;
}
