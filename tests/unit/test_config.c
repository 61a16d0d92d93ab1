#include "unit/config_fixture.h"

#include "core/config.h"
#include "core/config_table.h"

#include <stdio.h>
#include <unistd.h>

static void defaults_are_those_of_the_manual(void **state)
{
    static const char *const rows[][2] = {
        {"backend", "bucket"},
        {"path", ""},
        {"fs", "posix"},
        {"read_only", "off"},
        {"object_size_max", "67108864"},
        {"total_size_limit", "90%"},
        {"total_value_limit", "0"},
        {"total_keys_limit", "10000000"},
        {"write_budget_per_day", "0"},
        {"eviction", "lru"},
        {"watermark.high", "0.9"},
        {"watermark.low", "0.8"},
        {"checksum", "on"},
        {"durability", "seal"},
        {"direct", "auto"},
        {"threads", "16"},
        {"deadline_ms", "0"},
        {"scan_meta_keys_limit", "20000"},
        {"log_level", "warn"},
        {"module_path", ""},
        {"bucket.size_limit", "268435456"},
        {"bucket.keys_limit", "500"},
        {"bucket.rewrite_limit", "0.2"},
        {"bucket.seal_after_ms", "10000"},
        {"distributed.path", ""},
        {"distributed.fs", ""},
        {"distributed.health_check", "off"},
        {"distributed.hash_bucket_count", "256"},
        {"distributed.format", "trailer"},
        {"distributed.read_raw", "auto"},
        {"distributed.skip_stored", "off"},
        {"distributed.temporary_grace", "3600"},
        {"distributed.refresh_interval", "0"},
        {"uring.queue_depth", "128"},
        {"uring.registered_max", "1073741824"},
        {"hf3fs.client", "own"},
        {"hf3fs.library", ""},
        {"cephfs.conf", ""},
        {"cephfs.id", ""},
        {"cephfs.keyring", ""},
        {"cephfs.fs", ""},
        {"cephfs.root", ""},
        {"cephfs.option.NAME", ""},
        {"juicefs.meta", ""},
        {"juicefs.trash", "warn"},
        {"mem.capacity", "0"},
        {"mem.facts", ""},
        {"fault.rules", ""},
        {"fault.seed", "0"},
        {"trace.file", ""},
    };
    size_t count = 0;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fixture_expect(*state, rows[i][0], rows[i][1], "default");
    }
    for (size_t i = 0; kvt_config_group_at(i) != NULL; i++) {
        count += kvt_config_group_at(i)->count;
    }
    assert_int_equal(count, sizeof(rows) / sizeof(rows[0]));
}

static int check_row(const struct kvt_setting *setting, void *arg)
{
    int *count = arg;

    assert_string_not_equal(setting->key, "");
    assert_string_equal(setting->value, setting->default_value);
    assert_string_equal(setting->source, "default");
    assert_string_not_equal(setting->type, "");
    assert_non_null(setting->unit);
    assert_string_not_equal(setting->allowed, "");
    assert_int_equal(setting->help[strlen(setting->help) - 1], '.');
    (*count)++;
    return 0;
}

static void every_row_is_complete(void **state)
{
    int count = 0;

    assert_int_equal(kvt_config_each(*state, check_row, &count), 0);
    assert_true(count > 40);
}

static int stop_at_three(const struct kvt_setting *setting, void *arg)
{
    int *count = arg;

    (void)setting;
    return ++*count == 3 ? 77 : 0;
}

static void a_listing_stops_when_it_is_told(void **state)
{
    int count = 0;

    assert_int_equal(kvt_config_each(*state, stop_at_three, &count), 77);
    assert_int_equal(count, 3);
}

/* KVTIER_A_B could mean a.b and a_b. */
static void no_two_keys_share_an_environment_name(void **state)
{
    char names[128][64];
    size_t count = 0;

    (void)state;
    for (size_t i = 0; kvt_config_group_at(i) != NULL; i++) {
        const struct kvt_config_group *group = kvt_config_group_at(i);

        for (size_t j = 0; j < group->count; j++) {
            assert_true(count < 128);
            snprintf(names[count], sizeof(names[0]), "%s", group->rows[j].key);
            for (char *c = names[count]; *c != '\0'; c++) {
                *c = *c == '.' ? '_' : *c;
            }
            for (size_t k = 0; k < count; k++) {
                assert_string_not_equal(names[k], names[count]);
            }
            count++;
        }
    }
}

