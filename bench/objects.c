#define _DEFAULT_SOURCE
#define _XOPEN_SOURCE 700
#include "objects.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char root_name[] = "bucket-store";

/* The store ---------------------------------------------------------------- */

int objects_init(struct bench *bench, struct objects *objects,
                 const struct objects_setting *settings, size_t count)
{
    snprintf(objects->path, sizeof objects->path, "%s/%s", bench->dir,
             root_name);
    objects->settings = settings;
    objects->setting_count = count;
    kvt_fs_remove_tree(bench->mount, root_name);
    return objects_open(bench, objects, NULL);
}

int objects_open(struct bench *bench, struct objects *objects, const char *fs)
{
    const struct objects_setting fixed[] = {
        {"backend", "bucket"},
        {"path", objects->path},
        {"fs", fs != NULL ? fs : bench->fs},
        {"direct", bench->row->cache == BENCH_DIRECT ? "on" : "off"},
    };
    size_t fixed_count = sizeof fixed / sizeof fixed[0];
    struct kvt_error err = {0};
    struct kvt_config *config = kvt_config_open();
    int rc = config != NULL ? KVT_OK : KVT_ERR_INTERNAL;
    for (size_t i = 0; i < fixed_count + objects->setting_count && rc == KVT_OK;
         i++) {
        const struct objects_setting *setting =
            i < fixed_count ? &fixed[i] : &objects->settings[i - fixed_count];
        rc = kvt_config_set(config, setting->key, setting->value, &err);
    }
    if (rc == KVT_OK) {
        rc = kvt_store_open(config, objects->handlers, &objects->store, &err);
    }
    kvt_config_close(config);
    bench->store = objects->store;
    return rc == KVT_OK ? 0 : bench_fail(bench, "%s", err.message);
}

void objects_close(struct bench *bench, struct objects *objects)
{
    kvt_store_close(objects->store);
    objects->store = NULL;
    bench->store = NULL;
}

void objects_fini(struct bench *bench, struct objects *objects)
{
    for (size_t i = 0; i < objects->file_count; i++) {
        close(objects->files[i].fd);
    }
    free(objects->places);
    objects_close(bench, objects);
    kvt_fs_remove_tree(bench->mount, root_name);
}

/* Batches ------------------------------------------------------------------ */

void objects_name(struct objects_key *key, uint64_t i)
{
    snprintf(key->text, sizeof key->text, "bench/%058llx",
             (unsigned long long)i);
}

int objects_batch(struct bench *bench, struct objects *objects, objects_fn run,
                  const struct objects_key *keys, size_t count, char *memory)
{
    struct kvt_object batch[OBJECTS_RUN];
    struct kvt_slice slices[OBJECTS_RUN];
    size_t size = (size_t)objects->size;
    for (size_t i = 0; i < count; i++) {
        slices[i] = (struct kvt_slice){memory + i * size, size, NULL};
        batch[i] = (struct kvt_object){.key = {keys[i].text, OBJECTS_KEY_SIZE},
                                       .slices = &slices[i],
                                       .slice_count = 1};
    }
    int done = run(objects->store, batch, count, NULL);
    return done == (int)count
               ? 0
               : bench_fail(bench, "%d of %zu objects succeeded", done, count);
}

int objects_fill(struct bench *bench, struct objects *objects, uint64_t count,
                 size_t batch, char *memory)
{
    int rc = 0;
    for (uint64_t at = 0; at < count && rc == 0; at += batch) {
        struct objects_key keys[OBJECTS_RUN];
        size_t some = count - at < batch ? (size_t)(count - at) : batch;
        for (size_t i = 0; i < some; i++) {
            objects_name(&keys[i], at + i);
        }
        rc = objects_batch(bench, objects, kvt_batch_offload, keys, some,
                           memory);
    }
    objects->count = count;
    objects_close(bench, objects);
    return rc != 0 ? rc : objects_open(bench, objects, NULL);
}

/* Places ------------------------------------------------------------------- */

static struct finding {
    struct bench *bench;
    struct objects *objects;
    int flags;
    uint64_t numbers[OBJECTS_FILES_MAX];
    uint64_t found;
} finding; /* nftw passes nothing on */

static int take_file(const char *path, const struct stat *info, int type,
                     struct FTW *walk)
{
    struct objects *objects = finding.objects;
    char *end;
    (void)info;
    uint64_t number = strtoull(path + walk->base, &end, 16);
    if (type != FTW_F || strcmp(end, ".kvb") != 0) {
        return 0;
    }
    size_t at = objects->file_count;
    if (at == OBJECTS_FILES_MAX) {
        return bench_fail(finding.bench, "too many buckets");
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | finding.flags);
    if (fd < 0) {
        return bench_fail(finding.bench, "%s: %s", path, strerror(errno));
    }
    objects->files[at].fd = fd;
    snprintf(objects->files[at].path, sizeof objects->files[at].path, "%s",
             path);
    finding.numbers[at] = number;
    objects->file_count++;
    return 0;
}

static int take_places(const struct kvt_meta *metas, size_t count, void *arg)
{
    struct objects *objects = arg;
    for (size_t i = 0; i < count; i++) {
        char key[OBJECTS_KEY_SIZE + 1] = {0};
        if (metas[i].key.size != OBJECTS_KEY_SIZE) {
            continue;
        }
        memcpy(key, metas[i].key.data, OBJECTS_KEY_SIZE);
        uint64_t number = strtoull(key + sizeof "bench/" - 1, NULL, 16);
        for (size_t j = 0; j < objects->file_count; j++) {
            if (finding.numbers[j] == metas[i].place.bucket &&
                number < objects->count) {
                objects->places[number] = (struct ring_place){
                    objects->files[j].fd, metas[i].place.offset};
                finding.found++;
            }
        }
    }
    return 0;
}

int objects_find(struct bench *bench, struct objects *objects, int flags)
{
    struct kvt_error err;
    finding = (struct finding){bench, objects, flags, {0}, 0};
    objects->places = calloc(objects->count, sizeof objects->places[0]);
    if (objects->places == NULL) {
        return bench_fail(bench, "no memory");
    }
    if (nftw(objects->path, take_file, 8, FTW_PHYS) != 0) {
        return -1;
    }
    int rc = kvt_scan_meta(objects->store, take_places, objects, &err);
    return rc == 0 && finding.found == objects->count
               ? 0
               : bench_fail(bench, "%llu objects were found",
                            (unsigned long long)finding.found);
}

/* Chance ------------------------------------------------------------------- */

uint32_t *objects_shuffled(uint64_t count)
{
    uint32_t *numbers = calloc(count, sizeof numbers[0]);
    uint64_t state = 88172645463325252u; /* xorshift64: Marsaglia, 2003 */
    for (uint64_t i = 0; numbers != NULL && i < count; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        uint64_t other = state % (i + 1);
        numbers[i] = numbers[other];
        numbers[other] = (uint32_t)i;
    }
    return numbers;
}