static int set_what_it_shows(const struct kvt_setting *setting, void *arg)
{
    if (setting->value[0] != '\0') {
        fixture_set(arg, setting->key, setting->value);
        fixture_expect(arg, setting->key, setting->value, "option");
    }
    return 0;
}

static void what_is_printed_can_be_set(void **state)
{
    struct kvt_config *other = kvt_config_open();

    assert_non_null(other);
    assert_int_equal(kvt_config_each(*state, set_what_it_shows, other), 0);
    kvt_config_close(other);
}

static void an_option_is_kept_with_its_source(void **state)
{
    fixture_set(*state, "bucket.size_limit", "1G");
    fixture_expect(*state, "bucket.size_limit", "1073741824", "option");
    fixture_set(*state, "bucket.size_limit", "2GiB");
    fixture_expect(*state, "bucket.size_limit", "2147483648", "option");
    fixture_set(*state, "eviction", "fifo");
    fixture_expect(*state, "eviction", "fifo", "option");
    fixture_set(*state, "total_size_limit", "50%");
    fixture_expect(*state, "total_size_limit", "50%", "option");
    fixture_set(*state, "fs", "trace:fault:posix");
    fixture_expect(*state, "fs", "trace:fault:posix", "option");
    fixture_set(*state, "direct", "true");
    fixture_expect(*state, "direct", "on", "option");
}

static void a_setting_shows_its_row(void **state)
{
    struct kvt_setting setting;

    assert_int_equal(kvt_config_get(*state, "object_size_max", &setting, NULL),
                     KVT_OK);
    assert_string_equal(setting.type, "size");
    assert_string_equal(setting.unit, "bytes");
    assert_string_equal(setting.allowed, "4KiB to 1GiB");
    assert_string_equal(setting.default_value, "67108864");
    kvt_config_get(*state, "eviction", &setting, NULL);
    assert_string_equal(setting.type, "enum");
    assert_string_equal(setting.allowed, "none, fifo, lru, second_chance");
    kvt_config_get(*state, "total_size_limit", &setting, NULL);
    assert_string_equal(setting.type, "size");
    assert_string_equal(setting.allowed, "4KiB to 1EiB, or 1% to 100%");
    kvt_config_get(*state, "watermark.low", &setting, NULL);
    assert_string_equal(setting.type, "ratio");
    kvt_config_get(*state, "fs", &setting, NULL);
    assert_string_equal(setting.type, "string");
    assert_non_null(strstr(setting.allowed, "juicefs"));
    assert_non_null(strstr(setting.allowed, "crash"));
}

static void backends_have_their_long_names(void **state)
{
    static const char *const names[] = {"file_per_key", "bucket",
                                        "offset_allocator", "distributed"};

    for (size_t i = 0; i < 4; i++) {
        char alias[64];

        snprintf(alias, sizeof(alias), "%s_storage_backend", names[i]);
        fixture_set(*state, "backend", alias);
        fixture_expect(*state, "backend", names[i], "option");
    }
}

static void bad_values_are_refused_and_change_nothing(void **state)
{
    static const char *const rows[][3] = {
        {"object_size_max", "4095", "too small"},
        {"object_size_max", "1073741825", "too large"},
        {"object_size_max", "4KiB to 1GiB", "allowed: 4KiB to 1GiB"},
        {"object_size_max", "-5", "negative"},
        {"object_size_max", "", "is empty"},
        {"object_size_max", "18446744073709551616", "too large"},
        {"object_size_max", "1M junk", "no size"},
        {"threads", "0", "too small"},
        {"threads", "257", "allowed: 1 to 256"},
        {"threads", "4.5", "no whole number"},
        {"threads", "-1", "negative"},
        {"watermark.high", "1.01", "too large"},
        {"watermark.high", "-0.5", "negative"},
        {"watermark.high", "ninety", "no number"},
        {"checksum", "maybe", "allowed: on, off"},
        {"checksum", "", "is empty"},
        {"eviction", "clock", "allowed: none, fifo, lru"},
        {"backend", "redis", "allowed: file_per_key, bucket"},
        {"fs", "ext4", "`ext4` is no adapter"},
        {"fs", "posix:fault", "`posix` is no wrapper"},
        {"path", "", "is empty"},
        {"distributed.fs", "", "is empty"},
        {"distributed.hash_bucket_count", "0", "too small"},
        {"total_size_limit", "0", "too small"},
        {"total_size_limit", "101%", "1% to 100%"},
        {"total_size_limit", "2E", "too large"},
        {"fault.seed", "18446744073709551616", "too large"},
        {"hf3fs.client", "theirs", "own, vendor"},
        {"juicefs.trash", "ignore", "warn, refuse, empty"},
        {"log_level", "loud", "error, warn, info, debug"},
    };
    struct kvt_error err;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fixture_refuse(*state, rows[i][0], rows[i][1], rows[i][2], &err);
        assert_non_null(strstr(err.message, rows[i][0]));
        assert_non_null(strstr(err.message, rows[i][1]));
    }
}

static void texts_that_may_be_empty_can_be_emptied(void **state)
{
    static const char *const keys[] = {
        "module_path", "cephfs.conf",   "cephfs.option.a", "fault.rules",
        "trace.file",  "hf3fs.library", "juicefs.meta",
    };

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        fixture_set(*state, keys[i], "/x");
        fixture_set(*state, keys[i], "");
        fixture_expect(*state, keys[i], "", "option");
    }
}

static void a_mistyped_value_gets_a_suggestion(void **state)
{
    static const char *const rows[][3] = {
        {"eviction", "lur", "`lru`"},
        {"backend", "file-per-key", "`file_per_key`"},
        {"backend", "buckets", "`bucket`"},
        {"fs", "posx", "`posix`"},
        {"fs", "trace:fualt:posix", "`fault`"},
        {"distributed.fs", "cephsf", "`cephfs`"},
        {"durability", "baatch", "`batch`"},
    };
    struct kvt_error err;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fixture_refuse(*state, rows[i][0], rows[i][1], rows[i][1], &err);
        assert_non_null(strstr(err.remedy, rows[i][2]));
    }
}

static void an_unknown_key_gets_a_suggestion(void **state)
{
    static const char *const rows[][2] = {
        {"evicton", "`eviction`"},
        {"Path", "`path`"},
        {"watermark_high", "`watermark.high`"},
        {"queue_depth", "`uring.queue_depth`"},
        {"bucket.size", "`bucket.size_limit`"},
        {"distributed.hash_bucket_cuont", "`distributed.hash_bucket_count`"},
    };
    struct kvt_error err;
    struct kvt_setting setting;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fixture_refuse(*state, rows[i][0], "value", "value", &err);
        assert_non_null(strstr(err.remedy, rows[i][1]));
        assert_int_equal(kvt_config_get(*state, rows[i][0], &setting, &err),
                         KVT_ERR_INVALID_PARAMS);
        assert_string_equal(err.subject, rows[i][0]);
        assert_non_null(strstr(err.remedy, rows[i][1]));
    }
    fixture_refuse(*state, "xyzzyxyzzy", "v", "xyzzyxyzzy", &err);
    assert_non_null(strstr(err.remedy, "kvtier config"));
    fixture_refuse(*state, "", "v", "v", &err);
}

static void null_arguments_are_refused(void **state)
{
    struct kvt_setting setting;

    assert_int_equal(kvt_config_set(NULL, "path", "/a", NULL),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_config_set(*state, NULL, "/a", NULL),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_config_set(*state, "path", NULL, NULL),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_config_get(*state, NULL, &setting, NULL),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_config_get(*state, "path", NULL, NULL),
                     KVT_ERR_INVALID_PARAMS);
    assert_int_equal(kvt_config_check(NULL, NULL), KVT_ERR_INVALID_PARAMS);
    kvt_config_close(NULL);
}

struct seen {
    char keys[8][64];
    int count;
};

static int see_ceph_options(const struct kvt_setting *setting, void *arg)
{
    struct seen *seen = arg;

    if (strncmp(setting->key, "cephfs.option.", 14) == 0) {
        assert_true(seen->count < 8);
        snprintf(seen->keys[seen->count++], 64, "%s=%s", setting->key,
                 setting->value);
    }
    return 0;
}

static void a_family_takes_any_name(void **state)
{
    struct seen seen = {0};
    struct kvt_error err;

    fixture_set(*state, "cephfs.option.client_mount_timeout", "5");
    fixture_set(*state, "cephfs.option.mon_host", "a,b");
    fixture_set(*state, "cephfs.option.client_mount_timeout", "7");
    fixture_expect(*state, "cephfs.option.client_mount_timeout", "7", "option");
    fixture_expect(*state, "cephfs.option.not_set", "", "default");
    kvt_config_each(*state, see_ceph_options, &seen);
    assert_int_equal(seen.count, 3);
    assert_string_equal(seen.keys[0], "cephfs.option.NAME=");
    assert_string_equal(seen.keys[1], "cephfs.option.client_mount_timeout=7");
    assert_string_equal(seen.keys[2], "cephfs.option.mon_host=a,b");
    fixture_refuse(*state, "cephfs.option.NAME", "1", "NAME", &err);
    fixture_refuse(*state, "cephfs.option.", "1", "no setting", &err);
    fixture_refuse(*state, "cephfs.option.a b", "1", "no setting", &err);
    fixture_refuse(*state, "cephfs.options.a", "1", "no setting", &err);
}

static void paths_are_made_absolute(void **state)
{
    char before[4096];

    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir("/usr"), 0);
    fixture_set(*state, "path", "kv/a");
    fixture_set(*state, "distributed.path", "./kv");
    assert_int_equal(chdir(before), 0);
    fixture_expect(*state, "path", "/usr/kv/a", "option");
    fixture_expect(*state, "distributed.path", "/usr/kv", "option");
}

static void two_configurations_differ(void **state)
{
    struct kvt_config *other = kvt_config_open();

    assert_non_null(other);
    fixture_set(*state, "path", "/a");
    fixture_set(other, "path", "/b");
    fixture_set(other, "cephfs.option.x", "1");
    fixture_expect(*state, "path", "/a", "option");
    fixture_expect(other, "path", "/b", "option");
    fixture_expect(*state, "cephfs.option.x", "", "default");
    kvt_config_close(other);
}

static void a_copy_is_independent(void **state)
{
    struct kvt_config *copy;

    fixture_set(*state, "path", "/a");
    fixture_set(*state, "cephfs.option.x", "1");
    copy = kvt_config_copy(*state);
    assert_non_null(copy);
    fixture_set(copy, "path", "/b");
    fixture_set(*state, "threads", "3");
    fixture_expect(*state, "path", "/a", "option");
    fixture_expect(copy, "path", "/b", "option");
    fixture_expect(copy, "cephfs.option.x", "1", "option");
    fixture_expect(copy, "threads", "16", "default");
    kvt_config_close(copy);
}

static void getters_give_what_was_set(void **state)
{
    uint64_t bytes = 1;
    double fraction = 1;

    fixture_set(*state, "object_size_max", "1M");
    fixture_set(*state, "fault.seed", "18446744073709551615");
    assert_true(kvt_config_u64(*state, "object_size_max") == 1048576);
    assert_true(kvt_config_u64(*state, "fault.seed") == UINT64_MAX);
    assert_true(kvt_config_u64(*state, "threads") == 16);
    assert_true(kvt_config_bool(*state, "checksum"));
    fixture_set(*state, "checksum", "no");
    assert_false(kvt_config_bool(*state, "checksum"));
    assert_true(kvt_config_ratio(*state, "watermark.high") == 0.9);
    assert_string_equal(kvt_config_text(*state, "eviction"), "lru");
    assert_string_equal(kvt_config_text(*state, "path"), "");
    assert_true(
        kvt_config_limit(*state, "total_size_limit", &bytes, &fraction));
    assert_true(fraction == 0.9 && bytes == 0);
    fixture_set(*state, "total_size_limit", "4G");
    assert_false(
        kvt_config_limit(*state, "total_size_limit", &bytes, &fraction));
    assert_true(bytes == UINT64_C(4) << 30 && fraction == 0);
    assert_true(kvt_config_is_given(*state, "total_size_limit"));
    assert_false(kvt_config_is_given(*state, "threads"));
}

static void the_chosen_backend_has_its_own_path_and_fs(void **state)
{
    fixture_set(*state, "path", "/a");
    fixture_set(*state, "fs", "uring");
    fixture_set(*state, "distributed.fs", "cephfs");
    assert_string_equal(kvt_config_store_path(*state), "/a");
    assert_string_equal(kvt_config_store_fs(*state), "uring");
    fixture_set(*state, "backend", "distributed");
    assert_string_equal(kvt_config_store_path(*state), "/a");
    assert_string_equal(kvt_config_store_fs(*state), "cephfs");
    fixture_set(*state, "distributed.path", "/b");
    assert_string_equal(kvt_config_store_path(*state), "/b");
}

static void check_says(void *state, const char *subject)
{
    struct kvt_error err = {0};
    int rc = kvt_config_check(state, &err);

    if (subject == NULL) {
        assert_int_equal(rc, KVT_OK);
        return;
    }
    assert_int_equal(rc, KVT_ERR_INVALID_PARAMS);
    assert_string_equal(err.subject, subject);
    assert_string_not_equal(err.message, "");
    assert_string_not_equal(err.remedy, "");
}

static void a_path_must_be_given(void **state)
{
    struct kvt_error err;

    check_says(*state, "path");
    kvt_config_check(*state, &err);
    assert_string_equal(err.remedy, "give --path DIR, or path = DIR in the "
                                    "file, or KVTIER_PATH");
    fixture_set(*state, "distributed.path", "/a");
    check_says(*state, "path");
    fixture_set(*state, "path", "/a");
    check_says(*state, NULL);
}

static void a_second_chance_is_of_buckets(void **state)
{
    fixture_set(*state, "path", "/a");
    fixture_set(*state, "eviction", "second_chance");
    check_says(*state, NULL);
    fixture_set(*state, "backend", "file_per_key");
    check_says(*state, "eviction");
}

static void distributed_needs_its_fs_and_any_path(void **state)
{
    fixture_set(*state, "backend", "distributed");
    check_says(*state, "path");
    fixture_set(*state, "distributed.path", "/a");
    check_says(*state, "distributed.fs");
    fixture_set(*state, "fs", "uring");
    check_says(*state, "distributed.fs");
    fixture_set(*state, "distributed.fs", "fault:posix");
    check_says(*state, NULL);
    fixture_set(*state, "distributed.format", "raw");
    check_says(*state, NULL);
    fixture_set(*state, "distributed.read_raw", "off");
    check_says(*state, "distributed.read_raw");
}

static void the_low_watermark_is_not_above_the_high_one(void **state)
{
    fixture_set(*state, "path", "/a");
    fixture_set(*state, "watermark.high", "0.7");
    check_says(*state, "watermark.low");
    fixture_set(*state, "watermark.low", "0.7");
    check_says(*state, NULL);
}

static void a_size_that_was_chosen_fits_into_the_limit(void **state)
{
    fixture_set(*state, "path", "/a");
    fixture_set(*state, "total_size_limit", "1MiB");
    check_says(*state, NULL); /* the default only wants to be large */
    fixture_set(*state, "object_size_max", "1048577");
    check_says(*state, "object_size_max");
    fixture_set(*state, "object_size_max", "1MiB");
    check_says(*state, NULL);
    fixture_set(*state, "backend", "file_per_key");
    fixture_set(*state, "bucket.size_limit", "2MiB");
    check_says(*state, NULL); /* not the backend that runs */
    fixture_set(*state, "backend", "bucket");
    check_says(*state, "bucket.size_limit");
    fixture_set(*state, "total_size_limit", "50%");
    check_says(*state, NULL);
    fixture_set(*state, "total_value_limit", "4096");
    check_says(*state, NULL);
}

static void a_very_long_value_is_refused_and_the_message_cut(void **state)
{
    struct kvt_error err;
    char *text = calloc(1, 40000);

    assert_non_null(text);
    memset(text, 'a', 39999);
    fixture_refuse(*state, "fault.rules", text, "too long", &err);
    fixture_refuse(*state, "path", text, "too long", &err);
    fixture_refuse(*state, "eviction", text, "none of the names", &err);
    fixture_refuse(*state, "threads", text, "no whole number", &err);
    assert_int_equal(kvt_config_set(*state, text, text, &err),
                     KVT_ERR_INVALID_PARAMS);
    free(text);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(defaults_are_those_of_the_manual),
        CASE(every_row_is_complete),
        CASE(a_listing_stops_when_it_is_told),
        CASE(no_two_keys_share_an_environment_name),
        CASE(what_is_printed_can_be_set),
        CASE(an_option_is_kept_with_its_source),
        CASE(a_setting_shows_its_row),
        CASE(backends_have_their_long_names),
        CASE(bad_values_are_refused_and_change_nothing),
        CASE(texts_that_may_be_empty_can_be_emptied),
        CASE(a_mistyped_value_gets_a_suggestion),
        CASE(an_unknown_key_gets_a_suggestion),
        CASE(null_arguments_are_refused),
        CASE(a_family_takes_any_name),
        CASE(paths_are_made_absolute),
        CASE(two_configurations_differ),
        CASE(a_copy_is_independent),
        CASE(getters_give_what_was_set),
        CASE(the_chosen_backend_has_its_own_path_and_fs),
        CASE(a_path_must_be_given),
        CASE(a_second_chance_is_of_buckets),
        CASE(distributed_needs_its_fs_and_any_path),
        CASE(the_low_watermark_is_not_above_the_high_one),
        CASE(a_size_that_was_chosen_fits_into_the_limit),
        CASE(a_very_long_value_is_refused_and_the_message_cut),
    };

    return cmocka_run_group_tests(cases, NULL, NULL) != 0;
}
